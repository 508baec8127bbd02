//! The signed directory of members: read, verified, compared with the one held.
//!
//! The text of the note (C2SP signed-note), every line ended by a line feed:
//!
//! ```text
//! songhe-directory/v1
//! federation <name>
//! version <decimal, from 1, only rising>
//! issued <RFC 3339, UTC, whole seconds>
//! expires <RFC 3339, UTC, whole seconds>
//! member <canonical one-line JSON>          (sorted by id)
//! ```
//!
//! A text has exactly one spelling: what does not print as it was read is refused.

use core::fmt;
use std::collections::HashMap;
use std::sync::Arc;

use record::{MemberId, Timestamp};
use tlog::note::{Limits, Note, NoteError, Signature, VerifierKey};

use crate::member::Member;
use crate::name::FederationName;

pub use crate::directory_error::DirectoryError;

/// First line of every directory.
pub const FORMAT: &str = "songhe-directory/v1";

/// Largest directory in bytes: what one gRPC message carries by default. About 3,600 members of the usual size.
pub const MAX_DIRECTORY_BYTES: usize = 4 * 1024 * 1024;

/// Most members: every agency of the largest city; beyond, one federates federations.
pub const MAX_MEMBERS: usize = 10_000;

/// Most signature lines: the authority's, and room for cosigners.
pub const MAX_SIGNATURES: usize = 16;

/// Longest life of a directory in days: a suspension that cannot reach a node takes effect by expiry at the latest.
pub const MAX_VALID_DAYS: u16 = 400;

/// How far in the future `issued` may lie, in milliseconds: clocks kept by NTP differ by less.
pub const MAX_CLOCK_SKEW_MS: i64 = 5 * 60 * 1000;

/// One day in milliseconds.
pub(crate) const DAY_MS: i64 = 24 * 3_600_000;

/// The members of one federation at one version. Made only by reading a signed text or by signing a draft.
#[derive(Clone, PartialEq, Eq)]
pub struct Directory {
    federation: FederationName,
    version: u64,
    issued: Timestamp,
    expires: Timestamp,
    members: Vec<Arc<Member>>,
}

impl Directory {
    /// Puts a directory together and checks everything that concerns it as a whole.
    pub(crate) fn assemble(
        federation: FederationName,
        version: u64,
        issued: Timestamp,
        expires: Timestamp,
        members: Vec<Arc<Member>>,
    ) -> Result<Self, DirectoryError> {
        let life_ms = expires.since_ms(issued);
        if life_ms <= 0 || life_ms > i64::from(MAX_VALID_DAYS) * DAY_MS {
            return Err(DirectoryError::Lifetime);
        }
        check_members(&members)?;
        Ok(Self {
            federation,
            version,
            issued,
            expires,
            members,
        })
    }

    /// Reads a note, verifies the authority's signature and everything the text says. `now` serves to refuse a
    /// directory issued in the future; an expired one is read, and [`Directory::is_expired`] says so.
    ///
    /// The authority's key bears the federation's name. Signature lines of other keys are dropped from the result,
    /// so that nobody can make a node carry and pass on what the authority did not sign.
    ///
    /// # Errors
    /// [`DirectoryError`] names the first fault.
    pub fn parse_verified(
        note_bytes: &[u8],
        authority: &VerifierKey,
        now: Timestamp,
    ) -> Result<SignedDirectory, DirectoryError> {
        let note = Note::parse_within(note_bytes, LIMITS)?;
        let verified = note.verify(std::slice::from_ref(authority))?;
        let text = verified.text();
        let directory = Self::parse_text(text)?;
        if directory.federation.as_str() != authority.name() {
            return Err(DirectoryError::AuthorityName);
        }
        if let Some(member) = directory
            .members
            .iter()
            .find(|m| m.keys().contains(&authority.public_key()))
        {
            return Err(DirectoryError::AuthorityKeyReused(member.id.clone()));
        }
        if directory.issued.since_ms(now) > MAX_CLOCK_SKEW_MS {
            return Err(DirectoryError::IssuedInFuture);
        }
        let mine =
            |s: &&Signature| s.key_id() == authority.key_id() && s.name() == authority.name();
        let line = note
            .signatures()
            .iter()
            .find(mine)
            .map(Signature::to_line)
            .ok_or(NoteError::NoKnownSigner)?;
        Ok(SignedDirectory {
            bytes: format!("{text}\n{line}\n").into_bytes(),
            text_bytes: text.len(),
            directory,
        })
    }

