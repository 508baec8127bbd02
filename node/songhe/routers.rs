//! What each address serves: its own service, health and reflection.

use std::sync::Arc;
use std::time::Duration;

use ledger::LedgerHealth;
use tokio::sync::watch;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic::{Request, Status};
use wire::v1::gateway_service_server::GatewayServiceServer;
use wire::v1::peer_service_server::PeerServiceServer;

use crate::gateway::Gateway;
use crate::home::HomeError;
use crate::node::Node;
use crate::peer_service::Peers;
use crate::serve::{MESSAGE_MAX, PEER_MESSAGE_MAX};
use crate::subjects::Known;

/// Calls at the same time on one connection.
const STREAMS_MAX: u32 = 256;
/// How often health is looked at.
const HEALTH_MS: u64 = 1_000;

pub(crate) fn peer_router(
    node: &Arc<Node>,
    stopped: &watch::Receiver<bool>,
) -> Result<Router, HomeError> {
    let service = PeerServiceServer::new(Peers(Arc::clone(node)))
        .max_decoding_message_size(PEER_MESSAGE_MAX)
        .max_encoding_message_size(MESSAGE_MAX);
    Ok(base(node, stopped, PEER_SERVICE)?.add_service(service))
}

pub(crate) fn gateway_router(
    node: &Arc<Node>,
    stopped: &watch::Receiver<bool>,
) -> Result<Router, HomeError> {
    let known = Arc::new(Known::new(crate::home::random16()?));
    let service = GatewayServiceServer::new(Gateway {
        node: Arc::clone(node),
        known,
    })
    .max_decoding_message_size(MESSAGE_MAX)
    .max_encoding_message_size(MESSAGE_MAX);
    Ok(base(node, stopped, GATEWAY_SERVICE)?.add_service(service))
}

const PEER_SERVICE: &str = "songhe.v1.PeerService";
const GATEWAY_SERVICE: &str = "songhe.v1.GatewayService";

/// Health and reflection of one address, for callers who are known.
fn base(
    node: &Arc<Node>,
    stopped: &watch::Receiver<bool>,
    service: &'static str,
) -> Result<Router, HomeError> {
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
            for service in ["", service] {
                reporter.set_service_status(service, status).await;
            }
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(Duration::from_millis(HEALTH_MS)) => {}
            }
        }
    });
    let describe = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(service)
            .with_service_name("grpc.health.v1.Health")
    };
    let failed = |e: tonic_reflection::server::Error| HomeError(e.to_string());
    let reflection = describe().build_v1().map_err(failed)?;
    // Many a client still asks in the older version alone.
    let reflection_alpha = describe().build_v1alpha().map_err(failed)?;
    let router = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .tcp_nodelay(true)
        .add_service(InterceptedService::new(health, known(node)))
        .add_service(InterceptedService::new(reflection, known(node)))
        .add_service(InterceptedService::new(reflection_alpha, known(node)));
    Ok(router)
}

/// Lets through who is known: any member, any client of this node.
fn known(node: &Arc<Node>) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + use<> {
    let node = Arc::clone(node);
    move |request| node.anyone_known(&request).map(|()| request)
}
