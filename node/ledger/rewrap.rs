//! Rotation of the key-encryption key: every subject key wrapped anew, no body touched, the old wrappings overwritten.

use std::sync::Arc;

use index::{Index as _, Order};
use journal::{Event, Priority};
use record::leaf::EventType;
use seal::{Keyring, WrappedKey};

use crate::admission::InFlight;
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::row::{Owner, Row};
use crate::tables::{SUBJECT, SubjectValue, decode, join};
use crate::vault::stored;

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
        let _alone = self.0.rotating.lock().await;
        self.0.vault.replace_keyring(keyring);
        // A new key wrapped just before, under the former key, may still be on its way: it must be listed below.
        let mut on_their_way = self.0.admission.lock().keys.clone();
        self.0
            .admission
            .when(|pending| {
                on_their_way.retain(|subject| pending.keys.contains(subject));
                on_their_way.is_empty().then_some(())
            })
            .await;
        let total = self.index()?.count(SUBJECT)?;
        let (mut seen, mut done) = (0, 0);
        let mut from = Vec::new();
        loop {
            let rows = self
                .index()?
                .range(SUBJECT, &from, None, Order::Forward, PORTION)?;
            let Some((last, _)) = rows.last() else {
                // The former key may be destroyed now: losing what was just written would lose people.
                self.keep_mark()?;
                return Ok(done);
            };
            from = join(last, &[0]);
            seen += rows.len() as u64;
            let mut owners = Vec::with_capacity(rows.len());
            for (_, value) in &rows {
                owners.extend(self.owner_of_key(&decode(value)?)?);
            }
            done += self.rewrap(&owners).await?;
            progress(seen, total.max(seen));
        }
    }

    /// Whose key it is; `None` when it is being destroyed.
    fn owner_of_key(&self, value: &SubjectValue) -> Result<Option<Owner>, LedgerError> {
        let sealed = match self.0.journal.read(&value.at.into()) {
            Ok(sealed) => sealed,
            Err(journal::Error::Erased { .. }) => return Ok(None),
            Err(fault) => return Err(fault.into()),
        };
        Ok(Row::open(&self.0.keys.row, &sealed.row)?.owner().copied())
    }

    async fn rewrap(&self, owners: &[Owner]) -> Result<u64, LedgerError> {
        // No erasure begins between here and the moment the new wrappings are durable: a destroyed key must not come
        // back. One that is under way is waited for, as it may still fail.
        let hold = self
            .0
            .admission
            .when(|pending| {
                if owners
                    .iter()
                    .any(|owner| pending.erasing.contains(&owner.pseudonym()))
                {
                    return None;
                }
                let begin =
                    |owner: &Owner| InFlight::begin(&self.0.admission, pending, owner.pseudonym());
                Some(owners.iter().map(begin).collect::<Vec<_>>())
            })
            .await;
        let mut events = Vec::new();
        let mut keys = Vec::new();
        for owner in owners {
            let subject = owner.pseudonym();
            let Some(old) = stored(&*self.index()?, &self.tag_of(&subject))? else {
                continue;
            };
            let wrapped = WrappedKey::from_bytes(&self.0.journal.read(&old.location)?.body)?;
            let Some(anew) = self
                .0
                .vault
                .rewrap(&wrapped, old.handle, &*self.0.entropy)?
            else {
                continue;
            };
            let owner = Owner {
                handle: old.handle,
                ..*owner
            };
            keys.extend(self.key_of(&subject)?);
            let leaf = self
                .leaf_now(EventType::KeyRewrapped)
                .hex("kh", &old.handle);
            let row = self.sealed_row(&Row::Key { owner })?;
            events.push(Event {
                leaf: leaf.to_bytes(),
                row,
                body: anew.as_bytes().to_vec(),
            });
        }
        let done = events.len() as u64;
        if events.is_empty() {
            return Ok(0);
        }
        // The reader of the journal overwrites the old wrappings before the index names the new ones.
        let _at_hand = self.0.vault.rewrapping(keys);
        let acked =
            Self::durable(self.submit(events, Priority::Data, Some(Arc::new(hold)))?).await?;
        if let Some(last) = acked.last() {
            self.visible(last.seq()).await?;
        }
        Ok(done)
    }
}
