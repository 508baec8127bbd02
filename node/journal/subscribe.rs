//! Handing durable frames on: each subscriber has a thread of its own and a bounded channel in front of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::event::Committed;
use crate::options::Drive;

/// What a subscriber is called with, in order and without gaps.
pub(crate) type Subscriber = Box<dyn FnMut(&Committed) + Send>;

/// All subscribers of one journal.
#[derive(Default)]
pub(crate) struct Subscribers {
    list: Mutex<Vec<Subscribed>>,
}

struct Subscribed {
    /// Frames before it were durable when the subscriber came; it reads those by scanning.
    from: u64,
    delivery: Delivery,
}

enum Delivery {
    Thread {
        send: SyncSender<Arc<Committed>>,
        done: Option<thread::JoinHandle<()>>,
    },
    Inline(Subscriber),
}

impl std::fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscribers").finish_non_exhaustive()
    }
}

impl Subscribers {
    /// Adds one. `next_seq` is read under the lock that publishing takes, so that nothing falls between.
    pub(crate) fn add(
        &self,
        subscriber: Subscriber,
        drive: Drive,
        depth: usize,
        next_seq: impl FnOnce() -> u64,
    ) -> std::io::Result<u64> {
        let delivery = match drive {
            Drive::Manual => Delivery::Inline(subscriber),
            Drive::Threads => {
                let (send, receive) = sync_channel(depth);
                let done = thread::Builder::new()
                    .name("journal-subscriber".to_owned())
                    .spawn(move || deliver(&receive, subscriber))?;
                Delivery::Thread {
                    send,
                    done: Some(done),
                }
            }
        };
        let mut list = self.lock();
        let from = next_seq();
        list.push(Subscribed { from, delivery });
        Ok(from)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Hands one frame to all. Waits for a subscriber whose channel is full: an index may lag, but not without bound.
    pub(crate) fn publish(&self, committed: Committed) {
        let committed = Arc::new(committed);
        self.lock().retain_mut(|subscribed| {
            if committed.first_seq < subscribed.from {
                return true;
            }
            let alive = match &mut subscribed.delivery {
                Delivery::Thread { send, .. } => send.send(Arc::clone(&committed)).is_ok(),
                Delivery::Inline(call) => {
                    catch_unwind(AssertUnwindSafe(|| call(&committed))).is_ok()
                }
            };
            if !alive {
                tracing::error!("a journal subscriber failed and gets no more frames");
            }
            alive
        });
    }

    /// Lets every subscriber finish what it was handed, and ends it.
    pub(crate) fn close(&self) {
        let all = std::mem::take(&mut *self.lock());
        for subscribed in all {
            if let Delivery::Thread { send, done } = subscribed.delivery {
                drop(send);
                if let Some(done) = done
                    && done.thread().id() != thread::current().id()
                    && done.join().is_err()
                {
                    tracing::error!("a journal subscriber panicked");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Subscribed>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn deliver(receive: &Receiver<Arc<Committed>>, mut subscriber: Subscriber) {
    while let Ok(committed) = receive.recv() {
        subscriber(&committed);
    }
}
