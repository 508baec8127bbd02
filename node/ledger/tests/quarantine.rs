//! Quarantine: set aside, listed by source, closed, and then really gone.

use record::{Pseudonym, ReasonCode};
use zeroize::Zeroizing;

use super::support::*;
use crate::{LedgerError, Quarantined};

pub(super) fn broken(
    source: &str,
    id: &str,
    subject: Option<Pseudonym>,
    bytes: &str,
) -> Quarantined {
    Quarantined {
        source: source.into(),
        resource_type: "Observation".into(),
        id: id.into(),
        subject,
        reason: ReasonCode::RequestMalformed,
        outcome_json: br#"{"resourceType":"OperationOutcome"}"#.to_vec(),
        original: Zeroizing::new(bytes.as_bytes().to_vec()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_by_source_in_order_page_by_page() {
    let home = Home::new();
    let ledger = home.open();
    put_one(&ledger, record(person(1), "o-1", "1", "a"))
        .await
        .unwrap();
    let mut ids = Vec::new();
    for n in 0..7 {
        let subject = [None, Some(person(1)), Some(person(2))][n % 3];
        let entry = broken(SOURCE, &format!("q-{n}"), subject, &format!("bytes {n}"));
        ids.push(ledger.quarantine(entry).await.unwrap().seq());
        ledger
            .quarantine(broken("another", "x", None, "x"))
            .await
            .unwrap();
    }
    assert!(
        !ledger.knows(&person(2)).unwrap(),
        "a broken record makes no person known"
    );
    let all = ledger.quarantined(SOURCE, None, 100).unwrap();
    assert_eq!(all.iter().map(|e| e.id).collect::<Vec<_>>(), ids);
    assert_eq!(
        (all[3].record_id.as_str(), all[3].original.as_slice()),
        ("q-3", &b"bytes 3"[..])
    );
    assert_eq!(
        (all[3].reason.as_str(), all[3].received),
        ("REQUEST_MALFORMED", NOW)
    );
    assert!(!format!("{all:?}").contains("bytes"));
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = ledger.quarantined(SOURCE, after, 3).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page.iter().map(|e| e.id));
    }
    assert_eq!(seen, ids);
    assert!(
        ledger
            .quarantined(SOURCE, Some(u64::MAX), 3)
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        ledger.quarantine_entry(SOURCE, ids[2]).unwrap().record_id,
        "q-2"
    );
    for (source, id) in [
        ("another", ids[2]),
        (SOURCE, ids[2] + 1),
        (SOURCE, u64::MAX),
    ] {
        assert!(matches!(
            ledger.quarantine_entry(source, id),
            Err(LedgerError::QuarantineNotFound)
        ));
        let closed = ledger.close_quarantine(source, id, "dropped").await;
        assert!(matches!(closed, Err(LedgerError::QuarantineNotFound)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_is_overwritten_and_does_not_come_back() {
    let home = Home::new();
    let ledger = home.open();
    put_one(&ledger, record(person(1), "o-1", "1", "a"))
        .await
        .unwrap();
    let of_nobody = ledger
        .quarantine(broken(SOURCE, "q-0", None, "of nobody"))
        .await
        .unwrap();
    let of_one = ledger
        .quarantine(broken(SOURCE, "q-1", Some(person(1)), "of one"))
        .await
        .unwrap();
    let kept = ledger
        .quarantine(broken(SOURCE, "q-2", Some(person(1)), "kept"))
        .await
        .unwrap();
    for closed in [&of_nobody, &of_one] {
        let location = *closed.location();
        assert!(home.sealed_bytes(&location).iter().any(|b| *b != 0));
        ledger
            .close_quarantine(SOURCE, closed.seq(), "corrected")
            .await
            .unwrap();
        assert!(
            home.sealed_bytes(&location).iter().all(|b| *b == 0),
            "when it returns the bytes are gone"
        );
        let again = ledger
            .close_quarantine(SOURCE, closed.seq(), "corrected")
            .await;
        assert!(matches!(again, Err(LedgerError::QuarantineNotFound)));
    }
    let left = |ledger: &crate::Ledger| {
        ledger
            .quarantined(SOURCE, None, 9)
            .unwrap()
            .iter()
            .map(|e| e.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(left(&ledger), [kept.seq()]);
    let live = tables(&ledger);
    drop(ledger);
    let ledger = home.open_rebuilt();
    assert_eq!(left(&ledger), [kept.seq()]);
    assert_eq!(tables(&ledger), live);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closing_that_a_crash_interrupted_is_finished() {
    for index_lost in [false, true] {
        let home = Home::new();
        let ledger = home.open();
        let entry = ledger
            .quarantine(broken(SOURCE, "q-0", None, "of nobody"))
            .await
            .unwrap();
        let row = ledger
            .sealed_row(&crate::row::Row::QuarantineClosed {
                source: ledger.source_tag(SOURCE),
                seq: entry.seq(),
            })
            .unwrap();
        let leaf = ledger
            .leaf_now(record::leaf::EventType::QuarantineClosed)
            .number("q", entry.seq())
            .to_bytes();
        drop(ledger);
        let journal = home.journal_alone();
        let event = journal::Event {
            leaf,
            row,
            body: Vec::new(),
        };
        let _acked = journal
            .submit(vec![event], journal::Priority::Audit)
            .unwrap()
            .wait()
            .unwrap();
        drop(journal);
        assert!(home.sealed_bytes(entry.location()).iter().any(|b| *b != 0));
        let ledger = if index_lost {
            home.open_rebuilt()
        } else {
            home.open()
        };
        assert!(ledger.quarantined(SOURCE, None, 9).unwrap().is_empty());
        assert!(home.sealed_bytes(entry.location()).iter().all(|b| *b == 0));
    }
}
