//! District codes of GB/T 2260: six digits, province, city, county.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Codes and names as published by the statistics bureau on 2023-06-30 (china-division, MIT).
static TABLE: &str = include_str!("district.tsv");

/// First two digits in use for provinces, and for the residence permits of Hong Kong, Macao and Taiwan.
const PROVINCES: [u8; 37] = [
    11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52,
    53, 54, 61, 62, 63, 64, 65, 71, 81, 82, 83, 91, 66,
];

/// A district: six digits whose first two name a province.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DistrictCode(u32);

/// Why a text is no district code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a district code (GB/T 2260) has six digits and begins with the two digits of a province")]
pub struct InvalidDistrict;

impl DistrictCode {
    /// Parses a code. Codes of districts since abolished are accepted: people keep the number they were given.
    ///
    /// # Errors
    /// [`InvalidDistrict`] unless it has six digits with a province in front.
    pub fn parse(text: &str) -> Result<Self, InvalidDistrict> {
        if text.len() != 6 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidDistrict);
        }
        let code: u32 = text.parse().map_err(|_| InvalidDistrict)?;
        let province = u8::try_from(code / 10_000).map_err(|_| InvalidDistrict)?;
        if PROVINCES.contains(&province) {
            Ok(Self(code))
        } else {
            Err(InvalidDistrict)
        }
    }

    /// The Chinese name, if the table of 2023 has this code.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        let wanted = self.to_string();
        TABLE
            .lines()
            .find_map(|line| line.strip_prefix(wanted.as_str())?.strip_prefix('\t'))
    }

    /// Every county-level code of the table with its name.
    pub fn counties() -> impl Iterator<Item = (Self, &'static str)> {
        TABLE.lines().filter_map(|line| {
            let (code, name) = line.split_once('\t')?;
            let code = Self::parse(code).ok()?;
            (!code.0.is_multiple_of(100)).then_some((code, name))
        })
    }

    /// Whether `other` lies inside this district (a city holds its counties, a province its cities).
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        let step = if self.0.is_multiple_of(10_000) {
            10_000
        } else if self.0.is_multiple_of(100) {
            100
        } else {
            1
        };
        self.0 / step == other.0 / step
    }
}

impl fmt::Display for DistrictCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

impl fmt::Debug for DistrictCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

impl TryFrom<String> for DistrictCode {
    type Error = InvalidDistrict;
    fn try_from(text: String) -> Result<Self, InvalidDistrict> {
        Self::parse(&text)
    }
}

impl From<DistrictCode> for String {
    fn from(code: DistrictCode) -> Self {
        code.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_table() {
        assert_eq!(
            DistrictCode::parse("500112").unwrap().name(),
            Some("渝北区")
        );
        assert_eq!(
            DistrictCode::parse("110103").unwrap().name(),
            None,
            "abolished, still accepted"
        );
        assert!(DistrictCode::counties().count() > 2_900);
    }

    #[test]
    fn a_city_holds_its_counties() {
        let city = DistrictCode::parse("530100").unwrap();
        assert!(city.contains(DistrictCode::parse("530111").unwrap()));
        assert!(!city.contains(DistrictCode::parse("530300").unwrap()));
    }

    #[test]
    fn refuses_what_is_no_code() {
        for bad in [
            "",
            "12345",
            "1234567",
            "000000",
            "991234",
            "50011x",
            "５００１１２",
        ] {
            assert!(DistrictCode::parse(bad).is_err(), "{bad}");
        }
    }
}
