//! Step 1, identity: who asks. The certificate says which member, the signature binds the statement to it.

use federation::VerifiedPeer;
use record::decision::Agency;
use record::{ReasonCode, Refusal};

use crate::holder::Holder;
use crate::statement::{PROTOCOL_MIN, REQUEST_LABEL, Signed, Statement};

/// A member whose certificate and signature were verified, with its statement. Made by [`Holder::identify`] alone.
#[derive(Clone, Debug)]
pub struct Caller {
    agency: Agency,
    statement: Statement,
}

impl Caller {
    /// The asking agency.
    #[must_use]
    pub const fn agency(&self) -> &Agency {
        &self.agency
    }

    /// What it asks.
    #[must_use]
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }
}

impl Holder {
    /// Verifies that the statement is this peer's, addressed to this node, fresh, and used for the first time.
    ///
    /// # Errors
    /// `PROTOCOL_TOO_OLD`, `PEER_CERTIFICATE_MISMATCH` when the statement names another member than the certificate,
    /// `RECIPIENT_WRONG`, `SIGNATURE_INVALID`, `REQUEST_STALE`, `REQUEST_REPLAYED`.
    pub fn identify(&self, peer: &VerifiedPeer, signed: Signed) -> Result<Caller, Refusal> {
        let statement = signed.statement;
        let member = peer.member();
        if statement.protocol < PROTOCOL_MIN {
            return Err(Refusal::new(ReasonCode::ProtocolTooOld));
        }
        if statement.requester != member.id {
            let detail = "the statement names another member than the certificate";
            return Err(Refusal::with_detail(
                ReasonCode::PeerCertificateMismatch,
                detail,
            ));
        }
        if statement.holder != self.me().member {
            return Err(Refusal::new(ReasonCode::RecipientWrong));
        }
        // The signature comes before the replay memory, so that nobody can use up another's exchange ids.
        if !member
            .receipt_key
            .verify(REQUEST_LABEL, &signed.bytes, &signed.signature)
        {
            return Err(Refusal::new(ReasonCode::SignatureInvalid));
        }
        self.replays()
            .take(statement.xid, statement.issued_at, self.now())?;
        if self
            .ledger()
            .has_seen(&statement.xid)
            .map_err(Refusal::from)?
        {
            return Err(Refusal::new(ReasonCode::RequestReplayed));
        }
        let agency = Agency {
            member: member.id.clone(),
            kind: member.kind,
            district: member.district,
        };
        Ok(Caller { agency, statement })
    }
}
