//! Quarantine: what broke a rule is listed with what is wrong, for its own source alone, and corrected or dropped.

use record::AgencyKind;
use serde_json::Value;
use songhe::config::Limits;
use wire::v1;

use crate::put::{outcome, stored};
use crate::support::{Federation, Member, item, number, put, reason, subject, vitals};

/// What is set aside for a client's own source.
pub async fn quarantine(member: &Member, client: &str) -> Vec<v1::ListQuarantineResponse> {
    let request = v1::ListQuarantineRequest::default();
    let mut stream = member
        .client(client)
        .list_quarantine(request)
        .await
        .unwrap()
        .into_inner();
    let mut entries = Vec::new();
    while let Some(entry) = stream.message().await.unwrap() {
        entries.push(entry);
    }
    entries
}

async fn resolve(
    member: &Member,
    client: &str,
    id: u64,
    resolution: v1::resolve_quarantine_request::Resolution,
) -> Result<v1::PutResponse, tonic::Status> {
    let request = v1::ResolveQuarantineRequest {
        quarantine_id: id,
        resolution: Some(resolution),
        subject: Some(subject(&number(1))),
        ..Default::default()
    };
    let answer = member.client(client).resolve_quarantine(request).await?;
    Ok(answer.into_inner().result.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_set_aside_is_its_sources_to_correct_or_drop() {
    let one = [("community-1", AgencyKind::Community)];
    let mut city = Federation::found(&one, &Limits::default());
    city.start_all().await;
    let node = city.member("community-1");
    let elder = &number(1);
    put(
        node,
        vec![item(vitals("other", 7000), elder)],
        v1::PutFormat::Resource,
    )
    .await
    .unwrap();

    use v1::resolve_quarantine_request::Resolution;
    let old = quarantine(node, "his").await;
    let results = put(
        node,
        vec![
            item(vitals("q1", 5000), elder),
            item(vitals("q2", 6000), elder),
        ],
        v1::PutFormat::Resource,
    )
    .await
    .unwrap();
    let before = stored(node).await;
    let entries = quarantine(node, "his").await;
    assert_eq!(entries.len(), old.len() + 2);
    let entry = entries
        .iter()
        .find(|e| e.quarantine_id == results[0].quarantine_id)
        .unwrap();
    assert_eq!(
        (entry.resource_type.as_str(), entry.record_id.as_str()),
        ("Observation", "q1")
    );
    assert_eq!(entry.reason.as_ref().unwrap().code, "VALUE_OUT_OF_RANGE");
    assert_eq!(entry.fhir_json, vitals("q1", 5000), "as it came");
    let told: Value = serde_json::from_slice(&entry.operation_outcome_json).unwrap();
    assert_eq!(told["resourceType"], "OperationOutcome");
    let place = told["issue"][0]["expression"][0].as_str().unwrap();
    assert!(place.contains("valueQuantity"), "{place}");

    // Another system sees neither the list nor the entry.
    assert!(quarantine(node, "counter").await.is_empty());
    let status = resolve(node, "counter", entry.quarantine_id, Resolution::Drop(true))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "QUARANTINE_NOT_FOUND");

    // Corrected, it is a record; as it was, it is set aside again; dropped, it is gone.
    let result = resolve(
        node,
        "his",
        entry.quarantine_id,
        Resolution::CorrectedJson(vitals("q1", 72)),
    )
    .await
    .unwrap();
    assert_eq!(outcome(&result), ("stored", ""));
    assert_eq!(stored(node).await, before + 1);
    let result = resolve(
        node,
        "his",
        results[1].quarantine_id,
        Resolution::Resubmit(true),
    )
    .await
    .unwrap();
    assert_eq!(outcome(&result), ("quarantined", "VALUE_OUT_OF_RANGE"));
    let again = result.quarantine_id;
    resolve(node, "his", again, Resolution::Drop(true))
        .await
        .unwrap();
    for gone in [entry.quarantine_id, results[1].quarantine_id, again] {
        let status = resolve(node, "his", gone, Resolution::Drop(true))
            .await
            .unwrap_err();
        assert_eq!(reason(&status), "QUARANTINE_NOT_FOUND");
    }
    assert_eq!(quarantine(node, "his").await.len(), old.len());
    assert_eq!(stored(node).await, before + 1);
    city.stop_all().await;
}
