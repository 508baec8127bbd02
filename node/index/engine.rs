//! The trait every index engine keeps, and the words it is spoken in.

use std::fmt;

use crate::fault::Error;

/// Longest key, bytes: a tag or a hash or two fit; record content does not belong in a key.
pub const MAX_KEY_BYTES: usize = 256;
/// Longest value, bytes. A sled page holds about 16 rows and becomes a separate, never fsynced blob file above 128 KiB;
/// 17 rows of this size stay below.
pub const MAX_VALUE_BYTES: usize = 4096;
/// Most operations in one batch: a journal frame has at most 512 events, and an event makes a handful of rows.
pub const MAX_BATCH_OPS: usize = 16_384;
/// Most bytes of keys and values in one batch: a batch is held in memory three times while it is applied.
pub const MAX_BATCH_BYTES: usize = 8 << 20;
/// Most rows one range may return: it is held in memory, and no batch is applied while it is read.
pub const MAX_RANGE_ROWS: usize = 16_384;

/// A numbered table. The caller gives the numbers their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub u8);

/// How far the journal has been applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The journal's epoch.
    pub epoch: u64,
    /// Every event with a sequence number below this one is applied, no other.
    pub next_seq: u64,
    /// Hash of the journal frame that holds the last applied event; the journal compares it at start.
    pub frame_hash: [u8; 32],
}

/// One change to one row.
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// Write a row, replacing what is there.
    Put {
        /// The table.
        table: Table,
        /// At most [`MAX_KEY_BYTES`]; may be empty.
        key: Vec<u8>,
        /// At most [`MAX_VALUE_BYTES`]; may be empty.
        value: Vec<u8>,
    },
    /// Remove a row; no matter if there is none.
    Delete {
        /// The table.
        table: Table,
        /// At most [`MAX_KEY_BYTES`].
        key: Vec<u8>,
    },
}

impl Op {
    /// A [`Op::Put`].
    pub fn put(table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put {
            table,
            key: key.into(),
            value: value.into(),
        }
    }

    /// A [`Op::Delete`].
    pub fn delete(table: Table, key: impl Into<Vec<u8>>) -> Self {
        Self::Delete {
            table,
            key: key.into(),
        }
    }

    pub(crate) fn parts(&self) -> (Table, &[u8], Option<&[u8]>) {
        match self {
            Self::Put { table, key, value } => (*table, key, Some(value)),
            Self::Delete { table, key } => (*table, key, None),
        }
    }

    pub(crate) fn check(&self) -> Result<usize, Error> {
        let (_, key, value) = self.parts();
        check_key(key)?;
        let len = value.map_or(0, <[u8]>::len);
        if len > MAX_VALUE_BYTES {
            return Err(Error::ValueTooLong {
                len,
                max: MAX_VALUE_BYTES,
            });
        }
        Ok(key.len() + len)
    }
}

impl fmt::Debug for Op {
    /// Prints sizes only: keys and values may be linkable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, key, value) = self.parts();
        f.debug_struct(if value.is_some() { "Put" } else { "Delete" })
            .field("table", &table.0)
            .field("key_bytes", &key.len())
            .field("value_bytes", &value.map_or(0, <[u8]>::len))
            .finish()
    }
}

/// The direction a range is read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Forward,
    /// Greatest key first: the newest, when keys end in a sequence number.
    Reverse,
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// A store of rows and of the checkpoint they belong to.
///
/// Every implementation keeps these promises, and the conformance suite checks them:
/// - rows and checkpoint of one [`Index::apply`] appear together or not at all, also after a crash;
/// - a read sees the rows between two applies, never the middle of one;
/// - the checkpoint never moves back while the index is open;
/// - after the first engine failure every call answers [`Error::Unhealthy`], never "not found".
///
/// None of them is durable when `apply` returns: a crash may take the newest batches. The journal has them.
/// The calls block; call them from a thread that may.
pub trait Index: Send + Sync + fmt::Debug {
    /// Applies a batch and moves the checkpoint, atomically. When a key occurs twice the later operation counts.
    ///
    /// # Errors
    /// The caller's: too long, too many, [`Error::CheckpointBackwards`] (the index is unchanged and healthy);
    /// the engine's: [`Error::Unhealthy`].
    fn apply(&self, ops: &[Op], checkpoint: &Checkpoint) -> Result<(), Error>;

