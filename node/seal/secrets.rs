//! The node's own long-term secrets, by name, in one file sealed under the key-encryption key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::aead::{self, Secret32};
use crate::envelope::{Envelope, Lock};
use crate::{Entropy, FileError, Kek, KekId, Keyring, SealError, disk};

/// Most secrets in one file; a node has about a dozen.
pub const MAX_SECRETS: usize = 64;

/// Longest secret in bytes: private keys in PEM are below 4 KiB.
pub const MAX_SECRET_BYTES: usize = 16 * 1024;

const MAX_NAME_BYTES: usize = 64;
const CONTENT: &str = "secrets";
const FILE_LABEL: &[u8] = b"songhe-seal/v1/secrets";

/// Names under which a node keeps its secrets.
pub mod name {
    /// Seed of the pseudonym function's key (32 bytes). Losing it orphans every pseudonym.
    pub const OPRF_SEED: &str = "oprf.seed";
    /// Key of index keys (32 bytes).
    pub const INDEX_HMAC: &str = "index.hmac";
    /// Key of sealed index rows (32 bytes).
    pub const ROW: &str = "row.key";
    /// Key of cursors (32 bytes).
    pub const CURSOR: &str = "cursor.key";
    /// Ed25519 seed that signs receipts (32 bytes).
    pub const RECEIPT_SEED: &str = "receipt.seed";
    /// Ed25519 seed that signs checkpoints (32 bytes).
    pub const LOG_SEED: &str = "log.seed";
    /// Ed25519 seed that cosigns peers' checkpoints (32 bytes).
    pub const WITNESS_SEED: &str = "witness.seed";
    /// Private key of the node's TLS certificate (PEM).
    pub const TLS_KEY_PEM: &str = "tls.key.pem";
    /// Private key of the node's own certificate authority for local systems (PEM).
    pub const CA_KEY_PEM: &str = "ca.key.pem";
}

/// Secrets by name. Every value is wiped on drop; not `Clone`; `Debug` shows names only.
#[derive(Default)]
pub struct SecretFile {
    secrets: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl SecretFile {
    /// No secrets yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps `secret` under `name` (1 to 64 of `a-z 0-9 . _ -`), replacing what was there.
    ///
    /// # Errors
    /// [`SealError::Secret`] for a bad name, an empty or too long value, or too many secrets.
    pub fn insert(&mut self, name: &str, secret: Zeroizing<Vec<u8>>) -> Result<(), SealError> {
        let full = self.secrets.len() >= MAX_SECRETS && !self.secrets.contains_key(name);
        if !is_name(name) || secret.is_empty() || secret.len() > MAX_SECRET_BYTES || full {
            return Err(SealError::Secret);
        }
        self.secrets.insert(name.to_owned(), secret);
        Ok(())
    }

    /// Draws 32 random bytes under `name` unless it exists already. Gives whether it was drawn now.
    ///
    /// # Errors
    /// As [`SecretFile::insert`], and [`SealError::Entropy`].
    pub fn ensure32(&mut self, name: &str, entropy: &dyn Entropy) -> Result<bool, SealError> {
        if self.secrets.contains_key(name) {
            return Ok(false);
        }
        let secret = aead::random_secret(entropy)?;
        self.insert(name, Zeroizing::new(secret.to_vec()))?;
        Ok(true)
    }

    /// Forgets a secret. Gives whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.secrets.remove(name).is_some()
    }

