//! The start: locks, epochs, watermarks, the index's standing, options.

use super::support::{
    all, append, check, disk, fill, fsck_of, io, nothing, open, open_with, options, seen,
};
use crate::sim::Memory;
use crate::{Error, Files, IndexStanding, Io, Journal, Options, Watermarks, fsck};
use std::sync::Arc;

#[test]
fn one_writer_for_each_folder() {
    let memory = disk(0);
    let (journal, _) = open(&memory).unwrap();
    assert!(matches!(open(&memory), Err(Error::Locked { .. })));
    assert!(matches!(
        fsck(&memory, &mut |_, _| {}),
        Err(Error::Locked { .. })
    ));
    drop(journal);
    drop(open(&memory).unwrap());

    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("journal");
    let files: Arc<dyn Io> = Arc::new(Files::create(&place).unwrap());
    Journal::create(&files, &options(), [1; 16]).unwrap();
    let open = || Journal::open(Arc::clone(&files), options(), &Watermarks::default());
    let (journal, _) = open().unwrap();
    let refused = open().unwrap_err();
    assert!(
        refused.to_string().contains(&place.display().to_string()),
        "{refused}"
    );
    assert!(matches!(
        fsck(&Files::at(&place), &mut |_, _| {}),
        Err(Error::Locked { .. })
    ));
    fill(&journal, 0..40);
    journal.close().unwrap();
    let (journal, _) = open().unwrap();
    check(&journal, &all(40), &nothing());
    drop(journal);
    let mut calls = Vec::new();
    let report = fsck(&Files::at(&place), &mut |done, total| {
        calls.push((done, total));
    })
    .unwrap();
    assert!(report.is_clean());
    assert_eq!(report.events, 40);
    assert_eq!(calls.last().map(|(done, total)| done == total), Some(true));
}

#[test]
fn creation_does_not_overwrite() {
    let memory = disk(0);
    let again = Journal::create(&io(&memory), &options(), [9; 16]);
    assert!(matches!(again, Err(Error::AlreadyExists { .. })));
    let (journal, recovery) = open(&memory).unwrap();
    assert_eq!(
        (journal.journal_id(), recovery.journal_id),
        ([7; 16], [7; 16])
    );
    assert!(matches!(
        open(&Memory::new(1)),
        Err(Error::NoJournal { .. })
    ));
}

#[test]
fn epochs_only_rise() {
    let memory = disk(0);
    let with = |epoch| {
        let options = Options {
            epoch: Some(epoch),
            ..options()
        };
        Journal::open(io(&memory), options, &Watermarks::default())
    };
    let (journal, recovery) = with(3).unwrap();
    assert_eq!(recovery.epoch, 1);
    assert_eq!(append(&journal, 0..1).unwrap()[0].epoch(), 3);
    drop(journal);
    assert!(matches!(
        with(2),
        Err(Error::EpochBehind { asked: 2, found: 3 })
    ));
    let (journal, recovery) = open(&memory).unwrap();
    assert_eq!(recovery.epoch, 3);
    assert_eq!(append(&journal, 1..2).unwrap()[0].epoch(), 3);
    drop(journal);
    let (journal, _) = with(4).unwrap();
    fill(&journal, 2..60);
    drop(journal);
    let from_start = Watermarks {
        scan_from_seq: Some(0),
        ..Watermarks::default()
    };
    let (journal, recovery) = open_with(&memory, &from_start).unwrap();
    assert_eq!(recovery.epoch, 4);
    assert_eq!(
        (recovery.scanned_from_segment, recovery.frames_scanned),
        (0, 60)
    );
    check(&journal, &all(60), &nothing());
    drop(journal);
    assert!(fsck_of(&memory).is_clean());
}

#[test]
fn the_index_is_a_witness() {
    let memory = disk(0);
    let (journal, _) = open(&memory).unwrap();
    fill(&journal, 0..30);
    append(&journal, 30..33).unwrap();
    let hash_at = |seq| journal.frame_hash_at(seq).unwrap().unwrap();
    let (early, late) = (hash_at(2), hash_at(32));
    drop(journal);
    let at = |seq, hash| Watermarks {
        index_seq: Some((seq, hash)),
        ..Watermarks::default()
    };
    let standing = |marks: &Watermarks| open_with(&memory, marks).map(|(_, found)| found.index);
    assert_eq!(
        standing(&Watermarks::default()).unwrap(),
        IndexStanding::Absent
    );
    assert_eq!(standing(&at(2, early)).unwrap(), IndexStanding::Matches);
    assert_eq!(standing(&at(32, late)).unwrap(), IndexStanding::Matches);
    assert_eq!(standing(&at(32, early)).unwrap(), IndexStanding::Diverges);
    assert_eq!(
        standing(&at(31, late)).unwrap(),
        IndexStanding::Diverges,
        "no frame ends there"
    );
    let ahead = standing(&at(33, late));
    assert!(
        matches!(
            ahead,
            Err(Error::LostAcked {
                next_seq: 33,
                watermark: 33
            })
        ),
        "{ahead:?}"
    );
    assert!(matches!(
        open_with(&memory, &seen(500)),
        Err(Error::LostAcked { .. })
    ));
    // Scanning begins with the segment that holds the checkpoint.
    let (_, found) = open_with(&memory, &at(2, early)).unwrap();
    assert_eq!(found.scanned_from_segment, 0);
    assert_eq!(found.frames_scanned, 31);
}

#[test]
fn options_are_checked() {
    let memory = disk(0);
    let bad = |change: fn(&mut Options)| {
        let mut options = options();
        change(&mut options);
        Journal::open(io(&memory), options, &Watermarks::default()).map(|_| ())
    };
    for change in [
        (|o| o.segment_size = 8192) as fn(&mut Options),
        |o| o.segment_size = 1 << 40,
        |o| o.segment_size += 1,
        |o| o.spares = 0,
        |o| o.audit_reserve = u64::MAX,
        |o| o.frame_events = 0,
    ] {
        assert!(matches!(bad(change), Err(Error::InvalidOptions { .. })));
    }
    assert!(bad(|_| {}).is_ok());
}

#[test]
fn a_changed_segment_size_holds_for_new_segments() {
    let memory = disk(0);
    let (journal, _) = open(&memory).unwrap();
    fill(&journal, 0..5);
    drop(journal);
    let larger = Options {
        segment_size: 64 * 1024,
        ..options()
    };
    let (journal, _) = Journal::open(io(&memory), larger, &Watermarks::default()).unwrap();
    // Fits a new segment, not the old one.
    let body = vec![3; 40_000];
    let event = crate::Event {
        leaf: vec![1],
        row: vec![],
        body: body.clone(),
    };
    let acked = journal
        .submit(vec![event], crate::Priority::Data)
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(acked[0].location().segment, 1);
    drop(journal);
    let (journal, _) = open(&memory).unwrap();
    assert_eq!(journal.read(acked[0].location()).unwrap().body, body);
    for tag in 6..200 {
        append(&journal, tag..tag + 1).unwrap();
    }
    assert!(journal.status().segments > 3);
    drop(journal);
    assert!(fsck_of(&memory).is_clean());
}
