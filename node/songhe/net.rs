//! Connections in: TLS 1.3 with a certificate on both sides, limits, and who is at the other end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use federation::VerifiedPeer;
use record::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

/// A handshake that takes longer is cut: slow callers must not hold places.
const HANDSHAKE_MS: u64 = 10_000;
/// A verified identity is looked at anew after this long, so that an expired certificate does not outlive itself on an open connection.
const VERIFIED_FOR_MS: i64 = 30_000;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The certificates it presented, leaf first; possession of the leaf's key is proved.
    pub chain: Arc<Vec<CertificateDer<'static>>>,
    /// Its address.
    pub address: SocketAddr,
    verified: Arc<Mutex<Option<Verified>>>,
}

#[derive(Debug, Clone)]
struct Verified {
    peer: VerifiedPeer,
    directory_version: u64,
    at: Timestamp,
}

impl Remote {
    /// The peer as it was verified on this connection under the same directory, not long ago.
    #[must_use]
    pub fn verified(&self, directory_version: u64, now: Timestamp) -> Option<VerifiedPeer> {
        let known = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .as_ref()
            .filter(|v| {
                v.directory_version == directory_version
                    && (0..VERIFIED_FOR_MS).contains(&now.since_ms(v.at))
            })
            .map(|v| v.peer.clone())
    }

    /// Remembers a verification.
    pub fn remember(&self, peer: VerifiedPeer, directory_version: u64, at: Timestamp) {
        let fresh = Verified {
            peer,
            directory_version,
            at,
        };
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
    }
}

/// An accepted connection.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    remote: Remote,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Remote;

    fn connect_info(&self) -> Remote {
        self.remote.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Accepts connections until the receiver is dropped. Each handshake runs on a task of its own.
pub fn accept(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    connections: usize,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (send, receive) = mpsc::channel(64);
    let places = Arc::new(Semaphore::new(connections));
    let acceptor = TlsAcceptor::from(tls);
    tokio::spawn(async move {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                biased;
                () = send.closed() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(fault) => {
                    // Too many open files, say: give others time to close theirs.
                    warn!(%fault, "a connection could not be accepted; look at the limit of open files");
                    tokio::time::sleep(Duration::from_millis(1_000)).await;
                    continue;
                }
            };
            let (acceptor, send) = (acceptor.clone(), send.clone());
            tokio::spawn(async move {
                drop(stream.set_nodelay(true));
                let handshake = tokio::time::timeout(
                    Duration::from_millis(HANDSHAKE_MS),
                    acceptor.accept(stream),
                );
                match handshake.await {
                    Ok(Ok(stream)) => {
                        let chain = stream
                            .get_ref()
                            .1
                            .peer_certificates()
                            .unwrap_or_default()
                            .to_vec();
                        let remote = Remote {
                            chain: Arc::new(chain),
                            address,
                            verified: Arc::default(),
                        };
                        drop(
                            send.send(Ok(Connection {
                                stream,
                                remote,
                                _place: place,
                            }))
                            .await,
                        );
                    }
                    Ok(Err(fault)) => debug!(%fault, "a handshake failed"),
                    Err(_slow) => debug!("a handshake took too long"),
                }
            });
        }
    });
    receive
}
