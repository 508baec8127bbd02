//! The authority's side: its key, the draft of the directory, and signing it. Works on files, offline.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use federation::{AuthorityKey, Directory, Draft, FederationName, MemberCard};
use record::MemberId;
use ring::rand::SystemRandom;
use seal::{Keyring, SecretFile, SystemEntropy};
use serde_json::json;
use tlog::note::VerifierKey;
use zeroize::Zeroizing;

use super::output::{self, table};
use super::{Done, Failure, Outcome, UnlockArgs};
use crate::home::{now, write_file};

const SEED: &str = "authority.seed";

/// What the authority can do.
#[derive(Debug, Subcommand)]
pub(crate) enum FederationCommand {
    /// Found a federation: make the authority's key, sealed, and an empty draft
    Init {
        /// Name of the federation, like city.example
        name: String,
        /// Folder for the authority's files; keep it offline
        #[arg(long)]
        dir: PathBuf,
        #[command(flatten)]
        unlock: UnlockArgs,
    },
    /// Add a member by the card that its `songhe init` wrote; --renew replaces its description
    Add {
        /// The card
        card: PathBuf,
        /// Replace the description of a member
        #[arg(long)]
        renew: bool,
        /// The authority's folder
        #[arg(long)]
        dir: PathBuf,
    },
    /// Suspend a member, or let it take part again
    Suspend {
        /// The member
        member: String,
        /// Let it take part again
        #[arg(long)]
        lift: bool,
        /// The authority's folder
        #[arg(long)]
        dir: PathBuf,
    },
    /// Sign the draft as the next version of the directory
    Sign {
        /// The authority's folder
        #[arg(long)]
        dir: PathBuf,
        /// Valid for so many days (1 to 400)
        #[arg(long, default_value_t = 90)]
        days: u16,
        #[command(flatten)]
        unlock: UnlockArgs,
    },
    /// Show a signed directory, verified with the authority's public key
    Show {
        /// The directory
        directory: PathBuf,
        /// The authority's public key (a file with a vkey); without it, authority.vkey beside the directory
        #[arg(long)]
        authority: Option<PathBuf>,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: FederationCommand) -> Outcome {
    match command {
        FederationCommand::Init { name, dir, unlock } => init(&name, &dir, &unlock),
        FederationCommand::Add { card, renew, dir } => {
            let card = MemberCard::parse(&read(&card)?).map_err(fault)?;
            change(&dir, |draft| {
                if renew {
                    draft.renew(&card)
                } else {
                    draft.add(&card)
                }
                .map_err(fault)
            })?;
            output::note(&format!(
                "{} is in the draft; sign it with `songhe federation sign`",
                card.member().id
            ));
            Ok(Done::Whole)
        }
        FederationCommand::Suspend { member, lift, dir } => {
            let member = MemberId::parse(&member).map_err(fault)?;
            change(&dir, |draft| {
                if lift {
                    draft.reinstate(&member)
                } else {
                    draft.suspend(&member)
                }
                .map_err(fault)
            })?;
            output::note("the draft is changed; sign it with `songhe federation sign`");
            Ok(Done::Whole)
        }
        FederationCommand::Sign { dir, days, unlock } => sign(&dir, days, &unlock),
        FederationCommand::Show {
            directory,
            authority,
            json,
        } => show(&directory, authority, json),
    }
}

fn fault(e: impl std::fmt::Display) -> Failure {
    Failure::Fault(e.to_string())
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::Fault(format!("{}: {e}", path.display())))
}

fn init(name: &str, dir: &Path, unlock: &UnlockArgs) -> Outcome {
    let federation = FederationName::parse(name).map_err(fault)?;
    if dir.join("draft.json").exists() {
        return Err(Failure::Fault(format!(
            "{}: an authority lives here already",
            dir.display()
        )));
    }
    let unlock = unlock.unlock(None)?;
    std::fs::create_dir_all(dir).map_err(fault)?;
    let entropy = SystemEntropy::new();
    let key = AuthorityKey::generate(federation.clone(), &SystemRandom::new()).map_err(fault)?;
    let keyring = Keyring::generate(&entropy).map_err(fault)?;
    let mut secrets = SecretFile::new();
    secrets
        .insert(SEED, Zeroizing::new(key.seed().to_vec()))
        .map_err(fault)?;
    keyring
        .save(&dir.join("kek.sealed"), &unlock, &entropy)
        .map_err(fault)?;
    secrets
        .save(&dir.join("secrets.sealed"), keyring.current(), &entropy)
        .map_err(fault)?;
    write_file(
        &dir.join("authority.vkey"),
        format!("{}\n", key.verifier_key()).as_bytes(),
    )?;
    write_file(
        &dir.join("draft.json"),
        Draft::new(federation).to_json().map_err(fault)?.as_bytes(),
    )?;
    output::line(&key.verifier_key().to_string());
    output::note(&format!(
        "the federation {name} is founded; give authority.vkey to every member"
    ));
    Ok(Done::Whole)
}

