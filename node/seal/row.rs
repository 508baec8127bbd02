//! Keys for the node's own small things: index rows, index keys, and cursors handed to callers.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::aead::{self, KEY_BYTES, NONCE_BYTES, Secret32, TAG_BYTES};
use crate::{Entropy, SealError};

/// Largest cursor position in bytes: a key of the index and a few numbers.
pub const MAX_CURSOR_BYTES: usize = 512;

const CURSOR_LABEL: &[u8] = b"songhe-seal/v1/cursor";
const ROW_LABEL: &[u8] = b"songhe-seal/v1/row";

/// Seals small rows: AES-256-GCM with a random 96-bit nonce in front. Wiped on drop, never printed.
///
/// **Use limit: 2³² rows for one key**, overwritten ones included (NIST SP 800-38D §8.3: then the
/// chance of a repeated nonce stays below 2⁻³²). At 100 rows a second that is 16 months: rotate
/// yearly or when the index is rebuilt, whichever comes first.
pub struct RowKey(Secret32);

impl RowKey {
    /// A key from 32 secret bytes. The caller wipes its own copy.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// `nonce ‖ ciphertext ‖ tag`, bound to `aad` (the table and the row's key, so that rows cannot
    /// be swapped).
    ///
    /// # Errors
    /// [`SealError::Entropy`] without randomness.
    pub fn seal(
        &self,
        aad: &[u8],
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        seal_random(
            &self.0,
            &[ROW_LABEL, &[0], aad].concat(),
            plaintext,
            entropy,
        )
    }

    /// Opens a row sealed with the same `aad`. The plaintext is wiped on drop.
    ///
    /// # Errors
    /// [`SealError::Malformed`] when too short, [`SealError::Refused`] when key, place or any byte
    /// differs.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        open_random(&self.0, &[ROW_LABEL, &[0], aad].concat(), sealed)
    }
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowKey(..)")
    }
}

/// Makes index keys that tell nothing to someone who has the disk: HMAC-SHA256 (RFC 2104). Wiped on
/// drop.
pub struct HmacKey(Secret32);

impl HmacKey {
    /// A key from 32 secret bytes. The caller wipes its own copy.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// 32 bytes over `u32be(length of domain) ‖ domain ‖ data`. `domain` names the use (a table),
    /// so that equal data in two tables does not show.
    #[must_use]
    pub fn tag32(&self, domain: &str, data: &[u8]) -> [u8; 32] {
        let length = u32::try_from(domain.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes();
        aead::hmac(&self.0, &[&length, domain.as_bytes(), data])
    }

    /// The first 16 bytes of [`HmacKey::tag32`]: 2⁻⁶⁴ chance of a collision among 2³² entries.
    #[must_use]
    pub fn tag16(&self, domain: &str, data: &[u8]) -> [u8; 16] {
        self.tag32(domain, data)
            .first_chunk()
            .copied()
            .unwrap_or_default()
    }

    /// Whether `tag` (16 or 32 bytes) is the one for `domain` and `data`, compared in constant
    /// time.
    #[must_use]
    pub fn verify(&self, domain: &str, data: &[u8], tag: &[u8]) -> bool {
        let whole = self.tag32(domain, data);
        matches!(tag.len(), 16 | 32)
            && whole
                .get(..tag.len())
                .is_some_and(|expected| aead::equal(expected, tag))
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(..)")
    }
}

/// Makes cursors opaque: a caller resumes a list with bytes it can neither read nor change. Wiped
/// on drop. The use limit is that of [`RowKey`].
pub struct CursorKey(Secret32);

impl CursorKey {
    /// A key from 32 secret bytes. The caller wipes its own copy.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// Seals `position` (at most [`MAX_CURSOR_BYTES`]) into URL-safe text without padding.
    /// `context` says for whom and for which query, so that one caller's cursor is of no use to
    /// another.
    ///
    /// # Errors
    /// [`SealError::TooLarge`], [`SealError::Entropy`].
    pub fn seal(
        &self,
        context: &[u8],
        position: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<String, SealError> {
        if position.len() > MAX_CURSOR_BYTES {
            return Err(SealError::TooLarge);
        }
        let sealed = seal_random(
            &self.0,
            &[CURSOR_LABEL, &[0], context].concat(),
            position,
            entropy,
        )?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Reads a cursor back, with the same `context`.
    ///
    /// # Errors
    /// [`SealError::Malformed`] for text that cannot be a cursor, [`SealError::Refused`] for one
    /// that is not ours or belongs to another context.
    pub fn open(&self, context: &[u8], cursor: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        // Base64 turns 3 bytes into 4: refuse before decoding what we never made.
        if cursor.len() > (MAX_CURSOR_BYTES + NONCE_BYTES + TAG_BYTES).div_ceil(3) * 4 {
            return Err(SealError::Malformed);
        }
        let sealed = URL_SAFE_NO_PAD
            .decode(cursor)
            .map_err(|_base64| SealError::Malformed)?;
        open_random(&self.0, &[CURSOR_LABEL, &[0], context].concat(), &sealed)
    }
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(..)")
    }
}

fn seal_random(
    key: &Secret32,
    aad: &[u8],
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_BYTES];
    entropy.fill(&mut nonce)?;
    let mut out = Vec::with_capacity(NONCE_BYTES + plaintext.len() + TAG_BYTES);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plaintext);
    aead::seal_tail(key, nonce, aad, &mut out, NONCE_BYTES)?;
    Ok(out)
}

fn open_random(key: &Secret32, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, rest) = sealed
        .split_first_chunk::<NONCE_BYTES>()
        .ok_or(SealError::Malformed)?;
    if rest.len() < TAG_BYTES {
        return Err(SealError::Malformed);
    }
    aead::open(key, *nonce, aad, rest)
}
