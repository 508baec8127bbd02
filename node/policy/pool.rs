//! A bounded pool: at most so many things exist, whoever finds none waits a little and then is refused.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) struct Pool<T> {
    state: Mutex<State<T>>,
    freed: Condvar,
    capacity: usize,
    wait: Duration,
}

struct State<T> {
    idle: Vec<T>,
    out: usize,
}

/// Why nothing could be taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoneFree<E> {
    /// All were in use for the whole wait.
    Busy,
    /// A new one could not be made.
    Make(E),
}

impl<T> Pool<T> {
    pub(crate) const fn new(capacity: usize, wait: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                idle: Vec::new(),
                out: 0,
            }),
            freed: Condvar::new(),
            capacity,
            wait,
        }
    }

    /// Takes an idle one, or makes one while there are fewer than the capacity, or waits for one.
    pub(crate) fn take<E>(
        &self,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Lease<'_, T>, NoneFree<E>> {
        let until = Instant::now() + self.wait;
        let mut state = self.lock();
        loop {
            if let Some(thing) = state.idle.pop() {
                state.out += 1;
                return Ok(Lease {
                    pool: self,
                    thing: Some(thing),
                });
            }
            if state.out < self.capacity {
                state.out += 1;
                drop(state);
                // The lease is made first: if `make` fails or panics, its drop frees the place again.
                let mut lease = Lease {
                    pool: self,
                    thing: None,
                };
                lease.thing = Some(make().map_err(NoneFree::Make)?);
                return Ok(lease);
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                return Err(NoneFree::Busy);
            };
            state = self
                .freed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// The state is whole after every statement, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thing on loan. Dropping it destroys the thing; [`Lease::give_back`] returns it.
pub(crate) struct Lease<'p, T> {
    pool: &'p Pool<T>,
    thing: Option<T>,
}

impl<T> Lease<'_, T> {
    pub(crate) const fn thing(&mut self) -> Option<&mut T> {
        self.thing.as_mut()
    }

    pub(crate) fn give_back(mut self) {
        if let Some(thing) = self.thing.take() {
            self.pool.lock().idle.push(thing);
        }
    }
}

impl<T> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        self.thing = None; // destroyed before its place is free: never more than the capacity at once
        self.pool.lock().out -= 1;
        self.pool.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn never_more_than_the_capacity_and_everyone_is_served() {
        let pool = Pool::new(3, Duration::from_secs(60));
        let (alive, most, made) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        thread::scope(|scope| {
            for worker in 0..8_usize {
                let (pool, alive, most, made) = (&pool, &alive, &most, &made);
                scope.spawn(move || {
                    for round in 0..200_usize {
                        let lease = pool
                            .take(|| {
                                made.fetch_add(1, Ordering::SeqCst);
                                Ok::<_, Infallible>(())
                            })
                            .unwrap_or_else(|_| panic!("starved"));
                        let now = alive.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        thread::yield_now();
                        alive.fetch_sub(1, Ordering::SeqCst);
                        if (worker + round) % 10 > 0 {
                            lease.give_back();
                        }
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert!(
            made.load(Ordering::SeqCst) >= 160,
            "dropped leases are replaced"
        );
        let state = pool.lock();
        assert_eq!(state.out, 0);
        assert!(state.idle.len() <= 3);
    }

    #[test]
    fn who_waits_in_vain_is_refused_and_a_failed_make_frees_its_place() {
        let pool = Pool::<u8>::new(1, Duration::from_millis(5));
        assert!(matches!(pool.take(|| Err("no")), Err(NoneFree::Make("no"))));
        let lease = pool
            .take(|| Ok::<_, Infallible>(7))
            .unwrap_or_else(|_| panic!("free"));
        assert!(matches!(
            pool.take(|| Ok::<_, Infallible>(8)),
            Err(NoneFree::Busy)
        ));
        lease.give_back();
        let mut again = pool
            .take(|| Ok::<_, Infallible>(8))
            .unwrap_or_else(|_| panic!("free"));
        assert_eq!(again.thing(), Some(&mut 7));
    }

    #[test]
    fn a_panic_while_making_frees_the_place() {
        let pool = Pool::<u8>::new(1, Duration::from_millis(5));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let made = pool.take(|| -> Result<u8, Infallible> { panic!("on purpose") });
            drop(made);
        }));
        assert!(caught.is_err());
        assert!(pool.take(|| Ok::<_, Infallible>(1)).is_ok());
    }
}
