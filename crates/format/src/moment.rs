//! Times as restic writes them: RFC 3339 with up to nine decimals, in the writer's zone.
//!
//! A time's text enters the hash of a tree, so the offset is kept beside the instant. File systems hold times that no
//! calendar type does, so this one holds any; years outside 0..=9999 are moved to the nearest of the two when written,
//! as restic does.

use std::fmt;
use std::str::FromStr;

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use crate::error::{FormatError, Result};

const DAY_SECONDS: i128 = 86_400;
const YEAR_MAX: i64 = 9_999;

/// An instant and the offset from UTC in which it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Moment {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// 0..=999,999,999.
    pub nanoseconds: u32,
    /// East of Greenwich is positive.
    pub offset_seconds: i32,
}

/// The name under which nodes know it.
pub type NodeTime = Moment;

impl Moment {
    /// An instant in the offset that `zone` has then.
    ///
    /// Local mean times, before about 1920, have offsets with seconds, for which the text has no room. restic cuts
    /// them off in the text only and so records another instant; here the instant is kept and the offset is cut.
    pub fn local(seconds: i64, nanoseconds: u32, zone: &TimeZone) -> Self {
        let offset_seconds = whole_minutes(zone.to_offset(nearest_timestamp(seconds, 0)).seconds());
        Self { seconds, nanoseconds, offset_seconds }
    }

    /// The instant; moved to the nearest that jiff can hold.
    pub fn timestamp(&self) -> Timestamp {
        nearest_timestamp(self.seconds, self.nanoseconds)
    }

    /// The instant with its offset, for showing it to people.
    pub fn to_zoned(&self) -> Zoned {
        let offset = Offset::from_seconds(self.offset_seconds).unwrap_or(Offset::UTC);
        self.timestamp().to_zoned(TimeZone::fixed(offset))
    }

    /// True when both are the same instant, in whatever offset.
    pub fn same_instant(&self, other: &Self) -> bool {
        (self.seconds, self.nanoseconds) == (other.seconds, other.nanoseconds)
    }

    /// Appends the text.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        let local = i128::from(self.seconds) + i128::from(self.offset_seconds);
        // An i64 of seconds is far fewer than an i64 of days.
        let (days, of_day) = (local.div_euclid(DAY_SECONDS) as i64, local.rem_euclid(DAY_SECONDS) as u32);
        let (year, month, day) = clamp_year(civil_from_days(days));
        append_padded(out, year as u32, 4);
        for (mark, value) in [(b'-', month), (b'-', day), (b'T', of_day / 3600)] {
            out.push(mark);
            append_padded(out, value, 2);
        }
        for value in [of_day / 60 % 60, of_day % 60] {
            out.push(b':');
            append_padded(out, value, 2);
        }
        if self.nanoseconds > 0 {
            out.push(b'.');
            append_padded(out, self.nanoseconds, 9);
            while out.last() == Some(&b'0') {
                out.pop();
            }
        }
        self.append_offset(out);
    }

    fn append_offset(&self, out: &mut Vec<u8>) {
        if self.offset_seconds == 0 {
            return out.push(b'Z');
        }
        // Nothing in this crate makes an offset with seconds; they are cut off as Go does.
        let minutes = self.offset_seconds / 60;
        out.push(if minutes < 0 { b'-' } else { b'+' });
        append_padded(out, minutes.unsigned_abs() / 60, 2);
        out.push(b':');
        append_padded(out, minutes.unsigned_abs() % 60, 2);
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (date_time, rest) = text.split_first_chunk::<19>()?;
        let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if marks.iter().any(|&(at, mark)| date_time[at] != mark) {
            return None;
        }
        let year = i64::from(number(&date_time[..4])?);
        let (month, day) = (number(&date_time[5..7])?, number(&date_time[8..10])?);
        let (hour, minute, second) =
            (number(&date_time[11..13])?, number(&date_time[14..16])?, number(&date_time[17..])?);
        let days = days_from_civil(year, month, day);
        if civil_from_days(days) != (year, month, day) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let (nanoseconds, rest) = fraction(rest)?;
        let offset_seconds = offset(rest)?;
        let of_day = i64::from(hour * 3600 + minute * 60 + second);
        let seconds = days * DAY_SECONDS as i64 + of_day - i64::from(offset_seconds);
        Some(Self { seconds, nanoseconds, offset_seconds })
    }
}

impl From<&Zoned> for Moment {
    fn from(zoned: &Zoned) -> Self {
        let instant = zoned.timestamp();
        // jiff counts down to a negative fraction before 1970; a file system counts up from the second below.
        let (mut seconds, mut fraction) = (instant.as_second(), instant.subsec_nanosecond());
        if fraction < 0 {
            seconds -= 1;
            fraction += 1_000_000_000;
        }
        Self { seconds, nanoseconds: fraction.unsigned_abs(), offset_seconds: whole_minutes(zoned.offset().seconds()) }
    }
}

