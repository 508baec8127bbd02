//! `songhe quarantine`: records that broke a rule, corrected or dropped by the system that sent them.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};
use wire::v1;

use super::put::{outcome_name, read_file};
use super::{NodeArgs, SubjectArgs};
use crate::cli::output::{self, table};
use crate::cli::{Done, Outcome};

/// Quarantine.
#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List what this system sent and broke a rule
    List {
        /// Show the records too
        #[arg(long)]
        records: bool,
        /// The source, if records were put under a part of this system's name
        #[arg(long)]
        source: Option<String>,
        /// One JSON object for each
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Store a corrected record instead, try the same again, or drop it
    Resolve {
        /// The entry
        id: u64,
        /// File with the corrected record
        #[arg(long)]
        corrected: Option<PathBuf>,
        /// Forget it
        #[arg(long, conflicts_with = "corrected")]
        drop: bool,
        /// The source, if records were put under a part of this system's name
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        subject: SubjectArgs,
        #[command(flatten)]
        node: NodeArgs,
    },
}

pub(in crate::cli) async fn quarantine(command: QuarantineCommand) -> Outcome {
    match command {
        QuarantineCommand::List {
            records,
            source,
            json,
            node,
        } => {
            let request = v1::ListQuarantineRequest {
                limit: 1000,
                after_id: 0,
                source: source.unwrap_or_default(),
            };
            let mut entries = node.client()?.list_quarantine(request).await?.into_inner();
            let mut rows = Vec::new();
            while let Some(e) = entries.message().await? {
                let outcome: Value =
                    serde_json::from_slice(&e.operation_outcome_json).unwrap_or(Value::Null);
                let reason = e.reason.unwrap_or_default();
                if json {
                    let record = if records {
                        serde_json::from_slice(&e.fhir_json).unwrap_or(Value::Null)
                    } else {
                        Value::Null
                    };
                    output::json(&json!({
                        "id": e.quarantine_id, "resource": format!("{}/{}", e.resource_type, e.record_id), "reason": reason.code,
                        "received": output::moment(e.received_ms), "operation_outcome": outcome, "record": record,
                    }));
                    continue;
                }
                let issues = outcome
                    .get("issue")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default();
                let what: Vec<String> = issues
                    .iter()
                    .map(|i| {
                        let at = i
                            .pointer("/expression/0")
                            .and_then(Value::as_str)
                            .unwrap_or_default();
                        let why = i
                            .get("diagnostics")
                            .and_then(Value::as_str)
                            .unwrap_or_default();
                        format!("{at} {why}").trim().to_owned()
                    })
                    .collect();
                rows.push(vec![
                    e.quarantine_id.to_string(),
                    format!("{}/{}", e.resource_type, e.record_id),
                    format!("{} {}", reason.code, reason.zh),
                    what.join("\n"),
                ]);
            }
            if !json {
                output::line(&table(
                    &["id", "resource", "reason", "what is wrong"],
                    &rows,
                ));
            }
            Ok(Done::Whole)
        }
        QuarantineCommand::Resolve {
            id,
            corrected,
            drop,
            source,
            subject,
            node,
        } => {
            use v1::resolve_quarantine_request::Resolution;
            let resolution = match (corrected, drop) {
                (Some(file), _) => Resolution::CorrectedJson(read_file(&file)?),
                (None, true) => Resolution::Drop(true),
                (None, false) => Resolution::Resubmit(true),
            };
            let request = v1::ResolveQuarantineRequest {
                quarantine_id: id,
                resolution: Some(resolution),
                subject: subject.message()?,
                source: source.unwrap_or_default(),
            };
            let result = node
                .client()?
                .resolve_quarantine(request)
                .await?
                .into_inner()
                .result
                .unwrap_or_default();
            let name = if drop {
                "dropped"
            } else {
                outcome_name(result.outcome)
            };
            output::line(&format!(
                "{name}{}",
                result
                    .reason
                    .map(|r| format!(": {} {}", r.code, r.en))
                    .unwrap_or_default()
            ));
            Ok(if matches!(name, "quarantined" | "refused") {
                Done::InPart
            } else {
                Done::Whole
            })
        }
    }
}
