//! A policy bundle: the module, its tables, the Rego it was made from, and the manifest that ties them together.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use record::decision::CONTRACT_VERSION;
use record::id::hex_encode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::{sha256, sha256_hex, to_canonical};
use crate::tables::{InvalidTables, Tables};

/// The portable profile that bundles are written in.
pub const PROFILE_VERSION: u8 = 1;
/// The most bytes of a module: the default one has 0.15 MB, most of it OPA's own runtime.
pub const WASM_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The most bytes of the tables: they are read into every instance's memory.
pub const TABLES_BYTES_MAX: u64 = 1024 * 1024;
/// The most bytes of one Rego file or of the manifest.
pub const TEXT_BYTES_MAX: u64 = 256 * 1024;
/// The most Rego files of one bundle.
pub const SOURCES_MAX: usize = 64;

/// The `policy_id` of policies that read the tables of this repository's default policy.
const ACCESS_POLICY: &str = "songhe.access";
const MANIFEST_PATH: &str = "bundle/manifest.json";
const WASM_PATH: &str = "bundle/policy.wasm";
const TABLES_PATH: &str = "tables/data.json";

/// What a bundle says of itself (`bundle/manifest.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the policy; tables of `songhe.access` are checked against its rules.
    pub policy_id: String,
    /// The rule that is asked, such as `songhe/access/decision`.
    pub entrypoint: String,
    /// Version of question and verdict, [`CONTRACT_VERSION`].
    pub contract_version: u8,
    /// Version of the portable profile, [`PROFILE_VERSION`].
    pub profile_version: u8,
    /// Version of OPA that compiled the module; the same version gives the same bytes.
    pub opa_version: String,
    /// SHA-256 of each Rego file the module was made from, by path, lower-case hexadecimal.
    pub sources: BTreeMap<String, String>,
    /// SHA-256 of the module, lower-case hexadecimal.
    pub wasm_sha256: String,
}

/// A bundle whose parts belong together. Nothing of it has run yet.
#[derive(Clone)]
pub struct Bundle {
    manifest: Manifest,
    wasm: Vec<u8>,
    tables: Value,
    digest: [u8; 32],
}

