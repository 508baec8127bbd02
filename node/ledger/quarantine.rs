//! Quarantine: records that broke a rule, kept sealed with what is wrong, until their owner corrects or drops them.

use index::{Index as _, Order};
use journal::{Acked, Event, Location, Priority};
use record::leaf::EventType;
use record::{Pseudonym, ReasonCode, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::row::{Row, Tag};
use crate::tables::{QUARANTINE, QuarantineValue, decode, join};

const QUARANTINE_AAD: &[u8] = b"quarantine/v1";
/// A list of entries ends early beyond this many bytes: they are all in memory.
const LIST_BYTES: usize = 32 << 20;

/// A record to set aside.
#[derive(Debug)]
pub struct Quarantined {
    /// The local system it came from.
    pub source: String,
    /// FHIR resource type, if it could be read.
    pub resource_type: String,
    /// Logical id, if it could be read.
    pub id: String,
    /// About whom, if that is known.
    pub subject: Option<Pseudonym>,
    /// Why.
    pub reason: ReasonCode,
    /// FHIR `OperationOutcome` as JSON.
    pub outcome_json: Vec<u8>,
    /// The bytes as they came.
    pub original: Zeroizing<Vec<u8>>,
}

/// An entry of the quarantine.
#[derive(Serialize, Deserialize)]
pub struct QuarantineEntry {
    /// Its handle: the sequence number of its event.
    #[serde(skip)]
    pub id: u64,
    /// FHIR resource type, if it could be read.
    pub resource_type: String,
    /// Logical id, if it could be read.
    pub record_id: String,
    /// Reason code.
    pub reason: String,
    /// FHIR `OperationOutcome` as JSON.
    pub outcome_json: Vec<u8>,
    /// When it came.
    pub received: Timestamp,
    /// The bytes as they came.
    pub original: Vec<u8>,
}

impl std::fmt::Debug for QuarantineEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuarantineEntry")
            .field("id", &self.id)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl Drop for QuarantineEntry {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.original);
        zeroize::Zeroize::zeroize(&mut self.outcome_json);
    }
}

impl Ledger {
    /// Sets a record aside. Its handle is the acknowledgement's sequence number.
    ///
    /// # Errors
    /// [`LedgerError::Erased`] while the person's data is being erased; otherwise as [`LedgerError`] says.
    pub async fn quarantine(&self, entry: Quarantined) -> Result<Acked, LedgerError> {
        let hold = match entry.subject {
            Some(subject) => Some(self.hold(subject).ok_or(LedgerError::Erased)?),
            None => None,
        };
        let tag = self.source_tag(&entry.source);
        // Only a person already known has a key to seal it under; otherwise the node's own serves.
        let keyed = match &entry.subject {
            Some(subject) => self.key_of(subject)?,
            None => None,
        };
        let key = keyed
            .as_ref()
            .map_or_else(|| self.0.vault.node(), |k| &k.key);
        let xid = self.new_exchange()?;
        let mut leaf = self
            .leaf_now(EventType::RecordQuarantined)
            .xid(xid)
            .hex("src", &tag)
            .reason(entry.reason)
            .hex("pc", &key.commitment(*xid.as_bytes(), &entry.original)?);
        if let Some(keyed) = &keyed {
            leaf = leaf
                .hex("kh", &keyed.owner.handle)
                .hex("stag", &keyed.key.tag(*xid.as_bytes())?);
        }
        let kept = QuarantineEntry {
            id: 0,
            resource_type: entry.resource_type.clone(),
            record_id: entry.id.clone(),
            reason: entry.reason.as_str().to_owned(),
            outcome_json: entry.outcome_json.clone(),
            received: self.0.clock.now(),
            original: entry.original.to_vec(),
        };
        let plain = Zeroizing::new(
            postcard::to_allocvec(&kept).map_err(|e| LedgerError::Sealed(e.to_string()))?,
        );
        let body = key.seal_body(&plain, QUARANTINE_AAD, &*self.0.entropy)?;
        let row = self.sealed_row(&Row::Quarantine {
            source: tag,
            owner: keyed.as_ref().map(|k| k.owner),
        })?;
        let acked = self
            .one(
                Event {
                    leaf: leaf.to_bytes(),
                    row,
                    body,
                },
                Priority::Data,
                hold,
            )
            .await?;
        self.visible(acked.seq()).await?;
        Ok(acked)
    }

