//! Roles of the people and systems that connect to their own agency's node.

use core::fmt;

use serde::{Deserialize, Serialize};

/// The one role a client certificate carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A doctor treating patients at a hospital.
    Physician,
    /// A nurse.
    Nurse,
    /// A general practitioner under a family-doctor contract.
    FamilyDoctor,
    /// Staff of a community platform or care home.
    CareWorker,
    /// A civil-affairs clerk deciding on allowances.
    BenefitOfficer,
    /// A clerk at the counter: registers people, records and consents.
    Registrar,
    /// An agency's own record system that stores what it holds.
    SourceSystem,
    /// Runs the node (三员: system administrator).
    Operator,
    /// Writes and approves policies (三员: security administrator).
    SecurityAdministrator,
    /// Reads and verifies the audit trail (三员: auditor).
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 10] = [
        Self::Physician,
        Self::Nurse,
        Self::FamilyDoctor,
        Self::CareWorker,
        Self::BenefitOfficer,
        Self::Registrar,
        Self::SourceSystem,
        Self::Operator,
        Self::SecurityAdministrator,
        Self::Auditor,
    ];

    /// The name used in certificates, policy, leaves and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Physician => "physician",
            Self::Nurse => "nurse",
            Self::FamilyDoctor => "family-doctor",
            Self::CareWorker => "care-worker",
            Self::BenefitOfficer => "benefit-officer",
            Self::Registrar => "registrar",
            Self::SourceSystem => "source-system",
            Self::Operator => "operator",
            Self::SecurityAdministrator => "security-administrator",
            Self::Auditor => "auditor",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == text)
    }

    /// Whether this role may ask for records of people (the three administrators may not).
    #[must_use]
    pub const fn may_ask(self) -> bool {
        matches!(
            self,
            Self::Physician
                | Self::Nurse
                | Self::FamilyDoctor
                | Self::CareWorker
                | Self::BenefitOfficer
                | Self::Registrar
        )
    }

    /// Whether this role may store records at its own node.
    #[must_use]
    pub const fn may_put(self) -> bool {
        matches!(self, Self::SourceSystem | Self::Registrar)
    }

    /// Whether this role may register and withdraw consents for people at the counter.
    #[must_use]
    pub const fn may_register_consent(self) -> bool {
        matches!(self, Self::Registrar)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        assert_eq!(Role::parse("root"), None);
    }

    #[test]
    fn administrators_do_not_read_records() {
        for role in [Role::Operator, Role::SecurityAdministrator, Role::Auditor] {
            assert!(!role.may_ask() && !role.may_put() && !role.may_register_consent());
        }
    }
}
