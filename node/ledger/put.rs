//! Storing records: idempotent by source, id and version; versions kept; a new person's key in the same frame.

use index::Index as _;
use record::{ExchangeId, Level, Pseudonym, RecordTypeCode, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::row::{Owner, Row, Tag};
use crate::tables::{At, PATIENT, SUBJECT, SubjectValue, decode};
use crate::wave::Outcome;

/// Bound to every sealed record.
pub(crate) const RECORD_AAD: &[u8] = b"record/v1";
/// The most records in one call of [`Ledger::put`]: with their keys they must fit one submit.
pub const BATCH_MAX: usize = 1024;

/// A record to store. The bytes are kept as they are.
#[derive(Debug)]
pub struct NewRecord {
    /// Whose it is: this node's pseudonym.
    pub subject: Pseudonym,
    /// What it is.
    pub header: RecordHeader,
    /// The author's own bytes.
    pub original: Zeroizing<Vec<u8>>,
}

/// What is kept beside the bytes, sealed with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordHeader {
    /// The local system it came from.
    pub source: String,
    /// FHIR resource type.
    pub resource_type: String,
    /// Logical id.
    pub id: String,
    /// Version as the source names it.
    pub version: String,
    /// Record type.
    pub type_code: RecordTypeCode,
    /// Data level.
    pub level: Level,
    /// Clinical time, if the record names one.
    pub effective: Option<Timestamp>,
    /// When it was stored.
    pub received: Timestamp,
}

/// What came of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutDone {
    /// Sequence number of its event.
    pub seq: u64,
    /// Exchange id of its event; `None` when it was stored before.
    pub xid: Option<ExchangeId>,
    /// False when the very same was stored before.
    pub stored: bool,
}

/// The keyed tags of a record.
pub(crate) struct Tags {
    pub(crate) series: Tag,
    pub(crate) version: Tag,
    pub(crate) content: Tag,
    pub(crate) patient: Option<Tag>,
}

impl Ledger {
    /// Stores records; each has its own outcome. Returns when all are durable and visible to look-ups.
    ///
    /// # Errors
    /// The outer error concerns the whole call (disk, queue): nothing of the last submit was stored. A record's own:
    /// [`LedgerError::Conflict`], [`LedgerError::SubjectChanged`], [`LedgerError::TooLarge`], [`LedgerError::Erased`]
    /// while its subject's data is being erased.
    pub async fn put(
        &self,
        records: Vec<NewRecord>,
    ) -> Result<Vec<Result<PutDone, LedgerError>>, LedgerError> {
        self.put_apart(records, false).await
    }

    /// Stores all records in one frame or none.
    ///
    /// # Errors
    /// As [`Ledger::put`], and whatever one record would fail with.
    pub async fn put_all(&self, records: Vec<NewRecord>) -> Result<Vec<PutDone>, LedgerError> {
        self.put_apart(records, true).await?.into_iter().collect()
    }

    /// The person a source's patient id stands for.
    ///
    /// # Errors
    /// [`LedgerError::Index`], [`LedgerError::Damaged`].
    pub fn subject_of_patient(
        &self,
        source: &str,
        patient_id: &str,
    ) -> Result<Option<Pseudonym>, LedgerError> {
        let index = self.index()?;
        let Some(subject) = index.get(PATIENT, &self.patient_tag(source, patient_id))? else {
            return Ok(None);
        };
        // The index has no pseudonyms; the sealed row of the subject's key has.
        let mut before: Option<At> = None;
        loop {
            let Some(value) = index.get(SUBJECT, &subject)? else {
                return Ok(None);
            };
            let value: SubjectValue = decode(&value)?;
            match self.0.journal.read(&value.at.into()) {
                Ok(sealed) => {
                    let row = Row::open(&self.0.keys.row, &sealed.row)?;
                    return Ok(row.owner().map(Owner::pseudonym));
                }
                // Wrapped anew between the two reads, or being destroyed.
                Err(journal::Error::Erased { .. }) if before != Some(value.at) => {
                    before = Some(value.at);
                }
                Err(journal::Error::Erased { .. }) => return Ok(None),
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    /// Runs on a task of its own: a caller that goes away must not leave things half admitted.
    async fn put_apart(
        &self,
        records: Vec<NewRecord>,
        atomic: bool,
    ) -> Result<Vec<Outcome>, LedgerError> {
        let ledger = self.clone();
        tokio::spawn(async move { ledger.put_in_waves(records, atomic).await })
            .await
            .map_err(|e| LedgerError::Stopped(e.to_string()))?
    }

    pub(crate) fn tags(&self, new: &NewRecord) -> Tags {
        let h = &new.header;
        let series = [h.source.as_str(), &h.resource_type, &h.id].join("\u{1f}");
        let version = [series.as_str(), &h.version].join("\u{1f}");
        let key = &self.0.keys.index;
        Tags {
            series: key.tag16("series", series.as_bytes()),
            version: key.tag16("version", version.as_bytes()),
            content: key.tag16(
                "content",
                &[new.subject.as_bytes().as_slice(), &new.original].concat(),
            ),
            patient: (h.resource_type == "Patient").then(|| self.patient_tag(&h.source, &h.id)),
        }
    }

    fn patient_tag(&self, source: &str, patient_id: &str) -> Tag {
        self.0
            .keys
            .index
            .tag16("patient", [source, patient_id].join("\u{1f}").as_bytes())
    }
}

/// u32be(length of header) ‖ header ‖ the author's bytes.
pub(crate) fn with_header(
    header: &RecordHeader,
    original: &[u8],
) -> Result<Zeroizing<Vec<u8>>, LedgerError> {
    let head = postcard::to_allocvec(header).map_err(|e| LedgerError::Sealed(e.to_string()))?;
    let mut plain = Zeroizing::new(Vec::with_capacity(4 + head.len() + original.len()));
    plain.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_be_bytes());
    plain.extend_from_slice(&head);
    plain.extend_from_slice(original);
    Ok(plain)
}

/// The inverse of [`with_header`].
pub(crate) fn split_header(plain: &[u8]) -> Option<(RecordHeader, &[u8])> {
    let (len, rest) = plain.split_first_chunk::<4>()?;
    let (head, original) =
        rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    Some((postcard::from_bytes(head).ok()?, original))
}
