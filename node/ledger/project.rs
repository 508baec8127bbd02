//! From events to index rows: a pure function of the event, but for erasure, which looks up what to remove.

use index::{Index, Op, Order};
use journal::Location;

use crate::error::LedgerError;
use crate::row::Row;
use crate::tables::{
    At, CONSENT, EXCHANGE, HANDLE, OWNED, OwnedRecord, OwnedValue, PATIENT, QUARANTINE, RECORD, RecordValue, SERIES,
    SUBJECT, SeriesValue, SubjectValue, VERSION, VersionValue, WITHDRAWN, decode, encode, join, record_key,
};

/// Rows read at a time while an erasure collects what belongs to a subject.
const PORTION: usize = 2048;

/// The operations of one event. [`Row::Erase`] has none here: see [`erasure`].
pub(crate) fn operations(row: &Row, location: &Location) -> Result<Vec<Op>, LedgerError> {
    let seq = location.seq;
    let at = At::from(*location);
    let mut ops = Vec::with_capacity(6);
    let mut record = None;
    let mut quarantine = None;
    match row {
        Row::Exchange { xid, .. } => ops.push(Op::put(EXCHANGE, *xid, seq.to_be_bytes())),
        Row::Key { owner } => {
            let value = SubjectValue { handle: owner.handle, at };
            ops.push(Op::put(SUBJECT, owner.pseudonym, encode(&value)?));
            ops.push(Op::put(HANDLE, owner.handle, owner.pseudonym));
        }
        Row::Record(r) => {
            let p = r.owner.pseudonym();
            if let Some((effective_ms, old_seq)) = r.supersedes {
                ops.push(Op::delete(RECORD, record_key(&p, &r.type_code, effective_ms, old_seq)));
            }
            let key = record_key(&p, &r.type_code, r.effective_ms, seq);
            ops.push(Op::put(RECORD, key, encode(&RecordValue { at, level: r.level })?));
            ops.push(Op::put(SERIES, r.series, encode(&SeriesValue { seq, effective_ms: r.effective_ms })?));
            ops.push(Op::put(VERSION, r.version, encode(&VersionValue { seq, content: r.content })?));
            if let Some(patient) = r.patient {
                ops.push(Op::put(PATIENT, patient, r.owner.pseudonym));
            }
            record = Some(OwnedRecord {
                type_code: r.type_code.clone(),
                level: r.level,
                effective_ms: r.effective_ms,
                series: r.series,
                version: r.version,
                patient: r.patient,
            });
        }
        Row::Consent { owner, id } => {
            ops.push(Op::put(CONSENT, join(&owner.pseudonym, id), encode(&at)?));
        }
        Row::Withdrawal { owner, id } => {
            ops.push(Op::put(WITHDRAWN, join(&owner.pseudonym, id), seq.to_be_bytes()));
        }
        Row::Quarantine { source, .. } => {
            ops.push(Op::put(QUARANTINE, join(source, &seq.to_be_bytes()), encode(&at)?));
            quarantine = Some(*source);
        }
        Row::QuarantineClosed { source, seq } => {
            ops.push(Op::delete(QUARANTINE, join(source, &seq.to_be_bytes())));
        }
        Row::Erase { .. } => {}
    }
    if let Some(owner) = row.owner() {
        let value = OwnedValue { at, record, quarantine };
        ops.push(Op::put(OWNED, join(&owner.pseudonym, &seq.to_be_bytes()), encode(&value)?));
    }
    Ok(ops)
}

/// What an erasure has to overwrite and to remove.
#[derive(Debug, Default)]
pub(crate) struct Erasure {
    pub(crate) pseudonym: Option<[u8; 32]>,
    pub(crate) locations: Vec<Location>,
    pub(crate) ops: Vec<Op>,
}

/// Collects everything of the subject whose key has this handle; empty when it was done before.
pub(crate) fn erasure(index: &dyn Index, handle: [u8; 16]) -> Result<Erasure, LedgerError> {
    let mut found = Erasure::default();
    let Some(pseudonym) = index.get(HANDLE, &handle)? else { return Ok(found) };
    let Ok(pseudonym) = <[u8; 32]>::try_from(pseudonym) else {
        return Err(LedgerError::Index("a row cannot be read".into()));
    };
    found.pseudonym = Some(pseudonym);
    let end = join(&pseudonym, &[0xff; 9]);
    let mut from = pseudonym.to_vec();
    loop {
        let rows = index.range(OWNED, &from, Some(&end), Order::Forward, PORTION)?;
        let Some((last, _)) = rows.last() else { break };
        from = join(last, &[0]);
        for (key, value) in rows {
            let value: OwnedValue = decode(&value)?;
            let location = Location::from(value.at);
            if let Some(r) = &value.record {
                let p = record::Pseudonym::from_bytes(pseudonym);
                found.ops.push(Op::delete(RECORD, record_key(&p, &r.type_code, r.effective_ms, location.seq)));
                found.ops.push(Op::delete(SERIES, r.series));
                found.ops.push(Op::delete(VERSION, r.version));
                if let Some(patient) = r.patient {
                    found.ops.push(Op::delete(PATIENT, patient));
                }
            }
            if let Some(source) = value.quarantine {
                found.ops.push(Op::delete(QUARANTINE, join(&source, &location.seq.to_be_bytes())));
            }
            found.locations.push(location);
            found.ops.push(Op::delete(OWNED, key));
        }
    }
    for table in [CONSENT, WITHDRAWN] {
        for (key, _) in index.prefix(table, &pseudonym, Order::Forward, index::MAX_RANGE_ROWS)? {
            found.ops.push(Op::delete(table, key));
        }
    }
    found.ops.push(Op::delete(SUBJECT, pseudonym));
    found.ops.push(Op::delete(HANDLE, handle));
    Ok(found)
}
