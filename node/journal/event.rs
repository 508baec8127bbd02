//! What is written, where it lies, and the proof that it is durable.

use crate::bytes::Cursor;
use crate::error::{Error, Result};

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// Longest leaf: what the audit format allows.
pub const MAX_LEAF_LEN: usize = 512;
/// Longest sealed row: rows are projections, bodies carry content.
pub const MAX_ROW_LEN: usize = 4 * 1024;
/// Longest sealed body: the largest record the exchange takes.
pub const MAX_BODY_LEN: usize = 16 * 1024 * 1024;
/// Most events in one submit: they share one frame, and a frame is verified as a whole.
pub const MAX_SUBMIT_EVENTS: usize = 4096;

/// One thing that happened, as opaque bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// 1 to [`MAX_LEAF_LEN`] bytes, written in clear, kept for ever.
    pub leaf: Vec<u8>,
    /// 0 to [`MAX_ROW_LEN`] bytes, sealed by the caller, erasable.
    pub row: Vec<u8>,
    /// 0 to [`MAX_BODY_LEN`] bytes, sealed by the caller, erasable.
    pub body: Vec<u8>,
}

impl Event {
    /// Checks the limits of the three parts.
    ///
    /// # Errors
    /// [`Error::EventSize`] names the part that is out of bounds.
    pub const fn check(&self) -> Result<()> {
        if self.leaf.is_empty() || self.leaf.len() > MAX_LEAF_LEN {
            return Err(size("leaf", self.leaf.len(), 1, MAX_LEAF_LEN));
        }
        if self.row.len() > MAX_ROW_LEN {
            return Err(size("row", self.row.len(), 0, MAX_ROW_LEN));
        }
        if self.body.len() > MAX_BODY_LEN {
            return Err(size("body", self.body.len(), 0, MAX_BODY_LEN));
        }
        Ok(())
    }
}

// Contents stay out of logs: a Debug of an event tells sizes alone.
impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("leaf_len", &self.leaf.len())
            .field("row_len", &self.row.len())
            .field("body_len", &self.body.len())
            .finish()
    }
}

/// Where the sealed parts of an event lie, and enough of their digest to recognise them.
///
/// Small and of fixed size, so that an index can keep one per row: see [`Location::to_bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Location {
    /// Sequence number of the event; the first event of a journal is 0.
    pub seq: u64,
    /// Segment id, as in the file name.
    pub segment: u32,
    /// Byte offset of the row in the segment file; the body follows the row.
    pub offset: u64,
    /// Bytes of the row.
    pub row_len: u32,
    /// Bytes of the body.
    pub body_len: u32,
    /// First 16 bytes of SHA-256(row ‖ body): detects rot and a stale pointer without reading the frame's meta.
    pub digest: [u8; 16],
}

impl Location {
    /// Length of [`Location::to_bytes`].
    pub const LEN: usize = 44;

    /// Fixed little-endian form: seq, segment, offset, row_len, body_len, digest.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (seq, rest) = bytes.split_at_mut(8);
        let (segment, rest) = rest.split_at_mut(4);
        let (offset, rest) = rest.split_at_mut(8);
        let (row_len, rest) = rest.split_at_mut(4);
        let (body_len, digest) = rest.split_at_mut(4);
        seq.copy_from_slice(&self.seq.to_le_bytes());
        segment.copy_from_slice(&self.segment.to_le_bytes());
        offset.copy_from_slice(&self.offset.to_le_bytes());
        row_len.copy_from_slice(&self.row_len.to_le_bytes());
        body_len.copy_from_slice(&self.body_len.to_le_bytes());
        digest.copy_from_slice(&self.digest);
        bytes
    }

    /// The inverse of [`Location::to_bytes`]; `None` unless the length is exactly [`Location::LEN`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let location = Self {
            seq: cursor.u64()?,
            segment: cursor.u32()?,
            offset: cursor.u64()?,
            row_len: cursor.u32()?,
            body_len: cursor.u32()?,
            digest: cursor.array()?,
        };
        cursor.is_empty().then_some(location)
    }

    pub(crate) const fn sealed_len(&self) -> u64 {
        self.row_len as u64 + self.body_len as u64
    }
}

