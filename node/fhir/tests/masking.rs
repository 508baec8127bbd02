//! What is masked is gone, what is not masked stays; judged by a reader and a path matcher of another make.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{catalog, context, sample, shared};
use crate::{MaskError, examine, mask, strip_national_ids};

/// Every string leaf is replaced by a marker of its own, so that nothing can survive under another name.
fn marked(
    value: &mut Value,
    resource: &str,
    path: &mut Vec<String>,
    leaves: &mut Vec<(String, Vec<String>, String)>,
) {
    match value {
        Value::Object(members) => {
            for (key, inner) in members {
                if key == "resourceType" {
                    continue;
                }
                if key == "contained" && path.is_empty() {
                    for c in inner.as_array_mut().unwrap() {
                        let name = c["resourceType"].as_str().unwrap().to_owned();
                        marked(c, &name, &mut Vec::new(), leaves);
                    }
                    continue;
                }
                path.push(key.trim_start_matches('_').to_owned());
                marked(inner, resource, path, leaves);
                path.pop();
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|i| marked(i, resource, path, leaves)),
        Value::String(text) => {
            // Reference targets keep their form: it decides whether a name beside them is a person's.
            let marker = match text.split_once('/') {
                Some((name, _)) if path.last().is_some_and(|k| k == "reference") => {
                    format!("{name}/marker-{}-", leaves.len())
                }
                _ => format!("marker-{}-", leaves.len()),
            };
            leaves.push((resource.to_owned(), path.clone(), marker.clone()));
            *text = marker;
        }
        _ => {}
    }
}

fn glob(steps: &[&str], path: &[String]) -> bool {
    match steps {
        [] => path.is_empty(),
        ["**", rest @ ..] => (0..=path.len()).any(|skip| glob(rest, &path[skip..])),
        [step, rest @ ..] => {
            let Some(name) = path.first() else {
                return false;
            };
            let choice = step.strip_suffix("[x]").is_some_and(|base| {
                name.len() > base.len()
                    && name.starts_with(base)
                    && name.as_bytes()[base.len()].is_ascii_uppercase()
            });
            (*step == "*" || step == name || choice) && glob(rest, &path[1..])
        }
    }
}

/// Whether a masked element stands at the path or above it.
fn is_under(pattern: &str, resource: &str, path: &[String]) -> bool {
    let mut steps: Vec<&str> = pattern.split('.').collect();
    if steps[0].starts_with(char::is_uppercase) && steps.remove(0) != resource {
        return false;
    }
    (1..=path.len()).any(|length| glob(&steps, &path[..length]))
}

fn contains(value: &Value, needle: &str) -> bool {
    match value {
        Value::String(text) => text.contains(needle),
        Value::Array(items) => items.iter().any(|i| contains(i, needle)),
        Value::Object(members) => members
            .iter()
            .any(|(k, v)| k.contains(needle) || contains(v, needle)),
        _ => false,
    }
}

/// Masks `original` with every group alone and all together; gives how many markers were checked.
fn check(original: &[u8], type_code: &str) -> (usize, usize) {
    let catalog = catalog();
    let record_type = catalog.find(type_code).unwrap();
    let mut value: Value = serde_json::from_slice(original).unwrap();
    let mut leaves = Vec::new();
    let name = value["resourceType"].as_str().unwrap().to_owned();
    marked(&mut value, &name, &mut Vec::new(), &mut leaves);
    let bytes = serde_json::to_vec(&value).unwrap();
    let all: Vec<String> = record_type.groups.keys().cloned().collect();
    let mut choices: Vec<Vec<String>> = all.iter().map(|g| vec![g.clone()]).collect();
    choices.push(all);
    let (mut gone, mut stayed) = (0, 0);
    for groups in choices {
        let masked = mask(&bytes, record_type, &groups).unwrap();
        let out: Value = serde_json::from_slice(&masked.bytes).unwrap();
        assert_eq!(masked.masked_groups, groups, "sorted, complete");
        assert_eq!(out["resourceType"], value["resourceType"]);
        let patterns: Vec<&str> = groups
            .iter()
            .flat_map(|g| record_type.groups[g].paths.iter().map(String::as_str))
            .collect();
        for (resource, path, marker) in &leaves {
            let hidden = patterns.iter().any(|p| is_under(p, resource, path));
            let always = path
                .iter()
                .any(|k| k == "extension" || k == "modifierExtension" || k == "div")
                || (path.len() == 2 && path[0] == "text");
            if hidden || always {
                assert!(
                    !contains(&out, marker),
                    "{type_code} {groups:?}: {resource}.{path:?} is still there"
                );
                gone += 1;
            } else {
                stayed += usize::from(contains(&out, marker));
            }
        }
    }
    (gone, stayed)
}

#[test]
fn no_masked_value_survives_in_the_samples() {
    for (name, type_code) in [
        ("patient.json", "profile"),
        ("blood-pressure.json", "vitals"),
        ("diagnostic-report.json", "exam-report"),
        ("organization.json", "facility"),
        ("ecg.json", "ecg"),
    ] {
        let (gone, stayed) = check(&sample(name), type_code);
        assert!(
            gone > 5 && stayed > 5,
            "{name}: {gone} gone, {stayed} stayed"
        );
    }
}

#[test]
fn no_masked_value_survives_in_the_official_examples() {
    let Some(root) = shared("r4_examples") else {
        return;
    };
    let catalog = catalog();
    let (mut records, mut gone, mut stayed) = (0, 0, 0);
    for folder in std::fs::read_dir(root).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            if bytes.len() > 60_000 {
                continue;
            }
            if let Ok(found) = examine(&bytes, &catalog, &context()) {
                let (g, s) = check(&bytes, found.type_code.as_str());
                (records, gone, stayed) = (records + 1, gone + g, stayed + s);
            }
        }
    }
    eprintln!("masking: {records} examples, {gone} masked values gone, {stayed} others kept");
    assert!(records > 200 && gone > 1000 && stayed > 1000);
}

