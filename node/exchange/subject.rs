//! Step 2, subject: whose data. The statement carries this node's own pseudonym; unknown people go the same way on.

use record::{Pseudonym, Refusal};

use crate::holder::Holder;
use crate::identity::Caller;

/// A caller with the person it asks about. Made by [`Holder::find_subject`] alone.
#[derive(Clone, Debug)]
pub struct About {
    caller: Caller,
    known: bool,
}

impl About {
    /// Who asks.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The person.
    #[must_use]
    pub const fn pseudonym(&self) -> &Pseudonym {
        &self.caller.statement().pseudonym
    }

    /// Whether this node knows the person. It must not show in an answer.
    pub(crate) const fn is_known(&self) -> bool {
        self.known
    }
}

impl Holder {
    /// Looks the person up. An unknown person is no error: the next steps treat both alike, so that a refusal tells
    /// nothing.
    ///
    /// # Errors
    /// `INDEX_UNAVAILABLE`, `DATA_DAMAGED`.
    pub fn find_subject(&self, caller: Caller) -> Result<About, Refusal> {
        let known = self.ledger().knows(&caller.statement().pseudonym)?;
        Ok(About { caller, known })
    }
}
