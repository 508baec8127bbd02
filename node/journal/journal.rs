//! The journal as its callers see it: create, open, submit, read, scan, erase, subscribe, close.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::erase::{self, Failure};
use crate::error::{Error, Result};
use crate::event::{Committed, Event, Hash, Location, Priority, Sealed};
use crate::format::{SegmentHeader, genesis_hash, segment_file, segment_id};
use crate::io::{Access, Io, Lock};
use crate::map::Map;
use crate::options::{Drive, Options, Watermarks};
use crate::queue::{Callback, Ticket};
use crate::read::{self, Scan};
use crate::recover::{self, Opened, Recovery};
use crate::spare::Spares;
use crate::writer::{Core, Shared, Turn};

/// The epoch a new journal begins with unless the options say otherwise.
const FIRST_EPOCH: u64 = 1;

/// The durable end of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The first sequence number not in use: how many events are durable.
    pub next_seq: u64,
    /// Hash of the last frame; the genesis hash while there is none.
    pub hash: Hash,
    /// Epoch of the last frame.
    pub epoch: u64,
}

/// How the journal is doing, for health checks and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The durable end.
    pub head: Head,
    /// Segment files.
    pub segments: usize,
    /// Spare segments ready.
    pub spares: usize,
    /// Why no spare could be made at the last attempt. While it is set and `spares` is 0, data is refused near the end of the
    /// current segment, then audit entries too.
    pub no_space: Option<Arc<str>>,
    /// The disk error after which nothing is written any more.
    pub poisoned: Option<Arc<str>>,
    /// Events waiting to be written.
    pub queued_events: usize,
}

/// The record of truth. Share it in an [`Arc`].
///
/// Dropping it writes what is queued, then ends its threads and gives the folder free.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    map: Arc<Map>,
    journal_id: [u8; 16],
    threads: Vec<JoinHandle<()>>,
    /// After the threads: nobody else may write while ours still could.
    _lock: Lock,
}

impl Journal {
    /// Makes an empty journal. `journal_id` is 16 random bytes, never used for another journal.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::Locked`], [`Error::InvalidOptions`], [`Error::NoSpace`] or [`Error::Io`].
    pub fn create(io: &Arc<dyn Io>, options: &Options, journal_id: [u8; 16]) -> Result<()> {
        options.check()?;
        let _lock = lock(&**io)?;
        let names = io.list().map_err(|e| Error::io("listing", io.place(), e))?;
        if names.iter().any(|name| segment_id(name).is_some()) {
            return Err(Error::AlreadyExists { place: io.place() });
        }
        let spares = Spares::adopt(Arc::clone(io), options.segment_size, 1)?;
        while spares.state().0 == 0 {
            spares.make_one().map_err(|e| Error::NoSpace {
                cause: e.to_string().into(),
            })?;
        }
        let spare = spares
            .take(false)
            .map_err(|cause| Error::NoSpace { cause })?;
        let header = SegmentHeader {
            id: 0,
            epoch: options.epoch.unwrap_or(FIRST_EPOCH),
            first_seq: 0,
            segment_size: options.segment_size,
            journal_id,
            prev_hash: genesis_hash(&journal_id),
            prev_header_hash: [0; 32],
        };
        let name = segment_file(0);
        let failed = |e| Error::io("creating", name.as_str(), e);
        let file = io.open(&spare, Access::Write).map_err(failed)?;
        file.write_all_at(&header.encode(), 0).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        // Crash before the rename: a folder without a journal, create it again.
        io.rename(&spare, &name).map_err(failed)?;
        io.sync_dir().map_err(failed)
    }

