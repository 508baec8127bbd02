//! The rows the index keeps about itself: the checkpoint, and a count and digest per table.
//!
//! Layout of the one sled tree (all integers big-endian):
//! - `00` → format u8 | schema u32 | epoch u64 | next_seq u64 | frame_hash 32 | recents u8 | recents × (key length u16 |
//!   stored key | row hash u64) | hash of all that u64;
//! - `00 01 table` → rows u64 | digest u64 | hash of key and all that u64;
//! - `01 table key…` → value.
//!
//! Digest = wrapping sum of the hashes of a table's rows, so it can be kept up in the batch that changes them and does
//! not depend on their order. It finds accidents, not forgers: whoever can write the folder can also write the digest.

use std::collections::BTreeMap;

use crate::engine::{Checkpoint, Table, after_prefix};

/// Changes with the layout above; another number means the index is rebuilt.
pub(crate) const FORMAT: u8 = 1;
/// The key of the checkpoint row.
pub(crate) const CHECKPOINT_KEY: [u8; 1] = [0];
/// All rows about the index itself begin with this.
pub(crate) const META_PREFIX: [u8; 1] = [0];
/// All rows of the tables begin with this.
pub(crate) const ROW_PREFIX: [u8; 1] = [1];
/// How many of a batch's rows are named in its checkpoint row, to be looked for at the next open.
pub(crate) const RECENTS: usize = 4;

/// Rows of one table, and the sum of their hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) rows: u64,
    pub(crate) digest: u64,
}

impl Tally {
    /// Takes a row in.
    pub(crate) fn add(&mut self, row_hash: u64) {
        self.rows = self.rows.wrapping_add(1);
        self.digest = self.digest.wrapping_add(row_hash);
    }

    /// Takes a row out.
    pub(crate) fn remove(&mut self, row_hash: u64) {
        self.rows = self.rows.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(row_hash);
    }

    pub(crate) fn encode(&self, table: Table) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        out.extend_from_slice(&self.rows.to_be_bytes());
        out.extend_from_slice(&self.digest.to_be_bytes());
        let check = row_hash(&tally_key(table), &out);
        out.extend_from_slice(&check.to_be_bytes());
        out
    }

    pub(crate) fn decode(table: Table, bytes: &[u8]) -> Option<Self> {
        let (body, check) = bytes.split_last_chunk::<8>()?;
        if row_hash(&tally_key(table), body) != u64::from_be_bytes(*check) {
            return None;
        }
        let mut rest = body;
        let tally = Self {
            rows: take_u64(&mut rest)?,
            digest: take_u64(&mut rest)?,
        };
        rest.is_empty().then_some(tally)
    }
}

/// The tallies of all tables that ever had a row.
pub(crate) type Tallies = BTreeMap<Table, Tally>;

/// A row named in the checkpoint row: its stored key and the hash it must have.
pub(crate) type Recent = (Vec<u8>, u64);

/// What the checkpoint row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckpointRow {
    pub(crate) schema: u32,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) recents: Vec<Recent>,
}

/// Why a checkpoint row cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadRow {
    /// Written by another version of this room.
    Format,
    /// Damaged.
    Damaged,
}

impl CheckpointRow {
    /// Writes the row; names at most [`RECENTS`] rows.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(&self.schema.to_be_bytes());
        out.extend_from_slice(&self.checkpoint.epoch.to_be_bytes());
        out.extend_from_slice(&self.checkpoint.next_seq.to_be_bytes());
        out.extend_from_slice(&self.checkpoint.frame_hash);
        let recents = self.recents.iter().take(RECENTS);
        out.push(u8::try_from(recents.len()).unwrap_or(0));
        for (key, hash) in recents {
            let len = u16::try_from(key.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(key);
            out.extend_from_slice(&hash.to_be_bytes());
        }
        let check = row_hash(&CHECKPOINT_KEY, &out);
        out.extend_from_slice(&check.to_be_bytes());
        out
    }

    /// Reads the row back.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadRow> {
        match bytes.first() {
            Some(&FORMAT) => Self::parse(bytes).ok_or(BadRow::Damaged),
            Some(_) => Err(BadRow::Format),
            None => Err(BadRow::Damaged),
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (body, check) = bytes.split_last_chunk::<8>()?;
        if row_hash(&CHECKPOINT_KEY, body) != u64::from_be_bytes(*check) {
            return None;
        }
        let mut rest = body.get(1..)?;
        let schema = u32::from_be_bytes(take(&mut rest)?);
        let checkpoint = Checkpoint {
            epoch: take_u64(&mut rest)?,
            next_seq: take_u64(&mut rest)?,
            frame_hash: take(&mut rest)?,
        };
        let [count] = take(&mut rest)?;
        let mut recents = Vec::new();
        for _ in 0..count {
            let len = usize::from(u16::from_be_bytes(take(&mut rest)?));
            let (key, after) = rest.split_at_checked(len)?;
            rest = after;
            recents.push((key.to_vec(), take_u64(&mut rest)?));
        }
        rest.is_empty().then_some(Self {
            schema,
            checkpoint,
            recents,
        })
    }
}

