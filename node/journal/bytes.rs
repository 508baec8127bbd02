//! Small, total readers of little-endian bytes, so that no parser here can index out of bounds.

/// Bytes compared at a time when looking for anything but zero.
const ZEROS: [u8; 4096] = [0; 4096];

/// A cursor over bytes whose every step may say "not enough".
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(len)?;
        self.rest = tail;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk::<N>()?;
        self.rest = tail;
        Some(*head)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// Whether every byte is zero (compared by block: segments are large).
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(ZEROS.len())
        .all(|chunk| ZEROS.get(..chunk.len()) == Some(chunk))
}

/// One past the last byte that is not zero; 0 when all are.
pub(crate) fn end_of_content(bytes: &[u8]) -> usize {
    let mut end = bytes.len();
    for chunk in bytes.rchunks(ZEROS.len()) {
        if !is_zero(chunk) {
            let tail = chunk.iter().rev().take_while(|byte| **byte == 0).count();
            return end - tail;
        }
        end -= chunk.len();
    }
    0
}

/// Rounds up to the alignment of frames: 8 bytes.
pub(crate) const fn align8(len: u64) -> u64 {
    len.saturating_add(7) & !7
}

/// Overwrites bytes of a buffer at a place that is known to be inside of it.
pub(crate) fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = buffer.get_mut(at..at.saturating_add(bytes.len())) {
        place.copy_from_slice(bytes);
    }
}

/// A length that limits keep far below 2^32.
pub(crate) fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// An offset inside a segment (at most 256 MiB) as an index into memory.
pub(crate) fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Cursor, align8, end_of_content, is_zero};

    #[test]
    fn zero_checks_see_every_byte() {
        for at in [0_usize, 1, 4095, 4096, 8191, 9000] {
            let mut bytes = vec![0; 9001];
            assert!(is_zero(&bytes));
            assert_eq!(end_of_content(&bytes), 0);
            bytes[at] = 1;
            assert!(!is_zero(&bytes));
            assert_eq!(end_of_content(&bytes), at + 1);
        }
        assert!(is_zero(&[]));
    }

    #[test]
    fn cursor_stops_at_the_end() {
        let mut cursor = Cursor::new(&[1, 0, 2]);
        assert_eq!(cursor.u16(), Some(1));
        assert_eq!(cursor.u16(), None);
        assert_eq!(cursor.take(1), Some(&[2_u8][..]));
        assert!(cursor.is_empty());
        assert_eq!(align8(0), 0);
        assert_eq!(align8(1), 8);
        assert_eq!(align8(16), 16);
    }
}
