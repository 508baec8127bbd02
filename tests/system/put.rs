//! Records in: what is wrong is told clearly, set aside or refused, and nothing is stored by halves.

use record::AgencyKind;
use serde_json::{Value, json};
use songhe::config::Limits;
use wire::v1;

use crate::quarantine::quarantine;
use crate::support::{Federation, Member, item, number, put, put_as, reason, subject, vitals};
use crate::trail::{events, refusals};

const ONE: [(&str, AgencyKind); 1] = [("community-1", AgencyKind::Community)];

/// Records the node holds.
pub async fn stored(member: &Member) -> u64 {
    member
        .client("operator")
        .status(v1::StatusRequest {})
        .await
        .unwrap()
        .into_inner()
        .records
}

/// Outcome and reason of a result.
pub fn outcome(result: &v1::PutResponse) -> (&'static str, &str) {
    let reason = result.reason.as_ref().map_or("", |r| r.code.as_str());
    let name = match v1::PutOutcome::try_from(result.outcome).unwrap() {
        v1::PutOutcome::Stored => "stored",
        v1::PutOutcome::Unchanged => "unchanged",
        v1::PutOutcome::Quarantined => "quarantined",
        v1::PutOutcome::Refused => "refused",
        v1::PutOutcome::Unspecified => "unspecified",
    };
    (name, reason)
}

/// A heart rate with something changed.
fn rate(id: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut resource: Value = serde_json::from_slice(&vitals(id, 72)).unwrap();
    change(&mut resource);
    resource.to_string().into_bytes()
}

