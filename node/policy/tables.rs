//! The tables of the default access policy, read strictly: an unknown word or a slip is refused before it decides anything.

use std::collections::{BTreeMap, BTreeSet};

use record::{AgencyKind, LawfulBasis, Purpose, RecordTypeCode, Role};
use serde::{Deserialize, Serialize};

/// The longest a receiver may be allowed to keep a copy: ten years.
pub const TTL_SECONDS_MAX: u64 = 10 * 366 * 86_400;
/// The highest data level (GB/T 39725).
const LEVEL_MAX: u8 = 5;

/// `data.tables` of the policy `songhe.access`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tables {
    /// Version, for people: it stands in every verdict.
    pub version: String,
    /// Kinds of agency whose people may read public data.
    pub kinds: BTreeSet<AgencyKind>,
    /// Roles that may ask for records at all.
    pub asking_roles: BTreeSet<Role>,
    /// Purposes for which public data may be read.
    pub purposes: BTreeSet<Purpose>,
    /// What a role sees for a purpose.
    pub access: BTreeMap<AgencyKind, BTreeMap<Role, BTreeMap<Purpose, Row>>>,
    /// What a lawful basis suffices for.
    pub basis: BTreeMap<AgencyKind, BTreeMap<Purpose, BTreeMap<LawfulBasis, Sufficiency>>>,
    /// How long a receiver may keep its copy, in seconds, by purpose.
    pub ttl_seconds: BTreeMap<Purpose, u64>,
    /// Kinds of agency that may hand nothing on.
    pub no_onward_transfer: BTreeSet<AgencyKind>,
}

/// What one role sees for one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Up to this level records are seen whole; 0 for never.
    pub full: u8,
    /// Only of these types; empty means every type.
    pub full_types: BTreeSet<RecordTypeCode>,
    /// Up to this level records are seen masked; 0 for never.
    pub masked: u8,
    /// Only of these types; empty means every type.
    pub masked_types: BTreeSet<RecordTypeCode>,
    /// The field groups that are masked.
    pub mask: BTreeSet<String>,
}

/// What one lawful basis suffices for: data levels, 0 for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sufficiency {
    /// Records up to this level.
    pub records: u8,
    /// Signed answers up to this level.
    pub attest: u8,
    /// Telling that something exists, up to this level.
    pub exists: u8,
}

/// Why tables are refused. The place is written kind/role/purpose or kind/purpose/basis.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTables {
    /// Not JSON of this shape, or a word nobody knows.
    #[error("the tables cannot be read; correct the place that the detail names")]
    Syntax(#[from] serde_json::Error),
    /// A level above 5, or a smaller power beyond a greater one.
    #[error("levels go from 0 to 5, and records <= attest <= exists; look at {0}")]
    Level(String),
    /// A row can mask but does not say what, or names a group oddly.
    #[error(
        "a row that masks names at least one field group of a-z and -, the others none; look at {0}"
    )]
    Mask(String),
    /// A role that may not ask has a row.
    #[error("a row is for a kind, role and purpose of the lists above it; look at {0}")]
    Row(String),
    /// A time to live of zero or of more than ten years, or none for a purpose that has rows.
    #[error("each purpose with a row has a time to live of 1 second to ten years; look at {0}")]
    Ttl(String),
    /// No version, or a long one.
    #[error("the version has 1 to 64 characters")]
    Version,
}

impl Tables {
    /// Reads and checks the tables.
    ///
    /// # Errors
    /// [`InvalidTables`] names the place to correct.
    pub fn from_json(text: &str) -> Result<Self, InvalidTables> {
        let tables: Self = serde_json::from_str(text)?;
        tables.check()?;
        Ok(tables)
    }

