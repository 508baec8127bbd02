//! The commit path: a bounded queue, one writer, one write and one barrier per frame, then the acknowledgements.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use crate::error::{Error, Result};
use crate::event::{Acked, Committed, CommittedEvent, Event, MAX_SUBMIT_EVENTS, Priority};
use crate::format::{SEGMENT_HEADER_LEN, SegmentHeader, segment_file};
use crate::frame::{Chain, Prepared, encode, event_len, frame_len};
use crate::io::{Access, Io, IoFile};
use crate::journal::Head;
use crate::map::Map;
use crate::options::{Drive, Options};
use crate::queue::{Callback, Queue, Submission, Ticket, call, lock};
use crate::spare::Spares;
use crate::subscribe::Subscribers;

/// The encoding buffer is given back beyond this, so that one huge submit does not stay in memory.
const BUFFER_KEPT: usize = 8 * 1024 * 1024;

/// What all parts of a running journal share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) map: Arc<Map>,
    pub(crate) options: Options,
    pub(crate) spares: Spares,
    pub(crate) subscribers: Subscribers,
    poison: OnceLock<Arc<str>>,
    queue: Mutex<Queue>,
    wake: Condvar,
    core: Mutex<Core>,
}

/// What one call of [`Shared::turn`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Done,
    Idle,
    Closed,
}

/// The writer's own state: the open segment, where it stands, and the reusable buffer.
#[derive(Debug)]
pub(crate) struct Core {
    file: Box<dyn IoFile>,
    segment: SegmentHeader,
    offset: u64,
    chain: Chain,
    buffer: Vec<u8>,
}

impl Core {
    pub(crate) fn new(
        io: &dyn Io,
        segment: SegmentHeader,
        offset: u64,
        chain: Chain,
    ) -> Result<Self> {
        let name = segment.file();
        let file = io
            .open(&name, Access::Write)
            .map_err(|e| Error::io("opening", name.as_str(), e))?;
        Ok(Self {
            file,
            segment,
            offset,
            chain,
            buffer: Vec::new(),
        })
    }

    const fn room(&self) -> u64 {
        self.segment.segment_size.saturating_sub(self.offset)
    }
}

impl Shared {
    pub(crate) fn new(map: Arc<Map>, options: Options, spares: Spares, core: Core) -> Self {
        Self {
            map,
            options,
            spares,
            subscribers: Subscribers::default(),
            poison: OnceLock::new(),
            queue: Mutex::new(Queue::default()),
            wake: Condvar::new(),
            core: Mutex::new(core),
        }
    }

