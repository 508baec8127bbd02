//! `songhe put`: files of FHIR records to the agency's own node.

use std::path::{Path, PathBuf};

use clap::Args;
use record::{ReasonCode, Refusal};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use wire::v1;

use super::{Client, NodeArgs, SubjectArgs};
use crate::cli::generate::progress_bar;
use crate::cli::output::{self, table};
use crate::cli::{Done, Failure, Outcome};
use crate::serve::MESSAGE_MAX;

/// Rows of the table of what was not stored.
const ROWS_MAX: usize = 100;
/// How much of a file is sent in one message.
const CHUNK: usize = 1 << 20;

/// Storing records.
#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// Files: .json (a resource or Bundle) or .ndjson; .gz of either
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    subject: SubjectArgs,
    /// Store what can be stored of a transaction Bundle, entry by entry
    #[arg(long)]
    each_entry: bool,
    /// One JSON object on a line for each record that was not stored, and a summary
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Counts of a put.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct PutCounts {
    /// Stored now.
    pub(crate) stored: u64,
    /// Stored before.
    pub(crate) unchanged: u64,
    /// Set aside.
    pub(crate) quarantined: u64,
    /// Not kept.
    pub(crate) refused: u64,
}

impl PutCounts {
    /// All of them.
    #[must_use]
    pub(crate) const fn total(&self) -> u64 {
        self.stored + self.unchanged + self.quarantined + self.refused
    }

    /// Counts one result.
    pub(crate) fn count(&mut self, result: &v1::PutResponse) {
        match v1::PutOutcome::try_from(result.outcome) {
            Ok(v1::PutOutcome::Stored) => self.stored += 1,
            Ok(v1::PutOutcome::Unchanged) => self.unchanged += 1,
            Ok(v1::PutOutcome::Quarantined) => self.quarantined += 1,
            Ok(v1::PutOutcome::Refused | v1::PutOutcome::Unspecified) | Err(_) => self.refused += 1,
        }
    }
}

/// Reads a file, through gzip if its name ends so.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let named = |e: std::io::Error| Failure::Fault(format!("{}: {e}", path.display()));
    let file = std::fs::File::open(path).map_err(named)?;
    let mut bytes = Vec::new();
    // One byte above what a node takes: enough to know that it is too much.
    let most = MESSAGE_MAX as u64 + 1;
    if path.extension().is_some_and(|e| e == "gz") {
        flate2::read::GzDecoder::new(file)
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(named)?;
    } else {
        file.take(most).read_to_end(&mut bytes).map_err(named)?;
    }
    Ok(bytes)
}

