//! Periods of the calendar in restic's words: `1y5m7d2h` is a year, five months, seven days and two hours.

use std::fmt;
use std::str::FromStr;

use format::Moment;
use jiff::civil::Date;

const DAY_SECONDS: i64 = 86_400;

/// Larger numbers mean nothing: a million hours are a century, and no sum of a million years overflows.
const NUMBER_MAX: u32 = 1_000_000;

/// Years, months, days and hours, to be counted back from a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// Calendar years.
    pub years: u32,
    /// Calendar months.
    pub months: u32,
    /// Calendar days.
    pub days: u32,
    /// Hours.
    pub hours: u32,
}

/// An instant, as far back as one likes: seconds since 1970, and nanoseconds above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant(pub(super) i64, pub(super) u32);

impl From<&Moment> for Instant {
    fn from(moment: &Moment) -> Self {
        Self(moment.seconds, moment.nanoseconds)
    }
}

impl Period {
    /// No time at all, which as a rule means: no rule.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// The instant that lies this long before `moment`, on the calendar of the moment's own offset. A day that the
    /// month does not have is so many days into the next one, as restic counts: a month before the 31st of March is
    /// the 3rd of March (or the 2nd).
    pub(super) fn before(&self, moment: &Moment) -> Instant {
        let civil = moment.to_zoned().datetime();
        let months = i64::from(civil.year()) * 12 + i64::from(civil.month()) - 1;
        let months = months - i64::from(self.years) * 12 - i64::from(self.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let first = i16::try_from(year).ok().zip(i8::try_from(month).ok());
        let Some(first) = first.and_then(|(year, month)| Date::new(year, month, 1).ok()) else {
            return Instant(i64::MIN, 0);
        };
        let days = days_since_1970(first) + i64::from(civil.day()) - 1 - i64::from(self.days);
        let of_day = (moment.seconds + i64::from(moment.offset_seconds)).rem_euclid(DAY_SECONDS);
        let hours = i64::from(self.hours) * 3600;
        Instant(days * DAY_SECONDS + of_day - i64::from(moment.offset_seconds) - hours, moment.nanoseconds)
    }
}

fn days_since_1970(date: Date) -> i64 {
    date.duration_since(jiff::civil::date(1970, 1, 1)).as_secs() / DAY_SECONDS
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, unit) in [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')] {
            if number != 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut period = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
            let (number, after) = rest.split_at(digits);
            if number.is_empty() {
                return Err("use numbers with y, m, d or h, such as `1y5m7d2h`".to_owned());
            }
            let number = number.parse().ok().filter(|number| *number <= NUMBER_MAX);
            let number = number.ok_or_else(|| format!("no number may be above {NUMBER_MAX}"))?;
            let Some(unit) = after.chars().next() else {
                return Err(format!("the number {number} has no unit: y, m, d or h"));
            };
            match unit {
                'y' => period.years = number,
                'm' => period.months = number,
                'd' => period.days = number,
                'h' => period.hours = number,
                _ => return Err(format!("`{unit}` is none of the units y, m, d and h")),
            }
            rest = after.get(unit.len_utf8()..).unwrap_or_default();
        }
        Ok(period)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn before(moment: &str, period: &str) -> String {
        let moment: Moment = moment.parse().unwrap();
        let Instant(seconds, nanoseconds) = period.parse::<Period>().unwrap().before(&moment);
        Moment { seconds, nanoseconds, offset_seconds: moment.offset_seconds }.to_string()
    }

    #[test]
    fn words_are_restics() {
        let period: Period = " 1y5m7d2h ".parse().unwrap();
        assert_eq!(period, Period { years: 1, months: 5, days: 7, hours: 2 });
        assert_eq!(period.to_string(), "1y5m7d2h");
        assert_eq!("3d14h".parse::<Period>().unwrap().to_string(), "3d14h");
        assert!("".parse::<Period>().unwrap().is_zero());
        for wrong in ["1", "d", "-1d", "1w", "1d2", "99999999999d", "1000001h", "1 d", "1ä"] {
            assert!(wrong.parse::<Period>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_calendar_is_gos() {
        assert_eq!(before("2026-11-21T10:00:00+01:00", "1y5m7d2h"), "2025-06-14T08:00:00+01:00");
        assert_eq!(before("2026-03-31T10:00:00Z", "1m"), "2026-03-03T10:00:00Z");
        assert_eq!(before("2024-03-31T10:00:00Z", "1m"), "2024-03-02T10:00:00Z");
        assert_eq!(before("2024-02-29T23:00:00.5-05:00", "1y"), "2023-03-01T23:00:00.5-05:00");
        assert_eq!(before("2026-01-01T00:30:00Z", "1h"), "2025-12-31T23:30:00Z");
        assert_eq!(before("2026-01-15T00:00:00Z", "13m"), "2024-12-15T00:00:00Z");
        assert_eq!(before("1970-01-01T00:00:00Z", "1d"), "1969-12-31T00:00:00Z");
    }

    #[test]
    fn before_all_calendars_is_before_everything() {
        let moment: Moment = "2026-03-31T10:00:00Z".parse().unwrap();
        let period = Period { years: NUMBER_MAX, months: NUMBER_MAX, days: NUMBER_MAX, hours: NUMBER_MAX };
        assert_eq!(period.before(&moment), Instant(i64::MIN, 0));
    }
}
