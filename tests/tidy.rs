//! House rules as an ordinary test: documents agree with the tree, imports go one way, nothing is left half done.
//!
//! It reads files only: no cargo, no network, no library. Each rule gathers every offence and then fails with all of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "a test that stops at the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[path = "tidy/reading.rs"]
mod reading;

use reading::{
    ROOT, documents, folders, imports, names, quoted, read, reasons_table, report, rooms, root,
    section, sources, tests_in, value,
};

/// A file longer than this is split by meaning.
const LINES_MAX: usize = 600;

// === rooms ===

#[test]
fn the_rooms_table_is_the_tree() {
    let mut wrong = Vec::new();
    let rooms = rooms();
    let listed: BTreeSet<_> = rooms.iter().map(|r| r.folder.clone()).collect();
    let mut there: BTreeSet<String> = folders("node").map(|f| format!("node/{f}")).collect();
    there.insert("proto".into());
    for folder in there.symmetric_difference(&listed) {
        wrong.push(format!(
            "{folder}: in the tree or in the rooms table, but not in both"
        ));
    }
    let members = section(&read("Cargo.toml"), "workspace");
    for room in &rooms {
        let manifest = room.manifest();
        if room.folder != ROOT && !members.contains(&format!("\"{}\"", room.folder)) {
            wrong.push(format!("{}: not a member of the workspace", room.folder));
        }
        let description = value(&manifest, "description").unwrap_or_default();
        if description.trim_end_matches('.') != room.responsibility {
            wrong.push(format!(
                "{}: the table says \"{}\", Cargo.toml \"{description}\"",
                room.name, room.responsibility
            ));
        }
        let imports: Vec<_> = rooms
            .iter()
            .filter(|r| imports(&manifest, r))
            .map(|r| r.name.clone())
            .collect();
        if imports != room.imports {
            wrong.push(format!(
                "{}: the table has the imports {:?}, Cargo.toml {imports:?}",
                room.name, room.imports
            ));
        }
        let lib = read(&format!("{}/lib.rs", room.folder));
        let touch = lib.lines().take(12).any(|l| l.contains("may touch"));
        if room.folder != ROOT && !touch {
            wrong.push(format!(
                "{}/lib.rs: the head does not say what the room may touch",
                room.folder
            ));
        }
    }
    report("docs/ARCHITECTURE.md and the crates differ", &wrong);
}

#[test]
fn no_room_imports_one_that_stands_later() {
    let rooms = rooms();
    let mut wrong = Vec::new();
    for (at, room) in rooms.iter().enumerate() {
        for later in rooms.iter().skip(at) {
            if imports(&room.manifest(), later) {
                wrong.push(format!("{} imports {}", room.name, later.name));
            }
        }
    }
    assert!(rooms.len() > 10, "the rooms table was not read");
    report(
        "arrows go one way: a room imports only rooms above it",
        &wrong,
    );
}

#[test]
fn only_the_rooms_that_may_name_keys_disks_and_sockets() {
    // What a room does not name it cannot use. The reasons are in docs/ARCHITECTURE.md.
    let rules: [(&str, &[&str]); 6] = [
        ("sled", &["index"]),
        ("wasmtime", &["policy"]),
        ("opa-wasm", &["policy"]),
        ("argon2", &["seal"]),
        ("tokio-rustls", &["songhe"]),
        ("tonic", &["proto", "songhe"]),
    ];
    let mut wrong = Vec::new();
    for room in rooms() {
        let manifest = room.manifest();
        for (library, allowed) in rules {
            if names(&section(&manifest, "dependencies")).contains(library)
                && !allowed.contains(&room.name.as_str())
            {
                wrong.push(format!(
                    "{} names {library}, which is for {allowed:?}",
                    room.name
                ));
            }
        }
    }
    report("permission slips", &wrong);
}

// === documents ===

#[test]
fn every_reason_stands_in_the_document_as_in_the_source() {
    let table = reasons_table(&read("node/record/reason.rs"));
    assert!(
        table.lines().count() > 40,
        "the table of reasons was not read"
    );
    let document = read("docs/REASONS.md");
    let written = document.find("| code |").map_or("", |at| &document[at..]);
    for (is, should) in written.lines().zip(table.lines()) {
        assert_eq!(
            is, should,
            "docs/REASONS.md is not as node/record/reason.rs has it"
        );
    }
    assert_eq!(
        written, table,
        "docs/REASONS.md has more or fewer lines than node/record/reason.rs gives"
    );
}

