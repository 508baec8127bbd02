//! Note keys against published vectors, and against every malformed spelling.

use ring::signature::Ed25519KeyPair;

use crate::note::{KeyError, Signer, VerifierKey};
use crate::tests::{
    ENOCH_VKEY, LOG_VKEY, NEUMANN_SKEY, NEUMANN_VKEY, RECEIPT_VKEY_1, RECEIPT_VKEY_2, SPEC_VKEY,
    signer, vkey,
};

const WITNESS_VKEY: &str =
    "node2.example.org/witness+788310cb+BCKapfR6Z1mAL/lV+NwtKhSlyZ0jvpf4ZBJ/+Tg0VaTw";

#[test]
fn published_keys_parse_and_print() {
    for text in [
        SPEC_VKEY,
        NEUMANN_VKEY,
        ENOCH_VKEY,
        RECEIPT_VKEY_1,
        RECEIPT_VKEY_2,
        LOG_VKEY,
    ] {
        assert_eq!(vkey(text).to_string(), text);
    }
    assert_eq!(vkey(SPEC_VKEY).key_id(), 0x530d_903a);
    assert_eq!(vkey(SPEC_VKEY).name(), "example.com/foo");
    assert_eq!(
        VerifierKey::parse(WITNESS_VKEY),
        Err(KeyError::UnsupportedType(4))
    );
    let log = signer("node1.example.org/audit/1", 0x11);
    assert_eq!(log.verifier().to_string(), LOG_VKEY);
}

#[test]
fn bad_keys_are_refused() {
    let good = vkey(SPEC_VKEY).to_string();
    assert_eq!(
        VerifierKey::parse(&good.replace("530d903a", "530d903b")),
        Err(KeyError::IdMismatch)
    );
    assert_eq!(
        VerifierKey::parse(&good.replace("foo", "fop")),
        Err(KeyError::IdMismatch)
    );
    assert_eq!(
        VerifierKey::parse(&good.replace("530d903a", "530D903A")),
        Err(KeyError::Malformed)
    );
    assert_eq!(
        VerifierKey::parse(&good.replace("530d903a", "+30d903a")),
        Err(KeyError::Malformed)
    );
    for text in ["", "+", "++", "a+b+c", "a+00000000+", "a+00000000+AQ=="] {
        assert_eq!(
            VerifierKey::parse(text),
            Err(KeyError::Malformed),
            "{text:?}"
        );
    }
    for name in [
        "",
        "a b",
        "a\u{3000}b",
        "a+b",
        "a\nb",
        "a\u{1}b",
        &"n".repeat(256),
    ] {
        assert_eq!(
            VerifierKey::new(name, [0; 32]),
            Err(KeyError::Name),
            "{name:?}"
        );
        assert_eq!(
            Signer::from_seed(name, &[0; 32]).unwrap_err(),
            KeyError::Name
        );
    }
    assert_eq!(
        Signer::parse(NEUMANN_VKEY).unwrap_err(),
        KeyError::Malformed
    );
    assert_eq!(
        Signer::parse(&NEUMANN_SKEY.replace("c74f20a3", "c74f20a4")).unwrap_err(),
        KeyError::IdMismatch
    );
}

#[test]
fn pkcs8_gives_the_same_key_as_its_seed() {
    let document = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    let v2 = Signer::from_pkcs8("a.example", document.as_ref()).unwrap();
    let seed: [u8; 32] = document.as_ref()[16..48].try_into().unwrap();
    assert_eq!(
        v2.verifier(),
        Signer::from_seed("a.example", &seed).unwrap().verifier()
    );
    // Version 1, as `openssl genpkey` writes it: the fixed head and the seed.
    let mut v1 = vec![
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    v1.extend_from_slice(&seed);
    assert_eq!(
        v2.verifier(),
        Signer::from_pkcs8("a.example", &v1).unwrap().verifier()
    );
    assert_eq!(
        Signer::from_pkcs8("a.example", &v1[..40]).unwrap_err(),
        KeyError::Private
    );
    let mut wrong = document.as_ref().to_vec();
    wrong[20] ^= 1;
    assert_eq!(
        Signer::from_pkcs8("a.example", &wrong).unwrap_err(),
        KeyError::Private
    );
}

#[test]
fn debug_shows_no_seed() {
    let s = Signer::parse(NEUMANN_SKEY).unwrap();
    let shown = format!("{s:?}");
    assert!(shown.contains("PeterNeumann+c74f20a3") && !shown.contains("AYEKFALV"));
}
