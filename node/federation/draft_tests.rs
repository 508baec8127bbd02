//! Tests of members, cards and drafts: what the authority accepts before it signs.

use record::{CreditCode, MemberId};
use ring::signature::Ed25519KeyPair;
use tlog::note::VerifierKey;

use crate::card::CardError;
use crate::draft::DraftError;
use crate::fixture::{
    NOW, Party, authority, draft_of, federation, key_bytes, party, rng, sign_text, text_of,
};
use crate::member::{InvalidMember, MAX_MEMBER_BYTES};
use crate::{
    AuthorityKey, Directory, DirectoryError, Draft, Endpoint, FederationName, Member, MemberCard,
    OprfPublicKey, SignedDirectory, WitnessKey,
};

fn read(bytes: &[u8]) -> Result<SignedDirectory, DirectoryError> {
    Directory::parse_verified(bytes, authority().verifier_key(), NOW)
}

fn read_text(text: &str) -> Result<SignedDirectory, DirectoryError> {
    read(&sign_text(text))
}

#[test]
fn what_members_may_not_share_is_found() {
    let (a, b) = (party(1), party(2));
    let mut draft = draft_of(&[&a]);
    let both = |first: &Party, second: &Party| (first.id().clone(), second.id().clone());
    let (one, two) = both(&a, &b);
    let duplicate_key =
        DraftError::Directory(DirectoryError::DuplicateKey(one.clone(), two.clone()));

    let with = |change: &dyn Fn(&mut Member)| {
        let mut member = b.member.clone();
        change(&mut member);
        b.card_of(member)
    };
    let same_code = with(&|m| m.credit_code = a.member.credit_code.clone());
    assert_eq!(
        draft.add(&same_code).unwrap_err(),
        DraftError::Directory(DirectoryError::DuplicateCreditCode(one, two))
    );
    let own_name = b.member.log_key.name().to_owned();
    for shared in [
        with(&|m| m.oprf_key = a.member.oprf_key),
        with(&|m| m.log_key = VerifierKey::new(&own_name, *a.member.log_key.public_key()).unwrap()),
        with(&|m| {
            m.log_key = VerifierKey::new(&own_name, *a.member.receipt_key.as_bytes()).unwrap();
        }),
        with(&|m| {
            m.witness_key = WitnessKey::new("w.example", *a.member.log_key.public_key()).unwrap();
        }),
        with(&|m| {
            m.oprf_key = OprfPublicKey::from_bytes(*a.member.witness_key.public_key()).unwrap();
        }),
        with(&|m| m.log_key = VerifierKey::new(a.member.log_key.name(), key_bytes(9, 9)).unwrap()),
        with(&|m| {
            m.witness_key = WitnessKey::new(a.member.log_key.name(), key_bytes(9, 9)).unwrap();
        }),
    ] {
        assert_eq!(draft.add(&shared).unwrap_err(), duplicate_key);
    }
    assert_eq!(draft.members().count(), 1, "a refused card changes nothing");
    draft.add(&b.card()).unwrap();
    // The same, in a text the authority signed all the same.
    let text = text_of(&draft.sign(&authority(), NOW, 30).unwrap());
    let same_code = text.replace(b.member.credit_code.as_str(), a.member.credit_code.as_str());
    assert!(matches!(
        read_text(&same_code),
        Err(DirectoryError::DuplicateCreditCode(..))
    ));
    // And the authority's own key in a member's hands.
    let theft = with(&|m| {
        m.log_key = VerifierKey::new(&own_name, *authority().verifier_key().public_key()).unwrap();
    });
    let mut draft = draft_of(&[]);
    draft.add(&theft).unwrap();
    assert_eq!(
        draft.sign(&authority(), NOW, 30).unwrap_err(),
        DraftError::Directory(DirectoryError::AuthorityKeyReused(b.id().clone()))
    );
}

