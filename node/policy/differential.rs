//! The module against the second reading of the tables, and rules that hold whatever the tables say.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use record::consent::Effect;
use record::decision::{AskedType, Decide, Environment, Provision, Verb};
use record::{
    AgencyKind, ConsentId, LawfulBasis, Level, Obligation, Purpose, Question, RecordTypeCode, Role,
    Tier, Verdict,
};
use serde_json::Value;
use serde_json::value::to_raw_value;

use crate::generator::{NOW, Rng, TYPES, agency, code, provision, question};
use crate::oracle;
use crate::{Bundle, Engine, EngineOptions, Tables};

/// Generous with time: a loaded machine must not turn a comparison of answers into one of speeds.
pub(crate) const PATIENT: EngineOptions = EngineOptions {
    instances: 2,
    memory_max_bytes: 32 * 1024 * 1024,
    deadline_ms: 10_000,
    wait_ms: 10_000,
    input_max_bytes: 1024 * 1024,
    evaluations_max: 10_000,
};

pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(&Bundle::builtin().unwrap(), PATIENT).unwrap())
}

fn tables() -> Tables {
    Tables::from_json(include_str!("../../policies/tables/data.json")).unwrap()
}

/// How often each tier was granted: a comparison in which everything is refused proves little.
fn count_tiers(verdict: &Verdict, tally: &mut BTreeMap<Tier, u32>) {
    for grant in verdict.types.values() {
        *tally.entry(grant.tier).or_default() += 1;
    }
}

#[test]
fn the_engine_agrees_with_the_oracle_on_generated_questions() {
    let (engine, tables) = (engine(), tables());
    let mut rng = Rng::new(0x50_4e47_4845);
    let mut tally = BTreeMap::new();
    for n in 0..6_000 {
        let q = question(&mut rng);
        let verdict = engine.decide(&q).unwrap();
        assert_eq!(verdict, oracle::verdict(&tables, &q), "question {n}: {q:?}");
        count_tiers(&verdict, &mut tally);
    }
    for tier in [
        Tier::None,
        Tier::Exists,
        Tier::Attest,
        Tier::Count,
        Tier::Masked,
        Tier::Full,
    ] {
        assert!(
            tally.get(&tier).is_some_and(|n| *n >= 20),
            "{tier}: {tally:?}"
        );
    }
}

#[test]
fn the_engine_agrees_with_the_oracle_on_every_combination() {
    let (engine, tables) = (engine(), tables());
    // Every type at its own level, and one type at each of the five levels.
    let mut types: Vec<AskedType> = TYPES
        .iter()
        .map(|(name, level)| AskedType {
            code: code(name),
            level: Level::new(*level).unwrap(),
        })
        .collect();
    for (level, name) in (1..=5).zip(["aa", "bb", "cc", "dd", "ee"]) {
        types.push(AskedType {
            code: code(name),
            level: Level::new(level).unwrap(),
        });
    }
    let term = |id: u8, effect, only: &[&str], ceiling| Provision {
        id: ConsentId::from_bytes([id; 16]),
        effect,
        types: only.iter().map(|t| code(t)).collect(),
        level_ceiling: Level::new(ceiling).unwrap(),
        until: NOW + 1,
    };
    let worlds = [
        vec![],
        vec![term(1, Effect::Permit, &[], 5)],
        vec![
            term(2, Effect::Permit, &["vitals", "cc"], 3),
            term(3, Effect::Permit, &[], 2),
            term(4, Effect::Refuse, &["service-record", "care-assessment"], 1),
        ],
    ];
    let mut asked = 0_u32;
    for kind in AgencyKind::ALL {
        for role in Role::ALL {
            for purpose in Purpose::ALL {
                for basis in LawfulBasis::ALL {
                    for (n, consents) in worlds.iter().enumerate() {
                        let verb = if n == 0 && basis == LawfulBasis::Consent {
                            Verb::Locate
                        } else {
                            [Verb::Fetch, Verb::Locate][(n + asked as usize) % 2]
                        };
                        let q = Question {
                            v: 1,
                            verb,
                            purpose,
                            basis,
                            requester: agency("asker", kind),
                            role,
                            holder: agency("holder", AgencyKind::Hospital),
                            types: types.clone(),
                            consents: consents.clone(),
                            env: Environment { now: NOW },
                        };
                        let verdict = engine.decide(&q).unwrap();
                        assert_eq!(verdict, oracle::verdict(&tables, &q), "{q:?}");
                        assert_eq!(verdict.types.len(), types.len(), "no refusal is silent");
                        asked += 1;
                    }
                }
            }
        }
    }
    assert_eq!(asked, 3 * 10 * 10 * 5 * 3);
}

