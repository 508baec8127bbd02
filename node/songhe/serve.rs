//! A running node: opens its folder, listens on both addresses, keeps certificate and directory fresh, stops in good order.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use exchange::{Holder, HolderParts};
use federation::{ClientVerifier, PresentedIdentity, ReloadableCert, Roster, tls};
use ledger::{Ledger, LedgerHealth, Secrets};
use policy::{Bundle, Engine, EngineOptions};
use record::decision::Agency;
use record::leaf::EventType;
use record::{Catalog, Clock, Decide, ReasonCode};
use seal::{
    CursorKey, Entropy, HmacKey, Keyring, RowKey, SecretFile, SigningKey, SubjectKey,
    SystemEntropy, Unlock, name,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tracing::{error, info, warn};
use wire::v1;
use wire::v1::gateway_service_server::GatewayServiceServer;
use wire::v1::peer_service_client::PeerServiceClient;
use wire::v1::peer_service_server::PeerServiceServer;

use crate::clock::SystemClock;
use crate::config::Config;
use crate::dial::Dialer;
use crate::gateway::Gateway;
use crate::home::{ACTOR_KEY, Home, HomeError, NODE_KEY, oprf_key, pem_of};
use crate::net;
use crate::node::Node;
use crate::peer_service::Peers;
use crate::quota::Quotas;
use crate::subjects::Known;

/// The largest message: a Bundle at its limit with room for the envelope.
pub const MESSAGE_MAX: usize = (64 << 20) + (1 << 20);
/// The largest message between members: a page of records, or a directory.
const PEER_MESSAGE_MAX: usize = 8 << 20;
/// Calls at the same time on one connection.
const STREAMS_MAX: u32 = 256;
/// How often the folder is looked at for a new certificate, directory or revocation list.
const WATCH_MS: u64 = 1_000;
/// How long calls under way may take when the node stops.
const DRAIN_MS: u64 = 10_000;

/// A node that listens.
#[derive(Debug)]
pub struct Running {
    /// Where other members reach it.
    pub peer: SocketAddr,
    /// Where its own clients reach it.
    pub gateway: SocketAddr,
    /// What was found when opening.
    pub opening: ledger::Opening,
    node: Arc<Node>,
    stop: watch::Sender<bool>,
    servers: Vec<tokio::task::JoinHandle<Result<(), tonic::transport::Error>>>,
}

/// Opens the folder and starts to listen.
///
/// # Errors
/// Says what to do: unlock, directory, port, damage.
pub async fn start(home: Home, unlock: &Unlock) -> Result<Running, HomeError> {
    let config = home.config()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (keyring, secrets) = home.unlock(unlock)?;
    let reloader = Reloader::open(&home, &config, keyring, &secrets, Arc::clone(&clock))?;
    let (ledger, opening) = open_ledger(&home, &config, unlock, &secrets, &clock).await?;
    let node = Arc::new(assemble(
        &home,
        config,
        &secrets,
        &ledger,
        &reloader,
        Arc::clone(&clock),
    )?);
    record_start(&node, &opening).await?;

    let listen = |address: SocketAddr| async move {
        TcpListener::bind(address)
            .await
            .map_err(|e| HomeError(format!("{address}: {e}; is another node running there?")))
    };
    let peers = listen(node.config.listen.peer).await?;
    let gateway = listen(node.config.listen.gateway).await?;
    let (peer_at, gateway_at) = (local(&peers)?, local(&gateway)?);
    let config_tls = tls::server_config(Arc::clone(&reloader.certificate), clock)
        .map_err(|e| HomeError(e.to_string()))?;
    let (stop, stopped) = watch::channel(false);
    let mut servers = Vec::new();
    for (listener, router) in [
        (peers, peer_router(&node, &stopped)?),
        (gateway, gateway_router(&node, &stopped)?),
    ] {
        let incoming = net::accept(
            listener,
            Arc::clone(&config_tls),
            node.config.limits.connections,
        );
        let end = until(stopped.clone());
        servers.push(tokio::spawn(
            router.serve_with_incoming_shutdown(ReceiverStream::new(incoming), end),
        ));
    }
    tokio::spawn(reloader.watch(Arc::clone(&node), stopped.clone()));
    tokio::spawn(pull_directory(Arc::clone(&node), home, stopped));
    info!(peer = %peer_at, gateway = %gateway_at, events = opening.events, "the node is serving");
    Ok(Running {
        peer: peer_at,
        gateway: gateway_at,
        opening,
        node,
        stop,
        servers,
    })
}

impl Running {
    /// The node, for tests and tools inside the process.
    #[must_use]
    pub const fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Stops listening, lets calls under way end, writes the shutdown event.
    ///
    /// # Errors
    /// When the journal had failed.
    pub async fn stop(self) -> Result<(), HomeError> {
        self.stop.send_replace(true);
        for server in self.servers {
            if tokio::time::timeout(Duration::from_millis(DRAIN_MS), server)
                .await
                .is_err()
            {
                warn!("calls under way were cut after the drain time");
            }
        }
        self.node
            .ledger()
            .close()
            .await
            .map_err(|e| HomeError(e.to_string()))
    }
}

/// The reason people are told when the ledger cannot write.
#[must_use]
pub const fn reason_of(health: LedgerHealth) -> ReasonCode {
    match health {
        LedgerHealth::Full => ReasonCode::StorageFull,
        LedgerHealth::Failed => ReasonCode::StorageFailed,
        LedgerHealth::Index => ReasonCode::IndexUnavailable,
    }
}

fn local(listener: &TcpListener) -> Result<SocketAddr, HomeError> {
    listener.local_addr().map_err(|e| HomeError(e.to_string()))
}

async fn until(mut stopped: watch::Receiver<bool>) {
    drop(stopped.wait_for(|stop| *stop).await);
}

async fn open_ledger(
    home: &Home,
    config: &Config,
    unlock: &Unlock,
    secrets: &SecretFile,
    clock: &Arc<dyn Clock>,
) -> Result<(Ledger, ledger::Opening), HomeError> {
    let key = |name: &str| secrets.get32(name).map_err(|e| HomeError(e.to_string()));
    // The keyring goes to the vault; the reloader keeps one of its own to open the secrets again.
    let (keyring, _) = home.unlock(unlock)?;
    let vault = Secrets {
        keyring,
        row: RowKey::from_bytes(&*key(name::ROW)?),
        index: HmacKey::from_bytes(&*key(name::INDEX_HMAC)?),
        node: SubjectKey::from_bytes(&*key(NODE_KEY)?),
    };
    let options = config.ledger(home.folder());
    let clock = Arc::clone(clock);
    tokio::task::spawn_blocking(move || {
        Ledger::open(options, vault, clock, Arc::new(SystemEntropy::new()))
    })
    .await
    .map_err(|e| HomeError(e.to_string()))?
    .map_err(|e| HomeError(e.to_string()))
}

fn assemble(
    home: &Home,
    config: Config,
    secrets: &SecretFile,
    ledger: &Ledger,
    reloader: &Reloader,
    clock: Arc<dyn Clock>,
) -> Result<Node, HomeError> {
    let fault = |e: &dyn std::fmt::Display| HomeError(e.to_string());
    let key = |name: &str| secrets.get32(name).map_err(|e| HomeError(e.to_string()));
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
    let bundle = match &config.policy.bundle_dir {
        Some(folder) => Bundle::from_dir(folder),
        None => Bundle::builtin(),
    }
    .map_err(|e| fault(&e))?;
    let engine = Engine::new(
        &bundle,
        EngineOptions {
            deadline_ms: 1_000,
            wait_ms: 1_000,
            ..EngineOptions::default()
        },
    )
    .map_err(|e| fault(&e))?;
    let policy: Arc<dyn Decide> = Arc::new(engine);
    let catalog = Catalog::from_json(fhir::catalog_json()).map_err(|e| fault(&e))?;
    let me = Agency {
        member: config.member.clone(),
        kind: config.kind,
        district: config.district,
    };
    let holder = Holder::new(HolderParts {
        me,
        catalog: Arc::new(catalog),
        ledger: ledger.clone(),
        policy,
        cursor: CursorKey::from_bytes(&*key(name::CURSOR)?),
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
    });
    Ok(Node {
        holder,
        roster: Arc::clone(&reloader.roster),
        dialer: Dialer::new(
            Arc::clone(&reloader.roster),
            Arc::clone(&reloader.certificate),
            Arc::clone(&clock),
        ),
        oprf: oprf_key(secrets)?,
        receipt: SigningKey::from_seed(&*key(name::RECEIPT_SEED)?).map_err(|e| fault(&e))?,
        actors: HmacKey::from_bytes(&*key(ACTOR_KEY)?),
        clients: ClientVerifier::new(&home.ca_certificate()?).map_err(|e| fault(&e))?,
        revoked: ArcSwap::from_pointee(home.revoked()?),
        quotas: Quotas::new(&config.limits),
        config,
        clock,
        entropy,
    })
}

async fn record_start(node: &Node, opening: &ledger::Opening) -> Result<(), HomeError> {
    let ledger = node.ledger();
    if let Some(place) = &opening.truncated {
        warn!(%place, "a torn write at the journal's end was removed; it had not been acknowledged");
        let leaf = ledger.leaf_now(EventType::Recovered).text("what", place);
        let _acked = ledger
            .log(leaf)
            .await
            .map_err(|e| HomeError(e.to_string()))?;
    }
    let leaf = ledger
        .leaf_now(EventType::Boot)
        .text("ver", env!("CARGO_PKG_VERSION"))
        .number("dir", node.roster.version())
        .number("events", opening.events)
        .hex("pol", &node.holder.policy().digest());
    ledger
        .log(leaf)
        .await
        .map(|_| ())
        .map_err(|e| HomeError(e.to_string()))
}

fn peer_router(node: &Arc<Node>, stopped: &watch::Receiver<bool>) -> Result<Router, HomeError> {
    let service = PeerServiceServer::new(Peers(Arc::clone(node)))
        .max_decoding_message_size(PEER_MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX);
    Ok(base(node, stopped)?.add_service(service))
}

fn gateway_router(node: &Arc<Node>, stopped: &watch::Receiver<bool>) -> Result<Router, HomeError> {
    let known = Arc::new(Known::new(crate::home::random16()?));
    let service = GatewayServiceServer::new(Gateway {
        node: Arc::clone(node),
        known,
    })
    .max_decoding_message_size(MESSAGE_MAX)
    .max_encoding_message_size(MESSAGE_MAX);
    Ok(base(node, stopped)?.add_service(service))
}

/// Health and reflection, for callers who are known.
fn base(node: &Arc<Node>, stopped: &watch::Receiver<bool>) -> Result<Router, HomeError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let (watched, mut stopped) = (Arc::clone(node), stopped.clone());
    tokio::spawn(async move {
        loop {
            let serving = watched
                .ledger()
                .health()
                .read_only
                .is_none_or(|h| h == LedgerHealth::Full);
            let status = if serving {
                tonic_health::ServingStatus::Serving
            } else {
                tonic_health::ServingStatus::NotServing
            };
            for service in ["", "songhe.v1.PeerService", "songhe.v1.GatewayService"] {
                reporter.set_service_status(service, status).await;
            }
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(Duration::from_millis(WATCH_MS)) => {}
            }
        }
    });
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|e| HomeError(e.to_string()))?;
    let (for_health, for_reflection) = (Arc::clone(node), Arc::clone(node));
    let router = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .tcp_nodelay(true)
        .add_service(tonic::service::interceptor::InterceptedService::new(
            health,
            move |r: tonic::Request<()>| for_health.anyone_known(&r).map(|()| r),
        ))
        .add_service(tonic::service::interceptor::InterceptedService::new(
            reflection,
            move |r: tonic::Request<()>| for_reflection.anyone_known(&r).map(|()| r),
        ));
    Ok(router)
}

