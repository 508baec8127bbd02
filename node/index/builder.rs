//! Writing a new generation from the journal: sort, insert in key order, sync, check, swap.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Checkpoint, Op};
use crate::fault::{Error, Fault};
use crate::home::{Home, Pointer, StepProbe};
use crate::meta::{
    CHECKPOINT_KEY, CheckpointRow, RECENTS, Recent, Tallies, row_hash, split_key, stored_key,
    tally_key,
};
use crate::open::{OpenOptions, engine_config};
use crate::runs::Sorter;
use crate::sled_index::{Shared, SledIndex, State, rows_agree};
use crate::warden::Warden;

/// Rows handed to the engine's thread at a time; the watchdog's time counts for each such portion.
const PORTION_ROWS: usize = 4096;

/// Builds the next generation of an index.
///
/// Push the same operations the journal's projection would apply, in journal order: of several operations on one key
/// the last counts, and deleted rows are left out. Keys may come in any order; they are sorted in about
/// [`OpenOptions::sort_bytes`] of memory (beyond that, in sorted runs on disk), as sled writes sorted keys faster and
/// much smaller. The current generation is untouched until [`Builder::finish`] swaps. Dropping the builder removes what
/// it wrote.
#[derive(Debug)]
pub struct Builder {
    home: Arc<Home>,
    options: OpenOptions,
    generation: u64,
    sorter: Option<Sorter>,
    pushed: u64,
    /// False only where a test plays a crash.
    tidy: bool,
}

impl Builder {
    /// Starts a rebuild of the index in `dir`, which nobody has open.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::Disk`].
    pub fn create(dir: &Path, options: OpenOptions) -> Result<Self, Error> {
        Self::within(Arc::new(Home::claim(dir)?), options)
    }

    pub(crate) fn within(home: Arc<Home>, options: OpenOptions) -> Result<Self, Error> {
        let generation = home.new_generation()?;
        let sorter = Some(Sorter::new(home.runs(generation), options.sort_bytes));
        Ok(Self {
            home,
            options,
            generation,
            sorter,
            pushed: 0,
            tidy: true,
        })
    }

    /// Takes one operation.
    ///
    /// # Errors
    /// As [`crate::Index::apply`] for keys and values; [`Error::Disk`].
    pub fn push(&mut self, op: &Op) -> Result<(), Error> {
        op.check()?;
        let (table, key, value) = op.parts();
        let sorter = self.sorter.as_mut().ok_or(Error::Superseded)?;
        sorter.push(stored_key(table, key), value.map(<[u8]>::to_vec))?;
        self.pushed += 1;
        Ok(())
    }

    /// Operations pushed so far.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// The generation being built.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Writes all rows, then the checkpoint, makes them durable, reads them back, and makes this generation the
    /// current one. `checkpoint` says how far the journal was read for the operations pushed.
    ///
    /// # Errors
    /// [`Error::Unhealthy`] when the engine fails while writing or reading back; [`Error::Superseded`] when a newer
    /// generation became current meanwhile; [`Error::Disk`]. The old generation is then still the current one, unless
    /// the disk failed after the rename of the pointer.
    pub fn finish(self, checkpoint: &Checkpoint) -> Result<SledIndex, Error> {
        self.finish_with(checkpoint, &mut |_| Ok(()))
    }

