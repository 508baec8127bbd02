//! Reads a policy's answer: strict, because the policy is somebody else's program.
//!
//! An answer that is not a verdict in every detail is a fault, and a fault is a denial.

use std::collections::{BTreeMap, BTreeSet};

use record::consent::Effect;
use record::decision::{CONTRACT_VERSION, Grant, PolicyFault, Verb};
use record::{ConsentId, Obligation, Question, ReasonCode, RecordTypeCode, Tier, Verdict};
use serde::Deserialize;
use serde_json::Value;

use crate::tables::is_group_name;

/// The most bytes of an answer: 256 types with reasons and a hundred consents each stay below.
pub(crate) const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// The most duties of one answer.
const OBLIGATIONS_MAX: usize = 16;
/// How much of a detail goes into a fault's text.
const DETAIL_CHARS_MAX: usize = 160;

/// An answer as it stands; nothing may be missing (the contract's own types fill gaps with defaults).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    v: u8,
    types: BTreeMap<RecordTypeCode, GrantDocument>,
    obligations: Vec<Value>,
    reasons: Vec<String>,
    policy_version: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantDocument {
    tier: Tier,
    mask: Vec<String>,
    reasons: Vec<String>,
    consents: Vec<ConsentId>,
}

/// OPA's result set: one entry, or none when the entry point is undefined.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultEntry {
    result: Document,
}

/// Reads OPA's result set for a question. Lists come out sorted, without duplicates.
pub(crate) fn read(raw: &str, question: &Question) -> Result<Verdict, PolicyFault> {
    if raw.len() > ANSWER_BYTES_MAX {
        return fault("it has more bytes than a verdict may have");
    }
    let results: Vec<ResultEntry> =
        serde_json::from_str(raw).map_err(|e| PolicyFault::Answer(detail(&e.to_string())))?;
    let mut results = results.into_iter();
    let (Some(ResultEntry { result }), None) = (results.next(), results.next()) else {
        return fault("the entry point is undefined for this question");
    };
    if result.v != CONTRACT_VERSION {
        return fault("it is of another version");
    }
    if result.policy_version.is_empty() || result.policy_version.chars().count() > 64 {
        return fault("the policy version must have 1 to 64 characters");
    }
    let asked: BTreeSet<&RecordTypeCode> = question.types.iter().map(|t| &t.code).collect();
    let permits: BTreeSet<&ConsentId> = question
        .consents
        .iter()
        .filter(|p| p.effect == Effect::Permit)
        .map(|p| &p.id)
        .collect();
    let mut types = BTreeMap::new();
    for (code, document) in result.types {
        if !asked.contains(&code) {
            return fault("it speaks of a record type that was not asked for");
        }
        types.insert(code, grant(document, question.verb, &permits)?);
    }
    Ok(Verdict {
        v: result.v,
        types,
        obligations: obligations(result.obligations)?,
        reasons: reasons(result.reasons)?,
        policy_version: result.policy_version,
    })
}

fn grant(
    document: GrantDocument,
    verb: Verb,
    permits: &BTreeSet<&ConsentId>,
) -> Result<Grant, PolicyFault> {
    let GrantDocument {
        tier,
        mask,
        reasons: codes,
        consents,
    } = document;
    if verb == Verb::Locate && tier > Tier::Count {
        return fault("it grants records to a question that only locates");
    }
    if (tier == Tier::Masked) == mask.is_empty() {
        return fault("a masked grant, and only a masked grant, names the field groups to mask");
    }
    if !mask.iter().all(|group| is_group_name(group)) {
        return fault("it names a field group with characters other than a-z and -");
    }
    let reasons = reasons(codes)?;
    if tier == Tier::None && reasons.is_empty() {
        return fault("it refuses without a reason");
    }
    if !consents.iter().all(|id| permits.contains(id)) {
        return fault("it rests on a consent that the question does not hold as a permit");
    }
    Ok(Grant {
        tier,
        mask: sorted(mask),
        reasons,
        consents: sorted(consents),
    })
}

