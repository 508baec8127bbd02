//! The peer service: what other members ask of this node. Messages become domain values here, and nowhere behind.

use std::sync::Arc;

use exchange::{Fetching, Signed};
use federation::VerifiedPeer;
use prost::Message as _;
use record::decision::Verb;
use record::{ReasonCode, Refusal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use wire::v1;
use wire::v1::peer_service_server::PeerService;

use crate::convert;
use crate::node::Node;
use crate::status::{status_of, status_of_refused};

/// Pages that may wait for a slow receiver before the next is prepared: back-pressure, never memory growth.
const PAGES_AHEAD: usize = 2;

/// The service.
#[derive(Debug, Clone)]
pub struct Peers(pub Arc<Node>);

impl Peers {
    async fn signed(
        &self,
        peer: &VerifiedPeer,
        message: Option<v1::SignedRequest>,
        verb: Verb,
    ) -> Result<Signed, Status> {
        match parse(message, verb) {
            Ok(signed) => Ok(signed),
            Err(refusal) => {
                let refused = self
                    .0
                    .holder
                    .refuse_peer(Some(&peer.member().id), None, refusal)
                    .await;
                Err(status_of_refused(&refused))
            }
        }
    }
}

fn parse(message: Option<v1::SignedRequest>, verb: Verb) -> Result<Signed, Refusal> {
    let malformed = |detail: &str| Refusal::with_detail(ReasonCode::RequestMalformed, detail);
    let message = message.ok_or_else(|| malformed("request is missing"))?;
    let statement = v1::RequestStatement::decode(message.statement.as_slice())
        .map_err(|_| malformed("statement is not an encoded RequestStatement"))?;
    if statement.protocol < exchange::PROTOCOL_MIN {
        return Err(Refusal::new(ReasonCode::ProtocolTooOld));
    }
    let statement = convert::statement(statement)?;
    if statement.verb != verb {
        return Err(malformed("verb does not agree with the call"));
    }
    Ok(Signed {
        statement,
        bytes: message.statement,
        signature: message.signature,
    })
}

#[tonic::async_trait]
impl PeerService for Peers {
    async fn evaluate(
        &self,
        request: Request<v1::EvaluateRequest>,
    ) -> Result<Response<v1::EvaluateResponse>, Status> {
        let peer = self.0.peer(&request).await?;
        let message = request.into_inner();
        let member = &peer.member().id;
        let refuse = |refusal: Refusal| async move {
            status_of_refused(&self.0.holder.refuse_peer(Some(member), None, refusal).await)
        };
        if message.protocol < exchange::PROTOCOL_MIN {
            return Err(refuse(Refusal::new(ReasonCode::ProtocolTooOld)).await);
        }
        let mut elements = Vec::with_capacity(message.blinded_elements.len());
        for element in &message.blinded_elements {
            match <[u8; 32]>::try_from(element.as_slice()) {
                Ok(element) if elements.len() < subject::MAX_BATCH => elements.push(element),
                Ok(_) | Err(_) => {
                    return Err(refuse(Refusal::new(ReasonCode::PseudonymMalformed)).await);
                }
            }
        }
        if let Err(refusal) = self.0.quotas.evaluate(member, elements.len()) {
            return Err(status_of(&refusal));
        }
        let node = Arc::clone(&self.0);
        // Half a millisecond of elliptic curves for each element: not on the threads that serve everyone.
        let evaluated = tokio::task::spawn_blocking(move || {
            subject::evaluate(&node.oprf, &elements, |b| node.entropy.fill(b))
        })
        .await
        .map_err(|_| status_of(&Refusal::new(ReasonCode::Internal)))?;
        match evaluated {
            Ok((evaluated, proof)) => Ok(Response::new(v1::EvaluateResponse {
                evaluated_elements: evaluated.iter().map(|e| e.to_vec()).collect(),
                proof: proof.to_vec(),
            })),
            Err(_) => Err(refuse(Refusal::new(ReasonCode::PseudonymMalformed)).await),
        }
    }

    async fn locate(
        &self,
        request: Request<v1::LocateRequest>,
    ) -> Result<Response<v1::LocateResponse>, Status> {
        let peer = self.0.peer(&request).await?;
        let signed = self
            .signed(&peer, request.into_inner().request, Verb::Locate)
            .await?;
        match self.0.holder.locate(&peer, signed).await {
            Ok(released) => {
                let (located, leaf) = released.into_reply();
                let holdings = located
                    .holdings
                    .iter()
                    .map(|h| v1::Holding {
                        record_type: h.type_code.to_string(),
                        records: h.records.unwrap_or(0),
                        newest_ms: h.newest.map_or(0, record::Timestamp::as_ms),
                    })
                    .collect();
                Ok(Response::new(v1::LocateResponse {
                    grants: convert::grants(&located.grants),
                    holdings,
                    leaf: Some(convert::leaf_ref(&leaf)),
                }))
            }
            Err(refused) => Err(status_of_refused(&refused)),
        }
    }

    type FetchStream = ReceiverStream<Result<v1::FetchResponse, Status>>;

    async fn fetch(
        &self,
        request: Request<v1::FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let peer = self.0.peer(&request).await?;
        let signed = self
            .signed(&peer, request.into_inner().request, Verb::Fetch)
            .await?;
        let fetching = self
            .0
            .holder
            .begin_fetch(&peer, signed)
            .await
            .map_err(|r| status_of_refused(&r))?;
        let (send, receive) = mpsc::channel(PAGES_AHEAD);
        let node = Arc::clone(&self.0);
        tokio::spawn(async move { send_pages(&node, fetching, &send).await });
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn get_directory(
        &self,
        request: Request<v1::GetDirectoryRequest>,
    ) -> Result<Response<v1::GetDirectoryResponse>, Status> {
        // A member whose own directory is older, or whose certificate was renewed, asks here too: whoever the directory knows.
        self.0.peer(&request).await?;
        let held = self.0.roster.directory();
        let newer = held.directory().version() > request.into_inner().known_version;
        let signed_directory = if newer {
            held.bytes().to_vec()
        } else {
            Vec::new()
        };
        Ok(Response::new(v1::GetDirectoryResponse { signed_directory }))
    }
}

async fn send_pages(
    node: &Node,
    mut fetching: Fetching,
    send: &mpsc::Sender<Result<v1::FetchResponse, Status>>,
) {
    loop {
        // Room first: a page is decided and journalled only when the receiver can take it.
        let Ok(place) = send.reserve().await else {
            return;
        };
        match node.holder.next_page(&mut fetching).await {
            Ok(Some(released)) => {
                let (page, leaf) = released.into_reply();
                place.send(Ok(v1::FetchResponse {
                    grants: convert::grants(&page.grants),
                    obligations: convert::obligations(&page.obligations),
                    records: page.records.iter().map(convert::out_record).collect(),
                    leaf: Some(convert::leaf_ref(&leaf)),
                    done: page.cursor.is_none(),
                    cursor: page.cursor.unwrap_or_default().into_bytes(),
                }));
            }
            Ok(None) => return,
            Err(refused) => {
                place.send(Err(status_of_refused(&refused)));
                return;
            }
        }
    }
}
