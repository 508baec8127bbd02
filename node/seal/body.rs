//! Sealed bodies: records, consents and access details under the key of the subject they speak of.

use zeroize::Zeroizing;

use crate::aead::{self, NONCE_BYTES, TAG_BYTES};
use crate::{Entropy, SealError, SubjectKey};

/// Bytes of the random id in front of every sealed body.
pub const BODY_ID_BYTES: usize = 16;

/// Plaintexts are padded to a multiple of this many bytes, so that a body's length tells little.
pub const BODY_STEP_BYTES: usize = 64;

/// Largest plaintext in bytes. A discharge summary with a scanned page is below 1 MiB; images stay
/// where they are.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

const BODY_LABEL: &[u8] = b"songhe-audit/v1";

/// How many bytes [`SubjectKey::seal_body`] makes of `plaintext_len` bytes.
#[must_use]
pub const fn sealed_body_len(plaintext_len: usize) -> usize {
    BODY_ID_BYTES + padded_len(plaintext_len) + TAG_BYTES
}

impl SubjectKey {
    /// Seals a body: `id ‖ AES-256-GCM ciphertext ‖ tag`, bound to `aad_extra` (where the body
    /// belongs, for example leaf id and record type; the same bytes are needed to open it).
    ///
    /// The encryption key is `HKDF(K, "songhe-audit/v1/dek" ‖ id)` with an all-zero nonce, and a
    /// key with a fixed nonce may encrypt once only: a second plaintext would reveal the difference
    /// of both and the means to forge. An id given by the caller (an exchange id, say) could come
    /// twice: two records in one exchange, a retry, a restored node counting again. So the id is
    /// drawn here, fresh for each body, and travels in front. Two of 2³² bodies of one subject
    /// collide with a chance of 2⁻⁶⁵.
    ///
    /// # Errors
    /// [`SealError::TooLarge`] above [`MAX_BODY_BYTES`], [`SealError::Entropy`] without randomness.
    pub fn seal_body(
        &self,
        plaintext: &[u8],
        aad_extra: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        if plaintext.len() > MAX_BODY_BYTES {
            return Err(SealError::TooLarge);
        }
        let mut id = [0; BODY_ID_BYTES];
        entropy.fill(&mut id)?;
        // Full room from the start: a vector that grows would leave copies of the plaintext behind.
        // After sealing in place no plaintext is left in it, so it need not be wiped.
        let mut out = Vec::with_capacity(sealed_body_len(plaintext.len()));
        out.extend_from_slice(&id);
        out.extend_from_slice(plaintext);
        // ISO/IEC 7816-4 padding: one 0x80, then zeroes. Always at least one byte, hence
        // unambiguous.
        out.push(0x80);
        out.resize(BODY_ID_BYTES + padded_len(plaintext.len()), 0);
        self.seal_padded(id, aad_extra, &mut out)?;
        Ok(out)
    }

    /// Opens what [`SubjectKey::seal_body`] made, with the same `aad_extra`. The plaintext is wiped
    /// on drop.
    ///
    /// # Errors
    /// [`SealError::Malformed`] for an impossible length or padding, [`SealError::Refused`] when
    /// key, place or any byte differs.
    pub fn open_body(
        &self,
        sealed: &[u8],
        aad_extra: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (id, rest) = sealed
            .split_first_chunk::<BODY_ID_BYTES>()
            .ok_or(SealError::Malformed)?;
        let padded = rest
            .len()
            .checked_sub(TAG_BYTES)
            .ok_or(SealError::Malformed)?;
        if padded == 0 || padded % BODY_STEP_BYTES != 0 || padded > padded_len(MAX_BODY_BYTES) {
            return Err(SealError::Malformed);
        }
        let mut plain = aead::open(
            &*self.body_key(*id)?,
            [0; NONCE_BYTES],
            &body_aad(*id, aad_extra),
            rest,
        )?;
        let end = plain
            .iter()
            .rposition(|byte| *byte != 0)
            .ok_or(SealError::Malformed)?;
        // Less than one step of padding, else a second spelling of the same body would exist.
        if plain.get(end) != Some(&0x80) || padded_len(end) != padded {
            return Err(SealError::Malformed);
        }
        plain.truncate(end);
        Ok(plain)
    }

    /// Seals everything behind the id, as it stands.
    pub(crate) fn seal_padded(
        &self,
        id: [u8; BODY_ID_BYTES],
        aad_extra: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let key = self.body_key(id)?;
        aead::seal_tail(
            &key,
            [0; NONCE_BYTES],
            &body_aad(id, aad_extra),
            buffer,
            BODY_ID_BYTES,
        )
    }
}

/// `"songhe-audit/v1" ‖ id ‖ extra`: label and id have fixed lengths, so extra is unambiguous.
fn body_aad(id: [u8; BODY_ID_BYTES], extra: &[u8]) -> Vec<u8> {
    [BODY_LABEL, &id, extra].concat()
}

/// Plaintext length with its padding: the next multiple of the step that leaves room for one byte.
const fn padded_len(plaintext_len: usize) -> usize {
    (plaintext_len / BODY_STEP_BYTES + 1) * BODY_STEP_BYTES
}
