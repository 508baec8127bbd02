//! A disk in memory that crashes, fails, fills up and rots on demand: the fault model of this crate's tests and of simulations above it.
//!
//! **The model.** Writes are visible to readers at once but pending until `sync_data` returns. A crash decides for each pending
//! write, cut into 512-byte sectors, whether the sector reached the disk; what reached it may be any subset (vanish, tear,
//! reorder), and now and then a sector arrives in part only. Creations, renames and removals are pending until `sync_dir`; a crash keeps a
//! prefix of them, as a journalling file system does. A file's content and its name are independent: a synced file whose name is not
//! synced may be gone.
//!
//! Any call may be made to **fail** (a failing write may leave a part of itself behind; after a failing `sync_data` the writes then
//! pending never become durable through a later `sync_data`, which nevertheless returns success: what Linux does), to
//! **fail although it persisted**, to **crash before** it or to **crash after** it. After a crash every call on every open file fails until
//! [`Memory::restart`]; files opened before the crash stay dead, as their process is.
//!
//! A durable byte may later **rot** ([`Memory::flip`]). The disk may have a **capacity**: growing a file beyond it fails with `StorageFull`.
//!
//! All chance comes from the one seed. With [`crate::Drive::Manual`] the same seed gives the same run.

mod disk;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bytes::to_usize;
use crate::io::{Access, Io, IoFile, Lock};
use disk::{Disk, Inode, NameChange};

/// The calls that change the disk (and reads, which can only fail).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// [`Io::create`].
    Create,
    /// [`IoFile::write_all_at`].
    Write,
    /// [`IoFile::sync_data`].
    SyncData,
    /// [`Io::rename`]; named by its target.
    Rename,
    /// [`Io::sync_dir`]; has no name.
    SyncDir,
    /// [`Io::remove`].
    Remove,
    /// [`IoFile::read_exact_at`].
    Read,
}

/// What happens instead of a call simply working.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It returns an error; of a write a part may have happened.
    Fail,
    /// It returns an error, yet it happened and is durable.
    FailPersisted,
    /// The machine stops before it.
    CrashBefore,
    /// It happens (durably only if it is a barrier), then the machine stops.
    CrashAfter,
}

/// One planned fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Which call.
    pub op: Op,
    /// On files whose name begins so; empty for all.
    pub name: String,
    /// How many matching calls go well first.
    pub after: u32,
    /// What then happens, once.
    pub fault: Fault,
}

/// The disk. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Memory {
    disk: Arc<Mutex<Disk>>,
}

impl Memory {
    /// An empty disk without limits or faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let disk = Disk {
            chance: Chance(seed),
            ..Disk::default()
        };
        Self {
            disk: Arc::new(Mutex::new(disk)),
        }
    }

    /// Plans a fault. Of several that match the same call the earliest planned happens.
    pub fn plan(&self, trigger: Trigger) {
        self.disk().triggers.push(trigger);
    }

    /// Forgets all planned faults and the fault rate.
    pub fn clear_plans(&self) {
        let mut disk = self.disk();
        disk.triggers.clear();
        disk.fault_per_million = 0;
    }

    /// Lets each changing call meet a random fault with this probability, in millionths.
    pub fn set_fault_rate(&self, per_million: u32) {
        self.disk().fault_per_million = per_million;
    }

    /// Limits the bytes all files together may have; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk().capacity = bytes;
    }

    /// Bytes all files have together.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.disk().used()
    }

    /// Stops the machine now.
    pub fn crash(&self) {
        self.disk().crashed = true;
    }

    /// Whether the machine has stopped.
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        self.disk().crashed
    }

    /// Starts the machine again (stopping it first if it runs) with what the disk kept. Planned faults are forgotten.
    pub fn restart(&self) {
        self.disk().restart();
    }

    /// Flips the bits of `mask` in one byte, on the disk and in the cache. Returns whether the byte exists.
    pub fn flip(&self, name: &str, offset: u64, mask: u8) -> bool {
        self.disk().edit(name, |bytes| {
            bytes
                .get_mut(to_usize(offset))
                .map(|byte| *byte ^= mask)
                .is_some()
        })
    }

    /// Cuts a file, on the disk and in the cache. Returns whether it exists.
    pub fn truncate(&self, name: &str, len: u64) -> bool {
        self.disk().edit(name, |bytes| {
            bytes.truncate(to_usize(len));
            true
        })
    }

    /// A file's bytes as a reader sees them now.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk();
        let id = *disk.names.get(name)?;
        disk.files.get(id).map(|file| file.visible.clone())
    }

    /// Puts a durable file on the disk, replacing one of that name.
    pub fn place(&self, name: &str, bytes: Vec<u8>) {
        let mut disk = self.disk();
        let id = disk.files.len();
        disk.files.push(Inode {
            visible: bytes.clone(),
            durable: bytes,
            ..Inode::default()
        });
        disk.names.insert(name.to_owned(), id);
        disk.durable_names.insert(name.to_owned(), id);
    }

    /// Removes a durable file. Returns whether it existed.
    pub fn displace(&self, name: &str) -> bool {
        let mut disk = self.disk();
        disk.durable_names.remove(name);
        disk.names.remove(name).is_some()
    }

    /// All calls that changed something so far, in order.
    #[must_use]
    pub fn steps(&self) -> Vec<(Op, String)> {
        self.disk().steps.clone()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, disk: &Disk, name: &str, id: usize) -> Box<dyn IoFile> {
        Box::new(Handle {
            disk: Arc::clone(&self.disk),
            name: name.to_owned(),
            id,
            life: disk.life,
        })
    }
}

