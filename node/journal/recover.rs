//! The start: verify what is on disk, tell a torn write from rot, and refuse rather than skip.

use std::sync::Arc;

use crate::bytes::{is_zero, to_usize};
use crate::error::{DamageKind, Error, Result};
use crate::event::{Hash, Location};
use crate::format::{
    FRAME_HEADER, SEGMENT_BLOCK, SEGMENT_HEADER_LEN, SegmentHeader, Standing, segment_file,
    segment_id,
};
use crate::frame::{At, Chain, Frame, look, standing};
use crate::io::{Access, Io};
use crate::journal::Head;
use crate::map::Map;
use crate::options::{Options, Watermarks};
use crate::tail::{End, settle};

/// What the start found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// The journal's id, given when it was created.
    pub journal_id: [u8; 16],
    /// The first sequence number not in use: how many events the journal holds.
    pub next_seq: u64,
    /// Hash of the last frame (of the genesis while there is none).
    pub head_hash: Hash,
    /// Highest epoch in the journal before this start.
    pub epoch: u64,
    /// Segments in the folder.
    pub segments: u32,
    /// Segment from which the chain was verified.
    pub scanned_from_segment: u32,
    /// Frames verified.
    pub frames_scanned: u64,
    /// The torn write that was removed, if any. The caller records it as an event.
    pub truncated: Option<Truncated>,
    /// Events of the last segment whose sealed parts are damaged. An erasure interrupted by a crash looks so too: do erasures
    /// again first ([`crate::Journal::erase`]), then what still fails [`crate::Journal::read`] is rot and must be told.
    pub damaged: Vec<DamagedEvent>,
    /// How the index's checkpoint stands to the journal.
    pub index: IndexStanding,
}

/// A bad tail that no one had been told was durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncated {
    /// Segment file.
    pub file: String,
    /// Where the bad tail began.
    pub offset: u64,
    /// Bytes from there to the last that was not zero.
    pub len: u64,
    /// Sequence number the torn frame would have begun with.
    pub first_seq: u64,
    /// What was wrong with it.
    pub kind: DamageKind,
}

/// An event whose leaf is sound and whose sealed parts are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamagedEvent {
    /// Where its sealed parts lie; the number is in it.
    pub location: Location,
}

/// Whether an index can go on from its checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexStanding {
    /// No checkpoint was given: build the index from the start.
    Absent,
    /// The checkpoint's hash is the journal's at that number: apply what follows.
    Matches,
    /// The checkpoint belongs to another history: rebuild the index.
    Diverges,
}

/// What opening needs to go on writing.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) map: Map,
    pub(crate) chain: Chain,
    pub(crate) segment: SegmentHeader,
    pub(crate) offset: u64,
    pub(crate) recovery: Recovery,
}

/// Everything learnt from one segment.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// (first_seq, offset) of each sound frame.
    pub(crate) frames: Vec<(u64, u64)>,
    /// Damaged events of the frame seen last.
    pub(crate) last_damaged: Vec<DamagedEvent>,
    /// Damaged events of the frames before it.
    pub(crate) damaged: Vec<DamagedEvent>,
    pub(crate) offset: u64,
    pub(crate) stop: Option<DamageKind>,
}

/// Reads the segment headers of a folder, in order, and checks that they belong together.
pub(crate) fn segment_headers(io: &dyn Io) -> Result<Vec<SegmentHeader>> {
    let names = io.list().map_err(|e| Error::io("listing", io.place(), e))?;
    let mut ids: Vec<u32> = names.iter().filter_map(|name| segment_id(name)).collect();
    ids.sort_unstable();
    let mut headers: Vec<SegmentHeader> = Vec::with_capacity(ids.len());
    for (id, expected) in ids.into_iter().zip(0..) {
        let file = segment_file(id);
        let fail = |kind| Error::Damaged {
            file: file.clone(),
            offset: 0,
            seq: None,
            kind,
        };
        if id != expected {
            return Err(Error::Damaged {
                file: segment_file(expected),
                offset: 0,
                seq: None,
                kind: DamageKind::MissingSegment,
            });
        }
        let header = read_header(io, id)?;
        let follows = match headers.last() {
            None => {
                header.first_seq == 0
                    && header.prev_header_hash == [0; 32]
                    && header.prev_hash == crate::format::genesis_hash(&header.journal_id)
            }
            Some(prev) => {
                header.journal_id == prev.journal_id
                    && header.prev_header_hash == prev.hash()
                    && header.first_seq >= prev.first_seq
                    && header.epoch >= prev.epoch
            }
        };
        if !follows {
            return Err(fail(DamageKind::Chain));
        }
        headers.push(header);
    }
    if headers.is_empty() {
        return Err(Error::NoJournal { place: io.place() });
    }
    Ok(headers)
}

