//! The node's live view of the federation: the newest directory it has seen, with everything derived from it.

use core::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use record::{MemberId, Refusal, Timestamp};
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use tlog::note::VerifierKey;

use crate::ca::CaError;
use crate::directory::{Directory, DirectoryError, SignedDirectory};
use crate::member::Member;
use crate::verify::{VerifiedPeer, Verifiers};

/// Why a directory was not adopted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The directory itself is refused, or must not take the place of the one held.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A member's authority cannot be a trust anchor.
    #[error("a member's certificate authority cannot be used: {0}")]
    Ca(#[from] CaError),
}

/// What adopting a directory changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The version held before.
    pub old_version: u64,
    /// The version held now; the same when the directory was the one already held.
    pub new_version: u64,
}

impl Adopted {
    /// Whether the directory is a new one.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.new_version != self.old_version
    }
}

/// The current directory and its verifiers. Readers never wait; versions only rise.
pub struct Roster {
    authority: VerifierKey,
    current: ArcSwap<Verifiers>,
    /// Held while a directory is compared and swapped, so that of two adopted at once the newer stays.
    adopting: Mutex<()>,
}

impl Roster {
    /// Starts from a directory on disk or handed over when the node joined. An expired one is taken: the node needs
    /// its endpoints to ask for a newer one, and every peer is answered `DIRECTORY_EXPIRED` meanwhile.
    ///
    /// # Errors
    /// [`AdoptError`] when the directory is refused.
    pub fn open(authority: VerifierKey, bytes: &[u8], now: Timestamp) -> Result<Self, AdoptError> {
        let signed = Directory::parse_verified(bytes, &authority, now)?;
        Ok(Self {
            authority,
            current: ArcSwap::from_pointee(Verifiers::new(signed)?),
            adopting: Mutex::new(()),
        })
    }

    /// Takes a directory if it is signed by the authority and newer than the one held; the one already held is
    /// confirmed, everything else is an error and changes nothing.
    ///
    /// Write [`SignedDirectory::bytes`] of [`Roster::directory`] to disk afterwards: if we crash before, the node
    /// starts with the older version and learns the newer one from its peers, as any node that was away.
    ///
    /// # Errors
    /// [`AdoptError`]: not signed, malformed, a rollback, another federation, or equivocation.
    pub fn adopt(&self, bytes: &[u8], now: Timestamp) -> Result<Adopted, AdoptError> {
        // Verified and built before the lock is taken: a large directory must not hold up another.
        let offered = Directory::parse_verified(bytes, &self.authority, now)?;
        let new_version = offered.directory().version();
        offered.supersedes(self.current.load().directory())?;
        let offered = Verifiers::new(offered)?;
        // Nothing panics under this lock, and it guards no data of its own.
        let guard = self.adopting.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load();
        let old_version = current.directory().directory().version();
        if offered.directory().supersedes(current.directory())? {
            self.current.store(Arc::new(offered));
        }
        drop(guard);
        Ok(Adopted {
            old_version,
            new_version,
        })
    }

    /// A view that stays the same however long it is held; take one for each request.
    #[must_use]
    pub fn view(&self) -> Arc<Verifiers> {
        self.current.load_full()
    }

    /// The directory held, with its bytes.
    #[must_use]
    pub fn directory(&self) -> SignedDirectory {
        self.current.load().directory().clone()
    }

    /// The version held.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.current.load().directory().directory().version()
    }

    /// The member with this id, suspended or not.
    #[must_use]
    pub fn find(&self, id: &MemberId) -> Option<Arc<Member>> {
        self.current
            .load()
            .directory()
            .directory()
            .find(id)
            .map(Arc::clone)
    }

    /// Milliseconds since the directory held was issued; negative while clocks differ.
    #[must_use]
    pub fn age_ms(&self, now: Timestamp) -> i64 {
        now.since_ms(self.current.load().directory().directory().issued())
    }

    /// The key of the authority this node trusts.
    #[must_use]
    pub const fn authority(&self) -> &VerifierKey {
        &self.authority
    }

    /// Judges the chain a peer presented, by the directory held now.
    ///
    /// # Errors
    /// As [`Verifiers::verify_peer`].
    pub fn verify_peer(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<VerifiedPeer, Refusal> {
        self.current.load().verify_peer(chain, now)
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roster({:?})", self.current.load().directory())
    }
}
