//! Interoperability: a client in Python, generated from `proto/` alone, talks to real nodes over mutual TLS 1.3.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test may fail loudly, and shares its support with other tests"
)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use seal::{Unlock, name};
use serde_json::{Value, json};
use songhe::config::Limits;
use songhe::home::pem_of;
use tokio::process::Command;

use crate::support::{Federation, Member, PASSPHRASE, THREE};

#[path = "../support/mod.rs"]
mod support;

/// The whole run takes seconds; this is for a machine that does many other things.
const RUN_MAX_S: u64 = 300;

/// The interpreter to use. Without one the test is left out at a desk, and fails where everything is required.
fn python() -> Option<OsString> {
    if let Some(python) = std::env::var_os("SONGHE_PYTHON").filter(|p| !p.is_empty()) {
        return Some(python);
    }
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "CI=true, but SONGHE_PYTHON names no Python for the interoperability test; .ci/run sets one up"
    );
    eprintln!(
        "SKIPPED: a client in another language; SONGHE_PYTHON names no Python with the packages that stand in .ci/run, \
         see tests/README.md"
    );
    None
}

/// The keys of a member's node, where a program that speaks as that node can read them.
fn node_keys(member: &Member, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let unlock = Unlock::passphrase(PASSPHRASE.as_bytes()).unwrap();
    let (_, secrets) = member.home.unlock(&unlock).unwrap();
    let chain = member.home.read_text("certificates/node.pem").unwrap();
    let key = pem_of(&secrets, name::TLS_KEY_PEM).unwrap();
    let seed = secrets.get32(name::RECEIPT_SEED).unwrap();
    let seed: String = seed.iter().map(|b| format!("{b:02x}")).collect();
    for (file, text) in [
        ("node.pem", chain.as_str()),
        ("node.key", key.as_str()),
        ("receipt.seed", &seed),
    ] {
        std::fs::write(folder.join(file), text).unwrap();
    }
}

/// Runs the Python client against a federation and gives what it left.
async fn run(python: &OsString, city: &Federation) -> Output {
    let (hospital, community) = (city.member("hospital-1"), city.member("community-1"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (out, keys) = (
        city.folder.path().join(".python"),
        city.folder.path().join(".node-keys"),
    );
    std::fs::create_dir_all(&out).unwrap();
    node_keys(hospital, &keys);
    let arguments: [(&str, PathBuf); 9] = [
        ("--proto", root.join("proto")),
        ("--reasons", root.join("docs/REASONS.md")),
        ("--out", out),
        ("--hospital", hospital.listen.gateway.to_string().into()),
        ("--hospital-clients", hospital.clients.clone()),
        ("--community", community.listen.gateway.to_string().into()),
        ("--community-clients", community.clients.clone()),
        ("--peer", community.listen.peer.to_string().into()),
        ("--node", keys),
    ];
    let mut command = Command::new(python);
    command.arg("-B").arg(root.join("tests/interop/client.py"));
    for (flag, value) in arguments {
        command.arg(flag).arg(value);
    }
    command
        .env("PYTHONUTF8", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    tokio::time::timeout(Duration::from_secs(RUN_MAX_S), command.output())
        .await
        .expect("the Python client should end by itself")
        .expect("SONGHE_PYTHON should name a Python")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_generated_from_the_protocol_alone_stores_and_fetches() {
    let Some(python) = python() else { return };
    let mut city = Federation::found(&THREE, &Limits::default());
    city.start_all().await;
    let output = run(&python, &city).await;
    city.stop_all().await;

    let told = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    eprint!("{told}");
    assert!(output.status.success(), "{}\n{told}{errors}", output.status);
    let lines: Vec<Value> = told
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let steps: Vec<&str> = lines.iter().map(|l| l["step"].as_str().unwrap()).collect();
    assert_eq!(
        steps,
        [
            "generated",
            "tls",
            "tls_1_2_refused",
            "no_certificate_refused",
            "server_is_checked",
            "health",
            "reflection",
            "stranger_refused",
            "put",
            "put_ndjson",
            "quarantine",
            "fetch_without_consent",
            "fetch_with_consent",
            "fetch_after_withdrawal",
            "statuses",
            "peer",
            "done",
        ]
    );
    let line = |step: &str| lines.iter().find(|l| l["step"] == step).unwrap();

    let tls = line("tls");
    assert_eq!(
        (&tls["version"], &tls["alpn"]),
        (&json!("TLSv1.3"), &json!("h2"))
    );
    assert_eq!(tls["curves"], json!(["secp256r1", "secp256r1"]));
    assert_eq!(line("no_certificate_refused")["grpc"], "UNAVAILABLE");
    assert_eq!(line("health")["status"], "SERVING");
    assert_eq!(line("stranger_refused")["gateway"], "CLIENT_UNKNOWN");

    assert_eq!(line("put")["outcome"], "PUT_OUTCOME_STORED");
    assert_eq!(
        line("put_ndjson")["outcomes"],
        json!([
            "PUT_OUTCOME_STORED",
            "PUT_OUTCOME_QUARANTINED",
            "PUT_OUTCOME_STORED"
        ])
    );
    assert_eq!(line("put_ndjson")["reason"], "RECORD_MALFORMED");

    let before = line("fetch_without_consent");
    assert_eq!(before["reason"], "CONSENT_MISSING");
    assert_eq!(before["zh"], record::ReasonCode::ConsentMissing.chinese());
    assert_eq!(before["en"], record::ReasonCode::ConsentMissing.english());
    assert_eq!(
        line("fetch_with_consent")["records"],
        json!(["n1", "n2", "n3", "v1"])
    );
    let after = line("fetch_after_withdrawal");
    assert_eq!(
        (&after["reason"], &after["consent"]),
        (&json!("CONSENT_MISSING"), &json!("withdrawn"))
    );

    assert_eq!(
        line("statuses")["reasons"],
        json!([
            "CONSENT_NOT_FOUND",
            "ROLE_NOT_ALLOWED",
            "SUBJECT_INVALID",
            "ROLE_NOT_ALLOWED"
        ])
    );
    let peer = line("peer");
    assert_eq!(
        (&peer["domain"], &peer["code"]),
        (&json!("songhe"), &json!("PERMISSION_DENIED"))
    );
    assert_eq!(
        peer["reasons"],
        json!(["SIGNATURE_INVALID", "CONSENT_MISSING", "REQUEST_REPLAYED"])
    );
}
