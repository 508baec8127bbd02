//! What the services of a running node share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use exchange::Holder;
use federation::{ClientVerifier, Revoked, Roster, VerifiedClient, VerifiedPeer};
use ledger::Ledger;
use record::{Catalog, Clock, Pseudonym, ReasonCode, Refusal, ResidentId};
use seal::{Entropy, HmacKey, SigningKey};
use subject::{OprfKey, subject_input};
use tonic::{Request, Status};

use crate::config::Config;
use crate::dial::Dialer;
use crate::net::Remote;
use crate::quota::Quotas;
use crate::status::{status_of, status_of_refused};

/// Everything a service needs.
#[derive(Debug)]
pub struct Node {
    /// Configuration.
    pub config: Config,
    /// This node as the one that is asked.
    pub holder: Holder,
    /// The members.
    pub roster: Arc<Roster>,
    /// Channels to them.
    pub dialer: Dialer,
    /// Key of this node's pseudonyms.
    pub oprf: OprfKey,
    /// Signs this node's requests.
    pub receipt: SigningKey,
    /// Makes tags of the people who ask.
    pub actors: HmacKey,
    /// Verifies this node's own clients.
    pub clients: ClientVerifier,
    /// Client certificates taken back.
    pub revoked: ArcSwap<Revoked>,
    /// Quotas.
    pub quotas: Quotas,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Node {
    /// The ledger.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        self.holder.ledger()
    }

    /// The catalogue.
    #[must_use]
    pub const fn catalog(&self) -> &Arc<Catalog> {
        self.holder.catalog()
    }

    /// This node's pseudonym of a person.
    ///
    /// # Errors
    /// `SUBJECT_INVALID`.
    pub fn pseudonym(&self, id: &ResidentId) -> Result<Pseudonym, Refusal> {
        let input = subject_input(record::resident_id::RESIDENT_ID_SYSTEM, id.expose())
            .map_err(|_| Refusal::new(ReasonCode::SubjectInvalid))?;
        subject::pseudonym(&self.oprf, &input)
            .map(Pseudonym::from_bytes)
            .map_err(|_| Refusal::new(ReasonCode::SubjectInvalid))
    }

    /// The member at the other end, by its certificate and the directory held now. A refusal is journalled, within the
    /// strangers' limit.
    ///
    /// # Errors
    /// The status to answer.
    pub async fn peer<T>(&self, request: &Request<T>) -> Result<VerifiedPeer, Status> {
        let remote = remote(request)?;
        let now = self.clock.now();
        let view = self.roster.view();
        let version = view.directory().directory().version();
        if let Some(peer) = remote.verified(version, now)
            && !view.directory().directory().is_expired(now)
        {
            return self.admit(peer).await;
        }
        match view.verify_peer(&remote.chain, now) {
            Ok(peer) => {
                remote.remember(peer.clone(), version, now);
                self.admit(peer).await
            }
            Err(refusal) => Err(self.turn_away(refusal).await),
        }
    }

    async fn admit(&self, peer: VerifiedPeer) -> Result<VerifiedPeer, Status> {
        match self.quotas.request(&peer.member().id) {
            Ok(()) => Ok(peer),
            // Over its quota a member is refused without a leaf, or refusing would cost more than answering.
            Err(refusal) => Err(status_of(&refusal)),
        }
    }

    /// Refuses someone who is no member, with a leaf while the strangers' limit lasts.
    pub async fn turn_away(&self, refusal: Refusal) -> Status {
        if self.quotas.may_journal_stranger() {
            status_of_refused(&self.holder.refuse_peer(None, None, refusal).await)
        } else {
            tracing::debug!(reason = %refusal.reason, "a stranger was refused without a leaf, the limit is reached");
            status_of(&refusal)
        }
    }

    /// The local client at the other end, by its certificate. A refusal is journalled as for strangers.
    ///
    /// # Errors
    /// The status to answer.
    pub async fn client<T>(&self, request: &Request<T>) -> Result<VerifiedClient, Status> {
        let remote = remote(request)?;
        match self
            .clients
            .verify(&remote.chain, &self.revoked.load(), self.clock.now())
        {
            Ok(client) => Ok(client),
            Err(refusal) => Err(self.turn_away(refusal).await),
        }
    }

    /// Whether anyone known is at the other end, for health and reflection: any member or own client.
    ///
    /// # Errors
    /// The status to answer.
    pub fn anyone_known<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let remote = remote(request)?;
        let now = self.clock.now();
        if self
            .clients
            .verify(&remote.chain, &self.revoked.load(), now)
            .is_ok()
        {
            return Ok(());
        }
        self.roster
            .verify_peer(&remote.chain, now)
            .map(|_| ())
            .map_err(|r| status_of(&r))
    }
}

fn remote<T>(request: &Request<T>) -> Result<&Remote, Status> {
    // A connection without this was not accepted by `net`; never anonymous.
    request
        .extensions()
        .get::<Remote>()
        .ok_or_else(|| status_of(&Refusal::new(ReasonCode::PeerUnknown)))
}
