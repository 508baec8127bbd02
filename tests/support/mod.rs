//! A federation of real processes for system tests: founded in a temporary folder, on ports given by the system,
//! stopped by closing standard input and, if need be, ended by its own process id.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use federation::{AuthorityKey, Draft, Endpoint, FederationName};
use record::{AgencyKind, CreditCode, DistrictCode, MemberId, ResidentId, Role};
use ring::rand::SystemRandom;
use seal::Unlock;
use serde_json::Value;
use songhe::cli::client::{Client, NodeArgs};
use songhe::config::{
    Config, DirectoryConfig, JournalConfig, Limits, Listen, PolicyConfig, UnlockConfig,
};
use songhe::home::{Founding, Home, free_addresses, now};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use wire::v1;

/// Passphrase of every test node.
pub const PASSPHRASE: &str = "a passphrase for tests only";

/// A member of a test federation.
pub struct Member {
    pub id: MemberId,
    pub kind: AgencyKind,
    pub home: Home,
    pub listen: Listen,
    pub clients: PathBuf,
    pub process: Option<Process>,
}

/// A federation with its authority.
pub struct Federation {
    pub folder: tempfile::TempDir,
    pub authority: AuthorityKey,
    pub draft: Draft,
    pub members: Vec<Member>,
}

/// A running node process.
pub struct Process {
    pub child: Child,
    pub ready: Value,
}

/// Clients every member has: file name and role.
pub const CLIENTS: [(&str, Role); 8] = [
    ("his", Role::SourceSystem),
    ("counter", Role::Registrar),
    ("doctor", Role::Physician),
    ("nurse", Role::Nurse),
    ("clerk", Role::BenefitOfficer),
    ("carer", Role::CareWorker),
    ("operator", Role::Operator),
    ("auditor", Role::Auditor),
];

/// The three kinds of agencies.
pub const THREE: [(&str, AgencyKind); 3] = [
    ("hospital-1", AgencyKind::Hospital),
    ("civil-affairs-1", AgencyKind::CivilAffairs),
    ("community-1", AgencyKind::Community),
];

impl Federation {
    /// Founds a federation; nothing runs yet. `limits` of every node.
    pub fn found(members: &[(&str, AgencyKind)], limits: &Limits) -> Self {
        Self::found_behind(members, limits, &[])
    }

