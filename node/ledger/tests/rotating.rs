//! Rotation of the key-encryption key: afterwards the old one is good for nothing and missed by nothing.

use index::{Checkpoint, Index, Op, Order, Table};
use journal::{Event, Priority};
use record::leaf::EventType;
use seal::Keyring;

use super::support::*;
use crate::row::Row;
use crate::{LedgerError, Query};

fn only_the_newest(rotations: u64) -> Keyring {
    let mut ring = keyring(rotations);
    for old in ring.ids().into_iter().skip(1) {
        ring.retire(old).unwrap();
    }
    ring
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_key_can_be_retired() {
    let home = Home::new();
    let ledger = home.open();
    for n in 0..30 {
        put_one(
            &ledger,
            record(person(n), &format!("o-{n}"), "1", &format!("text {n}")),
        )
        .await
        .unwrap();
    }
    ledger.erase_subject(person(7), "x").await.unwrap();
    let old: Vec<_> = (0..30)
        .flat_map(|n| owned(&ledger, &person(n)).first().copied())
        .collect();
    assert_eq!(old.len(), 29);
    let mut told = Vec::new();
    let done = ledger
        .rotate(keyring(1), |seen, total| told.push((seen, total)))
        .await
        .unwrap();
    assert_eq!((done, told.last()), (29, Some(&(29, 29))));
    for location in &old {
        assert!(
            home.sealed_bytes(location).iter().all(|b| *b == 0),
            "the old wrapping is overwritten"
        );
    }
    assert_eq!(
        ledger.rotate(keyring(1), |_, _| ()).await.unwrap(),
        0,
        "again is nothing"
    );
    put_one(&ledger, record(person(40), "o-40", "1", "text 40"))
        .await
        .unwrap();
    let live = tables(&ledger);
    drop(ledger);
    let (ledger, _) = home.open_with(only_the_newest(1)).unwrap();
    for n in (0..30).chain([40]).filter(|n| *n != 7) {
        assert_eq!(
            texts(&ledger, &person(n), &Query::all()),
            [format!("text {n}")]
        );
    }
    drop(ledger);
    let ledger = home.open_rebuilt();
    assert_eq!(tables(&ledger), live);
    // The ring without the new key is of no use any more.
    let fails = ledger.open_record(&person(1), &found(&ledger, &person(1), &Query::all())[0]);
    assert!(matches!(fails, Err(LedgerError::Sealed(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_after_a_rotation_takes_every_wrapping() {
    let home = Home::new();
    let ledger = home.open();
    put_one(&ledger, record(person(1), "o-1", "1", "a"))
        .await
        .unwrap();
    ledger.rotate(keyring(1), |_, _| ()).await.unwrap();
    ledger.rotate(keyring(2), |_, _| ()).await.unwrap();
    let parts = owned(&ledger, &person(1));
    assert_eq!(parts.len(), 2, "one key, one record");
    ledger.erase_subject(person(1), "x").await.unwrap();
    for (seq, leaf) in leaves(&ledger) {
        if leaf["typ"].as_str().unwrap().starts_with("key-") {
            let location = ledger.0.journal.locate(seq).unwrap();
            assert!(
                home.sealed_bytes(&location).iter().all(|b| *b == 0),
                "event {seq}"
            );
        }
    }
    assert!(tables(&ledger).is_empty());
}

/// New people, readers and erasures while it runs: whoever is there afterwards is readable with the new key alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn people_come_and_go_while_it_runs() {
    let home = Home::new();
    let mut last = 0;
    for round in 0..4_u64 {
        let (ledger, _) = home.open_with(keyring(round)).unwrap();
        let base = round * 1000;
        for n in 0..20 {
            put_one(
                &ledger,
                record(person(base + n), &format!("o-{}", base + n), "1", "old"),
            )
            .await
            .unwrap();
        }
        let mut tasks = Vec::new();
        for t in 0..4_u64 {
            let ledger = ledger.clone();
            tasks.push(tokio::spawn(async move {
                for i in 0..10 {
                    let n = base + 100 + t * 10 + i;
                    put_one(&ledger, record(person(n), &format!("o-{n}"), "1", "new"))
                        .await
                        .unwrap();
                    // Not in memory, so that it is read from the very wrapping that is being replaced.
                    let known = person(base + (t * 10 + i) % 15);
                    ledger.0.vault.forget(&known);
                    assert!(
                        ledger.knows(&known).unwrap(),
                        "a key that is wrapped anew is found all the while"
                    );
                    let list = found(&ledger, &known, &Query::all());
                    assert_eq!(
                        ledger
                            .open_record(&known, &list[0])
                            .unwrap()
                            .original
                            .as_slice(),
                        b"old"
                    );
                }
            }));
        }
        let erasing = {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                for n in 15..20 {
                    ledger.erase_subject(person(base + n), "x").await.unwrap();
                }
            })
        };
        ledger.rotate(keyring(round + 1), |_, _| ()).await.unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        erasing.await.unwrap();
        let live = tables(&ledger);
        drop(ledger);
        let (ledger, _) = home.open_with(only_the_newest(round + 1)).unwrap();
        for n in (0..15).chain(100..140) {
            assert_eq!(texts(&ledger, &person(base + n), &Query::all()).len(), 1);
        }
        for n in 15..20 {
            assert!(
                !ledger.knows(&person(base + n)).unwrap(),
                "a destroyed key does not come back"
            );
        }
        drop(ledger);
        std::fs::remove_dir_all(home.index()).unwrap();
        assert_eq!(tables(&home.open_with(keyring(round + 1)).unwrap().0), live);
        last = round;
    }
    assert_eq!(last, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_a_crash_interrupted_leaves_no_old_wrapping() {
    for index_lost in [false, true] {
        let home = Home::new();
        let ledger = home.open();
        put_one(&ledger, record(person(1), "o-1", "1", "a"))
            .await
            .unwrap();
        put_one(&ledger, record(person(2), "o-2", "1", "b"))
            .await
            .unwrap();
        let old = owned(&ledger, &person(1))[0];
        let keyed = ledger.key_of(&person(1)).unwrap().unwrap();
        let ring = keyring(1);
        let anew = ring
            .wrap_key(&keyed.key, keyed.owner.handle, &*ledger.0.entropy)
            .unwrap();
        let leaf = ledger
            .leaf_now(EventType::KeyRewrapped)
            .hex("kh", &keyed.owner.handle)
            .to_bytes();
        let row = ledger.sealed_row(&Row::Key { owner: keyed.owner }).unwrap();
        drop(ledger);
        let journal = home.journal_alone();
        let event = Event {
            leaf,
            row,
            body: anew.as_bytes().to_vec(),
        };
        let _acked = journal
            .submit(vec![event], Priority::Data)
            .unwrap()
            .wait()
            .unwrap();
        drop(journal);
        assert!(home.sealed_bytes(&old).iter().any(|b| *b != 0));
        if index_lost {
            std::fs::remove_dir_all(home.index()).unwrap();
        }
        let (ledger, _) = home.open_with(ring).unwrap();
        assert!(home.sealed_bytes(&old).iter().all(|b| *b == 0));
        assert_eq!(texts(&ledger, &person(1), &Query::all()), ["a"]);
        assert_eq!(
            ledger.rotate(keyring(1), |_, _| ()).await.unwrap(),
            1,
            "the other one is left to do"
        );
        let live = tables(&ledger);
        drop(ledger);
        std::fs::remove_dir_all(home.index()).unwrap();
        let (ledger, _) = home.open_with(only_the_newest(1)).unwrap();
        assert_eq!(tables(&ledger), live);
        assert_eq!(texts(&ledger, &person(2), &Query::all()), ["b"]);
    }
}

/// Between the overwriting of an old wrapping and the index row of the new one a key is found all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_between_two_wrappings() {
    let home = Home::new();
    let ledger = home.open();
    put_one(&ledger, record(person(1), "o-1", "1", "a"))
        .await
        .unwrap();
    put_one(&ledger, record(person(2), "o-2", "1", "b"))
        .await
        .unwrap();
    let keyed = ledger.key_of(&person(1)).unwrap().unwrap();
    let old = owned(&ledger, &person(1))[0];
    ledger.0.journal.erase(&[old]).unwrap();
    ledger.0.vault.forget(&person(1));
    let at_hand = ledger.0.vault.rewrapping(vec![keyed.clone()]);
    let found = ledger.key_of(&person(1)).unwrap().unwrap();
    assert_eq!(found.owner, keyed.owner);
    drop(at_hand);
    assert!(matches!(
        ledger.key_of(&person(1)),
        Err(LedgerError::Erased)
    ));
    assert!(!ledger.knows(&person(1)).unwrap() && ledger.knows(&person(2)).unwrap());
}

/// An index that destroys the key between being asked for it and the answer's use.
#[derive(Debug)]
struct Meanwhile {
    ledger: crate::Ledger,
    index: std::sync::Arc<index::SledIndex>,
}

impl Index for Meanwhile {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, index::Error> {
        let found = self.index.get(table, key);
        self.ledger.0.vault.forget(&person(1));
        found
    }

    fn apply(&self, ops: &[Op], checkpoint: &Checkpoint) -> Result<(), index::Error> {
        self.index.apply(ops, checkpoint)
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<index::Row>, index::Error> {
        self.index.range(table, from, to, order, limit)
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, index::Error> {
        self.index.checkpoint()
    }

    fn count(&self, table: Table) -> Result<u64, index::Error> {
        self.index.count(table)
    }

    fn size_on_disk(&self) -> Result<u64, index::Error> {
        self.index.size_on_disk()
    }

    fn flush(&self) -> Result<(), index::Error> {
        self.index.flush()
    }

    fn health(&self) -> Result<(), index::Error> {
        self.index.health()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_read_before_its_destruction_is_not_remembered_after() {
    let home = Home::new();
    let ledger = home.open();
    put_one(&ledger, record(person(1), "o-1", "1", "a"))
        .await
        .unwrap();
    ledger.0.vault.forget(&person(1));
    let meanwhile = Meanwhile {
        ledger: ledger.clone(),
        index: ledger.index().unwrap(),
    };
    let tag = ledger.tag_of(&person(1));
    let find = |index: &dyn Index| {
        ledger
            .0
            .vault
            .find(index, &ledger.0.journal, &person(1), &tag)
    };
    assert!(find(&meanwhile).unwrap().is_some());
    // Nothing was kept: an index without the person now says so.
    assert!(find(&index::MemoryIndex::new()).unwrap().is_none());
    assert!(find(&*meanwhile.index).unwrap().is_some());
    assert!(
        find(&index::MemoryIndex::new()).unwrap().is_some(),
        "otherwise it is kept"
    );
}

/// A key wrapped under the former key just before, and not listed yet, would be lost with it.
#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_new_keys_on_their_way() {
    let home = Home::new();
    let ledger = home.open();
    put_one(&ledger, record(person(1), "o-1", "1", "a"))
        .await
        .unwrap();
    ledger.0.admission.lock().keys.insert(person(2));
    let (new_key, event) = ledger.key_event(person(2)).unwrap();
    let rotating = {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.rotate(keyring(1), |_, _| ()).await.unwrap() })
    };
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!rotating.is_finished());
    let acked = ledger.one(event, Priority::Data, None).await.unwrap();
    ledger.visible(acked.seq()).await.unwrap();
    ledger.0.admission.leave(|pending| {
        pending.keys.remove(&person(2));
    });
    assert_eq!(rotating.await.unwrap(), 2);
    drop(ledger);
    let (ledger, _) = home.open_with(only_the_newest(1)).unwrap();
    assert_eq!(
        ledger.key_of(&person(2)).unwrap().unwrap().owner,
        new_key.owner
    );
}