    /// The secret under `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.secrets.get(name).map(|secret| secret.as_slice())
    }

    /// A secret of exactly 32 bytes: a seed or a symmetric key.
    ///
    /// # Errors
    /// [`SealError::MissingSecret`] when there is none, [`SealError::Key`] when it has another
    /// length.
    pub fn get32(&self, name: &str) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let secret = self.get(name).ok_or(SealError::MissingSecret)?;
        let mut out = Zeroizing::new([0; 32]);
        if secret.len() != out.len() {
            return Err(SealError::Key);
        }
        out.copy_from_slice(secret);
        Ok(out)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.secrets.keys().map(String::as_str)
    }

    /// The sealed file's bytes.
    ///
    /// # Errors
    /// [`SealError::Entropy`].
    pub fn seal(&self, kek: &Kek, entropy: &dyn Entropy) -> Result<Vec<u8>, FileError> {
        let plain = self.to_json();
        let secret = file_secret(kek)?;
        Ok(Envelope::seal(
            CONTENT,
            Lock::kek(kek.id()),
            &secret,
            plain.as_bytes(),
            entropy,
        )?
        .to_bytes()?)
    }

    /// Opens a sealed file's bytes with the key it names.
    ///
    /// # Errors
    /// `Malformed`, `UnknownKek`, `WrongUnlock`, `Damaged` of [`FileError`].
    pub fn open(bytes: &[u8], keyring: &Keyring) -> Result<Self, FileError> {
        Ok(Self::open_with_id(bytes, keyring)?.0)
    }

    /// Seals into `path`, whole or not at all.
    ///
    /// # Errors
    /// As [`SecretFile::seal`], and [`FileError::Io`].
    pub fn save(&self, path: &Path, kek: &Kek, entropy: &dyn Entropy) -> Result<(), FileError> {
        disk::write_atomically(path, &self.seal(kek, entropy)?)
    }

    /// Opens the file at `path`.
    ///
    /// # Errors
    /// As [`SecretFile::open`], and `Io` or `TooLarge` of [`FileError`].
    pub fn load(path: &Path, keyring: &Keyring) -> Result<Self, FileError> {
        Self::open(&disk::read_sealed(path)?, keyring)
    }

    /// Loads, changes and saves under the current key. If `change` fails, or the node dies before
    /// the rename, the file is as it was.
    ///
    /// # Errors
    /// As [`SecretFile::load`] and [`SecretFile::save`], and what `change` gives.
    pub fn update<T>(
        path: &Path,
        keyring: &Keyring,
        entropy: &dyn Entropy,
        change: impl FnOnce(&mut Self) -> Result<T, SealError>,
    ) -> Result<T, FileError> {
        let mut file = Self::load(path, keyring)?;
        let result = change(&mut file)?;
        file.save(path, keyring.current(), entropy)?;
        Ok(result)
    }

    /// Seals the file at `path` anew if it is not yet under the current key. Gives whether it was
    /// written. The second step of a rotation (see [`Keyring`]); dying before the rename leaves the
    /// old file, which opens.
    ///
    /// # Errors
    /// As [`SecretFile::load`] and [`SecretFile::save`].
    pub fn rewrap(
        path: &Path,
        keyring: &Keyring,
        entropy: &dyn Entropy,
    ) -> Result<bool, FileError> {
        let (file, id) = Self::open_with_id(&disk::read_sealed(path)?, keyring)?;
        if id == keyring.current().id() {
            return Ok(false);
        }
        file.save(path, keyring.current(), entropy)?;
        Ok(true)
    }

    fn open_with_id(bytes: &[u8], keyring: &Keyring) -> Result<(Self, KekId), FileError> {
        let envelope = Envelope::parse(bytes, CONTENT)?;
        let Lock::Kek { kek_id } = envelope.lock() else {
            return Err(FileError::Malformed);
        };
        let id = KekId::parse(kek_id).ok_or(FileError::Malformed)?;
        let kek = keyring.get(id).ok_or(FileError::UnknownKek)?;
        // The key is the one the file names, so a check that does not match means changed bytes.
        let plain = envelope
            .open(&file_secret(kek)?)
            .map_err(|error| match error {
                FileError::WrongUnlock => FileError::Damaged,
                other => other,
            })?;
        Ok((Self::from_json(&plain)?, id))
    }

    /// `{"name":"base64",…}`, written by hand into one buffer of the right size: a serialiser's
    /// growing buffers would leave copies of the secrets behind. Names need no escaping.
    fn to_json(&self) -> Zeroizing<String> {
        let room: usize = self
            .secrets
            .iter()
            .map(|(n, s)| n.len() + s.len().div_ceil(3) * 4 + 6)
            .sum();
        let mut out = Zeroizing::new(String::with_capacity(room + 2));
        out.push('{');
        for (index, (name, secret)) in self.secrets.iter().enumerate() {
            out.push_str(if index == 0 { "\"" } else { ",\"" });
            out.push_str(name);
            out.push_str("\":\"");
            STANDARD.encode_string(secret.as_slice(), &mut out);
            out.push('"');
        }
        out.push('}');
        out
    }

    /// Borrows names and values from the wiped buffer; only decoded values are copied, into wiped
    /// ones.
    fn from_json(plain: &[u8]) -> Result<Self, FileError> {
        let entries: BTreeMap<&str, &str> =
            serde_json::from_slice(plain).map_err(|_syntax| FileError::Malformed)?;
        let mut file = Self::new();
        for (name, secret) in entries {
            let mut bytes = Zeroizing::new(Vec::with_capacity(secret.len()));
            STANDARD
                .decode_vec(secret, &mut bytes)
                .map_err(|_base64| FileError::Malformed)?;
            file.insert(name, bytes)?;
        }
        Ok(file)
    }
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.secrets.keys()).finish()
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

fn file_secret(kek: &Kek) -> Result<Secret32, SealError> {
    kek.derive(FILE_LABEL)
}
