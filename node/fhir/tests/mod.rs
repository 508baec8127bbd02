//! Tests of the room as a whole: samples, other people's data, masking, broken input.

mod broken;
mod corpus;
mod masking;
mod mutations;
mod samples;

use record::{Catalog, Timestamp};

use crate::{Context, catalog_json};

/// The catalogue the node is built with.
fn catalog() -> Catalog {
    Catalog::from_json(catalog_json()).unwrap()
}

fn context() -> Context {
    Context::at(Timestamp::parse_rfc3339("2026-11-22T00:00:00Z").unwrap())
}

/// One of the committed samples.
fn sample(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Where data too large for the repository may lie; `None` (told loudly) when it does not.
fn shared(name: &str) -> Option<std::path::PathBuf> {
    let path = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: shared data `{name}` is not here");
    None
}
