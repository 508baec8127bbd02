//! Tests of verifying a node's own clients, and of taking their certificates back.

use rcgen::ExtendedKeyUsagePurpose as Usage;
use record::{ReasonCode, Role, Timestamp};
use rustls::pki_types::CertificateDer;

use crate::fixture::{DAY_MS, NOW, chain_of, party};
use crate::fixture::{client_of, key, node_of, node_params};
use crate::{ClientVerifier, Revoked};

#[test]
fn clients_belong_to_their_own_node() {
    let (a, b) = (party(1), party(2));
    let verifier = ClientVerifier::new(a.ca.certificate()).unwrap();
    let none = Revoked::new();
    let issued = client_of(&a);
    let chain = chain_of(&issued);
    let client = verifier.verify(&chain, &none, NOW).unwrap();
    assert_eq!(
        (client.role(), client.name().as_str()),
        (Role::Physician, "dr.li")
    );
    assert_eq!(*client.fingerprint(), issued.fingerprint);

    let reason = |chain: &[CertificateDer<'_>], revoked: &Revoked, now: Timestamp| {
        verifier.verify(chain, revoked, now).unwrap_err().reason
    };
    assert_eq!(
        reason(&chain_of(&client_of(&b)), &none, NOW),
        ReasonCode::ClientUnknown
    );
    assert_eq!(
        reason(&chain_of(&node_of(&a)), &none, NOW),
        ReasonCode::ClientUnknown
    );
    assert_eq!(reason(&[], &none, NOW), ReasonCode::ClientUnknown);
    assert_eq!(
        reason(&chain, &none, NOW.plus_ms(91 * DAY_MS)),
        ReasonCode::PeerCertificateExpired
    );
    assert_eq!(
        reason(&chain, &none, NOW.plus_ms(-DAY_MS)),
        ReasonCode::PeerCertificateExpired
    );

    let uri = issued.identity.to_string();
    let mut params = node_params(&[&uri]);
    params.extended_key_usages = vec![Usage::ClientAuth];
    assert!(
        verifier
            .verify(&[a.ca.sign_anything(&params, &key())], &none, NOW)
            .is_ok()
    );
    assert_eq!(
        reason(&[b.ca.sign_anything(&params, &key())], &none, NOW),
        ReasonCode::ClientUnknown
    );
    assert_eq!(
        reason(
            &[params.self_signed(&key()).unwrap().der().clone()],
            &none,
            NOW
        ),
        ReasonCode::ClientUnknown
    );
    for usages in [
        vec![],
        vec![Usage::ServerAuth],
        vec![Usage::ServerAuth, Usage::ClientAuth],
    ] {
        params.extended_key_usages = usages;
        assert_eq!(
            reason(&[a.ca.sign_anything(&params, &key())], &none, NOW),
            ReasonCode::ClientUnknown
        );
    }
    let two_roles = [
        "urn:songhe:client:member-00001:nurse:li",
        "urn:songhe:client:member-00001:auditor:li",
    ];
    let mut params = node_params(&two_roles);
    params.extended_key_usages = vec![Usage::ClientAuth];
    assert_eq!(
        reason(&[a.ca.sign_anything(&params, &key())], &none, NOW),
        ReasonCode::ClientUnknown
    );

    let mut revoked = Revoked::new();
    assert_eq!(client.serial(), issued.serial);
    revoked.revoke(&issued.serial);
    assert_eq!(reason(&chain, &revoked, NOW), ReasonCode::ClientUnknown);
    assert!(
        verifier
            .verify(&chain_of(&client_of(&a)), &revoked, NOW)
            .is_ok(),
        "only the one taken back"
    );
}

#[test]
fn a_certificate_taken_back_does_not_return_under_another_fingerprint() {
    let a = party(1);
    let verifier = ClientVerifier::new(a.ca.certificate()).unwrap();
    let issued = client_of(&a);
    let twin = [with_other_s(&chain_of(&issued)[0])];
    let client = verifier.verify(&twin, &Revoked::new(), NOW).unwrap();
    assert_ne!(
        *client.fingerprint(),
        issued.fingerprint,
        "the same certificate, another fingerprint"
    );
    let mut revoked = Revoked::new();
    revoked.revoke(&issued.serial);
    assert_eq!(
        verifier.verify(&twin, &revoked, NOW).unwrap_err().reason,
        ReasonCode::ClientUnknown
    );
}

/// The certificate with `n - s` for `s` in its signature, which verifies just as well.
fn with_other_s(leaf: &CertificateDer<'_>) -> CertificateDer<'static> {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).unwrap();
    let signature = parsed.signature_value.data.to_vec();
    // SEQUENCE { INTEGER r, INTEGER s }, all lengths below 128.
    let s_at = 4 + usize::from(signature[3]);
    let mut s = [0; 32];
    let digits: Vec<u8> = signature[s_at + 2..]
        .iter()
        .copied()
        .skip_while(|b| *b == 0)
        .collect();
    s[32 - digits.len()..].copy_from_slice(&digits);
    let (mut other, mut borrow) = ([0_u8; 32], 0);
    for at in (0..32).rev() {
        let difference = i32::from(ORDER[at]) - i32::from(s[at]) - borrow;
        borrow = i32::from(difference < 0);
        other[at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let integer = |digits: &[u8]| {
        let mut digits: Vec<u8> = digits.iter().copied().skip_while(|b| *b == 0).collect();
        if digits[0] >= 0x80 {
            digits.insert(0, 0);
        }
        [vec![2, u8::try_from(digits.len()).unwrap()], digits].concat()
    };
    let body = [signature[2..s_at].to_vec(), integer(&other)].concat();
    let mut bits = vec![
        3,
        u8::try_from(body.len() + 3).unwrap(),
        0,
        0x30,
        u8::try_from(body.len()).unwrap(),
    ];
    bits.extend_from_slice(&body);
    // The certificate: SEQUENCE (two bytes of length) { what was signed, the algorithm, BIT STRING }.
    let bit_string_bytes = signature.len() + 3;
    let inner = [&leaf[4..leaf.len() - bit_string_bytes], &bits].concat();
    let length = u16::try_from(inner.len()).unwrap().to_be_bytes();
    CertificateDer::from([vec![0x30, 0x82, length[0], length[1]], inner].concat())
}
