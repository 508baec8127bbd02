//! What the node is, holds and knows of the federation, without personal data.

use ledger::LedgerHealth;
use record::ReasonCode;
use wire::v1;

use crate::node::Node;
use crate::serve::reason_of;
use crate::status::reason_message;

/// The node's state.
pub(super) fn of(node: &Node) -> v1::StatusResponse {
    let health = node.ledger().health();
    let held = node.roster.directory();
    let directory = held.directory();
    let mut reasons = Vec::new();
    if directory.is_expired(node.clock.now()) {
        reasons.push(reason_message(ReasonCode::DirectoryExpired, None));
    }
    let state = match health.read_only {
        None => "serving",
        Some(why) => {
            reasons.push(reason_message(reason_of(why), None));
            if why == LedgerHealth::Full {
                "read-only"
            } else {
                "failed"
            }
        }
    };
    let members = directory
        .members()
        .iter()
        .map(|m| v1::MemberEntry {
            member_id: m.id.to_string(),
            kind: m.kind.to_string(),
            name: m.name.clone(),
            district: m.district.to_string(),
            status: if m.is_active() { "active" } else { "suspended" }.into(),
            endpoint: m
                .endpoints
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
        })
        .collect();
    v1::StatusResponse {
        member_id: node.config.member.to_string(),
        version: env!("CARGO_PKG_VERSION").into(),
        protocol: exchange::PROTOCOL,
        directory_version: directory.version(),
        directory_expires_ms: directory.expires().as_ms(),
        members,
        events: health.events,
        records: health.records,
        policy_digest: node.holder.policy().digest().to_vec(),
        state: state.into(),
        reasons,
    }
}
