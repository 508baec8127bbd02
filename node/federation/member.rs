//! One member of the federation: its agency, where it listens, its keys, and whether it is active.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use record::{AgencyKind, CreditCode, DistrictCode, MemberId};
use serde::{Deserialize, Serialize};
use tlog::note::VerifierKey;

use crate::ca::{CaCertificate, CaError, MAX_CERTIFICATE_BYTES};
use crate::keys::{Fingerprint, OprfPublicKey, ReceiptPublicKey, WitnessKey};
use crate::name::Endpoint;

/// Most bytes of one member's JSON line: a usual one has about 1,150, the longest certificate adds 5,000, the longest
/// names and endpoints 3,000.
pub const MAX_MEMBER_BYTES: usize = 12 * 1024;

/// Most endpoints of one member: two sites with two addresses each.
pub const MAX_ENDPOINTS: usize = 4;

/// Longest name of an agency in characters.
pub const MAX_NAME_CHARS: usize = 128;

/// Longest passage of a parser's own message that is repeated in an error.
const MAX_TOLD_CHARS: usize = 160;

/// Whether a member takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberStatus {
    /// Takes part.
    Active,
    /// Known, but answered with `PEER_SUSPENDED` until a new directory says otherwise.
    Suspended,
}

impl MemberStatus {
    /// The word of the directory: `active` or `suspended`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

impl fmt::Display for MemberStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A member as the directory describes it. Read from JSON it is checked throughout; see [`Member::check`] for
/// one put together by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "MemberText", into = "MemberText")]
pub struct Member {
    /// Its id in the federation.
    pub id: MemberId,
    /// The agency's name, 1 to 128 characters.
    pub name: String,
    /// The name in English, if it has one.
    pub name_en: Option<String>,
    /// What kind of agency it is.
    pub kind: AgencyKind,
    /// Its unified social credit code.
    pub credit_code: CreditCode,
    /// The district it serves.
    pub district: DistrictCode,
    /// Where its node listens, 1 to 4, in order of preference.
    pub endpoints: Vec<Endpoint>,
    /// Whether it takes part.
    pub status: MemberStatus,
    /// Its own certificate authority: TLS certificates are issued under it and renew without a new directory.
    pub ca: CaCertificate,
    /// The key of its receipts and requests.
    pub receipt_key: ReceiptPublicKey,
    /// The key of its transparency log.
    pub log_key: VerifierKey,
    /// The key it cosigns other logs' checkpoints with.
    pub witness_key: WitnessKey,
    /// The public key of its pseudonyms.
    pub oprf_key: OprfPublicKey,
    /// The lowest protocol version it still accepts, from 1; absent when it accepts all.
    pub min_protocol: Option<u32>,
}

/// Why a description of a member was refused. The fault lies with whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMember {
    /// Longer than [`MAX_MEMBER_BYTES`].
    #[error("the description of the member is longer than 12 kib; shorten names and endpoints")]
    TooLarge,
    /// Not the JSON of a member: the parser's message tells the place.
    #[error("the description of the member is not as it should be: {0}")]
    Json(String),
    /// A name is empty, too long, or has control or invisible characters.
    #[error(
        "a member's name has 1 to 128 visible characters without spaces around it; correct the name"
    )]
    Name,
    /// Not 1 to 4 different endpoints.
    #[error("a member has 1 to 4 different endpoints; correct the list")]
    Endpoints,
    /// The certificate is not base64.
    #[error("tls_ca_der is not base64 with padding; copy it again from the member")]
    CaBase64,
    /// The certificate is not fit to be a member's authority.
    #[error("tls_ca_der: {0}")]
    Ca(#[from] CaError),
    /// The certificate names another member.
    #[error("tls_ca_der names another member; each member has an authority of its own")]
    CaName,
    /// The fingerprint is not that of the certificate.
    #[error("tls_ca_sha256 is not the fingerprint of tls_ca_der; copy both again from the member")]
    CaFingerprint,
    /// The key of the log is not a vkey.
    #[error(
        "log_key is not a verifier key of the form name+id+base64; copy it again from the member"
    )]
    LogKey,
    /// One key serves two purposes.
    #[error("receipt, log, witness and oprf keys must all differ; make a key for each purpose")]
    SharedKey,
    /// Protocol versions count from 1.
    #[error("min_protocol counts from 1; leave it out to accept every version")]
    MinProtocol,
}

impl Member {
    /// Parses the one-line canonical JSON that [`Member::to_json`] writes, or the same in another layout.
    ///
    /// # Errors
    /// [`InvalidMember`]; unknown, repeated and missing keys are [`InvalidMember::Json`].
    pub fn from_json(text: &str) -> Result<Self, InvalidMember> {
        if text.len() > MAX_MEMBER_BYTES {
            return Err(InvalidMember::TooLarge);
        }
        let parsed: MemberText =
            serde_json::from_str(text).map_err(|e| InvalidMember::Json(told(&e)))?;
        Self::try_from(parsed)
    }

