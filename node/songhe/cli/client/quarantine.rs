//! `songhe quarantine`: records that broke a rule, corrected or dropped by the system that sent them.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};
use wire::v1;

use super::put::{outcome_name, read_file, what_is_wrong};
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
        } => list(&node, source.unwrap_or_default(), records, json).await,
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

/// Pages until a page is empty: the node may give fewer than were asked for.
async fn list(node: &NodeArgs, source: String, records: bool, as_json: bool) -> Outcome {
    let mut client = node.client()?;
    let mut rows = Vec::new();
    let mut after_id = 0;
    loop {
        let request = v1::ListQuarantineRequest {
            limit: 1000,
            after_id,
            source: source.clone(),
        };
        let mut entries = client.list_quarantine(request).await?.into_inner();
        let before = after_id;
        while let Some(entry) = entries.message().await? {
            after_id = entry.quarantine_id;
            if as_json {
                output::json(&as_object(&entry, records));
            } else {
                rows.push(as_row(&entry));
            }
        }
        if after_id == before {
            break;
        }
    }
    if !as_json {
        let headings = ["id", "resource", "reason", "what is wrong"];
        output::line(&table(&headings, &rows));
    }
    Ok(Done::Whole)
}

fn named(entry: &v1::ListQuarantineResponse) -> String {
    format!("{}/{}", entry.resource_type, entry.record_id)
}

fn as_object(entry: &v1::ListQuarantineResponse, records: bool) -> Value {
    let record = if records {
        serde_json::from_slice(&entry.fhir_json).unwrap_or(Value::Null)
    } else {
        Value::Null
    };
    json!({
        "id": entry.quarantine_id,
        "resource": named(entry),
        "reason": entry.reason.as_ref().map(|r| &r.code),
        "received": output::moment(entry.received_ms),
        "operation_outcome": serde_json::from_slice::<Value>(&entry.operation_outcome_json).unwrap_or(Value::Null),
        "record": record,
    })
}

fn as_row(entry: &v1::ListQuarantineResponse) -> Vec<String> {
    let reason = entry.reason.clone().unwrap_or_default();
    vec![
        entry.quarantine_id.to_string(),
        named(entry),
        format!("{} {}", reason.code, reason.zh),
        what_is_wrong(&entry.operation_outcome_json).join("\n"),
    ]
}
