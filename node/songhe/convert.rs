//! Between messages and domain values: parsing happens here, once, and nothing behind it checks shapes again.

use exchange::{Granted, LeafPosition, OutRecord, Query, Statement};
use record::consent::{Consent, Effect, Evidence, EvidenceMethod, Grantor};
use record::decision::Verb;
use record::{
    AgencyKind, ConsentId, ExchangeId, LawfulBasis, Level, MemberId, Obligation, Pseudonym,
    Purpose, ReasonCode, RecordTypeCode, Refusal, Role, Tier, Timestamp,
};
use wire::v1;

use crate::status::reason_message;

/// The most record types in one query.
pub const QUERY_TYPES_MAX: usize = 64;
/// The most records one query gives.
pub const QUERY_LIMIT_MAX: u32 = 10_000;
/// Records given when a query names no limit.
pub const QUERY_LIMIT_DEFAULT: u32 = 1_000;
/// A consent without an end lasts a year.
const CONSENT_DEFAULT_MS: i64 = 365 * 86_400_000;

fn malformed(detail: impl Into<String>) -> Refusal {
    Refusal::with_detail(ReasonCode::RequestMalformed, detail)
}

fn moment(ms: i64) -> Option<Timestamp> {
    (ms != 0).then(|| Timestamp::from_ms(ms))
}

// === messages into values ===

/// A query.
///
/// # Errors
/// `REQUEST_MALFORMED` names the field.
pub fn query(message: Option<v1::Query>) -> Result<Query, Refusal> {
    let message = message.ok_or_else(|| malformed("query is missing"))?;
    if message.record_types.is_empty() || message.record_types.len() > QUERY_TYPES_MAX {
        return Err(malformed("query.record_types needs 1 to 64 record types"));
    }
    let mut types = Vec::with_capacity(message.record_types.len());
    for text in &message.record_types {
        let code = RecordTypeCode::parse(text).map_err(|_| {
            Refusal::with_detail(
                ReasonCode::TypeUnknown,
                "a record type code has 2 to 32 characters of a-z and -",
            )
        })?;
        if types.contains(&code) {
            return Err(malformed(format!("query.record_types names {code} twice")));
        }
        types.push(code);
    }
    let limit = match message.limit {
        0 => QUERY_LIMIT_DEFAULT,
        n if n <= QUERY_LIMIT_MAX => n,
        _ => return Err(malformed("query.limit is at most 10000")),
    };
    Ok(Query {
        types,
        since: moment(message.since_ms),
        until: moment(message.until_ms),
        limit,
        history: message.history,
    })
}

/// A purpose of use.
///
/// # Errors
/// `REQUEST_MALFORMED`.
pub fn purpose(text: &str) -> Result<Purpose, Refusal> {
    Purpose::parse(text)
        .ok_or_else(|| malformed("purpose is not a known HL7 v3 PurposeOfUse code, such as TREAT"))
}

/// A lawful basis; empty means consent.
///
/// # Errors
/// `REQUEST_MALFORMED`.
pub fn basis(text: &str) -> Result<LawfulBasis, Refusal> {
    if text.is_empty() {
        return Ok(LawfulBasis::Consent);
    }
    LawfulBasis::parse(text)
        .ok_or_else(|| malformed("basis is not a known lawful basis, such as consent"))
}

/// A statement that a peer signed.
///
/// # Errors
/// `REQUEST_MALFORMED` names the field; `PSEUDONYM_MALFORMED`; `TYPE_UNKNOWN`.
pub fn statement(m: v1::RequestStatement) -> Result<Statement, Refusal> {
    let member = |text: &str| MemberId::parse(text).map_err(|e| malformed(e.to_string()));
    Ok(Statement {
        protocol: m.protocol,
        xid: ExchangeId::from_slice(&m.exchange_id)
            .map_err(|_| malformed("exchange_id has 16 bytes"))?,
        requester: member(&m.requester_id)?,
        holder: member(&m.holder_id)?,
        issued_at: Timestamp::from_ms(m.issued_at_ms),
        verb: match m.verb.as_str() {
            "locate" => Verb::Locate,
            "fetch" => Verb::Fetch,
            _ => return Err(malformed("verb is locate or fetch")),
        },
        purpose: purpose(&m.purpose)?,
        basis: basis(&m.basis)?,
        role: Role::parse(&m.role).ok_or_else(|| malformed("role is not a known role"))?,
        actor_tag: m
            .actor_tag
            .as_slice()
            .try_into()
            .map_err(|_| malformed("actor_tag has 16 bytes"))?,
        pseudonym: Pseudonym::from_slice(&m.pseudonym)
            .map_err(|_| Refusal::new(ReasonCode::PseudonymMalformed))?,
        query: query(m.query)?,
        cursor: String::from_utf8(m.cursor).map_err(|_| Refusal::new(ReasonCode::CursorInvalid))?,
    })
}

