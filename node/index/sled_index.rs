//! The sled engine: one tree, one batch per apply, and a fault that sticks.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, RwLock, RwLockReadGuard};
use std::time::Duration;

use crate::builder::Builder;
use crate::engine::{
    Checkpoint, Index, Op, Order, Row, Table, check_batch, check_forward, check_key, check_limit,
};
use crate::fault::{Error, Fault};
use crate::home::{Home, size_of, sync_dir};
use crate::meta::{
    CHECKPOINT_KEY, CheckpointRow, RECENTS, ROW_PREFIX, Recent, Tallies, Tally, row_hash,
    split_key, stored_key, table_end, tally_key,
};
use crate::open::OpenOptions;
use crate::reserve::Reserve;
use crate::warden::{Warden, guarded};

/// The current generation of an index, in sled 0.34. Share it in an `Arc`; reads run in parallel, applies one by one.
///
/// Made by [`crate::open_supervised`] or [`Builder::finish`].
pub struct SledIndex {
    /// Does everything that writes or closes; see `warden.rs`.
    warden: Warden,
    /// Taken only when the index is dropped.
    shared: Option<Arc<Shared>>,
    home: Arc<Home>,
    generation: u64,
    options: OpenOptions,
}

/// What the warden's thread and the readers share.
pub(crate) struct Shared {
    db: sled::Db,
    /// A second handle on sled's data file: its `flush` uses `sync_file_range`, which is no durability barrier.
    db_file: File,
    reserve: Reserve,
    folder: PathBuf,
    /// Also the gate: readers hold it while they read, an apply holds it alone. sled's own batches are not isolated
    /// from its iterators, and half a batch could show neither the old nor the new row of a consent.
    state: RwLock<State>,
    /// The first fault; once set, nothing is read or written again.
    fault: OnceLock<Fault>,
}

/// What is known without asking sled.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) tallies: Tallies,
}

/// A batch, folded: stored key to new value, or to nothing when the row goes.
type Folded = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

impl SledIndex {
    pub(crate) fn new(
        warden: Warden,
        shared: Shared,
        home: Arc<Home>,
        generation: u64,
        options: OpenOptions,
    ) -> Self {
        Self {
            warden,
            shared: Some(Arc::new(shared)),
            home,
            generation,
            options,
        }
    }

    /// The number of this generation, from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Starts writing the next generation from the journal, beside this one, healthy or not. This one stays as it is
    /// until the builder has finished; then drop it.
    ///
    /// After [`Fault::Stalled`] do not rebuild in the same process: restart the node, and opening will see to it.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn rebuild(&self) -> Result<Builder, Error> {
        Builder::within(Arc::clone(&self.home), self.options)
    }

    /// Reads every row and compares it with the counts and digests kept beside them; for a scrub or an `fsck`.
    /// Applies wait meanwhile. Takes 2 to 4 seconds per million rows.
    ///
    /// # Errors
    /// [`Error::Unhealthy`] with [`Fault::Inconsistent`] when a row is missing or altered, or with the engine's fault.
    pub fn verify(&self) -> Result<(), Error> {
        let agrees = self.read(|db, state| rows_agree(db, &state.tallies))?;
        if agrees {
            Ok(())
        } else {
            Err(self.shared()?.fall_ill(Fault::Inconsistent))
        }
    }

    /// Whether the disk has room for more than the audit trail. Asks for room that is missing, so it is true again by
    /// itself. While it is false only what must not be refused is to be applied.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.shared.as_ref().is_some_and(|s| s.reserve.has_room())
    }

    /// Plays a loss of rows.
    #[cfg(test)]
    pub(crate) fn break_tally(&self, table: Table) {
        if let Ok(shared) = self.shared()
            && let Ok(mut state) = shared.state.write()
        {
            state.tallies.entry(table).or_default().add(1);
        }
    }

    fn shared(&self) -> Result<&Arc<Shared>, Error> {
        self.shared.as_ref().ok_or(Error::Unhealthy {
            fault: Fault::Engine,
        })
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.options.watchdog_ms)
    }

    /// Runs a read behind the gate. A failure inside sled makes the index unhealthy.
    fn read<T>(
        &self,
        work: impl FnOnce(&sled::Db, &State) -> Result<T, sled::Error>,
    ) -> Result<T, Error> {
        let shared = self.shared()?;
        let state = shared.enter()?;
        match guarded(|| work(&shared.db, &state)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(shared.fall_ill(Fault::of(&error))),
            Err(fault) => Err(shared.fall_ill(fault)),
        }
    }

    /// Runs a write on the warden's thread.
    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(self.shared()?);
        shared.healthy()?;
        match self.warden.run(self.limit(), move || work(&shared)) {
            Ok(answer) => answer,
            Err(fault) => Err(self.shared()?.fall_ill(fault)),
        }
    }
}

