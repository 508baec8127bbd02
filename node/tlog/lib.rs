//! Formats of the transparency log, free of input and output: signed notes.
//!
//! What it is for: text several keys sign, readable by foreign tools (C2SP signed-note).
//! What comes in: text and keys, or a note. What goes out: a note, or who signed it.
//! What it may touch: nothing (no files, no sockets, no clock; Ed25519 needs no randomness).
//! Where to start reading: [`note::Note`], then [`note::VerifierKey`] and [`note::Signer`].
#![forbid(unsafe_code)]

mod key;
pub mod note;
mod signature;

#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod tests;
