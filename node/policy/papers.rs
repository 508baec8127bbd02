//! The papers beside the policy say what the code does: schemas, examples, README, profile.

use std::collections::BTreeSet;

use record::decision::{Decide, Verb};
use record::{AgencyKind, LawfulBasis, Purpose, Question, ReasonCode, Role, Tier, Verdict};
use serde_json::Value;

use crate::differential::engine;

const QUESTION: &str = include_str!("../../policies/schema/question.schema.json");
const VERDICT: &str = include_str!("../../policies/schema/verdict.schema.json");
const REGO: &str = include_str!("../../policies/songhe/access.rego");

fn words(schema: &str, pointer: &str) -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(schema).unwrap();
    let list = schema
        .pointer(pointer)
        .unwrap_or_else(|| panic!("{pointer}"));
    list.as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap().to_owned())
        .collect()
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn the_question_schema_lists_the_words_of_the_contract() {
    assert_eq!(
        words(QUESTION, "/properties/purpose/enum"),
        set(Purpose::ALL.map(Purpose::as_str))
    );
    assert_eq!(
        words(QUESTION, "/properties/basis/enum"),
        set(LawfulBasis::ALL.map(LawfulBasis::as_str))
    );
    assert_eq!(
        words(QUESTION, "/properties/role/enum"),
        set(Role::ALL.map(Role::as_str))
    );
    assert_eq!(
        words(QUESTION, "/definitions/agency/properties/kind/enum"),
        set(AgencyKind::ALL.map(AgencyKind::as_str))
    );
    assert_eq!(
        words(QUESTION, "/properties/verb/enum"),
        set([Verb::Fetch, Verb::Locate].map(Verb::as_str))
    );
}

/// The required properties of a schema's object are exactly the fields of a value of ours.
fn same_fields(schema: &str, pointer: &str, value: &Value) {
    let schema: Value = serde_json::from_str(schema).unwrap();
    let object = schema.pointer(pointer).unwrap();
    let fields: BTreeSet<String> = value.as_object().unwrap().keys().cloned().collect();
    let required: BTreeSet<String> = object["required"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap().to_owned())
        .collect();
    let properties: BTreeSet<String> = object["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(fields, required, "{pointer}");
    assert_eq!(fields, properties, "{pointer}");
    assert_eq!(object["additionalProperties"], false, "{pointer}");
}

#[test]
fn the_schemas_have_the_fields_of_the_contract() {
    let (question, verdict) = example("physician");
    let q = serde_json::to_value(&question).unwrap();
    same_fields(QUESTION, "", &q);
    same_fields(QUESTION, "/properties/types/items", &q["types"][0]);
    same_fields(QUESTION, "/properties/consents/items", &q["consents"][0]);
    same_fields(QUESTION, "/properties/env", &q["env"]);
    same_fields(QUESTION, "/definitions/agency", &q["holder"]);
    let v = serde_json::to_value(&verdict).unwrap();
    same_fields(VERDICT, "", &v);
    same_fields(
        VERDICT,
        "/properties/types/additionalProperties",
        &v["types"]["exam-report"],
    );
    let tiers = [
        Tier::None,
        Tier::Exists,
        Tier::Attest,
        Tier::Count,
        Tier::Masked,
        Tier::Full,
    ];
    assert_eq!(
        words(
            VERDICT,
            "/properties/types/additionalProperties/properties/tier/enum"
        ),
        set(tiers.map(Tier::as_str))
    );
}

fn example(name: &str) -> (Question, Verdict) {
    let read = |text: &'static str| text;
    let (question, verdict) = match name {
        "physician" => (
            read(include_str!(
                "../../policies/examples/physician.question.json"
            )),
            read(include_str!(
                "../../policies/examples/physician.verdict.json"
            )),
        ),
        "care-worker" => (
            read(include_str!(
                "../../policies/examples/care-worker.question.json"
            )),
            read(include_str!(
                "../../policies/examples/care-worker.verdict.json"
            )),
        ),
        _ => (
            read(include_str!(
                "../../policies/examples/benefit-officer.question.json"
            )),
            read(include_str!(
                "../../policies/examples/benefit-officer.verdict.json"
            )),
        ),
    };
    (
        serde_json::from_str(question).unwrap(),
        serde_json::from_str(verdict).unwrap(),
    )
}

#[test]
fn the_three_examples_are_answered_as_written() {
    for name in ["physician", "care-worker", "benefit-officer"] {
        let (question, verdict) = example(name);
        assert_eq!(engine().decide(&question).unwrap(), verdict, "{name}");
    }
}

/// The Rego without comments and without what stands in quotes.
fn bare_lines() -> Vec<String> {
    REGO.lines()
        .map(|line| {
            let code = line.split('#').next().unwrap();
            code.split('"').step_by(2).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn the_rego_keeps_to_the_portable_profile() {
    for line in bare_lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        for banned in ["every", "with", "sprintf", "walk"] {
            assert!(!words.contains(&banned), "{line}");
        }
        for banned in [
            "sprintf(", "time.", "rand.", "http.", "regex.", "numbers.", "$\"", "opa.",
        ] {
            assert!(!line.contains(banned), "{line}");
        }
        if let Some(at) = words.iter().position(|w| *w == "not") {
            let rest = &words[at + 1..];
            assert!(
                rest.len() == 1 && !rest[0].contains(['(', '.', '[']),
                "`not` stands before a plain rule only: {line}"
            );
        }
        if line.starts_with("default ") {
            assert!(!line.contains('('), "no default functions: {line}");
        }
    }
}

#[test]
fn every_reason_in_the_rego_is_a_reason_code() {
    let mut found = BTreeSet::new();
    for line in REGO.lines().filter(|l| !l.trim_start().starts_with('#')) {
        for quoted in line.split('"').skip(1).step_by(2) {
            if quoted.contains('_') && quoted.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') {
                assert!(ReasonCode::parse(quoted).is_some(), "{quoted}");
                found.insert(quoted);
            }
        }
    }
    assert!(found.len() >= 8, "{found:?}");
}

#[test]
fn every_rule_has_a_title_in_both_languages() {
    let titles: Vec<&str> = REGO
        .lines()
        .filter_map(|l| l.strip_prefix("# title: "))
        .collect();
    assert!(titles.len() > 30, "{}", titles.len());
    for title in titles {
        let (zh, en) = title.split_once(" / ").unwrap_or_else(|| panic!("{title}"));
        assert!(!zh.is_ascii() && en.is_ascii(), "{title}");
    }
    let lines: Vec<&str> = REGO.lines().collect();
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for (n, line) in lines.iter().enumerate() {
        let starts_rule = line.starts_with(|c: char| c.is_ascii_lowercase())
            && !line.starts_with("package")
            && !line.starts_with("import");
        if !starts_rule {
            continue;
        }
        let name = line
            .strip_prefix("default ")
            .unwrap_or(line)
            .split([' ', '('])
            .next()
            .unwrap();
        if named.insert(name) {
            assert!(lines[n - 1].starts_with('#'), "`{name}` has no annotation");
        }
    }
}
