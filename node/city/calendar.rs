//! Days and moments of China's civil time (UTC+8, no daylight saving), in whole numbers, as FHIR writes them.

/// A civil day: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Day(pub(crate) i32);

/// A moment: seconds since 1970-01-01T00:00:00 on China's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(i64);

impl Day {
    /// From year, month (1-12) and day (1-31), proleptic Gregorian; a day past the month's end runs into the next.
    pub(crate) const fn from_ymd(year: i32, month: i32, day: i32) -> Self {
        // Years are counted from March, so that the leap day is a year's last.
        let y = if month <= 2 { year - 1 } else { year };
        let era = y.div_euclid(400);
        let year_of_era = y.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Self(era * 146_097 + day_of_era - 719_468)
    }

    /// Year, month and day.
    pub(crate) const fn ymd(self) -> (i32, i32, i32) {
        let z = self.0 + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + if month <= 2 { 1 } else { 0 };
        (year, month, day)
    }

    /// The day `n` days later (negative: earlier).
    pub(crate) const fn plus(self, n: i32) -> Self {
        Self(self.0 + n)
    }

    /// A FHIR date, such as `1944-03-01`.
    pub(crate) fn iso(self) -> String {
        let (y, m, d) = self.ymd();
        format!("{y:04}-{m:02}-{d:02}")
    }

    /// Eight digits, as in a resident identity number.
    pub(crate) fn digits(self) -> String {
        let (y, m, d) = self.ymd();
        format!("{y:04}{m:02}{d:02}")
    }

    /// A moment of this day.
    pub(crate) fn at(self, hour: i32, minute: i32) -> Moment {
        Moment(i64::from(self.0) * 86_400 + i64::from(hour * 3_600 + minute * 60))
    }

    /// Whole years from this day to `today`.
    pub(crate) const fn years_until(self, today: Self) -> i32 {
        let (y0, m0, d0) = self.ymd();
        let (y1, m1, d1) = today.ymd();
        y1 - y0
            - if m1 < m0 || (m1 == m0 && d1 < d0) {
                1
            } else {
                0
            }
    }
}

impl Moment {
    /// The moment `n` minutes later.
    pub(crate) fn plus_minutes(self, n: i32) -> Self {
        Self(self.0 + i64::from(n) * 60)
    }

    /// A FHIR dateTime or instant, such as `2026-11-22T13:00:00+08:00`.
    pub(crate) fn iso(self) -> String {
        let day = Day(i32::try_from(self.0.div_euclid(86_400)).unwrap_or(0));
        let s = self.0.rem_euclid(86_400);
        let (y, m, d) = day.ymd();
        let (hour, minute, second) = (s / 3_600, s / 60 % 60, s % 60);
        format!("{y:04}-{m:02}-{d:02}T{hour:02}:{minute:02}:{second:02}+08:00")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_two_centuries_goes_both_ways() {
        let (first, last) = (Day::from_ymd(1900, 1, 1), Day::from_ymd(2100, 12, 31));
        let mut previous = first.plus(-1).ymd();
        assert_eq!(previous, (1899, 12, 31));
        for n in first.0..=last.0 {
            let (y, m, d) = Day(n).ymd();
            assert_eq!(Day::from_ymd(y, m, d).0, n);
            assert!((y, m, d) > previous);
            previous = (y, m, d);
        }
    }

    #[test]
    fn agrees_with_the_clock_of_the_exchange() {
        for (text, expected) in [
            ("2026-11-22T17:00:00Z", (2026, 11, 23)),
            ("2000-02-29T00:00:00Z", (2000, 2, 29)),
            ("1969-12-31T15:59:59Z", (1969, 12, 31)),
        ] {
            let t = record::Timestamp::parse_rfc3339(text).unwrap();
            let (y, m, d) = t.date_in_china();
            let day = Day::from_ymd(y.into(), m.into(), d.into());
            assert_eq!(day.ymd(), expected);
            let at_noon = record::Timestamp::parse_rfc3339(&day.at(12, 5).iso()).unwrap();
            assert_eq!(at_noon.date_in_china(), (y, m, d));
        }
    }

    #[test]
    fn a_birthday_makes_one_a_year_older() {
        let born = Day::from_ymd(1944, 3, 1);
        assert_eq!(born.years_until(Day::from_ymd(2026, 2, 28)), 81);
        assert_eq!(born.years_until(Day::from_ymd(2026, 3, 1)), 82);
    }
}
