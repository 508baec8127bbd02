//! The bytes on disk: constants, and the two fixed headers.
#![doc = include_str!("FORMAT.md")]

use ring::digest;

use crate::bytes::{Cursor, align8, is_zero, put};
use crate::error::{DamageKind, Error};
use crate::event::Hash;

/// Version of the format described here.
pub const FORMAT_VERSION: u16 = 1;
/// Hash algorithm id of SHA-256.
pub const HASH_SHA256: u16 = 1;
/// Bytes of a segment's header block.
pub const SEGMENT_HEADER_LEN: u64 = 4096;
/// Bytes of a frame's header.
pub const FRAME_HEADER_LEN: u64 = 80;
/// Bytes of a hash.
pub const HASH_LEN: u64 = 32;
/// First bytes of a segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"SONGHESG";
/// First bytes of a frame.
pub const FRAME_MAGIC: [u8; 4] = *b"SGFR";
/// State byte of a sealed part as written.
pub const STATE_LIVE: u8 = b'L';
/// State byte of a sealed part after erasure.
pub const STATE_ERASED: u8 = b'E';

const GENESIS_LABEL: &[u8] = b"songhe journal genesis v1\0";
const SEGMENT_LABEL: &[u8] = b"songhe journal segment v1\0";
const FRAME_LABEL: &[u8] = b"songhe journal frame v1\0";

pub(crate) const SEGMENT_BLOCK: usize = 4096;
pub(crate) const FRAME_HEADER: usize = 80;
pub(crate) const SEGMENT_SUFFIX: &str = ".seg";
const SEGMENT_CRC_AT: usize = SEGMENT_BLOCK - 4;
const FRAME_CRC_AT: usize = 76;

/// The block that opens a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) id: u32,
    pub(crate) epoch: u64,
    pub(crate) first_seq: u64,
    pub(crate) segment_size: u64,
    pub(crate) journal_id: [u8; 16],
    pub(crate) prev_hash: Hash,
    pub(crate) prev_header_hash: Hash,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(SEGMENT_BLOCK);
        block.extend_from_slice(&SEGMENT_MAGIC);
        block.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        block.extend_from_slice(&HASH_SHA256.to_le_bytes());
        block.extend_from_slice(&self.id.to_le_bytes());
        block.extend_from_slice(&self.epoch.to_le_bytes());
        block.extend_from_slice(&self.first_seq.to_le_bytes());
        block.extend_from_slice(&self.segment_size.to_le_bytes());
        block.extend_from_slice(&self.journal_id);
        block.extend_from_slice(&self.prev_hash);
        block.extend_from_slice(&self.prev_header_hash);
        block.resize(SEGMENT_CRC_AT, 0);
        let crc = crc32c::crc32c(&block);
        block.extend_from_slice(&crc.to_le_bytes());
        block
    }

    /// Parses a header block; `file` is only for the error.
    pub(crate) fn decode(block: &[u8], file: &str) -> Result<Self, Error> {
        let damaged = || Error::Damaged {
            file: file.to_owned(),
            offset: 0,
            seq: None,
            kind: DamageKind::SegmentHeader,
        };
        let (body, crc) = block.split_at_checked(SEGMENT_CRC_AT).ok_or_else(damaged)?;
        if crc != crc32c::crc32c(body).to_le_bytes() {
            return Err(damaged());
        }
        let mut cursor = Cursor::new(body);
        let magic: [u8; 8] = cursor.array().ok_or_else(damaged)?;
        if magic != SEGMENT_MAGIC {
            return Err(damaged());
        }
        let version = cursor.u16().ok_or_else(damaged)?;
        let algorithm = cursor.u16().ok_or_else(damaged)?;
        if version != FORMAT_VERSION || algorithm != HASH_SHA256 {
            return Err(Error::Unsupported {
                file: file.to_owned(),
                version,
                algorithm,
            });
        }
        let mut fields = || {
            Some(Self {
                id: cursor.u32()?,
                epoch: cursor.u64()?,
                first_seq: cursor.u64()?,
                segment_size: cursor.u64()?,
                journal_id: cursor.array()?,
                prev_hash: cursor.array()?,
                prev_header_hash: cursor.array()?,
            })
        };
        let header = fields().ok_or_else(damaged)?;
        let sound = (crate::MIN_SEGMENT_SIZE..=crate::MAX_SEGMENT_SIZE)
            .contains(&header.segment_size)
            && header.segment_size.is_multiple_of(SEGMENT_HEADER_LEN);
        if sound { Ok(header) } else { Err(damaged()) }
    }

    pub(crate) fn hash(&self) -> Hash {
        sha256(&[SEGMENT_LABEL, &self.encode()])
    }

    pub(crate) fn file(&self) -> String {
        segment_file(self.id)
    }
}

