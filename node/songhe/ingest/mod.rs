//! Records in: split, examined, given to a person, stored; what breaks a rule goes to quarantine with the reason.

mod store;

use std::collections::HashMap;

use fhir::{Context, Examined, Fault, Format, Item, Limits, NdjsonSplitter, Piece, SubjectRef};
use ledger::BATCH_MAX;
use record::resident_id::RESIDENT_ID_SYSTEM;
use record::{Pseudonym, ReasonCode, Refusal, ResidentId};
use ring::digest;
use serde::Deserialize;
use wire::v1;
use zeroize::Zeroizing;

use crate::node::Node;

/// The most bytes of an id or version that are kept.
const ID_MAX: usize = 128;

/// How a stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One resource in each item.
    Resource,
    /// One Bundle in each item.
    Bundle {
        /// Entry by entry, even of a transaction.
        each_entry: bool,
    },
    /// NDJSON cut anywhere.
    Ndjson,
}

/// One `Put` stream.
pub struct Ingest<'a> {
    node: &'a Node,
    source: String,
    mode: Mode,
    limits: Limits,
    splitter: NdjsonSplitter,
    lines_done: bool,
    /// Patients seen in this stream, before they are visible to look-ups.
    patients: HashMap<String, Pseudonym>,
    /// Pseudonyms of this stream's people: a hundred microseconds of elliptic curves each.
    people: Vec<(Zeroizing<String>, Pseudonym)>,
    position: u64,
}

impl std::fmt::Debug for Ingest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// A piece that is judged.
enum Judged {
    Good(Box<Good>),
    Bad(Box<Bad>),
}

struct Good {
    position: u64,
    examined: Examined,
    subject: Pseudonym,
    original: Zeroizing<Vec<u8>>,
    id: String,
    version: String,
}

struct Bad {
    position: u64,
    resource_type: String,
    id: String,
    subject: Option<Pseudonym>,
    original: Zeroizing<Vec<u8>>,
    reason: ReasonCode,
    outcome_json: Vec<u8>,
}

impl<'a> Ingest<'a> {
    /// A stream from a local system.
    ///
    /// # Errors
    /// `REQUEST_MALFORMED` for a bad source name or format.
    pub fn open(node: &'a Node, client_name: &str, open: &v1::PutOpen) -> Result<Self, Refusal> {
        let malformed = |detail: &str| Refusal::with_detail(ReasonCode::RequestMalformed, detail);
        let source = source_of(client_name, &open.source)?;
        let mode = match v1::PutFormat::try_from(open.format) {
            Ok(v1::PutFormat::Unspecified | v1::PutFormat::Resource) => Mode::Resource,
            Ok(v1::PutFormat::Bundle) => Mode::Bundle {
                each_entry: open.each_entry,
            },
            Ok(v1::PutFormat::Ndjson) => Mode::Ndjson,
            Err(_) => return Err(malformed("format is not known")),
        };
        let limits = Limits {
            resource_bytes: node.config.limits.record_bytes,
            bundle_bytes: node.config.limits.bundle_bytes,
            ..Limits::DEFAULT
        };
        Ok(Self {
            node,
            source,
            mode,
            limits,
            splitter: NdjsonSplitter::new(limits),
            lines_done: false,
            patients: HashMap::new(),
            people: Vec::new(),
            position: 0,
        })
    }

