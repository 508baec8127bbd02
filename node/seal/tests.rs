//! Keys against fixed vectors, against their misuse, and against `Debug`.

use proptest::prelude::*;
use zeroize::Zeroizing;

use crate::{
    CursorKey, Entropy, EntropyError, HmacKey, Kek, KekId, RowKey, SealError, SeededEntropy,
    SigningKey, SubjectKey, SystemEntropy, VerifyingKey, WRAPPED_KEY_BYTES, WrappedKey,
};

/// Gives one byte string over and over.
#[derive(Debug)]
pub(crate) struct Fixed(pub(crate) &'static [u8]);

impl Entropy for Fixed {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        out.copy_from_slice(&self.0[..out.len()]);
        Ok(())
    }
}

#[derive(Debug)]
struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) const XID: [u8; 16] = [
    1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
];

#[test]
fn wrapped_keys_open_with_their_kek_and_handle_only() {
    let entropy = SeededEntropy::new(7);
    let (kek, other) = (
        Kek::generate(&entropy).unwrap(),
        Kek::generate(&entropy).unwrap(),
    );
    let key = SubjectKey::generate(&entropy).unwrap();
    let wrapped = key.wrap(&kek, [5; 16], &entropy).unwrap();
    assert_eq!(wrapped.as_bytes().len(), WRAPPED_KEY_BYTES);
    assert_eq!(wrapped.kek_id(), kek.id());
    let again = SubjectKey::unwrap(&kek, &wrapped, [5; 16]).unwrap();
    assert_eq!(again.tag(XID).unwrap(), key.tag(XID).unwrap());
    assert_eq!(
        SubjectKey::unwrap(&kek, &wrapped, [6; 16]).unwrap_err(),
        SealError::Refused
    );
    assert_eq!(
        SubjectKey::unwrap(&other, &wrapped, [5; 16]).unwrap_err(),
        SealError::UnknownKek
    );
    for at in 0..WRAPPED_KEY_BYTES {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = *wrapped.as_bytes();
            bytes[at] ^= flip;
            let refused =
                WrappedKey::from_bytes(&bytes).and_then(|w| SubjectKey::unwrap(&kek, &w, [5; 16]));
            assert!(refused.is_err(), "byte {at}");
        }
    }
    // Renamed to another key's id the bytes do not open with that key either.
    let mut bytes = *wrapped.as_bytes();
    bytes[1..9].copy_from_slice(other.id().as_bytes());
    let renamed = WrappedKey::from_bytes(&bytes).unwrap();
    assert_eq!(
        SubjectKey::unwrap(&other, &renamed, [5; 16]).unwrap_err(),
        SealError::Refused
    );
    for length in [0, WRAPPED_KEY_BYTES - 1, WRAPPED_KEY_BYTES + 1] {
        assert_eq!(
            WrappedKey::from_bytes(&vec![1; length]),
            Err(SealError::Malformed)
        );
    }
}

#[test]
fn kek_ids_print_and_parse() {
    let id = Kek::generate(&SeededEntropy::new(1)).unwrap().id();
    assert_eq!(KekId::parse(&id.to_string()), Some(id));
    for text in [
        "",
        "0123",
        "0123456789ABCDEF",
        "+123456789abcdef",
        "0123456789abcdef0",
    ] {
        assert_eq!(KekId::parse(text), None, "{text}");
    }
}

