//! A node's data folder: what lies where, how it is made by `init`, and how its keys are unlocked.
//!
//! | path | what | if it is lost |
//! |---|---|---|
//! | `node.toml` | configuration | write it again |
//! | `keys/kek.sealed` | key-encryption keys, sealed with passphrase or credential | everything sealed is gone: keep a copy elsewhere |
//! | `keys/secrets.sealed` | the node's own secrets, sealed under the key-encryption key | pseudonyms and signing keys are gone |
//! | `certificates/` | own authority and node certificate | issue again |
//! | `authority.vkey`, `directory.note` | whom to trust, and the newest directory | get them from the authority or a peer |
//! | `card.json` | this member's description with proofs, for the authority | `init` of a new folder; the directory has the same |
//! | `revoked.txt` | client certificates taken back | those certificates work again until they expire |
//! | `journal/` | the record of truth | restore it |
//! | `acknowledged` | how far the journal was acknowledged, as of a moment ago | a damaged end may be taken for a torn write if the index is lost too |
//! | `index/` | look-ups | rebuilt at the next start |

use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use federation::certificate::Validity;
use federation::{
    CaCertificate, Endpoint, FederationName, Issued, Member, MemberCa, MemberCard, MemberStatus,
    OprfPublicKey, ReceiptPublicKey, Revoked, WitnessKey,
};
use record::{Clock, CreditCode, Timestamp};
use ring::rand::SystemRandom;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use seal::{Entropy, Keyring, SecretFile, SigningKey, SystemEntropy, Unlock, name};
use subject::OprfKey;
use tlog::note::{Signer, VerifierKey};
use zeroize::Zeroizing;

use crate::config::{Config, Listen};

/// Name of the node's own sealing key among its secrets.
pub const NODE_KEY: &str = "node.key";
/// Name of the node's tag key for the people who ask.
pub const ACTOR_KEY: &str = "actor.key";
/// A node's certificate is valid this long; it is renewed without a restart.
pub const NODE_CERTIFICATE_DAYS: i64 = 90;
const DAY_MS: i64 = 86_400_000;

/// Why a data folder cannot be made or opened. Says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HomeError(pub String);

impl HomeError {
    fn at(path: &Path, cause: &dyn std::fmt::Display) -> Self {
        Self(format!("{}: {cause}", path.display()))
    }
}

/// A data folder.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

/// What `init` is told.
#[derive(Debug)]
pub struct Founding<'a> {
    /// The federation that the card is for.
    pub federation: FederationName,
    /// The authority's public key.
    pub authority: VerifierKey,
    /// This member's description, as configured.
    pub config: &'a Config,
    /// Unified social credit code.
    pub credit_code: CreditCode,
    /// Where other members reach the node.
    pub endpoints: Vec<Endpoint>,
    /// English name, if it has one.
    pub name_en: Option<String>,
}

