//! Step 5, release: records are opened, masked and stripped of national identity numbers. Nothing has left yet.

use std::collections::BTreeMap;

use ledger::{Found, Query as Wanted};
use record::decision::Verb;
use record::{Level, Obligation, ReasonCode, RecordTypeCode, Refusal, Tier, Timestamp};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::cursor::Progress;
use crate::holder::Holder;
use crate::permit::{Granted, Permit};

/// The most records of one page.
const PAGE_RECORDS: usize = 64;
/// The most bytes of one page; a single larger record has a page of its own.
const PAGE_BYTES: usize = 1 << 20;

/// What is granted for records whose level was raised, and the duties that come with it.
type AtLevel = BTreeMap<(RecordTypeCode, Level), (Granted, Vec<Obligation>)>;

/// Something that may leave once the journal has it. Made by [`Holder::release_located`] and, page by page, by [`Holder::next_page`] alone.
pub struct Disclosure<T> {
    pub(crate) payload: T,
    pub(crate) permit: Permit,
    /// Sequence numbers of the records in it, for the trail.
    pub(crate) records: Vec<u64>,
}

impl<T> std::fmt::Debug for Disclosure<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disclosure")
            .field("records", &self.records.len())
            .finish_non_exhaustive()
    }
}

/// The answer to a locate.
#[derive(Debug)]
pub struct Located {
    /// What is granted, by record type.
    pub grants: BTreeMap<RecordTypeCode, Granted>,
    /// What is there.
    pub holdings: Vec<Holding>,
}

/// Records of one type that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Record type.
    pub type_code: RecordTypeCode,
    /// How many; `None` if only their existence may be known.
    pub records: Option<u64>,
    /// Clinical time of the newest, if it may be known.
    pub newest: Option<Timestamp>,
}

/// A page of records.
pub struct RecordPage {
    /// What is granted, by record type.
    pub grants: BTreeMap<RecordTypeCode, Granted>,
    /// Duties that come with it.
    pub obligations: Vec<Obligation>,
    /// The records.
    pub records: Vec<OutRecord>,
    /// To go on behind this page; `None` on the last.
    pub cursor: Option<String>,
    pub(crate) progress: Progress,
}

impl std::fmt::Debug for RecordPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordPage")
            .field("records", &self.records.len())
            .finish_non_exhaustive()
    }
}

/// A record on its way out.
pub struct OutRecord {
    /// Record type.
    pub type_code: RecordTypeCode,
    /// FHIR JSON, masked or whole.
    pub fhir_json: Zeroizing<Vec<u8>>,
    /// FHIR resource type.
    pub resource_type: String,
    /// Logical id at the source, as the released JSON has it: empty when it was masked.
    pub id: String,
    /// Version at the source.
    pub version: String,
    /// The local system it came from.
    pub source: String,
    /// Data level.
    pub level: Level,
    /// Clinical time.
    pub effective: Option<Timestamp>,
    /// Masked or full.
    pub tier: Tier,
    /// Field groups that were masked.
    pub masked_groups: Vec<String>,
}

impl std::fmt::Debug for OutRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutRecord")
            .field("type_code", &self.type_code)
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}

impl Holder {
    /// Prepares the answer to a locate.
    ///
    /// # Errors
    /// `INDEX_UNAVAILABLE`; `REQUEST_MALFORMED` for a permit to another verb.
    pub fn release_located(&self, permit: Permit) -> Result<Disclosure<Located>, Refusal> {
        is_for(&permit, Verb::Locate)?;
        let about = permit.standing().about();
        let query = &about.caller().statement().query;
        let mut holdings = Vec::new();
        for (code, grant) in permit.grants() {
            if grant.tier < Tier::Exists || !about.is_known() {
                continue;
            }
            // A record raised above its type's level is not counted: what was granted is the type's level.
            let level_max = self.catalog().get(code).map_or(Level::HIGHEST, |t| t.level);
            let wanted = Wanted {
                since: query.since,
                until: query.until,
                history: query.history,
                level_max,
            };
            let summary = self.ledger().summary(about.pseudonym(), code, &wanted)?;
            if summary.records > 0 {
                let may_count = grant.tier >= Tier::Count;
                holdings.push(Holding {
                    type_code: code.clone(),
                    records: may_count.then_some(summary.records),
                    newest: summary.newest.filter(|_| may_count),
                });
            }
        }
        let payload = Located {
            grants: permit.grants_outside(),
            holdings,
        };
        Ok(Disclosure {
            payload,
            permit,
            records: Vec::new(),
        })
    }

    /// Prepares one page of a fetch, from where `progress` says.
    ///
    /// # Errors
    /// `DATA_DAMAGED` with the place, `INDEX_UNAVAILABLE`, `POLICY_FAILED`.
    pub(crate) fn release_page(
        &self,
        permit: Permit,
        mut progress: Progress,
    ) -> Result<Disclosure<RecordPage>, Refusal> {
        is_for(&permit, Verb::Fetch)?;
        let statement = permit.standing().about().caller().statement().clone();
        let mut page = Filling {
            obligations: permit.obligations().to_vec(),
            ..Filling::default()
        };
        let mut at_level = BTreeMap::new();
        while let Some(code) = statement.query.types.get(progress.type_at) {
            let room = usize::try_from(statement.query.limit.saturating_sub(progress.given))
                .unwrap_or(usize::MAX);
            if room == 0 || page.is_full() {
                break;
            }
            if !self.fill_with(&permit, code, &mut progress, room, &mut page, &mut at_level)? {
                progress.type_at += 1;
                progress.after = None;
            }
        }
        let done = progress.type_at >= statement.query.types.len()
            || progress.given >= statement.query.limit;
        let cursor = if done {
            None
        } else {
            Some(self.seal_cursor(&statement, &progress)?)
        };
        let payload = RecordPage {
            grants: permit.grants_outside(),
            obligations: page.obligations,
            records: page.records,
            cursor,
            progress,
        };
        Ok(Disclosure {
            payload,
            permit,
            records: page.seqs,
        })
    }

