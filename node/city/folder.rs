//! Writes a city as files: per agency one NDJSON file per FHIR resource type, the agencies, and the synthetic register.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::City;
use crate::json::{Node, obj};
use crate::records::Record;

/// Lines are collected up to this many bytes before they are appended to their files: bounds the memory of any city,
/// and no file stays open, however many agencies there are.
const BUFFER_MAX: usize = 16 << 20;

/// The register of the synthetic people, with their resident numbers.
pub const REGISTER_FILE: &str = "synthetic-register.csv";
/// The agencies.
pub const AGENCIES_FILE: &str = "agencies.json";
/// Written last: counts of what was written. A folder without it is unfinished.
pub const MANIFEST_FILE: &str = "manifest.json";

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Elders in the register.
    pub elders: u32,
    /// Records in all NDJSON files.
    pub records: u64,
    /// Bytes of all NDJSON files.
    pub bytes: u64,
}

/// Why a city could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is something in the folder; nothing was written.
    #[error("the folder for the city is not empty; choose another or empty it")]
    NotEmpty,
    /// The disk refused.
    #[error("the city could not be written; look at the disk, remove the folder and start again")]
    Disk(#[from] io::Error),
}

/// Writes the whole city into `folder`, which must be empty or absent, and calls `progress(done, total)` per elder.
///
/// The layout: `agencies.json`, `synthetic-register.csv`, `<member>/<ResourceType>.ndjson`, and at the end
/// `manifest.json`. If we crash before the manifest, the folder is unfinished: remove it and write it again, the bytes
/// will be the same. Nothing is synchronised to disk for the same reason.
///
/// # Errors
/// [`FolderError`] if the folder is not empty or the disk refuses.
pub fn write_folder(
    city: &City,
    folder: &Path,
    mut progress: impl FnMut(u32, u32),
) -> Result<Written, FolderError> {
    fs::create_dir_all(folder)?;
    if fs::read_dir(folder)?.next().is_some() {
        return Err(FolderError::NotEmpty);
    }
    for agency in city.agencies() {
        fs::create_dir(folder.join(agency.member.as_str()))?;
    }
    fs::write(folder.join(AGENCIES_FILE), agencies_json(city))?;
    let mut register = io::BufWriter::new(File::create_new(folder.join(REGISTER_FILE))?);
    register.write_all(b"index,resident_id,name,sex,birth_date,members\n")?;
    let mut lines = Lines {
        folder: folder.to_owned(),
        waiting: BTreeMap::new(),
        size: 0,
        written: Written::default(),
    };
    for facility in city.facilities() {
        lines.add(&facility)?;
    }
    for elder in city.elders() {
        let members: Vec<&str> = elder
            .known_at
            .iter()
            .filter_map(|&place| Some(city.agencies().get(place)?.member.as_str()))
            .collect();
        writeln!(
            register,
            "{},{},{},{},{},{}",
            elder.index,
            elder.resident_id,
            elder.name(),
            elder.sex.fhir_code(),
            elder.birth_date,
            members.join(" ")
        )?;
        for record in city.records_of(&elder) {
            lines.add(&record)?;
        }
        lines.written.elders += 1;
        progress(lines.written.elders, city.plan().elders);
    }
    register.flush()?;
    lines.flush()?;
    let written = lines.written;
    let count = |n: u64| Node::Whole(i64::try_from(n).unwrap_or(i64::MAX));
    let manifest = obj! {
        "synthetic": true,
        "seed": city.plan().seed.to_string(),
        "district": city.plan().district.to_string(),
        "today": city.plan().today.to_rfc3339(),
        "agencies": count(city.agencies().len() as u64),
        "elders": count(written.elders.into()),
        "records": count(written.records),
        "bytes": count(written.bytes),
    };
    fs::write(folder.join(MANIFEST_FILE), line(&manifest))?;
    Ok(written)
}

fn line(node: &Node) -> Vec<u8> {
    let mut out = Vec::new();
    node.write(&mut out);
    out.push(b'\n');
    out
}

fn agencies_json(city: &City) -> Vec<u8> {
    let agencies: Vec<Node> = city
        .agencies()
        .iter()
        .map(|a| {
            obj! {
                "member": a.member.as_str().to_owned(),
                "kind": a.kind.as_str(),
                "credit_code": a.credit_code.as_str().to_owned(),
                "district": a.district.to_string(),
                "name_zh": a.name_zh.clone(),
                "name_en": a.name_en.clone(),
            }
        })
        .collect();
    line(&Node::List(agencies))
}

/// Lines on their way to their files.
struct Lines {
    folder: PathBuf,
    waiting: BTreeMap<(String, &'static str), Vec<u8>>,
    size: usize,
    written: Written,
}

impl Lines {
    fn add(&mut self, record: &Record) -> io::Result<()> {
        let key = (record.holder.as_str().to_owned(), record.resource_type);
        let buffer = self.waiting.entry(key).or_default();
        buffer.extend_from_slice(&record.fhir_json);
        buffer.push(b'\n');
        self.size += record.fhir_json.len() + 1;
        self.written.records += 1;
        self.written.bytes += record.fhir_json.len() as u64 + 1;
        if self.size >= BUFFER_MAX {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        for ((member, resource), buffer) in core::mem::take(&mut self.waiting) {
            let path = self.folder.join(member).join(format!("{resource}.ndjson"));
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            file.write_all(&buffer)?;
        }
        self.size = 0;
        Ok(())
    }
}
