//! Where each event lies: the segments, sparse marks inside them, the durable end, and verified look-ups by number.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::bytes::to_usize;
use crate::error::{DamageKind, Error, Result};
use crate::event::Hash;
use crate::format::{
    FRAME_HEADER, FRAME_HEADER_LEN, FrameHeader, HASH_LEN, SEGMENT_HEADER_LEN, SegmentHeader,
    segment_file,
};
use crate::frame::{EventMeta, Frame, find_sound_after};
use crate::io::{Access, Io, IoFile};
use crate::journal::Head;

/// One mark is kept for this many bytes of a segment: 1024 marks, 16 KiB, for 64 MiB.
const MARK_STRIDE: u64 = 64 * 1024;
/// Segment files kept open for reading.
const OPEN_FILES: usize = 32;

/// The first event of a frame and where that frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    first_seq: u64,
    offset: u64,
}

#[derive(Debug)]
struct Segment {
    header: SegmentHeader,
    /// `None` until someone looks into the segment.
    marks: Option<Vec<Mark>>,
}

/// The part of the journal all readers share.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) io: Arc<dyn Io>,
    segments: RwLock<Vec<Segment>>,
    open: Mutex<Vec<(u32, Arc<dyn IoFile>)>>,
    head: RwLock<Head>,
    /// Readers share it; an erasure holds it alone while it overwrites, so that nobody sees half of one.
    pub(crate) erasing: RwLock<()>,
}

/// A frame read back and verified.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) header: FrameHeader,
    pub(crate) hash: Hash,
    pub(crate) events: Vec<EventMeta>,
    /// Header, meta section and stored hash.
    bytes: Vec<u8>,
}

impl Loaded {
    pub(crate) fn leaf(&self, event: &EventMeta) -> &[u8] {
        let (start, end) = (
            event.leaf.start + FRAME_HEADER,
            event.leaf.end + FRAME_HEADER,
        );
        self.bytes.get(start..end).unwrap_or(&[])
    }

    pub(crate) fn event(&self, seq: u64) -> Option<&EventMeta> {
        self.events
            .get(to_usize(seq.checked_sub(self.header.first_seq)?))
    }
}

impl Map {
    pub(crate) fn new(io: Arc<dyn Io>, headers: Vec<SegmentHeader>, head: Head) -> Self {
        let segments = headers
            .into_iter()
            .map(|header| Segment {
                header,
                marks: None,
            })
            .collect();
        Self {
            io,
            segments: RwLock::new(segments),
            open: Mutex::new(Vec::new()),
            head: RwLock::new(head),
            erasing: RwLock::new(()),
        }
    }