fn format_of(path: &Path, bytes: &[u8]) -> v1::PutFormat {
    let name = path.to_string_lossy();
    if name.trim_end_matches(".gz").ends_with(".ndjson") {
        return v1::PutFormat::Ndjson;
    }
    let head = bytes.get(..bytes.len().min(4096)).unwrap_or_default();
    let compact: Vec<u8> = head
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    let is_bundle = compact
        .windows(23)
        .any(|w| w == br#""resourceType":"Bundle""#);
    if is_bundle {
        v1::PutFormat::Bundle
    } else {
        v1::PutFormat::Resource
    }
}

pub(in crate::cli) async fn put(args: PutArgs) -> Outcome {
    let client = args.node.client()?;
    let subject = args.subject.message()?;
    let mut counts = PutCounts::default();
    let mut rows = Vec::new();
    let bar = progress_bar(args.files.len() as u64, "files");
    for path in &args.files {
        let bytes = read_file(path)?;
        let format = format_of(path, &bytes);
        if bytes.len() > MESSAGE_MAX && format != v1::PutFormat::Ndjson {
            let detail = format!("{} has more than {MESSAGE_MAX} bytes", path.display());
            return Err(Refusal::with_detail(ReasonCode::RecordTooLarge, detail).into());
        }
        let open = v1::PutOpen {
            source: String::new(),
            format: format.into(),
            each_entry: args.each_entry,
        };
        let items = match format {
            v1::PutFormat::Ndjson => chunks(&bytes, subject.as_ref()),
            v1::PutFormat::Unspecified | v1::PutFormat::Resource | v1::PutFormat::Bundle => {
                vec![v1::PutItem {
                    data: bytes,
                    subject: subject.clone(),
                    last: true,
                }]
            }
        };
        let mut results = put_items(client.clone(), open, items).await?;
        while let Some(result) = results.message().await? {
            counts.count(&result);
            let bad = result.reason.is_some();
            if bad && args.json {
                output::json(&put_json(path, &result));
            } else if bad {
                rows.push(vec![
                    path.display().to_string(),
                    result.position.to_string(),
                    format!("{}/{}", result.resource_type, result.record_id),
                    outcome_name(result.outcome).into(),
                    result
                        .reason
                        .as_ref()
                        .map(|r| format!("{}: {}（{}）", r.code, r.en, r.zh))
                        .into_iter()
                        .chain(what_is_wrong(&result.operation_outcome_json))
                        .collect::<Vec<_>>()
                        .join("\n"),
                ]);
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if args.json {
        output::json(&json!({"summary": {
            "stored": counts.stored, "unchanged": counts.unchanged, "quarantined": counts.quarantined,
            "refused": counts.refused, "total": counts.total(),
        }}));
    } else {
        let more = rows.len().saturating_sub(ROWS_MAX);
        rows.truncate(ROWS_MAX);
        if !rows.is_empty() {
            output::line(&table(
                &["file", "record", "resource", "outcome", "why"],
                &rows,
            ));
        }
        if more > 0 {
            output::line(&format!("… and {more} more; --json shows them all"));
        }
        output::line(&format!(
            "{} stored, {} stored before, {} in quarantine, {} refused",
            counts.stored, counts.unchanged, counts.quarantined, counts.refused
        ));
    }
    Ok(if counts.quarantined + counts.refused == 0 {
        Done::Whole
    } else {
        Done::InPart
    })
}

/// Cuts NDJSON into items anywhere; the last is marked.
#[must_use]
pub(crate) fn chunks(bytes: &[u8], subject: Option<&v1::Subject>) -> Vec<v1::PutItem> {
    let mut items: Vec<v1::PutItem> = bytes
        .chunks(CHUNK)
        .map(|part| v1::PutItem {
            data: part.to_vec(),
            subject: subject.cloned(),
            last: false,
        })
        .collect();
    match items.last_mut() {
        Some(item) => item.last = true,
        None => items.push(v1::PutItem {
            last: true,
            ..Default::default()
        }),
    }
    items
}

/// Opens a put stream and sends the items while results come.
pub(crate) async fn put_items(
    mut client: Client,
    open: v1::PutOpen,
    items: Vec<v1::PutItem>,
) -> Result<tonic::Streaming<v1::PutResponse>, Failure> {
    let (send, receive) = mpsc::channel(8);
    tokio::spawn(async move {
        let first = v1::PutRequest {
            part: Some(v1::put_request::Part::Open(open)),
        };
        if send.send(first).await.is_err() {
            return;
        }
        for item in items {
            let message = v1::PutRequest {
                part: Some(v1::put_request::Part::Item(item)),
            };
            if send.send(message).await.is_err() {
                return;
            }
        }
    });
    Ok(client.put(ReceiverStream::new(receive)).await?.into_inner())
}

/// The name of a put outcome.
#[must_use]
pub(crate) fn outcome_name(outcome: i32) -> &'static str {
    match v1::PutOutcome::try_from(outcome) {
        Ok(v1::PutOutcome::Stored) => "stored",
        Ok(v1::PutOutcome::Unchanged) => "unchanged",
        Ok(v1::PutOutcome::Quarantined) => "quarantined",
        Ok(v1::PutOutcome::Refused | v1::PutOutcome::Unspecified) | Err(_) => "refused",
    }
}

fn put_json(path: &Path, result: &v1::PutResponse) -> Value {
    let outcome: Value =
        serde_json::from_slice(&result.operation_outcome_json).unwrap_or(Value::Null);
    json!({
        "file": path, "record": result.position, "outcome": outcome_name(result.outcome),
        "resource": format!("{}/{}", result.resource_type, result.record_id),
        "reason": result.reason.as_ref().map(|r| &r.code), "operation_outcome": outcome,
        "quarantine_id": result.quarantine_id,
    })
}

/// The findings of an `OperationOutcome`: the place and the rule.
pub(super) fn what_is_wrong(outcome_json: &[u8]) -> Vec<String> {
    let outcome: Value = serde_json::from_slice(outcome_json).unwrap_or(Value::Null);
    let text = |issue: &Value, at: &str| {
        let found = issue.pointer(at).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let issues = outcome.get("issue").and_then(Value::as_array);
    issues
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .map(|i| {
            let line = format!("{} {}", text(i, "/expression/0"), text(i, "/diagnostics"));
            line.trim().to_owned()
        })
        .collect()
}
