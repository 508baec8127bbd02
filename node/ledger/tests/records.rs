//! Storing: the very bytes come back, twice is once, versions supersede, all or nothing, one key for one person.

use std::collections::BTreeSet;

use record::Level;

use super::support::*;
use crate::{BATCH_MAX, LedgerError, Query};

#[tokio::test(flavor = "multi_thread")]
async fn the_very_bytes_come_back() {
    let home = Home::new();
    let ledger = home.open();
    let odd = "{ \"resourceType\" : \"Observation\",\r\n \"value\": 1.50, \"note\": \"复查\" }\n";
    let new = record(person(1), "o-1", "1", odd);
    let header = new.header.clone();
    let done = put_one(&ledger, new).await.unwrap();
    assert!(done.stored && done.xid.is_some());
    let is_there = |ledger: &crate::Ledger| {
        let list = found(ledger, &person(1), &Query::all());
        let stored = ledger.open_record(&person(1), &list[0]).unwrap();
        assert_eq!((stored.original.as_slice(), &stored.header, stored.seq), (odd.as_bytes(), &header, done.seq));
        assert!(ledger.knows(&person(1)).unwrap() && !ledger.knows(&person(2)).unwrap());
        assert!(found(ledger, &person(2), &Query::all()).is_empty());
    };
    is_there(&ledger);
    drop(ledger);
    is_there(&home.open());
}

