//! `songhe locate` and `songhe fetch`: what other members have about a person.

use clap::Args;
use record::{ReasonCode, Refusal, Timestamp};
use serde_json::{Value, json};
use wire::v1;

use super::{NodeArgs, SubjectArgs, fault};
use crate::cli::output::{self, table};
use crate::cli::{Done, Failure, Outcome};
use crate::convert::tier_name;

/// What is asked for and why.
#[derive(Debug, Clone, Args)]
pub(crate) struct QueryArgs {
    /// Record type of the catalogue; may be given several times
    #[arg(long = "type", required = true, value_name = "TYPE")]
    types: Vec<String>,
    /// HL7 v3 PurposeOfUse: TREAT, CAREMGT, ELIGDTRM …
    #[arg(long)]
    purpose: String,
    /// consent, contract, statutory-duty, public-health or vital-interest
    #[arg(long, default_value = "consent")]
    basis: String,
    /// Only records at or after this moment (RFC 3339)
    #[arg(long)]
    since: Option<String>,
    /// Only records before this moment (RFC 3339)
    #[arg(long)]
    until: Option<String>,
    /// The most records of each member
    #[arg(long, default_value_t = 0)]
    limit: u32,
    /// Older versions of records too
    #[arg(long)]
    history: bool,
    /// Ask only these members
    #[arg(long = "member")]
    members: Vec<String>,
    /// Wait so long for each member, milliseconds
    #[arg(long, default_value_t = 5000)]
    deadline_ms: u32,
    /// One JSON object on a line for each answer
    #[arg(long)]
    json: bool,
}

impl QueryArgs {
    fn query(&self) -> Result<v1::Query, Failure> {
        let moment = |text: &Option<String>| match text {
            None => Ok(0),
            Some(t) => Timestamp::parse_rfc3339(t)
                .map(Timestamp::as_ms)
                .ok_or_else(|| fault("a moment is written like 2026-11-01T00:00:00Z")),
        };
        Ok(v1::Query {
            record_types: self.types.clone(),
            since_ms: moment(&self.since)?,
            until_ms: moment(&self.until)?,
            limit: self.limit,
            history: self.history,
        })
    }

    fn intent(&self) -> v1::Intent {
        v1::Intent {
            purpose: self.purpose.clone(),
            basis: self.basis.clone(),
        }
    }
}

/// Where records are.
#[derive(Debug, Args)]
pub(crate) struct LocateArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    query: QueryArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// What the members' answers add up to, for the exit code.
#[derive(Default)]
struct Tally {
    answered: bool,
    failed: bool,
    refused: Option<Refusal>,
}

impl Tally {
    fn count(&mut self, outcome: i32, reason: Option<&v1::Reason>) {
        match member_outcome(outcome) {
            "refused" => {
                let code = reason.and_then(|r| ReasonCode::parse(&r.code));
                self.refused = Some(Refusal::new(code.unwrap_or(ReasonCode::Internal)));
            }
            "unreachable" => self.failed = true,
            _ => self.answered = true,
        }
    }

    /// Refused by every member that answered: refused. Some of each: done in part.
    fn outcome(self) -> Outcome {
        match self.refused {
            Some(refusal) if !self.answered && !self.failed => Err(Failure::Refused(refusal)),
            None if !self.failed => {
                if !self.answered {
                    output::note("no other member is active, so nobody was asked");
                }
                Ok(Done::Whole)
            }
            Some(_) | None => Ok(Done::InPart),
        }
    }
}

