//! A federation of three: the holder, a member that asks, and another; a policy that is a plain function.

use std::sync::{Arc, Mutex};

use federation::{
    AuthorityKey, Draft, Endpoint, FederationName, Member, MemberCa, MemberCard, MemberStatus,
    OprfPublicKey, ReceiptPublicKey, Validity, VerifiedPeer, Verifiers, WitnessKey,
};
use ledger::{Ledger, NewRecord, Options, RecordHeader, Secrets};
use record::consent::{Consent, Effect, Evidence, EvidenceMethod, Grantor};
use record::decision::{Agency, Grant, PolicyFault, Question, Verb, Verdict};
use record::time::ManualClock;
use record::{
    AgencyKind, Catalog, Clock, ConsentId, CreditCode, Decide, DistrictCode, ExchangeId,
    LawfulBasis, Level, MemberId, Pseudonym, Purpose, RecordTypeCode, Role, Tier, Timestamp,
};
use ring::rand::SystemRandom;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use seal::{
    CursorKey, HmacKey, Keyring, RowKey, SeededEntropy, SigningKey, SubjectKey, SystemEntropy,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::{
    Holder, HolderParts, LeafPosition, Query, REQUEST_LABEL, RecordPage, Refused, Signed, Statement,
};

/// 2026-11-22T00:00:00Z.
pub(super) const NOW: Timestamp = Timestamp::from_s(1_795_305_600);

const CATALOG: &str = r#"{"version":1,
    "common_groups":{"identifiers":{"zh":"标识","en":"identifiers","paths":["**.identifier","Patient.id","Patient.name","**.subject.reference"]}},
    "types":[
      {"code":"vitals","zh":"体征","en":"vital signs","level":3,"retention_days":1,"selectors":[{"resource":"Observation"}]},
      {"code":"profile","zh":"档案","en":"profile","level":4,"retention_days":1,"selectors":[{"resource":"Patient"}]},
      {"code":"facility","zh":"机构","en":"facility","level":1,"retention_days":1,"selectors":[{"resource":"Organization"}]}]}"#;

type Rule = Box<dyn Fn(&Question) -> Result<Verdict, PolicyFault> + Send>;

/// A policy that says what the test wants.
pub(super) struct Fake(Mutex<Rule>);

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

impl Decide for Fake {
    fn decide(&self, question: &Question) -> Result<Verdict, PolicyFault> {
        (self.0.lock().unwrap())(question)
    }

    fn digest(&self) -> [u8; 32] {
        [0xd1; 32]
    }
}

/// What a sound policy says: whole for treatment, without identifiers for anything else, within what is permitted.
pub(super) fn honest(question: &Question) -> Result<Verdict, PolicyFault> {
    let grant = |asked: &record::decision::AskedType| {
        let of = |effect, p: &&record::decision::Provision| {
            p.effect == effect && (p.types.is_empty() || p.types.contains(&asked.code))
        };
        let permitted = question
            .consents
            .iter()
            .any(|p| of(Effect::Permit, &p) && asked.level <= p.level_ceiling);
        let refused = question.consents.iter().any(|p| of(Effect::Refuse, &p));
        let reason = if refused {
            "CONSENT_REFUSED"
        } else {
            "CONSENT_MISSING"
        };
        if (permitted && !refused) || asked.level.get() == 1 {
            let whole = question.purpose == Purpose::Treat;
            let mask = if whole {
                vec![]
            } else {
                vec!["identifiers".to_owned()]
            };
            Grant {
                tier: if whole { Tier::Full } else { Tier::Masked },
                mask,
                ..Grant::default()
            }
        } else {
            Grant {
                reasons: vec![reason.to_owned()],
                ..Grant::default()
            }
        }
    };
    Ok(verdict(
        question
            .types
            .iter()
            .map(|asked| (asked.code.clone(), grant(asked))),
    ))
}

pub(super) fn verdict(types: impl IntoIterator<Item = (RecordTypeCode, Grant)>) -> Verdict {
    Verdict {
        v: 1,
        types: types.into_iter().collect(),
        policy_version: "test".into(),
        ..Verdict::default()
    }
}