impl Home {
    /// The folder at a path.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// A path inside.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Makes the folder: keys, certificates, configuration, and the card for the authority, which is returned.
    ///
    /// # Errors
    /// When the folder already holds a node, or something cannot be written.
    pub fn init(
        &self,
        founding: &Founding<'_>,
        unlock: &Unlock,
        now: Timestamp,
    ) -> Result<MemberCard, HomeError> {
        if self.path("node.toml").exists() || self.path("keys").exists() {
            return Err(HomeError::at(
                &self.0,
                &"a node lives here already; choose another folder",
            ));
        }
        let entropy = SystemEntropy::new();
        let random = SystemRandom::new();
        let fault = |e: &dyn std::fmt::Display| HomeError(e.to_string());
        let keyring = Keyring::generate(&entropy).map_err(|e| fault(&e))?;
        let mut secrets = SecretFile::new();
        let seeds = [
            name::OPRF_SEED,
            name::INDEX_HMAC,
            name::ROW,
            name::CURSOR,
            name::RECEIPT_SEED,
            name::LOG_SEED,
            name::WITNESS_SEED,
            NODE_KEY,
            ACTOR_KEY,
        ];
        for seed in seeds {
            secrets.ensure32(seed, &entropy).map_err(|e| fault(&e))?;
        }
        let config = founding.config;
        let ca = MemberCa::generate(&config.member, now, &random).map_err(|e| fault(&e))?;
        let issued = self.issue_node(&ca, &founding.endpoints, now)?;
        keep_pem(&mut secrets, name::CA_KEY_PEM, ca.key_pem().as_str())?;
        keep_pem(&mut secrets, name::TLS_KEY_PEM, issued.key_pem.as_str())?;
        let member = describe(founding, &ca, &secrets)?;
        let receipt =
            SigningKey::from_seed(&*secrets.get32(name::RECEIPT_SEED).map_err(|e| fault(&e))?)
                .map_err(|e| fault(&e))?;
        let card = MemberCard::create(
            founding.federation.clone(),
            member,
            |label, message| receipt.sign(label, message),
            &ca,
            &random,
        )
        .map_err(|e| fault(&e))?;

        // Nothing was written before this: a description that is refused leaves no half-made folder.
        for folder in [
            self.0.clone(),
            self.path("keys"),
            self.path("certificates"),
            self.path("journal"),
            self.path("index"),
        ] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(|e| HomeError::at(&folder, &e))?;
        }
        keyring
            .save(&self.path("keys/kek.sealed"), unlock, &entropy)
            .map_err(|e| fault(&e))?;
        secrets
            .save(
                &self.path("keys/secrets.sealed"),
                keyring.current(),
                &entropy,
            )
            .map_err(|e| fault(&e))?;
        self.write("certificates/ca.pem", ca.certificate().to_pem().as_bytes())?;
        self.write("certificates/node.pem", issued.chain_pem.as_bytes())?;
        self.write(
            "authority.vkey",
            format!("{}\n", founding.authority).as_bytes(),
        )?;
        self.write(
            "card.json",
            card.to_json().map_err(|e| fault(&e))?.as_bytes(),
        )?;
        // Last: a folder without it was left half made, and `init` says so.
        let text = config.fill_template();
        self.write("node.toml", text.as_bytes())?;
        Ok(card)
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// See [`crate::config::ConfigError`].
    pub fn config(&self) -> Result<Config, HomeError> {
        Config::load(&self.path("node.toml")).map_err(|e| HomeError(e.to_string()))
    }

    /// Unlocks the keys.
    ///
    /// # Errors
    /// A wrong passphrase, or a damaged file.
    pub fn unlock(&self, unlock: &Unlock) -> Result<(Keyring, SecretFile), HomeError> {
        let path = self.path("keys/kek.sealed");
        let keyring = Keyring::load(&path, unlock).map_err(|e| HomeError::at(&path, &e))?;
        let secrets = self.secrets(&keyring)?;
        Ok((keyring, secrets))
    }

    /// The node's secrets, with keys already unlocked.
    ///
    /// # Errors
    /// A damaged file.
    pub fn secrets(&self, keyring: &Keyring) -> Result<SecretFile, HomeError> {
        let path = self.path("keys/secrets.sealed");
        SecretFile::load(&path, keyring).map_err(|e| HomeError::at(&path, &e))
    }

    /// The member's own certificate authority, without its key.
    ///
    /// # Errors
    /// When the file is not there or no authority.
    pub fn ca_certificate(&self) -> Result<CaCertificate, HomeError> {
        let path = self.path("certificates/ca.pem");
        ca_from_pem(&self.read_text("certificates/ca.pem")?).map_err(|e| HomeError::at(&path, &e))
    }

    /// The member's own certificate authority.
    ///
    /// # Errors
    /// When certificate and key are not there or do not fit.
    pub fn ca(&self, secrets: &SecretFile) -> Result<MemberCa, HomeError> {
        let key = pem_of(secrets, name::CA_KEY_PEM)?;
        MemberCa::from_pem(
            &self.read_text("certificates/ca.pem")?,
            &key,
            &SystemRandom::new(),
        )
        .map_err(|e| HomeError(e.to_string()))
    }

