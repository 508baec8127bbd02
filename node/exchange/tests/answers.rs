//! What is granted arrives, as it was granted, with its leaf.

use record::decision::Verb;
use record::{Level, Purpose, ReasonCode, ResidentId, Tier};

use super::support::*;
use crate::{Located, Released};

fn located(released: Released<Located>) -> (Located, crate::LeafPosition) {
    released.into_reply()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locate_tells_what_is_there() {
    let city = City::new();
    for n in 0..3 {
        city.vital(1, &format!("o-{n}")).await;
    }
    city.put(
        1,
        "profile",
        "p-77",
        4,
        r#"{"resourceType":"Patient","id":"p-77"}"#,
    )
    .await;
    city.consent(1, 1, |c| c.level_ceiling = Level::new(3).unwrap())
        .await;
    let mut statement = city.statement(Verb::Locate, 1);
    statement.query.types.push(code("profile"));
    let xid = statement.xid;
    let signed = city.asker.sign(statement);
    let (answer, leaf) = located(
        city.holder()
            .locate(&city.asker.peer, signed)
            .await
            .unwrap(),
    );
    assert_eq!(answer.grants[&code("vitals")].tier, Tier::Full);
    assert_eq!(
        answer.grants[&code("profile")].tier,
        Tier::None,
        "beyond the ceiling"
    );
    assert_eq!(answer.holdings.len(), 1);
    assert_eq!(
        (answer.holdings[0].records, answer.holdings[0].newest),
        (Some(3), Some(NOW))
    );
    let told = city.leaf(&leaf);
    assert_eq!(
        (leaf.xid, told["typ"].as_str(), told["verb"].as_str()),
        (xid, Some("disclosure"), Some("locate"))
    );
    assert_eq!(
        (
            told["peer"].as_str(),
            told["tier"].as_str(),
            told["n"].as_u64()
        ),
        (Some("h-asker"), Some("full"), Some(0))
    );
    assert!(told.get("kh").is_some() && told.get("stag").is_some() && told.get("pc").is_some());
    let detail = city.detail(&leaf);
    assert_eq!(
        (
            &detail["grants"]["vitals"],
            &detail["reasons"]["profile"][0]
        ),
        (&"full".into(), &"CONSENT_MISSING".into())
    );
    assert_eq!(detail["question"]["role"], "physician");
}

#[tokio::test(flavor = "multi_thread")]
async fn existence_alone_has_no_number() {
    let city = City::new();
    city.vital(1, "o-1").await;
    city.consent(1, 1, |_| ()).await;
    for (tier, counted) in [
        (Tier::Exists, false),
        (Tier::Attest, false),
        (Tier::Count, true),
        (Tier::Masked, true),
    ] {
        city.rule(move |q| {
            Ok(all(
                q,
                &record::Grant {
                    tier,
                    ..record::Grant::default()
                },
            ))
        });
        let (answer, _) = located(
            city.holder()
                .locate(&city.asker.peer, city.locate(1))
                .await
                .unwrap(),
        );
        assert_eq!(answer.holdings[0].records.is_some(), counted, "{tier}");
        assert_eq!(answer.holdings[0].newest.is_some(), counted, "{tier}");
        let pages = city.pages(city.fetch(1, |_| ())).await.unwrap();
        assert_eq!(
            ids(&pages).len(),
            usize::from(tier >= Tier::Masked),
            "{tier}: below masked no record leaves"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_is_the_authors_own_bytes() {
    let city = City::new();
    let odd =
        "{ \"resourceType\":\"Observation\", \"id\":\"o-5\",\n\"valueQuantity\":{\"value\":1.50} }";
    let seq = city.put(1, "vitals", "o-5", 3, odd).await;
    city.consent(1, 1, |_| ()).await;
    let pages = city.pages(city.fetch(1, |_| ())).await.unwrap();
    let (page, leaf) = &pages[0];
    let record = &page.records[0];
    assert_eq!(
        (
            record.fhir_json.as_slice(),
            record.tier,
            record.masked_groups.len()
        ),
        (odd.as_bytes(), Tier::Full, 0)
    );
    assert_eq!(
        (
            record.id.as_str(),
            record.version.as_str(),
            record.source.as_str()
        ),
        ("o-5", "1", "his")
    );
    assert_eq!((record.level.get(), page.cursor.as_deref()), (3, None));
    assert_eq!(city.leaf(leaf)["n"], 1);
    assert_eq!(city.detail(leaf)["records"], serde_json::json!([seq]));
    assert!(!format!("{page:?} {record:?}").contains("1.50"));
}

#[tokio::test(flavor = "multi_thread")]
async fn masked_lacks_what_is_masked_beside_the_record_too() {
    let city = City::new();
    city.vital(1, "o-1").await;
    let patient = r#"{"resourceType":"Patient","id":"p-77","identifier":[{"value":"MRN-4711"}],"name":[{"text":"张三"}],"gender":"female"}"#;
    city.put(1, "profile", "p-77", 4, patient).await;
    city.consent(1, 1, |_| ()).await;
    let signed = city.fetch(1, |s| {
        s.purpose = Purpose::Caremgt;
        s.query.types = vec![code("profile"), code("vitals")];
    });
    let pages = city.pages(signed).await.unwrap();
    let records: Vec<_> = pages.iter().flat_map(|(page, _)| &page.records).collect();
    assert_eq!(records.len(), 2);
    for record in &records {
        let text = std::str::from_utf8(&record.fhir_json).unwrap();
        assert_eq!(
            (record.tier, record.masked_groups.as_slice()),
            (Tier::Masked, &["identifiers".to_owned()][..])
        );
        for gone in ["MRN-4711", "张三", "p-77"] {
            assert!(
                !text.contains(gone) && !record.id.contains(gone),
                "{gone} in {text} or {}",
                record.id
            );
        }
    }
    assert!(
        std::str::from_utf8(&records[0].fhir_json)
            .unwrap()
            .contains("female")
    );
    assert_eq!(records[1].id, "o-1", "what is not masked stays");
    assert_eq!(city.leaf(&pages[0].1)["tier"], "masked");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_national_number_leaves_even_in_whole_records() {
    let city = City::new();
    let number = ResidentId::complete("50011219400301123").unwrap();
    let json = format!(
        r#"{{"resourceType":"Patient","id":"{number}","identifier":[{{"value":"{number}"}}],"name":[{{"text":"身份证{number}"}}]}}"#
    );
    city.put(1, "profile", &number, 4, &json).await;
    city.consent(1, 1, |_| ()).await;
    for purpose in [Purpose::Treat, Purpose::Caremgt] {
        let signed = city.fetch(1, |s| {
            s.query.types = vec![code("profile")];
            s.purpose = purpose;
        });
        let pages = city.pages(signed).await.unwrap();
        let record = &pages[0].0.records[0];
        let text = std::str::from_utf8(&record.fhir_json).unwrap();
        assert!(!text.contains(&number), "{text}");
        assert!(
            !record.id.contains(&number) && !record.version.contains(&number),
            "{}",
            record.id
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_and_the_window_of_time_are_kept_to() {
    let city = City::new();
    for n in 0..10 {
        city.vital(1, &format!("o-{n}")).await;
    }
    city.consent(1, 1, |_| ()).await;
    let signed = city.fetch(1, |s| {
        s.query.since = Some(NOW.plus_ms(-6));
        s.query.until = Some(NOW.plus_ms(-2));
    });
    assert_eq!(
        ids(&city.pages(signed).await.unwrap()),
        ["o-3", "o-4", "o-5", "o-6"]
    );
    let mut statement = city.statement(Verb::Locate, 1);
    statement.query.since = Some(NOW.plus_ms(-6));
    let signed = city.asker.sign(statement);
    let (answer, _) = located(
        city.holder()
            .locate(&city.asker.peer, signed)
            .await
            .unwrap(),
    );
    assert_eq!(answer.holdings[0].records, Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn public_types_need_no_consent_and_unknown_types_are_named() {
    let city = City::new();
    city.put(
        1,
        "facility",
        "f-1",
        1,
        r#"{"resourceType":"Organization","id":"f-1"}"#,
    )
    .await;
    let signed = city.fetch(1, |s| s.query.types = vec![code("facility")]);
    assert_eq!(ids(&city.pages(signed).await.unwrap()), ["f-1"]);
    let signed = city.fetch(1, |s| {
        s.query.types = vec![code("facility"), code("no-such")];
    });
    let refused = city.pages(signed).await.unwrap_err();
    assert_eq!(
        (refused.refusal.reason, refused.refusal.detail.as_deref()),
        (ReasonCode::TypeUnknown, Some("no-such"))
    );
    let signed = city.fetch(1, |s| s.query.types.clear());
    assert_eq!(
        city.pages(signed).await.unwrap_err().refusal.reason,
        ReasonCode::PurposeNotAllowed
    );
}
