//! Keeping the index level with the journal: frame by frame while running, by replay after a start, from nothing when it is lost.

use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use index::{Builder, Checkpoint, Fault, Index, MAX_BATCH_OPS, Op, SledIndex};
use journal::{Entry, Journal, Location, Part};
use seal::{HmacKey, RowKey};
use tokio::sync::watch;
use tracing::{error, info};

use crate::error::LedgerError;
use crate::gone::{Gone, remembered};
use crate::project::{ended, operations};
use crate::row::Row;

/// Operations gathered before they are applied.
const PORTION: usize = MAX_BATCH_OPS / 2;

/// The index in use. Swapped when it was rebuilt.
#[derive(Debug)]
pub(crate) struct Current(RwLock<Arc<SledIndex>>);

impl Current {
    pub(crate) fn new(index: SledIndex) -> Self {
        Self(RwLock::new(Arc::new(index)))
    }

    pub(crate) fn get(&self) -> Arc<SledIndex> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn swap(&self, index: SledIndex) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(index);
    }
}

/// How far the index has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Events below this number are in it.
    pub(crate) next_seq: u64,
    /// It lacks an event and could not be rebuilt: nobody may ask it any more.
    pub(crate) broken: bool,
}

/// What projecting needs to know of rows.
#[derive(Debug)]
pub(crate) struct RowKeys {
    /// Opens rows.
    pub(crate) row: RowKey,
    /// Makes index keys.
    pub(crate) index: HmacKey,
}

/// One event to apply.
struct Applied<'a> {
    row: &'a [u8],
    location: Location,
}

/// Applies frames to the index. One at a time, in order.
pub(crate) struct Projector {
    journal: Weak<Journal>,
    current: Arc<Current>,
    keys: Arc<RowKeys>,
    progress: watch::Sender<Progress>,
    at: Mutex<Option<Checkpoint>>,
}

impl std::fmt::Debug for Projector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projector").finish_non_exhaustive()
    }
}

impl Projector {
    pub(crate) fn new(
        journal: &Arc<Journal>,
        current: Arc<Current>,
        keys: Arc<RowKeys>,
        progress: watch::Sender<Progress>,
    ) -> Result<Self, LedgerError> {
        let at = current.get().checkpoint()?;
        progress.send_replace(Progress {
            next_seq: at.map_or(0, |c| c.next_seq),
            broken: false,
        });
        Ok(Self {
            journal: Arc::downgrade(journal),
            current,
            keys,
            progress,
            at: Mutex::new(at),
        })
    }

    /// Applies everything the journal has beyond the checkpoint.
    pub(crate) fn catch_up(&self, journal: &Journal) -> Result<u64, LedgerError> {
        let from = self.next_seq();
        let end = journal.head().next_seq;
        let gone = Gone::scan(journal, from, end)?;
        let mut frame: Vec<Entry> = Vec::new();
        let mut events = 0;
        for entry in journal.scan(from) {
            let entry = entry?;
            if entry.seq >= end {
                break;
            }
            let last = entry.frame_end;
            frame.push(entry);
            if last {
                events += frame.len() as u64;
                self.apply_entries(journal, &frame, &gone)?;
                frame.clear();
            }
        }
        Ok(events)
    }

    fn apply_entries(
        &self,
        journal: &Journal,
        frame: &[Entry],
        gone: &Gone,
    ) -> Result<(), LedgerError> {
        let Some(last) = frame.last() else {
            return Ok(());
        };
        let checkpoint = Checkpoint {
            epoch: last.epoch,
            next_seq: last.seq + 1,
            frame_hash: last.frame_hash,
        };
        let mut rows = Vec::with_capacity(frame.len());
        // What ends later in the journal never enters the index. It is overwritten before the checkpoint passes it: a
        // crash before has the same done again.
        let mut left = Vec::new();
        let mut ops = Vec::new();
        for entry in frame {
            match live_row(entry, gone, &self.keys)? {
                Live::Row(_) => {
                    if let Part::Present(row) = &entry.row {
                        rows.push(Applied {
                            row,
                            location: entry.location,
                        });
                    }
                }
                Live::Left => {
                    left.push(entry.location);
                    ops.extend(remembered(entry));
                }
                Live::Erased => ops.extend(remembered(entry)),
                Live::Nothing => {}
            }
        }
        overwrite(journal, &left)?;
        self.apply(journal, ops, &rows, checkpoint)
    }

