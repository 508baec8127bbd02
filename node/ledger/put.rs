//! Storing records: idempotent by source, id and version; versions kept; a new person's key in the same frame.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use index::Index as _;
use journal::{Event, Priority};
use record::leaf::EventType;
use record::{ExchangeId, Level, Pseudonym, RecordTypeCode, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::admission::InFlight;
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::row::{RecordRow, Row, Superseded, Tag};
use crate::tables::{At, PATIENT, SERIES, SUBJECT, SeriesValue, SubjectValue, VERSION, VersionValue, decode};
use crate::vault::Keyed;

/// Bound to every sealed record.
pub(crate) const RECORD_AAD: &[u8] = b"record/v1";
/// The most records in one call of [`Ledger::put`]: with their keys they must fit one submit.
pub const BATCH_MAX: usize = 1024;
/// What a record's event has besides the record, at most: leaf, row, header, padding, and the new key of a subject.
const EVENT_OVERHEAD: usize = 3072;

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
    tags: Tags,
    supersedes: Option<Superseded>,
}

enum Plan {
    Store(Planned),
    /// Nothing is stored.
    Known(Outcome),
}

type Outcome = Result<PutDone, LedgerError>;

/// What is reserved while a wave is on its way. Given free when dropped.
struct Admitted<'a> {
    ledger: &'a Ledger,
    series: Vec<Tag>,
    /// Subjects whose first key is ours to make.
    made: HashSet<Pseudonym>,
    _holds: Vec<InFlight>,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.ledger.0.admission.leave(|pending| {
            for tag in &self.series {
                pending.series.remove(tag);
            }
            for subject in &self.made {
                pending.keys.remove(subject);
            }
        });
    }
}