pub(in crate::cli) async fn locate(args: LocateArgs) -> Outcome {
    let mut client = args.node.client()?;
    let request = v1::FederatedLocateRequest {
        subject: args.subject.message()?,
        query: Some(args.query.query()?),
        intent: Some(args.query.intent()),
        member_ids: args.query.members.clone(),
        deadline_ms: args.query.deadline_ms,
    };
    let mut answers = client.locate(request).await?.into_inner();
    let mut rows = Vec::new();
    let mut tally = Tally::default();
    while let Some(a) = answers.message().await? {
        tally.count(a.outcome, a.reason.as_ref());
        if args.query.json {
            output::json(&json!({
                "member": a.member_id, "outcome": member_outcome(a.outcome), "elapsed_ms": a.elapsed_ms,
                "reason": a.reason.as_ref().map(|r| &r.code), "leaf": a.leaf.as_ref().map(|l| l.seq),
                "holdings": a.holdings.iter().map(|h| json!({
                    "type": h.record_type, "records": h.records, "newest": output::moment(h.newest_ms),
                })).collect::<Vec<_>>(),
                "tiers": a.grants.iter().map(|g| (g.record_type.clone(), json!(tier_name(g.tier)))).collect::<serde_json::Map<_, _>>(),
            }));
            continue;
        }
        if a.holdings.is_empty() {
            let why = a
                .reason
                .map(|r| format!("{}: {}（{}）", r.code, r.en, r.zh))
                .unwrap_or_default();
            rows.push(vec![
                a.member_id,
                member_outcome(a.outcome).into(),
                String::new(),
                String::new(),
                why,
            ]);
            continue;
        }
        for h in a.holdings {
            let records = if h.records == 0 {
                "some".into()
            } else {
                h.records.to_string()
            };
            rows.push(vec![
                a.member_id.clone(),
                "data".into(),
                h.record_type,
                records,
                output::moment(h.newest_ms),
            ]);
        }
    }
    if !args.query.json {
        output::line(&table(
            &["member", "outcome", "type", "records", "newest / why"],
            &rows,
        ));
    }
    tally.outcome()
}

/// The records.
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    query: QueryArgs,
    /// Go on behind a page of one member: the cursor that came with it
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    node: NodeArgs,
}

pub(in crate::cli) async fn fetch(args: FetchArgs) -> Outcome {
    let mut client = args.node.client()?;
    let request = v1::FederatedFetchRequest {
        subject: args.subject.message()?,
        query: Some(args.query.query()?),
        intent: Some(args.query.intent()),
        member_ids: args.query.members.clone(),
        deadline_ms: args.query.deadline_ms,
        cursor: args.cursor.clone().unwrap_or_default().into_bytes(),
    };
    let mut answers = client.fetch(request).await?.into_inner();
    let mut rows = Vec::new();
    let mut tally = Tally::default();
    while let Some(a) = answers.message().await? {
        let cursor = String::from_utf8_lossy(&a.cursor).into_owned();
        for r in &a.records {
            if args.query.json {
                let fhir: Value = serde_json::from_slice(&r.fhir_json).unwrap_or(Value::Null);
                output::json(&json!({
                    "member": a.member_id, "type": r.record_type, "tier": tier_name(r.tier), "level": r.level,
                    "source": r.source, "resource": format!("{}/{}", r.resource_type, r.record_id), "version": r.version,
                    "masked_groups": r.masked_groups, "leaf": a.leaf.as_ref().map(|l| l.seq), "cursor": cursor, "fhir": fhir,
                }));
            } else {
                rows.push(vec![
                    a.member_id.clone(),
                    r.record_type.clone(),
                    tier_name(r.tier).into(),
                    format!("{}/{}", r.resource_type, r.record_id),
                    output::moment(r.effective_ms),
                    r.masked_groups.join(" "),
                ]);
            }
        }
        let ended = a.outcome != i32::from(v1::MemberOutcome::Unspecified);
        if ended {
            tally.count(a.outcome, a.reason.as_ref());
            if args.query.json {
                output::json(&json!({
                    "member": a.member_id, "outcome": member_outcome(a.outcome), "elapsed_ms": a.elapsed_ms,
                    "reason": a.reason.as_ref().map(|r| &r.code),
                }));
            } else if let Some(reason) = &a.reason {
                rows.push(vec![
                    a.member_id.clone(),
                    String::new(),
                    member_outcome(a.outcome).into(),
                    String::new(),
                    String::new(),
                    format!("{}: {}（{}）", reason.code, reason.en, reason.zh),
                ]);
            }
        }
    }
    if !args.query.json {
        output::line(&table(
            &["member", "type", "tier", "resource", "time", "masked / why"],
            &rows,
        ));
    }
    tally.outcome()
}

/// The name of a member's outcome.
#[must_use]
pub fn member_outcome(outcome: i32) -> &'static str {
    match v1::MemberOutcome::try_from(outcome) {
        Ok(v1::MemberOutcome::Data) => "data",
        Ok(v1::MemberOutcome::Nothing) => "nothing",
        Ok(v1::MemberOutcome::Refused) => "refused",
        Ok(v1::MemberOutcome::Unreachable) => "unreachable",
        Ok(v1::MemberOutcome::Unspecified) | Err(_) => "more",
    }
}
