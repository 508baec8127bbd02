//! A withdrawal stops what is under way, and what it stops does not go on by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use record::ReasonCode;

use super::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn between_two_pages_it_cuts_the_stream() {
    let city = City::new();
    for n in 0..200 {
        city.vital(1, &format!("o-{n}")).await;
    }
    city.consent(1, 1, |_| ()).await;
    let mut fetching = city
        .holder()
        .begin_fetch(&city.asker.peer, city.fetch(1, |_| ()))
        .await
        .unwrap();
    let (page, first) = city
        .holder()
        .next_page(&mut fetching)
        .await
        .unwrap()
        .unwrap()
        .into_reply();
    assert_eq!(page.records.len(), 64);
    let withdrawn = city.withdraw(1, 1).await;
    let cut = city.holder().next_page(&mut fetching).await.unwrap_err();
    assert_eq!(cut.refusal.reason, ReasonCode::ConsentMissing);
    let cut_at = cut.leaf.unwrap();
    assert!(first.seq < withdrawn && withdrawn < cut_at.seq);
    assert_eq!(cut_at.xid, first.xid);
    // A new consent is for new requests.
    city.consent(1, 2, |_| ()).await;
    assert!(
        city.holder()
            .next_page(&mut fetching)
            .await
            .unwrap()
            .is_none()
    );
    // The cursor of the cut stream is judged anew, like any request.
    let cursor = page.cursor.unwrap();
    assert_eq!(
        ids(&city
            .pages(city.fetch(1, |s| s.cursor = cursor.clone()))
            .await
            .unwrap())
        .len(),
        136
    );
    city.withdraw(1, 2).await;
    assert!(
        city.pages(city.fetch(1, |s| s.cursor = cursor.clone()))
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_ends_between_two_pages_cuts_it_too() {
    let city = City::new();
    for n in 0..70 {
        city.vital(1, &format!("o-{n}")).await;
    }
    city.consent(1, 1, |c| c.until = NOW.plus_ms(1_000)).await;
    let mut fetching = city
        .holder()
        .begin_fetch(&city.asker.peer, city.fetch(1, |_| ()))
        .await
        .unwrap();
    assert!(
        city.holder()
            .next_page(&mut fetching)
            .await
            .unwrap()
            .is_some()
    );
    city.clock.advance_ms(1_000);
    let cut = city.holder().next_page(&mut fetching).await.unwrap_err();
    assert_eq!(cut.refusal.reason, ReasonCode::ConsentMissing);
}

/// Released on an older view, the journal refuses; what was prepared stays inside.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_prepared_before_does_not_leave_after() {
    let city = City::new();
    city.vital(1, "o-1").await;
    city.consent(1, 1, |_| ()).await;
    let holder = city.holder();
    let caller = holder.identify(&city.asker.peer, city.locate(1)).unwrap();
    let standing = holder
        .look_up_consent(holder.find_subject(caller).unwrap())
        .await
        .unwrap();
    assert_eq!(standing.provisions().len(), 1);
    let disclosure = holder
        .release_located(holder.permit(standing).unwrap())
        .unwrap();
    city.withdraw(1, 1).await;
    let events = holder.ledger().health().events;
    let refused = holder.journal(disclosure).await.unwrap_err();
    assert_eq!(
        (refused.refusal.reason, refused.leaf),
        (ReasonCode::Busy, None)
    );
    assert_eq!(holder.ledger().health().events, events);
}

/// Many askers against a person who keeps changing their mind: no disclosure between a withdrawal and the next consent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_disclosure_while_there_is_no_consent() {
    let city = Arc::new(City::new());
    for n in 0..80 {
        city.vital(1, &format!("o-{n}")).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = (0..5)
        .map(|t| {
            let (city, done) = (Arc::clone(&city), Arc::clone(&done));
            tokio::spawn(async move {
                let (mut answered, mut refused) = (0, 0);
                while !done.load(Ordering::Relaxed) {
                    let outcome = if t % 2 == 0 {
                        city.holder()
                            .locate(&city.asker.peer, city.locate(1))
                            .await
                            .map(drop)
                    } else {
                        city.pages(city.fetch(1, |_| ())).await.map(drop)
                    };
                    match outcome {
                        Ok(()) => answered += 1,
                        Err(no) => {
                            assert!(matches!(
                                no.refusal.reason,
                                ReasonCode::ConsentMissing | ReasonCode::Busy
                            ));
                            assert!(no.leaf.is_some(), "no refusal is silent");
                            refused += 1;
                        }
                    }
                }
                (answered, refused)
            })
        })
        .collect();
    for n in 1..=60 {
        city.consent(1, n, |_| ()).await;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        city.withdraw(1, n).await;
    }
    done.store(true, Ordering::Relaxed);
    let (mut answered, mut refused) = (0, 0);
    for task in asking {
        let (yes, no) = task.await.unwrap();
        answered += yes;
        refused += no;
    }
    let mut in_force = false;
    for leaf in city.leaves() {
        match leaf["typ"].as_str().unwrap() {
            "consent-given" => in_force = true,
            "consent-withdrawn" => in_force = false,
            "disclosure" => assert!(in_force, "{leaf}"),
            _ => {}
        }
    }
    eprintln!("{answered} answered, {refused} refused");
    assert!(answered > 0 && refused > 0, "the race was run");
}