    /// Adds records of one type to the page. False when the type has no more.
    fn fill_with(
        &self,
        permit: &Permit,
        code: &RecordTypeCode,
        progress: &mut Progress,
        room: usize,
        page: &mut Filling,
        at_level: &mut AtLevel,
    ) -> Result<bool, Refusal> {
        let about = permit.standing().about();
        let Some(grant) = permit.grants().get(code).filter(|g| g.tier >= Tier::Masked) else {
            return Ok(false);
        };
        let Some(known) = self.catalog().get(code) else {
            return Ok(false);
        };
        if !about.is_known() {
            return Ok(false);
        }
        let query = &about.caller().statement().query;
        let wanted = Wanted {
            since: query.since,
            until: query.until,
            history: query.history,
            level_max: Level::HIGHEST,
        };
        let limit = room.min(PAGE_RECORDS - page.records.len());
        let found =
            self.ledger()
                .find(about.pseudonym(), code, &wanted, progress.position(), limit)?;
        for one in &found.found {
            let (grant, duties) = if one.level <= known.level {
                (grant, &[][..])
            } else {
                let raised = at_level
                    .entry((code.clone(), one.level))
                    .or_insert_with(|| self.grant_at(permit, code, one.level));
                (&raised.0, raised.1.as_slice())
            };
            if grant.tier >= Tier::Masked {
                page.take_on(duties);
                let record = self.open_masked(permit, one, known, grant)?;
                page.bytes += record.fhir_json.len();
                page.seqs.push(one.position.seq);
                page.records.push(record);
                progress.given += 1;
            }
            progress.after = Some((one.position.effective_ms, one.position.seq));
            if page.is_full() {
                return Ok(true);
            }
        }
        Ok(found.more)
    }

    fn open_masked(
        &self,
        permit: &Permit,
        found: &Found,
        known: &record::RecordType,
        grant: &Granted,
    ) -> Result<OutRecord, Refusal> {
        let stored = self
            .ledger()
            .open_record(permit.standing().about().pseudonym(), found)?;
        let (bytes, tier, masked_groups) = if grant.tier == Tier::Full {
            (stored.original, Tier::Full, Vec::new())
        } else {
            // A record that cannot be masked as the policy says does not leave at all.
            let masked = fhir::mask(&stored.original, known, &grant.mask)
                .map_err(|e| Refusal::with_detail(ReasonCode::PolicyFailed, e.to_string()))?;
            (
                Zeroizing::new(masked.bytes),
                Tier::Masked,
                masked.masked_groups,
            )
        };
        let fhir_json = match fhir::strip_national_ids(&bytes) {
            std::borrow::Cow::Borrowed(_) => bytes,
            std::borrow::Cow::Owned(stripped) => Zeroizing::new(stripped),
        };
        let header = stored.header;
        Ok(OutRecord {
            type_code: header.type_code,
            resource_type: header.resource_type,
            id: id_in(&fhir_json),
            version: without_national_ids(&header.version),
            source: header.source,
            level: header.level,
            effective: header.effective,
            tier,
            masked_groups,
            fhir_json,
        })
    }
}

/// A permit to one verb is no permit to another.
fn is_for(permit: &Permit, verb: Verb) -> Result<(), Refusal> {
    if permit.standing().about().caller().statement().verb == verb {
        Ok(())
    } else {
        Err(Refusal::with_detail(
            ReasonCode::RequestMalformed,
            "the statement is signed for another verb",
        ))
    }
}

/// The id in a released resource: beside it nothing is told that was taken out of it.
fn id_in(fhir_json: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Id {
        id: Option<String>,
    }
    serde_json::from_slice::<Id>(fhir_json)
        .ok()
        .and_then(|found| found.id)
        .unwrap_or_default()
}

fn without_national_ids(text: &str) -> String {
    let quoted = serde_json::to_vec(text).unwrap_or_default();
    serde_json::from_slice(&fhir::strip_national_ids(&quoted)).unwrap_or_default()
}

#[derive(Default)]
struct Filling {
    obligations: Vec<Obligation>,
    records: Vec<OutRecord>,
    seqs: Vec<u64>,
    bytes: usize,
}

impl Filling {
    /// The duties of a record that was granted by itself hold for the page it is on.
    fn take_on(&mut self, duties: &[Obligation]) {
        for duty in duties {
            if !self.obligations.contains(duty) {
                self.obligations.push(duty.clone());
            }
        }
    }

    fn is_full(&self) -> bool {
        self.records.len() >= PAGE_RECORDS || self.bytes >= PAGE_BYTES
    }
}
