//! Tests of authorities and what they issue, and of taking a certificate into use.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose,
};
use record::{MemberId, Role, Timestamp};

use crate::ca::CaError;
use crate::certificate::CertificateError;
use crate::fixture::{DAY_MS, NOW, chain_of, directory_of, party, rng};
use crate::fixture::{client_of, key, name, node_of};
use crate::identity::IdentityError;
use crate::reload::ReloadError;
use crate::{CaCertificate, MemberCa, PresentedIdentity, ReloadableCert, Validity, Verifiers};

#[test]
fn an_authority_keeps_to_its_limits() {
    let a = party(1);
    let validity = Validity::days_from(NOW, 90);
    let names = |list: &[&str]| {
        a.ca.issue_node(list, &[], validity, &rng())
            .map(|_issued| ())
    };
    assert_eq!(names(&["a.example", "b.example"]), Ok(()));
    for bad in ["", "A.example", "a b", "*.example", "é", "a\0"] {
        assert_eq!(names(&[bad]), Err(CertificateError::Names), "{bad:?}");
    }
    assert_eq!(names(&["a.example"; 9]), Err(CertificateError::Names));
    let longest = format!("{}.example", vec!["a".repeat(60); 4].join("."));
    assert!(longest.len() <= 253 && names(&[longest.as_str(); 8]).is_ok());
    for (from_days, to_days) in [
        (1, 1),
        (2, 1),
        (-2, 1),
        (0, 401),
        (3600, 3660),
        (-1_000_000_000, 1),
    ] {
        let validity = Validity {
            not_before: NOW.plus_ms(from_days * DAY_MS),
            not_after: NOW.plus_ms(to_days * DAY_MS),
        };
        let fault =
            a.ca.issue_client(Role::Nurse, &name("n"), validity, &rng())
                .unwrap_err();
        assert_eq!(fault, CertificateError::Validity, "{from_days} {to_days}");
    }
    for impossible in [Timestamp::from_ms(i64::MAX), Timestamp::from_ms(i64::MIN)] {
        assert!(MemberCa::generate(a.id(), impossible, &rng()).is_err());
    }
    // Two issues never share a key or a serial number.
    let (one, two) = (node_of(&a), node_of(&a));
    assert_ne!(one.key_pem.as_str(), two.key_pem.as_str());
    assert_ne!(one.fingerprint, two.fingerprint);
}

#[test]
fn an_authority_goes_to_pem_and_back() {
    let (a, b) = (party(1), party(2));
    let pem = a.ca.certificate().to_pem();
    let again = MemberCa::from_pem(&pem, a.ca.key_pem().as_str(), &rng()).unwrap();
    assert_eq!(again.certificate(), a.ca.certificate());
    assert_eq!(again.key_pem().as_str(), a.ca.key_pem().as_str());
    let verifiers = Verifiers::new(directory_of(&[&a])).unwrap();
    let issued = again
        .issue_node(&[], &[], Validity::days_from(NOW, 1), &rng())
        .unwrap();
    assert!(verifiers.verify_peer(&chain_of(&issued), NOW).is_ok());

    let load = |pem: &str, key: &str| MemberCa::from_pem(pem, key, &rng()).unwrap_err();
    assert_eq!(
        load(&pem, b.ca.key_pem().as_str()),
        CertificateError::KeyMismatch
    );
    assert_eq!(
        load("", a.ca.key_pem().as_str()),
        CertificateError::Ca(CaError::Unreadable)
    );
    assert!(matches!(load(&pem, ""), CertificateError::Key(_)));
    assert!(matches!(
        load(&pem, &"A".repeat(5000)),
        CertificateError::Key(_)
    ));
    assert_eq!(
        load(&"A".repeat(9000), ""),
        CertificateError::Ca(CaError::TooLarge)
    );
}

