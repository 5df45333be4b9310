//! The lines of a listing: for programs (`MLSD`, RFC 3659), or for people, as `ls -l` and Windows print them (`LIST`).
//!
//! A line that is not understood makes the listing an error: it is some entry's. Names are bytes, with every space they
//! have. Times of listings for people are coarse, change their form as files age and have no zone: they are not taken.

use jiff::civil::DateTime;
use repository::backup::{Entry, EntryKind};

/// Why a link is no link.
const NO_TARGET: &str = "a link, of which the server does not tell where it leads";
const NO_FILE: &str = "a device, a pipe or a socket";
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    Entry(Entry),
    /// The folder itself.
    Itself,
    /// Nothing of an entry: the folder above, or a sum.
    Nothing,
}

impl Line {
    pub(super) fn into_entry(self) -> Option<Entry> {
        match self {
            Line::Entry(entry) => Some(entry),
            Line::Itself | Line::Nothing => None,
        }
    }
}

/// A line for programs: `modify=20261122004113;size=4099;type=file; name`.
pub(super) fn exact(line: &[u8]) -> Result<Line, String> {
    let whole = || -> Option<Line> {
        let space = line.iter().position(|byte| *byte == b' ')?;
        let facts = std::str::from_utf8(line.get(..space)?).ok()?;
        let mut entry = Entry { name: line.get(space + 1..)?.to_vec(), ..Entry::default() };
        let (mut kind, mut owner, mut group) = (None, None, None);
        for fact in facts.strip_suffix(';')?.split(';') {
            let (name, value) = fact.split_once('=')?;
            match name.to_ascii_lowercase().as_str() {
                "type" => kind = Some(value),
                "size" => entry.size = Some(value.parse().ok()?),
                "modify" => entry.modified = Some(moment(value.as_bytes())?),
                "unix.mode" => entry.mode = u32::from_str_radix(value, 8).ok().map(|mode| mode & 0o7777),
                "unix.uid" | "unix.owner" => owner = owner.or(value.parse().ok()),
                "unix.gid" | "unix.group" => group = group.or(value.parse().ok()),
                _ => {}
            }
        }
        entry.owner = owner.zip(group);
        let kind = kind?;
        let lower = kind.to_ascii_lowercase();
        entry.kind = match lower.as_str() {
            "cdir" => return Some(Line::Itself),
            "pdir" => return Some(Line::Nothing),
            "dir" => EntryKind::Folder,
            "file" => EntryKind::File,
            link if link.starts_with("os.unix=slink") || link.starts_with("os.unix=symlink") => {
                let target = kind.split_once(':').map_or("", |(_, target)| target);
                if target.is_empty() {
                    EntryKind::Other(NO_TARGET)
                } else {
                    EntryKind::Link(target.as_bytes().to_vec())
                }
            }
            _ => EntryKind::Other(NO_FILE),
        };
        if entry.kind == EntryKind::File {
            entry.size?;
        } else {
            entry.size = None;
        }
        Some(Line::Entry(entry))
    };
    whole().ok_or_else(|| not_understood(line))
}

/// A line for people.
pub(super) fn for_people(line: &[u8]) -> Result<Line, String> {
    if line.strip_prefix(b"total ").is_some_and(|sum| sum.iter().all(u8::is_ascii_digit)) {
        return Ok(Line::Nothing);
    }
    let entry = unix(line).or_else(|| windows(line)).ok_or_else(|| not_understood(line))?;
    Ok(match &entry.name[..] {
        b"." => Line::Itself,
        b".." => Line::Nothing,
        _ => Line::Entry(entry),
    })
}

/// `-rw-r--r--    1 1000     1000          4099 Nov 22 00:41 name`, with a year instead of a time for what is old, and
/// without a group on some servers.
fn unix(line: &[u8]) -> Option<Entry> {
    let mut words = Words { line, at: 0 };
    let permissions = words.next()?;
    let (letter, bits) = permissions.split_first()?;
    let mode = mode_of(bits)?;
    let mut before: Vec<&[u8]> = Vec::new();
    // The month tells where the names of owners end, for those may have spaces.
    let name = loop {
        let word = words.next()?;
        if MONTHS.contains(&word) && 2 <= before.len() {
            let mut after = Words { line, at: words.at };
            let is_day = after.next().and_then(number).is_some_and(|day| (1..=31).contains(&day));
            let is_time = after.next().is_some_and(is_time_or_year);
            if is_day && is_time {
                // One space and no more: names may begin with some.
                break line.get(after.at..)?.strip_prefix(b" ").filter(|name| !name.is_empty())?;
            }
        }
        before.push(word);
    };
    let owner = match before.as_slice() {
        [_, owner, group, _] => number(owner).zip(number(group)),
        _ => None,
    };
    let owner = owner.and_then(|(user, group)| Some((u32::try_from(user).ok()?, u32::try_from(group).ok()?)));
    let entry = |name: &[u8], kind| Entry { name: name.to_vec(), kind, mode: Some(mode), owner, ..Entry::default() };
    Some(match letter {
        b'-' => Entry { size: Some(number(before.last()?)?), ..entry(name, EntryKind::File) },
        b'd' => entry(name, EntryKind::Folder),
        b'l' => {
            const ARROW: &[u8] = b" -> ";
            let mut arrows = name.windows(ARROW.len()).enumerate().filter(|(_, part)| *part == ARROW);
            match (arrows.next(), arrows.next()) {
                (Some((at, _)), None) if 0 < at && at + ARROW.len() < name.len() => {
                    entry(name.get(..at)?, EntryKind::Link(name.get(at + ARROW.len()..)?.to_vec()))
                }
                // Nobody can say where the name ends.
                _ => entry(name, EntryKind::Other(NO_TARGET)),
            }
        }
        b'b' | b'c' | b'p' | b's' | b'D' => entry(name, EntryKind::Other(NO_FILE)),
        _ => return None,
    })
}

