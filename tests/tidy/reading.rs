//! How the house rules read the tree: manifests, the rooms table, documents and sources, as plain text.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folder of the room whose manifest is the root's.
pub(crate) const ROOT: &str = "node/songhe";

pub(crate) struct Room {
    pub(crate) name: String,
    pub(crate) folder: String,
    pub(crate) responsibility: String,
    pub(crate) imports: Vec<String>,
}

impl Room {
    pub(crate) fn manifest(&self) -> String {
        if self.folder == ROOT {
            // The root manifest without the workspace's own tables.
            let text = read("Cargo.toml");
            text[text.find("[package]").unwrap()..].to_owned()
        } else {
            read(&format!("{}/Cargo.toml", self.folder))
        }
    }

    /// The name other manifests give it.
    pub(crate) fn import_name(&self) -> &str {
        if self.name == "proto" {
            "wire"
        } else {
            &self.name
        }
    }
}

pub(crate) fn imports(manifest: &str, room: &Room) -> bool {
    // What a room's tests use beside it is not what the room may reach.
    ["dependencies", "build-dependencies"]
        .iter()
        .any(|part| names(&section(manifest, part)).contains(room.import_name()))
}

/// The rooms table of docs/ARCHITECTURE.md.
pub(crate) fn rooms() -> Vec<Room> {
    let text = read("docs/ARCHITECTURE.md");
    let head = "| room | folder |";
    let table = &text[text
        .find(head)
        .expect("docs/ARCHITECTURE.md has no rooms table")..];
    table
        .lines()
        .skip(2)
        .take_while(|l| l.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            assert_eq!(cells.len(), 5, "{line}");
            Room {
                name: cells[0].to_owned(),
                folder: cells[1].trim_matches('`').to_owned(),
                responsibility: cells[2].to_owned(),
                imports: cells[4]
                    .split(", ")
                    .filter(|i| *i != "-")
                    .map(ToOwned::to_owned)
                    .collect(),
            }
        })
        .collect()
}

/// The text of one table of a manifest.
pub(crate) fn section(manifest: &str, name: &str) -> String {
    let head = format!("[{name}]");
    let mut inside = false;
    let mut found = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim() == head;
        } else if inside {
            found.push_str(line);
            found.push('\n');
        }
    }
    found
}

/// The keys of a table, without `.workspace`.
pub(crate) fn names(section: &str) -> BTreeSet<String> {
    let key = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    section
        .lines()
        .filter(|l| l.starts_with(key) && l.contains('='))
        .map(|l| l.chars().take_while(|c| key(*c)).collect())
        .collect()
}

pub(crate) fn value(manifest: &str, key: &str) -> Option<String> {
    manifest.lines().find_map(|l| {
        Some(
            l.strip_prefix(key)?
                .trim_start()
                .strip_prefix('=')?
                .trim()
                .trim_matches('"')
                .to_owned(),
        )
    })
}

/// What stands between backticks on one line.
pub(crate) fn quoted(text: &str) -> Vec<String> {
    text.lines()
        .filter(|l| !l.starts_with("    "))
        .flat_map(|l| {
            l.split('`')
                .skip(1)
                .step_by(2)
                .map(ToOwned::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Names of the test functions of a file.
pub(crate) fn tests_in(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            let name = lines[at..].iter().take(8).find_map(|l| {
                let rest = l.split_once("fn ")?.1;
                Some(
                    rest.chars()
                        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                        .collect::<String>(),
                )
            });
            found.extend(name);
        }
    }
    found
}

/// The table that `record::reason::table_markdown` writes, read from its source.
pub(crate) fn reasons_table(source: &str) -> String {
    let mut table = String::from(
        "| code | status | whose fault | sentence (en) | 说明 (zh-CN) | what to do next |\n|---|---|---|---|---|---|\n",
    );
    let start = source
        .find("\nreasons! {")
        .expect("node/record/reason.rs has no table");
    let body = &source[start + "\nreasons! {".len()..];
    let body = &body[..body.find("\n}\n").expect("the table has no end")];
    let body: String = body
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    for entry in body.split_inclusive('}').filter(|e| e.contains('{')) {
        let texts: Vec<&str> = entry.split('"').skip(1).step_by(2).collect();
        let [code, en, zh, next, _next_zh] = texts[..] else {
            panic!("an entry has other texts: {entry}")
        };
        let words: Vec<&str> = entry
            .split('"')
            .nth(2)
            .unwrap()
            .split_whitespace()
            .collect();
        let (blame, status) = (words[0].to_lowercase(), screaming(words[1]));
        table.push_str(&format!(
            "| `{code}` | `{status}` | {blame} | {en} | {zh} | {next} |\n"
        ));
    }
    table
}

fn screaming(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}

/// Every Markdown file.
pub(crate) fn documents() -> Vec<(String, String)> {
    sources("md")
}

/// Every file of ours that ends so, with its text, in order.
pub(crate) fn sources(extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut left = vec![PathBuf::from(root())];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !["target", ".git", "node_modules"].contains(&name) {
                    left.push(path);
                }
            } else if path.extension().is_some_and(|e| e == extension)
                || (extension == "run" && name == "run")
            {
                let short = path
                    .strip_prefix(root())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.push((short, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn folders(inside: &str) -> impl Iterator<Item = String> {
    fs::read_dir(root().join(inside))
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| e.path().is_dir())
        .map(|e| e.file_name().into_string().unwrap())
}

pub(crate) fn root() -> &'static Path {
    Path::new(option_env!("CARGO_MANIFEST_DIR").unwrap_or("."))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub(crate) fn report(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}
