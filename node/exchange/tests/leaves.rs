//! Leaves: whole digests at the longest names, no content, no person.

use record::decision::Verb;
use record::{LawfulBasis, Purpose, ReasonCode, Role};

use super::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn digests_stay_whole_in_the_longest_leaf() {
    let city = City::new();
    city.vital(1, "o-1").await;
    city.consent(1, 1, |c| c.purposes = Purpose::ALL.to_vec())
        .await;
    let longest = |s: &mut crate::Statement| {
        s.role = Role::SecurityAdministrator;
        s.purpose = Purpose::Eligdtrm;
        s.basis = LawfulBasis::StatutoryDuty;
    };
    let pages = city.pages(city.fetch(1, longest)).await.unwrap();
    city.rule(|_| Err(record::decision::PolicyFault::Engine("x".into())));
    let refused = city.pages(city.fetch(1, longest)).await.unwrap_err();
    let member_id_room = 64 - "h-asker".len();
    let reason_room = ReasonCode::ALL
        .iter()
        .map(|r| r.as_str().len())
        .max()
        .unwrap()
        - "POLICY_FAILED".len();
    for (at, room) in [
        (&pages[0].1, member_id_room + 4),
        (refused.leaf.as_ref().unwrap(), member_id_room + reason_room),
    ] {
        let bytes = city.holder().ledger().leaf(at.seq).unwrap();
        assert!(
            bytes.len() + room <= record::leaf::LEAF_MAX,
            "{} + {room}",
            bytes.len()
        );
        let leaf = city.leaf(at);
        assert_eq!(leaf["pol"], record::id::hex_encode(&[0xd1; 32]));
        assert_eq!(leaf["pc"].as_str().unwrap().len(), 64);
    }
    assert_eq!(
        city.detail(refused.leaf.as_ref().unwrap())["role"],
        "security-administrator"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_content_nor_person_is_in_a_leaf() {
    let city = City::new();
    city.put(
        1,
        "vitals",
        "o-1",
        3,
        &observation("o-1").replace("heart rate", "CANARY"),
    )
    .await;
    city.consent(1, 0xee, |_| ()).await;
    city.pages(city.fetch(1, |_| ())).await.unwrap();
    city.pages(city.fetch(2, |_| ())).await.unwrap_err();
    for leaf in city.leaves() {
        let text = leaf.to_string();
        for gone in [
            "CANARY",
            "o-1",
            "p-77",
            "his",
            &record::id::hex_encode(&[1; 8]),
            &record::id::hex_encode(&[9; 16]),
        ] {
            // The exchange ids of these tests are small numbers, never such runs.
            assert!(!text.contains(gone), "{gone} in {text}");
        }
    }
    let caller = city
        .holder()
        .identify(&city.asker.peer, city.locate(1))
        .unwrap();
    assert_eq!(caller.statement().verb, Verb::Locate);
    assert!(
        !format!("{caller:?}").contains("[1, 1, 1"),
        "a pseudonym does not print"
    );
}