    pub(crate) fn head(&self) -> Head {
        self.head
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_head(&self, head: Head) {
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
    }

    pub(crate) fn push_segment(&self, header: SegmentHeader) {
        self.write().push(Segment {
            header,
            marks: Some(Vec::new()),
        });
    }

    /// Notes a frame just written, or just seen, at the end of what the marks of its segment cover.
    pub(crate) fn note_frame(&self, segment: u32, first_seq: u64, offset: u64) {
        if let Some(Segment {
            marks: Some(marks), ..
        }) = self.write().get_mut(segment as usize)
        {
            note(marks, first_seq, offset);
        }
    }

    /// Gives a segment the marks found while scanning it.
    pub(crate) fn set_marks(&self, segment: u32, frames: impl Iterator<Item = (u64, u64)>) {
        let mut marks = Vec::new();
        for (first_seq, offset) in frames {
            note(&mut marks, first_seq, offset);
        }
        if let Some(entry) = self.write().get_mut(segment as usize) {
            entry.marks = Some(marks);
        }
    }

    pub(crate) fn segment_count(&self) -> usize {
        self.read().len()
    }

    pub(crate) fn segment_header(&self, id: u32) -> Option<SegmentHeader> {
        self.read()
            .get(id as usize)
            .map(|segment| segment.header.clone())
    }

    /// The file of a segment, opened for reading; the few used last stay open.
    pub(crate) fn file(&self, id: u32) -> Result<Arc<dyn IoFile>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|(segment, _)| *segment == id) {
            let entry = open.remove(at);
            let file = Arc::clone(&entry.1);
            open.push(entry);
            return Ok(file);
        }
        let name = segment_file(id);
        let file = self
            .io
            .open(&name, Access::Read)
            .map_err(|e| Error::io("opening", name, e))?;
        let file: Arc<dyn IoFile> = Arc::from(file);
        if open.len() >= OPEN_FILES {
            open.remove(0);
        }
        open.push((id, Arc::clone(&file)));
        Ok(file)
    }

    /// The verified frame that holds an event.
    pub(crate) fn find(&self, seq: u64) -> Result<Loaded> {
        let next_seq = self.head().next_seq;
        if seq >= next_seq {
            return Err(Error::UnknownSeq { seq, next_seq });
        }
        let (header, start) = self.nearest(seq)?;
        let file = self.file(header.id)?;
        let mut offset = start;
        loop {
            let frame = frame_header(&*file, &header, offset)?;
            if seq < frame.first_seq {
                return Err(damaged(&header, offset, Some(seq), DamageKind::Chain));
            }
            if seq < frame.next_seq() {
                return load(&*file, &header, offset);
            }
            offset += frame.len();
        }
    }

    /// The frame after a given one; `None` at the durable end.
    pub(crate) fn next(&self, after: &Loaded) -> Result<Option<Loaded>> {
        let next_seq = after.header.next_seq();
        if next_seq >= self.head().next_seq {
            return Ok(None);
        }
        let here = self.segment_header(after.segment);
        let there = self.segment_header(after.segment.saturating_add(1));
        if let Some(header) = here
            && there.is_none_or(|there| there.first_seq > next_seq)
        {
            let file = self.file(header.id)?;
            return load(&*file, &header, after.offset + after.header.len()).map(Some);
        }
        self.find(next_seq).map(Some)
    }

    /// The segment that holds an event and the offset of the nearest marked frame at or before it.
    fn nearest(&self, seq: u64) -> Result<(SegmentHeader, u64)> {
        let unknown = || Error::UnknownSeq { seq, next_seq: 0 };
        let header = {
            let segments = self.read();
            let after = segments.partition_point(|segment| segment.header.first_seq <= seq);
            let segment = after
                .checked_sub(1)
                .and_then(|at| segments.get(at))
                .ok_or_else(unknown)?;
            if let Some(marks) = &segment.marks {
                return Ok((segment.header.clone(), nearest_mark(marks, seq)));
            }
            segment.header.clone()
        };
        // Nobody has looked into this segment yet: walk its headers once.
        let end = self
            .segment_header(header.id.saturating_add(1))
            .map(|next| next.first_seq);
        let end = end.unwrap_or_else(|| self.head().next_seq);
        let marks = self.walk_headers(&header, end)?;
        let offset = nearest_mark(&marks, seq);
        if let Some(segment) = self.write().get_mut(header.id as usize) {
            segment.marks = Some(marks);
        }
        Ok((header, offset))
    }

    /// Marks for a segment that holds events up to `end`. A damaged frame does not hide the sound ones after it: they get a mark of
    /// their own, and whoever looks for an event in between meets the damage.
    fn walk_headers(&self, header: &SegmentHeader, end: u64) -> Result<Vec<Mark>> {
        let file = self.file(header.id)?;
        let mut marks = Vec::new();
        let (mut next_seq, mut offset) = (header.first_seq, SEGMENT_HEADER_LEN);
        while next_seq < end {
            let frame = match frame_header(&*file, header, offset) {
                Ok(frame) => {
                    note(&mut marks, frame.first_seq, offset);
                    frame
                }
                Err(Error::Damaged { .. }) => {
                    let mut bytes = vec![0; to_usize(header.segment_size)];
                    read(&*file, header, &mut bytes, 0)?;
                    let sound = find_sound_after(&bytes, offset, header.id, next_seq);
                    let Some((at, frame)) = sound else { break };
                    marks.push(Mark {
                        first_seq: frame.first_seq,
                        offset: at,
                    });
                    offset = at;
                    frame
                }
                Err(error) => return Err(error),
            };
            next_seq = frame.next_seq();
            offset += frame.len();
        }
        Ok(marks)
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Segment>> {
        self.segments
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sound frame header at an offset, or the error that says what is there instead.
fn frame_header(file: &dyn IoFile, segment: &SegmentHeader, offset: u64) -> Result<FrameHeader> {
    let bad = || damaged(segment, offset, None, DamageKind::FrameHeader);
    if offset + FRAME_HEADER_LEN > segment.segment_size {
        return Err(bad());
    }
    let mut bytes = [0; FRAME_HEADER];
    read(file, segment, &mut bytes, offset)?;
    let header = FrameHeader::decode(&bytes).ok_or_else(bad)?;
    if header.segment != segment.id || header.len() > segment.segment_size - offset {
        return Err(bad());
    }
    Ok(header)
}

fn load(file: &dyn IoFile, segment: &SegmentHeader, offset: u64) -> Result<Loaded> {
    let header = frame_header(file, segment, offset)?;
    let mut bytes = vec![0; to_usize(FRAME_HEADER_LEN + HASH_LEN) + header.meta_len as usize];
    read(file, segment, &mut bytes, offset)?;
    match Frame::verify(&bytes) {
        Ok(Frame {
            header,
            events,
            hash,
            ..
        }) => Ok(Loaded {
            segment: segment.id,
            offset,
            header,
            hash,
            events,
            bytes,
        }),
        Err(kind) => Err(damaged(segment, offset, Some(header.first_seq), kind)),
    }
}

fn read(file: &dyn IoFile, segment: &SegmentHeader, buffer: &mut [u8], offset: u64) -> Result<()> {
    file.read_exact_at(buffer, offset)
        .map_err(|e| Error::io("reading", segment.file(), e))
}

fn damaged(segment: &SegmentHeader, offset: u64, seq: Option<u64>, kind: DamageKind) -> Error {
    Error::Damaged {
        file: segment.file(),
        offset,
        seq,
        kind,
    }
}

fn note(marks: &mut Vec<Mark>, first_seq: u64, offset: u64) {
    if marks
        .last()
        .is_none_or(|last| offset >= last.offset + MARK_STRIDE)
    {
        marks.push(Mark { first_seq, offset });
    }
}

fn nearest_mark(marks: &[Mark], seq: u64) -> u64 {
    let after = marks.partition_point(|mark| mark.first_seq <= seq);
    after
        .checked_sub(1)
        .and_then(|at| marks.get(at))
        .map_or(SEGMENT_HEADER_LEN, |mark| mark.offset)
}
