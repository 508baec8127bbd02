//! Data for the story: a generated city, each agency's records at its own node, or the FHIR files of a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use record::{AgencyKind, MemberId, ResidentId};
use serde_json::{Value, json};
use wire::v1;

use super::found::{Federation, Member};
use super::{Step, Tale};
use crate::cli::Failure;
use crate::cli::client::{PutCounts, outcome_name, put_items, read_file};
use crate::cli::generate::progress_bar;

/// What was loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) counts: PutCounts,
    /// Resources that were sent.
    pub(crate) sent: u64,
    /// How many were refused or set aside, by reason.
    pub(crate) by_reason: BTreeMap<String, u64>,
    /// How many were stored, by record type.
    pub(crate) by_type: BTreeMap<String, u64>,
    /// Files that hold no FHIR JSON.
    pub(crate) other_files: u64,
    pub(crate) files: u64,
    /// The person of the story.
    pub(crate) elder: Elder,
}

/// The person of the story: a synthetic number, where records are, and of which types.
#[derive(Debug, Clone)]
pub(crate) struct Elder {
    pub(crate) number: String,
    pub(crate) holder: MemberId,
    /// Record types stored about this person at the holder.
    pub(crate) types: Vec<String>,
}

impl Loaded {
    /// Every resource sent has exactly one outcome.
    pub(crate) const fn adds_up(&self) -> bool {
        self.sent == self.counts.total()
    }

    pub(crate) fn summary(&self) -> Value {
        json!({
            "files": self.files, "other_files": self.other_files, "resources": self.sent,
            "stored": self.counts.stored, "unchanged": self.counts.unchanged, "quarantined": self.counts.quarantined,
            "refused": self.counts.refused, "by_reason": self.by_reason, "by_type": self.by_type, "adds_up": self.adds_up(),
        })
    }
}

/// Results gathered while loading.
#[derive(Debug, Default)]
struct Gathered {
    counts: PutCounts,
    by_reason: BTreeMap<String, u64>,
    by_type: BTreeMap<String, u64>,
}

impl Gathered {
    /// A Bundle that is refused as a whole has one answer: its other entries share the reason.
    fn rest_refused(&mut self, entries: u64, reason: Option<String>) {
        if let Some(reason) = reason {
            self.counts.refused += entries;
            *self.by_reason.entry(reason).or_default() += entries;
        }
    }

    fn take(&mut self, result: &v1::PutResponse) {
        self.counts.count(result);
        if let Some(reason) = &result.reason {
            *self.by_reason.entry(reason.code.clone()).or_default() += 1;
        }
        if matches!(outcome_name(result.outcome), "stored" | "unchanged") {
            *self.by_type.entry(result.record_type.clone()).or_default() += 1;
        }
    }
}

fn fault(e: impl std::fmt::Display) -> Failure {
    Failure::Fault(e.to_string())
}

fn step(
    name: &'static str,
    member: &Member,
    started: Instant,
    counts: PutCounts,
    expect_all: bool,
) -> Step {
    let all = counts.stored + counts.unchanged == counts.total();
    Step {
        name,
        verb: "put",
        from: member.id.to_string(),
        to: String::new(),
        tier: String::new(),
        outcome: if all { "stored" } else { "stored-in-part" }.into(),
        reason: String::new(),
        leaf: None,
        ms: started.elapsed().as_millis(),
        ok: all || !expect_all,
        told: format!(
            "stores {} records ({} in quarantine, {} refused by name)",
            counts.stored + counts.unchanged,
            counts.quarantined,
            counts.refused
        ),
    }
}

