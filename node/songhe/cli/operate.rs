//! The operator's commands: init, serve, rotate, fsck; and the tables of catalogue and reasons.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use federation::{Endpoint, FederationName};
use journal::{Files, Io};
use ledger::{Ledger, Secrets};
use record::{AgencyKind, Catalog, CreditCode, DistrictCode, MemberId, ReasonCode};
use seal::{HmacKey, Keyring, RowKey, SecretFile, SubjectKey, SystemEntropy, name};
use serde_json::json;
use tlog::note::VerifierKey;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;

use super::generate::progress_bar;
use super::output::{self, table};
use super::{Done, Failure, Outcome, UnlockArgs};
use crate::clock::SystemClock;
use crate::config::{Config, Listen};
use crate::home::{Founding, Home, NODE_KEY, now};
use crate::serve;

fn fault(e: impl std::fmt::Display) -> Failure {
    Failure::Fault(e.to_string())
}

/// A new node.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The node's data folder, to be made
    #[arg(long)]
    data_dir: PathBuf,
    /// Member id: 2 to 64 characters of a-z, 0-9 and '-'
    #[arg(long)]
    member: String,
    /// The agency's name
    #[arg(long)]
    name: String,
    /// Its English name
    #[arg(long)]
    name_en: Option<String>,
    /// hospital, civil-affairs or community
    #[arg(long)]
    kind: String,
    /// District code, GB/T 2260
    #[arg(long)]
    district: String,
    /// Unified social credit code
    #[arg(long)]
    credit_code: String,
    /// The authority's public key: the file authority.vkey of the federation
    #[arg(long)]
    authority: PathBuf,
    /// host:port where other members reach the node; up to four
    #[arg(long = "endpoint", required = true)]
    endpoints: Vec<String>,
    /// Address to listen on for other members
    #[arg(long, default_value = "127.0.0.1:7310")]
    listen_peer: SocketAddr,
    /// Address to listen on for the agency's own systems
    #[arg(long, default_value = "127.0.0.1:7311")]
    listen_gateway: SocketAddr,
    #[command(flatten)]
    unlock: UnlockArgs,
}

pub(super) fn init(args: &InitArgs) -> Outcome {
    let vkey = std::fs::read_to_string(&args.authority)
        .map_err(|e| Failure::Fault(format!("{}: {e}", args.authority.display())))?;
    let authority = VerifierKey::parse(vkey.trim()).map_err(fault)?;
    let listen = Listen {
        peer: args.listen_peer,
        gateway: args.listen_gateway,
    };
    let config = Config {
        member: MemberId::parse(&args.member).map_err(fault)?,
        name: args.name.clone(),
        kind: AgencyKind::parse(&args.kind).ok_or_else(|| {
            Failure::Fault("--kind is hospital, civil-affairs or community".into())
        })?,
        district: DistrictCode::parse(&args.district).map_err(fault)?,
        listen,
        unlock: crate::config::UnlockConfig {
            credential_file: args.unlock.credential_file()?,
        },
        directory: crate::config::DirectoryConfig::default(),
        limits: crate::config::Limits::default(),
        journal: crate::config::JournalConfig::default(),
        policy: crate::config::PolicyConfig::default(),
    };
    let founding = Founding {
        federation: FederationName::parse(authority.name()).map_err(fault)?,
        authority,
        config: &config,
        credit_code: CreditCode::parse(&args.credit_code).map_err(fault)?,
        endpoints: args
            .endpoints
            .iter()
            .map(|e| Endpoint::parse(e))
            .collect::<Result<_, _>>()
            .map_err(fault)?,
        name_en: args.name_en.clone(),
    };
    let home = Home::at(&args.data_dir);
    home.init(&founding, &args.unlock.unlock(None)?, now())?;
    output::line(&home.path("card.json").display().to_string());
    output::note(
        "give this card to the authority; put the directory it signs into the data folder as directory.note, then run `songhe serve`",
    );
    Ok(Done::Whole)
}

/// A running node.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The node's data folder
    #[arg(long)]
    data_dir: PathBuf,
    /// Log lines as JSON
    #[arg(long)]
    log_json: bool,
    /// What to log, such as info or songhe=debug
    #[arg(long, env = "SONGHE_LOG", default_value = "info")]
    log: String,
    /// Stop when standard input ends: for programs that start a node of their own
    #[arg(long)]
    until_stdin_ends: bool,
    #[command(flatten)]
    unlock: UnlockArgs,
}

