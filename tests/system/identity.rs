//! Who asks: strangers, forged, expired and suspended members, replayed and altered requests; each has its own reason,
//! told in both languages and kept in the journal.

use std::collections::BTreeMap;

use federation::certificate::Issued;
use record::AgencyKind;
use songhe::config::Limits;
use songhe::home::now;
use tokio::io::AsyncReadExt as _;
use wire::v1;

use crate::caller::{Keys, channel, connect, locate, peer, reason_told, stranger, tls};
use crate::support::Federation;
use crate::trail::{events, of_type, refusals};
use crate::wait::{LONGEST, until};

const TWO: [(&str, AgencyKind); 2] = [
    ("hospital-1", AgencyKind::Hospital),
    ("community-1", AgencyKind::Community),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_no_active_members_is_refused_by_its_own_reason() {
    let members = [
        TWO[0],
        TWO[1],
        ("civil-affairs-1", AgencyKind::CivilAffairs),
    ];
    let mut city = Federation::found(&members, &Limits::default());
    for id in ["community-1", "civil-affairs-1"] {
        city.member_mut(id).start().await;
    }
    let holder = city.member("community-1");
    let hospital = Keys::of(city.member("hospital-1"));
    let good = hospital.issue(-5, 1000);
    let ask = |issued: Issued| {
        let (client, request) = (
            peer(holder, &issued),
            hospital.sign(&hospital.statement("community-1")),
        );
        async move { locate(&client, request).await }
    };
    let genuine = peer(holder, &good);
    let answer = locate(&genuine, hospital.sign(&hospital.statement("community-1")))
        .await
        .unwrap();
    assert_eq!(answer.leaf.unwrap().member_id, "community-1");

    let client =
        std::fs::read_to_string(city.member("hospital-1").clients.join("doctor.pem")).unwrap();
    let client_key =
        std::fs::read_to_string(city.member("hospital-1").clients.join("doctor.key")).unwrap();
    let refused = [
        ("PEER_UNKNOWN", ask(stranger("stranger-1")).await),
        (
            "PEER_CERTIFICATE_MISMATCH",
            ask(stranger("hospital-1")).await,
        ),
        (
            "PEER_CERTIFICATE_EXPIRED",
            ask(hospital.issue(-30, -5)).await,
        ),
        (
            "PEER_CERTIFICATE_EXPIRED",
            ask(hospital.issue(30, 1000)).await,
        ),
        ("PEER_CERTIFICATE_MISMATCH", {
            let config = tls(Some((&client, &client_key)), &rustls::version::TLS13);
            let doctor = v1::peer_service_client::PeerServiceClient::new(
                channel(holder.listen.peer, config).0,
            );
            locate(&doctor, hospital.sign(&hospital.statement("community-1"))).await
        }),
    ];
    let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
    for (reason, answer) in refused {
        assert_eq!(reason_told(&answer.unwrap_err()), reason);
        *expected.entry(reason).or_default() += 1;
    }

    // Without a certificate, or with TLS 1.2, there is no connection to be refused on.
    let identity = Some((good.chain_pem.as_str(), good.key_pem.as_str()));
    for config in [
        tls(None, &rustls::version::TLS13),
        tls(identity, &rustls::version::TLS12),
    ] {
        for address in [holder.listen.peer, holder.listen.gateway] {
            let told = match connect(address, config.clone()).await {
                // The caller of TLS 1.3 learns what the server thinks of it when it reads.
                Ok(mut stream) => stream.read_u8().await.map(|_| ()).unwrap_err(),
                Err(fault) => fault,
            };
            let told = told.to_string();
            assert!(
                told.contains("alert") || told.contains("eof") || told.contains("reset"),
                "{told}"
            );
        }
    }
    let (nobody, _) = channel(holder.listen.peer, tls(None, &rustls::version::TLS13));
    let status = v1::peer_service_client::PeerServiceClient::new(nobody)
        .get_directory(v1::GetDirectoryRequest {
            protocol: 1,
            known_version: 0,
        })
        .await
        .unwrap_err();
    assert!(songhe::status::refusal_in(&status).is_none(), "{status:?}");

    // The directory that suspends reaches another node's folder; the holder pulls it from there by itself.
    city.draft.suspend(&hospital.id).unwrap();
    let signed = city.draft.sign(&city.authority, now(), 30).unwrap();
    city.member("civil-affairs-1")
        .home
        .write("directory.note", signed.bytes())
        .unwrap();
    let holder = city.member("community-1");
    until(LONGEST, "the suspension reaches the holder", || async {
        // The open connection of before: suspended in the middle of it.
        let answer = locate(&genuine, hospital.sign(&hospital.statement("community-1"))).await;
        answer.err().map(|status| reason_told(&status)) == Some("PEER_SUSPENDED".into())
    })
    .await;
    expected.insert("PEER_SUSPENDED", 1);
    let trail = events(holder);
    for (reason, times) in expected {
        assert_eq!(refusals(&trail, reason), times, "{reason}");
    }
    assert_eq!(of_type(&trail, "directory-adopted"), 1);
    city.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_answered_once_fresh_whole_and_by_its_addressee() {
    let mut city = Federation::found(&TWO, &Limits::default());
    city.member_mut("community-1").start().await;
    let hospital = Keys::of(city.member("hospital-1"));
    let issued = hospital.issue(-5, 1000);
    let client = peer(city.member("community-1"), &issued);
    let before = events(city.member("community-1")).len();

    let first = hospital.sign(&hospital.statement("community-1"));
    locate(&client, first.clone()).await.unwrap();

    let with = |change: &dyn Fn(&mut v1::RequestStatement)| {
        let mut statement = hospital.statement("community-1");
        change(&mut statement);
        hospital.sign(&statement)
    };
    let mut flipped = with(&|_| {});
    flipped.signature[17] ^= 1;
    let mut altered = with(&|_| {});
    let last = altered.statement.len() - 1;
    altered.statement[last] ^= 1;
    let requests = [
        ("REQUEST_REPLAYED", first.clone()),
        ("REQUEST_STALE", with(&|s| s.issued_at_ms -= 3_600_000)),
        ("REQUEST_STALE", with(&|s| s.issued_at_ms += 3_600_000)),
        ("SIGNATURE_INVALID", flipped),
        (
            "RECIPIENT_WRONG",
            with(&|s| s.holder_id = "hospital-1".into()),
        ),
        (
            "PEER_CERTIFICATE_MISMATCH",
            with(&|s| s.requester_id = "community-1".into()),
        ),
        ("PROTOCOL_TOO_OLD", with(&|s| s.protocol = 0)),
        ("REQUEST_MALFORMED", with(&|s| s.verb = "fetch".into())),
        (
            "REQUEST_MALFORMED",
            with(&|s| s.query.as_mut().unwrap().record_types.clear()),
        ),
        ("PSEUDONYM_MALFORMED", with(&|s| s.pseudonym.truncate(31))),
        (
            "TYPE_UNKNOWN",
            with(&|s| s.query.as_mut().unwrap().record_types[0] = "no-such-type".into()),
        ),
        ("CURSOR_INVALID", with(&|s| s.cursor = vec![0xff, 0xfe])),
    ];
    let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
    for (reason, request) in requests {
        assert_eq!(
            reason_told(&locate(&client, request).await.unwrap_err()),
            reason
        );
        *expected.entry(reason).or_default() += 1;
    }
    // A byte of what was signed is another: whichever check meets it first, it is refused.
    let altered = locate(&client, altered).await.unwrap_err();
    *expected
        .entry(Box::leak(reason_told(&altered).into_boxed_str()))
        .or_default() += 1;
    let old = v1::EvaluateRequest {
        protocol: 0,
        blinded_elements: vec![vec![1; 32]],
    };
    let status = client.clone().evaluate(old).await.unwrap_err();
    assert_eq!(reason_told(&status), "PROTOCOL_TOO_OLD");
    *expected.entry("PROTOCOL_TOO_OLD").or_default() += 1;
    let no_point = v1::EvaluateRequest {
        protocol: 1,
        blinded_elements: vec![vec![0xff; 32]],
    };
    let status = client.clone().evaluate(no_point).await.unwrap_err();
    assert_eq!(reason_told(&status), "PSEUDONYM_MALFORMED");
    *expected.entry("PSEUDONYM_MALFORMED").or_default() += 1;

    // The memory of what was answered outlives the process.
    let last = hospital.sign(&hospital.statement("community-1"));
    locate(&client, last.clone()).await.unwrap();
    let holder = city.member_mut("community-1");
    holder.stop().await;
    holder.start().await;
    let client = peer(holder, &issued);
    assert_eq!(
        reason_told(&locate(&client, last).await.unwrap_err()),
        "REQUEST_REPLAYED"
    );
    *expected.entry("REQUEST_REPLAYED").or_default() += 1;
    let trail = events(holder);
    for (reason, times) in &expected {
        assert_eq!(refusals(&trail, reason), *times, "{reason}");
    }
    let refused: usize = expected.values().sum();
    // Two disclosures, the refusals, a shutdown and a start, and nothing else.
    assert_eq!(of_type(&trail, "disclosure"), 2);
    assert_eq!(trail.len() - before, 2 + refused + 2);
    city.stop_all().await;
}
