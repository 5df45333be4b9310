//! Everything about a tree that a restore must give back, and the difference of two trees in words.
//!
//! The walk goes from folder to folder by descriptor, so that paths longer than the system's limit are seen too, and
//! never follows a link. It shares no code with the product, because it is the judge of what the product restored.

mod difference;
mod walk;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

pub use difference::Aspect;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
}

/// What is in a regular file; for a folder only that it could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The SHA-256 of its bytes.
    Sha256([u8; 32]),
    /// It could not be read, and why.
    Unread(String),
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a file; 0 for anything else.
    pub size: u64,
    /// Modification time: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Content of a file, or why a folder could not be listed.
    pub content: Option<Content>,
    /// Extended attributes by name, POSIX ACLs among them.
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Where a symbolic link points.
    pub link_target: Option<Vec<u8>>,
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// For a file with several names in this tree: the first of them, which names the group.
    pub hard_link_group: Option<Vec<u8>>,
    /// Bytes on disk; a sparse file has fewer than its size. Never compared: file systems differ.
    pub allocated_bytes: u64,
}

/// A tree: every entry by its path below the root; the root itself has the empty path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// The entries.
    pub entries: BTreeMap<Vec<u8>, Entry>,
}

/// Reads the tree below `root`. Files and folders that may not be read are entries with [`Content::Unread`].
///
/// # Errors
/// When the root cannot be listed, or an entry changes under the walk.
pub fn manifest(root: impl AsRef<Path>) -> io::Result<Manifest> {
    walk::walk(root.as_ref())
}

impl Manifest {
    /// One line for each difference between two trees; nothing when `b` gives back all of `a` and no more.
    pub fn difference(a: &Manifest, b: &Manifest) -> Vec<String> {
        difference::difference(a, b, &[])
    }

    /// As [`Manifest::difference`], without some aspects.
    pub fn difference_except(a: &Manifest, b: &Manifest, except: &[Aspect]) -> Vec<String> {
        difference::difference(a, b, except)
    }

    /// This tree without the entries whose path fits, and without what is below them.
    #[must_use]
    pub fn without(&self, fits: impl Fn(&[u8], &Entry) -> bool) -> Manifest {
        let left_out: Vec<&[u8]> =
            self.entries.iter().filter(|(path, entry)| fits(path, entry)).map(|(path, _)| path.as_slice()).collect();
        let is_below = |path: &[u8]| {
            left_out.iter().any(|out| path == *out || (path.starts_with(out) && path.get(out.len()) == Some(&b'/')))
        };
        let kept = self.entries.iter().filter(|(path, _)| !is_below(path));
        let mut tree = Manifest { entries: kept.map(|(path, entry)| (path.clone(), entry.clone())).collect() };
        tree.name_groups();
        tree
    }

    /// Names hard-link groups by their first path again, after paths have gone.
    fn name_groups(&mut self) {
        let mut groups: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        for (path, entry) in &self.entries {
            if let Some(group) = &entry.hard_link_group {
                groups.entry(group.clone()).or_default().push(path.clone());
            }
        }
        for members in groups.values() {
            let name = (members.len() > 1).then(|| members.first().cloned()).flatten();
            for member in members {
                if let Some(entry) = self.entries.get_mut(member) {
                    entry.hard_link_group.clone_from(&name);
                }
            }
        }
    }

    /// The part of this tree below `path`, with paths from there: what a restore of an absolute path is compared with.
    pub fn below(&self, path: &Path) -> Manifest {
        use std::os::unix::ffi::OsStrExt;
        let prefix = path.strip_prefix("/").unwrap_or(path).as_os_str().as_bytes();
        let cut = |full: &[u8]| {
            let rest = full.strip_prefix(prefix)?;
            if rest.is_empty() { Some(Vec::new()) } else { rest.strip_prefix(b"/").map(<[u8]>::to_vec) }
        };
        let mut tree = Manifest::default();
        for (full, entry) in &self.entries {
            if let Some(rest) = cut(full) {
                let mut entry = entry.clone();
                entry.hard_link_group = entry.hard_link_group.as_deref().and_then(cut);
                tree.entries.insert(rest, entry);
            }
        }
        tree
    }

    /// How many entries of a kind there are.
    pub fn count(&self, kind: EntryKind) -> usize {
        self.entries.values().filter(|entry| entry.kind == kind).count()
    }
}
