//! Erasure: the subject's key is destroyed, what was sealed under it overwritten, the leaves stay.

use std::time::Duration;

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
    pub async fn erase_subject(&self, subject: Pseudonym, ground: &str) -> Result<Erased, LedgerError> {
        let ledger = self.clone();
        let ground = ground.to_owned();
        tokio::spawn(async move { ledger.erase_apart(subject, &ground).await })
            .await
            .map_err(|e| LedgerError::Stopped(e.to_string()))?
    }

    async fn erase_apart(&self, subject: Pseudonym, ground: &str) -> Result<Erased, LedgerError> {
        {
            let mut pending = self.0.admission.lock();
            if !pending.erasing.insert(subject) {
                return Err(LedgerError::Erased);
            }
        }
        let outcome = self.erase_admitted(subject, ground).await;
        self.0.admission.lock().erasing.remove(&subject);
        self.0.settled.notify_waiters();
        outcome
    }

    async fn erase_admitted(&self, subject: Pseudonym, ground: &str) -> Result<Erased, LedgerError> {
        self.quiet(subject).await;
        let index = self.index();
        let keyed = self
            .0
            .vault
            .find(&*index, &self.0.journal, &subject)?
            .ok_or(LedgerError::SubjectUnresolved)?;
        let handle = keyed.owner.handle;
        drop(keyed);
        let bodies = erasure(&*index, handle)?.locations.len() as u64;
        let leaf = self
            .leaf_now(EventType::EraseExecuted)
            .xid(self.new_exchange()?)
            .text("ground", ground)
            .number("n", bodies)
            .hex("kh", &handle);
        let row = self.sealed_row(&Row::Erase { handle })?;
        let event = Event { leaf: leaf.to_bytes(), row, body: Vec::new() };
        {
            let mut pending = self.0.admission.lock();
            pending.consent_changes += 1;
            let now = pending.consent_changes;
            pending.consent_moved.insert(subject, now);
        }
        self.0.vault.forget(&subject);
        self.0.consents.forget(&subject);
        let acked = self.one(event, Priority::Audit).await?;
        // The reader of the journal overwrites the sealed parts before it removes the rows that lead to them.
        self.visible(acked.seq()).await?;
        self.0.vault.forget(&subject);
        self.0.consents.forget(&subject);
        if self.index().get(SUBJECT, subject.as_bytes())?.is_some() {
            return Err(LedgerError::Index("the subject's key is still listed after its destruction".into()));
        }
        Ok(Erased { seq: acked.seq(), bodies })
    }

    /// Waits until nothing of the subject is on its way and all of it is in frames before the next one.
    async fn quiet(&self, subject: Pseudonym) {
        loop {
            let settled = self.0.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if !self.0.admission.lock().in_flight.contains_key(&subject) {
                break;
            }
            // A notification can be missed by nobody (enabled above); the bound only guards against a caller that vanished.
            drop(tokio::time::timeout(Duration::from_secs(1), settled).await);
        }
        let head = self.0.journal.head().next_seq;
        if head > 0 {
            drop(self.visible(head - 1).await);
        }
    }
}