impl Io for Memory {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let disk = self.disk();
        disk.alive(disk.life)?;
        Ok(disk.names.keys().cloned().collect())
    }

    fn open(&self, name: &str, _access: Access) -> io::Result<Box<dyn IoFile>> {
        let disk = self.disk();
        disk.alive(disk.life)?;
        let id = *disk.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&disk, name, id))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn IoFile>> {
        let mut disk = self.disk();
        let life = disk.life;
        disk.step(life, Op::Create, name, |disk, _| {
            let id = disk.files.len();
            disk.files.push(Inode::default());
            disk.change_names(NameChange::Set(name.to_owned(), id));
            Ok(())
        })?;
        let id = *disk.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&disk, name, id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        let life = disk.life;
        disk.step(life, Op::Rename, to, |disk, _| {
            if !disk.names.contains_key(from) {
                return Err(io::ErrorKind::NotFound.into());
            }
            disk.change_names(NameChange::Move(from.to_owned(), to.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        let life = disk.life;
        disk.step(life, Op::Remove, name, |disk, _| {
            if !disk.names.contains_key(name) {
                return Err(io::ErrorKind::NotFound.into());
            }
            disk.change_names(NameChange::Unset(name.to_owned()));
            Ok(())
        })
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut disk = self.disk();
        let life = disk.life;
        disk.step(life, Op::SyncDir, "", |disk, partial| {
            if !partial {
                disk.settle_names(usize::MAX);
            }
            Ok(())
        })
    }

    fn lock(&self, _access: Access) -> io::Result<Option<Lock>> {
        let mut disk = self.disk();
        disk.alive(disk.life)?;
        if disk.locked_in == Some(disk.life) {
            return Ok(None);
        }
        disk.locked_in = Some(disk.life);
        Ok(Some(Lock::new(Held {
            disk: Arc::clone(&self.disk),
            life: disk.life,
        })))
    }
}

#[derive(Debug)]
struct Held {
    disk: Arc<Mutex<Disk>>,
    life: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        if disk.locked_in == Some(self.life) {
            disk.locked_in = None;
        }
    }
}

#[derive(Debug)]
struct Handle {
    disk: Arc<Mutex<Disk>>,
    name: String,
    id: usize,
    life: u64,
}

impl Handle {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IoFile for Handle {
    fn len(&self) -> io::Result<u64> {
        let disk = self.disk();
        disk.alive(self.life)?;
        Ok(disk
            .files
            .get(self.id)
            .map_or(0, |file| file.visible.len() as u64))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step(self.life, Op::Read, &self.name, |disk, _| {
            let start = to_usize(offset);
            let file = disk.files.get(self.id).ok_or(io::ErrorKind::NotFound)?;
            let bytes = file
                .visible
                .get(start..start.saturating_add(buffer.len()))
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step(self.life, Op::Write, &self.name, |disk, partial| {
            let mut bytes = bytes;
            if partial {
                // A failing write leaves any prefix of itself behind.
                let keep = disk.chance.below(bytes.len() as u64 + 1);
                bytes = bytes.get(..to_usize(keep)).unwrap_or(&[]);
            }
            disk.write(self.id, bytes, to_usize(offset))
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step(self.life, Op::SyncData, &self.name, |disk, partial| {
            if partial {
                disk.lose_grip(self.id);
            } else {
                disk.settle_file(self.id);
            }
            Ok(())
        })
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
#[derive(Debug, Clone, Default)]
pub struct Chance(pub u64);

impl Chance {
    /// The next 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 when `limit` is 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 {
            0
        } else {
            self.next_u64() % limit
        }
    }
}