#[tokio::test(flavor = "multi_thread")]
async fn twice_is_once_and_another_content_is_a_conflict() {
    let home = Home::new();
    let ledger = home.open();
    let first = put_one(&ledger, record(person(1), "o-1", "1", "a")).await.unwrap();
    let again = put_one(&ledger, record(person(1), "o-1", "1", "a")).await.unwrap();
    assert_eq!((again.seq, again.stored, again.xid), (first.seq, false, None));
    let events = ledger.health().events;
    let other = put_one(&ledger, record(person(1), "o-1", "1", "b")).await;
    assert!(matches!(other, Err(LedgerError::Conflict)));
    let of_another = put_one(&ledger, record(person(2), "o-1", "1", "a")).await;
    assert!(matches!(of_another, Err(LedgerError::Conflict)), "the same bytes about somebody else are not the same");
    assert_eq!(ledger.health().events, events, "nothing was written");
    assert_eq!(texts(&ledger, &person(1), &history()), ["a"]);
    assert!(!ledger.knows(&person(2)).unwrap(), "a refused record makes no person known");
    // An old version that comes again after a newer one is still the old one.
    put_one(&ledger, record(person(1), "o-1", "2", "b")).await.unwrap();
    assert_eq!(put_one(&ledger, record(person(1), "o-1", "1", "a")).await.unwrap().seq, first.seq);
    assert_eq!(texts(&ledger, &person(1), &Query::all()), ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_takes_the_place_of_the_one_before() {
    let home = Home::new();
    let ledger = home.open();
    for (version, effective_ms) in [("1", 5_000), ("2", 9_000), ("3", 2_000)] {
        let mut new = record(person(1), "o-1", version, version);
        new.header.effective = Some(record::Timestamp::from_ms(effective_ms));
        put_one(&ledger, new).await.unwrap();
    }
    put_one(&ledger, record(person(1), "o-2", "1", "other")).await.unwrap();
    assert_eq!(texts(&ledger, &person(1), &Query::all()), ["other", "3"]);
    assert_eq!(texts(&ledger, &person(1), &history()), ["other", "2", "1", "3"], "newest clinical time first");
    assert_eq!(ledger.summary(&person(1), &vitals(), &Query::all()).unwrap().records, 2);
    assert_eq!(ledger.summary(&person(1), &vitals(), &history()).unwrap().records, 4);
    assert_eq!(ledger.health().records, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_of_another_type_takes_the_place_too() {
    let home = Home::new();
    let ledger = home.open();
    put_one(&ledger, record(person(1), "o-1", "1", "a")).await.unwrap();
    let mut new = record(person(1), "o-1", "2", "b");
    new.header.type_code = code("exam-report");
    put_one(&ledger, new).await.unwrap();
    assert!(texts(&ledger, &person(1), &Query::all()).is_empty(), "it is no longer among the vitals");
    let page = ledger.find(&person(1), &code("exam-report"), &Query::all(), None, 10).unwrap();
    assert_eq!(page.found.len(), 1);
    let live = tables(&ledger);
    drop(ledger);
    assert_eq!(tables(&home.open_rebuilt()), live);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_does_not_move_from_one_person_to_another() {
    let home = Home::new();
    let ledger = home.open();
    let mut patient = record(person(1), "p-1", "1", "{}");
    patient.header.resource_type = "Patient".into();
    put_one(&ledger, patient).await.unwrap();
    let mut moved = record(person(2), "p-1", "2", "{ }");
    moved.header.resource_type = "Patient".into();
    assert!(matches!(put_one(&ledger, moved).await, Err(LedgerError::SubjectChanged)));
    assert_eq!(ledger.subject_of_patient(SOURCE, "p-1").unwrap(), Some(person(1)));
    assert_eq!(texts(&ledger, &person(1), &Query::all()), ["{}"]);
    assert!(!ledger.knows(&person(2)).unwrap());
    // Once the person is erased the id is free.
    ledger.erase_subject(person(1), "request").await.unwrap();
    assert_eq!(ledger.subject_of_patient(SOURCE, "p-1").unwrap(), None);
    let mut anew = record(person(2), "p-1", "2", "{ }");
    anew.header.resource_type = "Patient".into();
    put_one(&ledger, anew).await.unwrap();
    assert_eq!(ledger.subject_of_patient(SOURCE, "p-1").unwrap(), Some(person(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_id_is_its_sources_own() {
    let home = Home::new();
    let ledger = home.open();
    let mut patient = record(person(1), "p-1", "1", "{}");
    patient.header.resource_type = "Patient".into();
    put_one(&ledger, patient).await.unwrap();
    put_one(&ledger, record(person(2), "p-2", "1", "{}")).await.unwrap();
    assert_eq!(ledger.subject_of_patient(SOURCE, "p-1").unwrap(), Some(person(1)));
    assert_eq!(ledger.subject_of_patient("another", "p-1").unwrap(), None);
    assert_eq!(ledger.subject_of_patient(SOURCE, "p-2").unwrap(), None, "an observation is no patient");
    drop(ledger);
    assert_eq!(home.open().subject_of_patient(SOURCE, "p-1").unwrap(), Some(person(1)));
}

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
    let stored: Vec<_> = outcomes.iter().map(|o| o.as_ref().map(|d| d.stored).ok()).collect();
    assert_eq!(stored, [Some(true), Some(true), Some(true), Some(false), None, Some(true)]);
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
    put_one(&ledger, record(person(1), "o-1", "1", "a")).await.unwrap();
    let (events, rows) = (ledger.health().events, tables(&ledger));
    let conflicting = || vec![
        record(person(2), "o-2", "1", "b"),
        record(person(1), "o-1", "1", "changed"),
        record(person(3), "o-3", "1", "c"),
    ];
    assert!(matches!(ledger.put_all(conflicting()).await, Err(LedgerError::Conflict)));
    let twice = vec![record(person(2), "o-2", "1", "b"), record(person(2), "o-2", "2", "c")];
    assert!(matches!(ledger.put_all(twice).await, Err(LedgerError::Conflict)));
    let huge = vec![record(person(2), "o-2", "1", "b"), record(person(2), "o-4", "1", &"x".repeat(80_000))];
    assert!(matches!(ledger.put_all(huge).await, Err(LedgerError::TooLarge)));
    assert_eq!((ledger.health().events, tables(&ledger)), (events, rows));
    assert!(!ledger.knows(&person(2)).unwrap() && !ledger.knows(&person(3)).unwrap());
    let good = vec![record(person(1), "o-1", "1", "a"), record(person(2), "o-2", "1", "b"), record(person(3), "o-3", "1", "c")];
    let done = ledger.put_all(good).await.unwrap();
    assert_eq!(done.iter().map(|d| d.stored).collect::<Vec<_>>(), [false, true, true]);
    let hashes: BTreeSet<_> = (events..ledger.health().events)
        .map(|seq| ledger.0.journal.scan(seq).next().unwrap().unwrap().frame_hash)
        .collect();
    assert_eq!(hashes.len(), 1, "one frame");
    // The same again, one by one: the conflict is one record's own.
    let outcomes = ledger.put(conflicting()).await.unwrap();
    assert!(outcomes[0].is_ok() && matches!(outcomes[1], Err(LedgerError::Conflict)) && outcomes[2].is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_record_that_is_too_large_does_not_hold_up_the_others() {
    let home = Home::new();
    let ledger = home.open();
    let mut batch: Vec<_> = (0..40).map(|n| record(person(n % 3), &format!("o-{n}"), "1", &"y".repeat(5_000))).collect();
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
    let many = (0..=BATCH_MAX).map(|n| record(person(1), &format!("m-{n}"), "1", "")).collect();
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
                        ledger.register_consent(subject, consent(u128::from(round * 100 + n))).await.unwrap();
                    } else {
                        // Some of the same series, some of the same version.
                        let id = format!("r{round}-{}", n % 6);
                        put_one(&ledger, record(subject, &id, &format!("{}", n % 2), "text")).await.unwrap();
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
        assert_eq!(ledger.consents(person(round)).await.unwrap().entries.len(), 3);
    }
    drop(ledger);
    assert_eq!(tables(&home.open_rebuilt()), live);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_nothing_half_done() {
    let home = Home::new();
    let ledger = home.open();
    for n in 0..60_u64 {
        let put = ledger.put(vec![record(person(n % 4), &format!("o-{}", n % 4), &n.to_string(), "x")]);
        let wait = std::time::Duration::from_micros(n * 40);
        drop(tokio::time::timeout(wait, put).await);
        if n % 3 == 0 {
            let give = ledger.register_consent(person(n % 4), consent(u128::from(n)));
            drop(tokio::time::timeout(wait, give).await);
        }
    }
    // Whoever comes next waits for what is still on its way, and is not stuck behind it.
    for n in 0..4 {
        put_one(&ledger, record(person(n), &format!("o-{n}"), "last", "last")).await.unwrap();
        assert_eq!(texts(&ledger, &person(n), &Query::all()), ["last"]);
    }
    let live = tables(&ledger);
    drop(ledger);
    assert_eq!(tables(&home.open_rebuilt()), live);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_above_the_limit_does_not_show() {
    let home = Home::new();
    let ledger = home.open();
    for n in 0..10_u8 {
        let mut new = record_at(person(1), &format!("o-{n}"), i64::from(n));
        new.header.level = Level::new(if n % 2 == 0 { 3 } else { 5 }).unwrap();
        put_one(&ledger, new).await.unwrap();
    }
    for query in [Query::all(), history()] {
        let up_to = |level| Query { level_max: Level::new(level).unwrap(), ..query.clone() };
        assert_eq!(found(&ledger, &person(1), &up_to(4)).len(), 5);
        assert_eq!(ledger.summary(&person(1), &vitals(), &up_to(4)).unwrap().records, 5);
        let newest = ledger.summary(&person(1), &vitals(), &up_to(4)).unwrap().newest;
        assert_eq!(newest.map(record::Timestamp::as_ms), Some(8), "nor does its time");
        assert_eq!(found(&ledger, &person(1), &up_to(5)).len(), 10);
        assert_eq!(found(&ledger, &person(1), &up_to(2)).len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_counts_and_closing_is_in_good_order() {
    let home = Home::new();
    let ledger = home.open();
    assert_eq!((ledger.health().events, ledger.health().read_only), (0, None));
    put_one(&ledger, record(person(1), "o-1", "1", "a")).await.unwrap();
    put_one(&ledger, record(person(1), "o-1", "2", "b")).await.unwrap();
    let health = ledger.health();
    assert_eq!((health.events, health.records, health.subjects, health.read_only), (3, 1, 1, None));
    assert_eq!(ledger.owned_events().unwrap(), 3);
    let xid = ledger.new_exchange().unwrap();
    assert!(!ledger.has_seen(&xid).unwrap());
    let acked = ledger.record_access(crate::Access { xid, ..access(&ledger, 1, None, None) }).await.unwrap();
    ledger.close().await.unwrap();
    assert!(ledger.has_seen(&xid).unwrap());
    assert_eq!(ledger.leaf(acked.seq()).unwrap(), ledger.leaf(3).unwrap());
    assert_eq!(of_type(&leaves(&ledger), "shutdown"), [4]);
    drop(ledger);
    let (_ledger, opening) = home.open_with(keyring(0)).unwrap();
    assert_eq!((opening.events, opening.replayed, opening.rebuilt), (5, 0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_owner_and_is_free_when_the_last_clone_goes() {
    let home = Home::new();
    for n in 0..20 {
        let ledger = home.open();
        assert!(matches!(home.open_with(keyring(0)), Err(LedgerError::Open(_))));
        let task = { let ledger = ledger.clone(); tokio::spawn(async move { put_one(&ledger, record(person(n), &format!("o-{n}"), "1", "a")).await }) };
        task.await.unwrap().unwrap();
        let acked = ledger.log(ledger.leaf_now(record::leaf::EventType::Admin)).await.unwrap();
        assert!(acked.seq() > 0);
    }
}
