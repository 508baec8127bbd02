//! The authority's working copy of the directory: changed by people, then signed.

use std::collections::BTreeMap;
use std::sync::Arc;

use record::{MemberId, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tlog::note::Note;

use crate::authority::AuthorityKey;
use crate::card::MemberCard;
use crate::directory::{
    DAY_MS, Directory, DirectoryError, LIMITS, MAX_DIRECTORY_BYTES, MAX_MEMBERS, SignedDirectory,
    check_members,
};
use crate::member::{Member, MemberStatus, told};
use crate::name::FederationName;

/// Name of the file's format.
pub const FORMAT: &str = "songhe-directory-draft/v1";

/// Why a change to a draft was refused. The fault lies with whoever asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DraftError {
    /// The file is larger than a directory may be, in its readable layout.
    #[error("the draft is larger than 8 mib; a directory has at most 4 mib")]
    TooLarge,
    /// Not the JSON of a draft.
    #[error("the draft cannot be read: {0}")]
    Json(String),
    /// Another format or version.
    #[error(
        "the draft has another format than songhe-directory-draft/v1; use the release that wrote it"
    )]
    Format,
    /// A card or key of another federation.
    #[error("this belongs to another federation than the draft; check which draft is meant")]
    OtherFederation,
    /// The id is taken.
    #[error("member {0} is already in the draft; use renew to change its keys or endpoints")]
    AlreadyMember(MemberId),
    /// No such member.
    #[error("there is no member {0} in the draft; list the members")]
    NoSuchMember(MemberId),
    /// A card to renew a member names another organisation.
    #[error("member {0} has another credit code; another organisation needs another id")]
    OtherOrganisation(MemberId),
    /// The directory would break a rule of its own.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// A directory that is not signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    federation: FederationName,
    signed_version: u64,
    members: BTreeMap<MemberId, Arc<Member>>,
}

impl Draft {
    /// An empty draft of a new federation.
    #[must_use]
    pub const fn new(federation: FederationName) -> Self {
        Self {
            federation,
            signed_version: 0,
            members: BTreeMap::new(),
        }
    }

    /// A draft with what a signed directory says, to continue from it.
    #[must_use]
    pub fn from_directory(directory: &Directory) -> Self {
        Self {
            federation: directory.federation().clone(),
            signed_version: directory.version(),
            members: directory
                .members()
                .iter()
                .map(|m| (m.id.clone(), Arc::clone(m)))
                .collect(),
        }
    }

    /// Reads a draft that [`Draft::to_json`] wrote and people may have edited.
    ///
    /// # Errors
    /// [`DraftError`] names the first fault.
    pub fn parse(text: &str) -> Result<Self, DraftError> {
        if text.len() > 2 * MAX_DIRECTORY_BYTES {
            return Err(DraftError::TooLarge);
        }
        let parsed: DraftText =
            serde_json::from_str(text).map_err(|e| DraftError::Json(told(&e)))?;
        if parsed.format != FORMAT {
            return Err(DraftError::Format);
        }
        if parsed.members.len() > MAX_MEMBERS {
            return Err(DirectoryError::TooManyMembers.into());
        }
        let mut members = BTreeMap::new();
        for member in parsed.members {
            let id = member.id.clone();
            if members.insert(id.clone(), Arc::new(member)).is_some() {
                return Err(DirectoryError::DuplicateMember(id).into());
            }
        }
        let draft = Self {
            federation: parsed.federation,
            signed_version: parsed.signed_version,
            members,
        };
        check_members(&draft.list())?;
        Ok(draft)
    }

    /// The draft as JSON for people to read and keep.
    ///
    /// # Errors
    /// [`DraftError::Json`], which the fields' types do not give.
    pub fn to_json(&self) -> Result<String, DraftError> {
        let text = DraftText {
            format: FORMAT.to_owned(),
            federation: self.federation.clone(),
            signed_version: self.signed_version,
            members: self.members.values().map(|m| Member::clone(m)).collect(),
        };
        let mut json =
            serde_json::to_string_pretty(&text).map_err(|e| DraftError::Json(told(&e)))?;
        json.push('\n');
        Ok(json)
    }

    /// Adds a member by its card, whose proofs were verified when it was read.
    ///
    /// # Errors
    /// `OtherFederation`, `AlreadyMember`, or `Directory` when the card shares a code or key with a member.
    pub fn add(&mut self, card: &MemberCard) -> Result<(), DraftError> {
        self.check_federation(card)?;
        let mut member = card.member().clone();
        if self.members.contains_key(&member.id) {
            return Err(DraftError::AlreadyMember(member.id));
        }
        member.status = MemberStatus::Active;
        self.put(member)
    }