/// The sealed parts of an event, as read back and verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The sealed row.
    pub row: Vec<u8>,
    /// The sealed body.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed")
            .field("row_len", &self.row.len())
            .field("body_len", &self.body.len())
            .finish()
    }
}

/// What a submit may use when the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Records and everything else: refused once only the audit reserve is left.
    #[default]
    Data,
    /// Refusals and audit entries: may use the reserve, so that what is refused still leaves a trace.
    Audit,
}

/// Proof that one event is on disk. Only this crate can make one, and only after `fdatasync` has returned.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an acknowledgement is what allows a reply"]
pub struct Acked {
    seq: u64,
    location: Location,
    frame_hash: Hash,
    epoch: u64,
}

impl Acked {
    pub(crate) const fn new(location: Location, frame_hash: Hash, epoch: u64) -> Self {
        Self {
            seq: location.seq,
            location,
            frame_hash,
            epoch,
        }
    }

    /// Sequence number of the event.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Where its sealed parts lie.
    #[must_use]
    pub const fn location(&self) -> &Location {
        &self.location
    }

    /// Hash of the frame that carries it.
    #[must_use]
    pub const fn frame_hash(&self) -> &Hash {
        &self.frame_hash
    }

    /// Epoch it was written in.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// One frame that has become durable, as handed to subscribers.
#[derive(Debug, PartialEq, Eq)]
pub struct Committed {
    /// Epoch of the frame.
    pub epoch: u64,
    /// Sequence number of its first event.
    pub first_seq: u64,
    /// Its events, in order; never empty.
    pub events: Vec<CommittedEvent>,
    /// Hash of the frame: what an index writes next to the last sequence number it has applied.
    pub frame_hash: Hash,
}

impl Committed {
    /// Sequence number of the last event.
    #[must_use]
    pub const fn last_seq(&self) -> u64 {
        (self.first_seq + self.events.len() as u64).saturating_sub(1)
    }
}

/// One event of a durable frame: all but its body.
#[derive(Clone, PartialEq, Eq)]
pub struct CommittedEvent {
    /// Sequence number.
    pub seq: u64,
    /// The leaf, in clear.
    pub leaf: Vec<u8>,
    /// The sealed row.
    pub row: Vec<u8>,
    /// Where row and body lie.
    pub location: Location,
}

impl std::fmt::Debug for CommittedEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommittedEvent")
            .field("seq", &self.seq)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

const fn size(part: &'static str, len: usize, min: usize, max: usize) -> Error {
    Error::EventSize {
        part,
        len,
        min,
        max,
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Location, MAX_BODY_LEN, MAX_LEAF_LEN, MAX_ROW_LEN};

    #[test]
    fn location_survives_its_bytes() {
        let location = Location {
            seq: 7,
            segment: 3,
            offset: 4097,
            row_len: 5,
            body_len: 6,
            digest: [9; 16],
        };
        let bytes = location.to_bytes();
        assert_eq!(Location::from_bytes(&bytes), Some(location));
        assert_eq!(Location::from_bytes(&bytes[1..]), None);
        assert_eq!(Location::from_bytes(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn limits_are_inclusive() {
        let event = |leaf, row, body| Event {
            leaf: vec![1; leaf],
            row: vec![1; row],
            body: vec![1; body],
        };
        assert!(event(1, 0, 0).check().is_ok());
        assert!(
            event(MAX_LEAF_LEN, MAX_ROW_LEN, MAX_BODY_LEN)
                .check()
                .is_ok()
        );
        assert!(event(0, 0, 0).check().is_err());
        assert!(event(MAX_LEAF_LEN + 1, 0, 0).check().is_err());
        assert!(event(1, MAX_ROW_LEN + 1, 0).check().is_err());
        assert!(event(1, 0, MAX_BODY_LEN + 1).check().is_err());
    }
}
