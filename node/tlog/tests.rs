//! Signed notes against published vectors, every rule of the format, and mutated bytes.

use proptest::prelude::*;

use crate::note::{
    Limits, MAX_NOTE_BYTES, MAX_SIGNATURES, Note, NoteError, Signature, Signer, VerifierKey,
};

/// From the C2SP signed-note specification and Go's `sumdb/note` tests.
pub(crate) const SPEC_VKEY: &str =
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
pub(crate) const NEUMANN_VKEY: &str =
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
pub(crate) const NEUMANN_SKEY: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
pub(crate) const NEUMANN_TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
pub(crate) const NEUMANN_LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
pub(crate) const ENOCH_VKEY: &str =
    "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
pub(crate) const ENOCH_LINE: &str = "\u{2014} EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=";

/// A receipt two nodes signed, and its keys.
pub(crate) const RECEIPT: &str = "songhe-receipt/v1\n\
xid 0123456789abcdef0123456789abcdef\n\
req sha256:5064c615273b1d389a996898129c66ecc7901101b0bf63904642e97f40d14b91\n\
resp sha256:f4df64315c4ac903a089ef154bbce14d0cb9a29699394904838dad1b6428992e\n\
leaf node1.example.org/audit/1 1 a4XkXdXhC4DqwoqzHmtlwktZlvPux3y7RNSlGHdnrp8=\n\
time 1767225600123\n\
\n\
\u{2014} node1.example.org/receipt iI/lzK6Ev6BAkPTcsxqpvVKrPn9riAfNueRIeK4tTXycQ1o7R/my8Sh6tW6lF61208ztScgDud00jjbNLWHVvhTA+QU=\n\
\u{2014} node2.example.org/receipt YttMN9lQwpbjkecqBPa/LyEZPPEoaymJHSO/ohXbtMbbh5r7+YLHeqc0wWMqX5uV3FqYF8QPK9uvugRu8ltss5lpwQs=\n";
pub(crate) const RECEIPT_VKEY_1: &str =
    "node1.example.org/receipt+888fe5cc+AddZeTu8E6KBmoJ8dq22+6ikmu4Af0ny0JktmbglrSxI";
pub(crate) const RECEIPT_VKEY_2: &str =
    "node2.example.org/receipt+62db4c37+AcaCJjfH0xDsV2J74AuiWdJTdJ9Kr2REcM/75To19zJC";

/// A checkpoint signed by a log (0x01) and cosigned by a witness (0x04, unknown here).
pub(crate) const CHECKPOINT: &str = "node1.example.org/audit/1\n3\nnGAv0D9yRooQCy/gaXC7hBizanhfq0ZCcaEWeoT6a1o=\n\n\
\u{2014} node1.example.org/audit/1 Zo1r7pDqTciQi+x+qlvq+6dUNxvoRhHs4SyTDlJD7i50MEFcceAeAi9NosuV4yfZiKE8g++uRULxL7oncw+JKUz3vQ8=\n\
\u{2014} node2.example.org/witness eIMQywAAAABpVbkAiOMy2/ziD+uz8/N+DfkY42Y0jO7fft47V7Y+G3HDUGE2nKHg41AJUN81obj2VPSyvhd4SpX9E9ZpBFo0/0p7BQ==\n";
pub(crate) const LOG_VKEY: &str =
    "node1.example.org/audit/1+668d6bee+AdBKsjJ0K7SrOhNovUYV5ObQIkq3GgFrr4UgozLJd4c3";

pub(crate) fn vkey(text: &str) -> VerifierKey {
    VerifierKey::parse(text).unwrap()
}

pub(crate) fn signer(name: &str, byte: u8) -> Signer {
    Signer::from_seed(name, &[byte; 32]).unwrap()
}