/// Why a bundle is refused. Each is the fault of whoever made or installed it.
#[derive(Debug, thiserror::Error)]
pub enum BundleFault {
    /// A file cannot be read.
    #[error("the bundle's file `{path}` cannot be read; install the bundle again")]
    Unreadable {
        /// Path inside the bundle.
        path: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than its limit.
    #[error("the bundle's file `{path}` has more than {limit} bytes")]
    TooLarge {
        /// Path inside the bundle.
        path: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The manifest is not one.
    #[error("the bundle's manifest cannot be read; rebuild it with policies/build.sh")]
    Manifest(#[source] serde_json::Error),
    /// Made for another version of the contract or profile.
    #[error(
        "the bundle is of contract {contract} and profile {profile}, this node knows {CONTRACT_VERSION} and {PROFILE_VERSION}"
    )]
    Version {
        /// Version of question and verdict.
        contract: u8,
        /// Version of the portable profile.
        profile: u8,
    },
    /// The manifest names no source, too many, or one outside the bundle.
    #[error("the manifest must name 1 to 64 rego files inside the bundle; look at `{0}`")]
    Source(String),
    /// A file is not the one the manifest was made with.
    #[error("`{0}` is not the file the manifest was made with; rebuild with policies/build.sh")]
    Digest(String),
    /// The tables are not JSON.
    #[error("the tables are not json")]
    TablesSyntax(#[source] serde_json::Error),
    /// The tables have a fraction: engines and tools print those differently.
    #[error("the tables may hold whole numbers only")]
    TablesFraction,
    /// The tables break a rule of the access policy.
    #[error("the tables break a rule of the access policy")]
    Tables(#[from] InvalidTables),
}

impl Bundle {
    /// The bundle this program was built with.
    ///
    /// # Errors
    /// [`BundleFault`] if the repository's files did not belong together when it was built.
    pub fn builtin() -> Result<Self, BundleFault> {
        Self::from_parts(
            include_str!("../../policies/bundle/manifest.json"),
            &BTreeMap::from([(
                "songhe/access.rego".to_owned(),
                include_str!("../../policies/songhe/access.rego").to_owned(),
            )]),
            include_bytes!("../../policies/bundle/policy.wasm").to_vec(),
            include_str!("../../policies/tables/data.json"),
        )
    }

    /// Reads a bundle from a folder laid out like `policies/`: `bundle/manifest.json`,
    /// `bundle/policy.wasm`, `tables/data.json` and the Rego files the manifest names.
    ///
    /// # Errors
    /// [`BundleFault`]: names the file and what is wrong with it.
    pub fn from_dir(folder: &Path) -> Result<Self, BundleFault> {
        let manifest = read_text(folder, MANIFEST_PATH, TEXT_BYTES_MAX)?;
        let parsed: Manifest = serde_json::from_str(&manifest).map_err(BundleFault::Manifest)?;
        check_source_names(&parsed)?;
        let mut sources = BTreeMap::new();
        for path in parsed.sources.keys() {
            sources.insert(path.clone(), read_text(folder, path, TEXT_BYTES_MAX)?);
        }
        let wasm = read_bytes(folder, WASM_PATH, WASM_BYTES_MAX)?;
        let tables = read_text(folder, TABLES_PATH, TABLES_BYTES_MAX)?;
        Self::from_parts(&manifest, &sources, wasm, &tables)
    }

    /// Puts a bundle together from its parts. `sources` are the Rego files by path; `tables` is the
    /// document that policies see as `data.tables`.
    ///
    /// # Errors
    /// [`BundleFault`] if a digest does not match, a version is unknown, or the tables break a rule.
    pub fn from_parts(
        manifest: &str,
        sources: &BTreeMap<String, String>,
        wasm: Vec<u8>,
        tables: &str,
    ) -> Result<Self, BundleFault> {
        let manifest: Manifest = serde_json::from_str(manifest).map_err(BundleFault::Manifest)?;
        if manifest.contract_version != CONTRACT_VERSION
            || manifest.profile_version != PROFILE_VERSION
        {
            return Err(BundleFault::Version {
                contract: manifest.contract_version,
                profile: manifest.profile_version,
            });
        }
        check_source_names(&manifest)?;
        // The module's authors are whoever can be read in the Rego beside it: another module is refused.
        for (path, expected) in &manifest.sources {
            let text = sources
                .get(path)
                .ok_or_else(|| BundleFault::Source(path.clone()))?;
            if &sha256_hex(text.as_bytes()) != expected {
                return Err(BundleFault::Digest(path.clone()));
            }
        }
        if let Some(extra) = sources.keys().find(|p| !manifest.sources.contains_key(*p)) {
            return Err(BundleFault::Source(extra.clone()));
        }
        if u64::try_from(wasm.len()).unwrap_or(u64::MAX) > WASM_BYTES_MAX {
            return Err(BundleFault::TooLarge {
                path: WASM_PATH.to_owned(),
                limit: WASM_BYTES_MAX,
            });
        }
        if sha256_hex(&wasm) != manifest.wasm_sha256 {
            return Err(BundleFault::Digest(WASM_PATH.to_owned()));
        }
        let value: Value = serde_json::from_str(tables).map_err(BundleFault::TablesSyntax)?;
        if manifest.policy_id == ACCESS_POLICY {
            Tables::from_json(tables)?;
        }
        let canonical = to_canonical(&value).ok_or(BundleFault::TablesFraction)?;
        let digest = sha256(&[&wasm, canonical.as_bytes()]);
        Ok(Self {
            manifest,
            wasm,
            tables: value,
            digest,
        })
    }

    /// What the bundle says of itself.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The module.
    #[must_use]
    pub fn wasm(&self) -> &[u8] {
        &self.wasm
    }

    /// The tables, as policies see them under `data.tables`.
    #[must_use]
    pub const fn tables(&self) -> &Value {
        &self.tables
    }

    /// SHA-256 over the module followed by the canonical tables: JSON with sorted keys and no blanks.
    ///
    /// With standard tools: `(cat policy.wasm; jq -cjS . data.json) | sha256sum`.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle")
            .field("policy_id", &self.manifest.policy_id)
            .field("digest", &hex_encode(&self.digest))
            .finish_non_exhaustive()
    }
}

/// Source paths come from the manifest: they must stay inside the folder.
fn check_source_names(manifest: &Manifest) -> Result<(), BundleFault> {
    if manifest.sources.is_empty() || manifest.sources.len() > SOURCES_MAX {
        return Err(BundleFault::Source("sources".to_owned()));
    }
    for path in manifest.sources.keys() {
        let inside = Path::new(path)
            .components()
            .all(|c| matches!(c, Component::Normal(_)));
        if !inside || !path.ends_with(".rego") || path.contains('\\') {
            return Err(BundleFault::Source(path.chars().take(100).collect()));
        }
    }
    Ok(())
}

fn read_bytes(folder: &Path, path: &str, limit: u64) -> Result<Vec<u8>, BundleFault> {
    let unreadable = |source| BundleFault::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(folder.join(path)).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(BundleFault::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

fn read_text(folder: &Path, path: &str, limit: u64) -> Result<String, BundleFault> {
    String::from_utf8(read_bytes(folder, path, limit)?).map_err(|e| BundleFault::Unreadable {
        path: path.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, e.utf8_error()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> (Manifest, BTreeMap<String, String>, Vec<u8>, String) {
        let manifest = include_str!("../../policies/bundle/manifest.json");
        (
            serde_json::from_str(manifest).unwrap(),
            BTreeMap::from([(
                "songhe/access.rego".to_owned(),
                include_str!("../../policies/songhe/access.rego").to_owned(),
            )]),
            include_bytes!("../../policies/bundle/policy.wasm").to_vec(),
            include_str!("../../policies/tables/data.json").to_owned(),
        )
    }

    fn build(
        (manifest, sources, wasm, tables): (Manifest, BTreeMap<String, String>, Vec<u8>, String),
    ) -> Result<Bundle, BundleFault> {
        let manifest = serde_json::to_string(&manifest).unwrap();
        Bundle::from_parts(&manifest, &sources, wasm, &tables)
    }

    #[test]
    fn the_committed_bundle_belongs_together() {
        let bundle = Bundle::builtin().unwrap();
        assert_eq!(bundle.manifest().entrypoint, "songhe/access/decision");
        assert_eq!(bundle.tables()["version"], "2026.11.1");
        assert_eq!(
            bundle.digest(),
            build(parts()).unwrap().digest(),
            "same parts, same digest"
        );
    }

    #[test]
    fn the_folder_gives_the_same_bundle() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
        let bundle = Bundle::from_dir(&folder).unwrap();
        assert_eq!(bundle.digest(), Bundle::builtin().unwrap().digest());
    }

    #[test]
    fn a_missing_folder_is_named() {
        let fault = Bundle::from_dir(Path::new("/nonexistent-songhe")).unwrap_err();
        assert!(
            matches!(&fault, BundleFault::Unreadable { path, .. } if path == MANIFEST_PATH),
            "{fault}"
        );
    }

    #[test]
    fn a_changed_source_or_module_is_refused() {
        let (manifest, mut sources, wasm, tables) = parts();
        sources
            .get_mut("songhe/access.rego")
            .unwrap()
            .push_str("\n# one more line\n");
        assert!(matches!(
            build((manifest, sources, wasm, tables)),
            Err(BundleFault::Digest(p)) if p == "songhe/access.rego"
        ));
        let (manifest, sources, mut wasm, tables) = parts();
        wasm.push(0);
        assert!(matches!(
            build((manifest, sources, wasm, tables)),
            Err(BundleFault::Digest(p)) if p == WASM_PATH
        ));
    }

    #[test]
    fn sources_are_exactly_those_of_the_manifest() {
        let (manifest, mut sources, wasm, tables) = parts();
        sources.insert("songhe/more.rego".into(), "package songhe.more\n".into());
        assert!(matches!(
            build((manifest, sources, wasm, tables)),
            Err(BundleFault::Source(p)) if p == "songhe/more.rego"
        ));
        let (manifest, _, wasm, tables) = parts();
        assert!(matches!(
            build((manifest, BTreeMap::new(), wasm, tables)),
            Err(BundleFault::Source(_))
        ));
        for bad in [
            "../access.rego",
            "/etc/access.rego",
            "a\\b.rego",
            "access.txt",
            "./../x.rego",
        ] {
            let (mut manifest, sources, wasm, tables) = parts();
            manifest.sources.insert(bad.into(), "0".repeat(64));
            assert!(
                matches!(
                    build((manifest, sources, wasm, tables)),
                    Err(BundleFault::Source(_))
                ),
                "{bad}"
            );
        }
    }

    #[test]
    fn another_version_is_refused() {
        for change in [
            |m: &mut Manifest| m.contract_version = 2,
            |m: &mut Manifest| m.profile_version = 2,
        ] {
            let (mut manifest, sources, wasm, tables) = parts();
            change(&mut manifest);
            assert!(matches!(
                build((manifest, sources, wasm, tables)),
                Err(BundleFault::Version { .. })
            ));
        }
    }

    #[test]
    fn the_digest_follows_the_meaning_of_the_tables_not_their_looks() {
        let base = Bundle::builtin().unwrap().digest();
        let (manifest, sources, wasm, tables) = parts();
        let value: Value = serde_json::from_str(&tables).unwrap();
        let compact = serde_json::to_string(&value).unwrap();
        assert_ne!(compact, tables);
        assert_eq!(
            build((manifest, sources, wasm, compact)).unwrap().digest(),
            base
        );
        let (manifest, sources, wasm, tables) = parts();
        let changed = tables.replace("86400", "86401");
        assert_ne!(
            build((manifest, sources, wasm, changed)).unwrap().digest(),
            base
        );
    }
}
