//! Quotas: how much one member may ask, and how much strangers may write into the journal.

use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use record::{MemberId, ReasonCode, Refusal};

use crate::config::Limits;

/// The quotas of a node.
#[derive(Debug)]
pub struct Quotas {
    evaluations: DefaultKeyedRateLimiter<MemberId>,
    requests: DefaultKeyedRateLimiter<MemberId>,
    strangers: DefaultDirectRateLimiter,
    clock: DefaultClock,
}

fn at_least_one(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

impl Quotas {
    /// Quotas as configured.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            evaluations: RateLimiter::keyed(Quota::per_minute(at_least_one(
                limits.evaluations_per_minute,
            ))),
            requests: RateLimiter::keyed(Quota::per_second(at_least_one(
                limits.requests_per_second,
            ))),
            strangers: RateLimiter::direct(Quota::per_minute(at_least_one(
                limits.stranger_refusals_per_minute,
            ))),
            clock: DefaultClock::default(),
        }
    }

    /// Takes `n` evaluations of a member's quota.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED` with when to try again.
    pub fn evaluate(&self, member: &MemberId, n: usize) -> Result<(), Refusal> {
        let n = at_least_one(u32::try_from(n).unwrap_or(u32::MAX));
        match self.evaluations.check_key_n(member, n) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(exceeded(not_until.wait_time_from(self.clock.now()))),
            Err(_more_than_ever) => Err(Refusal::new(ReasonCode::QuotaExceeded)),
        }
    }

    /// Takes one request of a member's quota.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED` with when to try again.
    pub fn request(&self, member: &MemberId) -> Result<(), Refusal> {
        self.requests
            .check_key(member)
            .map_err(|not_until| exceeded(not_until.wait_time_from(self.clock.now())))
    }

    /// Whether a stranger's refusal may be journalled: someone without a member's certificate must not fill the journal.
    #[must_use]
    pub fn may_journal_stranger(&self) -> bool {
        self.strangers.check().is_ok()
    }
}

fn exceeded(wait: std::time::Duration) -> Refusal {
    Refusal {
        reason: ReasonCode::QuotaExceeded,
        detail: None,
        retry_after_ms: Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_has_a_quota_of_its_own() {
        let quotas = Quotas::new(&Limits {
            evaluations_per_minute: 4,
            ..Limits::default()
        });
        let (a, b) = (
            MemberId::parse("h-a").unwrap(),
            MemberId::parse("h-b").unwrap(),
        );
        assert!(quotas.evaluate(&a, 4).is_ok());
        let refused = quotas.evaluate(&a, 1).unwrap_err();
        assert_eq!(refused.reason, ReasonCode::QuotaExceeded);
        assert!(refused.retry_after_ms.is_some_and(|ms| ms > 0));
        assert!(quotas.evaluate(&b, 1).is_ok());
        assert!(
            quotas.evaluate(&b, 5).is_err(),
            "more than the quota ever holds"
        );
    }
}
