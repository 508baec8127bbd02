//! The secret file and the credential file: names, sizes, changes, owners and modes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::disk::{Ownership, may_trust};
use crate::tests::cases;
use crate::{
    CredentialFault, FileError, Keyring, MAX_SECRET_BYTES, MAX_SECRETS, SealError, SecretFile,
    SeededEntropy, SystemEntropy, Unlock, name,
};

fn file(dir: &TempDir, name: &str, contents: &[u8], mode: u32) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, contents).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn random32() -> Vec<u8> {
    (0..32).collect()
}

#[test]
fn weak_locks_are_refused() {
    assert_eq!(
        Unlock::passphrase(b"too short").unwrap_err(),
        SealError::WeakUnlock
    );
    assert_eq!(
        Unlock::passphrase(&[b'x'; 1025]).unwrap_err(),
        SealError::WeakUnlock
    );
    for bytes in [
        vec![],
        random32()[..31].to_vec(),
        vec![0; 32],
        random32().repeat(129),
    ] {
        assert_eq!(
            Unlock::credential(Zeroizing::new(bytes)).unwrap_err(),
            SealError::WeakUnlock
        );
    }
}

#[test]
fn secrets_are_kept_by_name() {
    let entropy = SystemEntropy::new();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("secrets.sealed");
    let keyring = Keyring::generate(&entropy).unwrap();
    let pem = b"-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n";
    let mut secrets = SecretFile::new();
    secrets
        .insert(name::TLS_KEY_PEM, Zeroizing::new(pem.to_vec()))
        .unwrap();
    assert!(secrets.ensure32(name::LOG_SEED, &entropy).unwrap());
    assert!(!secrets.ensure32(name::LOG_SEED, &entropy).unwrap());
    secrets.save(&path, keyring.current(), &entropy).unwrap();
    let raw = fs::read(&path).unwrap();
    assert!(
        !raw.windows(11).any(|w| w == b"PRIVATE KEY") && !raw.windows(8).any(|w| w == b"log.seed")
    );

    let reread = SecretFile::load(&path, &keyring).unwrap();
    assert_eq!(
        reread.names().collect::<Vec<_>>(),
        [name::LOG_SEED, name::TLS_KEY_PEM]
    );
    assert_eq!(reread.get(name::TLS_KEY_PEM).unwrap(), pem);
    assert_eq!(
        reread.get32(name::LOG_SEED).unwrap(),
        secrets.get32(name::LOG_SEED).unwrap()
    );
    assert_eq!(reread.get32(name::TLS_KEY_PEM).unwrap_err(), SealError::Key);
    assert_eq!(
        reread.get32(name::ROW).unwrap_err(),
        SealError::MissingSecret
    );
    assert_eq!(format!("{reread:?}"), "{\"log.seed\", \"tls.key.pem\"}");

    let added = SecretFile::update(&path, &keyring, &entropy, |f| {
        f.ensure32(name::ROW, &entropy)
    })
    .unwrap();
    assert!(added);
    let refused = SecretFile::update(&path, &keyring, &entropy, |f| {
        assert!(f.remove(name::ROW));
        f.insert("Bad Name", Zeroizing::new(vec![1]))
    });
    assert!(matches!(refused, Err(FileError::Seal(SealError::Secret))));
    assert!(
        SecretFile::load(&path, &keyring)
            .unwrap()
            .get(name::ROW)
            .is_some(),
        "a failed change is not written"
    );
}

#[test]
fn secret_names_and_sizes_are_bounded() {
    let mut secrets = SecretFile::new();
    let one = || Zeroizing::new(vec![1]);
    for name in ["", "A", "a b", "a\"b", "\u{677e}", &"a".repeat(65)] {
        assert_eq!(
            secrets.insert(name, one()),
            Err(SealError::Secret),
            "{name:?}"
        );
    }
    assert_eq!(
        secrets.insert("a", Zeroizing::new(vec![])),
        Err(SealError::Secret)
    );
    assert_eq!(
        secrets.insert("a", Zeroizing::new(vec![1; MAX_SECRET_BYTES + 1])),
        Err(SealError::Secret)
    );
    for index in 0..MAX_SECRETS {
        secrets
            .insert(
                &format!("k{index}"),
                Zeroizing::new(vec![7; MAX_SECRET_BYTES]),
            )
            .unwrap();
    }
    assert_eq!(secrets.insert("one-more", one()), Err(SealError::Secret));
    secrets
        .insert("k0", Zeroizing::new(vec![8; MAX_SECRET_BYTES]))
        .unwrap();
    // The largest file there can be is written and read.
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("secrets.sealed");
    let entropy = SeededEntropy::new(1);
    let keyring = Keyring::generate(&entropy).unwrap();
    secrets.save(&path, keyring.current(), &entropy).unwrap();
    assert_eq!(
        SecretFile::load(&path, &keyring).unwrap().names().count(),
        MAX_SECRETS
    );
}

