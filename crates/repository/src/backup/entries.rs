//! What a folder holds now: its entries' names and facts, in the order that listings have.
//!
//! All names of a folder lie in one buffer, each with a NUL behind it, so that an entry costs no allocation before it
//! becomes a node.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use format::NodeKind;
use model::Id;
use rustix::fs::{AtFlags, Dir};
use rustix::io::Errno;

use super::facts::Facts;
use super::memory;
use super::metadata;
use super::source::Within;
use super::walk::Walk;
use crate::filter::{DirectoryTags, GitIgnores};
use crate::observer::TroubleKind;

/// The entries of one folder that remain after the excludes.
#[derive(Debug, Default)]
pub(super) struct Entries {
    names: Vec<u8>,
    entries: Vec<Entry>,
    /// What the `.gitignore` files up to this one leave out below it.
    pub(super) ignores: GitIgnores,
    /// True when anything could not be read: what is listed is not what the folder holds.
    pub(super) has_trouble: bool,
}

/// One entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Where its name begins.
    start: u32,
    /// Length of its name.
    length: u32,
    pub(super) facts: Facts,
    pub(super) atime: (i64, u32),
}

impl Entries {
    /// Of a folder that cannot be listed.
    pub(super) fn unreadable() -> Self {
        Self { has_trouble: true, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Every entry with its name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&CStr, &Entry)> {
        self.entries.iter().map(|entry| (self.name(entry), entry))
    }

    /// The entries that are folders.
    pub(super) fn folders(&self) -> impl Iterator<Item = (&CStr, &Entry)> {
        self.iter().filter(|(_, entry)| entry.facts.kind == NodeKind::Dir)
    }

    /// What tells this list of entries from every other.
    pub(super) fn fingerprint(&self) -> Id {
        let entries = self.iter().map(|(name, entry)| (name.to_bytes(), entry.facts));
        memory::fingerprint(entries, &mut Vec::with_capacity(self.names.len() + self.entries.len() * 96))
    }

    fn name(&self, entry: &Entry) -> &CStr {
        let (start, length) = (entry.start as usize, entry.length as usize);
        let bytes = self.names.get(start..=start + length).unwrap_or_default();
        // Every name was written with its NUL behind it.
        CStr::from_bytes_with_nul(bytes).unwrap_or_default()
    }
}

/// Where a name begins in the buffer of names, and its length.
type NamePlace = (u32, u32);

/// The names in a folder, in the byte order that listings have: a buffer, and places in it.
fn names_in(folder: &OwnedFd) -> Result<(Vec<u8>, Vec<NamePlace>), Errno> {
    let mut names = Vec::new();
    let mut places = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            let start = u32::try_from(names.len()).map_err(|_| Errno::OVERFLOW)?;
            names.extend_from_slice(name.to_bytes_with_nul());
            places.push((start, name.to_bytes().len() as u32));
        }
    }
    let name = |&(start, length): &NamePlace| names.get(start as usize..(start + length) as usize);
    places.sort_unstable_by(|left, right| name(left).cmp(&name(right)));
    Ok((names, places))
}

impl Walk<'_> {
    /// Looks at every entry of an open folder. `Err` when the folder cannot be listed at all.
    pub(super) fn entries_of(&self, folder: &OwnedFd, path: &Path, source: &Within) -> Result<Entries, Errno> {
        let (names, places) = names_in(folder)?;
        let tags = if self.excludes.has_tags() { self.excludes.tags_in(folder) } else { DirectoryTags::default() };
        let (ignores, unread) = match self.excludes.git_ignore {
            true => source.ignores.with_those_in(folder, path),
            false => (GitIgnores::default(), Vec::new()),
        };
        let entries = Vec::with_capacity(places.len());
        let mut found = Entries { names, entries, ignores, has_trouble: false };
        for trouble in tags.troubles.iter().chain(&unread) {
            self.trouble(path.to_owned(), TroubleKind::Metadata, trouble);
            found.has_trouble = true;
        }
        let mut excluded = ExcludedPaths::new(self, path);
        for (start, length) in places {
            let place = Entry { start, length, facts: Facts::NONE, atime: (0, 0) };
            let name = found.name(&place);
            let failed = |path: PathBuf, error| self.trouble_opening(path, error);
            let path = || path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(error) => {
                    failed(path(), error);
                    found.has_trouble = true;
                    continue;
                }
            };
            let facts = Facts::of_stat(&stat);
            let is_ignored = || found.ignores.excludes(&path(), facts.is_some_and(|facts| facts.kind == NodeKind::Dir));
            if tags.excludes(name.to_bytes())
                || excluded.has(name.to_bytes(), facts.as_ref())
                || (!found.ignores.is_empty() && is_ignored())
                || (self.excludes.robots && metadata::says_no_backup(folder, name))
            {
                continue;
            }
            let Some(facts) = facts else {
                self.trouble(path(), TroubleKind::Unsupported, "its type is unknown");
                found.has_trouble = true;
                continue;
            };
            let atime = (stat.st_atime, stat.st_atime_nsec as u32);
            found.entries.push(Entry { facts, atime, ..place });
        }
        Ok(found)
    }

    /// Whether the entry at this path is left out.
    pub(super) fn is_excluded(&self, path: &[u8], facts: Option<&Facts>) -> bool {
        let kind = facts.map(|facts| facts.kind);
        self.excludes.excludes_path(path, kind == Some(NodeKind::Dir))
            || (kind == Some(NodeKind::File) && self.excludes.excludes_size(facts.map_or(0, |facts| facts.size)))
    }
}

/// Asks for each entry of a folder whether it is left out, with one buffer for all paths, and none where no pattern
/// looks at them.
struct ExcludedPaths<'w> {
    walk: &'w Walk<'w>,
    path: Vec<u8>,
    folder_bytes: usize,
}

impl<'w> ExcludedPaths<'w> {
    fn new(walk: &'w Walk<'_>, folder: &Path) -> Self {
        let mut path = Vec::new();
        if !walk.excludes.patterns.is_empty() {
            path.extend_from_slice(folder.as_os_str().as_bytes());
            if !path.is_empty() && !path.ends_with(b"/") {
                path.push(b'/');
            }
        }
        Self { walk, folder_bytes: path.len(), path }
    }

    fn has(&mut self, name: &[u8], facts: Option<&Facts>) -> bool {
        if !self.walk.excludes.patterns.is_empty() {
            self.path.truncate(self.folder_bytes);
            self.path.extend_from_slice(name);
        }
        self.walk.is_excluded(&self.path, facts)
    }
}
