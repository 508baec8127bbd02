//! A caller made by hand: any certificate or none, any protocol version, any statement, any signature.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use federation::{Issued, MemberCa, Validity};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use record::MemberId;
use ring::rand::SystemRandom;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use seal::{SecretFile, SigningKey, Unlock, name};
use songhe::home::{now, random16};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tonic_types::{ErrorDetail, StatusExt as _};
use wire::v1;
use wire::v1::peer_service_client::PeerServiceClient;

use crate::support::{Member, PASSPHRASE};

/// Trusts whatever server it meets: these tests are about the caller.
#[derive(Debug)]
struct TrustAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A TLS configuration with this identity (chain and key in PEM), or none.
pub fn tls(
    identity: Option<(&str, &str)>,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let provider = Arc::new(provider::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnyone(provider)));
    let mut config = match identity {
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
                .map(Result::unwrap)
                .collect();
            builder
                .with_client_auth_cert(
                    chain,
                    PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
                )
                .unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// One TLS connection.
pub async fn connect(
    to: SocketAddr,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(config)
        .connect(ServerName::try_from("songhe").unwrap(), stream)
        .await
}

/// A gRPC channel, and how many connections it has made.
pub fn channel(to: SocketAddr, config: Arc<ClientConfig>) -> (Channel, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let connector = tower::service_fn(move |_: http::Uri| {
        let (config, counted) = (Arc::clone(&config), Arc::clone(&counted));
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            connect(to, config).await.map(TokioIo::new)
        }
    });
    let channel = Endpoint::from_static("http://songhe")
        .timeout(Duration::from_secs(60))
        .connect_with_connector_lazy(connector);
    (channel, made)
}

/// A channel that presents this identity to a member's peer port.
pub fn to_peer(member: &Member, issued: &Issued) -> Channel {
    let config = tls(
        Some((&issued.chain_pem, issued.key_pem.as_str())),
        &rustls::version::TLS13,
    );
    channel(member.listen.peer, config).0
}

/// The peer service as this identity.
pub fn peer(member: &Member, issued: &Issued) -> PeerServiceClient<Channel> {
    PeerServiceClient::new(to_peer(member, issued))
}

/// What a member has: its certificate authority and its signing key.
pub struct Keys {
    pub id: MemberId,
    pub ca: MemberCa,
    pub receipt: SigningKey,
}

impl Keys {
    /// The keys in a member's folder.
    pub fn of(member: &Member) -> Self {
        let (_, secrets): (_, SecretFile) = member
            .home
            .unlock(&Unlock::passphrase(PASSPHRASE.as_bytes()).unwrap())
            .unwrap();
        Self {
            id: member.id.clone(),
            ca: member.home.ca(&secrets).unwrap(),
            receipt: SigningKey::from_seed(&secrets.get32(name::RECEIPT_SEED).unwrap()).unwrap(),
        }
    }

    /// A node certificate valid between two moments, in minutes from now.
    pub fn issue(&self, from_min: i64, to_min: i64) -> Issued {
        issue(&self.ca, from_min, to_min)
    }

    /// Signs a statement.
    pub fn sign(&self, statement: &v1::RequestStatement) -> v1::SignedRequest {
        let statement = statement.encode_to_vec();
        let signature = self
            .receipt
            .sign(exchange::REQUEST_LABEL, &statement)
            .to_vec();
        v1::SignedRequest {
            statement,
            signature,
        }
    }

    /// A locate of this member at another, new each time; about records that are about nobody.
    pub fn statement(&self, holder: &str) -> v1::RequestStatement {
        v1::RequestStatement {
            protocol: exchange::PROTOCOL,
            exchange_id: random16().unwrap().to_vec(),
            requester_id: self.id.to_string(),
            holder_id: holder.to_owned(),
            issued_at_ms: now().as_ms(),
            verb: "locate".into(),
            purpose: "TREAT".into(),
            basis: "consent".into(),
            role: "physician".into(),
            actor_tag: vec![7; 16],
            pseudonym: record::Pseudonym::NOBODY.as_bytes().to_vec(),
            query: Some(v1::Query {
                record_types: vec!["facility".into()],
                ..Default::default()
            }),
            cursor: Vec::new(),
        }
    }
}

/// A node certificate of an authority valid between two moments, in minutes from now.
pub fn issue(ca: &MemberCa, from_min: i64, to_min: i64) -> Issued {
    let at = |minutes: i64| now().plus_ms(minutes * 60_000);
    let validity = Validity {
        not_before: at(from_min),
        not_after: at(to_min),
    };
    ca.issue_node(&["localhost"], &[], validity, &SystemRandom::new())
        .unwrap()
}

/// A locate as it goes over the wire.
pub async fn locate(
    client: &PeerServiceClient<Channel>,
    request: v1::SignedRequest,
) -> Result<v1::LocateResponse, tonic::Status> {
    let answer = client
        .clone()
        .locate(v1::LocateRequest {
            request: Some(request),
        })
        .await;
    answer.map(tonic::Response::into_inner)
}

/// The reason of a refusal, after checking that it is told as it must be: `ErrorInfo` of our domain and a sentence in
/// each language.
pub fn reason_told(status: &tonic::Status) -> String {
    let details = status.get_error_details_vec();
    let info = details
        .iter()
        .find_map(|d| {
            if let ErrorDetail::ErrorInfo(info) = d {
                Some(info)
            } else {
                None
            }
        })
        .unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "songhe");
    let sentence = |locale: &str| {
        details
            .iter()
            .find_map(|d| match d {
                ErrorDetail::LocalizedMessage(m) if m.locale == locale => Some(m.message.clone()),
                _ => None,
            })
            .unwrap_or_else(|| panic!("no sentence in {locale}: {status:?}"))
    };
    assert!(
        sentence("en").is_ascii() && !sentence("en").is_empty(),
        "{}",
        sentence("en")
    );
    assert!(
        sentence("zh-CN")
            .chars()
            .filter(|c| ('\u{4e00}'..='\u{9fff}').contains(c))
            .count()
            > 3
    );
    info.reason.clone()
}

/// A node certificate of a self-made authority for this member id: nothing the directory knows.
pub fn stranger(id: &str) -> Issued {
    let random = SystemRandom::new();
    issue(
        &MemberCa::generate(&MemberId::parse(id).unwrap(), now(), &random).unwrap(),
        -5,
        1000,
    )
}