    /// Opens a journal, verifies it and makes it ready to write; [`Recovery`] tells what was found and repaired.
    ///
    /// # Errors
    /// [`Error::Locked`] when another node has it; [`Error::NoJournal`]; and the refusals described in
    /// [`crate::format`](mod@crate::format): [`Error::MidLogDamage`], [`Error::AckedDamaged`], [`Error::LostAcked`], [`Error::Damaged`],
    /// [`Error::Unsupported`], [`Error::EpochBehind`]. A refusal changes nothing on disk.
    pub fn open(io: Arc<dyn Io>, options: Options, marks: &Watermarks) -> Result<(Self, Recovery)> {
        options.check()?;
        let lock = lock(&*io)?;
        let Opened {
            map,
            chain,
            segment,
            offset,
            recovery,
        } = recover::open(Arc::clone(&io), &options, marks)?;
        let core = Core::new(&*io, segment, offset, chain)?;
        let spares = Spares::adopt(io, options.segment_size, options.spares)?;
        let drive = options.drive;
        let map = Arc::new(map);
        let shared = Arc::new(Shared::new(Arc::clone(&map), options, spares, core));
        let journal_id = recovery.journal_id;
        let mut journal = Self {
            shared,
            map,
            journal_id,
            threads: Vec::new(),
            _lock: lock,
        };
        if drive == Drive::Threads {
            journal.spawn("journal-writer", Shared::run)?;
            journal.spawn("journal-spares", |shared| shared.spares.run())?;
        }
        Ok((journal, recovery))
    }

    /// Queues events that belong together: they get consecutive numbers and lie in one frame, so all of them become durable or none.
    ///
    /// # Errors
    /// At once, and nothing is written: [`Error::EventSize`], [`Error::SubmitCount`], [`Error::SubmitTooLarge`], [`Error::Busy`],
    /// [`Error::Poisoned`], [`Error::Closed`]. Later, from the ticket: see [`Ticket::wait`].
    pub fn submit(&self, events: Vec<Event>, priority: Priority) -> Result<Ticket> {
        self.shared.ticket(events, priority)
    }

    /// As [`Journal::submit`], with a callback in the ticket's place, for callers that wait in another way. It is called exactly once unless
    /// an error is returned here, on the writer's thread, in the order of submission among those that are acknowledged.
    ///
    /// # Errors
    /// As [`Journal::submit`]; the callback is then dropped without a call.
    pub fn submit_with(
        &self,
        events: Vec<Event>,
        priority: Priority,
        done: Callback,
    ) -> Result<()> {
        self.shared.submit(events, priority, done)
    }

    /// Calls `subscriber` with every frame from the returned sequence number on, in order, after it is durable and acknowledged. What is
    /// before that number is read with [`Journal::scan`]. It runs on a thread of its own behind a channel of
    /// [`Options::subscriber_frames`] frames; when that is full the writer waits, so a subscriber must never wait for a [`Ticket`].
    ///
    /// # Errors
    /// [`Error::Io`] when no thread can be started.
    pub fn subscribe(&self, subscriber: Box<dyn FnMut(&Committed) + Send>) -> Result<u64> {
        let options = &self.shared.options;
        let next_seq = || self.map.head().next_seq;
        self.shared
            .subscribers
            .add(
                subscriber,
                options.drive,
                options.subscriber_frames,
                next_seq,
            )
            .map_err(|e| Error::io("starting", "journal-subscriber", e))
    }

    /// The sealed row and body at a location, verified.
    ///
    /// # Errors
    /// [`Error::Erased`]; [`Error::Damaged`] with file and offset; [`Error::WrongLocation`] when the event lies elsewhere;
    /// [`Error::UnknownSeq`]; [`Error::Io`].
    pub fn read(&self, location: &Location) -> Result<Sealed> {
        read::read(&self.map, location)
    }

    /// The leaf of an event, verified by its frame's hash.
    ///
    /// # Errors
    /// [`Error::UnknownSeq`], [`Error::Damaged`], [`Error::Io`].
    pub fn read_leaf(&self, seq: u64) -> Result<Vec<u8>> {
        let frame = self.map.find(seq)?;
        frame
            .event(seq)
            .map(|event| frame.leaf(event).to_vec())
            .ok_or(Error::WrongLocation { seq })
    }