/// Keeps certificate, directory and revocation list level with the folder.
struct Reloader {
    home: Home,
    keyring: Keyring,
    certificate: Arc<ReloadableCert>,
    roster: Arc<Roster>,
    clock: Arc<dyn Clock>,
    seen: [Option<SystemTime>; 3],
}

const WATCHED: [&str; 3] = ["certificates/node.pem", "directory.note", "revoked.txt"];

impl Reloader {
    fn open(
        home: &Home,
        config: &Config,
        keyring: Keyring,
        secrets: &SecretFile,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, HomeError> {
        let certificate = ReloadableCert::new(
            PresentedIdentity::Node(config.member.clone()),
            home.ca_certificate()?,
            &home.read_text("certificates/node.pem")?,
            &pem_of(secrets, name::TLS_KEY_PEM)?,
            clock.now(),
        )
        .map_err(|e| HomeError(format!("certificates/node.pem: {e}")))?;
        let note = home.read_text("directory.note").map_err(|e| {
            HomeError(format!(
                "{e}; put the directory that the authority signed there (`songhe federation sign`)"
            ))
        })?;
        let roster = Roster::open(home.authority()?, note.as_bytes(), clock.now())
            .map_err(|e| HomeError(format!("directory.note: {e}")))?;
        let me = roster.find(&config.member);
        if me.is_none_or(|m| m.kind != config.kind || m.district != config.district) {
            return Err(HomeError(
                "node.toml: member, kind and district must be as in the directory; correct them or ask the authority".into(),
            ));
        }
        let mut reloader = Self {
            home: home.clone(),
            keyring,
            certificate: Arc::new(certificate),
            roster: Arc::new(roster),
            clock,
            seen: [None; 3],
        };
        reloader.changed();
        Ok(reloader)
    }

    /// Which of the watched files changed since the last look.
    fn changed(&mut self) -> [bool; 3] {
        let mut changed = [false; 3];
        for ((file, seen), changed) in WATCHED
            .iter()
            .zip(self.seen.iter_mut())
            .zip(changed.iter_mut())
        {
            let modified = std::fs::metadata(self.home.path(file))
                .and_then(|m| m.modified())
                .ok();
            *changed = modified != *seen;
            *seen = modified;
        }
        changed
    }

    async fn watch(mut self, node: Arc<Node>, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(Duration::from_millis(WATCH_MS)) => {}
            }
            let [certificate, directory, revoked] = self.changed();
            if certificate {
                match self.reload_certificate() {
                    Ok(until) => info!(%until, "the node's certificate was renewed"),
                    Err(fault) => {
                        error!(%fault, "the new certificate is not usable; the old one stays");
                    }
                }
            }
            if directory {
                match self.home.read_text("directory.note") {
                    Ok(note) => adopt(&node, note.as_bytes(), None).await,
                    Err(fault) => {
                        error!(%fault, "the directory cannot be read; the one held stays");
                    }
                }
            }
            if revoked {
                match self.home.revoked() {
                    Ok(list) => node.revoked.store(Arc::new(list)),
                    Err(fault) => {
                        error!(%fault, "the revocation list cannot be read; the one held stays");
                    }
                }
            }
        }
    }

    fn reload_certificate(&self) -> Result<record::Timestamp, HomeError> {
        let secrets = self.home.secrets(&self.keyring)?;
        let chain = self.home.read_text("certificates/node.pem")?;
        let key = pem_of(&secrets, name::TLS_KEY_PEM)?;
        let loaded = self
            .certificate
            .reload(&chain, &key, self.clock.now())
            .map_err(|e| HomeError(e.to_string()))?;
        Ok(loaded.not_after)
    }
}

