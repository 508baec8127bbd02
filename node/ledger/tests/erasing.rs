//! Erasure: nothing of the person is left, not in the index, not on disk, not after a crash anywhere in between.

use journal::{Event, Location, Priority};
use record::leaf::EventType;

use super::quarantine::broken;
use super::support::*;
use crate::row::Row;
use crate::{Ledger, LedgerError, Query};

/// Two people, the first of whom will go: records in versions, a patient, consents, accesses, quarantine.
async fn two_people(ledger: &Ledger) {
    for p in [1, 2] {
        let subject = person(p);
        let mut patient = record(subject, &format!("p-{p}"), "1", "patient");
        patient.header.resource_type = "Patient".into();
        put_one(ledger, patient).await.unwrap();
        for n in 0..6 {
            let text = format!("SECRET-{p}-{n}").repeat(20);
            put_one(
                ledger,
                record(subject, &format!("o-{p}-{}", n / 2), &n.to_string(), &text),
            )
            .await
            .unwrap();
        }
        ledger
            .register_consent(subject, consent(u128::from(p * 10)))
            .await
            .unwrap();
        ledger
            .register_consent(subject, consent(u128::from(p * 10 + 1)))
            .await
            .unwrap();
        ledger
            .withdraw_consent(subject, consent(u128::from(p * 10)).id)
            .await
            .unwrap();
        let view = ledger.consents(subject).await.unwrap();
        ledger
            .record_access(access(ledger, u128::from(p), Some(subject), Some(&view)))
            .await
            .unwrap();
        ledger
            .quarantine(broken(SOURCE, &format!("q-{p}"), Some(subject), "broken"))
            .await
            .unwrap();
    }
}

async fn is_gone(ledger: &Ledger, home: &Home, parts: &[Location]) {
    let gone = person(1);
    assert!(!ledger.knows(&gone).unwrap());
    assert!(
        found(ledger, &gone, &Query::all()).is_empty()
            && found(ledger, &gone, &history()).is_empty()
    );
    assert!(ledger.consents(gone).await.unwrap().entries.is_empty());
    assert_eq!(ledger.subject_of_patient(SOURCE, "p-1").unwrap(), None);
    assert!(owned(ledger, &gone).is_empty());
    assert!(
        ledger
            .has_seen(&record::ExchangeId::from_bytes(1_u128.to_be_bytes()))
            .unwrap()
    );
    for location in parts {
        assert!(
            home.sealed_bytes(location).iter().all(|b| *b == 0),
            "event {}",
            location.seq
        );
        assert!(ledger.leaf(location.seq).is_ok(), "leaves stay");
        assert!(matches!(
            ledger.0.journal.read(location),
            Err(journal::Error::Erased { .. })
        ));
    }
    let listed = ledger.quarantined(SOURCE, None, 9).unwrap();
    assert_eq!(
        listed
            .iter()
            .map(|e| e.record_id.as_str())
            .collect::<Vec<_>>(),
        ["q-2"]
    );
}