#[test]
fn only_a_plain_authority_is_pinned() {
    let id = MemberId::parse("member-00001").unwrap();
    let mut good = CertificateParams::default();
    good.distinguished_name = DistinguishedName::new();
    good.distinguished_name
        .push(DnType::CommonName, id.as_str());
    good.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    good.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let parse = |params: &CertificateParams| {
        CaCertificate::parse(params.self_signed(&key()).unwrap().der())
    };
    assert_eq!(parse(&good).unwrap().member(), &id);
    let spoil = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = good.clone();
        change(&mut params);
        parse(&params).unwrap_err()
    };
    assert_eq!(
        spoil(&|p| p.is_ca = IsCa::ExplicitNoCa),
        CaError::NotAuthority
    );
    assert_eq!(
        spoil(&|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        CaError::NotAuthority
    );
    assert_eq!(
        spoil(&|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1))),
        CaError::NotAuthority
    );
    assert_eq!(spoil(&|p| p.key_usages.clear()), CaError::NotAuthority);
    assert_eq!(
        spoil(&|p| p.distinguished_name.push(DnType::OrganizationName, "x")),
        CaError::Name
    );
    assert_eq!(
        spoil(&|p| p.distinguished_name.push(DnType::CommonName, "Not An Id")),
        CaError::Name
    );
    assert_eq!(
        spoil(&|p| p.distinguished_name = DistinguishedName::new()),
        CaError::Name
    );
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    assert_eq!(
        CaCertificate::parse(good.self_signed(&ed25519).unwrap().der()),
        Err(CaError::Key)
    );
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    assert_eq!(
        CaCertificate::parse(good.self_signed(&p384).unwrap().der()),
        Err(CaError::Key)
    );
    let issued_by_another = party(2).ca.sign_anything(&good, &key());
    assert_eq!(CaCertificate::parse(&issued_by_another), Err(CaError::Name));
    let mut trailing = good.self_signed(&key()).unwrap().der().to_vec();
    trailing.push(0);
    assert_eq!(CaCertificate::parse(&trailing), Err(CaError::Unreadable));
    assert_eq!(
        CaCertificate::parse(&vec![0x30; 4097]),
        Err(CaError::TooLarge)
    );
}

#[test]
fn a_certificate_is_checked_before_it_is_taken_into_use() {
    let (a, b) = (party(1), party(2));
    let identity = PresentedIdentity::Node(a.id().clone());
    let first = node_of(&a);
    let own_ca = || a.ca.certificate().clone();
    let current = ReloadableCert::new(
        identity,
        own_ca(),
        &first.chain_pem,
        first.key_pem.as_str(),
        NOW,
    )
    .unwrap();
    assert_eq!(current.loaded().fingerprint, first.fingerprint);
    assert_eq!(current.loaded().not_after, first.validity.not_after);
    let second = node_of(&a);
    let refused =
        |chain: &str, key: &str, now: Timestamp| current.reload(chain, key, now).unwrap_err();
    let key_pem = second.key_pem.as_str();
    assert_eq!(
        refused(&second.chain_pem, first.key_pem.as_str(), NOW),
        ReloadError::KeyMismatch
    );
    assert_eq!(refused(&second.chain_pem, "", NOW), ReloadError::Key);
    assert_eq!(
        refused(&second.chain_pem, &second.chain_pem, NOW),
        ReloadError::Key
    );
    assert_eq!(refused("", key_pem, NOW), ReloadError::Chain);
    assert_eq!(
        refused(&second.chain_pem.repeat(2), key_pem, NOW),
        ReloadError::Chain
    );
    assert_eq!(
        refused(&"A".repeat(20_000), key_pem, NOW),
        ReloadError::Chain
    );
    assert_eq!(
        refused(&second.chain_pem, key_pem, NOW.plus_ms(91 * DAY_MS)),
        ReloadError::OutsideValidity
    );
    assert_eq!(
        refused(&second.chain_pem, key_pem, NOW.plus_ms(-DAY_MS)),
        ReloadError::OutsideValidity
    );
    let other = node_of(&b);
    assert_eq!(
        refused(&other.chain_pem, other.key_pem.as_str(), NOW),
        ReloadError::OtherIdentity
    );
    let client = client_of(&a);
    assert_eq!(
        refused(&client.chain_pem, client.key_pem.as_str(), NOW),
        ReloadError::OtherIdentity
    );
    assert_eq!(
        refused(&a.ca.certificate().to_pem(), a.ca.key_pem().as_str(), NOW),
        ReloadError::Identity(IdentityError::Missing)
    );
    let namesake = MemberCa::generate(a.id(), NOW, &rng()).unwrap();
    let forged = namesake
        .issue_node(&[], &[], Validity::days_from(NOW, 9), &rng())
        .unwrap();
    assert_eq!(
        refused(&forged.chain_pem, forged.key_pem.as_str(), NOW),
        ReloadError::NotIssuedHere
    );
    assert_eq!(
        current.loaded().fingerprint,
        first.fingerprint,
        "what was refused changed nothing"
    );
    assert_eq!(
        current
            .reload(&second.chain_pem, key_pem, NOW)
            .unwrap()
            .fingerprint,
        second.fingerprint
    );
    assert_eq!(current.loaded().fingerprint, second.fingerprint);
}
