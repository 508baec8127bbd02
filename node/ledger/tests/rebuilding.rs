//! The index from nothing, from an older copy, and one that cannot be kept level.

use index::Index as _;
use journal::{Event, Priority};
use record::leaf::EventType;

use super::quarantine::broken;
use super::support::*;
use crate::{LedgerError, LedgerHealth, Query};

#[tokio::test(flavor = "multi_thread")]
async fn an_older_index_is_brought_level() {
    let home = Home::new();
    let ledger = home.open();
    put_one(&ledger, record(person(1), "o-1", "1", "a"))
        .await
        .unwrap();
    ledger.close().await.unwrap();
    drop(ledger);
    let older = home.dir.path().join("older");
    copy_folder(&home.index(), &older);
    let ledger = home.open();
    put_one(&ledger, record(person(1), "o-1", "2", "b"))
        .await
        .unwrap();
    ledger
        .register_consent(person(2), consent(1))
        .await
        .unwrap();
    let entry = ledger
        .quarantine(broken(SOURCE, "q", Some(person(1)), "x"))
        .await
        .unwrap();
    ledger
        .quarantine(broken(SOURCE, "q2", None, "x"))
        .await
        .unwrap();
    ledger
        .close_quarantine(SOURCE, entry.seq(), "dropped")
        .await
        .unwrap();
    ledger
        .record_access(access(&ledger, 3, Some(person(1)), None))
        .await
        .unwrap();
    ledger.erase_subject(person(2), "x").await.unwrap();
    ledger.rotate(keyring(1), |_, _| ()).await.unwrap();
    let live = tables(&ledger);
    drop(ledger);
    std::fs::remove_dir_all(home.index()).unwrap();
    std::fs::rename(&older, home.index()).unwrap();
    let (ledger, opening) = home.open_with(keyring(1)).unwrap();
    assert!(
        opening.replayed > 0 && opening.rebuilt.is_none(),
        "{opening:?}"
    );
    assert_eq!(tables(&ledger), live);
    assert_eq!(texts(&ledger, &person(1), &Query::all()), ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_without_its_journal_is_a_loss() {
    let home = Home::new();
    let ledger = home.open();
    put_one(&ledger, record(person(1), "o-1", "1", "a"))
        .await
        .unwrap();
    ledger.close().await.unwrap();
    drop(ledger);
    std::fs::remove_dir_all(home.dir.path().join("journal")).unwrap();
    let Err(LedgerError::Open(why)) = home.open_with(keyring(0)) else {
        panic!("opened on a lost journal")
    };
    assert!(why.contains("restore"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_another_history_is_not_used() {
    let (home, other) = (Home::new(), Home::new());
    for (home, person_no) in [(&home, 1), (&other, 2)] {
        let ledger = home.open();
        put_one(&ledger, record(person(person_no), "o-1", "1", "a"))
            .await
            .unwrap();
        ledger.close().await.unwrap();
    }
    std::fs::remove_dir_all(home.index()).unwrap();
    copy_folder(&other.index(), &home.index());
    let (ledger, opening) = home.open_with(keyring(0)).unwrap();
    assert!(opening.rebuilt.is_some());
    assert!(ledger.knows(&person(1)).unwrap() && !ledger.knows(&person(2)).unwrap());
}

/// An index that fails while running is rebuilt beside the traffic.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_apply_is_followed_by_a_rebuild() {
    let home = Home::new();
    let ledger = home.open();
    put_one(&ledger, record(person(1), "o-1", "1", "a"))
        .await
        .unwrap();
    let index = ledger.index().unwrap();
    // The checkpoint is moved ahead, so that the next frame cannot be applied: it would move back.
    let mut ahead = index.checkpoint().unwrap().unwrap();
    ahead.next_seq += 1_000;
    index.apply(&[], &ahead).unwrap();
    let generation = index.generation();
    put_one(&ledger, record(person(2), "o-2", "1", "b"))
        .await
        .unwrap();
    assert!(ledger.index().unwrap().generation() > generation);
    assert_eq!(
        (
            texts(&ledger, &person(1), &Query::all()),
            ledger.health().read_only
        ),
        (vec!["a".into()], None)
    );
    put_one(&ledger, record(person(2), "o-2", "2", "c"))
        .await
        .unwrap();
    let live = tables(&ledger);
    drop(ledger);
    assert_eq!(tables(&home.open_rebuilt()), live);
}

/// An event that cannot be applied at all: nobody waits for ever, and nobody is answered from an index with a hole.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_cannot_be_kept_level_is_not_asked() {
    let home = Home::new();
    let ledger = home.open();
    ledger
        .register_consent(person(1), consent(1))
        .await
        .unwrap();
    let view = ledger.consents(person(1)).await.unwrap();
    let leaf = ledger.leaf_now(EventType::Admin).to_bytes();
    let event = Event {
        leaf,
        row: b"no row of ours, sealed or not".to_vec(),
        body: Vec::new(),
    };
    let _acked = ledger
        .0
        .journal
        .submit(vec![event], Priority::Data)
        .unwrap()
        .wait()
        .unwrap();
    assert!(matches!(
        ledger.visible(ledger.health().events - 1).await,
        Err(LedgerError::Index(_))
    ));
    assert_eq!(ledger.health().read_only, Some(LedgerHealth::Index));
    let change = ledger.withdraw_consent(person(1), consent(1).id).await;
    assert!(matches!(change, Err(LedgerError::Index(_))));
    assert!(matches!(
        ledger.put(vec![record(person(2), "o", "1", "x")]).await,
        Err(LedgerError::Index(_))
    ));
    assert!(
        ledger.knows(&person(5)).is_err()
            && ledger.has_seen(&ledger.new_exchange().unwrap()).is_err()
    );
    assert!(
        ledger
            .find(&person(1), &vitals(), &Query::all(), None, 5)
            .is_err()
    );
    assert!(ledger.erase_subject(person(1), "x").await.is_err());
    // A refusal still leaves its trace.
    ledger
        .record_access(access(&ledger, 1, None, None))
        .await
        .unwrap();
    drop(view);
    drop(ledger);
    assert!(
        home.open_with(keyring(0)).is_err(),
        "it is told at the next start too"
    );
}

/// Rotation makes the end of the journal precious: what is lost there was acknowledged, and the former key is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_end_is_told_even_without_the_index() {
    let home = Home::new();
    let ledger = home.open();
    for n in 1..=3 {
        put_one(&ledger, record(person(n), &format!("m-{n}"), "1", "a"))
            .await
            .unwrap();
    }
    ledger.close().await.unwrap();
    drop(ledger);
    std::fs::remove_dir_all(home.index()).unwrap();
    zero_the_end(&home.dir.path().join("journal/00000000.seg"));
    let fault = home.open_with(keyring(0)).unwrap_err().to_string();
    assert!(fault.contains("acknowledged"), "{fault}");
    // It is the mark that tells: without it the same bytes pass for a torn write.
    std::fs::remove_file(home.dir.path().join("acknowledged")).unwrap();
    let (_, opening) = home.open_with(keyring(0)).unwrap();
    assert!(opening.truncated.is_some());
}

fn zero_the_end(segment: &std::path::Path) {
    let mut bytes = std::fs::read(segment).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    bytes[end - 600..end].fill(0);
    std::fs::write(segment, bytes).unwrap();
}
