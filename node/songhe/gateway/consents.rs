//! Consents at this agency's counter: registered, withdrawn, listed.

use federation::VerifiedClient;
use ledger::ConsentState;
use record::{ConsentId, ReasonCode, Refusal};
use wire::v1;

use super::Gateway;
use crate::convert;

impl Gateway {
    pub(super) async fn grant(
        &self,
        m: v1::GrantConsentRequest,
    ) -> Result<v1::GrantConsentResponse, Refusal> {
        let (_, pseudonym) = self.person(m.subject.as_ref())?;
        let ledger = self.node.ledger();
        let id = ConsentId::from_bytes(*ledger.new_exchange()?.as_bytes());
        let consent =
            convert::consent(m.terms, id, &self.node.config.member, self.node.clock.now())?;
        if let Some(code) = consent
            .types
            .iter()
            .find(|t| self.node.catalog().get(t).is_none())
        {
            return Err(Refusal::with_detail(ReasonCode::TypeUnknown, code.as_str()));
        }
        if let Some(member) = consent
            .recipients
            .iter()
            .find(|r| self.node.roster.find(r).is_none())
        {
            let detail = format!("no member has the id {member}");
            return Err(Refusal::with_detail(ReasonCode::ConsentInvalid, detail));
        }
        let acked = ledger.register_consent(pseudonym, consent).await?;
        Ok(v1::GrantConsentResponse {
            consent_id: id.as_bytes().to_vec(),
            leaf: Some(self.leaf(acked.seq())),
        })
    }

    pub(super) async fn withdraw(
        &self,
        m: v1::WithdrawConsentRequest,
    ) -> Result<v1::WithdrawConsentResponse, Refusal> {
        let (_, pseudonym) = self.person(m.subject.as_ref())?;
        let id = ConsentId::from_slice(&m.consent_id).map_err(|_| {
            Refusal::with_detail(ReasonCode::RequestMalformed, "consent_id has 16 bytes")
        })?;
        let acked = self.node.ledger().withdraw_consent(pseudonym, id).await?;
        Ok(v1::WithdrawConsentResponse {
            leaf: Some(self.leaf(acked.seq())),
        })
    }

    pub(super) async fn consents(
        &self,
        client: &VerifiedClient,
        m: v1::ListConsentsRequest,
    ) -> Result<v1::ListConsentsResponse, Refusal> {
        let (_, pseudonym) = self.person(m.subject.as_ref())?;
        let view = self.node.ledger().consents(pseudonym).await?;
        self.record_reading(client, "list-consents", Some(pseudonym), view.entries.len())
            .await?;
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
        Ok(v1::ListConsentsResponse { consents })
    }
}
