//! The gateway service: what this agency's own systems and people ask of their node.

use std::pin::Pin;
use std::sync::Arc;

use federation::VerifiedClient;
use ledger::{ConsentState, LedgerHealth};
use record::{ConsentId, ReasonCode, Refusal, Role};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::v1;
use wire::v1::gateway_service_server::GatewayService;

use crate::federated::{self, Asking, RESULTS_AHEAD};
use crate::ingest::Ingest;
use crate::node::Node;
use crate::status::{reason_message, status_of};
use crate::subjects::{self, Known};
use crate::{convert, serve};

/// Messages of a `Put` stream read ahead of storing them.
const PUT_AHEAD: usize = 256;

/// The service.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// What it shares with the peer service.
    pub node: Arc<Node>,
    /// Other members' pseudonyms.
    pub known: Arc<Known>,
}

type Results<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Gateway {
    async fn client<T>(&self, request: &Request<T>, may: impl Fn(Role) -> bool) -> Result<VerifiedClient, Status> {
        let client = self.node.client(request).await?;
        if may(client.role()) {
            return Ok(client);
        }
        let detail = format!("the role is {}", client.role());
        Err(self.node.turn_away(Refusal::with_detail(ReasonCode::RoleNotAllowed, detail)).await)
    }
}

fn told(refusal: impl Into<Refusal>) -> Status {
    status_of(&refusal.into())
}

fn consent_id(bytes: &[u8]) -> Result<ConsentId, Status> {
    ConsentId::from_slice(bytes)
        .map_err(|_| told(Refusal::with_detail(ReasonCode::RequestMalformed, "consent_id has 16 bytes")))
}

#[tonic::async_trait]
impl GatewayService for Gateway {
    type PutStream = Results<v1::PutResponse>;

