//! The commands of agencies: put, locate, fetch, consent, quarantine, erase, status. They talk to their own node.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use federation::{Endpoint, PresentedIdentity, ReloadableCert, present};
use record::{ReasonCode, Refusal, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use wire::v1;
use wire::v1::gateway_service_client::GatewayServiceClient;
use zeroize::Zeroizing;

use super::generate::progress_bar;
use super::output::{self, table};
use super::{Done, Failure, Outcome};
use crate::clock::SystemClock;
use crate::convert::tier_name;
use crate::home::{ca_from_pem, now};
use crate::serve::MESSAGE_MAX;

/// A client of the gateway.
pub type Client = GatewayServiceClient<tonic::transport::Channel>;

/// How much of a file is sent in one message.
const CHUNK: usize = 1 << 20;

fn fault(e: impl std::fmt::Display) -> Failure {
    Failure::Fault(e.to_string())
}

/// Whose certificate, which node.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// The node's gateway, host:port
    #[arg(long, env = "SONGHE_NODE", default_value = "127.0.0.1:7311")]
    node: String,
    /// The client's certificate NAME.pem; NAME.key and ca.pem lie beside it
    #[arg(long, env = "SONGHE_IDENTITY")]
    identity: PathBuf,
}

impl NodeArgs {
    /// For programs that know both.
    #[must_use]
    pub fn new(node: &str, identity: &Path) -> Self {
        Self { node: node.to_owned(), identity: identity.to_owned() }
    }

    /// Connects when first used.
    pub fn client(&self) -> Result<Client, Failure> {
        let read = |path: PathBuf| {
            std::fs::read_to_string(&path)
                .map(Zeroizing::new)
                .map_err(|e| Failure::Fault(format!("{}: {e}", path.display())))
        };
        let certificate = read(self.identity.clone())?;
        let key = read(self.identity.with_extension("key"))?;
        let ca = ca_from_pem(&read(self.identity.with_file_name("ca.pem"))?)?;
        let leaf = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| fault("the identity is no certificate in PEM"))?;
        let identity: PresentedIdentity = present(&leaf).map_err(fault)?;
        let clock = Arc::new(SystemClock);
        let loaded = ReloadableCert::new(identity, ca.clone(), &certificate, &key, now()).map_err(fault)?;
        let endpoint = Endpoint::parse(&self.node).map_err(fault)?;
        let channel = crate::dial::to_own_node(endpoint, &ca, Arc::new(loaded), clock)?;
        Ok(GatewayServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX))
    }
}

/// A person.
#[derive(Debug, Clone, Args)]
pub struct SubjectArgs {
    /// Resident identity number; '-' reads it from standard input, so that it stays out of the shell's history
    #[arg(long, value_name = "NUMBER")]
    subject: Option<String>,
}

impl SubjectArgs {
    fn message(&self) -> Result<Option<v1::Subject>, Failure> {
        let value = match self.subject.as_deref() {
            None => return Ok(None),
            Some("-") => {
                let mut line = String::new();
                std::io::stdin().read_line(&mut line).map_err(fault)?;
                line.trim().to_owned()
            }
            Some(number) => number.to_owned(),
        };
        Ok(Some(v1::Subject { system: String::new(), value }))
    }
}

/// What is asked for and why.
#[derive(Debug, Clone, Args)]
pub struct QueryArgs {
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
        v1::Intent { purpose: self.purpose.clone(), basis: self.basis.clone() }
    }
}

/// Storing records.
#[derive(Debug, Args)]
pub struct PutArgs {
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
pub struct PutCounts {
    /// Stored now.
    pub stored: u64,
    /// Stored before.
    pub unchanged: u64,
    /// Set aside.
    pub quarantined: u64,
    /// Not kept.
    pub refused: u64,
}

impl PutCounts {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.stored + self.unchanged + self.quarantined + self.refused
    }

