//! The holder: this node as the one that is asked, and what it is made of. The steps are in files of their own.

use std::sync::Arc;

use ledger::Ledger;
use record::decision::Agency;
use record::{Catalog, Clock, Decide, Timestamp};
use seal::{CursorKey, Entropy};

use crate::replay::Replays;

/// What a holder is made of.
#[derive(Debug)]
pub struct HolderParts {
    /// This agency.
    pub me: Agency,
    /// Record types.
    pub catalog: Arc<Catalog>,
    /// Records, consents and the journal.
    pub ledger: Ledger,
    /// The active policy.
    pub policy: Arc<dyn Decide>,
    /// Seals cursors.
    pub cursor: CursorKey,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// This node as the one that is asked.
#[derive(Debug)]
pub struct Holder {
    parts: HolderParts,
    replays: Replays,
}

impl Holder {
    /// A holder.
    #[must_use]
    pub fn new(parts: HolderParts) -> Self {
        Self {
            parts,
            replays: Replays::default(),
        }
    }

    /// This agency.
    #[must_use]
    pub const fn me(&self) -> &Agency {
        &self.parts.me
    }

    /// The ledger.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.parts.ledger
    }

    /// The catalogue of record types.
    #[must_use]
    pub const fn catalog(&self) -> &Arc<Catalog> {
        &self.parts.catalog
    }

    /// The active policy.
    #[must_use]
    pub const fn policy(&self) -> &Arc<dyn Decide> {
        &self.parts.policy
    }

    pub(crate) const fn cursor_key(&self) -> &CursorKey {
        &self.parts.cursor
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &*self.parts.entropy
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    pub(crate) const fn replays(&self) -> &Replays {
        &self.replays
    }
}
