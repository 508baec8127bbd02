//! No identifier and no plaintext of a record on disk, in logs, or on the wire, after a whole story.

use std::collections::BTreeMap;

use city::{City, Plan};
use record::{DistrictCode, Timestamp};
use ring::digest::{SHA256, digest};
use serde_json::Value;
use songhe::config::Limits;
use wire::v1;

use crate::needles::Needles;
use crate::proxy::Tap;
use crate::support::{
    Federation, Fetched, Member, THREE, fetch, item, number, permit, put, put_as, subject, vitals,
};

fn small_city() -> City {
    City::new(Plan {
        seed: 20_261,
        elders: 15,
        hospitals: 1,
        bureaus: 1,
        communities: 1,
        district: DistrictCode::parse("500112").unwrap(),
        today: Timestamp::parse_rfc3339("2026-11-01T04:00:00Z").unwrap(),
    })
    .unwrap()
}

/// What the records say in words: narratives, notes, conclusions, names, addresses, telephone numbers.
fn words(value: &Value, key: &str, needles: &mut Needles) {
    const TELLING: [&str; 12] = [
        "div",
        "text",
        "note",
        "conclusion",
        "valueString",
        "line",
        "family",
        "description",
        "comment",
        "summary",
        "patientInstruction",
        "display",
    ];
    match value {
        Value::String(text) if TELLING.contains(&key) && text.len() >= 12 => needles.add(text),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::Array(items) => items.iter().for_each(|v| words(v, key, needles)),
        Value::Object(fields) => fields.iter().for_each(|(k, v)| words(v, k, needles)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_person_is_on_disk_in_logs_or_on_the_wire() {
    let tap = Tap::listen().await;
    let mut federation =
        Federation::found_behind(&THREE, &Limits::default(), &[("community-1", tap.address)]);
    tap.connect_to(federation.member("community-1").listen.peer);
    for member in &mut federation.members {
        member.process = Some(member.try_start(&[("SONGHE_LOG", "debug")]).await.unwrap());
    }
    let city = small_city();
    let mut needles = Needles::default();
    let mut lines: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut records = 0;
    for elder in city.elders() {
        needles.add(&elder.resident_id);
        needles.add(digest(&SHA256, elder.resident_id.as_bytes()));
        needles.add(record::id::hex_encode(
            digest(&SHA256, elder.resident_id.as_bytes()).as_ref(),
        ));
        needles.add(elder.name());
        for text in elder
            .phone
            .iter()
            .chain(&elder.social_security)
            .chain([&elder.contact.phone])
        {
            needles.add(text);
        }
        for r in city.records_of(&elder) {
            words(
                &serde_json::from_slice(&r.fhir_json).unwrap(),
                "",
                &mut needles,
            );
            let to = lines.entry(r.holder.to_string()).or_default();
            to.extend_from_slice(&r.fhir_json);
            to.push(b'\n');
            records += 1;
        }
    }
    assert!(
        records > 300 && needles.len() > 300,
        "{records} records, {} needles",
        needles.len()
    );
    for (holder, bytes) in lines {
        let open = v1::PutOpen {
            format: v1::PutFormat::Ndjson.into(),
            ..Default::default()
        };
        let last = v1::PutItem {
            data: bytes,
            subject: None,
            last: true,
        };
        let results = put_as(federation.member(&holder), "his", open, vec![last])
            .await
            .unwrap();
        for result in &results {
            assert_eq!(
                result.outcome,
                i32::from(v1::PutOutcome::Stored),
                "{:?}",
                result.reason
            );
        }
    }

    let elder = city
        .elders()
        .find(|e| {
            city.records_of(e)
                .iter()
                .filter(|r| r.holder.as_str() == "community-1")
                .any(|r| r.type_code.as_str() == "vitals")
        })
        .unwrap();
    tell_a_story(&federation, &elder.resident_id, &elder.name()).await;

    // What the tap and the files hold, running and stopped.
    let folder = federation.folder.path().to_owned();
    let heard = tap.heard();
    assert!(
        heard.len() > 15_000,
        "the story went over the tap: {} bytes",
        heard.len()
    );
    assert!(needles.found_in(&heard).is_empty());
    let clean = needles.found_below(&folder);
    assert!(clean.is_empty(), "{clean:?}");
    federation.stop_all().await;
    let clean = needles.found_below(&folder);
    assert!(clean.is_empty(), "{clean:?}");
    let log = std::fs::read_to_string(federation.member("community-1").log_path()).unwrap();
    assert!(log.contains("DEBUG"), "the logs were verbose");

    // The search finds what is there: in a data folder, in a log, on the wire.
    for place in [
        federation.member("hospital-1").home.path("journal/planted"),
        federation.member("hospital-1").log_path(),
    ] {
        let mut bytes = std::fs::read(&place).unwrap_or_default();
        bytes.extend_from_slice(elder.resident_id.as_bytes());
        std::fs::write(&place, bytes).unwrap();
        assert_eq!(needles.found_below(&folder).len(), 1);
        std::fs::remove_file(&place).unwrap();
    }
    assert_eq!(
        needles
            .found_in(&[&heard[..], elder.name().as_bytes()].concat())
            .len(),
        1
    );
}

fn told(fetched: &Fetched) -> (&str, &str) {
    (&fetched.outcome, &fetched.reason)
}

async fn tell_a_story(federation: &Federation, elder: &str, name: &str) {
    let (hospital, community) = (
        federation.member("hospital-1"),
        federation.member("community-1"),
    );
    let types = ["vitals", "care-assessment", "service-record"];
    let read = |client| fetch(hospital, client, "community-1", elder, &types, "TREAT");
    assert_eq!(
        told(&read("doctor").await.unwrap()),
        ("refused", "CONSENT_MISSING")
    );
    permit(community, elder, "hospital-1", "TREAT", 4).await;
    located(hospital, elder).await;

    let full = read("doctor").await.unwrap();
    assert_eq!(told(&full), ("data", ""));
    assert!(
        full.records
            .iter()
            .all(|r| r.tier == i32::from(v1::Tier::Full))
    );
    let masked = read("nurse").await.unwrap();
    assert_eq!(
        (told(&masked), masked.records.len()),
        (("data", ""), full.records.len())
    );
    assert!(
        masked
            .records
            .iter()
            .all(|r| r.tier == i32::from(v1::Tier::Masked) && !r.masked_groups.is_empty())
    );
    let shows = |fetched: &Fetched, text: &str| {
        fetched.records.iter().any(|r| {
            r.fhir_json
                .windows(text.len())
                .any(|w| w == text.as_bytes())
        })
    };
    assert!(!shows(&full, elder) && !shows(&masked, elder));

    // The profile, whole: the name is in it, the number is not.
    let profile = fetch(
        hospital,
        "doctor",
        "community-1",
        elder,
        &["profile"],
        "TREAT",
    )
    .await
    .unwrap();
    assert_eq!((told(&profile), profile.records.len()), (("data", ""), 1));
    assert_eq!(profile.records[0].tier, i32::from(v1::Tier::Full));
    let patient: Value = serde_json::from_slice(&profile.records[0].fhir_json).unwrap();
    assert_eq!(patient["resourceType"], "Patient");
    assert!(shows(&profile, name), "the name belongs to the profile");
    assert!(!shows(&profile, elder), "no resident number leaves a node");
    assert!(!format!("{:?}", profile.records).contains(elder));

    let clerk = fetch(
        federation.member("civil-affairs-1"),
        "clerk",
        "community-1",
        elder,
        &types,
        "ELIGDTRM",
    )
    .await
    .unwrap();
    assert_eq!(clerk.outcome, "refused");
    let nobody = fetch(
        hospital,
        "doctor",
        "community-1",
        &number(77),
        &types,
        "TREAT",
    )
    .await
    .unwrap();
    assert_eq!(told(&nobody), ("refused", "CONSENT_MISSING"));

    // Bad records with the person in them: set aside or refused, and in no log.
    let half = format!(
        r#"{{"resourceType":"Patient","name":[{{"text":"{name}"}}],"identifier":[{{"value":"{elder}"#
    );
    let unresolved = v1::PutItem {
        data: vitals("nobodys", 72),
        subject: None,
        last: true,
    };
    let typo = format!(
        "{}{}",
        &elder[..17],
        if elder.ends_with('1') { '2' } else { '1' }
    );
    let bad = vec![
        item(half.into_bytes(), elder),
        item(vitals("impossible", 9999), elder),
        unresolved,
        item(vitals("mistyped", 72), &typo),
    ];
    let results = put(community, bad, v1::PutFormat::Resource).await.unwrap();
    assert!(
        results
            .iter()
            .all(|r| r.outcome != i32::from(v1::PutOutcome::Stored))
    );
    let mistyped = fetch(hospital, "doctor", "community-1", &typo, &types, "TREAT")
        .await
        .unwrap_err();
    assert!(!format!("{mistyped:?}").contains(&typo));
}

async fn located(hospital: &Member, elder: &str) {
    let request = v1::FederatedLocateRequest {
        subject: Some(subject(elder)),
        query: Some(v1::Query {
            record_types: vec!["vitals".into(), "profile".into()],
            ..Default::default()
        }),
        intent: Some(v1::Intent {
            purpose: "TREAT".into(),
            basis: String::new(),
        }),
        member_ids: Vec::new(),
        deadline_ms: 30_000,
    };
    let mut stream = hospital
        .client("doctor")
        .locate(request)
        .await
        .unwrap()
        .into_inner();
    let mut found = 0;
    while let Some(answer) = stream.message().await.unwrap() {
        found += usize::from(answer.outcome == i32::from(v1::MemberOutcome::Data));
    }
    assert_eq!(
        found, 1,
        "the community tells, the others have no consent of this person"
    );
}
