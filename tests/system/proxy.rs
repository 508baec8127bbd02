//! A wire tap: a TCP proxy that keeps every byte of both directions.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A proxy that listens; it knows where to connect to once it is told.
pub struct Tap {
    pub address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    pub async fn listen() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let tap = Self {
            address: listener.local_addr().unwrap(),
            target: Arc::default(),
            heard: Arc::default(),
        };
        let (target, heard) = (Arc::clone(&tap.target), Arc::clone(&tap.heard));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let to = *target.lock().unwrap();
                let Some(to) = to else { continue };
                let Ok(far) = TcpStream::connect(to).await else {
                    continue;
                };
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                tokio::spawn(pass(near_in, far_out, Arc::clone(&heard)));
                tokio::spawn(pass(far_in, near_out, Arc::clone(&heard)));
            }
        });
        tap
    }

    pub fn connect_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = Some(target);
    }

    /// Everything that went over it so far.
    pub fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    heard: Arc<Mutex<Vec<u8>>>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n) = from.read(&mut buffer).await {
        heard.lock().unwrap().extend_from_slice(&buffer[..n]);
        if n == 0 || to.write_all(&buffer[..n]).await.is_err() {
            break;
        }
    }
}
