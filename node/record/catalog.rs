//! The catalogue of record types: code, names, FHIR resource, data level, field groups; read from `policies/catalog`.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::tier::Level;

/// The most record types a catalogue may have.
pub const TYPES_MAX: usize = 256;

/// The code of a record type, such as `exam-report`: 2 to 32 characters of `a-z` and `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordTypeCode(Arc<str>);

/// Why a text is no record type code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record type code has 2 to 32 characters of a-z and -")]
pub struct InvalidTypeCode;

impl RecordTypeCode {
    /// Parses a code.
    ///
    /// # Errors
    /// [`InvalidTypeCode`] for other characters or lengths.
    pub fn parse(text: &str) -> Result<Self, InvalidTypeCode> {
        let ok = (2..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        if ok {
            Ok(Self(text.into()))
        } else {
            Err(InvalidTypeCode)
        }
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecordTypeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RecordTypeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RecordTypeCode {
    type Error = InvalidTypeCode;
    fn try_from(text: String) -> Result<Self, InvalidTypeCode> {
        Self::parse(&text)
    }
}

impl From<RecordTypeCode> for String {
    fn from(code: RecordTypeCode) -> Self {
        code.as_str().to_owned()
    }
}

/// What a resource must look like to be of a record type: every condition that is present must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// FHIR resource type, such as `Observation`.
    pub resource: String,
    /// Some `category[].coding[]` has one of these codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub category: Vec<String>,
    /// Some `code.coding[]` is one of these, written `system|code`, or `system|*` for any code of a system.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub code: Vec<String>,
}

/// A set of fields that is masked together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldGroup {
    /// Names in Chinese and English.
    pub zh: String,
    /// English name.
    pub en: String,
    /// Element paths as in FHIR, without the resource name: `name`, `contact.telecom`; `*` matches any one element, `**` any depth.
    pub paths: Vec<String>,
}

/// One record type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordType {
    /// The code.
    pub code: RecordTypeCode,
    /// Chinese name.
    pub zh: String,
    /// English name.
    pub en: String,
    /// Data level, GB/T 39725.
    pub level: Level,
    /// Which resources are of this type; the first type in the catalogue with a matching selector wins.
    pub selectors: Vec<Selector>,
    /// Whether a record is about a person (a facility is not).
    #[serde(default = "yes")]
    pub about_person: bool,
    /// Field groups of this type, by name: `identifiers`, `contact`, `narrative`, …
    #[serde(default)]
    pub groups: BTreeMap<String, FieldGroup>,
    /// How long records are kept unless a law says longer, in days.
    pub retention_days: u32,
}

const fn yes() -> bool {
    true
}

/// The catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Version of the catalogue, rising.
    pub version: u32,
    /// Record types in order of matching.
    pub types: Vec<RecordType>,
    /// Field groups every type has (identifiers, narrative, …), merged under each type's own.
    #[serde(default)]
    pub common_groups: BTreeMap<String, FieldGroup>,
}

/// Why a catalogue is refused.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCatalog {
    /// Not JSON of this shape.
    #[error("the catalogue cannot be read: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Two types share a code, or there are none or too many.
    #[error("the catalogue needs 1 to 256 record types with codes of their own; look at `{0}`")]
    Types(String),
    /// A type has no selector.
    #[error("record type `{0}` needs a selector")]
    NoSelector(RecordTypeCode),
}

impl Catalog {
    /// Reads a catalogue from JSON.
    ///
    /// # Errors
    /// [`InvalidCatalog`] for wrong shape, unknown keys, duplicate codes, types without selector.
    pub fn from_json(text: &str) -> Result<Self, InvalidCatalog> {
        let mut catalog: Self = serde_json::from_str(text)?;
        if catalog.types.is_empty() || catalog.types.len() > TYPES_MAX {
            return Err(InvalidCatalog::Types("types".into()));
        }
        let mut seen = std::collections::BTreeSet::new();
        for t in &mut catalog.types {
            if !seen.insert(t.code.clone()) {
                return Err(InvalidCatalog::Types(t.code.to_string()));
            }
            if t.selectors.is_empty() {
                return Err(InvalidCatalog::NoSelector(t.code.clone()));
            }
            for (name, group) in &catalog.common_groups {
                t.groups
                    .entry(name.clone())
                    .or_insert_with(|| group.clone());
            }
        }
        Ok(catalog)
    }

    /// The type with this code.
    #[must_use]
    pub fn get(&self, code: &RecordTypeCode) -> Option<&RecordType> {
        self.types.iter().find(|t| &t.code == code)
    }

    /// The type with this code as text.
    #[must_use]
    pub fn find(&self, code: &str) -> Option<&RecordType> {
        self.types.iter().find(|t| t.code.as_str() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"version":1,"common_groups":{"narrative":{"zh":"叙述","en":"narrative","paths":["text"]}},
        "types":[{"code":"vitals","zh":"体征","en":"vital signs","level":3,"retention_days":3650,
        "selectors":[{"resource":"Observation","category":["vital-signs"]}]}]}"#;

    #[test]
    fn common_groups_reach_every_type() {
        let c = Catalog::from_json(SMALL).unwrap();
        assert!(c.find("vitals").unwrap().groups.contains_key("narrative"));
        assert!(c.find("vitals").unwrap().about_person);
    }

    #[test]
    fn refuses_unknown_keys_and_duplicates() {
        assert!(
            Catalog::from_json(&SMALL.replace("\"zh\":\"体征\"", "\"zh\":\"体征\",\"levl\":3"))
                .is_err()
        );
        let twice = SMALL.replace("\"types\":[", "\"types\":[{\"code\":\"vitals\",\"zh\":\"a\",\"en\":\"a\",\"level\":1,\"retention_days\":1,\"selectors\":[{\"resource\":\"Basic\"}]},");
        assert!(matches!(
            Catalog::from_json(&twice),
            Err(InvalidCatalog::Types(_))
        ));
        assert!(Catalog::from_json(&SMALL.replace("\"level\":3", "\"level\":6")).is_err());
    }
}
