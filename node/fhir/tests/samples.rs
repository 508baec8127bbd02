//! The committed samples, the catalogue, and splitting.

use record::ReasonCode;

use super::{catalog, context, sample};
use crate::examine::LEVEL_SYSTEM;
use crate::{Format, Limits, Method, Position, SubjectRef, examine, split};

#[test]
fn the_catalogue_reads_and_every_selector_is_a_type_the_table_knows() {
    let catalog = catalog();
    assert!(catalog.types.len() >= 18);
    for t in &catalog.types {
        for s in &t.selectors {
            assert!(crate::tables::knows(&s.resource), "{}", s.resource);
        }
        for name in [
            "identifiers",
            "contact",
            "address",
            "birth-date",
            "narrative",
            "performer",
            "free-text",
        ] {
            assert!(t.groups.contains_key(name), "{} {name}", t.code);
        }
    }
}

#[test]
fn samples_are_of_their_types() {
    for (name, type_code, level, subject) in [
        ("patient.json", "profile", 4, "Patient/elder-001"),
        ("blood-pressure.json", "vitals", 3, "Patient/elder-001"),
        (
            "diagnostic-report.json",
            "exam-report",
            3,
            "Patient/elder-001",
        ),
        ("ecg.json", "ecg", 3, "Patient/elder-001"),
        ("organization.json", "facility", 1, ""),
    ] {
        let found = examine(&sample(name), &catalog(), &context())
            .unwrap_or_else(|f| panic!("{name}: {f}"));
        assert_eq!(found.type_code.as_str(), type_code, "{name}");
        assert_eq!(found.level.get(), level, "{name}");
        let wanted = if subject.is_empty() {
            SubjectRef::None
        } else {
            SubjectRef::Literal(subject.into())
        };
        assert_eq!(found.subject, wanted, "{name}");
        assert!(found.warnings.is_empty(), "{name}: {:?}", found.warnings);
    }
    let report = examine(&sample("diagnostic-report.json"), &catalog(), &context()).unwrap();
    assert_eq!(report.codes, ["http://loinc.org|24627-2"]);
    assert_eq!(report.version.as_deref(), Some("2"));
    assert_eq!(
        report.effective.unwrap().to_rfc3339(),
        "2026-02-28T02:40:00Z"
    );
    assert_eq!(
        examine(&sample("patient.json"), &catalog(), &context())
            .unwrap()
            .resident_ids
            .len(),
        1
    );
}

#[test]
fn types_are_told_apart_by_category_and_code() {
    for (text, wanted) in [
        (
            r#"{"resourceType":"Observation","category":[{"coding":[{"code":"laboratory"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"2339-0"}]}"#,
            "exam-report",
        ),
        (
            r#"{"resourceType":"Observation","code":{"coding":[{"system":"http://loinc.org","code":"2339-0"}]}"#,
            "vitals",
        ),
        (
            r#"{"resourceType":"Observation","code":{"coding":[{"system":"urn:songhe:observation","code":"position"}]}"#,
            "location",
        ),
        (
            r#"{"resourceType":"Observation","category":[{"coding":[{"code":"survey"}]}],"code":{"text":"x"}"#,
            "care-assessment",
        ),
        (
            r#"{"resourceType":"Observation","code":{"text":"x"}"#,
            "health-summary",
        ),
    ] {
        let text = format!(r#"{text},"status":"final","id":"a"}}"#);
        let found = examine(text.as_bytes(), &catalog(), &context()).unwrap();
        assert_eq!(found.type_code.as_str(), wanted, "{text}");
    }
    for (category, wanted) in [("home-care", "service-order"), ("counselling", "referral")] {
        let text = format!(
            r#"{{"resourceType":"ServiceRequest","status":"active","intent":"order","subject":{{"reference":"Patient/1"}},
            "category":[{{"coding":[{{"system":"urn:songhe:service-kind","code":"{category}"}}]}}]}}"#
        );
        let found = examine(text.as_bytes(), &catalog(), &context()).unwrap();
        assert_eq!(found.type_code.as_str(), wanted);
    }
}

