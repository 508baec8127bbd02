//! The node's key-encryption keys, current and former, in one sealed file.
//!
//! Rotation, and what the world looks like if the node dies between the steps:
//! 1. [`Keyring::rotate`], [`Keyring::save`]: the file holds old and new. Before the save nothing
//!    has changed; after it, everything wrapped under the old key still opens.
//! 2. Re-wrap the secret file ([`crate::SecretFile::rewrap`]) and every subject key
//!    ([`Keyring::rewrap_key`]), in any order, as often as it takes: both keys are there, and what
//!    is done already is left alone.
//! 3. [`Keyring::retire`], [`Keyring::save`]: only when nothing names the old key any more. From
//!    then on old backups of wrapped keys are useless, which is what makes an erasure final.

use std::path::Path;

use zeroize::Zeroizing;

use crate::aead::KEY_BYTES;
use crate::envelope::Envelope;
use crate::{Entropy, FileError, Kek, KekId, SealError, SubjectKey, Unlock, WrappedKey, disk};

/// Most key-encryption keys in one keyring: one is in use, the others wait for re-wrapping to
/// finish.
pub const MAX_KEKS: usize = 16;

/// What the sealed file says it holds.
const CONTENT: &str = "keyring";

/// First byte of the plaintext: version 1, then a count, then the keys with the current one first.
const PLAIN_VERSION: u8 = 1;

/// The current key-encryption key and older ones that are still needed.
#[derive(Debug)]
pub struct Keyring {
    current: Kek,
    older: Vec<Kek>,
}