    /// The canonical JSON: one line, keys in the order of the format, no spaces.
    ///
    /// # Errors
    /// [`InvalidMember::Json`], which the fields' types do not give.
    pub fn to_json(&self) -> Result<String, InvalidMember> {
        serde_json::to_string(self).map_err(|e| InvalidMember::Json(told(&e)))
    }

    /// Checks what the fields' types alone do not promise.
    ///
    /// # Errors
    /// [`InvalidMember`] names the first fault.
    pub fn check(&self) -> Result<(), InvalidMember> {
        if !is_good_name(&self.name) || !self.name_en.as_deref().is_none_or(is_good_name) {
            return Err(InvalidMember::Name);
        }
        let mut seen = Vec::new();
        for endpoint in &self.endpoints {
            if seen.contains(&endpoint) {
                return Err(InvalidMember::Endpoints);
            }
            seen.push(endpoint);
        }
        if !(1..=MAX_ENDPOINTS).contains(&self.endpoints.len()) {
            return Err(InvalidMember::Endpoints);
        }
        if self.ca.member() != &self.id {
            return Err(InvalidMember::CaName);
        }
        let [first, second, third, fourth] = self.keys();
        if first == second
            || first == third
            || first == fourth
            || second == third
            || second == fourth
            || third == fourth
        {
            return Err(InvalidMember::SharedKey);
        }
        if self.min_protocol == Some(0) {
            return Err(InvalidMember::MinProtocol);
        }
        Ok(())
    }

    /// Whether it takes part.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status == MemberStatus::Active
    }

    /// Its four 32-byte keys: receipt, log, witness, OPRF.
    pub(crate) fn keys(&self) -> [&[u8; 32]; 4] {
        [
            self.receipt_key.as_bytes(),
            self.log_key.public_key(),
            self.witness_key.public_key(),
            self.oprf_key.as_bytes(),
        ]
    }
}

/// The JSON form, keys in canonical order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberText {
    id: MemberId,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name_en: Option<String>,
    kind: AgencyKind,
    credit_code: CreditCode,
    district: DistrictCode,
    endpoints: Vec<Endpoint>,
    status: MemberStatus,
    tls_ca_sha256: Fingerprint,
    tls_ca_der: String,
    receipt_key: ReceiptPublicKey,
    log_key: String,
    witness_key: WitnessKey,
    oprf_key: OprfPublicKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_protocol: Option<u32>,
}

impl TryFrom<MemberText> for Member {
    type Error = InvalidMember;

    fn try_from(text: MemberText) -> Result<Self, InvalidMember> {
        if text.tls_ca_der.len() > MAX_CERTIFICATE_BYTES * 4 / 3 + 4 {
            return Err(CaError::TooLarge.into());
        }
        let der = STANDARD
            .decode(&text.tls_ca_der)
            .map_err(|_base64| InvalidMember::CaBase64)?;
        if Fingerprint::of(&der) != text.tls_ca_sha256 {
            return Err(InvalidMember::CaFingerprint);
        }
        let member = Self {
            id: text.id,
            name: text.name,
            name_en: text.name_en,
            kind: text.kind,
            credit_code: text.credit_code,
            district: text.district,
            endpoints: text.endpoints,
            status: text.status,
            ca: CaCertificate::parse(&der)?,
            receipt_key: text.receipt_key,
            log_key: VerifierKey::parse(&text.log_key).map_err(|_key| InvalidMember::LogKey)?,
            witness_key: text.witness_key,
            oprf_key: text.oprf_key,
            min_protocol: text.min_protocol,
        };
        member.check()?;
        Ok(member)
    }
}

impl From<Member> for MemberText {
    fn from(member: Member) -> Self {
        Self {
            id: member.id,
            name: member.name,
            name_en: member.name_en,
            kind: member.kind,
            credit_code: member.credit_code,
            district: member.district,
            endpoints: member.endpoints,
            status: member.status,
            tls_ca_sha256: member.ca.fingerprint(),
            tls_ca_der: STANDARD.encode(member.ca.der()),
            receipt_key: member.receipt_key,
            log_key: member.log_key.to_string(),
            witness_key: member.witness_key,
            oprf_key: member.oprf_key,
            min_protocol: member.min_protocol,
        }
    }
}

/// Visible characters only: what people compare on a screen must not hide or reorder anything.
fn is_good_name(name: &str) -> bool {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    (1..=MAX_NAME_CHARS).contains(&name.chars().count())
        && !name.chars().any(hidden)
        && name.trim() == name
}

/// A parser's message, cut to a length fit for a log line.
pub(crate) fn told(error: &serde_json::Error) -> String {
    error
        .to_string()
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_TOLD_CHARS)
        .collect()
}
