//! What can go wrong, sorted by whose fault it is: the caller's, the load's, the disk's, the data's, or the start's.

use std::io;
use std::sync::Arc;

/// The result of this room.
pub type Result<T> = std::result::Result<T, Error>;

/// What part of the journal's files is wrong (FORMAT.md names the parts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DamageKind {
    /// The 4 KiB block that opens a segment file.
    SegmentHeader,
    /// The file is not as long as its header says.
    Length,
    /// A segment file that must exist does not.
    MissingSegment,
    /// The fixed header of a frame, or bytes where a frame should begin.
    FrameHeader,
    /// The meta section of a frame: leaves, lengths, digests, or the stored frame hash.
    Meta,
    /// A sealed row or body.
    Sealed,
    /// The parts are sound but do not follow from each other (previous hash, sequence, epoch).
    Chain,
    /// The last thing in the journal is incomplete: a write that was never acknowledged, or rot of the last frame.
    TornTail,
    /// The unused bytes between two frames are not zero; no event is touched.
    Padding,
}

impl std::fmt::Display for DamageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SegmentHeader => "segment header",
            Self::Length => "file length",
            Self::MissingSegment => "missing segment",
            Self::FrameHeader => "frame header",
            Self::Meta => "frame meta",
            Self::Sealed => "sealed part",
            Self::Chain => "chain",
            Self::TornTail => "torn tail",
            Self::Padding => "padding",
        })
    }
}

