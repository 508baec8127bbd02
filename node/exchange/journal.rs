//! Step 6, journal: the disclosure becomes an event; only its acknowledgement makes a [`Released`].

use std::collections::BTreeMap;

use ledger::{Access, AccessDetail, Acked, LedgerError};
use record::leaf::EventType;
use record::{ExchangeId, MemberId, ReasonCode, Refusal};
use serde_json::json;
use zeroize::Zeroizing;

use crate::denial::Refused;
use crate::holder::Holder;
use crate::leaf_position::LeafPosition;
use crate::release::Disclosure;

/// Data that may leave: its leaf is durable. Made by [`Holder::journal`] alone, from the journal's own acknowledgement.
pub struct Released<T>(T, LeafPosition);

impl<T> Released<T> {
    /// The data and where its leaf stands, for the reply.
    #[must_use]
    pub fn into_reply(self) -> (T, LeafPosition) {
        (self.0, self.1)
    }

    fn by(acked: &Acked, member: MemberId, xid: ExchangeId, payload: T) -> Self {
        Self(
            payload,
            LeafPosition {
                member,
                seq: acked.seq(),
                xid,
            },
        )
    }
}

impl<T> std::fmt::Debug for Released<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Released").field(&self.1).finish()
    }
}

impl Holder {
    /// Records the disclosure. If the person's consents moved since they were looked up, nothing is released.
    ///
    /// # Errors
    /// [`Refused`] with `BUSY` when consent moved (decide again), or with the storage's reason: without a leaf no data.
    pub async fn journal<T>(&self, disclosure: Disclosure<T>) -> Result<Released<T>, Refused> {
        match self.try_journal(disclosure).await {
            Ok(released) => Ok(released),
            Err(fault) => Err(Refused::unrecorded(Refusal::from(&fault))),
        }
    }

    pub(crate) async fn try_journal<T>(
        &self,
        disclosure: Disclosure<T>,
    ) -> Result<Released<T>, LedgerError> {
        let Disclosure {
            payload,
            permit,
            records,
        } = disclosure;
        let about = permit.standing().about();
        let caller = about.caller();
        let statement = caller.statement();
        // What a leaf of 512 bytes has no room for (role, reasons) is in the sealed detail: the digests must stay whole.
        let leaf = self
            .ledger()
            .leaf_now(EventType::Disclosure)
            .text("peer", caller.agency().member.as_str())
            .text("verb", statement.verb.as_str())
            .text("dec", "permit")
            .text("tier", permit.highest().as_str())
            .text("pou", statement.purpose.as_str())
            .text("basis", statement.basis.as_str())
            .number("n", u64::try_from(records.len()).unwrap_or(u64::MAX))
            .hex("pol", permit.policy_digest());
        let reasons: BTreeMap<&str, Vec<&str>> = permit
            .grants()
            .iter()
            .map(|(code, g)| {
                (
                    code.as_str(),
                    g.reasons.iter().map(|r| r.as_str()).collect(),
                )
            })
            .collect();
        let tiers: BTreeMap<&str, &str> = permit
            .grants()
            .iter()
            .map(|(code, g)| (code.as_str(), g.tier.as_str()))
            .collect();
        let detail = json!({
            "v": 1,
            "actor": record::id::hex_encode(&statement.actor_tag),
            "question": permit.question(),
            "grants": tiers,
            "reasons": reasons,
            "records": records,
        });
        let access = Access {
            leaf,
            xid: statement.xid,
            subject: about.is_known().then(|| *about.pseudonym()),
            detail: AccessDetail(Zeroizing::new(detail.to_string().into_bytes())),
            rests_on: Some(permit.standing().view()),
        };
        let acked = self.ledger().record_access(access).await?;
        Ok(Released::by(
            &acked,
            self.me().member.clone(),
            statement.xid,
            payload,
        ))
    }
}

/// Whether trying again from the consent step makes sense.
pub(crate) const fn should_decide_again(fault: &LedgerError) -> bool {
    matches!(fault, LedgerError::ConsentChanged)
}

/// The refusal when consent kept moving while answers were prepared.
pub(crate) const fn kept_moving() -> Refusal {
    Refusal::new(ReasonCode::Busy)
}
