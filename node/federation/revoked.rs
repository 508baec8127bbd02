//! The list of client certificates a member has taken back before they expire.

use std::collections::BTreeSet;

use record::id::{hex_decode, hex_encode};
use thiserror::Error;

/// Most entries: every client certificate a large hospital issues in a year, twice over.
pub const MAX_REVOKED: usize = 100_000;

/// Longest serial number in bytes (RFC 5280 §4.1.2.2).
pub const MAX_SERIAL_BYTES: usize = 20;

/// Why a list was refused. The fault lies with whoever edited it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RevokedError {
    /// A line that is neither an entry, a comment nor empty.
    #[error("line {line} of the revocation list is not `serial <hex digits>`; correct it")]
    Malformed {
        /// Counted from 1.
        line: usize,
    },
    /// More than [`MAX_REVOKED`] entries.
    #[error("the revocation list has more than 100,000 entries; take out those that have expired")]
    TooMany,
}

/// Certificates taken back, by serial number at this member's authority (as in RFC 5280 §5).
///
/// Not by fingerprint: an ECDSA signature `(r, s)` is as good as `(r, n - s)`, so whoever holds a certificate can
/// turn it into one with another fingerprint that still verifies. The serial number is under the signature.
///
/// As text: one `serial <lower-case hex>` a line; lines beginning with `#` are for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked(BTreeSet<Vec<u8>>);

impl Revoked {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the text of a list. A list that cannot be read whole is refused whole: half of it would let in the rest.
    ///
    /// # Errors
    /// [`RevokedError`] names the line.
    pub fn parse(text: &str) -> Result<Self, RevokedError> {
        let mut list = Self::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let malformed = RevokedError::Malformed { line: index + 1 };
            if list.len() >= MAX_REVOKED {
                return Err(RevokedError::TooMany);
            }
            let hex = line.strip_prefix("serial ").ok_or(malformed)?;
            let mut serial = vec![0; hex.len() / 2];
            let good = (1..=MAX_SERIAL_BYTES).contains(&serial.len());
            hex_decode(hex, &mut serial)
                .filter(|()| good)
                .ok_or(malformed)?;
            list.revoke(&serial);
        }
        Ok(list)
    }

    /// The list as text, sorted.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0
            .iter()
            .map(|serial| format!("serial {}\n", hex_encode(serial)))
            .collect()
    }

    /// Takes back the certificate with this serial number (big-endian; leading zero bytes do not count); `false`
    /// if it was on the list already.
    pub fn revoke(&mut self, serial: &[u8]) -> bool {
        self.0.insert(without_zeros(serial).to_vec())
    }

    /// Whether the certificate with this serial number is on the list.
    #[must_use]
    pub fn contains(&self, serial: &[u8]) -> bool {
        self.0.contains(without_zeros(serial))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was taken back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// DER puts a zero byte before a serial number whose first bit is set; people leave it out. Zero itself keeps one.
fn without_zeros(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|b| **b == 0).count();
    match serial.get(zeros..) {
        Some([]) | None => &[0],
        Some(rest) => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_go_both_ways_and_are_refused_whole() {
        let text = "# people's notes\n\nserial 00ff10\nserial 00\n";
        let list = Revoked::parse(text).unwrap();
        assert_eq!((list.len(), list.is_empty()), (2, false));
        assert!(list.contains(&[0xff, 0x10]) && list.contains(&[0, 0, 0xff, 0x10]));
        assert!(list.contains(&[0]) && !list.contains(&[0x10]));
        assert_eq!(Revoked::parse(&list.to_text()), Ok(list));
        for bad in [
            "serial",
            "serial ",
            "serial a",
            "serial zz",
            "sha256 00",
            "serial  01",
            "serial 0A",
        ] {
            let whole = format!("{text}{bad}\n");
            assert_eq!(
                Revoked::parse(&whole),
                Err(RevokedError::Malformed { line: 5 }),
                "{bad}"
            );
        }
        assert!(Revoked::parse(&format!("serial {}", "01".repeat(21))).is_err());
        let many: String = (0..=MAX_REVOKED)
            .map(|n| format!("serial {n:08x}\n"))
            .collect();
        assert_eq!(Revoked::parse(&many), Err(RevokedError::TooMany));
    }
}
