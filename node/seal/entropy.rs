//! Where random bytes come from: the operating system, or a seed in tests.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use thiserror::Error;

/// The source of randomness failed. The machine's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("random numbers are not available: check the operating system's generator")]
pub struct EntropyError;

/// A source of random bytes. Keys, nonces and body ids are drawn from it.
pub trait Entropy: fmt::Debug + Send + Sync {
    /// Fills `out` completely.
    ///
    /// # Errors
    /// [`EntropyError`] when the source fails; `out` must not be used then.
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system's generator (`getrandom`), the only one for a real node.
#[derive(Debug, Clone)]
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// The generator. Cheap.
    #[must_use]
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.0.fill(out).map_err(|_unspecified| EntropyError)
    }
}

/// The same bytes for the same seed: tests and simulations only. **Never on a real node**: whoever
/// knows the seed knows every key.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    blocks: AtomicU64,
}

impl SeededEntropy {
    /// A stream of SHA-256 blocks over label, seed and counter.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            blocks: AtomicU64::new(0),
        }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in out.chunks_mut(digest::SHA256_OUTPUT_LEN) {
            let mut context = digest::Context::new(&digest::SHA256);
            context.update(b"songhe-seal/v1/seeded");
            context.update(&self.seed.to_be_bytes());
            context.update(&self.blocks.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            for (to, from) in chunk.iter_mut().zip(context.finish().as_ref()) {
                *to = *from;
            }
        }
        Ok(())
    }
}