#[test]
fn signatures_belong_to_their_label() {
    let key = SigningKey::from_seed(&[9; 32]).unwrap();
    let public = *key.verifying_key();
    let signature = key.sign("songhe-request/v1", b"message");
    assert_eq!(
        public.verify("songhe-request/v1", b"message", &signature),
        Ok(())
    );
    assert_eq!(
        public.verify("songhe-request/v2", b"message", &signature),
        Err(SealError::Signature)
    );
    assert_eq!(
        public.verify("songhe-request/v1", b"massage", &signature),
        Err(SealError::Signature)
    );
    assert_eq!(
        public.verify("songhe-request/v1", b"message", &signature[..63]),
        Err(SealError::Signature)
    );
    assert_eq!(
        public.verify("", b"message", &signature),
        Err(SealError::Signature)
    );
    let other = SigningKey::generate(&SystemEntropy::new()).unwrap();
    assert_eq!(
        other
            .verifying_key()
            .verify("songhe-request/v1", b"message", &signature),
        Err(SealError::Signature)
    );
    let again = SigningKey::from_seed(key.seed()).unwrap();
    assert_eq!(again.sign("songhe-request/v1", b"message"), signature);
    assert_eq!(VerifyingKey::from_bytes(public.as_bytes()), Ok(public));
    assert_eq!(VerifyingKey::from_bytes(&[0; 31]), Err(SealError::Key));
    for at in 0..64 {
        let mut changed = signature;
        changed[at] ^= 1;
        assert_eq!(
            public.verify("songhe-request/v1", b"message", &changed),
            Err(SealError::Signature)
        );
    }
    // What is signed is exactly label, zero byte, message: any Ed25519 tool can check it.
    let raw = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public.as_bytes());
    assert!(
        raw.verify(b"songhe-request/v1\0message", &signature)
            .is_ok()
    );
    // A label that holds a zero byte could be split elsewhere, so nothing verifies under it.
    let ambiguous = key.sign("songhe-request/v1", b"a\0b");
    assert_eq!(
        public.verify("songhe-request/v1\0a", b"b", &ambiguous),
        Err(SealError::Signature)
    );
}

#[test]
fn hmac_tags_are_separated_by_domain() {
    let key = HmacKey::from_bytes(&[3; 32]);
    let whole = key.tag32("records", b"id");
    assert_eq!(key.tag16("records", b"id"), whole[..16]);
    assert_ne!(key.tag32("record", b"sid"), whole);
    assert_ne!(key.tag32("consents", b"id"), whole);
    assert_ne!(HmacKey::from_bytes(&[4; 32]).tag32("records", b"id"), whole);
    assert!(key.verify("records", b"id", &whole));
    assert!(key.verify("records", b"id", &whole[..16]));
    for wrong in [&whole[..0], &whole[..8], &whole[1..17], &[0; 32]] {
        assert!(!key.verify("records", b"id", wrong));
    }
}

/// The published vectors (RFC 4231) have keys of other lengths than ours, so this value comes from
/// Python's `hmac`.
#[test]
fn hmac_matches_another_implementation() {
    let tag = HmacKey::from_bytes(&[3; 32]).tag32("records", b"id");
    assert_eq!(hex(&tag), HMAC_VECTOR);
}

const HMAC_VECTOR: &str = "3ce804f2000e64a5da406f5f071e302b572dd1485e7fdf2037bfc58197bd1896";

#[test]
fn cursors_are_opaque_and_bound_to_their_context() {
    let entropy = SeededEntropy::new(3);
    let key = CursorKey::from_bytes(&[8; 32]);
    let cursor = key
        .seal(b"member-a/list", b"position 17", &entropy)
        .unwrap();
    assert_eq!(
        key.open(b"member-a/list", &cursor).unwrap().as_slice(),
        b"position 17"
    );
    assert_eq!(
        key.open(b"member-b/list", &cursor).unwrap_err(),
        SealError::Refused
    );
    assert_eq!(
        CursorKey::from_bytes(&[9; 32])
            .open(b"member-a/list", &cursor)
            .unwrap_err(),
        SealError::Refused
    );
    // The same secret bytes under a row key do not open a cursor: the uses are separated.
    let raw =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &cursor).unwrap();
    assert_eq!(
        RowKey::from_bytes(&[8; 32])
            .open(b"member-a/list", &raw)
            .unwrap_err(),
        SealError::Refused
    );
    for text in ["", "AAAA", "=", "%%%%", &"A".repeat(100_000)] {
        assert!(key.open(b"member-a/list", text).is_err());
    }
    let longest = key.seal(b"", &[1; 512], &entropy).unwrap();
    assert_eq!(key.open(b"", &longest).unwrap().len(), 512);
    assert_eq!(key.seal(b"", &[1; 513], &entropy), Err(SealError::TooLarge));
}

