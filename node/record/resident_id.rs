//! Resident identity numbers (GB 11643): checked on entry, never stored, sent to peers or logged.

use core::fmt;

use zeroize::Zeroizing;

use crate::district::DistrictCode;
use crate::time::Timestamp;

/// FHIR system of the resident identity card, as HL7 China publishes it.
pub const RESIDENT_ID_SYSTEM: &str = "urn:oid:2.16.840.1.113883.2.23.1.19.1";

/// Weights of the first 17 digits (ISO 7064 MOD 11-2).
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const CHECK: [char; 11] = ['1', '0', 'X', '9', '8', '7', '6', '5', '4', '3', '2'];
/// Nobody alive was born before this year; also catches mistyped centuries.
const EARLIEST_YEAR: u32 = 1880;

/// A resident identity number: 18 characters, right check digit, plausible date and province.
///
/// Zeroised on drop; neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct ResidentId(Zeroizing<String>);

/// What is odd about a number that is accepted all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResidentIdWarning {
    /// Six digits of a known province but of no district in the table: abolished, or younger than the table.
    UnknownDistrict,
}

/// Why a text is no resident identity number. Never repeats the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResidentId {
    /// Fifteen digits: such numbers ended on 2013-01-01.
    #[error("15-digit resident identity numbers ended in 2013; enter the 18-character number")]
    Old,
    /// Not 17 digits and a digit or X.
    #[error("a resident identity number has 17 digits and a last digit or X")]
    Form,
    /// The first two digits name no province.
    #[error("the first digits of the resident identity number name no province")]
    District,
    /// The digits of the birthday are no date, or one before 1880 or in the future.
    #[error("the date of birth in the resident identity number is not possible")]
    BirthDate,
    /// The last character does not fit the others.
    #[error("the check digit of the resident identity number is wrong; look for a typing mistake")]
    CheckDigit,
}

impl ResidentId {
    /// Parses a number; `now` bounds the date of birth. A lower-case `x` is taken as `X`.
    ///
    /// # Errors
    /// [`InvalidResidentId`] says which part is wrong, without repeating the number.
    pub fn parse(
        text: &str,
        now: Timestamp,
    ) -> Result<(Self, Option<ResidentIdWarning>), InvalidResidentId> {
        let text = Zeroizing::new(text.trim().to_ascii_uppercase());
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if text.len() == 15 && digits(&text) {
            return Err(InvalidResidentId::Old);
        }
        let (body, last) = text.split_at_checked(17).ok_or(InvalidResidentId::Form)?;
        if last.len() != 1 || !digits(body) || !(digits(last) || last == "X") {
            return Err(InvalidResidentId::Form);
        }
        let district = body.get(0..6).map(DistrictCode::parse);
        let Some(Ok(district)) = district else {
            return Err(InvalidResidentId::District);
        };
        let (year, month, day) = birth_date(body).ok_or(InvalidResidentId::BirthDate)?;
        let (y, m, d) = now.date_in_china();
        let today = (
            u32::from(y.unsigned_abs()),
            u32::from(m.unsigned_abs()),
            u32::from(d.unsigned_abs()),
        );
        if year < EARLIEST_YEAR || (year, month, day) > today {
            return Err(InvalidResidentId::BirthDate);
        }
        if !check_character(body).is_some_and(|c| last.starts_with(c)) {
            return Err(InvalidResidentId::CheckDigit);
        }
        let warning = district
            .name()
            .is_none()
            .then_some(ResidentIdWarning::UnknownDistrict);
        Ok((Self(text), warning))
    }

    /// Completes 17 digits with their check character, for generated people.
    #[must_use]
    pub fn complete(body: &str) -> Option<String> {
        check_character(body).map(|c| format!("{body}{c}"))
    }

    /// The number itself, for blinding only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Year, month and day of birth.
    #[must_use]
    pub fn birth_date(&self) -> Option<(u32, u32, u32)> {
        birth_date(&self.0)
    }

