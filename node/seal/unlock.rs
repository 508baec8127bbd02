//! What opens the keyring: a passphrase typed by people, or a credential file given by the machine.

use std::fmt;
use std::path::Path;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroizing;

use crate::aead::{self, KEY_BYTES, Secret32};
use crate::disk;
use crate::envelope::Lock;
use crate::{Entropy, FileError, SealError};

/// Shortest passphrase in bytes; argon2id slows guessing down, it does not replace length.
const MIN_PASSPHRASE_BYTES: usize = 12;
/// Longest passphrase in bytes.
const MAX_PASSPHRASE_BYTES: usize = 1024;
/// Fewest and most bytes of a credential.
pub(crate) const CREDENTIAL_BYTES: std::ops::RangeInclusive<usize> = 32..=4096;

/// Bounds on what a file may ask for: it is read before it can be trusted, and must not eat the
/// machine.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 8;

const CREDENTIAL_LABEL: &[u8] = b"songhe-seal/v1/credential";

/// What one passphrase guess costs (argon2id, RFC 9106).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Cost {
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

impl Argon2Cost {
    /// 64 MiB, 3 passes, 1 lane: the second recommendation of RFC 9106 §4 with one lane, above what
    /// OWASP asks.
    pub const DEFAULT: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 1,
    };

    /// 64 KiB and one pass: protects nothing, and keeps tests quick. **Never on a real node.**
    pub const LIGHT_FOR_TESTS: Self = Self {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };

    /// A cost from 19 MiB and 2 passes (OWASP's floor) up to 1 GiB, 16 passes, 8 lanes.
    ///
    /// # Errors
    /// [`SealError::Cost`] outside.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, SealError> {
        if memory_kib < 19 * 1024 || passes < 2 {
            return Err(SealError::Cost);
        }
        Self {
            memory_kib,
            passes,
            lanes,
        }
        .checked()
    }

    /// Within what this machine will do for a file.
    pub(crate) fn checked(self) -> Result<Self, SealError> {
        let fits = self.memory_kib <= MAX_MEMORY_KIB
            && (1..=MAX_PASSES).contains(&self.passes)
            && (1..=MAX_LANES).contains(&self.lanes);
        if fits { Ok(self) } else { Err(SealError::Cost) }
    }
}

impl Default for Argon2Cost {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A passphrase or a credential. Wiped on drop, not `Clone`, never printed.
pub struct Unlock {
    secret: Zeroizing<Vec<u8>>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Passphrase(Argon2Cost),
    Credential,
}

impl Unlock {
    /// A passphrase of 12 to 1,024 bytes, taken as it is (no trimming, no Unicode folding: strip
    /// the line end of typed input before). Files are sealed at [`Argon2Cost::DEFAULT`].
    ///
    /// # Errors
    /// [`SealError::WeakUnlock`] when too short or too long.
    pub fn passphrase(passphrase: &[u8]) -> Result<Self, SealError> {
        if !(MIN_PASSPHRASE_BYTES..=MAX_PASSPHRASE_BYTES).contains(&passphrase.len()) {
            return Err(SealError::WeakUnlock);
        }
        Ok(Self {
            secret: Zeroizing::new(passphrase.to_vec()),
            kind: Kind::Passphrase(Argon2Cost::DEFAULT),
        })
    }

    /// The same passphrase, sealing at another cost. Opening always uses the cost written in the
    /// file.
    #[must_use]
    pub fn at_cost(mut self, cost: Argon2Cost) -> Self {
        if let Kind::Passphrase(_) = self.kind {
            self.kind = Kind::Passphrase(cost);
        }
        self
    }

    /// 32 to 4,096 bytes that came from a random generator (a systemd credential, a TPM, a key
    /// service).
    ///
    /// # Errors
    /// [`SealError::WeakUnlock`] for another length, or when all bytes are alike (a file of
    /// zeroes).
    pub fn credential(bytes: Zeroizing<Vec<u8>>) -> Result<Self, SealError> {
        if !is_credential(&bytes) {
            return Err(SealError::WeakUnlock);
        }
        Ok(Self {
            secret: bytes,
            kind: Kind::Credential,
        })
    }

    /// Reads a credential file. It must be a regular file, mode 0400 or 0600, owned by the user the
    /// node runs as. Also accepted is the form in which systemd (`LoadCredential=`) hands one to a
    /// service user: owner and group root, mode 0440, where the group bits only mirror an access
    /// entry for that user.
    ///
    /// # Errors
    /// [`FileError::Credential`] with what is wrong, [`FileError::Io`].
    pub fn credential_file(path: &Path) -> Result<Self, FileError> {
        Ok(Self {
            secret: disk::read_credential(path)?,
            kind: Kind::Credential,
        })
    }

    /// A fresh lock of this kind, with a fresh salt.
    pub(crate) fn new_lock(&self, entropy: &dyn Entropy) -> Result<Lock, SealError> {
        let mut salt = [0; 16];
        entropy.fill(&mut salt)?;
        Ok(match self.kind {
            Kind::Passphrase(cost) => Lock::argon2id(cost, salt),
            Kind::Credential => Lock::credential(salt),
        })
    }

    /// The secret a lock turns this into.
    pub(crate) fn open_lock(&self, lock: &Lock) -> Result<Secret32, FileError> {
        match (lock, self.kind) {
            (
                Lock::Argon2id {
                    memory_kib,
                    passes,
                    lanes,
                    salt,
                },
                Kind::Passphrase(_),
            ) => {
                let cost = Argon2Cost {
                    memory_kib: *memory_kib,
                    passes: *passes,
                    lanes: *lanes,
                };
                Ok(argon2id(&self.secret, &salt.0, cost.checked()?)?)
            }
            (Lock::Credential { salt }, Kind::Credential) => {
                Ok(aead::hkdf(&salt.0, &self.secret, &[CREDENTIAL_LABEL])?)
            }
            (Lock::Argon2id { .. }, Kind::Credential) => Err(FileError::OtherUnlock {
                expected: "passphrase",
            }),
            (Lock::Credential { .. }, Kind::Passphrase(_)) => Err(FileError::OtherUnlock {
                expected: "credential",
            }),
            (Lock::Kek { .. }, _) => Err(FileError::Malformed),
        }
    }
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Passphrase(_) => "Unlock(passphrase ..)",
            Kind::Credential => "Unlock(credential ..)",
        })
    }
}

/// Long enough, not too long, and not one byte over and over (an empty or zero-filled deployment).
pub(crate) fn is_credential(bytes: &[u8]) -> bool {
    CREDENTIAL_BYTES.contains(&bytes.len()) && bytes.iter().any(|b| Some(b) != bytes.first())
}

/// Argon2id version 0x13 into 32 bytes, in memory that is wiped afterwards.
fn argon2id(passphrase: &[u8], salt: &[u8; 16], cost: Argon2Cost) -> Result<Secret32, SealError> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES))
        .map_err(|_range| SealError::Cost)?;
    let mut memory = Zeroizing::new(vec![Block::new(); params.block_count()]);
    let mut out = Zeroizing::new([0; KEY_BYTES]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase, salt, out.as_mut_slice(), memory.as_mut_slice())
        .map_err(|_range| SealError::Cost)?;
    Ok(out)
}
