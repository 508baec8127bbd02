//! The leaf of an event: canonical JSON (RFC 8785) of at most 512 bytes, without personal data.
//!
//! Only ASCII keys, strings, whole numbers and lists of strings occur, so canonical form is sorted
//! keys and no blanks. The leaf's hash is over these bytes; they are never rewritten.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::id::{ExchangeId, hex_encode};
use crate::reason::ReasonCode;
use crate::time::Timestamp;

/// The most bytes a leaf may have.
pub const LEAF_MAX: usize = 512;
/// Texts up to this many bytes are never shortened.
const SHORTEST: usize = 3;

/// What happened: the `typ` of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// The node started.
    Boot,
    /// The node stopped in good order.
    Shutdown,
    /// A torn tail was cut off while starting.
    Recovered,
    /// A subject's key was made.
    KeyCreated,
    /// A subject's key was wrapped under a new key-encryption key.
    KeyRewrapped,
    /// A subject's key was destroyed and the bodies under it overwritten.
    EraseExecuted,
    /// A record was stored.
    RecordPut,
    /// A record was set aside because it broke a rule.
    RecordQuarantined,
    /// A quarantined record was corrected or dropped by its owner.
    QuarantineClosed,
    /// A consent was given (or a refusal declared).
    ConsentGiven,
    /// A consent was withdrawn.
    ConsentWithdrawn,
    /// This node asked another.
    Request,
    /// Data left this node.
    Disclosure,
    /// A request was refused.
    Deny,
    /// A new directory of members was adopted.
    DirectoryAdopted,
    /// An administrator's act.
    Admin,
}

impl EventType {
    /// The text in the leaf.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Shutdown => "shutdown",
            Self::Recovered => "recovered",
            Self::KeyCreated => "key-created",
            Self::KeyRewrapped => "key-rewrapped",
            Self::EraseExecuted => "erase-executed",
            Self::RecordPut => "record-put",
            Self::RecordQuarantined => "record-quarantined",
            Self::QuarantineClosed => "quarantine-closed",
            Self::ConsentGiven => "consent-given",
            Self::ConsentWithdrawn => "consent-withdrawn",
            Self::Request => "request",
            Self::Disclosure => "disclosure",
            Self::Deny => "deny",
            Self::DirectoryAdopted => "directory-adopted",
            Self::Admin => "admin",
        }
    }
}

/// A leaf being built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    fields: BTreeMap<&'static str, Value>,
    /// Digests, tags and handles: half of one is worse than none, so they are never shortened.
    whole: BTreeSet<&'static str>,
}

impl Leaf {
    /// A leaf with its version, type and time.
    #[must_use]
    pub fn new(typ: EventType, at: Timestamp) -> Self {
        let mut fields = BTreeMap::new();
        fields.insert("v", Value::from(1));
        fields.insert("typ", Value::from(typ.as_str()));
        fields.insert("ts", Value::from(at.as_ms()));
        Self {
            fields,
            whole: BTreeSet::new(),
        }
    }

    /// The exchange id.
    #[must_use]
    pub fn xid(self, id: ExchangeId) -> Self {
        self.hex("xid", id.as_bytes())
    }

    /// A text; anything outside printable ASCII, quotes and backslashes is replaced, so that the canonical form stays simple.
    #[must_use]
    pub fn text(mut self, key: &'static str, value: &str) -> Self {
        let plain: String = value
            .chars()
            .map(|c| {
                if matches!(c, ' '..='~') && c != '"' && c != '\\' {
                    c
                } else {
                    '?'
                }
            })
            .collect();
        self.fields.insert(key, Value::from(plain));
        self
    }

    /// A whole number.
    #[must_use]
    pub fn number(mut self, key: &'static str, value: u64) -> Self {
        self.fields.insert(key, Value::from(value));
        self
    }

    /// Bytes as lower-case hexadecimal.
    #[must_use]
    pub fn hex(mut self, key: &'static str, value: &[u8]) -> Self {
        self.whole.insert(key);
        let text = hex_encode(value);
        self.text(key, &text)
    }

    /// A reason code.
    #[must_use]
    pub fn reason(self, reason: ReasonCode) -> Self {
        self.text("reason", reason.as_str())
    }

    /// The canonical bytes. A leaf that would be longer than [`LEAF_MAX`] loses its longest texts'
    /// ends (marked `~`), longest first: an event must never go unlogged for its length.
    #[must_use]
    pub fn to_bytes(mut self) -> Vec<u8> {
        loop {
            let bytes = serde_json::to_vec(&self.fields).unwrap_or_default();
            if bytes.len() <= LEAF_MAX {
                return bytes;
            }
            let excess = bytes.len() - LEAF_MAX;
            let whole = &self.whole;
            let longest = self
                .fields
                .iter_mut()
                .filter(|(key, _)| !whole.contains(*key))
                .filter_map(|(_, v)| {
                    if let Value::String(s) = v {
                        Some(s)
                    } else {
                        None
                    }
                })
                .filter(|s| s.len() > SHORTEST)
                .max_by_key(|s| s.len());
            let Some(longest) = longest else { return bytes };
            // At least two go for the mark that comes: each round makes the leaf shorter.
            let cut = (excess + 1).min(longest.len() / 2).max(2);
            longest.truncate(longest.len() - cut);
            longest.push('~');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_canonical_json() {
        let leaf = Leaf::new(EventType::Deny, Timestamp::from_ms(5))
            .text("peer", "h-1")
            .reason(ReasonCode::PeerUnknown);
        assert_eq!(
            String::from_utf8(leaf.to_bytes()).unwrap(),
            r#"{"peer":"h-1","reason":"PEER_UNKNOWN","ts":5,"typ":"deny","v":1}"#
        );
    }

    #[test]
    fn never_longer_than_the_limit_nor_outside_ascii() {
        let mut leaf =
            Leaf::new(EventType::Admin, Timestamp::from_ms(0)).text("a", &"x".repeat(400));
        leaf = leaf.text("b", &"张\"\\\n".repeat(100)).hex("c", &[9; 100]);
        let bytes = leaf.to_bytes();
        assert!(bytes.len() <= LEAF_MAX && bytes.is_ascii());
        let whole = hex_encode(&[9; 100]);
        assert!(
            String::from_utf8(bytes.clone()).unwrap().contains(&whole),
            "a digest stays whole"
        );
        assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
    }
}
