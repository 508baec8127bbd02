//! Whom a resource is about, as far as the resource itself says.

use core::fmt;

use crate::json::Value;

/// A reference to the person a record is about. `Debug` shows its kind alone: the rest may identify the person.
#[derive(Clone, PartialEq, Eq)]
pub enum SubjectRef {
    /// A literal reference such as `Patient/x`, without base address and version; of a Patient itself too.
    Literal(String),
    /// A reference inside one Bundle: `urn:uuid:…` or `urn:oid:…`.
    Urn(String),
    /// A logical reference by business identifier.
    Identifier {
        /// `Identifier.system`, empty when absent.
        system: String,
        /// `Identifier.value`.
        value: String,
    },
    /// The resource names no person.
    None,
}

impl fmt::Debug for SubjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Literal(_) => "literal(..)",
            Self::Urn(_) => "urn(..)",
            Self::Identifier { .. } => "identifier(..)",
            Self::None => "none",
        })
    }
}

/// Elements that name the person, most telling first.
const ELEMENTS: [&str; 6] = [
    "subject",
    "patient",
    "for",
    "beneficiary",
    "individual",
    "source",
];

/// The subject of a resource.
pub(crate) fn of(resource: &Value<'_>) -> SubjectRef {
    if resource.text("resourceType") == Some("Patient") {
        return resource.text("id").map_or(SubjectRef::None, |id| {
            SubjectRef::Literal(format!("Patient/{id}"))
        });
    }
    let direct = ELEMENTS
        .iter()
        .flat_map(|key| resource.each(key))
        .map(|reference| read(reference, resource));
    let actors = resource
        .each("participant")
        .iter()
        .filter_map(|p| p.get("actor"))
        .map(|reference| read(reference, resource));
    direct
        .chain(actors)
        .find(|found| *found != SubjectRef::None)
        .unwrap_or(SubjectRef::None)
}

fn read(reference: &Value<'_>, resource: &Value<'_>) -> SubjectRef {
    let logical = || {
        let identifier = reference.each("identifier").first();
        let kind = reference.text("type").unwrap_or("Patient");
        identifier
            .filter(|_| kind.ends_with("Patient"))
            .map_or(SubjectRef::None, by_identifier)
    };
    let Some(text) = reference.text("reference") else {
        return logical();
    };
    if let Some(id) = text.strip_prefix('#') {
        let inner = resource
            .each("contained")
            .iter()
            .find(|c| c.text("id") == Some(id) && c.text("resourceType") == Some("Patient"));
        return inner
            .and_then(|c| c.each("identifier").first())
            .map_or(SubjectRef::None, by_identifier);
    }
    if text.starts_with("urn:") {
        return SubjectRef::Urn(text.to_owned());
    }
    if let Some((name, query)) = text.split_once('?') {
        // The conditional form of transactions: Patient?identifier=system|value.
        let identifier = query.strip_prefix("identifier=");
        if let (true, Some(token)) = (name.ends_with("Patient"), identifier) {
            let (system, value) = token.split_once('|').unwrap_or(("", token));
            return SubjectRef::Identifier {
                system: system.to_owned(),
                value: value.to_owned(),
            };
        }
        return SubjectRef::None;
    }
    let path = text.split_once("/_history/").map_or(text, |(path, _)| path);
    let mut parts = path.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some(id), Some("Patient")) => SubjectRef::Literal(format!("Patient/{id}")),
        _ => logical(),
    }
}

fn by_identifier(identifier: &Value<'_>) -> SubjectRef {
    identifier
        .text("value")
        .map_or(SubjectRef::None, |value| SubjectRef::Identifier {
            system: identifier.text("system").unwrap_or_default().to_owned(),
            value: value.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;
    use crate::limits::Limits;

    fn subject(text: &str) -> SubjectRef {
        of(&parse(text, &Limits::DEFAULT).unwrap())
    }

    #[test]
    fn every_form_of_reference() {
        let literal = |id: &str| SubjectRef::Literal(format!("Patient/{id}"));
        let by = |system: &str, value: &str| SubjectRef::Identifier {
            system: system.into(),
            value: value.into(),
        };
        for (text, wanted) in [
            (r#"{"resourceType":"Patient","id":"1"}"#, literal("1")),
            (r#"{"subject":{"reference":"Patient/1"}}"#, literal("1")),
            (
                r#"{"patient":{"reference":"https://h/fhir/Patient/1/_history/2"}}"#,
                literal("1"),
            ),
            (
                r#"{"for":{"reference":"urn:uuid:7"}}"#,
                SubjectRef::Urn("urn:uuid:7".into()),
            ),
            (
                r#"{"subject":{"identifier":{"system":"s","value":"v"}}}"#,
                by("s", "v"),
            ),
            (
                r#"{"subject":{"reference":"Patient?identifier=s|v"}}"#,
                by("s", "v"),
            ),
            (
                r#"{"participant":[{"actor":{"reference":"Practitioner/9"}},{"actor":{"reference":"Patient/1"}}]}"#,
                literal("1"),
            ),
            (
                r##"{"subject":{"reference":"#p"},"contained":[{"resourceType":"Patient","id":"p","identifier":[{"value":"v"}]}]}"##,
                by("", "v"),
            ),
            (r#"{"subject":{"reference":"Group/1"}}"#, SubjectRef::None),
            (r#"{"subject":{"display":"somebody"}}"#, SubjectRef::None),
        ] {
            assert_eq!(subject(text), wanted, "{text}");
            assert!(!format!("{wanted:?}").contains('1'));
        }
    }
}