    /// Issues a new node certificate and keeps its key. The running node takes it up by itself.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn renew(
        &self,
        keyring: &Keyring,
        endpoints: &[Endpoint],
        now: Timestamp,
    ) -> Result<Issued, HomeError> {
        let secrets = self.secrets(keyring)?;
        let issued = self.issue_node(&self.ca(&secrets)?, endpoints, now)?;
        let pem = Zeroizing::new(issued.key_pem.as_str().as_bytes().to_vec());
        SecretFile::update(
            &self.path("keys/secrets.sealed"),
            keyring,
            &SystemEntropy::new(),
            |s| s.insert(name::TLS_KEY_PEM, pem),
        )
        .map_err(|e| HomeError(e.to_string()))?;
        // Crash before this: key and certificate do not fit; the node goes on with what it has, and this is run again.
        self.write("certificates/node.pem", issued.chain_pem.as_bytes())?;
        Ok(issued)
    }

    fn issue_node(
        &self,
        ca: &MemberCa,
        endpoints: &[Endpoint],
        now: Timestamp,
    ) -> Result<Issued, HomeError> {
        let mut hosts = vec!["localhost"];
        let mut addresses = vec![IpAddr::from([127, 0, 0, 1])];
        for endpoint in endpoints {
            match endpoint.host().parse::<IpAddr>() {
                Ok(ip) if !addresses.contains(&ip) => addresses.push(ip),
                Err(_) if !hosts.contains(&endpoint.host()) => hosts.push(endpoint.host()),
                Ok(_) | Err(_) => {}
            }
        }
        let validity = Validity {
            not_before: now.plus_ms(-3_600_000),
            not_after: now.plus_ms(NODE_CERTIFICATE_DAYS * DAY_MS),
        };
        ca.issue_node(&hosts, &addresses, validity, &SystemRandom::new())
            .map_err(|e| HomeError(e.to_string()))
    }

    /// The client certificates taken back.
    ///
    /// # Errors
    /// When the file cannot be understood: a list that cannot be read is not an empty list.
    pub fn revoked(&self) -> Result<Revoked, HomeError> {
        let path = self.path("revoked.txt");
        match std::fs::read_to_string(&path) {
            Ok(text) => Revoked::parse(&text).map_err(|e| HomeError::at(&path, &e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Revoked::new()),
            Err(e) => Err(HomeError::at(&path, &e)),
        }
    }

    /// The authority's key.
    ///
    /// # Errors
    /// When it is not there or no key.
    pub fn authority(&self) -> Result<VerifierKey, HomeError> {
        let path = self.path("authority.vkey");
        VerifierKey::parse(self.read_text("authority.vkey")?.trim())
            .map_err(|e| HomeError::at(&path, &e))
    }

    /// A text file inside.
    ///
    /// # Errors
    /// What the system says.
    pub fn read_text(&self, file: &str) -> Result<String, HomeError> {
        let path = self.path(file);
        std::fs::read_to_string(&path).map_err(|e| HomeError::at(&path, &e))
    }

    /// Writes a file so that after a crash the old or the new one is there, whole.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, file: &str, bytes: &[u8]) -> Result<(), HomeError> {
        write_file(&self.path(file), bytes)
    }
}

/// Writes a file readable by its owner alone: temporary file, fsync, rename, fsync of the folder.
///
/// # Errors
/// What the system says.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
    let attempt = || -> std::io::Result<()> {
        let folder = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or_else(|| Path::new("."));
        let temporary = path.with_extension("tmp");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        std::fs::File::open(folder)?.sync_all()
    };
    attempt().map_err(|e| HomeError::at(path, &e))
}

fn keep_pem(secrets: &mut SecretFile, name: &str, pem: &str) -> Result<(), HomeError> {
    secrets
        .insert(name, Zeroizing::new(pem.as_bytes().to_vec()))
        .map_err(|e| HomeError(e.to_string()))
}

