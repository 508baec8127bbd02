//! The sealed keyring: its locks, rotation, damage to every byte, and what a crash leaves behind.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use proptest::prelude::*;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::tests::cases;
use crate::{
    Argon2Cost, FileError, Keyring, MAX_KEKS, SealError, SecretFile, SeededEntropy, SubjectKey,
    SystemEntropy, Unlock, name,
};

fn passphrase(text: &str) -> Unlock {
    Unlock::passphrase(text.as_bytes())
        .unwrap()
        .at_cost(Argon2Cost::LIGHT_FOR_TESTS)
}

pub(crate) fn credential(byte: u8) -> Unlock {
    let mut bytes = vec![byte; 32];
    bytes[0] ^= 0xff;
    Unlock::credential(Zeroizing::new(bytes)).unwrap()
}

#[test]
fn keyring_opens_with_its_own_lock_only() {
    let entropy = SystemEntropy::new();
    let keyring = Keyring::generate(&entropy).unwrap();
    let sealed = keyring
        .seal(&passphrase("correct horse battery"), &entropy)
        .unwrap();
    let opened = Keyring::open(&sealed, &passphrase("correct horse battery")).unwrap();
    assert_eq!(opened.ids(), keyring.ids());
    assert!(matches!(
        Keyring::open(&sealed, &passphrase("correct horse buttery")),
        Err(FileError::WrongUnlock)
    ));
    assert!(matches!(
        Keyring::open(&sealed, &credential(1)),
        Err(FileError::OtherUnlock {
            expected: "passphrase"
        })
    ));

    let sealed = keyring.seal(&credential(1), &entropy).unwrap();
    assert_eq!(
        Keyring::open(&sealed, &credential(1)).unwrap().ids(),
        keyring.ids()
    );
    assert!(matches!(
        Keyring::open(&sealed, &credential(2)),
        Err(FileError::WrongUnlock)
    ));
    assert!(matches!(
        Keyring::open(&sealed, &passphrase("correct horse battery")),
        Err(FileError::OtherUnlock {
            expected: "credential"
        })
    ));
}

#[test]
fn the_cost_in_the_file_is_the_one_used_to_open() {
    let entropy = SystemEntropy::new();
    let keyring = Keyring::generate(&entropy).unwrap();
    let sealed = keyring
        .seal(&passphrase("correct horse battery"), &entropy)
        .unwrap();
    // Opened by someone whose own default is another.
    let at_default = Unlock::passphrase(b"correct horse battery").unwrap();
    assert_eq!(
        Keyring::open(&sealed, &at_default).unwrap().ids(),
        keyring.ids()
    );
    // A file that asks for more than the machine should give, or for another cost, is refused.
    let text = String::from_utf8(sealed).unwrap();
    for (from, to) in [
        ("\"memory_kib\":64", "\"memory_kib\":4194304"),
        ("\"passes\":1", "\"passes\":1000"),
        ("\"lanes\":1", "\"lanes\":0"),
    ] {
        assert!(text.contains(from));
        let greedy = text.replace(from, to);
        let refused = Keyring::open(greedy.as_bytes(), &at_default);
        assert!(
            matches!(refused, Err(FileError::Seal(SealError::Cost))),
            "{to}"
        );
    }
    let weaker = text.replace("\"memory_kib\":64", "\"memory_kib\":32");
    assert!(matches!(
        Keyring::open(weaker.as_bytes(), &at_default),
        Err(FileError::WrongUnlock)
    ));
    assert_eq!(Argon2Cost::new(65_536, 3, 1), Ok(Argon2Cost::DEFAULT));
    for (memory, passes, lanes) in [
        (1_024, 3, 1),
        (65_536, 1, 1),
        (65_536, 3, 0),
        (2_000_000, 3, 1),
        (65_536, 17, 1),
    ] {
        assert_eq!(Argon2Cost::new(memory, passes, lanes), Err(SealError::Cost));
    }
}