impl Index for SledIndex {
    fn apply(&self, ops: &[Op], checkpoint: &Checkpoint) -> Result<(), Error> {
        check_batch(ops)?;
        let folded = fold(ops);
        let recents = recents(ops, &folded);
        let row = CheckpointRow {
            schema: self.options.schema,
            checkpoint: *checkpoint,
            recents,
        };
        self.write(move |shared| shared.apply(&folded, &row))
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        check_key(key)?;
        let key = stored_key(table, key);
        self.read(|db, _| Ok(db.get(&key)?.map(|v| v.to_vec())))
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        check_limit(limit)?;
        if limit == 0 || to.is_some_and(|to| to <= from) {
            return self.health().map(|()| Vec::new());
        }
        let start = stored_key(table, from);
        let end = to.map_or_else(|| table_end(table), |to| stored_key(table, to));
        self.read(|db, _| {
            let mut iter = db.range(start..end);
            let mut rows = Vec::new();
            while rows.len() < limit {
                let next = match order {
                    Order::Forward => iter.next(),
                    Order::Reverse => iter.next_back(),
                };
                let Some(next) = next else { break };
                let (key, value) = next?;
                if let Some((_, key)) = split_key(&key) {
                    rows.push((key.to_vec(), value.to_vec()));
                }
            }
            Ok(rows)
        })
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        Ok(Some(self.shared()?.enter()?.checkpoint))
    }

    fn count(&self, table: Table) -> Result<u64, Error> {
        Ok(self
            .shared()?
            .enter()?
            .tallies
            .get(&table)
            .map_or(0, |t| t.rows))
    }

    fn size_on_disk(&self) -> Result<u64, Error> {
        self.health()?;
        Ok(size_of(&self.shared()?.folder)?)
    }

    fn flush(&self) -> Result<(), Error> {
        self.write(Shared::flush)
    }

    fn health(&self) -> Result<(), Error> {
        self.shared()?.healthy()
    }
}

impl Drop for SledIndex {
    /// Closing sled writes and may hang or panic: it happens on the warden's thread, with a time limit.
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else {
            return;
        };
        // A stuck thread is not waited for again: it closes the engine if it ever comes back.
        let stuck = shared.fault.get() == Some(&Fault::Stalled);
        let limit = if stuck { Duration::ZERO } else { self.limit() };
        if let Err(fault) = self.warden.run(limit, move || drop(shared)) {
            tracing::warn!(%fault, generation = self.generation, "the index did not close cleanly");
        }
    }
}