fn change(dir: &Path, edit: impl FnOnce(&mut Draft) -> Result<(), Failure>) -> Result<(), Failure> {
    let path = dir.join("draft.json");
    let mut draft = Draft::parse(&read(&path)?).map_err(fault)?;
    edit(&mut draft)?;
    write_file(&path, draft.to_json().map_err(fault)?.as_bytes())?;
    Ok(())
}

/// The authority's key, unlocked.
pub(crate) fn authority_key(dir: &Path, unlock: &seal::Unlock) -> Result<AuthorityKey, Failure> {
    let keyring = Keyring::load(&dir.join("kek.sealed"), unlock).map_err(fault)?;
    let secrets = SecretFile::load(&dir.join("secrets.sealed"), &keyring).map_err(fault)?;
    let vkey = VerifierKey::parse(read(&dir.join("authority.vkey"))?.trim()).map_err(fault)?;
    let federation = FederationName::parse(vkey.name()).map_err(fault)?;
    AuthorityKey::from_seed(federation, &*secrets.get32(SEED).map_err(fault)?).map_err(fault)
}

fn sign(dir: &Path, days: u16, unlock: &UnlockArgs) -> Outcome {
    let unlock = unlock.unlock(None)?;
    let key = authority_key(dir, &unlock)?;
    let path = dir.join("draft.json");
    let mut draft = Draft::parse(&read(&path)?).map_err(fault)?;
    let signed = draft.sign(&key, now(), days).map_err(fault)?;
    // The draft first: crash in between skips a version, which harms nobody; the other way round one version could get two contents.
    write_file(&path, draft.to_json().map_err(fault)?.as_bytes())?;
    write_file(&dir.join("directory.note"), signed.bytes())?;
    output::note(&format!(
        "version {} is signed, valid until {}; put {} into any member's data folder, the others pull it",
        signed.directory().version(),
        signed.directory().expires(),
        dir.join("directory.note").display(),
    ));
    Ok(Done::Whole)
}

fn show(directory: &Path, authority: Option<PathBuf>, as_json: bool) -> Outcome {
    let vkey = authority.unwrap_or_else(|| directory.with_file_name("authority.vkey"));
    let vkey = VerifierKey::parse(read(&vkey)?.trim()).map_err(fault)?;
    let bytes = std::fs::read(directory)
        .map_err(|e| Failure::Fault(format!("{}: {e}", directory.display())))?;
    let signed = Directory::parse_verified(&bytes, &vkey, now()).map_err(fault)?;
    let d = signed.directory();
    if as_json {
        let members: Vec<_> = d
            .members()
            .iter()
            .map(|m| {
                json!({
                    "id": m.id, "name": m.name, "kind": m.kind, "district": m.district, "status": m.status,
                    "credit_code": m.credit_code,
                    "endpoints": m.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(),
                })
            })
            .collect();
        output::json(&json!({
            "federation": d.federation().as_str(), "version": d.version(), "issued": d.issued().to_rfc3339(),
            "expires": d.expires().to_rfc3339(), "expired": d.is_expired(now()), "members": members,
        }));
        return Ok(Done::Whole);
    }
    output::line(&format!(
        "{}, version {}, issued {}, expires {}",
        d.federation(),
        d.version(),
        d.issued(),
        d.expires()
    ));
    let rows: Vec<Vec<String>> = d
        .members()
        .iter()
        .map(|m| {
            vec![
                m.id.to_string(),
                m.name.clone(),
                m.kind.to_string(),
                format!("{} {}", m.district, m.district.name().unwrap_or_default()),
                if m.is_active() { "active" } else { "suspended" }.into(),
                m.endpoints
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" "),
            ]
        })
        .collect();
    output::line(&table(
        &["member", "name", "kind", "district", "status", "endpoints"],
        &rows,
    ));
    Ok(Done::Whole)
}