    /// The subscriber: applies one durable frame; rebuilds the index when it failed.
    pub(crate) fn on_committed(&self, frame: &journal::Committed) {
        let Some(journal) = self.journal.upgrade() else {
            return;
        };
        let next_seq = frame.last_seq() + 1;
        if self.progress.borrow().broken || self.next_seq() >= next_seq {
            return;
        }
        let rows: Vec<Applied<'_>> = frame
            .events
            .iter()
            .map(|e| Applied {
                row: &e.row,
                location: e.location,
            })
            .collect();
        let checkpoint = Checkpoint {
            epoch: frame.epoch,
            next_seq,
            frame_hash: frame.frame_hash,
        };
        let Err(fault) = self.apply(&journal, Vec::new(), &rows, checkpoint) else {
            return;
        };
        let hopeless = journal.status().poisoned.is_some()
            || matches!(
                self.current.get().health(),
                Err(index::Error::Unhealthy {
                    fault: Fault::Stalled
                })
            );
        if hopeless {
            error!(%fault, "the index failed and cannot be rebuilt while running; restart the node");
            self.progress.send_modify(|p| p.broken = true);
            return;
        }
        error!(%fault, "the index failed; it is rebuilt from the journal, look-ups are refused meanwhile");
        match self.rebuild(&journal) {
            Ok(events) => info!(events, "the index is rebuilt"),
            Err(fault) => {
                error!(%fault, "the index cannot be rebuilt; look-ups are refused; restart the node");
                // The frames that follow must not be applied over the gap: a missing row would read as "no refusal".
                self.progress.send_modify(|p| p.broken = true);
            }
        }
    }

    fn apply(
        &self,
        journal: &Journal,
        mut ops: Vec<Op>,
        rows: &[Applied<'_>],
        checkpoint: Checkpoint,
    ) -> Result<(), LedgerError> {
        let index = self.current.get();
        let before = *self.at.lock().unwrap_or_else(PoisonError::into_inner);
        for applied in rows {
            if applied.row.is_empty() {
                continue;
            }
            let row = Row::open(&self.keys.row, applied.row)?;
            let ended = ended(&*index, &row, applied.location.seq, &self.keys.index)?;
            // Overwrite before the rows that lead there go: a crash between the two does it all again.
            overwrite(journal, &ended.locations)?;
            for op in
                ended
                    .ops
                    .into_iter()
                    .chain(operations(&row, &applied.location, &self.keys.index)?)
            {
                ops.push(op);
                if ops.len() >= PORTION {
                    settle(&*index, &mut ops, before.as_ref(), &checkpoint)?;
                }
            }
        }
        index.apply(&ops, &checkpoint)?;
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint);
        self.progress.send_replace(Progress {
            next_seq: checkpoint.next_seq,
            broken: false,
        });
        Ok(())
    }

    fn rebuild(&self, journal: &Journal) -> Result<u64, LedgerError> {
        let old = self.current.get();
        let (index, events) = rebuild(journal, old.rebuild()?, &self.keys)?;
        let at = index.checkpoint()?;
        self.current.swap(index);
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
        self.progress.send_replace(Progress {
            next_seq: at.map_or(0, |c| c.next_seq),
            broken: false,
        });
        Ok(events)
    }

    fn next_seq(&self) -> u64 {
        self.at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .map_or(0, |c| c.next_seq)
    }
}

