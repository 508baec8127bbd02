//! The federation at work: dead and mute members, large results cut and resumed, public records, renewed certificates,
//! an expired directory.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use federation::Fingerprint;
use record::AgencyKind;
use songhe::config::Limits;
use songhe::home::now;
use wire::v1;

use crate::caller::{Keys, channel, connect, locate, reason_told, tls, to_peer};
use crate::operation::songhe;
use crate::support::{
    Federation, Member, PASSPHRASE, fetch, item, number, permit, put, reason, subject, vitals,
};
use crate::wait::until;

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

    const DEADLINE_MS: u32 = 2_500;
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
            a.elapsed_ms <= DEADLINE_MS + 1_000,
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
    assert!(
        started.elapsed() < Duration::from_millis(u64::from(DEADLINE_MS) + 1_500),
        "{order:?}"
    );

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
        .extend(["community-1".to_owned(), "hospital-1".to_owned()]);
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

/// The certificate a node presents.
async fn presented(member: &Member, identity: (&str, &str)) -> Fingerprint {
    let stream = connect(
        member.listen.peer,
        tls(Some(identity), &rustls::version::TLS13),
    )
    .await
    .unwrap();
    Fingerprint::of(&stream.get_ref().1.peer_certificates().unwrap()[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_directories_are_renewed_while_the_node_runs() {
    let members = [
        ("hospital-1", AgencyKind::Hospital),
        ("community-1", AgencyKind::Community),
    ];
    let mut city = Federation::found(&members, &Limits::default());
    city.member_mut("community-1").start().await;
    let hospital = Keys::of(city.member("hospital-1"));
    let issued = hospital.issue(-5, 1000);
    let identity = (issued.chain_pem.as_str(), issued.key_pem.as_str());
    let holder = city.member("community-1");

    let (old, made) = channel(
        holder.listen.peer,
        tls(Some(identity), &rustls::version::TLS13),
    );
    let old = v1::peer_service_client::PeerServiceClient::new(old);
    locate(&old, hospital.sign(&hospital.statement("community-1")))
        .await
        .unwrap();
    let before = presented(holder, identity).await;
    let folder = holder.home.folder().to_str().unwrap();
    let renewed = songhe(&["certificate", "renew", "--data-dir", folder], PASSPHRASE).await;
    assert!(
        renewed.status.success(),
        "{}",
        String::from_utf8_lossy(&renewed.stderr)
    );
    until(
        Duration::from_secs(15),
        "the node presents the new certificate",
        || async { presented(holder, identity).await != before },
    )
    .await;
    locate(&old, hospital.sign(&hospital.statement("community-1")))
        .await
        .unwrap();
    assert_eq!(
        made.load(Ordering::SeqCst),
        1,
        "the old connection lives on"
    );
    // Whoever dials by the directory accepts the new certificate.
    health_and_reflection(&city, &hospital).await;

    // A directory that runs out in a few seconds; then one that does not.
    let soon = now().plus_ms(-86_400_000 + 4_000);
    let signed = city.draft.sign(&city.authority, soon, 1).unwrap();
    let holder = city.member("community-1");
    holder.home.write("directory.note", signed.bytes()).unwrap();
    let ask = || async { locate(&old, hospital.sign(&hospital.statement("community-1"))).await };
    until(
        Duration::from_secs(20),
        "the directory runs out",
        || async {
            ask()
                .await
                .is_err_and(|status| reason_told(&status) == "DIRECTORY_EXPIRED")
        },
    )
    .await;
    let told = holder
        .client("operator")
        .status(v1::StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(told.reasons[0].code, "DIRECTORY_EXPIRED");
    city.publish(30);
    until(
        Duration::from_secs(20),
        "the new directory is taken up",
        || async { ask().await.is_ok() },
    )
    .await;
    city.stop_all().await;
}

async fn health_and_reflection(city: &Federation, hospital: &Keys) {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let holder = city.member("community-1");
    let stranger = crate::caller::stranger("stranger-1");
    let read = |name: &str| std::fs::read_to_string(holder.clients.join(name)).unwrap();
    let (chain, key) = (read("operator.pem"), read("operator.key"));
    let own = |address| channel(address, tls(Some((&chain, &key)), &rustls::version::TLS13)).0;
    let known = [
        to_peer(holder, &hospital.issue(-5, 1000)),
        own(holder.listen.peer),
        own(holder.listen.gateway),
    ];
    let services = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    for channel in known {
        let check = HealthCheckRequest {
            service: String::new(),
        };
        let status = HealthClient::new(channel.clone())
            .check(check)
            .await
            .unwrap()
            .into_inner()
            .status;
        assert_eq!(status, i32::from(ServingStatus::Serving));
        let asked = tokio_stream::iter([services.clone()]);
        let mut told = ServerReflectionClient::new(channel)
            .server_reflection_info(asked)
            .await
            .unwrap()
            .into_inner();
        let Some(MessageResponse::ListServicesResponse(list)) =
            told.message().await.unwrap().unwrap().message_response
        else {
            panic!("no list of services");
        };
        let names: Vec<_> = list.service.iter().map(|s| s.name.as_str()).collect();
        for name in [
            "songhe.v1.PeerService",
            "songhe.v1.GatewayService",
            "grpc.health.v1.Health",
        ] {
            assert!(names.contains(&name), "{names:?}");
        }
    }
    for address in [holder.listen.peer, holder.listen.gateway] {
        let identity = Some((stranger.chain_pem.as_str(), stranger.key_pem.as_str()));
        let (unknown, _) = channel(address, tls(identity, &rustls::version::TLS13));
        let check = HealthCheckRequest {
            service: String::new(),
        };
        let status = HealthClient::new(unknown.clone())
            .check(check)
            .await
            .unwrap_err();
        assert_eq!(reason_told(&status), "PEER_UNKNOWN");
        let asked = tokio_stream::iter([services.clone()]);
        let status = ServerReflectionClient::new(unknown)
            .server_reflection_info(asked)
            .await
            .unwrap_err();
        assert_eq!(reason_told(&status), "PEER_UNKNOWN");
    }
}