    /// As [`Builder::finish`], asking `probe` before each step of the swap.
    pub(crate) fn finish_with(
        mut self,
        checkpoint: &Checkpoint,
        probe: StepProbe<'_>,
    ) -> Result<SledIndex, Error> {
        let sorter = self.sorter.take().ok_or(Error::Superseded)?;
        let limit = Duration::from_millis(self.options.watchdog_ms);
        let folder = self.home.generation(self.generation);
        let warden = Warden::start()?;

        let config = engine_config(&folder, &self.options);
        let db = engine(warden.run(limit, move || config.open()))?;
        let (tallies, recents) = match fill(&warden, limit, &db, sorter) {
            Ok(filled) => filled,
            Err(error) => {
                // Closing a failed engine may hang or panic too.
                warden.run(limit, move || drop(db)).ok();
                return Err(error);
            }
        };

        let row = CheckpointRow {
            schema: self.options.schema,
            checkpoint: *checkpoint,
            recents,
        };
        let state = State {
            checkpoint: *checkpoint,
            tallies,
        };
        let work = move || seal(db, &folder, state, &row);
        let shared = warden
            .run(limit, work)
            .map_err(|fault| Error::Unhealthy { fault })??;
        let index = SledIndex::new(
            warden,
            shared,
            Arc::clone(&self.home),
            self.generation,
            self.options,
        );
        // Crash up to here: a folder nobody points to.
        self.home.make_current(self.generation, probe)?;
        Ok(index)
    }

    /// Leaves everything as a crash would.
    #[cfg(test)]
    pub(crate) fn untidy(mut self) -> Self {
        self.tidy = false;
        self
    }
}

impl Drop for Builder {
    /// Removes the sorted runs, and the generation unless it has become current.
    fn drop(&mut self) {
        if !self.tidy {
            return;
        }
        let current =
            matches!(self.home.pointer(), Ok(Pointer::Generation(n)) if n == self.generation);
        let unknown = self.home.pointer().is_err();
        let done = if current || unknown {
            self.home.discard_runs(self.generation)
        } else {
            self.home.discard(self.generation)
        };
        if let Err(error) = done {
            tracing::warn!(%error, "an unfinished rebuild was not removed; the next open will do it");
        }
    }
}

/// Inserts all rows in key order, portion by portion.
fn fill(
    warden: &Warden,
    limit: Duration,
    db: &sled::Db,
    sorter: Sorter,
) -> Result<(Tallies, Vec<Recent>), Error> {
    let mut tallies = Tallies::new();
    let mut recents: Vec<Recent> = Vec::new();
    let mut changes = sorter.finish()?;
    loop {
        let mut portion = Vec::new();
        for change in changes.by_ref() {
            let (key, value) = change?;
            let (Some(value), Some((table, _))) = (value, split_key(&key)) else {
                continue;
            };
            let hash = row_hash(&key, &value);
            tallies.entry(table).or_default().add(hash);
            if recents.len() < RECENTS {
                recents.push((key.clone(), hash));
            }
            portion.push((key, value));
            if portion.len() == PORTION_ROWS {
                break;
            }
        }
        if portion.is_empty() {
            return Ok((tallies, recents));
        }
        // Single inserts keep the order of the keys, which a batch does not. They need no atomicity: without the
        // checkpoint written last, and the pointer after it, they count for nothing.
        let db = db.clone();
        engine(warden.run(limit, move || {
            portion
                .into_iter()
                .try_for_each(|(key, value)| db.insert(key, value).map(drop))
        }))?;
    }
}

/// Last batch, barrier, read-back; runs on the warden's thread.
fn seal(db: sled::Db, folder: &Path, state: State, row: &CheckpointRow) -> Result<Shared, Error> {
    let mut batch = sled::Batch::default();
    for (table, tally) in &state.tallies {
        batch.insert(&tally_key(*table), tally.encode(*table));
    }
    batch.insert(&CHECKPOINT_KEY, row.encode());
    engine(Ok(db.apply_batch(batch)))?;
    engine(Ok(db.flush()))?;
    if !engine(Ok(rows_agree(&db, &state.tallies)))? {
        return Err(Error::Unhealthy {
            fault: Fault::Inconsistent,
        });
    }
    let shared = Shared::new(db, folder, state)?;
    shared.flush()?;
    Ok(shared)
}

fn engine<T>(outcome: Result<Result<T, sled::Error>, Fault>) -> Result<T, Error> {
    let fault = match outcome {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => Fault::of(&error),
        Err(fault) => fault,
    };
    Err(Error::Unhealthy { fault })
}
