//! The access policy read a second time, in plain Rust: what the Rego and its module are compared with.
//!
//! Written from the tables and the sentences in `policies/README.md`, not from the Rego; it shares
//! nothing with the engine but the tables' types.

use record::consent::Effect;
use record::decision::{Grant, Verb};
use record::{
    AgencyKind, ConsentId, LawfulBasis, Obligation, Question, ReasonCode, RecordTypeCode, Tier,
    Verdict,
};

use crate::tables::{Row, Sufficiency, Tables};

/// What the tables say to this question.
pub(crate) fn verdict(tables: &Tables, q: &Question) -> Verdict {
    let mut verdict = Verdict {
        v: 1,
        policy_version: tables.version.clone(),
        ..Verdict::default()
    };
    for asked in &q.types {
        // Named twice: the highest level counts.
        let level = q
            .types
            .iter()
            .filter(|t| t.code == asked.code)
            .map(|t| t.level.get())
            .max()
            .unwrap_or(u8::MAX);
        let grant = grant(tables, q, &asked.code, level);
        verdict.types.insert(asked.code.clone(), grant);
    }
    if !tables.asking_roles.contains(&q.role) {
        verdict
            .reasons
            .push(ReasonCode::RoleNotAllowed.as_str().into());
    }
    if verdict.types.values().any(|g| g.tier != Tier::None) {
        if tables.no_onward_transfer.contains(&q.requester.kind) {
            verdict.obligations.push(Obligation::NoOnwardTransfer);
        }
        let seconds = tables.ttl_seconds.get(&q.purpose).copied().unwrap_or(600);
        verdict.obligations.push(Obligation::Ttl { seconds });
    }
    verdict
}

fn grant(tables: &Tables, q: &Question, code: &RecordTypeCode, level: u8) -> Grant {
    let public = level == 1;
    // Role and purpose come first: a reason must not betray the person to who has no business here.
    let (tier, mask) = match by_role(tables, q, code, level) {
        Ok(seen) => seen,
        Err(reason) => return refuse(reason),
    };
    let carried = if public {
        Tier::Full
    } else {
        by_basis(sufficiency(tables, q.requester.kind, q), level)
    };
    if carried == Tier::None {
        return refuse(ReasonCode::BasisInsufficient);
    }
    let of_type = |types: &[RecordTypeCode]| types.is_empty() || types.contains(code);
    if q.consents
        .iter()
        .any(|p| p.effect == Effect::Refuse && of_type(&p.types))
    {
        return refuse(ReasonCode::ConsentRefused);
    }
    let mut consents: Vec<ConsentId> = Vec::new();
    if q.basis == LawfulBasis::Consent && !public {
        consents = q
            .consents
            .iter()
            .filter(|p| p.effect == Effect::Permit && of_type(&p.types))
            .filter(|p| p.level_ceiling.get() >= level && p.until > q.env.now)
            .map(|p| p.id)
            .collect();
        consents.sort_unstable();
        consents.dedup();
        if consents.is_empty() {
            return refuse(ReasonCode::ConsentMissing);
        }
    }
    let most = tier.min(carried);
    let why = if carried < Tier::Full {
        Some(ReasonCode::BasisInsufficient)
    } else if tier == Tier::Masked && q.verb == Verb::Fetch {
        Some(ReasonCode::LevelTooHigh)
    } else {
        None
    };
    let tier = match (q.verb, most) {
        (Verb::Fetch, most) => most,
        (Verb::Locate, Tier::Masked | Tier::Full) => Tier::Count,
        (Verb::Locate, Tier::Attest) => Tier::Exists,
        (Verb::Locate, most) => most,
    };
    Grant {
        tier,
        mask: if tier == Tier::Masked {
            mask
        } else {
            Vec::new()
        },
        reasons: why.iter().map(|r| r.as_str().to_owned()).collect(),
        consents,
    }
}

fn by_role(
    tables: &Tables,
    q: &Question,
    code: &RecordTypeCode,
    level: u8,
) -> Result<(Tier, Vec<String>), ReasonCode> {
    let reader = tables.kinds.contains(&q.requester.kind)
        && tables.asking_roles.contains(&q.role)
        && tables.purposes.contains(&q.purpose);
    if level == 1 && reader {
        return Ok((Tier::Full, Vec::new()));
    }
    let row: Option<&Row> = tables
        .access
        .get(&q.requester.kind)
        .and_then(|roles| roles.get(&q.role))
        .and_then(|purposes| purposes.get(&q.purpose));
    let Some(row) = row else {
        return Err(ReasonCode::PurposeNotAllowed);
    };
    if level <= row.full && (row.full_types.is_empty() || row.full_types.contains(code)) {
        Ok((Tier::Full, Vec::new()))
    } else if level <= row.masked
        && (row.masked_types.is_empty() || row.masked_types.contains(code))
    {
        Ok((Tier::Masked, row.mask.iter().cloned().collect()))
    } else if level > row.full && level > row.masked {
        Err(ReasonCode::LevelTooHigh)
    } else {
        Err(ReasonCode::PurposeNotAllowed)
    }
}

fn sufficiency(tables: &Tables, kind: AgencyKind, q: &Question) -> Option<Sufficiency> {
    tables
        .basis
        .get(&kind)?
        .get(&q.purpose)?
        .get(&q.basis)
        .copied()
}

fn by_basis(s: Option<Sufficiency>, level: u8) -> Tier {
    match s {
        Some(s) if level <= s.records => Tier::Full,
        Some(s) if level <= s.attest => Tier::Attest,
        Some(s) if level <= s.exists => Tier::Exists,
        _ => Tier::None,
    }
}

fn refuse(reason: ReasonCode) -> Grant {
    Grant {
        reasons: vec![reason.as_str().to_owned()],
        ..Grant::default()
    }
}