#[test]
fn a_masked_copy_is_still_fhir() {
    let catalog = catalog();
    let mut originals: Vec<Vec<u8>> = [
        "patient.json",
        "blood-pressure.json",
        "diagnostic-report.json",
        "organization.json",
        "ecg.json",
    ]
    .map(sample)
    .into();
    if let Some(root) = shared("r4_examples") {
        for folder in std::fs::read_dir(root).unwrap() {
            for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
                originals.push(std::fs::read(file.unwrap().path()).unwrap());
            }
        }
    }
    let (mut copies, mut broken) = (0, BTreeSet::new());
    for original in originals.iter().filter(|o| o.len() < 60_000) {
        let Ok(found) = examine(original, &catalog, &context()) else {
            continue;
        };
        let record_type = catalog.get(&found.type_code).unwrap();
        for group in record_type.groups.keys() {
            let masked = mask(original, record_type, std::slice::from_ref(group)).unwrap();
            copies += 1;
            if let Err(fault) = examine(&masked.bytes, &catalog, &context())
                && fault.reason != record::ReasonCode::TypeUnknown
            {
                let first = fault
                    .outcome
                    .issues
                    .iter()
                    .find(|i| i.severity == crate::Severity::Error)
                    .unwrap();
                broken.insert(format!(
                    "{} {group}: {}: {}",
                    found.type_code, first.expression, first.diagnostics
                ));
            }
        }
    }
    eprintln!(
        "masking: {copies} copies examined again, {} kinds of faults",
        broken.len()
    );
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn numbers_keep_their_text_and_required_elements_say_masked() {
    let catalog = catalog();
    let vitals = catalog.find("vitals").unwrap();
    let masked = mask(
        &sample("blood-pressure.json"),
        vitals,
        &["identifiers".into(), "free-text".into()],
    )
    .unwrap();
    let text = String::from_utf8(masked.bytes).unwrap();
    assert!(text.contains("152.0") && text.contains("SUBSETTED"));
    assert!(
        !text.contains("陈秀兰")
            && !text.contains("护士李芳")
            && !text.contains("头晕")
            && !text.contains("elder-001")
    );
    let condition = catalog.find("condition").unwrap();
    let original = br#"{"resourceType":"Condition","subject":{"reference":"Patient/7","display":"x"},"meta":{"tag":[{"code":"a"}]}}"#;
    let masked = mask(original, condition, &["identifiers".into()]).unwrap();
    let text = String::from_utf8(masked.bytes).unwrap();
    assert!(text.contains(r#""subject":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]}"#), "{text}");
    assert!(text.contains(r#"{"code":"a"}"#) && text.contains("SUBSETTED"));
}

#[test]
fn without_groups_only_the_narrative_goes() {
    let catalog = catalog();
    let masked = mask(
        &sample("patient.json"),
        catalog.find("profile").unwrap(),
        &[],
    )
    .unwrap();
    let text = String::from_utf8(masked.bytes).unwrap();
    assert!(
        !text.contains("<div")
            && text.contains("陈秀兰")
            && text.contains("ext-person-ethnicGroup")
    );
}

#[test]
fn what_cannot_be_masked_is_not_released() {
    let catalog = catalog();
    let vitals = catalog.find("vitals").unwrap();
    let unknown = mask(&sample("ecg.json"), vitals, &["names".into()]).unwrap_err();
    assert!(matches!(unknown, MaskError::UnknownGroup { .. }));
    assert_eq!(mask(b"{", vitals, &[]).unwrap_err(), MaskError::Unreadable);
    assert_eq!(
        mask(br#"{"resourceType":"Claim"}"#, vitals, &[]).unwrap_err(),
        MaskError::UnknownResource
    );
}

#[test]
fn the_sample_leaves_without_its_resident_number() {
    let original = sample("patient.json");
    let number = examine(&original, &catalog(), &context())
        .unwrap()
        .resident_ids[0]
        .expose()
        .to_owned();
    let stripped = String::from_utf8(strip_national_ids(&original).into_owned()).unwrap();
    assert!(!stripped.contains(&number) && stripped.contains("CQ6600128841"));
    let bp = sample("blood-pressure.json");
    assert!(matches!(
        strip_national_ids(&bp),
        std::borrow::Cow::Borrowed(_)
    ));
}
