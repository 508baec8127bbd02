//! Members, keys and certificates for the tests of this room.

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose as Usage, IsCa,
    KeyUsagePurpose, SanType,
};
use record::{AgencyKind, CreditCode, DistrictCode, MemberId, Role, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tlog::note::{Note, VerifierKey};

use crate::directory::LIMITS;
use crate::keys::labelled;
use crate::tls_key::TlsKey;
use crate::{
    AuthorityKey, ClientName, Draft, Endpoint, FederationName, Issued, Member, MemberCa,
    MemberCard, MemberStatus, OprfPublicKey, ReceiptPublicKey, SignedDirectory, Validity,
    WitnessKey,
};

/// 2026-11-22T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_s(1_795_305_600);

pub(crate) const DAY_MS: i64 = 86_400_000;

pub(crate) fn rng() -> SystemRandom {
    SystemRandom::new()
}

pub(crate) fn federation() -> FederationName {
    FederationName::parse("city.example").unwrap()
}

pub(crate) fn authority() -> AuthorityKey {
    AuthorityKey::from_seed(federation(), &[42; 32]).unwrap()
}

/// One member with all its keys.
pub(crate) struct Party {
    pub(crate) ca: MemberCa,
    pub(crate) receipt: Ed25519KeyPair,
    pub(crate) member: Member,
}

/// A member whose keys follow from `number`, except the authority's, which is random.
pub(crate) fn party(number: u32) -> Party {
    let id = MemberId::parse(&format!("member-{number:05}")).unwrap();
    let ca = MemberCa::generate(&id, NOW, &rng()).unwrap();
    let receipt = Ed25519KeyPair::from_seed_unchecked(&key_bytes(number, 1)).unwrap();
    let member = Member {
        name: format!("松鹤第{number}人民医院"),
        name_en: Some(format!("Songhe No. {number} Hospital")),
        kind: AgencyKind::Hospital,
        credit_code: CreditCode::from_body(&format!("12350100M{number:08}")).unwrap(),
        district: DistrictCode::parse("500112").unwrap(),
        endpoints: vec![Endpoint::parse(&format!("{id}.city.example:7400")).unwrap()],
        status: MemberStatus::Active,
        ca: ca.certificate().clone(),
        receipt_key: ReceiptPublicKey::from_bytes(
            receipt.public_key().as_ref().try_into().unwrap(),
        )
        .unwrap(),
        log_key: VerifierKey::new(&format!("{id}.city.example/audit/1"), key_bytes(number, 2))
            .unwrap(),
        witness_key: WitnessKey::new(&format!("{id}.city.example/witness"), key_bytes(number, 3))
            .unwrap(),
        oprf_key: OprfPublicKey::from_bytes(key_bytes(number, 4)).unwrap(),
        min_protocol: None,
        id,
    };
    Party {
        ca,
        receipt,
        member,
    }
}

pub(crate) fn key_bytes(number: u32, purpose: u8) -> [u8; 32] {
    let mut bytes = [purpose; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

impl Party {
    pub(crate) fn id(&self) -> &MemberId {
        &self.member.id
    }

    pub(crate) fn card(&self) -> MemberCard {
        self.card_of(self.member.clone())
    }

    /// A card over any description, signed with this party's keys.
    pub(crate) fn card_of(&self, member: Member) -> MemberCard {
        MemberCard::create(
            federation(),
            member,
            |label, message| self.sign(label, message),
            &self.ca,
            &rng(),
        )
        .unwrap()
    }

    pub(crate) fn sign(&self, label: &str, message: &[u8]) -> [u8; 64] {
        self.receipt
            .sign(&labelled(label, message))
            .as_ref()
            .try_into()
            .unwrap()
    }
}

/// A draft with these parties.
pub(crate) fn draft_of(parties: &[&Party]) -> Draft {
    let mut draft = Draft::new(federation());
    for party in parties {
        draft.add(&party.card()).unwrap();
    }
    draft
}

/// A directory with these parties, version 1, valid for 30 days from [`NOW`].
pub(crate) fn directory_of(parties: &[&Party]) -> SignedDirectory {
    draft_of(parties).sign(&authority(), NOW, 30).unwrap()
}

/// The text of a directory without its signature.
pub(crate) fn text_of(signed: &SignedDirectory) -> String {
    let whole = std::str::from_utf8(signed.bytes()).unwrap();
    whole
        .split_at(whole.rfind("\n\n").unwrap() + 1)
        .0
        .to_owned()
}

/// Any text, truly signed by the authority: what the parser must refuse by itself.
pub(crate) fn sign_text(text: &str) -> Vec<u8> {
    Note::sign_within(text, &[authority().signer()], LIMITS)
        .unwrap()
        .to_bytes()
}

pub(crate) fn name(text: &str) -> ClientName {
    ClientName::parse(text).unwrap()
}

pub(crate) fn node_of(party: &Party) -> Issued {
    party
        .ca
        .issue_node(
            &["node.example"],
            &["10.0.0.1".parse().unwrap()],
            Validity::days_from(NOW, 90),
            &rng(),
        )
        .unwrap()
}

pub(crate) fn client_of(party: &Party) -> Issued {
    party
        .ca
        .issue_client(
            Role::Physician,
            &name("dr.li"),
            Validity::days_from(NOW, 90),
            &rng(),
        )
        .unwrap()
}

/// Parameters of a good node certificate of `member`, for spoiling.
pub(crate) fn node_params(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "node");
    params.not_before = rcgen::date_time_ymd(2026, 11, 1);
    params.not_after = rcgen::date_time_ymd(2027, 11, 1);
    params.subject_alt_names = uris
        .iter()
        .map(|uri| SanType::URI((*uri).try_into().unwrap()))
        .collect();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![Usage::ServerAuth, Usage::ClientAuth];
    params
}

pub(crate) fn key() -> TlsKey {
    TlsKey::generate(&rng()).unwrap()
}

/// The chain of an issued certificate.
pub(crate) fn chain_of(issued: &Issued) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes())
        .map(Result::unwrap)
        .collect()
}

/// A small generator of repeatable noise (xorshift64*), for mutating inputs.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end.max(1)
    }

    /// `bytes` with one to four bytes changed, put in, taken out, or a piece copied elsewhere.
    pub(crate) fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for _ in 0..=self.below(4) {
            if out.is_empty() {
                break;
            }
            let at = self.below(out.len());
            match self.below(5) {
                0 => out[at] ^= 1 << self.below(8),
                1 => out[at] = u8::try_from(self.below(256)).unwrap(),
                2 => out.insert(at, u8::try_from(self.below(256)).unwrap()),
                3 => {
                    out.drain(at..(at + 1 + self.below(16)).min(out.len()));
                }
                _ => {
                    let piece = out[at..(at + 1 + self.below(64)).min(out.len())].to_vec();
                    let to = self.below(out.len());
                    out.splice(to..to, piece);
                }
            }
        }
        out
    }
}
