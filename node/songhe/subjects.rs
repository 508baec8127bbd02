//! People, named by this agency's own clients: parsed, blinded towards other members, never sent or kept in the clear.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use federation::Member;
use lru::LruCache;
use record::resident_id::RESIDENT_ID_SYSTEM;
use record::{MemberId, Pseudonym, ReasonCode, Refusal, ResidentId};
use ring::digest;
use subject::{OprfPublicKey, blind, finalize, subject_input};
use tonic::transport::Channel;
use wire::v1;
use wire::v1::peer_service_client::PeerServiceClient;

use crate::node::Node;
use crate::status::refusal_in;

/// Members' pseudonyms kept in memory, so that a second question costs no evaluation.
const KEPT: usize = 65_536;

/// Parses the person a client names.
///
/// # Errors
/// `SUBJECT_INVALID` says which part of the number is wrong, without repeating it.
pub fn parse(node: &Node, message: Option<&v1::Subject>) -> Result<ResidentId, Refusal> {
    let invalid = |detail: &str| Refusal::with_detail(ReasonCode::SubjectInvalid, detail);
    let message = message.ok_or_else(|| invalid("subject is missing"))?;
    if !message.system.is_empty() && message.system != RESIDENT_ID_SYSTEM {
        return Err(invalid(
            "only resident identity numbers are taken; leave system empty",
        ));
    }
    let (id, _warning) =
        ResidentId::parse(&message.value, node.clock.now()).map_err(|e| invalid(&e.to_string()))?;
    Ok(id)
}

/// Other members' pseudonyms of people, kept under a digest made with a key of this run.
#[derive(Debug)]
pub struct Known {
    key: [u8; 16],
    found: Mutex<LruCache<([u8; 32], MemberId), Pseudonym>>,
}

impl Known {
    /// None yet.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        let room = NonZeroUsize::new(KEPT).unwrap_or(NonZeroUsize::MIN);
        Self {
            key,
            found: Mutex::new(LruCache::new(room)),
        }
    }

    fn tag(&self, id: &ResidentId) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.key);
        context.update(id.expose().as_bytes());
        context
            .finish()
            .as_ref()
            .first_chunk()
            .copied()
            .unwrap_or_default()
    }

    /// A member's own pseudonym of a person: blinded here, evaluated there, unblinded and its proof checked here.
    ///
    /// # Errors
    /// The member's refusal, `MEMBER_UNREACHABLE`, or `ANSWER_INVALID` when the proof does not hold.
    pub async fn at_member(
        &self,
        node: &Node,
        id: &ResidentId,
        member: &Arc<Member>,
        channel: Channel,
    ) -> Result<Pseudonym, Refusal> {
        let place = (self.tag(id), member.id.clone());
        if let Some(known) = self
            .found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&place)
        {
            return Ok(*known);
        }
        let internal = |_| Refusal::new(ReasonCode::Internal);
        let invalid = |detail: &str| Refusal::with_detail(ReasonCode::AnswerInvalid, detail);
        let input = subject_input(RESIDENT_ID_SYSTEM, id.expose()).map_err(internal)?;
        let (state, blinded) = blind(input, |b| node.entropy.fill(b)).map_err(internal)?;
        let answer = PeerServiceClient::new(channel)
            .evaluate(v1::EvaluateRequest {
                protocol: exchange::PROTOCOL,
                blinded_elements: vec![blinded.to_vec()],
            })
            .await
            .map_err(|status| told_by(&status))?
            .into_inner();
        let [element] = answer.evaluated_elements.as_slice() else {
            return Err(invalid("the number of evaluated elements is wrong"));
        };
        let element: [u8; 32] = element
            .as_slice()
            .try_into()
            .map_err(|_| invalid("an evaluated element has the wrong length"))?;
        let proof: [u8; 64] = answer
            .proof
            .as_slice()
            .try_into()
            .map_err(|_| invalid("the proof has the wrong length"))?;
        let key = OprfPublicKey::from_bytes(member.oprf_key.as_bytes()).map_err(internal)?;
        let found = finalize(vec![state], &[element], &proof, &key)
            .map_err(|_| invalid("the proof does not hold"))?
            .into_iter()
            .next()
            .map(Pseudonym::from_bytes)
            .ok_or_else(|| invalid("no pseudonym came"))?;
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(place, found);
        Ok(found)
    }
}

/// What a failed call tells: the member's own refusal, or that it could not be reached.
#[must_use]
pub fn told_by(status: &tonic::Status) -> Refusal {
    match refusal_in(status) {
        Some((refusal, _)) => refusal,
        None => match status.code() {
            tonic::Code::Unavailable
            | tonic::Code::DeadlineExceeded
            | tonic::Code::Cancelled
            | tonic::Code::Unknown => Refusal::new(ReasonCode::MemberUnreachable),
            code => Refusal::with_detail(ReasonCode::AnswerInvalid, format!("status {code:?}")),
        },
    }
}
