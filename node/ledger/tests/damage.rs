//! Rot, a full disk and a failing one: told with its place, and no further than it reaches.

use std::sync::Arc;

use journal::sim::{Fault, Memory, Op, Trigger};
use seal::SystemEntropy;

use super::support::*;
use crate::{Ledger, LedgerError, LedgerHealth, Query};

#[tokio::test(flavor = "multi_thread")]
async fn one_rotten_record_is_named_and_the_others_go_on() {
    let home = Home::new();
    let ledger = home.open();
    for n in 0..5 {
        put_one(&ledger, record_at(person(1), &format!("o-{n}"), n))
            .await
            .unwrap();
    }
    let location = *owned(&ledger, &person(1)).get(3).unwrap();
    home.tamper(&location, u64::from(location.row_len) + 20, |bytes| {
        bytes[0] ^= 0x10;
    });
    let is_named = |ledger: &Ledger| {
        for one in &found(ledger, &person(1), &Query::all()) {
            let opened = ledger.open_record(&person(1), one);
            if one.position.seq != location.seq {
                assert!(opened.is_ok());
                continue;
            }
            let Err(LedgerError::Damaged(place)) = opened else {
                panic!("rot was served")
            };
            assert!(
                place.contains(&format!("{:08}.seg", location.segment)),
                "{place}"
            );
            assert!(
                place.contains(&format!("byte {}", location.offset)),
                "{place}"
            );
        }
    };
    is_named(&ledger);
    put_one(&ledger, record_at(person(1), "new", 99))
        .await
        .unwrap();
    drop(ledger);
    let ledger = home.open();
    assert_eq!(found(&ledger, &person(1), &Query::all()).len(), 6);
    is_named(&ledger);
    put_one(&ledger, record_at(person(1), "newer", 99))
        .await
        .unwrap();
    // What hangs together with it is not stopped by it: the person can still be erased.
    ledger.erase_subject(person(1), "x").await.unwrap();
    assert!(home.sealed_bytes(&location).iter().all(|b| *b == 0));
}

