//! So much in a second, and at some hours of the day another amount: `10 MiB/s, 08:00-18:00 2 MiB/s, zone Europe/Berlin`.

use std::num::NonZeroU64;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

/// What a number without a unit counts, as in restic.
const USUAL_UNIT_BYTES: u64 = 1 << 10;

/// A limit in each second, which may depend on the time of day.
///
/// Its text is a list with commas: the usual rate (`512` is KiB/s; `2 MiB/s`, `2M`; `unlimited` or `0`), any number of
/// windows (`08:00-18:00 2 MiB/s`, also past midnight; where two overlap the first counts), and the zone of their hours
/// (`zone Europe/Berlin`; the machine's own otherwise).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timetable {
    usual: Option<NonZeroU64>,
    windows: Vec<Window>,
    zone: Option<TimeZone>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    from: Time,
    to: Time,
    rate: Option<NonZeroU64>,
}

impl Window {
    fn includes(&self, time: Time) -> bool {
        match self.from < self.to {
            true => self.from <= time && time < self.to,
            false => self.from <= time || time < self.to,
        }
    }
}

impl Timetable {
    /// The same at every hour; 0 is no limit.
    pub fn constant(per_second: u64) -> Self {
        Self { usual: NonZeroU64::new(per_second), ..Self::default() }
    }

    /// Whether there is no limit at any hour.
    pub fn is_unlimited(&self) -> bool {
        self.usual.is_none() && self.windows.iter().all(|window| window.rate.is_none())
    }

    /// How much in a second at this moment, in the zone of the timetable or else `here`; none is no limit.
    pub fn per_second(&self, now: Timestamp, here: &TimeZone) -> Option<NonZeroU64> {
        if self.windows.is_empty() {
            return self.usual;
        }
        let time = now.to_zoned(self.zone.as_ref().unwrap_or(here).clone()).time();
        self.windows.iter().find(|window| window.includes(time)).map_or(self.usual, |window| window.rate)
    }
}

/// Why a text is no timetable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TimetableError(String);

impl FromStr for Timetable {
    type Err = TimetableError;

    fn from_str(text: &str) -> Result<Self, TimetableError> {
        let mut timetable = Self::default();
        let mut has_usual = false;
        for item in text.split(',').map(str::trim) {
            if let Some(name) = item.strip_prefix("zone ") {
                let unknown = |_| TimetableError(format!("the zone `{}` is not known", name.trim()));
                timetable.zone = Some(TimeZone::get(name.trim()).map_err(unknown)?);
            } else if item.contains(':') {
                timetable.windows.push(parse_window(item)?);
            } else if has_usual {
                return Err(TimetableError(format!("`{item}` is a second rate; which hours does it hold for?")));
            } else {
                (timetable.usual, has_usual) = (parse_rate(item)?, true);
            }
        }
        Ok(timetable)
    }
}

fn parse_window(text: &str) -> Result<Window, TimetableError> {
    let wrong = || TimetableError(format!("`{text}` is no window like `08:00-18:00 2 MiB/s`"));
    let time = |text: &str| Time::strptime("%H:%M", text.trim()).map_err(|_| wrong());
    let (hours, rate) = text.split_once(' ').ok_or_else(wrong)?;
    let (from, to) = hours.split_once('-').ok_or_else(wrong)?;
    let window = Window { from: time(from)?, to: time(to)?, rate: parse_rate(rate)? };
    if window.from == window.to {
        return Err(TimetableError(format!("the window `{hours}` is empty")));
    }
    Ok(window)
}

