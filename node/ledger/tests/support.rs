//! A node's ledger in a temporary folder, records to put into it, and a look at everything its index holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use index::{Index as _, Order, Table};
use journal::{Journal, Location, Watermarks};
use record::consent::{Consent, Effect, Evidence, EvidenceMethod, Grantor};
use record::leaf::EventType;
use record::time::ManualClock;
use record::{
    Clock, ConsentId, ExchangeId, Leaf, Level, MemberId, Pseudonym, Purpose, RecordTypeCode,
    Timestamp,
};
use seal::{HmacKey, Keyring, RowKey, SeededEntropy, SubjectKey, SystemEntropy};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::tables::OWNED;
use crate::{
    Access, AccessDetail, ConsentView, Found, Ledger, LedgerError, NewRecord, Opening, Options,
    PutDone, Query, RecordHeader, Secrets,
};

/// 2026-11-22T00:00:00Z.
pub(super) const NOW: Timestamp = Timestamp::from_s(1_795_305_600);
pub(super) const SOURCE: &str = "his-ward-7";

/// A node's folder. The keys are the same at every opening.
pub(super) struct Home {
    pub(super) dir: TempDir,
    pub(super) clock: ManualClock,
    pub(super) journal: journal::Options,
}

impl Home {
    pub(super) fn new() -> Self {
        let journal = journal::Options {
            segment_size: 64 * 1024,
            spares: 1,
            audit_reserve: 16 * 1024,
            ..journal::Options::default()
        };
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock: ManualClock::at(NOW),
            journal,
        }
    }

    pub(super) fn options(&self) -> Options {
        Options {
            index_cache_bytes: 4 << 20,
            journal: self.journal.clone(),
            ..Options::at(self.dir.path())
        }
    }

    pub(super) fn open(&self) -> Ledger {
        self.open_with(keyring(0)).unwrap().0
    }

    pub(super) fn open_with(&self, keyring: Keyring) -> Result<(Ledger, Opening), LedgerError> {
        Ledger::open(
            self.options(),
            secrets(keyring),
            self.time(),
            Arc::new(SystemEntropy::new()),
        )
    }

    pub(super) fn time(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    pub(super) fn index(&self) -> PathBuf {
        self.dir.path().join("index")
    }

    pub(super) fn segment(&self, location: &Location) -> PathBuf {
        self.dir
            .path()
            .join("journal")
            .join(format!("{:08}.seg", location.segment))
    }

    /// Opens without an index, so that it is built from the journal.
    pub(super) fn open_rebuilt(&self) -> Ledger {
        std::fs::remove_dir_all(self.index()).unwrap();
        let (ledger, opening) = self.open_with(keyring(0)).unwrap();
        assert!(opening.rebuilt.is_some());
        ledger
    }

    /// The journal by itself, to write what a crash would leave.
    pub(super) fn journal_alone(&self) -> Journal {
        let io = journal::Files::at(self.dir.path().join("journal"));
        Journal::open(Arc::new(io), self.journal.clone(), &Watermarks::default())
            .unwrap()
            .0
    }

    /// The bytes of an event's sealed parts on disk.
    pub(super) fn sealed_bytes(&self, location: &Location) -> Vec<u8> {
        let bytes = std::fs::read(self.segment(location)).unwrap();
        let start = usize::try_from(location.offset).unwrap();
        bytes[start..start + (location.row_len + location.body_len) as usize].to_vec()
    }

    /// Changes bytes in a segment behind the journal's back.
    pub(super) fn tamper(&self, location: &Location, at: u64, change: impl FnOnce(&mut Vec<u8>)) {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open(self.segment(location))
            .unwrap();
        let len = usize::try_from(u64::from(location.row_len + location.body_len) - at).unwrap();
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, location.offset + at)
            .unwrap();
        change(&mut bytes);
        file.write_all_at(&bytes, location.offset + at).unwrap();
    }
}

/// The keyring after so many rotations, always the same.
pub(super) fn keyring(rotations: u64) -> Keyring {
    let mut ring = Keyring::generate(&SeededEntropy::new(1)).unwrap();
    for n in 0..rotations {
        ring.rotate(&SeededEntropy::new(100 + n)).unwrap();
    }
    ring
}

pub(super) fn secrets(keyring: Keyring) -> Secrets {
    Secrets {
        keyring,
        row: RowKey::from_bytes(&[2; 32]),
        index: HmacKey::from_bytes(&[3; 32]),
        node: SubjectKey::from_bytes(&[4; 32]),
    }
}

pub(super) fn person(n: u64) -> Pseudonym {
    let mut bytes = [0; 32];
    for (i, part) in bytes.chunks_mut(8).enumerate() {
        part.copy_from_slice(
            &(n + 1)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15 + i as u64)
                .to_be_bytes(),
        );
    }
    Pseudonym::from_bytes(bytes)
}

pub(super) fn code(text: &str) -> RecordTypeCode {
    RecordTypeCode::parse(text).unwrap()
}

pub(super) fn vitals() -> RecordTypeCode {
    code("vitals")
}

pub(super) fn record(subject: Pseudonym, id: &str, version: &str, text: &str) -> NewRecord {
    NewRecord {
        subject,
        header: RecordHeader {
            source: SOURCE.into(),
            resource_type: "Observation".into(),
            id: id.into(),
            version: version.into(),
            type_code: vitals(),
            level: Level::new(3).unwrap(),
            effective: Some(NOW),
            received: NOW,
        },
        original: Zeroizing::new(text.as_bytes().to_vec()),
    }
}

