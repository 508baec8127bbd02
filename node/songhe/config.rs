//! The node's configuration file, `node.toml`: unknown keys are refused, what is left out has the default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use record::{AgencyKind, DistrictCode, MemberId};
use serde::{Deserialize, Serialize};

/// The file that `songhe init` writes: commented, and equal to the built-in defaults.
pub const TEMPLATE: &str = include_str!("../../deploy/node.toml");

/// Room in a segment beside the largest record: its header, its leaf and row, a new key, the frame.
const ENVELOPE_BYTES: u64 = 64 << 10;

/// Configuration of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This member.
    pub member: MemberId,
    /// The agency's name.
    pub name: String,
    /// Its kind.
    pub kind: AgencyKind,
    /// Its district.
    pub district: DistrictCode,
    /// Where the node listens.
    #[serde(default)]
    pub listen: Listen,
    /// How its keys are unlocked.
    #[serde(default)]
    pub unlock: UnlockConfig,
    /// How it keeps its directory of members up to date.
    #[serde(default)]
    pub directory: DirectoryConfig,
    /// What it accepts at most.
    #[serde(default)]
    pub limits: Limits,
    /// The journal's files.
    #[serde(default)]
    pub journal: JournalConfig,
    /// Which policy decides.
    #[serde(default)]
    pub policy: PolicyConfig,
}

/// Addresses to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// For other members' nodes.
    pub peer: SocketAddr,
    /// For the agency's own systems and people.
    pub gateway: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            peer: SocketAddr::from(([127, 0, 0, 1], 7310)),
            gateway: SocketAddr::from(([127, 0, 0, 1], 7311)),
        }
    }
}

/// How the key-encryption key is unlocked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnlockConfig {
    /// A file of at least 32 random bytes with mode 0400 or 0600, such as a systemd credential. Without it the passphrase
    /// is taken from `--passphrase-file` or `SONGHE_PASSPHRASE`.
    pub credential_file: Option<PathBuf>,
}

/// Keeping the directory up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DirectoryConfig {
    /// How often peers are asked for a newer directory, in seconds (1 to 86400).
    pub pull_interval_s: u64,
}

impl Default for DirectoryConfig {
    fn default() -> Self {
        Self {
            pull_interval_s: 60,
        }
    }
}

/// What the node accepts at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of one record (1024 to 16777216).
    pub record_bytes: usize,
    /// Bytes of one Bundle (1024 to 67108864).
    pub bundle_bytes: usize,
    /// Blinded identifiers a member may have evaluated in a minute.
    pub evaluations_per_minute: u32,
    /// Requests a member may make in a second.
    pub requests_per_second: u32,
    /// Refusals of callers that are no members which are journalled in a minute; more are refused without a leaf, and counted.
    pub stranger_refusals_per_minute: u32,
    /// Connections at the same time on each address.
    pub connections: usize,
    /// Memory of the index's page cache, bytes.
    pub index_cache_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes: 4 << 20,
            bundle_bytes: 64 << 20,
            evaluations_per_minute: 6_000,
            requests_per_second: 5_000,
            stranger_refusals_per_minute: 600,
            connections: 4_096,
            index_cache_bytes: 64 << 20,
        }
    }
}

/// The journal's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalConfig {
    /// Bytes of each new segment file (1048576 to 268435456, a multiple of 4096); besides the one in use two spares are
    /// kept ready.
    pub segment_bytes: u64,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
        }
    }
}

