//! Step 4, policy: which tier each record type is granted, with its duties. Default deny; a fault is a denial.

use std::collections::BTreeMap;

use record::decision::{AskedType, CONTRACT_VERSION, Environment, Grant, Question, Verdict};
use record::{LawfulBasis, Level, Obligation, ReasonCode, RecordTypeCode, Refusal, Tier};

use crate::consent::Standing;
use crate::holder::Holder;

/// What is granted for one record type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The tier.
    pub tier: Tier,
    /// Field groups to mask, when the tier is `masked`.
    pub mask: Vec<String>,
    /// Why it is not more.
    pub reasons: Vec<ReasonCode>,
}

impl Granted {
    const fn nothing(reasons: Vec<ReasonCode>) -> Self {
        Self {
            tier: Tier::None,
            mask: Vec::new(),
            reasons,
        }
    }
}

/// The right to what was granted: at least one record type above `none`. Made by [`Holder::permit`] alone.
#[derive(Clone, Debug)]
pub struct Permit {
    standing: Standing,
    question: Question,
    grants: BTreeMap<RecordTypeCode, Granted>,
    obligations: Vec<Obligation>,
    policy_digest: [u8; 32],
}

impl Permit {
    /// The request it was granted for.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// What is granted, by record type.
    #[must_use]
    pub const fn grants(&self) -> &BTreeMap<RecordTypeCode, Granted> {
        &self.grants
    }

    /// Duties that come with it.
    #[must_use]
    pub fn obligations(&self) -> &[Obligation] {
        &self.obligations
    }

    /// The question that was answered, for the trail.
    pub(crate) const fn question(&self) -> &Question {
        &self.question
    }

    /// SHA-256 of the policy that decided.
    pub(crate) const fn policy_digest(&self) -> &[u8; 32] {
        &self.policy_digest
    }

    /// What is granted, as it may be told outside.
    pub(crate) fn grants_outside(&self) -> BTreeMap<RecordTypeCode, Granted> {
        let told = |g: &Granted| Granted {
            reasons: g.reasons.iter().map(|r| r.told_outside()).collect(),
            ..g.clone()
        };
        self.grants
            .iter()
            .map(|(code, g)| (code.clone(), told(g)))
            .collect()
    }

    /// The highest tier granted.
    pub(crate) fn highest(&self) -> Tier {
        self.grants
            .values()
            .map(|g| g.tier)
            .max()
            .unwrap_or_default()
    }
}

impl Holder {
    /// Asks the policy, and checks its answer against the consents: a policy may be wrong, a refusal still holds.
    ///
    /// # Errors
    /// `TYPE_UNKNOWN`; `POLICY_FAILED` and `OBLIGATION_UNKNOWN`; when nothing is granted, the reason of the first type.
    pub fn permit(&self, standing: Standing) -> Result<Permit, Refusal> {
        let statement = standing.about().caller().statement();
        let mut asked = Vec::with_capacity(statement.query.types.len());
        for code in &statement.query.types {
            let Some(known) = self.catalog().get(code) else {
                return Err(Refusal::with_detail(ReasonCode::TypeUnknown, code.as_str()));
            };
            asked.push(AskedType {
                code: code.clone(),
                level: known.level,
            });
        }
        let question = self.question(&standing, asked);
        let (grants, verdict) = self.decide(&standing, &question)?;
        if grants.values().all(|g| g.tier == Tier::None) {
            let reason = grants.values().flat_map(|g| &g.reasons).next().copied();
            return Err(Refusal::new(
                reason.unwrap_or(ReasonCode::PurposeNotAllowed),
            ));
        }
        let policy_digest = self.policy().digest();
        Ok(Permit {
            standing,
            question,
            grants,
            obligations: verdict.obligations,
            policy_digest,
        })
    }