    /// Entries of a source, oldest first, behind `after`, at most `limit`, fewer when they are large: the list has come to
    /// its end when nothing is given.
    ///
    /// # Errors
    /// [`LedgerError::Index`], [`LedgerError::Damaged`].
    pub fn quarantined(
        &self,
        source: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<QuarantineEntry>, LedgerError> {
        let tag = self.source_tag(source);
        let from = join(
            &tag,
            &after.map_or(0, |a| a.saturating_add(1)).to_be_bytes(),
        );
        let to = join(&tag, &[0xff; 9]);
        let limit = limit.min(index::MAX_RANGE_ROWS);
        let rows = self
            .index()?
            .range(QUARANTINE, &from, Some(&to), Order::Forward, limit)?;
        let mut entries = Vec::new();
        let mut bytes = 0;
        for (_, value) in &rows {
            let location = Location::from(decode::<QuarantineValue>(value)?.at);
            bytes += location.body_len as usize;
            if bytes > LIST_BYTES && !entries.is_empty() {
                break;
            }
            entries.push(self.open_quarantined(location)?);
        }
        Ok(entries)
    }

    /// One entry of a source.
    ///
    /// # Errors
    /// [`LedgerError::QuarantineNotFound`].
    pub fn quarantine_entry(&self, source: &str, id: u64) -> Result<QuarantineEntry, LedgerError> {
        let key = join(&self.source_tag(source), &id.to_be_bytes());
        let value = self
            .index()?
            .get(QUARANTINE, &key)?
            .ok_or(LedgerError::QuarantineNotFound)?;
        self.open_quarantined(decode::<QuarantineValue>(&value)?.at.into())
    }

    /// Ends an entry and overwrites its bytes.
    ///
    /// # Errors
    /// [`LedgerError::QuarantineNotFound`], and as [`LedgerError`] says.
    pub async fn close_quarantine(
        &self,
        source: &str,
        id: u64,
        how: &str,
    ) -> Result<Acked, LedgerError> {
        let tag = self.source_tag(source);
        let key = join(&tag, &id.to_be_bytes());
        if self.index()?.get(QUARANTINE, &key)?.is_none() {
            return Err(LedgerError::QuarantineNotFound);
        }
        let leaf = self
            .leaf_now(EventType::QuarantineClosed)
            .xid(self.new_exchange()?)
            .number("q", id)
            .text("how", how);
        let row = self.sealed_row(&Row::QuarantineClosed {
            source: tag,
            seq: id,
        })?;
        let event = Event {
            leaf: leaf.to_bytes(),
            row,
            body: Vec::new(),
        };
        let acked = self.one(event, Priority::Audit, None).await?;
        // The reader of the journal overwrites the bytes before it removes the row that leads to them; a crash in
        // between is finished at the next start.
        self.visible(acked.seq()).await?;
        Ok(acked)
    }

    fn open_quarantined(&self, location: Location) -> Result<QuarantineEntry, LedgerError> {
        let sealed = self.0.journal.read(&location)?;
        let row = Row::open(&self.0.keys.row, &sealed.row)?;
        let plain = match row.owner() {
            Some(owner) => self
                .key_of(&owner.pseudonym())?
                .ok_or(LedgerError::Erased)?
                .key
                .open_body(&sealed.body, QUARANTINE_AAD)?,
            None => self
                .0
                .vault
                .node()
                .open_body(&sealed.body, QUARANTINE_AAD)?,
        };
        let mut entry: QuarantineEntry =
            postcard::from_bytes(&plain).map_err(|e| LedgerError::Sealed(e.to_string()))?;
        entry.id = location.seq;
        Ok(entry)
    }

    pub(crate) fn source_tag(&self, source: &str) -> Tag {
        self.0.keys.index.tag16("source", source.as_bytes())
    }
}
