//! FHIR `date`, `dateTime` and `instant` as moments.

use record::Timestamp;

/// The moment a FHIR date or time stands for; `None` when the calendar has no such day.
///
/// A date without a time counts from its beginning in China (UTC+8), a month or year from its first day:
/// R4 gives dates no zone, and records of this exchange are written there.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    match text.len() {
        4 => Timestamp::parse_rfc3339(&format!("{text}-01-01T00:00:00+08:00")),
        7 => Timestamp::parse_rfc3339(&format!("{text}-01T00:00:00+08:00")),
        10 => Timestamp::parse_rfc3339(&format!("{text}T00:00:00+08:00")),
        _ => Timestamp::parse_rfc3339(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_begin_in_china_and_must_exist() {
        assert_eq!(
            moment("2026-03-01").unwrap().to_rfc3339(),
            "2026-02-28T16:00:00Z"
        );
        assert_eq!(moment("2026").unwrap().to_rfc3339(), "2025-12-31T16:00:00Z");
        assert!(moment("2024-02-29").is_some() && moment("2023-02-29").is_none());
        assert!(moment("2023-02-31T10:00:00Z").is_none());
        assert!(moment("2015-02-07T13:28:17.239+02:00").is_some());
        assert!(
            moment("2016-12-31T23:59:60Z").is_some(),
            "a leap second is a time"
        );
        assert!(moment("").is_none() && moment("生于一九四零").is_none());
    }
}
