//! An index in memory, for tests and simulations.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::engine::{
    Checkpoint, Index, Op, Order, Row, Table, check_batch, check_forward, check_key, check_limit,
};
use crate::fault::{Error, Fault};

/// Keeps the promises of [`Index`] without a disk: it is empty after a restart, and its caller replays the journal.
#[derive(Debug, Default)]
pub struct MemoryIndex {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    checkpoint: Option<Checkpoint>,
    broken: bool,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("rows", &self.rows.len())
            .field("checkpoint", &self.checkpoint)
            .field("broken", &self.broken)
            .finish()
    }
}

impl MemoryIndex {
    /// An empty index without a checkpoint.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Simulates an engine failure: every later call answers [`Error::Unhealthy`].
    pub fn fail(&self) {
        self.inner
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .broken = true;
    }

    fn read(&self) -> Result<RwLockReadGuard<'_, Inner>, Error> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        if inner.broken {
            Err(UNHEALTHY)
        } else {
            Ok(inner)
        }
    }
}

const UNHEALTHY: Error = Error::Unhealthy {
    fault: Fault::Simulated,
};

impl Index for MemoryIndex {
    fn apply(&self, ops: &[Op], checkpoint: &Checkpoint) -> Result<(), Error> {
        check_batch(ops)?;
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if inner.broken {
            return Err(UNHEALTHY);
        }
        check_forward(inner.checkpoint.as_ref(), checkpoint)?;
        for op in ops {
            let (table, key, value) = op.parts();
            let key = (table, key.to_vec());
            match value {
                Some(value) => inner.rows.insert(key, value.to_vec()),
                None => inner.rows.remove(&key),
            };
        }
        inner.checkpoint = Some(*checkpoint);
        Ok(())
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        check_key(key)?;
        Ok(self.read()?.rows.get(&(table, key.to_vec())).cloned())
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        check_limit(limit)?;
        let inner = self.read()?;
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let start = Bound::Included((table, from.to_vec()));
        let end = match (to, table.0.checked_add(1)) {
            (Some(to), _) => Bound::Excluded((table, to.to_vec())),
            (None, Some(next)) => Bound::Excluded((Table(next), Vec::new())),
            (None, None) => Bound::Unbounded,
        };
        let rows = inner
            .rows
            .range((start, end))
            .map(|((_, k), v)| (k.clone(), v.clone()));
        Ok(match order {
            Order::Forward => rows.take(limit).collect(),
            Order::Reverse => rows.rev().take(limit).collect(),
        })
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        Ok(self.read()?.checkpoint)
    }

    fn count(&self, table: Table) -> Result<u64, Error> {
        let inner = self.read()?;
        Ok(inner
            .rows
            .range((table, Vec::new())..)
            .take_while(|((t, _), _)| *t == table)
            .count() as u64)
    }

    fn size_on_disk(&self) -> Result<u64, Error> {
        self.read().map(|_| 0)
    }

    fn flush(&self) -> Result<(), Error> {
        self.health()
    }

    fn health(&self) -> Result<(), Error> {
        self.read().map(drop)
    }
}
