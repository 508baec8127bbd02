//! Subject keys: found by pseudonym, opened with the key-encryption key, kept in a bounded cache, destroyed for good.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use index::Index;
use journal::{Journal, Location};
use lru::LruCache;
use record::{KeyHandle, Pseudonym};
use seal::{Entropy, Keyring, SubjectKey, WrappedKey};

use crate::error::LedgerError;
use crate::row::Owner;
use crate::tables::{SUBJECT, SubjectValue, decode};

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
    cache: Mutex<LruCache<Pseudonym, Keyed>>,
    /// For what belongs to no known subject: quarantine, questions about unknown people.
    node: Arc<SubjectKey>,
}

impl Vault {
    pub(crate) fn new(keyring: Keyring, node: SubjectKey) -> Self {
        let room = NonZeroUsize::new(CACHED_KEYS).unwrap_or(NonZeroUsize::MIN);
        Self { keyring: RwLock::new(keyring), cache: Mutex::new(LruCache::new(room)), node: Arc::new(node) }
    }

    /// The key for what belongs to no known subject.
    pub(crate) fn node(&self) -> &Arc<SubjectKey> {
        &self.node
    }

    /// The key of a subject, if it has one.
    pub(crate) fn find(
        &self,
        index: &dyn Index,
        journal: &Journal,
        pseudonym: &Pseudonym,
    ) -> Result<Option<Keyed>, LedgerError> {
        if let Some(keyed) = self.cached(pseudonym) {
            return Ok(Some(keyed));
        }
        let Some(value) = index.get(SUBJECT, pseudonym.as_bytes())? else { return Ok(None) };
        let value: SubjectValue = decode(&value)?;
        let body = journal.read(&Location::from(value.at))?.body;
        let wrapped = WrappedKey::from_bytes(&body)?;
        let key = self.keyring.read().unwrap_or_else(PoisonError::into_inner).unwrap_key(&wrapped, value.handle)?;
        let keyed = Keyed {
            owner: Owner::new(*pseudonym, KeyHandle::from_bytes(value.handle)),
            key: Arc::new(key),
        };
        self.remember(&keyed);
        Ok(Some(keyed))
    }

    /// A new key and its wrapped form. Not remembered before it is durable.
    pub(crate) fn create(
        &self,
        pseudonym: Pseudonym,
        entropy: &dyn Entropy,
    ) -> Result<(Keyed, WrappedKey), LedgerError> {
        let mut handle = [0; 16];
        entropy.fill(&mut handle).map_err(|e| LedgerError::Sealed(e.to_string()))?;
        let key = SubjectKey::generate(entropy)?;
        let wrapped =
            self.keyring.read().unwrap_or_else(PoisonError::into_inner).wrap_key(&key, handle, entropy)?;
        let owner = Owner::new(pseudonym, KeyHandle::from_bytes(handle));
        Ok((Keyed { owner, key: Arc::new(key) }, wrapped))
    }

    /// Wraps an existing key under the current key-encryption key; `None` when it already is.
    pub(crate) fn rewrap(
        &self,
        wrapped: &WrappedKey,
        handle: [u8; 16],
        entropy: &dyn Entropy,
    ) -> Result<Option<WrappedKey>, LedgerError> {
        Ok(self.keyring.read().unwrap_or_else(PoisonError::into_inner).rewrap_key(wrapped, handle, entropy)?)
    }

    /// Uses another ring of key-encryption keys from now on.
    pub(crate) fn replace_keyring(&self, keyring: Keyring) {
        *self.keyring.write().unwrap_or_else(PoisonError::into_inner) = keyring;
    }

    pub(crate) fn remember(&self, keyed: &Keyed) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.put(keyed.owner.pseudonym(), keyed.clone());
    }

    pub(crate) fn forget(&self, pseudonym: &Pseudonym) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let _gone = cache.pop(pseudonym);
    }

    fn cached(&self, pseudonym: &Pseudonym) -> Option<Keyed> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(pseudonym).cloned()
    }
}
