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
use crate::tables::{At, QUARANTINE, decode, join};

const QUARANTINE_AAD: &[u8] = b"quarantine/v1";

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
        f.debug_struct("QuarantineEntry").field("id", &self.id).field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl Drop for QuarantineEntry {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.original);
    }
}

impl Ledger {
    /// Sets a record aside. Its handle is the acknowledgement's sequence number.
    ///
    /// # Errors
    /// As [`LedgerError`] says.
    pub async fn quarantine(&self, entry: Quarantined) -> Result<Acked, LedgerError> {
        let tag = self.source_tag(&entry.source);
        // Only a person already known has a key to seal it under; otherwise the node's own serves.
        let keyed = match &entry.subject {
            Some(subject) => self.0.vault.find(&*self.index(), &self.0.journal, subject)?,
            None => None,
        };
        let key = keyed.as_ref().map_or_else(|| self.0.vault.node(), |k| &k.key);
        let xid = self.new_exchange()?;
        let mut leaf = self
            .leaf_now(EventType::RecordQuarantined)
            .xid(xid)
            .text("src", &entry.source)
            .reason(entry.reason)
            .hex("pc", &key.commitment(*xid.as_bytes(), &entry.original)?);
        if let Some(keyed) = &keyed {
            leaf = leaf.hex("kh", &keyed.owner.handle).hex("stag", &keyed.key.tag(*xid.as_bytes())?);
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
        let plain =
            Zeroizing::new(postcard::to_allocvec(&kept).map_err(|e| LedgerError::Sealed(e.to_string()))?);
        let body = key.seal_body(&plain, QUARANTINE_AAD, &*self.0.entropy)?;
        let row = self.sealed_row(&Row::Quarantine { source: tag, owner: keyed.as_ref().map(|k| k.owner) })?;
        let acked = self.one(Event { leaf: leaf.to_bytes(), row, body }, Priority::Data).await?;
        self.visible(acked.seq()).await?;
        Ok(acked)
    }

    /// Entries of a source, oldest first, behind `after`, at most `limit`.
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
        let from = join(&tag, &after.map_or(0, |a| a.saturating_add(1)).to_be_bytes());
        let to = join(&tag, &[0xff; 9]);
        let limit = limit.min(index::MAX_RANGE_ROWS);
        let rows = self.index().range(QUARANTINE, &from, Some(&to), Order::Forward, limit)?;
        rows.iter().map(|(_, value)| self.open_quarantined(decode::<At>(value)?.into())).collect()
    }

    /// One entry of a source.
    ///
    /// # Errors
    /// [`LedgerError::QuarantineNotFound`].
    pub fn quarantine_entry(&self, source: &str, id: u64) -> Result<QuarantineEntry, LedgerError> {
        let key = join(&self.source_tag(source), &id.to_be_bytes());
        let value = self.index().get(QUARANTINE, &key)?.ok_or(LedgerError::QuarantineNotFound)?;
        self.open_quarantined(decode::<At>(&value)?.into())
    }

    /// Ends an entry and overwrites its bytes.
    ///
    /// # Errors
    /// [`LedgerError::QuarantineNotFound`], and as [`LedgerError`] says.
    pub async fn close_quarantine(&self, source: &str, id: u64, how: &str) -> Result<Acked, LedgerError> {
        let tag = self.source_tag(source);
        let key = join(&tag, &id.to_be_bytes());
        let value = self.index().get(QUARANTINE, &key)?.ok_or(LedgerError::QuarantineNotFound)?;
        let location = Location::from(decode::<At>(&value)?);
        let leaf = self.leaf_now(EventType::QuarantineClosed).xid(self.new_exchange()?).number("q", id).text("how", how);
        let row = self.sealed_row(&Row::QuarantineClosed { source: tag, seq: id })?;
        let event = Event { leaf: leaf.to_bytes(), row, body: Vec::new() };
        let acked = self.one(event, Priority::Audit).await?;
        self.visible(acked.seq()).await?;
        // Crash before this: the entry is closed and its bytes stay sealed under the node's key.
        self.0.journal.erase(&[location])?;
        Ok(acked)
    }

    fn open_quarantined(&self, location: Location) -> Result<QuarantineEntry, LedgerError> {
        let sealed = self.0.journal.read(&location)?;
        let row = Row::open(&self.0.row_key, &sealed.row)?;
        let plain = match row.owner() {
            Some(owner) => self
                .0
                .vault
                .find(&*self.index(), &self.0.journal, &owner.pseudonym())?
                .ok_or(LedgerError::Erased)?
                .key
                .open_body(&sealed.body, QUARANTINE_AAD)?,
            None => self.0.vault.node().open_body(&sealed.body, QUARANTINE_AAD)?,
        };
        let mut entry: QuarantineEntry =
            postcard::from_bytes(&plain).map_err(|e| LedgerError::Sealed(e.to_string()))?;
        entry.id = location.seq;
        Ok(entry)
    }

    fn source_tag(&self, source: &str) -> Tag {
        self.0.index_key.tag16("source", source.as_bytes())
    }
}
