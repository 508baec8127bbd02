//! The suites every engine must pass, and a small world to check them against.

#![expect(
    clippy::cast_possible_truncation,
    reason = "test data is made of low bytes"
)]

mod conformance;
mod crash;
mod damage;
mod generations;
mod model;
mod opening;

use std::collections::BTreeMap;
use std::path::Path;

use crate::meta::mix;
use crate::{
    Checkpoint, Error, Index, MAX_RANGE_ROWS, Op, OpenOptions, Opened, Order, Reason, SledIndex,
    Table, open_supervised,
};

pub(crate) type Rows = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

pub(crate) const TABLES: [Table; 3] = [Table(0), Table(9), Table(255)];

pub(crate) fn options() -> OpenOptions {
    OpenOptions {
        cache_bytes: 8 << 20,
        watchdog_ms: 60_000,
        ..OpenOptions::default()
    }
}

/// The operations of the `n`th batch of one fixed, endless journal: new rows, changed rows, deleted rows.
pub(crate) fn batch(n: u64) -> Vec<Op> {
    let count = 1 + mix(n ^ 0xb0) % 24;
    (0..count)
        .map(|i| {
            let r = mix(n.wrapping_mul(1_000) + i);
            let table = TABLES[(r % 3) as usize];
            // Every fourth operation meets a key of the recent past.
            let age = if r.is_multiple_of(4) { mix(r) % 40 } else { 0 };
            let from = n.saturating_sub(age);
            let mut key = mix(from.wrapping_mul(77) + i % 12).to_be_bytes().to_vec();
            key.extend_from_slice(&from.to_be_bytes());
            if r % 11 < 2 {
                Op::delete(table, key)
            } else {
                let len = (mix(r ^ 5) % 220) as usize;
                let value: Vec<u8> = (0..len).map(|j| (r >> (j % 8)) as u8 ^ j as u8).collect();
                Op::put(table, key, value)
            }
        })
        .collect()
}

/// The checkpoint after batch `n`.
pub(crate) fn after(n: u64) -> Checkpoint {
    let mut frame_hash = [0; 32];
    frame_hash[..8].copy_from_slice(&mix(n).to_be_bytes());
    Checkpoint {
        epoch: 1,
        next_seq: n + 1,
        frame_hash,
    }
}

pub(crate) const START: Checkpoint = Checkpoint {
    epoch: 1,
    next_seq: 0,
    frame_hash: [0; 32],
};

pub(crate) fn apply_to(rows: &mut Rows, ops: &[Op]) {
    for op in ops {
        match op.clone() {
            Op::Put { table, key, value } => rows.insert((table.0, key), value),
            Op::Delete { table, key } => rows.remove(&(table.0, key)),
        };
    }
}

/// What the rows are when batches `0..n` are applied.
pub(crate) fn rows_before(n: u64) -> Rows {
    let mut rows = Rows::new();
    for i in 0..n {
        apply_to(&mut rows, &batch(i));
    }
    rows
}

/// Every row of the given tables, read page by page.
pub(crate) fn all_rows(index: &dyn Index, tables: &[Table]) -> Result<Rows, Error> {
    let mut rows = Rows::new();
    for table in tables {
        let mut from = Vec::new();
        loop {
            let page = index.range(*table, &from, None, Order::Forward, MAX_RANGE_ROWS)?;
            let full = page.len() == MAX_RANGE_ROWS;
            if let Some((last, _)) = page.last() {
                from = last.clone();
                from.push(0);
            }
            rows.extend(page.into_iter().map(|(k, v)| ((table.0, k), v)));
            if !full {
                break;
            }
        }
    }
    Ok(rows)
}

/// Rows, counts and checkpoint agree with the fixed journal; gives the checkpoint's `next_seq`.
pub(crate) fn assert_consistent(index: &dyn Index) -> u64 {
    let checkpoint = index.checkpoint().unwrap().unwrap();
    let n = checkpoint.next_seq;
    assert_eq!(checkpoint, if n == 0 { START } else { after(n - 1) });
    let expected = rows_before(n);
    let found = all_rows(index, &TABLES).unwrap();
    assert!(
        found == expected,
        "at {n}: {} rows instead of {}, {} missing, {} altered",
        found.len(),
        expected.len(),
        expected.keys().filter(|k| !found.contains_key(*k)).count(),
        expected
            .iter()
            .filter(|(k, v)| found.get(*k).is_some_and(|f| f != *v))
            .count(),
    );
    for table in TABLES {
        let count = expected.keys().filter(|(t, _)| *t == table.0).count() as u64;
        assert_eq!(index.count(table).unwrap(), count);
    }
    n
}

/// Opens, or builds the fixed journal's first `n` batches when a rebuild is asked for.
pub(crate) fn open_or_build(dir: &Path, n: u64) -> (SledIndex, Option<Reason>) {
    match open_supervised(dir, options()).unwrap() {
        Opened::Ready(index) => (index, None),
        Opened::Rebuild {
            reason,
            mut builder,
        } => {
            for i in 0..n {
                for op in batch(i) {
                    builder.push(&op).unwrap();
                }
            }
            let at = if n == 0 { START } else { after(n - 1) };
            (builder.finish(&at).unwrap(), Some(reason))
        }
    }
}

pub(crate) fn apply(index: &dyn Index, batches: std::ops::Range<u64>) {
    for n in batches {
        index.apply(&batch(n), &after(n)).unwrap();
    }
}

/// Copies a folder as it is at this moment.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