    /// As [`Federation::found`], with other endpoints in the directory than the nodes listen on: something in between.
    pub fn found_behind(
        members: &[(&str, AgencyKind)],
        limits: &Limits,
        endpoints: &[(&str, SocketAddr)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = FederationName::parse("test.example").unwrap();
        let authority = AuthorityKey::generate(name.clone(), &SystemRandom::new()).unwrap();
        let mut federation = Self {
            draft: Draft::new(name),
            folder,
            authority,
            members: Vec::new(),
        };
        for (id, kind) in members {
            let endpoint = endpoints
                .iter()
                .find(|(of, _)| of == id)
                .map(|(_, address)| *address);
            let member = federation.new_member_at(id, *kind, limits, endpoint);
            federation.members.push(member);
        }
        federation.publish(30);
        federation
    }

    /// Makes a member's folder and clients, and adds its card to the draft.
    pub fn new_member(&mut self, id: &str, kind: AgencyKind, limits: &Limits) -> Member {
        self.new_member_at(id, kind, limits, None)
    }

    fn new_member_at(
        &mut self,
        id: &str,
        kind: AgencyKind,
        limits: &Limits,
        endpoint: Option<SocketAddr>,
    ) -> Member {
        let listen = free_addresses().unwrap();
        let number = self.members.len();
        let config = Config {
            member: MemberId::parse(id).unwrap(),
            name: format!("测试机构{number}"),
            kind,
            district: DistrictCode::parse("500112").unwrap(),
            listen: listen.clone(),
            unlock: UnlockConfig::default(),
            directory: DirectoryConfig { pull_interval_s: 1 },
            limits: limits.clone(),
            journal: JournalConfig::default(),
            policy: PolicyConfig::default(),
        };
        let home = Home::at(self.folder.path().join(id));
        let founding = Founding {
            federation: self.authority.federation().clone(),
            authority: self.authority.verifier_key().clone(),
            config: &config,
            credit_code: CreditCode::from_body(&format!("1250011200000{number:04}")).unwrap(),
            endpoints: vec![Endpoint::parse(&endpoint.unwrap_or(listen.peer).to_string()).unwrap()],
            name_en: None,
        };
        let unlock = Unlock::passphrase(PASSPHRASE.as_bytes()).unwrap();
        let card = home.init(&founding, &unlock, now()).unwrap();
        // `init` writes the template; tests want their own limits and a short pull interval.
        std::fs::write(home.path("node.toml"), toml::to_string(&config).unwrap()).unwrap();
        self.draft.add(&card).unwrap();
        let clients = self.folder.path().join(".clients").join(id);
        let (_, secrets) = home.unlock(&unlock).unwrap();
        for (name, role) in CLIENTS {
            songhe::cli::certificate::issue_client(&home, &secrets, role, name, &clients, 30)
                .unwrap();
        }
        Member {
            id: config.member,
            kind,
            home,
            listen,
            clients,
            process: None,
        }
    }

    /// Signs the draft and puts the directory into every member's folder.
    pub fn publish(&mut self, days: u16) -> Vec<u8> {
        let signed = self.draft.sign(&self.authority, now(), days).unwrap();
        for member in &self.members {
            member.home.write("directory.note", signed.bytes()).unwrap();
        }
        signed.bytes().to_vec()
    }

    /// Starts every member's node.
    pub async fn start_all(&mut self) {
        for member in &mut self.members {
            member.start().await;
        }
    }

    pub fn member(&self, id: &str) -> &Member {
        self.members.iter().find(|m| m.id.as_str() == id).unwrap()
    }

    pub fn member_mut(&mut self, id: &str) -> &mut Member {
        self.members
            .iter_mut()
            .find(|m| m.id.as_str() == id)
            .unwrap()
    }

    /// Stops every node in good order.
    pub async fn stop_all(&mut self) {
        for member in &mut self.members {
            member.stop().await;
        }
    }
}

impl Member {
    /// Starts the node and waits until it serves.
    pub async fn start(&mut self) {
        self.process = Some(
            self.try_start(&[])
                .await
                .unwrap_or_else(|e| panic!("{} did not start: {e}", self.id)),
        );
    }

    /// Starts the node; the error is what it wrote to its log.
    pub async fn try_start(&self, environment: &[(&str, &str)]) -> Result<Process, String> {
        let log_path = self.log_path();
        std::fs::create_dir_all(log_path.parent().unwrap()).unwrap();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_songhe"));
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(self.home.folder())
            .arg("--until-stdin-ends")
            .env("SONGHE_PASSPHRASE", PASSPHRASE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log))
            .kill_on_drop(true);
        for (key, value) in environment {
            command.env(key, value);
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(Duration::from_secs(120), lines.next_line()).await;
        match line {
            Ok(Ok(Some(line))) => Ok(Process {
                child,
                ready: serde_json::from_str(&line).unwrap(),
            }),
            _ => {
                drop(child.kill().await);
                Err(std::fs::read_to_string(&log_path).unwrap_or_default())
            }
        }
    }

    /// Where the node's log goes: outside its data folder.
    pub fn log_path(&self) -> PathBuf {
        self.home
            .folder()
            .parent()
            .unwrap()
            .join(".logs")
            .join(format!("{}.log", self.id))
    }

    /// Stops the node in good order.
    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.child.stdin.take());
            if tokio::time::timeout(Duration::from_secs(30), process.child.wait())
                .await
                .is_err()
            {
                process.child.kill().await.unwrap();
                panic!("{} did not stop in good order", self.id);
            }
        }
    }

    /// Ends the node by its process id with SIGKILL.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.child.kill().await.unwrap();
        }
    }

    /// A client of this node.
    pub fn client(&self, name: &str) -> Client {
        self.identity(name).client().unwrap()
    }

    pub fn identity(&self, name: &str) -> NodeArgs {
        NodeArgs::new(
            &self.listen.gateway.to_string(),
            &self.clients.join(format!("{name}.pem")),
        )
    }
}

/// Stores resources with one stream and gives the results in order.
pub async fn put(
    member: &Member,
    items: Vec<v1::PutItem>,
    format: v1::PutFormat,
) -> Result<Vec<v1::PutResponse>, tonic::Status> {
    let open = v1::PutOpen {
        format: format.into(),
        ..Default::default()
    };
    put_as(member, "his", open, items).await
}