#[test]
fn one_key_never_serves_two_purposes() {
    let base = party(1).member;
    let purposes: [&dyn Fn(&mut Member); 3] = [
        &|m| m.log_key = VerifierKey::new("l.example", *m.receipt_key.as_bytes()).unwrap(),
        &|m| m.witness_key = WitnessKey::new("w.example", *m.log_key.public_key()).unwrap(),
        &|m| m.oprf_key = OprfPublicKey::from_bytes(*m.witness_key.public_key()).unwrap(),
    ];
    for change in purposes {
        let mut member = base.clone();
        change(&mut member);
        assert_eq!(member.check(), Err(InvalidMember::SharedKey));
        assert!(Member::from_json(&member.to_json().unwrap()).is_err());
    }
}

#[test]
fn members_are_checked_when_read() {
    let base = party(1).member;
    let json = base.to_json().unwrap();
    assert_eq!(Member::from_json(&json), Ok(base.clone()));
    let other = party(2).member;
    let mut cases: Vec<(Member, InvalidMember)> = Vec::new();
    let mut case = |change: &dyn Fn(&mut Member), fault: InvalidMember| {
        let mut member = base.clone();
        change(&mut member);
        cases.push((member, fault));
    };
    for name in [
        "",
        " a",
        "a ",
        "a\nb",
        "a\u{202e}b",
        "\u{200b}",
        &"长".repeat(129),
    ] {
        case(&|m| m.name = name.to_owned(), InvalidMember::Name);
        case(&|m| m.name_en = Some(name.to_owned()), InvalidMember::Name);
    }
    case(&|m| m.endpoints.clear(), InvalidMember::Endpoints);
    case(
        &|m| m.endpoints.push(m.endpoints[0].clone()),
        InvalidMember::Endpoints,
    );
    case(
        &|m| {
            m.endpoints = (1..6)
                .map(|n| Endpoint::parse(&format!("a:{n}")).unwrap())
                .collect();
        },
        InvalidMember::Endpoints,
    );
    case(&|m| m.ca = other.ca.clone(), InvalidMember::CaName);
    case(&|m| m.min_protocol = Some(0), InvalidMember::MinProtocol);
    for (member, fault) in cases {
        assert_eq!(member.check(), Err(fault.clone()));
        assert_eq!(Member::from_json(&member.to_json().unwrap()), Err(fault));
    }
    let print = base.ca.fingerprint().to_string();
    for bad in [
        json.replacen(&print, &other.ca.fingerprint().to_string(), 1),
        json.replacen("\"tls_ca_der\":\"M", "\"tls_ca_der\":\"N", 1),
        json.replacen("\"tls_ca_der\":\"", "\"tls_ca_der\":\"!", 1),
        json.replacen("/audit/1+", "/audit/2+", 1),
        json.replacen("/witness+", "/witnes+", 1),
    ] {
        assert_ne!(bad, json);
        assert!(Member::from_json(&bad).is_err());
    }
    let long = json.replacen("松", &"松".repeat(MAX_MEMBER_BYTES), 1);
    assert_eq!(Member::from_json(&long), Err(InvalidMember::TooLarge));
}

