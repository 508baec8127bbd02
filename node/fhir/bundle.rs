//! Cutting a Bundle into its entries without reading the resources in them.

use std::borrow::Cow;
use std::ops::Range;

use record::ReasonCode;

use crate::examine::{malformed, too_large};
use crate::json::{self, JsonFault, Value};
use crate::limits::Limits;
use crate::outcome::{Fault, IssueType};
use crate::reader::Reader;
use crate::split::{Item, Method, Pieces, Position, RefusedItem, Request};

/// Levels a Bundle puts around a resource: the Bundle, its entries, the entry.
const BUNDLE_DEPTH: usize = 3;
/// Longest `fullUrl` or request field kept, in bytes.
const URL_BYTES_MAX: usize = 2048;

fn not_a_bundle(path: &str, rule: &str) -> Box<Fault> {
    Box::new(Fault::one(
        ReasonCode::RecordMalformed,
        IssueType::Structure,
        path,
        rule,
    ))
}

pub(crate) fn bundle<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Pieces<'a>, Box<Fault>> {
    if bytes.len() > limits.bundle_bytes {
        return Err(Box::new(Fault::one(
            ReasonCode::RecordTooLarge,
            IssueType::TooLong,
            "Bundle",
            format!(
                "a bundle has at most {} bytes; send NDJSON instead",
                limits.bundle_bytes
            ),
        )));
    }
    let (text, skipped) = json::utf8(bytes).map_err(|f| malformed(&f, 0))?;
    let bad = |fault: JsonFault| malformed(&fault, skipped);
    let inner = Limits {
        depth: limits.depth + BUNDLE_DEPTH,
        // The whole Bundle is walked once; each resource is counted when it is examined.
        values: usize::MAX,
        ..*limits
    };
    let mut reader = Reader::new(text, inner);
    let mut seen: Vec<String> = Vec::new();
    let mut bundle_type = None;
    let mut is_bundle = false;
    let mut entries: Vec<Range<usize>> = Vec::new();
    reader.expect_byte(b'{').map_err(bad)?;
    if !reader.take(b'}') {
        loop {
            reader.space();
            let key = reader.string().map_err(bad)?.into_owned();
            if seen.contains(&key) {
                return Err(not_a_bundle(
                    "Bundle",
                    "the same key stands twice in one object",
                ));
            }
            if seen.len() >= limits.members {
                return Err(not_a_bundle("Bundle", "an object has too many members"));
            }
            reader.expect_byte(b':').map_err(bad)?;
            match key.as_str() {
                "entry" => {
                    entries = list(&mut reader, limits).map_err(|fault| match fault {
                        ListFault::Json(fault) => bad(fault),
                        ListFault::TooMany => Box::new(Fault::one(
                            ReasonCode::RecordTooLarge,
                            IssueType::TooLong,
                            "Bundle.entry",
                            format!("a bundle has at most {} entries", limits.entries),
                        )),
                    })?;
                }
                "resourceType" => {
                    is_bundle = word(&mut reader, text).map_err(bad)?.as_deref() == Some("Bundle");
                }
                "type" => {
                    bundle_type = word(&mut reader, text).map_err(bad)?;
                }
                _ => {
                    reader.skip(1).map_err(bad)?;
                }
            }
            seen.push(key);
            if !reader.take(b',') {
                reader.expect_byte(b'}').map_err(bad)?;
                break;
            }
        }
    }
    reader.end().map_err(bad)?;
    if !is_bundle {
        return Err(not_a_bundle(
            "resourceType",
            "a Bundle was announced, this is another resource",
        ));
    }
    let requests_needed = match bundle_type.as_deref() {
        Some("transaction" | "batch") => true,
        Some("collection" | "document" | "message" | "searchset") => false,
        Some(_) => {
            return Err(Box::new(Fault::one(
                ReasonCode::RecordInvalid,
                IssueType::NotSupported,
                "Bundle.type",
                "bundles to store are of type transaction, batch, collection, document, message or searchset",
            )));
        }
        None => {
            return Err(Box::new(Fault::one(
                ReasonCode::RecordInvalid,
                IssueType::Required,
                "Bundle.type",
                "required element missing",
            )));
        }
    };
    let pieces = entries
        .into_iter()
        .enumerate()
        .map(|(index, span)| {
            let slice = text.get(span).unwrap_or_default();
            entry(slice, index, requests_needed, limits).map_err(|fault| RefusedItem {
                original: Cow::Borrowed(slice.as_bytes()),
                position: Position::Entry(index),
                fault,
            })
        })
        .collect();
    Ok(Pieces {
        bundle_type,
        pieces,
    })
}

/// A short string value; anything else counts as none. Never builds a tree, whatever stands there.
fn word(reader: &mut Reader<'_>, text: &str) -> Result<Option<String>, JsonFault> {
    let span = reader.skip(1)?;
    let raw = text.get(span).unwrap_or_default();
    Ok(raw
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|inner| inner.len() <= 32 && !inner.contains('\\'))
        .map(str::to_owned))
}

