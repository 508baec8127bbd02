//! The command line: one binary for agencies, auditors, administrators and operators.
//!
//! Exit codes: 0 done; 1 something failed here; 2 the command line is wrong; 3 refused, with the reason;
//! 4 done in part (some records refused, some members unreachable).

mod authority;
pub mod certificate;
pub mod client;
pub(crate) mod generate;
mod operate;
pub mod output;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use record::Refusal;
use seal::Unlock;
use zeroize::Zeroizing;

use crate::home::HomeError;

/// Songhe (松鹤): a federated data-exchange node with privacy controls for elder care.
#[derive(Debug, Parser)]
#[command(name = "songhe", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a federation of three agencies at work on generated or given data
    Demo(crate::demo::DemoArgs),
    /// The authority's side: found a federation, add and suspend members, sign the directory
    #[command(subcommand)]
    Federation(authority::FederationCommand),
    /// Make a node's data folder, keys and the card for the authority
    Init(operate::InitArgs),
    /// Run a node
    Serve(operate::ServeArgs),
    /// Certificates: renew the node's, issue and revoke those of local clients
    #[command(subcommand)]
    Certificate(certificate::CertificateCommand),
    /// Rotate the key-encryption key of a stopped node
    Rotate(operate::RotateArgs),
    /// Check a stopped node's journal and tell exactly what is damaged and where
    Fsck(operate::FsckArgs),
    /// Store FHIR records: resources, Bundles, NDJSON
    Put(client::PutArgs),
    /// Ask all members which records there are about a person
    Locate(client::LocateArgs),
    /// Fetch records from all members
    Fetch(client::FetchArgs),
    /// Consents of a person: grant, refuse, withdraw, list
    #[command(subcommand)]
    Consent(client::ConsentCommand),
    /// Records set aside because they broke a rule
    #[command(subcommand)]
    Quarantine(client::QuarantineCommand),
    /// Destroy a person's key and overwrite what was stored under it
    Erase(client::EraseArgs),
    /// What a node is, holds and knows of the federation
    Status(client::StatusArgs),
    /// The record types of the catalogue
    Catalog(operate::CatalogArgs),
    /// Every reason the node may refuse for, in Chinese and English
    Reasons(operate::ReasonsArgs),
    /// Write a synthetic city's records into a folder
    Generate(generate::GenerateArgs),
}

/// How a command ended when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// All of it.
    Whole,
    /// Some of it: the output says which part not.
    InPart,
}

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// A refusal.
    Refused(Refusal),
    /// A fault here.
    Fault(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "{refusal}"),
            Self::Fault(fault) => f.write_str(fault),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<HomeError> for Failure {
    fn from(fault: HomeError) -> Self {
        Self::Fault(fault.0)
    }
}

impl From<String> for Failure {
    fn from(fault: String) -> Self {
        Self::Fault(fault)
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        match crate::status::refusal_in(&status) {
            Some((refusal, _)) => Self::Refused(refusal),
            None if status.code() == tonic::Code::Unavailable => Self::Fault(
                "the node cannot be reached; look at its address and whether it runs (`songhe serve`)".into(),
            ),
            None => Self::Fault(format!("the node answered {:?}: {}", status.code(), status.message())),
        }
    }
}

/// What a command returns.
pub type Outcome = Result<Done, Failure>;

/// Parses the command line and runs it.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(fault) => return output::fault(&fault.to_string()),
    };
    match runtime.block_on(run(cli.command)) {
        Ok(Done::Whole) => ExitCode::SUCCESS,
        Ok(Done::InPart) => ExitCode::from(4),
        Err(Failure::Refused(refusal)) => output::refusal(&refusal),
        Err(Failure::Fault(fault)) => output::fault(&fault),
    }
}

async fn run(command: Command) -> Outcome {
    match command {
        Command::Demo(args) => crate::demo::run(args).await,
        Command::Federation(command) => authority::run(command),
        Command::Init(args) => operate::init(&args),
        Command::Serve(args) => operate::serve(args).await,
        Command::Certificate(command) => certificate::run(command),
        Command::Rotate(args) => operate::rotate(&args).await,
        Command::Fsck(args) => operate::fsck(&args),
        Command::Put(args) => client::put(args).await,
        Command::Locate(args) => client::locate(args).await,
        Command::Fetch(args) => client::fetch(args).await,
        Command::Consent(command) => client::consent(command).await,
        Command::Quarantine(command) => client::quarantine(command).await,
        Command::Erase(args) => client::erase(args).await,
        Command::Status(args) => client::status(args).await,
        Command::Catalog(args) => operate::catalog(&args),
        Command::Reasons(args) => operate::reasons(&args),
        Command::Generate(args) => generate::run(&args),
    }
}

/// How sealed keys are unlocked.
#[derive(Debug, Args)]
pub struct UnlockArgs {
    /// File whose first line is the passphrase (12 bytes or more)
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// File of at least 32 random bytes with mode 0400 or 0600, instead of a passphrase
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file")]
    credential_file: Option<PathBuf>,
    /// The passphrase, better given in the environment
    #[arg(long, env = "SONGHE_PASSPHRASE", hide_env_values = true, hide = true)]
    passphrase: Option<String>,
}

impl UnlockArgs {
    /// The credential file that was named, as an absolute path for a new node's configuration.
    fn credential_file(&self) -> Result<Option<PathBuf>, Failure> {
        let absolute = |file: &PathBuf| {
            std::path::absolute(file)
                .map_err(|e| Failure::Fault(format!("{}: {e}", file.display())))
        };
        self.credential_file.as_ref().map(absolute).transpose()
    }

    /// The way to unlock: a credential file of the configuration, a passphrase file, or the environment.
    pub fn unlock(&self, credential_file: Option<&Path>) -> Result<Unlock, Failure> {
        if let Some(file) = self.credential_file.as_deref().or(credential_file) {
            return Unlock::credential_file(file)
                .map_err(|e| Failure::Fault(format!("credential file {}: {e}", file.display())));
        }
        let passphrase = match (&self.passphrase_file, &self.passphrase) {
            (Some(file), _) => {
                let text = std::fs::read_to_string(file)
                    .map(Zeroizing::new)
                    .map_err(|e| Failure::Fault(format!("{}: {e}", file.display())))?;
                Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
            }
            (None, Some(passphrase)) => Zeroizing::new(passphrase.clone()),
            (None, None) => {
                return Err(Failure::Fault(
                    "a passphrase is needed: set SONGHE_PASSPHRASE, or name a file with --passphrase-file".into(),
                ));
            }
        };
        Unlock::passphrase(passphrase.as_bytes()).map_err(|e| Failure::Fault(e.to_string()))
    }
}
