//! Storing records: idempotent by source, id and version; versions kept; a new person's key in the same frame.

use std::collections::{BTreeMap, HashMap, HashSet};

use index::Index as _;
use journal::{Event, Priority};
use record::leaf::EventType;
use record::{ExchangeId, Level, Pseudonym, RecordTypeCode, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::row::{RecordRow, Row, Tag};
use crate::tables::{PATIENT, SERIES, SeriesValue, VERSION, VersionValue, decode};
use crate::vault::Keyed;

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

struct Tags {
    series: Tag,
    version: Tag,
    content: Tag,
    patient: Option<Tag>,
}

/// A record that goes into the next submit.
struct Planned {
    at: usize,
    tags: Tags,
    supersedes: Option<(i64, u64)>,
}

impl Ledger {
    /// Stores records; each has its own outcome. Returns when all are durable and visible to look-ups.
    ///
    /// # Errors
    /// The outer error concerns the whole call (disk, queue): nothing of the last submit was stored.
    pub async fn put(&self, records: Vec<NewRecord>) -> Result<Vec<Result<PutDone, LedgerError>>, LedgerError> {
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
    /// [`LedgerError::Index`].
    pub fn subject_of_patient(&self, source: &str, patient_id: &str) -> Result<Option<Pseudonym>, LedgerError> {
        let found = self.index().get(PATIENT, &self.patient_tag(source, patient_id))?;
        Ok(found.and_then(|bytes| Pseudonym::from_slice(&bytes).ok()))
    }

    /// Runs on a task of its own: a caller that goes away must not leave things half admitted.
    async fn put_apart(
        &self,
        records: Vec<NewRecord>,
        atomic: bool,
    ) -> Result<Vec<Result<PutDone, LedgerError>>, LedgerError> {
        let ledger = self.clone();
        tokio::spawn(async move { ledger.put_in_waves(records, atomic).await })
            .await
            .map_err(|e| LedgerError::Stopped(e.to_string()))?
    }

    /// A wave holds at most one version of each record series, so that each version knows the one before it.
    async fn put_in_waves(
        &self,
        records: Vec<NewRecord>,
        atomic: bool,
    ) -> Result<Vec<Result<PutDone, LedgerError>>, LedgerError> {
        if records.len() > BATCH_MAX {
            return Err(LedgerError::TooLarge);
        }
        let tags: Vec<Tags> = records.iter().map(|r| self.tags(r)).collect();
        let mut outcomes: BTreeMap<usize, Result<PutDone, LedgerError>> = BTreeMap::new();
        let mut left: Vec<(usize, Tags)> = tags.into_iter().enumerate().collect();
        while !left.is_empty() {
            let mut seen = HashSet::new();
            let (wave, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, t)| seen.insert(t.series));
            if atomic && !rest.is_empty() {
                return Err(LedgerError::Conflict);
            }
            self.put_wave(&records, wave, atomic, &mut outcomes).await?;
            left = rest;
        }
        Ok(outcomes.into_values().collect())
    }

    async fn put_wave(
        &self,
        records: &[NewRecord],
        wave: Vec<(usize, Tags)>,
        atomic: bool,
        outcomes: &mut BTreeMap<usize, Result<PutDone, LedgerError>>,
    ) -> Result<(), LedgerError> {
        let subjects: HashSet<Pseudonym> =
            wave.iter().filter_map(|(at, _)| records.get(*at)).map(|r| r.subject).collect();
        let series: Vec<Tag> = wave.iter().map(|(_, t)| t.series).collect();
        let made = self.admit(&subjects, &series).await?;
        let outcome = self.put_admitted(records, wave, atomic, &subjects, &made, outcomes).await;
        {
            let mut pending = self.0.admission.lock();
            for tag in &series {
                pending.series.remove(tag);
            }
            for subject in &subjects {
                pending.leave(subject);
            }
            for subject in &made {
                pending.keys.remove(subject);
            }
        }
        self.0.settled.notify_waiters();
        outcome
    }

    /// Waits until nothing of the same series or a subject's first key is on its way, then reserves them.
    /// Gives the subjects whose first key is ours to make.
    async fn admit(&self, subjects: &HashSet<Pseudonym>, series: &[Tag]) -> Result<HashSet<Pseudonym>, LedgerError> {
        loop {
            let settled = self.0.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if let Some(made) = self.try_admit(subjects, series)? {
                return Ok(made);
            }
            settled.await;
        }
    }

    fn try_admit(
        &self,
        subjects: &HashSet<Pseudonym>,
        series: &[Tag],
    ) -> Result<Option<HashSet<Pseudonym>>, LedgerError> {
        let index = self.index();
        let mut pending = self.0.admission.lock();
        let mut subjects: Vec<Pseudonym> = subjects.iter().copied().collect();
        subjects.sort_unstable();
        if subjects.iter().any(|s| pending.erasing.contains(s)) {
            return Err(LedgerError::Erased);
        }
        if subjects.iter().any(|s| pending.keys.contains(s)) || series.iter().any(|t| pending.series.contains(t)) {
            return Ok(None);
        }
        let mut made = HashSet::new();
        for subject in &subjects {
            if self.0.vault.find(&*index, &self.0.journal, subject)?.is_none() {
                made.insert(*subject);
            }
        }
        pending.keys.extend(made.iter().copied());
        pending.series.extend(series.iter().copied());
        for subject in subjects {
            pending.enter(subject);
        }
        Ok(Some(made))
    }

    async fn put_admitted(
        &self,
        records: &[NewRecord],
        wave: Vec<(usize, Tags)>,
        atomic: bool,
        subjects: &HashSet<Pseudonym>,
        made: &HashSet<Pseudonym>,
        outcomes: &mut BTreeMap<usize, Result<PutDone, LedgerError>>,
    ) -> Result<(), LedgerError> {
        let mut planned = Vec::with_capacity(wave.len());
        for (at, tags) in wave {
            match self.plan(at, tags)? {
                Ok(plan) => planned.push(plan),
                Err(Err(conflict)) if atomic => return Err(conflict),
                Err(outcome) => {
                    outcomes.insert(at, outcome);
                }
            }
        }
        if planned.is_empty() {
            return Ok(());
        }
        let wanted: HashSet<Pseudonym> =
            planned.iter().filter_map(|p| records.get(p.at)).map(|r| r.subject).collect();
        let mut events = Vec::with_capacity(planned.len() + made.len());
        let keys = self.keys_for(subjects, made, &wanted, &mut events)?;
        let first_record = events.len();
        let mut xids = Vec::with_capacity(planned.len());
        for plan in &planned {
            let Some(new) = records.get(plan.at) else { continue };
            let Some(keyed) = keys.get(&new.subject) else { return Err(LedgerError::Erased) };
            let xid = self.new_exchange()?;
            events.push(self.record_event(new, plan, keyed, xid)?);
            xids.push(xid);
        }
        let acked = Self::durable(self.submit(events, Priority::Data)?).await?;
        for keyed in keys.values() {
            self.0.vault.remember(keyed);
        }
        let mut last = 0;
        for ((plan, xid), ack) in planned.iter().zip(xids).zip(acked.iter().skip(first_record)) {
            last = last.max(ack.seq());
            outcomes.insert(plan.at, Ok(PutDone { seq: ack.seq(), xid: Some(xid), stored: true }));
        }
        self.visible(last).await
    }

    /// What to do with a record: plan it, or its outcome is known already.
    #[expect(clippy::type_complexity, reason = "an outcome of an outcome is what it is; a type of its own would say no more")]
    fn plan(&self, at: usize, tags: Tags) -> Result<Result<Planned, Result<PutDone, LedgerError>>, LedgerError> {
        let index = self.index();
        if let Some(value) = index.get(VERSION, &tags.version)? {
            let value: VersionValue = decode(&value)?;
            let same = value.content == tags.content;
            return Ok(Err(if same {
                Ok(PutDone { seq: value.seq, xid: None, stored: false })
            } else {
                Err(LedgerError::Conflict)
            }));
        }
        let supersedes = match index.get(SERIES, &tags.series)? {
            Some(value) => {
                let value: SeriesValue = decode(&value)?;
                Some((value.effective_ms, value.seq))
            }
            None => None,
        };
        Ok(Ok(Planned { at, tags, supersedes }))
    }

    /// The keys of the subjects wanted; events for those made now come first in the submit.
    fn keys_for(
        &self,
        subjects: &HashSet<Pseudonym>,
        made: &HashSet<Pseudonym>,
        wanted: &HashSet<Pseudonym>,
        events: &mut Vec<Event>,
    ) -> Result<HashMap<Pseudonym, Keyed>, LedgerError> {
        let index = self.index();
        let mut keys = HashMap::new();
        let mut ordered: Vec<&Pseudonym> = subjects.intersection(wanted).collect();
        ordered.sort_unstable();
        for subject in ordered {
            let keyed = if made.contains(subject) {
                let (keyed, event) = self.key_event(*subject)?;
                events.push(event);
                keyed
            } else {
                self.0.vault.find(&*index, &self.0.journal, subject)?.ok_or(LedgerError::Erased)?
            };
            keys.insert(*subject, keyed);
        }
        Ok(keys)
    }

    /// A new key and the event that keeps it.
    pub(crate) fn key_event(&self, subject: Pseudonym) -> Result<(Keyed, Event), LedgerError> {
        let (keyed, wrapped) = self.0.vault.create(subject, &*self.0.entropy)?;
        let leaf = self.leaf_now(EventType::KeyCreated).hex("kh", &keyed.owner.handle);
        let row = self.sealed_row(&Row::Key { owner: keyed.owner })?;
        Ok((keyed, Event { leaf: leaf.to_bytes(), row, body: wrapped.as_bytes().to_vec() }))
    }

    fn record_event(
        &self,
        new: &NewRecord,
        plan: &Planned,
        keyed: &Keyed,
        xid: ExchangeId,
    ) -> Result<Event, LedgerError> {
        let header = &new.header;
        let leaf = self
            .leaf_now(EventType::RecordPut)
            .xid(xid)
            .text("rt", header.type_code.as_str())
            .number("lv", u64::from(header.level.get()))
            .text("src", &header.source)
            .hex("kh", &keyed.owner.handle)
            .hex("stag", &keyed.key.tag(*xid.as_bytes())?)
            .hex("pc", &keyed.key.commitment(*xid.as_bytes(), &new.original)?);
        let row = Row::Record(RecordRow {
            owner: keyed.owner,
            type_code: header.type_code.clone(),
            level: header.level.get(),
            effective_ms: header.effective.unwrap_or(header.received).as_ms(),
            series: plan.tags.series,
            version: plan.tags.version,
            content: plan.tags.content,
            patient: plan.tags.patient,
            supersedes: plan.supersedes,
        });
        let body = keyed.key.seal_body(&with_header(header, &new.original)?, RECORD_AAD, &*self.0.entropy)?;
        Ok(Event { leaf: leaf.to_bytes(), row: self.sealed_row(&row)?, body })
    }

    fn tags(&self, new: &NewRecord) -> Tags {
        let h = &new.header;
        let series = [h.source.as_str(), &h.resource_type, &h.id].join("\u{1f}");
        let version = [series.as_str(), &h.version].join("\u{1f}");
        let key = &self.0.index_key;
        Tags {
            series: key.tag16("series", series.as_bytes()),
            version: key.tag16("version", version.as_bytes()),
            content: key.tag16("content", &[new.subject.as_bytes().as_slice(), &new.original].concat()),
            patient: (h.resource_type == "Patient").then(|| self.patient_tag(&h.source, &h.id)),
        }
    }

    fn patient_tag(&self, source: &str, patient_id: &str) -> Tag {
        self.0.index_key.tag16("patient", [source, patient_id].join("\u{1f}").as_bytes())
    }
}

/// u32be(length of header) ‖ header ‖ the author's bytes.
fn with_header(header: &RecordHeader, original: &[u8]) -> Result<Zeroizing<Vec<u8>>, LedgerError> {
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
    let (head, original) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    Some((postcard::from_bytes(head).ok()?, original))
}
