//! Other people's FHIR: the official examples, primitive values, two generators of patients; counts must add up.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::time::Instant;

use record::{Catalog, ReasonCode};

use super::{catalog, context, shared};
use crate::{Format, Limits, examine, split};

/// Official examples of catalogued types that are refused, and the finding that refuses them.
const EXPECTED: &[(&str, &str)] = &[
    // One names a Practitioner, the other an Encounter where R4 allows none: the examples are at fault, not R4.
    (
        "MedicationRequest-medrx0301",
        "MedicationRequest.dispenseRequest.performer: a reference here",
    ),
    (
        "Observation-clinical-gender",
        "Observation.performer[0]: a reference here",
    ),
];

fn files(root: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn gunzip(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

#[test]
fn the_official_examples_pass_or_are_named() {
    let Some(root) = shared("r4_examples") else {
        return;
    };
    let catalog = catalog();
    let (mut accepted, mut unknown) = (0, 0);
    let mut refused: Vec<(String, String)> = Vec::new();
    let all = files(&root, ".json");
    for path in &all {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        match examine(&std::fs::read(path).unwrap(), &catalog, &context()) {
            Ok(_) => accepted += 1,
            Err(fault) if fault.reason == ReasonCode::TypeUnknown => unknown += 1,
            Err(fault) => {
                let first = fault
                    .outcome
                    .issues
                    .iter()
                    .find(|i| i.severity == crate::Severity::Error)
                    .unwrap();
                refused.push((name, format!("{}: {}", first.expression, first.diagnostics)));
            }
        }
    }
    eprintln!(
        "examples: {accepted} accepted, {unknown} of uncatalogued types, {} refused, of {}",
        refused.len(),
        all.len()
    );
    assert_eq!(accepted + unknown + refused.len(), all.len());
    for (name, finding) in &refused {
        assert!(
            EXPECTED
                .iter()
                .any(|(n, f)| n == name && finding.starts_with(f)),
            "unexpected: (\"{name}\", \"{finding}\"); all: {refused:#?}"
        );
    }
    assert_eq!(refused.len(), EXPECTED.len(), "{refused:#?}");
}

/// A resource with `value` at a place of the primitive type.
fn with_primitive(kind: &str, value: &str) -> Option<String> {
    let patient = |rest: String| Some(format!(r#"{{"resourceType":"Patient",{rest}}}"#));
    let observation = |rest: String| {
        Some(format!(
            r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},{rest}}}"#
        ))
    };
    match kind {
        "base64_binary" => patient(format!(r#""photo":[{{"data":{value}}}]"#)),
        "boolean" => patient(format!(r#""active":{value}"#)),
        "canonical" => patient(format!(r#""meta":{{"profile":[{value}]}}"#)),
        "code" => patient(format!(r#""language":{value}"#)),
        "date" => patient(format!(r#""birthDate":{value}"#)),
        "date_time" => observation(format!(r#""effectiveDateTime":{value}"#)),
        "decimal" => observation(format!(r#""valueQuantity":{{"value":{value}}}"#)),
        "id" => patient(format!(r#""id":{value}"#)),
        "instant" => observation(format!(r#""issued":{value}"#)),
        "integer" => observation(format!(r#""valueInteger":{value}"#)),
        "markdown" => observation(format!(r#""note":[{{"text":{value}}}]"#)),
        "oid" => patient(format!(
            r#""extension":[{{"url":"urn:x","valueOid":{value}}}]"#
        )),
        "positive_int" => patient(format!(r#""telecom":[{{"rank":{value}}}]"#)),
        "string" => patient(format!(r#""name":[{{"family":{value}}}]"#)),
        "time" => observation(format!(r#""valueTime":{value}"#)),
        "unsigned_int" => patient(format!(r#""photo":[{{"size":{value}}}]"#)),
        "uri" => patient(format!(r#""identifier":[{{"system":{value}}}]"#)),
        "url" => patient(format!(r#""photo":[{{"url":{value}}}]"#)),
        "uuid" => patient(format!(
            r#""extension":[{{"url":"urn:x","valueUuid":{value}}}]"#
        )),
        "xhtml" => patient(format!(r#""text":{{"status":"generated","div":{value}}}"#)),
        _ => None,
    }
}

/// Values of the collection this node judges otherwise: there `null` and an empty narrative stand for an absent value,
/// while R4's JSON form leaves such members out.
fn judged_otherwise(name: &str, line: &str) -> bool {
    name.ends_with(".valid.ndjson")
        && (line == "null" || (name.starts_with("xhtml") && line == "\"\""))
}

#[test]
fn primitive_values_are_judged_as_published() {
    let Some(root) = shared("r4_primitives") else {
        return;
    };
    let catalog = catalog();
    let mut otherwise = Vec::new();
    let mut count = 0;
    for path in files(&root, ".ndjson") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let mut parts = name.split('.');
        let (kind, valid) = (parts.next().unwrap(), parts.next() == Some("valid"));
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let Some(text) = with_primitive(kind, line).filter(|_| !line.trim().is_empty()) else {
                continue;
            };
            count += 1;
            if examine(text.as_bytes(), &catalog, &context()).is_ok() != valid {
                otherwise.push((name.to_owned(), line.to_owned()));
            }
        }
    }
    eprintln!(
        "primitives: {count} values, {} judged otherwise",
        otherwise.len()
    );
    assert!(count > 100);
    for (name, line) in &otherwise {
        assert!(
            judged_otherwise(name, line),
            "{name}: {line}; all: {otherwise:#?}"
        );
    }
}

#[derive(Default)]
struct Tally {
    accepted: BTreeMap<String, usize>,
    refused: BTreeMap<String, usize>,
    examples: BTreeMap<String, String>,
    warned: usize,
}

impl Tally {
    fn add(&mut self, original: &[u8], catalog: &Catalog) {
        match examine(original, catalog, &context()) {
            Ok(found) => {
                self.warned += usize::from(!found.warnings.is_empty());
                *self
                    .accepted
                    .entry(found.type_code.to_string())
                    .or_default() += 1;
            }
            Err(fault) => {
                let key = fault.reason.as_str().to_owned();
                if fault.reason != ReasonCode::TypeUnknown {
                    let first = fault
                        .outcome
                        .issues
                        .iter()
                        .find(|i| i.severity == crate::Severity::Error)
                        .unwrap();
                    let place: String = first
                        .expression
                        .chars()
                        .filter(|c| !c.is_ascii_digit())
                        .collect();
                    *self
                        .refused
                        .entry(format!("  {place}: {}", first.diagnostics))
                        .or_default() += 1;
                    self.examples.insert(key.clone(), fault.to_string());
                }
                *self.refused.entry(key).or_default() += 1;
            }
        }
    }

    fn total(&self) -> usize {
        let refused: usize = self
            .refused
            .iter()
            .filter(|(k, _)| !k.starts_with(' '))
            .map(|(_, n)| n)
            .sum();
        self.accepted.values().sum::<usize>() + refused
    }
}

#[test]
fn every_synthea_bundle_is_cut_and_examined() {
    let Some(root) = shared("synthea") else {
        return;
    };
    let catalog = catalog();
    let (mut tally, mut resources, mut bytes_examined, mut spent_us) =
        (Tally::default(), 0, 0_usize, 0_u128);
    for path in files(&root, ".json.gz") {
        let bytes = gunzip(&path);
        let entries = serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()["entry"]
            .as_array()
            .unwrap()
            .len();
        let pieces = split(&bytes, Format::Bundle, &Limits::DEFAULT)
            .unwrap()
            .pieces;
        assert_eq!(pieces.len(), entries, "every entry is accounted for");
        resources += entries;
        let start = Instant::now();
        for piece in pieces {
            let item = piece.unwrap();
            bytes_examined += item.original.len();
            tally.add(&item.original, &catalog);
        }
        spent_us += start.elapsed().as_micros();
    }
    assert_eq!(tally.total(), resources);
    let mb_s = bytes_examined as f64 / spent_us.max(1) as f64;
    eprintln!(
        "synthea: {resources} resources, {bytes_examined} bytes, {mb_s:.1} MB/s examined, {} warned",
        tally.warned
    );
    eprintln!(
        "accepted {:#?}\nrefused {:#?}\n{:#?}",
        tally.accepted, tally.refused, tally.examples
    );
    let refused: usize = tally
        .refused
        .iter()
        .filter(|(k, _)| !k.starts_with(' ') && *k != "TYPE_UNKNOWN")
        .map(|(_, n)| n)
        .sum();
    assert!(
        refused * 100 < resources,
        "less than 1 % of a generator's output breaks a rule"
    );
}

#[test]
fn every_clinosim_line_is_examined() {
    let Some(root) = shared("clinosim") else {
        return;
    };
    let catalog = catalog();
    let (mut tally, mut lines) = (Tally::default(), 0);
    for path in files(&root, ".ndjson.gz") {
        let bytes = gunzip(&path);
        lines += bytes
            .split(|&b| b == b'\n')
            .filter(|l| !l.is_empty())
            .count();
        for piece in split(&bytes, Format::Ndjson, &Limits::DEFAULT)
            .unwrap()
            .pieces
        {
            tally.add(&piece.unwrap().original, &catalog);
        }
    }
    eprintln!("clinosim: {lines} lines, {} warned", tally.warned);
    eprintln!(
        "accepted {:#?}\nrefused {:#?}\n{:#?}",
        tally.accepted, tally.refused, tally.examples
    );
    assert_eq!(tally.total(), lines);
    assert!(
        tally.refused.contains_key("RECORD_INVALID"),
        "the set is known to be dirty"
    );
}