#[test]
fn every_changed_byte_of_a_sealed_file_is_refused() {
    let entropy = SeededEntropy::new(5);
    let mut keyring = Keyring::generate(&entropy).unwrap();
    keyring.rotate(&entropy).unwrap();
    let unlock = credential(1);
    let sealed = keyring.seal(&unlock, &entropy).unwrap();
    let mut secrets = SecretFile::new();
    secrets.ensure32(name::OPRF_SEED, &entropy).unwrap();
    let secrets = secrets.seal(keyring.current(), &entropy).unwrap();
    assert!(SecretFile::open(&secrets, &keyring).is_ok());
    for flip in [1, 2, 4, 0x20, 0x80] {
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= flip;
            assert!(Keyring::open(&changed, &unlock).is_err(), "byte {at}");
        }
        for at in 0..secrets.len() {
            let mut changed = secrets.clone();
            changed[at] ^= flip;
            assert!(SecretFile::open(&changed, &keyring).is_err(), "byte {at}");
        }
    }
    for length in 0..sealed.len() {
        assert!(Keyring::open(&sealed[..length], &unlock).is_err());
    }
    // Other spellings of the same values are refused as well, and so is one file in place of the
    // other.
    let spaced = String::from_utf8(sealed.clone())
        .unwrap()
        .replace("\":", "\": ");
    assert!(matches!(
        Keyring::open(spaced.as_bytes(), &unlock),
        Err(FileError::Malformed)
    ));
    assert!(matches!(
        Keyring::open(&secrets, &unlock),
        Err(FileError::Malformed)
    ));
    assert!(matches!(
        SecretFile::open(&sealed, &keyring),
        Err(FileError::Malformed)
    ));
}

#[test]
fn rotation_keeps_everything_readable_at_every_step() {
    let entropy = SystemEntropy::new();
    let dir = TempDir::new().unwrap();
    let (ring_path, secret_path) = (
        dir.path().join("kek.sealed"),
        dir.path().join("secrets.sealed"),
    );
    let unlock = credential(1);
    let mut keyring = Keyring::generate(&entropy).unwrap();
    let first = keyring.current().id();
    keyring.save(&ring_path, &unlock, &entropy).unwrap();
    let mut secrets = SecretFile::new();
    secrets.ensure32(name::ROW, &entropy).unwrap();
    secrets
        .save(&secret_path, keyring.current(), &entropy)
        .unwrap();
    let subject = SubjectKey::generate(&entropy).unwrap();
    let old = keyring.wrap_key(&subject, [1; 16], &entropy).unwrap();
    assert_eq!(keyring.rewrap_key(&old, [1; 16], &entropy).unwrap(), None);

    let second = keyring.rotate(&entropy).unwrap();
    keyring.save(&ring_path, &unlock, &entropy).unwrap();
    // As if started anew after a crash here: old things open, with the old key.
    let mut keyring = Keyring::load(&ring_path, &unlock).unwrap();
    assert_eq!(keyring.ids(), [second, first]);
    let same = |key: &SubjectKey| key.tag([0; 16]).unwrap() == subject.tag([0; 16]).unwrap();
    assert!(same(&keyring.unwrap_key(&old, [1; 16]).unwrap()));
    assert!(SecretFile::load(&secret_path, &keyring).is_ok());

    assert!(SecretFile::rewrap(&secret_path, &keyring, &entropy).unwrap());
    assert!(!SecretFile::rewrap(&secret_path, &keyring, &entropy).unwrap());
    let new = keyring
        .rewrap_key(&old, [1; 16], &entropy)
        .unwrap()
        .unwrap();
    assert_eq!(new.kek_id(), second);
    assert!(same(&keyring.unwrap_key(&new, [1; 16]).unwrap()));
    assert_eq!(
        keyring.rewrap_key(&old, [2; 16], &entropy),
        Err(SealError::Refused)
    );

    assert_eq!(keyring.retire(second), Err(SealError::CurrentKek));
    keyring.retire(first).unwrap();
    assert_eq!(keyring.retire(first), Err(SealError::UnknownKek));
    keyring.save(&ring_path, &unlock, &entropy).unwrap();
    let keyring = Keyring::load(&ring_path, &unlock).unwrap();
    assert_eq!(keyring.ids(), [second]);
    assert_eq!(
        keyring.unwrap_key(&old, [1; 16]).unwrap_err(),
        SealError::UnknownKek
    );
    let reread = SecretFile::load(&secret_path, &keyring).unwrap();
    assert_eq!(reread.get(name::ROW), secrets.get(name::ROW));
    // A keyring that never had the key cannot read the file.
    let stranger = Keyring::generate(&entropy).unwrap();
    assert!(matches!(
        SecretFile::load(&secret_path, &stranger),
        Err(FileError::UnknownKek)
    ));
}

