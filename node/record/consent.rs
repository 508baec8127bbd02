//! Consent of a person, or a refusal: who may get what, for which purposes, until when.
//!
//! The artefact is kept sealed under the person's key; the subject is bound by where it is kept.

use serde::{Deserialize, Serialize};

use crate::agency::AgencyKind;
use crate::catalog::RecordTypeCode;
use crate::id::{ConsentId, MemberId};
use crate::purpose::Purpose;
use crate::tier::Level;
use crate::time::Timestamp;

/// The most entries in each list of a consent.
pub const LIST_MAX: usize = 64;
/// The longest period of one consent: ten years, in milliseconds.
pub const PERIOD_MAX_MS: i64 = 10 * 366 * 86_400_000;

/// Whether the person permits or refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// May be shared within the terms.
    Permit,
    /// Must not be shared within the terms; beats every permit.
    Refuse,
}

/// Who gave the consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grantor {
    /// The elder.
    Elder,
    /// A guardian (Civil Code 28, 33).
    Guardian,
    /// A proxy named by the elder.
    Proxy,
}

/// How the consent was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// `paper`, `recording`, `counter` or `electronic`.
    pub method: EvidenceMethod,
    /// SHA-256 of the scanned paper or recording, lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The form of the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceMethod {
    /// A signed sheet.
    Paper,
    /// A sound or video recording.
    Recording,
    /// Said before a clerk at the counter.
    Counter,
    /// Given with the person's own credential.
    Electronic,
}

impl EvidenceMethod {
    /// Parses the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "paper" => Some(Self::Paper),
            "recording" => Some(Self::Recording),
            "counter" => Some(Self::Counter),
            "electronic" => Some(Self::Electronic),
            _ => None,
        }
    }
}

/// A consent artefact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Its id.
    pub id: ConsentId,
    /// Permit or refuse.
    pub effect: Effect,
    /// Who gave it.
    pub grantor: Grantor,
    /// How.
    pub evidence: Evidence,
    /// Members that may receive; together with `recipient_kinds`, empty means every member.
    pub recipients: Vec<MemberId>,
    /// Kinds of members that may receive.
    pub recipient_kinds: Vec<AgencyKind>,
    /// Purposes; never empty for a permit, empty for a refusal means every purpose.
    pub purposes: Vec<Purpose>,
    /// Record types; empty means every type.
    pub types: Vec<RecordTypeCode>,
    /// Highest data level permitted (a refusal ignores it).
    pub level_ceiling: Level,
    /// From when, inclusive.
    pub from: Timestamp,
    /// Until when, exclusive.
    pub until: Timestamp,
    /// The member at whose counter it was registered.
    pub registered_by: MemberId,
}

/// Why a consent is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConsent {
    /// Ends before it begins, or lasts too long.
    #[error("the period must end after it begins and last at most ten years")]
    Period,
    /// A permit without a purpose.
    #[error("a permit names at least one purpose")]
    NoPurpose,
    /// A list is longer than the limit.
    #[error("each list has at most 64 entries")]
    TooLong,
    /// Paper or a recording without its digest.
    #[error("evidence on paper or as a recording needs its sha-256 as 64 hexadecimal digits")]
    NoEvidence,
}

