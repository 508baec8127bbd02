//! Stopping in good order under load, and a second node on the same folder.

use std::time::Duration;

use record::leaf::EventType;

use crate::kill::small_city;
use crate::load::Shared;
use crate::stopped::{Keys, fsck};
use crate::support::{Member, item, put};
use wire::v1;

/// Asks a node to stop as an operator's system does, and gives its exit code.
async fn terminate(member: &mut Member) -> Option<i32> {
    let mut process = member.process.take().unwrap();
    let pid = process.child.id().unwrap().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .unwrap();
    assert!(sent.success());
    let ended = tokio::time::timeout(Duration::from_secs(30), process.child.wait()).await;
    ended.expect("the node stops within 30 s").unwrap().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_under_load_everything_acknowledged_is_there_and_nothing_is_replayed() {
    let mut city = small_city();
    let keys = Keys::of(&city.member("community-1").home);
    let member = city.member_mut("community-1");
    let shared = Shared::default();
    for (round, work_ms) in [400, 900, 150].into_iter().enumerate() {
        member.start().await;
        let ready = &member.process.as_ref().unwrap().ready;
        assert_eq!(
            (&ready["replayed"], &ready["truncated"]),
            (&0.into(), &serde_json::Value::Null),
            "{ready}"
        );
        // A client that keeps its stream open and sends nothing more does not hold the node up.
        let (hold, messages) = tokio::sync::mpsc::channel(1);
        let open = v1::PutRequest {
            part: Some(v1::put_request::Part::Open(v1::PutOpen::default())),
        };
        hold.send(open).await.unwrap();
        let mut idle = member.client("his");
        let stream = tokio_stream::wrappers::ReceiverStream::new(messages);
        let held = (round == 2).then(|| tokio::spawn(async move { idle.put(stream).await }));

        let load = shared.begin(member, 77 + round as u64);
        tokio::time::sleep(Duration::from_millis(work_ms)).await;
        load.expect_the_end();
        let code = terminate(member).await;
        load.ended().await;
        drop(hold);
        if let Some(held) = held {
            held.abort();
        }
        assert_eq!(
            code,
            Some(0),
            "round {round}: {}",
            std::fs::read_to_string(member.log_path()).unwrap()
        );

        let report = fsck(&member.home);
        assert!(report.is_clean(), "{:?}", report.damage);
        let model = shared.take();
        let (ledger, opening) = keys.ledger().unwrap();
        assert_eq!(
            (opening.replayed, opening.rebuilt),
            (0, None),
            "round {round}: the index was flushed at the end"
        );
        let last = String::from_utf8(ledger.leaf(report.next_seq - 1).unwrap()).unwrap();
        assert!(
            last.contains(&format!("\"{}\"", EventType::Shutdown.as_str())),
            "round {round}: {last}"
        );
        let lost = model.compare(&keys, &ledger, &model.people()).await;
        assert!(lost.is_empty(), "round {round}: {lost:#?}");
        shared.put_back(model);
    }
    let acked = shared.model().acked;
    assert!(acked > 0, "the load did nothing");
    eprintln!("SIGTERM: 3 stops under load, {acked} acknowledged events, lost 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_on_the_folder_is_turned_away_and_the_first_goes_on() {
    let mut city = small_city();
    let member = city.member_mut("community-1");
    member.start().await;
    let record = |id: &str| {
        vec![item(
            crate::people::heart_rate(id, 1, 10),
            &crate::people::resident(1),
        )]
    };
    let before = put(member, record("r1"), v1::PutFormat::Resource)
        .await
        .unwrap();
    assert_eq!(
        before[0].outcome,
        i32::from(v1::PutOutcome::Stored),
        "{:?}",
        before[0].reason
    );
    let mut files = crate::support::files_below(member.home.folder());
    let told = member.try_start(&[]).await.map(|p| p.ready).unwrap_err();
    assert!(told.contains("in use"), "{told}");
    assert!(!told.contains("panicked"), "{told}");
    let after = put(member, record("r2"), v1::PutFormat::Resource)
        .await
        .unwrap();
    assert_eq!(
        after[0].outcome,
        i32::from(v1::PutOutcome::Stored),
        "{:?}",
        after[0].reason
    );
    let again = put(member, record("r1"), v1::PutFormat::Resource)
        .await
        .unwrap();
    assert_eq!(
        again[0].outcome,
        i32::from(v1::PutOutcome::Unchanged),
        "{:?}",
        again[0].reason
    );
    // Neither does a check run beside it.
    let folder = member.home.folder().to_str().unwrap().to_owned();
    let check = crate::stopped::songhe(&["fsck", "--data-dir", &folder]);
    assert_eq!(
        check.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&check.stdout)
    );
    files.retain(|f| !f.exists());
    assert!(files.is_empty(), "the second node took away {files:?}");
    member.stop().await;
    member.start().await;
    assert!(
        member.process.as_ref().unwrap().ready["rebuilt"].is_null(),
        "the index is the first node's own"
    );
    member.stop().await;
}
