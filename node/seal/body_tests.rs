//! Derivations and sealed bodies against fixed vectors, round trips, and refusal of every change.

use proptest::prelude::*;

use crate::tests::{Fixed, XID, cases, hex};
use crate::{
    BODY_STEP_BYTES, MAX_BODY_BYTES, SealError, SeededEntropy, SubjectKey, SystemEntropy,
    sealed_body_len,
};

const AUDIT_EVENT: &[u8] = br#"{"resourceType":"AuditEvent"}"#;

/// The values of the audit log's format, computed by another implementation as well.
#[test]
fn derivations_match_the_vector() {
    let key = SubjectKey::from_bytes(&[0x66; 32]);
    let salt = key.salt(XID).unwrap();
    assert_eq!(
        hex(&*salt),
        "abe47a5817ed06428e121d844d6881da9729a88e11419722cbd4fe624f25b6db"
    );
    assert_eq!(
        hex(&*key.body_key(XID).unwrap()),
        "6598de175c58db63616ac8985f52105a63a588ec3e850ebd6742788e67143b63"
    );
    let tag = key.tag(XID).unwrap();
    assert_eq!(hex(&tag), "2cc18f203996a8e864b15d451634ca4b");
    let pc = key.commitment(XID, AUDIT_EVENT).unwrap();
    assert_eq!(
        hex(&pc),
        "8da61b85d995137a3d7125b0e080ca3e6b692866fd0eaf4eabfc29bf6b7a3b73"
    );
    assert_eq!(SubjectKey::commitment_with_salt(&salt, AUDIT_EVENT), pc);
    // The vector's ciphertext is of the unpadded plaintext.
    let mut body = [&XID, AUDIT_EVENT].concat();
    key.seal_padded(XID, b"", &mut body).unwrap();
    assert_eq!(
        hex(&body[16..]),
        "a68d245384ff2f6e732d6a2da5a0104fc1806a0f621b03dde097f8cf6e0b240d98171cd8dbb721830acb0cb2b7"
    );
    assert!(key.has_tag(XID, &tag).unwrap());
    assert!(!key.has_tag([0; 16], &tag).unwrap());
    assert!(
        !SubjectKey::from_bytes(&[0x67; 32])
            .has_tag(XID, &tag)
            .unwrap()
    );
}

/// A padded body with its place, also computed by another implementation.
#[test]
fn bodies_match_the_vector() {
    let key = SubjectKey::from_bytes(&[0x66; 32]);
    let sealed = key.seal_body(AUDIT_EVENT, b"place", &Fixed(&XID)).unwrap();
    assert_eq!(sealed[..16], XID);
    assert_eq!(
        hex(&sealed[16..]),
        "a68d245384ff2f6e732d6a2da5a0104fc1806a0f621b03dde097f8cf6ec363822e18ff6cd52c38d72b1a8805c08871285af7defdb1bea08c5db84f1d1e2eb88fec8bbfda628e281b5d914197b7e30a92"
    );
    assert_eq!(
        key.open_body(&sealed, b"place").unwrap().as_slice(),
        AUDIT_EVENT
    );
}

#[test]
fn equal_bodies_never_look_alike() {
    let key = SubjectKey::from_bytes(&[1; 32]);
    let entropy = SystemEntropy::new();
    let one = key.seal_body(b"same", b"", &entropy).unwrap();
    let two = key.seal_body(b"same", b"", &entropy).unwrap();
    assert_ne!(one[..16], two[..16]);
    assert_ne!(one[16..], two[16..]);
}

#[test]
fn lengths_are_blurred_to_steps() {
    let key = SubjectKey::from_bytes(&[1; 32]);
    let entropy = SeededEntropy::new(1);
    for (plain, padded) in [
        (0, 64),
        (1, 64),
        (63, 64),
        (64, 128),
        (127, 128),
        (128, 192),
    ] {
        let body = vec![0; plain]; // zeroes at the end must not be taken for padding
        let sealed = key.seal_body(&body, b"", &entropy).unwrap();
        assert_eq!(sealed.len(), 16 + padded + 16);
        assert_eq!(sealed.len(), sealed_body_len(plain));
        assert_eq!(key.open_body(&sealed, b"").unwrap().as_slice(), body);
    }
    let largest = vec![1; MAX_BODY_BYTES];
    let sealed = key.seal_body(&largest, b"", &entropy).unwrap();
    assert_eq!(key.open_body(&sealed, b"").unwrap().len(), MAX_BODY_BYTES);
    assert_eq!(
        key.seal_body(&vec![1; MAX_BODY_BYTES + 1], b"", &entropy),
        Err(SealError::TooLarge)
    );
}

#[test]
fn padding_has_one_spelling() {
    let key = SubjectKey::from_bytes(&[1; 32]);
    let seal_raw = |padded: &[u8]| {
        let mut body = [&XID, padded].concat();
        key.seal_padded(XID, b"", &mut body).unwrap();
        key.open_body(&body, b"").map(|plain| plain.to_vec())
    };
    let mut good = vec![7; 10];
    good.push(0x80);
    good.resize(BODY_STEP_BYTES, 0);
    assert_eq!(seal_raw(&good), Ok(vec![7; 10]));
    assert_eq!(seal_raw(&[0; 64]), Err(SealError::Malformed), "no mark");
    assert_eq!(
        seal_raw(&[7; 64]),
        Err(SealError::Malformed),
        "another mark"
    );
    good.resize(2 * BODY_STEP_BYTES, 0);
    assert_eq!(
        seal_raw(&good),
        Err(SealError::Malformed),
        "a step too many"
    );
    assert_eq!(seal_raw(&[7; 63]), Err(SealError::Malformed), "not a step");
    assert_eq!(seal_raw(&[]), Err(SealError::Malformed), "nothing");
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn bodies_round_trip_and_refuse_changes(
        secret in any::<[u8; 32]>(), seed in any::<u64>(), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
        plain in prop::collection::vec(any::<u8>(), 0..400), place in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let key = SubjectKey::from_bytes(&secret);
        let sealed = key.seal_body(&plain, &place, &SeededEntropy::new(seed)).unwrap();
        prop_assert_eq!(key.open_body(&sealed, &place).unwrap().to_vec(), plain);
        let mut changed = sealed.clone();
        changed[at.index(sealed.len())] ^= flip;
        prop_assert_eq!(key.open_body(&changed, &place).unwrap_err(), SealError::Refused);
        let mut elsewhere = place.clone();
        elsewhere.push(flip);
        prop_assert_eq!(key.open_body(&sealed, &elsewhere).unwrap_err(), SealError::Refused);
        let mut other = secret;
        other[at.index(32)] ^= flip;
        prop_assert_eq!(SubjectKey::from_bytes(&other).open_body(&sealed, &place).unwrap_err(), SealError::Refused);
        prop_assert!(key.open_body(&sealed[..at.index(sealed.len())], &place).is_err());
    }

    #[test]
    fn commitments_bind(one in prop::collection::vec(any::<u8>(), 0..100), two in prop::collection::vec(any::<u8>(), 0..100)) {
        let key = SubjectKey::from_bytes(&[1; 32]);
        let same = key.commitment(XID, &one).unwrap() == key.commitment(XID, &two).unwrap();
        prop_assert_eq!(same, one == two);
        prop_assert_ne!(key.commitment(XID, &one).unwrap(), key.commitment([0; 16], &one).unwrap());
    }
}
