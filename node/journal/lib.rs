//! The one append-only journal: segments, frames, group commit, recovery, fsck.
//!
//! - What it is for: the record of truth. An event is opaque bytes; what is acknowledged here is never lost unnoticed.
//! - What comes in: batches of [`Event`]s (a clear leaf, a sealed row, a sealed body) through [`Journal::submit`].
//! - What goes out: [`Acked`] values, made only after `fdatasync`; frames for subscribers; reads, scans, reports.
//! - What it may touch: one folder, through the [`Io`] seam; two helper threads; no clock, no randomness, no network.
//! - Where to start reading: [`format`](mod@format) (the bytes), then `writer.rs` (the commit path), then `recover.rs`.
#![forbid(unsafe_code)]

mod bytes;
mod erase;
mod error;
mod event;
pub mod format;
mod frame;
mod fsck;
mod io;
mod journal;
mod map;
mod options;
mod queue;
mod read;
mod recover;
pub mod sim;
mod spare;
mod subscribe;
mod tail;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{DamageKind, Error, Result};
pub use event::{
    Acked, Committed, CommittedEvent, Event, Hash, Location, MAX_BODY_LEN, MAX_LEAF_LEN,
    MAX_ROW_LEN, MAX_SUBMIT_EVENTS, Priority, Sealed,
};
pub use fsck::{Damage, Report, SegmentReport, fsck};
pub use io::{Access, Files, Io, IoFile, Lock};
pub use journal::{Head, Journal, Status};
pub use options::{Drive, MAX_SEGMENT_SIZE, MIN_SEGMENT_SIZE, Options, Watermarks};
pub use queue::{Callback, Ticket};
pub use read::{Entry, Part, Scan};
pub use recover::{DamagedEvent, IndexStanding, Recovery, Truncated};
