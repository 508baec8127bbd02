//! Erasure: nothing of the person comes back, not after a restart, not from a rebuilt index, not from the disk.

use std::os::unix::fs::FileExt as _;

use record::AgencyKind;
use serde_json::Value;
use songhe::config::Limits;
use wire::v1;

use crate::needles::Needles;
use crate::operation::songhe;
use crate::support::{
    Federation, PASSPHRASE, fetch, item, number, permit, put, reason, subject, vitals,
};
use crate::trail::{events, leaf, of_type, segment_of};

/// The sealed bytes of an event as they lie in the segment now.
fn sealed(path: &std::path::Path, at: &journal::Location) -> Vec<u8> {
    let mut bytes = vec![0; (at.row_len + at.body_len) as usize];
    std::fs::File::open(path)
        .unwrap()
        .read_exact_at(&mut bytes, at.offset)
        .unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_does_not_come_back() {
    let members = [
        ("hospital-1", AgencyKind::Hospital),
        ("community-1", AgencyKind::Community),
    ];
    let mut city = Federation::found(&members, &Limits::default());
    city.start_all().await;
    let (gone, stays) = (number(1), number(2));
    let community = city.member("community-1");
    let mut seqs = Vec::new();
    for elder in [&gone, &stays] {
        let items = (0..5)
            .map(|i| item(vitals(&format!("{}-{i}", &elder[14..17]), 70 + i), elder))
            .collect();
        let results = put(community, items, v1::PutFormat::Resource)
            .await
            .unwrap();
        assert!(
            results
                .iter()
                .all(|r| r.outcome == i32::from(v1::PutOutcome::Stored))
        );
        if elder == &gone {
            seqs = results
                .iter()
                .map(|r| r.leaf.as_ref().unwrap().seq)
                .collect();
        }
        permit(community, elder, "hospital-1", "TREAT", 4).await;
    }
    // One in quarantine, about the same person.
    let odd = put(
        community,
        vec![item(vitals("odd", 9000), &gone)],
        v1::PutFormat::Resource,
    )
    .await
    .unwrap();
    assert_eq!(odd[0].outcome, i32::from(v1::PutOutcome::Quarantined));
    seqs.push(odd[0].quarantine_id);
    assert_eq!(set_aside(&city).await, 1);
    assert_eq!(read(&city, &gone).await, ("data".into(), String::new(), 5));
    assert_eq!(read(&city, &stays).await, ("data".into(), String::new(), 5));

    let before = events(city.member("community-1"));
    let places: Vec<_> = before
        .iter()
        .filter(|e| seqs.contains(&e.seq))
        .map(|e| (segment_of(city.member("community-1"), e), e.location))
        .collect();
    assert_eq!(places.len(), 6);
    let mut needles = Needles::default();
    for (path, at) in &places {
        let bytes = sealed(path, at);
        assert!(bytes.iter().any(|b| *b != 0));
        // Windows of the sealed body, so that half an overwriting would show.
        for part in bytes[at.row_len as usize..]
            .chunks(16)
            .filter(|c| c.len() == 16)
        {
            needles.add(part);
        }
    }
    let data = city.member("community-1").home.folder().to_owned();
    assert!(!needles.found_below(&data).is_empty());

    // Only at the counter, and for a named ground.
    let request = |ground: &str| v1::EraseSubjectRequest {
        subject: Some(subject(&gone)),
        ground: ground.into(),
    };
    let community = city.member("community-1");
    let status = community
        .client("his")
        .erase_subject(request("request"))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "ROLE_NOT_ALLOWED");
    let status = community
        .client("counter")
        .erase_subject(request("because"))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "REQUEST_MALFORMED");
    let erased = community
        .client("counter")
        .erase_subject(request("request"))
        .await
        .unwrap()
        .into_inner();
    // Five records, one set aside and a consent at least; accesses leave sealed details too.
    assert!(erased.bodies >= 7, "{}", erased.bodies);
    assert_eq!(erased.leaf.unwrap().member_id, "community-1");
    let status = community
        .client("counter")
        .erase_subject(request("request"))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "SUBJECT_UNRESOLVED");

    for (path, at) in &places {
        assert!(
            sealed(path, at).iter().all(|b| *b == 0),
            "the sealed bytes are overwritten with zeros"
        );
    }
    assert!(needles.found_below(&data).is_empty());
    // The leaves stay, byte for byte.
    let after = events(city.member("community-1"));
    for (old, new) in before.iter().zip(&after) {
        assert_eq!((old.seq, &old.leaf), (new.seq, &new.leaf));
    }
    assert_eq!(of_type(&after, "erase-executed"), 1);
    for e in &after {
        assert!(!leaf(e).to_string().contains(&gone));
    }
    nothing_is_left(&city, &gone, &stays).await;

    let community = city.member_mut("community-1");
    community.stop().await;
    community.start().await;
    nothing_is_left(&city, &gone, &stays).await;

    let community = city.member_mut("community-1");
    community.stop().await;
    std::fs::remove_dir_all(community.home.path("index")).unwrap();
    community.start().await;
    assert_ne!(
        community.process.as_ref().unwrap().ready["replayed"],
        0,
        "the index was made anew"
    );
    nothing_is_left(&city, &gone, &stays).await;
    assert!(needles.found_below(&data).is_empty());

    city.stop_all().await;
    let report = songhe(
        &["fsck", "--data-dir", data.to_str().unwrap(), "--json"],
        PASSPHRASE,
    )
    .await;
    assert!(report.status.success());
    let told: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(told["damage"].as_array().unwrap().len(), 0);
    assert!(told["erased"].as_u64().unwrap() >= 7, "{told}");
}

async fn read(city: &Federation, elder: &str) -> (String, String, usize) {
    let fetched = fetch(
        city.member("hospital-1"),
        "doctor",
        "community-1",
        elder,
        &["vitals"],
        "TREAT",
    )
    .await
    .unwrap();
    (fetched.outcome, fetched.reason, fetched.records.len())
}

async fn set_aside(city: &Federation) -> usize {
    let request = v1::ListQuarantineRequest::default();
    let mut entries = city
        .member("community-1")
        .client("his")
        .list_quarantine(request)
        .await
        .unwrap()
        .into_inner();
    let mut n = 0;
    while entries.message().await.unwrap().is_some() {
        n += 1;
    }
    n
}

async fn nothing_is_left(city: &Federation, gone: &str, stays: &str) {
    let unknown = read(city, &number(77)).await;
    assert_eq!(unknown, ("refused".into(), "CONSENT_MISSING".into(), 0));
    assert_eq!(
        read(city, gone).await,
        unknown,
        "as if the person had never been known"
    );
    assert_eq!(read(city, stays).await, ("data".into(), String::new(), 5));
    let community = city.member("community-1");
    let request = v1::ListConsentsRequest {
        subject: Some(subject(gone)),
    };
    let listed = community
        .client("counter")
        .list_consents(request)
        .await
        .unwrap()
        .into_inner();
    assert!(listed.consents.is_empty());
    assert_eq!(set_aside(city).await, 0);
}