    /// Whether the seventeenth digit says male (odd).
    #[must_use]
    pub fn is_male(&self) -> bool {
        self.0
            .as_bytes()
            .get(16)
            .is_some_and(|d| (d - b'0') % 2 == 1)
    }
}

impl fmt::Debug for ResidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("resident-id(..)")
    }
}

/// Whether 18 characters look like a resident number (form, date and check digit): used to find numbers in free text.
#[must_use]
pub fn looks_like_resident_id(text: &str) -> bool {
    let Some((body, last)) = text.split_at_checked(17) else {
        return false;
    };
    last.len() == 1
        && body.bytes().all(|b| b.is_ascii_digit())
        && birth_date(body).is_some()
        && check_character(body).is_some_and(|c| last.to_ascii_uppercase().starts_with(c))
}

fn check_character(body: &str) -> Option<char> {
    if body.len() != 17 {
        return None;
    }
    let mut sum = 0_u32;
    for (c, weight) in body.chars().zip(WEIGHTS) {
        sum += c.to_digit(10)? * weight;
    }
    CHECK.get(usize::try_from(sum % 11).ok()?).copied()
}

fn birth_date(body: &str) -> Option<(u32, u32, u32)> {
    let number = |range: core::ops::Range<usize>| body.get(range)?.parse::<u32>().ok();
    let (year, month, day) = (number(6..10)?, number(10..12)?, number(12..14)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    (1..=days).contains(&day).then_some((year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::parse_rfc3339("2026-11-22T00:00:00Z").unwrap()
    }

    fn number(body: &str) -> String {
        ResidentId::complete(body).unwrap()
    }

    #[test]
    fn each_fault_has_its_own_reason() {
        let good = number("50011219400301123");
        assert!(ResidentId::parse(&good, now()).is_ok());
        let wrong = format!(
            "{}{}",
            good.get(..17).unwrap(),
            if good.ends_with('0') { '1' } else { '0' }
        );
        let cases = [
            (wrong, InvalidResidentId::CheckDigit),
            (number("50011219400231123"), InvalidResidentId::BirthDate),
            (number("50011220270101123"), InvalidResidentId::BirthDate),
            (number("50011217990101123"), InvalidResidentId::BirthDate),
            (number("99011219400301123"), InvalidResidentId::District),
            ("123456789012345".to_owned(), InvalidResidentId::Old),
            ("1234".to_owned(), InvalidResidentId::Form),
            (
                format!("{}é", good.get(..16).unwrap()),
                InvalidResidentId::Form,
            ),
        ];
        for (text, fault) in cases {
            assert_eq!(ResidentId::parse(&text, now()).unwrap_err(), fault);
        }
    }

    #[test]
    fn an_unknown_district_is_a_warning() {
        let (_, warning) = ResidentId::parse(&number("11010319400301123"), now()).unwrap();
        assert_eq!(warning, Some(ResidentIdWarning::UnknownDistrict));
    }

    #[test]
    fn does_not_print() {
        let (id, _) = ResidentId::parse(&number("50011219400301123"), now()).unwrap();
        assert_eq!(format!("{id:?}"), "resident-id(..)");
        assert!(looks_like_resident_id(id.expose()));
        assert_eq!(id.birth_date(), Some((1940, 3, 1)));
    }

    #[test]
    fn agrees_with_the_published_vectors() {
        let Ok(vectors) = std::fs::read_to_string("../../../shared/data/cn_codes/resident_id.csv")
        else {
            eprintln!("SKIPPED: shared resident id vectors are not here");
            return;
        };
        for line in vectors.lines().skip(1) {
            let mut cells = line.splitn(3, ',');
            let (id, valid) = (cells.next().unwrap(), cells.next().unwrap());
            assert_eq!(ResidentId::parse(id, now()).is_ok(), valid == "1", "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,24}") {
            drop(ResidentId::parse(&text, now()));
            assert!(!looks_like_resident_id(&text) || text.len() == 18);
        }
    }
}
