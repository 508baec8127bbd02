//! The pipeline: identity, subject, consent, policy, release, journal, reply, as a chain of types.
//!
//! What it is for: deciding what another member may have, and letting nothing out before its leaf is durable.
//! What comes in: a verified peer and its signed statement. What goes out: [`Released`] data, or a [`Refused`] answer.
//! What it may touch: the ledger, the policy engine, nothing else; protobuf and sockets are the node's edge.
//! Where to start reading: `holder.rs`, which is the whole way on one screen; then the steps in their order.
//!
//! Each step's value can be made by the step before it alone, so a step cannot be left out. What leaves is a
//! [`Released`], and only the journal's acknowledgement makes one. This does not compile, because a caller cannot make
//! a `Released` itself:
//!
//! ```compile_fail,E0423
//! fn leak(records: Vec<u8>) -> exchange_alias::Released<Vec<u8>> {
//!     exchange_alias::Released(records)
//! }
//! # use songhe_exchange as exchange_alias;
//! ```
//!
//! Nor can the policy be asked about a request whose consents were not looked up (a [`About`] is no [`Standing`]):
//!
//! ```compile_fail,E0308
//! # use songhe_exchange::{About, Permit, Standing};
//! fn skip_consent(about: About, decide: fn(Standing) -> Permit) -> Permit {
//!     decide(about)
//! }
//! ```
//!
//! Nor can data be released on a permit alone, without the journal (the twin below, with the acknowledged step, compiles):
//!
//! ```compile_fail,E0308
//! # use songhe_exchange::{Disclosure, Released};
//! fn skip_journal(disclosure: Disclosure<u8>) -> Released<u8> {
//!     disclosure
//! }
//! ```
//!
//! ```
//! # use songhe_exchange::{Disclosure, Refused, Released};
//! async fn through_the_journal(
//!     holder: &songhe_exchange::Holder,
//!     disclosure: Disclosure<u8>,
//! ) -> Result<Released<u8>, Refused> {
//!     holder.journal(disclosure).await
//! }
//! ```
#![forbid(unsafe_code)]

mod consent;
mod cursor;
mod denial;
mod holder;
mod identity;
mod journal;
mod permit;
mod release;
mod replay;
mod statement;
mod subject;

pub use consent::Standing;
pub use denial::Refused;
pub use holder::{Fetching, Holder, HolderParts};
pub use identity::Caller;
pub use journal::{LeafPosition, Released};
pub use permit::{Granted, Permit};
pub use release::{Disclosure, Holding, Located, OutRecord, RecordPage};
pub use statement::{PROTOCOL, PROTOCOL_MIN, REQUEST_LABEL, Query, Signed, Statement};
pub use subject::About;
