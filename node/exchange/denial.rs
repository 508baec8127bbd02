//! The other way out: a refusal takes the same door, with a leaf of its own, and tells no more than it may.

use ledger::{Access, AccessDetail};
use record::leaf::EventType;
use record::reason::Blame;
use record::{ExchangeId, MemberId, Refusal};
use serde_json::json;
use zeroize::Zeroizing;

use crate::holder::Holder;
use crate::leaf_position::LeafPosition;
use crate::statement::Statement;
use crate::subject::About;

/// A refusal as it is told outside, and where its leaf stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What is told.
    pub refusal: Refusal,
    /// Its leaf; `None` when even that could not be written: nothing was told then but that the storage fails.
    pub leaf: Option<LeafPosition>,
}

impl Refused {
    pub(crate) fn unrecorded(refusal: Refusal) -> Self {
        Self {
            refusal: outside(refusal),
            leaf: None,
        }
    }
}

/// A refusal as it may be told outside. What went wrong inside this node, and where, is for its own people: a place in
/// the journal would tell that there is a record.
fn outside(refusal: Refusal) -> Refusal {
    let reason = refusal.reason.told_outside();
    let detail = refusal.detail.filter(|_| reason.blame() == Blame::Caller);
    Refusal {
        reason,
        detail,
        ..refusal
    }
}

/// What is known of a request that is refused; less is known the earlier it fails.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known<'a> {
    pub(crate) peer: Option<&'a MemberId>,
    pub(crate) statement: Option<&'a Statement>,
    pub(crate) about: Option<&'a About>,
}

impl Holder {
    /// Records a refusal of a peer whose certificate or statement could not be accepted, and gives what it is told.
    pub async fn refuse_peer(
        &self,
        peer: Option<&MemberId>,
        statement: Option<&Statement>,
        refusal: Refusal,
    ) -> Refused {
        self.refuse(
            Known {
                peer,
                statement,
                about: None,
            },
            refusal,
        )
        .await
    }

    pub(crate) async fn refuse(&self, known: Known<'_>, refusal: Refusal) -> Refused {
        // A replayed or stale exchange id must not take the place of the genuine one in the trail.
        let own_xid = || self.ledger().new_exchange();
        let xid = match known.statement {
            Some(s) if known.about.is_some() => Ok(s.xid),
            _ => own_xid(),
        };
        let Ok(xid) = xid else {
            return Refused::unrecorded(Refusal::new(record::ReasonCode::Internal));
        };
        match self.record_refusal(known, &refusal, xid).await {
            Ok(seq) => {
                let leaf = LeafPosition {
                    member: self.me().member.clone(),
                    seq,
                    xid,
                };
                Refused {
                    refusal: outside(refusal),
                    leaf: Some(leaf),
                }
            }
            Err(fault) => Refused::unrecorded(fault),
        }
    }

    async fn record_refusal(
        &self,
        known: Known<'_>,
        refusal: &Refusal,
        xid: ExchangeId,
    ) -> Result<u64, Refusal> {
        let mut leaf = self
            .ledger()
            .leaf_now(EventType::Deny)
            .text("dec", "deny")
            .reason(refusal.reason);
        if let Some(peer) = known.peer {
            leaf = leaf.text("peer", peer.as_str());
        }
        let mut detail = json!({ "v": 1, "reason": refusal.reason.as_str() });
        if let (Some(s), Some(fields)) = (known.statement, detail.as_object_mut()) {
            leaf = leaf
                .text("verb", s.verb.as_str())
                .text("pou", s.purpose.as_str())
                .text("basis", s.basis.as_str())
                .hex("pol", &self.policy().digest());
            let types: Vec<&str> = s
                .query
                .types
                .iter()
                .map(record::RecordTypeCode::as_str)
                .collect();
            fields.insert("role".into(), s.role.as_str().into());
            fields.insert("actor".into(), record::id::hex_encode(&s.actor_tag).into());
            fields.insert("types".into(), types.into());
            fields.insert("xid".into(), s.xid.to_hex().into());
        }
        if let (Some(place), Some(fields)) = (&refusal.detail, detail.as_object_mut()) {
            fields.insert("detail".into(), place.as_str().into());
        }
        let access = Access {
            leaf,
            xid,
            subject: known.about.filter(|a| a.is_known()).map(|a| *a.pseudonym()),
            detail: AccessDetail(Zeroizing::new(detail.to_string().into_bytes())),
            rests_on: None,
        };
        let acked = self
            .ledger()
            .record_access(access)
            .await
            .map_err(Refusal::from)?;
        Ok(acked.seq())
    }
}
