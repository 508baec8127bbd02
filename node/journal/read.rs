//! Reading back: one event by location, leaves by number, and a scan for whoever rebuilds an index.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use crate::bytes::to_usize;
use crate::error::{DamageKind, Error, Result};
use crate::event::{Hash, Location, MAX_BODY_LEN, MAX_ROW_LEN, Sealed};
use crate::format::{SEGMENT_HEADER_LEN, Standing, judge, segment_file};
use crate::frame::EventMeta;
use crate::map::{Loaded, Map};

/// Sealed sections up to this many bytes are read in one go while scanning; of larger ones only the rows.
const READ_WHOLE: u32 = 1024 * 1024;

/// One event as a scan gives it: all but its body.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Sequence number.
    pub seq: u64,
    /// Epoch of its frame.
    pub epoch: u64,
    /// The leaf, verified by the frame hash.
    pub leaf: Vec<u8>,
    /// The sealed row.
    pub row: Part,
    /// Where row and body lie, for [`crate::Journal::read`].
    pub location: Location,
    /// Hash of its frame.
    pub frame_hash: Hash,
    /// Whether it is the last event of its frame: then `frame_hash` belongs to this number as a checkpoint.
    pub frame_end: bool,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("seq", &self.seq)
            .field("location", &self.location)
            .field("frame_end", &self.frame_end)
            .finish_non_exhaustive()
    }
}

/// A sealed row as a scan finds it.
#[derive(Clone, PartialEq, Eq)]
pub enum Part {
    /// There, and its checksum matches.
    Present(Vec<u8>),
    /// Erased on purpose.
    Erased,
    /// Neither: rot, or an erasure that was interrupted and must be done again.
    Damaged,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Present(row) => write!(f, "Present({} bytes)", row.len()),
            Self::Erased => f.write_str("Erased"),
            Self::Damaged => f.write_str("Damaged"),
        }
    }
}

/// Reads and verifies the sealed parts at a location.
pub(crate) fn read(map: &Map, location: &Location) -> Result<Sealed> {
    let next_seq = map.head().next_seq;
    let wrong = || Error::WrongLocation { seq: location.seq };
    if location.seq >= next_seq {
        return Err(Error::UnknownSeq {
            seq: location.seq,
            next_seq,
        });
    }
    let header = map.segment_header(location.segment).ok_or_else(wrong)?;
    let end = location
        .offset
        .checked_add(location.sealed_len())
        .ok_or_else(wrong)?;
    if location.offset <= SEGMENT_HEADER_LEN
        || end > header.segment_size
        || location.row_len as usize > MAX_ROW_LEN
        || location.body_len as usize > MAX_BODY_LEN
    {
        return Err(wrong());
    }
    let mut bytes = read_sealed(
        map,
        location.segment,
        location.offset,
        location.sealed_len(),
    )?;
    let (state, sealed) = bytes.split_first().ok_or_else(wrong)?;
    match judge(*state, sealed, &location.digest) {
        Standing::Live => {
            let body = bytes.split_off(1 + location.row_len as usize);
            bytes.remove(0);
            Ok(Sealed { row: bytes, body })
        }
        // A pointer that is stale must not pass for rot.
        Standing::Erased | Standing::Damaged if locate(map, location.seq)? != *location => {
            Err(wrong())
        }
        Standing::Erased => Err(Error::Erased { seq: location.seq }),
        Standing::Damaged => {
            let damage = Error::Damaged {
                file: segment_file(location.segment),
                offset: location.offset,
                seq: Some(location.seq),
                kind: DamageKind::Sealed,
            };
            // Who asked may not be told the place; the operator is.
            tracing::error!(%damage, "stored data cannot be read");
            Err(damage)
        }
    }
}

/// Where an event's sealed parts lie, from its verified frame.
pub(crate) fn locate(map: &Map, seq: u64) -> Result<Location> {
    let frame = map.find(seq)?;
    let event = frame.event(seq).ok_or(Error::WrongLocation { seq })?;
    Ok(event.location(seq, frame.segment, frame.offset))
}

/// State byte, row and body; never the half of an erasure.
fn read_sealed(map: &Map, segment: u32, row_at: u64, len: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; to_usize(len) + 1];
    let file = map.file(segment)?;
    let _shared = map.erasing.read().unwrap_or_else(PoisonError::into_inner);
    file.read_exact_at(&mut bytes, row_at - 1)
        .map_err(|e| Error::io("reading", segment_file(segment), e))?;
    Ok(bytes)
}

