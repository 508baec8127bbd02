//! The order of things: what is on its way into the journal but not yet in the index, and what must not pass it.
//!
//! A submit and the checks it depends on happen under one short lock, so the journal's order is the
//! order of the checks. Nobody waits while holding the lock.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use record::Pseudonym;

use crate::row::Tag;

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
    /// How many submits of a subject are under way; an erasure waits for none.
    pub(crate) in_flight: HashMap<Pseudonym, u32>,
    /// Rises with each change of consent.
    pub(crate) consent_changes: u64,
    /// At which change a subject's consents last moved, for subjects that moved since the start.
    pub(crate) consent_moved: HashMap<Pseudonym, u64>,
}

impl Pending {
    /// Whether the subject's consents moved after a view taken at `as_of`.
    pub(crate) fn moved_since(&self, pseudonym: &Pseudonym, as_of: u64) -> bool {
        self.consent_moved.get(pseudonym).is_some_and(|at| *at > as_of)
    }

    pub(crate) fn enter(&mut self, pseudonym: Pseudonym) {
        *self.in_flight.entry(pseudonym).or_insert(0) += 1;
    }

    pub(crate) fn leave(&mut self, pseudonym: &Pseudonym) {
        if let Some(count) = self.in_flight.get_mut(pseudonym) {
            *count -= 1;
            if *count == 0 {
                self.in_flight.remove(pseudonym);
            }
        }
    }
}

/// The lock around it.
#[derive(Debug, Default)]
pub(crate) struct Admission(Mutex<Pending>);

impl Admission {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