    /// Counts one result.
    pub fn count(&mut self, result: &v1::PutResponse) {
        match v1::PutOutcome::try_from(result.outcome) {
            Ok(v1::PutOutcome::Stored) => self.stored += 1,
            Ok(v1::PutOutcome::Unchanged) => self.unchanged += 1,
            Ok(v1::PutOutcome::Quarantined) => self.quarantined += 1,
            Ok(v1::PutOutcome::Refused | v1::PutOutcome::Unspecified) | Err(_) => self.refused += 1,
        }
    }
}

/// Reads a file, through gzip if its name ends so.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let named = |e: std::io::Error| Failure::Fault(format!("{}: {e}", path.display()));
    let file = std::fs::File::open(path).map_err(named)?;
    let mut bytes = Vec::new();
    // One byte above what a node takes: enough to know that it is too much.
    let most = MESSAGE_MAX as u64 + 1;
    if path.extension().is_some_and(|e| e == "gz") {
        flate2::read::GzDecoder::new(file).take(most).read_to_end(&mut bytes).map_err(named)?;
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
    let compact: Vec<u8> = head.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    let is_bundle = compact.windows(23).any(|w| w == br#""resourceType":"Bundle""#);
    if is_bundle { v1::PutFormat::Bundle } else { v1::PutFormat::Resource }
}

pub(super) async fn put(args: PutArgs) -> Outcome {
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
        let open = v1::PutOpen { source: String::new(), format: format.into(), each_entry: args.each_entry };
        let items = match format {
            v1::PutFormat::Ndjson => chunks(&bytes, subject.as_ref()),
            v1::PutFormat::Unspecified | v1::PutFormat::Resource | v1::PutFormat::Bundle => {
                vec![v1::PutItem { data: bytes, subject: subject.clone(), last: true }]
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
                    result.reason.as_ref().map(|r| format!("{}: {}", r.code, r.en)).unwrap_or_default(),
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
        if !rows.is_empty() {
            output::line(&table(&["file", "record", "resource", "outcome", "why"], &rows));
        }
        output::line(&format!(
            "{} stored, {} stored before, {} in quarantine, {} refused",
            counts.stored, counts.unchanged, counts.quarantined, counts.refused
        ));
    }
    Ok(if counts.quarantined + counts.refused == 0 { Done::Whole } else { Done::InPart })
}

/// Cuts NDJSON into items anywhere; the last is marked.
#[must_use]
pub fn chunks(bytes: &[u8], subject: Option<&v1::Subject>) -> Vec<v1::PutItem> {
    let mut items: Vec<v1::PutItem> = bytes
        .chunks(CHUNK)
        .map(|part| v1::PutItem { data: part.to_vec(), subject: subject.cloned(), last: false })
        .collect();
    match items.last_mut() {
        Some(item) => item.last = true,
        None => items.push(v1::PutItem { last: true, ..Default::default() }),
    }
    items
}

/// Opens a put stream and sends the items while results come.
pub async fn put_items(
    mut client: Client,
    open: v1::PutOpen,
    items: Vec<v1::PutItem>,
) -> Result<tonic::Streaming<v1::PutResponse>, Failure> {
    let (send, receive) = mpsc::channel(8);
    tokio::spawn(async move {
        let first = v1::PutRequest { part: Some(v1::put_request::Part::Open(open)) };
        if send.send(first).await.is_err() {
            return;
        }
        for item in items {
            let message = v1::PutRequest { part: Some(v1::put_request::Part::Item(item)) };
            if send.send(message).await.is_err() {
                return;
            }
        }
    });
    Ok(client.put(ReceiverStream::new(receive)).await?.into_inner())
}

/// The name of a put outcome.
#[must_use]
pub fn outcome_name(outcome: i32) -> &'static str {
    match v1::PutOutcome::try_from(outcome) {
        Ok(v1::PutOutcome::Stored) => "stored",
        Ok(v1::PutOutcome::Unchanged) => "unchanged",
        Ok(v1::PutOutcome::Quarantined) => "quarantined",
        Ok(v1::PutOutcome::Refused | v1::PutOutcome::Unspecified) | Err(_) => "refused",
    }
}

fn put_json(path: &Path, result: &v1::PutResponse) -> Value {
    let outcome: Value = serde_json::from_slice(&result.operation_outcome_json).unwrap_or(Value::Null);
    json!({
        "file": path, "record": result.position, "outcome": outcome_name(result.outcome),
        "resource": format!("{}/{}", result.resource_type, result.record_id),
        "reason": result.reason.as_ref().map(|r| &r.code), "operation_outcome": outcome,
        "quarantine_id": result.quarantine_id,
    })
}

/// Where records are.
#[derive(Debug, Args)]
pub struct LocateArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    query: QueryArgs,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) async fn locate(args: LocateArgs) -> Outcome {
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
    let mut part = false;
    while let Some(a) = answers.message().await? {
        part |= matches!(member_outcome(a.outcome), "refused" | "unreachable");
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
            let why = a.reason.map(|r| format!("{}: {}（{}）", r.code, r.en, r.zh)).unwrap_or_default();
            rows.push(vec![a.member_id, member_outcome(a.outcome).into(), String::new(), String::new(), why]);
            continue;
        }
        for h in a.holdings {
            let records = if h.records == 0 { "some".into() } else { h.records.to_string() };
            rows.push(vec![a.member_id.clone(), "data".into(), h.record_type, records, output::moment(h.newest_ms)]);
        }
    }
    if !args.query.json {
        output::line(&table(&["member", "outcome", "type", "records", "newest / why"], &rows));
    }
    Ok(if part { Done::InPart } else { Done::Whole })
}