/// Each agency of the generated city stores what it has.
pub(crate) async fn generated(federation: &Federation, tale: &mut Tale) -> Result<Loaded, Failure> {
    let city = &federation.city;
    let bar = progress_bar(city.elders().count() as u64, "elders");
    let mut lines: BTreeMap<MemberId, Vec<u8>> = BTreeMap::new();
    let mut sent = 0;
    let mut elder = None;
    let holder = federation.of_kind(AgencyKind::Community)?.id.clone();
    for person in city.elders() {
        let records = city.records_of(&person);
        if elder.is_none() {
            let mut types: Vec<String> = records
                .iter()
                .filter(|r| r.holder == holder)
                .map(|r| r.type_code.to_string())
                .collect();
            types.sort_unstable();
            types.dedup();
            // The story needs someone whose vital signs and care assessment the community has.
            if types.iter().any(|t| t == "vitals") {
                elder = Some(Elder {
                    number: person.resident_id.clone(),
                    holder: holder.clone(),
                    types,
                });
            }
        }
        for r in records {
            push_line(lines.entry(r.holder).or_default(), &r.fhir_json);
            sent += 1;
        }
        bar.inc(1);
    }
    for r in city.facilities() {
        push_line(lines.entry(r.holder).or_default(), &r.fhir_json);
        sent += 1;
    }
    bar.finish_and_clear();
    let mut all = Gathered::default();
    for member in &federation.members {
        let Some(bytes) = lines.remove(&member.id) else {
            continue;
        };
        let started = Instant::now();
        let mut gathered = Gathered::default();
        let open = v1::PutOpen {
            format: v1::PutFormat::Ndjson.into(),
            ..Default::default()
        };
        let items = crate::cli::client::chunks(&bytes, None);
        let mut results = put_items(member.client("his").client()?, open, items).await?;
        while let Some(result) = results.message().await? {
            gathered.take(&result);
        }
        tale.tell(&step("load", member, started, gathered.counts, true));
        merge(&mut all, gathered);
    }
    Ok(Loaded {
        counts: all.counts,
        sent,
        by_reason: all.by_reason,
        by_type: all.by_type,
        other_files: 0,
        files: 0,
        elder: elder.ok_or_else(|| {
            fault("the city has no elder whose vital signs the community has; use more --elders")
        })?,
    })
}

fn push_line(to: &mut Vec<u8>, line: &[u8]) {
    to.extend_from_slice(line);
    to.push(b'\n');
}

fn merge(all: &mut Gathered, more: Gathered) {
    all.counts.stored += more.counts.stored;
    all.counts.unchanged += more.counts.unchanged;
    all.counts.quarantined += more.counts.quarantined;
    all.counts.refused += more.counts.refused;
    for (k, v) in more.by_reason {
        *all.by_reason.entry(k).or_default() += v;
    }
    for (k, v) in more.by_type {
        *all.by_type.entry(k).or_default() += v;
    }
}

