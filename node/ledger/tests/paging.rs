//! Lists of records, newest first: every page size, every edge of time, current and all versions.

use record::Timestamp;

use super::support::*;
use crate::{Ledger, Position, Query};

fn pages(ledger: &Ledger, query: &Query, size: usize) -> Vec<Position> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = ledger
            .find(&person(1), &vitals(), query, after, size)
            .unwrap();
        assert!(page.found.len() <= size);
        all.extend(page.found.iter().map(|f| f.position));
        match page.found.last() {
            Some(last) if page.more => after = Some(last.position),
            _ => return all,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_once_newest_first_whatever_the_page() {
    let home = Home::new();
    let ledger = home.open();
    // Many at the same moment, before and after the epoch, and some older versions in between.
    let mut wanted = Vec::new();
    for (n, ms) in [5, 5, 5, -7, 0, 9, 9, i64::MIN, i64::MAX, 5, 3, 1]
        .into_iter()
        .enumerate()
    {
        let old = record_at(person(1), &format!("o-{n}"), ms.wrapping_add(1));
        put_one(&ledger, old).await.unwrap();
        let mut new = record_at(person(1), &format!("o-{n}"), ms);
        new.header.version = "2".into();
        let done = put_one(&ledger, new).await.unwrap();
        wanted.push(Position {
            effective_ms: ms,
            seq: done.seq,
        });
        put_one(&ledger, record_at(person(2), &format!("of-2-{n}"), ms))
            .await
            .unwrap();
    }
    wanted.sort_unstable_by(|a, b| b.cmp(a));
    let all_versions = pages(&ledger, &history(), 100);
    assert_eq!(all_versions.len(), 24);
    assert!(all_versions.is_sorted_by(|a, b| a > b));
    for size in 1..=13 {
        assert_eq!(pages(&ledger, &Query::all(), size), wanted, "{size}");
        assert_eq!(pages(&ledger, &history(), size), all_versions, "{size}");
    }
    for since in [
        None,
        Some(i64::MIN),
        Some(-7),
        Some(-6),
        Some(5),
        Some(6),
        Some(i64::MAX),
    ] {
        for until in [
            None,
            Some(i64::MIN),
            Some(-7),
            Some(5),
            Some(6),
            Some(9),
            Some(i64::MAX),
        ] {
            let inside = |p: &&Position| {
                since.is_none_or(|s| p.effective_ms >= s)
                    && until.is_none_or(|u| p.effective_ms < u)
            };
            for (query, all) in [(Query::all(), &wanted), (history(), &all_versions)] {
                let query = Query {
                    since: since.map(Timestamp::from_ms),
                    until: until.map(Timestamp::from_ms),
                    ..query
                };
                let inside: Vec<_> = all.iter().filter(inside).copied().collect();
                for size in [1, 3, 100] {
                    assert_eq!(
                        pages(&ledger, &query, size),
                        inside,
                        "{since:?} {until:?} {size}"
                    );
                }
                let summary = ledger.summary(&person(1), &vitals(), &query).unwrap();
                assert_eq!(summary.records, inside.len() as u64);
                assert_eq!(
                    summary.newest.map(Timestamp::as_ms),
                    inside.first().map(|p| p.effective_ms)
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_outside_the_bounds_gives_nothing_outside_them() {
    let home = Home::new();
    let ledger = home.open();
    for n in 0..10 {
        put_one(&ledger, record_at(person(1), &format!("o-{n}"), n))
            .await
            .unwrap();
    }
    let beyond = Position {
        effective_ms: 100,
        seq: 0,
    };
    for query in [Query::all(), history()] {
        let query = Query {
            until: Some(Timestamp::from_ms(4)),
            ..query
        };
        let page = ledger
            .find(&person(1), &vitals(), &query, Some(beyond), 100)
            .unwrap();
        assert_eq!(
            page.found
                .iter()
                .map(|f| f.position.effective_ms)
                .collect::<Vec<_>>(),
            [3, 2, 1, 0]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_portion() {
    let home = Home::new();
    let ledger = home.open();
    let all: Vec<_> = (0..1100)
        .map(|n| record_at(person(1), &format!("o-{n}"), n % 50))
        .collect();
    let mut all = all.into_iter();
    loop {
        let batch: Vec<_> = all.by_ref().take(500).collect();
        if batch.is_empty() {
            break;
        }
        assert!(ledger.put(batch).await.unwrap().iter().all(Result::is_ok));
    }
    for query in [Query::all(), history()] {
        assert_eq!(pages(&ledger, &query, 333).len(), 1100);
        assert_eq!(pages(&ledger, &query, 1100).len(), 1100);
        assert_eq!(
            ledger
                .summary(&person(1), &vitals(), &query)
                .unwrap()
                .records,
            1100
        );
    }
}
