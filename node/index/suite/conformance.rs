//! What every engine promises, as one function over the trait; another engine joins by one more test here.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{START, TABLES, after, all_rows, apply, assert_consistent, batch, open_or_build};
use crate::{
    Checkpoint, Error, Index, MAX_BATCH_BYTES, MAX_BATCH_OPS, MAX_KEY_BYTES, MAX_RANGE_ROWS,
    MAX_VALUE_BYTES, MemoryIndex, Op, Order, Table,
};

#[test]
fn memory_conforms() {
    conform(&|| Box::new(MemoryIndex::new()));
}

#[test]
fn sled_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let made = std::cell::Cell::new(0);
    conform(&|| {
        made.set(made.get() + 1);
        Box::new(open_or_build(&dir.path().join(made.get().to_string()), 0).0)
    });
}

/// `fresh` makes an empty index; it may have a checkpoint at 0 or none.
fn conform(fresh: &dyn Fn() -> Box<dyn Index>) {
    starts_empty(&*fresh());
    reads_what_was_written(&*fresh());
    keeps_tables_apart(&*fresh());
    ranges_both_ways(&*fresh());
    later_operations_win(&*fresh());
    refuses_the_callers_mistakes(&*fresh());
    takes_the_largest_of_everything(&*fresh());
    never_moves_back(&*fresh());
    says_when_it_is_behind(&*fresh());
    follows_the_fixed_journal(&*fresh());
    never_shows_half_a_batch(&*fresh());
}

fn at(next_seq: u64) -> Checkpoint {
    Checkpoint {
        epoch: 1,
        next_seq,
        frame_hash: [7; 32],
    }
}

fn keys(index: &dyn Index, from: &[u8], to: Option<&[u8]>, order: Order, limit: usize) -> Vec<u8> {
    let rows = index.range(Table(1), from, to, order, limit).unwrap();
    rows.into_iter().map(|(k, _)| k[0]).collect()
}

fn starts_empty(index: &dyn Index) {
    assert_eq!(index.checkpoint().unwrap().map_or(0, |c| c.next_seq), 0);
    assert_eq!(index.get(Table(1), b"a").unwrap(), None);
    assert_eq!(index.count(Table(1)).unwrap(), 0);
    assert_eq!(
        index
            .range(Table(1), b"", None, Order::Reverse, 10)
            .unwrap(),
        Vec::new()
    );
    index.ensure(0).unwrap();
    index.health().unwrap();
}

fn reads_what_was_written(index: &dyn Index) {
    index
        .apply(
            &[
                Op::put(Table(1), *b"k", *b"v"),
                Op::put(Table(1), *b"", *b""),
            ],
            &at(1),
        )
        .unwrap();
    assert_eq!(index.get(Table(1), b"k").unwrap(), Some(b"v".to_vec()));
    assert_eq!(index.get(Table(1), b"").unwrap(), Some(Vec::new()));
    assert_eq!(index.checkpoint().unwrap(), Some(at(1)));
    assert_eq!(index.count(Table(1)).unwrap(), 2);
    index.flush().unwrap();
    index
        .apply(
            &[
                Op::delete(Table(1), *b"k"),
                Op::delete(Table(1), *b"absent"),
            ],
            &at(2),
        )
        .unwrap();
    assert_eq!(index.get(Table(1), b"k").unwrap(), None);
    assert_eq!(index.count(Table(1)).unwrap(), 1);
    index.apply(&[], &at(3)).unwrap();
    assert_eq!(index.checkpoint().unwrap(), Some(at(3)));
}

fn keeps_tables_apart(index: &dyn Index) {
    let ops: Vec<Op> = (0..=255)
        .map(|t| Op::put(Table(t), vec![255; 3], vec![t]))
        .collect();
    index.apply(&ops, &at(1)).unwrap();
    for t in 0..=255 {
        for order in [Order::Forward, Order::Reverse] {
            let rows = index.range(Table(t), b"", None, order, 9).unwrap();
            assert_eq!(rows, vec![(vec![255; 3], vec![t])]);
        }
        assert_eq!(index.count(Table(t)).unwrap(), 1);
    }
}