/// Everything the journal can refuse or report. It is `Clone` because one failed write is told to every waiter.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // The caller's.
    /// A part of an event is outside its limits.
    #[error("event {part} is {len} bytes, allowed is {min} to {max}")]
    EventSize {
        /// `leaf`, `row` or `body`.
        part: &'static str,
        /// Bytes given.
        len: usize,
        /// Least bytes allowed.
        min: usize,
        /// Most bytes allowed.
        max: usize,
    },
    /// A submit holds no event, or more than [`crate::MAX_SUBMIT_EVENTS`].
    #[error("a submit holds {count} events, allowed is 1 to {max}")]
    SubmitCount {
        /// Events given.
        count: usize,
        /// Most events allowed.
        max: usize,
    },
    /// The events of one submit go into one frame, and that frame does not fit into one segment.
    #[error(
        "a submit needs {len} bytes in one segment, which holds {max}; send fewer events at once"
    )]
    SubmitTooLarge {
        /// Bytes the frame would need.
        len: u64,
        /// Bytes an empty segment holds.
        max: u64,
    },
    /// The sequence number is not in the journal.
    #[error("event {seq} is not in the journal, which ends before {next_seq}")]
    UnknownSeq {
        /// What was asked.
        seq: u64,
        /// The first number not in use.
        next_seq: u64,
    },
    /// The location does not belong to the event it names: nothing was touched.
    #[error("the location given for event {seq} is not where the journal has it; look it up again")]
    WrongLocation {
        /// The event the location names.
        seq: u64,
    },
    /// Events of the last frame cannot be erased: the erasure must be recorded first, which makes a later frame.
    #[error("event {seq} is in the last frame; record the erasure as an event first, then erase")]
    EraseTooEarly {
        /// The event.
        seq: u64,
    },
    /// Options that make no sense.
    #[error("journal options: {what}")]
    InvalidOptions {
        /// What is wrong with them.
        what: &'static str,
    },

    // The load's.
    /// The queue is full. Nothing was written; try again later.
    #[error("the journal's queue is full; try again shortly")]
    Busy,
    /// No room for a new segment. Nothing was written and nothing is poisoned; writes resume when room returns.
    #[error(
        "no room for the next journal segment ({cause}); free disk space, writes resume by themselves"
    )]
    NoSpace {
        /// Why the last spare segment could not be made.
        cause: Arc<str>,
    },
    /// The journal is shutting down.
    #[error("the journal is closed")]
    Closed,

    // The disk's.
    /// A write or its barrier failed: the outcome of the entries then in flight is unknown until the next start.
    #[error(
        "the journal stopped writing after a disk error ({cause}); check the disk, then restart to recover"
    )]
    Poisoned {
        /// The first error.
        cause: Arc<str>,
    },
    /// Another input or output error.
    #[error("{what} {file}: {cause}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file (or the folder) it was done to.
        file: String,
        /// The operating system's answer.
        cause: Arc<io::Error>,
    },

    // The data's.
    /// Bytes on disk are not those that were written.
    #[error("damaged {kind} in {file} at byte {offset}{}; restore that range from a standby or a backup",
        seq.map_or_else(String::new, |seq| format!(" (event {seq})")))]
    Damaged {
        /// Segment file.
        file: String,
        /// Byte offset in it.
        offset: u64,
        /// The event concerned, when it is known.
        seq: Option<u64>,
        /// Which part.
        kind: DamageKind,
    },
    /// The sealed parts of this event were erased on purpose.
    #[error("event {seq} was erased")]
    Erased {
        /// The event.
        seq: u64,
    },

    // The start's.
    /// Another process has the folder open for writing.
    #[error("{place} is in use by another running node; stop that one first")]
    Locked {
        /// The folder.
        place: String,
    },
    /// The folder holds no journal.
    #[error("{place} holds no journal; create one, or restore the folder")]
    NoJournal {
        /// The folder.
        place: String,
    },
    /// The folder already holds a journal.
    #[error("{place} already holds a journal")]
    AlreadyExists {
        /// The folder.
        place: String,
    },
    /// Written by a later version of the format, or with a hash algorithm this build does not know.
    #[error(
        "{file} has format {version} with hash algorithm {algorithm}, which this version cannot read"
    )]
    Unsupported {
        /// Segment file.
        file: String,
        /// Its format version.
        version: u16,
        /// Its hash algorithm.
        algorithm: u16,
    },
    /// Damage with sound frames after it: not the trace of a crash. Starting would lose acknowledged events.
    #[error(
        "refusing to start: damaged {kind} in {file} at byte {offset}, followed by sound frames (event {next_valid_seq} on); \
        restore that range from a standby or a backup"
    )]
    MidLogDamage {
        /// Segment file.
        file: String,
        /// Byte offset of the damaged frame.
        offset: u64,
        /// Which part.
        kind: DamageKind,
        /// First event of the next sound frame.
        next_valid_seq: u64,
    },
    /// The last frame is damaged, but someone outside has already seen it: it is rot, not a torn write.
    #[error(
        "refusing to start: damaged {kind} in {file} at byte {offset}; event {seq} on is unreadable, \
        yet event {watermark} is known to have been acknowledged; restore that range from a standby or a backup"
    )]
    AckedDamaged {
        /// Segment file.
        file: String,
        /// Byte offset of the damaged frame.
        offset: u64,
        /// Which part.
        kind: DamageKind,
        /// First event that cannot be read.
        seq: u64,
        /// Highest event known outside.
        watermark: u64,
    },
    /// The journal is sound but shorter than someone outside knows it was.
    #[error(
        "refusing to start: the journal ends before event {next_seq}, yet event {watermark} is known to have been \
        acknowledged; this folder is an older copy, restore a newer one"
    )]
    LostAcked {
        /// First number not in use.
        next_seq: u64,
        /// Highest event known outside.
        watermark: u64,
    },
    /// The epoch asked for is lower than one already written.
    #[error(
        "epoch {asked} is behind epoch {found} in the journal; this node was replaced, do not start it as primary"
    )]
    EpochBehind {
        /// Asked for.
        asked: u64,
        /// Found in the journal.
        found: u64,
    },
}

impl Error {
    pub(crate) fn io(what: &'static str, file: impl Into<String>, cause: io::Error) -> Self {
        Self::Io {
            what,
            file: file.into(),
            cause: Arc::new(cause),
        }
    }

    /// Whether the same submit may succeed later without anyone acting on this node's code or data.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy | Self::NoSpace { .. })
    }
}
