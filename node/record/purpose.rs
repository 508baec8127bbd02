//! Why data is asked for (HL7 v3 PurposeOfUse) and on which lawful basis (PIPL article 13).

use core::fmt;

use serde::{Deserialize, Serialize};

/// A purpose of use: codes of HL7 v3 `PurposeOfUse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Purpose {
    /// Treatment.
    Treat,
    /// Emergency treatment.
    Etreat,
    /// Care management and coordination.
    Caremgt,
    /// Determining whether a benefit is due.
    Eligdtrm,
    /// Payment of care.
    Hpaymt,
    /// Operations of a care agency.
    Hoperat,
    /// Public health.
    Pubhlth,
    /// Research.
    Hresch,
    /// The person asks about themselves.
    Patrqt,
    /// Family asks on the person's behalf.
    Famrqt,
}

impl Purpose {
    /// Every purpose the node knows.
    pub const ALL: [Self; 10] = [
        Self::Treat,
        Self::Etreat,
        Self::Caremgt,
        Self::Eligdtrm,
        Self::Hpaymt,
        Self::Hoperat,
        Self::Pubhlth,
        Self::Hresch,
        Self::Patrqt,
        Self::Famrqt,
    ];

    /// The HL7 code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Treat => "TREAT",
            Self::Etreat => "ETREAT",
            Self::Caremgt => "CAREMGT",
            Self::Eligdtrm => "ELIGDTRM",
            Self::Hpaymt => "HPAYMT",
            Self::Hoperat => "HOPERAT",
            Self::Pubhlth => "PUBHLTH",
            Self::Hresch => "HRESCH",
            Self::Patrqt => "PATRQT",
            Self::Famrqt => "FAMRQT",
        }
    }

    /// Parses the HL7 code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == text)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A lawful basis of PIPL article 13.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LawfulBasis {
    /// The person's consent (1), separate where sensitive data goes to another agency (23, 29).
    Consent,
    /// A contract with the person (2).
    Contract,
    /// A statutory duty of the asking agency (3).
    StatutoryDuty,
    /// A public health emergency (4).
    PublicHealth,
    /// An emergency to life or health (4).
    VitalInterest,
}

impl LawfulBasis {
    /// Every basis.
    pub const ALL: [Self; 5] = [
        Self::Consent,
        Self::Contract,
        Self::StatutoryDuty,
        Self::PublicHealth,
        Self::VitalInterest,
    ];

    /// The name used everywhere, such as `statutory-duty`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Contract => "contract",
            Self::StatutoryDuty => "statutory-duty",
            Self::PublicHealth => "public-health",
            Self::VitalInterest => "vital-interest",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|b| b.as_str() == text)
    }
}

impl fmt::Display for LawfulBasis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_both_ways() {
        for p in Purpose::ALL {
            assert_eq!(Purpose::parse(p.as_str()), Some(p));
            assert_eq!(serde_json::to_value(p).unwrap(), p.as_str());
        }
        for b in LawfulBasis::ALL {
            assert_eq!(LawfulBasis::parse(b.as_str()), Some(b));
            assert_eq!(serde_json::to_value(b).unwrap(), b.as_str());
        }
    }
}