/// The same for every type asked for.
pub(super) fn all(question: &Question, grant: &Grant) -> Verdict {
    verdict(
        question
            .types
            .iter()
            .map(|asked| (asked.code.clone(), grant.clone())),
    )
}

pub(super) fn full() -> Grant {
    Grant {
        tier: Tier::Full,
        ..Grant::default()
    }
}

pub(super) struct Party {
    pub(super) key: SigningKey,
    pub(super) peer: VerifiedPeer,
}

/// The federation, and the holder's node.
pub(super) struct City {
    dir: TempDir,
    pub(super) clock: ManualClock,
    pub(super) policy: Arc<Fake>,
    holder: Option<Holder>,
    pub(super) asker: Party,
    pub(super) other: Party,
    serial: Mutex<u128>,
}

impl City {
    pub(super) fn new() -> Self {
        let federation = FederationName::parse("city.example").unwrap();
        let authority = AuthorityKey::from_seed(federation.clone(), &[42; 32]).unwrap();
        let mut draft = Draft::new(federation.clone());
        let mut made = Vec::new();
        for (n, id) in ["h-holder", "h-asker", "h-other"].into_iter().enumerate() {
            made.push(member(
                &federation,
                id,
                u8::try_from(n).unwrap() + 1,
                &mut draft,
            ));
        }
        let verifiers = Verifiers::new(draft.sign(&authority, NOW, 30).unwrap()).unwrap();
        let mut parties = made.into_iter().map(|(key, chain)| {
            let peer = verifiers.verify_peer(&chain, NOW).unwrap();
            Party { key, peer }
        });
        let (_holder, asker, other) = (
            parties.next(),
            parties.next().unwrap(),
            parties.next().unwrap(),
        );
        let mut city = Self {
            dir: tempfile::tempdir().unwrap(),
            clock: ManualClock::at(NOW),
            policy: Arc::new(Fake(Mutex::new(Box::new(honest)))),
            holder: None,
            asker,
            other,
            serial: Mutex::new(0),
        };
        city.restart();
        city
    }

    /// Stops the holder's node and starts it again in the same folder.
    pub(super) fn restart(&mut self) {
        self.holder = None;
        let journal = journal::Options {
            segment_size: 1 << 20,
            spares: 1,
            audit_reserve: 64 * 1024,
            ..journal::Options::default()
        };
        let options = Options {
            index_cache_bytes: 4 << 20,
            journal,
            ..Options::at(self.dir.path())
        };
        let secrets = Secrets {
            keyring: Keyring::generate(&SeededEntropy::new(1)).unwrap(),
            row: RowKey::from_bytes(&[2; 32]),
            index: HmacKey::from_bytes(&[3; 32]),
            node: SubjectKey::from_bytes(&[4; 32]),
        };
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let entropy = Arc::new(SystemEntropy::new());
        let (ledger, _) =
            Ledger::open(options, secrets, Arc::clone(&clock), entropy.clone()).unwrap();
        self.holder = Some(Holder::new(HolderParts {
            me: Agency {
                member: MemberId::parse("h-holder").unwrap(),
                kind: AgencyKind::Hospital,
                district: DistrictCode::parse("500112").unwrap(),
            },
            catalog: Arc::new(Catalog::from_json(CATALOG).unwrap()),
            ledger,
            policy: self.policy.clone(),
            cursor: CursorKey::from_bytes(&[5; 32]),
            clock,
            entropy,
        }));
    }

    pub(super) fn holder(&self) -> &Holder {
        self.holder.as_ref().unwrap()
    }

    pub(super) fn rule(
        &self,
        rule: impl Fn(&Question) -> Result<Verdict, PolicyFault> + Send + 'static,
    ) {
        *self.policy.0.lock().unwrap() = Box::new(rule);
    }

