//! What a requester signs, parsed: who asks whom for what, why, on which basis, and when.

use record::decision::Verb;
use record::{
    ExchangeId, LawfulBasis, MemberId, Pseudonym, Purpose, RecordTypeCode, Role, Timestamp,
};

/// The protocol version this node speaks.
pub const PROTOCOL: u32 = 1;
/// The oldest protocol version this node answers.
pub const PROTOCOL_MIN: u32 = 1;
/// Domain of the requester's signature: Ed25519 over `label ‖ 0x00 ‖ statement bytes`.
pub const REQUEST_LABEL: &str = "songhe-request/v1";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Record types: 1 to 64, without repetition.
    pub types: Vec<RecordTypeCode>,
    /// At or after this clinical time.
    pub since: Option<Timestamp>,
    /// Before this clinical time.
    pub until: Option<Timestamp>,
    /// The most records, 1 to 10,000.
    pub limit: u32,
    /// Older versions too.
    pub history: bool,
}

/// A parsed statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Protocol version of the requester.
    pub protocol: u32,
    /// Random, used once.
    pub xid: ExchangeId,
    /// Who asks.
    pub requester: MemberId,
    /// Who is asked.
    pub holder: MemberId,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// Locate or fetch.
    pub verb: Verb,
    /// Purpose claimed.
    pub purpose: Purpose,
    /// Lawful basis claimed.
    pub basis: LawfulBasis,
    /// Role of the person who asks.
    pub role: Role,
    /// Opaque tag of the person who asks.
    pub actor_tag: [u8; 16],
    /// The holder's own pseudonym of the person asked about.
    pub pseudonym: Pseudonym,
    /// What is asked for.
    pub query: Query,
    /// Where a cut stream goes on; empty at the start.
    pub cursor: String,
}

/// A statement with the bytes that were signed.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The statement, parsed from `bytes`.
    pub statement: Statement,
    /// What was signed.
    pub bytes: Vec<u8>,
    /// Ed25519, 64 bytes.
    pub signature: Vec<u8>,
}
