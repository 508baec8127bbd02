//! What an event means to the index: a small row, sealed under the node's row key, beside the body.
//!
//! The leaf has no personal data and the body needs the subject's key; the row is what a rebuild reads.
//! It holds pseudonyms and keyed tags only, and is overwritten together with the body.

use record::{KeyHandle, Pseudonym, RecordTypeCode};
use seal::{Entropy, RowKey};
use serde::{Deserialize, Serialize};

use crate::error::LedgerError;

/// Bound to every row, so that a row cannot stand for anything else sealed under the key.
const AAD: &[u8] = b"event-row/v1";

/// A keyed tag of 16 bytes: HMAC of source and ids, so that the index tells nothing to who has the disk.
pub(crate) type Tag = [u8; 16];

/// The projection row of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Row {
    /// Nothing to look up but the exchange id.
    Exchange {
        xid: [u8; 16],
        subject: Option<Owner>,
    },
    /// A subject's key: the body is the wrapped key.
    Key { owner: Owner },
    /// A record.
    Record(RecordRow),
    /// A consent artefact.
    Consent { owner: Owner, id: [u8; 16] },
    /// The withdrawal of one.
    Withdrawal { owner: Owner, id: [u8; 16] },
    /// A record set aside.
    Quarantine { source: Tag, owner: Option<Owner> },
    /// The end of a quarantine entry, named by its sequence number.
    QuarantineClosed { source: Tag, seq: u64 },
    /// A destroyed key: everything of its owner goes.
    Erase { handle: [u8; 16] },
}

/// Whose event it is: pseudonym and handle of the key it is sealed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    #[serde(with = "bytes32")]
    pub(crate) pseudonym: [u8; 32],
    pub(crate) handle: [u8; 16],
}

impl Owner {
    pub(crate) const fn new(pseudonym: Pseudonym, handle: KeyHandle) -> Self {
        Self {
            pseudonym: *pseudonym.as_bytes(),
            handle: *handle.as_bytes(),
        }
    }

    pub(crate) const fn pseudonym(&self) -> Pseudonym {
        Pseudonym::from_bytes(self.pseudonym)
    }

    pub(crate) const fn handle(&self) -> KeyHandle {
        KeyHandle::from_bytes(self.handle)
    }
}

/// The row of a stored record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordRow {
    pub(crate) owner: Owner,
    pub(crate) type_code: RecordTypeCode,
    pub(crate) level: u8,
    pub(crate) effective_ms: i64,
    /// Source, resource type and id.
    pub(crate) series: Tag,
    /// Source, resource type, id and version.
    pub(crate) version: Tag,
    /// Keyed digest of the bytes: equal bytes are recognised, nothing can be guessed from it.
    pub(crate) content: Tag,
    /// For a Patient: source and id, so that other records can refer to it.
    pub(crate) patient: Option<Tag>,
    /// The version it takes the place of, which may have been of another type.
    pub(crate) supersedes: Option<Superseded>,
}

/// Where the index lists the version that is taken the place of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Superseded {
    pub(crate) type_code: RecordTypeCode,
    pub(crate) effective_ms: i64,
    pub(crate) seq: u64,
}

impl Row {
    /// Seals the row.
    pub(crate) fn seal(&self, key: &RowKey, entropy: &dyn Entropy) -> Result<Vec<u8>, LedgerError> {
        let plain = postcard::to_allocvec(self).map_err(|e| LedgerError::Sealed(e.to_string()))?;
        Ok(key.seal(AAD, &plain, entropy)?)
    }

    /// Opens a sealed row.
    pub(crate) fn open(key: &RowKey, sealed: &[u8]) -> Result<Self, LedgerError> {
        let plain = key.open(AAD, sealed)?;
        postcard::from_bytes(&plain).map_err(|e| LedgerError::Sealed(e.to_string()))
    }

    /// Whose event it is, if it is sealed under a subject's key.
    pub(crate) const fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Exchange { subject, .. } => subject.as_ref(),
            Self::Quarantine { owner, .. } => owner.as_ref(),
            Self::Key { owner } | Self::Consent { owner, .. } | Self::Withdrawal { owner, .. } => {
                Some(owner)
            }
            Self::Record(row) => Some(&row.owner),
            Self::QuarantineClosed { .. } | Self::Erase { .. } => None,
        }
    }
}

mod bytes32 {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<[u8; 32], D::Error> {
        let bytes = <&[u8]>::deserialize(d)?;
        bytes
            .try_into()
            .map_err(|_| D::Error::custom("32 bytes are needed"))
    }
}
