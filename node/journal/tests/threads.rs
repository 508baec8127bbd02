//! With real threads: order, subscribers, back-pressure, shutting down, poison told to everyone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use super::support::{check, disk, event, events, io, nothing, open, options};
use crate::sim::{Fault, Memory, Op, Trigger};
use crate::{Committed, Drive, Error, Journal, Options, Priority, Watermarks};

fn threaded(memory: &Memory, change: impl FnOnce(&mut Options)) -> Journal {
    let mut options = Options {
        drive: Drive::Threads,
        ..options()
    };
    change(&mut options);
    Journal::open(io(memory), options, &Watermarks::default())
        .unwrap()
        .0
}

#[test]
fn many_submitters_one_order() {
    let memory = disk(1);
    let journal = threaded(&memory, |_| {});
    let frames: Arc<Mutex<Vec<Committed>>> = Arc::default();
    let seen = Arc::clone(&frames);
    let from = journal.subscribe(Box::new(move |committed| {
        seen.lock().unwrap().push(Committed {
            epoch: committed.epoch,
            first_seq: committed.first_seq,
            events: committed.events.clone(),
            frame_hash: committed.frame_hash,
        });
    }));
    assert_eq!(from.unwrap(), 0);
    let numbers: Mutex<Vec<(u64, u64)>> = Mutex::default();
    thread::scope(|scope| {
        for worker in 0..4_u64 {
            let (journal, numbers) = (&journal, &numbers);
            scope.spawn(move || {
                let mut last = None;
                for step in 0..60 {
                    let tag = worker * 1000 + step;
                    let acked = journal
                        .submit(vec![event(tag)], Priority::Data)
                        .unwrap()
                        .wait();
                    let seq = acked.unwrap()[0].seq();
                    assert!(Some(seq) > last, "one submitter's events keep their order");
                    last = Some(seq);
                    numbers.lock().unwrap().push((seq, tag));
                }
            });
        }
    });
    let mut numbers = numbers.into_inner().unwrap();
    numbers.sort_unstable();
    let tags: Vec<u64> = numbers.iter().map(|(_, tag)| *tag).collect();
    check(&journal, &tags, &nothing());
    let scanned: Vec<_> = journal.scan(0).map(Result::unwrap).collect();
    let head = journal.head();
    journal.close().unwrap();
    let frames = frames.lock().unwrap();
    let mut next = 0;
    for frame in frames.iter() {
        assert_eq!(frame.first_seq, next, "no gap, no repetition");
        for event in &frame.events {
            let entry = &scanned[next as usize];
            assert_eq!(
                (event.seq, &event.leaf, &event.location),
                (next, &entry.leaf, &entry.location)
            );
            assert_eq!(entry.row, crate::Part::Present(event.row.clone()));
            next += 1;
        }
        assert_eq!(frame.last_seq(), next - 1);
    }
    assert_eq!((next, frames.last().unwrap().frame_hash), (240, head.hash));
}

#[test]
fn a_late_subscriber_and_a_scan_leave_no_gap() {
    let memory = disk(2);
    let journal = threaded(&memory, |_| {});
    let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            for tag in 0..200 {
                journal
                    .submit(vec![event(tag)], Priority::Data)
                    .unwrap()
                    .wait()
                    .unwrap();
            }
        });
        thread::sleep(Duration::from_millis(3));
        let sink = Arc::clone(&seen);
        let from = journal
            .subscribe(Box::new(move |frame| {
                sink.lock()
                    .unwrap()
                    .extend(frame.events.iter().map(|event| event.seq));
            }))
            .unwrap();
        let scanned = journal
            .scan(0)
            .map(|entry| entry.unwrap().seq)
            .take_while(|s| *s < from);
        let before: Vec<u64> = scanned.collect();
        assert_eq!(before, (0..from).collect::<Vec<_>>());
        seen.lock().unwrap().splice(0..0, before);
    });
    journal.close().unwrap();
    // What was scanned was put before what was delivered: together they are everything, once.
    assert_eq!(*seen.lock().unwrap(), (0..200).collect::<Vec<_>>());
}

#[test]
fn a_full_queue_is_busy_at_once() {
    let memory = disk(3);
    // Manual: nobody drains.
    let options = Options {
        queue_events: 4,
        ..options()
    };
    let (journal, _) = Journal::open(io(&memory), options, &Watermarks::default()).unwrap();
    let first = journal.submit(events(0..4), Priority::Data).unwrap();
    assert!(matches!(
        journal.submit(events(4..5), Priority::Data),
        Err(Error::Busy)
    ));
    assert_eq!(first.wait().unwrap().len(), 4);
    // A submit larger than the queue passes an empty one.
    assert_eq!(
        journal
            .submit(events(4..10), Priority::Data)
            .unwrap()
            .wait()
            .unwrap()
            .len(),
        6
    );
    let refused = journal.submit(Vec::new(), Priority::Data).unwrap_err();
    assert!(matches!(refused, Error::SubmitCount { count: 0, .. }));
    let (empty, fine) = (crate::Event::default(), event(1));
    let refused = journal
        .submit(vec![fine, empty], Priority::Data)
        .unwrap_err();
    assert!(matches!(refused, Error::EventSize { part: "leaf", .. }));
    assert_eq!(journal.head().next_seq, 10);
}

