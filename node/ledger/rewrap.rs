//! Rotation of the key-encryption key: every subject key wrapped anew, no body touched, the old wrappings overwritten.

use index::{Index as _, Order};
use journal::{Event, Location, Priority};
use record::KeyHandle;
use record::leaf::EventType;
use seal::{Keyring, WrappedKey};

use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::rebuild::overwrite;
use crate::row::{Owner, Row};
use crate::tables::{SUBJECT, SubjectValue, decode, join};

/// Keys wrapped in one submit.
const PORTION: usize = 512;

impl Ledger {
    /// Wraps every subject key under the current key of `keyring` (which also still has the former ones). When it returns
    /// nothing needs the former ones any more and they may be retired. `progress` gets keys done and keys in all.
    ///
    /// Crash in between: some keys are wrapped under either; the keyring has both; run it again.
    ///
    /// # Errors
    /// As [`LedgerError`] says; run it again.
    pub async fn rotate(
        &self,
        keyring: Keyring,
        mut progress: impl FnMut(u64, u64) + Send,
    ) -> Result<u64, LedgerError> {
        self.0.vault.replace_keyring(keyring);
        let total = self.index().count(SUBJECT)?;
        let (mut seen, mut done) = (0, 0);
        let mut from = Vec::new();
        loop {
            let rows = self.index().range(SUBJECT, &from, None, Order::Forward, PORTION)?;
            let Some((last, _)) = rows.last() else { break };
            from = join(last, &[0]);
            seen += rows.len() as u64;
            let mut events = Vec::new();
            let mut old = Vec::new();
            for (pseudonym, value) in &rows {
                let value: SubjectValue = decode(value)?;
                let location = Location::from(value.at);
                let wrapped = WrappedKey::from_bytes(&self.0.journal.read(&location)?.body)?;
                let Some(anew) = self.0.vault.rewrap(&wrapped, value.handle, &*self.0.entropy)? else { continue };
                let pseudonym = record::Pseudonym::from_slice(pseudonym)
                    .map_err(|e| LedgerError::Index(e.to_string()))?;
                let owner = Owner::new(pseudonym, KeyHandle::from_bytes(value.handle));
                let leaf = self.leaf_now(EventType::KeyRewrapped).hex("kh", &value.handle);
                let row = self.sealed_row(&Row::Key { owner })?;
                events.push(Event { leaf: leaf.to_bytes(), row, body: anew.as_bytes().to_vec() });
                old.push(location);
            }
            if let Some(acked) = self.submit_portion(events).await? {
                self.visible(acked).await?;
                overwrite(&self.0.journal, &old);
                done += old.len() as u64;
            }
            progress(seen, total);
        }
        Ok(done)
    }

    async fn submit_portion(&self, events: Vec<Event>) -> Result<Option<u64>, LedgerError> {
        if events.is_empty() {
            return Ok(None);
        }
        let acked = Self::durable(self.submit(events, Priority::Data)?).await?;
        Ok(acked.last().map(journal::Acked::seq))
    }
}
