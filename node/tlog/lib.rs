//! Formats of the transparency log, free of input and output: signed notes.
//!
//! What it is for: text that several keys sign, readable by tools nobody here wrote (C2SP signed-note).
//! What comes in: text and keys, or the bytes of a note. What goes out: the bytes of a note, or who signed it.
//! What it may touch: nothing (no files, no sockets, no clock; Ed25519 needs no randomness).
//! Where to start reading: [`note::Note`], then [`note::VerifierKey`] and [`note::Signer`].
#![forbid(unsafe_code)]

mod key;
pub mod note;

#[cfg(test)]
mod tests;
