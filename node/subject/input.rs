//! The bytes a pseudonym is made of: a label, the system of the identifier, and its value.

use std::fmt;

use zeroize::Zeroizing;

use crate::SubjectError;

/// Separates these inputs from any other use of the same key.
pub const SUBJECT_LABEL: &str = "songhe-subject/v1";

/// Longest system (a short name or URI such as `urn:oid:2.16.156.112604...`) in bytes.
const MAX_SYSTEM_BYTES: usize = 256;

/// Longest identifier value in bytes: an id card number has 18, a hospital's own numbers rarely 64.
const MAX_VALUE_BYTES: usize = 256;

/// Canonical input of the function. It holds an identifier in the clear: wiped on drop, never
/// printed.
pub struct SubjectInput(Zeroizing<Vec<u8>>);

/// Builds `songhe-subject/v1 ‖ 0x00 ‖ system ‖ 0x00 ‖ value`.
///
/// Both sides must write an identifier alike (no spaces, final `X` in capitals): normalise before
/// calling, for nothing is folded here. `system` and `value` are 1 to 256 bytes without a zero
/// byte, so the split is unique.
///
/// # Errors
/// [`SubjectError::Input`] when they are not.
pub fn subject_input(system: &str, value: &str) -> Result<SubjectInput, SubjectError> {
    let well_formed =
        |part: &str, max: usize| !part.is_empty() && part.len() <= max && !part.contains('\0');
    if !well_formed(system, MAX_SYSTEM_BYTES) || !well_formed(value, MAX_VALUE_BYTES) {
        return Err(SubjectError::Input);
    }
    // Reserved at once: a vector that grows would leave a copy of the identifier behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        SUBJECT_LABEL.len() + system.len() + value.len() + 2,
    ));
    bytes.extend_from_slice(SUBJECT_LABEL.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(system.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(value.as_bytes());
    Ok(SubjectInput(bytes))
}

impl SubjectInput {
    /// The canonical bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Bytes as they are, for the vectors of the standard.
    #[cfg(test)]
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl fmt::Debug for SubjectInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectInput(..)")
    }
}