    /// The value of one row. Call [`Index::ensure`] first: `None` means "no such row among the events applied".
    ///
    /// # Errors
    /// [`Error::KeyTooLong`], [`Error::Unhealthy`].
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// Rows with `from <= key < to` (`to: None` is the end of the table), at most `limit` of them, in `order`:
    /// a reverse range gives the `limit` greatest keys. Bounds that cross give no rows.
    ///
    /// # Errors
    /// [`Error::RangeTooLong`] above [`MAX_RANGE_ROWS`], [`Error::Unhealthy`].
    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, Error>;

    /// Rows whose key begins with `prefix`; otherwise as [`Index::range`].
    ///
    /// # Errors
    /// As [`Index::range`].
    fn prefix(
        &self,
        table: Table,
        prefix: &[u8],
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        self.range(table, prefix, after_prefix(prefix).as_deref(), order, limit)
    }

    /// How far the journal has been applied; `None` before the first batch.
    ///
    /// # Errors
    /// [`Error::Unhealthy`].
    fn checkpoint(&self) -> Result<Option<Checkpoint>, Error>;

    /// Number of rows of a table, without reading them.
    ///
    /// # Errors
    /// [`Error::Unhealthy`].
    fn count(&self, table: Table) -> Result<u64, Error>;

    /// Bytes the index takes on disk; 0 for an engine without one.
    ///
    /// # Errors
    /// [`Error::Unhealthy`], [`Error::Disk`].
    fn size_on_disk(&self) -> Result<u64, Error>;

    /// Makes what has been applied survive a power cut. Only an optimisation: it bounds what is replayed at start.
    ///
    /// # Errors
    /// [`Error::Unhealthy`].
    fn flush(&self) -> Result<(), Error>;

    /// Whether the index may be asked at all.
    ///
    /// # Errors
    /// [`Error::Unhealthy`].
    fn health(&self) -> Result<(), Error>;

    /// Refuses unless every event with a sequence number below `required_next_seq` is applied. As the checkpoint never
    /// moves back, reads that follow see at least that much.
    ///
    /// # Errors
    /// [`Error::Behind`], [`Error::Unhealthy`].
    fn ensure(&self, required_next_seq: u64) -> Result<(), Error> {
        let have = self.checkpoint()?.map_or(0, |c| c.next_seq);
        if have < required_next_seq {
            return Err(Error::Behind {
                have,
                need: required_next_seq,
            });
        }
        Ok(())
    }
}

/// Checks a whole batch before anything of it is applied.
pub(crate) fn check_batch(ops: &[Op]) -> Result<(), Error> {
    let mut bytes = 0usize;
    for op in ops {
        bytes += op.check()?;
    }
    if ops.len() > MAX_BATCH_OPS || bytes > MAX_BATCH_BYTES {
        return Err(Error::BatchTooLarge {
            ops: ops.len(),
            bytes,
        });
    }
    Ok(())
}

/// Checks a key.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Error> {
    if key.len() > MAX_KEY_BYTES {
        return Err(Error::KeyTooLong {
            len: key.len(),
            max: MAX_KEY_BYTES,
        });
    }
    Ok(())
}

/// Checks a range's length.
pub(crate) fn check_limit(limit: usize) -> Result<(), Error> {
    if limit > MAX_RANGE_ROWS {
        return Err(Error::RangeTooLong {
            limit,
            max: MAX_RANGE_ROWS,
        });
    }
    Ok(())
}

/// Refuses a checkpoint that would move the index back.
pub(crate) fn check_forward(have: Option<&Checkpoint>, given: &Checkpoint) -> Result<(), Error> {
    match have {
        Some(have) if given.epoch < have.epoch || given.next_seq < have.next_seq => {
            Err(Error::CheckpointBackwards {
                have_epoch: have.epoch,
                have_seq: have.next_seq,
                given_epoch: given.epoch,
                given_seq: given.next_seq,
            })
        }
        _ => Ok(()),
    }
}

/// The smallest key after all keys that begin with `prefix`; `None` when there is no such key.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_skips_over_full_bytes() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(after_prefix(&[255]), None);
        assert_eq!(after_prefix(b""), None);
    }

    #[test]
    fn an_operation_prints_no_content() {
        let shown = format!(
            "{:?}",
            Op::put(Table(3), b"secretkey".to_vec(), b"secretvalue".to_vec())
        );
        assert!(
            !shown.contains("secret") && !shown.contains("115"),
            "{shown}"
        );
        assert!(shown.contains("key_bytes: 9"), "{shown}");
    }
}
