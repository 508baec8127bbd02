//! The federation at work: dead and mute members, large results cut and resumed, public records.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use record::AgencyKind;
use songhe::config::Limits;
use wire::v1;

use crate::support::{
    Federation, Member, fetch, item, number, permit, put, reason, subject, vitals,
};

fn query(types: &[&str]) -> Option<v1::Query> {
    Some(v1::Query {
        record_types: types.iter().map(ToString::to_string).collect(),
        ..Default::default()
    })
}

fn intent(purpose: &str) -> Option<v1::Intent> {
    Some(v1::Intent {
        purpose: purpose.to_owned(),
        basis: String::new(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_and_the_mute_hold_back_nobody() {
    // It accepts connections (the system does) and never says a word.
    let mute = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let members = [
        ("hospital-1", AgencyKind::Hospital),
        ("community-1", AgencyKind::Community),
        ("community-2", AgencyKind::Community),
        ("community-3", AgencyKind::Community),
    ];
    let mut city = Federation::found_behind(
        &members,
        &Limits::default(),
        &[("community-3", mute.local_addr().unwrap())],
    );
    for id in ["hospital-1", "community-1", "community-2"] {
        city.member_mut(id).start().await;
    }
    let elder = number(1);
    let community = city.member("community-1");
    put(
        community,
        vec![item(vitals("v1", 72), &elder)],
        v1::PutFormat::Resource,
    )
    .await
    .unwrap();
    permit(community, &elder, "hospital-1", "TREAT", 4).await;
    // It was alive when it was first asked: its connection is open when it dies.
    let hospital = city.member("hospital-1");
    let alive = fetch(
        hospital,
        "doctor",
        "community-2",
        &elder,
        &["vitals"],
        "TREAT",
    )
    .await
    .unwrap();
    assert_eq!(alive.reason, "CONSENT_MISSING");
    city.member_mut("community-2").kill().await;

    // Far above what an answer takes: the mute one is given up when no connection comes about, long before.
    const DEADLINE_MS: u32 = 15_000;
    let hospital = city.member("hospital-1");
    let request = v1::FederatedLocateRequest {
        subject: Some(subject(&elder)),
        query: query(&["vitals"]),
        intent: intent("TREAT"),
        member_ids: Vec::new(),
        deadline_ms: DEADLINE_MS,
    };
    let started = Instant::now();
    let mut stream = hospital
        .client("doctor")
        .locate(request)
        .await
        .unwrap()
        .into_inner();
    let mut order = Vec::new();
    while let Some(a) = stream.message().await.unwrap() {
        let name = songhe::cli::client::member_outcome(a.outcome);
        let reason = a.reason.map(|r| r.code).unwrap_or_default();
        assert!(
            a.elapsed_ms <= DEADLINE_MS,
            "{}: {} ms",
            a.member_id,
            a.elapsed_ms
        );
        order.push((a.member_id, name, reason, started.elapsed()));
    }
    let of = |id: &str| order.iter().position(|(member, ..)| member == id).unwrap();
    assert_eq!(
        order.len(),
        3,
        "every member that was asked has an answer, and only they: {order:?}"
    );
    assert_eq!(order[of("community-1")].1, "data");
    for dead in ["community-2", "community-3"] {
        assert_eq!(
            (order[of(dead)].1, order[of(dead)].2.as_str()),
            ("unreachable", "MEMBER_UNREACHABLE")
        );
    }
    assert_eq!(of("community-3"), 2, "the mute one is the last: {order:?}");
    assert!(
        order[of("community-1")].3 < Duration::from_millis(DEADLINE_MS.into()),
        "{order:?}"
    );
    within_a_short_deadline(hospital, &elder).await;

    let request = v1::FederatedFetchRequest {
        subject: Some(subject(&elder)),
        query: query(&["vitals"]),
        intent: intent("TREAT"),
        deadline_ms: DEADLINE_MS,
        ..Default::default()
    };
    let mut stream = hospital
        .client("doctor")
        .fetch(request)
        .await
        .unwrap()
        .into_inner();
    let mut ends = BTreeSet::new();
    let mut records = 0;
    while let Some(page) = stream.message().await.unwrap() {
        records += page.records.len();
        if page.outcome != i32::from(v1::MemberOutcome::Unspecified) {
            ends.insert((
                page.member_id,
                songhe::cli::client::member_outcome(page.outcome),
            ));
        }
    }
    assert_eq!(records, 1);
    let expected = [
        ("community-1", "data"),
        ("community-2", "unreachable"),
        ("community-3", "unreachable"),
    ];
    assert_eq!(ends, expected.map(|(id, end)| (id.to_owned(), end)).into());

    // Back again, it answers again: the broken connection is made anew.
    city.member_mut("community-2").start().await;
    let again = fetch(
        city.member("hospital-1"),
        "doctor",
        "community-2",
        &elder,
        &["vitals"],
        "TREAT",
    )
    .await
    .unwrap();
    assert_eq!(
        (again.outcome.as_str(), again.reason.as_str()),
        ("refused", "CONSENT_MISSING")
    );
    city.stop_all().await;
}

/// A deadline below the limit of a connection holds too.
async fn within_a_short_deadline(by: &Member, elder: &str) {
    const SHORT_MS: u32 = 700;
    let request = v1::FederatedLocateRequest {
        subject: Some(subject(elder)),
        query: query(&["vitals"]),
        intent: intent("TREAT"),
        member_ids: vec!["community-3".into()],
        deadline_ms: SHORT_MS,
    };
    let mut stream = by
        .client("doctor")
        .locate(request)
        .await
        .unwrap()
        .into_inner();
    let end = stream.message().await.unwrap().unwrap();
    assert_eq!(end.outcome, i32::from(v1::MemberOutcome::Unreachable));
    // Not the limit of a connection, which is longer.
    let told = end.reason.unwrap().en;
    assert!(told.contains("deadline"), "{told}");
    assert!(end.elapsed_ms >= SHORT_MS, "{} ms", end.elapsed_ms);
    assert!(stream.message().await.unwrap().is_none());
}

/// Fetches from the community; `pages` of them, then the stream is dropped.
async fn pages(
    by: &Member,
    request: v1::FederatedFetchRequest,
    pages: usize,
) -> (Vec<v1::FederatedFetchResponse>, bool) {
    let mut stream = by
        .client("doctor")
        .fetch(request)
        .await
        .unwrap()
        .into_inner();
    let mut got = Vec::new();
    while got.len() < pages {
        match stream.message().await.unwrap() {
            Some(page) if page.outcome == i32::from(v1::MemberOutcome::Unspecified) => {
                got.push(page);
            }
            Some(end) => {
                assert_eq!(
                    end.outcome,
                    i32::from(v1::MemberOutcome::Data),
                    "{:?}",
                    end.reason
                );
                return (got, true);
            }
            None => panic!("the stream ended without an outcome"),
        }
    }
    (got, false)
}

#[tokio::test(flavor = "multi_thread")]
async fn large_results_resume_and_public_records_are_open() {
    const RECORDS: usize = 300;
    let members = [
        ("hospital-1", AgencyKind::Hospital),
        ("community-1", AgencyKind::Community),
    ];
    let mut city = Federation::found(&members, &Limits::default());
    city.start_all().await;
    let (hospital, community) = (city.member("hospital-1"), city.member("community-1"));
    let elder = number(1);
    let items = (0..RECORDS).map(|i| {
        item(
            vitals(&format!("v{i}"), 60 + u32::try_from(i % 40).unwrap()),
            &elder,
        )
    });
    put(community, items.collect(), v1::PutFormat::Resource)
        .await
        .unwrap();
    permit(community, &elder, "hospital-1", "TREAT", 4).await;

    let request = |cursor: Vec<u8>| v1::FederatedFetchRequest {
        subject: Some(subject(&elder)),
        query: query(&["vitals"]),
        intent: intent("TREAT"),
        member_ids: vec!["community-1".into()],
        deadline_ms: 30_000,
        cursor,
    };
    let (first, ended) = pages(hospital, request(Vec::new()), 2).await;
    assert!(!ended && first.iter().all(|p| !p.cursor.is_empty()));
    let (rest, ended) = pages(hospital, request(first[1].cursor.clone()), usize::MAX).await;
    assert!(ended);
    let ids = |pages: &[v1::FederatedFetchResponse]| -> Vec<String> {
        pages
            .iter()
            .flat_map(|p| &p.records)
            .map(|r| r.record_id.clone())
            .collect()
    };
    let all = [ids(&first), ids(&rest)].concat();
    assert_eq!(all.len(), RECORDS);
    assert_eq!(
        all.iter().collect::<BTreeSet<_>>().len(),
        RECORDS,
        "each once"
    );
    // From the same place again, the same: and in the same order as in one go.
    let (again, _) = pages(hospital, request(first[1].cursor.clone()), usize::MAX).await;
    assert_eq!(ids(&again), ids(&rest));
    let (whole, _) = pages(hospital, request(Vec::new()), usize::MAX).await;
    assert_eq!(ids(&whole), all);

    // A cursor is good for its own question alone.
    let mut other = request(first[0].cursor.clone());
    other.query.as_mut().unwrap().limit = 7;
    let mut stream = hospital
        .client("doctor")
        .fetch(other)
        .await
        .unwrap()
        .into_inner();
    let end = stream.message().await.unwrap().unwrap();
    assert_eq!(end.reason.unwrap().code, "CURSOR_INVALID");
    let mut two = request(first[0].cursor.clone());
    two.member_ids.clear();
    two.member_ids
        .extend(["community-1".to_owned(), "civil-affairs-1".to_owned()]);
    assert_eq!(
        reason(&hospital.client("doctor").fetch(two).await.unwrap_err()),
        "CURSOR_INVALID"
    );

    // A facility is about nobody: no subject, no consent, any role that may ask.
    let facility = serde_json::json!({"resourceType": "Organization", "id": "f1", "active": true, "name": "测试养老院"});
    let facility = v1::PutItem {
        data: facility.to_string().into_bytes(),
        subject: None,
        last: true,
    };
    put(community, vec![facility], v1::PutFormat::Resource)
        .await
        .unwrap();
    for (client, purpose) in [
        ("doctor", "TREAT"),
        ("nurse", "CAREMGT"),
        ("clerk", "ELIGDTRM"),
        ("counter", "HOPERAT"),
    ] {
        let ask = v1::FederatedFetchRequest {
            subject: None,
            query: query(&["facility"]),
            intent: intent(purpose),
            member_ids: vec!["community-1".into()],
            ..Default::default()
        };
        let mut stream = hospital
            .client(client)
            .fetch(ask)
            .await
            .unwrap()
            .into_inner();
        let page = stream.message().await.unwrap().unwrap();
        assert_eq!(page.records.len(), 1, "{client}: {:?}", page.reason);
        assert_eq!(page.records[0].tier, i32::from(v1::Tier::Full));
    }
    city.stop_all().await;
}