/// The terms of a consent, registered at this member's counter.
///
/// # Errors
/// `CONSENT_INVALID` names the field.
pub fn consent(
    terms: Option<v1::ConsentTerms>,
    id: ConsentId,
    registered_by: &MemberId,
    now: Timestamp,
) -> Result<Consent, Refusal> {
    let invalid = |detail: &str| Refusal::with_detail(ReasonCode::ConsentInvalid, detail);
    let terms = terms.ok_or_else(|| invalid("terms are missing"))?;
    let effect = match v1::ConsentEffect::try_from(terms.effect) {
        Ok(v1::ConsentEffect::Permit) => Effect::Permit,
        Ok(v1::ConsentEffect::Refuse) => Effect::Refuse,
        Ok(v1::ConsentEffect::Unspecified) | Err(_) => {
            return Err(invalid("effect is permit or refuse"));
        }
    };
    let grantor = match terms.grantor.as_str() {
        "" | "elder" => Grantor::Elder,
        "guardian" => Grantor::Guardian,
        "proxy" => Grantor::Proxy,
        _ => return Err(invalid("grantor is elder, guardian or proxy")),
    };
    let method = if terms.evidence_method.is_empty() {
        "counter"
    } else {
        terms.evidence_method.as_str()
    };
    let method = EvidenceMethod::parse(method)
        .ok_or_else(|| invalid("evidence_method is counter, paper, recording or electronic"))?;
    let level = if terms.level_ceiling == 0 {
        3
    } else {
        terms.level_ceiling
    };
    let level_ceiling = u8::try_from(level)
        .ok()
        .and_then(|l| Level::new(l).ok())
        .ok_or_else(|| invalid("level_ceiling is 1 to 5"))?;
    let from = moment(terms.from_ms).unwrap_or(now);
    let until = moment(terms.until_ms).unwrap_or_else(|| from.plus_ms(CONSENT_DEFAULT_MS));
    let consent = Consent {
        id,
        effect,
        grantor,
        evidence: Evidence {
            method,
            sha256: (!terms.evidence_sha256.is_empty()).then_some(terms.evidence_sha256),
        },
        recipients: each(
            &terms.recipient_ids,
            |t| MemberId::parse(t).ok(),
            "recipient_ids",
            &invalid,
        )?,
        recipient_kinds: each(
            &terms.recipient_kinds,
            AgencyKind::parse,
            "recipient_kinds",
            &invalid,
        )?,
        purposes: each(&terms.purposes, Purpose::parse, "purposes", &invalid)?,
        types: each(
            &terms.record_types,
            |t| RecordTypeCode::parse(t).ok(),
            "record_types",
            &invalid,
        )?,
        level_ceiling,
        from,
        until,
        registered_by: registered_by.clone(),
    };
    consent.check().map_err(|e| invalid(&e.to_string()))?;
    Ok(consent)
}

fn each<T>(
    texts: &[String],
    parse: impl Fn(&str) -> Option<T>,
    field: &str,
    invalid: &dyn Fn(&str) -> Refusal,
) -> Result<Vec<T>, Refusal> {
    texts
        .iter()
        .map(|text| {
            parse(text).ok_or_else(|| invalid(&format!("{field} has an entry that is not known")))
        })
        .collect()
}

// === values into messages ===

