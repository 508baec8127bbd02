//! A stopped node's folder, looked at from inside this process: its ledger, its journal, its index.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use index::{Index as _, OpenOptions, Opened, Order, Table, open_supervised};
use journal::{DamageKind, Files, Io, Journal, Location, Watermarks};
use ledger::{Ledger, Opening, Secrets};
use record::Pseudonym;
use record::resident_id::RESIDENT_ID_SYSTEM;
use seal::{HmacKey, RowKey, SubjectKey, SystemEntropy, Unlock, name};
use serde_json::Value;
use songhe::clock::SystemClock;
use songhe::home::{Home, NODE_KEY, oprf_key};
use subject::{OprfKey, subject_input};

use crate::support::PASSPHRASE;

/// The keys of a stopped node, unlocked once.
pub(crate) struct Keys {
    home: Home,
    oprf: OprfKey,
}

impl Keys {
    pub(crate) fn of(home: &Home) -> Self {
        let (_, secrets) = home.unlock(&unlock()).unwrap();
        Self {
            home: home.clone(),
            oprf: oprf_key(&secrets).unwrap(),
        }
    }

    /// The node's pseudonym of a person.
    pub(crate) fn pseudonym(&self, number: &str) -> Pseudonym {
        let input = subject_input(RESIDENT_ID_SYSTEM, number).unwrap();
        Pseudonym::from_bytes(subject::pseudonym(&self.oprf, &input).unwrap())
    }

    /// Opens the ledger as the node would.
    pub(crate) fn ledger(&self) -> Result<(Ledger, Opening), String> {
        let (keyring, secrets) = self.home.unlock(&unlock()).unwrap();
        let key = |name: &str| secrets.get32(name).unwrap();
        let vault = Secrets {
            keyring,
            row: RowKey::from_bytes(&key(name::ROW)),
            index: HmacKey::from_bytes(&key(name::INDEX_HMAC)),
            node: SubjectKey::from_bytes(&key(NODE_KEY)),
        };
        let options = self.home.config().unwrap().ledger(self.home.folder());
        Ledger::open(
            options,
            vault,
            Arc::new(SystemClock),
            Arc::new(SystemEntropy::new()),
        )
        .map_err(|e| e.to_string())
    }
}

fn unlock() -> Unlock {
    Unlock::passphrase(PASSPHRASE.as_bytes()).unwrap()
}

/// Every row of the index, and how far it is. Opening the ledger before brings it level with the journal.
pub(crate) fn index_rows(home: &Home) -> Vec<(u16, Vec<u8>, Vec<u8>)> {
    let options = OpenOptions {
        schema: 1,
        ..OpenOptions::default()
    };
    let Opened::Ready(index) = open_supervised(&home.path("index"), options).unwrap() else {
        panic!("the index is not sound");
    };
    let mut rows = Vec::new();
    for table in 1..=11 {
        let mut from = Vec::new();
        loop {
            let portion = index
                .range(Table(table), &from, None, Order::Forward, 4096)
                .unwrap();
            let Some((last, _)) = portion.last() else {
                break;
            };
            from = [last.as_slice(), &[0]].concat();
            rows.extend(
                portion
                    .into_iter()
                    .map(|(key, value)| (u16::from(table), key, value)),
            );
        }
    }
    rows
}

/// Checks the journal's every byte.
pub(crate) fn fsck(home: &Home) -> journal::Report {
    journal::fsck(&Files::at(home.path("journal")) as &dyn Io, &mut |_, _| {}).unwrap()
}

/// A crash may leave a torn tail, and a half-done overwriting when it met an erasure; nothing else.
pub(crate) fn assert_only_torn(report: &journal::Report, erasing: bool) {
    let of_a_crash = |kind| kind == DamageKind::TornTail || (erasing && kind == DamageKind::Sealed);
    let other: Vec<_> = report
        .damage
        .iter()
        .filter(|d| !of_a_crash(d.kind))
        .collect();
    assert!(other.is_empty(), "a crash leaves no such damage: {other:?}");
}

/// Runs `songhe fsck --json`.
pub(crate) fn fsck_command(home: &Home) -> (i32, Value) {
    let output = songhe(&[
        "fsck",
        "--json",
        "--data-dir",
        home.folder().to_str().unwrap(),
    ]);
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), report)
}

/// Runs the binary to its end.
pub(crate) fn songhe(arguments: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_songhe"))
        .args(arguments)
        .env("SONGHE_PASSPHRASE", PASSPHRASE)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

/// Where an event's row and body lie.
pub(crate) fn locate(home: &Home, seqs: &[u64]) -> Vec<Location> {
    let io: Arc<dyn Io> = Arc::new(Files::at(home.path("journal")));
    let options = home.config().unwrap().ledger(home.folder()).journal;
    let (journal, _) = Journal::open(io, options, &Watermarks::default()).unwrap();
    let found = seqs
        .iter()
        .map(|seq| journal.locate(*seq).unwrap())
        .collect();
    journal.close().unwrap();
    found
}

/// A segment's file name.
pub(crate) fn segment(id: u32) -> String {
    format!("{id:08}.seg")
}

/// Turns over one bit of the byte at an offset.
pub(crate) fn flip(path: &Path, offset: u64) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

/// What a process has written to a log since a place in it.
pub(crate) struct LogSince {
    path: PathBuf,
    from: usize,
}

impl LogSince {
    pub(crate) fn now(path: PathBuf) -> Self {
        let from = std::fs::read(&path).map_or(0, |b| b.len());
        Self { path, from }
    }

    pub(crate) fn text(&self) -> String {
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        String::from_utf8_lossy(&bytes[self.from..]).into_owned()
    }
}
