//! Tests of verifying peers: every reason for a refusal, by a real certificate.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Usage, IsCa, Issuer};
use record::{ReasonCode, Timestamp};
use rustls::pki_types::CertificateDer;

use crate::fixture::{DAY_MS, NOW, authority, chain_of, directory_of, draft_of, party, rng};
use crate::fixture::{client_of, key, node_of, node_params};
use crate::{MemberCa, PresentedIdentity, Validity, Verifiers, present};

fn peer_reason(verifiers: &Verifiers, chain: &[CertificateDer<'_>], now: Timestamp) -> ReasonCode {
    verifiers.verify_peer(chain, now).unwrap_err().reason
}

#[test]
fn a_node_is_known_by_its_own_authority() {
    let (a, b) = (party(1), party(2));
    let verifiers = Verifiers::new(directory_of(&[&a, &b])).unwrap();
    let issued = node_of(&a);
    let chain = chain_of(&issued);
    assert_eq!(chain.len(), 2);
    assert_eq!(
        present(&chain[0]),
        Ok(PresentedIdentity::Node(a.id().clone()))
    );
    for chain in [&chain[..], &chain[..1]] {
        let peer = verifiers.verify_peer(chain, NOW).unwrap();
        assert_eq!(
            (&peer.member().id, *peer.fingerprint()),
            (a.id(), issued.fingerprint)
        );
    }
    // A renewed certificate needs no new directory.
    assert!(verifiers.verify_peer(&chain_of(&node_of(&a)), NOW).is_ok());
}

#[test]
fn each_refusal_of_a_peer_has_its_reason() {
    use ReasonCode::{
        DirectoryExpired, PeerCertificateExpired, PeerCertificateMismatch, PeerSuspended,
        PeerUnknown,
    };
    let (a, b, stranger) = (party(1), party(2), party(3));
    let mut draft = draft_of(&[&a, &b]);
    draft.suspend(b.id()).unwrap();
    let verifiers = Verifiers::new(draft.sign(&authority(), NOW, 400).unwrap()).unwrap();
    let uri_a = format!("urn:songhe:member:{}", a.id());
    let uri_b = format!("urn:songhe:member:{}", b.id());
    let check = |what: &str, chain: &[CertificateDer<'_>], reason: ReasonCode| {
        assert_eq!(peer_reason(&verifiers, chain, NOW), reason, "{what}");
    };
    let by = |ca: &MemberCa, params: &CertificateParams| vec![ca.sign_anything(params, &key())];

    assert!(
        verifiers
            .verify_peer(&by(&a.ca, &node_params(&[&uri_a])), NOW)
            .is_ok(),
        "the pattern itself is good"
    );
    check(
        "a member that is not in the directory",
        &chain_of(&node_of(&stranger)),
        PeerUnknown,
    );
    check("a suspended member", &chain_of(&node_of(&b)), PeerSuspended);
    check("no chain", &[], PeerUnknown);
    check(
        "no certificate",
        &[CertificateDer::from(vec![1, 2, 3])],
        PeerUnknown,
    );
    check(
        "a huge certificate",
        &[CertificateDer::from(vec![0x30; 5000])],
        PeerUnknown,
    );
    let mut long = chain_of(&node_of(&a));
    long.push(long[1].clone());
    check("three certificates", &long, PeerUnknown);
    check("no uri", &by(&a.ca, &node_params(&[])), PeerUnknown);
    check(
        "a uri of others",
        &by(&a.ca, &node_params(&["spiffe://example/node"])),
        PeerUnknown,
    );
    check(
        "two uris",
        &by(&a.ca, &node_params(&[&uri_a, &uri_b])),
        PeerUnknown,
    );
    check(
        "one uri twice",
        &by(&a.ca, &node_params(&[&uri_a, &uri_a])),
        PeerUnknown,
    );
    check(
        "a second uri in capitals",
        &by(&a.ca, &node_params(&[&uri_a, "URN:SONGHE:x"])),
        PeerUnknown,
    );
    check(
        "a malformed uri",
        &by(&a.ca, &node_params(&["urn:songhe:member:A"])),
        PeerUnknown,
    );
    check(
        "the authority itself",
        &[a.ca.certificate().der()],
        PeerUnknown,
    );

    check(
        "another member's authority",
        &by(&stranger.ca, &node_params(&[&uri_a])),
        PeerCertificateMismatch,
    );
    check(
        "a member speaking for another",
        &by(&b.ca, &node_params(&[&uri_a])),
        PeerCertificateMismatch,
    );
    let self_made = |uri: &str| {
        vec![
            node_params(&[uri])
                .self_signed(&key())
                .unwrap()
                .der()
                .clone(),
        ]
    };
    check("self-made", &self_made(&uri_a), PeerCertificateMismatch);
    check(
        "self-made for a suspended member tells nothing",
        &self_made(&uri_b),
        PeerCertificateMismatch,
    );
    let namesake = MemberCa::generate(a.id(), NOW, &rng()).unwrap();
    check(
        "an authority of the same name",
        &by(&namesake, &node_params(&[&uri_a])),
        PeerCertificateMismatch,
    );
    let mut with_ca = by(&namesake, &node_params(&[&uri_a]));
    with_ca.push(namesake.certificate().der());
    check(
        "the same, with its authority sent along",
        &with_ca,
        PeerCertificateMismatch,
    );
    check(
        "a client's certificate",
        &chain_of(&client_of(&a)),
        PeerCertificateMismatch,
    );

    let mut spoilt = node_params(&[&uri_a]);
    for usages in [
        vec![],
        vec![Usage::ClientAuth],
        vec![Usage::ServerAuth],
        vec![Usage::CodeSigning],
        vec![Usage::Any],
        vec![Usage::ServerAuth, Usage::ClientAuth, Usage::CodeSigning],
    ] {
        spoilt.extended_key_usages = usages;
        check("wrong usage", &by(&a.ca, &spoilt), PeerCertificateMismatch);
    }
    let mut as_ca = node_params(&[&uri_a]);
    as_ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    check(
        "a leaf that is an authority",
        &by(&a.ca, &as_ca),
        PeerCertificateMismatch,
    );

    // A leaf signed by a leaf, and by an authority below the member's: neither stands directly under it.
    for parent in [node_params(&[&uri_a]), as_ca] {
        let parent_key = key();
        let parent_der = a.ca.sign_anything(&parent, &parent_key);
        let issuer = Issuer::from_params(&parent, &parent_key);
        let leaf = node_params(&[&uri_a])
            .signed_by(&key(), &issuer)
            .unwrap()
            .der()
            .clone();
        check(
            "not directly under the authority",
            &[leaf, parent_der],
            PeerCertificateMismatch,
        );
    }

    let mut old = node_params(&[&uri_a]);
    old.not_after = rcgen::date_time_ymd(2026, 11, 21);
    check("expired", &by(&a.ca, &old), PeerCertificateExpired);
    check(
        "self-made and expired",
        &[old.self_signed(&key()).unwrap().der().clone()],
        PeerCertificateMismatch,
    );
    let mut early = node_params(&[&uri_a]);
    early.not_before = rcgen::date_time_ymd(2026, 11, 23);
    check("not yet valid", &by(&a.ca, &early), PeerCertificateExpired);
    let mut backwards = node_params(&[&uri_a]);
    backwards.not_after = rcgen::date_time_ymd(2026, 10, 1);
    check(
        "ends before it begins",
        &by(&a.ca, &backwards),
        PeerCertificateMismatch,
    );

    let later = NOW.plus_ms(400 * DAY_MS);
    assert_eq!(
        peer_reason(&verifiers, &chain_of(&node_of(&a)), later),
        DirectoryExpired
    );
    assert_eq!(
        peer_reason(&verifiers, &chain_of(&node_of(&stranger)), later),
        DirectoryExpired
    );
}

#[test]
fn every_tampered_byte_of_a_certificate_is_refused() {
    let a = party(1);
    let verifiers = Verifiers::new(directory_of(&[&a])).unwrap();
    let good = chain_of(&node_of(&a)).remove(0);
    for at in 0..good.len() {
        for flip in [0x01, 0x80] {
            let mut bytes = good.to_vec();
            bytes[at] ^= flip;
            assert!(
                verifiers
                    .verify_peer(&[CertificateDer::from(bytes)], NOW)
                    .is_err(),
                "byte {at} ^ {flip:#x}"
            );
        }
    }
}

#[test]
fn validity_ends_with_its_last_second() {
    let a = party(1);
    let verifiers = Verifiers::new(directory_of(&[&a])).unwrap();
    let validity = Validity {
        not_before: NOW,
        not_after: NOW.plus_ms(DAY_MS),
    };
    let chain = chain_of(&a.ca.issue_node(&[], &[], validity, &rng()).unwrap());
    let reason = |at: Timestamp| {
        verifiers
            .verify_peer(&chain, at)
            .map(|_peer| ())
            .map_err(|r| r.reason)
    };
    assert_eq!(reason(NOW), Ok(()));
    assert_eq!(
        reason(NOW.plus_ms(-1)),
        Err(ReasonCode::PeerCertificateExpired)
    );
    assert_eq!(reason(NOW.plus_ms(DAY_MS)), Ok(()));
    assert_eq!(
        reason(NOW.plus_ms(DAY_MS + 1000)),
        Err(ReasonCode::PeerCertificateExpired)
    );
    assert_eq!(
        reason(Timestamp::from_ms(-5)),
        Err(ReasonCode::PeerCertificateExpired)
    );
}
