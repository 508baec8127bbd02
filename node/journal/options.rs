//! What an operator may set, and what the outside world knows about the journal.

use crate::error::{Error, Result};
use crate::event::Hash;

/// Smallest segment: room for a header and a few frames; for tests.
pub const MIN_SEGMENT_SIZE: u64 = 16 * 1024;
/// Largest segment: recovery reads one segment into memory.
pub const MAX_SEGMENT_SIZE: u64 = 256 * 1024 * 1024;

/// Who runs the commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drive {
    /// One writer thread, one thread that makes spare segments, one thread for each subscriber.
    #[default]
    Threads,
    /// Nobody: [`crate::Journal::turn`] and [`crate::Ticket::wait`] do the work on the caller's thread, in a fixed order.
    /// For simulations: the same seed gives the same run.
    Manual,
}

/// Sizes and limits of one journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes of each new segment file, a multiple of 4096 between [`MIN_SEGMENT_SIZE`] and [`MAX_SEGMENT_SIZE`].
    /// Segments that exist keep the size in their header.
    pub segment_size: u64,
    /// Zero-filled segments kept ready; at least 1.
    pub spares: usize,
    /// Last bytes of the current segment that only [`crate::Priority::Audit`] may use while no spare exists.
    pub audit_reserve: u64,
    /// Most events gathered into one frame (a single larger submit gets its own).
    pub frame_events: usize,
    /// Most bytes gathered into one frame (a single larger submit gets its own).
    pub frame_bytes: u64,
    /// Most events waiting; beyond it a submit is answered [`Error::Busy`].
    pub queue_events: usize,
    /// Most bytes waiting; beyond it a submit is answered [`Error::Busy`].
    pub queue_bytes: u64,
    /// Frames that may wait for one subscriber before the writer waits for it.
    pub subscriber_frames: usize,
    /// Epoch to write in; `None` keeps the journal's own. A promotion passes the raised one.
    pub epoch: Option<u64>,
    /// Who runs the commits.
    pub drive: Drive,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_size: 64 * 1024 * 1024,
            spares: 2,
            audit_reserve: 1024 * 1024,
            frame_events: 512,
            frame_bytes: 4 * 1024 * 1024,
            queue_events: 8192,
            queue_bytes: 64 * 1024 * 1024,
            subscriber_frames: 64,
            epoch: None,
            drive: Drive::Threads,
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |what| Err(Error::InvalidOptions { what });
        if !(MIN_SEGMENT_SIZE..=MAX_SEGMENT_SIZE).contains(&self.segment_size) {
            return refuse("segment_size must be between 16 KiB and 256 MiB");
        }
        if !self.segment_size.is_multiple_of(4096) {
            return refuse("segment_size must be a multiple of 4096");
        }
        if self.spares == 0 || self.spares > 64 {
            return refuse("spares must be 1 to 64");
        }
        if self.audit_reserve > self.segment_size / 2 {
            return refuse("audit_reserve must be at most half of segment_size");
        }
        if self.frame_events == 0 || self.queue_events == 0 || self.subscriber_frames == 0 {
            return refuse("frame_events, queue_events and subscriber_frames must be at least 1");
        }
        Ok(())
    }
}

/// What others have seen of this journal, given to [`crate::Journal::open`].
///
/// A frame that someone outside has seen was acknowledged: if it is unreadable now that is rot, never a torn write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// The index's checkpoint: the last event it has applied, and the hash of the frame that ends with it.
    pub index_seq: Option<(u64, Hash)>,
    /// Last events others have seen: each standby's acknowledged one, the last witnessed or anchored one.
    pub others: Vec<u64>,
    /// Verify the chain from the segment that holds this event; without it from the index's checkpoint, without both
    /// only the last segment.
    pub scan_from_seq: Option<u64>,
}

impl Watermarks {
    /// The highest event anyone outside knows.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.index_seq
            .map(|(seq, _)| seq)
            .into_iter()
            .chain(self.others.iter().copied())
            .max()
    }
}