#[test]
fn drafts_follow_their_rules() {
    let (a, b) = (party(1), party(2));
    let mut draft = draft_of(&[&a, &b]);
    assert_eq!(
        draft.add(&a.card()).unwrap_err(),
        DraftError::AlreadyMember(a.id().clone())
    );
    let nobody = MemberId::parse("nobody").unwrap();
    assert_eq!(
        draft.suspend(&nobody).unwrap_err(),
        DraftError::NoSuchMember(nobody.clone())
    );
    assert_eq!(
        draft.remove(&nobody).unwrap_err(),
        DraftError::NoSuchMember(nobody)
    );
    draft.suspend(a.id()).unwrap();
    assert_eq!(Draft::parse(&draft.to_json().unwrap()).unwrap(), draft);

    // Renewing changes keys and endpoints, not the status and not the organisation.
    let mut moved = a.member.clone();
    moved.endpoints = vec![Endpoint::parse("10.0.0.9:7400").unwrap()];
    draft.renew(&a.card_of(moved.clone())).unwrap();
    let now_there = draft.members().find(|m| &m.id == a.id()).unwrap();
    assert_eq!(
        (now_there.endpoints.clone(), now_there.is_active()),
        (moved.endpoints.clone(), false)
    );
    moved.credit_code = CreditCode::from_body("12350100M99999999").unwrap();
    assert_eq!(
        draft.renew(&a.card_of(moved)).unwrap_err(),
        DraftError::OtherOrganisation(a.id().clone())
    );
    assert_eq!(
        draft.renew(&party(3).card()).unwrap_err(),
        DraftError::NoSuchMember(party(3).id().clone())
    );
    draft.reinstate(a.id()).unwrap();
    draft.remove(b.id()).unwrap();

    let signed = draft.sign(&authority(), NOW, 30).unwrap();
    assert_eq!(Draft::from_directory(signed.directory()), draft);
    let town =
        AuthorityKey::generate(FederationName::parse("town.example").unwrap(), &rng()).unwrap();
    assert_eq!(
        draft.sign(&town, NOW, 30).unwrap_err(),
        DraftError::OtherFederation
    );
    assert_eq!(draft.signed_version(), 1);
}

#[test]
fn nobody_registers_the_keys_of_others() {
    let (a, b) = (party(1), party(2));
    let create = |member: Member, receipt: &Ed25519KeyPair, by: &Party| {
        MemberCard::create(
            federation(),
            member,
            |label, message| {
                receipt
                    .sign(&crate::keys::labelled(label, message))
                    .as_ref()
                    .try_into()
                    .unwrap()
            },
            &by.ca,
            &rng(),
        )
    };
    assert!(create(a.member.clone(), &a.receipt, &a).is_ok());
    assert_eq!(
        create(a.member.clone(), &b.receipt, &a).unwrap_err(),
        CardError::ReceiptProof
    );
    assert_eq!(
        create(a.member.clone(), &a.receipt, &b).unwrap_err(),
        CardError::CaProof
    );

    let card = a.card();
    let json = card.to_json().unwrap();
    assert_eq!(MemberCard::parse(&json), Ok(card));
    for (what, changed) in [
        (
            "endpoint",
            json.replacen("member-00001.city.example:7400", "evil.example:7400", 1),
        ),
        ("name", json.replacen("人民", "人名", 1)),
        (
            "federation",
            json.replacen("\"city.example\"", "\"town.example\"", 1),
        ),
        ("status", json.replacen("\"active\"", "\"suspended\"", 1)),
        ("format", json.replacen("card/v1", "card/v2", 1)),
        ("unknown key", json.replacen("{", "{\"x\":1,", 1)),
        (
            "no proof",
            json.replacen("\"ca_proof\": \"", "\"ca_proof\": \"A", 1),
        ),
        ("large", format!("{json}{}", " ".repeat(20_000))),
    ] {
        assert_ne!(changed, json, "{what}");
        assert!(MemberCard::parse(&changed).is_err(), "{what}");
    }
    // A card of another federation does not enter the draft.
    let foreign = MemberCard::create(
        FederationName::parse("town.example").unwrap(),
        a.member.clone(),
        |label, message| a.sign(label, message),
        &a.ca,
        &rng(),
    );
    assert_eq!(
        draft_of(&[]).add(&foreign.unwrap()).unwrap_err(),
        DraftError::OtherFederation
    );
}

#[test]
fn secrets_do_not_print() {
    let key = authority();
    let party = party(1);
    let printed = format!("{key:?} {:?} {:?}", party.ca, party.ca.key_pem());
    assert!(
        !printed.contains("PRIVATE")
            && !printed.contains("42, 42")
            && printed.contains("SecretPem(..)")
    );
    assert_eq!(**key.seed(), [42; 32]);
}