#[test]
fn security_labels_raise_the_level_and_never_lower_it() {
    let level = |labels: &str| {
        let text = format!(
            r#"{{"resourceType":"Condition","meta":{{"security":[{labels}]}},"subject":{{"reference":"Patient/1"}}}}"#
        );
        examine(text.as_bytes(), &catalog(), &context())
            .unwrap()
            .level
            .get()
    };
    let label = |system: &str, code: &str| format!(r#"{{"system":"{system}","code":"{code}"}}"#);
    assert_eq!(level(&label(LEVEL_SYSTEM, "1")), 3);
    assert_eq!(level(&label(LEVEL_SYSTEM, "4")), 4);
    assert_eq!(level(&label(LEVEL_SYSTEM, "9")), 3);
    let confidentiality = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
    assert_eq!(level(&label(confidentiality, "R")), 4);
    assert_eq!(
        level(&format!(
            "{},{}",
            label(confidentiality, "V"),
            label(confidentiality, "L")
        )),
        5
    );
    assert_eq!(
        level(&label(
            "http://terminology.hl7.org/CodeSystem/v3-ActCode",
            "HIV"
        )),
        5
    );
}

#[test]
fn a_bundle_is_cut_into_the_bytes_it_came_in() {
    let bytes = sample("bundle.json");
    let pieces = split(&bytes, Format::Bundle, &Limits::DEFAULT).unwrap();
    assert_eq!(pieces.bundle_type.as_deref(), Some("transaction"));
    assert_eq!(pieces.pieces.len(), 3);
    for (i, piece) in pieces.pieces.iter().enumerate() {
        let item = piece.as_ref().unwrap();
        assert_eq!(item.position, Position::Entry(i));
        assert_eq!(item.request.as_ref().unwrap().method, Method::Post);
        assert!(item.full_url.as_ref().unwrap().starts_with("urn:uuid:"));
        assert!(
            bytes
                .windows(item.original.len())
                .any(|w| w == &*item.original)
        );
        let found = examine(&item.original, &catalog(), &context()).unwrap();
        if i > 0 {
            assert!(matches!(found.subject, SubjectRef::Urn(_)));
        }
    }
}

#[test]
fn lines_are_cut_and_examined() {
    let bytes = sample("vitals.ndjson");
    let pieces = split(&bytes, Format::Ndjson, &Limits::DEFAULT).unwrap();
    assert_eq!(pieces.pieces.len(), 7);
    for piece in pieces.pieces {
        let item = piece.unwrap();
        assert_eq!(
            examine(&item.original, &catalog(), &context())
                .unwrap()
                .type_code
                .as_str(),
            "vitals"
        );
    }
}

#[test]
fn methods_that_do_not_store_are_refused_by_name() {
    let entry = |method: &str| {
        format!(
            r#"{{"resource":{{"resourceType":"Patient"}},"request":{{"method":"{method}","url":"Patient/1"}}}}"#
        )
    };
    let text = format!(
        r#"{{"resourceType":"Bundle","type":"batch","entry":[{},{},{},{},{{"resource":{{}}}},{{"request":{{"method":"PUT","url":"x"}}}},{{"resource":{{}},"surprise":1}}]}}"#,
        entry("PUT"),
        entry("DELETE"),
        entry("PATCH"),
        entry("GET")
    );
    let pieces = split(text.as_bytes(), Format::Bundle, &Limits::DEFAULT)
        .unwrap()
        .pieces;
    assert!(pieces[0].is_ok());
    for (i, word) in [
        (1, "DELETE"),
        (2, "PATCH"),
        (3, "GET"),
        (4, "bdl-3"),
        (5, "no resource"),
        (6, "unknown element"),
    ] {
        let refused = pieces[i].as_ref().unwrap_err();
        assert!(
            refused.fault.to_string().contains(word),
            "{i}: {}",
            refused.fault
        );
        assert_eq!(refused.position, Position::Entry(i));
    }
}

#[test]
fn inputs_that_are_no_bundle_are_refused_whole() {
    for (text, wanted) in [
        ("", ReasonCode::RecordMalformed),
        ("{}", ReasonCode::RecordMalformed),
        (r#"{"resourceType":"Patient"}"#, ReasonCode::RecordMalformed),
        (r#"{"resourceType":"Bundle"}"#, ReasonCode::RecordInvalid),
        (
            r#"{"resourceType":"Bundle","type":"history","entry":[]}"#,
            ReasonCode::RecordInvalid,
        ),
        (
            r#"{"resourceType":"Bundle","type":"batch","type":"batch"}"#,
            ReasonCode::RecordMalformed,
        ),
        (
            r#"{"resourceType":"Bundle","type":"batch","entry":[}"#,
            ReasonCode::RecordMalformed,
        ),
    ] {
        let fault = split(text.as_bytes(), Format::Bundle, &Limits::DEFAULT).unwrap_err();
        assert_eq!(fault.reason, wanted, "{text}");
    }
    let limits = Limits {
        entries: 10,
        ..Limits::DEFAULT
    };
    let many = ["{}"; 11].join(",");
    let text = format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{many}]}}"#);
    let fault = split(text.as_bytes(), Format::Bundle, &limits).unwrap_err();
    assert_eq!(fault.reason, ReasonCode::RecordTooLarge);
}

