//! Who is asking: judges the certificate chain a peer or client presented, with one reason for each no.
//!
//! The chain is judged before the member's status is told, so a certificate somebody made up learns nothing about
//! the member it names. Chains are verified by the TLS library's own verifier (webpki), never by hand.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use record::{MemberId, ReasonCode, Refusal, Role, Timestamp};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, Error};

use crate::ca::{CaCertificate, CaError};
use crate::directory::SignedDirectory;
use crate::identity::{ClientName, Leaf, PresentedIdentity};
use crate::keys::Fingerprint;
use crate::member::Member;
use crate::revoked::Revoked;

/// Most certificates in a chain: the leaf, and its authority if the peer sends it along. Nothing stands between them.
pub const MAX_CHAIN_CERTIFICATES: usize = 2;

/// A peer whose certificate was verified against the directory. Made only by [`Verifiers::verify_peer`].
#[derive(Clone, Debug)]
pub struct VerifiedPeer {
    member: Arc<Member>,
    fingerprint: Fingerprint,
}

impl VerifiedPeer {
    /// The member, as the directory describes it; active.
    #[must_use]
    pub const fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// SHA-256 of the leaf certificate.
    #[must_use]
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

/// The verifiers of one directory: one for each member, with that member's own authority as the only root.
pub struct Verifiers {
    directory: SignedDirectory,
    by_member: BTreeMap<MemberId, Arc<dyn ClientCertVerifier>>,
}

impl Verifiers {
    /// Builds the verifiers of a directory.
    ///
    /// # Errors
    /// [`CaError`] if an authority cannot be a trust anchor, which reading the directory has ruled out.
    pub fn new(directory: SignedDirectory) -> Result<Self, CaError> {
        let mut by_member = BTreeMap::new();
        for member in directory.directory().members() {
            by_member.insert(member.id.clone(), verifier_of(&member.ca)?);
        }
        Ok(Self {
            directory,
            by_member,
        })
    }

    /// The directory.
    #[must_use]
    pub const fn directory(&self) -> &SignedDirectory {
        &self.directory
    }

    /// Judges the chain a peer's node presented (leaf first, as TLS delivers it). Costs one ECDSA verification.
    ///
    /// # Errors
    /// A [`Refusal`], the first that applies:
    /// `DIRECTORY_EXPIRED` when this node's directory can no longer tell who is a member;
    /// `PEER_UNKNOWN` without exactly one songhe URI, or when no member has that id;
    /// `PEER_CERTIFICATE_MISMATCH` for a client's certificate, another usage, or one not issued by that member's authority;
    /// `PEER_CERTIFICATE_EXPIRED` when it is genuine but outside its validity;
    /// `PEER_SUSPENDED` when all is well but the authority suspended the member.
    pub fn verify_peer(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<VerifiedPeer, Refusal> {
        if self.directory.directory().is_expired(now) {
            return Err(Refusal::new(ReasonCode::DirectoryExpired));
        }
        let unknown = |detail: &str| Refusal::with_detail(ReasonCode::PeerUnknown, detail);
        let end_entity = leaf_of(chain)
            .ok_or_else(|| unknown("the chain of certificates is empty or too long"))?;
        let leaf = Leaf::read(end_entity).map_err(|e| unknown(&e.to_string()))?;
        let id = match &leaf.identity {
            Ok(PresentedIdentity::Node(id)) => id,
            Ok(PresentedIdentity::Client { .. }) => {
                let detail = "a client's certificate cannot speak for a node";
                return Err(Refusal::with_detail(
                    ReasonCode::PeerCertificateMismatch,
                    detail,
                ));
            }
            Err(e) => return Err(unknown(&e.to_string())),
        };
        let (Some(member), Some(verifier)) =
            (self.directory.directory().find(id), self.by_member.get(id))
        else {
            return Err(Refusal::new(ReasonCode::PeerUnknown));
        };
        if !leaf.for_server_and_client {
            let detail = "the certificate is not for a node's use";
            return Err(Refusal::with_detail(
                ReasonCode::PeerCertificateMismatch,
                detail,
            ));
        }
        judge(verifier.as_ref(), end_entity, &leaf, now).map_err(|fault| match fault {
            ChainFault::OutsideValidity => Refusal::new(ReasonCode::PeerCertificateExpired),
            ChainFault::NotIssuedHere => Refusal::new(ReasonCode::PeerCertificateMismatch),
        })?;
        if !member.is_active() {
            return Err(Refusal::new(ReasonCode::PeerSuspended));
        }
        Ok(VerifiedPeer {
            member: Arc::clone(member),
            fingerprint: Fingerprint::of(end_entity),
        })
    }
}

impl fmt::Debug for Verifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifiers({:?})", self.directory)
    }
}

/// A client of this node whose certificate was verified. Made only by [`ClientVerifier::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedClient {
    role: Role,
    name: ClientName,
    serial: Vec<u8>,
    fingerprint: Fingerprint,
}