    /// Checks limits and queues; refuses at once what cannot be taken.
    pub(crate) fn submit(
        &self,
        events: Vec<Event>,
        priority: Priority,
        done: Callback,
    ) -> Result<()> {
        if events.is_empty() || events.len() > MAX_SUBMIT_EVENTS {
            return Err(Error::SubmitCount {
                count: events.len(),
                max: MAX_SUBMIT_EVENTS,
            });
        }
        let mut len = 0;
        for event in &events {
            event.check()?;
            len += event_len(event);
        }
        let max = self.options.segment_size - SEGMENT_HEADER_LEN;
        if frame_len(len) > max {
            return Err(Error::SubmitTooLarge {
                len: frame_len(len),
                max,
            });
        }
        self.check_poison()?;
        self.check_queue(&lock(&self.queue), events.len(), len)?;
        // The hashing of bodies is the submitter's work: submitters are many, the writer is one.
        let events: Vec<Prepared> = events.into_iter().map(Prepared::new).collect();
        let mut queue = lock(&self.queue);
        self.check_queue(&queue, events.len(), len)?;
        queue.events += events.len();
        queue.bytes += len;
        queue.waiting.push_back(Submission {
            events,
            len,
            priority,
            done,
        });
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    fn check_queue(&self, queue: &Queue, events: usize, len: u64) -> Result<()> {
        if queue.closed {
            return Err(Error::Closed);
        }
        // A submit larger than the whole queue may pass an empty one: it was found to fit a segment.
        let full = queue.events + events > self.options.queue_events
            || queue.bytes + len > self.options.queue_bytes;
        if full && !queue.waiting.is_empty() {
            Err(Error::Busy)
        } else {
            Ok(())
        }
    }

    pub(crate) fn ticket(
        self: &Arc<Self>,
        events: Vec<Event>,
        priority: Priority,
    ) -> Result<Ticket> {
        let (send, outcome) = sync_channel(1);
        let done = Box::new(move |result| {
            if send.send(result).is_err() {
                tracing::trace!("nobody waits for this submit any more");
            }
        });
        self.submit(events, priority, done)?;
        Ok(Ticket {
            outcome,
            shared: Arc::clone(self),
        })
    }

    pub(crate) fn queued(&self) -> usize {
        lock(&self.queue).events
    }

    pub(crate) fn poisoned(&self) -> Option<Arc<str>> {
        self.poison.get().cloned()
    }

    pub(crate) fn check_poison(&self) -> Result<()> {
        self.poisoned()
            .map_or(Ok(()), |cause| Err(Error::Poisoned { cause }))
    }

    /// No write is accepted from here on. The first cause stays.
    pub(crate) fn poison(&self, cause: &dyn std::fmt::Display) -> Error {
        let cause = Arc::clone(self.poison.get_or_init(|| {
            tracing::error!(%cause, "the journal stops writing");
            cause.to_string().into()
        }));
        Error::Poisoned { cause }
    }

    pub(crate) fn close_queue(&self) {
        lock(&self.queue).closed = true;
        self.wake.notify_all();
    }

    /// The writer's life. A panic in here is a bug: the journal is then poisoned rather than silent.
    pub(crate) fn run(&self) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.turn(true))) {
                Ok(Turn::Closed) => break,
                Ok(Turn::Done | Turn::Idle) => {}
                Err(_) => {
                    self.poison(&"the writer stopped unexpectedly");
                }
            }
        }
    }

    /// One frame's worth of work. With `wait` it sleeps until there is some.
    pub(crate) fn turn(&self, wait: bool) -> Turn {
        if self.options.drive == Drive::Manual {
            while let Ok(true) = self.spares.make_one() {}
        }
        // Nobody but the writer needs it, so it may be held while waiting: turns of several threads then keep the queue's order.
        let mut core = lock(&self.core);
        let first = {
            let mut queue = lock(&self.queue);
            loop {
                if let Some(first) = queue.pop() {
                    break first;
                }
                if queue.closed {
                    return Turn::Closed;
                }
                if !wait {
                    return Turn::Idle;
                }
                queue = self
                    .wake
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        };
        if let Err(refused) = self
            .check_poison()
            .and_then(|()| self.make_room(&mut core, &first))
        {
            first.finish(Err(refused));
            return Turn::Done;
        }
        let batch = self.gather(&core, first);
        self.commit(&mut core, batch);
        Turn::Done
    }

    /// Makes sure the submission fits into the current segment, beginning a new one when needed. Nothing is written when it cannot.
    fn make_room(&self, core: &mut Core, first: &Submission) -> Result<()> {
        let wait = self.options.drive == Drive::Threads;
        let need = frame_len(first.len);
        if need > core.room() {
            let spare = self
                .spares
                .take(wait)
                .map_err(|cause| Error::NoSpace { cause })?;
            return self.roll(core, &spare).map_err(|error| self.poison(&error));
        }
        if !self.leaves_reserve(core, need, first.priority) {
            self.spares
                .ready(wait)
                .map_err(|cause| Error::NoSpace { cause })?;
        }
        Ok(())
    }

    const fn leaves_reserve(&self, core: &Core, need: u64, priority: Priority) -> bool {
        matches!(priority, Priority::Audit)
            || core.room().saturating_sub(need) >= self.options.audit_reserve
    }

    /// Begins the next segment in a spare: header → sync → rename → sync folder. Crash before the rename: still a spare.
    /// Crash before the folder's sync: the name may be lost, with nothing but a header behind it.
    fn roll(&self, core: &mut Core, spare: &str) -> Result<()> {
        let io = &*self.map.io;
        let id = core.segment.id + 1;
        let name = segment_file(id);
        let failed = |e| Error::io("beginning", &name, e);
        let file = io.open(spare, Access::Write).map_err(failed)?;
        let header = SegmentHeader {
            id,
            epoch: core.chain.epoch,
            first_seq: core.chain.next_seq,
            segment_size: file.len().map_err(failed)?,
            journal_id: core.segment.journal_id,
            prev_hash: core.chain.prev_hash,
            prev_header_hash: core.segment.hash(),
        };
        file.write_all_at(&header.encode(), 0).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        io.rename(spare, &name).map_err(failed)?;
        io.sync_dir().map_err(failed)?;
        // Only now does the segment exist, and only now may the number in memory advance.
        self.map.push_segment(header.clone());
        core.file = file;
        core.segment = header;
        core.offset = SEGMENT_HEADER_LEN;
        Ok(())
    }

    /// Takes along whatever else waits and fits into the same frame. No lingering: the last barrier was the gathering time.
    fn gather(&self, core: &Core, first: Submission) -> Vec<Submission> {
        let (mut events, mut len) = (first.events.len(), first.len);
        let mut batch = vec![first];
        let plenty = self.spares.state().0 > 0;
        let mut queue = lock(&self.queue);
        while let Some(next) = queue.waiting.front() {
            let need = frame_len(len + next.len);
            let fits = events + next.events.len() <= self.options.frame_events
                && need <= self.options.frame_bytes
                && need <= core.room()
                && (plenty || self.leaves_reserve(core, need, next.priority));
            if !fits {
                break;
            }
            let Some(next) = queue.pop() else { break };
            events += next.events.len();
            len += next.len;
            batch.push(next);
        }
        batch
    }

    /// One write, one barrier, then acknowledge in order, then hand on. Crash before the barrier returns: the frame is there
    /// whole, or recovery removes it; nobody was told. Crash after it: the frame is there.
    fn commit(&self, core: &mut Core, batch: Vec<Submission>) {
        let events = batch.iter().flat_map(|submission| submission.events.iter());
        let mut buffer = std::mem::take(&mut core.buffer);
        let encoded = encode(
            &mut buffer,
            events,
            core.segment.id,
            core.offset,
            &core.chain,
        );
        let written = core
            .file
            .write_all_at(&buffer, core.offset)
            .and_then(|()| core.file.sync_data());
        if let Err(error) = written {
            let error = self.poison(&error);
            for submission in batch {
                submission.finish(Err(error.clone()));
            }
            return;
        }
        let first_seq = core.chain.next_seq;
        self.map.note_frame(core.segment.id, first_seq, core.offset);
        core.offset += buffer.len() as u64;
        core.chain.next_seq += encoded.locations.len() as u64;
        core.chain.prev_hash = encoded.hash;
        buffer.clear();
        buffer.shrink_to(BUFFER_KEPT);
        core.buffer = buffer;
        let epoch = core.chain.epoch;
        self.map.set_head(Head {
            next_seq: core.chain.next_seq,
            hash: encoded.hash,
            epoch,
        });
        let keep = !self.subscribers.is_empty();
        let mut published = Vec::with_capacity(if keep { encoded.locations.len() } else { 0 });
        let mut locations = encoded.locations.into_iter();
        for Submission { events, done, .. } in batch {
            let mut acked = Vec::with_capacity(events.len());
            for (event, location) in events.into_iter().zip(&mut locations) {
                acked.push(Acked::new(location, encoded.hash, epoch));
                if keep {
                    let Event { leaf, row, .. } = event.event;
                    published.push(CommittedEvent {
                        seq: location.seq,
                        leaf,
                        row,
                        location,
                    });
                }
            }
            call(done, Ok(acked));
        }
        if keep {
            let frame_hash = encoded.hash;
            self.subscribers.publish(Committed {
                epoch,
                first_seq,
                events: published,
                frame_hash,
            });
        }
    }
}