    /// A statement of the asking member, for treatment, about vital signs.
    pub(super) fn statement(&self, verb: Verb, subject: u8) -> Statement {
        let mut serial = self.serial.lock().unwrap();
        *serial += 1;
        Statement {
            protocol: 1,
            xid: ExchangeId::from_bytes(serial.to_be_bytes()),
            requester: self.asker.peer.member().id.clone(),
            holder: MemberId::parse("h-holder").unwrap(),
            issued_at: self.clock.now(),
            verb,
            purpose: Purpose::Treat,
            basis: LawfulBasis::Consent,
            role: Role::Physician,
            actor_tag: [9; 16],
            pseudonym: person(subject),
            query: Query {
                types: vec![code("vitals")],
                since: None,
                until: None,
                limit: 1_000,
                history: false,
            },
            cursor: String::new(),
        }
    }

    pub(super) fn locate(&self, subject: u8) -> Signed {
        self.asker.sign(self.statement(Verb::Locate, subject))
    }

    pub(super) fn fetch(&self, subject: u8, change: impl FnOnce(&mut Statement)) -> Signed {
        let mut statement = self.statement(Verb::Fetch, subject);
        change(&mut statement);
        self.asker.sign(statement)
    }

    /// All pages of a fetch by the asking member, or the first refusal.
    pub(super) async fn pages(
        &self,
        signed: Signed,
    ) -> Result<Vec<(RecordPage, LeafPosition)>, Refused> {
        let mut fetching = self.holder().begin_fetch(&self.asker.peer, signed).await?;
        let mut pages = Vec::new();
        while let Some(page) = self.holder().next_page(&mut fetching).await? {
            pages.push(page.into_reply());
        }
        Ok(pages)
    }

    pub(super) async fn put(
        &self,
        subject: u8,
        kind: &str,
        id: &str,
        level: u8,
        json: &str,
    ) -> u64 {
        let resource_type = match kind {
            "vitals" => "Observation",
            "profile" => "Patient",
            _ => "Organization",
        };
        let number: i64 = id
            .bytes()
            .filter(u8::is_ascii_digit)
            .fold(0, |n, d| n * 10 + i64::from(d - b'0'));
        let new = NewRecord {
            subject: person(subject),
            header: RecordHeader {
                source: "his".into(),
                resource_type: resource_type.into(),
                id: id.into(),
                version: "1".into(),
                type_code: code(kind),
                level: Level::new(level).unwrap(),
                effective: Some(NOW.plus_ms(-number)),
                received: NOW,
            },
            original: Zeroizing::new(json.as_bytes().to_vec()),
        };
        self.holder()
            .ledger()
            .put(vec![new])
            .await
            .unwrap()
            .pop()
            .unwrap()
            .unwrap()
            .seq
    }

    /// A vital sign of level 3.
    pub(super) async fn vital(&self, subject: u8, id: &str) -> u64 {
        self.put(subject, "vitals", id, 3, &observation(id)).await
    }

    pub(super) async fn consent(&self, subject: u8, id: u8, change: impl FnOnce(&mut Consent)) {
        let mut consent = Consent {
            id: ConsentId::from_bytes([id; 16]),
            effect: Effect::Permit,
            grantor: Grantor::Elder,
            evidence: Evidence {
                method: EvidenceMethod::Counter,
                sha256: None,
            },
            recipients: vec![self.asker.peer.member().id.clone()],
            recipient_kinds: vec![],
            purposes: vec![Purpose::Treat, Purpose::Caremgt],
            types: vec![],
            level_ceiling: Level::new(4).unwrap(),
            from: NOW.plus_ms(-1),
            until: NOW.plus_ms(86_400_000),
            registered_by: MemberId::parse("h-holder").unwrap(),
        };
        change(&mut consent);
        let _acked = self
            .holder()
            .ledger()
            .register_consent(person(subject), consent)
            .await
            .unwrap();
    }

    pub(super) async fn withdraw(&self, subject: u8, id: u8) -> u64 {
        let id = ConsentId::from_bytes([id; 16]);
        self.holder()
            .ledger()
            .withdraw_consent(person(subject), id)
            .await
            .unwrap()
            .seq()
    }

