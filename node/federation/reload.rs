//! This node's own certificate and key, replaceable while connections run.

use core::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use record::Timestamp;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;

use crate::ca::{CaCertificate, CaError, MAX_CERTIFICATE_BYTES};
use crate::identity::{IdentityError, Leaf, PresentedIdentity};
use crate::keys::Fingerprint;
use crate::tls_key::MAX_KEY_PEM_BYTES;
use crate::verify::{ChainFault, MAX_CHAIN_CERTIFICATES, judge_under};

/// Why a certificate was not taken. The one in use stays in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The certificate file is not one or two certificates in PEM.
    #[error(
        "the certificate file does not hold a certificate and at most its authority in pem; issue a new one"
    )]
    Chain,
    /// The key file is not a P-256 key in PKCS#8 PEM.
    #[error(
        "the key file does not hold a p-256 private key in pkcs#8 pem; issue a new certificate"
    )]
    Key,
    /// The key is not the certificate's.
    #[error("certificate and key do not belong together; put both files of one issue in place")]
    KeyMismatch,
    /// It says nothing usable about who it is for.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It is for somebody else.
    #[error("the certificate is for another member, role or name; issue one for this node")]
    OtherIdentity,
    /// It does not chain to this member's own authority, or not for this use.
    #[error(
        "the certificate was not issued by this member's authority for this use; peers would refuse it"
    )]
    NotIssuedHere,
    /// It has expired or is not valid yet.
    #[error(
        "the certificate is outside its validity period; issue a new one or set the clock by ntp"
    )]
    OutsideValidity,
    /// The member's authority cannot be a trust anchor.
    #[error(transparent)]
    Ca(#[from] CaError),
}

/// What one loaded certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// SHA-256 of the leaf.
    pub fingerprint: Fingerprint,
    /// Its last valid second, for telling the operator in time.
    pub not_after: Timestamp,
}

/// The key in use and what is told about it, swapped as one.
struct Current {
    key: Arc<CertifiedKey>,
    loaded: Loaded,
}

/// The certificate this node (or a client tool) presents. New handshakes take the newest one; connections that run
/// keep theirs.
pub struct ReloadableCert {
    identity: PresentedIdentity,
    own_ca: CaCertificate,
    current: ArcSwap<Current>,
}

impl ReloadableCert {
    /// Loads the first certificate. `identity` is whom it must be for, `own_ca` the authority that must have issued it.
    ///
    /// # Errors
    /// [`ReloadError`] names what peers would refuse.
    pub fn new(
        identity: PresentedIdentity,
        own_ca: CaCertificate,
        chain_pem: &str,
        key_pem: &str,
        now: Timestamp,
    ) -> Result<Self, ReloadError> {
        let (key, loaded) = load(&identity, &own_ca, chain_pem, key_pem, now)?;
        Ok(Self {
            identity,
            own_ca,
            current: ArcSwap::from_pointee(Current {
                key: Arc::new(key),
                loaded,
            }),
        })
    }

    /// Puts a new certificate in the place of the one in use, after checking it as a peer would.
    ///
    /// # Errors
    /// [`ReloadError`]; the certificate in use stays.
    pub fn reload(
        &self,
        chain_pem: &str,
        key_pem: &str,
        now: Timestamp,
    ) -> Result<Loaded, ReloadError> {
        let (key, loaded) = load(&self.identity, &self.own_ca, chain_pem, key_pem, now)?;
        self.current.store(Arc::new(Current {
            key: Arc::new(key),
            loaded,
        }));
        Ok(loaded)
    }

    /// What is in use now.
    #[must_use]
    pub fn loaded(&self) -> Loaded {
        self.current.load().loaded
    }

    /// Whom it is for.
    #[must_use]
    pub const fn identity(&self) -> &PresentedIdentity {
        &self.identity
    }
}

impl fmt::Debug for ReloadableCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReloadableCert({}, {:?})", self.identity, self.loaded())
    }
}

impl ResolvesServerCert for ReloadableCert {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }
}

impl ResolvesClientCert for ReloadableCert {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn load(
    identity: &PresentedIdentity,
    own_ca: &CaCertificate,
    chain_pem: &str,
    key_pem: &str,
    now: Timestamp,
) -> Result<(CertifiedKey, Loaded), ReloadError> {
    // Base64 and line ends make a third and a little more of each certificate.
    if chain_pem.len() > MAX_CHAIN_CERTIFICATES * MAX_CERTIFICATE_BYTES * 2 {
        return Err(ReloadError::Chain);
    }
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_pem| ReloadError::Chain)?;
    let end_entity = chain
        .first()
        .filter(|_leaf| chain.len() <= MAX_CHAIN_CERTIFICATES)
        .ok_or(ReloadError::Chain)?;
    let leaf = Leaf::read(end_entity)?;
    let right_use = match leaf.identity.as_ref().map_err(|e| *e)? {
        found if found != identity => return Err(ReloadError::OtherIdentity),
        PresentedIdentity::Node(_) => leaf.for_server_and_client,
        PresentedIdentity::Client { .. } => leaf.for_client_only,
    };
    if !right_use {
        return Err(ReloadError::NotIssuedHere);
    }
    judge_under(own_ca, end_entity, &leaf, now)?.map_err(|fault| match fault {
        ChainFault::OutsideValidity => ReloadError::OutsideValidity,
        ChainFault::NotIssuedHere => ReloadError::NotIssuedHere,
    })?;
    if key_pem.len() > MAX_KEY_PEM_BYTES {
        return Err(ReloadError::Key);
    }
    let loaded = Loaded {
        fingerprint: Fingerprint::of(end_entity),
        not_after: leaf.not_after,
    };
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_pem| ReloadError::Key)?;
    let signing = any_ecdsa_type(&key);
    wipe(key);
    let certified = CertifiedKey::new(chain, signing.map_err(|_kind| ReloadError::Key)?);
    certified
        .keys_match()
        .map_err(|_inconsistent| ReloadError::KeyMismatch)?;
    Ok((certified, loaded))
}

fn wipe(mut key: PrivateKeyDer<'static>) {
    zeroize::Zeroize::zeroize(&mut key);
}
