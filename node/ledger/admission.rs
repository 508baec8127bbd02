//! The order of things: what is on its way into the journal but not yet in the index, and what must not pass it.
//!
//! A submit and the checks it depends on happen under one short lock, so the journal's order is the
//! order of the checks. Nobody waits while holding the lock.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use record::Pseudonym;
use tokio::sync::Notify;

use crate::row::Tag;

/// Subjects whose last change of consent is remembered one by one, about 5 MB. Beyond it they are forgotten and every
/// view taken before counts as outdated: then some decisions are made twice.
const MOVED_MAX: usize = 65_536;

/// What is on its way.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Record series with a version on its way.
    pub(crate) series: HashSet<Tag>,
    /// Subjects whose first key is on its way.
    pub(crate) keys: HashSet<Pseudonym>,
    /// Subjects with a consent or withdrawal on its way.
    pub(crate) consents: HashSet<Pseudonym>,
    /// Subjects being erased.
    pub(crate) erasing: HashSet<Pseudonym>,
    /// How much of each subject is under way; an erasure waits until nothing is.
    in_flight: HashMap<Pseudonym, u32>,
    /// Rises with each change of consent.
    changes: u64,
    /// At which change a subject's consents last moved, for subjects that moved since `forgotten`.
    moved: HashMap<Pseudonym, u64>,
    /// Views as of a change before this one are outdated, whosever they are.
    forgotten: u64,
}

impl Pending {
    /// As of which change of consent a view taken now holds.
    pub(crate) const fn as_of(&self) -> u64 {
        self.changes
    }

    /// Notes that the subject's consents change: no access that rests on a view taken before is let in from here on.
    pub(crate) fn move_consents(&mut self, subject: Pseudonym) {
        self.changes += 1;
        if self.moved.len() >= MOVED_MAX {
            self.moved.clear();
            self.forgotten = self.changes;
        }
        self.moved.insert(subject, self.changes);
    }

    /// Whether the subject's consents moved after a view taken at `as_of`, or may have.
    pub(crate) fn moved_since(&self, subject: &Pseudonym, as_of: u64) -> bool {
        as_of < self.forgotten || self.moved.get(subject).is_some_and(|at| *at > as_of)
    }

    pub(crate) fn is_in_flight(&self, subject: &Pseudonym) -> bool {
        self.in_flight.contains_key(subject)
    }
}

/// The lock around it.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    pending: Mutex<Pending>,
    /// Woken whenever something leaves.
    settled: Notify,
}

impl Admission {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `enter` gives something, looking again whenever anything leaves.
    pub(crate) async fn when<T>(&self, mut enter: impl FnMut(&mut Pending) -> Option<T>) -> T {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // From here on no notification is missed.
            settled.as_mut().enable();
            if let Some(entered) = enter(&mut self.lock()) {
                return entered;
            }
            settled.await;
        }
    }

    /// Changes what is pending on the way out, and wakes whoever waits.
    pub(crate) fn leave(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.lock());
        self.settled.notify_waiters();
    }
}

/// Something of a subject is under way until this is dropped. It goes with the events into the journal's queue, so that
/// a caller that goes away early does not end it before they are durable.
#[derive(Debug)]
pub(crate) struct InFlight {
    admission: Arc<Admission>,
    subject: Pseudonym,
}

impl InFlight {
    pub(crate) fn begin(
        admission: &Arc<Admission>,
        pending: &mut Pending,
        subject: Pseudonym,
    ) -> Self {
        *pending.in_flight.entry(subject).or_insert(0) += 1;
        Self {
            admission: Arc::clone(admission),
            subject,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.admission.leave(|pending| {
            if let Some(count) = pending.in_flight.get_mut(&self.subject) {
                *count -= 1;
                if *count == 0 {
                    pending.in_flight.remove(&self.subject);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgetting_old_changes_only_makes_more_views_outdated() {
        let subject = |n: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            Pseudonym::from_bytes(bytes)
        };
        let mut pending = Pending::default();
        let first = pending.as_of();
        pending.move_consents(subject(0));
        let after = pending.as_of();
        assert!(
            pending.moved_since(&subject(0), first) && !pending.moved_since(&subject(0), after)
        );
        for n in 1..=MOVED_MAX as u64 {
            pending.move_consents(subject(n));
            assert!(
                pending.moved_since(&subject(0), first),
                "a change is never forgotten in favour of an old view"
            );
            assert!(pending.moved_since(&subject(n), pending.as_of() - 1));
            assert!(pending.moved.len() <= MOVED_MAX);
        }
        assert!(!pending.moved_since(&subject(0), pending.as_of()));
    }
}
