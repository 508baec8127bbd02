//! How much of a record may leave (tiers), and how sensitive it is (data levels of GB/T 39725).

use core::fmt;

use serde::{Deserialize, Serialize};

/// How much of a record type may leave the node; each tier includes those before it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Nothing, not even that there is something.
    #[default]
    None,
    /// That records of the type exist.
    Exists,
    /// Signed yes or no answers.
    Attest,
    /// How many records there are.
    Count,
    /// The records, with field groups masked.
    Masked,
    /// The records as their author wrote them.
    Full,
}

impl Tier {
    /// The name used in proto, policy, leaves and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Exists => "exists",
            Self::Attest => "attest",
            Self::Count => "count",
            Self::Masked => "masked",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A data level of GB/T 39725-2020: 1 (public) to 5 (tiny circle, strict conditions).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Level(u8);

/// A number outside 1 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a data level is a number from 1 to 5")]
pub struct InvalidLevel;

impl Level {
    /// The highest level: what nobody classified counts as this.
    pub const HIGHEST: Self = Self(5);

    /// A level from 1 to 5.
    ///
    /// # Errors
    /// [`InvalidLevel`] outside that range.
    pub const fn new(level: u8) -> Result<Self, InvalidLevel> {
        if level >= 1 && level <= 5 {
            Ok(Self(level))
        } else {
            Err(InvalidLevel)
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Level {
    type Error = InvalidLevel;
    fn try_from(level: u8) -> Result<Self, InvalidLevel> {
        Self::new(level)
    }
}

impl From<Level> for u8 {
    fn from(level: Level) -> Self {
        level.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_ordered_and_named_as_they_serialise() {
        let all = [
            Tier::None,
            Tier::Exists,
            Tier::Attest,
            Tier::Count,
            Tier::Masked,
            Tier::Full,
        ];
        assert!(all.is_sorted());
        for tier in all {
            assert_eq!(serde_json::to_value(tier).unwrap(), tier.as_str());
        }
    }

    #[test]
    fn levels_stay_in_range() {
        assert!(Level::new(0).is_err() && Level::new(6).is_err() && Level::new(5).is_ok());
    }
}
