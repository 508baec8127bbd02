//! The few touches of the disk: whole-file writes that survive a power cut, and careful reads.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::unlock::{CREDENTIAL_BYTES, is_credential};
use crate::{CredentialFault, FileError};

/// Largest sealed file read: 64 secrets of 16 KiB, in base64 twice, stay below.
const MAX_FILE_BYTES: usize = 2 * 1024 * 1024;

/// Replaces the file at `path` (mode 0600) so that a crash leaves the former or the new contents,
/// never a part.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let temporary = temporary_path(path);
    let written = write_new(&temporary, bytes).and_then(|()| {
        // Crash before this line: the former file stands, and a stray temporary file that the next
        // write removes. Crash after it: the directory may still show the former file, hence the
        // sync below before we return.
        fs::rename(&temporary, path).map_err(failed("rename"))
    });
    if let Err(error) = written {
        // The former file is untouched. Failing to tidy up must not hide why the write failed.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    sync_directory(path)
}

/// Reads a sealed file of at most [`MAX_FILE_BYTES`].
pub(crate) fn read_sealed(path: &Path) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(failed("open"))?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(failed("read"))?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(FileError::TooLarge {
            limit: MAX_FILE_BYTES,
        });
    }
    Ok(bytes)
}

/// Reads a credential after checking, on the opened file itself, that nobody else can read or
/// replace its bytes.
pub(crate) fn read_credential(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = File::open(path).map_err(failed("open"))?;
    let about = file.metadata().map_err(failed("inspect"))?;
    if !about.is_file() {
        return Err(CredentialFault::NotAFile.into());
    }
    may_trust(&Ownership::of(&about), effective_uid()?)?;
    // One byte more than allowed, so that a longer file shows; reserved at once, so that nothing is
    // copied.
    let room = CREDENTIAL_BYTES.end() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let limit = u64::try_from(room).unwrap_or(u64::MAX);
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(failed("read"))?;
    if is_credential(&bytes) {
        Ok(bytes)
    } else {
        Err(CredentialFault::Content.into())
    }
}

/// Who owns a file and who may use it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ownership {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
}

impl Ownership {
    fn of(about: &Metadata) -> Self {
        Self {
            uid: about.uid(),
            gid: about.gid(),
            mode: about.mode() & 0o7777,
        }
    }
}

/// Ours and closed to others; or root's, in the form systemd gives a credential to a service that
/// is not root: 0400 with an access entry for the service's user, which `stat` shows as 0440 (the
/// group bits are the mask).
pub(crate) fn may_trust(file: &Ownership, our_uid: u32) -> Result<(), CredentialFault> {
    let from_systemd = file.uid == 0 && file.gid == 0 && file.mode == 0o440;
    if from_systemd {
        return Ok(());
    }
    if !matches!(file.mode, 0o400 | 0o600) {
        return Err(CredentialFault::Mode);
    }
    if file.uid != our_uid {
        return Err(CredentialFault::Owner);
    }
    Ok(())
}

/// The effective user id of this process, as the kernel tells it (second number of the `Uid:` line,
/// proc(5)). The owner of `/proc/self` would not do: it becomes root once the process forbids core
/// dumps.
fn effective_uid() -> Result<u32, CredentialFault> {
    let status =
        fs::read_to_string("/proc/self/status").map_err(|_io| CredentialFault::UnknownUser)?;
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix("Uid:")?
                .split_whitespace()
                .nth(1)?
                .parse()
                .ok()
        })
        .ok_or(CredentialFault::UnknownUser)
}

/// Beside the file, so that the rename stays within one file system.
fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    // A leftover of an interrupted write. `create_new` then refuses to follow a link someone may
    // have planted.
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("remove the leftover of")(error)),
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("create"))?;
    file.write_all(bytes).map_err(failed("write"))?;
    // Contents before name: without this a power cut could leave the new name on an empty file.
    file.sync_all().map_err(failed("sync"))
}

fn sync_directory(path: &Path) -> Result<(), FileError> {
    let parent = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("sync the directory of"))
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError::Io { action, source }
}