/// A certificate authority from PEM.
///
/// # Errors
/// When it is no PEM, or no authority.
pub fn ca_from_pem(pem: &str) -> Result<CaCertificate, HomeError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| HomeError("not a certificate in PEM".into()))?;
    CaCertificate::parse(&der).map_err(|e| HomeError(e.to_string()))
}

/// A PEM among the secrets.
///
/// # Errors
/// When it is not there.
pub fn pem_of(secrets: &SecretFile, name: &str) -> Result<Zeroizing<String>, HomeError> {
    let bytes = secrets.get(name).ok_or_else(|| {
        HomeError(format!(
            "the secret {name} is missing; restore keys/secrets.sealed"
        ))
    })?;
    String::from_utf8(bytes.to_vec())
        .map(Zeroizing::new)
        .map_err(|e| HomeError(e.to_string()))
}

fn describe(
    founding: &Founding<'_>,
    ca: &MemberCa,
    secrets: &SecretFile,
) -> Result<Member, HomeError> {
    let fault = |e: &dyn std::fmt::Display| HomeError(e.to_string());
    let config = founding.config;
    let seed = |name: &str| secrets.get32(name).map_err(|e| HomeError(e.to_string()));
    let public = |name: &str| -> Result<[u8; 32], HomeError> {
        let key = SigningKey::from_seed(&*seed(name)?).map_err(|e| fault(&e))?;
        Ok(*key.verifying_key().as_bytes())
    };
    let origin = format!("{}.{}", config.member, founding.federation);
    let log = Signer::from_seed(&format!("{origin}/audit/1"), &*seed(name::LOG_SEED)?)
        .map_err(|e| fault(&e))?;
    let oprf = oprf_key(secrets)?;
    Ok(Member {
        id: config.member.clone(),
        name: config.name.clone(),
        name_en: founding.name_en.clone(),
        kind: config.kind,
        credit_code: founding.credit_code.clone(),
        district: config.district,
        endpoints: founding.endpoints.clone(),
        status: MemberStatus::Active,
        ca: ca.certificate().clone(),
        receipt_key: ReceiptPublicKey::from_bytes(public(name::RECEIPT_SEED)?)
            .map_err(|e| fault(&e))?,
        log_key: log.verifier().clone(),
        witness_key: WitnessKey::new(&format!("{origin}/witness"), public(name::WITNESS_SEED)?)
            .map_err(|e| fault(&e))?,
        oprf_key: OprfPublicKey::from_bytes(oprf.public_key().to_bytes()).map_err(|e| fault(&e))?,
        min_protocol: None,
    })
}

/// The key of this node's pseudonyms.
///
/// # Errors
/// When its seed is not there.
pub fn oprf_key(secrets: &SecretFile) -> Result<OprfKey, HomeError> {
    let seed = secrets
        .get32(name::OPRF_SEED)
        .map_err(|e| HomeError(e.to_string()))?;
    OprfKey::derive(&seed, subject::KEY_INFO).map_err(|e| HomeError(e.to_string()))
}

/// The addresses a fresh node listens on, chosen by the system.
///
/// # Errors
/// What the system says.
pub fn free_addresses() -> Result<Listen, HomeError> {
    let free = || {
        std::net::TcpListener::bind(("127.0.0.1", 0))
            .and_then(|l| l.local_addr())
            .map_err(|e| HomeError(e.to_string()))
    };
    Ok(Listen {
        peer: free()?,
        gateway: free()?,
    })
}

/// Now, by a clock.
#[must_use]
pub fn now() -> Timestamp {
    crate::clock::SystemClock.now()
}

/// Fills a buffer with random bytes.
///
/// # Errors
/// When the system has none.
pub fn random16() -> Result<[u8; 16], HomeError> {
    let mut bytes = [0; 16];
    SystemEntropy::new()
        .fill(&mut bytes)
        .map_err(|e| HomeError(e.to_string()))?;
    Ok(bytes)
}