#[test]
fn every_path_that_a_document_names_is_there() {
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        for word in quoted(&text) {
            let tops = [
                "node/",
                "proto/",
                "policies/",
                "deploy/",
                "docs/",
                "tests/",
                ".ci/",
            ];
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
            if tops.iter().any(|t| word.starts_with(t))
                && word.chars().all(plain)
                && !root().join(&word).exists()
            {
                wrong.push(format!("{path}: {word}"));
            }
        }
    }
    report("documents name what is not there", &wrong);
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let known: BTreeSet<String> = sources("rs")
        .iter()
        .flat_map(|(_, text)| tests_in(text))
        .collect();
    let mut wrong = Vec::new();
    let mut named = 0;
    for line in read("docs/SECURITY.md")
        .lines()
        .filter(|l| l.starts_with("| "))
    {
        let shown = line
            .trim_end_matches('|')
            .rsplit('|')
            .next()
            .unwrap_or_default();
        for test in quoted(shown) {
            named += 1;
            if !known.contains(&test) {
                wrong.push(test);
            }
        }
    }
    assert!(named > 40, "the tables of docs/SECURITY.md were not read");
    report("docs/SECURITY.md names tests that are not there", &wrong);
}

#[test]
fn every_setting_and_variable_is_explained() {
    let mut wrong = Vec::new();
    let operator = read("deploy/README.md");
    let mut table = String::new();
    for line in read("deploy/node.toml").lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            table = format!("{name}.");
        }
        // A setting that is shown but not set stands behind a `#`, as one word and an equals sign.
        let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") else {
            continue;
        };
        if key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            && !operator.contains(&format!("`{table}{key}`"))
        {
            wrong.push(format!("deploy/README.md: `{table}{key}`"));
        }
    }
    let explained = format!("{operator}{}", read("tests/README.md"));
    let prefix = concat!("\"SONG", "HE_");
    for (path, text) in sources("rs") {
        for (at, _) in text.match_indices(prefix) {
            let name: String = text[at + 1..]
                .chars()
                .take_while(|c| c.is_ascii_uppercase() || *c == '_')
                .collect();
            if !explained.contains(&format!("`{name}`")) {
                wrong.push(format!(
                    "{path}: {name} is in neither deploy/README.md nor tests/README.md"
                ));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    report("settings without an explanation", &wrong);
}

#[test]
fn every_library_has_its_reason() {
    let listed = read("docs/DEPENDENCIES.md");
    let rooms = rooms();
    let mut used = BTreeMap::new();
    for room in &rooms {
        let manifest = room.manifest();
        for part in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for name in names(&section(&manifest, part)) {
                if !rooms.iter().any(|r| r.import_name() == name) {
                    used.insert(name, room.name.clone());
                }
            }
        }
    }
    assert!(used.len() > 30, "the manifests were not read");
    let mut wrong: Vec<_> = used
        .iter()
        .filter(|(name, _)| !listed.contains(&format!("\n| `{name}` |")))
        .map(|(name, room)| format!("{name} of {room} is not in the table"))
        .collect();
    for line in listed.lines().take_while(|l| !l.starts_with("## ")) {
        let first = quoted(line)
            .into_iter()
            .next()
            .filter(|_| line.starts_with("| `"));
        if let Some(name) = first.filter(|name| !used.contains_key(name)) {
            wrong.push(format!("{name} is in the table, but nothing uses it"));
        }
    }
    for (banned, instead) in [
        ("openssl", "rustls"),
        ("native-tls", "rustls"),
        ("aws-lc-rs", "ring"),
        ("reqwest", "nothing"),
    ] {
        if read("Cargo.lock").contains(&format!("name = \"{banned}\"\n")) {
            wrong.push(format!("{banned} is in Cargo.lock; we have {instead}"));
        }
    }
    report("docs/DEPENDENCIES.md", &wrong);
}

#[test]
fn the_papers_of_a_release_are_there() {
    for file in [
        "LICENSE",
        "NOTICE",
        "README.md",
        "CHANGELOG.md",
        ".deny.toml",
        ".ci/run",
        "deploy/node.toml",
        "deploy/README.md",
        "proto/README.md",
        "proto/buf.yaml",
        "policies/README.md",
        "docs/SECURITY.md",
    ] {
        assert!(root().join(file).is_file(), "{file} is missing");
    }
    let version = value(
        &section(&read("Cargo.toml"), "workspace.package"),
        "version",
    )
    .unwrap_or_default();
    assert!(!version.is_empty(), "the version was not read");
    assert!(
        read("CHANGELOG.md").contains(&format!("## [{version}]")),
        "CHANGELOG.md has no chapter for {version}"
    );
}

#[test]
fn documents_name_no_tickets() {
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let digit_after = |mark: &str| {
                lower.match_indices(mark).any(|(at, _)| {
                    lower[at + mark.len()..]
                        .trim_start_matches([' ', '#'])
                        .starts_with(|c: char| c.is_ascii_digit())
                })
            };
            let hash = lower.match_indices('#').any(|(at, _)| {
                lower[at + 1..].starts_with(|c: char| c.is_ascii_digit())
                    && !lower[..at].ends_with(|c: char| c.is_ascii_alphanumeric())
            });
            if hash
                || digit_after("issue ")
                || digit_after("ticket ")
                || digit_after("pull request ")
            {
                wrong.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report("documents speak of the product, not of tickets", &wrong);
}

// === sources ===

#[test]
fn every_source_begins_with_its_job() {
    let wrong: Vec<_> = sources("rs")
        .into_iter()
        .filter(|(_, text)| {
            let first = text.lines().next().unwrap_or_default();
            !(first.starts_with("//! ") && first.len() > "//! ".len() + 10)
        })
        .map(|(path, _)| path)
        .collect();
    report(
        "the first line of a file is `//! ` and its job in a sentence",
        &wrong,
    );
}

#[test]
fn nothing_is_left_half_done() {
    // Put together here, so that this file is not the first to be found.
    let marks = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("db", "g!("),
        concat!("FIX", "ME"),
        concat!("X", "XX"),
        concat!("#[ig", "nore"),
    ];
    let mut wrong = Vec::new();
    for (path, text) in ["rs", "rego", "proto", "sh", "py"]
        .into_iter()
        .flat_map(sources)
    {
        for (number, line) in text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|m| line.contains(**m)) {
                wrong.push(format!("{path}:{}: {mark}", number + 1));
            }
        }
    }
    report("half done", &wrong);
}

