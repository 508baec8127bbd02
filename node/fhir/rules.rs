//! The rules fhirkit leaves out: required codes, id characters, reference targets, days that exist; by table.

use record::ReasonCode;

use crate::json::{Kind, Value};
use crate::outcome::{Issue, IssueType, OperationOutcome};
use crate::tables::{self, Element};
use crate::times::moment;

/// Checks a resource against the table of R4; what the table does not know is not checked here.
pub(crate) fn check(resource: &Value<'_>, outcome: &mut OperationOutcome) {
    let Some(resource_type) = resource.text("resourceType") else {
        return;
    };
    let contained = resource
        .each("contained")
        .iter()
        .filter_map(|c| Some((c.text("id")?, c.text("resourceType")?)))
        .collect();
    let mut walk = Walk {
        outcome,
        path: resource_type.to_owned(),
        root: resource_type,
        contained,
    };
    walk.resource(resource, resource_type, false);
}

struct Walk<'r, 'o> {
    outcome: &'o mut OperationOutcome,
    path: String,
    root: &'r str,
    contained: Vec<(&'r str, &'r str)>,
}

impl<'r> Walk<'r, '_> {
    fn error(&mut self, code: IssueType, rule: impl Into<String>) {
        self.outcome.push(Issue::error(
            ReasonCode::RecordInvalid,
            code,
            &self.path,
            rule,
        ));
    }

    /// Runs `f` with the path one step deeper.
    fn at(&mut self, key: &str, index: Option<usize>, f: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push('.');
        self.path.push_str(key);
        if let Some(index) = index {
            self.path.push_str(&format!("[{index}]"));
        }
        f(self);
        self.path.truncate(length);
    }

    fn resource(&mut self, resource: &'r Value<'r>, resource_type: &str, inner: bool) {
        if let Some(id) = resource.text("id")
            && !is_id(id)
        {
            self.at("id", None, |w| {
                w.error(
                    IssueType::Value,
                    "an id has 1 to 64 characters of A-Z a-z 0-9 - and .",
                );
            });
        }
        if inner && resource.get("contained").is_some() {
            self.at("contained", None, |w| {
                w.error(
                    IssueType::Invariant,
                    "a contained resource contains no others (dom-2)",
                );
            });
        }
        if resource.get("fhir_comments").is_some() {
            self.error(
                IssueType::Structure,
                "unknown element fhir_comments: R4 JSON has no comments",
            );
        }
        self.object(resource, resource_type);
    }

    fn object(&mut self, object: &'r Value<'r>, type_name: &str) {
        if object.is_object() && object.members().is_empty() {
            self.error(
                IssueType::Invariant,
                "an element has a value or children (ele-1)",
            );
        }
        for member in object.members() {
            let key = &*member.key;
            if key == "contained" && type_name == self.root {
                for (i, inner) in member.value.items().iter().enumerate() {
                    if let Some(name) = inner.text("resourceType") {
                        self.at(key, Some(i), |w| w.resource(inner, name, true));
                    }
                }
                continue;
            }
            // The twin of a primitive element holds an id and extensions.
            let (type_of, key_of) = match key.strip_prefix('_') {
                Some(_) => ("BackboneElement", ""),
                None => (type_name, key),
            };
            if key_of.is_empty() {
                for item in member.value.items() {
                    self.at(key, None, |w| w.object(item, type_of));
                }
                continue;
            }
            let Some(element) = tables::element(type_of, key_of) else {
                continue;
            };
            let listed = matches!(member.value.kind, Kind::Array(_));
            for (i, item) in member.value.items().iter().enumerate() {
                self.at(key, listed.then_some(i), |w| w.value(item, &element));
            }
        }
    }

    fn value(&mut self, value: &'r Value<'r>, element: &Element) {
        if let Some(binding) = element.binding {
            self.binding(value, element.type_name, binding);
        }
        match element.type_name {
            "date" | "dateTime" | "instant" => {
                if value.as_str().is_some_and(|text| moment(text).is_none()) {
                    self.error(IssueType::Value, "the calendar has no such day or time");
                }
            }
            "Reference" => {
                self.reference(value, element.targets);
                self.object(value, "Reference");
            }
            "string" | "markdown" => {
                if value.as_str().is_some_and(|text| text.trim().is_empty()) {
                    self.error(
                        IssueType::Value,
                        "a string is not made of white space alone",
                    );
                }
            }
            _ if element.is_primitive() => {}
            type_name => self.object(value, type_name),
        }
    }

    fn binding(&mut self, value: &Value<'_>, type_name: &str, binding: &str) {
        let coding_fits = |coding: &Value<'_>| {
            coding.text("code").is_some_and(|code| {
                tables::allows(binding, coding.text("system").or(Some("")), code)
            })
        };
        let fits = match type_name {
            "code" => value
                .as_str()
                .is_none_or(|code| tables::allows(binding, None, code)),
            "Coding" => coding_fits(value),
            _ => {
                let coding = value.each("coding");
                coding.iter().any(coding_fits)
                    || (coding.is_empty() && value.get("extension").is_some())
            }
        };
        if !fits {
            self.error(
                IssueType::CodeInvalid,
                format!("the code is not in the required value set {binding}"),
            );
        }
    }

    fn reference(&mut self, value: &Value<'_>, targets: &str) {
        let found = match value.text("reference") {
            Some("#") => Some(self.root.to_owned()),
            Some(text) => match text.strip_prefix('#') {
                Some(id) => {
                    let inner = self.contained.iter().find(|(known, _)| *known == id);
                    let Some((_, name)) = inner else {
                        self.error(
                            IssueType::Invariant,
                            "the reference names no contained resource (ref-1)",
                        );
                        return;
                    };
                    Some((*name).to_owned())
                }
                None => target_type(text).map(str::to_owned),
            },
            None => None,
        };
        let named = value.text("type").filter(|t| tables::is_resource_name(t));
        let Some(found) = found.as_deref().or(named) else {
            return;
        };
        if !targets.is_empty() && !targets.split(' ').any(|t| t == found) {
            self.error(
                IssueType::Value,
                format!("a reference here points to one of: {targets}"),
            );
        }
    }
}

