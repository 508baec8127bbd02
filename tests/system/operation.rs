//! The operator's side: what is configured wrong is refused by name, and a stopped node is checked from outside.

use std::process::{Output, Stdio};

use record::AgencyKind;
use serde_json::Value;
use songhe::config::Limits;
use tokio::process::Command;
use wire::v1;

use crate::support::{Federation, PASSPHRASE, item, number, put, vitals};

const ONE: [(&str, AgencyKind); 1] = [("community-1", AgencyKind::Community)];

/// Runs a command of the binary to its end.
pub async fn songhe(arguments: &[&str], passphrase: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_songhe"))
        .args(arguments)
        .env("SONGHE_PASSPHRASE", passphrase)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

/// Checks a refusal: exit code, nothing on standard output, and each word in the message.
fn refused(output: &Output, words: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(output.stdout.is_empty(), "{:?}", output.stdout);
    for word in words {
        assert!(told.contains(word), "{word} is not in: {told}");
    }
    assert!(
        !told.contains("panicked") && !told.contains(PASSPHRASE),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_by_name() {
    let mut city = Federation::found(&ONE, &Limits::default());
    let node = city.member_mut("community-1");
    let folder = node.home.folder().to_str().unwrap().to_owned();
    let serve = ["serve", "--data-dir", &folder, "--until-stdin-ends"];

    refused(
        &songhe(&serve, "not the passphrase at all").await,
        &["passphrase"],
    );
    refused(&songhe(&serve, "short").await, &["passphrase", "12"]);

    let config = node.home.read_text("node.toml").unwrap();
    for (from, to, key) in [
        ("[limits]", "[limits]\nrecord_byte = 5", "record_byte"),
        ("[directory]", "[directori]", "directori"),
        (
            "pull_interval_s = 1",
            "pull_interval_s = 0",
            "pull_interval_s",
        ),
        ("kind = \"community\"", "kind = \"hotel\"", "hotel"),
        ("kind = \"community\"", "kind = \"hospital\"", "kind"),
    ] {
        let changed = config.replacen(from, to, 1);
        assert_ne!(changed, config, "{from}");
        node.home.write("node.toml", changed.as_bytes()).unwrap();
        refused(&songhe(&serve, PASSPHRASE).await, &["node.toml", key]);
    }
    node.home.write("node.toml", config.as_bytes()).unwrap();
    let nowhere = city.folder.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    refused(
        &songhe(&["serve", "--data-dir", nowhere], PASSPHRASE).await,
        &["songhe init"],
    );
    let fsck = songhe(&["fsck", "--data-dir", nowhere], PASSPHRASE).await;
    refused(&fsck, &["no journal"]);

    // A node runs: a second one on its folder is refused, the first serves on, and its journal is not touched.
    let node = city.member_mut("community-1");
    node.start().await;
    refused(&songhe(&serve, PASSPHRASE).await, &["in use", "another"]);
    refused(
        &songhe(&["fsck", "--data-dir", &folder], PASSPHRASE).await,
        &["journal"],
    );
    let results = put(
        node,
        vec![item(vitals("v", 70), &number(1))],
        v1::PutFormat::Resource,
    )
    .await
    .unwrap();
    assert_eq!(results[0].outcome, i32::from(v1::PutOutcome::Stored));
    let events = node
        .client("operator")
        .status(v1::StatusRequest {})
        .await
        .unwrap()
        .into_inner()
        .events;
    node.stop().await;

    let report = songhe(&["fsck", "--data-dir", &folder, "--json"], PASSPHRASE).await;
    assert_eq!(
        report.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&report.stderr)
    );
    let told: Value = serde_json::from_slice(&report.stdout).unwrap();
    // The shutdown is an event too.
    assert_eq!(told["events"], events + 1);
    assert_eq!(told["damage"].as_array().unwrap().len(), 0);
    assert_eq!(told["would_start"], true);

    // One flipped bit in a stored record: found, located, told by the exit code.
    let entry = crate::trail::events(city.member("community-1"));
    let entry = entry
        .iter()
        .find(|e| crate::trail::leaf(e)["typ"] == "record-put")
        .unwrap();
    let segment = crate::trail::segment_of(city.member("community-1"), entry);
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = usize::try_from(entry.location.offset).unwrap() + entry.location.row_len as usize + 3;
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let report = songhe(&["fsck", "--data-dir", &folder, "--json"], PASSPHRASE).await;
    assert_eq!(report.status.code(), Some(4));
    let told: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(told["damage"][0]["seq"], entry.seq);
    assert!(
        told["damage"][0]["file"]
            .as_str()
            .is_some_and(|f| segment.ends_with(f))
    );
}
