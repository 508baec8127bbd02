//! Freshness and single use of requests: a statement is answered once, within a narrow window of time.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use record::{ExchangeId, ReasonCode, Refusal, Timestamp};

/// How far the requester's clock may differ, either way. Nodes keep time by NTP; two minutes forgive a bad day.
pub(crate) const WINDOW_MS: i64 = 120_000;
/// The most exchange ids kept in memory: 4,000 requests a second for the whole window, about 100 MB at worst.
const KEPT_MAX: usize = 1_000_000;

/// Exchange ids seen within the window. Older ones are stale anyway; after a restart the journal's index has them.
#[derive(Debug, Default)]
pub(crate) struct Replays(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<ExchangeId>,
    by_time: BTreeMap<(i64, ExchangeId), ()>,
}

impl Replays {
    /// Takes a statement's id, once.
    ///
    /// # Errors
    /// `REQUEST_STALE`, `REQUEST_REPLAYED`, `BUSY` when the memory is full.
    pub(crate) fn take(
        &self,
        xid: ExchangeId,
        issued_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let age_ms = now.since_ms(issued_at);
        if age_ms.unsigned_abs() > WINDOW_MS.unsigned_abs() {
            let detail = format!(
                "the two clocks differ by about {} s, {} s are allowed",
                age_ms / 1000,
                WINDOW_MS / 1000
            );
            return Err(Refusal::with_detail(ReasonCode::RequestStale, detail));
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let horizon = now.plus_ms(-WINDOW_MS).as_ms();
        while let Some((&(at, id), ())) = seen.by_time.first_key_value() {
            if at >= horizon {
                break;
            }
            seen.by_time.remove(&(at, id));
            seen.ids.remove(&id);
        }
        if seen.ids.contains(&xid) {
            return Err(Refusal::new(ReasonCode::RequestReplayed));
        }
        if seen.ids.len() >= KEPT_MAX {
            return Err(Refusal::new(ReasonCode::Busy));
        }
        seen.ids.insert(xid);
        seen.by_time.insert((issued_at.as_ms(), xid), ());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_and_only_within_the_window() {
        let replays = Replays::default();
        let now = Timestamp::from_s(10_000);
        let id = |n| ExchangeId::from_bytes([n; 16]);
        assert!(replays.take(id(1), now, now).is_ok());
        assert_eq!(
            replays.take(id(1), now, now).unwrap_err().reason,
            ReasonCode::RequestReplayed
        );
        for hour in [-3_600_000, 3_600_000] {
            let refused = replays.take(id(2), now.plus_ms(hour), now).unwrap_err();
            assert_eq!(refused.reason, ReasonCode::RequestStale);
        }
        assert!(
            replays.take(id(2), now.plus_ms(WINDOW_MS), now).is_ok(),
            "the edge belongs to it"
        );
        // Long after, the id is forgotten, but then the statement itself is stale.
        let later = now.plus_ms(3 * WINDOW_MS);
        assert_eq!(
            replays.take(id(1), now, later).unwrap_err().reason,
            ReasonCode::RequestStale
        );
    }
}
