//! The end of the last segment: torn write or rot? And the repair of a torn write.

use crate::bytes::{end_of_content, to_usize};
use crate::error::{DamageKind, Error, Result};
use crate::format::{SEGMENT_HEADER_LEN, SegmentHeader};
use crate::frame::{At, Chain, find_sound_after, look};
use crate::io::{Access, Io};
use crate::options::Watermarks;
use crate::recover::{DamagedEvent, Truncated, Walk, start_of};

/// Where the journal ends, and what was found there.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub(crate) offset: u64,
    pub(crate) truncated: Option<Truncated>,
    pub(crate) damaged: Vec<DamagedEvent>,
}

/// Torn tail or rot? Decides about the end of the last segment, and repairs a torn tail.
pub(crate) fn settle(
    io: &dyn Io,
    bytes: &[u8],
    header: &SegmentHeader,
    chain: &mut Chain,
    walk: &Walk,
    marks: &Watermarks,
) -> Result<End> {
    let mut offset = walk.offset;
    let mut damaged = walk.damaged.clone();
    let mut bad = walk.stop;
    if let Some(kind) = bad {
        // A sound frame that does not follow counts too: no torn write looks like that.
        let after = find_sound_after(bytes, offset, header.id, chain.next_seq);
        if let Some((_, next)) = after {
            return Err(Error::MidLogDamage {
                file: header.file(),
                offset,
                kind,
                next_valid_seq: next.first_seq,
            });
        }
        // Something was written after the last sound frame, so that frame had been synced: its sealed parts can only be rot.
        damaged.extend_from_slice(&walk.last_damaged);
    } else if !walk.last_damaged.is_empty()
        && let Some((first_seq, at)) = walk.frames.last()
    {
        // The last frame's sealed part does not match: the write stopped half-way, or the frame has rotted.
        offset = *at;
        bad = Some(DamageKind::Sealed);
        *chain = chain_before(bytes, header, *first_seq);
    }
    let highest = marks.highest();
    if let Some(watermark) = highest.filter(|watermark| chain.next_seq <= *watermark) {
        return Err(match bad {
            Some(kind) => Error::AckedDamaged {
                file: header.file(),
                offset,
                kind,
                seq: chain.next_seq,
                watermark,
            },
            None => Error::LostAcked {
                next_seq: chain.next_seq,
                watermark,
            },
        });
    }
    let truncated = match bad {
        None => None,
        Some(kind) => {
            let len = zero_tail(io, bytes, header, offset)?;
            let (file, first_seq) = (header.file(), chain.next_seq);
            tracing::warn!(%file, offset, len, first_seq, %kind, "removed an incomplete last frame");
            Some(Truncated {
                file,
                offset,
                len,
                first_seq,
                kind,
            })
        }
    };
    confirm(io, bytes, header, &walk.frames, offset)?;
    Ok(End {
        offset,
        truncated,
        damaged,
    })
}

/// Writes the last frame once more, and syncs file and folder.
///
/// It may stand in the cache alone: after a killed process, or after a failed barrier, whose pages count as clean although they never
/// reached the disk. From here on it is relied upon, so it must be durable. A crash in the midst changes nothing: the bytes are the same.
fn confirm(
    io: &dyn Io,
    bytes: &[u8],
    header: &SegmentHeader,
    frames: &[(u64, u64)],
    end: u64,
) -> Result<()> {
    let file = header.file();
    let failed = |e| Error::io("confirming", &file, e);
    let handle = io.open(&file, Access::Write).map_err(failed)?;
    let last = frames
        .iter()
        .rev()
        .map(|(_, offset)| *offset)
        .find(|offset| *offset < end);
    if let Some(frame) = last.and_then(|start| {
        bytes
            .get(to_usize(start)..to_usize(end))
            .map(|b| (start, b))
    }) {
        handle.write_all_at(frame.1, frame.0).map_err(failed)?;
    }
    handle.sync_data().map_err(failed)?;
    io.sync_dir()
        .map_err(|e| Error::io("syncing", io.place(), e))
}

/// The chain as it stood before the frame that begins with `stop`.
fn chain_before(bytes: &[u8], header: &SegmentHeader, stop: u64) -> Chain {
    let mut chain = start_of(header);
    let mut offset = SEGMENT_HEADER_LEN;
    while chain.next_seq < stop
        && let At::Frame(frame) = look(bytes, offset)
    {
        frame.advance(&mut chain);
        offset += frame.header.len();
    }
    chain
}

/// Zeroes a torn tail and syncs. A crash in the midst of it leaves a tail that is torn still: the next start does the same again.
fn zero_tail(io: &dyn Io, bytes: &[u8], header: &SegmentHeader, offset: u64) -> Result<u64> {
    let file = header.file();
    let failed = |e| Error::io("repairing", &file, e);
    let tail = bytes.get(to_usize(offset)..).unwrap_or(&[]);
    let len = end_of_content(tail) as u64;
    let handle = io.open(&file, Access::Write).map_err(failed)?;
    handle.fill_zero(offset, offset + len).map_err(failed)?;
    handle.sync_data().map_err(failed)?;
    Ok(len)
}