#[test]
fn a_byte_order_mark_is_passed_over_everywhere() {
    let mut bytes = b"\xef\xbb\xbf".to_vec();
    bytes.extend(sample("bundle.json"));
    assert_eq!(
        split(&bytes, Format::Bundle, &Limits::DEFAULT)
            .unwrap()
            .pieces
            .len(),
        3
    );
    let mut bytes = b"\xef\xbb\xbf ".to_vec();
    bytes.extend(sample("patient.json"));
    let pieces = split(&bytes, Format::Resource, &Limits::DEFAULT)
        .unwrap()
        .pieces;
    assert!(pieces[0].as_ref().unwrap().original.starts_with(b"{"));
    assert!(examine(&bytes, &catalog(), &context()).is_ok());
}

#[test]
fn a_ten_megabyte_string_is_refused_and_a_raised_limit_takes_it() {
    let text = format!(
        r#"{{"resourceType":"Communication","status":"completed","category":[{{"coding":[{{"code":"alert"}}]}}],"payload":[{{"contentString":"{}"}}]}}"#,
        "长".repeat(10 * 1024 * 1024 / 3)
    );
    let fault = examine(text.as_bytes(), &catalog(), &context()).unwrap_err();
    assert_eq!(fault.reason, ReasonCode::RecordTooLarge);
    let mut roomy = context();
    roomy.limits.resource_bytes = 16 * 1024 * 1024;
    assert_eq!(
        examine(text.as_bytes(), &catalog(), &roomy)
            .unwrap()
            .type_code
            .as_str(),
        "alert"
    );
}

#[test]
fn nesting_stops_at_the_limit_in_every_reader() {
    let deep = format!("{}1{}", "{\"a\":[".repeat(100_000), "]}".repeat(100_000));
    assert_eq!(
        examine(deep.as_bytes(), &catalog(), &context())
            .unwrap_err()
            .reason,
        ReasonCode::RecordMalformed
    );
    assert!(split(deep.as_bytes(), Format::Bundle, &Limits::DEFAULT).is_err());
    let entry = format!(
        r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"resource":{deep}}}]}}"#
    );
    assert!(split(entry.as_bytes(), Format::Bundle, &Limits::DEFAULT).is_err());
    let vitals = catalog();
    let vitals = vitals.find("vitals").unwrap();
    assert!(crate::mask(deep.as_bytes(), vitals, &[]).is_err());
    assert_eq!(
        &*crate::strip_national_ids(deep.as_bytes()),
        deep.as_bytes()
    );
}
