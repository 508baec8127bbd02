//! Reading: which records a person has, newest first, page by page; and the records themselves.

use index::{Index as _, Order};
use journal::Location;
use record::{Level, Pseudonym, RecordTypeCode, Timestamp};
use zeroize::Zeroizing;

use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::put::{RECORD_AAD, RecordHeader, split_header};
use crate::tables::{
    OWNED, OwnedRecord, OwnedValue, RECORD, RecordValue, decode, join, record_key, record_key_end,
    record_prefix,
};

/// Index rows read at a time.
const PORTION: usize = 512;

/// What is looked for about one person, one record type at a time.
#[derive(Debug, Clone)]
pub struct Query {
    /// At or after this clinical time.
    pub since: Option<Timestamp>,
    /// Before this clinical time.
    pub until: Option<Timestamp>,
    /// Older versions too.
    pub history: bool,
    /// Only records up to this level: one whose level was raised above its type's does not even count.
    pub level_max: Level,
}

impl Query {
    /// Everything.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            since: None,
            until: None,
            history: false,
            level_max: Level::HIGHEST,
        }
    }

    fn holds(&self, effective_ms: i64) -> bool {
        self.since.is_none_or(|t| effective_ms >= t.as_ms())
            && self.until.is_none_or(|t| effective_ms < t.as_ms())
    }
}

/// Behind which record to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Clinical time of the last record given.
    pub effective_ms: i64,
    /// Its sequence number.
    pub seq: u64,
}

/// Records found, newest first, with where to go on.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Where the records lie.
    pub found: Vec<Found>,
    /// Whether there may be more.
    pub more: bool,
}

/// A record found, not yet opened.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Its place in the order.
    pub position: Position,
    /// Its level.
    pub level: Level,
    location: Location,
}

impl Found {
    /// How many bytes its sealed form has.
    #[must_use]
    pub const fn sealed_bytes(&self) -> u32 {
        self.location.body_len
    }
}

/// How many records of a type there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Their number.
    pub records: u64,
    /// Clinical time of the newest; when it was stored if it names none.
    pub newest: Option<Timestamp>,
}

/// A record in the clear.
pub struct StoredRecord {
    /// What is kept beside the bytes.
    pub header: RecordHeader,
    /// The author's own bytes.
    pub original: Zeroizing<Vec<u8>>,
    /// Sequence number of the event that stored it.
    pub seq: u64,
}

impl std::fmt::Debug for StoredRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredRecord")
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}

