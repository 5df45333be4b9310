//! Bytes that were taken out of a copy because they are wrong there, and old files that a repair replaced: kept on this
//! machine, for whoever wants to look what happened to them.
//!
//! They are never kept on the copy itself, where another program could take them for a part of the repository. What
//! they are worth is bounded, and so is the room that they take: what no longer fits is not kept, and that is told.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::records::Records;
use crate::threads;

/// Where they are, below the records of the repository.
const FOLDER: &str = "aside";

/// Bytes that are kept of one repository, all together.
pub(crate) const ASIDE_BYTES_MAX: u64 = 1 << 30;

/// Folders below `aside` that are looked into: copy, kind, two digits.
const DEPTH_MAX: usize = 4;

/// The files that were set aside, and how much room is left for more.
#[derive(Debug)]
pub(crate) struct Aside {
    /// None where this machine keeps no records.
    folder: Option<PathBuf>,
    room_bytes: Mutex<u64>,
}

/// What became of bytes that should be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    /// They are in this file.
    In(PathBuf),
    /// They are not kept, and why.
    Not(String),
}

impl Aside {
    /// Looks how much is kept already.
    pub(crate) fn of(records: Option<&Records>) -> Self {
        let folder = records.map(|records| records.folder().join(FOLDER));
        let used = folder.as_deref().map_or(0, |folder| bytes_below(folder, DEPTH_MAX));
        Self { folder, room_bytes: Mutex::new(ASIDE_BYTES_MAX.saturating_sub(used)) }
    }

    /// The folder, where there is one.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Keeps the bytes that `path` had on `copy`. The same bytes are kept once.
    pub(crate) fn keep(&self, copy: &str, path: &str, bytes: &[u8]) -> Kept {
        let Some(folder) = &self.folder else {
            return Kept::Not("this user has no folder for records".to_owned());
        };
        let mark = format::hash(bytes).short();
        let file = folder.join(component(copy)).join(format!("{path}-{mark}"));
        if file.exists() {
            return Kept::In(file);
        }
        let mut room = threads::lock(&self.room_bytes);
        let length = bytes.len() as u64;
        if *room < length {
            return Kept::Not(format!("{ASIDE_BYTES_MAX} bytes are kept in `{}` already", folder.display()));
        }
        match write(&file, bytes) {
            Ok(()) => {
                *room -= length;
                Kept::In(file)
            }
            Err(error) => Kept::Not(format!("cannot write `{}`: {error}", file.display())),
        }
    }
}

fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let written = (|| {
        let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        open.write_all(bytes)?;
        open.sync_all()
    })();
    if written.is_err() {
        // Half a file would pass for what was there.
        let _ = fs::remove_file(file);
    }
    written
}

/// An address as one component of a path, without what leads elsewhere.
fn component(copy: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_@".contains(c) { c } else { '.' };
    let text: String = copy.chars().map(plain).collect();
    // Different addresses must not meet in one folder, and a name has 255 bytes at most.
    let mark = format::hash(copy.as_bytes()).short();
    let start: String = text.trim_matches('.').chars().take(100).collect();
    format!("{start}-{mark}")
}

fn bytes_below(folder: &Path, depth: usize) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(stat) if stat.is_dir() && depth > 0 => bytes_below(&entry.path(), depth - 1),
        Ok(stat) if stat.is_file() => stat.len(),
        _ => 0,
    };
    entries.flatten().map(bytes).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use model::Id;

    use super::*;
    use crate::records::RecordsFolder;

    #[test]
    fn what_is_kept_is_for_its_owner_and_kept_once() {
        let scratch = tempfile::tempdir().unwrap();
        let records = RecordsFolder::new(scratch.path().to_owned()).of(&Id::default());
        let aside = Aside::of(Some(&records));
        let Kept::In(file) = aside.keep("rest:https://host/../a", "data/ab/abcd", b"wrong") else { panic!() };
        assert!(file.starts_with(records.folder().join(FOLDER)));
        assert_eq!(fs::read(&file).unwrap(), b"wrong");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(aside.keep("rest:https://host/../a", "data/ab/abcd", b"wrong"), Kept::In(file.clone()));
        let Kept::In(other) = aside.keep("rest:https://host/../a", "data/ab/abcd", b"worse") else { panic!() };
        assert_ne!(other, file);
        assert_eq!(Aside::of(Some(&records)).room_bytes.into_inner().unwrap(), ASIDE_BYTES_MAX - 10);
    }

    #[test]
    fn what_does_not_fit_is_not_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let records = RecordsFolder::new(scratch.path().to_owned()).of(&Id::default());
        let aside = Aside::of(Some(&records));
        *aside.room_bytes.lock().unwrap() = 4;
        assert!(matches!(aside.keep("a", "config", b"12345"), Kept::Not(_)));
        assert!(matches!(aside.keep("a", "config", b"1234"), Kept::In(_)));
        assert!(matches!(aside.keep("a", "config", b"1"), Kept::Not(_)));
        assert!(matches!(Aside::of(None).keep("a", "config", b""), Kept::Not(_)));
    }
}