/// A tier.
#[must_use]
pub const fn tier(tier: Tier) -> v1::Tier {
    match tier {
        Tier::None => v1::Tier::None,
        Tier::Exists => v1::Tier::Exists,
        Tier::Attest => v1::Tier::Attest,
        Tier::Count => v1::Tier::Count,
        Tier::Masked => v1::Tier::Masked,
        Tier::Full => v1::Tier::Full,
    }
}

/// The name of a tier in a message.
#[must_use]
pub fn tier_name(tier: i32) -> &'static str {
    match v1::Tier::try_from(tier) {
        Ok(v1::Tier::None | v1::Tier::Unspecified) | Err(_) => "none",
        Ok(v1::Tier::Exists) => "exists",
        Ok(v1::Tier::Attest) => "attest",
        Ok(v1::Tier::Count) => "count",
        Ok(v1::Tier::Masked) => "masked",
        Ok(v1::Tier::Full) => "full",
    }
}

/// The place of a leaf.
#[must_use]
pub fn leaf_ref(leaf: &LeafPosition) -> v1::LeafRef {
    v1::LeafRef {
        member_id: leaf.member.to_string(),
        seq: leaf.seq,
        exchange_id: leaf.xid.as_bytes().to_vec(),
    }
}

/// What was granted, with reasons as they may be told outside.
#[must_use]
pub fn grants(grants: &std::collections::BTreeMap<RecordTypeCode, Granted>) -> Vec<v1::TypeGrant> {
    grants
        .iter()
        .map(|(code, grant)| v1::TypeGrant {
            record_type: code.to_string(),
            tier: tier(grant.tier).into(),
            reasons: grant
                .reasons
                .iter()
                .map(|r| reason_message(r.told_outside(), None))
                .collect(),
            masked_groups: grant.mask.clone(),
        })
        .collect()
}

/// Duties.
#[must_use]
pub fn obligations(obligations: &[Obligation]) -> Vec<v1::Obligation> {
    obligations
        .iter()
        .map(|o| v1::Obligation {
            duty: Some(match o {
                Obligation::Ttl { seconds } => v1::obligation::Duty::TtlS(*seconds),
                Obligation::NoOnwardTransfer => v1::obligation::Duty::NoOnwardTransfer(true),
            }),
        })
        .collect()
}

/// A record.
#[must_use]
pub fn out_record(record: &OutRecord) -> v1::Record {
    v1::Record {
        record_type: record.type_code.to_string(),
        fhir_json: record.fhir_json.to_vec().into(),
        resource_type: record.resource_type.clone(),
        record_id: record.id.clone(),
        version: record.version.clone(),
        source: record.source.clone(),
        level: record.level.get().into(),
        effective_ms: record.effective.map_or(0, Timestamp::as_ms),
        tier: tier(record.tier).into(),
        masked_groups: record.masked_groups.clone(),
    }
}

/// The terms of a consent.
#[must_use]
pub fn consent_terms(c: &Consent) -> v1::ConsentTerms {
    v1::ConsentTerms {
        effect: match c.effect {
            Effect::Permit => v1::ConsentEffect::Permit,
            Effect::Refuse => v1::ConsentEffect::Refuse,
        }
        .into(),
        grantor: match c.grantor {
            Grantor::Elder => "elder",
            Grantor::Guardian => "guardian",
            Grantor::Proxy => "proxy",
        }
        .into(),
        evidence_method: match c.evidence.method {
            EvidenceMethod::Paper => "paper",
            EvidenceMethod::Recording => "recording",
            EvidenceMethod::Counter => "counter",
            EvidenceMethod::Electronic => "electronic",
        }
        .into(),
        evidence_sha256: c.evidence.sha256.clone().unwrap_or_default(),
        recipient_ids: c.recipients.iter().map(ToString::to_string).collect(),
        recipient_kinds: c.recipient_kinds.iter().map(ToString::to_string).collect(),
        purposes: c.purposes.iter().map(ToString::to_string).collect(),
        record_types: c.types.iter().map(ToString::to_string).collect(),
        level_ceiling: c.level_ceiling.get().into(),
        from_ms: c.from.as_ms(),
        until_ms: c.until.as_ms(),
    }
}
