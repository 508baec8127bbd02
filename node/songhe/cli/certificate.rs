//! Certificates of a node and its local clients.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use federation::certificate::Validity;
use federation::{ClientName, Issued, PresentedIdentity};
use record::Role;
use ring::rand::SystemRandom;
use seal::SecretFile;

use super::output;
use super::{Done, Failure, Outcome, UnlockArgs};
use crate::home::{Home, now, write_file};

/// Certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertificateCommand {
    /// Issue a certificate of one role to a local system or person
    Issue {
        /// physician, nurse, family-doctor, care-worker, benefit-officer, registrar, source-system, operator, security-administrator or auditor
        #[arg(long)]
        role: String,
        /// 1 to 64 characters of a-z, 0-9, '-', '.' and '_'
        #[arg(long)]
        name: String,
        /// Folder for NAME.pem, NAME.key and ca.pem
        #[arg(long)]
        out: PathBuf,
        /// Valid for so many days
        #[arg(long, default_value_t = 365)]
        days: u16,
        /// The node's data folder
        #[arg(long)]
        data_dir: PathBuf,
        #[command(flatten)]
        unlock: UnlockArgs,
    },
    /// Renew the node's own certificate; the running node takes it up by itself
    Renew {
        /// The node's data folder
        #[arg(long)]
        data_dir: PathBuf,
        #[command(flatten)]
        unlock: UnlockArgs,
    },
    /// Take a client's certificate back; the running node takes it up by itself
    Revoke {
        /// The certificate (PEM) to take back
        certificate: PathBuf,
        /// The node's data folder
        #[arg(long)]
        data_dir: PathBuf,
    },
}

pub(super) fn run(command: CertificateCommand) -> Outcome {
    match command {
        CertificateCommand::Issue {
            role,
            name,
            out,
            days,
            data_dir,
            unlock,
        } => {
            let role = Role::parse(&role).ok_or_else(|| {
                let all: Vec<_> = Role::ALL.iter().map(|r| r.as_str()).collect();
                Failure::Fault(format!("no such role; choose one of {}", all.join(", ")))
            })?;
            let home = Home::at(data_dir);
            let (_, secrets) =
                home.unlock(&unlock.unlock(home.config()?.unlock.credential_file.as_deref())?)?;
            let issued = issue_client(&home, &secrets, role, &name, &out, days)?;
            output::note(&format!(
                "{} is valid until {}",
                issued.identity, issued.validity.not_after
            ));
            Ok(Done::Whole)
        }
        CertificateCommand::Renew { data_dir, unlock } => {
            let home = Home::at(data_dir);
            let config = home.config()?;
            let (keyring, _) =
                home.unlock(&unlock.unlock(config.unlock.credential_file.as_deref())?)?;
            let endpoints = own_endpoints(&home)?;
            let issued = home.renew(&keyring, &endpoints, now())?;
            output::note(&format!(
                "renewed, valid until {}",
                issued.validity.not_after
            ));
            Ok(Done::Whole)
        }
        CertificateCommand::Revoke {
            certificate,
            data_dir,
        } => revoke(&certificate, &Home::at(data_dir)),
    }
}

/// Issues a client's certificate into a folder: `NAME.pem`, `NAME.key` (owner only), `ca.pem`.
pub fn issue_client(
    home: &Home,
    secrets: &SecretFile,
    role: Role,
    name: &str,
    out: &Path,
    days: u16,
) -> Result<Issued, Failure> {
    let client = ClientName::parse(name).map_err(|e| Failure::Fault(e.to_string()))?;
    if name == "ca" || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(Failure::Fault(
            "a client's name begins with a letter or digit and is not `ca`; choose another".into(),
        ));
    }
    for file in [format!("{name}.pem"), format!("{name}.key")] {
        if out.join(&file).exists() {
            return Err(Failure::Fault(format!(
                "{} is there already: revoke it and move it away first, it stays valid as long as it is not revoked",
                out.join(&file).display()
            )));
        }
    }
    let ca = home.ca(secrets)?;
    let issued = ca
        .issue_client(
            role,
            &client,
            Validity::days_from(now(), days),
            &SystemRandom::new(),
        )
        .map_err(|e| Failure::Fault(e.to_string()))?;
    std::fs::create_dir_all(out).map_err(|e| Failure::Fault(e.to_string()))?;
    write_file(
        &out.join(format!("{name}.key")),
        issued.key_pem.as_str().as_bytes(),
    )?;
    write_file(
        &out.join(format!("{name}.pem")),
        issued.chain_pem.as_bytes(),
    )?;
    write_file(&out.join("ca.pem"), ca.certificate().to_pem().as_bytes())?;
    Ok(issued)
}

fn own_endpoints(home: &Home) -> Result<Vec<federation::Endpoint>, Failure> {
    let card = federation::MemberCard::parse(&home.read_text("card.json")?)
        .map_err(|e| Failure::Fault(e.to_string()))?;
    Ok(card.member().endpoints.clone())
}

fn revoke(certificate: &Path, home: &Home) -> Outcome {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let pem = std::fs::read(certificate)
        .map_err(|e| Failure::Fault(format!("{}: {e}", certificate.display())))?;
    let der = CertificateDer::from_pem_slice(&pem)
        .map_err(|_| Failure::Fault("not a certificate in PEM".into()))?;
    let own = home.config()?.member;
    match federation::present(&der) {
        Ok(PresentedIdentity::Client { member, .. }) if member == own => {}
        _ => {
            return Err(Failure::Fault(
                "this is no certificate of a client of this node; only those can be taken back"
                    .into(),
            ));
        }
    }
    let serial = federation::identity::serial_of(&der)
        .ok_or_else(|| Failure::Fault("the certificate's serial number cannot be read".into()))?;
    let mut revoked = home.revoked()?;
    if revoked.revoke(&serial) {
        home.write("revoked.txt", revoked.to_text().as_bytes())?;
    }
    output::note("taken back; a running node refuses it from the next second on");
    Ok(Done::Whole)
}
