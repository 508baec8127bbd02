//! The pipeline: identity, subject, consent, policy, release, journal, reply, as a chain of types.
//!
//! What it is for: deciding what another member may have, and letting nothing out before its leaf is durable.
//! What comes in: a verified peer and its signed statement. What goes out: [`Released`] data, or a [`Refused`] answer.
//! What it may touch: the ledger, the policy engine, nothing else; protobuf and sockets are the node's edge.
//! Where to start reading: `answer.rs`, which is the whole way on one screen; then the steps in their order.
//!
//! Each step's value can be made by the step before it alone, so a step cannot be left out. What leaves is a
//! [`Released`], and only the journal's acknowledgement makes one. Each example below that does not compile has a twin
//! that takes the step it leaves out, and does.
//!
//! A caller cannot make a `Released` itself, only take one apart:
//!
//! ```compile_fail,E0423
//! # use songhe_exchange::Released;
//! fn leak(records: Vec<u8>) -> Released<Vec<u8>> {
//!     Released(records)
//! }
//! ```
//!
//! ```
//! # use songhe_exchange::Released;
//! fn reply(released: Released<Vec<u8>>) -> Vec<u8> {
//!     released.into_reply().0
//! }
//! ```
//!
//! The policy cannot be asked about a request whose consents were not looked up (an [`About`] is no [`Standing`]):
//!
//! ```compile_fail,E0308
//! # use songhe_exchange::{About, Holder, Permit};
//! async fn skip_consent(holder: &Holder, about: About) -> Option<Permit> {
//!     holder.permit(about).ok()
//! }
//! ```
//!
//! ```
//! # use songhe_exchange::{About, Holder, Permit};
//! async fn with_consent(holder: &Holder, about: About) -> Option<Permit> {
//!     let standing = holder.look_up_consent(about).await.ok()?;
//!     holder.permit(standing).ok()
//! }
//! ```
//!
//! Nothing is prepared without a permit (a `Standing` is no [`Permit`]):
//!
//! ```compile_fail,E0308
//! # use songhe_exchange::{Disclosure, Holder, Located, Standing};
//! fn skip_policy(holder: &Holder, standing: Standing) -> Option<Disclosure<Located>> {
//!     holder.release_located(standing).ok()
//! }
//! ```
//!
//! ```
//! # use songhe_exchange::{Disclosure, Holder, Located, Standing};
//! fn with_policy(holder: &Holder, standing: Standing) -> Option<Disclosure<Located>> {
//!     let permit = holder.permit(standing).ok()?;
//!     holder.release_located(permit).ok()
//! }
//! ```
//!
//! What was prepared does not leave without the journal (a [`Disclosure`] is no `Released`, and cannot be looked into):
//!
//! ```compile_fail,E0308
//! # use songhe_exchange::{Disclosure, Holder, Located, Released};
//! async fn skip_journal(holder: &Holder, disclosure: Disclosure<Located>) -> Option<Released<Located>> {
//!     Some(disclosure)
//! }
//! ```
//!
//! ```compile_fail,E0616
//! # use songhe_exchange::{Disclosure, Located};
//! fn look_inside(disclosure: Disclosure<Located>) -> Located {
//!     disclosure.payload
//! }
//! ```
//!
//! ```
//! # use songhe_exchange::{Disclosure, Holder, Located, Released};
//! async fn with_journal(holder: &Holder, disclosure: Disclosure<Located>) -> Option<Released<Located>> {
//!     holder.journal(disclosure).await.ok()
//! }
//! ```
#![forbid(unsafe_code)]

mod answer;
mod consent;
mod cursor;
mod denial;
mod holder;
mod identity;
mod journal;
mod leaf_position;
mod permit;
mod release;
mod replay;
mod statement;
mod subject;
#[cfg(test)]
mod tests;

pub use answer::Fetching;
pub use consent::Standing;
pub use denial::Refused;
pub use holder::{Holder, HolderParts};
pub use identity::Caller;
pub use journal::Released;
pub use leaf_position::LeafPosition;
pub use permit::{Granted, Permit};
pub use release::{Disclosure, Holding, Located, OutRecord, RecordPage};
pub use statement::{PROTOCOL, PROTOCOL_MIN, Query, REQUEST_LABEL, Signed, Statement};
pub use subject::About;