impl Consent {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`InvalidConsent`] names what to correct.
    pub fn check(&self) -> Result<(), InvalidConsent> {
        let length_ms = self.until.since_ms(self.from);
        if length_ms <= 0 || length_ms > PERIOD_MAX_MS {
            return Err(InvalidConsent::Period);
        }
        if self.effect == Effect::Permit && self.purposes.is_empty() {
            return Err(InvalidConsent::NoPurpose);
        }
        let longest = self
            .recipients
            .len()
            .max(self.recipient_kinds.len())
            .max(self.purposes.len())
            .max(self.types.len());
        if longest > LIST_MAX {
            return Err(InvalidConsent::TooLong);
        }
        let digest_ok = self.evidence.sha256.as_ref().is_some_and(|s| {
            s.len() == 64
                && s.bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        let needs_digest = matches!(
            self.evidence.method,
            EvidenceMethod::Paper | EvidenceMethod::Recording
        );
        if (needs_digest || self.evidence.sha256.is_some()) && !digest_ok {
            return Err(InvalidConsent::NoEvidence);
        }
        Ok(())
    }

    /// Whether the terms speak of this recipient, purpose and moment (not yet of types and levels).
    #[must_use]
    pub fn speaks_of(
        &self,
        member: &MemberId,
        kind: AgencyKind,
        purpose: Purpose,
        at: Timestamp,
    ) -> bool {
        let open = self.recipients.is_empty() && self.recipient_kinds.is_empty();
        let recipient =
            open || self.recipients.contains(member) || self.recipient_kinds.contains(&kind);
        let for_purpose = self.purposes.contains(&purpose)
            || (self.effect == Effect::Refuse && self.purposes.is_empty());
        recipient && for_purpose && self.from <= at && at < self.until
    }

    /// Whether the terms cover a record type of this level.
    #[must_use]
    pub fn covers(&self, code: &RecordTypeCode, level: Level) -> bool {
        let of_type = self.types.is_empty() || self.types.contains(code);
        of_type && (self.effect == Effect::Refuse || level <= self.level_ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permit() -> Consent {
        Consent {
            id: ConsentId::from_bytes([1; 16]),
            effect: Effect::Permit,
            grantor: Grantor::Elder,
            evidence: Evidence {
                method: EvidenceMethod::Counter,
                sha256: None,
            },
            recipients: vec![MemberId::parse("h-one").unwrap()],
            recipient_kinds: vec![],
            purposes: vec![Purpose::Treat],
            types: vec![],
            level_ceiling: Level::new(3).unwrap(),
            from: Timestamp::from_s(100),
            until: Timestamp::from_s(200),
            registered_by: MemberId::parse("c-one").unwrap(),
        }
    }

    #[test]
    fn speaks_only_of_its_terms() {
        let c = permit();
        let h = MemberId::parse("h-one").unwrap();
        let other = MemberId::parse("h-two").unwrap();
        let at = Timestamp::from_s(100);
        assert!(c.speaks_of(&h, AgencyKind::Hospital, Purpose::Treat, at));
        assert!(!c.speaks_of(&other, AgencyKind::Hospital, Purpose::Treat, at));
        assert!(!c.speaks_of(&h, AgencyKind::Hospital, Purpose::Caremgt, at));
        assert!(!c.speaks_of(
            &h,
            AgencyKind::Hospital,
            Purpose::Treat,
            Timestamp::from_s(99)
        ));
        assert!(!c.speaks_of(
            &h,
            AgencyKind::Hospital,
            Purpose::Treat,
            Timestamp::from_s(200)
        ));
        let t = RecordTypeCode::parse("vitals").unwrap();
        assert!(c.covers(&t, Level::new(3).unwrap()) && !c.covers(&t, Level::new(4).unwrap()));
    }

    #[test]
    fn a_refusal_covers_every_level_and_purpose_it_does_not_limit() {
        let c = Consent {
            effect: Effect::Refuse,
            purposes: vec![],
            ..permit()
        };
        let h = MemberId::parse("h-one").unwrap();
        assert!(c.check().is_ok());
        assert!(c.speaks_of(
            &h,
            AgencyKind::Hospital,
            Purpose::Hresch,
            Timestamp::from_s(150)
        ));
        assert!(c.covers(&RecordTypeCode::parse("ecg").unwrap(), Level::HIGHEST));
    }

    #[test]
    fn bad_terms_are_named() {
        let base = permit();
        assert_eq!(
            Consent {
                until: base.from,
                ..base.clone()
            }
            .check(),
            Err(InvalidConsent::Period)
        );
        assert_eq!(
            Consent {
                purposes: vec![],
                ..base.clone()
            }
            .check(),
            Err(InvalidConsent::NoPurpose)
        );
        let paper = Evidence {
            method: EvidenceMethod::Paper,
            sha256: None,
        };
        assert_eq!(
            Consent {
                evidence: paper,
                ..base
            }
            .check(),
            Err(InvalidConsent::NoEvidence)
        );
    }
}