/// Takes a directory if it is newer, writes it down, and records that.
async fn adopt(node: &Node, bytes: &[u8], write_to: Option<&Home>) {
    match node.roster.adopt(bytes, node.clock.now()) {
        Ok(adopted) if adopted.is_new() => {
            if let Some(home) = write_to
                && let Err(fault) = home.write("directory.note", node.roster.directory().bytes())
            {
                warn!(%fault, "the new directory could not be written; it will be learnt again after a restart");
            }
            info!(
                version = adopted.new_version,
                "a new directory of members is in force"
            );
            let leaf = node
                .ledger()
                .leaf_now(EventType::DirectoryAdopted)
                .number("old", adopted.old_version)
                .number("new", adopted.new_version);
            if let Err(fault) = node.ledger().log(leaf).await {
                error!(%fault, "adopting the directory could not be recorded");
            }
        }
        Ok(_) => {}
        Err(fault) => warn!(%fault, "a directory was offered that is not acceptable"),
    }
}

/// Asks the peers in turn for a newer directory.
async fn pull_directory(node: Arc<Node>, home: Home, mut stopped: watch::Receiver<bool>) {
    let interval = Duration::from_secs(node.config.directory.pull_interval_s);
    loop {
        let members: Vec<_> = node
            .roster
            .directory()
            .directory()
            .members()
            .iter()
            .filter(|m| m.is_active() && m.id != node.config.member)
            .map(|m| m.id.clone())
            .collect();
        for member in members {
            let pulled = tokio::time::timeout(Duration::from_secs(5), pull_from(&node, &member));
            let version = node.roster.version();
            if let Ok(Ok(bytes)) = pulled.await
                && !bytes.is_empty()
            {
                adopt(&node, &bytes, Some(&home)).await;
            }
            if *stopped.borrow() || node.roster.version() > version {
                break;
            }
        }
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(interval) => {}
        }
    }
}

async fn pull_from(node: &Node, member: &record::MemberId) -> Result<Vec<u8>, tonic::Status> {
    let (_, channel) = node
        .dialer
        .channel(member)
        .map_err(|r| crate::status::status_of(&r))?;
    let answer = PeerServiceClient::new(channel)
        .max_decoding_message_size(PEER_MESSAGE_MAX)
        .get_directory(v1::GetDirectoryRequest {
            protocol: exchange::PROTOCOL,
            known_version: node.roster.version(),
        })
        .await?;
    Ok(answer.into_inner().signed_directory)
}

/// Runs a node until the future ends.
///
/// # Errors
/// As [`start`] and [`Running::stop`].
pub async fn run(
    home: Home,
    unlock: &Unlock,
    ready: impl FnOnce(&Running),
    end: impl Future<Output = ()>,
) -> Result<(), HomeError> {
    let running = start(home, unlock).await?;
    ready(&running);
    end.await;
    running.stop().await
}