/// The fixed part of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) segment: u32,
    pub(crate) count: u32,
    pub(crate) epoch: u64,
    pub(crate) first_seq: u64,
    pub(crate) meta_len: u32,
    pub(crate) sealed_len: u32,
    pub(crate) prev_hash: Hash,
}

impl FrameHeader {
    /// Encodes into the first 80 bytes of `frame`, whose meta section already lies behind them.
    pub(crate) fn encode_into(&self, frame: &mut [u8]) {
        let mut bytes = [0_u8; FRAME_HEADER];
        put(&mut bytes, 0, &FRAME_MAGIC);
        put(&mut bytes, 4, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 8, &self.segment.to_le_bytes());
        put(&mut bytes, 12, &self.count.to_le_bytes());
        put(&mut bytes, 16, &self.epoch.to_le_bytes());
        put(&mut bytes, 24, &self.first_seq.to_le_bytes());
        put(&mut bytes, 32, &self.meta_len.to_le_bytes());
        put(&mut bytes, 36, &self.sealed_len.to_le_bytes());
        put(&mut bytes, 40, &self.prev_hash);
        let header_crc = crc32c::crc32c(bytes.split_at(72).0);
        put(&mut bytes, 72, &header_crc.to_le_bytes());
        let meta = frame
            .get(FRAME_HEADER..FRAME_HEADER + self.meta_len as usize)
            .unwrap_or(&[]);
        let crc = crc32c::crc32c_append(crc32c::crc32c(bytes.split_at(FRAME_CRC_AT).0), meta);
        put(&mut bytes, FRAME_CRC_AT, &crc.to_le_bytes());
        put(frame, 0, &bytes);
    }

    /// Parses 80 bytes whose own CRC must match; says nothing yet about the meta section.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let checked = bytes.get(..72)?;
        let mut cursor = Cursor::new(bytes);
        if cursor.array()? != FRAME_MAGIC || cursor.u16()? != FORMAT_VERSION || cursor.u16()? != 0 {
            return None;
        }
        let header = Self {
            segment: cursor.u32()?,
            count: cursor.u32()?,
            epoch: cursor.u64()?,
            first_seq: cursor.u64()?,
            meta_len: cursor.u32()?,
            sealed_len: cursor.u32()?,
            prev_hash: cursor.array()?,
        };
        if cursor.u32()? != crc32c::crc32c(checked) {
            return None;
        }
        header.first_seq.checked_add(u64::from(header.count))?;
        (header.count > 0).then_some(header)
    }

    /// Offset of the sealed section from the start of the frame.
    pub(crate) const fn sealed_at(&self) -> u64 {
        FRAME_HEADER_LEN + self.meta_len as u64 + HASH_LEN
    }

    /// Bytes of the frame without padding.
    pub(crate) const fn content_len(&self) -> u64 {
        self.sealed_at() + self.sealed_len as u64
    }

    /// Bytes from this frame to the next.
    pub(crate) const fn len(&self) -> u64 {
        align8(self.content_len())
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.count))
    }
}

/// CRC-32C over header and meta, compared with the one in the header.
pub(crate) fn frame_crc_matches(header: &[u8], meta: &[u8]) -> bool {
    match (
        header.get(..FRAME_CRC_AT),
        header.get(FRAME_CRC_AT..FRAME_HEADER),
    ) {
        (Some(fields), Some(crc)) => {
            crc32c::crc32c_append(crc32c::crc32c(fields), meta).to_le_bytes() == *crc
        }
        _ => false,
    }
}

/// The frame hash over the header's 80 bytes and the meta section.
pub(crate) fn frame_hash(header: &[u8], meta: &[u8]) -> Hash {
    sha256(&[FRAME_LABEL, header, meta])
}

/// What the first frame of a journal names as the frame before it.
pub(crate) fn genesis_hash(journal_id: &[u8; 16]) -> Hash {
    sha256(&[GENESIS_LABEL, journal_id])
}

pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    put(&mut hash, 0, context.finish().as_ref());
    hash
}

pub(crate) fn segment_file(id: u32) -> String {
    format!("{id:08}{SEGMENT_SUFFIX}")
}

/// The id in a segment's file name.
pub(crate) fn segment_id(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(SEGMENT_SUFFIX)?;
    if digits.len() != 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// What a row and body turn out to be, given their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Live,
    Erased,
    Damaged,
}

/// Judges row ‖ body by the (possibly shortened) digest, then by the state byte.
pub(crate) fn judge(state: u8, sealed: &[u8], digest: &[u8]) -> Standing {
    if !digest.is_empty() && sha256(&[sealed]).starts_with(digest) {
        Standing::Live
    } else if state == STATE_ERASED && is_zero(sealed) {
        Standing::Erased
    } else {
        Standing::Damaged
    }
}
