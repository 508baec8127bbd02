//! What the tests share: small journals in memory, events one can recognise, and a check of everything.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::sim::{Chance, Memory};
use crate::{
    Acked, Drive, Error, Event, Io, Journal, Options, Part, Priority, Recovery, Report, Result,
    Watermarks, fsck,
};

pub(super) const SEGMENT: u64 = 16 * 1024;

pub(super) fn options() -> Options {
    Options {
        segment_size: SEGMENT,
        spares: 1,
        audit_reserve: 2048,
        frame_bytes: 8 * 1024,
        drive: Drive::Manual,
        ..Options::default()
    }
}

/// An event that can be recognised by its number: no byte of it is zero.
pub(super) fn event(tag: u64) -> Event {
    let mut chance = Chance(tag ^ 0x5EED);
    let mut bytes = |len: u64| (0..len).map(|_| (chance.below(255) + 1) as u8).collect();
    Event {
        leaf: format!("leaf {tag}").into_bytes(),
        row: bytes(tag * 7 % 90),
        body: bytes(tag * 131 % 900),
    }
}

pub(super) fn events(tags: std::ops::Range<u64>) -> Vec<Event> {
    tags.map(event).collect()
}

/// A disk with an empty journal on it.
pub(super) fn disk(seed: u64) -> Memory {
    let memory = Memory::new(seed);
    Journal::create(&io(&memory), &options(), [7; 16]).unwrap();
    memory
}

pub(super) fn io(memory: &Memory) -> Arc<dyn Io> {
    Arc::new(memory.clone())
}

pub(super) fn open(memory: &Memory) -> Result<(Journal, Recovery)> {
    open_with(memory, &Watermarks::default())
}

pub(super) fn open_with(memory: &Memory, marks: &Watermarks) -> Result<(Journal, Recovery)> {
    Journal::open(io(memory), options(), marks)
}

pub(super) fn seen(seq: u64) -> Watermarks {
    Watermarks {
        others: vec![seq],
        ..Watermarks::default()
    }
}

pub(super) fn append(journal: &Journal, tags: std::ops::Range<u64>) -> Result<Vec<Acked>> {
    journal.submit(events(tags), Priority::Data)?.wait()
}

/// Appends `count` frames of one event each.
pub(super) fn fill(journal: &Journal, tags: std::ops::Range<u64>) {
    for tag in tags {
        assert_eq!(append(journal, tag..tag + 1).unwrap().len(), 1);
    }
}

/// Everything in the journal is what `tags` says, in order; `erased` are sequence numbers.
pub(super) fn check(journal: &Journal, tags: &[u64], erased: &BTreeSet<u64>) {
    assert_eq!(journal.head().next_seq, tags.len() as u64);
    let entries: Vec<_> = journal.scan(0).collect::<Result<_>>().unwrap();
    assert_eq!(entries.len(), tags.len());
    for ((entry, tag), seq) in entries.iter().zip(tags).zip(0..) {
        let Event { leaf, row, body } = event(*tag);
        assert_eq!(entry.seq, seq);
        assert_eq!(entry.leaf, leaf, "event {seq}");
        assert_eq!(journal.read_leaf(seq).unwrap(), leaf);
        assert_eq!(journal.locate(seq).unwrap(), entry.location);
        let hash = journal.frame_hash_at(seq).unwrap();
        assert_eq!(hash, entry.frame_end.then_some(entry.frame_hash));
        let sealed = journal.read(&entry.location);
        if erased.contains(&seq) && entry.location.sealed_len() > 0 {
            assert!(
                matches!(sealed, Err(Error::Erased { seq: s }) if s == seq),
                "{sealed:?}"
            );
            assert!(entry.row == Part::Erased || row.is_empty());
        } else {
            let sealed = sealed.unwrap();
            assert_eq!((sealed.row, sealed.body), (row.clone(), body));
            assert_eq!(entry.row, Part::Present(row));
        }
    }
    if let Some(last) = entries.last() {
        assert!(last.frame_end);
        assert_eq!(last.frame_hash, journal.head().hash);
    }
}

pub(super) fn fsck_of(memory: &Memory) -> Report {
    fsck(memory, &mut |_, _| {}).unwrap()
}

pub(super) fn all(count: u64) -> Vec<u64> {
    (0..count).collect()
}

pub(super) fn nothing() -> BTreeSet<u64> {
    BTreeSet::new()
}