impl From<Zoned> for Moment {
    fn from(zoned: Zoned) -> Self {
        Self::from(&zoned)
    }
}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    /// By instant; the offset only keeps the order total.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |moment: &Self| (moment.seconds, moment.nanoseconds, moment.offset_seconds);
        key(self).cmp(&key(other))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(35);
        self.append_to(&mut text);
        f.pad(&String::from_utf8_lossy(&text))
    }
}

impl FromStr for Moment {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text.as_bytes()).ok_or_else(|| FormatError::malformed("a time", "not in the form of RFC 3339"))
    }
}

fn whole_minutes(offset_seconds: i32) -> i32 {
    offset_seconds - offset_seconds % 60
}

fn nearest_timestamp(seconds: i64, nanoseconds: u32) -> Timestamp {
    let nearest = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let whole = Timestamp::from_second(seconds).unwrap_or(nearest);
    whole.checked_add(std::time::Duration::from_nanos(u64::from(nanoseconds))).unwrap_or(whole)
}

/// Year, month and day in the proleptic Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468; // days since 0000-03-01
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}

fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (i64::from(month) + 9) % 12;
    let of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

/// Only the year is moved; where that leaves a 29th of February without a leap year it becomes the 1st of March.
fn clamp_year((year, month, day): (i64, u32, u32)) -> (i64, u32, u32) {
    match year {
        0..=YEAR_MAX => (year, month, day),
        ..0 => (0, month, day), // year 0 is a leap year
        _ if (month, day) == (2, 29) => (YEAR_MAX, 3, 1),
        _ => (YEAR_MAX, month, day),
    }
}

fn append_padded(out: &mut Vec<u8>, value: u32, width: usize) {
    let mut digits = [b'0'; 10];
    let mut rest = value;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[10 - width..]);
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |sum, &digit| {
        digit.is_ascii_digit().then(|| sum.wrapping_mul(10).wrapping_add(u32::from(digit - b'0')))
    })
}

/// The fraction of a second, and what follows it.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some((b'.', rest)) = text.split_first() else { return Some((0, text)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let scale = 10_u32.pow(9 - length as u32);
    Some((number(&rest[..length])? * scale, &rest[length..]))
}

fn offset(text: &[u8]) -> Option<i32> {
    if text == b"Z" {
        return Some(0);
    }
    let &[sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = text else { return None };
    let (hours, minutes) = (number(&[h1, h2])?, number(&[m1, m2])?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = (hours * 3600 + minutes * 60) as i32;
    Some(if sign == b'-' { -seconds } else { seconds })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(seconds: i64, nanoseconds: u32, offset_seconds: i32) -> String {
        Moment { seconds, nanoseconds, offset_seconds }.to_string()
    }

    #[test]
    fn texts_are_those_of_go() {
        assert_eq!(text(0, 0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(text(0, 120, 7200), "1970-01-01T02:00:00.00000012+02:00");
        assert_eq!(text(1_700_000_000, 500_000_000, -16_200), "2023-11-14T17:43:20.5-04:30");
        assert_eq!(text(-1, 999_999_999, 0), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(text(-62_135_596_800, 0, 0), "0001-01-01T00:00:00Z");
        assert_eq!(text(951_782_400, 0, 0), "2000-02-29T00:00:00Z");
        assert_eq!(text(0, 0, 30), "1970-01-01T00:00:30+00:00");
    }

    #[test]
    fn years_outside_four_digits_are_moved_to_the_nearest() {
        assert_eq!(text(-62_167_219_200, 0, 0), "0000-01-01T00:00:00Z");
        assert_eq!(text(-62_167_219_201, 0, 0), "0000-12-31T23:59:59Z");
        assert_eq!(text(253_402_300_799, 0, 0), "9999-12-31T23:59:59Z");
        assert_eq!(text(253_402_300_799, 0, 60), "9999-01-01T00:00:59+00:01");
        // The 29th of February 12000.
        assert_eq!(text(316_521_302_400, 1, 0), "9999-03-01T00:00:00.000000001Z");
        for extreme in [i64::MIN, i64::MAX] {
            assert!(text(extreme, 0, -86_340).parse::<Moment>().is_ok());
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for wrong in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-01-01 00:00:00Z",
            "1970-02-30T00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-00-01T00:00:00Z",
            "1970-01-00T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:60:00Z",
            "1970-01-01T00:00:60Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.1234567890Z",
            "1970-01-01T00:00:00+24:00",
            "1970-01-01T00:00:00+00:60",
            "1970-01-01T00:00:00+0000",
            "1970-01-01T00:00:00z",
            "+970-01-01T00:00:00Z",
            "1970-01-01T00:00:00ZZ",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_offset_with_seconds_does_not_move_the_instant() {
        // India's local mean time was 5:21:10 ahead.
        let zone = TimeZone::get("Asia/Kolkata").unwrap();
        let moment = Moment::local(-2_147_483_648, 7, &zone);
        assert_eq!(moment.offset_seconds, (5 * 60 + 21) * 60);
        assert_eq!(moment.to_string().parse::<Moment>().unwrap(), moment);
    }
}
