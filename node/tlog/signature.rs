//! One line of a signed note: who is said to have signed, and the signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::key::{Signer, is_key_name};
use crate::note::NoteError;

/// How a signature line begins: EM DASH (U+2014) and one space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// One signature line, as yet unproven: `— name base64(key id ‖ signature)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub(crate) name: String,
    pub(crate) key_id: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Signature {
    /// Signs `text` (with its final line feed) alone, for handing a line to someone who holds the
    /// note.
    #[must_use]
    pub fn by(signer: &Signer, text: &str) -> Self {
        let key = signer.verifier();
        Self {
            name: key.name().to_owned(),
            key_id: key.key_id(),
            bytes: signer.sign(text.as_bytes()),
        }
    }

    /// Reads one line, without its line feed. Only the spelling that [`Signature::to_line`] prints
    /// is accepted.
    ///
    /// # Errors
    /// [`NoteError::BadLine`] (line 1) for anything that is not a signature line.
    pub fn parse_line(line: &str) -> Result<Self, NoteError> {
        parse_line(line).ok_or(NoteError::BadLine { line: 1 })
    }

    /// The line, without a line feed.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut payload = self.key_id.to_be_bytes().to_vec();
        payload.extend_from_slice(&self.bytes);
        format!(
            "{SIGNATURE_PREFIX}{} {}",
            self.name,
            STANDARD.encode(payload)
        )
    }

    /// Name of the key that is said to have signed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Id of the key that is said to have signed.
    #[must_use]
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The signature behind the key id: 64 bytes for Ed25519, more for other types. Never empty.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads one line without its line feed; `None` for any other spelling than ours.
pub(crate) fn parse_line(line: &str) -> Option<Signature> {
    let (name, payload) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
    if !is_key_name(name) {
        return None;
    }
    let payload = STANDARD.decode(payload).ok()?;
    let (key_id, bytes) = payload.split_first_chunk::<4>()?;
    if bytes.is_empty() {
        return None;
    }
    Some(Signature {
        name: name.to_owned(),
        key_id: u32::from_be_bytes(*key_id),
        bytes: bytes.to_vec(),
    })
}
