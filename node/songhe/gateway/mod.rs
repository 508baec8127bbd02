//! The gateway service: what this agency's own systems and people ask of their node. Each call's work is in a file of its own.

mod consents;
mod put;
mod quarantine;
mod state;

use std::pin::Pin;
use std::sync::Arc;

use federation::VerifiedClient;
use ledger::{Access, AccessDetail};
use record::leaf::EventType;
use record::{Pseudonym, ReasonCode, Refusal, ResidentId, Role};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::v1;
use wire::v1::gateway_service_server::GatewayService;
use zeroize::Zeroizing;

use crate::federated::{self, Asking};
use crate::node::Node;
use crate::subjects::{self, Known};

/// The service.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// What it shares with the peer service.
    pub node: Arc<Node>,
    /// Other members' pseudonyms.
    pub known: Arc<Known>,
}

type Results<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn results<T: Send + 'static>(receiver: mpsc::Receiver<Result<T, Status>>) -> Results<T> {
    Box::pin(ReceiverStream::new(receiver))
}

impl Gateway {
    /// The client, if its role may make this call.
    async fn client<T>(
        &self,
        request: &Request<T>,
        may: impl Fn(Role) -> bool,
    ) -> Result<VerifiedClient, Status> {
        let client = self.node.client(request).await?;
        if may(client.role()) {
            return Ok(client);
        }
        let detail = format!("the role is {}", client.role());
        Err(self
            .node
            .turn_away(Refusal::with_detail(ReasonCode::RoleNotAllowed, detail))
            .await)
    }

    /// The answer, or the refusal with its leaf: no refusal is silent, this node's own clients' neither.
    async fn answer<T>(&self, outcome: Result<T, Refusal>) -> Result<Response<T>, Status> {
        match outcome {
            Ok(answer) => Ok(Response::new(answer)),
            Err(refusal) => Err(self.node.turn_away(refusal).await),
        }
    }

    fn person(&self, message: Option<&v1::Subject>) -> Result<(ResidentId, Pseudonym), Refusal> {
        let id = subjects::parse(&self.node, message)?;
        let pseudonym = self.node.pseudonym(&id)?;
        Ok((id, pseudonym))
    }

    /// A reading by this node's own people has a leaf like any other, before they see it.
    async fn record_reading(
        &self,
        client: &VerifiedClient,
        verb: &str,
        subject: Option<Pseudonym>,
        entries: usize,
    ) -> Result<(), Refusal> {
        let ledger = self.node.ledger();
        let leaf = ledger
            .leaf_now(EventType::Disclosure)
            .text("peer", self.node.config.member.as_str())
            .text("verb", verb)
            .text("dec", "permit")
            .text("role", client.role().as_str())
            .number("n", u64::try_from(entries).unwrap_or(u64::MAX));
        let actor = self
            .node
            .actors
            .tag16("actor", client.name().as_str().as_bytes());
        let access = Access {
            leaf,
            xid: ledger.new_exchange()?,
            subject,
            detail: AccessDetail(Zeroizing::new(actor.to_vec())),
            rests_on: None,
        };
        let _acked = ledger.record_access(access).await?;
        Ok(())
    }

    fn leaf(&self, seq: u64) -> v1::LeafRef {
        v1::LeafRef {
            member_id: self.node.config.member.to_string(),
            seq,
            exchange_id: Vec::new(),
        }
    }

    async fn erase(&self, m: v1::EraseSubjectRequest) -> Result<v1::EraseSubjectResponse, Refusal> {
        if !matches!(m.ground.as_str(), "request" | "retention" | "court") {
            let detail = "ground is request, retention or court";
            return Err(Refusal::with_detail(ReasonCode::RequestMalformed, detail));
        }
        let (_, pseudonym) = self.person(m.subject.as_ref())?;
        let erased = self
            .node
            .ledger()
            .erase_subject(pseudonym, &m.ground)
            .await?;
        Ok(v1::EraseSubjectResponse {
            leaf: Some(self.leaf(erased.seq)),
            bodies: erased.bodies,
        })
    }

