//! Signed notes: a text, an empty line, and a line for each signing key (C2SP signed-note v1.0.0).

use thiserror::Error;

use crate::signature::parse_line;

pub use crate::key::{ED25519, KeyError, MAX_KEY_NAME_BYTES, Signer, VerifierKey, is_key_name};
pub use crate::signature::Signature;

/// Largest note read by default, in bytes: checkpoints and receipts are below 1 KiB, and even 16
/// post-quantum cosignatures of 5 kB need no more.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;

/// Most signature lines read by default: the format asks for at least 16; each known one costs a
/// verification.
pub const MAX_SIGNATURES: usize = 64;

/// Sizes beyond which a note is refused before anything in it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the whole note, signatures included. A directory of members may need 4 MiB.
    pub max_bytes: usize,
    /// Most signature lines.
    pub max_signatures: usize,
}

impl Limits {
    /// The usual number of signatures and notes up to `max_bytes` bytes.
    #[must_use]
    pub const fn bytes(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            max_signatures: MAX_SIGNATURES,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::bytes(MAX_NOTE_BYTES)
    }
}

/// Why a note was refused or could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoteError {
    /// More bytes than the limit allows. The sender's fault, or a limit set too low.
    #[error("note is larger than {limit} bytes: ask the sender for a smaller one")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// More signature lines than the limit allows.
    #[error("note has more than {limit} signatures: ask the sender to strip those of others")]
    TooManySignatures {
        /// The limit in lines.
        limit: usize,
    },
    /// Not valid UTF-8, or a control character other than the line feed.
    #[error("note is not plain text in UTF-8: fetch it again")]
    NotText,
    /// The text of a note must end in a line feed.
    #[error("text of a note must end in a line feed: add one")]
    NoFinalNewline,
    /// No empty line followed by whole signature lines.
    #[error("note has no signature lines after its last empty line: fetch it again")]
    NoSignatures,
    /// A line that is not `— name base64`.
    #[error("signature line {line} of the note is malformed: fetch the note again")]
    BadLine {
        /// Counted from 1 within the signature block.
        line: usize,
    },
    /// A known key's signature does not match. Someone changed the text or the line.
    #[error("signature by {name} does not match the text: discard the note and report its sender")]
    BadSignature {
        /// Name of the key.
        name: String,
    },
    /// Two different known keys have this name and id; which one is meant cannot be told.
    #[error(
        "two known keys share the name {name} and one id: remove one of them from the configuration"
    )]
    AmbiguousKey {
        /// Name of the keys.
        name: String,
    },
    /// No key we know signed this note.
    #[error("note bears no signature by a known key: check the configured keys")]
    NoKnownSigner,
}

/// A text with signature lines. Reading one proves nothing: call [`Note::verify`] and use what it
/// returns.
#[derive(Debug, Clone)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
    limits: Limits,
}

impl Note {
    /// Signs `text` (which must end in a line feed) with every signer, within the default limits.
    ///
    /// # Errors
    /// As [`Note::sign_within`].
    pub fn sign(text: &str, signers: &[&Signer]) -> Result<Self, NoteError> {
        Self::sign_within(text, signers, Limits::default())
    }

    /// Signs `text` with every signer, within `limits`, so that whoever reads with the same limits
    /// accepts it.
    ///
    /// # Errors
    /// `NotText`, `NoFinalNewline`, `NoSignatures` (no signer given), `TooLarge`,
    /// `TooManySignatures`.
    pub fn sign_within(text: &str, signers: &[&Signer], limits: Limits) -> Result<Self, NoteError> {
        if !is_note_text(text) {
            return Err(NoteError::NotText);
        }
        if !text.ends_with('\n') {
            return Err(NoteError::NoFinalNewline);
        }
        if signers.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        if text.len() > limits.max_bytes {
            return Err(NoteError::TooLarge {
                limit: limits.max_bytes,
            });
        }
        let mut note = Self {
            text: text.to_owned(),
            signatures: Vec::with_capacity(signers.len()),
            limits,
        };
        for signer in signers {
            note.add_signature(signer)?;
        }
        Ok(note)
    }