/// The resource type a literal reference names: `Patient/1`, `Patient/1/_history/2`, an absolute URL that ends so,
/// or the conditional form `Patient?identifier=…`. `None` for `urn:` and other URLs.
pub(crate) fn target_type(reference: &str) -> Option<&str> {
    if let Some((name, _)) = reference.split_once('?') {
        let name = name.rsplit('/').next()?;
        return tables::is_resource_name(name).then_some(name);
    }
    let path = reference
        .split_once("/_history/")
        .map_or(reference, |(path, _)| path);
    let (before, _) = path.rsplit_once('/')?;
    let absolute = before.contains(':');
    let name = before.rsplit('/').next()?;
    let relative = !absolute && !before.contains('/');
    // A relative reference always is Type/id; of other URLs only those that look like FHIR's are judged.
    (relative || tables::is_resource_name(name)).then_some(name)
}

/// `[A-Za-z0-9\-\.]{1,64}`, FHIR R4 datatype `id`.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;
    use crate::limits::Limits;

    fn findings(text: &str) -> Vec<String> {
        let value = parse(text, &Limits::DEFAULT).unwrap();
        let mut outcome = OperationOutcome::default();
        check(&value, &mut outcome);
        outcome
            .issues
            .iter()
            .map(|i| format!("{}: {}", i.expression, i.diagnostics))
            .collect()
    }

    #[test]
    fn required_codes_ids_targets_and_days() {
        let all = findings(
            r##"{"resourceType":"Observation","id":"a_b","status":"finished","subject":{"reference":"Organization/1"},
            "effectiveDateTime":"2023-02-30","encounter":{"reference":"http://x/fhir/Patient/1/_history/2"},
            "performer":[{"reference":"#nobody"},{"reference":"urn:uuid:1","type":"Location"}],
            "contained":[{"resourceType":"Patient","id":"p p","gender":"männlich","contained":[]}],
            "component":[{"valueQuantity":{"comparator":"=="}}]}"##,
        );
        for expected in [
            "Observation.id: an id has",
            "Observation.status: the code is not in the required value set observation-status",
            "Observation.subject: a reference here points to one of: Patient",
            "Observation.effectiveDateTime: the calendar has no such day",
            "Observation.encounter: a reference here",
            "Observation.performer[0]: the reference names no contained",
            "Observation.performer[1]: a reference here",
            "Observation.contained[0].id: an id has",
            "Observation.contained[0].gender: the code",
            "Observation.contained[0].contained: a contained resource",
            "Observation.component[0].valueQuantity.comparator: the code",
        ] {
            assert!(
                all.iter().any(|f| f.starts_with(expected)),
                "{expected} in {all:#?}"
            );
        }
        assert_eq!(all.len(), 11);
    }

    #[test]
    fn a_concept_needs_one_coding_of_the_required_set() {
        let with = |coding: &str| {
            findings(&format!(
                r#"{{"resourceType":"Condition","clinicalStatus":{{"coding":[{coding}]}}}}"#
            ))
        };
        let good = r#"{"system":"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"active"}"#;
        assert!(with(good).is_empty());
        assert!(with(&format!(r#"{{"system":"urn:local","code":"1"}},{good}"#)).is_empty());
        assert_eq!(with(r#"{"system":"urn:local","code":"active"}"#).len(), 1);
        assert_eq!(with(r#"{"code":"active"}"#).len(), 1);
    }

    #[test]
    fn reads_the_type_out_of_references() {
        for (text, wanted) in [
            ("Patient/1", Some("Patient")),
            ("Foo/1", Some("Foo")),
            ("https://h/fhir/Patient/1/_history/3", Some("Patient")),
            ("https://h/images/page", None),
            ("urn:uuid:4f5c", None),
            ("Practitioner?identifier=x|1", Some("Practitioner")),
            ("nonsense", None),
        ] {
            assert_eq!(target_type(text), wanted, "{text}");
        }
    }
}
