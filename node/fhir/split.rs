//! What a source sends, cut into resources: every resource keeps the very bytes it came in.

use std::borrow::Cow;

use crate::bundle::bundle;
use crate::examine::too_large;
use crate::limits::Limits;
use crate::ndjson::NdjsonSplitter;
use crate::outcome::Fault;

/// How the bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// One resource.
    Resource,
    /// One Bundle: transaction, batch, collection, document, message or searchset.
    Bundle,
    /// One resource a line (FHIR Bulk Data).
    Ndjson,
}

/// Where a resource stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// The whole input.
    Whole,
    /// The entry of the Bundle, from 0.
    Entry(usize),
    /// The line, from 1.
    Line(u64),
}

impl core::fmt::Display for Position {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Whole => f.write_str("the resource"),
            Self::Entry(index) => write!(f, "Bundle.entry[{index}]"),
            Self::Line(line) => write!(f, "line {line}"),
        }
    }
}

/// `Bundle.entry.request.method`, the two that store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Create.
    Post,
    /// Create or update under the given id.
    Put,
}

/// `Bundle.entry.request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How it is to be stored.
    pub method: Method,
    /// `Patient` or `Patient/1`.
    pub url: String,
    /// Condition under which nothing is created.
    pub if_none_exist: Option<String>,
}

/// One resource as it was sent. `Debug` does not show its content.
#[derive(Clone, PartialEq, Eq)]
pub struct Item<'a> {
    /// The resource's own bytes, from its `{` to its `}`, untouched.
    pub original: Cow<'a, [u8]>,
    /// `Bundle.entry.fullUrl`: what other entries call it.
    pub full_url: Option<String>,
    /// `Bundle.entry.request`.
    pub request: Option<Request>,
    /// Where it stood.
    pub position: Position,
}

/// A part that cannot be examined: kept for the quarantine with what is wrong. `Debug` does not show its content.
#[derive(Clone, PartialEq, Eq)]
pub struct RefusedItem<'a> {
    /// The bytes of the entry or line; of a line that is too long only its beginning.
    pub original: Cow<'a, [u8]>,
    /// Where it stood.
    pub position: Position,
    /// What is wrong.
    pub fault: Box<Fault>,
}

impl core::fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "item({}, {} bytes)", self.position, self.original.len())
    }
}

impl core::fmt::Debug for RefusedItem<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "refused({}: {})", self.position, self.fault)
    }
}

/// One part of the input.
pub type Piece<'a> = Result<Item<'a>, RefusedItem<'a>>;

/// The parts of an input, in order.
#[derive(Debug)]
pub struct Pieces<'a> {
    /// `Bundle.type`, when the input was a Bundle. A `transaction` is stored whole or not at all.
    pub bundle_type: Option<String>,
    /// Every resource, and every part that is none.
    pub pieces: Vec<Piece<'a>>,
}

/// Cuts an input into resources.
///
/// For [`Format::Resource`] the bytes are not read further than white space around them; [`crate::examine()`] judges them.
/// For [`Format::Ndjson`] see [`NdjsonSplitter`], which needs no whole input.
///
/// # Errors
/// [`Fault`] when no part can be told from another: not JSON, no Bundle, of a type that stores nothing (`history`,
/// responses), too many entries, too large; a stream that ends inside a line is `STREAM_TRUNCATED`.
pub fn split<'a>(
    bytes: &'a [u8],
    format: Format,
    limits: &Limits,
) -> Result<Pieces<'a>, Box<Fault>> {
    match format {
        Format::Resource => {
            let body = bytes
                .strip_prefix(b"\xef\xbb\xbf")
                .unwrap_or(bytes)
                .trim_ascii();
            if body.len() > limits.resource_bytes {
                return Err(too_large(limits.resource_bytes));
            }
            Ok(Pieces {
                bundle_type: None,
                pieces: vec![Ok(Item {
                    original: Cow::Borrowed(body),
                    full_url: None,
                    request: None,
                    position: Position::Whole,
                })],
            })
        }
        Format::Bundle => bundle(bytes, limits),
        Format::Ndjson => {
            let mut splitter = NdjsonSplitter::new(*limits);
            let mut pieces = splitter.push(bytes);
            pieces.extend(splitter.finish()?);
            Ok(Pieces {
                bundle_type: None,
                pieces,
            })
        }
    }
}