/// The files of a folder go to the community's node. People without a Chinese number get a synthetic one, so that
/// they can be asked for.
pub(crate) async fn input(
    federation: &Federation,
    folder: &Path,
    tale: &mut Tale,
) -> Result<Loaded, Failure> {
    let holder = federation.of_kind(AgencyKind::Community)?;
    let client = holder.client("his").client()?;
    let mut files = Vec::new();
    let mut other_files = 0;
    walk(folder, &mut files, &mut other_files)?;
    files.sort_unstable_by_key(|f| order(f));
    let bar = progress_bar(files.len() as u64, "files");
    let started = Instant::now();
    let mut people = People::default();
    let mut gathered = Gathered::default();
    let mut sent = 0;
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in &files {
        let bytes = read_file(file)?;
        let source = source_of(folder, file);
        for part in people.parts(&source, file, &bytes) {
            sent += part.resources;
            let open = v1::PutOpen {
                source: source.clone(),
                format: part.format.into(),
                each_entry: true,
            };
            let mut results = put_items(client.clone(), open, part.items).await?;
            let mut answered = 0;
            let mut last_reason = None;
            while let Some(result) = results.message().await? {
                gathered.take(&result);
                if matches!(outcome_name(result.outcome), "stored" | "unchanged") {
                    let at = usize::try_from(result.position).unwrap_or(usize::MAX);
                    if let Some(number) = part.people.of(at) {
                        let types = known.entry(number.to_owned()).or_default();
                        types.insert(result.record_type.clone());
                    }
                }
                answered += 1;
                last_reason = result.reason.map(|r| r.code);
            }
            gathered.rest_refused(part.resources.saturating_sub(answered), last_reason);
        }
        bar.inc(1);
    }
    let elder = known
        .into_iter()
        .map(|(number, types)| Elder {
            number,
            holder: holder.id.clone(),
            types: types.into_iter().collect(),
        })
        .max_by_key(|e| super::story::clinical(e).len());
    bar.finish_and_clear();
    tale.tell(&step("load", holder, started, gathered.counts, false));
    Ok(Loaded {
        counts: gathered.counts,
        sent,
        by_reason: gathered.by_reason,
        by_type: gathered.by_type,
        other_files,
        files: files.len() as u64,
        elder: elder.ok_or_else(|| {
            fault("the folder holds no record of a person; it needs Patient resources and what refers to them")
        })?,
    })
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>, other: &mut u64) -> Result<(), Failure> {
    let entries = std::fs::read_dir(folder)
        .map_err(|e| Failure::Fault(format!("{}: {e}", folder.display())))?;
    for entry in entries {
        let path = entry.map_err(fault)?.path();
        if path.is_dir() {
            walk(&path, files, other)?;
            continue;
        }
        let name = path.to_string_lossy().to_lowercase();
        let plain = name.trim_end_matches(".gz");
        if plain.ends_with(".json") || plain.ends_with(".ndjson") {
            files.push(path);
        } else {
            *other += 1;
        }
    }
    Ok(())
}

/// Within a folder patients come first: the other files refer to them.
fn order(file: &Path) -> (PathBuf, bool, PathBuf) {
    let name = file
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let parent = file.parent().map(Path::to_path_buf).unwrap_or_default();
    (parent, !name.starts_with("Patient"), file.to_path_buf())
}

/// Each subfolder is a source of its own: ids are unique within one.
fn source_of(folder: &Path, file: &Path) -> String {
    let inside = file
        .parent()
        .and_then(|p| p.strip_prefix(folder).ok())
        .unwrap_or_else(|| Path::new(""));
    let text: String = inside
        .to_string_lossy()
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                c
            } else {
                '.'
            }
        })
        .take(56)
        .collect();
    // A source begins with the name of the client that sends for it.
    if text.is_empty() {
        "his.input".into()
    } else {
        format!("his.{text}")
    }
}

/// What is sent of one file in one stream.
struct Part {
    format: v1::PutFormat,
    items: Vec<v1::PutItem>,
    resources: u64,
    people: Whom,
}

/// Whom the records of a part are about.
enum Whom {
    /// All about one person, or nobody known.
    All(Option<String>),
    /// By the record's place.
    Each(Vec<Option<String>>),
}

impl Whom {
    fn of(&self, at: usize) -> Option<&str> {
        match self {
            Self::All(person) => person.as_deref(),
            Self::Each(people) => people.get(at).and_then(Option::as_deref),
        }
    }
}

/// Synthetic numbers for people who have none.
#[derive(Debug, Default)]
struct People {
    made: u32,
    /// Source and reference of each patient met in NDJSON, with the number made for them.
    by_reference: BTreeMap<(String, String), String>,
}

impl People {
    /// A valid number for a birth date and sex; each call another person.
    fn number(&mut self, patient: &Value) -> String {
        self.made += 1;
        let date = patient
            .get("birthDate")
            .and_then(Value::as_str)
            .unwrap_or("1940-01-01");
        let digits: String = date.chars().filter(char::is_ascii_digit).collect();
        let date = if digits.len() == 8 && digits.as_str() >= "18800101" {
            digits
        } else {
            "19400101".into()
        };
        let male = patient.get("gender").and_then(Value::as_str) == Some("male");
        // Three digits of order in a district: beyond 500 people of one sex the next district is taken.
        let district = 500_101 + self.made / 500;
        let order = (self.made % 500) * 2 + u32::from(male);
        let body = format!("{district}{date}{order:03}");
        ResidentId::complete(&body).unwrap_or_default()
    }