fn reasons(codes: Vec<String>) -> Result<Vec<String>, PolicyFault> {
    match codes.iter().find(|c| ReasonCode::parse(c).is_none()) {
        Some(code) => fault(&format!("it names the unknown reason code `{code}`")),
        None => Ok(sorted(codes)),
    }
}

fn obligations(values: Vec<Value>) -> Result<Vec<Obligation>, PolicyFault> {
    if values.len() > OBLIGATIONS_MAX {
        return fault("it has more duties than a verdict may have");
    }
    values
        .into_iter()
        .map(|value| {
            let known = serde_json::from_value::<Obligation>(value.clone()).ok();
            // Written back it must be the same: nothing the node would silently not carry out.
            match known {
                Some(duty) if serde_json::to_value(&duty).is_ok_and(|back| back == value) => {
                    Ok(duty)
                }
                _ => Err(PolicyFault::Obligation(detail(&value.to_string()))),
            }
        })
        .collect()
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items.dedup();
    items
}

fn fault<T>(what: &str) -> Result<T, PolicyFault> {
    Err(PolicyFault::Answer(detail(what)))
}

/// A bounded, printable piece of a detail: what a policy writes must not flood or disturb a log.
pub(crate) fn detail(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(DETAIL_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::{Rng, question};

    const GOOD: &str = r#"[{"result":{"v":1,"types":{"vitals":{"tier":"masked","mask":["identifiers","contact"],
        "reasons":["LEVEL_TOO_HIGH"],"consents":["0000000000000000000000000000000a"]}},
        "obligations":[{"type":"ttl","seconds":60},{"type":"no-onward-transfer"}],"reasons":[],"policy_version":"t1"}}]"#;

    fn asked() -> Question {
        serde_json::from_str(
            r#"{"v":1,"verb":"fetch","purpose":"TREAT","basis":"consent",
            "requester":{"member":"h-one","kind":"hospital","district":"530111"},"role":"nurse",
            "holder":{"member":"h-two","kind":"hospital","district":"530111"},
            "types":[{"code":"vitals","level":3}],"consents":[
            {"id":"0000000000000000000000000000000a","effect":"permit","types":[],"level_ceiling":3,"until":2000000000},
            {"id":"0000000000000000000000000000000f","effect":"refuse","types":["ecg"],"level_ceiling":3,"until":2000000000}],
            "env":{"now":1795313730}}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_good_answer_comes_out_sorted() {
        let verdict = read(GOOD, &asked()).unwrap();
        let grant = verdict.types.values().next().unwrap();
        assert_eq!(grant.tier, Tier::Masked);
        assert_eq!(grant.mask, ["contact", "identifiers"]);
        assert_eq!(
            verdict.obligations,
            [
                Obligation::Ttl { seconds: 60 },
                Obligation::NoOnwardTransfer
            ]
        );
    }

    #[test]
    fn every_departure_is_a_fault() {
        for (from, to) in [
            ("[{\"result\"", "[{\"results\""),
            ("\"v\":1", "\"v\":2"),
            ("\"v\":1,", ""),
            ("\"v\":1", "\"v\":1,\"effect\":\"permit\""),
            ("\"vitals\":", "\"ecg\":"),
            ("\"vitals\":", "\"VITALS\":"),
            ("\"masked\"", "\"open\""),
            ("\"tier\":\"masked\",", ""),
            ("\"masked\"", "\"full\""),
            ("[\"identifiers\",\"contact\"]", "[]"),
            ("[\"identifiers\",\"contact\"]", "[\"Name\"]"),
            ("\"mask\":[\"identifiers\",\"contact\"],", ""),
            ("LEVEL_TOO_HIGH", "BECAUSE"),
            ("\"reasons\":[],", "\"reasons\":[\"WHY_NOT\"],"),
            ("\"reasons\":[],", ""),
            ("0a\"", "0b\""),
            ("0a\"", "0f\""),
            ("0a\"", "0A\""),
            ("\"t1\"", "\"\""),
            ("\"t1\"", "1"),
            ("\"consents\":", "\"note\":\"x\",\"consents\":"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let answer = GOOD.replacen(from, to, 1);
            assert!(
                matches!(read(&answer, &asked()), Err(PolicyFault::Answer(_))),
                "{to}"
            );
        }
        for raw in [
            "",
            "[]",
            "{}",
            "null",
            "[1]",
            "[{}]",
            "[{\"result\":[]}]",
            "[{\"result\":true}]",
            &format!(
                "[{0},{0}]",
                GOOD.trim_start_matches('[').trim_end_matches(']')
            ),
        ] {
            assert!(
                matches!(read(raw, &asked()), Err(PolicyFault::Answer(_))),
                "{raw}"
            );
        }
    }

    #[test]
    fn unknown_duties_are_named_as_such() {
        for duty in [
            "{\"type\":\"notify\"}",
            "{\"type\":\"no-onward-transfer\",\"except\":\"insurer\"}",
            "{\"type\":\"ttl\",\"seconds\":-1}",
            "{\"type\":\"ttl\",\"seconds\":1.5}",
            "{\"type\":\"ttl\"}",
            "\"ttl\"",
            "null",
        ] {
            let answer = GOOD.replacen("{\"type\":\"no-onward-transfer\"}", duty, 1);
            assert!(
                matches!(read(&answer, &asked()), Err(PolicyFault::Obligation(_))),
                "{duty}"
            );
        }
        let many = vec!["{\"type\":\"no-onward-transfer\"}"; OBLIGATIONS_MAX + 1].join(",");
        let answer = GOOD.replacen("{\"type\":\"no-onward-transfer\"}", &many, 1);
        assert!(matches!(
            read(&answer, &asked()),
            Err(PolicyFault::Answer(_))
        ));
    }

    #[test]
    fn locating_never_brings_records_and_a_refusal_is_never_silent() {
        let mut locate = asked();
        locate.verb = Verb::Locate;
        assert!(matches!(read(GOOD, &locate), Err(PolicyFault::Answer(_))));
        let silent = GOOD
            .replacen("\"masked\"", "\"none\"", 1)
            .replacen("[\"identifiers\",\"contact\"]", "[]", 1)
            .replacen("[\"LEVEL_TOO_HIGH\"]", "[]", 1);
        assert!(matches!(
            read(&silent, &asked()),
            Err(PolicyFault::Answer(_))
        ));
    }

    #[test]
    fn details_are_short_and_printable() {
        let text = detail(&"\u{1b}[31m\n".repeat(500));
        assert!(text.chars().count() <= DETAIL_CHARS_MAX && !text.contains(char::is_control));
        let long = format!("[{}]", " ".repeat(ANSWER_BYTES_MAX));
        assert!(matches!(read(&long, &asked()), Err(PolicyFault::Answer(_))));
    }

    #[test]
    fn mutated_answers_never_panic_and_never_break_the_fences() {
        let mut rng = Rng::new(0x5150);
        let good = GOOD.as_bytes();
        let mut read_well = 0_u32;
        for _ in 0..6_000 {
            let mut bytes = good.to_vec();
            for _ in 0..=rng.below(3) {
                let at = rng.below(bytes.len().max(1));
                match rng.below(4) {
                    0 if bytes.len() > 1 => {
                        bytes.remove(at);
                    }
                    1 => bytes.insert(at.min(bytes.len()), b"{}[]\",:0a\\"[rng.below(10)]),
                    2 if at < bytes.len() => bytes[at] = u8::try_from(rng.below(128)).unwrap(),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            let mut q = if rng.below(8) == 0 {
                question(&mut rng)
            } else {
                asked()
            };
            q.verb = [Verb::Fetch, Verb::Locate][rng.below(2)];
            if let Ok(verdict) = read(&String::from_utf8_lossy(&bytes), &q) {
                read_well += 1;
                for (code, grant) in &verdict.types {
                    assert!(q.types.iter().any(|t| &t.code == code));
                    assert!(q.verb == Verb::Fetch || grant.tier <= Tier::Count);
                    assert_eq!(grant.tier == Tier::Masked, !grant.mask.is_empty());
                }
            }
        }
        assert!(read_well > 20, "some mutations are harmless: {read_well}");
    }
}
