//! How records become events: admitted wave by wave, planned, sealed, submitted together.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use index::Index as _;
use journal::{Event, Priority};
use record::leaf::EventType;
use record::{ExchangeId, Pseudonym};

use crate::admission::InFlight;
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::put::{BATCH_MAX, NewRecord, PutDone, RECORD_AAD, Tags, with_header};
use crate::row::{RecordRow, Row, Superseded, Tag};
use crate::tables::{SERIES, SeriesValue, VERSION, VersionValue, decode};
use crate::vault::Keyed;

/// What a record's event has besides the record, at most: leaf, row, header, padding, and the new key of a subject.
const EVENT_OVERHEAD: usize = 3072;

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

pub(crate) type Outcome = Result<PutDone, LedgerError>;

/// What is reserved while a wave is on its way. Given free when dropped.
struct Admitted<'a> {
    ledger: &'a Ledger,
    series: Vec<Tag>,
    /// Subjects whose first key is ours to make.
    made: BTreeSet<Pseudonym>,
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
    /// A wave holds at most one version of each record series, so that each version knows the one before it; and no more
    /// bytes than go well together, unless they must.
    pub(crate) async fn put_in_waves(
        &self,
        records: Vec<NewRecord>,
        atomic: bool,
    ) -> Result<Vec<Outcome>, LedgerError> {
        if records.len() > BATCH_MAX {
            return Err(LedgerError::TooLarge);
        }
        let mut outcomes: BTreeMap<usize, Outcome> = BTreeMap::new();
        let mut left: Vec<(usize, Tags)> =
            records.iter().map(|r| self.tags(r)).enumerate().collect();
        while !left.is_empty() {
            let mut seen = HashSet::new();
            let mut bytes = 0_usize;
            let mut wave = Vec::with_capacity(left.len());
            let mut rest = Vec::new();
            for (at, tags) in left {
                let size = records
                    .get(at)
                    .map_or(0, |r| r.original.len())
                    .saturating_add(EVENT_OVERHEAD);
                let fits =
                    atomic || wave.is_empty() || bytes.saturating_add(size) <= self.0.wave_bytes;
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
        self.put_admitted(records, wave, atomic, &admitted, outcomes)
            .await
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
                let erasing =
                    |at: usize| subject_of(at).is_some_and(|s| pending.erasing.contains(&s));
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
                let subjects: BTreeSet<Pseudonym> =
                    wave.iter().filter_map(|(at, _)| subject_of(*at)).collect();
                if subjects.iter().any(|s| pending.keys.contains(s))
                    || wave
                        .iter()
                        .any(|(_, tags)| pending.series.contains(&tags.series))
                {
                    return None;
                }
                let mut made = BTreeSet::new();
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
                Some(Ok(Admitted {
                    ledger: self,
                    series,
                    made,
                    _holds: holds,
                }))
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
                outcomes.extend(
                    stored
                        .into_iter()
                        .map(|(at, _)| (at, Err(LedgerError::TooLarge))),
                );
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
            outcomes.insert(
                at,
                Ok(PutDone {
                    seq: ack.seq(),
                    xid: Some(xid),
                    stored: true,
                }),
            );
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
                Ok(PutDone {
                    seq: value.seq,
                    xid: None,
                    stored: false,
                })
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
        let leaf = self
            .leaf_now(EventType::KeyCreated)
            .hex("kh", &keyed.owner.handle);
        let row = self.sealed_row(&Row::Key { owner: keyed.owner })?;
        Ok((
            keyed,
            Event {
                leaf: leaf.to_bytes(),
                row,
                body: wrapped.as_bytes().to_vec(),
            },
        ))
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
        let body = keyed.key.seal_body(
            &with_header(header, &new.original)?,
            RECORD_AAD,
            &*self.0.entropy,
        )?;
        Ok(Event {
            leaf: leaf.to_bytes(),
            row: self.sealed_row(&row)?,
            body,
        })
    }
}
