//! The index: a rebuildable projection of the journal in sled, behind a small trait.
//!
//! - What it is for: looking rows up quickly without ever being the only copy of anything.
//! - What comes in: batches of puts and deletes in numbered tables, each with the journal position it reaches.
//! - What goes out: rows, ranges, counts and the checkpoint; or a refusal, never a false "not found".
//! - What it may touch: one folder of the data disk (generations, a pointer file, a marker, a lock file).
//! - Where to start reading: [`Index`] in `engine.rs`, then `open.rs` for how sled is kept on a short lead.
//!
//! The index knows nothing of what the journal means. It stores rows and a checkpoint, and the two move together or not
//! at all. When power fails or a byte rots, sled 0.34 loses a suffix, panics or hangs. That is met by opening it under
//! supervision and by throwing the folder away whenever anything looks wrong: the journal can always write it again.
//! A hole below a newer checkpoint was never seen, but sled's recovery has a path that skips a damaged record and goes
//! on; so every row is also counted and hashed in the batch that changes it, and compared at open.

#![forbid(unsafe_code)]

mod builder;
mod engine;
mod fault;
mod home;
mod memory;
mod meta;
mod open;
mod reserve;
mod runs;
mod sled_index;
mod warden;

#[cfg(test)]
mod suite;

pub use builder::Builder;
pub use engine::{
    Checkpoint, Index, MAX_BATCH_BYTES, MAX_BATCH_OPS, MAX_KEY_BYTES, MAX_RANGE_ROWS,
    MAX_VALUE_BYTES, Op, Order, Row, Table,
};
pub use fault::{Error, Fault, Reason};
pub use memory::MemoryIndex;
pub use open::{OpenOptions, Opened, open_supervised};
pub use sled_index::SledIndex;
