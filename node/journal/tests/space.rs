//! A full disk: refused before anything is written, audit entries longest, and back by itself.

use std::time::{Duration, Instant};

use super::support::{append, check, disk, event, fill, fsck_of, io, nothing, open, options};
use crate::{Drive, Error, Event, Journal, Options, Priority, Watermarks};

fn small(priority: Priority, journal: &Journal) -> Result<Vec<crate::Acked>, Error> {
    let event = Event {
        leaf: b"refused".to_vec(),
        row: Vec::new(),
        body: Vec::new(),
    };
    journal.submit(vec![event], priority)?.wait()
}

#[test]
fn data_stops_first_then_audit_then_all_returns() {
    let memory = disk(1);
    let (journal, _) = open(&memory).unwrap();
    fill(&journal, 0..3);
    memory.set_capacity(Some(memory.used()));
    // One spare is left: it is used up in the ordinary way.
    let mut count = 3;
    let refused = loop {
        match append(&journal, count..count + 1) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
    assert!(refused.is_temporary());
    assert_eq!(journal.status().segments, 2);
    assert_eq!(journal.status().poisoned, None);
    assert!(journal.status().no_space.is_some());
    check(&journal, &(0..count).collect::<Vec<_>>(), &nothing());
    // Smaller data may still find room above the reserve, but not in it.
    let mut tiny = 0;
    while small(Priority::Data, &journal).is_ok() {
        tiny += 1;
    }
    count += tiny;
    // The reserve takes audit entries still, and no data however small, until it is gone too.
    let mut entries = 0_u64;
    while small(Priority::Audit, &journal).is_ok() {
        entries += 1;
        assert!(matches!(
            append(&journal, 100..101),
            Err(Error::NoSpace { .. })
        ));
    }
    assert!(
        entries >= 2048 / 176,
        "only {entries} audit entries found room"
    );
    assert!(matches!(
        small(Priority::Audit, &journal),
        Err(Error::NoSpace { .. })
    ));
    assert_eq!(
        journal.status().segments,
        2,
        "the number waits for the file"
    );
    assert_eq!(journal.head().next_seq, count + entries);
    // It even restarts while full.
    drop(journal);
    let (journal, _) = open(&memory).unwrap();
    assert!(matches!(
        append(&journal, 100..101),
        Err(Error::NoSpace { .. })
    ));
    memory.set_capacity(None);
    append(&journal, 100..101).unwrap();
    assert_eq!(journal.head().next_seq, count + entries + 1);
    drop(journal);
    assert!(fsck_of(&memory).is_clean());
}

#[test]
fn writes_resume_by_themselves() {
    let memory = disk(2);
    let threads = Options {
        drive: Drive::Threads,
        ..options()
    };
    let (journal, _) = Journal::open(io(&memory), threads, &Watermarks::default()).unwrap();
    let one = |tag| journal.submit(vec![event(tag)], Priority::Data)?.wait();
    for tag in 0..3 {
        one(tag).unwrap();
    }
    memory.set_capacity(Some(memory.used()));
    let mut count = 3;
    while one(count).is_ok() {
        count += 1;
        assert!(count < 500, "it never filled up");
    }
    assert!(matches!(one(count), Err(Error::NoSpace { .. })));
    assert_eq!(journal.read_leaf(0).unwrap(), event(0).leaf, "reads go on");
    memory.set_capacity(None);
    let start = Instant::now();
    while let Err(error) = one(count) {
        assert!(matches!(error, Error::NoSpace { .. }), "{error}");
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "it never resumed"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    check(&journal, &(0..=count).collect::<Vec<_>>(), &nothing());
    journal.close().unwrap();
}

#[test]
fn idle_journals_get_their_spare_back_too() {
    // Nobody submits: the maker retries on its own.
    let memory = disk(3);
    memory.set_capacity(Some(memory.used() + 100));
    let threads = Options {
        drive: Drive::Threads,
        ..options()
    };
    let (journal, _) = Journal::open(io(&memory), threads, &Watermarks::default()).unwrap();
    let wait = |what: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !what() {
            assert!(start.elapsed() < Duration::from_secs(10), "it never came");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait(&|| journal.status().no_space.is_some());
    memory.set_capacity(None);
    wait(&|| journal.status().spares == 1 && journal.status().no_space.is_none());
}
