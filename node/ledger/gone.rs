//! What came to an end: destroyed keys, closed quarantine entries and old wrappings of keys, from the leaves alone.

use std::collections::{BTreeMap, BTreeSet};

use index::Op;
use journal::{Entry, Journal};
use record::{ExchangeId, KeyHandle};
use serde::Deserialize;

use crate::error::LedgerError;
use crate::row::Row;
use crate::tables::EXCHANGE;

/// What ends within a range of the journal. A few dozen bytes for each end.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    erased: BTreeSet<[u8; 16]>,
    closed: BTreeSet<u64>,
    /// The newest wrapping of each key that was wrapped anew.
    wrapped: BTreeMap<[u8; 16], u64>,
}

/// The fields of a leaf that are looked at.
#[derive(Deserialize)]
struct LeafText<'a> {
    typ: &'a str,
    kh: Option<&'a str>,
    q: Option<u64>,
    xid: Option<&'a str>,
}

impl LeafText<'_> {
    fn handle(&self) -> Option<[u8; 16]> {
        self.kh
            .and_then(|text| KeyHandle::from_hex(text).ok())
            .map(|handle| *handle.as_bytes())
    }
}

impl Gone {
    /// Reads the leaves from `from` up to `end`.
    pub(crate) fn scan(journal: &Journal, from: u64, end: u64) -> Result<Self, LedgerError> {
        let mut gone = Self::default();
        for entry in journal.scan(from) {
            let entry = entry?;
            if entry.seq >= end {
                break;
            }
            gone.note(&entry);
        }
        Ok(gone)
    }

    fn note(&mut self, entry: &Entry) {
        const ENDS: [&[u8]; 3] = [
            br#""typ":"erase-executed""#,
            br#""typ":"quarantine-closed""#,
            br#""typ":"key-rewrapped""#,
        ];
        // Leaves are canonical and quotes inside texts are replaced, so that nothing else looks like this.
        if !ENDS
            .iter()
            .any(|end| entry.leaf.windows(end.len()).any(|w| w == *end))
        {
            return;
        }
        let Ok(leaf) = serde_json::from_slice::<LeafText<'_>>(&entry.leaf) else {
            return;
        };
        match (leaf.typ, leaf.handle(), leaf.q) {
            ("erase-executed", Some(handle), _) => {
                self.erased.insert(handle);
            }
            ("key-rewrapped", Some(handle), _) => {
                self.wrapped.insert(handle, entry.seq);
            }
            ("quarantine-closed", _, Some(seq)) => {
                self.closed.insert(seq);
            }
            _ => {}
        }
    }

    /// Whether an event has come to an end.
    pub(crate) fn has(&self, row: &Row, seq: u64) -> bool {
        row.owner()
            .is_some_and(|owner| self.erased.contains(&owner.handle))
            || match row {
                Row::Quarantine { .. } => self.closed.contains(&seq),
                Row::Key { owner } => self.is_old_wrapping(&owner.handle, seq),
                Row::Exchange { .. }
                | Row::Record(_)
                | Row::Consent { .. }
                | Row::Withdrawal { .. }
                | Row::QuarantineClosed { .. }
                | Row::Erase { .. } => false,
            }
    }

    /// Whether an event whose row cannot be read has come to an end, by its leaf.
    pub(crate) fn has_leaf(&self, entry: &Entry) -> bool {
        let Ok(leaf) = serde_json::from_slice::<LeafText<'_>>(&entry.leaf) else {
            return false;
        };
        let handle = leaf.handle();
        handle.is_some_and(|h| self.erased.contains(&h))
            || match leaf.typ {
                "record-quarantined" => self.closed.contains(&entry.seq),
                "key-created" | "key-rewrapped" => {
                    handle.is_some_and(|h| self.is_old_wrapping(&h, entry.seq))
                }
                _ => false,
            }
    }

    fn is_old_wrapping(&self, handle: &[u8; 16], seq: u64) -> bool {
        self.wrapped.get(handle).is_some_and(|newest| *newest > seq)
    }
}

/// An access stays known by its exchange id when its row is gone: an answered request is not answered again.
pub(crate) fn remembered(entry: &Entry) -> Option<Op> {
    let leaf = serde_json::from_slice::<LeafText<'_>>(&entry.leaf).ok()?;
    let is_access = matches!(leaf.typ, "request" | "disclosure" | "deny");
    let xid = ExchangeId::from_hex(leaf.xid.filter(|_| is_access)?).ok()?;
    Some(Op::put(EXCHANGE, *xid.as_bytes(), entry.seq.to_be_bytes()))
}
