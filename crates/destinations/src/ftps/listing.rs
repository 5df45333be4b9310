//! The lines of a listing: for programs (`MLSD`, RFC 3659), or for people, as `ls -l` prints them (`LIST`).
//!
//! A line that is not understood makes the listing an error: it may be a file of the copy.

use std::time::SystemTime;

use suppaftp::list::{File, ListParser};

/// Something in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: EntryKind,
    pub(super) size: u64,
    /// By the server's clock; to the minute or the day where listings are for people.
    pub(super) modified: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Folder,
    Link,
}

/// What a line tells; none for one that tells nothing of an entry.
pub(super) fn entry(line: &str, is_exact: bool) -> Result<Option<Entry>, String> {
    if is_exact {
        let facts = line.split(' ').next().unwrap_or_default().to_ascii_lowercase();
        if ["type=cdir;", "type=pdir;"].iter().any(|it| facts.contains(it)) {
            return Ok(None);
        }
        // The library fills in what is missing.
        let is_whole = facts.contains("type=") && (facts.contains("type=dir") || facts.contains("size="));
        let parsed = ListParser::parse_mlsd(line).ok().filter(|_| is_whole && facts.ends_with(';'));
        return parsed.map(|file| Some(described(&file))).ok_or_else(|| not_understood(line));
    }
    if line.starts_with("total ") {
        return Ok(None);
    }
    let parsed = ListParser::parse_posix(line).or_else(|_| ListParser::parse_dos(line));
    let file = parsed.map_err(|_| not_understood(line))?;
    Ok(Some(described(&file)).filter(|entry| entry.name != "." && entry.name != ".."))
}

fn described(file: &File) -> Entry {
    let kind = match (file.is_directory(), file.is_symlink()) {
        (true, _) => EntryKind::Folder,
        (_, true) => EntryKind::Link,
        _ => EntryKind::File,
    };
    Entry { name: file.name().to_owned(), kind, size: file.size() as u64, modified: file.modified() }
}

fn not_understood(line: &str) -> String {
    let shown: String = line.chars().filter(|c| !c.is_control()).take(120).collect();
    format!("a line of the listing is not understood: `{shown}`")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn seen(line: &str, is_exact: bool) -> Option<(String, EntryKind, u64)> {
        entry(line, is_exact).unwrap().map(|entry| (entry.name, entry.kind, entry.size))
    }

    #[test]
    fn lines_of_both_forms_are_understood() {
        let file = |name: &str, size| Some((name.to_owned(), EntryKind::File, size));
        let folder = |name: &str| Some((name.to_owned(), EntryKind::Folder, 0));
        assert_eq!(seen("modify=20261122004113;perm=r;size=4099;type=file; ab12", true), file("ab12", 4099));
        assert_eq!(seen("modify=20261122004113;perm=el;size=0;type=dir; 0f", true), folder("0f"));
        assert_eq!(seen("modify=20261122004113;type=cdir; .", true), None);
        assert_eq!(seen("-rw-------   1 alice    alice        4099 Nov 22 00:41 ab12", false), file("ab12", 4099));
        assert!(
            matches!(seen("drwx------ 2 ftp ftp 4096 Nov 22  2025 0f", false), Some((name, EntryKind::Folder, _)) if name == "0f")
        );
        assert_eq!(seen("total 12", false), None);
        assert_eq!(seen("11-22-26  12:41AM                 4099 ab12", false), file("ab12", 4099));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (line, is_exact) in
            [("", true), ("nonsense", true), ("-rw------- half a li", false), ("426 aborted", false)]
        {
            assert!(entry(line, is_exact).is_err(), "{line}");
        }
    }
}
