//! Subject keys: found by pseudonym, opened with the key-encryption key, kept in a bounded cache, destroyed for good.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use index::Index;
use journal::{Journal, Location};
use lru::LruCache;
use record::{KeyHandle, Pseudonym};
use seal::{Entropy, Keyring, SubjectKey, WrappedKey};

use crate::error::LedgerError;
use crate::row::Owner;
use crate::tables::{SUBJECT, SubjectTag, SubjectValue, decode};

/// Subject keys kept open. 32 bytes of key and about 200 of book-keeping each.
const CACHED_KEYS: usize = 65_536;

/// A subject's key in use.
#[derive(Debug, Clone)]
pub(crate) struct Keyed {
    pub(crate) owner: Owner,
    pub(crate) key: Arc<SubjectKey>,
}

/// The keys of this node's subjects.
#[derive(Debug)]
pub(crate) struct Vault {
    keyring: RwLock<Keyring>,
    cache: Mutex<Cache>,
    /// For what belongs to no known subject: quarantine, questions about unknown people.
    node: Arc<SubjectKey>,
}

#[derive(Debug)]
struct Cache {
    open: LruCache<Pseudonym, Keyed>,
    /// Keys being wrapped anew: between the overwriting of the old wrapping and the index row of the new one they are
    /// found here.
    rewrapping: HashMap<Pseudonym, Keyed>,
    /// Rises with every key forgotten: a key that was read from disk before must not enter the cache after.
    forgotten: u64,
}

/// A subject's wrapped key on disk.
pub(crate) struct Stored {
    pub(crate) handle: [u8; 16],
    pub(crate) location: Location,
}

/// Where a subject's wrapped key lies, if there is one.
pub(crate) fn stored(index: &dyn Index, tag: &SubjectTag) -> Result<Option<Stored>, LedgerError> {
    let Some(value) = index.get(SUBJECT, tag)? else {
        return Ok(None);
    };
    let value: SubjectValue = decode(&value)?;
    Ok(Some(Stored {
        handle: value.handle,
        location: Location::from(value.at),
    }))
}

impl Vault {
    pub(crate) fn new(keyring: Keyring, node: SubjectKey) -> Self {
        let room = NonZeroUsize::new(CACHED_KEYS).unwrap_or(NonZeroUsize::MIN);
        let cache = Cache {
            open: LruCache::new(room),
            rewrapping: HashMap::new(),
            forgotten: 0,
        };
        Self {
            keyring: RwLock::new(keyring),
            cache: Mutex::new(cache),
            node: Arc::new(node),
        }
    }

    /// The key for what belongs to no known subject.
    pub(crate) const fn node(&self) -> &Arc<SubjectKey> {
        &self.node
    }

    /// The key of a subject, if it has one.
    ///
    /// # Errors
    /// [`LedgerError::Erased`] while an erasure destroys it.
    pub(crate) fn find(
        &self,
        index: &dyn Index,
        journal: &Journal,
        pseudonym: &Pseudonym,
        tag: &SubjectTag,
    ) -> Result<Option<Keyed>, LedgerError> {
        let forgotten = {
            let mut cache = self.cache();
            if let Some(keyed) = cache.open.get(pseudonym) {
                return Ok(Some(keyed.clone()));
            }
            cache.forgotten
        };
        let mut before = None;
        loop {
            let Some(stored) = stored(index, tag)? else {
                return Ok(None);
            };
            let body = match journal.read(&stored.location) {
                Ok(sealed) => sealed.body,
                Err(journal::Error::Erased { .. }) => {
                    if let Some(keyed) = self.cache().rewrapping.get(pseudonym) {
                        return Ok(Some(keyed.clone()));
                    }
                    // Wrapped anew between the two reads: the row then names the new place. Otherwise it is destroyed.
                    if before.replace(stored.location.seq) == Some(stored.location.seq) {
                        return Err(LedgerError::Erased);
                    }
                    continue;
                }
                Err(fault) => return Err(fault.into()),
            };
            let wrapped = WrappedKey::from_bytes(&body)?;
            let key = self
                .keyring
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .unwrap_key(&wrapped, stored.handle)?;
            let keyed = Keyed {
                owner: Owner::new(*pseudonym, KeyHandle::from_bytes(stored.handle)),
                key: Arc::new(key),
            };
            let mut cache = self.cache();
            if cache.forgotten == forgotten {
                cache.open.put(*pseudonym, keyed.clone());
            }
            return Ok(Some(keyed));
        }
    }

    /// A new key and its wrapped form. Not remembered before it is durable.
    pub(crate) fn create(
        &self,
        pseudonym: Pseudonym,
        entropy: &dyn Entropy,
    ) -> Result<(Keyed, WrappedKey), LedgerError> {
        let mut handle = [0; 16];
        entropy
            .fill(&mut handle)
            .map_err(|e| LedgerError::Sealed(e.to_string()))?;
        let key = SubjectKey::generate(entropy)?;
        let wrapped = self
            .keyring
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .wrap_key(&key, handle, entropy)?;
        let owner = Owner::new(pseudonym, KeyHandle::from_bytes(handle));
        Ok((
            Keyed {
                owner,
                key: Arc::new(key),
            },
            wrapped,
        ))
    }

    /// Wraps an existing key under the current key-encryption key; `None` when it already is.
    pub(crate) fn rewrap(
        &self,
        wrapped: &WrappedKey,
        handle: [u8; 16],
        entropy: &dyn Entropy,
    ) -> Result<Option<WrappedKey>, LedgerError> {
        Ok(self
            .keyring
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .rewrap_key(wrapped, handle, entropy)?)
    }

    /// Keeps keys at hand while their wrappings change; until the guard is dropped.
    pub(crate) fn rewrapping(&self, keys: Vec<Keyed>) -> Rewrapping<'_> {
        let subjects = keys.iter().map(|k| k.owner.pseudonym()).collect();
        self.cache()
            .rewrapping
            .extend(keys.into_iter().map(|k| (k.owner.pseudonym(), k)));
        Rewrapping {
            vault: self,
            subjects,
        }
    }

    /// Uses another ring of key-encryption keys from now on.
    pub(crate) fn replace_keyring(&self, keyring: Keyring) {
        *self.keyring.write().unwrap_or_else(PoisonError::into_inner) = keyring;
    }

    /// Remembers a key that has just become durable and that nobody can have destroyed since.
    pub(crate) fn remember(&self, keyed: &Keyed) {
        self.cache()
            .open
            .put(keyed.owner.pseudonym(), keyed.clone());
    }

    pub(crate) fn forget(&self, pseudonym: &Pseudonym) {
        let mut cache = self.cache();
        cache.forgotten += 1;
        let _gone = cache.open.pop(pseudonym);
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Vault::rewrapping`].
pub(crate) struct Rewrapping<'a> {
    vault: &'a Vault,
    subjects: Vec<Pseudonym>,
}

impl Drop for Rewrapping<'_> {
    fn drop(&mut self) {
        let mut cache = self.vault.cache();
        for subject in &self.subjects {
            cache.rewrapping.remove(subject);
        }
    }
}
