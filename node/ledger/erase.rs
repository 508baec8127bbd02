//! Erasure: the subject's key is destroyed, what was sealed under it overwritten, the leaves stay.

use index::Index as _;
use journal::{Event, Priority};
use record::Pseudonym;
use record::leaf::EventType;

use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::project::erasure;
use crate::row::Row;
use crate::tables::SUBJECT;

/// What an erasure did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Sequence number of its event.
    pub seq: u64,
    /// Sealed parts overwritten.
    pub bodies: u64,
}

impl Ledger {
    /// Destroys a person's key and overwrites everything sealed under it. Done when it returns; a crash in between is
    /// finished at the next start, before anything is served.
    ///
    /// # Errors
    /// [`LedgerError::SubjectUnresolved`] when the person is not known here; otherwise as [`LedgerError`] says.
    pub async fn erase_subject(
        &self,
        subject: Pseudonym,
        ground: &str,
    ) -> Result<Erased, LedgerError> {
        let ledger = self.clone();
        let ground = ground.to_owned();
        tokio::spawn(async move { ledger.erase_apart(subject, &ground).await })
            .await
            .map_err(|e| LedgerError::Stopped(e.to_string()))?
    }

    async fn erase_apart(&self, subject: Pseudonym, ground: &str) -> Result<Erased, LedgerError> {
        if !self.0.admission.lock().erasing.insert(subject) {
            return Err(LedgerError::Erased);
        }
        let _erasing = Erasing {
            ledger: self,
            subject,
        };
        self.erase_admitted(subject, ground).await
    }

    async fn erase_admitted(
        &self,
        subject: Pseudonym,
        ground: &str,
    ) -> Result<Erased, LedgerError> {
        self.quiet(subject).await?;
        let keyed = self
            .key_of(&subject)?
            .ok_or(LedgerError::SubjectUnresolved)?;
        let handle = keyed.owner.handle;
        drop(keyed);
        let bodies = erasure(&*self.index()?, handle)?.locations.len() as u64;
        let leaf = self
            .leaf_now(EventType::EraseExecuted)
            .xid(self.new_exchange()?)
            .text("ground", ground)
            .number("n", bodies)
            .hex("kh", &handle);
        let row = self.sealed_row(&Row::Erase { handle })?;
        let event = Event {
            leaf: leaf.to_bytes(),
            row,
            body: Vec::new(),
        };
        self.0.admission.lock().move_consents(subject);
        self.0.consents.forget(&subject);
        let acked = self.one(event, Priority::Audit, None).await?;
        // The reader of the journal overwrites the sealed parts before it removes the rows that lead to them.
        let visible = self.visible(acked.seq()).await;
        // Only now: a key read from disk before is then not remembered after.
        self.0.vault.forget(&subject);
        self.0.consents.forget(&subject);
        visible?;
        if self
            .index()?
            .get(SUBJECT, &self.tag_of(&subject))?
            .is_some()
        {
            return Err(LedgerError::Index(
                "the subject's key is still listed after its destruction".into(),
            ));
        }
        Ok(Erased {
            seq: acked.seq(),
            bodies,
        })
    }

    /// Waits until nothing of the subject is on its way and all of it is visible, in frames before the next one.
    async fn quiet(&self, subject: Pseudonym) -> Result<(), LedgerError> {
        self.0
            .admission
            .when(|pending| (!pending.is_in_flight(&subject)).then_some(()))
            .await;
        match self.0.journal.head().next_seq.checked_sub(1) {
            Some(last) => self.visible(last).await,
            None => Ok(()),
        }
    }
}

struct Erasing<'a> {
    ledger: &'a Ledger,
    subject: Pseudonym,
}

impl Drop for Erasing<'_> {
    fn drop(&mut self) {
        self.ledger.0.admission.leave(|pending| {
            pending.erasing.remove(&self.subject);
        });
    }
}
