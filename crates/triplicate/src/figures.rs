//! Numbers, times and paths as people read them; the forms are restic's.

use std::time::Duration;

use format::Moment;
use jiff::tz::TimeZone;

/// `2.861 MiB`, `5 B`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["TiB", "GiB", "MiB", "KiB"];
    for (unit, shift) in UNITS.into_iter().zip([40, 30, 20, 10]) {
        if bytes >= 1 << shift {
            return format!("{:.3} {unit}", bytes as f64 / (1_u64 << shift) as f64);
        }
    }
    format!("{bytes} B")
}

/// `0:05`, `1:02:03`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// `2026-11-21 08:14:22` in this zone.
pub(crate) fn moment(moment: &Moment, zone: &TimeZone) -> String {
    moment.timestamp().to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// RFC 3339 in the offset that the moment has.
pub(crate) fn rfc3339(moment: &Moment) -> String {
    let zoned = moment.to_zoned();
    let offset = zoned.offset();
    if offset.seconds() == 0 {
        zoned.timestamp().to_string()
    } else {
        zoned.timestamp().display_with_offset(offset).to_string()
    }
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: u64, singular: &str) -> String {
    if number == 1 {
        return format!("1 {singular}");
    }
    match singular.strip_suffix('y') {
        Some(stem) => format!("{number} {stem}ies"),
        None => format!("{number} {singular}s"),
    }
}

/// The verb for so many.
pub(crate) fn is_or_are(number: u64) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

/// A name from a repository or a disk, safe to show: control characters could change what a terminal shows.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

/// The letters of `ls -l`.
pub(crate) fn permissions(kind: format::NodeKind, mode: u32) -> String {
    use format::NodeKind;
    // Go's letters, as restic shows them: they differ from `ls` for devices and special bits.
    let mut text = String::new();
    text.push_str(match kind {
        NodeKind::Dir => "d",
        NodeKind::Symlink => "L",
        NodeKind::Device => "D",
        NodeKind::CharDevice => "Dc",
        NodeKind::Fifo => "p",
        NodeKind::Socket => "S",
        NodeKind::Irregular => "?",
        NodeKind::File => "",
    });
    for (bit, letter) in [(0o4000, 'u'), (0o2000, 'g'), (0o1000, 't')] {
        if mode & bit != 0 {
            text.push(letter);
        }
    }
    if text.is_empty() {
        text.push('-');
    }
    for (position, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if mode & (1 << (8 - position)) != 0 { letter } else { '-' });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restics_forms() {
        assert_eq!(bytes(5), "5 B");
        assert_eq!(bytes(3_000_009), "2.861 MiB");
        assert_eq!(duration(Duration::from_secs(3723)), "1:02:03");
        assert_eq!(duration(Duration::from_millis(5900)), "0:05");
        assert_eq!(permissions(format::NodeKind::Dir, 0o1777), "dtrwxrwxrwx");
        assert_eq!(permissions(format::NodeKind::File, 0o644), "-rw-r--r--");
        assert_eq!(permissions(format::NodeKind::File, 0o4755), "urwxr-xr-x");
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(shown(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }

    #[test]
    fn times_keep_their_offset() {
        let moment = Moment { seconds: 1_700_000_000, nanoseconds: 5, offset_seconds: 3600 };
        assert_eq!(rfc3339(&moment), "2023-11-14T23:13:20.000000005+01:00");
        assert_eq!(rfc3339(&Moment { offset_seconds: 0, ..moment }), "2023-11-14T22:13:20.000000005Z");
    }
}
