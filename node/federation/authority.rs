//! The authority's key: an Ed25519 key under the federation's name, used offline to sign directories.

use core::fmt;

use ring::rand::SecureRandom;
use thiserror::Error;
use tlog::note::{KeyError, Signer, VerifierKey};
use zeroize::Zeroizing;

use crate::name::FederationName;

/// Why there is no authority key. The machine's fault, or the seed's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AuthorityError {
    /// The operating system gives no randomness.
    #[error("random numbers are not available; check the operating system's generator")]
    Randomness,
    /// The name or the seed makes no key.
    #[error("the authority's key cannot be used: {0}")]
    Key(#[from] KeyError),
}

/// The authority's signing key. Its seed is wiped on drop; sealing it for the disk is the caller's part.
pub struct AuthorityKey {
    federation: FederationName,
    seed: Zeroizing<[u8; 32]>,
    signer: Signer,
}

impl AuthorityKey {
    /// A new random key for a federation.
    ///
    /// # Errors
    /// [`AuthorityError::Randomness`] without randomness.
    pub fn generate(
        federation: FederationName,
        rng: &dyn SecureRandom,
    ) -> Result<Self, AuthorityError> {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill(seed.as_mut_slice())
            .map_err(|_unspecified| AuthorityError::Randomness)?;
        Self::from_seed(federation, &seed)
    }

    /// The key of a seed (RFC 8032 §5.1.5). The caller wipes its own copy.
    ///
    /// # Errors
    /// [`AuthorityError::Key`], which a parsed name and 32 bytes never give.
    pub fn from_seed(federation: FederationName, seed: &[u8; 32]) -> Result<Self, AuthorityError> {
        let signer = Signer::from_seed(federation.as_str(), seed)?;
        Ok(Self {
            federation,
            seed: Zeroizing::new(*seed),
            signer,
        })
    }

    /// The seed, for sealing it away. Secret.
    #[must_use]
    pub const fn seed(&self) -> &Zeroizing<[u8; 32]> {
        &self.seed
    }

    /// The federation whose directories it signs.
    #[must_use]
    pub const fn federation(&self) -> &FederationName {
        &self.federation
    }

    /// The public half, which every node is configured with.
    #[must_use]
    pub fn verifier_key(&self) -> &VerifierKey {
        self.signer.verifier()
    }

    /// The signer of notes.
    pub(crate) const fn signer(&self) -> &Signer {
        &self.signer
    }
}

impl fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorityKey({})", self.signer.verifier())
    }
}
