//! What can go wrong with an index, and whose fault it is.

use std::io;

/// Why a call was refused. The messages carry no key and no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's fault: the key is longer than [`crate::MAX_KEY_BYTES`].
    #[error("index key of {len} bytes is over the limit of {max}; shorten it or store a hash")]
    KeyTooLong {
        /// Length given, bytes.
        len: usize,
        /// Length allowed, bytes.
        max: usize,
    },
    /// The caller's fault: the value is longer than [`crate::MAX_VALUE_BYTES`].
    #[error(
        "index value of {len} bytes is over the limit of {max}; keep the body in the journal and store a pointer"
    )]
    ValueTooLong {
        /// Length given, bytes.
        len: usize,
        /// Length allowed, bytes.
        max: usize,
    },
    /// The caller's fault: more operations or bytes in one batch than the engine takes atomically.
    #[error("index batch of {ops} operations and {bytes} bytes is over the limit; split it")]
    BatchTooLarge {
        /// Operations given.
        ops: usize,
        /// Bytes of keys and values given.
        bytes: usize,
    },
    /// The caller's fault: a range asked for more rows than [`crate::MAX_RANGE_ROWS`].
    #[error("a range of {limit} rows is over the limit of {max}; read it page by page")]
    RangeTooLong {
        /// Rows asked for.
        limit: usize,
        /// Rows allowed.
        max: usize,
    },
    /// The caller's fault: a checkpoint may never move back; an index ahead of its journal is rebuilt instead.
    #[error(
        "checkpoint {given_epoch}/{given_seq} is behind the index at {have_epoch}/{have_seq}; rebuild the index"
    )]
    CheckpointBackwards {
        /// Epoch of the index.
        have_epoch: u64,
        /// `next_seq` of the index.
        have_seq: u64,
        /// Epoch offered.
        given_epoch: u64,
        /// `next_seq` offered.
        given_seq: u64,
    },
    /// Nobody's fault yet: the index has not caught up with the journal; wait, or refuse the request.
    #[error("the index has applied events below {have} but {need} is required; wait for it")]
    Behind {
        /// The checkpoint's `next_seq` (0 when there is no checkpoint).
        have: u64,
        /// What was required.
        need: u64,
    },
    /// The engine's or the disk's fault, sticky: nothing is read from this index again.
    #[error("the index is unhealthy ({fault}); fail closed and rebuild it")]
    Unhealthy {
        /// What happened first.
        fault: Fault,
    },
    /// The operator's fault: another process, or another part of this one, has this folder open.
    #[error("the index folder is in use by another process; stop it first")]
    InUse,
    /// The builder's newer sibling has already become current.
    #[error("a newer generation of the index is already current; drop this one")]
    Superseded,
    /// The machine's fault: the folder cannot be read or written.
    #[error("the index folder cannot be used; check the disk, its space and permissions")]
    Disk(#[source] io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// What went wrong inside the engine. It holds no text of the engine's own, which may quote keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A read or write failed.
    #[error("input or output failed: {0}")]
    Io(io::ErrorKind),
    /// The engine found its own file damaged.
    #[error("the engine's file is damaged")]
    Corruption,
    /// The engine panicked.
    #[error("the engine panicked")]
    Panicked,
    /// The engine did not answer within the watchdog's time. Other sled indexes of the same process may be stuck
    /// behind it (sled shares one lock and one thread pool per process), so restart the node.
    #[error("the engine does not answer; restart the node")]
    Stalled,
    /// The engine refused or reported a bug of its own.
    #[error("the engine reported a bug")]
    Engine,
    /// The rows do not add up to the tally kept beside them.
    #[error("rows are missing or altered")]
    Inconsistent,
    /// The in-memory engine was told to fail.
    #[error("failure was simulated")]
    Simulated,
}

impl Fault {
    /// The fault behind an engine error.
    pub(crate) fn of(error: &sled::Error) -> Self {
        match error {
            sled::Error::Io(io) => Self::Io(io.kind()),
            sled::Error::Corruption { .. } => Self::Corruption,
            sled::Error::CollectionNotFound(_)
            | sled::Error::Unsupported(_)
            | sled::Error::ReportableBug(_) => Self::Engine,
        }
    }
}

/// Why an index has to be written again from the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The folder holds no index: the first start, or someone deleted it.
    #[error("there is no index yet")]
    Absent,
    /// The pointer file cannot be understood.
    #[error("the pointer to the current generation is damaged")]
    PointerDamaged,
    /// The pointer names a generation that is not there.
    #[error("the current generation is missing")]
    GenerationMissing,
    /// The marker of the last open is still there: that open panicked, hung, or was killed.
    #[error("the last open did not finish")]
    LastOpenDied,
    /// The engine failed during this open.
    #[error("opening failed: {0}")]
    Engine(Fault),
    /// The engine opened, but its checkpoint row is lost or damaged.
    #[error("the checkpoint is missing or damaged")]
    CheckpointLost,
    /// Rows are missing or altered, or left over, against the tally in the checkpoint's batch.
    #[error("rows do not agree with the checkpoint")]
    Inconsistent,
    /// The rows were written by another version of this room or by another projection.
    #[error("the index was written for another schema")]
    SchemaChanged,
}
