//! Room kept ready behind the engine's data file: on a full disk the index still takes what the audit trail needs.
//!
//! The engine fails for good at its first write that finds no room. So blocks beyond the file's end are allocated ahead,
//! without changing its length, and the ledger turns data away before they are used up.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Bytes allocated beyond the end. Some ten thousand rows: far more than the journal's audit reserve has events.
const RESERVE: u64 = 16 << 20;
/// With fewer bytes left they are allocated anew; when that fails there is room for the audit trail only.
const ENOUGH: u64 = RESERVE / 2;
/// The smallest step in which the last of a disk is taken.
const LEAST: u64 = 64 << 10;

/// The allocation behind one data file.
#[derive(Debug)]
pub(crate) struct Reserve(File);

impl Reserve {
    /// Of a folder whose engine is open.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let reserve = Self(File::options().write(true).open(folder.join("db"))?);
        reserve.has_room();
        Ok(reserve)
    }

    /// Gives the room back before the engine opens: it writes other files then, which find none on a full disk. A crash
    /// behind this costs nothing, the next open allocates again.
    pub(crate) fn release(folder: &Path) {
        let attempt = || -> io::Result<()> {
            let file = File::options().write(true).open(folder.join("db"))?;
            file.set_len(file.metadata()?.len())
        };
        if let Err(error) = attempt() {
            tracing::debug!(%error, "no reserve behind the index to give back");
        }
    }

    /// Whether enough is allocated ahead, allocating what is missing.
    pub(crate) fn has_room(&self) -> bool {
        let Ok((len, ahead)) = self.ahead() else {
            return false;
        };
        if ahead >= ENOUGH {
            return true;
        }
        let mut step = RESERVE;
        while step >= LEAST {
            match fallocate(&self.0, FallocateFlags::KEEP_SIZE, len, step) {
                Ok(()) => return step >= ENOUGH,
                // A file system that cannot: there is no reserve, and nobody is turned away for want of it.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return true,
                Err(_) => step /= 2,
            }
        }
        false
    }

    /// Length of the file, and bytes allocated beyond it.
    fn ahead(&self) -> io::Result<(u64, u64)> {
        let of = self.0.metadata()?;
        Ok((
            of.len(),
            of.blocks().saturating_mul(512).saturating_sub(of.len()),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_behind_the_end_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("db"), vec![1; 100_000]).unwrap();
        let reserve = Reserve::of(folder.path()).unwrap();
        assert!(reserve.has_room());
        let (len, ahead) = reserve.ahead().unwrap();
        assert!(
            len == 100_000 && (ahead == 0 || ahead >= ENOUGH),
            "{ahead}: none, where the file system cannot, or enough"
        );
        Reserve::release(folder.path());
        let (len, ahead) = reserve.ahead().unwrap();
        assert!(len == 100_000 && ahead < LEAST);
        assert_eq!(
            std::fs::read(folder.path().join("db")).unwrap(),
            vec![1; 100_000]
        );
    }
}
