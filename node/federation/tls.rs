//! TLS as the federation speaks it: version 1.3 only, HTTP/2, both sides with a certificate.
//!
//! Whom a node *talks to* is judged in the handshake: a dialling node gives its request to nobody but the member it
//! meant. Whom a node *answers* is judged after the handshake, by [`crate::Verifiers`] or [`crate::ClientVerifier`]:
//! the handshake only demands a certificate and proof that the caller holds its key. A handshake that fails leaves
//! an alert at best; a request that is refused by the pipeline's first step leaves a reason for the caller and an
//! entry in the journal, and a member suspended or a certificate run out in the middle of a long connection is
//! noticed at the next request. Nothing is answered in between: a connection without a verified identity can only
//! collect refusals.
//!
//! Sessions are not resumed: a resumed session would carry yesterday's certificate past today's renewal.

use core::fmt;
use std::sync::Arc;

use record::{Clock, MemberId, Timestamp};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, RootCertStore, ServerConfig, SignatureScheme,
};
use thiserror::Error as ThisError;

use crate::ca::{CaCertificate, CaError, MAX_CERTIFICATE_BYTES};
use crate::identity::{Leaf, PresentedIdentity};
use crate::member::Member;
use crate::reload::ReloadableCert;
use crate::verify::{MAX_CHAIN_CERTIFICATES, unix_time};

/// The one application protocol (RFC 7301): HTTP/2, which carries gRPC.
pub const ALPN: &[u8] = b"h2";

/// Why there is no TLS configuration.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum TlsError {
    /// The member's authority cannot be a trust anchor.
    #[error("the member's certificate authority cannot be used: {0}")]
    Ca(#[from] CaError),
    /// The TLS library refused the configuration.
    #[error("tls cannot be configured: {0}; this is a fault of the programme")]
    Config(#[from] Error),
}

/// The configuration a node listens with. Every caller must present a certificate and prove to hold its key; who it
/// is, is for the pipeline to judge (see the head of this file).
///
/// # Errors
/// [`TlsError::Config`], which the fixed parameters do not give.
pub fn server_config(
    certificate: Arc<ReloadableCert>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(default_provider());
    let verifier = Arc::new(DemandCertificate {
        algorithms: provider.signature_verification_algorithms,
    });
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(LibraryClock(clock)))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// The configuration a node dials `expected` with: it talks to a certificate that this member's authority issued,
/// that bears this member's URI, and that is valid now, and to no other. Host names do not identify a member: an
/// endpoint may move, and a name service must not be able to choose whom a request reaches.
///
/// Make a new one when the directory gives the member a new authority.
///
/// # Errors
/// [`TlsError::Ca`] if the authority cannot be a trust anchor, which reading the directory has ruled out.
pub fn client_config(
    expected: &Member,
    certificate: Arc<ReloadableCert>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    client_config_for(&expected.ca, certificate, clock)
}

/// As [`client_config`], for a client that knows its own member's authority but has no directory.
///
/// # Errors
/// As [`client_config`].
pub fn client_config_for(
    expected: &CaCertificate,
    certificate: Arc<ReloadableCert>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(default_provider());
    let verifier = Arc::new(ExpectMember {
        member: expected.member().clone(),
        roots: expected.roots()?,
        algorithms: provider.signature_verification_algorithms,
    });
    let mut config = client_builder(provider, clock)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(certificate);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

fn client_builder(
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn Clock>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Error> {
    ClientConfig::builder_with_details(provider, Arc::new(LibraryClock(clock)))
        .with_protocol_versions(&[&TLS13])
}

/// Demands a certificate of the caller and leaves its judgement to the pipeline.
struct DemandCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for DemandCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DemandCertificate")
    }
}

impl ClientCertVerifier for DemandCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: which authorities are trusted changes with the directory, and callers have one certificate.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        check_sizes(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Accepts one member's node and nobody else.
struct ExpectMember {
    member: MemberId,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for ExpectMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExpectMember({})", self.member)
    }
}

impl ServerCertVerifier for ExpectMember {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        check_sizes(end_entity, intermediates)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        // Leaves stand directly under the authority: nothing the peer sent along is used to build the path.
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            &[],
            now,
            self.algorithms.all,
        )?;
        let leaf = Leaf::read(end_entity).map_err(|_identity| CertificateError::BadEncoding)?;
        match leaf.identity {
            Ok(PresentedIdentity::Node(member))
                if member == self.member && leaf.for_server_and_client =>
            {
                Ok(ServerCertVerified::assertion())
            }
            _ => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Our clock as the TLS library reads it.
struct LibraryClock(Arc<dyn Clock>);

impl fmt::Debug for LibraryClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LibraryClock")
    }
}

impl TimeProvider for LibraryClock {
    fn current_time(&self) -> Option<UnixTime> {
        let now: Timestamp = self.0.now();
        Some(unix_time(now))
    }
}

/// Limits before anything is parsed.
fn check_sizes(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), Error> {
    let fits = |der: &CertificateDer<'_>| der.len() <= MAX_CERTIFICATE_BYTES;
    if intermediates.len() < MAX_CHAIN_CERTIFICATES
        && fits(end_entity)
        && intermediates.iter().all(fits)
    {
        Ok(())
    } else {
        Err(CertificateError::ApplicationVerificationFailure.into())
    }
}