pub(super) async fn serve(args: ServeArgs) -> Outcome {
    start_log(&args.log, args.log_json)?;
    let home = Home::at(&args.data_dir);
    let unlock = args
        .unlock
        .unlock(home.config()?.unlock.credential_file.as_deref())?;
    let ready = |running: &serve::Running| {
        output::json(&json!({
            "ready": true,
            "peer": running.peer.to_string(),
            "gateway": running.gateway.to_string(),
            "events": running.opening.events,
            "replayed": running.opening.replayed,
            "rebuilt": running.opening.rebuilt,
            "truncated": running.opening.truncated,
        }));
    };
    serve::run(home, &unlock, ready, asked_to_stop(args.until_stdin_ends)).await?;
    Ok(Done::Whole)
}

fn start_log(filter: &str, as_json: bool) -> Result<(), Failure> {
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;
    let targets: Targets = filter
        .parse()
        .map_err(|e| Failure::Fault(format!("--log {filter}: {e}")))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry();
    if as_json {
        registry.with(lines.json().with_filter(targets)).try_init()
    } else {
        registry.with(lines.with_filter(targets)).try_init()
    }
    .map_err(|e| Failure::Fault(e.to_string()))
}

async fn asked_to_stop(until_stdin_ends: bool) {
    use tokio::io::AsyncReadExt as _;
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(fault) => return output::note(&format!("cannot wait for signals: {fault}")),
    };
    let stdin_ends = async {
        if until_stdin_ends {
            let mut buffer = [0; 256];
            let mut stdin = tokio::io::stdin();
            while stdin.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        () = stdin_ends => {}
    }
}

/// A new key-encryption key.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// The stopped node's data folder
    #[arg(long)]
    data_dir: PathBuf,
    #[command(flatten)]
    unlock: UnlockArgs,
}

pub(super) async fn rotate(args: &RotateArgs) -> Outcome {
    let home = Home::at(&args.data_dir);
    let config = home.config()?;
    let unlock = args
        .unlock
        .unlock(config.unlock.credential_file.as_deref())?;
    let entropy = SystemEntropy::new();
    let (mut keyring, secrets) = home.unlock(&unlock)?;
    let path = home.path("keys/kek.sealed");
    let vault = |keyring: Keyring| -> Result<Secrets, Failure> {
        let key = |name: &str| secrets.get32(name).map_err(fault);
        Ok(Secrets {
            keyring,
            row: RowKey::from_bytes(&*key(name::ROW)?),
            index: HmacKey::from_bytes(&*key(name::INDEX_HMAC)?),
            node: SubjectKey::from_bytes(&*key(NODE_KEY)?),
        })
    };
    // The journal's lock also proves that the node is stopped.
    let options = config.ledger(home.folder());
    let (ledger, _) = Ledger::open(
        options,
        vault(home.unlock(&unlock)?.0)?,
        Arc::new(SystemClock),
        Arc::new(SystemEntropy::new()),
    )
    .map_err(fault)?;
    let former = keyring.ids();
    let fresh = keyring.rotate(&entropy).map_err(fault)?;
    // On disk before anything is wrapped under it: crash behind this and both keys are there.
    keyring.save(&path, &unlock, &entropy).map_err(fault)?;
    let bar = progress_bar(0, "keys");
    let ring = home.unlock(&unlock)?.0;
    let done = ledger
        .rotate(ring, |seen, total| {
            bar.set_length(total);
            bar.set_position(seen);
        })
        .await
        .map_err(fault)?;
    bar.finish_and_clear();
    SecretFile::rewrap(&home.path("keys/secrets.sealed"), &keyring, &entropy).map_err(fault)?;
    let leaf = ledger
        .leaf_now(record::leaf::EventType::Admin)
        .text("act", "kek-rotated")
        .number("keys", done);
    let _acked = ledger.log(leaf).await.map_err(fault)?;
    ledger.close().await.map_err(fault)?;
    // Only now does nothing need the former keys.
    for id in former {
        keyring.retire(id).map_err(fault)?;
    }
    keyring.save(&path, &unlock, &entropy).map_err(fault)?;
    output::note(&format!(
        "{done} subject keys are wrapped under the new key {fresh}; the former one is destroyed"
    ));
    Ok(Done::Whole)
}

