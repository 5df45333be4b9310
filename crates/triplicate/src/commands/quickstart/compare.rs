//! Whether a restored tree is the source again: every byte, and every piece of metadata that a restore sets.
//!
//! On purpose this shares nothing with the restore: it looks at both trees through the file system, as a user would.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, local};

/// Differences that are named; more of them say nothing new.
const DIFFERENCES_MAX: usize = 20;

/// Bytes compared at a time.
const STEP_BYTES: usize = 256 << 10;

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// Entries that changed since the backup, so that there is nothing to compare with.
    pub(super) changed_since: Vec<PathBuf>,
    /// The first differences, in words.
    pub(super) differences: Vec<String>,
    pub(super) differences_count: u64,
    /// First path in each tree, by the file that several names belong to.
    names: BTreeMap<(u64, u64), (PathBuf, PathBuf)>,
}

/// How to compare.
pub(super) struct Rules<'a> {
    /// What the backup left out.
    pub(super) left_out: &'a [PathBuf],
    /// What the backup could not read, and said so.
    pub(super) troubled: &'a BTreeSet<PathBuf>,
    /// Whether owners were set: only root may.
    pub(super) owners: bool,
    /// When the backup began: what changed later may differ.
    pub(super) backup_start: (i64, i64),
}

/// Compares `source` with what became of it.
pub(super) fn compare(source: &Path, restored: &Path, rules: &Rules<'_>) -> Result<Comparison, Failure> {
    let mut comparison = Comparison::default();
    comparison.entry(source, restored, rules)?;
    Ok(comparison)
}

impl Comparison {
    fn differs(&mut self, path: &Path, what: &str) {
        self.differences_count += 1;
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(format!("`{}`: {what}", path.display()));
        }
    }

    fn entry(&mut self, source: &Path, restored: &Path, rules: &Rules<'_>) -> Result<(), Failure> {
        if rules.left_out.iter().any(|out| source.starts_with(out)) || rules.troubled.contains(source) {
            return Ok(());
        }
        let Ok(before) = source.symlink_metadata() else {
            self.changed_since.push(source.to_owned());
            return Ok(());
        };
        let changed_since = (before.ctime(), before.ctime_nsec()) >= rules.backup_start;
        let after = match restored.symlink_metadata() {
            Ok(after) => after,
            Err(_) if changed_since => {
                self.changed_since.push(source.to_owned());
                return Ok(());
            }
            Err(error) => {
                self.differs(source, &format!("not restored: {error}"));
                return Ok(());
            }
        };
        self.entries += 1;
        let found = self.differences_count;
        self.metadata(source, &before, &after, rules);
        if before.file_type() == after.file_type() {
            self.content(source, restored, &before)?;
        }
        if self.differences_count > found && changed_since {
            self.differences_count = found;
            self.differences.truncate(found as usize);
            self.changed_since.push(source.to_owned());
        }
        if before.is_dir() && after.is_dir() {
            self.folder(source, restored, rules)?;
        }
        Ok(())
    }

    fn metadata(&mut self, path: &Path, before: &Metadata, after: &Metadata, rules: &Rules<'_>) {
        if before.file_type() != after.file_type() {
            return self.differs(path, "another type");
        }
        if !before.is_symlink() && before.mode() & 0o7777 != after.mode() & 0o7777 {
            self.differs(path, &format!("mode {:o}, not {:o}", after.mode() & 0o7777, before.mode() & 0o7777));
        }
        if (before.mtime(), before.mtime_nsec()) != (after.mtime(), after.mtime_nsec()) {
            self.differs(path, "another time of change");
        }
        if rules.owners && (before.uid(), before.gid()) != (after.uid(), after.gid()) {
            self.differs(path, "another owner");
        }
        if before.rdev() != after.rdev() {
            self.differs(path, "another device");
        }
    }

    fn content(&mut self, source: &Path, restored: &Path, before: &Metadata) -> Result<(), Failure> {
        if before.is_symlink() {
            if std::fs::read_link(source).ok() != std::fs::read_link(restored).ok() {
                self.differs(source, "points elsewhere");
            }
            return Ok(());
        }
        if attributes(source) != attributes(restored) {
            self.differs(source, "other extended attributes");
        }
        if !before.is_file() {
            return Ok(());
        }
        if before.nlink() > 1 {
            self.further_name(source, restored, before);
        }
        match same_bytes(source, restored) {
            Ok(Some(bytes)) => self.bytes += bytes,
            Ok(None) => self.differs(source, "other content"),
            Err(error) => return Err(local("compare", source, error)),
        }
        Ok(())
    }

    /// Names of one file must be names of one file again.
    fn further_name(&mut self, source: &Path, restored: &Path, before: &Metadata) {
        let key = (before.dev(), before.ino());
        match self.names.get(&key) {
            None => {
                self.names.insert(key, (source.to_owned(), restored.to_owned()));
            }
            Some((_, first)) => {
                let inode = |path: &Path| path.symlink_metadata().ok().map(|stat| (stat.dev(), stat.ino()));
                if inode(first) != inode(restored) {
                    self.differs(source, "no longer a further name of the same file");
                }
            }
        }
    }

    fn folder(&mut self, source: &Path, restored: &Path, rules: &Rules<'_>) -> Result<(), Failure> {
        let names = |folder: &Path| -> Result<BTreeSet<std::ffi::OsString>, Failure> {
            let entries = std::fs::read_dir(folder).map_err(|error| local("list", folder, error))?;
            entries
                .map(|entry| entry.map(|entry| entry.file_name()).map_err(|error| local("list", folder, error)))
                .collect()
        };
        let (before, after) = (names(source)?, names(restored)?);
        for name in &before {
            self.entry(&source.join(name), &restored.join(name), rules)?;
        }
        for name in after.difference(&before) {
            // Removed from the source since the backup, unless something invented it.
            self.changed_since.push(source.join(name));
        }
        Ok(())
    }
}

