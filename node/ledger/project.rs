//! From events to index rows: a pure function of the event, but for what an event puts an end to, which is looked up.

use index::{Index, Op, Order};
use journal::Location;
use seal::HmacKey;

use crate::error::LedgerError;
use crate::row::{Owner, Row, Superseded};
use crate::tables::{
    At, CONSENT, EXCHANGE, HANDLE, OWNED, OwnedRecord, OwnedValue, PATIENT, QUARANTINE,
    QuarantineValue, RECORD, RecordValue, SERIES, SUBJECT, SeriesValue, SubjectTag, SubjectValue,
    VERSION, VersionValue, WITHDRAWN, decode, encode, join, record_key, subject_tag,
};
use crate::vault::stored;

/// Rows read at a time while an erasure collects what belongs to a subject.
const PORTION: usize = 2048;

/// The operations of one event. What it puts an end to is not in here: see [`ended`].
pub(crate) fn operations(
    row: &Row,
    location: &Location,
    key: &HmacKey,
) -> Result<Vec<Op>, LedgerError> {
    let seq = location.seq;
    let at = At::from(*location);
    let tag = |owner: &Owner| subject_tag(key, &owner.pseudonym());
    let mut ops = Vec::with_capacity(6);
    let mut record = None;
    let mut quarantine = None;
    match row {
        Row::Exchange { xid, .. } => ops.push(Op::put(EXCHANGE, *xid, seq.to_be_bytes())),
        Row::Key { owner } => {
            let value = SubjectValue {
                handle: owner.handle,
                at,
            };
            ops.push(Op::put(SUBJECT, tag(owner), encode(&value)?));
            ops.push(Op::put(HANDLE, owner.handle, tag(owner)));
        }
        Row::Record(r) => {
            let subject = tag(&r.owner);
            if let Some(old) = &r.supersedes {
                ops.push(Op::delete(
                    RECORD,
                    record_key(&subject, &old.type_code, old.effective_ms, old.seq),
                ));
            }
            let newest = Superseded {
                type_code: r.type_code.clone(),
                effective_ms: r.effective_ms,
                seq,
            };
            let place = record_key(&subject, &r.type_code, r.effective_ms, seq);
            ops.push(Op::put(
                RECORD,
                place,
                encode(&RecordValue { at, level: r.level })?,
            ));
            ops.push(Op::put(
                SERIES,
                r.series,
                encode(&SeriesValue { subject, newest })?,
            ));
            ops.push(Op::put(
                VERSION,
                r.version,
                encode(&VersionValue {
                    seq,
                    content: r.content,
                })?,
            ));
            if let Some(patient) = r.patient {
                ops.push(Op::put(PATIENT, patient, subject));
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
            ops.push(Op::put(CONSENT, join(&tag(owner), id), encode(&at)?));
        }
        Row::Withdrawal { owner, id } => {
            ops.push(Op::put(WITHDRAWN, join(&tag(owner), id), seq.to_be_bytes()));
        }
        Row::Quarantine { source, owner } => {
            let value = QuarantineValue {
                at,
                owner: owner.as_ref().map(tag),
            };
            ops.push(Op::put(
                QUARANTINE,
                join(source, &seq.to_be_bytes()),
                encode(&value)?,
            ));
            quarantine = Some(*source);
        }
        Row::QuarantineClosed { .. } | Row::Erase { .. } => {}
    }
    if let Some(owner) = row.owner() {
        let value = OwnedValue {
            at,
            record,
            quarantine,
        };
        ops.push(Op::put(
            OWNED,
            join(&tag(owner), &seq.to_be_bytes()),
            encode(&value)?,
        ));
    }
    Ok(ops)
}

/// What an event puts an end to: sealed parts to overwrite, and the rows that lead to them.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) locations: Vec<Location>,
    pub(crate) ops: Vec<Op>,
}

/// Looks up what an event ends; nothing when that was done before. The lookups see the rows of earlier frames only,
/// which is enough: whatever ends is visible before its end is submitted.
pub(crate) fn ended(
    index: &dyn Index,
    row: &Row,
    seq: u64,
    key: &HmacKey,
) -> Result<Ended, LedgerError> {
    let mut found = Ended::default();
    match row {
        Row::Erase { handle } => return erasure(index, *handle),
        // A key wrapped anew: the old wrapping goes.
        Row::Key { owner } => {
            let subject = subject_tag(key, &owner.pseudonym());
            if let Some(old) = stored(index, &subject)?
                && old.handle == owner.handle
                && old.location.seq < seq
            {
                found.ops.push(Op::delete(
                    OWNED,
                    join(&subject, &old.location.seq.to_be_bytes()),
                ));
                found.locations.push(old.location);
            }
        }
        Row::QuarantineClosed { source, seq } => {
            let place = join(source, &seq.to_be_bytes());
            if let Some(value) = index.get(QUARANTINE, &place)? {
                let value: QuarantineValue = decode(&value)?;
                if let Some(owner) = value.owner {
                    found
                        .ops
                        .push(Op::delete(OWNED, join(&owner, &seq.to_be_bytes())));
                }
                found.ops.push(Op::delete(QUARANTINE, place));
                found.locations.push(value.at.into());
            }
        }
        Row::Exchange { .. }
        | Row::Record(_)
        | Row::Consent { .. }
        | Row::Withdrawal { .. }
        | Row::Quarantine { .. } => {}
    }
    Ok(found)
}

/// Collects everything of the subject whose key has this handle; empty when it was done before.
pub(crate) fn erasure(index: &dyn Index, handle: [u8; 16]) -> Result<Ended, LedgerError> {
    let mut found = Ended::default();
    let Some(subject) = index.get(HANDLE, &handle)? else {
        return Ok(found);
    };
    let Ok(subject) = SubjectTag::try_from(subject) else {
        return Err(LedgerError::Index("a row cannot be read".into()));
    };
    let end = join(&subject, &[0xff; 9]);
    let mut from = subject.to_vec();
    loop {
        let rows = index.range(OWNED, &from, Some(&end), Order::Forward, PORTION)?;
        let Some((last, _)) = rows.last() else { break };
        from = join(last, &[0]);
        for (key, value) in rows {
            let value: OwnedValue = decode(&value)?;
            let location = Location::from(value.at);
            if let Some(r) = &value.record {
                found.ops.push(Op::delete(
                    RECORD,
                    record_key(&subject, &r.type_code, r.effective_ms, location.seq),
                ));
                // A series, and so a patient id, is one subject's for as long as the subject is here.
                found.ops.push(Op::delete(SERIES, r.series));
                found.ops.push(Op::delete(VERSION, r.version));
                if let Some(patient) = r.patient {
                    found.ops.push(Op::delete(PATIENT, patient));
                }
            }
            if let Some(source) = value.quarantine {
                found.ops.push(Op::delete(
                    QUARANTINE,
                    join(&source, &location.seq.to_be_bytes()),
                ));
            }
            found.locations.push(location);
            found.ops.push(Op::delete(OWNED, key));
        }
    }
    for table in [CONSENT, WITHDRAWN] {
        for (key, _) in index.prefix(table, &subject, Order::Forward, index::MAX_RANGE_ROWS)? {
            found.ops.push(Op::delete(table, key));
        }
    }
    found.ops.push(Op::delete(SUBJECT, subject));
    found.ops.push(Op::delete(HANDLE, handle));
    Ok(found)
}
