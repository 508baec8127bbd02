//! Unified social credit codes of organisations (GB 32100-2015).

use core::fmt;

use serde::{Deserialize, Serialize};

/// The 31 characters of the code: digits and capital letters without I, O, S, V, Z.
const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
/// Weights 3^(i-1) mod 31 of the first 17 characters.
const WEIGHTS: [u32; 17] = [
    1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28,
];

/// A unified social credit code: 18 characters with a right check character.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CreditCode(String);

/// Why a text is no unified social credit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCreditCode {
    /// Not 18 characters of the alphabet.
    #[error("a unified social credit code has 18 characters of 0-9 and A-Z without I, O, S, V, Z")]
    Form,
    /// The last character does not fit the others.
    #[error(
        "the check character of the unified social credit code is wrong; look for a typing mistake"
    )]
    CheckCharacter,
}

impl CreditCode {
    /// Parses a code.
    ///
    /// # Errors
    /// [`InvalidCreditCode`] names whether form or check character is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidCreditCode> {
        let (body, last) = text.split_at_checked(17).ok_or(InvalidCreditCode::Form)?;
        if last.len() != 1 || !text.bytes().all(|b| ALPHABET.contains(&b)) {
            return Err(InvalidCreditCode::Form);
        }
        let expected = check_character(body).ok_or(InvalidCreditCode::Form)?;
        if last.starts_with(expected) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidCreditCode::CheckCharacter)
        }
    }

    /// Makes a code from its first 17 characters by adding the check character.
    #[must_use]
    pub fn from_body(body: &str) -> Option<Self> {
        let check = check_character(body)?;
        Self::parse(&format!("{body}{check}")).ok()
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// C18 = (31 - sum mod 31) mod 31.
fn check_character(body: &str) -> Option<char> {
    if body.len() != 17 {
        return None;
    }
    let mut sum = 0_u32;
    for (b, weight) in body.bytes().zip(WEIGHTS) {
        let value = ALPHABET.iter().position(|&a| a == b)?;
        sum += u32::try_from(value).ok()? * weight;
    }
    let index = usize::try_from((31 - sum % 31) % 31).ok()?;
    ALPHABET.get(index).map(|&b| char::from(b))
}

impl fmt::Display for CreditCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CreditCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CreditCode {
    type Error = InvalidCreditCode;
    fn try_from(text: String) -> Result<Self, InvalidCreditCode> {
        Self::parse(&text)
    }
}

impl From<CreditCode> for String {
    fn from(code: CreditCode) -> Self {
        code.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_example_of_the_standard_holds() {
        assert!(CreditCode::parse("91350100M000100Y43").is_ok());
        assert_eq!(
            CreditCode::parse("91350100M000100Y44"),
            Err(InvalidCreditCode::CheckCharacter)
        );
        assert_eq!(
            CreditCode::parse("91350100M000100Y4"),
            Err(InvalidCreditCode::Form)
        );
        assert_eq!(
            CreditCode::parse("91350100I000100Y43"),
            Err(InvalidCreditCode::Form)
        );
        assert_eq!(
            CreditCode::parse("９１350100M00010"),
            Err(InvalidCreditCode::Form)
        );
    }

    #[test]
    fn agrees_with_the_published_vectors() {
        let Ok(vectors) = std::fs::read_to_string("../../../shared/data/cn_codes/uscc.csv") else {
            eprintln!("SKIPPED: shared credit code vectors are not here");
            return;
        };
        for line in vectors.lines().skip(1) {
            let mut cells = line.split(',');
            let (code, valid) = (cells.next().unwrap(), cells.next().unwrap());
            assert_eq!(CreditCode::parse(code).is_ok(), valid == "1", "{line}");
        }
    }
}
