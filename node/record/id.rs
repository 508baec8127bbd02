//! Identifiers that are not about a person by themselves: members, exchanges, keys, pseudonyms, consents.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A member of the federation: 2 to 64 characters of `a-z 0-9 -`, starting with a letter.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemberId(String);

/// Why a text is no member id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a member id has 2 to 64 characters of a-z, 0-9 and -, and starts with a letter")]
pub struct InvalidMemberId;

impl MemberId {
    /// Parses a member id.
    ///
    /// # Errors
    /// [`InvalidMemberId`] if it is too short, too long or has other characters.
    pub fn parse(text: &str) -> Result<Self, InvalidMemberId> {
        let ok = (2..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidMemberId)
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for MemberId {
    type Error = InvalidMemberId;
    fn try_from(text: String) -> Result<Self, InvalidMemberId> {
        Self::parse(&text)
    }
}

impl From<MemberId> for String {
    fn from(id: MemberId) -> Self {
        id.0
    }
}

/// Why bytes or text are no 16-byte identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an identifier of this kind has 16 bytes, written as 32 lower-case hexadecimal digits")]
pub struct InvalidId;

macro_rules! id16 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 16]);

        impl $name {
            /// From raw bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// From a slice that must have 16 bytes.
            ///
            /// # Errors
            /// [`InvalidId`] for any other length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidId> {
                bytes.try_into().map(Self).map_err(|_| InvalidId)
            }

            /// From 32 lower-case hexadecimal digits.
            ///
            /// # Errors
            /// [`InvalidId`] for anything else.
            pub fn from_hex(text: &str) -> Result<Self, InvalidId> {
                let mut bytes = [0_u8; 16];
                hex_decode(text, &mut bytes).ok_or(InvalidId)?;
                Ok(Self(bytes))
            }

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// 32 lower-case hexadecimal digits.
            #[must_use]
            pub fn to_hex(&self) -> String {
                hex_encode(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::from_hex(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_hex()
            }
        }
    };
}

id16!(
    /// One exchange: random 128 bits, the same in the logs of both sides.
    ExchangeId
);
id16!(
    /// A random handle of a subject's key; never derived from the subject.
    KeyHandle
);
id16!(
    /// A consent artefact.
    ConsentId
);

/// One node's own pseudonym of one person: 32 bytes of RFC 9497 output.
///
/// Means nothing at any other node. Not printed by `Debug`, so that it does not reach a log by accident.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pseudonym([u8; 32]);

impl Pseudonym {
    /// Stands for nobody: the owner of records that are about no person, such as facilities. RFC 9497's output is
    /// never all zero but with a chance of 2⁻²⁵⁶.
    pub const NOBODY: Self = Self([0; 32]);

    /// From raw bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// From a slice that must have 32 bytes.
    ///
    /// # Errors
    /// [`InvalidId`] for any other length.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidId> {
        bytes.try_into().map(Self).map_err(|_| InvalidId)
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pseudonym(..)")
    }
}

/// Lower-case hexadecimal text of some bytes.
#[must_use]
pub fn hex_encode(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let mut text = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        text.extend(DIGITS.get(usize::from(b >> 4)));
        text.extend(DIGITS.get(usize::from(b & 15)));
    }
    text
}

/// Reads lower-case hexadecimal text into `out`; `None` unless it fits exactly.
#[must_use]
pub fn hex_decode(text: &str, out: &mut [u8]) -> Option<()> {
    let digits = text.as_bytes();
    if digits.len() != out.len() * 2 {
        return None;
    }
    let value = |d: u8| match d {
        b'0'..=b'9' => Some(d - b'0'),
        b'a'..=b'f' => Some(d - b'a' + 10),
        _ => None,
    };
    for (pair, slot) in digits.chunks_exact(2).zip(out.iter_mut()) {
        let &[high, low] = pair else { return None };
        *slot = (value(high)? << 4) | value(low)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_ids_are_checked() {
        assert!(MemberId::parse("h-renmin-1").is_ok());
        for bad in ["", "a", "1abc", "Abc", "a_b", "a b", "é-x", &"x".repeat(65)] {
            assert!(MemberId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hex_goes_both_ways_and_refuses_the_rest() {
        let id = ExchangeId::from_bytes(*b"0123456789abcdef");
        assert_eq!(ExchangeId::from_hex(&id.to_hex()), Ok(id));
        for bad in ["", "zz", &"A".repeat(32), &"0".repeat(31), &"0".repeat(34)] {
            assert!(ExchangeId::from_hex(bad).is_err());
        }
    }

    #[test]
    fn a_pseudonym_does_not_print() {
        assert_eq!(
            format!("{:?}", Pseudonym::from_bytes([7; 32])),
            "pseudonym(..)"
        );
    }
}
