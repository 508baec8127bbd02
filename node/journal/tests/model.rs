//! Random histories against a simple model: nothing acknowledged is lost, what is there is a prefix of what was sent, the chain verifies.

use std::collections::BTreeSet;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};

use super::support::{check, disk, events, fsck_of, io, open, options, seen};
use crate::sim::Memory;
use crate::{Error, Event, Journal, Options, Priority, Ticket, Watermarks};

#[derive(Debug, Clone)]
enum Step {
    /// Queue batches of these sizes, then commit as far as it goes.
    Append(Vec<u8>),
    /// Record an erasure, then erase the event with this number (modulo what there is).
    Erase(u16),
    /// The process ends and starts again.
    Restart,
    /// The power goes.
    Crash,
    /// From now on each call fails with this probability, in thousandths.
    Faults(u8),
    /// The disk has this much room left, in KiB; `None` for plenty.
    Room(Option<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::collection::vec(1_u8..6, 1..5).prop_map(Step::Append),
        2 => any::<u16>().prop_map(Step::Erase),
        1 => Just(Step::Restart),
        2 => Just(Step::Crash),
        1 => (0_u8..60).prop_map(Step::Faults),
        1 => proptest::option::of(0_u8..40).prop_map(Step::Room),
    ]
}

struct World {
    memory: Memory,
    journal: Option<Journal>,
    /// Tags of what is durable, by sequence number.
    durable: Vec<u64>,
    /// Batches that were told "unknown": the first few of them, in order, may turn up.
    unknown: Vec<Vec<u64>>,
    /// Recorded erasures.
    erased: BTreeSet<u64>,
    next_tag: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let memory = disk(seed);
        let journal = Some(open(&memory).unwrap().0);
        Self {
            memory,
            journal,
            durable: Vec::new(),
            unknown: Vec::new(),
            erased: BTreeSet::new(),
            next_tag: 0,
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Append(sizes) => self.append(sizes),
            Step::Erase(pick) => self.erase(*pick),
            Step::Restart => self.reopen(false),
            Step::Crash => self.reopen(true),
            Step::Faults(rate) => self.memory.set_fault_rate(u32::from(*rate) * 1000),
            Step::Room(room) => {
                let limit = room.map(|kib| self.memory.used() + u64::from(kib) * 1024);
                self.memory.set_capacity(limit);
            }
        }
        let broken = self
            .journal
            .as_ref()
            .is_none_or(|j| j.status().poisoned.is_some());
        if broken || self.memory.is_crashed() {
            self.reopen(self.memory.is_crashed());
        }
    }

    fn append(&mut self, sizes: &[u8]) {
        let Some(journal) = &self.journal else { return };
        let mut waiting: Vec<(Vec<u64>, Ticket)> = Vec::new();
        for size in sizes {
            let tags = self.next_tag..self.next_tag + u64::from(*size);
            self.next_tag = tags.end;
            let batch: Vec<Event> = events(tags.clone());
            waiting.push((
                tags.collect(),
                journal.submit(batch, Priority::Data).unwrap(),
            ));
        }
        while journal.turn() {}
        for (tags, ticket) in waiting {
            match ticket.wait() {
                Ok(acked) => {
                    assert!(self.unknown.is_empty(), "acknowledged after a failure");
                    for (acked, tag) in acked.into_iter().zip(&tags) {
                        assert_eq!(acked.seq(), self.durable.len() as u64);
                        self.durable.push(*tag);
                    }
                }
                Err(Error::NoSpace { .. }) => {}
                Err(Error::Poisoned { .. }) => self.unknown.push(tags),
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn erase(&mut self, pick: u16) {
        let count = self.durable.len() as u64;
        let Some(target) = u64::from(pick).checked_rem(count) else {
            return;
        };
        // The record of the erasure comes first; only if it is durable is anything overwritten.
        self.append(&[1]);
        let Some(journal) = &self.journal else { return };
        if self.durable.len() as u64 > count {
            self.erased.insert(target);
            match journal
                .locate(target)
                .and_then(|location| journal.erase(&[location]))
            {
                Ok(()) => {}
                Err(Error::Poisoned { .. } | Error::Io { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn reopen(&mut self, power_cut: bool) {
        if power_cut {
            self.memory.crash();
        }
        self.journal = None;
        if power_cut {
            self.memory.restart();
        }
        // Faults may also meet the start; then it is tried again, at last with a disk that behaves.
        let marks = match (self.durable.len() as u64).checked_sub(1) {
            Some(last) => seen(last),
            None => Watermarks::default(),
        };
        let mut tries = 0;
        let (journal, recovery) = loop {
            if self.memory.is_crashed() {
                self.memory.restart();
            }
            match Journal::open(io(&self.memory), options(), &marks) {
                Ok(opened) => break opened,
                Err(Error::Io { .. }) if tries < 20 => tries += 1,
                Err(other) => panic!("{other}"),
            }
            if tries > 3 {
                self.memory.clear_plans();
            }
        };
        // Nothing acknowledged is missing; beyond it, whole batches of the frame that was in flight.
        let found = recovery.next_seq as usize;
        assert!(found >= self.durable.len(), "lost acknowledged events");
        for batch in std::mem::take(&mut self.unknown) {
            if self.durable.len() < found {
                self.durable.extend(batch);
            }
        }
        assert_eq!(self.durable.len(), found, "a batch came back in part");
        for event in &recovery.damaged {
            assert!(
                self.erased.contains(&event.location.seq),
                "{event:?} is not being erased"
            );
        }
        self.memory.clear_plans();
        // As the caller does: recorded erasures are done again.
        let locations: Vec<_> = self
            .erased
            .iter()
            .map(|seq| journal.locate(*seq).unwrap())
            .collect();
        journal.erase(&locations).unwrap();
        check(&journal, &self.durable, &self.erased);
        self.journal = Some(journal);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn histories(seed in any::<u64>(), steps in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new(seed);
        for step in &steps {
            world.run(step);
        }
        world.memory.set_capacity(None);
        world.reopen(true);
        world.append(&[2, 3]);
        world.reopen(false);
        world.journal = None;
        let report = fsck_of(&world.memory);
        assert!(report.is_clean(), "{:?}", report.damage);
        assert_eq!(report.events, world.durable.len() as u64);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut world = World::new(42);
        world.memory.set_fault_rate(3000);
        for step in 0..60 {
            world.run(&Step::Append(vec![1 + step % 5, 2]));
            if step % 7 == 0 {
                world.run(&Step::Erase(u16::from(step)));
            }
            if step % 11 == 0 {
                world.run(&Step::Crash);
            }
        }
        let head = world.journal.as_ref().unwrap().head();
        (head, world.memory.steps())
    };
    assert_eq!(run(), run());
    let _: Options = options();
}
