//! Batches: each outcome its own or all as one, many callers at once, callers that go away.

use std::collections::BTreeSet;

use super::support::*;
use crate::{BATCH_MAX, LedgerError, Query};

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_one_record_in_one_batch_follow_each_other() {
    let home = Home::new();
    let ledger = home.open();
    let batch = vec![
        record(person(1), "o-1", "1", "a"),
        record(person(1), "o-1", "2", "b"),
        record(person(1), "o-2", "1", "c"),
        record(person(1), "o-1", "1", "a"),
        record(person(1), "o-1", "2", "not b"),
        record(person(1), "o-1", "3", "d"),
    ];
    let outcomes = ledger.put(batch).await.unwrap();
    let stored: Vec<_> = outcomes
        .iter()
        .map(|o| o.as_ref().map(|d| d.stored).ok())
        .collect();
    assert_eq!(
        stored,
        [
            Some(true),
            Some(true),
            Some(true),
            Some(false),
            None,
            Some(true)
        ]
    );
    let mut current = texts(&ledger, &person(1), &Query::all());
    current.sort();
    assert_eq!(current, ["c", "d"]);
    assert_eq!(found(&ledger, &person(1), &history()).len(), 4);
    let leaves = leaves(&ledger);
    assert_eq!(of_type(&leaves, "key-created").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_together_or_none() {
    let home = Home::new();
    let ledger = home.open();
    put_one(&ledger, record(person(1), "o-1", "1", "a"))
        .await
        .unwrap();
    let (events, rows) = (ledger.health().events, tables(&ledger));
    let conflicting = || {
        vec![
            record(person(2), "o-2", "1", "b"),
            record(person(1), "o-1", "1", "changed"),
            record(person(3), "o-3", "1", "c"),
        ]
    };
    assert!(matches!(
        ledger.put_all(conflicting()).await,
        Err(LedgerError::Conflict)
    ));
    let twice = vec![
        record(person(2), "o-2", "1", "b"),
        record(person(2), "o-2", "2", "c"),
    ];
    assert!(matches!(
        ledger.put_all(twice).await,
        Err(LedgerError::Conflict)
    ));
    let huge = vec![
        record(person(2), "o-2", "1", "b"),
        record(person(2), "o-4", "1", &"x".repeat(80_000)),
    ];
    assert!(matches!(
        ledger.put_all(huge).await,
        Err(LedgerError::TooLarge)
    ));
    assert_eq!((ledger.health().events, tables(&ledger)), (events, rows));
    assert!(!ledger.knows(&person(2)).unwrap() && !ledger.knows(&person(3)).unwrap());
    let good = vec![
        record(person(1), "o-1", "1", "a"),
        record(person(2), "o-2", "1", "b"),
        record(person(3), "o-3", "1", "c"),
    ];
    let done = ledger.put_all(good).await.unwrap();
    assert_eq!(
        done.iter().map(|d| d.stored).collect::<Vec<_>>(),
        [false, true, true]
    );
    let hashes: BTreeSet<_> = (events..ledger.health().events)
        .map(|seq| {
            ledger
                .0
                .journal
                .scan(seq)
                .next()
                .unwrap()
                .unwrap()
                .frame_hash
        })
        .collect();
    assert_eq!(hashes.len(), 1, "one frame");
    // The same again, one by one: the conflict is one record's own.
    let outcomes = ledger.put(conflicting()).await.unwrap();
    assert!(
        outcomes[0].is_ok()
            && matches!(outcomes[1], Err(LedgerError::Conflict))
            && outcomes[2].is_ok()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_record_that_is_too_large_does_not_hold_up_the_others() {
    let home = Home::new();
    let ledger = home.open();
    let mut batch: Vec<_> = (0..40)
        .map(|n| record(person(n % 3), &format!("o-{n}"), "1", &"y".repeat(5_000)))
        .collect();
    batch.insert(7, record(person(9), "huge", "1", &"x".repeat(70_000)));
    let mut beyond = record(person(9), "beyond", "1", "");
    beyond.original = zeroize::Zeroizing::new(vec![b'z'; 17 << 20]);
    batch.insert(20, beyond);
    let outcomes = ledger.put(batch).await.unwrap();
    for (at, outcome) in outcomes.iter().enumerate() {
        let too_large = matches!(outcome, Err(LedgerError::TooLarge));
        assert_eq!(too_large, at == 7 || at == 20, "{at}: {outcome:?}");
        assert!(too_large || outcome.is_ok());
    }
    assert!(!ledger.knows(&person(9)).unwrap());
    assert_eq!(ledger.health().records, 40);
    let many = (0..=BATCH_MAX)
        .map(|n| record(person(1), &format!("m-{n}"), "1", ""))
        .collect();
    assert!(matches!(ledger.put(many).await, Err(LedgerError::TooLarge)));
    assert!(ledger.put(Vec::new()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_make_one_key() {
    let home = Home::new();
    let ledger = home.open();
    for round in 0..8 {
        let subject = person(round);
        let tasks: Vec<_> = (0..16)
            .map(|n| {
                let ledger = ledger.clone();
                tokio::spawn(async move {
                    if n % 5 == 4 {
                        ledger
                            .register_consent(subject, consent(u128::from(round * 100 + n)))
                            .await
                            .unwrap();
                    } else {
                        // Some of the same series, some of the same version.
                        let id = format!("r{round}-{}", n % 6);
                        put_one(&ledger, record(subject, &id, &format!("{}", n % 2), "text"))
                            .await
                            .unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    let live = tables(&ledger);
    let leaves = leaves(&ledger);
    assert_eq!(of_type(&leaves, "key-created").len(), 8);
    drop(ledger);
    let ledger = home.open();
    assert_eq!(tables(&ledger), live);
    for round in 0..8 {
        assert!(!texts(&ledger, &person(round), &history()).is_empty());
        assert_eq!(
            ledger.consents(person(round)).await.unwrap().entries.len(),
            3
        );
    }
    drop(ledger);
    assert_eq!(tables(&home.open_rebuilt()), live);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_nothing_half_done() {
    let home = Home::new();
    let ledger = home.open();
    for n in 0..60_u64 {
        let put = ledger.put(vec![record(
            person(n % 4),
            &format!("o-{}", n % 4),
            &n.to_string(),
            "x",
        )]);
        let wait = std::time::Duration::from_micros(n * 40);
        drop(tokio::time::timeout(wait, put).await);
        if n % 3 == 0 {
            let give = ledger.register_consent(person(n % 4), consent(u128::from(n)));
            drop(tokio::time::timeout(wait, give).await);
        }
    }
    // Whoever comes next waits for what is still on its way, and is not stuck behind it.
    for n in 0..4 {
        put_one(
            &ledger,
            record(person(n), &format!("o-{n}"), "last", "last"),
        )
        .await
        .unwrap();
        assert_eq!(texts(&ledger, &person(n), &Query::all()), ["last"]);
    }
    let live = tables(&ledger);
    drop(ledger);
    assert_eq!(tables(&home.open_rebuilt()), live);
}
