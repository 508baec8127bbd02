//! Asking all members at once: each on a task of its own, so that a slow or dead one holds back nobody.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use federation::{Member, VerifiedClient};
use ledger::{Access, AccessDetail};
use prost::Message as _;
use record::decision::Verb;
use record::leaf::EventType;
use record::{
    ExchangeId, LawfulBasis, MemberId, Pseudonym, Purpose, ReasonCode, Refusal, ResidentId, Role,
};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::transport::Channel;
use wire::v1;
use wire::v1::peer_service_client::PeerServiceClient;
use zeroize::Zeroizing;

use crate::convert;
use crate::node::Node;
use crate::status::{reason_message, refusal_in};
use crate::subjects::{Known, told_by};

/// Waited for a member when the caller names no deadline, milliseconds.
const DEADLINE_DEFAULT_MS: u32 = 5_000;
/// The longest a caller may wait for a member.
const DEADLINE_MAX_MS: u32 = 60_000;
/// The shortest.
const DEADLINE_MIN_MS: u32 = 100;
/// Results that may wait for a slow caller.
pub const RESULTS_AHEAD: usize = 32;

/// What is asked of every member.
#[derive(Clone)]
pub struct Asking {
    /// The person; `None` for records that are about nobody.
    pub subject: Option<Arc<ResidentId>>,
    /// What for.
    pub query: v1::Query,
    /// Purpose.
    pub purpose: Purpose,
    /// Lawful basis.
    pub basis: LawfulBasis,
    /// Role of the asking client.
    pub role: Role,
    /// Opaque tag of the asking client.
    pub actor_tag: [u8; 16],
    /// Waited for each member.
    pub deadline: Duration,
    /// Where to go on, when one member is asked.
    pub cursor: Vec<u8>,
}

impl std::fmt::Debug for Asking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asking")
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}

impl Asking {
    /// Parses what the calls have in common.
    ///
    /// # Errors
    /// `REQUEST_MALFORMED`, `SUBJECT_INVALID`, `TYPE_UNKNOWN`, `ROLE_NOT_ALLOWED`.
    pub fn parse(
        node: &Node,
        client: &VerifiedClient,
        subject: Option<&v1::Subject>,
        query: Option<v1::Query>,
        intent: Option<&v1::Intent>,
        deadline_ms: u32,
    ) -> Result<Self, Refusal> {
        if !client.role().may_ask() {
            return Err(Refusal::new(ReasonCode::RoleNotAllowed));
        }
        let checked = convert::query(query.clone())?;
        let mut about_person = false;
        for code in &checked.types {
            let known = node
                .catalog()
                .get(code)
                .ok_or_else(|| Refusal::with_detail(ReasonCode::TypeUnknown, code.as_str()))?;
            about_person |= known.about_person;
        }
        let named = subject.filter(|s| !s.value.is_empty());
        let subject = match (named, about_person) {
            (Some(named), _) => Some(Arc::new(crate::subjects::parse(node, Some(named))?)),
            (None, true) => {
                return Err(Refusal::with_detail(
                    ReasonCode::SubjectInvalid,
                    "subject is missing",
                ));
            }
            (None, false) => None,
        };
        let intent = intent.ok_or_else(|| {
            Refusal::with_detail(
                ReasonCode::RequestMalformed,
                "intent is missing: name a purpose",
            )
        })?;
        let deadline_ms = match deadline_ms {
            0 => DEADLINE_DEFAULT_MS,
            ms => ms.clamp(DEADLINE_MIN_MS, DEADLINE_MAX_MS),
        };
        Ok(Self {
            subject,
            query: query.unwrap_or_default(),
            purpose: convert::purpose(&intent.purpose)?,
            basis: convert::basis(&intent.basis)?,
            role: client.role(),
            actor_tag: node
                .actors
                .tag16("actor", client.name().as_str().as_bytes()),
            deadline: Duration::from_millis(deadline_ms.into()),
            cursor: Vec::new(),
        })
    }
}

/// The members to ask: those named, or every other active one.
///
/// # Errors
/// `REQUEST_MALFORMED` for an id that is none.
pub fn members(node: &Node, named: &[String]) -> Result<Vec<MemberId>, Refusal> {
    if named.is_empty() {
        let view = node.roster.directory();
        let me = &node.config.member;
        return Ok(view
            .directory()
            .members()
            .iter()
            .filter(|m| m.is_active() && &m.id != me)
            .map(|m| m.id.clone())
            .collect());
    }
    named
        .iter()
        .map(|text| {
            let member = MemberId::parse(text)
                .map_err(|e| Refusal::with_detail(ReasonCode::RequestMalformed, e.to_string()))?;
            if member == node.config.member {
                let detail = "this is your own node; it asks the other members";
                return Err(Refusal::with_detail(ReasonCode::RequestMalformed, detail));
            }
            Ok(member)
        })
        .collect()
}