impl Keyring {
    /// A keyring with one new key, for a node's first start.
    ///
    /// # Errors
    /// [`SealError::Entropy`] without randomness.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, SealError> {
        Ok(Self {
            current: Kek::generate(entropy)?,
            older: Vec::new(),
        })
    }

    /// The key new things are wrapped under.
    #[must_use]
    pub fn current(&self) -> &Kek {
        &self.current
    }

    /// The key with this id, current or older.
    #[must_use]
    pub fn get(&self, id: KekId) -> Option<&Kek> {
        std::iter::once(&self.current)
            .chain(&self.older)
            .find(|kek| kek.id() == id)
    }

    /// Ids of all keys, the current one first, then from newest to oldest.
    #[must_use]
    pub fn ids(&self) -> Vec<KekId> {
        std::iter::once(&self.current)
            .chain(&self.older)
            .map(Kek::id)
            .collect()
    }

    /// Makes a new key current and keeps the former one. In memory only: save before wrapping
    /// anything with it.
    ///
    /// # Errors
    /// [`SealError::KeyringFull`] at [`MAX_KEKS`], [`SealError::Entropy`].
    pub fn rotate(&mut self, entropy: &dyn Entropy) -> Result<KekId, SealError> {
        if self.older.len() + 1 >= MAX_KEKS {
            return Err(SealError::KeyringFull);
        }
        let former = std::mem::replace(&mut self.current, Kek::generate(entropy)?);
        self.older.insert(0, former);
        Ok(self.current.id())
    }

    /// Forgets an older key. In memory only, until saved. Whatever is still wrapped under it is
    /// then lost.
    ///
    /// # Errors
    /// [`SealError::CurrentKek`] for the current key, [`SealError::UnknownKek`] for one not in the
    /// ring.
    pub fn retire(&mut self, id: KekId) -> Result<(), SealError> {
        if self.current.id() == id {
            return Err(SealError::CurrentKek);
        }
        let at = self
            .older
            .iter()
            .position(|kek| kek.id() == id)
            .ok_or(SealError::UnknownKek)?;
        drop(self.older.remove(at));
        Ok(())
    }

    /// Wraps a subject key under the current key.
    ///
    /// # Errors
    /// [`SealError::Entropy`].
    pub fn wrap_key(
        &self,
        key: &SubjectKey,
        handle: [u8; 16],
        entropy: &dyn Entropy,
    ) -> Result<WrappedKey, SealError> {
        key.wrap(&self.current, handle, entropy)
    }

    /// Opens a subject key with whichever key it names.
    ///
    /// # Errors
    /// [`SealError::UnknownKek`] when that key is not here, [`SealError::Refused`] when bytes or
    /// handle differ.
    pub fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        handle: [u8; 16],
    ) -> Result<SubjectKey, SealError> {
        SubjectKey::unwrap(
            self.get(wrapped.kek_id()).ok_or(SealError::UnknownKek)?,
            wrapped,
            handle,
        )
    }

    /// Wraps a subject key anew under the current key, or gives `None` when it already is.
    ///
    /// # Errors
    /// As [`Keyring::unwrap_key`].
    pub fn rewrap_key(
        &self,
        wrapped: &WrappedKey,
        handle: [u8; 16],
        entropy: &dyn Entropy,
    ) -> Result<Option<WrappedKey>, SealError> {
        if wrapped.kek_id() == self.current.id() {
            return Ok(None);
        }
        self.wrap_key(&self.unwrap_key(wrapped, handle)?, handle, entropy)
            .map(Some)
    }

    /// The sealed file's bytes.
    ///
    /// # Errors
    /// [`SealError::Entropy`], [`SealError::Cost`].
    pub fn seal(&self, unlock: &Unlock, entropy: &dyn Entropy) -> Result<Vec<u8>, FileError> {
        let lock = unlock.new_lock(entropy)?;
        let secret = unlock.open_lock(&lock)?;
        let count = u8::try_from(self.older.len() + 1).map_err(|_full| SealError::KeyringFull)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(2 + MAX_KEKS * KEY_BYTES));
        plain.extend_from_slice(&[PLAIN_VERSION, count]);
        for kek in std::iter::once(&self.current).chain(&self.older) {
            plain.extend_from_slice(kek.secret().as_slice());
        }
        Ok(Envelope::seal(CONTENT, lock, &secret, &plain, entropy)?.to_bytes()?)
    }

    /// Opens a sealed file's bytes. With a passphrase this takes a fraction of a second, on
    /// purpose.
    ///
    /// # Errors
    /// `Malformed`, `OtherUnlock`, `WrongUnlock`, `Damaged` of [`FileError`].
    pub fn open(bytes: &[u8], unlock: &Unlock) -> Result<Self, FileError> {
        let envelope = Envelope::parse(bytes, CONTENT)?;
        let plain = envelope.open(&unlock.open_lock(envelope.lock())?)?;
        let [PLAIN_VERSION, count, keys @ ..] = plain.as_slice() else {
            return Err(FileError::Malformed);
        };
        let (keys, rest) = keys.as_chunks::<KEY_BYTES>();
        if keys.len() != usize::from(*count) || keys.len() > MAX_KEKS || !rest.is_empty() {
            return Err(FileError::Malformed);
        }
        let mut keks = keys
            .iter()
            .map(|key| Kek::from_secret(Zeroizing::new(*key)));
        let current = keks.next().ok_or(FileError::Malformed)?;
        Ok(Self {
            current,
            older: keks.collect(),
        })
    }

    /// Seals into `path` so that after a crash either the former or the new file is there, whole.
    /// Also how a passphrase is changed: load with the old, save with the new.
    ///
    /// # Errors
    /// As [`Keyring::seal`], and [`FileError::Io`].
    pub fn save(
        &self,
        path: &Path,
        unlock: &Unlock,
        entropy: &dyn Entropy,
    ) -> Result<(), FileError> {
        disk::write_atomically(path, &self.seal(unlock, entropy)?)
    }

    /// Opens the file at `path`.
    ///
    /// # Errors
    /// As [`Keyring::open`], and `Io` or `TooLarge` of [`FileError`].
    pub fn load(path: &Path, unlock: &Unlock) -> Result<Self, FileError> {
        Self::open(&disk::read_sealed(path)?, unlock)
    }
}
