//! Everything at once over a few people; then the index is built from the journal, and must be the very same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::quarantine::broken;
use super::support::*;
use crate::{Ledger, Query};

const PEOPLE: u64 = 5;

/// One random act. Refusals are part of the game; what matters is what the journal and the index say afterwards.
async fn act(ledger: &Ledger, noise: &mut Noise, counter: &AtomicU64) {
    let n = counter.fetch_add(1, Ordering::Relaxed);
    let who = noise.below(PEOPLE);
    let subject = person(who);
    match noise.below(12) {
        0..=3 => {
            let batch = (0..=noise.below(4))
                .map(|_| {
                    let who = noise.below(PEOPLE);
                    let mut new = record(
                        person(who),
                        &format!("o-{who}-{}", noise.below(4)),
                        &noise.below(9).to_string(),
                        "x",
                    );
                    if noise.below(3) == 0 {
                        new.header.resource_type = "Patient".into();
                    }
                    if noise.below(4) == 0 {
                        new.header.type_code = code("exam-report");
                    }
                    new.header.effective =
                        Some(record::Timestamp::from_ms(noise.below(20).cast_signed()));
                    new
                })
                .collect();
            if noise.below(4) == 0 {
                drop(ledger.put_all(batch).await);
            } else {
                drop(ledger.put(batch).await);
            }
        }
        4 => drop(
            ledger
                .register_consent(subject, consent(u128::from(n)))
                .await,
        ),
        5 => {
            if let Ok(view) = ledger.consents(subject).await
                && let Some(one) = view.entries.first()
            {
                drop(ledger.withdraw_consent(subject, one.consent.id).await);
            }
        }
        6 => {
            let of = (noise.below(2) == 0).then_some(subject);
            drop(ledger.quarantine(broken(SOURCE, "q", of, "broken")).await);
        }
        7 => {
            if let Some(entry) = ledger
                .quarantined(SOURCE, None, 5)
                .ok()
                .and_then(|mut all| all.pop())
            {
                drop(ledger.close_quarantine(SOURCE, entry.id, "dropped").await);
            }
        }
        8..=10 => {
            if let Ok(view) = ledger.consents(subject).await {
                let known = ledger.knows(&subject).unwrap().then_some(subject);
                let cut = Duration::from_micros(noise.below(2_000));
                let one = ledger.record_access(access(ledger, u128::from(n), known, Some(&view)));
                drop(tokio::time::timeout(cut, one).await);
            }
        }
        _ => drop(ledger.erase_subject(subject, "x").await),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_index_is_what_the_journal_says() {
    for seed in 0..6_u64 {
        let home = Home::new();
        let (ledger, _) = home.open_with(keyring(0)).unwrap();
        let counter = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for t in 0..6 {
            let (ledger, counter) = (ledger.clone(), Arc::clone(&counter));
            tasks.push(tokio::spawn(async move {
                let mut noise = Noise(seed * 100 + t + 1);
                for _ in 0..60 {
                    act(&ledger, &mut noise, &counter).await;
                }
            }));
        }
        ledger.rotate(keyring(1), |_, _| ()).await.unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        ledger.close().await.unwrap();
        let live = tables(&ledger);
        for p in 0..PEOPLE {
            for query in [Query::all(), history()] {
                for type_code in [vitals(), code("exam-report")] {
                    for one in ledger
                        .find(&person(p), &type_code, &query, None, 1000)
                        .unwrap()
                        .found
                    {
                        ledger.open_record(&person(p), &one).unwrap();
                    }
                }
            }
            ledger.consents(person(p)).await.unwrap();
        }
        drop(ledger);
        std::fs::remove_dir_all(home.index()).unwrap();
        let (ledger, _) = home.open_with(keyring(1)).unwrap();
        let rebuilt = tables(&ledger);
        for (key, value) in &live {
            assert_eq!(
                rebuilt.get(key),
                Some(value),
                "seed {seed}, table {}",
                key.0
            );
        }
        assert_eq!(rebuilt.len(), live.len(), "seed {seed}");
    }
}
