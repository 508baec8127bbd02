//! The seam to the disk: the few calls the journal makes, on one folder, and the real one.

use std::fmt::Debug;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Name of the lock file.
const LOCK_FILE: &str = "journal.lock";
/// Bytes written at a time when filling a file with zeros.
const FILL_CHUNK: u64 = 1024 * 1024;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read.
    Read,
    /// To read and write; the file must exist.
    Write,
}

/// Held while the folder is in use; dropping it gives the folder free.
#[derive(Debug)]
pub struct Lock {
    _held: Box<dyn LockToken>,
}

impl Lock {
    /// Wraps whatever keeps the folder locked until it is dropped.
    pub fn new(held: impl Debug + Send + Sync + 'static) -> Self {
        Self {
            _held: Box::new(held),
        }
    }
}

trait LockToken: Debug + Send + Sync {}
impl<T: Debug + Send + Sync> LockToken for T {}

/// One folder of files. Names are plain file names, never paths.
pub trait Io: Debug + Send + Sync {
    /// The folder's name, for messages to the operator.
    fn place(&self) -> String;

    /// All file names in the folder, in any order.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file. Each call gives a file of its own, so that each sees a failed write-back.
    ///
    /// # Errors
    /// `NotFound`, or whatever the disk says.
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn IoFile>>;

    /// Creates an empty file for reading and writing, or empties an existing one.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn create(&self, name: &str) -> io::Result<Box<dyn IoFile>>;

    /// Renames within the folder, replacing the target; durable only after [`Io::sync_dir`].
    ///
    /// # Errors
    /// Whatever the disk says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; durable only after [`Io::sync_dir`].
    ///
    /// # Errors
    /// Whatever the disk says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the folder's exclusive lock; `None` when another process (or journal) holds it.
    /// With `Access::Read` nothing is created: a folder without a lock file is free.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn lock(&self, access: Access) -> io::Result<Option<Lock>>;
}

/// One open file.
pub trait IoFile: Debug + Send + Sync {
    /// Length in bytes.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no byte.
    ///
    /// # Errors
    /// Whatever the disk says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before, or whatever the disk says.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; durable only after [`IoFile::sync_data`].
    ///
    /// # Errors
    /// Whatever the disk says; then any part of the bytes may have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes all earlier writes durable (`fdatasync`: data, and the length when it changed).
    ///
    /// # Errors
    /// Whatever the disk says; then nothing may be assumed about any of the earlier writes, ever.
    fn sync_data(&self) -> io::Result<()>;

    /// Writes zeros over `from..to`, really: later overwrites then allocate nothing.
    ///
    /// # Errors
    /// `StorageFull`, or whatever the disk says.
    fn fill_zero(&self, from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0; usize::try_from(FILL_CHUNK.min(to.saturating_sub(from))).unwrap_or(0)];
        let mut at = from;
        while at < to {
            let len = FILL_CHUNK.min(to - at);
            let chunk = usize::try_from(len)
                .ok()
                .and_then(|len| zeros.get(..len))
                .unwrap_or(&[]);
            self.write_all_at(chunk, at)?;
            at += len;
        }
        Ok(())
    }
}

/// A folder of the operating system's file system.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// An existing folder; nothing is touched yet.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Makes the folder if it is missing, durably.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn create(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        if !folder.is_dir() {
            fs::create_dir_all(&folder)?;
            // A crash before this line loses an empty folder, nothing else.
            if let Some(parent) = folder
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty())
            {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(Self { folder })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Io for Files {
    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn IoFile>> {
        let file = File::options()
            .read(true)
            .write(access == Access::Write)
            .open(self.folder.join(name))?;
        Ok(Box::new(OpenFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn IoFile>> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.folder.join(name))?;
        Ok(Box::new(OpenFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn lock(&self, access: Access) -> io::Result<Option<Lock>> {
        let path = self.folder.join(LOCK_FILE);
        let file = match access {
            Access::Write => File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?,
            Access::Read => match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Some(Lock::new(())));
                }
                Err(error) => return Err(error),
            },
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[derive(Debug)]
struct OpenFile(File);

impl IoFile for OpenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
