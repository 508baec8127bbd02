//! Time as a parameter: milliseconds since the Unix epoch, read through one small trait.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

/// A moment: milliseconds since 1970-01-01T00:00:00Z, leap seconds ignored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// From whole seconds since the epoch.
    #[must_use]
    pub const fn from_s(s: i64) -> Self {
        Self(s.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_s(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment moved by `ms` milliseconds (negative: earlier), kept inside the range.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment (negative if it is later).
    #[must_use]
    pub const fn since_ms(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Parses RFC 3339 text with an offset.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>()
            .ok()
            .map(|t| Self(t.as_millisecond()))
    }

    /// RFC 3339 in UTC, such as `2026-11-22T05:00:00Z`.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.0)
            .map_or_else(|_| self.0.to_string(), |t| t.to_string())
    }

    /// The civil date in China (UTC+8, no daylight saving) as (year, month, day).
    #[must_use]
    pub fn date_in_china(self) -> (i16, i8, i8) {
        jiff::Timestamp::from_millisecond(self.0.saturating_add(8 * 3_600_000)).map_or(
            (1970, 1, 1),
            |t| {
                let date = jiff::tz::Offset::UTC.to_datetime(t).date();
                (date.year(), date.month(), date.day())
            },
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// Where a room learns what time it is.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// A clock that tests and simulations move by hand; clones share one time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn at(start: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(start.as_ms())))
    }

    /// Moves every clone by `ms` milliseconds.
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_goes_both_ways() {
        let t = Timestamp::parse_rfc3339("2026-11-22T13:00:00+08:00").unwrap();
        assert_eq!(t.to_rfc3339(), "2026-11-22T05:00:00Z");
        assert!(Timestamp::parse_rfc3339("2026-11-22").is_none());
    }

    #[test]
    fn china_is_eight_hours_ahead() {
        let t = Timestamp::parse_rfc3339("2026-11-22T17:00:00Z").unwrap();
        assert_eq!(t.date_in_china(), (2026, 11, 23));
    }

    #[test]
    fn clones_of_a_manual_clock_share_time() {
        let a = ManualClock::at(Timestamp::from_s(10));
        let b = a.clone();
        a.advance_ms(5);
        assert_eq!(b.now(), Timestamp::from_ms(10_005));
    }
}
