//! Sorting more rows than fit in memory: sorted runs on disk, merged at the end.
//!
//! Record of a run: key length u16 | value length u16, or `ffff` for "row removed" | key | value (big-endian). Runs are
//! never synced: a crash throws the whole rebuild away.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::vec;

/// What one buffered row costs beside its bytes: two `Vec`s and their allocations.
const ROW_OVERHEAD_BYTES: usize = 96;
/// Runs merged at once; each needs an open file and a buffer.
const MAX_RUNS: usize = 64;
/// Buffer per run, bytes.
const RUN_BUFFER_BYTES: usize = 64 << 10;
/// Stands for "row removed" where a value's length would be; values are far shorter.
const REMOVED: u16 = u16::MAX;

/// A key and its last value, or nothing when the row was removed.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// Takes changes in any order of keys; a later change of a key replaces an earlier one.
#[derive(Debug)]
pub(crate) struct Sorter {
    folder: PathBuf,
    limit_bytes: usize,
    chunk: Vec<Change>,
    chunk_bytes: usize,
    /// Oldest first.
    runs: Vec<PathBuf>,
    runs_written: u64,
}

impl Sorter {
    /// Spills into `folder`, which is made when it is needed, once about `limit_bytes` are buffered.
    pub(crate) fn new(folder: PathBuf, limit_bytes: usize) -> Self {
        Self {
            folder,
            limit_bytes,
            chunk: Vec::new(),
            chunk_bytes: 0,
            runs: Vec::new(),
            runs_written: 0,
        }
    }

