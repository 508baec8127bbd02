//! The fault table: each durable step, each way it can go wrong, what must then be true.

use super::support::{all, append, check, disk, event, fill, fsck_of, io, nothing, open, options};
use crate::sim::{Fault, Memory, Op, Trigger};
use crate::{Error, Journal, Priority};

/// What may be on disk after the fault and the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// What was there before.
    Old,
    /// Also the batch in flight, whole.
    New,
    /// One of the two.
    Either,
}

/// What the caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Poisoned,
    NoSpace,
    Acked,
}

struct Row {
    step: &'static str,
    op: Op,
    name: &'static str,
    after: u32,
    /// Outcome for: fail, fail but persisted, crash before, crash after.
    outcomes: [(Told, Keeps); 4],
}

const FAULTS: [Fault; 4] = [
    Fault::Fail,
    Fault::FailPersisted,
    Fault::CrashBefore,
    Fault::CrashAfter,
];

use Keeps::{Either, New, Old};
use Told::{Acked, NoSpace, Poisoned};

/// Before each row: 10 durable frames in segment 0, the spare `spare-0.seg` on the shelf. The batch in flight is one event.
const COMMIT: [Row; 2] = [
    Row {
        step: "frame: write",
        op: Op::Write,
        name: "00000000.seg",
        after: 0,
        outcomes: [
            (Poisoned, Either),
            (Poisoned, New),
            (Poisoned, Old),
            (Poisoned, Either),
        ],
    },
    Row {
        step: "frame: barrier",
        op: Op::SyncData,
        name: "00000000.seg",
        after: 0,
        outcomes: [
            (Poisoned, Either),
            (Poisoned, New),
            (Poisoned, Either),
            (Poisoned, New),
        ],
    },
];

/// Before each row: segment 0 is too full for the batch in flight, so a new segment begins.
const ROLL: [Row; 4] = [
    Row {
        step: "new segment: write header",
        op: Op::Write,
        name: "spare-0.seg",
        after: 0,
        outcomes: [(Poisoned, Old); 4],
    },
    Row {
        step: "new segment: barrier",
        op: Op::SyncData,
        name: "spare-0.seg",
        after: 0,
        outcomes: [(Poisoned, Old); 4],
    },
    Row {
        step: "new segment: rename",
        op: Op::Rename,
        name: "00000001.seg",
        after: 0,
        outcomes: [(Poisoned, Old); 4],
    },
    Row {
        step: "new segment: sync folder",
        op: Op::SyncDir,
        name: "",
        after: 0,
        outcomes: [(Poisoned, Old); 4],
    },
];

/// Before each row: as for [`ROLL`], but the shelf is empty, so that the spare must be made first.
const SPARE: [Row; 5] = [
    Row {
        step: "spare: create",
        op: Op::Create,
        name: "spare-",
        after: 0,
        outcomes: [
            (NoSpace, Old),
            (NoSpace, Old),
            (NoSpace, Old),
            (NoSpace, Old),
        ],
    },
    Row {
        step: "spare: zeros",
        op: Op::Write,
        name: "spare-",
        after: 0,
        outcomes: [
            (NoSpace, Old),
            (NoSpace, Old),
            (NoSpace, Old),
            (NoSpace, Old),
        ],
    },
    Row {
        step: "spare: barrier",
        op: Op::SyncData,
        name: "spare-",
        after: 0,
        outcomes: [
            (NoSpace, Old),
            (NoSpace, Old),
            (NoSpace, Old),
            (NoSpace, Old),
        ],
    },
    Row {
        step: "spare: rename",
        op: Op::Rename,
        name: "spare-",
        after: 0,
        outcomes: [
            (NoSpace, Old),
            (NoSpace, Old),
            (NoSpace, Old),
            (NoSpace, Old),
        ],
    },
    Row {
        step: "spare: sync folder",
        op: Op::SyncDir,
        name: "",
        after: 0,
        outcomes: [
            (NoSpace, Old),
            (NoSpace, Old),
            (NoSpace, Old),
            (NoSpace, Old),
        ],
    },
];