impl std::fmt::Debug for SledIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledIndex")
            .field("generation", &self.generation)
            .field("fault", &self.shared.as_ref().and_then(|s| s.fault.get()))
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Takes over an open engine whose state has been checked.
    pub(crate) fn new(db: sled::Db, folder: &Path, state: State) -> Result<Self, std::io::Error> {
        let db_file = File::open(folder.join("db"))?;
        let reserve = Reserve::of(folder)?;
        Ok(Self {
            db,
            db_file,
            reserve,
            folder: folder.to_path_buf(),
            state: RwLock::new(state),
            fault: OnceLock::new(),
        })
    }

    fn healthy(&self) -> Result<(), Error> {
        match self.fault.get() {
            Some(fault) => Err(Error::Unhealthy { fault: *fault }),
            None => Ok(()),
        }
    }

    /// Enters as a reader. Health is looked at inside the gate: a failed apply sets its fault before it lets go.
    fn enter(&self) -> Result<RwLockReadGuard<'_, State>, Error> {
        self.healthy()?;
        let state = self
            .state
            .read()
            .map_err(|_poisoned| self.fall_ill(Fault::Panicked))?;
        self.healthy()?;
        Ok(state)
    }

    /// Records the first fault for good.
    fn fall_ill(&self, fault: Fault) -> Error {
        let first = *self.fault.get_or_init(|| {
            tracing::error!(%fault, "the index is unhealthy: reads fail closed until it is rebuilt");
            fault
        });
        Error::Unhealthy { fault: first }
    }

    fn apply(&self, folded: &Folded, row: &CheckpointRow) -> Result<(), Error> {
        let mut state = self
            .state
            .write()
            .map_err(|_poisoned| self.fall_ill(Fault::Panicked))?;
        self.healthy()?;
        check_forward(Some(&state.checkpoint), &row.checkpoint)?;
        match guarded(|| write_batch(&self.db, &state.tallies, folded, row)) {
            Ok(Ok(tallies)) => {
                state.tallies = tallies;
                state.checkpoint = row.checkpoint;
                Ok(())
            }
            Ok(Err(error)) => Err(self.fall_ill(Fault::of(&error))),
            Err(fault) => Err(self.fall_ill(fault)),
        }
    }

    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.healthy()?;
        let flushed = guarded(|| self.db.flush());
        let done = match flushed {
            Ok(Ok(_bytes)) => self
                .db_file
                .sync_data()
                .and_then(|()| sync_dir(&self.folder))
                .map_err(|e| Fault::Io(e.kind())),
            Ok(Err(error)) => Err(Fault::of(&error)),
            Err(fault) => Err(fault),
        };
        done.map_err(|fault| self.fall_ill(fault))
    }
}

/// Writes rows, tallies and checkpoint as one sled batch, which recovers as a whole or not at all.
fn write_batch(
    db: &sled::Db,
    tallies: &Tallies,
    folded: &Folded,
    row: &CheckpointRow,
) -> Result<Tallies, sled::Error> {
    let mut next = tallies.clone();
    let mut touched: BTreeMap<Table, Tally> = BTreeMap::new();
    let mut batch = sled::Batch::default();
    for (key, value) in folded {
        let Some((table, _)) = split_key(key) else {
            continue;
        };
        let old = db.get(key)?;
        let tally = next.entry(table).or_default();
        if let Some(old) = &old {
            tally.remove(row_hash(key, old));
        }
        match value {
            Some(value) => {
                tally.add(row_hash(key, value));
                batch.insert(key.as_slice(), value.as_slice());
            }
            None if old.is_some() => batch.remove(key.as_slice()),
            None => {}
        }
        touched.insert(table, *tally);
    }
    for (table, tally) in touched {
        batch.insert(&tally_key(table), tally.encode(table));
    }
    batch.insert(&CHECKPOINT_KEY, row.encode());
    db.apply_batch(batch)?;
    Ok(next)
}

/// Counts and hashes every row; false when that does not give `expected`.
pub(crate) fn rows_agree(db: &sled::Db, expected: &Tallies) -> Result<bool, sled::Error> {
    let mut found = Tallies::new();
    for row in db.range(ROW_PREFIX..) {
        let (key, value) = row?;
        let Some((table, _)) = split_key(&key) else {
            return Ok(false);
        };
        found.entry(table).or_default().add(row_hash(&key, &value));
    }
    let tally = |of: &Tallies, table| of.get(table).copied().unwrap_or_default();
    Ok(expected
        .keys()
        .chain(found.keys())
        .all(|t| tally(expected, t) == tally(&found, t)))
}

/// One entry per key, in key order; the last operation on a key counts.
fn fold(ops: &[Op]) -> Folded {
    ops.iter()
        .map(|op| {
            let (table, key, value) = op.parts();
            (stored_key(table, key), value.map(<[u8]>::to_vec))
        })
        .collect()
}

/// The last few rows a batch writes.
fn recents(ops: &[Op], folded: &Folded) -> Vec<Recent> {
    let mut named: Vec<Recent> = Vec::new();
    for op in ops.iter().rev() {
        if named.len() == RECENTS {
            break;
        }
        let (table, key, _) = op.parts();
        let key = stored_key(table, key);
        if let Some(Some(value)) = folded.get(&key)
            && named.iter().all(|(k, _)| *k != key)
        {
            let hash = row_hash(&key, value);
            named.push((key, hash));
        }
    }
    named
}