    /// What is granted for records of one type whose level was raised above the type's, with the duties that come with
    /// it. A fault grants nothing: were it told, it would tell of the record.
    pub(crate) fn grant_at(
        &self,
        permit: &Permit,
        code: &RecordTypeCode,
        level: Level,
    ) -> (Granted, Vec<Obligation>) {
        let question = Question {
            types: vec![AskedType {
                code: code.clone(),
                level,
            }],
            ..permit.question.clone()
        };
        let decided = self.decide(&permit.standing, &question).ok();
        let granted = decided
            .and_then(|(mut grants, verdict)| Some((grants.remove(code)?, verdict.obligations)));
        granted.unwrap_or_else(|| (Granted::nothing(vec![ReasonCode::LevelTooHigh]), Vec::new()))
    }

    fn question(&self, standing: &Standing, types: Vec<AskedType>) -> Question {
        let caller = standing.about().caller();
        let statement = caller.statement();
        Question {
            v: CONTRACT_VERSION,
            verb: statement.verb,
            purpose: statement.purpose,
            basis: statement.basis,
            requester: caller.agency().clone(),
            role: statement.role,
            holder: self.me().clone(),
            types,
            consents: standing.provisions().to_vec(),
            env: Environment {
                now: standing.at().as_s(),
            },
        }
    }

    fn decide(
        &self,
        standing: &Standing,
        question: &Question,
    ) -> Result<(BTreeMap<RecordTypeCode, Granted>, Verdict), Refusal> {
        let verdict = self
            .policy()
            .decide(question)
            .map_err(|fault| match fault {
                record::decision::PolicyFault::Obligation(what) => {
                    Refusal::with_detail(ReasonCode::ObligationUnknown, what)
                }
                record::decision::PolicyFault::Engine(_)
                | record::decision::PolicyFault::Answer(_) => {
                    Refusal::new(ReasonCode::PolicyFailed)
                }
            })?;
        if verdict.v != CONTRACT_VERSION {
            return Err(Refusal::new(ReasonCode::PolicyFailed));
        }
        let nothing = Grant::default();
        let mut grants = BTreeMap::new();
        for asked in &question.types {
            let grant = verdict.types.get(&asked.code).unwrap_or(&nothing);
            // Found out now, not when a record is to be masked: else only people with records would meet the fault.
            let groups = self.catalog().get(&asked.code).map(|known| &known.groups);
            if !grant
                .mask
                .iter()
                .all(|name| groups.is_some_and(|g| g.contains_key(name)))
            {
                return Err(Refusal::new(ReasonCode::PolicyFailed));
            }
            grants.insert(
                asked.code.clone(),
                confirm(standing, question.basis, asked, grant),
            );
        }
        Ok((grants, verdict))
    }
}

/// A grant that no consent bears out, or that a refusal forbids, is none, whatever the policy says. Level 1 is public.
fn confirm(standing: &Standing, basis: LawfulBasis, asked: &AskedType, grant: &Grant) -> Granted {
    let reasons: Vec<ReasonCode> = grant
        .reasons
        .iter()
        .filter_map(|r| ReasonCode::parse(r))
        .collect();
    if grant.tier == Tier::None {
        let or_default = if reasons.is_empty() {
            vec![ReasonCode::PurposeNotAllowed]
        } else {
            reasons
        };
        return Granted::nothing(or_default);
    }
    let public = asked.level.get() == 1;
    if !public && standing.is_refused(&asked.code) {
        return Granted::nothing(vec![ReasonCode::ConsentRefused]);
    }
    if !public && basis == LawfulBasis::Consent && !standing.is_permitted(&asked.code, asked.level)
    {
        return Granted::nothing(vec![ReasonCode::ConsentMissing]);
    }
    // Whole, and yet with groups to mask: the stricter of the two is meant.
    let tier = if grant.mask.is_empty() {
        grant.tier
    } else {
        grant.tier.min(Tier::Masked)
    };
    Granted {
        tier,
        mask: grant.mask.clone(),
        reasons,
    }
}
