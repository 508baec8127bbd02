//! Reading back: hashes by number, scans from anywhere, pointers that lie, frames too large for one read.

use super::support::{all, append, check, disk, event, events, fill, io, nothing, open};
use crate::sim::Memory;
use crate::{
    Drive, Error, Event, Journal, Location, MAX_BODY_LEN, Options, Part, Priority, Watermarks,
};

#[test]
fn a_scan_may_begin_anywhere_and_sees_what_comes_later() {
    let memory = disk(1);
    let (journal, _) = open(&memory).unwrap();
    let mut tag = 0;
    for size in [1, 3, 2, 5, 1, 4, 7, 2, 2, 6, 9, 8, 3] {
        append(&journal, tag..tag + size).unwrap();
        tag += size;
    }
    for from in 0..=tag {
        let seen: Vec<u64> = journal.scan(from).map(|entry| entry.unwrap().seq).collect();
        assert_eq!(seen, (from..tag).collect::<Vec<_>>());
    }
    let mut scan = journal.scan(tag - 1);
    assert_eq!(scan.next().unwrap().unwrap().seq, tag - 1);
    append(&journal, tag..tag + 2).unwrap();
    assert_eq!(scan.next().unwrap().unwrap().seq, tag);
    assert_eq!(scan.next().unwrap().unwrap().seq, tag + 1);
    assert!(scan.next().is_none());
    assert!(matches!(
        journal.read_leaf(tag + 2),
        Err(Error::UnknownSeq { .. })
    ));
    assert!(matches!(
        journal.frame_hash_at(tag + 2),
        Err(Error::UnknownSeq { .. })
    ));
    check(&journal, &all(tag + 2), &nothing());
    drop(journal);
    // A fresh start has looked into the last segment only; the others are learnt when asked.
    check(&open(&memory).unwrap().0, &all(tag + 2), &nothing());
}

#[test]
fn pointers_that_lie_are_told_from_rot() {
    let memory = disk(2);
    let (journal, _) = open(&memory).unwrap();
    fill(&journal, 0..8);
    let good = journal.locate(4).unwrap();
    for wrong in [
        Location {
            offset: good.offset + 8,
            ..good
        },
        Location { offset: 0, ..good },
        Location {
            offset: u64::MAX,
            ..good
        },
        Location { segment: 7, ..good },
        Location {
            row_len: u32::MAX,
            ..good
        },
        Location {
            body_len: good.body_len - 1,
            ..good
        },
        Location {
            digest: [1; 16],
            ..good
        },
    ] {
        let answer = journal.read(&wrong);
        assert!(
            matches!(answer, Err(Error::WrongLocation { seq: 4 })),
            "{wrong:?} {answer:?}"
        );
    }
    assert!(journal.read(&good).is_ok());
}

#[test]
fn large_bodies_get_a_frame_of_their_own() {
    let memory = Memory::new(1);
    let options = Options {
        segment_size: 32 * 1024 * 1024,
        spares: 1,
        drive: Drive::Manual,
        ..Options::default()
    };
    Journal::create(&io(&memory), &options, [1; 16]).unwrap();
    let open = || {
        Journal::open(io(&memory), options.clone(), &Watermarks::default())
            .unwrap()
            .0
    };
    let journal = open();
    let large = |fill| Event {
        leaf: vec![b'l'],
        row: vec![b'r'; 99],
        body: vec![fill; MAX_BODY_LEN],
    };
    let first = journal.submit(vec![large(1)], Priority::Data).unwrap();
    let second = journal
        .submit(vec![large(2), event(2)], Priority::Data)
        .unwrap();
    let (first, second) = (first.wait().unwrap(), second.wait().unwrap());
    assert_ne!(first[0].frame_hash(), second[0].frame_hash());
    assert_eq!(second[0].frame_hash(), second[1].frame_hash());
    let refused = journal
        .submit(vec![large(3), large(4)], Priority::Data)
        .unwrap_err();
    assert!(matches!(refused, Error::SubmitTooLarge { .. }));
    drop(journal);
    let journal = open();
    assert_eq!(
        journal.read(second[0].location()).unwrap().body,
        vec![2; MAX_BODY_LEN]
    );
    let rows: Vec<Part> = journal.scan(0).map(|entry| entry.unwrap().row).collect();
    assert_eq!(rows[1], Part::Present(vec![b'r'; 99]));
    assert_eq!(rows[2], Part::Present(event(2).row));
    append(&journal, 3..4).unwrap();
    journal.erase(&[*first[0].location()]).unwrap();
    assert_eq!(journal.scan(0).next().unwrap().unwrap().row, Part::Erased);
    assert!(matches!(
        journal.read(first[0].location()),
        Err(Error::Erased { seq: 0 })
    ));
}

#[test]
fn what_waits_shares_a_frame() {
    let memory = disk(6);
    let (journal, _) = open(&memory).unwrap();
    let tickets: Vec<_> = (0..5)
        .map(|at| {
            journal
                .submit(events(at * 2..at * 2 + 2), Priority::Data)
                .unwrap()
        })
        .collect();
    assert_eq!(journal.status().queued_events, 10);
    assert!(journal.turn());
    assert!(!journal.turn());
    let acked: Vec<_> = tickets
        .into_iter()
        .flat_map(|ticket| ticket.wait().unwrap())
        .collect();
    assert_eq!(
        acked.iter().map(crate::Acked::seq).collect::<Vec<_>>(),
        all(10)
    );
    assert!(
        acked
            .iter()
            .all(|one| one.frame_hash() == acked[0].frame_hash())
    );
    assert_eq!(
        journal.frame_hash_at(9).unwrap(),
        Some(*acked[0].frame_hash())
    );
    assert_eq!(journal.frame_hash_at(8).unwrap(), None);
    check(&journal, &all(10), &nothing());
}