fn bundle(kind: &str, resources: &[Vec<u8>]) -> Vec<u8> {
    let entries: Vec<Value> = resources
        .iter()
        .map(|r| {
            let resource: Value = serde_json::from_slice(r).unwrap();
            json!({"fullUrl": format!("urn:example:{}", resource["id"]), "resource": resource,
                   "request": {"method": "PUT", "url": format!("Observation/{}", resource["id"].as_str().unwrap())}})
        })
        .collect();
    json!({"resourceType": "Bundle", "type": kind, "entry": entries})
        .to_string()
        .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_told_clearly_and_nothing_is_stored_by_halves() {
    let limits = Limits {
        record_bytes: 4096,
        bundle_bytes: 65_536,
        ..Limits::default()
    };
    let mut city = Federation::found(&ONE, &limits);
    city.start_all().await;
    let node = city.member("community-1");
    let elder = number(1);

    one_by_one(node, &elder).await;
    versions(node, &elder).await;
    transactions(node, &elder).await;
    streams(node, &elder).await;
    too_large_a_message(node).await;
    city.stop_all().await;
}

async fn one_by_one(node: &Member, elder: &str) {
    let mut wrong_digit = elder.to_owned();
    let last = wrong_digit.pop().unwrap();
    wrong_digit.push(if last == '1' { '2' } else { '1' });
    let mut huge = rate("huge", |_| {});
    huge.pop();
    huge.extend_from_slice(format!(r#","note":[{{"text":"{}"}}]}}"#, "x".repeat(5000)).as_bytes());
    let cases: [(&str, &str, v1::PutItem); 9] = [
        (
            "quarantined",
            "RECORD_MALFORMED",
            item(b"{\"resourceType\":".to_vec(), elder),
        ),
        (
            "quarantined",
            "RECORD_MALFORMED",
            item(b"[1,2]".to_vec(), elder),
        ),
        (
            "refused",
            "TYPE_UNKNOWN",
            item(
                json!({"resourceType": "Slot", "id": "s"})
                    .to_string()
                    .into_bytes(),
                elder,
            ),
        ),
        (
            "refused",
            "SUBJECT_INVALID",
            item(vitals("digit", 72), &wrong_digit),
        ),
        (
            "quarantined",
            "SUBJECT_UNRESOLVED",
            v1::PutItem {
                data: vitals("whose", 72),
                subject: None,
                last: true,
            },
        ),
        (
            "quarantined",
            "UNIT_INVALID",
            item(
                rate("unit", |r| {
                    r["valueQuantity"]["unit"] = "kg".into();
                    r["valueQuantity"]["code"] = "kg".into();
                }),
                elder,
            ),
        ),
        (
            "quarantined",
            "VALUE_OUT_OF_RANGE",
            item(vitals("value", 5000), elder),
        ),
        (
            "quarantined",
            "RECORD_INVALID",
            item(
                rate("status", |r| {
                    r.as_object_mut().unwrap().remove("status");
                }),
                elder,
            ),
        ),
        ("refused", "RECORD_TOO_LARGE", item(huge, elder)),
    ];
    for (kept, reason, item) in cases {
        // A good one before and behind: one bad record is nobody else's trouble.
        let before = stored(node).await;
        let (a, b) = (format!("before-{before}"), format!("behind-{before}"));
        let items = vec![
            self::item(vitals(&a, 70), elder),
            item,
            self::item(vitals(&b, 71), elder),
        ];
        let results = put(node, items, v1::PutFormat::Resource).await.unwrap();
        assert_eq!(results.len(), 3);
        assert_eq!(outcome(&results[1]), (kept, reason));
        assert_eq!(
            (outcome(&results[0]).0, outcome(&results[2]).0),
            ("stored", "stored")
        );
        assert_eq!(
            results.iter().map(|r| r.position).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        let told: Value = serde_json::from_slice(&results[1].operation_outcome_json).unwrap();
        assert_eq!(told["resourceType"], "OperationOutcome", "{reason}");
        assert_eq!(told["issue"][0]["severity"], "error", "{reason}");
        let told = results[1].reason.as_ref().unwrap();
        assert!(!told.en.is_empty() && !told.zh.is_ascii(), "{reason}");
        assert!(
            !format!("{results:?}").contains(&wrong_digit),
            "a refusal repeats no identity number"
        );
        assert_eq!(stored(node).await, before + 2, "{reason}");
    }
}

async fn versions(node: &Member, elder: &str) {
    let versioned = |version: &str, value: u64| {
        item(
            rate("versioned", |r| {
                r["meta"] = json!({ "versionId": version });
                r["valueQuantity"]["value"] = value.into();
            }),
            elder,
        )
    };
    let before = stored(node).await;
    let steps = [
        (versioned("1", 70), ("stored", "")),
        (versioned("1", 70), ("unchanged", "")),
        (versioned("1", 71), ("refused", "RECORD_CONFLICT")),
        (versioned("2", 71), ("stored", "")),
        (versioned("1", 70), ("unchanged", "")),
        (item(vitals("plain", 60), elder), ("stored", "")),
        (item(vitals("plain", 60), elder), ("unchanged", "")),
        // Without a version of its own each content is a version.
        (item(vitals("plain", 61), elder), ("stored", "")),
    ];
    for (item, expected) in steps {
        let results = put(node, vec![item], v1::PutFormat::Resource)
            .await
            .unwrap();
        assert_eq!(outcome(&results[0]), expected);
    }
    // Records, not versions, are counted.
    assert_eq!(stored(node).await, before + 2);
}

async fn transactions(node: &Member, elder: &str) {
    let before = stored(node).await;
    let waiting = quarantine(node, "his").await.len();
    let resources = [vitals("t1", 70), vitals("t2", 5000), vitals("t3", 72)];
    let send = |kind: &str| item(bundle(kind, &resources), elder);
    let results = put(node, vec![send("transaction")], v1::PutFormat::Bundle)
        .await
        .unwrap();
    let told: Vec<_> = results.iter().map(outcome).collect();
    let none = ("refused", "RECORD_INVALID");
    assert_eq!(told, [none, ("quarantined", "VALUE_OUT_OF_RANGE"), none]);
    assert_eq!(stored(node).await, before, "all or none");
    assert_eq!(quarantine(node, "his").await.len(), waiting + 1);

    // The same as a batch, or entry by entry on request: what is good is stored.
    let results = put(node, vec![send("batch")], v1::PutFormat::Bundle)
        .await
        .unwrap();
    assert_eq!(
        results.iter().map(|r| outcome(r).0).collect::<Vec<_>>(),
        ["stored", "quarantined", "stored"]
    );
    let open = v1::PutOpen {
        format: v1::PutFormat::Bundle.into(),
        each_entry: true,
        ..Default::default()
    };
    let results = put_as(node, "his", open, vec![send("transaction")])
        .await
        .unwrap();
    assert_eq!(
        results.iter().map(|r| outcome(r).0).collect::<Vec<_>>(),
        ["unchanged", "quarantined", "unchanged"]
    );
    // A good transaction is stored whole.
    let good = item(
        bundle("transaction", &[vitals("t4", 70), vitals("t5", 71)]),
        elder,
    );
    let results = put(node, vec![good], v1::PutFormat::Bundle).await.unwrap();
    assert_eq!(
        results.iter().map(|r| outcome(r).0).collect::<Vec<_>>(),
        ["stored", "stored"]
    );
    assert_eq!(stored(node).await, before + 4);
    // A Bundle above its limit.
    let many: Vec<_> = (0..300).map(|i| vitals(&format!("m{i}"), 70)).collect();
    let results = put(
        node,
        vec![item(bundle("transaction", &many), elder)],
        v1::PutFormat::Bundle,
    )
    .await
    .unwrap();
    assert_eq!(
        results.iter().map(outcome).collect::<Vec<_>>(),
        [("refused", "RECORD_TOO_LARGE")]
    );
    assert_eq!(stored(node).await, before + 4);
}

fn lines(ids: &[&str]) -> Vec<u8> {
    ids.iter()
        .flat_map(|id| [vitals(id, 70), b"\n".to_vec()].concat())
        .collect()
}

async fn streams(node: &Member, elder: &str) {
    let before = stored(node).await;
    let cut = |data: Vec<u8>, last| v1::PutItem {
        data,
        subject: Some(subject(elder)),
        last,
    };
    // It ends without its last item: in the middle of a record, and between two.
    let mut whole = lines(&["n1", "n2", "n3"]);
    whole.truncate(whole.len() - 40);
    for data in [whole, lines(&["n1", "n2"])] {
        let status = put(node, vec![cut(data, false)], v1::PutFormat::Ndjson)
            .await
            .unwrap_err();
        assert_eq!(reason(&status), "STREAM_TRUNCATED");
        assert_eq!(
            stored(node).await,
            before + 2,
            "whole records before the cut are kept, the half one is not"
        );
    }
    assert_eq!(refusals(&events(node), "STREAM_TRUNCATED"), 2);
    // The last item ends inside a record.
    let mut half = lines(&["n3", "n4"]);
    half.truncate(half.len() - 40);
    let results = put(node, vec![cut(half, true)], v1::PutFormat::Ndjson)
        .await
        .unwrap();
    assert_eq!(outcome(&results[0]).0, "stored");
    assert_eq!(outcome(&results[1]).1, "STREAM_TRUNCATED");
    assert_eq!(stored(node).await, before + 3);

    // The client goes away in the middle of a record, after the first was acknowledged.
    let (send, receive) = tokio::sync::mpsc::channel(4);
    let open = v1::PutOpen {
        format: v1::PutFormat::Ndjson.into(),
        ..Default::default()
    };
    send.send(v1::PutRequest {
        part: Some(v1::put_request::Part::Open(open)),
    })
    .await
    .unwrap();
    let mut first = lines(&["n5"]);
    first.extend_from_slice(&vitals("n6", 70)[..50]);
    send.send(v1::PutRequest {
        part: Some(v1::put_request::Part::Item(cut(first, false))),
    })
    .await
    .unwrap();
    let mut client = node.client("his");
    let mut answers = client
        .put(tokio_stream::wrappers::ReceiverStream::new(receive))
        .await
        .unwrap()
        .into_inner();
    let acknowledged = answers.message().await.unwrap().unwrap();
    assert_eq!(outcome(&acknowledged), ("stored", ""));
    drop((answers, client, send));
    // The same again, whole this time: what was acknowledged is recognised.
    let results = put(
        node,
        vec![cut(lines(&["n5", "n6"]), true)],
        v1::PutFormat::Ndjson,
    )
    .await
    .unwrap();
    assert_eq!(
        results.iter().map(|r| outcome(r).0).collect::<Vec<_>>(),
        ["unchanged", "stored"]
    );
    assert_eq!(stored(node).await, before + 5);
    // Cut into items anywhere, even inside a character.
    let text = lines(&["n7", "n8"]);
    let items: Vec<_> = text
        .chunks(7)
        .map(|c| cut(c.to_vec(), false))
        .chain([cut(Vec::new(), true)])
        .collect();
    let results = put(node, items, v1::PutFormat::Ndjson).await.unwrap();
    assert_eq!(
        results.iter().map(|r| outcome(r).0).collect::<Vec<_>>(),
        ["stored", "stored"]
    );
}

async fn too_large_a_message(node: &Member) {
    let before = stored(node).await;
    let mut client = node.client("his").max_encoding_message_size(usize::MAX);
    let open = v1::PutRequest {
        part: Some(v1::put_request::Part::Open(v1::PutOpen::default())),
    };
    let item = v1::PutItem {
        data: vec![b' '; 100 << 20],
        subject: None,
        last: true,
    };
    let messages = [
        open,
        v1::PutRequest {
            part: Some(v1::put_request::Part::Item(item)),
        },
    ];
    let mut answers = client
        .put(tokio_stream::iter(messages))
        .await
        .unwrap()
        .into_inner();
    let status = answers.message().await.unwrap_err();
    assert_eq!(reason(&status), "RECORD_TOO_LARGE");
    assert_eq!(stored(node).await, before);
}