enum ListFault {
    Json(JsonFault),
    TooMany,
}

impl From<JsonFault> for ListFault {
    fn from(fault: JsonFault) -> Self {
        Self::Json(fault)
    }
}

fn list(reader: &mut Reader<'_>, limits: &Limits) -> Result<Vec<Range<usize>>, ListFault> {
    let mut spans = Vec::new();
    reader.expect_byte(b'[')?;
    if reader.take(b']') {
        return Ok(spans);
    }
    loop {
        if spans.len() >= limits.entries {
            return Err(ListFault::TooMany);
        }
        spans.push(reader.skip(2)?);
        if !reader.take(b',') {
            reader.expect_byte(b']')?;
            return Ok(spans);
        }
    }
}

/// One entry, of which the resource is not read but only found.
fn entry<'a>(
    text: &'a str,
    index: usize,
    request_needed: bool,
    limits: &Limits,
) -> Result<Item<'a>, Box<Fault>> {
    let path = |rest: &str| format!("Bundle.entry[{index}]{rest}");
    let refuse = |reason, code, rest: &str, rule: &str| {
        Box::new(Fault::one(reason, code, &path(rest), rule))
    };
    let bad = |fault: JsonFault| malformed(&fault, 0);
    let mut reader = Reader::new(text, *limits);
    let mut original = None;
    let mut full_url = None;
    let mut request = None;
    let mut seen: Vec<String> = Vec::new();
    reader.expect_byte(b'{').map_err(bad)?;
    if !reader.take(b'}') {
        loop {
            reader.space();
            let key = reader.string().map_err(bad)?.into_owned();
            if seen.contains(&key) || seen.len() >= limits.members {
                return Err(refuse(
                    ReasonCode::RecordMalformed,
                    IssueType::Structure,
                    "",
                    "the same key stands twice in one object, or there are too many",
                ));
            }
            reader.expect_byte(b':').map_err(bad)?;
            match key.as_str() {
                "resource" => original = Some(reader.skip(0).map_err(bad)?),
                "fullUrl" => {
                    let value = reader.value(0).map_err(bad)?;
                    full_url = value
                        .as_str()
                        .filter(|u| u.len() <= URL_BYTES_MAX)
                        .map(str::to_owned);
                }
                "request" => request = Some(reader.value(0).map_err(bad)?),
                "id" | "extension" | "modifierExtension" | "link" | "search" | "response" => {
                    reader.skip(0).map_err(bad)?;
                }
                _ => {
                    return Err(refuse(
                        ReasonCode::RecordMalformed,
                        IssueType::Structure,
                        &format!(".{key}"),
                        "unknown element",
                    ));
                }
            }
            seen.push(key);
            if !reader.take(b',') {
                reader.expect_byte(b'}').map_err(bad)?;
                break;
            }
        }
    }
    reader.end().map_err(bad)?;
    let request = match request {
        Some(value) => Some(read_request(&value).map_err(|rule| {
            refuse(
                ReasonCode::RecordInvalid,
                IssueType::NotSupported,
                ".request.method",
                rule,
            )
        })?),
        None if request_needed => {
            return Err(refuse(
                ReasonCode::RecordInvalid,
                IssueType::Required,
                ".request",
                "an entry of a transaction or batch needs a request (bdl-3)",
            ));
        }
        None => None,
    };
    let Some(span) = original else {
        return Err(refuse(
            ReasonCode::RecordInvalid,
            IssueType::Required,
            ".resource",
            "the entry has no resource to store",
        ));
    };
    let resource = text.get(span).unwrap_or_default();
    if resource.len() > limits.resource_bytes {
        return Err(too_large(limits.resource_bytes));
    }
    Ok(Item {
        original: Cow::Borrowed(resource.as_bytes()),
        full_url,
        request,
        position: Position::Entry(index),
    })
}

fn read_request(value: &Value<'_>) -> Result<Request, &'static str> {
    let method = match value.text("method") {
        Some("POST") => Method::Post,
        Some("PUT") => Method::Put,
        Some("DELETE") => {
            return Err("DELETE is not taken: records are withdrawn by erasure, not by a bundle");
        }
        Some("PATCH") => return Err("PATCH is not taken: send the whole resource with PUT"),
        Some("GET" | "HEAD") => {
            return Err("GET is not taken here: a bundle of records only stores");
        }
        _ => return Err("the method is POST or PUT"),
    };
    let short = |key: &str| {
        value
            .text(key)
            .filter(|text| text.len() <= URL_BYTES_MAX)
            .map(str::to_owned)
    };
    Ok(Request {
        method,
        url: short("url").unwrap_or_default(),
        if_none_exist: short("ifNoneExist"),
    })
}
