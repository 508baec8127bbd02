//! Calls into an engine that may panic or never come back.
//!
//! Two things are known of sled 0.34: on a damaged folder it may panic or hang, and the loop that stops its flush
//! thread waits for ever if that thread died. So everything that writes, opens or closes runs on one thread of ours,
//! under `catch_unwind`, and the caller waits for it with a time limit. A thread that hangs is left behind.

use std::cell::Cell;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::fault::Fault;

type Job = Box<dyn FnOnce() + Send>;

/// One thread that does the engine's dangerous work, in order. It ends when the warden is dropped.
#[derive(Debug)]
pub(crate) struct Warden {
    jobs: Sender<Job>,
}

impl Warden {
    /// Starts the thread, at the priority the process has: under real-time priority sled 0.34 can hang.
    pub(crate) fn start() -> io::Result<Self> {
        quiet_guarded_panics();
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("songhe-index".into())
            .spawn(move || {
                for job in queue {
                    job();
                }
            })?;
        Ok(Self { jobs })
    }

    /// Runs `work` on the thread and waits at most `limit` for its answer.
    ///
    /// After [`Fault::Stalled`] the work may still be going on and even succeed: use nothing it touches again.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (answer, wait) = mpsc::sync_channel(1);
        let job = Box::new(move || {
            let outcome = guarded(work);
            // The caller may have given up: what it can no longer take is dropped here, and dropping may panic too.
            if let Err(late) = answer.send(outcome) {
                guarded(move || drop(late)).ok();
            }
        });
        self.jobs.send(job).map_err(|_closed| Fault::Panicked)?;
        match wait.recv_timeout(limit) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => Err(Fault::Stalled),
            Err(RecvTimeoutError::Disconnected) => Err(Fault::Panicked),
        }
    }
}

thread_local! {
    /// Depth of [`guarded`] on this thread.
    static GUARDED: Cell<u32> = const { Cell::new(0) };
}

/// Runs `work` and turns a panic into [`Fault::Panicked`].
///
/// Unwind safety is asserted because nothing that was being changed is used afterwards: every caller makes the fault
/// sticky for its index.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Fault> {
    struct Depth;
    impl Drop for Depth {
        fn drop(&mut self) {
            GUARDED.with(|d| d.set(d.get().saturating_sub(1)));
        }
    }
    GUARDED.with(|d| d.set(d.get() + 1));
    let _depth = Depth;
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_payload| Fault::Panicked)
}

/// Keeps expected engine panics from looking like a crash of the node.
///
/// A panic inside [`guarded`] is caught, told to the caller and acted upon, so the usual "thread panicked" message and
/// backtrace on stderr would only alarm, and sled's messages may quote keys. The hook is set once, looks at nothing but
/// a flag of the panicking thread, and hands every other panic to the hook that was there before, unchanged.
fn quiet_guarded_panics() {
    static ONCE: Once = Once::new();
    if thread::panicking() {
        return; // The hook cannot be changed now; the next start will.
    }
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDED.try_with(Cell::get).unwrap_or(0) == 0 {
                previous(info);
                return;
            }
            let place = info.location();
            tracing::warn!(
                file = place.map(panic::Location::file),
                line = place.map(panic::Location::line),
                "the index engine panicked; its caller has been told"
            );
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_answered_in_order() {
        let warden = Warden::start().unwrap();
        assert_eq!(warden.run(Duration::from_secs(10), || 40 + 2), Ok(42));
        assert_eq!(warden.run(Duration::from_secs(10), || "again"), Ok("again"));
    }

    #[test]
    fn a_panic_is_an_answer_and_the_thread_lives_on() {
        let warden = Warden::start().unwrap();
        let panicked: Result<(), Fault> = warden.run(Duration::from_secs(10), || panic!("engine"));
        assert_eq!(panicked, Err(Fault::Panicked));
        assert_eq!(warden.run(Duration::from_secs(10), || 1), Ok(1));
    }

    #[test]
    fn a_hang_ends_at_the_limit() {
        let warden = Warden::start().unwrap();
        let (release, held) = mpsc::channel::<()>();
        let hung = warden.run(Duration::from_millis(50), move || held.recv().is_ok());
        assert_eq!(hung, Err(Fault::Stalled));
        release.send(()).unwrap();
        assert_eq!(warden.run(Duration::from_secs(10), || 1), Ok(1));
    }

    #[test]
    fn an_answer_that_comes_too_late_may_panic_when_dropped() {
        struct Thorn(Option<Sender<()>>);
        impl Drop for Thorn {
            fn drop(&mut self) {
                if let Some(told) = self.0.take() {
                    told.send(()).ok();
                    panic!("thorn");
                }
            }
        }
        let warden = Warden::start().unwrap();
        let (told, hear) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let late = warden.run(Duration::from_millis(50), move || {
            held.recv().ok();
            Thorn(Some(told))
        });
        assert!(matches!(late, Err(Fault::Stalled)));
        release.send(()).unwrap();
        hear.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(warden.run(Duration::from_secs(10), || 1), Ok(1));
    }
}
