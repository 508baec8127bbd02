//! The folder of an index: its lock, its generations, the pointer to the current one, and the marker of an open.
//!
//! ```text
//! <dir>/index.lock      held while any part of this process uses the folder
//! <dir>/index.current   "<n>\n": the generation that counts; replaced by an atomic rename only
//! <dir>/index.<n>/      sled's files
//! <dir>/index.<n>.runs/ sorted runs of a rebuild under way
//! <dir>/index.opening   "<n>\n": there while sled opens that generation; left behind when that open died
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::fault::Error;

const LOCK: &str = "index.lock";
const POINTER: &str = "index.current";
const POINTER_TMP: &str = "index.current.tmp";
const MARKER: &str = "index.opening";
/// A pointer file is a number and a newline; anything longer is damage and is not read.
const MAX_POINTER_BYTES: u64 = 32;
/// How often a folder in which a file appeared meanwhile is tried again, 20 ms apart.
const REMOVE_TRIES: u32 = 50;

/// The folder, locked.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    /// Released by the kernel when the last user drops it or the process dies.
    _lock: File,
}

/// What the pointer file (or the marker) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pointer {
    Absent,
    Damaged,
    Generation(u64),
}

/// The steps of making a generation current; a test may stop at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SwapStep {
    /// Before anything: the new generation is on disk, synced, and nobody knows it.
    Start,
    /// The temporary pointer is written, not synced.
    PointerWritten,
    /// The temporary pointer is synced.
    PointerSynced,
    /// The pointer is renamed, the rename not synced.
    Renamed,
    /// The rename is synced; the old generation is still there.
    DirSynced,
}

/// Asked before each step; an error stops the swap there and then, as a crash would.
pub(crate) type StepProbe<'a> = &'a mut dyn FnMut(SwapStep) -> io::Result<()>;