/// Applies what has gathered without moving the checkpoint: after a crash the whole frame is applied again, to the same end.
fn settle(
    index: &dyn Index,
    ops: &mut Vec<Op>,
    before: Option<&Checkpoint>,
    frame: &Checkpoint,
) -> Result<(), LedgerError> {
    let start = Checkpoint {
        epoch: frame.epoch,
        next_seq: 0,
        frame_hash: [0; 32],
    };
    index.apply(ops, before.unwrap_or(&start))?;
    ops.clear();
    Ok(())
}

/// Builds an index from the whole journal. What came to an end does not come back: what a crash left of its sealed
/// parts is overwritten now.
pub(crate) fn rebuild(
    journal: &Journal,
    mut builder: Builder,
    keys: &RowKeys,
) -> Result<(SledIndex, u64), LedgerError> {
    // Both passes see the same events. What becomes durable meanwhile is applied afterwards, an erasure included.
    let end = journal.head().next_seq;
    let gone = Gone::scan(journal, 0, end)?;
    let mut left = Vec::new();
    let mut checkpoint = Checkpoint {
        epoch: 0,
        next_seq: 0,
        frame_hash: [0; 32],
    };
    let mut events = 0;
    for entry in journal.scan(0) {
        let entry = entry?;
        if entry.seq >= end {
            break;
        }
        events += 1;
        if entry.frame_end {
            checkpoint = Checkpoint {
                epoch: entry.epoch,
                next_seq: entry.seq + 1,
                frame_hash: entry.frame_hash,
            };
        }
        match live_row(&entry, &gone, keys)? {
            Live::Row(row) => {
                for op in operations(&row, &entry.location, &keys.index)? {
                    builder.push(&op)?;
                }
            }
            Live::Left => {
                left.push(entry.location);
                remembered(&entry).map_or(Ok(()), |op| builder.push(&op))?;
            }
            Live::Erased => remembered(&entry).map_or(Ok(()), |op| builder.push(&op))?,
            Live::Nothing => {}
        }
    }
    overwrite(journal, &left)?;
    Ok((builder.finish(&checkpoint)?, events))
}

enum Live {
    /// It counts.
    Row(Row),
    /// It came to an end later in the journal, but its sealed parts are (partly) still there.
    Left,
    /// It came to an end and was overwritten.
    Erased,
    /// Nothing to look up.
    Nothing,
}

fn live_row(entry: &Entry, gone: &Gone, keys: &RowKeys) -> Result<Live, LedgerError> {
    let sealed = match &entry.row {
        Part::Present(sealed) if sealed.is_empty() => return Ok(Live::Nothing),
        Part::Present(sealed) => sealed,
        Part::Erased => return Ok(Live::Erased),
        // Either the trace of an erasure that a crash interrupted, which is finished now, or rot: then nothing is
        // answered from an index that lacks it.
        Part::Damaged if gone.has_leaf(entry) => return Ok(Live::Left),
        Part::Damaged => {
            return Err(LedgerError::Damaged(format!(
                "the row of event {} cannot be read; run `songhe fsck` and restore that range",
                entry.seq
            )));
        }
    };
    let row = Row::open(&keys.row, sealed)?;
    Ok(if gone.has(&row, entry.seq) {
        Live::Left
    } else {
        Live::Row(row)
    })
}

/// Overwrites sealed parts. Where one place is rotten the others are still overwritten, and the failure is told; a disk
/// that fails is an error, so that nothing passes for overwritten that is not.
fn overwrite(journal: &Journal, locations: &[Location]) -> Result<(), LedgerError> {
    if locations.is_empty() || journal.erase(locations).is_ok() {
        return Ok(());
    }
    for location in locations {
        match journal.erase(std::slice::from_ref(location)) {
            Ok(()) => {}
            Err(
                fault @ (journal::Error::Damaged { .. } | journal::Error::WrongLocation { .. }),
            ) => {
                error!(seq = location.seq, %fault, "a sealed part could not be overwritten");
            }
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(())
}
