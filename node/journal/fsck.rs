//! Checking a stopped journal, all of it, changing nothing, and telling exactly what is wrong and where.

use crate::bytes::{end_of_content, is_zero, to_usize};
use crate::error::{DamageKind, Error, Result};
use crate::event::Hash;
use crate::format::{
    FRAME_HEADER, SEGMENT_BLOCK, SEGMENT_HEADER_LEN, SegmentHeader, Standing, genesis_hash,
    segment_file, segment_id,
};
use crate::frame::{At, Chain, Frame, find_sound_after, look, standing};
use crate::io::{Access, Io};
use crate::options::MAX_SEGMENT_SIZE;
use crate::spare::leftover;

/// Bytes read between two calls of the progress callback.
const READ_CHUNK: usize = 4 * 1024 * 1024;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The journal's id, from the first readable segment header.
    pub journal_id: Option<[u8; 16]>,
    /// Each segment, in order.
    pub segments: Vec<SegmentReport>,
    /// Sound frames.
    pub frames: u64,
    /// Events in sound frames.
    pub events: u64,
    /// Of these, events whose sealed parts were erased on purpose.
    pub erased: u64,
    /// The first sequence number not in use, as far as sound frames tell.
    pub next_seq: u64,
    /// Hash of the last sound frame.
    pub head_hash: Hash,
    /// Its epoch.
    pub epoch: u64,
    /// Spare and temporary files (they hold nothing).
    pub leftovers: Vec<String>,
    /// Everything wrong, in the order of files and offsets.
    pub damage: Vec<Damage>,
}

impl Report {
    /// Whether nothing at all is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.damage.is_empty()
    }

    /// Whether the journal would start: nothing is wrong but what recovery repairs or only reports.
    #[must_use]
    pub fn would_start(&self) -> bool {
        self.damage.iter().all(|damage| {
            matches!(
                damage.kind,
                DamageKind::TornTail | DamageKind::Sealed | DamageKind::Padding
            )
        })
    }
}

/// One segment file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentReport {
    /// File name.
    pub file: String,
    /// Length of the file, bytes.
    pub len: u64,
    /// Bytes up to the end of its last frame.
    pub used: u64,
    /// First sequence number, from its header or, if that is damaged, from the chain.
    pub first_seq: u64,
    /// Sound frames.
    pub frames: u64,
    /// Events in them.
    pub events: u64,
    /// Of these, erased.
    pub erased: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Segment file.
    pub file: String,
    /// First byte concerned.
    pub offset: u64,
    /// Bytes concerned; 0 when that cannot be told.
    pub len: u64,
    /// The event, or the first of the events, concerned.
    pub seq: Option<u64>,
    /// Which part.
    pub kind: DamageKind,
}

/// Checks every byte of every segment. `progress` is called with (bytes done, bytes in all).
///
/// # Errors
/// [`Error::Locked`] when a node is running on the folder, [`Error::NoJournal`], or an input error. Damage is not an error
/// but in the report.
pub fn fsck(io: &dyn Io, progress: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    let lock = io
        .lock(Access::Read)
        .map_err(|e| Error::io("locking", io.place(), e))?;
    let Some(_lock) = lock else {
        return Err(Error::Locked { place: io.place() });
    };
    let mut names = io.list().map_err(|e| Error::io("listing", io.place(), e))?;
    names.sort();
    let ids: Vec<u32> = names.iter().filter_map(|name| segment_id(name)).collect();
    let Some(last) = ids.last().copied() else {
        return Err(Error::NoJournal { place: io.place() });
    };
    let mut check = Check {
        last,
        ..Check::default()
    };
    check.report.leftovers = names
        .into_iter()
        .filter(|name| leftover(name).is_some())
        .collect();
    let mut total = 0;
    for id in &ids {
        total += file_len(io, *id)?;
    }
    let mut done = 0;
    for id in ids {
        check.missing_before(id);
        let bytes = read(io, id, &mut |read| {
            done += read;
            progress(done, total);
        })?;
        check.segment(id, &bytes);
    }
    let chain = check.chain.unwrap_or(Chain {
        next_seq: 0,
        prev_hash: [0; 32],
        epoch: 0,
    });
    check.report.next_seq = chain.next_seq;
    check.report.head_hash = chain.prev_hash;
    check.report.epoch = chain.epoch;
    Ok(check.report)
}

