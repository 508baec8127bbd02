//! What can go wrong with sealed things, and whose fault it is.

use std::io;

use thiserror::Error;

use crate::EntropyError;

/// Why something was not sealed or not opened. No message tells anything of what is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SealError {
    /// Sealed bytes were changed, or belong to another key or another place.
    #[error(
        "sealed data does not open with this key in this place: it was changed or moved, restore it from a standby"
    )]
    Refused,
    /// Too short, too long, or of an unknown version.
    #[error(
        "sealed data is malformed or of an unknown version: restore it from a standby or update the node"
    )]
    Malformed,
    /// More plaintext than the format carries.
    #[error("data is too large to be sealed: split it")]
    TooLarge,
    /// Wrapped under a key-encryption key that is not in the keyring.
    #[error(
        "key was wrapped under a key-encryption key this node does not have: restore the keyring of that time"
    )]
    UnknownKek,
    /// The last or current key-encryption key cannot be retired.
    #[error("the current key-encryption key cannot be retired: rotate first")]
    CurrentKek,
    /// The keyring is full.
    #[error("keyring is full: finish re-wrapping and retire old key-encryption keys first")]
    KeyringFull,
    /// A secret has an unusable name, length, or there are too many.
    #[error(
        "secret has a bad name or length, or there are too many: names are 1 to 64 of a-z 0-9 . _ -"
    )]
    Secret,
    /// A secret that is needed is not in the file.
    #[error(
        "a needed secret is missing from the secret file: initialise the node or restore its secrets"
    )]
    MissingSecret,
    /// A signature does not match, or its label is unusable.
    #[error("signature does not match: discard the message and report its sender")]
    Signature,
    /// Bytes that are not a key.
    #[error("key is malformed: obtain it again")]
    Key,
    /// Cost parameters outside the accepted range.
    #[error(
        "passphrase hashing cost is out of range: use at least 19 MiB and 2 passes, at most 1 GiB, 16 passes and 8 lanes"
    )]
    Cost,
    /// A passphrase or credential too short to protect anything.
    #[error(
        "passphrase must have 12 bytes or more, a credential 32 to 4096 bytes that are not all alike: choose another"
    )]
    WeakUnlock,
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// Why a sealed file could not be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file system refused.
    #[error("cannot {action} the sealed file: {source}; check path, owner and free space")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
    /// Larger than any file this room writes.
    #[error(
        "sealed file is larger than {limit} bytes: it is not one of ours, restore it from backup"
    )]
    TooLarge {
        /// Largest size in bytes.
        limit: usize,
    },
    /// Not written by this format, or changed in any byte of its outer form.
    #[error(
        "sealed file is malformed or of an unknown version: restore it from backup or update the node"
    )]
    Malformed,
    /// A file for a passphrase was given a credential, or the reverse.
    #[error("sealed file is locked with a {expected}: provide that")]
    OtherUnlock {
        /// `passphrase` or `credential`.
        expected: &'static str,
    },
    /// The passphrase or credential is not the one the file was locked with.
    #[error(
        "passphrase or credential is wrong: try again; if it is certainly right the file was changed, restore it from backup"
    )]
    WrongUnlock,
    /// The right key, but the contents were changed.
    #[error("sealed file was changed after it was written: restore it from backup")]
    Damaged,
    /// Sealed under a key-encryption key the keyring does not hold.
    #[error(
        "sealed file belongs to a key-encryption key this node does not have: restore keyring and secrets together"
    )]
    UnknownKek,
    /// The credential file cannot be trusted.
    #[error("credential file {0}")]
    Credential(#[from] CredentialFault),
    /// Contents or keys that cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// What is wrong with a credential file. Each is for the operator of the machine to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CredentialFault {
    /// Not a regular file.
    #[error("is not a regular file: point to the file itself")]
    NotAFile,
    /// Somebody else may read or write it.
    #[error("is readable or writable by others: make it mode 0400 or 0600")]
    Mode,
    /// It belongs to somebody else.
    #[error("does not belong to the user the node runs as: change its owner")]
    Owner,
    /// Fewer than 32, more than 4,096, or identical bytes.
    #[error("does not hold 32 to 4096 random bytes: create it with head -c 32 /dev/urandom")]
    Content,
    /// The running user cannot be told on this system.
    #[error("cannot be checked because the running user is unknown: mount /proc")]
    UnknownUser,
}
