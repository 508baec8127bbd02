//! The words of the exchange: identifiers, tiers, purposes, record types, reasons, decisions, leaves.
//!
//! What it is for: one vocabulary for every room; a value here is parsed once and never validated again.
//! What comes in: text from certificates, messages and files. What goes out: domain types and refusals.
//! What it may touch: nothing (no files, no sockets, no clock; time and randomness are traits here).
//! Where to start reading: [`reason`] (why the node says no), then [`tier`], [`decision`], [`leaf`].
#![forbid(unsafe_code)]

pub mod actor;
pub mod agency;
pub mod catalog;
pub mod consent;
pub mod credit_code;
pub mod decision;
pub mod district;
pub mod id;
pub mod leaf;
pub mod purpose;
pub mod reason;
pub mod refusal;
pub mod resident_id;
pub mod tier;
pub mod time;

pub use actor::Role;
pub use agency::AgencyKind;
pub use catalog::{Catalog, RecordType, RecordTypeCode};
pub use credit_code::CreditCode;
pub use decision::{Decide, Grant, Obligation, Question, Verdict};
pub use district::DistrictCode;
pub use id::{ConsentId, ExchangeId, KeyHandle, MemberId, Pseudonym};
pub use leaf::Leaf;
pub use purpose::{LawfulBasis, Purpose};
pub use reason::ReasonCode;
pub use refusal::Refusal;
pub use resident_id::ResidentId;
pub use tier::{Level, Tier};
pub use time::{Clock, Timestamp};