    /// Takes items as they came together; gives a result for each record found in them, in order.
    ///
    /// # Errors
    /// The outer refusal ends the stream: the disk is full, say.
    pub async fn take(&mut self, items: Vec<v1::PutItem>) -> Result<Vec<v1::PutResponse>, Refusal> {
        let mut judged = Vec::new();
        let mut results = Vec::new();
        for item in items {
            let data = Zeroizing::new(item.data);
            let named = match item.subject.as_ref().filter(|s| !s.value.is_empty()) {
                Some(named) => Some(crate::subjects::parse(self.node, Some(named))),
                None => None,
            };
            match self.mode {
                Mode::Resource => {
                    let piece = Ok(Item {
                        original: data.as_slice().into(),
                        full_url: None,
                        request: None,
                        position: fhir::Position::Whole,
                    });
                    judged.push(self.judge(piece, named.as_ref(), &HashMap::new()));
                }
                Mode::Ndjson => {
                    if self.lines_done {
                        return Err(Refusal::with_detail(
                            ReasonCode::RequestMalformed,
                            "an item follows the last one",
                        ));
                    }
                    for piece in self.splitter.push(&data) {
                        judged.push(self.judge(piece, named.as_ref(), &HashMap::new()));
                    }
                    if item.last {
                        self.lines_done = true;
                        let splitter =
                            std::mem::replace(&mut self.splitter, NdjsonSplitter::new(self.limits));
                        match splitter.finish() {
                            Ok(Some(piece)) => {
                                judged.push(self.judge(piece, named.as_ref(), &HashMap::new()));
                            }
                            Ok(None) => {}
                            Err(fault) => judged.push(self.bad_piece(None, &fault, &[])),
                        }
                    }
                }
                Mode::Bundle { each_entry } => {
                    // A Bundle's results follow what came before it.
                    results.extend(self.store(std::mem::take(&mut judged)).await?);
                    results.extend(self.bundle(&data, named.as_ref(), each_entry).await?);
                }
            }
        }
        results.extend(self.store(judged).await?);
        Ok(results)
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// `STREAM_TRUNCATED` for NDJSON that ended without its last item.
    pub fn finish(self) -> Result<(), Refusal> {
        if self.mode == Mode::Ndjson && !self.lines_done {
            return Err(Refusal::new(ReasonCode::StreamTruncated));
        }
        Ok(())
    }

    async fn bundle(
        &mut self,
        data: &[u8],
        named: Option<&Result<ResidentId, Refusal>>,
        each_entry: bool,
    ) -> Result<Vec<v1::PutResponse>, Refusal> {
        let pieces = match fhir::split(data, Format::Bundle, &self.limits) {
            Ok(pieces) => pieces,
            Err(fault) => {
                let bad = self.bad_piece(named, &fault, data);
                return self.store(vec![bad]).await;
            }
        };
        let atomic = !each_entry && pieces.bundle_type.as_deref() == Some("transaction");
        let urls = self.patients_of(&pieces.pieces, named);
        let judged: Vec<Judged> = pieces
            .pieces
            .into_iter()
            .map(|piece| self.judge(piece, named, &urls))
            .collect();
        if !atomic {
            return self.store(judged).await;
        }
        if judged.iter().any(|j| matches!(j, Judged::Bad(_))) || judged.len() > BATCH_MAX {
            return self.refuse_transaction(judged).await;
        }
        self.store_all(judged).await
    }

    /// Patients of a Bundle by what its other entries call them.
    fn patients_of(
        &mut self,
        pieces: &[Piece<'_>],
        named: Option<&Result<ResidentId, Refusal>>,
    ) -> HashMap<String, Pseudonym> {
        let mut urls = HashMap::new();
        for item in pieces.iter().flatten() {
            let Some(url) = &item.full_url else { continue };
            let context = Context {
                now: self.node.clock.now(),
                limits: self.limits,
            };
            let is_patient = contains(&item.original, b"\"Patient\"");
            if !is_patient {
                continue;
            }
            let Ok(examined) = fhir::examine(&item.original, self.node.catalog(), &context) else {
                continue;
            };
            if examined.resource_type != "Patient" {
                continue;
            }
            if let Ok(subject) = self.subject(&examined, named, &HashMap::new()) {
                urls.insert(url.clone(), subject);
                if let Some(id) = &examined.id {
                    urls.insert(format!("Patient/{id}"), subject);
                }
            }
        }
        urls
    }

    fn judge(
        &mut self,
        piece: Piece<'_>,
        named: Option<&Result<ResidentId, Refusal>>,
        urls: &HashMap<String, Pseudonym>,
    ) -> Judged {
        let item = match piece {
            Ok(item) => item,
            Err(refused) => {
                return self.bad_piece(named, &refused.fault, &refused.original);
            }
        };
        let context = Context {
            now: self.node.clock.now(),
            limits: self.limits,
        };
        let examined = match fhir::examine(&item.original, self.node.catalog(), &context) {
            Ok(examined) => examined,
            Err(fault) => return self.bad_piece(named, &fault, &item.original),
        };
        let position = self.next();
        let content = short_digest(&item.original);
        let id = examined
            .id
            .clone()
            .or_else(|| {
                item.full_url
                    .as_deref()
                    .and_then(|u| u.strip_prefix("urn:uuid:"))
                    .map(str::to_owned)
            })
            .unwrap_or_else(|| format!("sha256-{content}"));
        let version = examined
            .version
            .clone()
            .unwrap_or_else(|| format!("sha256-{content}"));
        match self.subject(&examined, named, urls) {
            Ok(subject) => {
                if examined.resource_type == "Patient" {
                    self.patients.insert(format!("Patient/{id}"), subject);
                }
                Judged::Good(Box::new(Good {
                    position,
                    examined,
                    subject,
                    original: Zeroizing::new(item.original.into_owned()),
                    id: shortened(id),
                    version: shortened(version),
                }))
            }
            Err(refusal) => Judged::Bad(Box::new(Bad {
                position,
                resource_type: examined.resource_type,
                id: shortened(id),
                subject: None,
                original: Zeroizing::new(item.original.into_owned()),
                outcome_json: outcome_of(&refusal),
                reason: refusal.reason,
            })),
        }
    }

    /// Whom a record is about.
    fn subject(
        &mut self,
        examined: &Examined,
        named: Option<&Result<ResidentId, Refusal>>,
        urls: &HashMap<String, Pseudonym>,
    ) -> Result<Pseudonym, Refusal> {
        let known = self.node.catalog().get(&examined.type_code);
        if known.is_some_and(|t| !t.about_person) {
            return Ok(Pseudonym::NOBODY);
        }
        let card = examined.resident_ids.first();
        if let Some(named) = named {
            let named = named.as_ref().map_err(Clone::clone)?;
            if card.is_some_and(|card| card.expose() != named.expose()) {
                let detail = "the named subject is not the one on the resource's identity card";
                return Err(Refusal::with_detail(ReasonCode::SubjectInvalid, detail));
            }
            return self.pseudonym(named);
        }
        if let Some(card) = card {
            return self.pseudonym(card);
        }
        let unresolved = || Refusal::new(ReasonCode::SubjectUnresolved);
        match &examined.subject {
            SubjectRef::Literal(reference) | SubjectRef::Urn(reference) => {
                if let Some(subject) = urls.get(reference).or_else(|| self.patients.get(reference))
                {
                    return Ok(*subject);
                }
                let id = reference.strip_prefix("Patient/").ok_or_else(unresolved)?;
                self.node
                    .ledger()
                    .subject_of_patient(&self.source, id)?
                    .ok_or_else(unresolved)
            }
            SubjectRef::Identifier { system, value } if system == RESIDENT_ID_SYSTEM => {
                let (id, _) = ResidentId::parse(value, self.node.clock.now())
                    .map_err(|e| Refusal::with_detail(ReasonCode::SubjectInvalid, e.to_string()))?;
                self.pseudonym(&id)
            }
            SubjectRef::Identifier { .. } | SubjectRef::None => Err(unresolved()),
        }
    }

    fn pseudonym(&mut self, id: &ResidentId) -> Result<Pseudonym, Refusal> {
        if let Some(known) = self
            .people
            .iter()
            .find(|(k, _)| k.as_str() == id.expose())
            .map(|(_, p)| *p)
        {
            return Ok(known);
        }
        let made = self.node.pseudonym(id)?;
        // A stream of a whole city must not gather its identity numbers in memory.
        if self.people.len() >= 16 {
            self.people.clear();
        }
        self.people
            .push((Zeroizing::new(id.expose().to_owned()), made));
        Ok(made)
    }

    fn bad_piece(
        &mut self,
        named: Option<&Result<ResidentId, Refusal>>,
        fault: &Fault,
        original: &[u8],
    ) -> Judged {
        let label = Label::of(original);
        // Sealed under the key of the person it was named for, it goes when that key is destroyed.
        let subject = named
            .and_then(|named| named.as_ref().ok())
            .and_then(|id| self.pseudonym(id).ok());
        Judged::Bad(Box::new(Bad {
            position: self.next(),
            resource_type: shortened(label.resource_type),
            id: shortened(label.id),
            subject,
            original: Zeroizing::new(original.to_vec()),
            reason: fault.reason,
            outcome_json: fault.outcome.to_json().into_bytes(),
        }))
    }

    const fn next(&mut self) -> u64 {
        let position = self.position;
        self.position += 1;
        position
    }
}

/// What a record that broke a rule calls itself, as far as that can be read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Label {
    #[serde(rename = "resourceType")]
    resource_type: String,
    id: String,
}

impl Label {
    fn of(original: &[u8]) -> Self {
        serde_json::from_slice(original).unwrap_or_default()
    }
}

/// A refusal as an `OperationOutcome`.
fn outcome_of(refusal: &Refusal) -> Vec<u8> {
    let rule = refusal
        .detail
        .clone()
        .unwrap_or_else(|| refusal.reason.english().to_owned());
    let issue = fhir::Issue::error(refusal.reason, fhir::IssueType::BusinessRule, "", rule);
    fhir::OperationOutcome {
        issues: vec![issue],
        left_out: 0,
    }
    .to_json()
    .into_bytes()
}

fn shortened(mut text: String) -> String {
    if text.len() > ID_MAX {
        let end = (0..=ID_MAX)
            .rev()
            .find(|i| text.is_char_boundary(*i))
            .unwrap_or(0);
        text.truncate(end);
    }
    text
}

fn short_digest(bytes: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, bytes);
    record::id::hex_encode(hash.as_ref().get(..16).unwrap_or_default())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

/// The source a client may store under: its own name, or that name, a dot, and a part of it. So nobody stores, or
/// supersedes, under another system's name.
///
/// # Errors
/// `REQUEST_MALFORMED`.
pub fn source_of(client_name: &str, named: &str) -> Result<String, Refusal> {
    let source = if named.is_empty() { client_name } else { named };
    let own = source == client_name
        || source
            .strip_prefix(client_name)
            .is_some_and(|rest| rest.starts_with('.'));
    let plain =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
    if own && source.len() <= 64 && source.bytes().all(plain) {
        return Ok(source.to_owned());
    }
    let detail = "source is the certificate's name, or that name, a dot, and more of a-z, 0-9, '-', '_' and '.', at most 64";
    Err(Refusal::with_detail(ReasonCode::RequestMalformed, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_begins_with_its_clients_name() {
        assert_eq!(source_of("his", "").unwrap(), "his");
        assert_eq!(source_of("his", "his.lab").unwrap(), "his.lab");
        for bad in [
            "lis",
            "hisx",
            "his/lab",
            "his.LAB",
            &format!("his.{}", "x".repeat(64)),
        ] {
            assert!(source_of("his", bad).is_err(), "{bad}");
        }
    }
}
