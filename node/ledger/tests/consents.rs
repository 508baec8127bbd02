//! Consents: registered, seen, withdrawn, kept as history; and no access passes a withdrawal it does not know of.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use record::ConsentId;

use super::support::*;
use crate::{ConsentState, LedgerError};

fn id(n: u128) -> ConsentId {
    ConsentId::from_bytes(n.to_be_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn given_seen_withdrawn_and_still_so_after_a_restart() {
    let home = Home::new();
    let ledger = home.open();
    assert!(ledger.consents(person(1)).await.unwrap().entries.is_empty());
    assert!(matches!(
        ledger.withdraw_consent(person(1), id(1)).await,
        Err(LedgerError::ConsentNotFound)
    ));
    ledger
        .register_consent(person(1), consent(1))
        .await
        .unwrap();
    ledger
        .register_consent(person(1), consent(2))
        .await
        .unwrap();
    assert!(ledger.knows(&person(1)).unwrap());
    let view = ledger.consents(person(1)).await.unwrap();
    assert_eq!(view.subject(), person(1));
    assert_eq!(
        view.entries
            .iter()
            .map(|e| e.consent.clone())
            .collect::<Vec<_>>(),
        [consent(1), consent(2)]
    );
    ledger.withdraw_consent(person(1), id(1)).await.unwrap();
    let states =
        |view: &crate::ConsentView| view.entries.iter().map(|e| e.state).collect::<Vec<_>>();
    let wanted = [ConsentState::Withdrawn, ConsentState::Given];
    assert_eq!(states(&ledger.consents(person(1)).await.unwrap()), wanted);
    assert_eq!(
        states(&view),
        [ConsentState::Given; 2],
        "a view is of its moment"
    );
    assert!(matches!(
        ledger.withdraw_consent(person(1), id(1)).await,
        Err(LedgerError::ConsentNotFound)
    ));
    assert!(matches!(
        ledger.withdraw_consent(person(2), id(2)).await,
        Err(LedgerError::ConsentNotFound)
    ));
    let live = tables(&ledger);
    drop(ledger);
    let ledger = home.open();
    assert_eq!(states(&ledger.consents(person(1)).await.unwrap()), wanted);
    drop(ledger);
    let ledger = home.open_rebuilt();
    assert_eq!(states(&ledger.consents(person(1)).await.unwrap()), wanted);
    assert_eq!(tables(&ledger), live);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_not_overwritten() {
    let home = Home::new();
    let ledger = home.open();
    let refusal = record::consent::Consent {
        effect: record::consent::Effect::Refuse,
        ..consent(1)
    };
    ledger
        .register_consent(person(1), refusal.clone())
        .await
        .unwrap();
    // A permit under the id of a refusal would take its place without a withdrawal.
    assert!(matches!(
        ledger.register_consent(person(1), consent(1)).await,
        Err(LedgerError::Conflict)
    ));
    assert_eq!(
        ledger.consents(person(1)).await.unwrap().entries[0].consent,
        refusal
    );
    ledger.withdraw_consent(person(1), id(1)).await.unwrap();
    assert!(matches!(
        ledger.register_consent(person(1), consent(1)).await,
        Err(LedgerError::Conflict)
    ));
    assert_eq!(
        ledger.consents(person(1)).await.unwrap().entries[0].state,
        ConsentState::Withdrawn
    );
    // Ids are a person's own.
    ledger
        .register_consent(person(2), consent(1))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_consents_than_are_looked_at() {
    let home = Home::new();
    let ledger = home.open();
    for n in 0..256 {
        ledger
            .register_consent(person(1), consent(n))
            .await
            .unwrap();
    }
    assert!(matches!(
        ledger.register_consent(person(1), consent(999)).await,
        Err(LedgerError::TooLarge)
    ));
    assert_eq!(ledger.consents(person(1)).await.unwrap().entries.len(), 256);
    ledger.withdraw_consent(person(1), id(255)).await.unwrap();
    assert_eq!(
        ledger.consents(person(1)).await.unwrap().entries[255].state,
        ConsentState::Withdrawn
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_rests_on_the_newest_view_or_is_refused() {
    let home = Home::new();
    let ledger = home.open();
    let unknown = ledger.consents(person(1)).await.unwrap();
    ledger
        .register_consent(person(1), consent(1))
        .await
        .unwrap();
    let refused = ledger
        .record_access(access(&ledger, 1, None, Some(&unknown)))
        .await;
    assert!(matches!(refused, Err(LedgerError::ConsentChanged)));
    let given = ledger.consents(person(1)).await.unwrap();
    ledger
        .record_access(access(&ledger, 2, Some(person(1)), Some(&given)))
        .await
        .unwrap();
    // What happens to others does not matter.
    ledger
        .register_consent(person(2), consent(1))
        .await
        .unwrap();
    ledger
        .record_access(access(&ledger, 3, Some(person(1)), Some(&given)))
        .await
        .unwrap();
    ledger.withdraw_consent(person(1), id(1)).await.unwrap();
    let events = ledger.health().events;
    let refused = ledger
        .record_access(access(&ledger, 4, Some(person(1)), Some(&given)))
        .await;
    assert!(matches!(refused, Err(LedgerError::ConsentChanged)));
    assert_eq!(ledger.health().events, events, "and leaves nothing");
    // Without a view there is nothing to be outdated: a refusal is always recorded.
    ledger
        .record_access(access(&ledger, 5, Some(person(1)), None))
        .await
        .unwrap();
    let now = ledger.consents(person(1)).await.unwrap();
    ledger
        .record_access(access(&ledger, 6, Some(person(1)), Some(&now)))
        .await
        .unwrap();
}

/// Over many interleavings: no disclosure stands in the journal behind the withdrawal of the consent it rests on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_disclosure_behind_the_withdrawal_it_does_not_know_of() {
    const PEOPLE: u64 = 3;
    let home = Home::new();
    let ledger = home.open();
    let xids = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for p in 0..PEOPLE {
        let ledger = ledger.clone();
        tasks.push(tokio::spawn(async move {
            let mut noise = Noise(p + 5);
            for n in 0..60 {
                let consent_id = u128::from(p * 1000 + n);
                ledger
                    .register_consent(person(p), consent(consent_id))
                    .await
                    .unwrap();
                if noise.below(3) > 0 {
                    tokio::time::sleep(Duration::from_micros(noise.below(900))).await;
                }
                ledger
                    .withdraw_consent(person(p), id(consent_id))
                    .await
                    .unwrap();
            }
            (0, 0)
        }));
    }
    for t in 0..9 {
        let (ledger, xids) = (ledger.clone(), Arc::clone(&xids));
        tasks.push(tokio::spawn(async move {
            let mut noise = Noise(t + 77);
            let (mut recorded, mut refused) = (0, 0);
            for _ in 0..250 {
                let subject = person(noise.below(PEOPLE));
                let view = ledger.consents(subject).await.unwrap();
                match noise.below(4) {
                    0 => tokio::task::yield_now().await,
                    1 => tokio::time::sleep(Duration::from_micros(noise.below(600))).await,
                    _ => {}
                }
                let xid = u128::from(xids.fetch_add(1, Ordering::Relaxed));
                let known = (noise.below(5) > 0).then_some(subject);
                match ledger
                    .record_access(access(&ledger, xid, known, Some(&view)))
                    .await
                {
                    Ok(_) => recorded += 1,
                    Err(LedgerError::ConsentChanged) => refused += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            (recorded, refused)
        }));
    }
    let (mut recorded, mut refused) = (0, 0);
    for task in tasks {
        let (some, none): (u32, u32) = task.await.unwrap();
        recorded += some;
        refused += none;
    }
    let mut withdrawn: HashMap<String, u64> = HashMap::new();
    let mut rested = 0;
    for (seq, leaf) in leaves(&ledger) {
        if leaf["typ"] == "consent-withdrawn" {
            withdrawn.insert(leaf["cid"].as_str().unwrap().into(), seq);
        }
        if let (true, Some(on)) = (leaf["typ"] == "disclosure", leaf["rests"].as_str()) {
            assert!(
                !withdrawn.contains_key(on),
                "event {seq} rests on a consent withdrawn before it"
            );
            rested += u32::from(on != "none");
        }
    }
    eprintln!("{recorded} recorded ({rested} of them on a consent), {refused} refused as outdated");
    assert!(rested > 0 && refused > 0, "the race was run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_waits_for_a_change_that_is_on_its_way() {
    let home = Home::new();
    let ledger = home.open();
    ledger
        .register_consent(person(1), consent(1))
        .await
        .unwrap();
    for n in 2..60_u128 {
        let change = {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                ledger
                    .register_consent(person(1), consent(n))
                    .await
                    .unwrap()
            })
        };
        let view = ledger.consents(person(1)).await.unwrap();
        let acked = change.await.unwrap();
        // Either it was taken before the change, and then it is outdated, or it has the change.
        let after = ledger
            .record_access(access(&ledger, n, Some(person(1)), Some(&view)))
            .await;
        let has = view.entries.iter().any(|e| e.consent.id == id(n));
        assert_eq!(has, after.is_ok(), "{n} at {}", acked.seq());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_read_before_a_change_is_not_kept_after_it() {
    let home = Home::new();
    let ledger = home.open();
    ledger
        .register_consent(person(1), consent(1))
        .await
        .unwrap();
    let before = ledger.consents(person(1)).await.unwrap();
    ledger.withdraw_consent(person(1), id(1)).await.unwrap();
    ledger.keep(&before);
    let now = ledger.consents(person(1)).await.unwrap();
    assert_eq!(now.entries[0].state, ConsentState::Withdrawn);
    ledger.keep(&now);
    let again = ledger.consents(person(1)).await.unwrap();
    assert!(
        Arc::ptr_eq(&again.entries, &now.entries),
        "and one read after it is"
    );
}
