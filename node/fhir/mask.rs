//! Releasing a record with field groups masked: removal only, decimals as written, required elements marked as masked.

use core::fmt;
use std::collections::BTreeSet;

use record::RecordType;

use crate::edit::{self, Edit, Place};
use crate::json::{self, Value};
use crate::limits::Limits;
use crate::rules::target_type;
use crate::tables;

/// Stored records were examined when they came; these limits only keep a damaged one from taking the node along.
pub(crate) const STORED: Limits = Limits {
    resource_bytes: usize::MAX,
    bundle_bytes: usize::MAX,
    depth: 256,
    entries: usize::MAX,
    members: 4096,
    values: usize::MAX,
};
/// Groups whose masking hides who somebody is, so that the names beside references to people go as well.
const PEOPLE_GROUPS: [&str; 3] = ["identifiers", "contact", "performer"];
/// Resource types that are not people: the text beside a reference to one of them stays.
const THINGS: [&str; 12] = [
    "Organization",
    "Location",
    "HealthcareService",
    "Medication",
    "Device",
    "Substance",
    "Specimen",
    "Endpoint",
    "Schedule",
    "Slot",
    "Media",
    "Questionnaire",
];

/// A record with field groups left out.
#[derive(Clone, PartialEq, Eq)]
pub struct Masked {
    /// The resource, without the masked elements.
    pub bytes: Vec<u8>,
    /// The groups that were masked, sorted. A group is listed whether or not the record had anything in it, so that
    /// the list does not tell what was there.
    pub masked_groups: Vec<String>,
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "masked({} bytes, without {:?})",
            self.bytes.len(),
            self.masked_groups
        )
    }
}

/// Why a record cannot be masked, and so must not leave masked. Never repeats content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// The policy names a group this record type does not have.
    #[error(
        "record type `{type_code}` has no field group `{group}`; correct the policy or the catalogue"
    )]
    UnknownGroup {
        /// The record type.
        type_code: String,
        /// The group.
        group: String,
    },
    /// The stored bytes are no JSON resource.
    #[error("the stored record cannot be read; run the integrity check")]
    Unreadable,
    /// The element types of this resource are not in the table, so no promise could be kept.
    #[error("resources of this type cannot be masked; release them whole or not at all")]
    UnknownResource,
}

/// Leaves out the elements of `groups`.
///
/// In every masked copy narratives go, since they repeat in words what is masked; when any group is named, so do all
/// extensions, attachments (a scanned report shows what it shows) and contained resources of unknown type. The copy
/// carries the tag `SUBSETTED`.
///
/// # Errors
/// [`MaskError`]: the record must then not be released in the masked tier.
pub fn mask(
    original: &[u8],
    record_type: &RecordType,
    groups: &[String],
) -> Result<Masked, MaskError> {
    let mut names = BTreeSet::new();
    let mut paths = Vec::new();
    for name in groups {
        let Some(group) = record_type.groups.get(name) else {
            return Err(MaskError::UnknownGroup {
                type_code: record_type.code.to_string(),
                group: name.clone(),
            });
        };
        if names.insert(name.clone()) {
            paths.extend(group.paths.iter().map(|p| Path::parse(p)));
        }
    }
    let (text, _) = json::utf8(original).map_err(|_fault| MaskError::Unreadable)?;
    let resource = json::parse(text, &STORED).map_err(|_fault| MaskError::Unreadable)?;
    let resource_type = resource.text("resourceType").ok_or(MaskError::Unreadable)?;
    if !tables::knows(resource_type) {
        return Err(MaskError::UnknownResource);
    }
    let rules = Mask {
        any: !names.is_empty(),
        people: PEOPLE_GROUPS.iter().any(|g| names.contains(*g)),
        paths,
    };
    let bytes = edit::write(text, &resource, &rules).into_bytes();
    Ok(Masked {
        bytes,
        masked_groups: names.into_iter().collect(),
    })
}

/// A path of the catalogue: `contact.telecom`, `**.identifier`, `value[x]`, `Patient.name`.
struct Path {
    /// Applies only in resources of this type.
    resource: Option<String>,
    steps: Vec<String>,
}

