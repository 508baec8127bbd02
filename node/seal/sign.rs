//! Ed25519 signatures with a label, so that what was signed for one purpose cannot serve another.

use std::fmt;

use ring::signature::{self, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::aead;
use crate::{Entropy, SealError};

/// Bytes of an Ed25519 signature (RFC 8032 §5.1.6).
pub const SIGNATURE_BYTES: usize = 64;

/// A private Ed25519 key. The seed is wiped on drop; not `Clone`; `Debug` shows the public half
/// only. (The expanded key inside the cryptography library is not wiped: its type offers no way
/// to.)
pub struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
    public: VerifyingKey,
}

impl SigningKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`SealError::Entropy`] without randomness.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, SealError> {
        Self::from_seed(&*aead::random_secret(entropy)?)
    }

    /// The key of a 32-byte seed (RFC 8032 §5.1.5). The caller wipes its own copy.
    ///
    /// # Errors
    /// [`SealError::Key`], which a seed of 32 bytes never gives.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, SealError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_rejected| SealError::Key)?;
        let public = VerifyingKey::from_bytes(pair.public_key().as_ref())?;
        Ok(Self {
            seed: Zeroizing::new(*seed),
            pair,
            public,
        })
    }

    /// The seed, for sealing it away. Secret.
    #[must_use]
    pub fn seed(&self) -> &Zeroizing<[u8; 32]> {
        &self.seed
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// Ed25519 over `label ‖ 0x00 ‖ message`. The label names purpose and version
    /// (`songhe-request/v1`); it is a constant of the programme without a zero byte, and nothing
    /// verifies under a label that has one.
    #[must_use]
    pub fn sign(&self, label: &str, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        debug_assert!(
            is_label(label),
            "a label with a zero byte could be mistaken for another label and message"
        );
        let signature = self.pair.sign(&labelled(label, message));
        signature
            .as_ref()
            .first_chunk()
            .copied()
            .unwrap_or([0; SIGNATURE_BYTES])
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(.., public {:?})", self.public)
    }
}

/// A public Ed25519 key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// Takes 32 bytes. Whether they are a point of the curve shows at the first verification, which
    /// then fails.
    ///
    /// # Errors
    /// [`SealError::Key`] for another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        bytes.try_into().map(Self).map_err(|_length| SealError::Key)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks a signature made by [`SigningKey::sign`] with the same label.
    ///
    /// # Errors
    /// [`SealError::Signature`] when key, label, message or signature differ.
    pub fn verify(&self, label: &str, message: &[u8], signature: &[u8]) -> Result<(), SealError> {
        if !is_label(label) {
            return Err(SealError::Signature);
        }
        UnparsedPublicKey::new(&signature::ED25519, &self.0)
            .verify(&labelled(label, message), signature)
            .map_err(|_unspecified| SealError::Signature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && !label.contains('\0')
}

fn labelled(label: &str, message: &[u8]) -> Vec<u8> {
    [label.as_bytes(), &[0], message].concat()
}
