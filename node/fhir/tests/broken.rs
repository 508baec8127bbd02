//! Ten broken resources, each caught and named by place.

use record::ReasonCode;

use super::{catalog, context};
use crate::examine;

/// A good Observation, in which each case breaks one thing.
const GOOD: &str = r#"{"resourceType":"Observation","id":"o1","status":"final","category":[{"coding":[{"code":"vital-signs"}]}],
    "code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"subject":{"reference":"Patient/p1"},
    "effectiveDateTime":"2026-03-02T08:15:00+08:00","valueQuantity":{"value":71,"unit":"/min"}}"#;

fn fault(text: &str) -> (ReasonCode, Vec<(String, String)>) {
    let fault = examine(text.as_bytes(), &catalog(), &context()).unwrap_err();
    let places = fault
        .outcome
        .issues
        .iter()
        .map(|i| (i.expression.clone(), i.diagnostics.clone()))
        .collect();
    (fault.reason, places)
}

#[test]
fn the_good_one_is_good() {
    let found = examine(GOOD.as_bytes(), &catalog(), &context()).unwrap();
    assert_eq!(found.type_code.as_str(), "vitals");
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
}

#[test]
fn each_of_the_ten_is_caught_and_named() {
    let cases: [(&str, &str, &str, &str); 12] = [
        (
            "unknown element",
            r#""id":"o1""#,
            r#""id":"o1","colour":"blue""#,
            "Observation.colour: unknown element",
        ),
        (
            "impossible date",
            "2026-03-02T08:15:00+08:00",
            "2026-13-45",
            "Observation.effectiveDateTime: not a valid dateTime",
        ),
        (
            "a day that is in no calendar",
            "2026-03-02T08:15:00+08:00",
            "2026-02-30",
            "Observation.effectiveDateTime: the calendar has",
        ),
        (
            "dateTime without zone",
            "08:15:00+08:00",
            "08:15:00",
            "Observation.effectiveDateTime: not a valid dateTime",
        ),
        (
            "code outside a required set",
            r#""status":"final""#,
            r#""status":"finished""#,
            "Observation.status: the code is not in the required value set observation-status",
        ),
        (
            "second code outside a required set",
            r#""value":71"#,
            r#""value":71,"comparator":"~""#,
            "Observation.valueQuantity.comparator: the code is not in the required value set quantity-comparator",
        ),
        (
            "absent required element",
            r#""status":"final","#,
            "",
            "Observation.status: required element missing",
        ),
        (
            "empty array",
            r#"[{"coding":[{"code":"vital-signs"}]}]"#,
            "[]",
            "Observation.category: an empty array",
        ),
        (
            "two value[x]",
            r#""valueQuantity""#,
            r#""valueString":"x","valueQuantity""#,
            "Observation.value[x]: only one type",
        ),
        (
            "bad id characters",
            r#""id":"o1""#,
            r#""id":"o_1/x""#,
            "Observation.id: an id has",
        ),
        (
            "wrong reference target type",
            "Patient/p1",
            "Medication/p1",
            "Observation.subject: a reference here points to one of: Patient Group Device Location",
        ),
        (
            "lone white space",
            r#""unit":"/min""#,
            r#""unit":"/min","id":"  ","system":" ""#,
            "Observation.valueQuantity.system: not a valid uri",
        ),
    ];
    for (name, from, to, wanted) in cases {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD, "{name}: the case breaks nothing");
        let (reason, places) = fault(&text);
        assert_eq!(reason, ReasonCode::RecordInvalid, "{name}");
        assert!(
            places
                .iter()
                .any(|(at, rule)| format!("{at}: {rule}").starts_with(wanted)),
            "{name}: {places:?}"
        );
    }
}

#[test]
fn units_and_ranges_have_reasons_of_their_own() {
    assert_eq!(
        fault(&GOOD.replace(r#""/min""#, r#""Hz""#)).0,
        ReasonCode::UnitInvalid
    );
    assert_eq!(
        fault(&GOOD.replace("71", "7100")).0,
        ReasonCode::ValueOutOfRange
    );
}

#[test]
fn what_is_no_resource_is_malformed_or_unknown() {
    for (text, wanted) in [
        ("", ReasonCode::RecordMalformed),
        ("[]", ReasonCode::RecordMalformed),
        ("{}", ReasonCode::RecordMalformed),
        (r#"{"resourceType":7}"#, ReasonCode::RecordMalformed),
        (
            r#"{"resourceType":"Patient","id":"a","id":"b"}"#,
            ReasonCode::RecordMalformed,
        ),
        (
            r#"{"resourceType":"Patient"} {"resourceType":"Patient"}"#,
            ReasonCode::RecordMalformed,
        ),
        (r#"{"resourceType":"Claim"}"#, ReasonCode::TypeUnknown),
        (r#"{"resourceType":"Nonsense"}"#, ReasonCode::TypeUnknown),
    ] {
        assert_eq!(fault(text).0, wanted, "{text}");
    }
    let invalid = examine(
        b"{\"resourceType\":\"Patient\",\"id\":\"\xff\"}",
        &catalog(),
        &context(),
    )
    .unwrap_err();
    assert_eq!(invalid.reason, ReasonCode::RecordMalformed);
}

#[test]
fn resident_numbers_are_checked_and_never_repeated() {
    let with = |number: &str| {
        format!(
            r#"{{"resourceType":"Patient","id":"p","identifier":[{{"system":"urn:oid:2.16.840.1.113883.2.23.1.19.1","value":"{number}"}}]}}"#
        )
    };
    let good = record::ResidentId::complete("50011219400301123").unwrap();
    let found = examine(with(&good).as_bytes(), &catalog(), &context()).unwrap();
    assert_eq!(found.resident_ids.len(), 1);
    assert!(!format!("{found:?}").contains(&good));
    let old_district = record::ResidentId::complete("11010319400301123").unwrap();
    let found = examine(with(&old_district).as_bytes(), &catalog(), &context()).unwrap();
    assert_eq!((found.resident_ids.len(), found.warnings.len()), (1, 1));
    let bad = format!(
        "{}{}",
        good.get(..17).unwrap(),
        if good.ends_with('1') { '2' } else { '1' }
    );
    let fault = examine(with(&bad).as_bytes(), &catalog(), &context()).unwrap_err();
    assert_eq!(fault.reason, ReasonCode::RecordInvalid);
    let told = format!("{fault} {}", fault.outcome.to_json());
    assert!(
        told.contains("check digit") && !told.contains(&bad),
        "{told}"
    );
}

#[test]
fn sixty_five_warnings_do_not_hide_an_error() {
    let number = record::ResidentId::complete("11010319400301123").unwrap();
    let identifier =
        format!(r#"{{"system":"urn:oid:2.16.840.1.113883.2.23.1.19.1","value":"{number}"}}"#);
    let many = vec![identifier; 80].join(",");
    let wrong = r#"{"system":"urn:oid:2.16.840.1.113883.2.23.1.19.1","value":"1"}"#;
    let text = format!(r#"{{"resourceType":"Patient","identifier":[{many},{wrong}]}}"#);
    assert!(examine(text.as_bytes(), &catalog(), &context()).is_err());
}
