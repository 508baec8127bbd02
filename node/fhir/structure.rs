//! The structure of a resource (elements, cardinalities, primitive forms), checked by fhirkit behind one trait.

use fhirkit::{Decoder, FhirJson, Json};
use record::ReasonCode;

use crate::json::{Kind, Value};
use crate::outcome::{Issue, IssueType};

/// Checks the structure of one resource. The one implementation is [`Fhirkit`]; another library can take its place.
pub(crate) trait Structure {
    /// Every finding about `resource`, whose `resourceType` is known to the checker; without values of the resource.
    fn check(&self, resource: &Value<'_>) -> Vec<Issue>;
}

/// fhirkit 0.1.0, generated from hl7.fhir.r4.core 4.0.1.
#[derive(Debug)]
pub(crate) struct Fhirkit;

impl Structure for Fhirkit {
    fn check(&self, resource: &Value<'_>) -> Vec<Issue> {
        // Both checkers see one tree: what this node's own reader took the text to be.
        let json = to_fhirkit(resource);
        let root = resource.text("resourceType").unwrap_or("Resource");
        let mut decoder = Decoder::new(root);
        drop(fhirkit::r4::Resource::decode(&json, &mut decoder));
        decoder
            .issues
            .iter()
            .map(|found| {
                let (code, rule) = rule(&found.message);
                match found.severity {
                    fhirkit::Severity::Error => {
                        Issue::error(ReasonCode::RecordInvalid, code, &found.path, rule)
                    }
                    fhirkit::Severity::Warning => Issue::warning(code, &found.path, rule),
                }
            })
            .collect()
    }
}

fn to_fhirkit(value: &Value<'_>) -> Json {
    match &value.kind {
        Kind::Null => Json::Null,
        Kind::Bool(b) => Json::Bool(*b),
        Kind::Number(text) => Json::Number((*text).to_owned()),
        Kind::String(text) => Json::String(text.clone().into_owned()),
        Kind::Array(items) => Json::Array(items.iter().map(to_fhirkit).collect()),
        Kind::Object(members) => Json::Object(
            members
                .iter()
                .map(|m| (m.key.clone().into_owned(), to_fhirkit(&m.value)))
                .collect(),
        ),
    }
}

/// The rule behind a message. fhirkit repeats the offending value in some messages, so none is passed on as it is.
fn rule(message: &str) -> (IssueType, String) {
    const FIXED: [(&str, IssueType, &str); 12] = [
        (
            "required element missing",
            IssueType::Required,
            "required element missing",
        ),
        ("needs at least", IssueType::Required, "too few entries"),
        ("unknown element", IssueType::Structure, "unknown element"),
        (
            "an empty array",
            IssueType::Structure,
            "an empty array is not allowed; leave the element out",
        ),
        (
            "an empty",
            IssueType::Value,
            "an empty value is not allowed; leave the element out",
        ),
        (
            "only one type may be given",
            IssueType::Structure,
            "only one type of value may be given",
        ),
        (
            "the key appears more than once",
            IssueType::Structure,
            "the same key stands twice",
        ),
        ("null", IssueType::Structure, "null is not allowed here"),
        (
            "has ",
            IssueType::Structure,
            "the array of values and its array of extensions must line up",
        ),
        (
            "a resource needs",
            IssueType::Required,
            "a resource needs a resourceType",
        ),
        (
            "expected a single value",
            IssueType::Structure,
            "expected a single value, found an array",
        ),
        (
            "expected an array",
            IssueType::Structure,
            "expected an array",
        ),
    ];
    for (start, code, text) in FIXED {
        if message.starts_with(start) {
            return (code, text.to_owned());
        }
    }
    if message.ends_with("resource type this build knows") {
        return (
            IssueType::NotSupported,
            "this node does not read resources of that type".into(),
        );
    }
    for kind in [
        "an object",
        "a string",
        "true or false",
        "a whole number",
        "a number",
    ] {
        if message.starts_with(&format!("expected {kind}")) {
            return (IssueType::Value, format!("expected {kind}"));
        }
    }
    for kind in [
        "base64Binary",
        "canonical",
        "code",
        "date",
        "dateTime",
        "decimal",
        "id",
        "instant",
        "integer",
        "markdown",
        "oid",
        "string",
        "time",
        "uri",
        "url",
        "uuid",
        "xhtml",
    ] {
        if message.ends_with(&format!(" is not a valid {kind}")) {
            return (IssueType::Value, format!("not a valid {kind}"));
        }
    }
    if message.contains("FHIR integer")
        || message.contains("positiveInt")
        || message.contains("unsignedInt")
    {
        return (
            IssueType::Value,
            "not an integer in the range of its type".into(),
        );
    }
    (
        IssueType::Structure,
        "breaks a rule of the FHIR R4 structure".into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;
    use crate::limits::Limits;

    fn findings(text: &str) -> Vec<String> {
        let value = parse(text, &Limits::DEFAULT).unwrap();
        Fhirkit
            .check(&value)
            .into_iter()
            .map(|i| format!("{}: {}", i.expression, i.diagnostics))
            .collect()
    }

    #[test]
    fn names_rules_and_never_values() {
        let all = findings(
            r#"{"resourceType":"Patient","birthDate":"秘密","active":"geheim","name":[],"photo":{},"colour":"blau",
               "multipleBirthInteger":99999999999,"deceasedBoolean":true,"deceasedDateTime":"2020"}"#,
        )
        .join("\n");
        for value in ["秘密", "geheim", "blau", "99999999999"] {
            assert!(!all.contains(value), "{all}");
        }
        for rule in [
            "Patient.birthDate: not a valid date",
            "Patient.active: expected true or false",
            "Patient.name: an empty array",
            "Patient.photo: expected an array",
            "Patient.colour: unknown element",
            "Patient.multipleBirthInteger: not an integer",
            "only one type of value",
        ] {
            assert!(all.contains(rule), "{rule} in {all}");
        }
    }
}
