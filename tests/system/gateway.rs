//! The agency's own side: each certificate has one role, and one that was taken back has none.

use std::collections::BTreeMap;

use record::AgencyKind;
use songhe::config::Limits;
use tonic::Status;
use wire::v1;

use crate::caller::{Keys, channel, reason_told, stranger, tls};
use crate::operation::songhe;
use crate::support::{Federation, Member, PASSPHRASE, fetch, number, put_as, reason, subject};
use crate::trail::{events, refusals};
use crate::wait::{LONGEST, until};

/// The calls of the gateway, each with the clients that may make it.
const CALLS: [(&str, &[&str]); 8] = [
    ("put", &["his", "counter"]),
    ("list-quarantine", &["his", "counter"]),
    ("locate", &["counter", "doctor", "nurse", "clerk", "carer"]),
    ("fetch", &["counter", "doctor", "nurse", "clerk", "carer"]),
    ("grant-consent", &["counter"]),
    ("list-consents", &["counter"]),
    ("erase", &["counter"]),
    (
        "status",
        &[
            "his", "counter", "doctor", "nurse", "clerk", "carer", "operator", "auditor",
        ],
    ),
];

async fn call(node: &Member, client: &str, call: &str) -> Result<(), Status> {
    let mut gateway = node.client(client);
    let who = Some(subject(&number(3)));
    let query = Some(v1::Query {
        record_types: vec!["vitals".into()],
        ..Default::default()
    });
    let intent = Some(v1::Intent {
        purpose: "TREAT".into(),
        basis: String::new(),
    });
    match call {
        "put" => put_as(node, client, v1::PutOpen::default(), Vec::new())
            .await
            .map(drop),
        "list-quarantine" => gateway
            .list_quarantine(v1::ListQuarantineRequest::default())
            .await
            .map(drop),
        "locate" => {
            let request = v1::FederatedLocateRequest {
                subject: who,
                query,
                intent,
                ..Default::default()
            };
            gateway.locate(request).await.map(drop)
        }
        "fetch" => {
            let request = v1::FederatedFetchRequest {
                subject: who,
                query,
                intent,
                ..Default::default()
            };
            gateway.fetch(request).await.map(drop)
        }
        "grant-consent" => {
            let terms = v1::ConsentTerms {
                effect: v1::ConsentEffect::Permit.into(),
                purposes: vec!["TREAT".into()],
                ..Default::default()
            };
            gateway
                .grant_consent(v1::GrantConsentRequest {
                    subject: who,
                    terms: Some(terms),
                })
                .await
                .map(drop)
        }
        "list-consents" => gateway
            .list_consents(v1::ListConsentsRequest { subject: who })
            .await
            .map(drop),
        "erase" => {
            let request = v1::EraseSubjectRequest {
                subject: who,
                ground: "request".into(),
            };
            gateway.erase_subject(request).await.map(drop)
        }
        "status" => gateway.status(v1::StatusRequest {}).await.map(drop),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_certificate_has_one_role_until_it_is_taken_back() {
    let members = [
        ("community-1", AgencyKind::Community),
        ("hospital-1", AgencyKind::Hospital),
    ];
    let mut city = Federation::found(&members, &Limits::default());
    city.member_mut("community-1").start().await;
    let node = city.member("community-1");

    let mut refused = 0;
    for (name, may) in CALLS {
        for (client, _) in crate::support::CLIENTS {
            match call(node, client, name).await {
                Ok(()) => assert!(may.contains(&client), "{client} must not {name}"),
                Err(status) => {
                    assert!(!may.contains(&client), "{client} may {name}: {status:?}");
                    assert_eq!(reason_told(&status), "ROLE_NOT_ALLOWED", "{client} {name}");
                    refused += 1;
                }
            }
        }
    }
    let trail = events(node);
    assert_eq!(
        refusals(&trail, "ROLE_NOT_ALLOWED"),
        refused,
        "no refusal is silent"
    );

    strangers(&city).await;
    malformed(node).await;

    // Taken back: the connection that is open ends being good, and no new one is.
    let mut doctor = node.client("doctor");
    doctor.status(v1::StatusRequest {}).await.unwrap();
    let folder = node.home.folder().to_str().unwrap();
    let certificate = node.clients.join("doctor.pem");
    let revoked = songhe(
        &[
            "certificate",
            "revoke",
            certificate.to_str().unwrap(),
            "--data-dir",
            folder,
        ],
        PASSPHRASE,
    )
    .await;
    assert!(
        revoked.status.success(),
        "{}",
        String::from_utf8_lossy(&revoked.stderr)
    );
    until(LONGEST, "the certificate is refused", || async {
        let status = node.client("doctor").status(v1::StatusRequest {}).await;
        status.is_err_and(|s| reason_told(&s) == "CLIENT_UNKNOWN")
    })
    .await;
    let status = doctor.status(v1::StatusRequest {}).await.unwrap_err();
    assert_eq!(reason_told(&status), "CLIENT_UNKNOWN");
    node.client("nurse")
        .status(v1::StatusRequest {})
        .await
        .unwrap();
    city.stop_all().await;
}

/// Certificates that are nobody's here.
async fn strangers(city: &Federation) {
    let node = city.member("community-1");
    let other = city.member("hospital-1");
    let read = |name: &str| std::fs::read_to_string(other.clients.join(name)).unwrap();
    let (doctor, key) = (read("doctor.pem"), read("doctor.key"));
    let neighbour = Keys::of(other).issue(-5, 1000);
    let own_node = Keys::of(node).issue(-5, 1000);
    let unknown = stranger("stranger-1");
    for (chain, key) in [
        (&doctor, key.as_str()),
        (&neighbour.chain_pem, neighbour.key_pem.as_str()),
        (&own_node.chain_pem, own_node.key_pem.as_str()),
        (&unknown.chain_pem, unknown.key_pem.as_str()),
    ] {
        let config = tls(Some((chain, key)), &rustls::version::TLS13);
        let (channel, _) = channel(node.listen.gateway, config);
        let mut client = v1::gateway_service_client::GatewayServiceClient::new(channel);
        let status = client.status(v1::StatusRequest {}).await.unwrap_err();
        assert_eq!(reason_told(&status), "CLIENT_UNKNOWN");
    }
    assert_eq!(refusals(&events(node), "CLIENT_UNKNOWN"), 4);
}

/// Requests with a fault, each told by its reason and without what was in the field.
async fn malformed(node: &Member) {
    let good = v1::FederatedFetchRequest {
        subject: Some(subject(&number(3))),
        query: Some(v1::Query {
            record_types: vec!["vitals".into()],
            ..Default::default()
        }),
        intent: Some(v1::Intent {
            purpose: "TREAT".into(),
            basis: String::new(),
        }),
        ..Default::default()
    };
    let with = |change: &dyn Fn(&mut v1::FederatedFetchRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let types = |r: &mut v1::FederatedFetchRequest, types: &[&str]| {
        r.query.as_mut().unwrap().record_types = types.iter().map(ToString::to_string).collect();
    };
    let cases = [
        ("SUBJECT_INVALID", with(&|r| r.subject = None)),
        (
            "SUBJECT_INVALID",
            with(&|r| r.subject = Some(subject("11010119400101111X"))),
        ),
        (
            "SUBJECT_INVALID",
            with(&|r| r.subject.as_mut().unwrap().system = "urn:passport".into()),
        ),
        ("REQUEST_MALFORMED", with(&|r| r.query = None)),
        ("REQUEST_MALFORMED", with(&|r| types(r, &[]))),
        (
            "REQUEST_MALFORMED",
            with(&|r| types(r, &["vitals", "vitals"])),
        ),
        ("TYPE_UNKNOWN", with(&|r| types(r, &["horoscope"]))),
        ("TYPE_UNKNOWN", with(&|r| types(r, &["../../etc/passwd"]))),
        (
            "REQUEST_MALFORMED",
            with(&|r| r.query.as_mut().unwrap().limit = 10_001),
        ),
        ("REQUEST_MALFORMED", with(&|r| r.intent = None)),
        (
            "REQUEST_MALFORMED",
            with(&|r| r.intent.as_mut().unwrap().purpose = "SPYING".into()),
        ),
        (
            "REQUEST_MALFORMED",
            with(&|r| r.intent.as_mut().unwrap().basis = "because".into()),
        ),
        (
            "REQUEST_MALFORMED",
            with(&|r| r.member_ids = vec!["No Such Id".into()]),
        ),
    ];
    let before = events(node);
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for (expected, request) in cases {
        *told.entry(expected).or_default() += 1;
        let status = node.client("doctor").fetch(request).await.unwrap_err();
        assert_eq!(reason_told(&status), expected, "{status:?}");
        assert!(!format!("{status:?}").contains("1101011940"), "{status:?}");
    }
    let after = events(node);
    for (reason, times) in told {
        assert_eq!(
            refusals(&after, reason) - refusals(&before, reason),
            times,
            "no {reason} is silent"
        );
    }
    // A member nobody knows is that member's outcome, not the call's.
    let unknown = fetch(
        node,
        "nurse",
        "hospital-99",
        &number(3),
        &["vitals"],
        "TREAT",
    )
    .await
    .unwrap();
    assert_eq!(
        (unknown.outcome.as_str(), unknown.reason.as_str()),
        ("refused", "PEER_UNKNOWN")
    );
    for ground in ["", "because"] {
        let request = v1::EraseSubjectRequest {
            subject: Some(subject(&number(3))),
            ground: ground.into(),
        };
        let status = node
            .client("counter")
            .erase_subject(request)
            .await
            .unwrap_err();
        assert_eq!(reason(&status), "REQUEST_MALFORMED");
    }
}