    async fn put(&self, request: Request<Streaming<v1::PutRequest>>) -> Result<Response<Self::PutStream>, Status> {
        let client = self.client(&request, Role::may_put).await?;
        let stream = request.into_inner();
        let (send, receive) = mpsc::channel(RESULTS_AHEAD);
        let node = Arc::clone(&self.node);
        tokio::spawn(async move {
            if let Err(status) = put_stream(&node, client.name().as_str(), stream, &send).await {
                drop(send.send(Err(status)).await);
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receive))))
    }

    type LocateStream = Results<v1::FederatedLocateResponse>;

    async fn locate(
        &self,
        request: Request<v1::FederatedLocateRequest>,
    ) -> Result<Response<Self::LocateStream>, Status> {
        let client = self.client(&request, Role::may_ask).await?;
        let m = request.into_inner();
        let asking =
            Asking::parse(&self.node, &client, m.subject.as_ref(), m.query, m.intent.as_ref(), m.deadline_ms)
                .map_err(told)?;
        let members = federated::members(&self.node, &m.member_ids).map_err(told)?;
        let results = federated::locate(&self.node, &self.known, &asking, members);
        Ok(Response::new(Box::pin(ReceiverStream::new(results))))
    }

    type FetchStream = Results<v1::FederatedFetchResponse>;

    async fn fetch(
        &self,
        request: Request<v1::FederatedFetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let client = self.client(&request, Role::may_ask).await?;
        let m = request.into_inner();
        let mut asking =
            Asking::parse(&self.node, &client, m.subject.as_ref(), m.query, m.intent.as_ref(), m.deadline_ms)
                .map_err(told)?;
        let members = federated::members(&self.node, &m.member_ids).map_err(told)?;
        if !m.cursor.is_empty() && members.len() != 1 {
            let detail = "a cursor belongs to one member; name that member alone";
            return Err(told(Refusal::with_detail(ReasonCode::CursorInvalid, detail)));
        }
        asking.cursor = m.cursor;
        let results = federated::fetch(&self.node, &self.known, &asking, members);
        Ok(Response::new(Box::pin(ReceiverStream::new(results))))
    }

    async fn grant_consent(
        &self,
        request: Request<v1::GrantConsentRequest>,
    ) -> Result<Response<v1::GrantConsentResponse>, Status> {
        self.client(&request, Role::may_register_consent).await?;
        let m = request.into_inner();
        let subject = subjects::parse(&self.node, m.subject.as_ref()).map_err(told)?;
        let pseudonym = self.node.pseudonym(&subject).map_err(told)?;
        let id = self.node.ledger().new_exchange().map_err(told)?;
        let id = ConsentId::from_bytes(*id.as_bytes());
        let consent =
            convert::consent(m.terms, id, &self.node.config.member, self.node.clock.now()).map_err(told)?;
        let unknown = consent.types.iter().find(|t| self.node.catalog().get(t).is_none());
        if let Some(code) = unknown {
            return Err(told(Refusal::with_detail(ReasonCode::TypeUnknown, code.as_str())));
        }
        let unknown = consent.recipients.iter().find(|r| self.node.roster.find(r).is_none());
        if let Some(member) = unknown {
            let detail = format!("no member has the id {member}");
            return Err(told(Refusal::with_detail(ReasonCode::ConsentInvalid, detail)));
        }
        let acked = self.node.ledger().register_consent(pseudonym, consent).await.map_err(told)?;
        Ok(Response::new(v1::GrantConsentResponse {
            consent_id: id.as_bytes().to_vec(),
            leaf: Some(self.leaf(acked.seq())),
        }))
    }

    async fn withdraw_consent(
        &self,
        request: Request<v1::WithdrawConsentRequest>,
    ) -> Result<Response<v1::WithdrawConsentResponse>, Status> {
        self.client(&request, Role::may_register_consent).await?;
        let m = request.into_inner();
        let subject = subjects::parse(&self.node, m.subject.as_ref()).map_err(told)?;
        let pseudonym = self.node.pseudonym(&subject).map_err(told)?;
        let id = consent_id(&m.consent_id)?;
        let acked = self.node.ledger().withdraw_consent(pseudonym, id).await.map_err(told)?;
        Ok(Response::new(v1::WithdrawConsentResponse { leaf: Some(self.leaf(acked.seq())) }))
    }

    async fn list_consents(
        &self,
        request: Request<v1::ListConsentsRequest>,
    ) -> Result<Response<v1::ListConsentsResponse>, Status> {
        self.client(&request, Role::may_register_consent).await?;
        let m = request.into_inner();
        let subject = subjects::parse(&self.node, m.subject.as_ref()).map_err(told)?;
        let pseudonym = self.node.pseudonym(&subject).map_err(told)?;
        let view = self.node.ledger().consents(pseudonym).await.map_err(told)?;
        let consents = view
            .entries
            .iter()
            .map(|e| v1::ConsentEntry {
                consent_id: e.consent.id.as_bytes().to_vec(),
                terms: Some(convert::consent_terms(&e.consent)),
                state: match e.state {
                    ConsentState::Given => "given",
                    ConsentState::Withdrawn => "withdrawn",
                }
                .into(),
                registered_by: e.consent.registered_by.to_string(),
            })
            .collect();
        Ok(Response::new(v1::ListConsentsResponse { consents }))
    }

    type ListQuarantineStream = Results<v1::ListQuarantineResponse>;

    async fn list_quarantine(
        &self,
        request: Request<v1::ListQuarantineRequest>,
    ) -> Result<Response<Self::ListQuarantineStream>, Status> {
        let client = self.client(&request, Role::may_put).await?;
        let m = request.into_inner();
        let limit = match m.limit {
            0 => 100,
            n => n.min(1000),
        };
        let after = (m.after_id != 0).then_some(m.after_id);
        let entries = self
            .node
            .ledger()
            .quarantined(client.name().as_str(), after, usize::try_from(limit).unwrap_or(100))
            .map_err(told)?;
        let (send, receive) = mpsc::channel(RESULTS_AHEAD);
        tokio::spawn(async move {
            for entry in entries {
                let reason = ReasonCode::parse(&entry.reason).unwrap_or(ReasonCode::Internal);
                let message = v1::ListQuarantineResponse {
                    quarantine_id: entry.id,
                    resource_type: entry.resource_type.clone(),
                    record_id: entry.record_id.clone(),
                    reason: Some(reason_message(reason, None)),
                    operation_outcome_json: entry.outcome_json.clone(),
                    received_ms: entry.received.as_ms(),
                    fhir_json: entry.original.clone(),
                };
                if send.send(Ok(message)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receive))))
    }

    async fn resolve_quarantine(
        &self,
        request: Request<v1::ResolveQuarantineRequest>,
    ) -> Result<Response<v1::ResolveQuarantineResponse>, Status> {
        let client = self.client(&request, Role::may_put).await?;
        let source = client.name().as_str();
        let m = request.into_inner();
        let entry = self.node.ledger().quarantine_entry(source, m.quarantine_id).map_err(told)?;
        let (data, how) = match m.resolution {
            Some(v1::resolve_quarantine_request::Resolution::CorrectedJson(bytes)) => (Some(bytes), "corrected"),
            Some(v1::resolve_quarantine_request::Resolution::Resubmit(true)) => {
                (Some(entry.original.clone()), "resubmitted")
            }
            Some(v1::resolve_quarantine_request::Resolution::Drop(true)) => (None, "dropped"),
            Some(_) | None => {
                let detail = "resolution is corrected_json, resubmit or drop";
                return Err(told(Refusal::with_detail(ReasonCode::RequestMalformed, detail)));
            }
        };
        let result = match data {
            None => v1::PutResponse { quarantine_id: m.quarantine_id, ..Default::default() },
            Some(data) => {
                let open = v1::PutOpen::default();
                let mut ingest = Ingest::open(&self.node, source, &open).map_err(told)?;
                let item = v1::PutItem { data, subject: m.subject, last: true };
                let results = ingest.take(vec![item]).await.map_err(told)?;
                let result = results.into_iter().next().unwrap_or_default();
                let stored = [v1::PutOutcome::Stored, v1::PutOutcome::Unchanged];
                if !stored.iter().any(|o| i32::from(*o) == result.outcome) {
                    // What came instead is in quarantine under a handle of its own when it was kept; the old entry goes.
                    if result.outcome != i32::from(v1::PutOutcome::Quarantined) {
                        return Ok(Response::new(v1::ResolveQuarantineResponse { result: Some(result) }));
                    }
                }
                result
            }
        };
        self.node.ledger().close_quarantine(source, m.quarantine_id, how).await.map_err(told)?;
        Ok(Response::new(v1::ResolveQuarantineResponse { result: Some(result) }))
    }

    async fn erase_subject(
        &self,
        request: Request<v1::EraseSubjectRequest>,
    ) -> Result<Response<v1::EraseSubjectResponse>, Status> {
        self.client(&request, |role| role == Role::Registrar).await?;
        let m = request.into_inner();
        if !matches!(m.ground.as_str(), "request" | "retention" | "court") {
            let detail = "ground is request, retention or court";
            return Err(told(Refusal::with_detail(ReasonCode::RequestMalformed, detail)));
        }
        let subject = subjects::parse(&self.node, m.subject.as_ref()).map_err(told)?;
        let pseudonym = self.node.pseudonym(&subject).map_err(told)?;
        let erased = self.node.ledger().erase_subject(pseudonym, &m.ground).await.map_err(told)?;
        Ok(Response::new(v1::EraseSubjectResponse { leaf: Some(self.leaf(erased.seq)), bodies: erased.bodies }))
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        self.client(&request, |_| true).await?;
        let health = self.node.ledger().health();
        let held = self.node.roster.directory();
        let directory = held.directory();
        let mut reasons = Vec::new();
        if directory.is_expired(self.node.clock.now()) {
            reasons.push(reason_message(ReasonCode::DirectoryExpired, None));
        }
        let state = match health.read_only {
            None => "serving",
            Some(why) => {
                reasons.push(reason_message(serve::reason_of(why), None));
                if why == LedgerHealth::Full { "read-only" } else { "failed" }
            }
        };
        let members = directory
            .members()
            .iter()
            .map(|m| v1::MemberEntry {
                member_id: m.id.to_string(),
                kind: m.kind.to_string(),
                name: m.name.clone(),
                district: m.district.to_string(),
                status: if m.is_active() { "active" } else { "suspended" }.into(),
                endpoint: m.endpoints.first().map(ToString::to_string).unwrap_or_default(),
            })
            .collect();
        Ok(Response::new(v1::StatusResponse {
            member_id: self.node.config.member.to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: exchange::PROTOCOL,
            directory_version: directory.version(),
            directory_expires_ms: directory.expires().as_ms(),
            members,
            events: health.events,
            records: health.records,
            policy_digest: self.node.holder.policy().digest().to_vec(),
            state: state.into(),
            reasons,
        }))
    }
}

