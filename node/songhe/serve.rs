//! A running node: opens its folder, listens on both addresses, keeps certificate and directory fresh, stops in good order.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use exchange::{Holder, HolderParts};
use federation::{ClientVerifier, tls};
use ledger::{Ledger, LedgerHealth, Secrets};
use policy::{Bundle, Engine, EngineOptions};
use record::decision::Agency;
use record::leaf::EventType;
use record::{Catalog, Clock, Decide, ReasonCode};
use seal::{
    CursorKey, Entropy, HmacKey, RowKey, SecretFile, SigningKey, SubjectKey, SystemEntropy, Unlock,
    name,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{info, warn};

use crate::clock::SystemClock;
use crate::config::Config;
use crate::dial::Dialer;
use crate::home::{ACTOR_KEY, Home, HomeError, NODE_KEY, oprf_key};
use crate::net;
use crate::node::Node;
use crate::quota::Quotas;
use crate::routers::{gateway_router, peer_router};
use crate::watch::{Reloader, pull_directory};

/// The largest message: a Bundle at its limit with room for the envelope.
pub const MESSAGE_MAX: usize = (64 << 20) + (1 << 20);
/// The largest message between members: a page of records, or a directory.
pub(crate) const PEER_MESSAGE_MAX: usize = 8 << 20;
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
        warn!(%place, "a torn end of the journal was removed; neither the index nor the high-water mark knows of an event there");
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