/// Whether `after` gives nothing that `before` did not give.
fn not_wider(before: &Verdict, after: &Verdict) -> bool {
    let keep_s = |v: &Verdict| {
        v.obligations.iter().find_map(|o| match o {
            Obligation::Ttl { seconds } => Some(*seconds),
            Obligation::NoOnwardTransfer => None,
        })
    };
    let bound = |v: &Verdict| v.obligations.contains(&Obligation::NoOnwardTransfer);
    let nothing = |v: &Verdict| v.types.values().all(|g| g.tier == Tier::None);
    let duties_ok =
        nothing(after) || (keep_s(after) <= keep_s(before) && bound(after) >= bound(before));
    duties_ok
        && after.types.iter().all(|(code, grant)| {
            let earlier = before.types.get(code).cloned().unwrap_or_default();
            let masks = |g: &record::Grant| g.mask.clone();
            grant.tier < earlier.tier
                || (grant.tier == earlier.tier && masks(grant) == masks(&earlier))
        })
}

#[test]
fn less_consent_never_gives_more() {
    let engine = engine();
    let mut rng = Rng::new(0xc0_45e47);
    let (mut narrowed_by_less, mut narrowed_by_refusal) = (0_u32, 0_u32);
    for _ in 0..1_500 {
        let q = question(&mut rng);
        let before = engine.decide(&q).unwrap();
        let permits: Vec<usize> = (0..q.consents.len())
            .filter(|i| q.consents[*i].effect == Effect::Permit)
            .collect();
        if !permits.is_empty() {
            let mut less = q.clone();
            less.consents.remove(rng.pick(&permits));
            let after = engine.decide(&less).unwrap();
            assert!(not_wider(&before, &after), "{q:?}\n{before:?}\n{after:?}");
            narrowed_by_less += u32::from(before.types != after.types);
        }
        let mut refused = q.clone();
        let at = rng.below(refused.consents.len() + 1);
        let mut refusal = provision(&mut rng);
        refusal.effect = Effect::Refuse;
        refused.consents.insert(at, refusal);
        let after = engine.decide(&refused).unwrap();
        assert!(not_wider(&before, &after), "{q:?}\n{before:?}\n{after:?}");
        narrowed_by_refusal += u32::from(before.types != after.types);
    }
    assert!(narrowed_by_less > 30 && narrowed_by_refusal > 30);
}

#[test]
fn a_higher_level_or_a_later_clock_never_gives_more() {
    let engine = engine();
    let mut rng = Rng::new(0x1e_7e15);
    for _ in 0..800 {
        let q = question(&mut rng);
        let before = engine.decide(&q).unwrap();
        let mut later = q.clone();
        later.env.now += i64::try_from(rng.below(40_000_000)).unwrap();
        assert!(not_wider(&before, &engine.decide(&later).unwrap()), "{q:?}");
        if let Some(asked) = q.types.first() {
            let mut higher = q.clone();
            let level = asked.level.get().saturating_add(1).min(5);
            higher.types[0].level = Level::new(level).unwrap();
            assert!(
                not_wider(&before, &engine.decide(&higher).unwrap()),
                "{q:?}"
            );
        }
    }
}

#[test]
fn a_field_left_out_or_retyped_never_gives_more() {
    let engine = engine();
    let mut rng = Rng::new(0xf1e1d);
    let tier_of = |answer: &Value, code: &RecordTypeCode| -> Tier {
        serde_json::from_value(answer[0]["result"]["types"][code.as_str()]["tier"].clone())
            .unwrap_or_default()
    };
    let mut changed = 0_u32;
    for _ in 0..150 {
        let q = question(&mut rng);
        let whole = serde_json::to_value(&q).unwrap();
        let before = engine.decide(&q).unwrap();
        for field in whole.as_object().unwrap().keys() {
            for replacement in [
                None,
                Some(Value::Null),
                Some(Value::from("")),
                Some(Value::from(true)),
            ] {
                let mut broken = whole.clone();
                match replacement {
                    None => broken.as_object_mut().unwrap().remove(field),
                    Some(value) => broken.as_object_mut().unwrap().insert(field.clone(), value),
                };
                // An error is a denial as well.
                let Ok(raw) = engine.evaluate(&to_raw_value(&broken).unwrap()) else {
                    continue;
                };
                let answer: Value = serde_json::from_str(raw.get()).unwrap();
                for asked in &q.types {
                    let (was, is) = (
                        before.types[&asked.code].tier,
                        tier_of(&answer, &asked.code),
                    );
                    // Without its verb a question is not understood; without a level-1 type's context neither.
                    assert!(is <= was, "{field}: {is} instead of {was} for {q:?}");
                    changed += u32::from(is < was);
                }
            }
        }
    }
    assert!(changed > 300, "{changed}");
}