/// Asks each member where records are; results come as they come.
pub fn locate(
    node: &Arc<Node>,
    known: &Arc<Known>,
    asking: &Asking,
    members: Vec<MemberId>,
) -> mpsc::Receiver<Result<v1::FederatedLocateResponse, Status>> {
    let (send, receive) = mpsc::channel(RESULTS_AHEAD);
    for member in members {
        let (node, known, asking, send) = (
            Arc::clone(node),
            Arc::clone(known),
            asking.clone(),
            send.clone(),
        );
        tokio::spawn(async move {
            let started = now();
            let asked = in_time(asking.deadline, locate_one(&node, &known, &asking, &member)).await;
            let elapsed_ms = elapsed(started);
            let mut result = v1::FederatedLocateResponse {
                member_id: member.to_string(),
                elapsed_ms,
                ..Default::default()
            };
            match asked {
                Ok(answer) => {
                    result.outcome = outcome_of(!answer.holdings.is_empty()).into();
                    result.grants = answer.grants;
                    result.leaf = answer.leaf;
                    result.holdings = answer
                        .holdings
                        .into_iter()
                        .map(|h| v1::LocatedHolding {
                            record_type: h.record_type,
                            records: h.records,
                            newest_ms: h.newest_ms,
                        })
                        .collect();
                }
                Err(failed) => {
                    result.outcome = failed.outcome().into();
                    result.reason = Some(failed.message());
                    result.leaf = failed.leaf;
                }
            }
            // The caller may have gone away.
            drop(send.send(Ok(result)).await);
        });
    }
    receive
}

/// Fetches from each member; pages come as they come, the last of each member with its outcome.
pub fn fetch(
    node: &Arc<Node>,
    known: &Arc<Known>,
    asking: &Asking,
    members: Vec<MemberId>,
) -> mpsc::Receiver<Result<v1::FederatedFetchResponse, Status>> {
    let (send, receive) = mpsc::channel(RESULTS_AHEAD);
    for member in members {
        let (node, known, asking, send) = (
            Arc::clone(node),
            Arc::clone(known),
            asking.clone(),
            send.clone(),
        );
        tokio::spawn(async move {
            let started = now();
            let fetched = fetch_one(&node, &known, &asking, &member, &send, started).await;
            let mut end = v1::FederatedFetchResponse {
                member_id: member.to_string(),
                elapsed_ms: elapsed(started),
                ..Default::default()
            };
            match fetched {
                Ok(Some(any)) => end.outcome = outcome_of(any).into(),
                // The caller went away.
                Ok(None) => return,
                Err(failed) => {
                    end.outcome = failed.outcome().into();
                    end.reason = Some(failed.message());
                    end.leaf = failed.leaf;
                }
            }
            drop(send.send(Ok(end)).await);
        });
    }
    receive
}

async fn locate_one(
    node: &Node,
    known: &Known,
    asking: &Asking,
    member: &MemberId,
) -> Result<v1::LocateResponse, Failed> {
    let (_, channel) = node.dialer.channel(member)?;
    let (request, xid) = prepare(node, known, asking, member, Verb::Locate).await?;
    let answer = PeerServiceClient::new(channel)
        .locate(v1::LocateRequest {
            request: Some(request),
        })
        .await
        .map_err(|status| Failed::told(&status))?
        .into_inner();
    check_leaf(answer.leaf.as_ref(), member, xid)?;
    let asked = |code: &str| asking.query.record_types.iter().any(|t| t == code);
    if !answer.holdings.iter().all(|h| asked(&h.record_type)) {
        return Err(invalid("it names record types that were not asked for"));
    }
    Ok(answer)
}

/// `None` when the caller went away; otherwise whether any record came.
async fn fetch_one(
    node: &Node,
    known: &Known,
    asking: &Asking,
    member: &MemberId,
    send: &mpsc::Sender<Result<v1::FederatedFetchResponse, Status>>,
    started: Instant,
) -> Result<Option<bool>, Failed> {
    let opened = async {
        let (_, channel) = node.dialer.channel(member)?;
        let (request, xid) = prepare(node, known, asking, member, Verb::Fetch).await?;
        // A page of a thousand short records or one long one: above the default limit of a message.
        let mut client =
            PeerServiceClient::new(channel).max_decoding_message_size(crate::serve::MESSAGE_MAX);
        let stream = client
            .fetch(v1::FetchRequest {
                request: Some(request),
            })
            .await
            .map_err(|status| Failed::told(&status))?
            .into_inner();
        Ok((stream, xid))
    };
    let (mut stream, xid) = in_time(asking.deadline, opened).await?;
    let mut any = false;
    loop {
        let next = async {
            stream
                .message()
                .await
                .map_err(|status| Failed::told(&status))
        };
        let Some(page) = in_time(asking.deadline, next).await? else {
            return Err(invalid("its stream ended before it said so"));
        };
        check_leaf(page.leaf.as_ref(), member, xid)?;
        let asked = |code: &str| asking.query.record_types.iter().any(|t| t == code);
        if !page.records.iter().all(|r| asked(&r.record_type)) {
            return Err(invalid("it sent record types that were not asked for"));
        }
        any |= !page.records.is_empty();
        let done = page.done;
        let result = v1::FederatedFetchResponse {
            member_id: member.to_string(),
            records: page.records,
            grants: page.grants,
            obligations: page.obligations,
            cursor: page.cursor,
            leaf: page.leaf,
            outcome: v1::MemberOutcome::Unspecified.into(),
            reason: None,
            elapsed_ms: elapsed(started),
        };
        if send.send(Ok(result)).await.is_err() {
            return Ok(None);
        }
        if done {
            return Ok(Some(any));
        }
    }
}

