//! Newline-delimited resources, cut while they stream in: memory is one line, however long the stream.

use std::borrow::Cow;

use record::ReasonCode;

use crate::examine::too_large;
use crate::limits::Limits;
use crate::outcome::{Fault, IssueType};
use crate::split::{Item, Piece, Position, RefusedItem};

/// Bytes of an overlong line that are kept to show where it began.
const KEPT_OF_LONG_LINE: usize = 256;

/// Cuts a stream of lines into resources; push what arrives, in any portions, then finish.
///
/// `\n` and `\r\n` end a line, empty lines are passed over, a byte order mark at the very start is dropped.
pub struct NdjsonSplitter {
    limits: Limits,
    pending: Vec<u8>,
    line: u64,
    /// The present line is beyond the limit: its rest is passed over.
    overlong: bool,
}

impl core::fmt::Debug for NdjsonSplitter {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "ndjson-splitter(line {}, {} bytes)",
            self.line,
            self.pending.len()
        )
    }
}

impl NdjsonSplitter {
    /// A splitter at the first line.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            pending: Vec::new(),
            line: 1,
            overlong: false,
        }
    }

    /// Takes the next portion and gives the lines it completed.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece<'static>> {
        let mut pieces = Vec::new();
        for part in bytes.split_inclusive(|&b| b == b'\n') {
            let ended = part.ends_with(b"\n");
            // A limit's worth plus the line end and a byte order mark; the rest of the line is only counted out.
            let room = (self.limits.resource_bytes + 8).saturating_sub(self.pending.len());
            if part.len() > room {
                self.overlong = true;
            }
            self.pending
                .extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
            if ended {
                pieces.extend(self.complete());
                self.line += 1;
            }
        }
        pieces
    }

    /// Ends the stream: a last line without a line end is taken when it is a complete JSON object.
    ///
    /// # Errors
    /// `STREAM_TRUNCATED` when the stream stopped inside a line.
    pub fn finish(mut self) -> Result<Option<Piece<'static>>, Box<Fault>> {
        if self.overlong || self.pending.trim_ascii().is_empty() || self.whole() {
            return Ok(self.complete());
        }
        Err(Box::new(Fault::one(
            ReasonCode::StreamTruncated,
            IssueType::Incomplete,
            "",
            format!("the stream stopped inside line {}", self.line),
        )))
    }

    /// The line being read, from 1.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    fn whole(&self) -> bool {
        crate::json::utf8(&self.pending).is_ok_and(|(text, _)| {
            let mut reader = crate::reader::Reader::new(text, self.limits);
            reader.skip(0).is_ok()
        })
    }

    fn complete(&mut self) -> Option<Piece<'static>> {
        let position = Position::Line(self.line);
        let mut bytes = std::mem::take(&mut self.pending);
        let overlong = std::mem::take(&mut self.overlong);
        if self.line == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        let body = bytes.trim_ascii();
        if overlong || body.len() > self.limits.resource_bytes {
            let kept = body.get(..KEPT_OF_LONG_LINE).unwrap_or(body);
            return Some(Err(RefusedItem {
                original: Cow::Owned(kept.to_vec()),
                position,
                fault: too_large(self.limits.resource_bytes),
            }));
        }
        if body.is_empty() {
            return None;
        }
        let original = if body.len() == bytes.len() {
            bytes
        } else {
            body.to_vec()
        };
        Some(Ok(Item {
            original: Cow::Owned(original),
            full_url: None,
            request: None,
            position,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_of_any_size_give_the_same_lines() {
        let text = "\u{feff}{\"a\":1}\r\n\n  {\"b\":\"é\"} \n{\"c\":3}";
        for size in 1..text.len() {
            let mut splitter = NdjsonSplitter::new(Limits::DEFAULT);
            let mut pieces = Vec::new();
            for portion in text.as_bytes().chunks(size) {
                pieces.extend(splitter.push(portion));
            }
            pieces.extend(splitter.finish().unwrap());
            let lines: Vec<_> = pieces
                .into_iter()
                .map(|p| p.unwrap())
                .map(|i| {
                    (
                        i.position,
                        String::from_utf8(i.original.into_owned()).unwrap(),
                    )
                })
                .collect();
            assert_eq!(
                lines,
                [
                    (Position::Line(1), "{\"a\":1}".into()),
                    (Position::Line(3), "{\"b\":\"é\"}".into()),
                    (Position::Line(4), "{\"c\":3}".into())
                ]
            );
        }
    }

    #[test]
    fn a_stream_that_stops_inside_a_line_says_so() {
        let mut splitter = NdjsonSplitter::new(Limits::DEFAULT);
        assert_eq!(splitter.push(b"{\"a\":1}\n{\"b\":").len(), 1);
        let fault = splitter.finish().unwrap_err();
        assert_eq!(fault.reason, ReasonCode::StreamTruncated);
        assert!(fault.to_string().contains("line 2"));
    }

    #[test]
    fn a_line_beyond_the_limit_is_refused_and_the_next_is_read() {
        let limits = Limits {
            resource_bytes: 100,
            ..Limits::DEFAULT
        };
        let mut splitter = NdjsonSplitter::new(limits);
        let long = format!("{{\"a\":\"{}\"}}\n{{\"b\":1}}\n", "x".repeat(10_000));
        let mut pieces = Vec::new();
        for portion in long.as_bytes().chunks(64) {
            pieces.extend(splitter.push(portion));
            assert!(splitter.pending.len() <= 128, "memory stays bounded");
        }
        assert_eq!(pieces.len(), 2);
        assert_eq!(
            pieces[0].as_ref().unwrap_err().fault.reason,
            ReasonCode::RecordTooLarge
        );
        assert_eq!(&*pieces[1].as_ref().unwrap().original, b"{\"b\":1}");
    }
}