/// `11-22-26  12:41AM       <DIR>          name`, with a size instead of `<DIR>` for a file.
fn windows(line: &[u8]) -> Option<Entry> {
    let mut words = Words { line, at: 0 };
    let (date, time, size) = (words.next()?, words.next()?, words.next()?);
    let is_date = matches!(date.len(), 8 | 10) && date.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-');
    let is_time = time.get(2) == Some(&b':') && time.iter().take(2).all(u8::is_ascii_digit);
    let name = line.get(words.at..)?.trim_ascii_start();
    if !is_date || !is_time || name.is_empty() {
        return None;
    }
    Some(match size {
        b"<DIR>" => Entry { name: name.to_vec(), kind: EntryKind::Folder, ..Entry::default() },
        b"<JUNCTION>" | b"<SYMLINKD>" | b"<SYMLINK>" => {
            Entry { name: name.to_vec(), kind: EntryKind::Other(NO_TARGET), ..Entry::default() }
        }
        size => Entry { name: name.to_vec(), size: Some(number(size)?), ..Entry::default() },
    })
}

/// Words between spaces.
struct Words<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.line.get(self.at..)?;
        let start = rest.iter().position(|byte| *byte != b' ')?;
        let length = rest.get(start..)?.iter().position(|byte| *byte == b' ').unwrap_or(rest.len() - start);
        self.at += start + length;
        rest.get(start..start + length)
    }
}

fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

fn is_time_or_year(word: &[u8]) -> bool {
    match word.iter().position(|byte| *byte == b':') {
        Some(colon) => {
            let (hours, minutes) = word.split_at(colon);
            number(hours).is_some_and(|hours| hours < 24)
                && minutes.get(1..).and_then(number).is_some_and(|minutes| minutes < 60)
        }
        None => word.len() == 4 && number(word).is_some(),
    }
}

/// `rwxr-x---`, perhaps with a sign behind it that there is more.
fn mode_of(letters: &[u8]) -> Option<u32> {
    let letters = match letters {
        [letters @ .., b'+' | b'.' | b'@'] => letters,
        letters => letters,
    };
    if letters.len() != 9 {
        return None;
    }
    letters.iter().enumerate().try_fold(0, |mode, (place, letter)| {
        let bit = 1 << (8 - place);
        let special = 1 << (11 - place / 3);
        Some(
            mode | match (place % 3, letter) {
                (_, b'-') => 0,
                (0, b'r') | (1, b'w') | (2, b'x') => bit,
                (2, b's' | b't') => bit | special,
                (2, b'S' | b'T') => special,
                _ => return None,
            },
        )
    })
}

/// A moment as FTP writes it, `20261122004113` or `20261122004113.25`, in universal time.
pub(super) fn moment(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.len() != 14 || !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') || 9 < fraction.len() {
        return None;
    }
    let part = |range: std::ops::Range<usize>| whole.get(range)?.parse::<i8>().ok();
    let year = whole.get(..4)?.parse().ok()?;
    // A leap second is the last one of its minute.
    let second = part(12..14)?.min(59);
    let at = DateTime::new(year, part(4..6)?, part(6..8)?, part(8..10)?, part(10..12)?, second, 0).ok()?;
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    Some((at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second(), nanoseconds))
}

