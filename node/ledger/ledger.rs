//! The ledger itself: submitting events, waiting until they are durable and visible.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use index::{Index, SledIndex};
use journal::{Acked, Event, Files, Io, Journal, Priority};
use record::leaf::EventType;
use record::{Clock, ExchangeId, Leaf, Pseudonym};
use seal::{Entropy, HmacKey, Keyring, RowKey, SubjectKey};
use tokio::sync::{oneshot, watch};
use tracing::warn;

use crate::admission::{Admission, InFlight};
use crate::consents::ConsentCache;
use crate::error::LedgerError;
use crate::open::Opening;
use crate::rebuild::{Current, Progress, RowKeys};
use crate::row::Row;
use crate::tables::{EXCHANGE, OWNED, RECORD, SUBJECT, SubjectTag, subject_tag};
use crate::vault::{Keyed, Vault};

/// How long closing waits for the last frames to reach the index, milliseconds.
const LAST_FRAMES_WAIT_MS: u32 = 10_000;

/// Where the ledger lives and how much it may use.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder that holds `journal/` and `index/`.
    pub dir: PathBuf,
    /// Memory for the index's page cache, bytes.
    pub index_cache_bytes: u64,
    /// Settings of the journal.
    pub journal: journal::Options,
}

impl Options {
    /// The defaults for a folder.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            index_cache_bytes: 64 << 20,
            journal: journal::Options::default(),
        }
    }
}

/// The secrets the ledger works with.
#[derive(Debug)]
pub struct Secrets {
    /// Key-encryption keys.
    pub keyring: Keyring,
    /// Seals rows.
    pub row: RowKey,
    /// Makes index keys.
    pub index: HmacKey,
    /// Seals what belongs to no known subject.
    pub node: SubjectKey,
}

/// Whether the ledger can serve.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Events in the journal.
    pub events: u64,
    /// Records in their newest version.
    pub records: u64,
    /// People with a key here.
    pub subjects: u64,
    /// Why nothing can be written, if so.
    pub read_only: Option<LedgerHealth>,
}

/// Why nothing can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerHealth {
    /// The disk is full.
    Full,
    /// The disk failed.
    Failed,
    /// The index cannot be asked.
    Index,
}

