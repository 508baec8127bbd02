//! Who may not know does not learn: the unknown, the unwilling and the silent are refused alike.

use record::consent::Effect;
use record::decision::Verb;
use record::{ReasonCode, Tier};

use super::support::*;
use crate::Refused;

/// 1: known, no consent. 2: known, consent to somebody else. 3: known, withdrawn. 4: known, refuses. 5: not known.
/// 6: was known, erased. 7: known by a consent alone, which has ended.
async fn people() -> City {
    let city = City::new();
    for n in [1, 2, 3, 4, 6] {
        city.vital(n, &format!("o-{n}")).await;
    }
    city.consent(2, 2, |c| {
        c.recipients = vec![record::MemberId::parse("h-other").unwrap()];
    })
    .await;
    city.consent(3, 3, |_| ()).await;
    city.withdraw(3, 3).await;
    city.consent(4, 4, |c| c.effect = Effect::Refuse).await;
    city.consent(6, 6, |_| ()).await;
    let _erased = city
        .holder()
        .ledger()
        .erase_subject(person(6), "x")
        .await
        .unwrap();
    city.consent(7, 7, |c| c.until = NOW).await;
    city
}

fn told(refused: &Refused) -> (record::Refusal, bool) {
    (refused.refusal.clone(), refused.leaf.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_alike_in_every_visible_field() {
    let city = people().await;
    for verb in [Verb::Locate, Verb::Fetch] {
        let mut seen = Vec::new();
        for n in 1..=7 {
            let refused = match verb {
                Verb::Locate => city
                    .holder()
                    .locate(&city.asker.peer, city.locate(n))
                    .await
                    .unwrap_err(),
                Verb::Fetch => city.pages(city.fetch(n, |_| ())).await.unwrap_err(),
            };
            let leaf = city.leaf(refused.leaf.as_ref().unwrap());
            assert_eq!(leaf["typ"], "deny");
            // Inside, the difference is kept.
            assert_eq!(
                leaf["reason"],
                if n == 4 {
                    "CONSENT_REFUSED"
                } else {
                    "CONSENT_MISSING"
                }
            );
            assert_eq!(leaf.get("kh").is_some(), ![5, 6].contains(&n));
            seen.push(told(&refused));
        }
        assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
        assert_eq!(seen[0].0.reason, ReasonCode::ConsentMissing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_to_the_known_and_the_unknown_looks_alike() {
    let city = people().await;
    // Another type is granted, so that there is an answer; the type in question is told in its reasons.
    city.rule(|q| {
        let mut verdict = honest(q)?;
        verdict.types.insert(code("facility"), full());
        Ok(verdict)
    });
    let mut answers = Vec::new();
    for n in [1, 4, 5, 6, 7] {
        let mut statement = city.statement(Verb::Locate, n);
        statement.query.types = vec![code("vitals"), code("facility")];
        let (located, _) = city
            .holder()
            .locate(&city.asker.peer, city.asker.sign(statement))
            .await
            .unwrap()
            .into_reply();
        let pages = city
            .pages(city.fetch(n, |s| {
                s.query.types = vec![code("vitals"), code("facility")];
            }))
            .await
            .unwrap();
        assert_eq!(pages.len(), 1);
        let page = &pages[0].0;
        assert!(page.records.is_empty() && page.cursor.is_none() && located.holdings.is_empty());
        assert_eq!(located.grants[&code("vitals")].tier, Tier::None);
        answers.push((
            located.grants,
            page.grants.clone(),
            page.obligations.clone(),
        ));
    }
    for answer in &answers {
        assert_eq!(answer, &answers[0], "a refusal by the person does not show");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_fails_on_records_fails_without_them_too() {
    let city = people().await;
    city.consent(8, 8, |_| ()).await;
    city.vital(8, "o-8").await;
    city.consent(9, 9, |_| ()).await;
    city.rule(|q| {
        Ok(all(
            q,
            &record::Grant {
                tier: Tier::Masked,
                mask: vec!["no-such-group".into()],
                ..record::Grant::default()
            },
        ))
    });
    let with = city.pages(city.fetch(8, |_| ())).await.unwrap_err();
    let without = city.pages(city.fetch(9, |_| ())).await.unwrap_err();
    assert_eq!(told(&with), told(&without));
    assert_eq!(with.refusal.reason, ReasonCode::PolicyFailed);
    assert_eq!(with.refusal.detail, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_is_as_good_as_unknown_from_the_next_page_on() {
    let city = City::new();
    for n in 0..100 {
        city.vital(1, &format!("o-{n}")).await;
    }
    city.consent(1, 1, |_| ()).await;
    let mut fetching = city
        .holder()
        .begin_fetch(&city.asker.peer, city.fetch(1, |_| ()))
        .await
        .unwrap();
    let (page, _) = city
        .holder()
        .next_page(&mut fetching)
        .await
        .unwrap()
        .unwrap()
        .into_reply();
    assert!(page.cursor.is_some());
    let _erased = city
        .holder()
        .ledger()
        .erase_subject(person(1), "x")
        .await
        .unwrap();
    let cut = city.holder().next_page(&mut fetching).await.unwrap_err();
    let unknown = city.pages(city.fetch(5, |_| ())).await.unwrap_err();
    assert_eq!(told(&cut), told(&unknown));
    assert!(city.leaf(cut.leaf.as_ref().unwrap()).get("kh").is_none());
}

/// Asked for all the while it is being erased: an answer from before, or what an unknown person gives; nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn asked_for_while_being_erased() {
    let city = std::sync::Arc::new(City::new());
    for n in 1..=12_u8 {
        for i in 0..20 {
            city.vital(n, &format!("o-{n}-{i}")).await;
        }
        city.consent(n, n, |_| ()).await;
        let asking: Vec<_> = (0..4)
            .map(|t| {
                let city = std::sync::Arc::clone(&city);
                tokio::spawn(async move {
                    let mut gone = false;
                    for _ in 0..8 {
                        let outcome = if t % 2 == 0 {
                            city.holder()
                                .locate(&city.asker.peer, city.locate(n))
                                .await
                                .map(drop)
                        } else {
                            city.pages(city.fetch(n, |_| ())).await.map(drop)
                        };
                        match outcome {
                            Ok(()) => assert!(!gone, "it came back"),
                            Err(refused) => {
                                gone = true;
                                assert_eq!(
                                    refused.refusal,
                                    record::Refusal::new(ReasonCode::ConsentMissing)
                                );
                                assert!(refused.leaf.is_some());
                            }
                        }
                    }
                })
            })
            .collect();
        let _erased = city
            .holder()
            .ledger()
            .erase_subject(person(n), "x")
            .await
            .unwrap();
        for task in asking {
            task.await.unwrap();
        }
    }
}
