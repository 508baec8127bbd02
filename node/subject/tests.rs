//! The pseudonym function against RFC 9497 appendix A.1.2, itself, and hostile bytes.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::input::SubjectInput;
use crate::{
    BlindState, KEY_INFO, MAX_BATCH, OprfKey, OprfPublicKey, SUBJECT_LABEL, SubjectError, blind,
    evaluate, finalize, pseudonym, subject_input,
};

const SEED: [u8; 32] = [0xa3; 32];
const KEY_INFO_A1: &[u8] = b"test key";
const PUBLIC: &str = "c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e";
const BLIND_1: &str = "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706";
const BLIND_2: &str = "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e";
const PROOF_SCALAR_1: &str = BLIND_2;
const PROOF_SCALAR_3: &str = "419c4f4f5052c53c45f3da494d2b67b220d02118e0857cdbcf037f9ea84bbe0c";

struct Case {
    inputs: &'static [&'static str],
    blinds: &'static [&'static str],
    blinded: &'static [&'static str],
    evaluated: &'static [&'static str],
    proof_scalar: &'static str,
    proof: &'static str,
    outputs: &'static [&'static str],
}

const OUTPUT_00: &str = "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7da4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c";
const OUTPUT_5A: &str = "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6";

/// RFC 9497 A.1.2.1, A.1.2.2, A.1.2.3.
const CASES: [Case; 3] = [
    Case {
        inputs: &["00"],
        blinds: &[BLIND_1],
        blinded: &["863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945"],
        evaluated: &["aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e"],
        proof_scalar: PROOF_SCALAR_1,
        proof: "ddef93772692e535d1a53903db24367355cc2cc78de93b3be5a8ffcc6985dd066d4346421d17bf5117a2a1ff0fcb2a759f58a539dfbe857a40bce4cf49ec600d",
        outputs: &[OUTPUT_00],
    },
    Case {
        inputs: &["5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"],
        blinds: &[BLIND_1],
        blinded: &["cc0b2a350101881d8a4cba4c80241d74fb7dcbfde4a61fde2f91443c2bf9ef0c"],
        evaluated: &["60a59a57208d48aca71e9e850d22674b611f752bed48b36f7a91b372bd7ad468"],
        proof_scalar: PROOF_SCALAR_1,
        proof: "401a0da6264f8cf45bb2f5264bc31e109155600babb3cd4e5af7d181a2c9dc0a67154fabf031fd936051dec80b0b6ae29c9503493dde7393b722eafdf5a50b02",
        outputs: &[OUTPUT_5A],
    },
    Case {
        inputs: &["00", "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"],
        blinds: &[BLIND_1, BLIND_2],
        blinded: &[
            "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
            "90a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654",
        ],
        evaluated: &[
            "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e",
            "cc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a",
        ],
        proof_scalar: PROOF_SCALAR_3,
        proof: "cc203910175d786927eeb44ea847328047892ddf8590e723c37205cb74600b0a5ab5337c8eb4ceae0494c2cf89529dcf94572ed267473d567aeed6ab873dee08",
        outputs: &[OUTPUT_00, OUTPUT_5A],
    },
];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(text.get(i..i + 2).unwrap(), 16).unwrap())
        .collect()
}

/// A source of randomness that gives one value only.
fn fixed(hex: &str) -> impl FnMut(&mut [u8]) -> Result<(), ()> {
    let value = unhex(hex);
    move |out| {
        out.copy_from_slice(&value);
        Ok(())
    }
}

/// A deterministic stream (xorshift), good enough to tell tests apart.
fn stream(seed: u64) -> impl FnMut(&mut [u8]) -> Result<(), ()> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |out| {
        for byte in out {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_be_bytes()[0];
        }
        Ok(())
    }
}

fn key(byte: u8) -> OprfKey {
    OprfKey::derive(&[byte; 32], KEY_INFO).unwrap()
}

fn ask(values: &[&str], seed: u64) -> (Vec<BlindState>, Vec<[u8; 32]>) {
    let mut fill = stream(seed);
    values
        .iter()
        .map(|v| blind(subject_input("idcard", v).unwrap(), &mut fill).unwrap())
        .unzip()
}

#[test]
fn rfc_9497_a_1_2_vectors() {
    let server = OprfKey::derive(&SEED, KEY_INFO_A1).unwrap();
    assert_eq!(server.public_key().to_bytes().to_vec(), unhex(PUBLIC));
    for case in CASES {
        let (states, blinded): (Vec<_>, Vec<_>) = case
            .inputs
            .iter()
            .zip(case.blinds)
            .map(|(input, scalar)| blind(SubjectInput::raw(&unhex(input)), fixed(scalar)).unwrap())
            .unzip();
        assert_eq!(blinded.concat(), unhex(&case.blinded.concat()));
        let (evaluated, proof) = evaluate(&server, &blinded, fixed(case.proof_scalar)).unwrap();
        assert_eq!(evaluated.concat(), unhex(&case.evaluated.concat()));
        assert_eq!(proof.to_vec(), unhex(case.proof));
        let outputs = finalize(states, &evaluated, &proof, &server.public_key()).unwrap();
        for ((output, expected), input) in outputs.iter().zip(case.outputs).zip(case.inputs) {
            assert_eq!(output.to_vec(), unhex(expected)[..32]);
            assert_eq!(
                pseudonym(&server, &SubjectInput::raw(&unhex(input))).unwrap(),
                *output
            );
        }
        assert_eq!(outputs.len(), case.outputs.len());
    }
}

