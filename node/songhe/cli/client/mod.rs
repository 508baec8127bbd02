//! The commands of agencies: put, locate, fetch, consent, quarantine, erase, status. They talk to their own node.

mod ask;
mod consent;
mod put;
mod quarantine;
mod state;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use federation::{Endpoint, PresentedIdentity, ReloadableCert, present};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use wire::v1;
use wire::v1::gateway_service_client::GatewayServiceClient;
use zeroize::Zeroizing;

pub use ask::member_outcome;
pub(super) use ask::{FetchArgs, LocateArgs, fetch, locate};
pub(super) use consent::{ConsentCommand, consent};
pub(super) use put::{PutArgs, put};
pub(crate) use put::{PutCounts, chunks, outcome_name, put_items, read_file};
pub(super) use quarantine::{QuarantineCommand, quarantine};
pub(super) use state::{EraseArgs, StatusArgs, erase, status};

use super::Failure;
use crate::clock::SystemClock;
use crate::home::{ca_from_pem, now};
use crate::serve::MESSAGE_MAX;

/// A client of the gateway.
pub type Client = GatewayServiceClient<tonic::transport::Channel>;

fn fault(e: impl std::fmt::Display) -> Failure {
    Failure::Fault(e.to_string())
}

/// Whose certificate, which node.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// The node's gateway, host:port
    #[arg(long, env = "SONGHE_NODE", default_value = "127.0.0.1:7311")]
    node: String,
    /// The client's certificate NAME.pem; NAME.key and ca.pem lie beside it
    #[arg(long, env = "SONGHE_IDENTITY")]
    identity: PathBuf,
}

impl NodeArgs {
    /// For programs that know both.
    #[must_use]
    pub fn new(node: &str, identity: &Path) -> Self {
        Self {
            node: node.to_owned(),
            identity: identity.to_owned(),
        }
    }

    /// Connects when first used.
    pub fn client(&self) -> Result<Client, Failure> {
        let read = |path: PathBuf| {
            std::fs::read_to_string(&path)
                .map(Zeroizing::new)
                .map_err(|e| Failure::Fault(format!("{}: {e}", path.display())))
        };
        let certificate = read(self.identity.clone())?;
        let key = read(self.identity.with_extension("key"))?;
        let ca = ca_from_pem(&read(self.identity.with_file_name("ca.pem"))?)?;
        let leaf = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| fault("the identity is no certificate in PEM"))?;
        let identity: PresentedIdentity = present(&leaf).map_err(fault)?;
        let clock = Arc::new(SystemClock);
        let loaded =
            ReloadableCert::new(identity, ca.clone(), &certificate, &key, now()).map_err(fault)?;
        let endpoint = Endpoint::parse(&self.node).map_err(fault)?;
        let channel = crate::dial::to_own_node(endpoint, &ca, Arc::new(loaded), clock)?;
        Ok(GatewayServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX))
    }
}

/// A person.
#[derive(Debug, Clone, Args)]
pub(crate) struct SubjectArgs {
    /// Resident identity number; '-' reads it from standard input, so that it stays out of the shell's history
    #[arg(long, value_name = "NUMBER")]
    subject: Option<String>,
}

impl SubjectArgs {
    fn message(&self) -> Result<Option<v1::Subject>, Failure> {
        let value = match self.subject.as_deref() {
            None => return Ok(None),
            Some("-") => {
                let mut line = String::new();
                std::io::stdin().read_line(&mut line).map_err(fault)?;
                line.trim().to_owned()
            }
            Some(number) => number.to_owned(),
        };
        Ok(Some(v1::Subject {
            system: String::new(),
            value,
        }))
    }
}