/// The records.
#[derive(Debug, Args)]
pub struct FetchArgs {
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

pub(super) async fn fetch(args: FetchArgs) -> Outcome {
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
    let mut part = false;
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
            part |= matches!(member_outcome(a.outcome), "refused" | "unreachable");
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
        output::line(&table(&["member", "type", "tier", "resource", "time", "masked / why"], &rows));
    }
    Ok(if part { Done::InPart } else { Done::Whole })
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

/// Consents.
#[derive(Debug, Subcommand)]
pub enum ConsentCommand {
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
pub struct GrantArgs {
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

pub(super) async fn consent(command: ConsentCommand) -> Outcome {
    match command {
        ConsentCommand::Grant(args) => grant(args).await,
        ConsentCommand::Withdraw { subject, id, node } => {
            let consent_id = record::ConsentId::from_hex(&id).map_err(fault)?.as_bytes().to_vec();
            let request = v1::WithdrawConsentRequest { subject: subject.message()?, consent_id };
            let answer = node.client()?.withdraw_consent(request).await?.into_inner();
            output::note(&format!("withdrawn, event {}", answer.leaf.map_or(0, |l| l.seq)));
            Ok(Done::Whole)
        }
        ConsentCommand::List { subject, json, node } => {
            let request = v1::ListConsentsRequest { subject: subject.message()? };
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
    let effect = if args.refuse { v1::ConsentEffect::Refuse } else { v1::ConsentEffect::Permit };
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
    let request = v1::GrantConsentRequest { subject: args.subject.message()?, terms: Some(terms) };
    let answer = args.node.client()?.grant_consent(request).await?.into_inner();
    output::line(&record::id::hex_encode(&answer.consent_id));
    Ok(Done::Whole)
}

fn list_consents(consents: Vec<v1::ConsentEntry>, as_json: bool) {
    let mut rows = Vec::new();
    for c in consents {
        let terms = c.terms.unwrap_or_default();
        let id = record::id::hex_encode(&c.consent_id);
        let effect = if terms.effect == i32::from(v1::ConsentEffect::Refuse) { "refuse" } else { "permit" };
        let to: Vec<String> = terms.recipient_ids.iter().chain(&terms.recipient_kinds).cloned().collect();
        if as_json {
            output::json(&json!({
                "id": id, "state": c.state, "effect": effect, "grantor": terms.grantor, "to": to, "purposes": terms.purposes,
                "types": terms.record_types, "level": terms.level_ceiling, "from": output::moment(terms.from_ms),
                "until": output::moment(terms.until_ms), "registered_by": c.registered_by,
            }));
        } else {
            let every = |list: &[String]| if list.is_empty() { "every".to_owned() } else { list.join(" ") };
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
        output::line(&table(&["id", "state", "effect", "to", "purposes", "types", "level", "until"], &rows));
    }
}

/// Quarantine.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List what this system sent and broke a rule
    List {
        /// Show the records too
        #[arg(long)]
        records: bool,
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
        #[command(flatten)]
        subject: SubjectArgs,
        #[command(flatten)]
        node: NodeArgs,
    },
}

pub(super) async fn quarantine(command: QuarantineCommand) -> Outcome {
    match command {
        QuarantineCommand::List { records, json, node } => {
            let request = v1::ListQuarantineRequest { limit: 1000, after_id: 0 };
            let mut entries = node.client()?.list_quarantine(request).await?.into_inner();
            let mut rows = Vec::new();
            while let Some(e) = entries.message().await? {
                let outcome: Value = serde_json::from_slice(&e.operation_outcome_json).unwrap_or(Value::Null);
                let reason = e.reason.unwrap_or_default();
                if json {
                    let record = if records { serde_json::from_slice(&e.fhir_json).unwrap_or(Value::Null) } else { Value::Null };
                    output::json(&json!({
                        "id": e.quarantine_id, "resource": format!("{}/{}", e.resource_type, e.record_id), "reason": reason.code,
                        "received": output::moment(e.received_ms), "operation_outcome": outcome, "record": record,
                    }));
                    continue;
                }
                let issues = outcome.get("issue").and_then(Value::as_array).cloned().unwrap_or_default();
                let what: Vec<String> = issues
                    .iter()
                    .map(|i| {
                        let at = i.pointer("/expression/0").and_then(Value::as_str).unwrap_or_default();
                        let why = i.get("diagnostics").and_then(Value::as_str).unwrap_or_default();
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
                output::line(&table(&["id", "resource", "reason", "what is wrong"], &rows));
            }
            Ok(Done::Whole)
        }
        QuarantineCommand::Resolve { id, corrected, drop, subject, node } => {
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
            };
            let result = node.client()?.resolve_quarantine(request).await?.into_inner().result.unwrap_or_default();
            let name = if drop { "dropped" } else { outcome_name(result.outcome) };
            output::line(&format!("{name}{}", result.reason.map(|r| format!(": {} {}", r.code, r.en)).unwrap_or_default()));
            Ok(if matches!(name, "quarantined" | "refused") { Done::InPart } else { Done::Whole })
        }
    }
}

/// Erasure.
#[derive(Debug, Args)]
pub struct EraseArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// request, retention or court
    #[arg(long)]
    ground: String,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) async fn erase(args: EraseArgs) -> Outcome {
    let request = v1::EraseSubjectRequest { subject: args.subject.message()?, ground: args.ground };
    let answer = args.node.client()?.erase_subject(request).await?.into_inner();
    output::line(&format!(
        "the key is destroyed, {} stored bodies are overwritten, event {}",
        answer.bodies,
        answer.leaf.map_or(0, |l| l.seq)
    ));
    Ok(Done::Whole)
}

/// A node's state.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) async fn status(args: StatusArgs) -> Outcome {
    let s = args.node.client()?.status(v1::StatusRequest {}).await?.into_inner();
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
        output::line(&format!("  {}: {}（{}）", reason.code, reason.en, reason.zh));
    }
    let rows: Vec<Vec<String>> = s
        .members
        .into_iter()
        .map(|m| vec![m.member_id, m.name, m.kind, m.district, m.status, m.endpoint])
        .collect();
    output::line(&table(&["member", "name", "kind", "district", "status", "endpoint"], &rows));
    Ok(Done::Whole)
}
