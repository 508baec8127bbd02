//! Erasure keeps every proof and takes every byte, also when it is interrupted.

use std::collections::BTreeSet;

use super::support::{all, append, check, disk, event, fill, fsck_of, nothing, open, open_with};
use crate::format::segment_file;
use crate::sim::{Fault, Op, Trigger};
use crate::{DamageKind, Error, Location, Part, Watermarks};

#[test]
fn erased_bytes_are_gone_and_the_chain_stands() {
    let memory = disk(3);
    let (journal, _) = open(&memory).unwrap();
    fill(&journal, 0..60);
    assert!(journal.status().segments >= 2);
    let erased: BTreeSet<u64> = [1, 2, 17, 40, 58].into();
    let locations: Vec<Location> = erased
        .iter()
        .map(|seq| journal.locate(*seq).unwrap())
        .collect();
    let head = journal.head();
    journal.erase(&locations).unwrap();
    journal.erase(&locations).unwrap();
    assert_eq!(journal.head(), head);
    check(&journal, &all(60), &erased);
    drop(journal);
    let report = fsck_of(&memory);
    assert!(report.is_clean(), "{:?}", report.damage);
    assert_eq!(
        (report.erased, report.events, report.head_hash),
        (5, 60, head.hash)
    );
    for seq in &erased {
        let gone = event(*seq);
        for segment in &report.segments {
            let bytes = memory.contents(&segment.file).unwrap();
            for part in [&gone.row, &gone.body]
                .into_iter()
                .filter(|part| part.len() > 8)
            {
                assert!(
                    !bytes
                        .windows(part.len())
                        .any(|window| window == part.as_slice())
                );
            }
        }
    }
    let from_start = Watermarks {
        scan_from_seq: Some(0),
        ..Watermarks::default()
    };
    let (journal, recovery) = open_with(&memory, &from_start).unwrap();
    assert_eq!((recovery.damaged.len(), recovery.truncated), (0, None));
    check(&journal, &all(60), &erased);
}

#[test]
fn what_cannot_be_erased_is_refused_untouched() {
    let memory = disk(4);
    let (journal, _) = open(&memory).unwrap();
    fill(&journal, 0..5);
    append(&journal, 5..8).unwrap();
    let last = journal.locate(6).unwrap();
    assert!(matches!(
        journal.erase(&[last]),
        Err(Error::EraseTooEarly { seq: 6 })
    ));
    let good = journal.locate(3).unwrap();
    for wrong in [
        Location {
            offset: good.offset + 1,
            ..good
        },
        Location {
            body_len: good.body_len + 1,
            ..good
        },
        Location { segment: 1, ..good },
        Location {
            digest: [0; 16],
            ..good
        },
        Location { seq: 2, ..good },
    ] {
        let refused = journal.erase(&[good, wrong]).unwrap_err();
        assert!(matches!(refused, Error::WrongLocation { .. }), "{refused}");
        assert!(matches!(journal.read(&wrong), Err(_) | Ok(_) if wrong != good));
    }
    let beyond = Location { seq: 99, ..good };
    assert!(matches!(
        journal.erase(&[beyond]),
        Err(Error::UnknownSeq {
            seq: 99,
            next_seq: 8
        })
    ));
    check(&journal, &all(8), &nothing());
    assert_eq!(journal.status().poisoned, None);
}

#[test]
fn zeros_alone_are_damage_not_erasure() {
    let memory = disk(5);
    let (journal, _) = open(&memory).unwrap();
    fill(&journal, 0..6);
    let location = journal.locate(3).unwrap();
    drop(journal);
    let mut bytes = memory.contents(&segment_file(0)).unwrap();
    bytes[location.offset as usize..][..location.sealed_len() as usize].fill(0);
    memory.place(&segment_file(0), bytes);
    let (journal, recovery) = open(&memory).unwrap();
    assert_eq!(recovery.damaged.len(), 1);
    assert!(matches!(
        journal.read(&location),
        Err(Error::Damaged {
            kind: DamageKind::Sealed,
            seq: Some(3),
            ..
        })
    ));
    assert_eq!(journal.scan(3).next().unwrap().unwrap().row, Part::Damaged);
    // Recorded as an erasure after all, it heals.
    journal.erase(&[location]).unwrap();
    check(&journal, &all(6), &[3].into());
}

#[test]
fn an_interrupted_erasure_heals_by_doing_it_again() {
    for op in [Op::Write, Op::SyncData] {
        for after in 0..4 {
            for fault in [
                Fault::Fail,
                Fault::FailPersisted,
                Fault::CrashBefore,
                Fault::CrashAfter,
            ] {
                for seed in 0..12 {
                    let what = format!("{op:?} {after} {fault:?} {seed}");
                    let memory = disk(seed);
                    let (journal, _) = open(&memory).unwrap();
                    fill(&journal, 0..30);
                    let erased: BTreeSet<u64> = [5, 28].into();
                    let locations = [5, 28].map(|seq| journal.locate(seq).unwrap());
                    memory.plan(Trigger {
                        op,
                        name: "0000".to_owned(),
                        after,
                        fault,
                    });
                    let outcome = journal.erase(&locations);
                    if let Err(error) = &outcome {
                        assert!(matches!(error, Error::Poisoned { .. }), "{what}: {error}");
                        assert!(matches!(
                            append(&journal, 30..31),
                            Err(Error::Poisoned { .. })
                        ));
                    }
                    drop(journal);
                    memory.restart();
                    // It starts whatever is half done, loses nothing else, and does it again.
                    let (journal, recovery) = open(&memory).unwrap();
                    assert_eq!(
                        (recovery.next_seq, recovery.truncated),
                        (30, None),
                        "{what}"
                    );
                    let half: Vec<u64> = recovery.damaged.iter().map(|d| d.location.seq).collect();
                    assert!(
                        half.iter().all(|seq| erased.contains(seq)),
                        "{what}: {half:?}"
                    );
                    journal.erase(&locations).unwrap();
                    check(&journal, &all(30), &erased);
                    memory.crash();
                    drop(journal);
                    memory.restart();
                    check(&open(&memory).unwrap().0, &all(30), &erased);
                }
            }
        }
    }
}