    /// Where the sealed parts of an event lie.
    ///
    /// # Errors
    /// As [`Journal::read_leaf`].
    pub fn locate(&self, seq: u64) -> Result<Location> {
        read::locate(&self.map, seq)
    }

    /// All durable events from a number on, in order, without their bodies.
    #[must_use]
    pub fn scan(&self, from_seq: u64) -> Scan {
        Scan::new(Arc::clone(&self.map), from_seq)
    }

    /// The hash of the frame whose last event has this number; `None` when no frame ends there.
    ///
    /// # Errors
    /// As [`Journal::read_leaf`].
    pub fn frame_hash_at(&self, last_seq: u64) -> Result<Option<Hash>> {
        let frame = self.map.find(last_seq)?;
        Ok((frame.header.next_seq() == last_seq + 1).then_some(frame.hash))
    }

    /// Overwrites the sealed parts at the locations with zeros, durably. Leaves, hashes and chain stay. Doing it twice is harmless.
    ///
    /// Record the erasure as an event *first*: the last frame cannot be erased, and after a crash the recorded erasures are done again.
    ///
    /// # Errors
    /// [`Error::WrongLocation`], [`Error::EraseTooEarly`], [`Error::UnknownSeq`], [`Error::Damaged`] (of a frame's header or leaves): nothing
    /// was touched. [`Error::Poisoned`]: the disk failed, the erasure may be half done.
    pub fn erase(&self, locations: &[Location]) -> Result<()> {
        self.shared.check_poison()?;
        match erase::erase(&self.map, locations) {
            Ok(()) => Ok(()),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Disk(error)) => Err(self.shared.poison(&error)),
        }
    }

    /// The durable end.
    #[must_use]
    pub fn head(&self) -> Head {
        self.map.head()
    }

    /// The 16 bytes given when it was created.
    #[must_use]
    pub const fn journal_id(&self) -> [u8; 16] {
        self.journal_id
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let (spares, no_space) = self.shared.spares.state();
        Status {
            head: self.map.head(),
            segments: self.map.segment_count(),
            spares,
            no_space,
            poisoned: self.shared.poisoned(),
            queued_events: self.shared.queued(),
        }
    }

    /// With [`Drive::Manual`]: makes missing spares, then commits at most one frame. Returns whether there was something to commit.
    #[must_use]
    pub fn turn(&self) -> bool {
        self.shared.options.drive == Drive::Manual && self.shared.turn(false) == Turn::Done
    }

    /// Writes what is queued, ends the threads, gives the folder free.
    ///
    /// # Errors
    /// [`Error::Poisoned`] when it had stopped writing.
    pub fn close(mut self) -> Result<()> {
        self.stop();
        self.shared.check_poison()
    }

    fn spawn(&mut self, name: &str, life: impl FnOnce(&Shared) + Send + 'static) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || life(&shared))
            .map_err(|e| Error::io("starting", name, e))?;
        self.threads.push(thread);
        Ok(())
    }

    fn stop(&mut self) {
        self.shared.close_queue();
        if self.shared.options.drive == Drive::Manual {
            while self.shared.turn(false) == Turn::Done {}
        }
        let mut threads = std::mem::take(&mut self.threads).into_iter();
        // The writer first: it may still need a spare for what is queued.
        if let Some(writer) = threads.next() {
            join(writer);
        }
        self.shared.spares.close();
        threads.for_each(join);
        self.shared.subscribers.close();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock(io: &dyn Io) -> Result<Lock> {
    let lock = io
        .lock(Access::Write)
        .map_err(|e| Error::io("locking", io.place(), e))?;
    lock.ok_or_else(|| Error::Locked { place: io.place() })
}

fn join(thread: JoinHandle<()>) {
    // The last handle may be dropped by a callback, on the writer's own thread.
    if thread.thread().id() != thread::current().id() && thread.join().is_err() {
        tracing::error!("a journal thread panicked");
    }
}