#[test]
fn keyrings_are_bounded() {
    let entropy = SeededEntropy::new(1);
    let mut keyring = Keyring::generate(&entropy).unwrap();
    for _ in 1..MAX_KEKS {
        keyring.rotate(&entropy).unwrap();
    }
    assert_eq!(keyring.rotate(&entropy), Err(SealError::KeyringFull));
    let sealed = keyring.seal(&credential(1), &entropy).unwrap();
    assert_eq!(
        Keyring::open(&sealed, &credential(1)).unwrap().ids(),
        keyring.ids()
    );
}

#[test]
fn files_are_private_and_replaced_whole() {
    let entropy = SystemEntropy::new();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("kek.sealed");
    let unlock = credential(1);
    let keyring = Keyring::generate(&entropy).unwrap();
    // What an interrupted write leaves: half a temporary file. It is neither read nor in the way.
    fs::write(dir.path().join("kek.sealed.tmp"), b"{\"head\":").unwrap();
    keyring.save(&path, &unlock, &entropy).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    // A link planted under the temporary name is not followed.
    let target = dir.path().join("elsewhere");
    fs::write(&target, b"untouched").unwrap();
    symlink(&target, dir.path().join("kek.sealed.tmp")).unwrap();
    keyring.save(&path, &unlock, &entropy).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"untouched");
    // A write that fails leaves the former file: here the temporary name is taken by a directory.
    fs::create_dir(dir.path().join("kek.sealed.tmp")).unwrap();
    let other = Keyring::generate(&entropy).unwrap();
    assert!(matches!(
        other.save(&path, &unlock, &entropy),
        Err(FileError::Io { .. })
    ));
    assert_eq!(Keyring::load(&path, &unlock).unwrap().ids(), keyring.ids());
    let missing = dir.path().join("missing/kek.sealed");
    assert!(matches!(
        keyring.save(&missing, &unlock, &entropy),
        Err(FileError::Io { .. })
    ));
    assert!(matches!(
        Keyring::load(&missing, &unlock),
        Err(FileError::Io { .. })
    ));
    fs::write(&path, vec![b' '; 3 * 1024 * 1024]).unwrap();
    assert!(matches!(
        Keyring::load(&path, &unlock),
        Err(FileError::TooLarge { .. })
    ));
}

#[test]
fn passphrases_can_be_changed() {
    let entropy = SystemEntropy::new();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("kek.sealed");
    Keyring::generate(&entropy)
        .unwrap()
        .save(&path, &passphrase("the old passphrase"), &entropy)
        .unwrap();
    let keyring = Keyring::load(&path, &passphrase("the old passphrase")).unwrap();
    keyring
        .save(&path, &passphrase("the new passphrase"), &entropy)
        .unwrap();
    assert!(matches!(
        Keyring::load(&path, &passphrase("the old passphrase")),
        Err(FileError::WrongUnlock)
    ));
    assert_eq!(
        Keyring::load(&path, &passphrase("the new passphrase"))
            .unwrap()
            .ids(),
        keyring.ids()
    );
}

#[test]
fn locks_and_keyrings_print_nothing_secret() {
    assert_eq!(
        format!("{:?}", passphrase("correct horse battery")),
        "Unlock(passphrase ..)"
    );
    assert_eq!(format!("{:?}", credential(1)), "Unlock(credential ..)");
    let keyring = Keyring::generate(&SeededEntropy::new(1)).unwrap();
    assert_eq!(
        format!("{keyring:?}"),
        format!(
            "Keyring {{ current: Kek(.., id {}), older: [] }}",
            keyring.current().id()
        )
    );
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn random_files_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[{}\\[\\]\":,a-z0-9]{0,120}") {
        let keyring = Keyring::generate(&SeededEntropy::new(1)).unwrap();
        for input in [bytes.as_slice(), text.as_bytes()] {
            prop_assert!(Keyring::open(input, &credential(1)).is_err());
            prop_assert!(SecretFile::open(input, &keyring).is_err());
        }
    }

    #[test]
    fn mutated_files_never_open(at in any::<prop::sample::Index>(), insert in any::<u8>(), remove in 0..4_usize) {
        let entropy = SeededEntropy::new(1);
        let keyring = Keyring::generate(&entropy).unwrap();
        let sealed = keyring.seal(&credential(1), &entropy).unwrap();
        let at = at.index(sealed.len());
        let mut changed = sealed.clone();
        changed.splice(at..(at + remove).min(sealed.len()), [insert]);
        prop_assert_eq!(Keyring::open(&changed, &credential(1)).is_ok(), changed == sealed);
    }
}
