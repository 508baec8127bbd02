//! The clock hand of the sandbox: a thread that raises wasmtime's epoch while evaluations run.
//!
//! An evaluation may last so many ticks and is then interrupted. When nothing has run for a while the
//! thread sleeps without waking up at all; it ends when the ticker is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// After so many ticks without an evaluation the thread sleeps until the next one.
const QUIET_TICKS: u32 = 100;

struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread, which calls `tick` every `period` while something runs.
    pub(crate) fn start(
        period: Duration,
        tick: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("policy-ticker".to_owned())
            .spawn(move || run(&theirs, period, tick))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Ticks go on at least as long as the returned guard lives.
    pub(crate) fn watch(&self) -> Watch<'_> {
        // Sequentially consistent with `run`: either it sees our count, or we see it asleep.
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
        Watch(self)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the policy ticker had panicked");
        }
    }
}

pub(crate) struct Watch<'t>(&'t Ticker);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.shared.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn run(shared: &Shared, period: Duration, tick: impl Fn()) {
    let mut quiet = 0_u32;
    while !shared.stop.load(Ordering::SeqCst) {
        if quiet >= QUIET_TICKS {
            shared.asleep.store(true, Ordering::SeqCst);
            while shared.running.load(Ordering::SeqCst) == 0 && !shared.stop.load(Ordering::SeqCst)
            {
                thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
            quiet = 0;
        }
        thread::sleep(period);
        tick();
        quiet = if shared.running.load(Ordering::SeqCst) == 0 {
            quiet + 1
        } else {
            0
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_while_watched_sleeps_when_idle_and_ends_when_dropped() {
        let count = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&count);
        let ticker = Ticker::start(Duration::from_millis(1), move || {
            theirs.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
        let wait_for = |wanted: &dyn Fn() -> bool| {
            for _ in 0..20_000 {
                if wanted() {
                    return true;
                }
                thread::sleep(Duration::from_millis(1));
            }
            false
        };
        assert!(wait_for(&|| ticker.shared.asleep.load(Ordering::SeqCst)));
        let asleep_at = count.load(Ordering::SeqCst);
        thread::sleep(Duration::from_millis(30));
        assert_eq!(
            count.load(Ordering::SeqCst),
            asleep_at,
            "no ticks when idle"
        );
        let watch = ticker.watch();
        assert!(wait_for(&|| count.load(Ordering::SeqCst) > asleep_at + 3));
        drop(watch);
        let shared = Arc::downgrade(&ticker.shared);
        drop(ticker);
        assert!(shared.upgrade().is_none(), "the thread is gone");
        assert_eq!(Arc::strong_count(&count), 1);
    }
}
