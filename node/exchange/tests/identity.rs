//! Who asks: every way not to be the one, each with its reason and its leaf.

use record::decision::Verb;
use record::{MemberId, ReasonCode};

use super::support::*;
use crate::{Refused, Signed};

fn is_denied(city: &City, refused: &Refused, reason: ReasonCode, named: &Signed) {
    assert_eq!(refused.refusal.reason, reason);
    let at = refused.leaf.as_ref().unwrap();
    let leaf = city.leaf(at);
    assert_eq!(
        (leaf["typ"].as_str(), leaf["dec"].as_str()),
        (Some("deny"), Some("deny"))
    );
    assert_eq!(
        (leaf["reason"].as_str(), leaf["peer"].as_str()),
        (Some(reason.as_str()), Some("h-asker"))
    );
    assert_ne!(
        at.xid, named.statement.xid,
        "the genuine request keeps its exchange id"
    );
    assert_eq!(city.detail(at)["xid"], named.statement.xid.to_hex());
    assert!(leaf.get("kh").is_none(), "nobody's data was looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_reason_and_its_leaf() {
    let city = City::new();
    city.vital(1, "o-1").await;
    city.consent(1, 1, |_| ()).await;
    let asker = &city.asker;
    let change = |change: &dyn Fn(&mut crate::Statement)| {
        let mut statement = city.statement(Verb::Locate, 1);
        change(&mut statement);
        asker.sign(statement)
    };
    let mut cut = change(&|_| ());
    cut.signature.truncate(63);
    let mut flipped = change(&|_| ());
    flipped.signature[5] ^= 1;
    let mut other_bytes = change(&|_| ());
    other_bytes.bytes.push(b' ');
    let mut by_other = change(&|_| ());
    by_other.signature = city
        .other
        .key
        .sign(crate::REQUEST_LABEL, &by_other.bytes)
        .to_vec();
    let mut other_label = change(&|_| ());
    other_label.signature = asker
        .key
        .sign("songhe-receipt/v1", &other_label.bytes)
        .to_vec();
    let hour = 3_600_000;
    let cases = [
        (
            change(&|s| s.requester = MemberId::parse("h-other").unwrap()),
            ReasonCode::PeerCertificateMismatch,
        ),
        (
            change(&|s| s.holder = MemberId::parse("h-other").unwrap()),
            ReasonCode::RecipientWrong,
        ),
        (change(&|s| s.protocol = 0), ReasonCode::ProtocolTooOld),
        (cut, ReasonCode::SignatureInvalid),
        (flipped, ReasonCode::SignatureInvalid),
        (other_bytes, ReasonCode::SignatureInvalid),
        (by_other, ReasonCode::SignatureInvalid),
        (other_label, ReasonCode::SignatureInvalid),
        (
            change(&|s| s.issued_at = NOW.plus_ms(hour)),
            ReasonCode::RequestStale,
        ),
        (
            change(&|s| s.issued_at = NOW.plus_ms(-hour)),
            ReasonCode::RequestStale,
        ),
        (
            change(&|s| s.issued_at = record::Timestamp::from_ms(i64::MAX)),
            ReasonCode::RequestStale,
        ),
        (
            change(&|s| s.issued_at = record::Timestamp::from_ms(i64::MIN)),
            ReasonCode::RequestStale,
        ),
    ];
    for (signed, reason) in cases {
        let refused = city
            .holder()
            .locate(&asker.peer, signed.clone())
            .await
            .unwrap_err();
        is_denied(&city, &refused, reason, &signed);
        let fetch = city.holder().begin_fetch(&asker.peer, signed).await;
        assert!(fetch.is_err());
    }
    // The same words from the one they are from.
    let good = change(&|_| ());
    assert!(
        city.holder()
            .locate(&city.other.peer, good.clone())
            .await
            .is_err(),
        "another's statement"
    );
    assert!(
        city.holder().locate(&asker.peer, good).await.is_ok(),
        "and it did not use up the exchange id"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn once_is_once_also_after_a_restart() {
    let mut city = City::new();
    city.vital(1, "o-1").await;
    city.consent(1, 1, |_| ()).await;
    let granted = city.locate(1);
    let denied = city.locate(2);
    let streamed = city.fetch(1, |_| ());
    assert!(
        city.holder()
            .locate(&city.asker.peer, granted.clone())
            .await
            .is_ok()
    );
    assert!(
        city.holder()
            .locate(&city.asker.peer, denied.clone())
            .await
            .is_err()
    );
    assert_eq!(city.pages(streamed.clone()).await.unwrap().len(), 1);
    for round in 0..2 {
        for signed in [&granted, &denied] {
            let refused = city
                .holder()
                .locate(&city.asker.peer, signed.clone())
                .await
                .unwrap_err();
            is_denied(&city, &refused, ReasonCode::RequestReplayed, signed);
        }
        let refused = city.pages(streamed.clone()).await.unwrap_err();
        is_denied(&city, &refused, ReasonCode::RequestReplayed, &streamed);
        if round == 0 {
            city.restart();
        }
    }
    // An erasure does not open the door again.
    let _erased = city
        .holder()
        .ledger()
        .erase_subject(person(1), "x")
        .await
        .unwrap();
    city.restart();
    let refused = city
        .holder()
        .locate(&city.asker.peer, granted.clone())
        .await
        .unwrap_err();
    is_denied(&city, &refused, ReasonCode::RequestReplayed, &granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_for_one_verb_is_not_good_for_another() {
    let city = City::new();
    city.vital(1, "o-1").await;
    city.consent(1, 1, |_| ()).await;
    let refused = city
        .holder()
        .begin_fetch(&city.asker.peer, city.locate(1))
        .await
        .unwrap_err();
    assert_eq!(refused.refusal.reason, ReasonCode::RequestMalformed);
    let refused = city
        .holder()
        .locate(&city.asker.peer, city.fetch(1, |_| ()))
        .await
        .unwrap_err();
    assert_eq!(refused.refusal.reason, ReasonCode::RequestMalformed);
    // Step by step it is no different.
    let holder = city.holder();
    let caller = holder
        .identify(&city.asker.peer, city.fetch(1, |_| ()))
        .unwrap();
    assert_eq!(
        (caller.agency().member.as_str(), caller.statement().verb),
        ("h-asker", Verb::Fetch)
    );
    let standing = holder
        .look_up_consent(holder.find_subject(caller).unwrap())
        .await
        .unwrap();
    let permit = holder.permit(standing).unwrap();
    assert_eq!(
        holder.release_located(permit).unwrap_err().reason,
        ReasonCode::RequestMalformed
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_refused_at_the_door_leaves_a_trace() {
    let city = City::new();
    let refusal = record::Refusal::new(ReasonCode::PeerSuspended);
    let refused = city.holder().refuse_peer(None, None, refusal.clone()).await;
    assert_eq!(refused.refusal, refusal);
    let leaf = city.leaf(refused.leaf.as_ref().unwrap());
    assert_eq!(
        (leaf["reason"].as_str(), leaf.get("peer")),
        (Some("PEER_SUSPENDED"), None)
    );
    let refused = city
        .holder()
        .refuse_peer(Some(&city.other.peer.member().id), None, refusal)
        .await;
    assert_eq!(city.leaf(refused.leaf.as_ref().unwrap())["peer"], "h-other");
}
