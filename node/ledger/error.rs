//! What can go wrong in the ledger, sorted by whose fault it is, and the reason people are told.

use record::{ReasonCode, Refusal};

/// Why the ledger did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The same source, id and version is stored with other content.
    #[error("another content is stored under the same source, id and version")]
    Conflict,
    /// An earlier version of the record is about another person. A record does not move from one person to another.
    #[error("an earlier version of this record is about another person; store it under another id")]
    SubjectChanged,
    /// The record names a person under a source and patient id nobody stored.
    #[error("the person this record is about is not known here")]
    SubjectUnresolved,
    /// The subject's data is being or was erased.
    #[error("this person's data was erased")]
    Erased,
    /// No such consent, or already withdrawn.
    #[error("no such consent is in force")]
    ConsentNotFound,
    /// No such entry in quarantine for this source.
    #[error("no such entry is in quarantine")]
    QuarantineNotFound,
    /// Consent changed while the answer was being prepared; decide again.
    #[error("consent changed meanwhile; decide again")]
    ConsentChanged,
    /// The event is larger than the journal takes.
    #[error("the record is larger than the journal takes")]
    TooLarge,
    /// The queue is full.
    #[error("the journal's queue is full")]
    Busy,
    /// The disk is full.
    #[error("no room for new records")]
    Full,
    /// The journal stopped writing.
    #[error("the journal stopped writing: {0}")]
    Stopped(String),
    /// Stored bytes are damaged.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// The index cannot be asked.
    #[error("the index cannot be asked: {0}")]
    Index(String),
    /// A key does not open what it should.
    #[error("a key does not open what it should: {0}")]
    Sealed(String),
    /// The journal or index refused to open.
    #[error("{0}")]
    Open(String),
}

impl LedgerError {
    /// Whether it concerns one record of several, so that the others go on.
    pub(crate) const fn is_of_one_record(&self) -> bool {
        matches!(
            self,
            Self::Conflict | Self::SubjectChanged | Self::TooLarge | Self::Erased
        )
    }

    /// The reason people and peers are told.
    #[must_use]
    pub const fn reason(&self) -> ReasonCode {
        match self {
            Self::Conflict | Self::SubjectChanged => ReasonCode::RecordConflict,
            Self::SubjectUnresolved => ReasonCode::SubjectUnresolved,
            Self::Erased => ReasonCode::SubjectErased,
            Self::ConsentNotFound => ReasonCode::ConsentNotFound,
            Self::QuarantineNotFound => ReasonCode::QuarantineNotFound,
            Self::ConsentChanged | Self::Busy => ReasonCode::Busy,
            Self::TooLarge => ReasonCode::RecordTooLarge,
            Self::Full => ReasonCode::StorageFull,
            Self::Stopped(_) => ReasonCode::StorageFailed,
            Self::Damaged(_) => ReasonCode::DataDamaged,
            Self::Index(_) => ReasonCode::IndexUnavailable,
            Self::Sealed(_) | Self::Open(_) => ReasonCode::Internal,
        }
    }
}

impl From<&LedgerError> for Refusal {
    fn from(error: &LedgerError) -> Self {
        match error {
            LedgerError::Damaged(place) => Self::with_detail(error.reason(), place.clone()),
            other => Self::new(other.reason()),
        }
    }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        Self::from(&error)
    }
}

impl From<journal::Error> for LedgerError {
    fn from(error: journal::Error) -> Self {
        match error {
            journal::Error::Busy => Self::Busy,
            journal::Error::NoSpace { .. } => Self::Full,
            journal::Error::EventSize { .. }
            | journal::Error::SubmitCount { .. }
            | journal::Error::SubmitTooLarge { .. } => Self::TooLarge,
            journal::Error::Damaged { .. } => Self::Damaged(error.to_string()),
            journal::Error::Erased { .. } => Self::Erased,
            journal::Error::WrongLocation { .. } | journal::Error::UnknownSeq { .. } => {
                Self::Index(error.to_string())
            }
            other => Self::Stopped(other.to_string()),
        }
    }
}

impl From<index::Error> for LedgerError {
    fn from(error: index::Error) -> Self {
        Self::Index(error.to_string())
    }
}

impl From<seal::SealError> for LedgerError {
    fn from(error: seal::SealError) -> Self {
        match error {
            seal::SealError::TooLarge => Self::TooLarge,
            other => Self::Sealed(other.to_string()),
        }
    }
}
