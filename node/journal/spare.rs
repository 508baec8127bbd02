//! Spare segments: zero-filled files made ahead of time, so that a commit never allocates.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::bytes::is_zero;
use crate::error::{Error, Result};
use crate::format::SEGMENT_HEADER_LEN;
use crate::io::{Access, Io};

/// How long the maker waits after a failure before it tries again by itself.
const RETRY: Duration = Duration::from_secs(1);
/// How soon it tries again when a refused submit asks for it.
const RETRY_ON_DEMAND: Duration = Duration::from_millis(100);
/// Bytes read at a time when an old spare is checked.
const CHECK_CHUNK: usize = 1024 * 1024;

const SPARE_PREFIX: &str = "spare-";
const SPARE_SUFFIX: &str = ".seg";
const TMP_SUFFIX: &str = ".tmp";

/// What a folder's leftover files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftover {
    Spare(u64),
    Tmp(u64),
}

/// Recognises the names this module gives.
pub(crate) fn leftover(name: &str) -> Option<Leftover> {
    let rest = name.strip_prefix(SPARE_PREFIX)?;
    if let Some(number) = rest.strip_suffix(SPARE_SUFFIX) {
        return number.parse().ok().map(Leftover::Spare);
    }
    rest.strip_suffix(TMP_SUFFIX)?
        .parse()
        .ok()
        .map(Leftover::Tmp)
}

/// The shelf of spares, shared by the maker and the writer.
#[derive(Debug)]
pub(crate) struct Spares {
    io: Arc<dyn Io>,
    segment_size: u64,
    wanted: usize,
    shelf: Mutex<Shelf>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Shelf {
    ready: VecDeque<String>,
    /// Files found at start that may serve once they are checked.
    unchecked: Vec<String>,
    next_number: u64,
    /// The last attempt's error; none while all went well.
    failed: Option<Arc<str>>,
    /// Someone was refused for want of a spare.
    asked: bool,
    closed: bool,
}

impl Spares {
    /// Takes over what a folder holds: unfinished files go, finished ones are checked later.
    pub(crate) fn adopt(io: Arc<dyn Io>, segment_size: u64, wanted: usize) -> Result<Self> {
        let mut shelf = Shelf::default();
        let mut names = io.list().map_err(|e| Error::io("listing", io.place(), e))?;
        names.sort();
        for name in names {
            match leftover(&name) {
                Some(Leftover::Tmp(number)) => {
                    io.remove(&name)
                        .map_err(|e| Error::io("removing", &name, e))?;
                    shelf.next_number = shelf.next_number.max(number.saturating_add(1));
                }
                Some(Leftover::Spare(number)) => {
                    shelf.next_number = shelf.next_number.max(number.saturating_add(1));
                    shelf.unchecked.push(name);
                }
                None => {}
            }
        }
        Ok(Self {
            io,
            segment_size,
            wanted,
            shelf: Mutex::new(shelf),
            changed: Condvar::new(),
        })
    }