/// Finds the member's pseudonym, writes down that this node asks, and signs.
async fn prepare(
    node: &Node,
    known: &Known,
    asking: &Asking,
    member: &MemberId,
    verb: Verb,
) -> Result<(v1::SignedRequest, ExchangeId), Failed> {
    let (peer, channel) = node.dialer.channel(member)?;
    let pseudonym = pseudonym_at(node, known, asking, &peer, channel).await?;
    let xid = node.ledger().new_exchange().map_err(Refusal::from)?;
    let statement = v1::RequestStatement {
        protocol: exchange::PROTOCOL,
        exchange_id: xid.as_bytes().to_vec(),
        requester_id: node.config.member.to_string(),
        holder_id: member.to_string(),
        issued_at_ms: node.clock.now().as_ms(),
        verb: verb.as_str().into(),
        purpose: asking.purpose.as_str().into(),
        basis: asking.basis.as_str().into(),
        role: asking.role.as_str().into(),
        actor_tag: asking.actor_tag.to_vec(),
        pseudonym: pseudonym.as_bytes().to_vec(),
        query: Some(asking.query.clone()),
        cursor: asking.cursor.clone(),
    }
    .encode_to_vec();
    record_question(node, asking, member, verb, xid, &statement).await?;
    let signature = node
        .receipt
        .sign(exchange::REQUEST_LABEL, &statement)
        .to_vec();
    Ok((
        v1::SignedRequest {
            statement,
            signature,
        },
        xid,
    ))
}

async fn pseudonym_at(
    node: &Node,
    known: &Known,
    asking: &Asking,
    peer: &Arc<Member>,
    channel: Channel,
) -> Result<Pseudonym, Failed> {
    match &asking.subject {
        Some(id) => Ok(known.at_member(node, id, peer, channel).await?),
        None => Ok(Pseudonym::NOBODY),
    }
}

/// The question has a leaf in this node's own journal before it is asked.
async fn record_question(
    node: &Node,
    asking: &Asking,
    member: &MemberId,
    verb: Verb,
    xid: ExchangeId,
    statement: &[u8],
) -> Result<(), Failed> {
    let own = match &asking.subject {
        Some(id) => Some(node.pseudonym(id)?),
        None => None,
    };
    let leaf = node
        .ledger()
        .leaf_now(EventType::Request)
        .text("peer", member.as_str())
        .text("verb", verb.as_str())
        .text("pou", asking.purpose.as_str())
        .text("basis", asking.basis.as_str())
        .text("role", asking.role.as_str());
    let access = Access {
        leaf,
        xid,
        subject: own,
        detail: AccessDetail(Zeroizing::new(statement.to_vec())),
        rests_on: None,
    };
    let _acked = node
        .ledger()
        .record_access(access)
        .await
        .map_err(Refusal::from)?;
    Ok(())
}

fn check_leaf(
    leaf: Option<&v1::LeafRef>,
    member: &MemberId,
    xid: ExchangeId,
) -> Result<(), Failed> {
    let ok =
        leaf.is_some_and(|l| l.member_id == member.as_str() && l.exchange_id == xid.as_bytes());
    if ok {
        Ok(())
    } else {
        Err(invalid("it names no leaf of this exchange"))
    }
}

fn invalid(detail: &str) -> Failed {
    Failed {
        refusal: Refusal::with_detail(ReasonCode::AnswerInvalid, detail),
        leaf: None,
    }
}

const fn outcome_of(any: bool) -> v1::MemberOutcome {
    if any {
        v1::MemberOutcome::Data
    } else {
        v1::MemberOutcome::Nothing
    }
}

/// Why one member gave nothing.
struct Failed {
    refusal: Refusal,
    leaf: Option<v1::LeafRef>,
}

impl Failed {
    fn told(status: &Status) -> Self {
        match refusal_in(status) {
            Some((refusal, leaf)) => Self { refusal, leaf },
            None => Self {
                refusal: told_by(status),
                leaf: None,
            },
        }
    }

    const fn outcome(&self) -> v1::MemberOutcome {
        match self.refusal.reason {
            ReasonCode::MemberUnreachable | ReasonCode::AnswerInvalid => {
                v1::MemberOutcome::Unreachable
            }
            _ => v1::MemberOutcome::Refused,
        }
    }

    fn message(&self) -> v1::Reason {
        reason_message(self.refusal.reason, self.refusal.detail.as_deref())
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            leaf: None,
        }
    }
}

async fn in_time<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(deadline, work).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(Refusal::with_detail(
            ReasonCode::MemberUnreachable,
            "no answer within the deadline",
        )
        .into()),
    }
}

fn now() -> Instant {
    Instant::now()
}

fn elapsed(started: Instant) -> u32 {
    u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX)
}