    fn check(&self) -> Result<(), InvalidTables> {
        if self.version.is_empty() || self.version.chars().count() > 64 {
            return Err(InvalidTables::Version);
        }
        for (kind, roles) in &self.access {
            for (role, purposes) in roles {
                for (purpose, row) in purposes {
                    let place = format!("{kind}/{role}/{purpose}");
                    let listed = self.kinds.contains(kind)
                        && self.asking_roles.contains(role)
                        && self.purposes.contains(purpose);
                    if !listed {
                        return Err(InvalidTables::Row(place));
                    }
                    row.check(&place)?;
                    if !self.ttl_seconds.contains_key(purpose) {
                        return Err(InvalidTables::Ttl(purpose.to_string()));
                    }
                }
            }
        }
        for (kind, purposes) in &self.basis {
            for (purpose, bases) in purposes {
                for (basis, s) in bases {
                    if !(s.records <= s.attest && s.attest <= s.exists && s.exists <= LEVEL_MAX) {
                        return Err(InvalidTables::Level(format!("{kind}/{purpose}/{basis}")));
                    }
                }
            }
        }
        for (purpose, seconds) in &self.ttl_seconds {
            if !(1..=TTL_SECONDS_MAX).contains(seconds) {
                return Err(InvalidTables::Ttl(purpose.to_string()));
            }
        }
        Ok(())
    }
}

impl Row {
    fn check(&self, place: &str) -> Result<(), InvalidTables> {
        if self.full.max(self.masked) > LEVEL_MAX {
            return Err(InvalidTables::Level(place.to_owned()));
        }
        let names_ok = self.mask.iter().all(|g| is_group_name(g));
        if !names_ok || (self.masked > 0) == self.mask.is_empty() {
            return Err(InvalidTables::Mask(place.to_owned()));
        }
        Ok(())
    }
}

/// Whether a text can be the name of a field group: 2 to 32 characters of `a-z` and `-`.
pub(crate) fn is_group_name(text: &str) -> bool {
    (2..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = include_str!("../../policies/tables/data.json");

    #[test]
    fn the_default_tables_are_valid_and_cover_every_asking_role() {
        let tables = Tables::from_json(DEFAULT).unwrap();
        assert_eq!(tables.kinds, AgencyKind::ALL.into_iter().collect());
        assert_eq!(tables.purposes, Purpose::ALL.into_iter().collect());
        let asking: BTreeSet<Role> = Role::ALL.into_iter().filter(|r| r.may_ask()).collect();
        assert_eq!(tables.asking_roles, asking);
        let with_row: BTreeSet<Role> = tables
            .access
            .values()
            .flat_map(|r| r.keys().copied())
            .collect();
        assert_eq!(with_row, asking, "every role that may ask has some row");
    }

    #[test]
    fn slips_are_refused_by_place() {
        let refused = |from: &str, to: &str| {
            assert!(DEFAULT.contains(from), "{from}");
            Tables::from_json(&DEFAULT.replacen(from, to, 1)).unwrap_err()
        };
        for (from, to) in [
            ("\"full\": 4", "\"full\": \"4\""),
            ("\"full\": 4", "\"ful\": 4"),
            ("\"full\": 4", "\"full\": -1"),
            ("\"physician\": {", "\"surgeon\": {"),
            ("\"TREAT\":   {\"full\": 4", "\"CURE\":   {\"full\": 4"),
            ("\"statutory-duty\"", "\"legitimate-interest\""),
            ("\"care-assessment\"", "\"Care Assessment\""),
        ] {
            let fault = refused(from, to);
            assert!(matches!(fault, InvalidTables::Syntax(_)), "{to}: {fault}");
        }
        assert!(matches!(
            refused("\"full\": 4", "\"full\": 6"),
            InvalidTables::Level(p) if p == "hospital/physician/TREAT"
        ));
        assert!(matches!(
            refused("{\"records\": 4, \"attest\": 4", "{\"records\": 4, \"attest\": 3"),
            InvalidTables::Level(p) if p == "hospital/TREAT/consent"
        ));
        assert!(matches!(
            refused("\"mask\": [\"contact\", \"identifiers\"]", "\"mask\": []"),
            InvalidTables::Mask(p) if p == "hospital/physician/CAREMGT"
        ));
        assert!(matches!(
            refused(
                "\"mask\": [\"contact\", \"identifiers\"]",
                "\"mask\": [\"Contact\"]"
            ),
            InvalidTables::Mask(_)
        ));
        assert!(matches!(
            refused("\"physician\": {", "\"auditor\": {"),
            InvalidTables::Row(p) if p == "hospital/auditor/TREAT"
        ));
        assert!(matches!(refused("86400", "0"), InvalidTables::Ttl(p) if p == "TREAT"));
        assert!(matches!(
            refused("\"TREAT\": 86400,", ""),
            InvalidTables::Ttl(p) if p == "TREAT"
        ));
        assert!(matches!(refused("2026.11.1", ""), InvalidTables::Version));
    }
}
