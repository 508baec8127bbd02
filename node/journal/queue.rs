//! What waits to be written: the bounded queue, its submissions, and the tickets and callbacks that hear of the outcome.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::event::{Acked, Priority};
use crate::frame::Prepared;
use crate::options::Drive;
use crate::writer::{Shared, Turn};

/// Called once with the outcome of a submit, on the writer's thread: it must be short and must not wait for the journal.
pub type Callback = Box<dyn FnOnce(Result<Vec<Acked>>) + Send>;

/// The pending outcome of one submit.
#[must_use = "a submit is durable only when its ticket says so"]
pub struct Ticket {
    pub(crate) outcome: Receiver<Result<Vec<Acked>>>,
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

impl Ticket {
    /// Waits until the events are durable. One [`Acked`] for each event, in order.
    ///
    /// # Errors
    /// [`Error::NoSpace`]: nothing was written. [`Error::Poisoned`]: the outcome is unknown until the next start.
    /// [`Error::Closed`]: the journal ended first.
    pub fn wait(self) -> Result<Vec<Acked>> {
        if self.shared.options.drive == Drive::Manual {
            while self.shared.turn(false) == Turn::Done {
                if let Ok(outcome) = self.outcome.try_recv() {
                    return outcome;
                }
            }
            return self.outcome.try_recv().unwrap_or(Err(Error::Closed));
        }
        self.outcome.recv().unwrap_or(Err(Error::Closed))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) waiting: VecDeque<Submission>,
    pub(crate) events: usize,
    pub(crate) bytes: u64,
    pub(crate) closed: bool,
}

pub(crate) struct Submission {
    pub(crate) events: Vec<Prepared>,
    /// Bytes its events add to a frame.
    pub(crate) len: u64,
    pub(crate) priority: Priority,
    pub(crate) done: Callback,
}

impl std::fmt::Debug for Submission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submission")
            .field("events", &self.events.len())
            .finish_non_exhaustive()
    }
}

impl Queue {
    pub(crate) fn pop(&mut self) -> Option<Submission> {
        let submission = self.waiting.pop_front()?;
        self.events -= submission.events.len();
        self.bytes -= submission.len;
        Some(submission)
    }
}

impl Submission {
    pub(crate) fn finish(self, outcome: Result<Vec<Acked>>) {
        call(self.done, outcome);
    }
}

/// A callback that panics must not take the writer with it.
pub(crate) fn call(done: Callback, outcome: Result<Vec<Acked>>) {
    if catch_unwind(AssertUnwindSafe(|| done(outcome))).is_err() {
        tracing::error!("a journal callback panicked");
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