impl VerifiedClient {
    /// Its one role.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &ClientName {
        &self.name
    }

    /// The certificate's serial number, by which it can be taken back.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// SHA-256 of the leaf certificate. Good for finding it in a list, not for keeping somebody out: see [`Revoked`].
    #[must_use]
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

/// Verifies the clients of one member's own node.
pub struct ClientVerifier {
    member: MemberId,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientVerifier {
    /// A verifier for the member whose authority this is.
    ///
    /// # Errors
    /// [`CaError`] if the authority cannot be a trust anchor, which parsing it has ruled out.
    pub fn new(own_ca: &CaCertificate) -> Result<Self, CaError> {
        Ok(Self {
            member: own_ca.member().clone(),
            verifier: verifier_of(own_ca)?,
        })
    }

    /// Judges the chain a client presented (leaf first).
    ///
    /// # Errors
    /// `CLIENT_UNKNOWN` for a certificate not issued here to a client, or taken back; `PEER_CERTIFICATE_EXPIRED`
    /// for a genuine one outside its validity.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        revoked: &Revoked,
        now: Timestamp,
    ) -> Result<VerifiedClient, Refusal> {
        let unknown = || Refusal::new(ReasonCode::ClientUnknown);
        let end_entity = leaf_of(chain).ok_or_else(unknown)?;
        let leaf = Leaf::read(end_entity).map_err(|_identity| unknown())?;
        let (role, name) = match &leaf.identity {
            Ok(PresentedIdentity::Client { member, role, name }) if *member == self.member => {
                (*role, name.clone())
            }
            _ => return Err(unknown()),
        };
        if !leaf.for_client_only {
            return Err(unknown());
        }
        judge(self.verifier.as_ref(), end_entity, &leaf, now).map_err(|fault| match fault {
            ChainFault::OutsideValidity => Refusal::new(ReasonCode::PeerCertificateExpired),
            ChainFault::NotIssuedHere => unknown(),
        })?;
        if revoked.contains(&leaf.serial) {
            let detail = "the certificate was taken back";
            return Err(Refusal::with_detail(ReasonCode::ClientUnknown, detail));
        }
        Ok(VerifiedClient {
            role,
            name,
            serial: leaf.serial,
            fingerprint: Fingerprint::of(end_entity),
        })
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientVerifier({})", self.member)
    }
}

/// Why a chain does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChainFault {
    /// Genuine, but not now.
    OutsideValidity,
    /// Not issued by the authority, for this use.
    NotIssuedHere,
}

/// The time as the TLS library takes it. Before 1970 counts as 1970, when none of our certificates is valid.
pub(crate) fn unix_time(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at.as_s()).unwrap_or(0)))
}

/// The leaf of a chain within [`MAX_CHAIN_CERTIFICATES`].
fn leaf_of<'c>(chain: &'c [CertificateDer<'c>]) -> Option<&'c CertificateDer<'c>> {
    if chain.len() > MAX_CHAIN_CERTIFICATES {
        None
    } else {
        chain.first()
    }
}

/// A verifier with one authority as its only root.
fn verifier_of(ca: &CaCertificate) -> Result<Arc<dyn ClientCertVerifier>, CaError> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(ca.roots()?), Arc::new(default_provider()))
        .clear_root_hint_subjects()
        .build()
        .map_err(|_anchor| CaError::Unreadable)
}

/// Verifies a leaf directly under the root: no certificate the peer sent along is used to build the path.
fn judge(
    verifier: &dyn ClientCertVerifier,
    end_entity: &CertificateDer<'_>,
    leaf: &Leaf,
    now: Timestamp,
) -> Result<(), ChainFault> {
    judge_with(
        |at| {
            verifier
                .verify_client_cert(end_entity, &[], at)
                .map(|_verified| ())
        },
        leaf,
        now,
    )
}

/// Judges a leaf under an authority that has no verifier built for it.
pub(crate) fn judge_under(
    ca: &CaCertificate,
    end_entity: &CertificateDer<'_>,
    leaf: &Leaf,
    now: Timestamp,
) -> Result<Result<(), ChainFault>, CaError> {
    Ok(judge(verifier_of(ca)?.as_ref(), end_entity, leaf, now))
}

/// Tells a genuine certificate outside its validity from one that was never genuine: the library looks at the
/// dates first, so what fails by date is verified once more at a moment inside its own validity.
fn judge_with(
    verify_at: impl Fn(UnixTime) -> Result<(), Error>,
    leaf: &Leaf,
    now: Timestamp,
) -> Result<(), ChainFault> {
    match verify_at(unix_time(now)) {
        Ok(()) => Ok(()),
        Err(Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        )) if verify_at(unix_time(leaf.not_before)).is_ok() => Err(ChainFault::OutsideValidity),
        Err(_) => Err(ChainFault::NotIssuedHere),
    }
}