#[test]
fn credential_files_must_be_private() {
    let dir = TempDir::new().unwrap();
    let entropy = SystemEntropy::new();
    let keyring = Keyring::generate(&entropy).unwrap();
    let sealed = keyring
        .seal(
            &Unlock::credential(Zeroizing::new(random32())).unwrap(),
            &entropy,
        )
        .unwrap();
    for mode in [0o600, 0o400] {
        let path = file(&dir, &format!("good{mode:o}"), &random32(), mode);
        let unlock = Unlock::credential_file(&path).unwrap();
        assert_eq!(
            Keyring::open(&sealed, &unlock).unwrap().ids(),
            keyring.ids()
        );
    }
    let fault = |path: &Path| match Unlock::credential_file(path) {
        Err(FileError::Credential(fault)) => fault,
        other => panic!("expected a credential fault, got {other:?}"),
    };
    for mode in [0o644, 0o640, 0o604, 0o660, 0o700, 0o4600] {
        assert_eq!(
            fault(&file(&dir, &format!("bad{mode:o}"), &random32(), mode)),
            CredentialFault::Mode,
            "{mode:o}"
        );
    }
    assert_eq!(fault(dir.path()), CredentialFault::NotAFile);
    for (name, contents) in [
        ("short", vec![1, 2, 3]),
        ("empty", vec![]),
        ("zero", vec![0; 64]),
        ("long", random32().repeat(200)),
    ] {
        assert_eq!(
            fault(&file(&dir, name, &contents, 0o600)),
            CredentialFault::Content,
            "{name}"
        );
    }
    assert!(matches!(
        Unlock::credential_file(&dir.path().join("none")),
        Err(FileError::Io { .. })
    ));
}

#[test]
fn credential_owners_are_checked() {
    let owned = |uid, gid, mode| may_trust(&Ownership { uid, gid, mode }, 1000);
    assert_eq!(owned(1000, 1000, 0o600), Ok(()));
    assert_eq!(owned(1000, 1000, 0o400), Ok(()));
    assert_eq!(owned(1001, 1000, 0o600), Err(CredentialFault::Owner));
    assert_eq!(owned(0, 0, 0o600), Err(CredentialFault::Owner));
    assert_eq!(owned(1000, 1000, 0o440), Err(CredentialFault::Mode));
    // The form systemd hands over, and nothing that resembles it.
    assert_eq!(owned(0, 0, 0o440), Ok(()));
    assert_eq!(owned(0, 100, 0o440), Err(CredentialFault::Mode));
    assert_eq!(owned(0, 0, 0o444), Err(CredentialFault::Mode));
    assert_eq!(owned(1001, 0, 0o440), Err(CredentialFault::Mode));
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn secret_files_round_trip(entries in prop::collection::btree_map("[a-z0-9._-]{1,64}", prop::collection::vec(any::<u8>(), 1..100), 0..12)) {
        let entropy = SeededEntropy::new(2);
        let keyring = Keyring::generate(&entropy).unwrap();
        let mut secrets = SecretFile::new();
        for (name, secret) in &entries {
            secrets.insert(name, Zeroizing::new(secret.clone())).unwrap();
        }
        let reread = SecretFile::open(&secrets.seal(keyring.current(), &entropy).unwrap(), &keyring).unwrap();
        prop_assert_eq!(reread.names().collect::<Vec<_>>(), entries.keys().collect::<Vec<_>>());
        for (name, secret) in &entries {
            prop_assert_eq!(reread.get(name).unwrap(), secret.as_slice());
        }
    }
}