/// As [`put`], by any client and opening.
pub async fn put_as(
    member: &Member,
    client: &str,
    open: v1::PutOpen,
    items: Vec<v1::PutItem>,
) -> Result<Vec<v1::PutResponse>, tonic::Status> {
    let mut messages = vec![v1::PutRequest {
        part: Some(v1::put_request::Part::Open(open)),
    }];
    messages.extend(items.into_iter().map(|i| v1::PutRequest {
        part: Some(v1::put_request::Part::Item(i)),
    }));
    let mut stream = member
        .client(client)
        .put(tokio_stream::iter(messages))
        .await?
        .into_inner();
    let mut results = Vec::new();
    while let Some(result) = stream.message().await? {
        results.push(result);
    }
    Ok(results)
}

/// A valid, made-up resident number; another for each `n` below 500.
pub fn number(n: u32) -> String {
    ResidentId::complete(&format!("50011219390405{:03}", n * 2 + 1)).unwrap()
}

/// The person of a number, as a message.
pub fn subject(number: &str) -> v1::Subject {
    v1::Subject {
        system: String::new(),
        value: number.to_owned(),
    }
}

/// A blood pressure of a made-up person.
pub fn vitals(id: &str, systolic: u32) -> Vec<u8> {
    serde_json::json!({
        "resourceType": "Observation", "id": id, "status": "final",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": "Patient/p1"}, "effectiveDateTime": "2026-10-01T08:00:00+08:00",
        "valueQuantity": {"value": systolic, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
    })
    .to_string()
    .into_bytes()
}

/// An item about a person.
pub fn item(data: Vec<u8>, number: &str) -> v1::PutItem {
    v1::PutItem {
        data,
        subject: Some(subject(number)),
        last: true,
    }
}

/// The name of a status's reason, or its code.
pub fn reason(status: &tonic::Status) -> String {
    songhe::status::refusal_in(status).map_or_else(
        || format!("{:?}: {}", status.code(), status.message()),
        |(r, _)| r.reason.to_string(),
    )
}

/// Gives a consent at a member's counter.
pub async fn permit(member: &Member, number: &str, to: &str, purpose: &str, level: u32) -> Vec<u8> {
    let terms = v1::ConsentTerms {
        effect: v1::ConsentEffect::Permit.into(),
        recipient_ids: vec![to.to_owned()],
        purposes: vec![purpose.to_owned()],
        level_ceiling: level,
        ..Default::default()
    };
    let request = v1::GrantConsentRequest {
        subject: Some(subject(number)),
        terms: Some(terms),
    };
    member
        .client("counter")
        .grant_consent(request)
        .await
        .unwrap()
        .into_inner()
        .consent_id
}

/// What one member answered to a fetch.
#[derive(Debug, Default)]
pub struct Fetched {
    pub records: Vec<v1::Record>,
    pub outcome: String,
    pub reason: String,
}

/// Fetches through a member's gateway from one other member.
pub async fn fetch(
    by: &Member,
    client: &str,
    from: &str,
    number: &str,
    types: &[&str],
    purpose: &str,
) -> Result<Fetched, tonic::Status> {
    let request = v1::FederatedFetchRequest {
        subject: Some(subject(number)),
        query: Some(v1::Query {
            record_types: types.iter().map(ToString::to_string).collect(),
            ..Default::default()
        }),
        intent: Some(v1::Intent {
            purpose: purpose.to_owned(),
            basis: String::new(),
        }),
        member_ids: vec![from.to_owned()],
        deadline_ms: 30_000,
        cursor: Vec::new(),
    };
    let mut stream = by.client(client).fetch(request).await?.into_inner();
    let mut fetched = Fetched::default();
    while let Some(page) = stream.message().await? {
        fetched.records.extend(page.records);
        if page.outcome != i32::from(v1::MemberOutcome::Unspecified) {
            fetched.outcome = songhe::cli::client::member_outcome(page.outcome).to_owned();
            fetched.reason = page.reason.map(|r| r.code).unwrap_or_default();
        }
    }
    Ok(fetched)
}

/// Every file below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort_unstable();
    files
}
