//! The tables of the index, their keys and their values.
//!
//! No pseudonym is written here: a peer knows the pseudonyms of those it asked about, and must not find them on a
//! stolen disk. A subject is named by a keyed tag.

use journal::Location;
use record::{Pseudonym, RecordTypeCode};
use seal::HmacKey;
use serde::{Deserialize, Serialize};

use crate::error::LedgerError;
use crate::row::{Superseded, Tag};

/// Version of the projection: an index written under another is rebuilt.
pub(crate) const SCHEMA: u32 = 1;

/// subject tag ‖ type ‖ 0 ‖ clinical time ‖ seq → [`RecordValue`]: the newest version of each record.
pub(crate) const RECORD: index::Table = index::Table(1);
/// subject tag ‖ seq → [`OwnedValue`]: every event sealed under the subject's key.
pub(crate) const OWNED: index::Table = index::Table(2);
/// series tag → [`SeriesValue`]: the newest version of a record.
pub(crate) const SERIES: index::Table = index::Table(3);
/// version tag → [`VersionValue`].
pub(crate) const VERSION: index::Table = index::Table(4);
/// patient tag → subject tag.
pub(crate) const PATIENT: index::Table = index::Table(5);
/// subject tag → [`SubjectValue`].
pub(crate) const SUBJECT: index::Table = index::Table(6);
/// key handle → subject tag.
pub(crate) const HANDLE: index::Table = index::Table(7);
/// subject tag ‖ consent id → location.
pub(crate) const CONSENT: index::Table = index::Table(8);
/// subject tag ‖ consent id → seq of the withdrawal.
pub(crate) const WITHDRAWN: index::Table = index::Table(9);
/// exchange id → seq.
pub(crate) const EXCHANGE: index::Table = index::Table(10);
/// source tag ‖ seq → [`QuarantineValue`].
pub(crate) const QUARANTINE: index::Table = index::Table(11);

/// A subject in the index: HMAC of its pseudonym.
pub(crate) type SubjectTag = [u8; 32];

/// The tag of a subject.
pub(crate) fn subject_tag(key: &HmacKey, pseudonym: &Pseudonym) -> SubjectTag {
    key.tag32("subject", pseudonym.as_bytes())
}

/// A record as the index has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordValue {
    pub(crate) at: At,
    pub(crate) level: u8,
}

/// A location in serialisable form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct At {
    pub(crate) seq: u64,
    segment: u32,
    offset: u64,
    row_len: u32,
    body_len: u32,
    digest: [u8; 16],
}

impl From<Location> for At {
    fn from(l: Location) -> Self {
        Self {
            seq: l.seq,
            segment: l.segment,
            offset: l.offset,
            row_len: l.row_len,
            body_len: l.body_len,
            digest: l.digest,
        }
    }
}

impl From<At> for Location {
    fn from(a: At) -> Self {
        Self {
            seq: a.seq,
            segment: a.segment,
            offset: a.offset,
            row_len: a.row_len,
            body_len: a.body_len,
            digest: a.digest,
        }
    }
}

/// One event of a subject, with the other rows it has, so that an erasure finds them all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnedValue {
    pub(crate) at: At,
    pub(crate) record: Option<OwnedRecord>,
    /// Source tag, when the event is a quarantine entry.
    pub(crate) quarantine: Option<Tag>,
}

/// What an owned record needs to be listed in history and to be erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnedRecord {
    pub(crate) type_code: RecordTypeCode,
    pub(crate) level: u8,
    pub(crate) effective_ms: i64,
    pub(crate) series: Tag,
    pub(crate) version: Tag,
    pub(crate) patient: Option<Tag>,
}

/// The newest version of a record series, and whose series it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeriesValue {
    pub(crate) subject: SubjectTag,
    pub(crate) newest: Superseded,
}

/// One stored version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VersionValue {
    pub(crate) seq: u64,
    pub(crate) content: Tag,
}

/// An entry of the quarantine, and whose it is when it is sealed under a subject's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QuarantineValue {
    pub(crate) at: At,
    pub(crate) owner: Option<SubjectTag>,
}

/// A subject's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubjectValue {
    pub(crate) handle: [u8; 16],
    pub(crate) at: At,
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, LedgerError> {
    postcard::to_allocvec(value).map_err(|e| LedgerError::Index(e.to_string()))
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, LedgerError> {
    postcard::from_bytes(bytes).map_err(|_| LedgerError::Index("a row cannot be read".into()))
}

/// Start of all keys of one type of a subject.
pub(crate) fn record_prefix(subject: &SubjectTag, code: &RecordTypeCode) -> Vec<u8> {
    let mut key = Vec::with_capacity(32 + code.as_str().len() + 1 + 16);
    key.extend_from_slice(subject);
    key.extend_from_slice(code.as_str().as_bytes());
    key.push(0);
    key
}

/// Sorts as the number does: the sign bit flipped, big-endian.
pub(crate) const fn sortable(ms: i64) -> [u8; 8] {
    (ms.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

pub(crate) fn record_key(
    subject: &SubjectTag,
    code: &RecordTypeCode,
    effective_ms: i64,
    seq: u64,
) -> Vec<u8> {
    let mut key = record_prefix(subject, code);
    key.extend_from_slice(&sortable(effective_ms));
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

/// Clinical time and sequence number at the end of a record key.
pub(crate) fn record_key_end(key: &[u8]) -> Option<(i64, u64)> {
    let end = key.len().checked_sub(16)?;
    let (time, seq) = key.get(end..)?.split_at_checked(8)?;
    let time = u64::from_be_bytes(time.try_into().ok()?) ^ (1 << 63);
    Some((time.cast_signed(), u64::from_be_bytes(seq.try_into().ok()?)))
}

pub(crate) fn join(first: &[u8], second: &[u8]) -> Vec<u8> {
    [first, second].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_keys_sort_by_time_then_sequence() {
        let p = [3; 32];
        let code = RecordTypeCode::parse("vitals").unwrap();
        let keys: Vec<_> = [(-5, 9), (0, 1), (0, 2), (7, 0), (i64::MAX, 0)]
            .map(|(t, s)| record_key(&p, &code, t, s))
            .into();
        assert!(keys.is_sorted());
        assert_eq!(record_key_end(&keys[0]), Some((-5, 9)));
        assert_eq!(record_key_end(&[1, 2]), None);
    }
}