/// Events, keys and look-ups of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) journal: Arc<Journal>,
    pub(crate) current: Arc<Current>,
    pub(crate) vault: Vault,
    pub(crate) admission: Arc<Admission>,
    /// How far the index is.
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) consents: ConsentCache,
    pub(crate) keys: Arc<RowKeys>,
    /// Held by the one rotation that may run.
    pub(crate) rotating: tokio::sync::Mutex<()>,
    /// Sealed bytes that are submitted at once when records need not go together.
    pub(crate) wave_bytes: usize,
    /// Where the high-water mark lies.
    pub(crate) dir: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Ledger {
    /// Opens the ledger in its folder, creating it when it is empty. Blocks: the index may have to be rebuilt.
    ///
    /// # Errors
    /// [`LedgerError::Open`] with what to do: in use, damaged, lost events.
    pub fn open(
        options: Options,
        secrets: Secrets,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(Self, Opening), LedgerError> {
        let io = Files::create(options.dir.join("journal"))
            .map_err(|e| LedgerError::Open(e.to_string()))?;
        let io: Arc<dyn Io> = Arc::new(io);
        Self::open_on(&io, options, secrets, clock, entropy)
    }

    /// Whether an exchange id has been seen here.
    ///
    /// # Errors
    /// [`LedgerError::Index`].
    pub fn has_seen(&self, xid: &ExchangeId) -> Result<bool, LedgerError> {
        Ok(self.index()?.get(EXCHANGE, xid.as_bytes())?.is_some())
    }

    /// How it is doing.
    #[must_use]
    pub fn health(&self) -> Health {
        let status = self.0.journal.status();
        let index = self.0.current.get();
        let read_only = if status.poisoned.is_some() {
            Some(LedgerHealth::Failed)
        } else if index.health().is_err() || self.0.progress.borrow().broken {
            Some(LedgerHealth::Index)
        } else if (status.no_space.is_some() && status.spares == 0) || !index.has_room() {
            Some(LedgerHealth::Full)
        } else {
            None
        };
        Health {
            events: status.head.next_seq,
            records: index.count(RECORD).unwrap_or(0),
            subjects: index.count(SUBJECT).unwrap_or(0),
            read_only,
        }
    }

    /// Events that are sealed under some subject's key, for checks.
    ///
    /// # Errors
    /// [`LedgerError::Index`].
    pub fn owned_events(&self) -> Result<u64, LedgerError> {
        Ok(self.index()?.count(OWNED)?)
    }

    /// The leaf of an event, as it was written.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Stopped`].
    pub fn leaf(&self, seq: u64) -> Result<Vec<u8>, LedgerError> {
        Ok(self.0.journal.read_leaf(seq)?)
    }

    /// Records an act of the node or its administrators: a leaf without a body.
    ///
    /// # Errors
    /// As [`LedgerError`] says; nothing happened unless it returns.
    pub async fn log(&self, leaf: Leaf) -> Result<Acked, LedgerError> {
        self.one(
            Event {
                leaf: leaf.to_bytes(),
                row: Vec::new(),
                body: Vec::new(),
            },
            Priority::Audit,
            None,
        )
        .await
    }

    /// A leaf of this type at the present moment.
    #[must_use]
    pub fn leaf_now(&self, typ: EventType) -> Leaf {
        Leaf::new(typ, self.0.clock.now())
    }

    /// A fresh exchange id.
    ///
    /// # Errors
    /// [`LedgerError::Sealed`] without randomness.
    pub fn new_exchange(&self) -> Result<ExchangeId, LedgerError> {
        Ok(ExchangeId::from_bytes(self.random16()?))
    }

    /// Ends in good order: what was accepted is durable, the index is flushed.
    ///
    /// # Errors
    /// [`LedgerError::Stopped`] when the journal had failed.
    pub async fn close(&self) -> Result<(), LedgerError> {
        let acked = self.log(self.leaf_now(EventType::Shutdown)).await?;
        self.visible(acked.seq()).await?;
        self.index()?.flush()?;
        self.keep_mark()
    }

    /// Writes down how far the journal was acknowledged, beside it, so that a later loss is told as one even without
    /// the index. Two barriers of the disk: now and then is enough.
    ///
    /// # Errors
    /// [`LedgerError::Stopped`] when the file cannot be written; the journal is untouched.
    pub fn keep_mark(&self) -> Result<(), LedgerError> {
        match self.0.journal.head().next_seq.checked_sub(1) {
            Some(last) => crate::mark::write(&self.0.dir, last)
                .map_err(|e| LedgerError::Stopped(format!("the high-water mark: {e}"))),
            None => Ok(()),
        }
    }

    // === what the other files of this room use ===

    /// The index, unless it lacks something that it cannot be given before the next start.
    pub(crate) fn index(&self) -> Result<Arc<SledIndex>, LedgerError> {
        if self.0.progress.borrow().broken {
            return Err(LedgerError::Index(
                "it is behind the journal; restart the node".into(),
            ));
        }
        Ok(self.0.current.get())
    }

    pub(crate) fn tag_of(&self, subject: &Pseudonym) -> SubjectTag {
        subject_tag(&self.0.keys.index, subject)
    }

    /// The key of a subject, if it is known here.
    pub(crate) fn key_of(&self, subject: &Pseudonym) -> Result<Option<Keyed>, LedgerError> {
        self.0.vault.find(
            &*self.index()?,
            &self.0.journal,
            subject,
            &self.tag_of(subject),
        )
    }

    pub(crate) fn random16(&self) -> Result<[u8; 16], LedgerError> {
        let mut bytes = [0; 16];
        self.0
            .entropy
            .fill(&mut bytes)
            .map_err(|e| LedgerError::Sealed(e.to_string()))?;
        Ok(bytes)
    }

    pub(crate) fn sealed_row(&self, row: &Row) -> Result<Vec<u8>, LedgerError> {
        row.seal(&self.0.keys.row, &*self.0.entropy)
    }

    /// Queues events; the receiver gets the outcome. `hold` is let go when they are durable or have failed, even if the
    /// caller went away; the caller keeps its own clone while it has the admission's lock.
    pub(crate) fn submit(
        &self,
        events: Vec<Event>,
        priority: Priority,
        hold: Option<Arc<Vec<InFlight>>>,
    ) -> Result<oneshot::Receiver<journal::Result<Vec<Acked>>>, LedgerError> {
        // An engine that finds no room fails for good: what must not be refused keeps what room there is.
        if matches!(priority, Priority::Data) && !self.index()?.has_room() {
            return Err(LedgerError::Full);
        }
        let (send, receive) = oneshot::channel();
        self.0.journal.submit_with(
            events,
            priority,
            Box::new(move |outcome| {
                // Nobody waits any more when the caller went away; the events are durable all the same.
                drop(send.send(outcome));
                drop(hold);
            }),
        )?;
        Ok(receive)
    }

    /// Waits for a submit.
    pub(crate) async fn durable(
        receive: oneshot::Receiver<journal::Result<Vec<Acked>>>,
    ) -> Result<Vec<Acked>, LedgerError> {
        match receive.await {
            Ok(outcome) => Ok(outcome?),
            Err(_gone) => Err(LedgerError::Stopped("the journal ended".into())),
        }
    }

    pub(crate) async fn one(
        &self,
        event: Event,
        priority: Priority,
        hold: Option<InFlight>,
    ) -> Result<Acked, LedgerError> {
        let hold = hold.map(|h| Arc::new(vec![h]));
        let acked = Self::durable(self.submit(vec![event], priority, hold)?).await?;
        acked
            .into_iter()
            .next()
            .ok_or_else(|| LedgerError::Stopped("the journal gave no acknowledgement".into()))
    }

    /// Waits until the index has the event.
    pub(crate) async fn visible(&self, seq: u64) -> Result<(), LedgerError> {
        let mut progress = self.0.progress.clone();
        let ended = || LedgerError::Index("the journal's reader has ended".into());
        let now = *progress
            .wait_for(|p| p.broken || p.next_seq > seq)
            .await
            .map_err(|_closed| ended())?;
        if now.next_seq > seq {
            Ok(())
        } else {
            Err(LedgerError::Index(
                "it lacks this event; restart the node".into(),
            ))
        }
    }
}

impl Drop for Inner {
    /// The journal's reader borrows the journal while it applies a frame. Were it the last to let go, the journal would
    /// end on that reader's own thread, waiting for a writer that may wait for the reader.
    fn drop(&mut self) {
        for _ in 0..LAST_FRAMES_WAIT_MS {
            let (status, progress) = (self.journal.status(), *self.progress.borrow());
            let applied = progress.broken || progress.next_seq >= status.head.next_seq;
            if applied && status.queued_events == 0 && Arc::strong_count(&self.journal) == 1 {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        warn!("the journal's reader is still busy");
    }
}