#[test]
fn commit_steps() {
    for row in &COMMIT {
        run(row, &|memory| {
            let (journal, _) = open(memory).unwrap();
            fill(&journal, 0..10);
            (journal, 10)
        });
    }
}

#[test]
fn new_segment_steps() {
    for row in &ROLL {
        run(row, &|memory| {
            let (journal, _) = open(memory).unwrap();
            let count = fill_segment(&journal);
            (journal, count)
        });
    }
}

#[test]
fn spare_steps() {
    for row in &SPARE {
        run(row, &|memory| {
            // No room for a spare while the first segment is filled.
            memory.set_capacity(Some(memory.used()));
            let (journal, _) = open(memory).unwrap();
            let mut count = 0;
            let submit = |tag| {
                journal
                    .submit(vec![event(tag)], Priority::Audit)
                    .unwrap()
                    .wait()
            };
            while submit(count).is_ok() {
                count += 1;
            }
            memory.set_capacity(None);
            (journal, count)
        });
    }
}

/// Fills the first segment until the next event would begin a new one; returns how many it holds.
fn fill_segment(journal: &Journal) -> u64 {
    let mut count = 0;
    loop {
        let used = journal.head().next_seq.checked_sub(1).map_or(4096, |last| {
            let location = journal.locate(last).unwrap();
            (location.offset + location.sealed_len()).next_multiple_of(8)
        });
        let next = event(count);
        let need = 80 + 46 + 32 + 1 + next.leaf.len() + next.row.len() + next.body.len();
        if used + (need as u64).next_multiple_of(8) > super::support::SEGMENT {
            return count;
        }
        fill(journal, count..count + 1);
        count += 1;
    }
}

fn run(row: &Row, prepare: &dyn Fn(&Memory) -> (Journal, u64)) {
    for (fault, (told, keeps)) in FAULTS.into_iter().zip(row.outcomes) {
        for machine_stops in [false, true] {
            for seed in 0..8 {
                let what = format!(
                    "{}, {fault:?}, power cut {machine_stops}, seed {seed}",
                    row.step
                );
                let memory = disk(seed);
                let (journal, count) = prepare(&memory);
                memory.plan(Trigger {
                    op: row.op,
                    name: row.name.to_owned(),
                    after: row.after,
                    fault,
                });
                let outcome = append(&journal, count..count + 1);
                let crashed = memory.is_crashed();
                let answer = match &outcome {
                    Ok(_) => Acked,
                    Err(Error::NoSpace { .. }) => NoSpace,
                    Err(Error::Poisoned { .. }) => Poisoned,
                    Err(other) => panic!("{what}: {other}"),
                };
                assert_eq!(answer, told, "{what}");
                assert_eq!(
                    journal.status().poisoned.is_some(),
                    told == Poisoned,
                    "{what}"
                );
                assert_eq!(journal.head().next_seq, count, "{what}: the end moved");
                if told == Poisoned {
                    // No retry, and reads go on while the machine does.
                    assert!(matches!(
                        append(&journal, count..count + 1),
                        Err(Error::Poisoned { .. })
                    ));
                    if !crashed {
                        check(&journal, &all(count), &nothing());
                    }
                } else if !crashed {
                    // Nothing was written: the same submit goes through once the disk behaves.
                    append(&journal, count..count + 1).unwrap();
                    check(&journal, &all(count + 1), &nothing());
                    continue;
                }
                drop(journal);
                if machine_stops || crashed {
                    memory.restart();
                }
                let (journal, recovery) = open(&memory).unwrap_or_else(|e| panic!("{what}: {e}"));
                let found = journal.head().next_seq;
                match keeps {
                    // A process that dies without the machine leaves the cache: a write not yet synced is there.
                    Old if row.op == Op::Write && !machine_stops && !crashed => {}
                    Old => assert_eq!(found, count, "{what}"),
                    New => assert_eq!(found, count + 1, "{what}"),
                    Either => assert!(found == count || found == count + 1, "{what}"),
                }
                if recovery.truncated.is_some() {
                    assert_eq!(found, count, "{what}: truncated and kept");
                }
                check(&journal, &all(found), &nothing());
                // What was recovered is durable by now, and so is what follows: cut the power at once.
                fill(&journal, found..found + 20);
                memory.crash();
                drop(journal);
                memory.restart();
                let (journal, _) = open(&memory).unwrap_or_else(|e| panic!("{what}: again: {e}"));
                check(&journal, &all(found + 20), &nothing());
                drop(journal);
                assert!(
                    fsck_of(&memory).is_clean(),
                    "{what}: {:?}",
                    fsck_of(&memory).damage
                );
            }
        }
    }
}