    /// Reads the text without a signature.
    fn parse_text(text: &str) -> Result<Self, DirectoryError> {
        let mut lines = text.split_terminator('\n').enumerate();
        let mut line_number = 0;
        let mut next = |prefix: &str, expected: &'static str| {
            line_number += 1;
            let found = lines
                .next()
                .and_then(|(_index, line)| line.strip_prefix(prefix));
            found.ok_or(DirectoryError::Malformed {
                line: line_number,
                expected,
            })
        };
        if !next(FORMAT, FORMAT)?.is_empty() {
            return Err(DirectoryError::Malformed {
                line: 1,
                expected: FORMAT,
            });
        }
        let federation =
            FederationName::parse(next("federation ", "federation <name>")?).map_err(|_name| {
                DirectoryError::Malformed {
                    line: 2,
                    expected: "federation <name>",
                }
            })?;
        let version = parse_version(next("version ", "version <number>")?).ok_or(
            DirectoryError::Malformed {
                line: 3,
                expected: "version <number from 1>",
            },
        )?;
        let issued = Timestamp::parse_rfc3339(next("issued ", "issued <rfc 3339 time>")?).ok_or(
            DirectoryError::Malformed {
                line: 4,
                expected: "issued <rfc 3339 time>",
            },
        )?;
        let expires = Timestamp::parse_rfc3339(next("expires ", "expires <rfc 3339 time>")?)
            .ok_or(DirectoryError::Malformed {
                line: 5,
                expected: "expires <rfc 3339 time>",
            })?;
        let mut members = Vec::new();
        for (index, line) in lines {
            if members.len() == MAX_MEMBERS {
                return Err(DirectoryError::TooManyMembers);
            }
            let expected = "member <one-line json>";
            let json = line
                .strip_prefix("member ")
                .ok_or(DirectoryError::Malformed {
                    line: index + 1,
                    expected,
                })?;
            let member = Member::from_json(json).map_err(|fault| DirectoryError::Member {
                line: index + 1,
                fault,
            })?;
            members.push(Arc::new(member));
        }
        let directory = Self::assemble(federation, version, issued, expires, members)?;
        if directory.to_text()? == text {
            Ok(directory)
        } else {
            Err(DirectoryError::NotCanonical)
        }
    }

    /// The text that is signed.
    pub(crate) fn to_text(&self) -> Result<String, DirectoryError> {
        let mut text = format!(
            "{FORMAT}\nfederation {}\nversion {}\nissued {}\nexpires {}\n",
            self.federation,
            self.version,
            whole_seconds(self.issued),
            whole_seconds(self.expires),
        );
        for (index, member) in self.members.iter().enumerate() {
            let json = member.to_json().map_err(|fault| DirectoryError::Member {
                line: index + 6,
                fault,
            })?;
            text.push_str("member ");
            text.push_str(&json);
            text.push('\n');
        }
        Ok(text)
    }

    /// The federation's name.
    #[must_use]
    pub const fn federation(&self) -> &FederationName {
        &self.federation
    }

    /// The version, from 1, only rising.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// When the authority signed it.
    #[must_use]
    pub const fn issued(&self) -> Timestamp {
        self.issued
    }

    /// The first moment at which it is no longer valid.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Whether it is no longer valid at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires
    }

    /// The members, sorted by id, suspended ones included.
    #[must_use]
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// The member with this id, suspended or not.
    #[must_use]
    pub fn find(&self, id: &MemberId) -> Option<&Arc<Member>> {
        let at = self
            .members
            .binary_search_by(|member| member.id.cmp(id))
            .ok()?;
        self.members.get(at)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Directory({} version {} of {}, expires {}, {} members)",
            self.federation,
            self.version,
            self.issued,
            self.expires,
            self.members.len()
        )
    }
}

