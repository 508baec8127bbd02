//! The key-encryption key, and subject keys wrapped under it.

use std::fmt;

use ring::digest;
use zeroize::Zeroizing;

use crate::aead::{self, KEY_BYTES, NONCE_BYTES, Secret32, TAG_BYTES};
use crate::{Entropy, SealError, SubjectKey};

/// Bytes of a wrapped key: version 1, key id 8, nonce 12, key 32, tag 16.
pub const WRAPPED_KEY_BYTES: usize = 1 + 8 + NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// First byte of a wrapped key.
const WRAP_VERSION: u8 = 1;
const WRAP_LABEL: &[u8] = b"songhe-seal/v1/wrap";
const ID_LABEL: &[u8] = b"songhe-seal/v1/kek-id";

/// Which key-encryption key: the first 8 bytes of `SHA-256("songhe-seal/v1/kek-id" ‖ 0x00 ‖ key)`.
/// Not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KekId(pub(crate) [u8; 8]);

impl KekId {
    /// The 8 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// Reads the 16 lower-case hexadecimal digits that [`fmt::Display`] prints.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 16 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        Some(Self(u64::from_str_radix(text, 16).ok()?.to_be_bytes()))
    }
}

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KekId({self})")
    }
}

/// The node's key-encryption key: 32 random bytes from which the keys that wrap other keys are
/// derived. Wiped on drop, not `Clone`, never printed. Lives on disk only inside a sealed
/// [`crate::Keyring`].
///
/// One key may wrap at most 2³² subject keys (random 96-bit nonces, NIST SP 800-38D §8.3); rotate
/// long before.
pub struct Kek {
    key: Secret32,
    id: KekId,
}

impl Kek {
    /// A new random key.
    ///
    /// # Errors
    /// [`SealError::Entropy`] when there is no randomness.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, SealError> {
        Ok(Self::from_secret(aead::random_secret(entropy)?))
    }

    pub(crate) fn from_secret(key: Secret32) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(ID_LABEL);
        context.update(&[0]);
        context.update(key.as_slice());
        let id = context
            .finish()
            .as_ref()
            .first_chunk()
            .copied()
            .unwrap_or_default();
        Self { key, id: KekId(id) }
    }

    pub(crate) fn secret(&self) -> &Secret32 {
        &self.key
    }

    /// Which key this is.
    #[must_use]
    pub fn id(&self) -> KekId {
        self.id
    }

    /// A key derived from this one for one purpose, so that no key serves two.
    pub(crate) fn derive(&self, label: &[u8]) -> Result<Secret32, SealError> {
        aead::hkdf(&[], self.key.as_slice(), &[label])
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kek(.., id {})", self.id)
    }
}

/// A subject key wrapped under a [`Kek`], safe to store. Destroying every copy of these bytes
/// erases the subject: `version ‖ kek id ‖ nonce ‖ ciphertext ‖ tag`, bound to one key handle.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey([u8; WRAPPED_KEY_BYTES]);

impl WrappedKey {
    /// Takes stored bytes. Only length and version are checked here; opening checks the rest.
    ///
    /// # Errors
    /// [`SealError::Malformed`] for another length or version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        let bytes: [u8; WRAPPED_KEY_BYTES] =
            bytes.try_into().map_err(|_length| SealError::Malformed)?;
        if bytes.first() == Some(&WRAP_VERSION) {
            Ok(Self(bytes))
        } else {
            Err(SealError::Malformed)
        }
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; WRAPPED_KEY_BYTES] {
        &self.0
    }

    /// Which key-encryption key opens it.
    #[must_use]
    pub fn kek_id(&self) -> KekId {
        KekId(
            self.0
                .get(1..9)
                .and_then(|id| id.first_chunk())
                .copied()
                .unwrap_or_default(),
        )
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappedKey(.., kek {})", self.kek_id())
    }
}

impl SubjectKey {
    /// Wraps this key under `kek`, bound to its `handle` so that wrapped keys cannot be swapped
    /// between subjects.
    ///
    /// # Errors
    /// [`SealError::Entropy`] when there is no randomness for the nonce.
    pub fn wrap(
        &self,
        kek: &Kek,
        handle: [u8; 16],
        entropy: &dyn Entropy,
    ) -> Result<WrappedKey, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce)?;
        // Held in a wiped buffer: until it is encrypted in place it contains the key itself.
        let mut out = Zeroizing::new(Vec::with_capacity(WRAPPED_KEY_BYTES));
        out.push(WRAP_VERSION);
        out.extend_from_slice(kek.id.as_bytes());
        out.extend_from_slice(&nonce);
        let head = out.len();
        out.extend_from_slice(self.secret().as_slice());
        aead::seal_tail(
            &*kek.derive(WRAP_LABEL)?,
            nonce,
            &wrap_aad(kek.id, handle),
            &mut out,
            head,
        )?;
        WrappedKey::from_bytes(&out)
    }

    /// Opens a wrapped key with the key-encryption key it names and the handle it was wrapped for.
    ///
    /// # Errors
    /// [`SealError::UnknownKek`] when `kek` is another key, [`SealError::Refused`] when any byte or
    /// the handle differs.
    pub fn unwrap(kek: &Kek, wrapped: &WrappedKey, handle: [u8; 16]) -> Result<Self, SealError> {
        if wrapped.kek_id() != kek.id {
            return Err(SealError::UnknownKek);
        }
        let (nonce, sealed) = wrapped
            .0
            .get(9..)
            .and_then(<[u8]>::split_first_chunk)
            .ok_or(SealError::Malformed)?;
        let plain = aead::open(
            &*kek.derive(WRAP_LABEL)?,
            *nonce,
            &wrap_aad(kek.id, handle),
            sealed,
        )?;
        let mut key: Secret32 = Zeroizing::new([0; KEY_BYTES]);
        if plain.len() != key.len() {
            return Err(SealError::Malformed);
        }
        key.copy_from_slice(&plain);
        Ok(Self::from_secret(key))
    }
}

/// `label ‖ 0x00 ‖ version ‖ kek id ‖ handle`: every part but the label has a fixed length.
fn wrap_aad(id: KekId, handle: [u8; 16]) -> Vec<u8> {
    [WRAP_LABEL, &[0, WRAP_VERSION], &id.0, &handle].concat()
}
