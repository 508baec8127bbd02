//! Opening sled under supervision: marker, watchdog, read-back; anything odd means "rebuild".

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::builder::Builder;
use crate::engine::Table;
use crate::fault::{Error, Fault, Reason};
use crate::home::{Home, Pointer};
use crate::meta::{
    BadRow, CHECKPOINT_KEY, CheckpointRow, META_PREFIX, ROW_PREFIX, Tallies, Tally, mix, row_hash,
};
use crate::reserve::Reserve;
use crate::sled_index::{Shared, SledIndex, State, rows_agree};
use crate::warden::Warden;

/// How long an engine that is still closing in another thread of this process may keep its file lock.
const CLOSING_WAIT: Duration = Duration::from_secs(10);

/// How an index is opened and built. `Default` suits one node of up to a few million rows.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions {
    /// sled's page cache, bytes as written to disk (64 MiB). In memory pages are larger: with the default, a process that
    /// rebuilt or applied a million rows of 104 B peaked at about 310 MB.
    pub cache_bytes: u64,
    /// How long opening, one batch, one flush or closing may take, milliseconds (120 000). It must exceed the time an
    /// index of the expected size takes to open and check.
    pub watchdog_ms: u64,
    /// Version of the projection, the caller's own number (1). An index written under another is rebuilt.
    pub schema: u32,
    /// Up to how many rows every row is read and compared with its table's digest at open (4 000 000). Above, only
    /// `sample_keys` and the newest rows are.
    pub full_check_rows: u64,
    /// How many rows are read back at open when not all are (64).
    pub sample_keys: u32,
    /// Memory a rebuild may use for sorting, bytes (64 MiB); what does not fit is sorted on disk.
    pub sort_bytes: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            watchdog_ms: 120_000,
            schema: 1,
            full_check_rows: 4_000_000,
            sample_keys: 64,
            sort_bytes: 64 << 20,
        }
    }
}

/// What came of opening.
#[derive(Debug)]
pub enum Opened {
    /// The index is consistent at its checkpoint. The caller still compares that with the journal: the same
    /// `frame_hash` at `next_seq`, and not beyond the journal's end.
    Ready(SledIndex),
    /// There is no usable index; what was there has been deleted. Feed the builder from the journal.
    Rebuild {
        /// Why.
        reason: Reason,
        /// The way back. Dropping it is harmless; the next open says `Rebuild` again.
        builder: Builder,
    },
}

/// Opens the index in `dir`, creating the folder if need be.
///
/// If the process dies between the marker's writing and its removal, the next open finds the marker and rebuilds: with
/// a hang, or an abort inside the engine, nothing else helps. A plain kill in that moment costs a rebuild too.
///
/// # Errors
/// [`Error::InUse`] when another process has the folder; [`Error::Disk`] when the folder, the disk's space or the
/// process's limits forbid work: no damage is concluded from that and nothing is deleted.
pub fn open_supervised(dir: &Path, options: OpenOptions) -> Result<Opened, Error> {
    let home = Arc::new(Home::claim(dir)?);
    let generation = match home.pointer()? {
        Pointer::Generation(n) => n,
        Pointer::Absent => return start_over(home, None, Reason::Absent, options),
        Pointer::Damaged => return start_over(home, None, Reason::PointerDamaged, options),
    };
    if home.marked(generation)? {
        return start_over(home, Some(generation), Reason::LastOpenDied, options);
    }
    home.sweep_all_but(generation)?;
    let folder = home.generation(generation);
    if !folder.is_dir() {
        return start_over(home, Some(generation), Reason::GenerationMissing, options);
    }

    // The marker too needs room.
    Reserve::release(&folder);
    home.mark(generation)?;
    // Crash, hang or abort from here on: the marker stays, and the next open rebuilds.
    let warden = Warden::start()?;
    let limit = Duration::from_millis(options.watchdog_ms);
    match warden.run(limit, move || open_engine(&folder, &options)) {
        Ok(Ok(shared)) => {
            home.unmark()?;
            Ok(Opened::Ready(SledIndex::new(
                warden, shared, home, generation, options,
            )))
        }
        Ok(Err(Failure::Locked)) => {
            home.unmark()?;
            Err(Error::InUse)
        }
        Ok(Err(Failure::Environment(error))) => {
            home.unmark()?;
            Err(Error::Disk(error))
        }
        Ok(Err(Failure::Damage(reason))) => start_over(home, Some(generation), reason, options),
        Err(fault) => start_over(home, Some(generation), Reason::Engine(fault), options),
    }
}

/// Deletes what cannot be used and hands out a builder.
fn start_over(
    home: Arc<Home>,
    generation: Option<u64>,
    reason: Reason,
    options: OpenOptions,
) -> Result<Opened, Error> {
    if reason != Reason::Absent {
        tracing::warn!(%reason, "the index is rebuilt from the journal");
    }
    if reason == Reason::Engine(Fault::Stalled) {
        // A thread that hangs may still write there, so the folder may refuse to go, or come back. The marker stays
        // and keeps anyone from trusting it; it means nothing once another generation is current.
        if let Some(Err(error)) = generation.map(|n| home.discard(n)) {
            tracing::warn!(%error, "the folder of an index that hangs stays until the next start");
        }
    } else {
        // The folders go first and the marker last: a crash in between repeats this and nothing worse.
        home.sweep(None)?;
        home.unmark()?;
    }
    let builder = Builder::within(home, options)?;
    Ok(Opened::Rebuild { reason, builder })
}

