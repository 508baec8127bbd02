//! The federation without a centre: who its members are, which keys and certificates are theirs, and how nodes meet.
//!
//! What it is for: one signed directory instead of a central server, and mutual TLS that tells members apart.
//! What comes in: directories and member cards as bytes, certificates that peers and clients present, the time.
//! What goes out: verified peers and clients or a refusal with its reason; TLS configurations; signed directories.
//! What it may touch: nothing (no files, no sockets, no clock; randomness only for keys, serial numbers and signing).
//! Where to start reading: [`Directory`], then [`Roster`] (the live view), [`Verifiers`] (who is asking), [`tls`].
#![forbid(unsafe_code)]

pub mod authority;
pub mod ca;
pub mod card;
pub mod certificate;
pub mod directory;
mod directory_error;
pub mod draft;
pub mod identity;
pub mod keys;
pub mod member;
pub mod name;
pub mod reload;
pub mod revoked;
pub mod roster;
pub mod tls;
pub mod tls_key;
pub mod verify;

pub use authority::AuthorityKey;
pub use ca::CaCertificate;
pub use card::MemberCard;
pub use certificate::{Issued, MemberCa, Validity};
pub use directory::{Directory, DirectoryError, SignedDirectory};
pub use draft::Draft;
pub use identity::{ClientName, PresentedIdentity, present};
pub use keys::{Fingerprint, OprfPublicKey, ReceiptPublicKey, WitnessKey};
pub use member::{Member, MemberStatus};
pub use name::{Endpoint, FederationName};
pub use reload::ReloadableCert;
pub use revoked::Revoked;
pub use roster::{Adopted, Roster};
pub use verify::{ClientVerifier, VerifiedClient, VerifiedPeer, Verifiers};

#[cfg(test)]
mod certificate_tests;
#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod directory_tests;
#[cfg(test)]
mod draft_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod handshake_tests;
#[cfg(test)]
mod verify_tests;
