//! Opening: journal and index brought together, whatever the last run left behind.

use std::sync::Arc;

use index::{Checkpoint, Index as _, OpenOptions, Opened, SledIndex, open_supervised};
use journal::{Io, Journal, Watermarks};
use record::Clock;
use seal::Entropy;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::admission::Admission;
use crate::consents::ConsentCache;
use crate::error::LedgerError;
use crate::ledger::{Inner, Ledger, Options, Secrets};
use crate::mark;
use crate::rebuild::{Current, Progress, Projector, RowKeys, rebuild};
use crate::tables::SCHEMA;
use crate::vault::Vault;

/// Sealed bytes submitted at once when records need not go together; less when a segment is small.
const WAVE_BYTES: usize = 8 << 20;

/// What opening found and did.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Events in the journal.
    pub events: u64,
    /// Events that were applied to the index at start.
    pub replayed: u64,
    /// Why the index was built anew, if it was.
    pub rebuilt: Option<String>,
    /// The torn tail that was cut off, if any: file and offset.
    pub truncated: Option<String>,
}

impl Ledger {
    /// As [`Ledger::open`], with the journal on another disk.
    pub(crate) fn open_on(
        io: &Arc<dyn Io>,
        options: Options,
        secrets: Secrets,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(Self, Opening), LedgerError> {
        let refuse = |e: &dyn std::fmt::Display| LedgerError::Open(e.to_string());
        let wave_bytes = usize::try_from(options.journal.segment_size / 2)
            .map_or(WAVE_BYTES, |half| half.min(WAVE_BYTES));
        let opened = open_supervised(
            &options.dir.join("index"),
            OpenOptions {
                cache_bytes: options.index_cache_bytes,
                schema: SCHEMA,
                ..OpenOptions::default()
            },
        )
        .map_err(|e| refuse(&e))?;
        let checkpoint = match &opened {
            Opened::Ready(index) => index.checkpoint()?.filter(|c| c.next_seq > 0),
            Opened::Rebuild { .. } => None,
        };
        let mark = mark::read(&options.dir).map_err(|e| refuse(&e))?;
        let (journal, recovery) = open_journal(io, options.journal, checkpoint, mark, &*entropy)?;
        let journal = Arc::new(journal);
        let keys = Arc::new(RowKeys {
            row: secrets.row,
            index: secrets.index,
        });
        let mut opening = Opening {
            events: recovery.next_seq,
            replayed: 0,
            rebuilt: None,
            truncated: recovery
                .truncated
                .as_ref()
                .map(|t| format!("{} at byte {}", t.file, t.offset)),
        };
        let index = ready_index(opened, &journal, &recovery, &keys, &mut opening)?;
        let current = Arc::new(Current::new(index));
        let (progress, seen) = watch::channel(Progress::default());
        let projector = Arc::new(Projector::new(
            &journal,
            Arc::clone(&current),
            Arc::clone(&keys),
            progress,
        )?);
        opening.replayed += projector.catch_up(&journal)?;
        let subscriber = Arc::clone(&projector);
        let from = journal.subscribe(Box::new(move |frame| subscriber.on_committed(frame)))?;
        debug_assert_eq!(from, journal.head().next_seq);
        let ledger = Self(Arc::new(Inner {
            journal,
            current,
            vault: Vault::new(secrets.keyring, secrets.node),
            admission: Arc::new(Admission::default()),
            progress: seen,
            consents: ConsentCache::default(),
            keys,
            rotating: tokio::sync::Mutex::new(()),
            wave_bytes,
            dir: options.dir,
            clock,
            entropy,
        }));
        Ok((ledger, opening))
    }
}

fn open_journal(
    io: &Arc<dyn Io>,
    options: journal::Options,
    checkpoint: Option<Checkpoint>,
    mark: Option<u64>,
    entropy: &dyn Entropy,
) -> Result<(Journal, journal::Recovery), LedgerError> {
    let marks = Watermarks {
        index_seq: checkpoint.map(|c| (c.next_seq.saturating_sub(1), c.frame_hash)),
        others: mark.into_iter().collect(),
        ..Watermarks::default()
    };
    let opened = match Journal::open(Arc::clone(io), options.clone(), &marks) {
        Err(journal::Error::NoJournal { place }) if checkpoint.is_some() || mark.is_some() => {
            return Err(LedgerError::Open(format!(
                "{place} holds no journal but there was one; the journal is lost, restore it"
            )));
        }
        Err(journal::Error::NoJournal { .. }) => {
            let mut id = [0; 16];
            entropy
                .fill(&mut id)
                .map_err(|e| LedgerError::Open(e.to_string()))?;
            Journal::create(io, &options, id).map_err(|e| LedgerError::Open(e.to_string()))?;
            Journal::open(Arc::clone(io), options, &marks)
        }
        other => other,
    };
    opened.map_err(|e| LedgerError::Open(e.to_string()))
}

/// The index, rebuilt when there is none, when it cannot be opened, or when it belongs to another history.
fn ready_index(
    opened: Opened,
    journal: &Journal,
    recovery: &journal::Recovery,
    keys: &RowKeys,
    opening: &mut Opening,
) -> Result<SledIndex, LedgerError> {
    let (builder, why) = match opened {
        Opened::Ready(index) if recovery.index != journal::IndexStanding::Diverges => {
            return Ok(index);
        }
        Opened::Ready(index) => (index.rebuild()?, "it belongs to another history".to_owned()),
        Opened::Rebuild { reason, builder } => (builder, reason.to_string()),
    };
    if recovery.next_seq > 0 {
        warn!(%why, events = recovery.next_seq, "the index is rebuilt from the journal");
        opening.rebuilt = Some(why);
    }
    let (index, events) = rebuild(journal, builder, keys)?;
    opening.replayed += events;
    info!(events, "the index is complete");
    Ok(index)
}