/// Why sled did not open.
enum Failure {
    /// Its file is locked by an instance that is still closing.
    Locked,
    /// The machine's fault; another try may succeed.
    Environment(io::Error),
    /// The folder's fault.
    Damage(Reason),
}

impl From<sled::Error> for Failure {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(io) if is_lock(&io) => Self::Locked,
            sled::Error::Io(io) if is_environment(&io) => Self::Environment(io),
            other => Self::Damage(Reason::Engine(Fault::of(&other))),
        }
    }
}

/// sled says so in words only.
fn is_lock(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Errors that say nothing about the files' content.
fn is_environment(error: &io::Error) -> bool {
    const TOO_MANY_OPEN_FILES: [i32; 2] = [23, 24]; // ENFILE, EMFILE
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::OutOfMemory
    ) || error
        .raw_os_error()
        .is_some_and(|n| TOO_MANY_OPEN_FILES.contains(&n))
}

/// sled's settings.
///
/// - No flush thread: if it dies, closing waits for it for ever; its `fsync` twice a second would compete with the
///   journal's; and nothing is lost, as every batch already pushes the one before it out to the file, while cleaning
///   of the log happens in page writes too. What is durable is decided by [`crate::Index::flush`] alone.
/// - Mode `LowSpace`: the index is the smaller part of a node's work, and its disk is shared with the journal.
pub(crate) fn engine_config(folder: &Path, options: &OpenOptions) -> sled::Config {
    sled::Config::new()
        .path(folder)
        .cache_capacity(options.cache_bytes)
        .mode(sled::Mode::LowSpace)
        .flush_every_ms(None)
}

/// Opens sled and checks what it holds; runs on the warden's thread.
fn open_engine(folder: &Path, options: &OpenOptions) -> Result<Shared, Failure> {
    let config = engine_config(folder, options);
    let begun = Instant::now();
    let db = loop {
        match config.open().map_err(Failure::from) {
            Ok(db) => break db,
            Err(Failure::Locked) if begun.elapsed() < CLOSING_WAIT => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(failure) => return Err(failure),
        }
    };
    let state = check(&db, options)?;
    Shared::new(db, folder, state).map_err(Failure::Environment)
}

/// Reads the checkpoint and the tallies, and reads rows back.
fn check(db: &sled::Db, options: &OpenOptions) -> Result<State, Failure> {
    let lost = || Failure::Damage(Reason::CheckpointLost);
    let inconsistent = || Failure::Damage(Reason::Inconsistent);
    let row = db.get(CHECKPOINT_KEY)?.ok_or_else(lost)?;
    let row = CheckpointRow::decode(&row).map_err(|bad| match bad {
        BadRow::Format => Failure::Damage(Reason::SchemaChanged),
        BadRow::Damaged => lost(),
    })?;
    if row.schema != options.schema {
        return Err(Failure::Damage(Reason::SchemaChanged));
    }
    let mut tallies = Tallies::new();
    for entry in db.range(META_PREFIX..ROW_PREFIX) {
        let (key, value) = entry?;
        match *key {
            [0] => {}
            [0, 1, table] => {
                let table = Table(table);
                let tally = Tally::decode(table, &value).ok_or_else(inconsistent)?;
                tallies.insert(table, tally);
            }
            _ => return Err(inconsistent()),
        }
    }
    for (key, hash) in &row.recents {
        let value = db.get(key)?.ok_or_else(inconsistent)?;
        if row_hash(key, &value) != *hash {
            return Err(inconsistent());
        }
    }
    let rows = tallies
        .values()
        .fold(0u64, |sum, t| sum.saturating_add(t.rows));
    if rows <= options.full_check_rows {
        if !rows_agree(db, &tallies)? {
            return Err(inconsistent());
        }
    } else {
        read_sample(db, &row, options.sample_keys)?;
    }
    Ok(State {
        checkpoint: row.checkpoint,
        tallies,
    })
}

/// Reads rows back at places spread by the checkpoint's own hash: other rows at every open, the same in every replay.
/// A damaged page answers with an error or a panic; a missing one goes unseen, which is why the full check exists.
fn read_sample(db: &sled::Db, row: &CheckpointRow, keys: u32) -> Result<(), Failure> {
    let first = db.range(ROW_PREFIX..).next().transpose()?;
    let last = db.range(ROW_PREFIX..).next_back().transpose()?;
    let (Some((first, _)), Some((last, _))) = (first, last) else {
        return Ok(());
    };
    let common = first
        .iter()
        .zip(last.iter())
        .take_while(|(a, b)| a == b)
        .count();
    let (stem, low) = first.split_at_checked(common).unwrap_or_default();
    let (low, high) = (
        leading(low),
        leading(last.get(common..).unwrap_or_default()),
    );
    let width = high.saturating_sub(low).saturating_add(1);
    let mut seed = row_hash(
        &row.checkpoint.frame_hash,
        &row.checkpoint.next_seq.to_be_bytes(),
    );
    for _ in 0..keys {
        seed = mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let at = low.saturating_add(seed % width);
        let probe: Vec<u8> = stem.iter().copied().chain(at.to_be_bytes()).collect();
        db.range(probe..).next().transpose()?;
    }
    Ok(())
}

/// The first eight bytes of a key as a number, short keys filled with zeros.
fn leading(key: &[u8]) -> u64 {
    key.iter()
        .copied()
        .chain(std::iter::repeat(0))
        .take(8)
        .fold(0, |n, b| (n << 8) | u64::from(b))
}