    /// The maker's life: keep the shelf full, retry after failures, until closed.
    pub(crate) fn run(&self) {
        loop {
            {
                let mut shelf = self.lock();
                while !shelf.closed
                    && shelf.ready.len() >= self.wanted
                    && shelf.unchecked.is_empty()
                {
                    shelf = self
                        .changed
                        .wait(shelf)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                if shelf.closed {
                    return;
                }
            }
            if self.make_one().is_err() {
                self.pause();
            }
        }
    }

    /// One attempt to come closer to a full shelf. `Ok(false)` when it was full already.
    pub(crate) fn make_one(&self) -> io::Result<bool> {
        let (candidate, number) = {
            let mut shelf = self.lock();
            let candidate = shelf.unchecked.pop();
            if candidate.is_none() && shelf.ready.len() >= self.wanted {
                return Ok(false);
            }
            let number = shelf.next_number;
            shelf.next_number += 1;
            (candidate, number)
        };
        let made = match candidate {
            Some(name) => self.check(name),
            None => self.make(number).map(Some),
        };
        let mut shelf = self.lock();
        match made {
            Ok(name) => {
                shelf.ready.extend(name);
                shelf.failed = None;
                self.changed.notify_all();
                Ok(true)
            }
            Err(error) => {
                if shelf.failed.is_none() {
                    tracing::warn!(%error, "no spare journal segment can be made");
                }
                shelf.failed = Some(error.to_string().into());
                self.changed.notify_all();
                Err(error)
            }
        }
    }

    /// Takes a spare off the shelf. With `wait` it waits for one that is being made, but never for one that cannot be made.
    pub(crate) fn take(&self, wait: bool) -> std::result::Result<String, Arc<str>> {
        let mut shelf = self.settled(wait);
        let name = shelf.ready.pop_front();
        shelf.asked |= name.is_none();
        self.changed.notify_all();
        name.ok_or_else(|| shelf.failed.clone().unwrap_or_else(|| "none ready".into()))
    }

    /// Whether a spare is there, with the reason if not; waits as [`Spares::take`] does.
    pub(crate) fn ready(&self, wait: bool) -> std::result::Result<(), Arc<str>> {
        let mut shelf = self.settled(wait);
        if shelf.ready.is_empty() {
            shelf.asked = true;
            self.changed.notify_all();
            return Err(shelf.failed.clone().unwrap_or_else(|| "none ready".into()));
        }
        Ok(())
    }

    /// Spares on the shelf, and why the last attempt failed.
    pub(crate) fn state(&self) -> (usize, Option<Arc<str>>) {
        let shelf = self.lock();
        (shelf.ready.len(), shelf.failed.clone())
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn settled(&self, wait: bool) -> MutexGuard<'_, Shelf> {
        let mut shelf = self.lock();
        while wait && shelf.ready.is_empty() && shelf.failed.is_none() && !shelf.closed {
            shelf = self
                .changed
                .wait(shelf)
                .unwrap_or_else(PoisonError::into_inner);
        }
        shelf
    }

    fn pause(&self) {
        let shelf = self.lock();
        let (shelf, _) = self
            .changed
            .wait_timeout_while(shelf, RETRY_ON_DEMAND, |shelf| !shelf.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut shelf, _) = self
            .changed
            .wait_timeout_while(shelf, RETRY, |shelf| !shelf.closed && !shelf.asked)
            .unwrap_or_else(PoisonError::into_inner);
        shelf.asked = false;
    }

    /// tmp → zeros → sync → rename → sync folder. A crash before the rename leaves a `.tmp` that the next start removes; a crash
    /// before the folder's sync leaves either name, both harmless.
    fn make(&self, number: u64) -> io::Result<String> {
        let tmp = format!("{SPARE_PREFIX}{number}{TMP_SUFFIX}");
        let name = format!("{SPARE_PREFIX}{number}{SPARE_SUFFIX}");
        let attempt = || {
            let file = self.io.create(&tmp)?;
            file.fill_zero(0, self.segment_size)?;
            file.sync_data()?;
            self.io.rename(&tmp, &name)?;
            self.io.sync_dir()
        };
        if let Err(error) = attempt() {
            // Give the room back: the next attempt, or someone else, may need it. What cannot be removed is found at the next start.
            for leftover in [&tmp, &name] {
                if let Err(error) = self.io.remove(leftover) {
                    tracing::debug!(%error, "an unfinished spare stays behind");
                }
            }
            return Err(error);
        }
        Ok(name)
    }

    /// An old spare serves if it has the right length and holds zeros after the header block; else it goes.
    fn check(&self, name: String) -> io::Result<Option<String>> {
        let file = self.io.open(&name, Access::Read)?;
        let mut sound = file.len()? == self.segment_size;
        let mut buffer = vec![0; CHECK_CHUNK];
        let mut at = SEGMENT_HEADER_LEN;
        while sound && at < self.segment_size {
            let len = (self.segment_size - at).min(buffer.len() as u64);
            let chunk = usize::try_from(len)
                .ok()
                .and_then(|len| buffer.get_mut(..len));
            if let Some(chunk) = chunk {
                file.read_exact_at(chunk, at)?;
                sound = is_zero(chunk);
            }
            at += len;
        }
        if sound {
            return Ok(Some(name));
        }
        self.io.remove(&name)?;
        Ok(None)
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