impl Gateway {
    fn leaf(&self, seq: u64) -> v1::LeafRef {
        v1::LeafRef { member_id: self.node.config.member.to_string(), seq, exchange_id: Vec::new() }
    }
}

async fn put_stream(
    node: &Node,
    client_name: &str,
    mut stream: Streaming<v1::PutRequest>,
    send: &mpsc::Sender<Result<v1::PutResponse, Status>>,
) -> Result<(), Status> {
    let malformed = |detail: &str| told(Refusal::with_detail(ReasonCode::RequestMalformed, detail));
    let first = stream.message().await.map_err(|s| too_large_or(&s))?;
    let Some(v1::put_request::Part::Open(open)) = first.and_then(|m| m.part) else {
        return Err(malformed("the first message of a put is open"));
    };
    let mut ingest = Ingest::open(node, client_name, &open).map_err(told)?;
    let (ahead, mut waiting) = mpsc::channel(PUT_AHEAD);
    // Reading and storing overlap; the channel's bound is what holds a fast sender back.
    let reader = tokio::spawn(async move {
        loop {
            match stream.message().await {
                Ok(Some(message)) => {
                    if ahead.send(message).await.is_err() {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(status) => return Err(too_large_or(&status)),
            }
        }
    });
    let mut messages = Vec::new();
    loop {
        messages.clear();
        if waiting.recv_many(&mut messages, PUT_AHEAD).await == 0 {
            break;
        }
        let mut items = Vec::with_capacity(messages.len());
        for message in messages.drain(..) {
            match message.part {
                Some(v1::put_request::Part::Item(item)) => items.push(item),
                Some(v1::put_request::Part::Open(_)) | None => {
                    return Err(malformed("after open, each message of a put is an item"));
                }
            }
        }
        for result in ingest.take(items).await.map_err(told)? {
            if send.send(Ok(result)).await.is_err() {
                return Ok(());
            }
        }
    }
    reader.await.map_err(|_| told(Refusal::new(ReasonCode::Internal)))??;
    ingest.finish().map_err(told)
}

/// A message above the limit is refused by the stack before we see it; it gets our reason. A cut stream is named so.
fn too_large_or(status: &Status) -> Status {
    match status.code() {
        tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => told(Refusal::with_detail(
            ReasonCode::RecordTooLarge,
            format!("a message has at most {} bytes", serve::MESSAGE_MAX),
        )),
        _ => told(Refusal::new(ReasonCode::StreamTruncated)),
    }
}
