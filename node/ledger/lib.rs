//! What the node knows: events in the journal, projected into the index, sealed in the vault.
//!
//! What it is for: records, consents, accesses and erasures as durable events, and look-ups over them.
//! What comes in: parsed domain values. What goes out: stored records, views of consent, acknowledgements.
//! What it may touch: the journal's and the index's folders; subject keys in memory.
//! Where to start reading: [`Ledger`] in `ledger.rs`, then `row.rs` (what an event means to the index), then `project.rs`.
#![forbid(unsafe_code)]

mod access;
mod admission;
mod consents;
mod erase;
mod error;
mod gone;
mod ledger;
mod mark;
mod open;
mod project;
mod put;
mod quarantine;
mod read;
mod rebuild;
mod rewrap;
mod row;
mod tables;
#[cfg(test)]
mod tests;
mod vault;
mod wave;

pub use access::{Access, AccessDetail};
pub use consents::{ConsentEntry, ConsentState, ConsentView};
pub use erase::Erased;
pub use error::LedgerError;
pub use journal::Acked;
pub use ledger::{Health, Ledger, LedgerHealth, Options, Secrets};
pub use open::Opening;
pub use put::{BATCH_MAX, NewRecord, PutDone, RecordHeader};
pub use quarantine::{QuarantineEntry, Quarantined};
pub use read::{Found, Page, Position, Query, StoredRecord, Summary};
