//! The key of one subject: everything about a person is sealed, tagged and committed to under it.

use std::fmt;

use ring::digest;
use zeroize::Zeroizing;

use crate::aead::{self, KEY_BYTES, Secret32};
use crate::{Entropy, SealError};

/// HKDF and hash labels of the audit log's format, version 1.
const TAG_LABEL: &[u8] = b"songhe-audit/v1/tag";
const SALT_LABEL: &[u8] = b"songhe-audit/v1/salt";
const DEK_LABEL: &[u8] = b"songhe-audit/v1/dek";
const COMMITMENT_LABEL: &[u8] = b"songhe-audit/v1/pc\0";

/// A subject's key for one retention epoch: 32 random bytes. Wiped on drop, not `Clone`, never
/// printed.
///
/// Destroying it (and every wrapped copy) erases the person: bodies no longer open, tags no longer
/// link, commitments no longer bind to anything that could be guessed, and every proof in the log
/// still verifies.
pub struct SubjectKey(Secret32);

impl SubjectKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`SealError::Entropy`] when there is no randomness.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, SealError> {
        Ok(Self(aead::random_secret(entropy)?))
    }

    /// A key from its bytes, for restores under officers' hands and for tests. The caller wipes its
    /// own copy.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    pub(crate) fn from_secret(key: Secret32) -> Self {
        Self(key)
    }

    pub(crate) fn secret(&self) -> &Secret32 {
        &self.0
    }

    /// The unlinkable tag `stag` of this subject on the leaf with id `id16`: `HMAC-SHA256(HKDF(K,
    /// "songhe-audit/v1/tag"), id16)`, first 16 bytes. Only the key's holder can tell that two tags
    /// mean one person.
    ///
    /// # Errors
    /// [`SealError::Key`], which HKDF with a fixed length never gives.
    pub fn tag(&self, id16: [u8; 16]) -> Result<[u8; 16], SealError> {
        let key = aead::hkdf(&[], self.0.as_slice(), &[TAG_LABEL])?;
        aead::hmac(&key, &[&id16])
            .first_chunk()
            .copied()
            .ok_or(SealError::Key)
    }

    /// Whether `tag` is this subject's on `id16`, compared in constant time.
    ///
    /// # Errors
    /// As [`SubjectKey::tag`].
    pub fn has_tag(&self, id16: [u8; 16], tag: &[u8; 16]) -> Result<bool, SealError> {
        Ok(aead::equal(&self.tag(id16)?, tag))
    }

    /// The blinding salt of a commitment, `HKDF(K, "songhe-audit/v1/salt" ‖ id16)`: handed to
    /// whoever may check one commitment, without the key.
    ///
    /// # Errors
    /// As [`SubjectKey::tag`].
    pub fn salt(&self, id16: [u8; 16]) -> Result<Zeroizing<[u8; 32]>, SealError> {
        aead::hkdf(&[], self.0.as_slice(), &[SALT_LABEL, &id16])
    }

    /// The commitment `pc` to `plaintext`: `SHA-256("songhe-audit/v1/pc" ‖ 0x00 ‖ salt ‖
    /// u64be(length) ‖ plaintext)`. It is to the plaintext because AES-GCM does not commit to its
    /// key: a ciphertext could be opened in two ways, a commitment cannot.
    ///
    /// # Errors
    /// As [`SubjectKey::tag`].
    pub fn commitment(&self, id16: [u8; 16], plaintext: &[u8]) -> Result<[u8; 32], SealError> {
        Ok(Self::commitment_with_salt(&*self.salt(id16)?, plaintext))
    }

    /// The same commitment for someone who was given the salt and the plaintext, but not the key.
    #[must_use]
    pub fn commitment_with_salt(salt: &[u8; 32], plaintext: &[u8]) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(COMMITMENT_LABEL);
        context.update(salt);
        // usize is at most 64 bits wide on every platform Rust supports, so nothing is lost.
        context.update(
            &u64::try_from(plaintext.len())
                .unwrap_or(u64::MAX)
                .to_be_bytes(),
        );
        context.update(plaintext);
        context
            .finish()
            .as_ref()
            .first_chunk()
            .copied()
            .unwrap_or_default()
    }

    /// The single-use key of the body with id `id16`: `HKDF(K, "songhe-audit/v1/dek" ‖ id16)`.
    pub(crate) fn body_key(&self, id16: [u8; 16]) -> Result<Secret32, SealError> {
        aead::hkdf(&[], self.0.as_slice(), &[DEK_LABEL, &id16])
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey(..)")
    }
}
