//! Whole frames: encoding a group commit into one buffer, and verifying one found in a segment.

use std::ops::Range;

use crate::bytes::{Cursor, is_zero, len_u32, put, to_usize};
use crate::error::DamageKind;
use crate::event::{Event, Hash, Location, MAX_BODY_LEN, MAX_LEAF_LEN, MAX_ROW_LEN};
use crate::format::{
    FRAME_HEADER, FRAME_HEADER_LEN, FRAME_MAGIC, FrameHeader, HASH_LEN, STATE_LIVE, Standing,
    frame_crc_matches, frame_hash, judge, sha256,
};

/// Bytes of one event in the meta section, without its leaf.
const META_FIXED: u64 = 46;

/// Where the chain stands: what the next frame must name and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) next_seq: u64,
    pub(crate) prev_hash: Hash,
    pub(crate) epoch: u64,
}

/// What the meta section says about one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventMeta {
    /// The leaf's place in the meta section.
    pub(crate) leaf: Range<usize>,
    pub(crate) row_len: u32,
    pub(crate) body_len: u32,
    pub(crate) row_crc: u32,
    pub(crate) digest: Hash,
    /// Offset of the row from the start of the frame; the state byte lies before it.
    pub(crate) row_at: u64,
}

impl EventMeta {
    pub(crate) fn sealed_len(&self) -> u64 {
        u64::from(self.row_len) + u64::from(self.body_len)
    }

    pub(crate) fn location(&self, seq: u64, segment: u32, frame_offset: u64) -> Location {
        Location {
            seq,
            segment,
            offset: frame_offset + self.row_at,
            row_len: self.row_len,
            body_len: self.body_len,
            digest: short(&self.digest),
        }
    }
}

/// A frame whose header and meta section verify on their own.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    pub(crate) events: Vec<EventMeta>,
    pub(crate) hash: Hash,
}

impl Frame {
    /// Verifies header, CRC, hash and shape of the frame that begins at the start of `bytes`
    /// (which must reach at least to the end of the stored hash).
    pub(crate) fn verify(bytes: &[u8]) -> Result<Self, DamageKind> {
        let head = bytes.get(..FRAME_HEADER).ok_or(DamageKind::FrameHeader)?;
        let header = FrameHeader::decode(head).ok_or(DamageKind::FrameHeader)?;
        let meta_end = FRAME_HEADER.saturating_add(header.meta_len as usize);
        let meta = bytes.get(FRAME_HEADER..meta_end).ok_or(DamageKind::Meta)?;
        let stored = bytes
            .get(meta_end..meta_end.saturating_add(32))
            .ok_or(DamageKind::Meta)?;
        if !frame_crc_matches(head, meta) {
            return Err(DamageKind::Meta);
        }
        let hash = frame_hash(head, meta);
        if hash != stored {
            return Err(DamageKind::Meta);
        }
        let events = parse_meta(&header, meta).ok_or(DamageKind::Meta)?;
        Ok(Self {
            header,
            events,
            hash,
        })
    }

    /// Whether this frame is the one the chain waits for, in the segment it lies in.
    pub(crate) fn follows(&self, chain: &Chain, segment: u32) -> bool {
        self.header.segment == segment
            && self.header.first_seq == chain.next_seq
            && self.header.prev_hash == chain.prev_hash
            && self.header.epoch >= chain.epoch
    }

    pub(crate) fn advance(&self, chain: &mut Chain) {
        *chain = Chain {
            next_seq: self.header.next_seq(),
            prev_hash: self.hash,
            epoch: self.header.epoch,
        };
    }
}

/// What lies at an offset of a segment held in memory.
#[derive(Debug)]
pub(crate) enum At {
    /// Zeros from here to the end of the segment.
    End,
    /// A frame that verifies and lies within the segment.
    Frame(Frame),
    /// Anything else.
    Bad(DamageKind),
}

/// Looks at one offset of a whole segment.
pub(crate) fn look(segment: &[u8], offset: u64) -> At {
    let rest = segment.get(to_usize(offset)..).unwrap_or(&[]);
    let start = rest.get(..FRAME_HEADER).unwrap_or(rest);
    if is_zero(start) {
        return if is_zero(rest) {
            At::End
        } else {
            At::Bad(DamageKind::FrameHeader)
        };
    }
    match Frame::verify(rest) {
        Ok(frame) if frame.header.len() > rest.len() as u64 => At::Bad(DamageKind::FrameHeader),
        Ok(frame) => At::Frame(frame),
        Err(kind) => At::Bad(kind),
    }
}

/// Finds the next frame of this segment that verifies on its own and has a number of at least `min_seq`.
pub(crate) fn find_sound_after(
    segment: &[u8],
    from: u64,
    id: u32,
    min_seq: u64,
) -> Option<(u64, FrameHeader)> {
    let start = to_usize(from);
    for (step, place) in segment.get(start..)?.chunks_exact(8).enumerate() {
        if place.starts_with(&FRAME_MAGIC) {
            let offset = (start + step * 8) as u64;
            if let At::Frame(frame) = look(segment, offset)
                && frame.header.segment == id
                && frame.header.first_seq >= min_seq
            {
                return Some((offset, frame.header));
            }
        }
    }
    None
}

