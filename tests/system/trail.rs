//! Reading a node's journal from outside: a copy is taken, so that the node may run on.

use std::sync::Arc;

use journal::{Entry, Files, Journal, Options, Watermarks};
use serde_json::Value;

use crate::support::Member;

/// Every event so far. What was acknowledged before this call is in it.
pub fn events(member: &Member) -> Vec<Entry> {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(member.home.path("journal")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        // Spares are zeros: the copy needs none of them.
        if path.is_file() && bytes.iter().take(4096).any(|b| *b != 0) {
            std::fs::write(copy.path().join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
    let options = Options {
        segment_size: 1 << 20,
        spares: 1,
        audit_reserve: 4096,
        ..Options::default()
    };
    let (journal, _) = Journal::open(
        Arc::new(Files::at(copy.path())),
        options,
        &Watermarks::default(),
    )
    .unwrap();
    let entries = journal.scan(0).collect::<Result<Vec<_>, _>>().unwrap();
    journal.close().unwrap();
    entries
}

/// The leaf of an event.
pub fn leaf(entry: &Entry) -> Value {
    serde_json::from_slice(&entry.leaf).unwrap()
}

/// How many refusals with this reason the journal has.
pub fn refusals(events: &[Entry], reason: &str) -> usize {
    events
        .iter()
        .map(leaf)
        .filter(|l| l["typ"] == "deny" && l["dec"] == "deny" && l["reason"] == reason)
        .count()
}

/// How many events of a type the journal has.
pub fn of_type(events: &[Entry], typ: &str) -> usize {
    events.iter().map(leaf).filter(|l| l["typ"] == typ).count()
}

/// The segment file that holds an event's sealed parts.
pub fn segment_of(member: &Member, entry: &Entry) -> std::path::PathBuf {
    let names = crate::support::files_below(&member.home.path("journal"));
    let of = |name: &std::path::Path| {
        let stem = name.file_stem()?.to_str()?;
        let id: u32 = stem.parse().ok()?;
        (id == entry.location.segment).then_some(())
    };
    names.into_iter().find(|n| of(n).is_some()).unwrap()
}
