//! Random histories, with restarts in them, against a plain map.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Rows, all_rows, apply_to, options};
use crate::{
    Checkpoint, Index, MemoryIndex, Op, OpenOptions, Opened, Order, Table, open_supervised,
};

#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<Op>),
    Range {
        table: u8,
        from: Vec<u8>,
        to: Option<Vec<u8>>,
        reverse: bool,
        limit: usize,
    },
    Flush,
    Reopen,
    Rebuild,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    // A small alphabet, so that keys meet again; the edges of the byte range, where bounds go wrong.
    vec(
        prop_oneof![Just(0u8), Just(1), Just(127), Just(254), Just(255)],
        0..4,
    )
}

fn table() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0u8), Just(1), Just(255)]
}

fn op() -> impl Strategy<Value = Op> {
    (
        table(),
        key(),
        proptest::option::weighted(0.7, vec(any::<u8>(), 0..40)),
    )
        .prop_map(|(table, key, value)| match value {
            Some(value) => Op::put(Table(table), key, value),
            None => Op::delete(Table(table), key),
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => vec(op(), 0..30).prop_map(Step::Apply),
        4 => (table(), key(), proptest::option::of(key()), any::<bool>(), 0usize..40).prop_map(
            |(table, from, to, reverse, limit)| Step::Range { table, from, to, reverse, limit }
        ),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => Just(Step::Rebuild),
    ]
}

fn expected(rows: &Rows, table: u8, from: &[u8], to: Option<&[u8]>) -> Vec<(Vec<u8>, Vec<u8>)> {
    rows.iter()
        .filter(|((t, k), _)| *t == table && **k >= *from && to.is_none_or(|to| **k < *to))
        .map(|((_, k), v)| (k.clone(), v.clone()))
        .collect()
}

fn check(index: &dyn Index, rows: &Rows, checkpoint: Checkpoint) {
    let tables = [Table(0), Table(1), Table(255)];
    assert_eq!(index.checkpoint().unwrap(), Some(checkpoint));
    assert_eq!(all_rows(index, &tables).unwrap(), *rows);
    for table in tables {
        let count = rows.keys().filter(|(t, _)| *t == table.0).count() as u64;
        assert_eq!(index.count(table).unwrap(), count);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_like_a_map(steps in vec(step(), 1..40), sort_bytes in 200usize..4_000) {
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions { sort_bytes, ..options() };
        let mut rows = Rows::new();
        let mut checkpoint = Checkpoint { epoch: 0, next_seq: 0, frame_hash: [0; 32] };
        let mut history: Vec<Op> = Vec::new();
        let memory = MemoryIndex::new();
        memory.apply(&[], &checkpoint).unwrap();
        let mut sled = match open_supervised(dir.path(), options).unwrap() {
            Opened::Rebuild { builder, .. } => builder.finish(&checkpoint).unwrap(),
            Opened::Ready(_) => panic!("an empty folder holds no index"),
        };
        for step in steps {
            match step {
                Step::Apply(ops) => {
                    checkpoint.next_seq += ops.len() as u64;
                    checkpoint.frame_hash[0] = checkpoint.frame_hash[0].wrapping_add(1);
                    apply_to(&mut rows, &ops);
                    for index in [&sled as &dyn Index, &memory] {
                        index.apply(&ops, &checkpoint).unwrap();
                    }
                    history.extend(ops);
                }
                Step::Range { table, from, to, reverse, limit } => {
                    let mut want = expected(&rows, table, &from, to.as_deref());
                    let order = if reverse { want.reverse(); Order::Reverse } else { Order::Forward };
                    want.truncate(limit);
                    for index in [&sled as &dyn Index, &memory] {
                        let got = index.range(Table(table), &from, to.as_deref(), order, limit);
                        prop_assert_eq!(got.unwrap(), want.clone());
                    }
                }
                Step::Flush => sled.flush().unwrap(),
                Step::Reopen => {
                    drop(sled);
                    sled = match open_supervised(dir.path(), options).unwrap() {
                        Opened::Ready(index) => index,
                        Opened::Rebuild { reason, .. } => panic!("rebuild: {reason}"),
                    };
                }
                Step::Rebuild => {
                    let mut builder = sled.rebuild().unwrap();
                    for op in &history {
                        builder.push(op).unwrap();
                    }
                    sled = builder.finish(&checkpoint).unwrap();
                }
            }
            check(&sled, &rows, checkpoint);
            check(&memory, &rows, checkpoint);
        }
        sled.verify().unwrap();
    }
}