    fn parts(&mut self, source: &str, file: &Path, bytes: &[u8]) -> Vec<Part> {
        let name = file.to_string_lossy().to_lowercase();
        if name.trim_end_matches(".gz").ends_with(".ndjson") {
            return self.lines(source, bytes);
        }
        let value: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
        let kind = value
            .get("resourceType")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if kind != "Bundle" {
            let person = (kind == "Patient").then(|| self.number(&value));
            return vec![resource(bytes.to_vec(), person)];
        }
        let entries = value
            .get("entry")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let patients: Vec<&Value> = entries
            .iter()
            .filter_map(|e| e.get("resource"))
            .filter(|r| r.get("resourceType").and_then(Value::as_str) == Some("Patient"))
            .collect();
        // One person's Bundle is named as a whole; one about several people has to say itself whom each record is about.
        let person = match patients.as_slice() {
            [one] => Some(self.number(one)),
            _ => None,
        };
        let item = v1::PutItem {
            data: bytes.to_vec(),
            subject: person.as_ref().map(|p| subject(p)),
            last: true,
        };
        vec![Part {
            format: v1::PutFormat::Bundle,
            items: vec![item],
            resources: (entries.len() as u64).max(1),
            people: Whom::All(person),
        }]
    }

    fn lines(&mut self, source: &str, bytes: &[u8]) -> Vec<Part> {
        let lines: Vec<&[u8]> = bytes
            .split(|b| *b == b'\n')
            .filter(|l| !l.trim_ascii().is_empty())
            .collect();
        let values: Vec<Value> = lines
            .iter()
            .map(|l| serde_json::from_slice(l).unwrap_or(Value::Null))
            .collect();
        let text = |v: &Value, at: &str| v.pointer(at).and_then(Value::as_str).map(str::to_owned);
        let resources = lines.len() as u64;
        let is_patient = |v: &Value| text(v, "/resourceType").as_deref() == Some("Patient");
        if values.first().is_some_and(is_patient) {
            let mut numbers = Vec::with_capacity(lines.len());
            let mut items = Vec::with_capacity(lines.len());
            for (line, value) in lines.iter().zip(&values) {
                let number = self.number(value);
                let reference = format!("Patient/{}", text(value, "/id").unwrap_or_default());
                self.by_reference
                    .insert((source.to_owned(), reference), number.clone());
                items.push(v1::PutItem {
                    data: line.to_vec(),
                    subject: Some(subject(&number)),
                    last: false,
                });
                numbers.push(Some(number));
            }
            let format = v1::PutFormat::Resource;
            return vec![Part {
                format,
                items,
                resources,
                people: Whom::Each(numbers),
            }];
        }
        let whom = |v: &Value| {
            let reference =
                text(v, "/subject/reference").or_else(|| text(v, "/patient/reference"))?;
            self.by_reference
                .get(&(source.to_owned(), reference))
                .cloned()
        };
        let people = Whom::Each(values.iter().map(whom).collect());
        let items = crate::cli::client::chunks(bytes, None);
        vec![Part {
            format: v1::PutFormat::Ndjson,
            items,
            resources,
            people,
        }]
    }
}

fn subject(number: &str) -> v1::Subject {
    v1::Subject {
        system: String::new(),
        value: number.to_owned(),
    }
}

fn resource(data: Vec<u8>, person: Option<String>) -> Part {
    let item = v1::PutItem {
        data,
        subject: person.as_ref().map(|p| subject(p)),
        last: true,
    };
    Part {
        format: v1::PutFormat::Resource,
        items: vec![item],
        resources: 1,
        people: Whom::All(person),
    }
}