async fn is_there(ledger: &Ledger) {
    let stays = person(2);
    assert_eq!(texts(ledger, &stays, &Query::all()).len(), 4);
    assert_eq!(texts(ledger, &stays, &history()).len(), 7);
    assert_eq!(ledger.consents(stays).await.unwrap().entries.len(), 2);
    assert_eq!(
        ledger.subject_of_patient(SOURCE, "p-2").unwrap(),
        Some(stays)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_and_nothing_comes_back() {
    let home = Home::new();
    let ledger = home.open();
    two_people(&ledger).await;
    let parts = owned(&ledger, &person(1));
    let list = found(&ledger, &person(1), &Query::all());
    let access_seq = of_type(&leaves(&ledger), "disclosure")[0];
    assert!(ledger.access_detail(access_seq).is_ok());
    assert!(matches!(
        ledger.erase_subject(person(9), "x").await,
        Err(LedgerError::SubjectUnresolved)
    ));
    let erased = ledger
        .erase_subject(person(1), "request of the person")
        .await
        .unwrap();
    assert_eq!(erased.bodies, parts.len() as u64);
    is_gone(&ledger, &home, &parts).await;
    is_there(&ledger).await;
    assert!(matches!(
        ledger.open_record(&person(1), &list[0]),
        Err(LedgerError::Erased)
    ));
    assert!(matches!(
        ledger.access_detail(access_seq),
        Err(LedgerError::Erased)
    ));
    assert!(matches!(
        ledger.erase_subject(person(1), "x").await,
        Err(LedgerError::SubjectUnresolved)
    ));
    let leaf: serde_json::Value =
        serde_json::from_slice(&ledger.leaf(erased.seq).unwrap()).unwrap();
    assert_eq!(
        (&leaf["typ"], &leaf["n"]),
        (&"erase-executed".into(), &parts.len().into())
    );
    let live = tables(&ledger);
    drop(ledger);
    let ledger = home.open();
    is_gone(&ledger, &home, &parts).await;
    drop(ledger);
    let ledger = home.open_rebuilt();
    is_gone(&ledger, &home, &parts).await;
    is_there(&ledger).await;
    assert_eq!(tables(&ledger), live);
    // The person may come anew, with a new key; the old parts stay gone.
    put_one(&ledger, record(person(1), "o-1-0", "1", "anew"))
        .await
        .unwrap();
    assert_eq!(texts(&ledger, &person(1), &history()), ["anew"]);
    let live = tables(&ledger);
    drop(ledger);
    let ledger = home.open_rebuilt();
    assert_eq!(texts(&ledger, &person(1), &history()), ["anew"]);
    assert_eq!(tables(&ledger), live);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_parts_than_one_portion() {
    let home = Home::new();
    let ledger = home.open();
    for round in 0..5 {
        let batch = (0..900)
            .map(|n| record_at(person(1), &format!("o-{round}-{n}"), n))
            .collect();
        assert!(ledger.put(batch).await.unwrap().iter().all(Result::is_ok));
    }
    put_one(&ledger, record(person(2), "o", "1", "other"))
        .await
        .unwrap();
    let erased = ledger.erase_subject(person(1), "x").await.unwrap();
    assert_eq!(erased.bodies, 4501);
    let live = tables(&ledger);
    // What is left: the other's key, record, and nothing else.
    assert_eq!(
        live.len(),
        2 + 1 + 4,
        "{:?}",
        live.keys().map(|(t, _)| t).collect::<Vec<_>>()
    );
    drop(ledger);
    assert_eq!(tables(&home.open_rebuilt()), live);
}

/// A crash between the erasure's event and its end: with any part of the overwriting done, halfway done or not done, and
/// with the index as it was then, as it was long before, or lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_a_crash_interrupted_is_finished_at_the_next_start() {
    let mut noise = Noise(11);
    for round in 0..18 {
        let home = Home::new();
        let ledger = home.open();
        ledger
            .register_consent(person(3), consent(99))
            .await
            .unwrap();
        if round % 6 < 3 {
            // The key and the first records belong to what the older index knows.
            put_one(&ledger, record(person(1), "first", "1", "SECRET"))
                .await
                .unwrap();
        }
        ledger.close().await.unwrap();
        drop(ledger);
        let older = home.dir.path().join("older");
        copy_folder(&home.index(), &older);
        let ledger = home.open();
        two_people(&ledger).await;
        let parts = owned(&ledger, &person(1));
        let handle = ledger.key_of(&person(1)).unwrap().unwrap().owner.handle;
        let leaf = ledger
            .leaf_now(EventType::EraseExecuted)
            .hex("kh", &handle)
            .number("n", 0)
            .to_bytes();
        let row = ledger.sealed_row(&Row::Erase { handle }).unwrap();
        drop(ledger);
        let journal = home.journal_alone();
        let event = Event {
            leaf,
            row,
            body: Vec::new(),
        };
        let _acked = journal
            .submit(vec![event], Priority::Audit)
            .unwrap()
            .wait()
            .unwrap();
        for (n, part) in parts.iter().enumerate() {
            // The key is the first; it is destroyed in some rounds and whole in others.
            match noise.below(3) {
                0 => journal.erase(&[*part]).unwrap(),
                1 if n > 0 || round % 2 == 0 => home.tamper(part, 0, |bytes| {
                    let half = bytes.len() / 2;
                    bytes[..half].fill(0);
                }),
                _ => {}
            }
        }
        drop(journal);
        match round % 3 {
            0 => {}
            1 => {
                std::fs::remove_dir_all(home.index()).unwrap();
                std::fs::rename(&older, home.index()).unwrap();
            }
            _ => std::fs::remove_dir_all(home.index()).unwrap(),
        }
        let ledger = home.open();
        is_gone(&ledger, &home, &parts).await;
        is_there(&ledger).await;
        let live = tables(&ledger);
        put_one(&ledger, record(person(1), "o-1-0", "1", "anew"))
            .await
            .unwrap();
        assert_eq!(
            texts(&ledger, &person(1), &history()),
            ["anew"],
            "round {round}"
        );
        ledger.erase_subject(person(1), "x").await.unwrap();
        let after = tables(&ledger);
        assert_eq!(after, live, "round {round}");
        drop(ledger);
        assert_eq!(tables(&home.open_rebuilt()), live, "round {round}");
    }
}

/// A row that cannot be read and does not belong to an erasure is rot: nothing is served from an index without it.
#[tokio::test(flavor = "multi_thread")]
async fn rot_does_not_pass_for_an_erasure() {
    let home = Home::new();
    let ledger = home.open();
    two_people(&ledger).await;
    let part = owned(&ledger, &person(2))[3];
    ledger.erase_subject(person(1), "x").await.unwrap();
    drop(ledger);
    home.tamper(&part, 0, |bytes| bytes[5] ^= 1);
    std::fs::remove_dir_all(home.index()).unwrap();
    let Err(refused) = home.open_with(keyring(0)) else {
        panic!("opened without a row")
    };
    assert!(matches!(refused, LedgerError::Damaged(_)));
    assert!(
        refused.to_string().contains(&format!("event {}", part.seq)),
        "{refused}"
    );
    home.tamper(&part, 0, |bytes| bytes[5] ^= 1);
    is_there(&home.open()).await;
}

/// Whatever is under way about the person while it is erased: it comes before and is erased, or is turned away.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_under_way_does_not_outlive_it() {
    let home = Home::new();
    let ledger = home.open();
    for round in 0..25_u64 {
        let subject = person(round);
        put_one(
            &ledger,
            record(subject, &format!("first-{round}"), "1", "x"),
        )
        .await
        .unwrap();
        let view = ledger.consents(subject).await.unwrap();
        let mut tasks = Vec::new();
        for n in 0..6_u64 {
            let (ledger, view) = (ledger.clone(), view.clone());
            tasks.push(tokio::spawn(async move {
                for i in 0..4 {
                    let xid = u128::from(round * 1_000 + n * 10 + i);
                    match n % 4 {
                        0 => drop(
                            put_one(
                                &ledger,
                                record(subject, &format!("{round}-{n}-{i}"), "1", "x"),
                            )
                            .await,
                        ),
                        1 => drop(
                            ledger
                                .quarantine(broken(SOURCE, "q", Some(subject), "x"))
                                .await,
                        ),
                        2 => {
                            let cut =
                                std::time::Duration::from_micros((round + n * 97 + i * 31) % 300);
                            let one = ledger.record_access(access(
                                &ledger,
                                xid,
                                Some(subject),
                                Some(&view),
                            ));
                            drop(tokio::time::timeout(cut, one).await);
                        }
                        _ => drop(
                            ledger
                                .record_access(access(&ledger, xid, Some(subject), None))
                                .await,
                        ),
                    }
                }
            }));
        }
        let erased = ledger.erase_subject(subject, "x").await.unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        // A record that came after it has a new key; what was sealed under the old one is gone.
        let handle_then: serde_json::Value =
            serde_json::from_slice(&ledger.leaf(erased.seq).unwrap()).unwrap();
        for (seq, leaf) in leaves(&ledger) {
            if leaf["kh"] == handle_then["kh"] && seq != erased.seq {
                assert!(
                    seq < erased.seq,
                    "event {seq} was sealed under a destroyed key"
                );
                let location = ledger.0.journal.locate(seq).unwrap();
                assert!(
                    home.sealed_bytes(&location).iter().all(|b| *b == 0),
                    "event {seq} was not overwritten"
                );
            }
        }
        for text in texts(&ledger, &subject, &history()) {
            assert_eq!(text, "x");
        }
    }
    let live = tables(&ledger);
    drop(ledger);
    assert_eq!(tables(&home.open_rebuilt()), live);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_in_the_same_batch_are_not_turned_away() {
    let home = Home::new();
    let ledger = home.open();
    put_one(&ledger, record(person(1), "a", "1", "x"))
        .await
        .unwrap();
    ledger.0.admission.lock().erasing.insert(person(1));
    let batch = || {
        vec![
            record(person(1), "a", "2", "x"),
            record(person(2), "b", "1", "x"),
        ]
    };
    let outcomes = ledger.put(batch()).await.unwrap();
    assert!(matches!(outcomes[0], Err(LedgerError::Erased)) && outcomes[1].is_ok());
    assert!(matches!(
        ledger.put_all(batch()).await,
        Err(LedgerError::Erased)
    ));
    assert!(matches!(
        ledger.register_consent(person(1), consent(1)).await,
        Err(LedgerError::Erased)
    ));
    assert!(matches!(
        ledger.erase_subject(person(1), "x").await,
        Err(LedgerError::Erased)
    ));
    // What rests on a view from before is not recorded, not even as about nobody.
    let before = ledger.consents(person(3)).await.unwrap();
    ledger.0.admission.lock().erasing.insert(person(3));
    let refused = ledger
        .record_access(access(&ledger, 4, Some(person(3)), Some(&before)))
        .await;
    assert!(matches!(refused, Err(LedgerError::ConsentChanged)));
    // A refusal is recorded all the same, about nobody known.
    let acked = ledger
        .record_access(access(&ledger, 5, Some(person(1)), None))
        .await
        .unwrap();
    assert!(
        !String::from_utf8(ledger.leaf(acked.seq()).unwrap())
            .unwrap()
            .contains("\"kh\"")
    );
    assert!(ledger.access_detail(acked.seq()).is_ok());
    ledger.0.admission.leave(|pending| {
        pending.erasing.remove(&person(1));
    });
    ledger.erase_subject(person(1), "x").await.unwrap();
}
