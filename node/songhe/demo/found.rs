//! Founding: an authority, three members with keys and folders of their own, a signed directory, clients with one role each.

use std::path::{Path, PathBuf};
use std::time::Instant;

use city::City;
use federation::{AuthorityKey, Draft, Endpoint, FederationName};
use record::{AgencyKind, MemberId, Role, Timestamp};
use ring::rand::SystemRandom;
use seal::Unlock;
use zeroize::Zeroizing;

use super::{Step, Tale};
use crate::cli::Failure;
use crate::cli::client::NodeArgs;
use crate::config::{
    Config, DirectoryConfig, JournalConfig, Limits, Listen, PolicyConfig, UnlockConfig,
};
use crate::home::{Founding, Home, free_addresses, now, random16};

/// A member of the demonstration's federation.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) name: String,
    pub(crate) kind: AgencyKind,
    pub(crate) listen: Listen,
    pub(crate) home: Home,
    pub(crate) clients: PathBuf,
    pub(crate) log: PathBuf,
}

impl Member {
    /// A client of this member's node.
    pub(crate) fn client(&self, name: &str) -> NodeArgs {
        NodeArgs::new(
            &self.listen.gateway.to_string(),
            &self.clients.join(format!("{name}.pem")),
        )
    }
}

/// The founded federation.
pub(crate) struct Federation {
    pub(crate) members: Vec<Member>,
    pub(crate) city: City,
    pub(crate) passphrase: Zeroizing<String>,
}

/// Who works at each kind of agency in the story: certificate name and role.
const STAFF: [(&str, Role); 6] = [
    ("his", Role::SourceSystem),
    ("counter", Role::Registrar),
    ("doctor-li", Role::Physician),
    ("nurse-wang", Role::Nurse),
    ("clerk-zhao", Role::BenefitOfficer),
    ("auditor-qian", Role::Auditor),
];

fn fault(e: impl std::fmt::Display) -> Failure {
    Failure::Fault(e.to_string())
}

impl Federation {
    /// Founds it in a folder.
    pub(crate) fn found(
        folder: &Path,
        seed: u64,
        elders: u32,
        tale: &mut Tale,
    ) -> Result<Self, Failure> {
        let started = Instant::now();
        let today = Timestamp::parse_rfc3339("2026-11-01T00:00:00Z").unwrap_or(now());
        let city = City::new(crate::cli::generate::plan(seed, elders, today)?).map_err(fault)?;
        let passphrase = Zeroizing::new(record::id::hex_encode(&random16()?));
        let unlock = Unlock::passphrase(passphrase.as_bytes()).map_err(fault)?;
        let name = FederationName::parse("songhe.example").map_err(fault)?;
        let authority =
            AuthorityKey::generate(name.clone(), &SystemRandom::new()).map_err(fault)?;
        let mut draft = Draft::new(name.clone());
        let hidden = folder.join(".federation");
        let mut members = Vec::new();
        for agency in city.agencies() {
            let listen = free_addresses()?;
            let config = Config {
                member: agency.member.clone(),
                name: agency.name_zh.clone(),
                kind: agency.kind,
                district: agency.district,
                listen: listen.clone(),
                unlock: UnlockConfig::default(),
                directory: DirectoryConfig::default(),
                limits: Limits::default(),
                journal: JournalConfig::default(),
                policy: PolicyConfig::default(),
            };
            let home = Home::at(folder.join(agency.member.as_str()));
            let founding = Founding {
                federation: name.clone(),
                authority: authority.verifier_key().clone(),
                config: &config,
                credit_code: agency.credit_code.clone(),
                endpoints: vec![Endpoint::parse(&listen.peer.to_string()).map_err(fault)?],
                name_en: Some(agency.name_en.clone()),
            };
            let card = home.init(&founding, &unlock, now())?;
            draft.add(&card).map_err(fault)?;
            let clients = hidden.join("clients").join(agency.member.as_str());
            let (_, secrets) = home.unlock(&unlock)?;
            for (client, role) in STAFF {
                crate::cli::certificate::issue_client(&home, &secrets, role, client, &clients, 30)?;
            }
            let log = hidden.join("logs").join(format!("{}.log", agency.member));
            members.push(Member {
                id: agency.member.clone(),
                name: agency.name_zh.clone(),
                kind: agency.kind,
                listen,
                home,
                clients,
                log,
            });
        }
        let signed = draft.sign(&authority, now(), 30).map_err(fault)?;
        for member in &members {
            member.home.write("directory.note", signed.bytes())?;
        }
        std::fs::create_dir_all(hidden.join("logs")).map_err(fault)?;
        let names: Vec<&str> = members.iter().map(|m| m.name.as_str()).collect();
        tale.tell(&Step {
            name: "found",
            verb: "federation",
            from: "authority".into(),
            to: String::new(),
            tier: String::new(),
            outcome: "signed".into(),
            reason: String::new(),
            leaf: None,
            ms: started.elapsed().as_millis(),
            ok: true,
            told: format!(
                "founds a federation of {}: {}",
                members.len(),
                names.join("、")
            ),
        });
        Ok(Self {
            members,
            city,
            passphrase,
        })
    }

    /// The first member of a kind.
    pub(crate) fn of_kind(&self, kind: AgencyKind) -> Result<&Member, Failure> {
        self.members
            .iter()
            .find(|m| m.kind == kind)
            .ok_or_else(|| fault("the city has no such agency"))
    }
}
