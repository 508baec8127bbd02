//! Looking for many byte strings in many files.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use crate::support::files_below;

/// The shortest string that is looked for: shorter ones meet by chance in random bytes.
pub const SHORTEST: usize = 6;

/// What must not be found.
#[derive(Default)]
pub struct Needles {
    all: BTreeSet<Vec<u8>>,
}

impl Needles {
    /// Adds a string unless it is too short to tell from chance.
    pub fn add(&mut self, text: impl AsRef<[u8]>) {
        let bytes = text.as_ref();
        if bytes.len() >= SHORTEST && !bytes.contains(&0) {
            self.all.insert(bytes.to_vec());
        }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The needles in some bytes.
    pub fn found_in(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut by_start: HashMap<[u8; 4], Vec<&[u8]>> = HashMap::new();
        let mut first = [false; 1 << 16];
        for needle in &self.all {
            by_start
                .entry(needle[..4].try_into().unwrap())
                .or_default()
                .push(needle);
            first[usize::from(u16::from_le_bytes([needle[0], needle[1]]))] = true;
        }
        let mut found = BTreeSet::new();
        for run in runs(bytes) {
            for (at, pair) in run.windows(2).enumerate() {
                if !first[usize::from(u16::from_le_bytes([pair[0], pair[1]]))] {
                    continue;
                }
                let rest = &run[at..];
                let Some(start) = rest.first_chunk::<4>() else {
                    continue;
                };
                for needle in by_start.get(start).into_iter().flatten() {
                    if rest.starts_with(needle) {
                        found.insert(needle.to_vec());
                    }
                }
            }
        }
        found.into_iter().collect()
    }

    /// The needles in the files below a folder, with the file.
    pub fn found_below(&self, folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for file in files_below(folder) {
            for needle in self.found_in(&std::fs::read(&file).unwrap()) {
                found.push(format!(
                    "{}: {}",
                    file.display(),
                    String::from_utf8_lossy(&needle)
                ));
            }
        }
        found
    }
}

/// The parts between blocks of zeros: journals are mostly preallocated.
fn runs(bytes: &[u8]) -> Vec<&[u8]> {
    const BLOCK: usize = 4096;
    let mut runs = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < bytes.len() {
        let end = (at + BLOCK).min(bytes.len());
        if bytes[at..end] == [0; BLOCK][..end - at] {
            if start < at {
                runs.push(&bytes[start..at]);
            }
            start = end;
        }
        at = end;
    }
    if start < bytes.len() {
        runs.push(&bytes[start..]);
    }
    runs
}

#[test]
fn needles_are_found_across_blocks_and_only_they() {
    let mut needles = Needles::default();
    for needle in ["abcdef", "王小明先生", "short"] {
        needles.add(needle);
    }
    assert_eq!(needles.len(), 2, "the short one is no needle");
    let mut bytes = vec![0; 3 * 4096];
    bytes[4093..4099].copy_from_slice(b"abcdef");
    bytes.extend_from_slice("，王小明先生".as_bytes());
    assert_eq!(needles.found_in(&bytes).len(), 2);
    bytes[4095] = b'x';
    assert_eq!(needles.found_in(&bytes), ["王小明先生".as_bytes()]);
}
