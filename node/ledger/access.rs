//! Accesses: a question, a disclosure or a refusal becomes an event before anybody hears the answer.

use std::sync::Arc;

use journal::{Acked, Event, Priority};
use record::{ExchangeId, Leaf, Pseudonym};
use zeroize::Zeroizing;

use crate::admission::InFlight;
use crate::consents::ConsentView;
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::row::Row;

const ACCESS_AAD: &[u8] = b"access/v1";

/// What an auditor or a replay needs beyond the leaf: sealed under the subject's key.
pub struct AccessDetail(pub Zeroizing<Vec<u8>>);

impl std::fmt::Debug for AccessDetail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessDetail(..)")
    }
}

/// One access to be recorded.
#[derive(Debug)]
pub struct Access<'a> {
    /// The leaf, but for the subject's tag and the commitment, which are added here.
    pub leaf: Leaf,
    /// The exchange.
    pub xid: ExchangeId,
    /// About whom, if the person is known here.
    pub subject: Option<Pseudonym>,
    /// The rest, sealed.
    pub detail: AccessDetail,
    /// The view of consent the decision rests on: when the person's consents moved since, the access is not recorded
    /// and the caller decides again.
    pub rests_on: Option<&'a ConsentView>,
}

impl Ledger {
    /// Records an access. What it returns is the proof that it is durable.
    ///
    /// While the person's data is being erased there is no key to seal the detail under: an access that rests on a view
    /// of consent is then not recorded, any other is recorded as one about nobody known.
    ///
    /// Crash before it returns: the event may or may not be there, and no answer went out. Crash after: the trail names an
    /// answer that may not have arrived; that is the safe side.
    ///
    /// # Errors
    /// [`LedgerError::ConsentChanged`]; otherwise as [`LedgerError`] says, and then nothing may be answered.
    pub async fn record_access(&self, access: Access<'_>) -> Result<Acked, LedgerError> {
        let hold = match access.subject {
            Some(subject) => self.hold(subject),
            None => None,
        };
        if access.subject.is_some() && hold.is_none() && access.rests_on.is_some() {
            return Err(LedgerError::ConsentChanged);
        }
        // Held before the key is looked up: an erasure waits, so the key is not destroyed under this access.
        let keyed = match (&access.subject, &hold) {
            (Some(subject), Some(_)) => self.key_of(subject)?,
            _ => None,
        };
        let xid = *access.xid.as_bytes();
        let key = keyed
            .as_ref()
            .map_or_else(|| self.0.vault.node(), |k| &k.key);
        let mut leaf = access
            .leaf
            .xid(access.xid)
            .hex("pc", &key.commitment(xid, &access.detail.0)?);
        if let Some(keyed) = &keyed {
            leaf = leaf
                .hex("kh", &keyed.owner.handle)
                .hex("stag", &keyed.key.tag(xid)?);
        }
        let body = key.seal_body(&access.detail.0, ACCESS_AAD, &*self.0.entropy)?;
        let row = self.sealed_row(&Row::Exchange {
            xid,
            subject: keyed.as_ref().map(|k| k.owner),
        })?;
        let event = Event {
            leaf: leaf.to_bytes(),
            row,
            body,
        };
        // Kept here too: it must not be let go under the lock.
        let hold = Arc::new(hold.into_iter().collect::<Vec<InFlight>>());
        let receive = {
            let pending = self.0.admission.lock();
            if let Some(view) = access.rests_on
                && pending.moved_since(&view.subject, view.as_of)
            {
                return Err(LedgerError::ConsentChanged);
            }
            self.submit(vec![event], Priority::Audit, Some(Arc::clone(&hold)))?
        };
        drop(hold);
        Self::durable(receive)
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| LedgerError::Stopped("the journal gave no acknowledgement".into()))
    }

    /// Begins something of a subject; `None` while the subject is being erased.
    pub(crate) fn hold(&self, subject: Pseudonym) -> Option<InFlight> {
        let mut pending = self.0.admission.lock();
        (!pending.erasing.contains(&subject))
            .then(|| InFlight::begin(&self.0.admission, &mut pending, subject))
    }

    /// Opens the sealed detail of an access of a known subject, for the auditor's and the replay's use.
    ///
    /// # Errors
    /// [`LedgerError::Erased`] when the subject's key is gone, [`LedgerError::Damaged`], [`LedgerError::Sealed`].
    pub fn access_detail(&self, seq: u64) -> Result<Zeroizing<Vec<u8>>, LedgerError> {
        let sealed = self.0.journal.read(&self.0.journal.locate(seq)?)?;
        let row = Row::open(&self.0.keys.row, &sealed.row)?;
        match row.owner() {
            Some(owner) => {
                let keyed = self
                    .key_of(&owner.pseudonym())?
                    .filter(|k| k.owner.handle() == owner.handle())
                    .ok_or(LedgerError::Erased)?;
                Ok(keyed.key.open_body(&sealed.body, ACCESS_AAD)?)
            }
            None => Ok(self.0.vault.node().open_body(&sealed.body, ACCESS_AAD)?),
        }
    }
}