fn not_understood(line: &[u8]) -> String {
    format!("a line of the listing is not understood: `{}`", super::trouble::shown(line))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(line: Result<Line, String>) -> Entry {
        line.unwrap().into_entry().unwrap()
    }

    #[test]
    fn lines_for_programs_tell_everything() {
        let found = entry(exact(
            b"modify=20261122004113.5;UNIX.mode=0640;UNIX.owner=7;UNIX.group=8;size=12;type=file;  a\xff b",
        ));
        assert_eq!(found.name, b" a\xff b");
        assert_eq!((found.size, found.mode, found.owner), (Some(12), Some(0o640), Some((7, 8))));
        assert_eq!(found.modified, Some((1_795_308_073, 500_000_000)));
        assert_eq!(entry(exact(b"Type=dir;Modify=20261122004113; d")).kind, EntryKind::Folder);
        assert_eq!(entry(exact(b"type=OS.unix=slink:/x; l")).kind, EntryKind::Link(b"/x".to_vec()));
        assert_eq!(entry(exact(b"type=OS.unix=symlink; l")).kind, EntryKind::Other(NO_TARGET));
        assert_eq!(entry(exact(b"type=OS.unix=chr-1/3; l")).kind, EntryKind::Other(NO_FILE));
        assert_eq!(exact(b"type=cdir; ."), Ok(Line::Itself));
        assert_eq!(exact(b"type=pdir; .."), Ok(Line::Nothing));
    }

    #[test]
    fn lines_for_people_keep_every_space_of_a_name() {
        for (line, name, size) in [
            (&b"-rw-r--r--    1 0        0               2 Nov 22 04:03 a b"[..], &b"a b"[..], 2),
            (b"-rw-r--r--    1 0        0              99 Jan 01  2024  two  spaces ", b" two  spaces ", 99),
            (b"-rwsr-xr-t+ 1 Domain Users May 5 Mar  1 2026 f", b"f", 5),
            (b"-rw-r--r--  1 ftp 17 Feb 29 00:00 \xe9t\xe9", b"\xe9t\xe9", 17),
            (b"11-22-26  12:41AM                 4099 my file", b"my file", 4099),
        ] {
            let found = entry(for_people(line));
            assert_eq!(
                (&found.name[..], found.kind, found.size, found.modified),
                (name, EntryKind::File, Some(size), None)
            );
        }
        let found = entry(for_people(b"-rwsr-x--T    1 1000     50              2 Nov 22 04:03 a"));
        assert_eq!((found.mode, found.owner), (Some(0o5750), Some((1000, 50))));
        assert_eq!(entry(for_people(b"drwx------ 2 ftp ftp 4096 Nov 22  2025 0f")).kind, EntryKind::Folder);
        assert_eq!(entry(for_people(b"11-22-26  12:41AM       <DIR>          d")).kind, EntryKind::Folder);
        let link = entry(for_people(b"lrwxrwxrwx    1 0        0               3 Nov 22 04:03 l -> a b"));
        assert_eq!((&link.name[..], link.kind), (&b"l"[..], EntryKind::Link(b"a b".to_vec())));
        let unclear = entry(for_people(b"lrwxrwxrwx    1 0        0               3 Nov 22 04:03 l -> a -> b"));
        assert_eq!(unclear.kind, EntryKind::Other(NO_TARGET));
        let device = entry(for_people(b"crw-rw-rw-    1 0        0          1,   3 Nov 22 04:03 null"));
        assert_eq!(device.kind, EntryKind::Other(NO_FILE));
        assert_eq!(for_people(b"drwxr-xr-x    2 0        0            4096 Nov 22 04:03 ."), Ok(Line::Itself));
        assert_eq!(for_people(b"drwxr-xr-x    2 0        0            4096 Nov 22 04:03 .."), Ok(Line::Nothing));
        assert_eq!(for_people(b"total 12"), Ok(Line::Nothing));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for line in [
            &b""[..],
            b"nonsense",
            b"size=1; a",
            b"type=file; a",
            b"type=file;size=x; a",
            b"type=file;size=1;a",
            b"type=file;size=1;modify=yesterday; a",
        ] {
            assert!(exact(line).is_err(), "{line:?}");
        }
        for line in [
            &b""[..],
            b"-rw------- half a li",
            b"426 aborted",
            b"ls: cannot open",
            b"total of 3",
            b"-rw-r--r--    1 0        0               2 Nov 22 04:03",
            b"-rw-r--r--    1 0        0               2 Nov 22 04:03 ",
            b"-rw-r--r--    1 0        0               x Nov 22 04:03 a",
            b"?rw-r--r--    1 0        0               2 Nov 22 04:03 a",
        ] {
            assert!(for_people(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn moments_are_universal() {
        assert_eq!(moment(b"19700101000001"), Some((1, 0)));
        assert_eq!(moment(b"19691231235959.25"), Some((-1, 250_000_000)));
        for wrong in
            [&b"1970010100000"[..], b"19701301000001", b"x9700101000001", b"20261122004113.", b"20261122 04113"]
        {
            assert!(wrong == b"20261122004113." || moment(wrong).is_none(), "{wrong:?}");
        }
    }
}