#[test]
fn without_randomness_nothing_is_sealed() {
    let failed = SealError::Entropy(EntropyError);
    let key = SubjectKey::from_bytes(&[1; 32]);
    let kek = Kek::generate(&SystemEntropy::new()).unwrap();
    assert_eq!(SubjectKey::generate(&NoEntropy).unwrap_err(), failed);
    assert_eq!(Kek::generate(&NoEntropy).unwrap_err(), failed);
    assert_eq!(SigningKey::generate(&NoEntropy).unwrap_err(), failed);
    assert_eq!(key.seal_body(b"x", b"", &NoEntropy), Err(failed));
    assert_eq!(key.wrap(&kek, [0; 16], &NoEntropy), Err(failed));
    assert_eq!(
        RowKey::from_bytes(&[1; 32]).seal(b"", b"", &NoEntropy),
        Err(failed)
    );
    assert_eq!(
        CursorKey::from_bytes(&[1; 32]).seal(b"", b"", &NoEntropy),
        Err(failed)
    );
}

#[test]
fn seeded_entropy_repeats_and_moves_on() {
    let draw = |seed| {
        let entropy = SeededEntropy::new(seed);
        let mut out = [[0; 40]; 2];
        entropy.fill(&mut out[0]).unwrap();
        entropy.fill(&mut out[1]).unwrap();
        out
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert_ne!(draw(1)[0], draw(1)[1]);
}

#[test]
fn debug_shows_nothing_secret() {
    let secret = [0xd7; 32]; // d7 in hex, 215 in decimal
    let entropy = Fixed(&[0xd7; 64]);
    let kek = Kek::generate(&entropy).unwrap();
    let shown = [
        format!("{:?}", SubjectKey::from_bytes(&secret)),
        format!("{:?}", RowKey::from_bytes(&secret)),
        format!("{:?}", HmacKey::from_bytes(&secret)),
        format!("{:?}", CursorKey::from_bytes(&secret)),
        format!("{:?}", SigningKey::from_seed(&secret).unwrap()),
        format!("{kek:?}"),
        format!(
            "{:?}",
            SubjectKey::from_bytes(&secret)
                .wrap(&kek, [0; 16], &entropy)
                .unwrap()
        ),
    ];
    assert_eq!(shown[0], "SubjectKey(..)");
    for text in shown {
        assert!(!text.contains("d7d7") && !text.contains("215"), "{text}");
    }
}

pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn rows_round_trip_and_refuse_changes(
        secret in any::<[u8; 32]>(), seed in any::<u64>(), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
        plain in prop::collection::vec(any::<u8>(), 0..200), place in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let key = RowKey::from_bytes(&secret);
        let sealed = key.seal(&place, &plain, &SeededEntropy::new(seed)).unwrap();
        prop_assert_eq!(sealed.len(), plain.len() + 28);
        prop_assert_eq!(key.open(&place, &sealed).unwrap().to_vec(), plain);
        let mut changed = sealed.clone();
        changed[at.index(sealed.len())] ^= flip;
        prop_assert_eq!(key.open(&place, &changed).unwrap_err(), SealError::Refused);
        let mut elsewhere = place.clone();
        elsewhere.push(flip);
        prop_assert_eq!(key.open(&elsewhere, &sealed).unwrap_err(), SealError::Refused);
        prop_assert!(key.open(&place, &sealed[..at.index(sealed.len())]).is_err());
    }

    #[test]
    fn cursors_refuse_changes(seed in any::<u64>(), at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
        let key = CursorKey::from_bytes(&[8; 32]);
        let cursor = key.seal(b"c", b"position", &SeededEntropy::new(seed)).unwrap();
        let at = at.index(cursor.len());
        let mut changed = cursor.clone();
        changed.replace_range(at..=at, &to);
        prop_assert_eq!(key.open(b"c", &changed).is_ok(), changed == cursor);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,60}") {
        let key = SubjectKey::from_bytes(&[1; 32]);
        prop_assert!(key.open_body(&bytes, b"").is_err());
        prop_assert!(RowKey::from_bytes(&[1; 32]).open(b"", &bytes).is_err());
        prop_assert!(CursorKey::from_bytes(&[1; 32]).open(b"", &text).is_err());
        let kek = Kek::from_secret(Zeroizing::new([2; 32]));
        prop_assert!(WrappedKey::from_bytes(&bytes).and_then(|w| SubjectKey::unwrap(&kek, &w, [0; 16])).is_err());
        prop_assert!(KekId::parse(&text).is_none_or(|id| id.to_string() == text));
    }
}
