//! Kinds of agencies that run a node.

use core::fmt;

use serde::{Deserialize, Serialize};

/// What kind of agency a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgencyKind {
    /// A hospital or clinic.
    Hospital,
    /// A civil-affairs bureau.
    CivilAffairs,
    /// A community service platform or care site.
    Community,
}

impl AgencyKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Hospital, Self::CivilAffairs, Self::Community];

    /// The name used everywhere: `hospital`, `civil-affairs`, `community`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hospital => "hospital",
            Self::CivilAffairs => "civil-affairs",
            Self::Community => "community",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }
}

impl fmt::Display for AgencyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
