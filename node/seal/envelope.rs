//! The outer form of sealed files: one JSON object with a lock and a ciphertext.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::aead::{self, NONCE_BYTES, Secret32, TAG_BYTES};
use crate::unlock::Argon2Cost;
use crate::{Entropy, FileError, KekId, SealError};

const FORMAT: &str = "songhe-sealed/v1";
const KEY_LABEL: &[u8] = b"songhe-seal/v1/file-key";
const CHECK_LABEL: &[u8] = b"songhe-seal/v1/file-check";

/// How a file is locked, with everything needed to derive its key but the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Lock {
    /// A passphrase through argon2id.
    Argon2id {
        memory_kib: u32,
        passes: u32,
        lanes: u32,
        salt: Bytes<16>,
    },
    /// A random credential through HKDF.
    Credential { salt: Bytes<16> },
    /// A key-encryption key of the keyring.
    Kek { kek_id: String },
}

impl Lock {
    pub(crate) fn argon2id(cost: Argon2Cost, salt: [u8; 16]) -> Self {
        let Argon2Cost {
            memory_kib,
            passes,
            lanes,
        } = cost;
        Self::Argon2id {
            memory_kib,
            passes,
            lanes,
            salt: Bytes(salt),
        }
    }

    pub(crate) fn credential(salt: [u8; 16]) -> Self {
        Self::Credential { salt: Bytes(salt) }
    }

    pub(crate) fn kek(id: KekId) -> Self {
        Self::Kek {
            kek_id: id.to_string(),
        }
    }
}

/// Everything in front of the ciphertext. All of it is authenticated with the ciphertext.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    content: String,
    lock: Lock,
    /// Tells a wrong secret from a damaged file, and commits to the key (AES-GCM alone does not).
    /// Derived behind the slow hash, so it makes guessing no cheaper.
    check: Bytes<16>,
}

/// A sealed file as parsed, not yet opened.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Envelope {
    head: Head,
    nonce: Bytes<NONCE_BYTES>,
    sealed: Base64Text,
}

impl Envelope {
    /// Seals `plaintext` under what `lock` makes of a secret.
    pub(crate) fn seal(
        content: &str,
        lock: Lock,
        secret: &Secret32,
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Self, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce)?;
        let head = Head {
            format: FORMAT.to_owned(),
            content: content.to_owned(),
            lock,
            check: Bytes(check(secret)?),
        };
        let aad = serde_json::to_vec(&head).map_err(|_infallible| SealError::Malformed)?;
        let mut sealed = Vec::with_capacity(plaintext.len() + TAG_BYTES);
        sealed.extend_from_slice(plaintext);
        aead::seal_tail(&*file_key(secret)?, nonce, &aad, &mut sealed, 0)?;
        Ok(Self {
            head,
            nonce: Bytes(nonce),
            sealed: Base64Text(sealed),
        })
    }

    /// The file's bytes: one line of JSON.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, SealError> {
        let mut out = serde_json::to_vec(self).map_err(|_infallible| SealError::Malformed)?;
        out.push(b'\n');
        Ok(out)
    }

    /// Reads a file that must hold `content`. Only the bytes that [`Envelope::to_bytes`] would
    /// write are accepted, so that no change of a file goes unnoticed, be it a space.
    pub(crate) fn parse(bytes: &[u8], content: &str) -> Result<Self, FileError> {
        let envelope: Self =
            serde_json::from_slice(bytes).map_err(|_syntax| FileError::Malformed)?;
        let ours = envelope.head.format == FORMAT && envelope.head.content == content;
        if ours && envelope.to_bytes()? == bytes {
            Ok(envelope)
        } else {
            Err(FileError::Malformed)
        }
    }

    pub(crate) fn lock(&self) -> &Lock {
        &self.head.lock
    }

    /// Opens the ciphertext with the secret its lock derives.
    pub(crate) fn open(&self, secret: &Secret32) -> Result<Zeroizing<Vec<u8>>, FileError> {
        if !aead::equal(&check(secret)?, &self.head.check.0) {
            return Err(FileError::WrongUnlock);
        }
        let aad = serde_json::to_vec(&self.head).map_err(|_infallible| FileError::Malformed)?;
        aead::open(&*file_key(secret)?, self.nonce.0, &aad, &self.sealed.0)
            .map_err(|_refused| FileError::Damaged)
    }
}

fn file_key(secret: &Secret32) -> Result<Secret32, SealError> {
    aead::hkdf(&[], secret.as_slice(), &[KEY_LABEL])
}

fn check(secret: &Secret32) -> Result<[u8; 16], SealError> {
    aead::hkdf(&[], secret.as_slice(), &[CHECK_LABEL])?
        .first_chunk()
        .copied()
        .ok_or(SealError::Key)
}

/// `N` bytes, in JSON as base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Serialize for Bytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Base64Text(bytes) = Base64Text::deserialize(deserializer)?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_length| D::Error::custom("wrong length"))
    }
}

/// Any number of bytes, in JSON as base64.
#[derive(Debug)]
pub(crate) struct Base64Text(Vec<u8>);

impl Serialize for Base64Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD
            .decode(text)
            .map(Self)
            .map_err(|_base64| D::Error::custom("not base64"))
    }
}