/// Iterates over events in order, up to what is durable at each step. After an error it ends.
#[derive(Debug)]
pub struct Scan {
    map: Arc<Map>,
    from: u64,
    frame: Option<Loaded>,
    entries: VecDeque<Entry>,
    ended: bool,
}

impl Scan {
    pub(crate) const fn new(map: Arc<Map>, from: u64) -> Self {
        Self {
            map,
            from,
            frame: None,
            entries: VecDeque::new(),
            ended: false,
        }
    }

    /// Loads the next frame's entries; `false` at the durable end.
    fn advance(&mut self) -> Result<bool> {
        let next = match self.frame.take() {
            None if self.from >= self.map.head().next_seq => None,
            None => Some(self.map.find(self.from)?),
            Some(last) => {
                let next = self.map.next(&last)?;
                if let Some(next) = &next
                    && (next.header.prev_hash != last.hash
                        || next.header.first_seq != last.header.next_seq())
                {
                    return Err(Error::Damaged {
                        file: segment_file(next.segment),
                        offset: next.offset,
                        seq: Some(next.header.first_seq),
                        kind: DamageKind::Chain,
                    });
                }
                next
            }
        };
        let Some(frame) = next else { return Ok(false) };
        let rows = Rows::of(&self.map, &frame)?;
        let numbered = frame.events.iter().zip(frame.header.first_seq..);
        for (event, seq) in numbered.filter(|(_, seq)| *seq >= self.from) {
            self.entries.push_back(Entry {
                seq,
                epoch: frame.header.epoch,
                leaf: frame.leaf(event).to_vec(),
                row: rows.get(event)?,
                location: event.location(seq, frame.segment, frame.offset),
                frame_hash: frame.hash,
                frame_end: seq + 1 == frame.header.next_seq(),
            });
        }
        self.frame = Some(frame);
        Ok(true)
    }
}

impl Iterator for Scan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return Some(Ok(entry));
            }
            if self.ended {
                return None;
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => {
                    self.ended = true;
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl std::iter::FusedIterator for Scan {}

/// The rows of one frame: from one read when the sealed section is small, else one by one.
struct Rows<'a> {
    map: &'a Map,
    frame: &'a Loaded,
    whole: Option<Vec<u8>>,
}

impl<'a> Rows<'a> {
    fn of(map: &'a Map, frame: &'a Loaded) -> Result<Self> {
        let header = &frame.header;
        let whole = if header.sealed_len <= READ_WHOLE {
            let start = frame.offset + header.sealed_at();
            Some(read_sealed(
                map,
                frame.segment,
                start + 1,
                u64::from(header.sealed_len) - 1,
            )?)
        } else {
            None
        };
        Ok(Self { map, frame, whole })
    }

    fn get(&self, event: &EventMeta) -> Result<Part> {
        if event.row_len == 0 {
            return Ok(Part::Present(Vec::new()));
        }
        let row = self.sealed(event, u64::from(event.row_len))?;
        let row = row.split_first().map_or(&[][..], |(_, row)| row);
        if crc32c::crc32c(row) == event.row_crc {
            return Ok(Part::Present(row.to_vec()));
        }
        let sealed = self.sealed(event, event.sealed_len())?;
        let Some((state, sealed)) = sealed.split_first() else {
            return Ok(Part::Damaged);
        };
        Ok(match judge(*state, sealed, &event.digest) {
            Standing::Erased => Part::Erased,
            Standing::Live | Standing::Damaged => Part::Damaged,
        })
    }

    /// State byte and the first `len` bytes of an event's sealed parts.
    fn sealed(&self, event: &EventMeta, len: u64) -> Result<std::borrow::Cow<'_, [u8]>> {
        if let Some(whole) = &self.whole {
            let start = to_usize(event.row_at - 1 - self.frame.header.sealed_at());
            let end = start.saturating_add(to_usize(len) + 1);
            return Ok(whole.get(start..end).unwrap_or(&[]).into());
        }
        let row_at = self.frame.offset + event.row_at;
        read_sealed(self.map, self.frame.segment, row_at, len).map(Into::into)
    }
}
