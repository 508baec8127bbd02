//! Connections out: one HTTP/2 channel for each member, made anew when the directory changes the member.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use federation::{CaCertificate, Endpoint, Member, ReloadableCert, Roster, tls};
use hyper_util::rt::TokioIo;
use record::{Clock, MemberId, ReasonCode, Refusal};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint as Target};

/// A connection that is not there after this long is given up; the next endpoint is tried.
const CONNECT_MS: u64 = 3_000;
/// An idle connection is asked for a sign of life so often.
const KEEP_ALIVE_S: u64 = 20;

/// Channels to members.
#[derive(Debug)]
pub struct Dialer {
    roster: Arc<Roster>,
    certificate: Arc<ReloadableCert>,
    clock: Arc<dyn Clock>,
    open: Mutex<HashMap<MemberId, (Arc<Member>, Channel)>>,
}

impl Dialer {
    /// A dialer that presents this certificate.
    #[must_use]
    pub fn new(
        roster: Arc<Roster>,
        certificate: Arc<ReloadableCert>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            roster,
            certificate,
            clock,
            open: Mutex::default(),
        }
    }

    /// The channel to a member; it connects when it is first used.
    ///
    /// # Errors
    /// `PEER_UNKNOWN`, `PEER_SUSPENDED`.
    pub fn channel(&self, member: &MemberId) -> Result<(Arc<Member>, Channel), Refusal> {
        let member = self
            .roster
            .find(member)
            .ok_or_else(|| Refusal::new(ReasonCode::PeerUnknown))?;
        if !member.is_active() {
            return Err(Refusal::new(ReasonCode::PeerSuspended));
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, channel)) = open.get(&member.id)
            && **known == *member
        {
            return Ok((member, channel.clone()));
        }
        let config = tls::client_config(
            &member,
            Arc::clone(&self.certificate),
            Arc::clone(&self.clock),
        )
        .map_err(|e| Refusal::with_detail(ReasonCode::Internal, e.to_string()))?;
        let channel = lazy_channel(member.endpoints.clone(), config)
            .map_err(|e| Refusal::with_detail(ReasonCode::Internal, e))?;
        open.insert(member.id.clone(), (Arc::clone(&member), channel.clone()));
        Ok((member, channel))
    }
}

/// A channel of a local client to its own node.
///
/// # Errors
/// When TLS cannot be configured.
pub fn to_own_node(
    endpoint: Endpoint,
    ca: &CaCertificate,
    certificate: Arc<ReloadableCert>,
    clock: Arc<dyn Clock>,
) -> Result<Channel, String> {
    let config = tls::client_config_for(ca, certificate, clock).map_err(|e| e.to_string())?;
    lazy_channel(vec![endpoint], config)
}

fn lazy_channel(endpoints: Vec<Endpoint>, config: Arc<ClientConfig>) -> Result<Channel, String> {
    // The scheme is http because TLS is ours, below; the name is not used to identify anyone.
    let target = Target::from_static("http://songhe")
        .http2_keep_alive_interval(Duration::from_secs(KEEP_ALIVE_S))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .tcp_nodelay(true);
    let connector = tower::service_fn(move |_: http::Uri| {
        let (endpoints, config) = (endpoints.clone(), Arc::clone(&config));
        async move { connect(&endpoints, config).await.map(TokioIo::new) }
    });
    Ok(target.connect_with_connector_lazy(connector))
}

async fn connect(
    endpoints: &[Endpoint],
    config: Arc<ClientConfig>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let connector = TlsConnector::from(config);
    let mut last = std::io::Error::new(
        std::io::ErrorKind::NotConnected,
        "the member has no endpoint",
    );
    for endpoint in endpoints {
        let attempt = async {
            let stream = TcpStream::connect((endpoint.host(), endpoint.port())).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("songhe").map_err(std::io::Error::other)?;
            connector.connect(name, stream).await
        };
        match tokio::time::timeout(Duration::from_millis(CONNECT_MS), attempt).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(fault)) => last = fault,
            Err(_slow) => {
                last = std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection in time");
            }
        }
    }
    Err(last)
}