impl Ledger {
    /// Whether a person is known here. One whose data is being erased is not.
    ///
    /// # Errors
    /// [`LedgerError::Index`], [`LedgerError::Damaged`].
    pub fn knows(&self, subject: &Pseudonym) -> Result<bool, LedgerError> {
        match self.key_of(subject) {
            Ok(found) => Ok(found.is_some()),
            Err(LedgerError::Erased) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// How many records of a type match, and the newest's clinical time.
    ///
    /// # Errors
    /// [`LedgerError::Index`].
    pub fn summary(
        &self,
        subject: &Pseudonym,
        code: &RecordTypeCode,
        query: &Query,
    ) -> Result<Summary, LedgerError> {
        let mut summary = Summary::default();
        if query.history {
            self.walk_history(subject, code, query, |found| {
                summary.records += 1;
                let at = Timestamp::from_ms(found.position.effective_ms);
                summary.newest = summary.newest.max(Some(at));
            })?;
            return Ok(summary);
        }
        let mut after = None;
        loop {
            let page = self.find(subject, code, query, after, PORTION)?;
            summary.records += page.found.len() as u64;
            if summary.newest.is_none() {
                summary.newest = page
                    .found
                    .first()
                    .map(|f| Timestamp::from_ms(f.position.effective_ms));
            }
            match page.found.last() {
                Some(last) if page.more => after = Some(last.position),
                _ => return Ok(summary),
            }
        }
    }

    /// Records of one type, newest clinical time first, behind `after`, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError::Index`].
    pub fn find(
        &self,
        subject: &Pseudonym,
        code: &RecordTypeCode,
        query: &Query,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Page, LedgerError> {
        if query.history {
            return self.find_in_history(subject, code, query, after, limit);
        }
        let tag = self.tag_of(subject);
        let prefix = record_prefix(&tag, code);
        let from = query
            .since
            .map_or_else(|| prefix.clone(), |t| record_key(&tag, code, t.as_ms(), 0));
        let end = query.until.map_or_else(
            || join(&prefix, &[0xff; 17]),
            |t| record_key(&tag, code, t.as_ms(), 0),
        );
        let mut to = after.map_or_else(
            || end.clone(),
            |p| record_key(&tag, code, p.effective_ms, p.seq).min(end.clone()),
        );
        let mut page = Page::default();
        while page.found.len() < limit {
            let want = (limit - page.found.len()).min(PORTION);
            let rows = self
                .index()?
                .range(RECORD, &from, Some(&to), Order::Reverse, want)?;
            let full = rows.len() == want;
            for (key, value) in rows {
                let (effective_ms, seq) = record_key_end(&key)
                    .ok_or_else(|| LedgerError::Index("a key cannot be read".into()))?;
                let value: RecordValue = decode(&value)?;
                if value.level <= query.level_max.get() {
                    page.found
                        .push(found(effective_ms, seq, value.level, value.at.into()));
                }
                to = key;
            }
            page.more = full;
            if !full {
                break;
            }
        }
        Ok(page)
    }

    /// All versions: a walk over everything the person has here, so slower than the newest versions alone.
    fn find_in_history(
        &self,
        subject: &Pseudonym,
        code: &RecordTypeCode,
        query: &Query,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Page, LedgerError> {
        let keep = limit.saturating_add(1);
        let mut best: Vec<Found> = Vec::new();
        let newest_first = |best: &mut Vec<Found>| {
            best.sort_unstable_by_key(|f| std::cmp::Reverse(f.position));
            best.truncate(keep);
        };
        self.walk_history(subject, code, query, |found| {
            if after.is_none_or(|a| found.position < a) {
                best.push(found);
                // No more than twice a page is in memory, however much the person has.
                if best.len() >= keep.saturating_mul(2) {
                    newest_first(&mut best);
                }
            }
        })?;
        newest_first(&mut best);
        let more = best.len() > limit;
        best.truncate(limit);
        Ok(Page { found: best, more })
    }

    /// Everything of one type that matches, in the order it was stored.
    fn walk_history(
        &self,
        subject: &Pseudonym,
        code: &RecordTypeCode,
        query: &Query,
        mut each: impl FnMut(Found),
    ) -> Result<(), LedgerError> {
        let tag = self.tag_of(subject);
        let end = join(&tag, &[0xff; 9]);
        let mut from = tag.to_vec();
        loop {
            let rows = self
                .index()?
                .range(OWNED, &from, Some(&end), Order::Forward, PORTION)?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            from = join(last, &[0]);
            for (_, value) in &rows {
                let value: OwnedValue = decode(value)?;
                let location = Location::from(value.at);
                let matches = |r: &OwnedRecord| {
                    &r.type_code == code
                        && query.holds(r.effective_ms)
                        && r.level <= query.level_max.get()
                };
                if let Some(r) = value.record.filter(matches) {
                    each(found(r.effective_ms, location.seq, r.level, location));
                }
            }
        }
    }

    /// Opens a record.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] with the place; [`LedgerError::Erased`].
    pub fn open_record(
        &self,
        subject: &Pseudonym,
        found: &Found,
    ) -> Result<StoredRecord, LedgerError> {
        let keyed = self.key_of(subject)?.ok_or(LedgerError::Erased)?;
        let sealed = self.0.journal.read(&found.location)?;
        let plain = keyed.key.open_body(&sealed.body, RECORD_AAD)?;
        let (header, original) = split_header(&plain)
            .ok_or_else(|| LedgerError::Sealed("a record has no header".into()))?;
        let original = Zeroizing::new(original.to_vec());
        Ok(StoredRecord {
            header,
            original,
            seq: found.position.seq,
        })
    }
}

fn found(effective_ms: i64, seq: u64, level: u8, location: Location) -> Found {
    Found {
        position: Position { effective_ms, seq },
        level: Level::new(level).unwrap_or(Level::HIGHEST),
        location,
    }
}