#[test]
fn the_secret_key_is_the_one_of_the_standard() {
    // skSm · G = pkSm: the public key of the vectors is that of their secret key, so ours is
    // theirs.
    let secret = unhex("e6f73f344b79b379f1a0dd37e07ff62e38d9f71345ce62ae3a9bc60b04ccd909");
    let theirs = voprf::VoprfServer::<voprf::Ristretto255>::new_with_key(&secret).unwrap();
    assert_eq!(
        OprfPublicKey::from_bytes(&unhex(PUBLIC)).unwrap().point(),
        theirs.get_public_key()
    );
}

#[test]
fn input_bytes_are_unambiguous() {
    let input = subject_input("idcard", "11010519491231002X").unwrap();
    let expected = [
        SUBJECT_LABEL.as_bytes(),
        b"\0idcard\0",
        b"11010519491231002X",
    ]
    .concat();
    assert_eq!(input.as_bytes(), expected);
    assert_eq!(format!("{input:?}"), "SubjectInput(..)");
    let long = "9".repeat(257);
    for (system, value) in [
        ("", "1"),
        ("a", ""),
        ("a\0b", "1"),
        ("a", "1\x002"),
        (&long, "1"),
        ("a", &long),
    ] {
        assert_eq!(
            subject_input(system, value).unwrap_err(),
            SubjectError::Input
        );
    }
    assert!(subject_input(&"9".repeat(256), &"9".repeat(256)).is_ok());
}

#[test]
fn each_node_has_its_own_pseudonyms() {
    let names: BTreeSet<_> = (1..=4_u8)
        .flat_map(|k| {
            ["1", "2", "11"]
                .map(|v| pseudonym(&key(k), &subject_input("idcard", v).unwrap()).unwrap())
        })
        .collect();
    assert_eq!(names.len(), 12);
    let other_system = pseudonym(&key(1), &subject_input("passport", "1").unwrap()).unwrap();
    assert!(!names.contains(&other_system));
    let other_use = OprfKey::derive(&[1; 32], b"another").unwrap();
    assert!(
        !names.contains(&pseudonym(&other_use, &subject_input("idcard", "1").unwrap()).unwrap())
    );
}

#[test]
fn the_same_person_is_blinded_differently_every_time() {
    let (_, first) = ask(&["1"], 1);
    let (_, second) = ask(&["1"], 2);
    assert_ne!(first, second);
}

#[test]
fn a_wrong_key_or_changed_answer_is_refused() {
    let (mine, other) = (key(1), key(2));
    let values = ["1", "2", "3"];
    let attempt = |change: fn(&mut Vec<[u8; 32]>, &mut [u8; 64]), public: &OprfPublicKey| {
        let (states, blinded) = ask(&values, 5);
        let (mut evaluated, mut proof) = evaluate(&key(1), &blinded, stream(6)).unwrap();
        change(&mut evaluated, &mut proof);
        finalize(states, &evaluated, &proof, public)
    };
    assert_eq!(attempt(|_, _| (), &mine.public_key()).unwrap().len(), 3);
    assert_eq!(
        attempt(|_, _| (), &other.public_key()),
        Err(SubjectError::WrongProof)
    );
    assert_eq!(
        attempt(|e, _| e.swap(0, 1), &mine.public_key()),
        Err(SubjectError::WrongProof)
    );
    assert_eq!(
        attempt(|e, _| e[2] = e[1], &mine.public_key()),
        Err(SubjectError::WrongProof)
    );
    assert_eq!(
        attempt(|_, p| p[0] ^= 1, &mine.public_key()),
        Err(SubjectError::WrongProof)
    );
    assert_eq!(
        attempt(|_, p| *p = [0xff; 64], &mine.public_key()),
        Err(SubjectError::ProofFormat)
    );
    assert_eq!(
        attempt(|_, p| *p = [0; 64], &mine.public_key()),
        Err(SubjectError::ProofFormat)
    );
    assert_eq!(
        attempt(|e, _| e[0] = [0; 32], &mine.public_key()),
        Err(SubjectError::Element)
    );
    assert_eq!(
        attempt(|e, _| e.truncate(2), &mine.public_key()),
        Err(SubjectError::Batch)
    );
    // Evaluated with another key for one of them: the proof covers the whole call.
    let (states, blinded) = ask(&values, 5);
    let (mut evaluated, proof) = evaluate(&mine, &blinded, stream(6)).unwrap();
    evaluated[1] = evaluate(&other, &blinded[1..2], stream(7)).unwrap().0[0];
    assert_eq!(
        finalize(states, &evaluated, &proof, &mine.public_key()),
        Err(SubjectError::WrongProof)
    );
}

