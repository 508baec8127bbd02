//! The high-water mark: the last event known to be acknowledged, in a small file beside journal and index.
//!
//! The index's checkpoint says the same, but an index may be lost. A damaged end of the journal below the mark is
//! then still told as damage, and never taken for a write that nobody was promised.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

const FILE: &str = "acknowledged";

/// The mark, if there is one that can be read.
pub(crate) fn read(dir: &Path) -> io::Result<Option<u64>> {
    match fs::read_to_string(dir.join(FILE)) {
        Ok(text) => text
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the file `acknowledged` is not a number; remove it only if the journal is known to be whole")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Moves the mark up to an event that was acknowledged. Crash in between: the old mark stays, which is true as well.
pub(crate) fn write(dir: &Path, last_seq: u64) -> io::Result<()> {
    let temporary = dir.join("acknowledged.tmp");
    let mut file = fs::File::create(&temporary)?;
    writeln!(file, "{last_seq}")?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(FILE))?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_there_and_back_and_refuses_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        write(dir.path(), 41).unwrap();
        write(dir.path(), 42).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(42));
        fs::write(dir.path().join(FILE), "many").unwrap();
        assert!(read(dir.path()).is_err());
    }
}