    /// The leaf at a place, as JSON.
    pub(super) fn leaf(&self, at: &LeafPosition) -> serde_json::Value {
        assert_eq!(at.member.as_str(), "h-holder");
        serde_json::from_slice(&self.holder().ledger().leaf(at.seq).unwrap()).unwrap()
    }

    /// The sealed detail of the access at a place.
    pub(super) fn detail(&self, at: &LeafPosition) -> serde_json::Value {
        serde_json::from_slice(&self.holder().ledger().access_detail(at.seq).unwrap()).unwrap()
    }

    /// All leaves so far.
    pub(super) fn leaves(&self) -> Vec<serde_json::Value> {
        let ledger = self.holder().ledger();
        (0..ledger.health().events)
            .map(|n| serde_json::from_slice(&ledger.leaf(n).unwrap()).unwrap())
            .collect()
    }
}

impl Party {
    pub(super) fn sign(&self, statement: Statement) -> Signed {
        let bytes = format!("{statement:?}").into_bytes();
        let signature = self.key.sign(REQUEST_LABEL, &bytes).to_vec();
        Signed {
            statement,
            bytes,
            signature,
        }
    }
}

fn member(
    federation: &FederationName,
    id: &str,
    number: u8,
    draft: &mut Draft,
) -> (SigningKey, Vec<CertificateDer<'static>>) {
    let rng = SystemRandom::new();
    let id = MemberId::parse(id).unwrap();
    let ca = MemberCa::generate(&id, NOW, &rng).unwrap();
    let key = SigningKey::from_seed(&[number; 32]).unwrap();
    let other_key = |purpose: u8| {
        SigningKey::from_seed(&[number * 10 + purpose; 32])
            .unwrap()
            .verifying_key()
            .as_bytes()
            .to_owned()
    };
    let described = Member {
        name: format!("松鹤第{number}人民医院"),
        name_en: None,
        kind: AgencyKind::Hospital,
        credit_code: CreditCode::from_body(&format!("12350100M0000000{number}")).unwrap(),
        district: DistrictCode::parse("500112").unwrap(),
        endpoints: vec![Endpoint::parse(&format!("{id}.city.example:7400")).unwrap()],
        status: MemberStatus::Active,
        ca: ca.certificate().clone(),
        receipt_key: ReceiptPublicKey::from_bytes(*key.verifying_key().as_bytes()).unwrap(),
        log_key: tlog::note::VerifierKey::new(&format!("{id}.city.example/audit/1"), other_key(1))
            .unwrap(),
        witness_key: WitnessKey::new(&format!("{id}.city.example/witness"), other_key(2)).unwrap(),
        oprf_key: OprfPublicKey::from_bytes(other_key(3)).unwrap(),
        min_protocol: None,
        id,
    };
    let sign = |label: &str, message: &[u8]| key.sign(label, message);
    draft
        .add(&MemberCard::create(federation.clone(), described, sign, &ca, &rng).unwrap())
        .unwrap();
    let issued = ca
        .issue_node(&[], &[], Validity::days_from(NOW, 90), &rng)
        .unwrap();
    let chain = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes())
        .map(Result::unwrap)
        .collect();
    (key, chain)
}

pub(super) fn person(n: u8) -> Pseudonym {
    Pseudonym::from_bytes([n; 32])
}

pub(super) fn code(text: &str) -> RecordTypeCode {
    RecordTypeCode::parse(text).unwrap()
}

pub(super) fn observation(id: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"text":"heart rate"}},"subject":{{"reference":"Patient/p-77"}},"valueQuantity":{{"value":72.50}}}}"#
    )
}

/// The ids of all records on some pages, in order.
pub(super) fn ids(pages: &[(RecordPage, LeafPosition)]) -> Vec<&str> {
    pages
        .iter()
        .flat_map(|(page, _)| &page.records)
        .map(|r| r.id.as_str())
        .collect()
}