impl Path {
    fn parse(text: &str) -> Self {
        let mut steps: Vec<String> = text.split('.').map(str::to_owned).collect();
        let typed = text.starts_with(|c: char| c.is_ascii_uppercase()) && steps.len() > 1;
        let resource = typed.then(|| steps.remove(0));
        Self { resource, steps }
    }

    fn matches(&self, resource: &str, path: &[&str]) -> bool {
        self.resource.as_ref().is_none_or(|r| r == resource) && steps_match(&self.steps, path)
    }
}

fn steps_match(steps: &[String], path: &[&str]) -> bool {
    match (steps.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((step, rest)), _) if step == "**" => {
            steps_match(rest, path)
                || path
                    .split_first()
                    .is_some_and(|(_, deeper)| steps_match(steps, deeper))
        }
        (Some((step, rest)), Some((name, deeper))) => {
            step_matches(step, name) && steps_match(rest, deeper)
        }
        _ => false,
    }
}

fn step_matches(step: &str, name: &str) -> bool {
    if step == "*" || step == name {
        return true;
    }
    // A choice: `value[x]` is `valueQuantity`, `valueString`, …
    step.strip_suffix("[x]")
        .and_then(|base| name.strip_prefix(base))
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}

struct Mask {
    any: bool,
    people: bool,
    paths: Vec<Path>,
}

impl Edit for Mask {
    fn drops(&self, place: &Place<'_>, value: &Value<'_>) -> bool {
        let Some(key) = place.path.last() else {
            return false;
        };
        let type_name = place.element.map_or("", |e| e.type_name);
        if type_name == "Narrative" || type_name == "xhtml" {
            return true;
        }
        if !self.any {
            return false;
        }
        let hidden = matches!(*key, "extension" | "modifierExtension")
            || matches!(type_name, "Attachment" | "Extension" | "Signature")
            // The table knows every element R4 has: what it does not know, no path can have meant to keep.
            || (place.element.is_none() && *key != "resourceType");
        hidden
            || (self.people
                && *key == "display"
                && place.parent_type == "Reference"
                && may_be_person(place.parent))
            || self
                .paths
                .iter()
                .any(|p| p.matches(place.resource, place.path))
            || value.is_object() && value.members().is_empty()
    }

    fn drops_value(&self, _value: &Value<'_>) -> bool {
        false
    }

    fn drops_contained(&self, resource_type: &str) -> bool {
        self.any && !tables::knows(resource_type)
    }

    fn rewrites(&self, _text: &str) -> Option<String> {
        None
    }

    fn drops_extensions(&self) -> bool {
        self.any
    }

    fn marks_subsetted(&self) -> bool {
        true
    }
}

/// Whether a reference might point to a person: everything but what certainly is a thing.
fn may_be_person(reference: &Value<'_>) -> bool {
    let named = reference
        .text("reference")
        .and_then(target_type)
        .or_else(|| reference.text("type"));
    named.is_none_or(|name| !THINGS.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_as_the_catalogue_says() {
        for (path, resource, at, wanted) in [
            ("contact.telecom", "Patient", "contact.telecom", true),
            ("contact.telecom", "Patient", "contact", false),
            ("**.identifier", "Patient", "identifier", true),
            (
                "**.identifier",
                "Task",
                "restriction.recipient.identifier",
                true,
            ),
            ("**.identifier", "Task", "identifierX", false),
            ("value[x]", "Observation", "valueQuantity", true),
            ("value[x]", "Observation", "value", false),
            ("value[x]", "Observation", "component.valueQuantity", false),
            ("*.display", "Observation", "subject.display", true),
            ("Patient.name", "Patient", "name", true),
            ("Patient.name", "Organization", "name", false),
        ] {
            let at: Vec<&str> = at.split('.').collect();
            assert_eq!(
                Path::parse(path).matches(resource, &at),
                wanted,
                "{path} {at:?}"
            );
        }
    }
}