/// One header block, with the file's name and length checked against it.
pub(crate) fn read_header(io: &dyn Io, id: u32) -> Result<SegmentHeader> {
    let file = segment_file(id);
    let failed = |e| Error::io("reading", &file, e);
    let damaged = |offset, kind| Error::Damaged {
        file: file.clone(),
        offset,
        seq: None,
        kind,
    };
    let handle = io.open(&file, Access::Read).map_err(failed)?;
    let len = handle.len().map_err(failed)?;
    if len < SEGMENT_HEADER_LEN {
        return Err(damaged(len, DamageKind::Length));
    }
    let mut block = vec![0; SEGMENT_BLOCK];
    handle.read_exact_at(&mut block, 0).map_err(failed)?;
    let header = SegmentHeader::decode(&block, &file)?;
    if header.id != id {
        return Err(damaged(0, DamageKind::SegmentHeader));
    }
    if header.segment_size != len {
        return Err(damaged(len.min(header.segment_size), DamageKind::Length));
    }
    Ok(header)
}

/// A whole segment in memory.
pub(crate) fn read_segment(io: &dyn Io, header: &SegmentHeader) -> Result<Vec<u8>> {
    let file = header.file();
    let failed = |e| Error::io("reading", &file, e);
    let handle = io.open(&file, Access::Read).map_err(failed)?;
    let mut bytes = vec![0; to_usize(header.segment_size)];
    handle.read_exact_at(&mut bytes, 0).map_err(failed)?;
    Ok(bytes)
}

/// Opens the log: see FORMAT.md, "Recovery", for each outcome.
pub(crate) fn open(io: Arc<dyn Io>, options: &Options, marks: &Watermarks) -> Result<Opened> {
    let headers = segment_headers(&*io)?;
    let first = headers
        .first()
        .ok_or_else(|| Error::NoJournal { place: io.place() })?;
    let journal_id = first.journal_id;
    let from = scan_start(&*io, &headers, marks)?;
    let mut chain = start_of(headers.get(from).unwrap_or(first));
    let mut frames_scanned = 0;
    let mut scanned = Vec::new();
    let mut end = None;
    for (at, header) in headers.iter().enumerate().skip(from) {
        let bytes = read_segment(&*io, header)?;
        let next = headers.get(at + 1);
        let walk = walk(&bytes, header, &mut chain, next.is_none());
        frames_scanned += walk.frames.len() as u64;
        match next {
            Some(next) => check_sealed(&walk, header, next, &chain)?,
            None => {
                if let Some(asked) = options.epoch.filter(|asked| *asked < chain.epoch) {
                    return Err(Error::EpochBehind {
                        asked,
                        found: chain.epoch,
                    });
                }
                end = Some(settle(&*io, &bytes, header, &mut chain, &walk, marks)?);
            }
        }
        scanned.push((header.id, walk.frames));
    }
    let segment = headers
        .last()
        .cloned()
        .ok_or_else(|| Error::NoJournal { place: io.place() })?;
    let End {
        offset,
        truncated,
        damaged,
    } = end.unwrap_or_default();
    if let (Some(truncated), Some((_, frames))) = (&truncated, scanned.last_mut()) {
        frames.retain(|(_, offset)| *offset < truncated.offset);
    }
    let head = Head {
        next_seq: chain.next_seq,
        hash: chain.prev_hash,
        epoch: chain.epoch,
    };
    let segments = u32::try_from(headers.len()).unwrap_or(u32::MAX);
    let map = Map::new(io, headers, head);
    for (id, frames) in scanned {
        map.set_marks(id, frames.into_iter());
    }
    let index = match marks.index_seq {
        None => IndexStanding::Absent,
        Some((seq, hash)) => {
            let frame = map.find(seq)?;
            if frame.header.next_seq() == seq + 1 && frame.hash == hash {
                IndexStanding::Matches
            } else {
                IndexStanding::Diverges
            }
        }
    };
    let recovery = Recovery {
        journal_id,
        next_seq: chain.next_seq,
        head_hash: chain.prev_hash,
        epoch: chain.epoch,
        segments,
        scanned_from_segment: u32::try_from(from).unwrap_or(u32::MAX),
        frames_scanned,
        truncated,
        damaged,
        index,
    };
    chain.epoch = options.epoch.unwrap_or(chain.epoch);
    Ok(Opened {
        map,
        chain,
        segment,
        offset,
        recovery,
    })
}

