//! What becomes of judged records: stored in batches or all together, or set aside with the reason.

use ledger::{LedgerError, NewRecord, PutDone, Quarantined, RecordHeader};
use record::{ReasonCode, Refusal};
use wire::v1;

use super::{Bad, Good, Ingest, Judged};
use crate::status::reason_message;

/// Records stored in one go; with their keys they are far below what one submit takes.
const BATCH: usize = 256;
/// Bytes stored in one go.
const BATCH_BYTES: usize = 4 << 20;

impl Ingest<'_> {
    /// Stores what is good in batches, sets aside what is not.
    pub(super) async fn store(&self, judged: Vec<Judged>) -> Result<Vec<v1::PutResponse>, Refusal> {
        let mut results = Vec::with_capacity(judged.len());
        let mut batch: Vec<Good> = Vec::new();
        let mut bytes = 0;
        for one in judged {
            match one {
                Judged::Good(good) => {
                    bytes += good.original.len();
                    batch.push(*good);
                    if batch.len() >= BATCH || bytes >= BATCH_BYTES {
                        results.extend(self.store_batch(std::mem::take(&mut batch)).await?);
                        bytes = 0;
                    }
                }
                Judged::Bad(bad) => {
                    results.extend(self.store_batch(std::mem::take(&mut batch)).await?);
                    bytes = 0;
                    results.push(self.set_aside(*bad).await?);
                }
            }
        }
        results.extend(self.store_batch(batch).await?);
        Ok(results)
    }

    async fn store_batch(&self, batch: Vec<Good>) -> Result<Vec<v1::PutResponse>, Refusal> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (told, records): (Vec<Told>, Vec<NewRecord>) =
            batch.into_iter().map(|g| self.split_good(g)).unzip();
        let outcomes = self.node.ledger().put(records).await?;
        Ok(told
            .into_iter()
            .zip(outcomes)
            .map(|(told, outcome)| match outcome {
                Ok(done) => self.stored(told, done),
                Err(fault) => told.refused(&Refusal::from(fault)),
            })
            .collect())
    }

    /// A transaction: one frame or nothing.
    pub(super) async fn store_all(
        &self,
        judged: Vec<Judged>,
    ) -> Result<Vec<v1::PutResponse>, Refusal> {
        let good = judged.into_iter().filter_map(|j| {
            if let Judged::Good(g) = j {
                Some(*g)
            } else {
                None
            }
        });
        let (told, records): (Vec<Told>, Vec<NewRecord>) = good.map(|g| self.split_good(g)).unzip();
        match self.node.ledger().put_all(records).await {
            Ok(done) => Ok(told
                .into_iter()
                .zip(done)
                .map(|(t, d)| self.stored(t, d))
                .collect()),
            Err(
                fault @ (LedgerError::Conflict
                | LedgerError::SubjectChanged
                | LedgerError::Erased
                | LedgerError::TooLarge),
            ) => {
                let refusal =
                    Refusal::with_detail(fault.reason(), "the transaction was not stored");
                Ok(told.into_iter().map(|t| t.refused(&refusal)).collect())
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// A transaction with a bad entry: the bad ones are set aside, the others are not stored.
    pub(super) async fn refuse_transaction(
        &self,
        judged: Vec<Judged>,
    ) -> Result<Vec<v1::PutResponse>, Refusal> {
        let refusal = Refusal::with_detail(
            ReasonCode::RecordInvalid,
            "another entry of the transaction is not valid, or it has too many entries; nothing of it was stored",
        );
        let mut results = Vec::with_capacity(judged.len());
        for one in judged {
            match one {
                Judged::Good(good) => results.push(self.split_good(*good).0.refused(&refusal)),
                Judged::Bad(bad) => results.push(self.set_aside(*bad).await?),
            }
        }
        Ok(results)
    }

    fn split_good(&self, good: Good) -> (Told, NewRecord) {
        let Good {
            position,
            examined,
            subject,
            original,
            id,
            version,
        } = good;
        let warnings = fhir::OperationOutcome {
            issues: examined.warnings,
            left_out: 0,
        };
        let told = Told {
            position,
            resource_type: examined.resource_type.clone(),
            id: id.clone(),
            type_code: examined.type_code.to_string(),
            outcome_json: if warnings.issues.is_empty() {
                Vec::new()
            } else {
                warnings.to_json().into_bytes()
            },
        };
        let header = RecordHeader {
            source: self.source.clone(),
            resource_type: examined.resource_type,
            id,
            version,
            type_code: examined.type_code,
            level: examined.level,
            effective: examined.effective,
            received: self.node.clock.now(),
        };
        (
            told,
            NewRecord {
                subject,
                header,
                original,
            },
        )
    }

    fn stored(&self, told: Told, done: PutDone) -> v1::PutResponse {
        let outcome = if done.stored {
            v1::PutOutcome::Stored
        } else {
            v1::PutOutcome::Unchanged
        };
        v1::PutResponse {
            position: told.position,
            outcome: outcome.into(),
            resource_type: told.resource_type,
            record_id: told.id,
            record_type: told.type_code,
            leaf: Some(v1::LeafRef {
                member_id: self.node.config.member.to_string(),
                seq: done.seq,
                exchange_id: done.xid.map(|x| x.as_bytes().to_vec()).unwrap_or_default(),
            }),
            operation_outcome_json: told.outcome_json,
            ..Default::default()
        }
    }

    async fn set_aside(&self, bad: Bad) -> Result<v1::PutResponse, Refusal> {
        let mut result = v1::PutResponse {
            position: bad.position,
            outcome: v1::PutOutcome::Refused.into(),
            resource_type: bad.resource_type.clone(),
            record_id: bad.id.clone(),
            reason: Some(reason_message(bad.reason, None)),
            operation_outcome_json: bad.outcome_json.clone(),
            ..Default::default()
        };
        // What is no record of the catalogue, too large, or names an impossible person is not kept at all.
        let keep = !matches!(
            bad.reason,
            ReasonCode::TypeUnknown | ReasonCode::RecordTooLarge | ReasonCode::SubjectInvalid
        ) && !bad.original.is_empty();
        if keep {
            let acked = self
                .node
                .ledger()
                .quarantine(Quarantined {
                    source: self.source.clone(),
                    resource_type: bad.resource_type,
                    id: bad.id,
                    subject: bad.subject,
                    reason: bad.reason,
                    outcome_json: bad.outcome_json,
                    original: bad.original,
                })
                .await?;
            result.outcome = v1::PutOutcome::Quarantined.into();
            result.quarantine_id = acked.seq();
        }
        Ok(result)
    }
}

/// What the sender is told of a record.
struct Told {
    position: u64,
    resource_type: String,
    id: String,
    type_code: String,
    outcome_json: Vec<u8>,
}

impl Told {
    fn refused(self, refusal: &Refusal) -> v1::PutResponse {
        v1::PutResponse {
            position: self.position,
            outcome: v1::PutOutcome::Refused.into(),
            resource_type: self.resource_type,
            record_id: self.id,
            record_type: self.type_code,
            reason: Some(reason_message(refusal.reason, refusal.detail.as_deref())),
            ..Default::default()
        }
    }
}
