//! A refusal: an answer, not a fault; it carries a reason and, where it helps, a detail without personal data.

use core::fmt;

use crate::reason::ReasonCode;

/// A typed no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: ReasonCode,
    /// Which field, file or limit; never personal data.
    pub detail: Option<String>,
    /// When trying again makes sense, in milliseconds from now.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal with a reason alone.
    #[must_use]
    pub const fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            detail: None,
            retry_after_ms: None,
        }
    }

    /// A refusal with a detail: lower-case, no full stop, no personal data.
    #[must_use]
    pub fn with_detail(reason: ReasonCode, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: Some(detail.into()),
            retry_after_ms: None,
        }
    }
}

impl From<ReasonCode> for Refusal {
    fn from(reason: ReasonCode) -> Self {
        Self::new(reason)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.reason.english())?;
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        write!(f, "; {}", self.reason.next_english())
    }
}

impl std::error::Error for Refusal {}