/// A directory with the bytes that prove it: text, empty line, the authority's signature.
#[derive(Clone)]
pub struct SignedDirectory {
    bytes: Vec<u8>,
    text_bytes: usize,
    directory: Directory,
}

impl SignedDirectory {
    /// The note, to keep on disk and to give to any peer that asks.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says.
    #[must_use]
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Whether this one may take the place of `old`: `true` if it is newer, `false` if it is the same directory.
    ///
    /// # Errors
    /// `OtherFederation`, `Rollback`, or `Equivocation` when one version has two texts.
    pub fn supersedes(&self, old: &Self) -> Result<bool, DirectoryError> {
        let (held, offered) = (old.directory.version, self.directory.version);
        if self.directory.federation != old.directory.federation {
            return Err(DirectoryError::OtherFederation);
        }
        if offered < held {
            return Err(DirectoryError::Rollback { held, offered });
        }
        if offered > held {
            return Ok(true);
        }
        // The signed text decides, not the note: a new authority key gives the same text another signature line.
        if self.text() == old.text() {
            Ok(false)
        } else {
            Err(DirectoryError::Equivocation { version: held })
        }
    }

    fn text(&self) -> Option<&[u8]> {
        self.bytes.get(..self.text_bytes)
    }
}

impl fmt::Debug for SignedDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed{:?}", self.directory)
    }
}

/// Limits of a directory's note.
pub(crate) const LIMITS: Limits = Limits {
    max_bytes: MAX_DIRECTORY_BYTES,
    max_signatures: MAX_SIGNATURES,
};

/// What holds between members: sorted ids, and nothing that two of them share.
pub(crate) fn check_members(members: &[Arc<Member>]) -> Result<(), DirectoryError> {
    if members.len() > MAX_MEMBERS {
        return Err(DirectoryError::TooManyMembers);
    }
    for (left, right) in members.iter().zip(members.iter().skip(1)) {
        if left.id >= right.id {
            return Err(DirectoryError::DuplicateMember(right.id.clone()));
        }
    }
    let mut codes = HashMap::new();
    let mut keys: HashMap<&[u8], &MemberId> = HashMap::new();
    let mut names = HashMap::new();
    for member in members {
        if let Some(other) = codes.insert(&member.credit_code, &member.id) {
            return Err(DirectoryError::DuplicateCreditCode(
                other.clone(),
                member.id.clone(),
            ));
        }
        let own = member
            .keys()
            .into_iter()
            .map(|key| key.as_slice())
            .chain([member.ca.public_point().as_slice()]);
        for key in own {
            if let Some(other) = keys.insert(key, &member.id) {
                return Err(DirectoryError::DuplicateKey(
                    other.clone(),
                    member.id.clone(),
                ));
            }
        }
        // A log or witness that borrows another member's name would be mistaken for it in every list of signers.
        for name in [member.log_key.name(), member.witness_key.name()] {
            if let Some(other) = names
                .insert(name, &member.id)
                .filter(|other| *other != &member.id)
            {
                return Err(DirectoryError::DuplicateKey(
                    other.clone(),
                    member.id.clone(),
                ));
            }
        }
    }
    Ok(())
}

fn parse_version(text: &str) -> Option<u64> {
    let version: u64 = text.parse().ok()?;
    (version >= 1 && version.to_string() == text).then_some(version)
}

/// RFC 3339 in whole seconds, so that fractions read from a text fail the comparison of spellings.
fn whole_seconds(at: Timestamp) -> String {
    Timestamp::from_s(at.as_s()).to_rfc3339()
}
