//! What a policy is asked and what it may answer, as plain data: the contract between pipeline and engine.
//!
//! A question holds everything the decision depends on, the clock included, so that it can be asked
//! again later. `policies/schema` has both documents as JSON Schema.

use core::fmt;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::actor::Role;
use crate::agency::AgencyKind;
use crate::catalog::RecordTypeCode;
use crate::consent::Effect;
use crate::district::DistrictCode;
use crate::id::{ConsentId, MemberId};
use crate::purpose::{LawfulBasis, Purpose};
use crate::tier::{Level, Tier};

/// The verb of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Who holds records?
    Locate,
    /// Give me these records.
    Fetch,
}

impl Verb {
    /// The name used everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Locate => "locate",
            Self::Fetch => "fetch",
        }
    }
}

/// An agency as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agency {
    /// Member id.
    pub member: MemberId,
    /// Kind of agency.
    pub kind: AgencyKind,
    /// District code.
    pub district: DistrictCode,
}

/// A record type asked for, with its data level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedType {
    /// Record type.
    pub code: RecordTypeCode,
    /// Its level.
    pub level: Level,
}

/// A consent that speaks of this recipient, purpose and moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provision {
    /// Which consent.
    pub id: ConsentId,
    /// Permit or refuse.
    pub effect: Effect,
    /// Record types; empty means every type.
    pub types: Vec<RecordTypeCode>,
    /// Highest level permitted.
    pub level_ceiling: Level,
    /// Until when, seconds since the epoch.
    pub until: i64,
}

/// The surroundings of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Seconds since the epoch.
    pub now: i64,
}

/// What a policy is asked. Version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Version of this document: 1.
    pub v: u8,
    /// The verb.
    pub verb: Verb,
    /// The purpose claimed.
    pub purpose: Purpose,
    /// The lawful basis claimed.
    pub basis: LawfulBasis,
    /// Who asks.
    pub requester: Agency,
    /// The role of the person who asks.
    pub role: Role,
    /// Who holds.
    pub holder: Agency,
    /// What is asked for.
    pub types: Vec<AskedType>,
    /// Consents that speak of this recipient, purpose and moment.
    pub consents: Vec<Provision>,
    /// The surroundings.
    pub env: Environment,
}

/// The version of [`Question`] and [`Verdict`].
pub const CONTRACT_VERSION: u8 = 1;

/// A duty that comes with an access. One the node does not know is a denial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Obligation {
    /// The receiver deletes its copy after so many seconds.
    Ttl {
        /// Seconds from receipt.
        seconds: u64,
    },
    /// The receiver hands nothing on to a third agency.
    NoOnwardTransfer,
}

/// What is granted for one record type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The tier.
    pub tier: Tier,
    /// Field groups to mask when the tier is `masked`.
    #[serde(default)]
    pub mask: Vec<String>,
    /// Why it is not more, as reason codes.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// The consents it rests on.
    #[serde(default)]
    pub consents: Vec<ConsentId>,
}

/// What a policy answers. Version 1. A record type that is missing is granted nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Version of this document: 1.
    pub v: u8,
    /// What is granted, by record type.
    pub types: BTreeMap<RecordTypeCode, Grant>,
    /// Duties that come with it.
    #[serde(default)]
    pub obligations: Vec<Obligation>,
    /// Reasons that hold for the whole request, as reason codes.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Version of the policy's tables, for people.
    pub policy_version: String,
}

/// Why there is no verdict. Each is a denial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// The engine failed, trapped or ran out of its limits.
    #[error("the policy engine failed: {0}")]
    Engine(String),
    /// The answer is not a verdict of this version.
    #[error("the policy's answer is not a verdict: {0}")]
    Answer(String),
    /// The answer asks for a duty nobody here knows.
    #[error("the policy asks for an unknown duty: {0}")]
    Obligation(String),
}

/// Something that decides. Pure: the same question has the same answer.
pub trait Decide: Send + Sync + fmt::Debug {
    /// Answers a question.
    ///
    /// # Errors
    /// [`PolicyFault`]: to be treated as a denial.
    fn decide(&self, question: &Question) -> Result<Verdict, PolicyFault>;

    /// SHA-256 of the policy that decides, as each leaf names it.
    fn digest(&self) -> [u8; 32];
}