    fn begin_locate(
        &self,
        client: &VerifiedClient,
        m: v1::FederatedLocateRequest,
    ) -> Result<Results<v1::FederatedLocateResponse>, Refusal> {
        let asking = Asking::parse(
            &self.node,
            client,
            m.subject.as_ref(),
            m.query,
            m.intent.as_ref(),
            m.deadline_ms,
        )?;
        let members = federated::members(&self.node, &m.member_ids)?;
        Ok(results(federated::locate(
            &self.node,
            &self.known,
            &asking,
            members,
        )))
    }

    fn begin_fetch(
        &self,
        client: &VerifiedClient,
        m: v1::FederatedFetchRequest,
    ) -> Result<Results<v1::FederatedFetchResponse>, Refusal> {
        let mut asking = Asking::parse(
            &self.node,
            client,
            m.subject.as_ref(),
            m.query,
            m.intent.as_ref(),
            m.deadline_ms,
        )?;
        let members = federated::members(&self.node, &m.member_ids)?;
        if !m.cursor.is_empty() && members.len() != 1 {
            let detail = "a cursor belongs to one member; name that member alone";
            return Err(Refusal::with_detail(ReasonCode::CursorInvalid, detail));
        }
        asking.cursor = m.cursor;
        Ok(results(federated::fetch(
            &self.node,
            &self.known,
            &asking,
            members,
        )))
    }
}

#[tonic::async_trait]
impl GatewayService for Gateway {
    type PutStream = Results<v1::PutResponse>;

    async fn put(
        &self,
        request: Request<Streaming<v1::PutRequest>>,
    ) -> Result<Response<Self::PutStream>, Status> {
        let client = self.client(&request, Role::may_put).await?;
        Ok(Response::new(results(put::begin(
            &self.node,
            client,
            request.into_inner(),
        ))))
    }

    type LocateStream = Results<v1::FederatedLocateResponse>;

    async fn locate(
        &self,
        request: Request<v1::FederatedLocateRequest>,
    ) -> Result<Response<Self::LocateStream>, Status> {
        let client = self.client(&request, Role::may_ask).await?;
        self.answer(self.begin_locate(&client, request.into_inner()))
            .await
    }

    type FetchStream = Results<v1::FederatedFetchResponse>;

    async fn fetch(
        &self,
        request: Request<v1::FederatedFetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let client = self.client(&request, Role::may_ask).await?;
        self.answer(self.begin_fetch(&client, request.into_inner()))
            .await
    }

    async fn grant_consent(
        &self,
        request: Request<v1::GrantConsentRequest>,
    ) -> Result<Response<v1::GrantConsentResponse>, Status> {
        self.client(&request, Role::may_register_consent).await?;
        self.answer(self.grant(request.into_inner()).await).await
    }

    async fn withdraw_consent(
        &self,
        request: Request<v1::WithdrawConsentRequest>,
    ) -> Result<Response<v1::WithdrawConsentResponse>, Status> {
        self.client(&request, Role::may_register_consent).await?;
        self.answer(self.withdraw(request.into_inner()).await).await
    }

    async fn list_consents(
        &self,
        request: Request<v1::ListConsentsRequest>,
    ) -> Result<Response<v1::ListConsentsResponse>, Status> {
        let client = self.client(&request, Role::may_register_consent).await?;
        self.answer(self.consents(&client, request.into_inner()).await)
            .await
    }

    type ListQuarantineStream = Results<v1::ListQuarantineResponse>;

    async fn list_quarantine(
        &self,
        request: Request<v1::ListQuarantineRequest>,
    ) -> Result<Response<Self::ListQuarantineStream>, Status> {
        let client = self.client(&request, Role::may_put).await?;
        self.answer(self.quarantined(&client, request.into_inner()).await)
            .await
    }

    async fn resolve_quarantine(
        &self,
        request: Request<v1::ResolveQuarantineRequest>,
    ) -> Result<Response<v1::ResolveQuarantineResponse>, Status> {
        let client = self.client(&request, Role::may_put).await?;
        self.answer(self.resolve(&client, request.into_inner()).await)
            .await
    }

    async fn erase_subject(
        &self,
        request: Request<v1::EraseSubjectRequest>,
    ) -> Result<Response<v1::EraseSubjectResponse>, Status> {
        self.client(&request, |role| role == Role::Registrar)
            .await?;
        self.answer(self.erase(request.into_inner()).await).await
    }

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        self.client(&request, |_| true).await?;
        Ok(Response::new(state::of(&self.node)))
    }
}