#[derive(Default)]
struct Check {
    report: Report,
    /// Where the sound part of the chain stands; `None` after a break, until the next sound frame.
    chain: Option<Chain>,
    prev_header: Option<SegmentHeader>,
    expected: u32,
    last: u32,
}

impl Check {
    fn missing_before(&mut self, id: u32) {
        for missing in self.expected..id {
            let seq = self.chain.as_ref().map(|chain| chain.next_seq);
            self.found(
                &segment_file(missing),
                0,
                0,
                seq,
                DamageKind::MissingSegment,
            );
            self.chain = None;
            self.prev_header = None;
        }
        self.expected = id.saturating_add(1);
    }

    fn segment(&mut self, id: u32, bytes: &[u8]) {
        let file = segment_file(id);
        let len = bytes.len() as u64;
        let mut segment = SegmentReport {
            file,
            len,
            used: SEGMENT_HEADER_LEN,
            ..SegmentReport::default()
        };
        let block = bytes.get(..SEGMENT_BLOCK).unwrap_or(bytes);
        let header = SegmentHeader::decode(block, &segment.file)
            .ok()
            .filter(|h| h.id == id);
        match header {
            Some(header) => self.header(&header, &mut segment),
            None => {
                let seq = self.chain.as_ref().map(|chain| chain.next_seq);
                let kind = if len < SEGMENT_HEADER_LEN {
                    DamageKind::Length
                } else {
                    DamageKind::SegmentHeader
                };
                self.found(&segment.file, 0, SEGMENT_HEADER_LEN.min(len), seq, kind);
                segment.first_seq = seq.unwrap_or_default();
                self.prev_header = None;
            }
        }
        self.frames(id, bytes, &mut segment);
        self.report.frames += segment.frames;
        self.report.events += segment.events;
        self.report.erased += segment.erased;
        self.report.segments.push(segment);
    }

    fn header(&mut self, header: &SegmentHeader, segment: &mut SegmentReport) {
        segment.first_seq = header.first_seq;
        let id = *self.report.journal_id.get_or_insert(header.journal_id);
        let follows_header = match &self.prev_header {
            Some(prev) => header.prev_header_hash == prev.hash(),
            None => header.id > 0 || header.prev_hash == genesis_hash(&header.journal_id),
        };
        let follows_chain = self.chain.as_ref().is_none_or(|chain| {
            chain.next_seq == header.first_seq && chain.prev_hash == header.prev_hash
        });
        if header.journal_id != id || !follows_header || !follows_chain {
            let seq = Some(header.first_seq);
            self.found(&segment.file, 0, SEGMENT_HEADER_LEN, seq, DamageKind::Chain);
        }
        if header.segment_size != segment.len {
            let from = segment.len.min(header.segment_size);
            let len = segment.len.abs_diff(header.segment_size);
            self.found(&segment.file, from, len, None, DamageKind::Length);
        }
        self.chain = Some(crate::recover::start_of(header));
        self.prev_header = Some(header.clone());
    }

    fn frames(&mut self, id: u32, bytes: &[u8], segment: &mut SegmentReport) {
        let mut last_frame: Option<(u64, usize)> = None;
        let mut offset = SEGMENT_HEADER_LEN;
        loop {
            match look(bytes, offset) {
                At::End => break,
                At::Frame(frame) if frame.header.segment == id => {
                    last_frame = Some((offset, self.report.damage.len()));
                    self.frame(bytes, offset, &frame, segment);
                    offset += frame.header.len();
                    segment.used = offset;
                }
                other => {
                    let kind = if let At::Bad(kind) = other {
                        kind
                    } else {
                        DamageKind::Chain
                    };
                    match self.resume(id, bytes, offset, kind, segment) {
                        Some(next) => offset = next,
                        None => return,
                    }
                }
            }
        }
        // The very last frame with a damaged sealed part is what recovery takes for a torn write.
        if id == self.last
            && let Some((at, before)) = last_frame
        {
            for damage in self.report.damage.iter_mut().skip(before) {
                if damage.kind == DamageKind::Sealed && damage.offset >= at {
                    damage.kind = DamageKind::TornTail;
                }
            }
        }
    }