#[test]
fn sizes_of_a_call_are_limited() {
    let (states, blinded) = ask(&vec!["1"; MAX_BATCH + 1], 1);
    assert_eq!(
        evaluate(&key(1), &[], stream(1)).unwrap_err(),
        SubjectError::Batch
    );
    assert_eq!(
        evaluate(&key(1), &blinded, stream(1)).unwrap_err(),
        SubjectError::Batch
    );
    let (evaluated, proof) = evaluate(&key(1), &blinded[..MAX_BATCH], stream(1)).unwrap();
    assert_eq!(
        finalize(states, &evaluated, &proof, &key(1).public_key()),
        Err(SubjectError::Batch)
    );
    assert_eq!(
        finalize(vec![], &[], &proof, &key(1).public_key()),
        Err(SubjectError::Batch)
    );
}

#[test]
fn malformed_elements_are_refused() {
    let identity = [0; 32];
    let negative = {
        let mut b = [0; 32];
        b[0] = 1;
        b
    }; // RFC 9496 A.3: odd, hence not canonical
    let not_below_p = [0xff; 32];
    for bad in [identity, negative, not_below_p] {
        assert_eq!(
            evaluate(&key(1), &[bad], stream(1)).unwrap_err(),
            SubjectError::Element
        );
        assert_eq!(
            OprfPublicKey::from_bytes(&bad).unwrap_err(),
            SubjectError::PublicKey
        );
    }
    for length in [0, 31, 33] {
        assert_eq!(
            OprfPublicKey::from_bytes(&vec![2; length]).unwrap_err(),
            SubjectError::PublicKey
        );
    }
}

#[test]
fn failing_or_stuck_randomness_is_an_error() {
    let input = || subject_input("idcard", "1").unwrap();
    assert_eq!(
        blind(input(), |_: &mut [u8]| Err(())).unwrap_err(),
        SubjectError::Randomness
    );
    let stuck = |out: &mut [u8]| -> Result<(), ()> {
        out.fill(0xff);
        Ok(())
    };
    assert_eq!(blind(input(), stuck).unwrap_err(), SubjectError::Randomness);
    let zero = |out: &mut [u8]| -> Result<(), ()> {
        out.fill(0);
        Ok(())
    };
    assert_eq!(blind(input(), zero).unwrap_err(), SubjectError::Randomness);
    let (_, blinded) = ask(&["1"], 1);
    assert_eq!(
        evaluate(&key(1), &blinded, stuck).unwrap_err(),
        SubjectError::Randomness
    );
}

#[test]
fn public_keys_print_and_parse_and_secrets_do_not_print() {
    let public = key(1).public_key();
    assert_eq!(OprfPublicKey::parse(&public.to_string()).unwrap(), public);
    assert_eq!(
        OprfPublicKey::parse("").unwrap_err(),
        SubjectError::PublicKey
    );
    assert_eq!(
        OprfPublicKey::parse("%").unwrap_err(),
        SubjectError::PublicKey
    );
    assert_eq!(
        format!("{:?}", key(1)),
        format!("OprfKey(.., public {public})")
    );
    assert_eq!(format!("{:?}", ask(&["1"], 1).0), "[BlindState(..)]");
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn remote_and_local_agree(seed in any::<[u8; 32]>(), draw in any::<u64>(), values in prop::collection::vec("[0-9X]{1,18}", 1..5)) {
        let (key, other) = (OprfKey::derive(&seed, KEY_INFO).unwrap(), key(9));
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let (states, blinded) = ask(&values, draw);
        let (evaluated, proof) = evaluate(&key, &blinded, stream(draw ^ 1)).unwrap();
        let remote = finalize(states, &evaluated, &proof, &key.public_key()).unwrap();
        for (name, value) in remote.iter().zip(&values) {
            let input = subject_input("idcard", value).unwrap();
            prop_assert_eq!(*name, pseudonym(&key, &input).unwrap());
            prop_assert_ne!(*name, pseudonym(&other, &input).unwrap());
        }
    }

    #[test]
    fn changed_proofs_are_refused(at in 0..64_usize, flip in 1..=255_u8) {
        let (states, blinded) = ask(&["1"], 1);
        let (evaluated, mut proof) = evaluate(&key(1), &blinded, stream(1)).unwrap();
        proof[at] ^= flip;
        prop_assert!(finalize(states, &evaluated, &proof, &key(1).public_key()).is_err());
    }

    #[test]
    fn changed_answers_are_refused(at in 0..32_usize, flip in 1..=255_u8) {
        let (states, blinded) = ask(&["1"], 1);
        let (mut evaluated, proof) = evaluate(&key(1), &blinded, stream(1)).unwrap();
        evaluated[0][at] ^= flip;
        prop_assert!(finalize(states, &evaluated, &proof, &key(1).public_key()).is_err());
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn random_bytes_never_panic(element in any::<[u8; 32]>(), text in "\\PC{0,50}") {
        if let Ok(public) = OprfPublicKey::from_bytes(&element) {
            prop_assert_eq!(public.to_bytes(), element);
        }
        prop_assert!(OprfPublicKey::parse(&text).is_err());
    }
}