    /// Reads a note within the default limits ([`MAX_NOTE_BYTES`], [`MAX_SIGNATURES`]).
    ///
    /// # Errors
    /// As [`Note::parse_within`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        Self::parse_within(bytes, Limits::default())
    }

    /// Reads a note. The text ends at the *last* empty line. The base64 must be canonical, so that
    /// [`Note::to_bytes`] gives back exactly the bytes read.
    ///
    /// # Errors
    /// `TooLarge`, `NotText`, `NoSignatures`, `BadLine`, `TooManySignatures`.
    pub fn parse_within(bytes: &[u8], limits: Limits) -> Result<Self, NoteError> {
        if bytes.len() > limits.max_bytes {
            return Err(NoteError::TooLarge {
                limit: limits.max_bytes,
            });
        }
        let whole = std::str::from_utf8(bytes).map_err(|_utf8| NoteError::NotText)?;
        if !is_note_text(whole) {
            return Err(NoteError::NotText);
        }
        let last_empty_line = whole.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, rest) = whole
            .split_at_checked(last_empty_line + 1)
            .ok_or(NoteError::NoSignatures)?;
        let block = rest
            .strip_prefix('\n')
            .and_then(|b| b.strip_suffix('\n'))
            .ok_or(NoteError::NoSignatures)?;
        let mut signatures = Vec::new();
        for (index, line) in block.split('\n').enumerate() {
            if signatures.len() == limits.max_signatures {
                return Err(NoteError::TooManySignatures {
                    limit: limits.max_signatures,
                });
            }
            signatures.push(parse_line(line).ok_or(NoteError::BadLine { line: index + 1 })?);
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
            limits,
        })
    }

    /// Adds this signer's line. Signing twice with one key changes nothing.
    ///
    /// # Errors
    /// `TooLarge` or `TooManySignatures` when the note would leave its limits; `BadSignature` when
    /// the note already bears a *different* line under the signer's name and id, which cannot be
    /// genuine.
    pub fn add_signature(&mut self, signer: &Signer) -> Result<(), NoteError> {
        let line = Signature::by(signer, &self.text);
        if self.signatures.contains(&line) {
            return Ok(());
        }
        if self
            .signatures
            .iter()
            .any(|s| s.key_id == line.key_id && s.name == line.name)
        {
            return Err(NoteError::BadSignature { name: line.name });
        }
        self.attach(line)
    }

    /// Adds a line someone else made. It is not verified here; an identical line is kept once.
    ///
    /// # Errors
    /// `TooLarge` or `TooManySignatures` when the note would leave its limits.
    pub fn attach(&mut self, signature: Signature) -> Result<(), NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        if self.signatures.len() >= self.limits.max_signatures {
            return Err(NoteError::TooManySignatures {
                limit: self.limits.max_signatures,
            });
        }
        self.signatures.push(signature);
        if self.to_bytes().len() > self.limits.max_bytes {
            self.signatures.pop();
            return Err(NoteError::TooLarge {
                limit: self.limits.max_bytes,
            });
        }
        Ok(())
    }

    /// Checks every line whose name and id belong to one of the `known` keys.
    ///
    /// Unknown lines are ignored. One bad line under a known key condemns the whole note, even
    /// beside a good line of the same key: a genuine sender never writes one. Returns the text
    /// together with the keys that signed it, so that nobody reads the text of a note that was not
    /// verified by accident.
    ///
    /// # Errors
    /// `BadSignature`, `AmbiguousKey`, or `NoKnownSigner` when nothing known is left.
    pub fn verify<'n, 'k>(
        &'n self,
        known: &'k [VerifierKey],
    ) -> Result<VerifiedNote<'n, 'k>, NoteError> {
        let mut signers: Vec<&'k VerifierKey> = Vec::new();
        for signature in &self.signatures {
            let mut named = known
                .iter()
                .filter(|k| k.key_id() == signature.key_id && k.name() == signature.name);
            let Some(key) = named.next() else { continue };
            if named.any(|other| other != key) {
                return Err(NoteError::AmbiguousKey {
                    name: signature.name.clone(),
                });
            }
            if !key.verify(self.text.as_bytes(), &signature.bytes) {
                return Err(NoteError::BadSignature {
                    name: signature.name.clone(),
                });
            }
            if !signers.contains(&key) {
                signers.push(key);
            }
        }
        if signers.is_empty() {
            return Err(NoteError::NoKnownSigner);
        }
        Ok(VerifiedNote {
            text: &self.text,
            signers,
        })
    }

    /// The text including its final line feed, *unproven*. Good for choosing which keys to verify
    /// with (an origin on the first line), for nothing else.
    #[must_use]
    pub fn unverified_text(&self) -> &str {
        &self.text
    }

    /// The signature lines in their order, unproven.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The note as bytes: text, empty line, signature lines.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + 1 + self.signatures.len() * 160);
        out.extend_from_slice(self.text.as_bytes());
        out.push(b'\n');
        for signature in &self.signatures {
            out.extend_from_slice(signature.to_line().as_bytes());
            out.push(b'\n');
        }
        out
    }
}

/// What remains of a note after verification: the text, and the known keys whose signatures it
/// bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedNote<'n, 'k> {
    text: &'n str,
    signers: Vec<&'k VerifierKey>,
}

impl<'n, 'k> VerifiedNote<'n, 'k> {
    /// The signed text including its final line feed.
    #[must_use]
    pub fn text(&self) -> &'n str {
        self.text
    }

    /// The keys that signed, each once, in the order of their lines. Never empty. How many are
    /// enough is for the caller to say: a receipt needs both sides, a checkpoint its log and a
    /// quorum of witnesses.
    #[must_use]
    pub fn signers(&self) -> &[&'k VerifierKey] {
        &self.signers
    }

    /// Whether this very key signed.
    #[must_use]
    pub fn is_signed_by(&self, key: &VerifierKey) -> bool {
        self.signers.contains(&key)
    }
}

/// No ASCII control character but the line feed.
fn is_note_text(text: &str) -> bool {
    text.bytes().all(|b| b >= 0x20 || b == b'\n')
}