#[test]
fn poison_is_told_to_every_waiter() {
    let memory = disk(4);
    let journal = threaded(&memory, |_| {});
    journal
        .submit(events(0..2), Priority::Data)
        .unwrap()
        .wait()
        .unwrap();
    let name = "00000000.seg".to_owned();
    memory.plan(Trigger {
        op: Op::SyncData,
        name,
        after: 1,
        fault: Fault::Fail,
    });
    let outcomes: Vec<_> = (2..40)
        .map(|tag| journal.submit(vec![event(tag)], Priority::Data))
        .map(|ticket| ticket.and_then(crate::Ticket::wait))
        .collect();
    let good = outcomes
        .iter()
        .take_while(|outcome| outcome.is_ok())
        .count();
    assert_eq!(good, 1);
    assert!(
        outcomes[good..]
            .iter()
            .all(|o| matches!(o, Err(Error::Poisoned { .. })))
    );
    assert_eq!(journal.read_leaf(0).unwrap(), event(0).leaf, "reads go on");
    assert!(matches!(journal.close(), Err(Error::Poisoned { .. })));
    memory.restart();
    let (journal, _) = open(&memory).unwrap();
    assert!(journal.head().next_seq >= 3);
}

#[test]
fn callbacks_come_once_in_order_and_may_panic() {
    let memory = disk(5);
    let journal = threaded(&memory, |_| {});
    let (send, receive) = mpsc::channel();
    for tag in 0..50 {
        let send = send.clone();
        let done = Box::new(move |outcome: crate::Result<Vec<crate::Acked>>| {
            send.send(outcome.unwrap()[0].seq()).unwrap();
            assert!(tag != 10, "a callback's own fault");
        });
        journal
            .submit_with(vec![event(tag)], Priority::Data, done)
            .unwrap();
    }
    drop(send);
    journal.close().unwrap();
    assert_eq!(
        receive.iter().collect::<Vec<_>>(),
        (0..50).collect::<Vec<_>>()
    );
}

#[test]
fn dropping_writes_what_is_queued() {
    let memory = disk(6);
    let journal = threaded(&memory, |_| {});
    let tickets: Vec<_> = (0..100)
        .map(|tag| journal.submit(vec![event(tag)], Priority::Data).unwrap())
        .collect();
    drop(journal);
    for (ticket, seq) in tickets.into_iter().zip(0..) {
        assert_eq!(ticket.wait().unwrap()[0].seq(), seq);
    }
    check(
        &open(&memory).unwrap().0,
        &(0..100).collect::<Vec<_>>(),
        &nothing(),
    );
}

#[test]
fn a_slow_subscriber_slows_the_writer_and_loses_nothing() {
    let memory = disk(7);
    let journal = threaded(&memory, |options| options.subscriber_frames = 1);
    let count = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&count);
    journal
        .subscribe(Box::new(move |frame| {
            thread::sleep(Duration::from_millis(1));
            seen.fetch_add(frame.events.len() as u64, Ordering::Relaxed);
        }))
        .unwrap();
    for tag in 0..50 {
        journal
            .submit(vec![event(tag)], Priority::Data)
            .unwrap()
            .wait()
            .unwrap();
        assert!(
            count.load(Ordering::Relaxed) + 4 >= tag,
            "the lag is bounded"
        );
    }
    journal.close().unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 50);
}

#[test]
fn erasing_while_reading_never_shows_half() {
    let memory = disk(8);
    let journal = threaded(&memory, |_| {});
    for tag in 0..30 {
        journal
            .submit(vec![event(tag)], Priority::Data)
            .unwrap()
            .wait()
            .unwrap();
    }
    journal
        .submit(events(30..31), Priority::Data)
        .unwrap()
        .wait()
        .unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..20 {
                    for entry in journal.scan(0).map(Result::unwrap) {
                        assert_ne!(entry.row, crate::Part::Damaged);
                        let sealed = journal.read(&entry.location);
                        assert!(
                            matches!(sealed, Ok(_) | Err(Error::Erased { .. })),
                            "{sealed:?}"
                        );
                    }
                }
            });
        }
        for seq in 0..30 {
            journal.erase(&[journal.locate(seq).unwrap()]).unwrap();
        }
    });
}