pub(super) fn record_at(subject: Pseudonym, id: &str, effective_ms: i64) -> NewRecord {
    let mut new = record(subject, id, "1", &format!("{{\"id\":\"{id}\"}}"));
    new.header.effective = Some(Timestamp::from_ms(effective_ms));
    new
}

pub(super) async fn put_one(ledger: &Ledger, new: NewRecord) -> Result<PutDone, LedgerError> {
    ledger.put(vec![new]).await.unwrap().pop().unwrap()
}

/// All vitals of a person, newest first.
pub(super) fn found(ledger: &Ledger, subject: &Pseudonym, query: &Query) -> Vec<Found> {
    ledger
        .find(subject, &vitals(), query, None, 10_000)
        .unwrap()
        .found
}

/// The texts of all vitals of a person, newest first.
pub(super) fn texts(ledger: &Ledger, subject: &Pseudonym, query: &Query) -> Vec<String> {
    let open = |f: &Found| ledger.open_record(subject, f).unwrap().original.to_vec();
    found(ledger, subject, query)
        .iter()
        .map(|f| String::from_utf8(open(f)).unwrap())
        .collect()
}

pub(super) fn history() -> Query {
    Query {
        history: true,
        ..Query::all()
    }
}

pub(super) fn consent(id: u128) -> Consent {
    Consent {
        id: ConsentId::from_bytes(id.to_be_bytes()),
        effect: Effect::Permit,
        grantor: Grantor::Elder,
        evidence: Evidence {
            method: EvidenceMethod::Counter,
            sha256: None,
        },
        recipients: vec![MemberId::parse("h-one").unwrap()],
        recipient_kinds: vec![],
        purposes: vec![Purpose::Treat],
        types: vec![],
        level_ceiling: Level::new(4).unwrap(),
        from: NOW,
        until: NOW.plus_ms(86_400_000),
        registered_by: MemberId::parse("c-one").unwrap(),
    }
}

/// An access that rests on a view, its leaf naming what it rests on.
pub(super) fn access<'a>(
    ledger: &Ledger,
    xid: u128,
    subject: Option<Pseudonym>,
    rests_on: Option<&'a ConsentView>,
) -> Access<'a> {
    let given = |view: &ConsentView| {
        let in_force = view
            .entries
            .iter()
            .filter(|e| e.state == crate::ConsentState::Given);
        in_force
            .map(|e| e.consent.id.to_hex())
            .next()
            .unwrap_or_else(|| "none".into())
    };
    Access {
        leaf: Leaf::new(EventType::Disclosure, NOW)
            .text("rests", &rests_on.map_or_else(String::new, given)),
        xid: ExchangeId::from_bytes(xid.to_be_bytes()),
        subject,
        detail: AccessDetail(Zeroizing::new(
            format!("detail of {xid} at {}", ledger.health().events).into_bytes(),
        )),
        rests_on,
    }
}

/// Every row of every table.
pub(super) fn tables(ledger: &Ledger) -> BTreeMap<(u8, Vec<u8>), Vec<u8>> {
    let index = ledger.index().unwrap();
    let mut all = BTreeMap::new();
    for table in 1..=11 {
        let mut from = Vec::new();
        loop {
            let rows = index
                .range(Table(table), &from, None, Order::Forward, 1000)
                .unwrap();
            let Some((last, _)) = rows.last() else { break };
            from = [last.as_slice(), &[0]].concat();
            all.extend(rows.into_iter().map(|(key, value)| ((table, key), value)));
        }
        assert_eq!(
            index.count(Table(table)).unwrap(),
            all.keys().filter(|(t, _)| *t == table).count() as u64
        );
    }
    all
}

/// Where the sealed parts of a person's events lie.
pub(super) fn owned(ledger: &Ledger, subject: &Pseudonym) -> Vec<Location> {
    let tag = ledger.tag_of(subject);
    let rows = ledger
        .index()
        .unwrap()
        .prefix(OWNED, &tag, Order::Forward, 10_000)
        .unwrap();
    let at = |value: &[u8]| {
        Location::from(
            crate::tables::decode::<crate::tables::OwnedValue>(value)
                .unwrap()
                .at,
        )
    };
    rows.iter().map(|(_, value)| at(value)).collect()
}

/// All leaves, as JSON, with their numbers.
pub(super) fn leaves(ledger: &Ledger) -> Vec<(u64, serde_json::Value)> {
    let entries = ledger.0.journal.scan(0).map(Result::unwrap);
    entries
        .map(|e| (e.seq, serde_json::from_slice(&e.leaf).unwrap()))
        .collect()
}

pub(super) fn of_type(leaves: &[(u64, serde_json::Value)], typ: &str) -> Vec<u64> {
    leaves
        .iter()
        .filter(|(_, leaf)| leaf["typ"] == typ)
        .map(|(seq, _)| *seq)
        .collect()
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file below a folder with its bytes.
pub(super) fn all_files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(all_files(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            files.push((path, bytes));
        }
    }
    files
}

/// Repeatable noise (xorshift64*).
pub(super) struct Noise(pub(super) u64);

impl Noise {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 33) % end
    }
}
