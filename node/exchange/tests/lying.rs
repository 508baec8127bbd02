//! A policy that lies, errs or fails releases nothing that a person did not permit.

use record::consent::Effect;
use record::decision::PolicyFault;
use record::{Grant, LawfulBasis, Level, Obligation, ReasonCode, Tier};

use super::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_without_consent_is_none() {
    let city = City::new();
    city.vital(1, "o-1").await;
    city.rule(|q| Ok(all(q, &full())));
    for n in [1, 2] {
        let refused = city.pages(city.fetch(n, |_| ())).await.unwrap_err();
        assert_eq!(
            refused.refusal,
            record::Refusal::new(ReasonCode::ConsentMissing)
        );
        let refused = city
            .holder()
            .locate(&city.asker.peer, city.locate(n))
            .await
            .unwrap_err();
        assert_eq!(refused.refusal.reason, ReasonCode::ConsentMissing);
    }
    // A consent that speaks of something else bears nothing out.
    city.consent(1, 1, |c| c.types = vec![code("profile")])
        .await;
    city.consent(1, 2, |c| c.purposes = vec![record::Purpose::Hresch])
        .await;
    city.consent(1, 3, |c| c.level_ceiling = Level::new(2).unwrap())
        .await;
    city.consent(1, 4, |c| c.from = NOW.plus_ms(1)).await;
    city.consent(1, 5, |c| c.until = NOW).await;
    city.consent(1, 6, |c| {
        c.recipient_kinds = vec![record::AgencyKind::Community];
    })
    .await;
    assert!(
        city.pages(city.fetch(1, |s| s.requester = city.asker.peer.member().id.clone()))
            .await
            .is_ok(),
        "6 names the asker"
    );
    city.withdraw(1, 6).await;
    assert_eq!(
        city.pages(city.fetch(1, |_| ()))
            .await
            .unwrap_err()
            .refusal
            .reason,
        ReasonCode::ConsentMissing
    );
    // Another basis is the policy's to judge.
    assert_eq!(
        ids(&city
            .pages(city.fetch(1, |s| s.basis = LawfulBasis::VitalInterest))
            .await
            .unwrap()),
        ["o-1"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_beats_every_grant() {
    let city = City::new();
    city.vital(1, "o-1").await;
    city.consent(1, 1, |_| ()).await;
    city.consent(1, 2, |c| {
        c.effect = Effect::Refuse;
        c.purposes = vec![];
        c.recipients = vec![];
        c.types = vec![code("vitals")];
    })
    .await;
    city.rule(|q| Ok(all(q, &full())));
    for basis in LawfulBasis::ALL {
        let refused = city
            .pages(city.fetch(1, |s| s.basis = basis))
            .await
            .unwrap_err();
        assert_eq!(
            refused.refusal,
            record::Refusal::new(ReasonCode::ConsentMissing),
            "{basis}"
        );
        assert_eq!(
            city.leaf(refused.leaf.as_ref().unwrap())["reason"],
            "CONSENT_REFUSED"
        );
    }
    city.withdraw(1, 2).await;
    assert_eq!(
        ids(&city.pages(city.fetch(1, |_| ())).await.unwrap()),
        ["o-1"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_denials() {
    let city = City::new();
    city.vital(1, "o-1").await;
    city.consent(1, 1, |_| ()).await;
    let faults = [
        (
            PolicyFault::Engine("trap at record o-1".into()),
            ReasonCode::PolicyFailed,
        ),
        (PolicyFault::Answer("o-1".into()), ReasonCode::PolicyFailed),
        (
            PolicyFault::Obligation("phone o-1".into()),
            ReasonCode::ObligationUnknown,
        ),
    ];
    for (fault, reason) in faults {
        let said = fault.clone();
        city.rule(move |_| Err(said.clone()));
        for refused in [
            city.pages(city.fetch(1, |_| ())).await.unwrap_err(),
            city.holder()
                .locate(&city.asker.peer, city.locate(1))
                .await
                .unwrap_err(),
        ] {
            assert_eq!(
                refused.refusal,
                record::Refusal::new(reason),
                "{fault}: and no more is told outside"
            );
            assert_eq!(
                city.leaf(refused.leaf.as_ref().unwrap())["reason"],
                reason.as_str()
            );
        }
    }
    let refused = city.pages(city.fetch(1, |_| ())).await.unwrap_err();
    assert_eq!(
        city.detail(refused.leaf.as_ref().unwrap())["detail"],
        "phone o-1",
        "its own people learn it"
    );
    city.rule(|q| {
        Ok(record::Verdict {
            v: 2,
            ..all(q, &full())
        })
    });
    assert_eq!(
        city.pages(city.fetch(1, |_| ()))
            .await
            .unwrap_err()
            .refusal
            .reason,
        ReasonCode::PolicyFailed
    );
    city.rule(|_| {
        Ok(record::Verdict {
            v: 1,
            ..record::Verdict::default()
        })
    });
    assert_eq!(
        city.pages(city.fetch(1, |_| ()))
            .await
            .unwrap_err()
            .refusal
            .reason,
        ReasonCode::PurposeNotAllowed
    );
    // Types nobody asked for are not answered.
    city.rule(|_| Ok(verdict([(code("profile"), full())])));
    assert!(city.pages(city.fetch(1, |_| ())).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn masks_nobody_knows_release_nothing() {
    let city = City::new();
    city.vital(1, "o-1").await;
    city.consent(1, 1, |_| ()).await;
    for tier in [Tier::Masked, Tier::Full, Tier::Count] {
        city.rule(move |q| {
            Ok(all(
                q,
                &Grant {
                    tier,
                    mask: vec!["identifiers".into(), "x".into()],
                    ..Grant::default()
                },
            ))
        });
        let refused = city.pages(city.fetch(1, |_| ())).await.unwrap_err();
        assert_eq!(
            refused.refusal,
            record::Refusal::new(ReasonCode::PolicyFailed)
        );
    }
    // Whole and masked at once is masked.
    city.rule(|q| {
        Ok(all(
            q,
            &Grant {
                tier: Tier::Full,
                mask: vec!["identifiers".into()],
                ..Grant::default()
            },
        ))
    });
    let pages = city.pages(city.fetch(1, |_| ())).await.unwrap();
    let record = &pages[0].0.records[0];
    assert!(
        record.tier == Tier::Masked && !String::from_utf8_lossy(&record.fhir_json).contains("p-77")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_masked_stays() {
    let city = City::new();
    city.put(1, "vitals", "o-1", 3, "{ not json").await;
    city.consent(1, 1, |_| ()).await;
    city.rule(|q| {
        Ok(all(
            q,
            &Grant {
                tier: Tier::Masked,
                ..Grant::default()
            },
        ))
    });
    let refused = city.pages(city.fetch(1, |_| ())).await.unwrap_err();
    assert_eq!(
        refused.refusal,
        record::Refusal::new(ReasonCode::PolicyFailed)
    );
}

/// Level 5 records among those of a level-3 type.
#[tokio::test(flavor = "multi_thread")]
async fn a_raised_record_is_judged_by_itself() {
    let city = City::new();
    for n in 0..80 {
        let level = if n % 2 == 0 { 3 } else { 5 };
        city.put(
            1,
            "vitals",
            &format!("o-{n}"),
            level,
            &observation(&format!("o-{n}")),
        )
        .await;
    }
    let low = |pages: &[_]| {
        ids(pages)
            .iter()
            .all(|id| id.trim_start_matches("o-").parse::<u32>().unwrap() % 2 == 0)
    };
    city.consent(1, 1, |_| ()).await;
    let ttl = Obligation::Ttl { seconds: 60 };
    // A policy that would give it all: the consent reaches to level 4 only.
    city.rule(|q| Ok(all(q, &full())));
    let (located, _) = city
        .holder()
        .locate(&city.asker.peer, city.locate(1))
        .await
        .unwrap()
        .into_reply();
    assert_eq!(
        (located.holdings[0].records, located.holdings[0].newest),
        (Some(40), Some(NOW))
    );
    let pages = city.pages(city.fetch(1, |_| ())).await.unwrap();
    assert!(ids(&pages).len() == 40 && low(&pages));
    // The limit counts what is given, not what is withheld.
    let pages = city
        .pages(city.fetch(1, |s| s.query.limit = 30))
        .await
        .unwrap();
    assert!(ids(&pages).len() == 30 && low(&pages));
    // A consent for it, a policy against it, one that fails on it: not released, and not told.
    city.consent(1, 2, |c| c.level_ceiling = Level::HIGHEST)
        .await;
    city.rule(|q| {
        let raised = q.types.iter().any(|t| t.level == Level::HIGHEST);
        Ok(if raised {
            all(q, &Grant::default())
        } else {
            all(q, &full())
        })
    });
    let pages = city.pages(city.fetch(1, |_| ())).await.unwrap();
    assert!(ids(&pages).len() == 40 && low(&pages));
    city.rule(|q| {
        let raised = q.types.iter().any(|t| t.level == Level::HIGHEST);
        if raised {
            Err(PolicyFault::Engine("trap".into()))
        } else {
            Ok(all(q, &full()))
        }
    });
    let pages = city.pages(city.fetch(1, |_| ())).await.unwrap();
    assert!(ids(&pages).len() == 40 && low(&pages));
    // Both for it: released as granted at its level, with the duties of its level.
    city.rule(move |q| {
        let raised = q.types.iter().any(|t| t.level == Level::HIGHEST);
        let mask = Grant {
            tier: Tier::Masked,
            mask: vec!["identifiers".into()],
            ..Grant::default()
        };
        let duties = if raised {
            vec![Obligation::Ttl { seconds: 60 }]
        } else {
            vec![]
        };
        let grant = if raised { mask } else { full() };
        Ok(record::Verdict {
            obligations: duties,
            ..all(q, &grant)
        })
    });
    let pages = city.pages(city.fetch(1, |_| ())).await.unwrap();
    assert_eq!(ids(&pages).len(), 80);
    for (page, _) in &pages {
        assert_eq!(
            page.obligations,
            std::slice::from_ref(&ttl),
            "no weaker duties than its level's"
        );
        for record in &page.records {
            assert_eq!(
                record.tier,
                if record.level.get() == 5 {
                    Tier::Masked
                } else {
                    Tier::Full
                }
            );
        }
    }
}
