//! Pages and cursors: each record once, whatever the sizes; a cursor is good for its own query and member alone.

use record::decision::Verb;
use record::{ReasonCode, Timestamp};

use super::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn each_record_once_at_every_edge() {
    let city = City::new();
    city.consent(1, 1, |_| ()).await;
    let mut wanted = Vec::new();
    for (count, pages_of) in [
        (0, 1),
        (1, 1),
        (63, 1),
        (64, 2),
        (65, 2),
        (127, 2),
        (128, 3),
        (130, 3),
    ] {
        for n in wanted.len()..count {
            wanted.push(format!("o-{n}"));
            city.vital(1, &format!("o-{n}")).await;
        }
        let pages = city.pages(city.fetch(1, |_| ())).await.unwrap();
        assert_eq!(ids(&pages), wanted, "{count}");
        assert!(pages.len() <= pages_of, "{count}: {} pages", pages.len());
        for (at, (page, leaf)) in pages.iter().enumerate() {
            assert_eq!(
                page.cursor.is_none(),
                at + 1 == pages.len(),
                "the last page has no cursor"
            );
            assert_eq!(city.leaf(leaf)["n"], page.records.len());
        }
        for limit in [1, 63, 64, 65, 100, 128, 129] {
            let pages = city
                .pages(city.fetch(1, |s| s.query.limit = limit))
                .await
                .unwrap();
            assert_eq!(
                ids(&pages),
                wanted[..wanted.len().min(limit as usize)],
                "{count} {limit}"
            );
        }
    }
    // Resumed behind every page by a new request.
    for limit in [1_000, 100] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let signed = city.fetch(1, |s| {
                s.query.limit = limit;
                s.cursor = cursor.clone();
            });
            let mut fetching = city
                .holder()
                .begin_fetch(&city.asker.peer, signed)
                .await
                .unwrap();
            let (page, _) = city
                .holder()
                .next_page(&mut fetching)
                .await
                .unwrap()
                .unwrap()
                .into_reply();
            seen.extend(page.records.iter().map(|r| r.id.clone()));
            let Some(next) = page.cursor else { break };
            cursor = next;
        }
        assert_eq!(seen, wanted[..wanted.len().min(limit as usize)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_types_follow_each_other() {
    let city = City::new();
    city.consent(1, 1, |_| ()).await;
    for n in 0..70 {
        city.vital(1, &format!("o-{n}")).await;
        city.put(
            1,
            "profile",
            &format!("p-{n}"),
            4,
            &format!(r#"{{"resourceType":"Patient","id":"p-{n}"}}"#),
        )
        .await;
    }
    let signed = city.fetch(1, |s| {
        s.query.types = vec![code("profile"), code("facility"), code("vitals")];
    });
    let pages = city.pages(signed).await.unwrap();
    let wanted: Vec<_> = (0..70)
        .map(|n| format!("p-{n}"))
        .chain((0..70).map(|n| format!("o-{n}")))
        .collect();
    assert_eq!(ids(&pages), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_records_have_pages_of_their_own() {
    let city = City::new();
    city.consent(1, 1, |_| ()).await;
    for n in 0..4 {
        let json = format!(
            r#"{{"resourceType":"Observation","id":"o-{n}","note":"{}"}}"#,
            "x".repeat(700_000)
        );
        city.put(1, "vitals", &format!("o-{n}"), 3, &json).await;
    }
    let pages = city.pages(city.fetch(1, |_| ())).await.unwrap();
    assert_eq!(ids(&pages), ["o-0", "o-1", "o-2", "o-3"]);
    assert!(pages.iter().all(|(page, _)| page.records.len() <= 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_good_for_its_own_query_alone() {
    let city = City::new();
    city.consent(1, 1, |c| c.recipients.clear()).await;
    city.consent(2, 2, |_| ()).await;
    for n in 0..70 {
        city.vital(1, &format!("o-{n}")).await;
        city.vital(2, &format!("of-2-{n}")).await;
    }
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
    let cursor = page.cursor.unwrap();
    let good = city
        .pages(city.fetch(1, |s| s.cursor = cursor.clone()))
        .await
        .unwrap();
    assert_eq!(ids(&good).len(), 6);
    let changed: [&dyn Fn(&mut crate::Statement); 8] = [
        &|s| s.pseudonym = person(2),
        &|s| s.query.types = vec![code("profile")],
        &|s| s.query.types.push(code("profile")),
        &|s| s.query.limit -= 1,
        &|s| s.query.history = true,
        &|s| s.query.since = Some(Timestamp::from_ms(0)),
        &|s| s.query.until = Some(NOW.plus_ms(1)),
        &|s| s.query.until = Some(Timestamp::from_ms(0)),
    ];
    for (at, change) in changed.into_iter().enumerate() {
        let signed = city.fetch(1, |s| {
            s.cursor = cursor.clone();
            change(s);
        });
        let refused = city
            .holder()
            .begin_fetch(&city.asker.peer, signed)
            .await
            .unwrap_err();
        assert_eq!(refused.refusal.reason, ReasonCode::CursorInvalid, "{at}");
        assert_eq!(
            city.leaf(refused.leaf.as_ref().unwrap())["reason"],
            "CURSOR_INVALID"
        );
    }
    // Another member's request with this cursor.
    let mut statement = city.statement(Verb::Fetch, 1);
    statement.requester = city.other.peer.member().id.clone();
    statement.cursor = cursor.clone();
    let refused = city
        .holder()
        .begin_fetch(&city.other.peer, city.other.sign(statement))
        .await
        .unwrap_err();
    assert_eq!(refused.refusal.reason, ReasonCode::CursorInvalid);
    // Forged, cut, of nobody.
    let flip = |at: usize| {
        let mut bytes = cursor.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let long = "A".repeat(100_000);
    let forged = [
        flip(0),
        flip(cursor.len() / 2),
        cursor.chars().skip(1).collect(),
        "x".into(),
        "中".into(),
        long,
    ];
    for cursor in forged {
        let refused = city
            .holder()
            .begin_fetch(
                &city.asker.peer,
                city.fetch(1, |s| s.cursor = cursor.clone()),
            )
            .await
            .unwrap_err();
        assert_eq!(refused.refusal.reason, ReasonCode::CursorInvalid);
    }
    assert_eq!(ids(&good)[0], "o-64");
}
