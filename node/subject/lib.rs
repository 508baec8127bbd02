//! Pseudonyms of people, one per node, by an oblivious pseudo-random function (RFC 9497).
//!
//! What it is for: two nodes speak of one person without sending a number to keep.
//! What comes in: an identifier (client side), blinded elements and the node's key (server side).
//! What goes out: blinded and evaluated elements with a proof, and 32-byte pseudonyms.
//! What it may touch: nothing (no files, no sockets, no clock; randomness is an argument).
//! Where to start reading: [`blind`], [`evaluate`], [`finalize`]; at home [`pseudonym`].
#![forbid(unsafe_code)]

mod client;
mod error;
mod input;
mod server;

#[cfg(test)]
mod tests;

pub use client::{BlindState, BlindedElement, blind, finalize};
pub use error::SubjectError;
pub use input::{SUBJECT_LABEL, SubjectInput, subject_input};
pub use server::{
    EvaluatedElement, KEY_INFO, MAX_BATCH, OprfKey, OprfPublicKey, Proof, evaluate, pseudonym,
};

/// A person's name at one node: the first 32 of the 64 bytes the function puts out (SHA-512 output,
/// RFC 9497 §3.3.1). Any 32 of them are as good as random without the node's key; half of them keep
/// tables small, and two people share one with a chance below 2⁻¹⁸⁰ even among ten billion.
pub type PseudonymBytes = [u8; 32];

/// How long a serialised element of ristretto255 is (RFC 9496 §4.3.2).
pub const ELEMENT_BYTES: usize = 32;

/// How long a proof is: two scalars of 32 bytes (RFC 9497 §2.2, §4.1).
pub const PROOF_BYTES: usize = 64;
