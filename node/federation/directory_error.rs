//! Why a directory is refused, and whose fault it is.

use record::MemberId;
use thiserror::Error;
use tlog::note::NoteError;

use crate::member::InvalidMember;

/// Why a directory was refused or could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The note is malformed, too large, or not signed by the authority.
    #[error("the directory is not signed as it should be: {0}")]
    Note(#[from] NoteError),
    /// The text names another federation than the authority's key.
    #[error(
        "the directory is of another federation than the authority's key; check which authority this node trusts"
    )]
    AuthorityName,
    /// A line is not what stands there in the format.
    #[error("line {line} of the directory should be: {expected}; fetch the directory again")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// A member's line is refused.
    #[error("line {line} of the directory: {fault}")]
    Member {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        fault: InvalidMember,
    },
    /// Right in content but not in spelling.
    #[error(
        "the directory is not in canonical form; the authority signs it again with `songhe directory sign`"
    )]
    NotCanonical,
    /// More members than [`crate::directory::MAX_MEMBERS`].
    #[error("the directory has more than 10,000 members; split the federation")]
    TooManyMembers,
    /// Two members with one id, or not in the order of ids.
    #[error("member {0} stands twice or out of order; the authority corrects the directory")]
    DuplicateMember(MemberId),
    /// Two members with one unified social credit code.
    #[error("members {0} and {1} have the same credit code; the authority removes one of them")]
    DuplicateCreditCode(MemberId, MemberId),
    /// Two members, or a member and the authority, with one key.
    #[error("members {0} and {1} share a key or a key's name; each member makes its own keys")]
    DuplicateKey(MemberId, MemberId),
    /// A member uses the authority's key.
    #[error("member {0} uses the authority's own key; it makes its own")]
    AuthorityKeyReused(MemberId),
    /// `expires` is not after `issued`, or more than [`crate::directory::MAX_VALID_DAYS`] later.
    #[error("a directory is valid for 1 to 400 days; the authority signs it again")]
    Lifetime,
    /// `issued` lies in the future.
    #[error("the directory was issued in the future; set this node's clock by ntp")]
    IssuedInFuture,
    /// Older than the one held: somebody hides what changed since.
    #[error(
        "directory version {offered} is older than version {held} held here; fetch the newest one"
    )]
    Rollback {
        /// Version held.
        held: u64,
        /// Version offered.
        offered: u64,
    },
    /// Of another federation than the one held.
    #[error("the directory is of another federation than the one held here; check the source")]
    OtherFederation,
    /// The authority signed two different directories with one version. Keep both as evidence.
    #[error(
        "two different directories have version {version}; keep both and ask the authority at once"
    )]
    Equivocation {
        /// The version both have.
        version: u64,
    },
}