/// Extended attributes and ACLs by name; what cannot be read is empty on both sides.
fn attributes(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    const NAMES_BYTES_MAX: usize = 64 << 10;
    const VALUE_BYTES_MAX: usize = 64 << 10;
    let mut names = vec![0_u8; NAMES_BYTES_MAX];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut found = BTreeMap::new();
    for name in names.get(..length).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; VALUE_BYTES_MAX];
        if let Ok(length) = rustix::fs::lgetxattr(path, name, &mut value[..]) {
            value.truncate(length);
            found.insert(name.to_vec(), value);
        }
    }
    found
}

/// How many bytes both files have, when they are the same.
fn same_bytes(one: &Path, other: &Path) -> std::io::Result<Option<u64>> {
    let mut one = BufReader::with_capacity(STEP_BYTES, File::open(one)?);
    let mut other = BufReader::with_capacity(STEP_BYTES, File::open(other)?);
    let (mut left, mut right) = (vec![0_u8; STEP_BYTES], vec![0_u8; STEP_BYTES]);
    let mut total = 0;
    loop {
        let (length_left, length_right) = (read_full(&mut one, &mut left)?, read_full(&mut other, &mut right)?);
        if left.get(..length_left) != right.get(..length_right) {
            return Ok(None);
        }
        if length_left == 0 {
            return Ok(Some(total));
        }
        total += length_left as u64;
    }
}

fn read_full(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read(room)? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn differences(change: impl Fn(&Path)) -> Vec<String> {
        let scratch = tempfile::tempdir().unwrap();
        let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
        for root in [&one, &two] {
            std::fs::create_dir(root).unwrap();
            std::fs::write(root.join("file"), vec![7; 600_000]).unwrap();
            std::fs::hard_link(root.join("file"), root.join("second")).unwrap();
            std::os::unix::fs::symlink("file", root.join("link")).unwrap();
        }
        let same_times = |two: &Path| {
            for name in ["file", "link", "second", ""] {
                let stat = one.join(name).symlink_metadata().unwrap();
                let time = |seconds, nanoseconds| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
                let times = rustix::fs::Timestamps {
                    last_access: time(stat.atime(), stat.atime_nsec()),
                    last_modification: time(stat.mtime(), stat.mtime_nsec()),
                };
                let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                let _ = rustix::fs::utimensat(rustix::fs::CWD, two.join(name), &times, flags);
            }
        };
        same_times(&two);
        change(&two);
        let rules = Rules { left_out: &[], troubled: &BTreeSet::new(), owners: true, backup_start: (i64::MAX, 0) };
        compare(&one, &two, &rules).unwrap().differences
    }

    #[test]
    fn equal_trees_are_equal() {
        assert_eq!(differences(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        use std::os::unix::fs::{FileExt, PermissionsExt};
        let find = |change: &dyn Fn(&Path), words: &str| {
            let found = differences(change);
            assert!(found.iter().any(|line| line.contains(words)), "{words}: {found:?}");
        };
        find(
            &|root| {
                let file = std::fs::OpenOptions::new().write(true).open(root.join("file")).unwrap();
                file.write_at(b"x", 599_999).unwrap();
            },
            "other content",
        );
        find(&|root| std::fs::write(root.join("file"), b"short").unwrap(), "other content");
        find(&|root| std::fs::remove_file(root.join("link")).unwrap(), "not restored");
        let readable = std::fs::Permissions::from_mode(0o640);
        find(&|root| std::fs::set_permissions(root.join("file"), readable.clone()).unwrap(), "mode 640");
        find(
            &|root| {
                std::fs::remove_file(root.join("second")).unwrap();
                std::fs::copy(root.join("file"), root.join("second")).unwrap();
            },
            "no longer a further name",
        );
        find(
            &|root| {
                std::fs::remove_file(root.join("link")).unwrap();
                std::os::unix::fs::symlink("second", root.join("link")).unwrap();
            },
            "points elsewhere",
        );
    }
}