/// Which policy decides.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// A folder with a policy bundle; without it the built-in policy decides.
    pub bundle_dir: Option<PathBuf>,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: {cause}; run `songhe init` first, or name the folder with --data-dir")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// Not as it should be.
    #[error("{file}: {cause}")]
    Invalid {
        /// The file.
        file: PathBuf,
        /// What and where.
        cause: String,
    },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the line and the key.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|cause| ConfigError::Unreadable {
            file: file.into(),
            cause,
        })?;
        Self::parse(&text).map_err(|cause| ConfigError::Invalid {
            file: file.into(),
            cause,
        })
    }

    /// Reads and checks a text.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        let range = |name: &str, value: u64, from: u64, to: u64| {
            if (from..=to).contains(&value) {
                Ok(())
            } else {
                Err(format!(
                    "{name} must be between {from} and {to}, it is {value}"
                ))
            }
        };
        range(
            "directory.pull_interval_s",
            config.directory.pull_interval_s,
            1,
            86_400,
        )?;
        range(
            "limits.record_bytes",
            config.limits.record_bytes as u64,
            1024,
            16 << 20,
        )?;
        range(
            "limits.bundle_bytes",
            config.limits.bundle_bytes as u64,
            1024,
            64 << 20,
        )?;
        range(
            "limits.evaluations_per_minute",
            config.limits.evaluations_per_minute.into(),
            1,
            10_000_000,
        )?;
        range(
            "limits.requests_per_second",
            config.limits.requests_per_second.into(),
            1,
            1_000_000,
        )?;
        range(
            "limits.stranger_refusals_per_minute",
            config.limits.stranger_refusals_per_minute.into(),
            1,
            1_000_000,
        )?;
        range(
            "limits.connections",
            config.limits.connections as u64,
            1,
            100_000,
        )?;
        range(
            "limits.index_cache_bytes",
            config.limits.index_cache_bytes,
            1 << 20,
            64 << 30,
        )?;
        let segment = config.journal.segment_bytes;
        range("journal.segment_bytes", segment, 1 << 20, 256 << 20)?;
        if !segment.is_multiple_of(4096) {
            return Err(format!(
                "journal.segment_bytes must be a multiple of 4096, it is {segment}"
            ));
        }
        // A record that is taken must fit into one segment with its envelope, or it could never be stored.
        if config.limits.record_bytes as u64 + ENVELOPE_BYTES > segment {
            return Err(format!(
                "limits.record_bytes must be at least {ENVELOPE_BYTES} less than journal.segment_bytes"
            ));
        }
        Ok(config)
    }

    /// The ledger's settings for a data folder.
    #[must_use]
    pub fn ledger(&self, folder: &Path) -> ledger::Options {
        let defaults = journal::Options::default();
        let segment_size = self.journal.segment_bytes;
        ledger::Options {
            index_cache_bytes: self.limits.index_cache_bytes,
            journal: journal::Options {
                segment_size,
                audit_reserve: defaults.audit_reserve.min(segment_size / 4),
                ..defaults
            },
            ..ledger::Options::at(folder)
        }
    }

    /// The template with this member's own values filled in, as `songhe init` writes it.
    #[must_use]
    pub fn fill_template(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut out = String::with_capacity(TEMPLATE.len() + 256);
        for line in TEMPLATE.lines() {
            let filled = match line.split_once(" = ").map(|(key, _)| key) {
                Some("member") => format!("member = {}", quoted(self.member.as_str())),
                Some("name") => format!("name = {}", quoted(&self.name)),
                Some("kind") => format!("kind = {}", quoted(self.kind.as_str())),
                Some("district") => format!("district = {}", quoted(&self.district.to_string())),
                Some("peer") => format!("peer = {}", quoted(&self.listen.peer.to_string())),
                Some("gateway") => {
                    format!("gateway = {}", quoted(&self.listen.gateway.to_string()))
                }
                Some("# credential_file") if self.unlock.credential_file.is_some() => {
                    let file = self
                        .unlock
                        .credential_file
                        .as_deref()
                        .unwrap_or(Path::new(""))
                        .to_string_lossy();
                    format!("credential_file = {}", quoted(&file))
                }
                _ => line.to_owned(),
            };
            out.push_str(&filled);
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_the_default() {
        let config = Config::parse(TEMPLATE).unwrap();
        assert_eq!(config.listen, Listen::default());
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.journal, JournalConfig::default());
        assert_eq!(config.directory, DirectoryConfig::default());
        assert_eq!(config.unlock, UnlockConfig::default());
        assert_eq!(config.policy, PolicyConfig::default());
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let fault = Config::parse(&format!("{TEMPLATE}\n[limits2]\nx = 1\n")).unwrap_err();
        assert!(fault.contains("limits2"), "{fault}");
        let fault =
            Config::parse(&TEMPLATE.replace("[limits]", "[limits]\nrecord_byte = 5")).unwrap_err();
        assert!(fault.contains("record_byte"), "{fault}");
        assert!(
            Config::parse(&TEMPLATE.replace("pull_interval_s = 60", "pull_interval_s = 0"))
                .is_err()
        );
    }

    #[test]
    fn a_record_always_fits_a_segment() {
        let with = |bytes: u64| {
            let segment = format!("segment_bytes = {bytes}");
            Config::parse(&TEMPLATE.replace("segment_bytes = 67108864", &segment))
        };
        assert_eq!(
            with(8 << 20)
                .unwrap()
                .ledger(Path::new("x"))
                .journal
                .segment_size,
            8 << 20
        );
        for wrong in [4096, 4 << 20, (8 << 20) + 1, 1 << 30] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_filled_template_parses() {
        let mut config = Config::parse(TEMPLATE).unwrap();
        config.member = MemberId::parse("h-one").unwrap();
        config.name = "第一\"医院".into();
        config.kind = AgencyKind::Community;
        config.district = DistrictCode::parse("110101").unwrap();
        config.listen.peer = SocketAddr::from(([10, 1, 2, 3], 9));
        config.unlock.credential_file = Some("/run/\"kek".into());
        assert_eq!(Config::parse(&config.fill_template()).unwrap(), config);
    }
}