fn ranges_both_ways(index: &dyn Index) {
    let ops: Vec<Op> = (10..20).map(|k| Op::put(Table(1), [k, 1], [k])).collect();
    index.apply(&ops, &at(1)).unwrap();
    use Order::{Forward, Reverse};
    assert_eq!(keys(index, &[12], Some(&[15]), Forward, 9), [12, 13, 14]);
    assert_eq!(
        keys(index, &[12, 1], Some(&[15, 1]), Forward, 9),
        [12, 13, 14],
        "from is inclusive"
    );
    assert_eq!(keys(index, &[12], Some(&[15]), Reverse, 9), [14, 13, 12]);
    assert_eq!(
        keys(index, &[12], Some(&[15]), Reverse, 2),
        [14, 13],
        "the greatest, not the first"
    );
    assert_eq!(keys(index, b"", None, Reverse, 1), [19]);
    assert_eq!(keys(index, b"", None, Forward, 0), []);
    assert_eq!(
        keys(index, &[15], Some(&[12]), Forward, 9),
        [],
        "bounds that cross"
    );
    assert_eq!(keys(index, &[15], Some(&[15]), Reverse, 9), []);
    assert_eq!(
        index.prefix(Table(1), &[13], Forward, 9).unwrap(),
        [(vec![13, 1], vec![13])]
    );
    assert_eq!(index.prefix(Table(1), b"", Reverse, 2).unwrap().len(), 2);
    index
        .apply(&[Op::put(Table(1), [255, 255], [1])], &at(2))
        .unwrap();
    assert_eq!(index.prefix(Table(1), &[255], Forward, 9).unwrap().len(), 1);
}

fn later_operations_win(index: &dyn Index) {
    let (a, b) = (*b"a", *b"b");
    let ops = [
        Op::put(Table(1), a, *b"1"),
        Op::delete(Table(1), a),
        Op::put(Table(1), a, *b"2"),
        Op::put(Table(1), b, *b"3"),
        Op::delete(Table(1), b),
    ];
    index.apply(&ops, &at(1)).unwrap();
    assert_eq!(index.get(Table(1), b"a").unwrap(), Some(b"2".to_vec()));
    assert_eq!(index.get(Table(1), b"b").unwrap(), None);
    assert_eq!(index.count(Table(1)).unwrap(), 1);
}

fn refuses_the_callers_mistakes(index: &dyn Index) {
    let good = Op::put(Table(1), *b"good", *b"1");
    let long_key = vec![1; MAX_KEY_BYTES + 1];
    let value = vec![1; MAX_VALUE_BYTES + 1];
    let refused = index.apply(&[good.clone(), Op::put(Table(1), *b"k", value)], &at(1));
    assert!(matches!(refused, Err(Error::ValueTooLong { .. })));
    let refused = index.apply(
        &[good.clone(), Op::delete(Table(1), long_key.clone())],
        &at(1),
    );
    assert!(matches!(refused, Err(Error::KeyTooLong { .. })));
    assert!(matches!(
        index.get(Table(1), &long_key),
        Err(Error::KeyTooLong { .. })
    ));
    let many = vec![good; MAX_BATCH_OPS + 1];
    assert!(matches!(
        index.apply(&many, &at(1)),
        Err(Error::BatchTooLarge { .. })
    ));
    let big = Op::put(Table(1), *b"k", vec![1; MAX_VALUE_BYTES]);
    let big = vec![big; MAX_BATCH_BYTES / MAX_VALUE_BYTES];
    assert!(matches!(
        index.apply(&big, &at(1)),
        Err(Error::BatchTooLarge { .. })
    ));
    let range = index.range(Table(1), b"", None, Order::Forward, MAX_RANGE_ROWS + 1);
    assert!(matches!(range, Err(Error::RangeTooLong { .. })));
    index.health().unwrap();
    assert_eq!(
        index.get(Table(1), b"good").unwrap(),
        None,
        "nothing of a refused batch is applied"
    );
    assert_eq!(index.checkpoint().unwrap().map_or(0, |c| c.next_seq), 0);
}

fn takes_the_largest_of_everything(index: &dyn Index) {
    let row = MAX_KEY_BYTES + MAX_VALUE_BYTES;
    let key = |i: usize| {
        let mut key = vec![0xaa; MAX_KEY_BYTES];
        key[MAX_KEY_BYTES - 4..].copy_from_slice(&(i as u32).to_be_bytes());
        key
    };
    let ops: Vec<Op> = (0..MAX_BATCH_BYTES / row)
        .map(|i| Op::put(Table(2), key(i), vec![i as u8; MAX_VALUE_BYTES]))
        .collect();
    index.apply(&ops, &at(1)).unwrap();
    for i in (0..ops.len()).rev() {
        assert_eq!(
            index.get(Table(2), &key(i)).unwrap(),
            Some(vec![i as u8; MAX_VALUE_BYTES])
        );
    }
    let ops: Vec<Op> = (0..MAX_BATCH_OPS as u32)
        .map(|i| Op::put(Table(3), i.to_be_bytes(), i.to_le_bytes()))
        .collect();
    index.apply(&ops, &at(2)).unwrap();
    assert_eq!(index.count(Table(3)).unwrap(), MAX_BATCH_OPS as u64);
    let all = index
        .range(Table(3), b"", None, Order::Reverse, MAX_RANGE_ROWS)
        .unwrap();
    assert_eq!(all.len(), MAX_RANGE_ROWS);
    index.flush().unwrap();
}