#[test]
fn go_note_is_reproduced_and_verified() {
    let neumann = Signer::parse(NEUMANN_SKEY).unwrap();
    assert_eq!(neumann.verifier(), &vkey(NEUMANN_VKEY));
    assert_eq!(*neumann.to_skey(), NEUMANN_SKEY);
    let mut note = Note::sign(NEUMANN_TEXT, &[&neumann]).unwrap();
    assert_eq!(
        note.to_bytes(),
        format!("{NEUMANN_TEXT}\n{NEUMANN_LINE}\n").into_bytes()
    );
    note.attach(Signature::parse_line(ENOCH_LINE).unwrap())
        .unwrap();
    let both = [vkey(ENOCH_VKEY), vkey(NEUMANN_VKEY)];
    let reread = Note::parse(&note.to_bytes()).unwrap();
    let verified = reread.verify(&both).unwrap();
    assert_eq!(verified.text(), NEUMANN_TEXT);
    assert_eq!(verified.signers(), [&both[1], &both[0]]);
}

#[test]
fn receipt_bears_both_signatures() {
    let keys = [vkey(RECEIPT_VKEY_1), vkey(RECEIPT_VKEY_2)];
    let note = Note::parse(RECEIPT.as_bytes()).unwrap();
    let verified = note.verify(&keys).unwrap();
    assert_eq!(verified.signers().len(), 2);
    assert!(verified.is_signed_by(&keys[0]) && verified.is_signed_by(&keys[1]));
    assert!(verified.text().ends_with("time 1767225600123\n"));
    assert_eq!(note.to_bytes(), RECEIPT.as_bytes());
}

#[test]
fn unknown_lines_are_ignored_and_known_bad_ones_condemn() {
    let note = Note::parse(CHECKPOINT.as_bytes()).unwrap();
    let log = [vkey(LOG_VKEY)];
    assert_eq!(note.verify(&log).unwrap().signers(), [&log[0]]);
    assert_eq!(
        note.verify(&[vkey(SPEC_VKEY)]),
        Err(NoteError::NoKnownSigner)
    );
    assert_eq!(note.verify(&[]), Err(NoteError::NoKnownSigner));

    // A good line and a bad one by known keys: the note goes.
    let bad = RECEIPT.replace("YttMN9lQ", "YttMN9lR");
    let note = Note::parse(bad.as_bytes()).unwrap();
    let keys = [vkey(RECEIPT_VKEY_1), vkey(RECEIPT_VKEY_2)];
    assert_eq!(
        note.verify(&keys),
        Err(NoteError::BadSignature {
            name: "node2.example.org/receipt".into()
        })
    );
    assert_eq!(note.verify(&keys[..1]).unwrap().signers().len(), 1);

    // A good and a bad line by the same key.
    let log_signer = signer("node1.example.org/audit/1", 0x11);
    let mut note = Note::sign("text\n", &[&log_signer]).unwrap();
    note.attach(Signature::by(&log_signer, "other text\n"))
        .unwrap();
    assert!(matches!(
        note.verify(&log),
        Err(NoteError::BadSignature { .. })
    ));

    // The same name with another key is another key.
    let stranger = signer("node1.example.org/audit/1", 0x12);
    assert_eq!(
        Note::sign("text\n", &[&stranger]).unwrap().verify(&log),
        Err(NoteError::NoKnownSigner)
    );
}

#[test]
fn text_ends_at_the_last_empty_line() {
    let s = signer("a.example", 1);
    let known = [s.verifier().clone()];
    for text in [
        "\n",
        "\n\n",
        "a\n\n",
        "a\n\n\n",
        "a\n\n\u{2014} a.example AAAAAAA=\n",
        "\u{677e}\u{9e64}\n",
    ] {
        let note = Note::parse(&Note::sign(text, &[&s]).unwrap().to_bytes()).unwrap();
        assert_eq!(note.verify(&known).unwrap().text(), text);
    }
}

#[test]
fn signing_refuses_what_reading_would_refuse() {
    let s = signer("a.example", 1);
    assert_eq!(
        Note::sign("no newline", &[&s]).unwrap_err(),
        NoteError::NoFinalNewline
    );
    assert_eq!(
        Note::sign("", &[&s]).unwrap_err(),
        NoteError::NoFinalNewline
    );
    assert_eq!(Note::sign("a\tb\n", &[&s]).unwrap_err(), NoteError::NotText);
    assert_eq!(Note::sign("a\r\n", &[&s]).unwrap_err(), NoteError::NotText);
    assert_eq!(Note::sign("a\n", &[]).unwrap_err(), NoteError::NoSignatures);
    let long = "x".repeat(MAX_NOTE_BYTES - 1) + "\n";
    assert_eq!(
        Note::sign(&long, &[&s]).unwrap_err(),
        NoteError::TooLarge {
            limit: MAX_NOTE_BYTES
        }
    );
    let wide = Limits::bytes(4 * 1024 * 1024);
    let note = Note::sign_within(&long, &[&s], wide).unwrap();
    assert!(matches!(
        Note::parse(&note.to_bytes()),
        Err(NoteError::TooLarge { .. })
    ));
    assert!(
        Note::parse_within(&note.to_bytes(), wide)
            .unwrap()
            .verify(&[s.verifier().clone()])
            .is_ok()
    );
}

