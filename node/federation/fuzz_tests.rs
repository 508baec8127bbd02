//! Tests that no parser of this room panics or believes a mutated input it should not.

use rustls::pki_types::CertificateDer;

use crate::fixture::{
    NOW, Noise, authority, chain_of, directory_of, draft_of, party, rng, sign_text, text_of,
};
use crate::tls_key::TlsKey;
use crate::{
    CaCertificate, Directory, Draft, Endpoint, FederationName, Member, MemberCard,
    PresentedIdentity, Revoked, Validity, Verifiers, WitnessKey, present,
};

/// Mutations of one input for each parser.
const ROUNDS: usize = 3000;

/// Feeds mutations of `seed` that are still text.
fn texts(seed: u64, text: &str, mut feed: impl FnMut(&str)) {
    let mut noise = Noise(seed);
    for _ in 0..ROUNDS {
        if let Ok(mutated) = String::from_utf8(noise.mutate(text.as_bytes())) {
            feed(&mutated);
        }
    }
    for _ in 0..200 {
        let random: Vec<u8> = (0..noise.below(300))
            .map(|_| noise.next().to_le_bytes()[0])
            .collect();
        feed(&String::from_utf8_lossy(&random));
    }
}

#[test]
fn mutated_directories_are_refused_or_canonical() {
    let key = authority();
    let signed = directory_of(&[&party(1), &party(2)]);
    let mut noise = Noise(1);
    for _ in 0..ROUNDS {
        let bytes = noise.mutate(signed.bytes());
        if let Ok(read) = Directory::parse_verified(&bytes, key.verifier_key(), NOW) {
            assert_eq!(
                read.bytes(),
                signed.bytes(),
                "only what the authority signed is believed"
            );
        }
    }
    // Signed again after the mutation, so that the parser behind the signature is reached.
    let mut taken = 0;
    texts(2, &text_of(&signed), |text| {
        if !text.ends_with('\n') || text.bytes().any(|b| b < 0x20 && b != b'\n') {
            return;
        }
        if let Ok(read) = Directory::parse_verified(&sign_text(text), key.verifier_key(), NOW) {
            taken += 1;
            assert_eq!(text_of(&read), text);
            assert!(Verifiers::new(read).is_ok());
        }
    });
    assert!(
        taken > 0,
        "some mutations (of names, say) make other good directories"
    );
}

#[test]
fn mutated_texts_are_refused_or_go_both_ways() {
    let a = party(1);
    texts(3, &a.member.to_json().unwrap(), |text| {
        if let Ok(member) = Member::from_json(text) {
            assert_eq!(Member::from_json(&member.to_json().unwrap()), Ok(member));
        }
    });
    let card = a.card();
    texts(4, &card.to_json().unwrap(), |text| {
        if let Ok(read) = MemberCard::parse(text) {
            assert_eq!(
                (read.member(), read.federation()),
                (card.member(), card.federation())
            );
        }
    });
    texts(5, &draft_of(&[&a]).to_json().unwrap(), |text| {
        if let Ok(draft) = Draft::parse(text) {
            assert_eq!(Draft::parse(&draft.to_json().unwrap()), Ok(draft));
        }
    });
    let mut revoked = Revoked::new();
    revoked.revoke(&[0xab; 16]);
    revoked.revoke(&[1, 2, 3]);
    texts(6, &revoked.to_text(), |text| {
        if let Ok(list) = Revoked::parse(text) {
            assert_eq!(Revoked::parse(&list.to_text()), Ok(list));
        }
    });
    texts(
        7,
        "urn:songhe:client:member-00001:physician:dr.li",
        |text| {
            if let Some(identity) = PresentedIdentity::parse_uri(text) {
                assert_eq!(identity.to_string(), text);
            }
        },
    );
    texts(8, "[2001:db8::1]:7400", |text| {
        if let Ok(endpoint) = Endpoint::parse(text) {
            assert!(endpoint.port() > 0 && !endpoint.host().is_empty());
        }
    });
    texts(9, "city.example", |text| {
        if let Ok(name) = FederationName::parse(text) {
            assert_eq!(name.as_str(), text);
        }
    });
    texts(10, &a.member.witness_key.to_string(), |text| {
        if let Ok(key) = WitnessKey::parse(text) {
            assert_eq!(key.to_string(), text);
        }
    });
    texts(11, a.ca.key_pem().as_str(), |text| {
        if let Ok(key) = TlsKey::from_pem(text, &rng()) {
            assert_eq!(key.public_point(), a.ca.certificate().public_point());
        }
    });
}

#[test]
fn mutated_certificates_are_refused_or_are_the_one_issued() {
    let a = party(1);
    let verifiers = Verifiers::new(directory_of(&[&a])).unwrap();
    let issued =
        a.ca.issue_node(&["node.example"], &[], Validity::days_from(NOW, 9), &rng())
            .unwrap();
    let leaf = chain_of(&issued).remove(0);
    let mut noise = Noise(12);
    for _ in 0..ROUNDS {
        let bytes = noise.mutate(&leaf);
        if let Ok(identity) = present(&bytes) {
            assert_eq!(
                PresentedIdentity::parse_uri(&identity.to_string()),
                Some(identity)
            );
        }
        let same = bytes == leaf.as_ref();
        assert_eq!(
            verifiers
                .verify_peer(&[CertificateDer::from(bytes)], NOW)
                .is_ok(),
            same
        );
        let bytes = noise.mutate(&a.ca.certificate().der());
        if let Ok(ca) = CaCertificate::parse(&bytes) {
            assert_eq!(ca.der().as_ref(), bytes);
        }
        let random: Vec<u8> = (0..noise.below(300))
            .map(|_| noise.next().to_le_bytes()[0])
            .collect();
        assert!(present(&random).is_err() && CaCertificate::parse(&random).is_err());
    }
}
