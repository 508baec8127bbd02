//! Storing: the very bytes come back, twice is once, versions supersede, all or nothing, one key for one person.

use record::Level;

use super::support::*;
use crate::{LedgerError, Query};

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
        assert_eq!(
            (stored.original.as_slice(), &stored.header, stored.seq),
            (odd.as_bytes(), &header, done.seq)
        );
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
    let first = put_one(&ledger, record(person(1), "o-1", "1", "a"))
        .await
        .unwrap();
    let again = put_one(&ledger, record(person(1), "o-1", "1", "a"))
        .await
        .unwrap();
    assert_eq!(
        (again.seq, again.stored, again.xid),
        (first.seq, false, None)
    );
    let events = ledger.health().events;
    let other = put_one(&ledger, record(person(1), "o-1", "1", "b")).await;
    assert!(matches!(other, Err(LedgerError::Conflict)));
    let of_another = put_one(&ledger, record(person(2), "o-1", "1", "a")).await;
    assert!(
        matches!(of_another, Err(LedgerError::Conflict)),
        "the same bytes about somebody else are not the same"
    );
    assert_eq!(ledger.health().events, events, "nothing was written");
    assert_eq!(texts(&ledger, &person(1), &history()), ["a"]);
    assert!(
        !ledger.knows(&person(2)).unwrap(),
        "a refused record makes no person known"
    );
    // An old version that comes again after a newer one is still the old one.
    put_one(&ledger, record(person(1), "o-1", "2", "b"))
        .await
        .unwrap();
    assert_eq!(
        put_one(&ledger, record(person(1), "o-1", "1", "a"))
            .await
            .unwrap()
            .seq,
        first.seq
    );
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
    put_one(&ledger, record(person(1), "o-2", "1", "other"))
        .await
        .unwrap();
    assert_eq!(texts(&ledger, &person(1), &Query::all()), ["other", "3"]);
    assert_eq!(
        texts(&ledger, &person(1), &history()),
        ["other", "2", "1", "3"],
        "newest clinical time first"
    );
    assert_eq!(
        ledger
            .summary(&person(1), &vitals(), &Query::all())
            .unwrap()
            .records,
        2
    );
    assert_eq!(
        ledger
            .summary(&person(1), &vitals(), &history())
            .unwrap()
            .records,
        4
    );
    assert_eq!(ledger.health().records, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_of_another_type_takes_the_place_too() {
    let home = Home::new();
    let ledger = home.open();
    put_one(&ledger, record(person(1), "o-1", "1", "a"))
        .await
        .unwrap();
    let mut new = record(person(1), "o-1", "2", "b");
    new.header.type_code = code("exam-report");
    put_one(&ledger, new).await.unwrap();
    assert!(
        texts(&ledger, &person(1), &Query::all()).is_empty(),
        "it is no longer among the vitals"
    );
    let page = ledger
        .find(&person(1), &code("exam-report"), &Query::all(), None, 10)
        .unwrap();
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
    assert!(matches!(
        put_one(&ledger, moved).await,
        Err(LedgerError::SubjectChanged)
    ));
    assert_eq!(
        ledger.subject_of_patient(SOURCE, "p-1").unwrap(),
        Some(person(1))
    );
    assert_eq!(texts(&ledger, &person(1), &Query::all()), ["{}"]);
    assert!(!ledger.knows(&person(2)).unwrap());
    // Once the person is erased the id is free.
    ledger.erase_subject(person(1), "request").await.unwrap();
    assert_eq!(ledger.subject_of_patient(SOURCE, "p-1").unwrap(), None);
    let mut anew = record(person(2), "p-1", "2", "{ }");
    anew.header.resource_type = "Patient".into();
    put_one(&ledger, anew).await.unwrap();
    assert_eq!(
        ledger.subject_of_patient(SOURCE, "p-1").unwrap(),
        Some(person(2))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_id_is_its_sources_own() {
    let home = Home::new();
    let ledger = home.open();
    let mut patient = record(person(1), "p-1", "1", "{}");
    patient.header.resource_type = "Patient".into();
    put_one(&ledger, patient).await.unwrap();
    put_one(&ledger, record(person(2), "p-2", "1", "{}"))
        .await
        .unwrap();
    assert_eq!(
        ledger.subject_of_patient(SOURCE, "p-1").unwrap(),
        Some(person(1))
    );
    assert_eq!(ledger.subject_of_patient("another", "p-1").unwrap(), None);
    assert_eq!(
        ledger.subject_of_patient(SOURCE, "p-2").unwrap(),
        None,
        "an observation is no patient"
    );
    drop(ledger);
    assert_eq!(
        home.open().subject_of_patient(SOURCE, "p-1").unwrap(),
        Some(person(1))
    );
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
        let up_to = |level| Query {
            level_max: Level::new(level).unwrap(),
            ..query.clone()
        };
        assert_eq!(found(&ledger, &person(1), &up_to(4)).len(), 5);
        assert_eq!(
            ledger
                .summary(&person(1), &vitals(), &up_to(4))
                .unwrap()
                .records,
            5
        );
        let newest = ledger
            .summary(&person(1), &vitals(), &up_to(4))
            .unwrap()
            .newest;
        assert_eq!(
            newest.map(record::Timestamp::as_ms),
            Some(8),
            "nor does its time"
        );
        assert_eq!(found(&ledger, &person(1), &up_to(5)).len(), 10);
        assert_eq!(found(&ledger, &person(1), &up_to(2)).len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_counts_and_closing_is_in_good_order() {
    let home = Home::new();
    let ledger = home.open();
    assert_eq!(
        (ledger.health().events, ledger.health().read_only),
        (0, None)
    );
    put_one(&ledger, record(person(1), "o-1", "1", "a"))
        .await
        .unwrap();
    put_one(&ledger, record(person(1), "o-1", "2", "b"))
        .await
        .unwrap();
    let health = ledger.health();
    assert_eq!(
        (
            health.events,
            health.records,
            health.subjects,
            health.read_only
        ),
        (3, 1, 1, None)
    );
    assert_eq!(ledger.owned_events().unwrap(), 3);
    let xid = ledger.new_exchange().unwrap();
    assert!(!ledger.has_seen(&xid).unwrap());
    let acked = ledger
        .record_access(crate::Access {
            xid,
            ..access(&ledger, 1, None, None)
        })
        .await
        .unwrap();
    ledger.close().await.unwrap();
    assert!(ledger.has_seen(&xid).unwrap());
    assert_eq!(ledger.leaf(acked.seq()).unwrap(), ledger.leaf(3).unwrap());
    assert_eq!(of_type(&leaves(&ledger), "shutdown"), [4]);
    drop(ledger);
    let (_ledger, opening) = home.open_with(keyring(0)).unwrap();
    assert_eq!(
        (opening.events, opening.replayed, opening.rebuilt),
        (5, 0, None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_owner_and_is_free_when_the_last_clone_goes() {
    let home = Home::new();
    for n in 0..20 {
        let ledger = home.open();
        assert!(matches!(
            home.open_with(keyring(0)),
            Err(LedgerError::Open(_))
        ));
        let task = {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                put_one(&ledger, record(person(n), &format!("o-{n}"), "1", "a")).await
            })
        };
        task.await.unwrap().unwrap();
        let acked = ledger
            .log(ledger.leaf_now(record::leaf::EventType::Admin))
            .await
            .unwrap();
        assert!(acked.seq() > 0);
    }
}