#[test]
fn malformed_notes_are_refused() {
    let good = "t\n\n\u{2014} a AAAAAAA=\n";
    assert!(Note::parse(good.as_bytes()).is_ok());
    let cases: [(&str, NoteError); 16] = [
        ("", NoteError::NoSignatures),
        ("\n\n", NoteError::NoSignatures),
        ("t\n", NoteError::NoSignatures),
        ("t\n\n", NoteError::NoSignatures),
        ("t\n\u{2014} a AAAAAAA=\n", NoteError::NoSignatures),
        ("t\n\n\u{2014} a AAAAAAA=", NoteError::NoSignatures),
        ("t\n\n- a AAAAAAA=\n", NoteError::BadLine { line: 1 }),
        ("t\n\n\u{2014}a AAAAAAA=\n", NoteError::BadLine { line: 1 }),
        (
            "t\n\n\u{2014} a AAAAAAA=\n\u{2014} b\n",
            NoteError::BadLine { line: 2 },
        ),
        ("t\n\n\u{2014}  AAAAAAA=\n", NoteError::BadLine { line: 1 }),
        (
            "t\n\n\u{2014} a+b AAAAAAA=\n",
            NoteError::BadLine { line: 1 },
        ),
        (
            "t\n\n\u{2014} a\u{a0}b AAAAAAA=\n",
            NoteError::BadLine { line: 1 },
        ),
        ("t\n\n\u{2014} a AAAAAA==\n", NoteError::BadLine { line: 1 }), // an id and no signature
        ("t\n\n\u{2014} a AAAAAAA\n", NoteError::BadLine { line: 1 }),  // no padding
        ("t\n\n\u{2014} a AAAAAAB=\n", NoteError::BadLine { line: 1 }), // loose bits at the end
        (
            "t\n\n\u{2014} a AAAAAAA= \n",
            NoteError::BadLine { line: 1 },
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(
            Note::parse(text.as_bytes()).unwrap_err(),
            expected,
            "{text:?}"
        );
    }
    assert_eq!(
        Note::parse(b"t\x00\n\n\xe2\x80\x94 a AAAAAAA=\n").unwrap_err(),
        NoteError::NotText
    );
    assert_eq!(
        Note::parse(b"t\xff\n\n\xe2\x80\x94 a AAAAAAA=\n").unwrap_err(),
        NoteError::NotText
    );
}

#[test]
fn signatures_are_counted() {
    let signers: Vec<_> = (0..=MAX_SIGNATURES)
        .map(|i| signer(&format!("k{i}.example"), 1))
        .collect();
    let all: Vec<_> = signers.iter().collect();
    let limit = MAX_SIGNATURES;
    assert_eq!(
        Note::sign("t\n", &all).unwrap_err(),
        NoteError::TooManySignatures { limit }
    );
    let full = Note::sign("t\n", &all[..limit]).unwrap();
    let keys: Vec<_> = signers.iter().map(|s| s.verifier().clone()).collect();
    assert_eq!(
        Note::parse(&full.to_bytes())
            .unwrap()
            .verify(&keys)
            .unwrap()
            .signers()
            .len(),
        limit
    );
    let mut bytes = full.to_bytes();
    bytes.extend_from_slice(Signature::by(&signers[limit], "t\n").to_line().as_bytes());
    bytes.push(b'\n');
    assert_eq!(
        Note::parse(&bytes).unwrap_err(),
        NoteError::TooManySignatures { limit }
    );
    let few = Limits {
        max_bytes: MAX_NOTE_BYTES,
        max_signatures: 2,
    };
    assert_eq!(
        Note::parse_within(&full.to_bytes(), few).unwrap_err(),
        NoteError::TooManySignatures { limit: 2 }
    );
}

#[test]
fn adding_a_line_is_idempotent_and_guards_the_signers_name() {
    let (a, b) = (signer("a.example", 1), signer("b.example", 2));
    let mut note = Note::sign("t\n", &[&a]).unwrap();
    note.add_signature(&b).unwrap();
    note.add_signature(&b).unwrap();
    assert_eq!(note.signatures().len(), 2);
    let mut forged = Note::sign("t\n", &[&a]).unwrap();
    forged.attach(Signature::by(&b, "another\n")).unwrap();
    assert!(matches!(
        forged.add_signature(&b),
        Err(NoteError::BadSignature { .. })
    ));
}

#[test]
fn two_keys_under_one_name_and_id_are_ambiguous() {
    // Ids are 32 bits, so a collision is found by looking for one (birthday over seeds).
    let mut seen = std::collections::BTreeMap::new();
    let mut pair = None;
    for i in 0..400_000_u32 {
        let mut public = [0_u8; 32];
        public[..4].copy_from_slice(&i.to_be_bytes());
        let key = VerifierKey::new("a.example", public).unwrap();
        if let Some(old) = seen.insert(key.key_id(), key.clone()) {
            pair = Some((old, key));
            break;
        }
    }
    let (one, two) = pair.expect("400,000 ids of 32 bits collide with near certainty");
    let mut payload = one.key_id().to_be_bytes().to_vec();
    payload.extend_from_slice(&[0; 64]);
    let line = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, payload);
    let note = Note::parse(format!("t\n\n\u{2014} a.example {line}\n").as_bytes()).unwrap();
    assert!(matches!(
        note.verify(&[one.clone(), two]),
        Err(NoteError::AmbiguousKey { .. })
    ));
    // The same key listed twice is one key.
    assert!(matches!(
        note.verify(&[one.clone(), one]),
        Err(NoteError::BadSignature { .. })
    ));
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,80}") {
        prop_assert!(Note::parse(&bytes).map_or(true, |n| n.to_bytes() == bytes));
        prop_assert!(VerifierKey::parse(&text).map_or(true, |k| k.to_string() == text));
        prop_assert!(Signer::parse(&text).is_err());
        prop_assert!(Signer::from_pkcs8("a", &bytes).is_err());
        prop_assert!(Signature::parse_line(&text).map_or(true, |s| s.to_line() == text));
    }

    #[test]
    fn mutated_notes_never_verify(at in 0..RECEIPT.len(), flip in 1..=255_u8, cut in any::<bool>()) {
        let keys = [vkey(RECEIPT_VKEY_1), vkey(RECEIPT_VKEY_2)];
        let mut bytes = RECEIPT.as_bytes().to_vec();
        if cut { bytes.remove(at); } else { bytes[at] ^= flip; }
        // Whatever was changed, the two of them did not both sign it.
        if let Ok(note) = Note::parse(&bytes) {
            prop_assert_eq!(note.to_bytes(), bytes);
            prop_assert!(note.verify(&keys).map_or(true, |v| v.signers().len() < 2));
        }
    }

    #[test]
    fn notes_round_trip(text in "[^\u{0}-\u{1f}]{0,40}(\n[^\u{0}-\u{1f}]{0,40}){0,6}", seeds in prop::collection::vec(any::<[u8; 32]>(), 1..5)) {
        let text = text + "\n";
        let signers: Vec<_> = seeds.iter().enumerate()
            .map(|(i, seed)| Signer::from_seed(&format!("n{i}.example/k"), seed).unwrap()).collect();
        let keys: Vec<_> = signers.iter().map(|s| vkey(&s.verifier().to_string())).collect();
        let note = Note::sign(&text, &signers.iter().collect::<Vec<_>>()).unwrap();
        let reread = Note::parse(&note.to_bytes()).unwrap();
        let verified = reread.verify(&keys).unwrap();
        prop_assert_eq!(verified.text(), &text);
        prop_assert_eq!(verified.signers().len(), keys.len());
        for signer in &signers {
            let again = Signer::parse(&signer.to_skey()).unwrap();
            prop_assert_eq!(again.verifier(), signer.verifier());
        }
    }
}