#[test]
fn no_file_is_too_long() {
    let wrong: Vec<_> = ["rs", "rego", "proto", "sh", "py", "md"]
        .into_iter()
        .flat_map(sources)
        .filter(|(_, text)| text.lines().count() > LINES_MAX)
        .map(|(path, text)| format!("{path}: {} lines", text.lines().count()))
        .collect();
    report("files of more than 600 lines are split by meaning", &wrong);
}

#[test]
fn no_machine_and_no_registry_is_named() {
    let marks = [
        concat!("/wo", "rk/"),
        concat!("/tm", "p/"),
        concat!("/ro", "ot/"),
        concat!("crates", ".io"),
        concat!("py", "pi.org"),
        concat!("npm", "js."),
        concat!("proxy.go", "lang"),
        concat!("maven", ".org"),
    ];
    let mut wrong = Vec::new();
    for (path, text) in [
        "rs", "rego", "proto", "sh", "py", "md", "toml", "yaml", "run",
    ]
    .into_iter()
    .flat_map(sources)
    {
        for (number, line) in text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|m| line.contains(**m)) {
                wrong.push(format!("{path}:{}: {mark}", number + 1));
            }
        }
    }
    report("paths of a machine, or hosts of a registry", &wrong);
}

#[test]
fn every_module_of_a_room_is_used() {
    // A file that no `mod` and no `path` names is compiled by nobody.
    let mut wrong = Vec::new();
    for room in rooms() {
        let texts: Vec<(String, String)> = sources("rs")
            .into_iter()
            .filter(|(p, _)| p.starts_with(&format!("{}/", room.folder)))
            .collect();
        let manifest = room.manifest();
        let all: String = texts
            .iter()
            .map(|(_, t)| t.as_str())
            .chain([manifest.as_str()])
            .collect();
        for (path, _) in &texts {
            let file = Path::new(path);
            let stem = file.file_stem().unwrap().to_str().unwrap();
            let module = if stem == "mod" {
                file.parent()
                    .unwrap()
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
            } else {
                stem
            };
            let known = ["lib", "main", "build"].contains(&module)
                || path.contains("/examples/")
                || all.contains(&format!("mod {module};"))
                || all.contains(&format!("\"{module}.rs\""));
            if !known {
                wrong.push(path.clone());
            }
        }
    }
    report("files that nothing names", &wrong);
}