impl Ledger {
    /// Stores records; each has its own outcome. Returns when all are durable and visible to look-ups.
    ///
    /// # Errors
    /// The outer error concerns the whole call (disk, queue): nothing of the last submit was stored. A record's own:
    /// [`LedgerError::Conflict`], [`LedgerError::SubjectChanged`], [`LedgerError::TooLarge`], [`LedgerError::Erased`]
    /// while its subject's data is being erased.
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
    /// [`LedgerError::Index`], [`LedgerError::Damaged`].
    pub fn subject_of_patient(&self, source: &str, patient_id: &str) -> Result<Option<Pseudonym>, LedgerError> {
        let index = self.index()?;
        let Some(subject) = index.get(PATIENT, &self.patient_tag(source, patient_id))? else { return Ok(None) };
        // The index has no pseudonyms; the sealed row of the subject's key has.
        let mut before: Option<At> = None;
        loop {
            let Some(value) = index.get(SUBJECT, &subject)? else { return Ok(None) };
            let value: SubjectValue = decode(&value)?;
            match self.0.journal.read(&value.at.into()) {
                Ok(sealed) => {
                    let row = Row::open(&self.0.keys.row, &sealed.row)?;
                    return Ok(row.owner().map(crate::row::Owner::pseudonym));
                }
                // Wrapped anew between the two reads, or being destroyed.
                Err(journal::Error::Erased { .. }) if before != Some(value.at) => before = Some(value.at),
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

    /// A wave holds at most one version of each record series, so that each version knows the one before it; and no more
    /// bytes than go well together, unless they must.
    async fn put_in_waves(&self, records: Vec<NewRecord>, atomic: bool) -> Result<Vec<Outcome>, LedgerError> {
        if records.len() > BATCH_MAX {
            return Err(LedgerError::TooLarge);
        }
        let mut outcomes: BTreeMap<usize, Outcome> = BTreeMap::new();
        let mut left: Vec<(usize, Tags)> = records.iter().map(|r| self.tags(r)).enumerate().collect();
        while !left.is_empty() {
            let mut seen = HashSet::new();
            let mut bytes = 0_usize;
            let mut wave = Vec::with_capacity(left.len());
            let mut rest = Vec::new();
            for (at, tags) in left {
                let size = records.get(at).map_or(0, |r| r.original.len()).saturating_add(EVENT_OVERHEAD);
                let fits = atomic || wave.is_empty() || bytes.saturating_add(size) <= self.0.wave_bytes;
                // Once one version waits, the later ones of its series wait behind it.
                if seen.insert(tags.series) && fits {
                    bytes = bytes.saturating_add(size);
                    wave.push((at, tags));
                } else {
                    rest.push((at, tags));
                }
            }
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
        mut wave: Vec<(usize, Tags)>,
        atomic: bool,
        outcomes: &mut BTreeMap<usize, Outcome>,
    ) -> Result<(), LedgerError> {
        let admitted = self.admit(records, &mut wave, atomic, outcomes).await?;
        self.put_admitted(records, wave, atomic, &admitted, outcomes).await
    }

    /// Waits until nothing of the same series or a subject's first key is on its way, then reserves them. Records of
    /// subjects being erased are turned away.
    async fn admit(
        &self,
        records: &[NewRecord],
        wave: &mut Vec<(usize, Tags)>,
        atomic: bool,
        outcomes: &mut BTreeMap<usize, Outcome>,
    ) -> Result<Admitted<'_>, LedgerError> {
        let subject_of = |at: usize| records.get(at).map(|r| r.subject);
        // Keys that are not in memory are read before the lock is taken, not under it.
        for (at, _) in &*wave {
            if let Some(subject) = subject_of(*at) {
                let _known = self.knows(&subject)?;
            }
        }
        self.0
            .admission
            .when(|pending| {
                let erasing = |at: usize| subject_of(at).is_some_and(|s| pending.erasing.contains(&s));
                if atomic && wave.iter().any(|(at, _)| erasing(*at)) {
                    return Some(Err(LedgerError::Erased));
                }
                wave.retain(|(at, _)| {
                    let turned_away = erasing(*at);
                    if turned_away {
                        outcomes.insert(*at, Err(LedgerError::Erased));
                    }
                    !turned_away
                });
                let subjects: BTreeSet<Pseudonym> = wave.iter().filter_map(|(at, _)| subject_of(*at)).collect();
                if subjects.iter().any(|s| pending.keys.contains(s))
                    || wave.iter().any(|(_, tags)| pending.series.contains(&tags.series))
                {
                    return None;
                }
                let mut made = HashSet::new();
                for subject in &subjects {
                    match self.key_of(subject) {
                        Ok(Some(_)) => {}
                        Ok(None) => {
                            made.insert(*subject);
                        }
                        Err(fault) => return Some(Err(fault)),
                    }
                }
                let series: Vec<Tag> = wave.iter().map(|(_, tags)| tags.series).collect();
                pending.keys.extend(made.iter().copied());
                pending.series.extend(series.iter().copied());
                let begin = |subject| InFlight::begin(&self.0.admission, pending, subject);
                let holds = subjects.into_iter().map(begin).collect();
                Some(Ok(Admitted { ledger: self, series, made, _holds: holds }))
            })
            .await
    }

    async fn put_admitted(
        &self,
        records: &[NewRecord],
        wave: Vec<(usize, Tags)>,
        atomic: bool,
        admitted: &Admitted<'_>,
        outcomes: &mut BTreeMap<usize, Outcome>,
    ) -> Result<(), LedgerError> {
        let mut keys: BTreeMap<Pseudonym, (Keyed, Option<Event>)> = BTreeMap::new();
        let mut planned = Vec::with_capacity(wave.len());
        for (at, tags) in wave {
            let Some(new) = records.get(at) else { continue };
            let ready = match self.plan(new, tags)? {
                Plan::Store(plan) => self.prepare(new, &plan, admitted, &mut keys),
                Plan::Known(outcome) => Err(outcome),
            };
            match ready {
                Ok((xid, event)) => planned.push((at, xid, event)),
                Err(Err(own)) if atomic || !own.is_of_one_record() => return Err(own),
                Err(outcome) => {
                    outcomes.insert(at, outcome);
                }
            }
        }
        if planned.is_empty() {
            return Ok(());
        }
        let mut events = Vec::with_capacity(planned.len() + keys.len());
        // A new key comes before what is sealed under it, in the same frame.
        events.extend(keys.values_mut().filter_map(|(_, event)| event.take()));
        let first_record = events.len();
        let mut stored = Vec::with_capacity(planned.len());
        for (at, xid, event) in planned {
            events.push(event);
            stored.push((at, xid));
        }
        let acked = match self.submit(events, Priority::Data, None) {
            Err(LedgerError::TooLarge) if !atomic && stored.len() == 1 => {
                outcomes.extend(stored.into_iter().map(|(at, _)| (at, Err(LedgerError::TooLarge))));
                return Ok(());
            }
            submitted => Self::durable(submitted?).await?,
        };
        for (keyed, _) in keys.values() {
            self.0.vault.remember(keyed);
        }
        let mut last = 0;
        for ((at, xid), ack) in stored.into_iter().zip(acked.iter().skip(first_record)) {
            last = last.max(ack.seq());
            outcomes.insert(at, Ok(PutDone { seq: ack.seq(), xid: Some(xid), stored: true }));
        }
        self.visible(last).await
    }

    /// The event of a record, and the key of its subject, made now if it is the first thing known of them.
    fn prepare(
        &self,
        new: &NewRecord,
        plan: &Planned,
        admitted: &Admitted<'_>,
        keys: &mut BTreeMap<Pseudonym, (Keyed, Option<Event>)>,
    ) -> Result<(ExchangeId, Event), Outcome> {
        let key = || -> Result<(Keyed, Option<Event>), LedgerError> {
            if let Some((keyed, _)) = keys.get(&new.subject) {
                return Ok((keyed.clone(), None));
            }
            if admitted.made.contains(&new.subject) {
                let (keyed, event) = self.key_event(new.subject)?;
                return Ok((keyed, Some(event)));
            }
            Ok((self.key_of(&new.subject)?.ok_or(LedgerError::Erased)?, None))
        };
        let (keyed, key_event) = key().map_err(Err)?;
        let xid = self.new_exchange().map_err(Err)?;
        let event = self.record_event(new, plan, &keyed, xid).map_err(Err)?;
        event.check().map_err(|fault| Err(fault.into()))?;
        keys.entry(new.subject).or_insert((keyed, key_event));
        Ok((xid, event))
    }

    /// What to do with a record: store it, or its outcome is known already.
    fn plan(&self, new: &NewRecord, tags: Tags) -> Result<Plan, LedgerError> {
        let index = self.index()?;
        if let Some(value) = index.get(VERSION, &tags.version)? {
            let value: VersionValue = decode(&value)?;
            let same = value.content == tags.content;
            return Ok(Plan::Known(if same {
                Ok(PutDone { seq: value.seq, xid: None, stored: false })
            } else {
                Err(LedgerError::Conflict)
            }));
        }
        let supersedes = match index.get(SERIES, &tags.series)? {
            Some(value) => {
                let value: SeriesValue = decode(&value)?;
                if value.subject != self.tag_of(&new.subject) {
                    return Ok(Plan::Known(Err(LedgerError::SubjectChanged)));
                }
                Some(value.newest)
            }
            None => None,
        };
        Ok(Plan::Store(Planned { tags, supersedes }))
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
            .hex("src", &self.source_tag(&header.source))
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
            supersedes: plan.supersedes.clone(),
        });
        let body = keyed.key.seal_body(&with_header(header, &new.original)?, RECORD_AAD, &*self.0.entropy)?;
        Ok(Event { leaf: leaf.to_bytes(), row: self.sealed_row(&row)?, body })
    }

    fn tags(&self, new: &NewRecord) -> Tags {
        let h = &new.header;
        let series = [h.source.as_str(), &h.resource_type, &h.id].join("\u{1f}");
        let version = [series.as_str(), &h.version].join("\u{1f}");
        let key = &self.0.keys.index;
        Tags {
            series: key.tag16("series", series.as_bytes()),
            version: key.tag16("version", version.as_bytes()),
            content: key.tag16("content", &[new.subject.as_bytes().as_slice(), &new.original].concat()),
            patient: (h.resource_type == "Patient").then(|| self.patient_tag(&h.source, &h.id)),
        }
    }

    fn patient_tag(&self, source: &str, patient_id: &str) -> Tag {
        self.0.keys.index.tag16("patient", [source, patient_id].join("\u{1f}").as_bytes())
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
