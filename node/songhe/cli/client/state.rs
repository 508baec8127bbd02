//! `songhe erase` and `songhe status`.

use clap::Args;
use serde_json::json;
use wire::v1;

use super::{NodeArgs, SubjectArgs};
use crate::cli::output::{self, table};
use crate::cli::{Done, Outcome};

/// Erasure.
#[derive(Debug, Args)]
pub(crate) struct EraseArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// request, retention or court
    #[arg(long)]
    ground: String,
    #[command(flatten)]
    node: NodeArgs,
}

pub(in crate::cli) async fn erase(args: EraseArgs) -> Outcome {
    let request = v1::EraseSubjectRequest {
        subject: args.subject.message()?,
        ground: args.ground,
    };
    let answer = args
        .node
        .client()?
        .erase_subject(request)
        .await?
        .into_inner();
    output::line(&format!(
        "the key is destroyed, {} stored bodies are overwritten, event {}",
        answer.bodies,
        answer.leaf.map_or(0, |l| l.seq)
    ));
    Ok(Done::Whole)
}

/// A node's state.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeArgs,
}

pub(in crate::cli) async fn status(args: StatusArgs) -> Outcome {
    let s = args
        .node
        .client()?
        .status(v1::StatusRequest {})
        .await?
        .into_inner();
    if args.json {
        output::json(&json!({
            "member": s.member_id, "version": s.version, "protocol": s.protocol, "state": s.state,
            "reasons": s.reasons.iter().map(|r| &r.code).collect::<Vec<_>>(), "events": s.events, "records": s.records,
            "policy": record::id::hex_encode(&s.policy_digest), "directory_version": s.directory_version,
            "directory_expires": output::moment(s.directory_expires_ms),
            "members": s.members.iter().map(|m| json!({"id": m.member_id, "kind": m.kind, "status": m.status})).collect::<Vec<_>>(),
        }));
        return Ok(Done::Whole);
    }
    output::line(&format!(
        "{} {}, {} events, {} records, policy {}, directory {} until {}",
        s.member_id,
        s.state,
        s.events,
        s.records,
        record::id::hex_encode(s.policy_digest.get(..8).unwrap_or_default()),
        s.directory_version,
        output::moment(s.directory_expires_ms)
    ));
    for reason in &s.reasons {
        output::line(&format!(
            "  {}: {}（{}）",
            reason.code, reason.en, reason.zh
        ));
    }
    let rows: Vec<Vec<String>> = s
        .members
        .into_iter()
        .map(|m| {
            vec![
                m.member_id,
                m.name,
                m.kind,
                m.district,
                m.status,
                m.endpoint,
            ]
        })
        .collect();
    output::line(&table(
        &["member", "name", "kind", "district", "status", "endpoint"],
        &rows,
    ));
    Ok(Done::Whole)
}
