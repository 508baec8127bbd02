//! Keys and what they seal: key-encryption key, subject keys, sealed bodies, signatures.
//!
//! What it is for: no record, identifier or key ever lies on a disk in the clear.
//! What comes in: plaintext, randomness, a passphrase or credential. What goes out: sealed bytes.
//! What it may touch: the keyring, secret and credential files it is given paths to.
//! Where to start reading: [`Keyring`], then [`SubjectKey`] and its bodies, then [`SecretFile`].
#![forbid(unsafe_code)]

mod aead;
mod body;
mod disk;
mod entropy;
mod envelope;
mod error;
mod kek;
mod keyring;
mod row;
mod secrets;
mod sign;
mod subject_key;
mod unlock;

#[cfg(test)]
mod body_tests;
#[cfg(test)]
mod keyring_tests;
#[cfg(test)]
mod secret_tests;
#[cfg(test)]
mod tests;

pub use body::{BODY_ID_BYTES, BODY_STEP_BYTES, MAX_BODY_BYTES, sealed_body_len};
pub use entropy::{Entropy, EntropyError, SeededEntropy, SystemEntropy};
pub use error::{CredentialFault, FileError, SealError};
pub use kek::{Kek, KekId, WRAPPED_KEY_BYTES, WrappedKey};
pub use keyring::{Keyring, MAX_KEKS};
pub use row::{CursorKey, HmacKey, MAX_CURSOR_BYTES, RowKey};
pub use secrets::{MAX_SECRET_BYTES, MAX_SECRETS, SecretFile, name};
pub use sign::{SIGNATURE_BYTES, SigningKey, VerifyingKey};
pub use subject_key::SubjectKey;
pub use unlock::{Argon2Cost, Unlock};