fn parse_rate(text: &str) -> Result<Option<NonZeroU64>, TimetableError> {
    let text = text.trim();
    if text == "unlimited" {
        return Ok(None);
    }
    let wrong = || TimetableError(format!("`{text}` is no rate like `512` (KiB/s), `2 MiB/s` or `unlimited`"));
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let unit_bytes = match unit.strip_suffix("/s").unwrap_or(unit) {
        "" if !unit.is_empty() => return Err(wrong()),
        "" => USUAL_UNIT_BYTES,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let rate = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_bytes)).ok_or_else(wrong)?;
    Ok(NonZeroU64::new(rate))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(text: &str) -> Timetable {
        text.parse().unwrap()
    }

    fn at(timetable: &Timetable, moment: &str) -> u64 {
        timetable.per_second(moment.parse().unwrap(), &TimeZone::UTC).map_or(0, NonZeroU64::get)
    }

    #[test]
    fn rates_are_written_as_in_restic_or_with_a_unit() {
        for (text, bytes) in
            [("512", 512 << 10), ("2 MiB/s", 2 << 20), ("2M", 2 << 20), ("1GiB", 1 << 30), ("7 K", 7168)]
        {
            assert_eq!(parsed(text), Timetable::constant(bytes), "{text}");
        }
        for text in ["0", "unlimited", "unlimited, 08:00-18:00 0"] {
            assert!(parsed(text).is_unlimited(), "{text}");
        }
        assert!(!parsed("08:00-18:00 1").is_unlimited());
        for text in [
            "",
            "fast",
            "-1",
            "2 MB/s",
            "2 /s",
            "1,2",
            "08:00 2M",
            "08:00-25:00 2M",
            "8-18 2M",
            "08:00-08:00 2M",
            "1, zone Nowhere/At All",
            "99999999999G",
        ] {
            let error = text.parse::<Timetable>().unwrap_err().to_string();
            assert!(error.contains('`'), "{text}: {error}");
        }
    }

    #[test]
    fn hours_are_those_of_the_zone() {
        let here = parsed("10M, 08:00-18:00 2M, 22:00-06:00 unlimited");
        for (moment, mib) in [
            ("07:59:59", 10),
            ("08:00:00", 2),
            ("17:59:59", 2),
            ("18:00:00", 10),
            ("22:00:00", 0),
            ("00:00:00", 0),
            ("06:00:00", 10),
        ] {
            assert_eq!(at(&here, &format!("2026-01-15T{moment}Z")), mib << 20, "{moment}");
        }
        let berlin = parsed("10M, 08:00-18:00 2M, zone Europe/Berlin");
        // An hour before UTC in winter, two in summer.
        assert_eq!(at(&berlin, "2026-01-15T07:30:00Z"), 2 << 20);
        assert_eq!(at(&berlin, "2026-01-15T06:30:00Z"), 10 << 20);
        assert_eq!(at(&berlin, "2026-07-15T06:30:00Z"), 2 << 20);
    }

    /// Minute by minute, as one would paint it on paper.
    #[test]
    fn every_minute_of_a_day_is_as_painted() {
        let seed = testkit::seed("timetables");
        let mut random = testkit::Random::new(seed);
        for round in 0..300 {
            let usual = random.below(3);
            let mut painted = [usual; 24 * 60];
            let mut text = vec![usual.to_string()];
            let windows: Vec<_> =
                (0..random.index(4)).map(|_| (random.index(24 * 60), random.index(24 * 60), random.below(9))).collect();
            // The first counts, so it is painted last.
            for &(from, to, rate) in windows.iter().rev().filter(|(from, to, _)| from != to) {
                let mut minute = from;
                while minute != to {
                    painted[minute] = rate;
                    minute = (minute + 1) % (24 * 60);
                }
            }
            for (from, to, rate) in windows.into_iter().filter(|(from, to, _)| from != to) {
                let clock = |minute: usize| format!("{:02}:{:02}", minute / 60, minute % 60);
                text.push(format!("{}-{} {rate}", clock(from), clock(to)));
            }
            let timetable = parsed(&text.join(", "));
            for (minute, rate) in painted.iter().enumerate() {
                let now = Timestamp::UNIX_EPOCH + std::time::Duration::from_secs(minute as u64 * 60 + random.below(60));
                let found = timetable.per_second(now, &TimeZone::UTC).map_or(0, NonZeroU64::get);
                assert_eq!(found, rate << 10, "seed {seed}, round {round}, minute {minute}: {text:?}");
            }
        }
    }
}
