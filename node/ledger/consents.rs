//! Consents: registered, withdrawn, and looked up in a view that says as of when it holds.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use index::{Index as _, Order};
use journal::{Acked, Event, Location, Priority};
use lru::LruCache;
use record::consent::Consent;
use record::leaf::EventType;
use record::{ConsentId, Pseudonym};

use crate::admission::InFlight;
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::row::Row;
use crate::tables::{At, CONSENT, WITHDRAWN, decode, join};

const CONSENT_AAD: &[u8] = b"consent/v1";
/// Views kept; a view is a few hundred bytes.
const CACHED_VIEWS: usize = 16_384;
/// The most consents of one person that are looked at: more is a mistake of a program, and is refused on entry.
pub(crate) const CONSENTS_MAX: usize = 256;

/// Whether a consent holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentState {
    /// In force within its period.
    Given,
    /// Withdrawn; kept as history.
    Withdrawn,
}

/// A consent with its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentEntry {
    /// The artefact.
    pub consent: Consent,
    /// Its state.
    pub state: ConsentState,
}

/// A person's consents as they stand.
#[derive(Debug, Clone)]
pub struct ConsentView {
    /// All of them, withdrawn ones included.
    pub entries: Arc<Vec<ConsentEntry>>,
    /// As of which change of consent at this node; an access is refused if the person's consents moved since.
    pub(crate) as_of: u64,
    pub(crate) subject: Pseudonym,
}

impl ConsentView {
    /// Whose consents these are.
    #[must_use]
    pub const fn subject(&self) -> Pseudonym {
        self.subject
    }
}

/// Views in memory.
#[derive(Debug)]
pub(crate) struct ConsentCache(Mutex<LruCache<Pseudonym, Arc<Vec<ConsentEntry>>>>);

impl Default for ConsentCache {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(
            NonZeroUsize::new(CACHED_VIEWS).unwrap_or(NonZeroUsize::MIN),
        )))
    }
}

impl ConsentCache {
    fn get(&self, subject: &Pseudonym) -> Option<Arc<Vec<ConsentEntry>>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(subject)
            .cloned()
    }

    fn put(&self, subject: Pseudonym, entries: Arc<Vec<ConsentEntry>>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(subject, entries);
    }

    pub(crate) fn forget(&self, subject: &Pseudonym) {
        let _gone = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop(subject);
    }
}

impl Ledger {
    /// The consents of a person as they stand, waiting for any that is on its way.
    ///
    /// # Errors
    /// [`LedgerError::Index`], [`LedgerError::Damaged`]: the caller refuses, it does not take "none" for an answer.
    pub async fn consents(&self, subject: Pseudonym) -> Result<ConsentView, LedgerError> {
        let as_of = self
            .0
            .admission
            .when(|pending| {
                let moving =
                    pending.consents.contains(&subject) || pending.erasing.contains(&subject);
                (!moving).then(|| pending.as_of())
            })
            .await;
        if let Some(entries) = self.0.consents.get(&subject) {
            return Ok(ConsentView {
                entries,
                as_of,
                subject,
            });
        }
        let entries = Arc::new(self.read_consents(&subject)?);
        let view = ConsentView {
            entries,
            as_of,
            subject,
        };
        self.keep(&view);
        Ok(view)
    }

    /// Keeps a view in memory, unless the consents moved while it was read.
    pub(crate) fn keep(&self, view: &ConsentView) {
        let pending = self.0.admission.lock();
        if !pending.moved_since(&view.subject, view.as_of) {
            self.0.consents.put(view.subject, Arc::clone(&view.entries));
        }
    }

    fn read_consents(&self, subject: &Pseudonym) -> Result<Vec<ConsentEntry>, LedgerError> {
        let index = self.index()?;
        let rows = index.prefix(CONSENT, &self.tag_of(subject), Order::Forward, CONSENTS_MAX)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let keyed = self.key_of(subject)?.ok_or(LedgerError::Erased)?;
        let mut entries = Vec::with_capacity(rows.len());
        for (key, value) in rows {
            let at: At = decode(&value)?;
            let sealed = self.0.journal.read(&Location::from(at))?;
            let plain = keyed.key.open_body(&sealed.body, CONSENT_AAD)?;
            let consent: Consent =
                serde_json::from_slice(&plain).map_err(|e| LedgerError::Sealed(e.to_string()))?;
            let withdrawn = index.get(WITHDRAWN, &key)?.is_some();
            let state = if withdrawn {
                ConsentState::Withdrawn
            } else {
                ConsentState::Given
            };
            entries.push(ConsentEntry { consent, state });
        }
        Ok(entries)
    }

    /// Registers a consent or a refusal, making the person's key if it is the first thing known of them.
    /// In effect when it returns.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] when a consent of this id is there already, withdrawn or not: history is not
    /// overwritten. Otherwise as [`LedgerError`] says; nothing changed unless it returns.
    pub async fn register_consent(
        &self,
        subject: Pseudonym,
        consent: Consent,
    ) -> Result<Acked, LedgerError> {
        let ledger = self.clone();
        tokio::spawn(async move {
            ledger
                .change_consent(subject, Change::Give(Box::new(consent)))
                .await
        })
        .await
        .map_err(|e| LedgerError::Stopped(e.to_string()))?
    }

