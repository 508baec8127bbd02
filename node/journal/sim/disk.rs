//! The disk behind [`super::Memory`]: what is visible, what is durable, and what a fault or a crash makes of the difference.

use std::collections::BTreeMap;
use std::io;

use super::{Chance, Fault, Op, Trigger};
use crate::bytes::{put, to_usize};

/// What a disk writes as one.
const SECTOR: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) chance: Chance,
    pub(super) files: Vec<Inode>,
    pub(super) names: BTreeMap<String, usize>,
    pub(super) durable_names: BTreeMap<String, usize>,
    pub(super) pending_names: Vec<NameChange>,
    /// Counts restarts: handles of an earlier life are dead.
    pub(super) life: u64,
    pub(super) crashed: bool,
    pub(super) locked_in: Option<u64>,
    pub(super) capacity: Option<u64>,
    pub(super) triggers: Vec<Trigger>,
    pub(super) fault_per_million: u32,
    pub(super) steps: Vec<(Op, String)>,
}

#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) visible: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<Pending>,
}

#[derive(Debug)]
pub(super) struct Pending {
    at: usize,
    bytes: Vec<u8>,
    /// A failed barrier has dropped it from the cache's list of dirty pages.
    stuck: bool,
}

impl Pending {
    /// Takes over what a newer write says about the same bytes.
    fn cover(&mut self, newer: &Self) {
        let end = self.at + self.bytes.len();
        let (from, to) = (self.at.max(newer.at), end.min(newer.at + newer.bytes.len()));
        if from < to {
            let fresh = newer
                .bytes
                .get(from - newer.at..to - newer.at)
                .unwrap_or(&[]);
            put(&mut self.bytes, from - self.at, fresh);
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Set(String, usize),
    Move(String, String),
    Unset(String),
}

impl Disk {
    pub(super) fn alive(&self, life: u64) -> io::Result<()> {
        if self.crashed || life != self.life {
            return Err(io::Error::other("the machine has stopped"));
        }
        Ok(())
    }

    /// Runs one call under the planned and the random faults. The closure's flag asks it to fail half-way.
    pub(super) fn step(
        &mut self,
        life: u64,
        op: Op,
        name: &str,
        mut act: impl FnMut(&mut Self, bool) -> io::Result<()>,
    ) -> io::Result<()> {
        self.alive(life)?;
        if op != Op::Read {
            self.steps.push((op, name.to_owned()));
        }
        match self.next_fault(op, name) {
            None => act(self, false),
            Some(Fault::Fail) => {
                if matches!(op, Op::Write | Op::SyncData) {
                    act(self, true)?;
                }
                Err(io::Error::other("input/output error"))
            }
            Some(Fault::FailPersisted) => {
                act(self, false)?;
                self.settle_all();
                Err(io::Error::other("input/output error"))
            }
            Some(Fault::CrashBefore) => {
                self.crashed = true;
                self.alive(life)
            }
            Some(Fault::CrashAfter) => {
                act(self, false)?;
                self.crashed = true;
                self.alive(life)
            }
        }
    }

    fn next_fault(&mut self, op: Op, name: &str) -> Option<Fault> {
        let mut due = None;
        for (index, trigger) in self.triggers.iter_mut().enumerate() {
            if trigger.op == op && name.starts_with(&trigger.name) {
                if trigger.after == 0 {
                    due = due.or(Some(index));
                } else {
                    trigger.after -= 1;
                }
            }
        }
        if let Some(index) = due {
            return Some(self.triggers.remove(index).fault);
        }
        let rate = u64::from(self.fault_per_million);
        if op == Op::Read || rate == 0 || self.chance.below(1_000_000) >= rate {
            return None;
        }
        Some(match self.chance.below(4) {
            0 => Fault::Fail,
            1 => Fault::FailPersisted,
            2 => Fault::CrashBefore,
            _ => Fault::CrashAfter,
        })
    }

    pub(super) fn used(&self) -> u64 {
        self.names
            .values()
            .filter_map(|id| self.files.get(*id))
            .map(|f| f.visible.len() as u64)
            .sum()
    }

    pub(super) fn write(&mut self, id: usize, bytes: &[u8], at: usize) -> io::Result<()> {
        let used = self.used();
        let capacity = self.capacity;
        let Some(file) = self.files.get_mut(id) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let end = at.saturating_add(bytes.len());
        let growth = end.saturating_sub(file.visible.len()) as u64;
        if growth > 0 && capacity.is_some_and(|limit| used + growth > limit) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if end > file.visible.len() {
            file.visible.resize(end, 0);
        }
        put(&mut file.visible, at, bytes);
        file.pending.push(Pending {
            at,
            bytes: bytes.to_vec(),
            stuck: false,
        });
        Ok(())
    }

    /// A barrier that works: all that is pending becomes durable, except what an earlier failed barrier dropped.
    pub(super) fn settle_file(&mut self, id: usize) {
        if let Some(file) = self.files.get_mut(id) {
            let mut kept: Vec<Pending> = Vec::new();
            for pending in std::mem::take(&mut file.pending) {
                if pending.stuck {
                    kept.push(pending);
                } else {
                    // What a newer write covers cannot come back from an older one.
                    kept.iter_mut().for_each(|older| older.cover(&pending));
                    persist(&mut file.durable, pending.at, &pending.bytes);
                }
            }
            file.pending = kept;
        }
    }

    /// A barrier that fails: what was pending may or may not be on the disk, and nothing will push it there later.
    pub(super) fn lose_grip(&mut self, id: usize) {
        if let Some(file) = self.files.get_mut(id) {
            for pending in &mut file.pending {
                pending.stuck = true;
            }
        }
    }

    pub(super) fn settle_all(&mut self) {
        for file in &mut self.files {
            for pending in std::mem::take(&mut file.pending) {
                persist(&mut file.durable, pending.at, &pending.bytes);
            }
        }
        self.settle_names(usize::MAX);
    }

    pub(super) fn change_names(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.pending_names.push(change);
    }

    pub(super) fn settle_names(&mut self, count: usize) {
        let count = count.min(self.pending_names.len());
        for change in self.pending_names.drain(..count) {
            apply(&mut self.durable_names, &change);
        }
    }

    pub(super) fn restart(&mut self) {
        let kept = self.chance.below(self.pending_names.len() as u64 + 1);
        self.settle_names(to_usize(kept));
        self.pending_names.clear();
        self.names = self.durable_names.clone();
        // One mood for the whole crash: from "nothing arrived" to "everything did".
        let mood = self.chance.below(5) * 25;
        for file in &mut self.files {
            for pending in std::mem::take(&mut file.pending) {
                crash_write(&mut self.chance, &mut file.durable, &pending, mood);
            }
            file.visible = file.durable.clone();
        }
        self.crashed = false;
        self.life += 1;
        self.triggers.clear();
    }

    pub(super) fn edit(
        &mut self,
        name: &str,
        mut change: impl FnMut(&mut Vec<u8>) -> bool,
    ) -> bool {
        let Some(file) = self.names.get(name).and_then(|id| self.files.get_mut(*id)) else {
            return false;
        };
        let seen = change(&mut file.visible);
        change(&mut file.durable) || seen
    }
}

fn persist(durable: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at.saturating_add(bytes.len());
    if end > durable.len() {
        durable.resize(end, 0);
    }
    put(durable, at, bytes);
}

/// Lets each sector of one pending write survive with `percent` probability, sometimes only its first bytes.
fn crash_write(chance: &mut Chance, durable: &mut Vec<u8>, pending: &Pending, percent: u64) {
    let mut at = pending.at;
    let mut rest = pending.bytes.as_slice();
    while !rest.is_empty() {
        let len = (SECTOR - at % SECTOR).min(rest.len());
        let (sector, tail) = rest.split_at(len);
        if chance.below(100) < percent {
            let torn = chance.below(16) == 0;
            let keep = if torn {
                to_usize(chance.below(len as u64))
            } else {
                len
            };
            persist(durable, at, sector.get(..keep).unwrap_or(sector));
        }
        at += len;
        rest = tail;
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Set(name, id) => {
            names.insert(name.clone(), *id);
        }
        NameChange::Move(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
        NameChange::Unset(name) => {
            names.remove(name);
        }
    }
}