impl Home {
    /// Creates the folder if need be and locks it.
    pub(crate) fn claim(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir)?;
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                dir: dir.to_path_buf(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse),
            Err(TryLockError::Error(error)) => Err(Error::Disk(error)),
        }
    }

    /// The folder of a generation.
    pub(crate) fn generation(&self, n: u64) -> PathBuf {
        self.dir.join(format!("index.{n}"))
    }

    /// The folder of the sorted runs of a rebuild.
    pub(crate) fn runs(&self, n: u64) -> PathBuf {
        self.dir.join(format!("index.{n}.runs"))
    }

    /// Reads the pointer.
    pub(crate) fn pointer(&self) -> io::Result<Pointer> {
        self.read_number(POINTER)
    }

    fn read_number(&self, name: &str) -> io::Result<Pointer> {
        let path = self.dir.join(name);
        match fs::metadata(&path) {
            Ok(meta) if meta.is_file() && meta.len() <= MAX_POINTER_BYTES => {
                Ok(parse_pointer(&fs::read(&path)?))
            }
            Ok(_) => Ok(Pointer::Damaged),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Pointer::Absent),
            Err(e) => Err(e),
        }
    }

    /// Makes a new, empty generation folder with a number above all that are or were current.
    pub(crate) fn new_generation(&self) -> io::Result<u64> {
        let current = match self.pointer()? {
            Pointer::Generation(n) => n,
            Pointer::Absent | Pointer::Damaged => 0,
        };
        let taken = self
            .entries()?
            .into_iter()
            .filter_map(|(_, n)| n)
            .max()
            .unwrap_or(0);
        let mut n = current.max(taken);
        loop {
            n = n
                .checked_add(1)
                .ok_or_else(|| io::Error::other("generation numbers used up"))?;
            match fs::create_dir(self.generation(n)) {
                Ok(()) => return Ok(n),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Makes generation `n`, whose files are synced already, the current one. At every moment the pointer names the
    /// old or the new generation, and the one it names is whole.
    pub(crate) fn make_current(&self, n: u64, probe: StepProbe<'_>) -> Result<(), Error> {
        if matches!(self.pointer()?, Pointer::Generation(current) if current >= n) {
            return Err(Error::Superseded);
        }
        probe(SwapStep::Start)?;
        // Crash here: the old generation counts; the new folder is a leftover.
        let tmp = self.dir.join(POINTER_TMP);
        let mut file = File::create(&tmp)?;
        writeln!(file, "{n}")?;
        probe(SwapStep::PointerWritten)?;
        // Crash here: as before, and the temporary pointer, perhaps empty, is a leftover.
        file.sync_all()?;
        drop(file);
        probe(SwapStep::PointerSynced)?;
        fs::rename(&tmp, self.dir.join(POINTER))?;
        probe(SwapStep::Renamed)?;
        // Crash here: the pointer is the old or the new one, both whole, both folders still there.
        self.sync_dir()?;
        probe(SwapStep::DirSynced)?;
        // Crash here: the new generation counts for good; the old folder is a leftover.
        self.sweep(Some(n))?;
        Ok(())
    }

    /// Removes every generation below `keep`, and temporary files; with `None`, every generation there is.
    pub(crate) fn sweep(&self, keep: Option<u64>) -> io::Result<()> {
        for (path, n) in self.entries()? {
            let gone = match (n, keep) {
                (Some(n), Some(keep)) => n < keep,
                (Some(_), None) => true,
                (None, _) => path.ends_with(POINTER_TMP),
            };
            if gone {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// As [`Home::sweep`], and removes generations above `keep` too: rebuilds that never became current. Only for the
    /// moment of opening, when no builder can be at work.
    pub(crate) fn sweep_all_but(&self, keep: u64) -> io::Result<()> {
        let kept = self.generation(keep);
        for (path, n) in self.entries()? {
            if (n.is_some() && path != kept) || path.ends_with(POINTER_TMP) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes one generation.
    pub(crate) fn discard(&self, n: u64) -> io::Result<()> {
        remove(&self.generation(n))?;
        remove(&self.runs(n))
    }

    /// Removes the sorted runs of one rebuild.
    pub(crate) fn discard_runs(&self, n: u64) -> io::Result<()> {
        remove(&self.runs(n))
    }

    /// Whether the last open of generation `n` died. A marker of another generation is a leftover: that generation is
    /// no longer used. One that cannot be read counts.
    pub(crate) fn marked(&self, n: u64) -> io::Result<bool> {
        Ok(match self.read_number(MARKER)? {
            Pointer::Absent => false,
            Pointer::Damaged => true,
            Pointer::Generation(marked) => marked == n,
        })
    }

    /// Sets the marker, durably: from here until [`Home::unmark`] a crash, a panic or a hang costs a rebuild.
    pub(crate) fn mark(&self, n: u64) -> io::Result<()> {
        let mut file = File::create(self.dir.join(MARKER))?;
        writeln!(file, "{n}")?;
        file.sync_all()?;
        self.sync_dir()
    }

    /// Takes the marker away, durably: else a power cut soon after would cost a needless rebuild.
    pub(crate) fn unmark(&self) -> io::Result<()> {
        remove(&self.dir.join(MARKER))?;
        self.sync_dir()
    }

    fn sync_dir(&self) -> io::Result<()> {
        sync_dir(&self.dir)
    }

    /// Everything named `index.…`, with its generation number if it has one.
    fn entries(&self) -> io::Result<Vec<(PathBuf, Option<u64>)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
                continue;
            };
            let Some(rest) = name.strip_prefix("index.") else {
                continue;
            };
            let n = parse_number(rest.strip_suffix(".runs").unwrap_or(rest).as_bytes());
            found.push((path, n));
        }
        Ok(found)
    }
}

/// Makes names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Bytes of all files in a folder and the folders in it.
pub(crate) fn size_of(dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => sum += size_of(&entry.path())?,
            Ok(meta) => sum += meta.len(),
            // sled removes files of its own accord.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(sum)
}

/// Removes a file or a folder; no matter if it is not there.
fn remove(path: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        let done = match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(e) => Err(e),
        };
        match done {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            // sled's own threads may still make a file there for a moment.
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty && tries < REMOVE_TRIES => {
                tries += 1;
                thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

fn parse_pointer(bytes: &[u8]) -> Pointer {
    bytes
        .strip_suffix(b"\n")
        .and_then(parse_number)
        .map_or(Pointer::Damaged, Pointer::Generation)
}

/// A positive decimal number without sign or leading zero.
fn parse_number(digits: &[u8]) -> Option<u64> {
    if digits.first().is_none_or(|d| *d == b'0') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::mix;

    #[test]
    fn a_pointer_is_a_number_and_a_newline_and_nothing_else() {
        assert_eq!(parse_pointer(b"12\n"), Pointer::Generation(12));
        for bad in [
            &b""[..],
            b"12",
            b"\n",
            b"-1\n",
            b"+1\n",
            b"0\n",
            b"012\n",
            b"1\n\n",
            b" 1\n",
        ] {
            assert_eq!(parse_pointer(bad), Pointer::Damaged, "{bad:?}");
        }
        assert_eq!(
            parse_pointer(b"99999999999999999999999\n"),
            Pointer::Damaged
        );
    }

    #[test]
    fn pointer_noise_is_damage_and_no_panic() {
        for seed in 0..5_000u64 {
            let noise: Vec<u8> = (0..mix(seed) % 12)
                .map(|i| mix(seed ^ (i << 40)).to_be_bytes()[0])
                .collect();
            if let Pointer::Generation(n) = parse_pointer(&noise) {
                assert_eq!(noise, format!("{n}\n").into_bytes());
            }
        }
    }

    #[test]
    fn the_folder_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::claim(dir.path()).unwrap();
        assert!(matches!(Home::claim(dir.path()), Err(Error::InUse)));
        drop(home);
        assert!(Home::claim(dir.path()).is_ok());
    }

    #[test]
    fn generation_numbers_only_grow() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::claim(dir.path()).unwrap();
        assert_eq!(home.new_generation().unwrap(), 1);
        assert_eq!(home.new_generation().unwrap(), 2);
        home.make_current(2, &mut |_| Ok(())).unwrap();
        assert!(!home.generation(1).exists(), "older generations are swept");
        home.discard(2).unwrap();
        assert_eq!(
            home.new_generation().unwrap(),
            3,
            "a number that was current is not used again"
        );
        assert!(matches!(
            home.make_current(2, &mut |_| Ok(())),
            Err(Error::Superseded)
        ));
    }

    #[test]
    fn sweeping_leaves_other_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::claim(dir.path()).unwrap();
        fs::write(dir.path().join("journal.1"), b"keep").unwrap();
        fs::write(dir.path().join("index.note"), b"keep").unwrap();
        home.new_generation().unwrap();
        home.sweep(None).unwrap();
        assert!(dir.path().join("journal.1").exists() && dir.path().join("index.note").exists());
        assert!(!home.generation(1).exists());
    }
}
