//! Where the event of an access stands in this node's journal.

use record::{ExchangeId, MemberId};

/// Where the event of an access stands in this node's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafPosition {
    /// Whose journal.
    pub member: MemberId,
    /// Sequence number.
    pub seq: u64,
    /// The exchange.
    pub xid: ExchangeId,
}
