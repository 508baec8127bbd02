//! FHIR R4 in and out: what a source sends is cut, judged and described; what leaves is masked.
//!
//! What it is for: nothing enters the journal that is not FHIR R4 and of a type in the catalogue, and every no says where.
//! What comes in: bytes of a resource, a Bundle or NDJSON. What goes out: the same bytes with what the node must know.
//! What it may touch: nothing (no files, no sockets, no clock).
//! Where to start reading: [`split`](mod@split), then [`examine`](mod@examine), then [`mask`](mod@mask).
#![forbid(unsafe_code)]

mod bundle;
mod ecg;
mod edit;
pub mod examine;
pub mod identifiers;
mod json;
pub mod limits;
pub mod mask;
pub mod national_id;
pub mod ndjson;
pub mod outcome;
mod reader;
mod rules;
mod select;
pub mod split;
mod structure;
pub mod subject;
mod tables;
mod times;
mod vitals;

#[cfg(test)]
mod tests;

pub use examine::{Context, Examined, examine};
pub use limits::Limits;
pub use mask::{MaskError, Masked, mask};
pub use national_id::strip_national_ids;
pub use ndjson::NdjsonSplitter;
pub use outcome::{Fault, Issue, IssueType, OperationOutcome, Severity};
pub use split::{Format, Item, Method, Piece, Pieces, Position, RefusedItem, Request, split};
pub use subject::SubjectRef;

/// The catalogue this node is built with, `policies/catalog/catalog.json`, for [`record::Catalog::from_json`].
#[must_use]
pub const fn catalog_json() -> &'static str {
    include_str!("../../policies/catalog/catalog.json")
}
