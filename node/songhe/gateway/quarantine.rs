//! Quarantine: a local system lists what it sent and broke a rule, corrects it, tries again, or drops it.

use federation::VerifiedClient;
use record::{ReasonCode, Refusal};
use tokio::sync::mpsc;
use wire::v1;
use wire::v1::resolve_quarantine_request::Resolution;

use super::{Gateway, Results, results};
use crate::ingest::{Ingest, source_of};
use crate::status::reason_message;

/// Entries shown when a caller names no limit.
const LIMIT_DEFAULT: u32 = 100;
/// The most entries of one answer.
const LIMIT_MAX: u32 = 1_000;

impl Gateway {
    pub(super) async fn quarantined(
        &self,
        client: &VerifiedClient,
        m: v1::ListQuarantineRequest,
    ) -> Result<Results<v1::ListQuarantineResponse>, Refusal> {
        let source = source_of(client.name().as_str(), &m.source)?;
        let limit = if m.limit == 0 {
            LIMIT_DEFAULT
        } else {
            m.limit.min(LIMIT_MAX)
        };
        let after = (m.after_id != 0).then_some(m.after_id);
        let entries = self.node.ledger().quarantined(
            &source,
            after,
            usize::try_from(limit).unwrap_or(usize::MAX),
        )?;
        self.record_reading(client, "list-quarantine", None, entries.len())
            .await?;
        let (send, receive) = mpsc::channel(8);
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
        Ok(results(receive))
    }

    pub(super) async fn resolve(
        &self,
        client: &VerifiedClient,
        m: v1::ResolveQuarantineRequest,
    ) -> Result<v1::ResolveQuarantineResponse, Refusal> {
        let source = source_of(client.name().as_str(), &m.source)?;
        let ledger = self.node.ledger();
        let entry = ledger.quarantine_entry(&source, m.quarantine_id)?;
        let (data, how) = match m.resolution {
            Some(Resolution::CorrectedJson(bytes)) => (bytes, "corrected"),
            Some(Resolution::Resubmit(true)) => (entry.original.clone(), "resubmitted"),
            Some(Resolution::Drop(true)) => {
                let _acked = ledger
                    .close_quarantine(&source, m.quarantine_id, "dropped")
                    .await?;
                let result = v1::PutResponse {
                    quarantine_id: m.quarantine_id,
                    ..Default::default()
                };
                return Ok(v1::ResolveQuarantineResponse {
                    result: Some(result),
                });
            }
            Some(Resolution::Resubmit(false) | Resolution::Drop(false)) | None => {
                let detail = "resolution is corrected_json, resubmit or drop";
                return Err(Refusal::with_detail(ReasonCode::RequestMalformed, detail));
            }
        };
        let open = v1::PutOpen {
            source: source.clone(),
            ..Default::default()
        };
        let mut ingest = Ingest::open(&self.node, client.name().as_str(), &open)?;
        let item = v1::PutItem {
            data,
            subject: m.subject,
            last: true,
        };
        let result = ingest
            .take(vec![item])
            .await?
            .into_iter()
            .next()
            .unwrap_or_default();
        // What was refused and not kept leaves the old entry where it is; a new entry takes the old one's place.
        if result.outcome != i32::from(v1::PutOutcome::Refused) {
            let _acked = ledger
                .close_quarantine(&source, m.quarantine_id, how)
                .await?;
        }
        Ok(v1::ResolveQuarantineResponse {
            result: Some(result),
        })
    }
}
