//! `songhe consent`: what a person permits and refuses, registered at the agency's counter.

use clap::{Args, Subcommand};
use record::Timestamp;
use serde_json::json;
use wire::v1;

use super::{NodeArgs, SubjectArgs, fault};
use crate::cli::output::{self, table};
use crate::cli::{Done, Outcome};

/// Consents.
#[derive(Debug, Subcommand)]
pub(crate) enum ConsentCommand {
    /// Register what a person permits, or with --refuse what they do not
    Grant(GrantArgs),
    /// Withdraw a consent; in effect when the command returns
    Withdraw {
        #[command(flatten)]
        subject: SubjectArgs,
        /// The consent's id, 32 hexadecimal digits
        id: String,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// List a person's consents, withdrawn ones included
    List {
        #[command(flatten)]
        subject: SubjectArgs,
        /// One JSON object for each consent
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        node: NodeArgs,
    },
}

/// Terms of a consent.
#[derive(Debug, Args)]
pub(crate) struct GrantArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// It is a refusal
    #[arg(long)]
    refuse: bool,
    /// elder, guardian or proxy
    #[arg(long, default_value = "elder")]
    grantor: String,
    /// counter, paper, recording or electronic
    #[arg(long, default_value = "counter")]
    evidence: String,
    /// SHA-256 of the paper or recording
    #[arg(long, default_value = "")]
    evidence_sha256: String,
    /// A member that may receive; none and no kind: every member
    #[arg(long = "to")]
    recipients: Vec<String>,
    /// A kind of members that may receive
    #[arg(long = "to-kind")]
    kinds: Vec<String>,
    /// A purpose
    #[arg(long = "purpose")]
    purposes: Vec<String>,
    /// A record type; none: every type
    #[arg(long = "type")]
    types: Vec<String>,
    /// Highest data level, 1 to 5
    #[arg(long, default_value_t = 3)]
    level: u32,
    /// Ends at this moment (RFC 3339); without it a year from now
    #[arg(long)]
    until: Option<String>,
    #[command(flatten)]
    node: NodeArgs,
}

pub(in crate::cli) async fn consent(command: ConsentCommand) -> Outcome {
    match command {
        ConsentCommand::Grant(args) => grant(args).await,
        ConsentCommand::Withdraw { subject, id, node } => {
            let consent_id = record::ConsentId::from_hex(&id)
                .map_err(fault)?
                .as_bytes()
                .to_vec();
            let request = v1::WithdrawConsentRequest {
                subject: subject.message()?,
                consent_id,
            };
            let answer = node.client()?.withdraw_consent(request).await?.into_inner();
            output::note(&format!(
                "withdrawn, event {}",
                answer.leaf.map_or(0, |l| l.seq)
            ));
            Ok(Done::Whole)
        }
        ConsentCommand::List {
            subject,
            json,
            node,
        } => {
            let request = v1::ListConsentsRequest {
                subject: subject.message()?,
            };
            let answer = node.client()?.list_consents(request).await?.into_inner();
            list_consents(answer.consents, json);
            Ok(Done::Whole)
        }
    }
}

async fn grant(args: GrantArgs) -> Outcome {
    let until_ms = match &args.until {
        None => 0,
        Some(text) => Timestamp::parse_rfc3339(text)
            .map(Timestamp::as_ms)
            .ok_or_else(|| fault("a moment is written like 2026-11-01T00:00:00Z"))?,
    };
    let effect = if args.refuse {
        v1::ConsentEffect::Refuse
    } else {
        v1::ConsentEffect::Permit
    };
    let terms = v1::ConsentTerms {
        effect: effect.into(),
        grantor: args.grantor,
        evidence_method: args.evidence,
        evidence_sha256: args.evidence_sha256,
        recipient_ids: args.recipients,
        recipient_kinds: args.kinds,
        purposes: args.purposes,
        record_types: args.types,
        level_ceiling: args.level,
        from_ms: 0,
        until_ms,
    };
    let request = v1::GrantConsentRequest {
        subject: args.subject.message()?,
        terms: Some(terms),
    };
    let answer = args
        .node
        .client()?
        .grant_consent(request)
        .await?
        .into_inner();
    output::line(&record::id::hex_encode(&answer.consent_id));
    Ok(Done::Whole)
}

fn list_consents(consents: Vec<v1::ConsentEntry>, as_json: bool) {
    let mut rows = Vec::new();
    for c in consents {
        let terms = c.terms.unwrap_or_default();
        let id = record::id::hex_encode(&c.consent_id);
        let effect = if terms.effect == i32::from(v1::ConsentEffect::Refuse) {
            "refuse"
        } else {
            "permit"
        };
        let to: Vec<String> = terms
            .recipient_ids
            .iter()
            .chain(&terms.recipient_kinds)
            .cloned()
            .collect();
        if as_json {
            output::json(&json!({
                "id": id, "state": c.state, "effect": effect, "grantor": terms.grantor, "to": to, "purposes": terms.purposes,
                "types": terms.record_types, "level": terms.level_ceiling, "from": output::moment(terms.from_ms),
                "until": output::moment(terms.until_ms), "registered_by": c.registered_by,
            }));
        } else {
            let every = |list: &[String]| {
                if list.is_empty() {
                    "every".to_owned()
                } else {
                    list.join(" ")
                }
            };
            rows.push(vec![
                id,
                c.state,
                effect.into(),
                every(&to),
                every(&terms.purposes),
                every(&terms.record_types),
                terms.level_ceiling.to_string(),
                output::moment(terms.until_ms),
            ]);
        }
    }
    if !as_json {
        output::line(&table(
            &[
                "id", "state", "effect", "to", "purposes", "types", "level", "until",
            ],
            &rows,
        ));
    }
}