fn never_moves_back(index: &dyn Index) {
    let here = Checkpoint {
        epoch: 3,
        next_seq: 10,
        frame_hash: [1; 32],
    };
    index.apply(&[], &here).unwrap();
    for back in [
        Checkpoint {
            next_seq: 9,
            ..here
        },
        Checkpoint { epoch: 2, ..here },
    ] {
        let refused = index.apply(&[Op::put(Table(1), *b"a", *b"b")], &back);
        assert!(matches!(refused, Err(Error::CheckpointBackwards { .. })));
    }
    assert_eq!(index.get(Table(1), b"a").unwrap(), None);
    assert_eq!(index.checkpoint().unwrap(), Some(here));
    index.apply(&[], &here).unwrap();
    index.apply(&[], &Checkpoint { epoch: 4, ..here }).unwrap();
}

fn says_when_it_is_behind(index: &dyn Index) {
    index.apply(&[], &at(5)).unwrap();
    index.ensure(5).unwrap();
    assert!(matches!(
        index.ensure(6),
        Err(Error::Behind { have: 5, need: 6 })
    ));
}

fn follows_the_fixed_journal(index: &dyn Index) {
    index.apply(&[], &START).unwrap();
    for n in 0..150 {
        index.apply(&batch(n), &after(n)).unwrap();
        if n % 50 == 0 {
            assert_consistent(index);
        }
    }
    assert_eq!(assert_consistent(index), 150);
    // Applying a batch again, as after a crash between journal and index, changes nothing.
    index.apply(&batch(149), &after(149)).unwrap();
    assert_eq!(assert_consistent(index), 150);
    assert!(all_rows(index, &TABLES).unwrap().len() > 500);
}

/// A row moves from key to key; a reader must find it exactly once, wherever it is.
fn never_shows_half_a_batch(index: &dyn Index) {
    let key = |n: u64| (n.wrapping_mul(7919) % 1000).to_be_bytes();
    index
        .apply(&[Op::put(Table(4), key(0), *b"row")], &at(1))
        .unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0u32;
            while !done.load(Ordering::Acquire) || reads == 0 {
                for order in [Order::Forward, Order::Reverse] {
                    assert_eq!(
                        index.range(Table(4), b"", None, order, 10).unwrap().len(),
                        1
                    );
                    reads += 1;
                }
            }
            reads
        });
        for n in 1..400 {
            let ops = [
                Op::delete(Table(4), key(n - 1)),
                Op::put(Table(4), key(n), *b"row"),
            ];
            index.apply(&ops, &at(n + 1)).unwrap();
        }
        done.store(true, Ordering::Release);
        assert!(reader.join().unwrap() > 0);
    });
}

#[test]
fn a_failed_memory_index_answers_nothing() {
    let index = MemoryIndex::new();
    apply(&index, 0..3);
    index.fail();
    assert_all_refused(&index);
}

/// Every call says "unhealthy", none "not found".
pub(super) fn assert_all_refused(index: &dyn Index) {
    let unhealthy = |e: Error| matches!(e, Error::Unhealthy { .. });
    assert!(unhealthy(index.get(Table(1), b"k").unwrap_err()));
    assert!(unhealthy(
        index
            .range(Table(1), b"", None, Order::Forward, 1)
            .unwrap_err()
    ));
    assert!(unhealthy(
        index
            .range(Table(1), b"b", Some(b"a"), Order::Forward, 1)
            .unwrap_err()
    ));
    assert!(unhealthy(
        index.prefix(Table(1), b"", Order::Reverse, 1).unwrap_err()
    ));
    assert!(unhealthy(index.apply(&[], &at(u64::MAX)).unwrap_err()));
    assert!(unhealthy(index.checkpoint().unwrap_err()));
    assert!(unhealthy(index.count(Table(1)).unwrap_err()));
    assert!(unhealthy(index.size_on_disk().unwrap_err()));
    assert!(unhealthy(index.flush().unwrap_err()));
    assert!(unhealthy(index.health().unwrap_err()));
    assert!(unhealthy(index.ensure(0).unwrap_err()));
}