    /// Replaces a member's description by a new card: new keys, endpoints or name of the same organisation. Its
    /// status stays. Who hands in the card is for the authority's people to make sure of.
    ///
    /// # Errors
    /// `OtherFederation`, `NoSuchMember`, `OtherOrganisation`, or `Directory` as for [`Draft::add`].
    pub fn renew(&mut self, card: &MemberCard) -> Result<(), DraftError> {
        self.check_federation(card)?;
        let mut member = card.member().clone();
        let old = self
            .members
            .get(&member.id)
            .ok_or_else(|| DraftError::NoSuchMember(member.id.clone()))?;
        if old.credit_code != member.credit_code {
            return Err(DraftError::OtherOrganisation(member.id));
        }
        member.status = old.status;
        self.put(member)
    }

    /// Suspends a member: peers answer it with `PEER_SUSPENDED` once they have the signed directory.
    ///
    /// # Errors
    /// `NoSuchMember`.
    pub fn suspend(&mut self, id: &MemberId) -> Result<(), DraftError> {
        self.set_status(id, MemberStatus::Suspended)
    }

    /// Lets a suspended member take part again.
    ///
    /// # Errors
    /// `NoSuchMember`.
    pub fn reinstate(&mut self, id: &MemberId) -> Result<(), DraftError> {
        self.set_status(id, MemberStatus::Active)
    }

    /// Takes a member out. Receipts it signed can then only be checked with an older directory: suspend a member
    /// that might still have to answer for something.
    ///
    /// # Errors
    /// `NoSuchMember`.
    pub fn remove(&mut self, id: &MemberId) -> Result<(), DraftError> {
        self.members
            .remove(id)
            .map(|_member| ())
            .ok_or_else(|| DraftError::NoSuchMember(id.clone()))
    }

    /// Signs what the draft says, with the next version, valid from `now` (cut to the second) for
    /// `valid_for_days` (1 to 400).
    ///
    /// The draft then holds the new version. **Write the draft to disk before giving the directory to anyone**: if we
    /// crash in between, a version number is skipped, which harms nobody; the other way round the next signing would
    /// give one version two contents, which every node reports as equivocation.
    ///
    /// # Errors
    /// `OtherFederation` for another authority's key, `Directory` for a lifetime or size outside the limits. The
    /// draft is unchanged then.
    pub fn sign(
        &mut self,
        authority: &AuthorityKey,
        now: Timestamp,
        valid_for_days: u16,
    ) -> Result<SignedDirectory, DraftError> {
        if authority.federation() != &self.federation {
            return Err(DraftError::OtherFederation);
        }
        let version = self
            .signed_version
            .checked_add(1)
            .ok_or(DirectoryError::NotCanonical)?;
        let issued = Timestamp::from_s(now.as_s());
        let expires = issued.plus_ms(i64::from(valid_for_days).saturating_mul(DAY_MS));
        let directory = Directory::assemble(
            self.federation.clone(),
            version,
            issued,
            expires,
            self.list(),
        )?;
        let note = Note::sign_within(&directory.to_text()?, &[authority.signer()], LIMITS)
            .map_err(DirectoryError::from)?;
        // Read back as every node will: what they would refuse is never handed out.
        let signed = Directory::parse_verified(&note.to_bytes(), authority.verifier_key(), now)?;
        self.signed_version = version;
        Ok(signed)
    }

    /// The federation's name.
    #[must_use]
    pub const fn federation(&self) -> &FederationName {
        &self.federation
    }

    /// The version last signed; 0 before the first.
    #[must_use]
    pub const fn signed_version(&self) -> u64 {
        self.signed_version
    }

    /// The members, sorted by id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(AsRef::as_ref)
    }

    fn check_federation(&self, card: &MemberCard) -> Result<(), DraftError> {
        if card.federation() == &self.federation {
            Ok(())
        } else {
            Err(DraftError::OtherFederation)
        }
    }

    /// Puts a member in if the whole still holds together; otherwise nothing changes.
    fn put(&mut self, member: Member) -> Result<(), DraftError> {
        let id = member.id.clone();
        let before = self.members.insert(id.clone(), Arc::new(member));
        let checked = check_members(&self.list());
        if checked.is_err() {
            match before {
                Some(old) => self.members.insert(id, old),
                None => self.members.remove(&id),
            };
        }
        Ok(checked?)
    }

    fn set_status(&mut self, id: &MemberId, status: MemberStatus) -> Result<(), DraftError> {
        let member = self
            .members
            .get_mut(id)
            .ok_or_else(|| DraftError::NoSuchMember(id.clone()))?;
        Arc::make_mut(member).status = status;
        Ok(())
    }

    fn list(&self) -> Vec<Arc<Member>> {
        self.members.values().map(Arc::clone).collect()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DraftText {
    format: String,
    federation: FederationName,
    signed_version: u64,
    members: Vec<Member>,
}