/// The standing of one event's sealed parts, given the bytes of the whole frame.
pub(crate) fn standing(frame: &[u8], event: &EventMeta) -> Standing {
    let row_at = to_usize(event.row_at);
    let state = row_at.checked_sub(1).and_then(|at| frame.get(at));
    let sealed = frame.get(row_at..row_at.saturating_add(to_usize(event.sealed_len())));
    match (state, sealed) {
        (Some(state), Some(sealed)) => judge(*state, sealed, &event.digest),
        _ => Standing::Damaged,
    }
}

/// Bytes one event adds to a frame.
pub(crate) fn event_len(event: &Event) -> u64 {
    META_FIXED + 1 + (event.leaf.len() + event.row.len() + event.body.len()) as u64
}

/// Bytes of a frame whose events add up to `events_len`, padding included.
pub(crate) const fn frame_len(events_len: u64) -> u64 {
    crate::bytes::align8(FRAME_HEADER_LEN + HASH_LEN + events_len)
}

/// An event and what its submitter has computed of it, off the writer's thread.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) event: Event,
    digest: Hash,
    row_crc: u32,
}

impl Prepared {
    pub(crate) fn new(event: Event) -> Self {
        let digest = sha256(&[&event.row, &event.body]);
        let row_crc = crc32c::crc32c(&event.row);
        Self {
            event,
            digest,
            row_crc,
        }
    }
}

/// What encoding a frame yields besides its bytes.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) hash: Hash,
    pub(crate) locations: Vec<Location>,
}

/// Encodes one frame into `buffer` (cleared first), ready for a single write at `offset` of `segment`.
///
/// Limits were checked on submission: counts and lengths fit their fields.
pub(crate) fn encode<'a>(
    buffer: &mut Vec<u8>,
    events: impl Iterator<Item = &'a Prepared> + Clone,
    segment: u32,
    offset: u64,
    chain: &Chain,
) -> Encoded {
    buffer.clear();
    buffer.resize(FRAME_HEADER, 0);
    let mut locations = Vec::new();
    let mut sealed_len = 0_u32;
    for (prepared, seq) in events.clone().zip(chain.next_seq..) {
        let Prepared {
            event,
            digest,
            row_crc,
        } = prepared;
        let (row_len, body_len) = (len_u32(event.row.len()), len_u32(event.body.len()));
        let leaf_len = u16::try_from(event.leaf.len()).unwrap_or(u16::MAX);
        buffer.extend_from_slice(&leaf_len.to_le_bytes());
        buffer.extend_from_slice(&row_len.to_le_bytes());
        buffer.extend_from_slice(&body_len.to_le_bytes());
        buffer.extend_from_slice(&row_crc.to_le_bytes());
        buffer.extend_from_slice(digest);
        buffer.extend_from_slice(&event.leaf);
        // Relative to the sealed section for now: its start is known once the meta section is complete.
        let at = u64::from(sealed_len) + 1;
        locations.push(Location {
            seq,
            segment,
            offset: at,
            row_len,
            body_len,
            digest: short(digest),
        });
        sealed_len += 1 + row_len + body_len;
    }
    let header = FrameHeader {
        segment,
        count: len_u32(locations.len()),
        epoch: chain.epoch,
        first_seq: chain.next_seq,
        meta_len: len_u32(buffer.len() - FRAME_HEADER),
        sealed_len,
        prev_hash: chain.prev_hash,
    };
    header.encode_into(buffer);
    let (head, meta) = buffer.split_at(FRAME_HEADER);
    let hash = frame_hash(head, meta);
    buffer.reserve(to_usize(header.len()) - buffer.len());
    buffer.extend_from_slice(&hash);
    for Prepared { event, .. } in events {
        buffer.push(STATE_LIVE);
        buffer.extend_from_slice(&event.row);
        buffer.extend_from_slice(&event.body);
    }
    buffer.resize(to_usize(header.len()), 0);
    for location in &mut locations {
        location.offset += offset + header.sealed_at();
    }
    Encoded { hash, locations }
}

fn parse_meta(header: &FrameHeader, meta: &[u8]) -> Option<Vec<EventMeta>> {
    // A count that the section cannot hold must not decide an allocation.
    let most = meta.len() as u64 / META_FIXED;
    if u64::from(header.count) > most {
        return None;
    }
    let mut events = Vec::with_capacity(header.count as usize);
    let mut cursor = Cursor::new(meta);
    let mut sealed = 0_u64;
    let mut at = 0_usize;
    for _ in 0..header.count {
        let leaf_len = usize::from(cursor.u16()?);
        let row_len = cursor.u32()?;
        let body_len = cursor.u32()?;
        let row_crc = cursor.u32()?;
        let digest = cursor.array()?;
        cursor.take(leaf_len)?;
        let leaf_at = at + to_usize(META_FIXED);
        at = leaf_at + leaf_len;
        if leaf_len == 0
            || leaf_len > MAX_LEAF_LEN
            || row_len as usize > MAX_ROW_LEN
            || body_len as usize > MAX_BODY_LEN
        {
            return None;
        }
        let row_at = header.sealed_at() + sealed + 1;
        let event = EventMeta {
            leaf: leaf_at..at,
            row_len,
            body_len,
            row_crc,
            digest,
            row_at,
        };
        sealed += 1 + event.sealed_len();
        events.push(event);
    }
    (cursor.is_empty() && sealed == u64::from(header.sealed_len)).then_some(events)
}

fn short(digest: &Hash) -> [u8; 16] {
    let mut first = [0; 16];
    put(&mut first, 0, digest.split_at(16).0);
    first
}