    /// Takes one change. Keys and values must be shorter than 65 535 bytes.
    pub(crate) fn push(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> io::Result<()> {
        self.chunk_bytes += key.len() + value.as_ref().map_or(0, Vec::len) + ROW_OVERHEAD_BYTES;
        self.chunk.push((key, value));
        if self.chunk_bytes >= self.limit_bytes {
            self.spill()?;
        }
        Ok(())
    }

    /// All changes in key order, one per key.
    pub(crate) fn finish(mut self) -> io::Result<Merge> {
        let newest = sorted(std::mem::take(&mut self.chunk));
        let mut sources = open_runs(&self.runs)?;
        sources.push(Source::Memory(newest.into_iter()));
        Merge::start(sources)
    }

    fn spill(&mut self) -> io::Result<()> {
        let chunk = sorted(std::mem::take(&mut self.chunk));
        self.chunk_bytes = 0;
        self.write_run(chunk.into_iter().map(Ok))?;
        if self.runs.len() >= MAX_RUNS {
            let old = std::mem::take(&mut self.runs);
            self.write_run(Merge::start(open_runs(&old)?)?)?;
            for path in old {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn write_run(&mut self, changes: impl Iterator<Item = io::Result<Change>>) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        self.runs_written += 1;
        let path = self.folder.join(self.runs_written.to_string());
        let mut out = BufWriter::with_capacity(RUN_BUFFER_BYTES, File::create(&path)?);
        for change in changes {
            let (key, value) = change?;
            out.write_all(&length(&key)?.to_be_bytes())?;
            let value_len = value.as_deref().map_or(Ok(REMOVED), length)?;
            out.write_all(&value_len.to_be_bytes())?;
            out.write_all(&key)?;
            out.write_all(value.as_deref().unwrap_or_default())?;
        }
        out.flush()?;
        self.runs.push(path);
        Ok(())
    }
}

/// Iterates over the changes of several runs in key order; of equal keys the newest run's.
#[derive(Debug)]
pub(crate) struct Merge {
    sources: Vec<Source>,
    heads: BinaryHeap<Head>,
}

impl Merge {
    /// `sources` oldest first.
    fn start(sources: Vec<Source>) -> io::Result<Self> {
        let mut merge = Self {
            sources,
            heads: BinaryHeap::new(),
        };
        for source in 0..merge.sources.len() {
            merge.refill(source)?;
        }
        Ok(merge)
    }

    fn refill(&mut self, source: usize) -> io::Result<()> {
        if let Some(from) = self.sources.get_mut(source)
            && let Some((key, value)) = from.next()?
        {
            self.heads.push(Head { key, source, value });
        }
        Ok(())
    }

    fn step(&mut self) -> io::Result<Option<Change>> {
        let Some(head) = self.heads.pop() else {
            return Ok(None);
        };
        self.refill(head.source)?;
        while self.heads.peek().is_some_and(|older| older.key == head.key) {
            if let Some(older) = self.heads.pop() {
                self.refill(older.source)?;
            }
        }
        Ok(Some((head.key, head.value)))
    }
}

impl Iterator for Merge {
    type Item = io::Result<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// The next change of one source. The greatest head is the one with the smallest key, then with the newest source.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    key: Vec<u8>,
    source: usize,
    value: Option<Vec<u8>>,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .key
            .cmp(&self.key)
            .then(self.source.cmp(&other.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug)]
enum Source {
    Memory(vec::IntoIter<Change>),
    File(BufReader<File>),
}

impl Source {
    fn next(&mut self) -> io::Result<Option<Change>> {
        match self {
            Self::Memory(rows) => Ok(rows.next()),
            Self::File(file) => read_change(file),
        }
    }
}

fn open_runs(paths: &[PathBuf]) -> io::Result<Vec<Source>> {
    paths
        .iter()
        .map(|p| {
            Ok(Source::File(BufReader::with_capacity(
                RUN_BUFFER_BYTES,
                File::open(p)?,
            )))
        })
        .collect()
}

/// Reads one record; `None` at the end of the run.
fn read_change(from: &mut impl Read) -> io::Result<Option<Change>> {
    let mut first = [0u8; 1];
    if from.read(&mut first)? == 0 {
        return Ok(None);
    }
    let mut rest = [0u8; 3];
    from.read_exact(&mut rest)?;
    let ([key_low, value_high, value_low], [key_high]) = (rest, first);
    let key_len = u16::from_be_bytes([key_high, key_low]);
    let value_len = u16::from_be_bytes([value_high, value_low]);
    let mut key = vec![0; usize::from(key_len)];
    from.read_exact(&mut key)?;
    if value_len == REMOVED {
        return Ok(Some((key, None)));
    }
    let mut value = vec![0; usize::from(value_len)];
    from.read_exact(&mut value)?;
    Ok(Some((key, Some(value))))
}

/// Key order, one entry per key, the last pushed.
fn sorted(mut chunk: Vec<Change>) -> Vec<Change> {
    chunk.reverse();
    chunk.sort_by(|a, b| a.0.cmp(&b.0)); // Stable: of equal keys the last pushed now comes first.
    chunk.dedup_by(|later, first| later.0 == first.0);
    chunk
}

fn length(bytes: &[u8]) -> io::Result<u16> {
    u16::try_from(bytes.len())
        .ok()
        .filter(|len| *len != REMOVED)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "row too long to sort"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::meta::mix;

    type Model = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

    fn sort(limit: usize, rows: u64) -> (Vec<Change>, Model, usize) {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(dir.path().join("runs"), limit);
        let mut model = Model::new();
        for i in 0..rows {
            let key = (mix(i) % (rows / 2 + 1)).to_be_bytes().to_vec();
            let value = (!mix(i ^ 77).is_multiple_of(5)).then(|| i.to_be_bytes().to_vec());
            model.insert(key.clone(), value.clone());
            sorter.push(key, value).unwrap();
        }
        let runs = sorter.runs.len();
        (
            sorter.finish().unwrap().collect::<io::Result<_>>().unwrap(),
            model,
            runs,
        )
    }

    #[test]
    fn what_comes_out_is_sorted_and_the_last_change_counts() {
        for (limit, spilled) in [(usize::MAX, false), (4_000, true), (500, true)] {
            let (out, model, runs) = sort(limit, 3_000);
            assert_eq!(runs > 0, spilled);
            assert!(runs < MAX_RUNS, "runs are folded together");
            assert_eq!(out, model.into_iter().collect::<Vec<_>>(), "limit {limit}");
        }
    }

    #[test]
    fn a_damaged_run_is_an_error_and_no_panic() {
        let mut errors = 0;
        for seed in 0..5_000u64 {
            let noise: Vec<u8> = (0..mix(seed) % 200)
                .map(|i| mix(seed ^ (i << 32)).to_be_bytes()[0] >> 3)
                .collect();
            let mut from = noise.as_slice();
            loop {
                match read_change(&mut from) {
                    Ok(Some((key, value))) => {
                        assert!(key.len() + value.map_or(0, |v| v.len()) <= noise.len());
                    }
                    Ok(None) => break,
                    Err(_) => {
                        errors += 1;
                        break;
                    }
                }
            }
        }
        assert!(errors > 1_000);
    }
}