/// The stored key of a row.
pub(crate) fn stored_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 2);
    out.extend_from_slice(&ROW_PREFIX);
    out.push(table.0);
    out.extend_from_slice(key);
    out
}

/// Table and key of a stored key; `None` when it is not a row of a table.
pub(crate) fn split_key(stored: &[u8]) -> Option<(Table, &[u8])> {
    match stored {
        [1, table, key @ ..] => Some((Table(*table), key)),
        _ => None,
    }
}

/// The first stored key after a table.
pub(crate) fn table_end(table: Table) -> Vec<u8> {
    after_prefix(&stored_key(table, &[])).unwrap_or_default()
}

/// The key of a table's tally.
pub(crate) fn tally_key(table: Table) -> [u8; 3] {
    [0, 1, table.0]
}

/// A 64-bit hash of a row: FNV-1a over key length, key and value, finished with the splitmix64 mixer so that sums of
/// hashes spread over all bits. Good against accidents, useless against malice.
pub(crate) fn row_hash(stored_key: &[u8], value: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let len = (stored_key.len() as u64).to_be_bytes();
    let mut h = OFFSET;
    for byte in len.iter().chain(stored_key).chain(value) {
        h = (h ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    mix(h)
}

/// The splitmix64 finaliser.
pub(crate) fn mix(mut h: u64) -> u64 {
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> CheckpointRow {
        CheckpointRow {
            schema: 7,
            checkpoint: Checkpoint {
                epoch: 2,
                next_seq: 99,
                frame_hash: [5; 32],
            },
            recents: vec![(vec![1, 2, 3], 4), (vec![1, 9], 6)],
        }
    }

    #[test]
    fn rows_read_back_as_written() {
        assert_eq!(CheckpointRow::decode(&row().encode()), Ok(row()));
        let tally = Tally {
            rows: 3,
            digest: u64::MAX,
        };
        assert_eq!(
            Tally::decode(Table(4), &tally.encode(Table(4))),
            Some(tally)
        );
        assert_eq!(Tally::decode(Table(5), &tally.encode(Table(4))), None);
    }

    #[test]
    fn another_format_is_told_from_damage() {
        let mut bytes = row().encode();
        bytes[0] = 9;
        assert_eq!(CheckpointRow::decode(&bytes), Err(BadRow::Format));
    }

    #[test]
    fn every_single_changed_bit_and_every_cut_is_found() {
        let bytes = row().encode();
        for at in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(CheckpointRow::decode(&bad).is_err(), "bit {at}");
        }
        for len in 0..bytes.len() {
            assert!(
                CheckpointRow::decode(&bytes[..len]).is_err(),
                "cut at {len}"
            );
        }
    }

    #[test]
    fn parsers_survive_noise_that_carries_a_right_check() {
        let mut seed = 1u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let len = usize::try_from(mix(seed) % 120).unwrap();
            let mut noise: Vec<u8> = (0..len)
                .map(|i| mix(seed ^ ((i as u64) << 32)).to_be_bytes()[0])
                .collect();
            if let Some(first) = noise.first_mut() {
                *first = FORMAT;
            }
            let check = row_hash(&CHECKPOINT_KEY, &noise);
            noise.extend_from_slice(&check.to_be_bytes());
            if let Ok(row) = CheckpointRow::decode(&noise) {
                assert!(row.recents.len() <= 255);
            }
            assert_eq!(Tally::decode(Table(1), &noise), None);
        }
    }

    #[test]
    fn a_digest_forgets_order_and_finds_loss() {
        let hashes = [
            row_hash(b"a", b"1"),
            row_hash(b"b", b"2"),
            row_hash(b"c", b"3"),
        ];
        let (mut there, mut back) = (Tally::default(), Tally::default());
        hashes.iter().for_each(|h| there.add(*h));
        hashes.iter().rev().for_each(|h| back.add(*h));
        assert_eq!(there, back);
        back.remove(hashes[1]);
        assert_ne!(there, back);
        assert_ne!(row_hash(b"ab", b"c"), row_hash(b"a", b"bc"));
    }
}