    fn frame(&mut self, bytes: &[u8], offset: u64, frame: &Frame, segment: &mut SegmentReport) {
        let file = segment.file.clone();
        let first = frame.header.first_seq;
        if self
            .chain
            .as_ref()
            .is_some_and(|chain| !frame.follows(chain, frame.header.segment))
        {
            self.found(
                &file,
                offset,
                FRAME_HEADER as u64,
                Some(first),
                DamageKind::Chain,
            );
        }
        let whole = bytes.get(to_usize(offset)..).unwrap_or(&[]);
        for (event, seq) in frame.events.iter().zip(first..) {
            match standing(whole, event) {
                Standing::Live => {}
                Standing::Erased => segment.erased += 1,
                Standing::Damaged => {
                    let at = offset + event.row_at;
                    self.found(&file, at, event.sealed_len(), Some(seq), DamageKind::Sealed);
                }
            }
        }
        let (content, end) = (frame.header.content_len(), frame.header.len());
        let padding = whole.get(to_usize(content)..to_usize(end)).unwrap_or(&[]);
        if !is_zero(padding) {
            self.found(
                &file,
                offset + content,
                end - content,
                None,
                DamageKind::Padding,
            );
        }
        segment.frames += 1;
        segment.events += u64::from(frame.header.count);
        let mut chain = Chain {
            next_seq: 0,
            prev_hash: [0; 32],
            epoch: 0,
        };
        frame.advance(&mut chain);
        self.chain = Some(chain);
    }

    /// Notes a bad place and finds where to go on; `None` when nothing sound follows.
    fn resume(
        &mut self,
        id: u32,
        bytes: &[u8],
        offset: u64,
        kind: DamageKind,
        segment: &mut SegmentReport,
    ) -> Option<u64> {
        let file = segment.file.clone();
        let seq = self.chain.as_ref().map(|chain| chain.next_seq);
        let after = find_sound_after(bytes, offset + 8, id, seq.unwrap_or(0));
        let rest = bytes.get(to_usize(offset)..).unwrap_or(&[]);
        let content = end_of_content(rest) as u64;
        segment.used = offset + content;
        let Some((next, _)) = after else {
            let kind = if id == self.last {
                DamageKind::TornTail
            } else {
                kind
            };
            self.found(&file, offset, content, seq, kind);
            if id != self.last {
                self.chain = None;
            }
            return None;
        };
        self.found(&file, offset, next - offset, seq, kind);
        self.chain = None;
        Some(next)
    }

    fn found(&mut self, file: &str, offset: u64, len: u64, seq: Option<u64>, kind: DamageKind) {
        self.report.damage.push(Damage {
            file: file.to_owned(),
            offset,
            len,
            seq,
            kind,
        });
    }
}

fn file_len(io: &dyn Io, id: u32) -> Result<u64> {
    let name = segment_file(id);
    let failed = |e| Error::io("reading", name.as_str(), e);
    io.open(&name, Access::Read)
        .and_then(|file| file.len())
        .map_err(failed)
}

fn read(io: &dyn Io, id: u32, progress: &mut dyn FnMut(u64)) -> Result<Vec<u8>> {
    let name = segment_file(id);
    let failed = |e| Error::io("reading", name.as_str(), e);
    let file = io.open(&name, Access::Read).map_err(failed)?;
    let len = file.len().map_err(failed)?.min(MAX_SEGMENT_SIZE);
    let mut bytes = vec![0; to_usize(len)];
    let mut at = 0;
    for chunk in bytes.chunks_mut(READ_CHUNK) {
        file.read_exact_at(chunk, at).map_err(failed)?;
        at += chunk.len() as u64;
        progress(chunk.len() as u64);
    }
    Ok(bytes)
}