    /// Withdraws a consent. In effect when it returns: no access is acknowledged behind it in the journal on its strength.
    ///
    /// # Errors
    /// [`LedgerError::ConsentNotFound`], and as [`LedgerError`] says.
    pub async fn withdraw_consent(
        &self,
        subject: Pseudonym,
        id: ConsentId,
    ) -> Result<Acked, LedgerError> {
        let ledger = self.clone();
        tokio::spawn(async move { ledger.change_consent(subject, Change::Withdraw(id)).await })
            .await
            .map_err(|e| LedgerError::Stopped(e.to_string()))?
    }

    async fn change_consent(
        &self,
        subject: Pseudonym,
        change: Change,
    ) -> Result<Acked, LedgerError> {
        let moving = self
            .0
            .admission
            .when(|pending| {
                if pending.erasing.contains(&subject) {
                    return Some(Err(LedgerError::Erased));
                }
                if pending.consents.contains(&subject) || pending.keys.contains(&subject) {
                    return None;
                }
                pending.consents.insert(subject);
                pending.keys.insert(subject);
                let hold = InFlight::begin(&self.0.admission, pending, subject);
                Some(Ok(Moving {
                    ledger: self,
                    subject,
                    _hold: hold,
                }))
            })
            .await?;
        let outcome = self.change_admitted(subject, &change).await;
        drop(moving);
        outcome
    }

    async fn change_admitted(
        &self,
        subject: Pseudonym,
        change: &Change,
    ) -> Result<Acked, LedgerError> {
        let index = self.index()?;
        let tag = self.tag_of(&subject);
        let mut events = Vec::with_capacity(2);
        let known = self.key_of(&subject)?;
        let keyed = match (known, change) {
            (Some(keyed), _) => keyed,
            (None, Change::Withdraw(_)) => return Err(LedgerError::ConsentNotFound),
            (None, Change::Give(_)) => {
                let (keyed, event) = self.key_event(subject)?;
                events.push(event);
                keyed
            }
        };
        let xid = self.new_exchange()?;
        let stag = keyed.key.tag(*xid.as_bytes())?;
        // A person's stop still goes through when the disk has room for the trail only.
        let (event, priority) = match change {
            Change::Give(consent) => {
                if index
                    .get(CONSENT, &join(&tag, consent.id.as_bytes()))?
                    .is_some()
                {
                    return Err(LedgerError::Conflict);
                }
                let existing = index.prefix(CONSENT, &tag, Order::Forward, CONSENTS_MAX)?;
                if existing.len() >= CONSENTS_MAX {
                    return Err(LedgerError::TooLarge);
                }
                let plain = zeroize::Zeroizing::new(
                    serde_json::to_vec(consent).map_err(|e| LedgerError::Sealed(e.to_string()))?,
                );
                let leaf = self
                    .leaf_now(EventType::ConsentGiven)
                    .xid(xid)
                    .text("cid", &consent.id.to_hex())
                    .hex("kh", &keyed.owner.handle)
                    .hex("stag", &stag)
                    .hex("pc", &keyed.key.commitment(*xid.as_bytes(), &plain)?);
                let row = Row::Consent {
                    owner: keyed.owner,
                    id: *consent.id.as_bytes(),
                };
                let body = keyed.key.seal_body(&plain, CONSENT_AAD, &*self.0.entropy)?;
                (
                    Event {
                        leaf: leaf.to_bytes(),
                        row: self.sealed_row(&row)?,
                        body,
                    },
                    Priority::Data,
                )
            }
            Change::Withdraw(id) => {
                let key = join(&tag, id.as_bytes());
                if index.get(CONSENT, &key)?.is_none() || index.get(WITHDRAWN, &key)?.is_some() {
                    return Err(LedgerError::ConsentNotFound);
                }
                let leaf = self
                    .leaf_now(EventType::ConsentWithdrawn)
                    .xid(xid)
                    .text("cid", &id.to_hex())
                    .hex("kh", &keyed.owner.handle)
                    .hex("stag", &stag);
                let row = Row::Withdrawal {
                    owner: keyed.owner,
                    id: *id.as_bytes(),
                };
                (
                    Event {
                        leaf: leaf.to_bytes(),
                        row: self.sealed_row(&row)?,
                        body: Vec::new(),
                    },
                    Priority::Audit,
                )
            }
        };
        events.push(event);
        let receive = {
            // From here on no access that was decided on the former view is let into the journal.
            let mut pending = self.0.admission.lock();
            pending.move_consents(subject);
            self.0.consents.forget(&subject);
            self.submit(events, priority, None)?
        };
        let acked = Self::durable(receive).await?;
        let last = acked
            .into_iter()
            .last()
            .ok_or_else(|| LedgerError::Stopped("the journal gave no acknowledgement".into()))?;
        self.0.vault.remember(&keyed);
        self.visible(last.seq()).await?;
        Ok(last)
    }
}

/// A change of a person's consents under way.
struct Moving<'a> {
    ledger: &'a Ledger,
    subject: Pseudonym,
    _hold: InFlight,
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.ledger.0.admission.leave(|pending| {
            pending.consents.remove(&self.subject);
            pending.keys.remove(&self.subject);
        });
    }
}

enum Change {
    Give(Box<Consent>),
    Withdraw(ConsentId),
}
