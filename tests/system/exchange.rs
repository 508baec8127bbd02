//! The main road: put, consent, locate, fetch, withdraw, between three agencies.

use crate::support::{Federation, THREE, fetch, item, number, permit, put, vitals};
use songhe::config::Limits;
use wire::v1;

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_reads_with_consent_and_not_after_its_withdrawal() {
    let mut city = Federation::found(&THREE, &Limits::default());
    city.start_all().await;
    let elder = number(1);
    let community = city.member("community-1");
    let results = put(
        community,
        vec![item(vitals("v1", 72), &elder)],
        v1::PutFormat::Resource,
    )
    .await
    .unwrap();
    assert_eq!(
        results[0].outcome,
        i32::from(v1::PutOutcome::Stored),
        "{:?}",
        results[0].reason
    );

    let hospital = city.member("hospital-1");
    let before = fetch(
        hospital,
        "doctor",
        "community-1",
        &elder,
        &["vitals"],
        "TREAT",
    )
    .await
    .unwrap();
    assert_eq!(
        (before.outcome.as_str(), before.reason.as_str()),
        ("refused", "CONSENT_MISSING")
    );

    let consent = permit(community, &elder, "hospital-1", "TREAT", 4).await;
    let read = fetch(
        hospital,
        "doctor",
        "community-1",
        &elder,
        &["vitals"],
        "TREAT",
    )
    .await
    .unwrap();
    assert_eq!(read.outcome, "data", "{}", read.reason);
    assert_eq!(
        &read.records[0].fhir_json[..],
        &vitals("v1", 72)[..],
        "the author's own bytes"
    );

    let request = v1::WithdrawConsentRequest {
        subject: Some(crate::support::subject(&elder)),
        consent_id: consent,
    };
    community
        .client("counter")
        .withdraw_consent(request)
        .await
        .unwrap();
    let after = fetch(
        hospital,
        "doctor",
        "community-1",
        &elder,
        &["vitals"],
        "TREAT",
    )
    .await
    .unwrap();
    assert_eq!(
        (after.outcome.as_str(), after.reason.as_str()),
        ("refused", "CONSENT_MISSING")
    );
    city.stop_all().await;
}
