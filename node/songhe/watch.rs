//! Keeping a running node fresh: its certificate, its directory of members, its list of revoked clients.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use federation::{PresentedIdentity, ReloadableCert, Roster};
use record::Clock;
use record::leaf::EventType;
use seal::{Keyring, SecretFile, name};
use tokio::sync::watch;
use tracing::{error, info, warn};
use wire::v1;
use wire::v1::peer_service_client::PeerServiceClient;

use crate::config::Config;
use crate::home::{Home, HomeError, pem_of};
use crate::node::Node;
use crate::serve::PEER_MESSAGE_MAX;

/// How often the folder is looked at for a new certificate, directory or revocation list.
const WATCH_MS: u64 = 1_000;
/// After how many looks the journal's high-water mark is written down.
const MARK_TICKS: u32 = 10;

/// Keeps certificate, directory and revocation list level with the folder.
pub(crate) struct Reloader {
    home: Home,
    keyring: Keyring,
    pub(crate) certificate: Arc<ReloadableCert>,
    pub(crate) roster: Arc<Roster>,
    clock: Arc<dyn Clock>,
    seen: [Option<SystemTime>; 3],
}

const WATCHED: [&str; 3] = ["certificates/node.pem", "directory.note", "revoked.txt"];

impl Reloader {
    pub(crate) fn open(
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

    pub(crate) async fn watch(mut self, node: Arc<Node>, mut stopped: watch::Receiver<bool>) {
        let mut ticks: u32 = 0;
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(Duration::from_millis(WATCH_MS)) => {}
            }
            ticks += 1;
            if ticks.is_multiple_of(MARK_TICKS)
                && let Err(fault) = node.ledger().keep_mark()
            {
                warn!(%fault, "how far the journal was acknowledged could not be written down");
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
pub(crate) async fn pull_directory(
    node: Arc<Node>,
    home: Home,
    mut stopped: watch::Receiver<bool>,
) {
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