/// The journal's integrity.
#[derive(Debug, Args)]
pub(crate) struct FsckArgs {
    /// The stopped node's data folder
    #[arg(long)]
    data_dir: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn fsck(args: &FsckArgs) -> Outcome {
    let folder = args.data_dir.join("journal");
    if !folder.is_dir() {
        return Err(Failure::Fault(format!(
            "{}: there is no journal",
            folder.display()
        )));
    }
    let files = Files::at(&folder);
    let bar = progress_bar(0, "bytes");
    let report = journal::fsck(&files as &dyn Io, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })
    .map_err(fault)?;
    bar.finish_and_clear();
    tell_fsck(&folder, &report, args.json);
    if report.damage.is_empty() {
        Ok(Done::Whole)
    } else {
        Ok(Done::InPart)
    }
}

fn tell_fsck(folder: &Path, report: &journal::Report, as_json: bool) {
    if as_json {
        let damage: Vec<_> = report
            .damage
            .iter()
            .map(|d| json!({"file": d.file, "offset": d.offset, "len": d.len, "seq": d.seq, "kind": d.kind.to_string()}))
            .collect();
        output::json(&json!({
            "journal": folder, "events": report.events, "frames": report.frames, "erased": report.erased,
            "segments": report.segments.len(), "damage": damage, "would_start": report.would_start(),
        }));
        return;
    }
    output::line(&format!(
        "{} events in {} frames and {} segments, {} erased; {}",
        report.events,
        report.frames,
        report.segments.len(),
        report.erased,
        if report.damage.is_empty() {
            "nothing is damaged"
        } else {
            "DAMAGED:"
        },
    ));
    if !report.damage.is_empty() {
        let rows: Vec<Vec<String>> = report
            .damage
            .iter()
            .map(|d| {
                vec![
                    d.file.clone(),
                    d.offset.to_string(),
                    d.len.to_string(),
                    d.seq.map_or_else(|| "-".into(), |s| s.to_string()),
                    d.kind.to_string(),
                ]
            })
            .collect();
        output::line(&table(&["file", "byte", "length", "event", "what"], &rows));
        output::line(if report.would_start() {
            "by the journal alone the node starts and does not serve the damaged ranges; it refuses if its index or `acknowledged` knows of a lost event; restore them from a standby or a backup"
        } else {
            "the node refuses to start: restore these ranges from a standby or a backup"
        });
    }
}

/// The catalogue.
#[derive(Debug, Args)]
pub(crate) struct CatalogArgs {
    /// One JSON object for each type
    #[arg(long)]
    json: bool,
}

pub(super) fn catalog(args: &CatalogArgs) -> Outcome {
    let catalog = Catalog::from_json(fhir::catalog_json()).map_err(fault)?;
    if args.json {
        for t in &catalog.types {
            output::json(&json!({
                "code": t.code, "zh": t.zh, "en": t.en, "level": t.level, "retention_days": t.retention_days,
                "groups": t.groups.keys().collect::<Vec<_>>(),
            }));
        }
        return Ok(Done::Whole);
    }
    let rows: Vec<Vec<String>> = catalog
        .types
        .iter()
        .map(|t| {
            let mut resources: Vec<_> = t.selectors.iter().map(|s| s.resource.clone()).collect();
            resources.dedup();
            vec![
                t.code.to_string(),
                t.zh.clone(),
                t.en.clone(),
                t.level.get().to_string(),
                resources.join(" "),
            ]
        })
        .collect();
    output::line(&table(
        &["type", "名称", "name", "level", "FHIR resources"],
        &rows,
    ));
    Ok(Done::Whole)
}

/// The table of reasons.
#[derive(Debug, Args)]
pub(crate) struct ReasonsArgs {
    /// One JSON object for each reason
    #[arg(long)]
    json: bool,
}

pub(super) fn reasons(args: &ReasonsArgs) -> Outcome {
    if args.json {
        for r in ReasonCode::ALL {
            output::json(&json!({
                "code": r.as_str(), "status": r.status().as_str(), "fault": r.blame().as_str(), "en": r.english(),
                "zh": r.chinese(), "next_en": r.next_english(), "next_zh": r.next_chinese(),
            }));
        }
        return Ok(Done::Whole);
    }
    let rows: Vec<Vec<String>> = ReasonCode::ALL
        .iter()
        .map(|r| {
            vec![
                r.as_str().into(),
                r.blame().as_str().into(),
                r.english().into(),
                r.chinese().into(),
            ]
        })
        .collect();
    output::line(&table(&["code", "fault of", "sentence", "说明"], &rows));
    Ok(Done::Whole)
}
