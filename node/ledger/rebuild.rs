//! Keeping the index level with the journal: frame by frame while running, by replay after a start, from nothing when it is lost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use index::{Builder, Checkpoint, Index, MAX_BATCH_OPS, Op, SledIndex};
use journal::{Entry, Journal, Location, Part};
use seal::RowKey;
use tokio::sync::watch;
use tracing::{error, info};

use crate::error::LedgerError;
use crate::project::{erasure, operations};
use crate::row::Row;

/// Operations of an erasure applied at a time.
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

/// One event to apply.
pub(crate) struct Applied<'a> {
    pub(crate) row: &'a [u8],
    pub(crate) location: Location,
}

/// Applies frames to the index. One at a time, in order.
pub(crate) struct Projector {
    journal: Weak<Journal>,
    current: Arc<Current>,
    row_key: Arc<RowKey>,
    applied: watch::Sender<u64>,
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
        row_key: Arc<RowKey>,
        applied: watch::Sender<u64>,
    ) -> Result<Self, LedgerError> {
        let at = current.get().checkpoint()?;
        applied.send_replace(at.map_or(0, |c| c.next_seq));
        Ok(Self { journal: Arc::downgrade(journal), current, row_key, applied, at: Mutex::new(at) })
    }

    /// Applies everything the journal has beyond the checkpoint.
    pub(crate) fn catch_up(&self, journal: &Journal) -> Result<u64, LedgerError> {
        let from = self.checkpoint().map_or(0, |c| c.next_seq);
        let mut frame: Vec<Entry> = Vec::new();
        let mut events = 0;
        for entry in journal.scan(from) {
            let entry = entry?;
            let end = entry.frame_end;
            frame.push(entry);
            if end {
                events += frame.len() as u64;
                self.apply_entries(journal, &frame)?;
                frame.clear();
            }
        }
        Ok(events)
    }

    fn apply_entries(&self, journal: &Journal, frame: &[Entry]) -> Result<(), LedgerError> {
        let Some(last) = frame.last() else { return Ok(()) };
        let checkpoint = Checkpoint { epoch: last.epoch, next_seq: last.seq + 1, frame_hash: last.frame_hash };
        let mut rows = Vec::with_capacity(frame.len());
        for entry in frame {
            match &entry.row {
                Part::Present(row) => rows.push(Applied { row, location: entry.location }),
                Part::Erased => {}
                Part::Damaged => interrupted_erasure(journal, entry, &erased_handles(journal)?)?,
            }
        }
        self.apply(journal, &rows, checkpoint)
    }

    /// The subscriber: applies one durable frame; rebuilds the index when it failed.
    pub(crate) fn on_committed(&self, frame: &journal::Committed) {
        let Some(journal) = self.journal.upgrade() else { return };
        let next_seq = frame.last_seq() + 1;
        if self.checkpoint().is_some_and(|c| c.next_seq >= next_seq) {
            return;
        }
        let rows: Vec<Applied<'_>> =
            frame.events.iter().map(|e| Applied { row: &e.row, location: e.location }).collect();
        let checkpoint = Checkpoint { epoch: frame.epoch, next_seq, frame_hash: frame.frame_hash };
        if let Err(fault) = self.apply(&journal, &rows, checkpoint) {
            error!(%fault, "the index failed; it is rebuilt from the journal, look-ups are refused meanwhile");
            match self.rebuild(&journal) {
                Ok(events) => info!(events, "the index is rebuilt"),
                Err(fault) => error!(%fault, "the index cannot be rebuilt; restart the node"),
            }
        }
    }

    fn apply(&self, journal: &Journal, rows: &[Applied<'_>], checkpoint: Checkpoint) -> Result<(), LedgerError> {
        let index = self.current.get();
        let before = self.checkpoint();
        let mut ops = Vec::with_capacity(rows.len() * 5);
        for applied in rows {
            if applied.row.is_empty() {
                continue;
            }
            let row = Row::open(&self.row_key, applied.row)?;
            if let Row::Erase { handle } = row {
                self.settle(&*index, &mut ops, before.as_ref(), &checkpoint)?;
                let found = erasure(&*index, handle)?;
                // Overwrite before the rows that lead there go: a crash between the two does it all again.
                overwrite(journal, &found.locations);
                for portion in found.ops.chunks(PORTION) {
                    ops.extend_from_slice(portion);
                    self.settle(&*index, &mut ops, before.as_ref(), &checkpoint)?;
                }
                continue;
            }
            ops.extend(operations(&row, &applied.location)?);
            if ops.len() > PORTION {
                self.settle(&*index, &mut ops, before.as_ref(), &checkpoint)?;
            }
        }
        index.apply(&ops, &checkpoint)?;
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint);
        self.applied.send_replace(checkpoint.next_seq);
        Ok(())
    }

    /// Applies what has gathered without moving the checkpoint: after a crash the whole frame is applied again, to the same end.
    fn settle(
        &self,
        index: &dyn Index,
        ops: &mut Vec<Op>,
        before: Option<&Checkpoint>,
        frame: &Checkpoint,
    ) -> Result<(), LedgerError> {
        let start = Checkpoint { epoch: frame.epoch, next_seq: 0, frame_hash: [0; 32] };
        index.apply(ops, before.unwrap_or(&start))?;
        ops.clear();
        Ok(())
    }

    fn rebuild(&self, journal: &Journal) -> Result<u64, LedgerError> {
        let old = self.current.get();
        let (index, events) = rebuild(journal, old.rebuild()?, &self.row_key)?;
        let at = index.checkpoint()?;
        self.current.swap(index);
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
        self.applied.send_replace(at.map_or(0, |c| c.next_seq));
        Ok(events)
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Builds an index from the whole journal. Subjects whose key was destroyed do not come back: what a crash left of
/// their sealed parts is overwritten now.
pub(crate) fn rebuild(
    journal: &Journal,
    mut builder: Builder,
    row_key: &RowKey,
) -> Result<(SledIndex, u64), LedgerError> {
    let erased = erased_handles(journal)?;
    let mut left = Vec::new();
    let mut checkpoint = None;
    let mut events = 0;
    for entry in journal.scan(0) {
        let entry = entry?;
        events += 1;
        if entry.frame_end {
            checkpoint =
                Some(Checkpoint { epoch: entry.epoch, next_seq: entry.seq + 1, frame_hash: entry.frame_hash });
        }
        let sealed = match &entry.row {
            Part::Present(sealed) => sealed,
            Part::Erased => continue,
            Part::Damaged => {
                interrupted_erasure(journal, &entry, &erased)?;
                continue;
            }
        };
        if sealed.is_empty() {
            continue;
        }
        let row = Row::open(row_key, sealed)?;
        if row.owner().is_some_and(|o| erased.contains(&o.handle)) {
            left.push(entry.location);
            continue;
        }
        for op in operations(&row, &entry.location)? {
            builder.push(&op)?;
        }
    }
    overwrite(journal, &left);
    let checkpoint = checkpoint.unwrap_or(Checkpoint { epoch: 0, next_seq: 0, frame_hash: [0; 32] });
    Ok((builder.finish(&checkpoint)?, events))
}

/// Handles of all destroyed keys, from the leaves alone.
fn erased_handles(journal: &Journal) -> Result<BTreeSet<[u8; 16]>, LedgerError> {
    let mut handles = BTreeSet::new();
    for entry in journal.scan(0) {
        let entry = entry?;
        if !contains(&entry.leaf, br#""typ":"erase-executed""#) {
            continue;
        }
        handles.extend(handle_of(&entry.leaf));
    }
    Ok(handles)
}

/// The key handle a leaf names.
fn handle_of(leaf: &[u8]) -> Option<[u8; 16]> {
    let leaf: serde_json::Value = serde_json::from_slice(leaf).ok()?;
    let handle = record::KeyHandle::from_hex(leaf.get("kh")?.as_str()?).ok()?;
    Some(*handle.as_bytes())
}

/// A row that cannot be read is either the trace of an erasure that a crash interrupted, which is finished now,
/// or rot: then nothing is answered from an index that lacks it.
fn interrupted_erasure(journal: &Journal, entry: &Entry, erased: &BTreeSet<[u8; 16]>) -> Result<(), LedgerError> {
    if !handle_of(&entry.leaf).is_some_and(|h| erased.contains(&h)) {
        return Err(LedgerError::Damaged(format!(
            "the row of event {} cannot be read; run `songhe fsck` and restore that range",
            entry.seq
        )));
    }
    overwrite(journal, &[entry.location]);
    Ok(())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

/// Overwrites sealed parts; where one place fails the others are still overwritten, and the failure is told.
pub(crate) fn overwrite(journal: &Journal, locations: &[Location]) {
    if locations.is_empty() || journal.erase(locations).is_ok() {
        return;
    }
    for location in locations {
        if let Err(fault) = journal.erase(std::slice::from_ref(location)) {
            error!(seq = location.seq, %fault, "a sealed part could not be overwritten; its key is destroyed all the same");
        }
    }
}