#[test]
fn a_recovered_frame_is_durable_before_anyone_sees_it() {
    // The barrier fails, the process restarts (the cache still shows the frame), then the power goes.
    for seed in 0..32 {
        let memory = disk(seed);
        let (journal, _) = open(&memory).unwrap();
        fill(&journal, 0..3);
        let name = "00000000.seg".to_owned();
        memory.plan(Trigger {
            op: Op::SyncData,
            name,
            after: 0,
            fault: Fault::Fail,
        });
        append(&journal, 3..4).unwrap_err();
        drop(journal);
        let (journal, recovery) = open(&memory).unwrap();
        assert_eq!(recovery.next_seq, 4, "the cache has it");
        memory.crash();
        drop(journal);
        memory.restart();
        let (journal, recovery) = open(&memory).unwrap();
        assert_eq!(
            recovery.next_seq, 4,
            "seed {seed}: it was handed out and must stay"
        );
        check(&journal, &all(4), &nothing());
    }
}

#[test]
fn creation_can_stop_anywhere() {
    let steps = {
        let memory = disk(0);
        memory.steps()
    };
    assert!(steps.len() >= 8, "{steps:?}");
    for at in 0..steps.len() {
        for fault in FAULTS {
            for seed in 0..4 {
                let memory = Memory::new(seed);
                let (op, name) = steps[at].clone();
                let after = steps[..at]
                    .iter()
                    .filter(|(o, n)| *o == op && n.starts_with(&name));
                memory.plan(Trigger {
                    op,
                    name: name.clone(),
                    after: after.count() as u32,
                    fault,
                });
                let made = Journal::create(&io(&memory), &options(), [7; 16]);
                assert!(made.is_err(), "{op:?} {name} {fault:?}");
                memory.restart();
                match open(&memory) {
                    Ok((journal, _)) => fill(&journal, 0..3),
                    Err(Error::NoJournal { .. }) => {
                        Journal::create(&io(&memory), &options(), [7; 16]).unwrap();
                        let (journal, _) = open(&memory).unwrap();
                        fill(&journal, 0..3);
                    }
                    Err(other) => panic!("{op:?} {name} {fault:?}: {other}"),
                }
            }
        }
    }
}

#[test]
fn repair_can_stop_anywhere() {
    // A torn frame, then a fault in each step of its repair; whatever happens, the next start comes to the same end.
    for fault in FAULTS {
        for op in [Op::Write, Op::SyncData, Op::SyncDir] {
            for after in 0..2 {
                for seed in 0..16 {
                    let memory = disk(seed);
                    let (journal, _) = open(&memory).unwrap();
                    fill(&journal, 0..5);
                    let last = journal.locate(4).unwrap();
                    drop(journal);
                    assert!(memory.flip("00000000.seg", last.offset, 0x10));
                    memory.plan(Trigger {
                        op,
                        name: String::new(),
                        after,
                        fault,
                    });
                    let first = open(&memory);
                    let failed = first.is_err();
                    drop(first);
                    if memory.is_crashed() || failed {
                        memory.restart();
                    }
                    memory.clear_plans();
                    let (journal, _) = open(&memory).unwrap();
                    check(&journal, &all(4), &nothing());
                }
            }
        }
    }
}