/// The chain as it stands before the first frame of a segment.
pub(crate) fn start_of(header: &SegmentHeader) -> Chain {
    Chain {
        next_seq: header.first_seq,
        prev_hash: header.prev_hash,
        epoch: header.epoch,
    }
}

/// The segment to verify from: the one that holds the asked event, and always one that can hold the last frame.
fn scan_start(io: &dyn Io, headers: &[SegmentHeader], marks: &Watermarks) -> Result<usize> {
    let mut from = headers.len().saturating_sub(1);
    let mut end = 0;
    if let Some(last) = headers.last() {
        end = last.first_seq;
        let mut start = [0; FRAME_HEADER];
        let file = io.open(&last.file(), Access::Read);
        file.and_then(|file| file.read_exact_at(&mut start, SEGMENT_HEADER_LEN))
            .map_err(|e| Error::io("reading", last.file(), e))?;
        if is_zero(&start) {
            // The last segment is still empty: the last frame is in the one before.
            from = from.saturating_sub(1);
        }
    }
    if let Some(seq) = marks.scan_from_seq.or(marks.index_seq.map(|(seq, _)| seq)) {
        let seq = seq.min(end);
        let after = headers.partition_point(|header| header.first_seq <= seq);
        from = from.min(after.saturating_sub(1));
    }
    Ok(from)
}

/// Follows the chain through one segment until it ends or breaks. `deep` also checks every digest.
fn walk(bytes: &[u8], header: &SegmentHeader, chain: &mut Chain, deep: bool) -> Walk {
    let mut walk = Walk {
        offset: SEGMENT_HEADER_LEN,
        ..Walk::default()
    };
    loop {
        match look(bytes, walk.offset) {
            At::End => return walk,
            At::Bad(kind) => {
                walk.stop = Some(kind);
                return walk;
            }
            At::Frame(frame) if !frame.follows(chain, header.id) => {
                walk.stop = Some(DamageKind::Chain);
                return walk;
            }
            At::Frame(frame) => {
                let earlier = std::mem::take(&mut walk.last_damaged);
                walk.damaged.extend(earlier);
                if deep {
                    walk.last_damaged = damaged_events(bytes, &frame, walk.offset);
                }
                walk.frames.push((frame.header.first_seq, walk.offset));
                frame.advance(chain);
                walk.offset += frame.header.len();
            }
        }
    }
}

fn damaged_events(bytes: &[u8], frame: &Frame, offset: u64) -> Vec<DamagedEvent> {
    let whole = bytes.get(to_usize(offset)..).unwrap_or(&[]);
    let numbered = frame.events.iter().zip(frame.header.first_seq..);
    numbered
        .filter(|(event, _)| standing(whole, event) == Standing::Damaged)
        .map(|(event, seq)| DamagedEvent {
            location: event.location(seq, frame.header.segment, offset),
        })
        .collect()
}

/// A segment that has a successor must be whole and lead exactly to it.
fn check_sealed(
    walk: &Walk,
    header: &SegmentHeader,
    next: &SegmentHeader,
    chain: &Chain,
) -> Result<()> {
    let kind = match walk.stop {
        Some(kind) => kind,
        None if chain.next_seq == next.first_seq && chain.prev_hash == next.prev_hash => {
            return Ok(());
        }
        None => DamageKind::Chain,
    };
    Err(Error::MidLogDamage {
        file: header.file(),
        offset: walk.offset,
        kind,
        next_valid_seq: next.first_seq,
    })
}