fn on_memory(home: &Home, disk: &Memory) -> Ledger {
    let options = home.options();
    let io: Arc<dyn journal::Io> = Arc::new(disk.clone());
    Ledger::open_on(
        &io,
        options,
        secrets(keyring(0)),
        home.time(),
        Arc::new(SystemEntropy::new()),
    )
    .unwrap()
    .0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_records_and_nothing_else() {
    let home = Home::new();
    let disk = Memory::new(1);
    let ledger = on_memory(&home, &disk);
    ledger
        .register_consent(person(0), consent(1))
        .await
        .unwrap();
    put_one(&ledger, record(person(0), "kept", "1", "kept"))
        .await
        .unwrap();
    disk.set_capacity(Some(disk.used()));
    let mut stored = 0;
    let full = loop {
        match ledger
            .put(vec![record(
                person(0),
                &format!("o-{stored}"),
                "1",
                &"z".repeat(3_000),
            )])
            .await
        {
            Ok(outcomes) => stored += u64::from(outcomes[0].as_ref().unwrap().stored),
            Err(fault) => break fault,
        }
        assert!(stored < 1_000);
    };
    assert!(matches!(full, LedgerError::Full), "{full}");
    assert_eq!(full.reason(), record::ReasonCode::StorageFull);
    assert_eq!(ledger.health().read_only, Some(LedgerHealth::Full));
    assert_eq!(
        found(&ledger, &person(0), &Query::all()).len() as u64,
        stored + 1,
        "reads go on"
    );
    // The reserve takes what was refused, and a person's stop.
    ledger
        .record_access(access(&ledger, 1, Some(person(0)), None))
        .await
        .unwrap();
    ledger
        .withdraw_consent(person(0), consent(1).id)
        .await
        .unwrap();
    assert_eq!(
        ledger.consents(person(0)).await.unwrap().entries[0].state,
        crate::ConsentState::Withdrawn
    );
    assert!(matches!(
        ledger
            .put(vec![record(person(0), "no", "1", &"z".repeat(3_000))])
            .await,
        Err(LedgerError::Full)
    ));
    disk.set_capacity(None);
    let mut tries = 0;
    while ledger
        .put(vec![record(person(0), "again", "1", &"z".repeat(3_000))])
        .await
        .is_err()
    {
        tries += 1;
        assert!(tries < 10_000, "writes resume by themselves");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let live = tables(&ledger);
    drop(ledger);
    std::fs::remove_dir_all(home.index()).unwrap();
    assert_eq!(tables(&on_memory(&home, &disk)), live);
}

/// Whatever was acknowledged before the disk failed is there after the restart; afterwards nothing is accepted.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_disk_stops_everything_and_loses_nothing_acknowledged() {
    for round in 0..12_u32 {
        let home = Home::new();
        let disk = Memory::new(u64::from(round));
        let ledger = on_memory(&home, &disk);
        put_one(&ledger, record(person(1), "first", "1", "first"))
            .await
            .unwrap();
        let fault = [
            Fault::Fail,
            Fault::FailPersisted,
            Fault::CrashBefore,
            Fault::CrashAfter,
        ][round as usize % 4];
        let op = if round % 3 == 0 {
            Op::Write
        } else {
            Op::SyncData
        };
        disk.plan(Trigger {
            op,
            name: "0000".into(),
            after: round / 2,
            fault,
        });
        let mut acked = vec!["first".to_owned()];
        let mut failed = None;
        for n in 0..30 {
            let text = format!("text {n}");
            match ledger
                .put(vec![record(person(1), &format!("o-{n}"), "1", &text)])
                .await
            {
                Ok(outcomes) if outcomes[0].is_ok() => acked.push(text),
                Ok(_) => panic!("an outcome of its own"),
                Err(fault) => failed = Some(fault),
            }
        }
        assert!(
            matches!(failed, Some(LedgerError::Stopped(_))),
            "{failed:?}"
        );
        assert_eq!(ledger.health().read_only, Some(LedgerHealth::Failed));
        assert!(
            ledger
                .record_access(access(&ledger, 1, None, None))
                .await
                .is_err()
        );
        assert!(ledger.erase_subject(person(1), "x").await.is_err());
        drop(ledger);
        disk.restart();
        let ledger = on_memory(&home, &disk);
        let now = texts(&ledger, &person(1), &Query::all());
        for text in &acked {
            assert!(now.contains(text), "round {round}: {text} was acknowledged");
        }
        let live = tables(&ledger);
        drop(ledger);
        std::fs::remove_dir_all(home.index()).unwrap();
        assert_eq!(tables(&on_memory(&home, &disk)), live, "round {round}");
    }
}

/// The disk fails in the midst of an erasure's overwriting: it is not told as done, and it is finished after the restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_while_overwriting() {
    for after in 0..8 {
        let home = Home::new();
        let disk = Memory::new(u64::from(after));
        let ledger = on_memory(&home, &disk);
        for n in 0..4 {
            put_one(&ledger, record(person(1), &format!("o-{n}"), "1", "secret"))
                .await
                .unwrap();
        }
        // One write and one barrier are the event's; what follows is the overwriting.
        disk.plan(Trigger {
            op: Op::Write,
            name: "0000".into(),
            after: after + 1,
            fault: Fault::Fail,
        });
        let erased = ledger.erase_subject(person(1), "x").await;
        assert!(erased.is_err(), "{after}: {erased:?}");
        drop(ledger);
        disk.restart();
        let ledger = on_memory(&home, &disk);
        assert!(
            !ledger.knows(&person(1)).unwrap() && found(&ledger, &person(1), &history()).is_empty()
        );
        assert!(tables(&ledger).is_empty(), "{after}");
        let entries: Vec<_> = ledger.0.journal.scan(0).map(Result::unwrap).collect();
        for entry in entries.iter().filter(|e| e.location.body_len > 0) {
            assert!(
                matches!(entry.row, journal::Part::Erased),
                "{after}: event {}",
                entry.seq
            );
        }
    }
}
