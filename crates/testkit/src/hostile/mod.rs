//! A tree that breaks backup programs: every kind of name, type, mode, time, link, attribute and size that has done so.
//!
//! Entries are made one by one, and one that cannot be made here (a device without root, an attribute that the file
//! system does not hold) is named in the answer with the reason, so that a test can say what it did not cover. All
//! work is done by folder descriptor, because some paths are longer than any system call takes.

mod attributes;
mod content;
mod deep;
mod links;
mod names;
mod repository;
mod requests;
mod special;

pub use repository::{Files, Mutant, SoundRepository};
pub use requests::{Grounds, HostilePath, Requests, hostile_paths, hostile_users};

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, mkdirat, openat, utimensat};

/// One entry that was to be made.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its path below the root.
    pub path: Vec<u8>,
    /// What is hostile about it.
    pub what: String,
    /// Why it could not be made, if so.
    pub trouble: Option<String>,
}

/// A hostile tree and what is in it.
#[derive(Debug, Clone)]
pub struct HostileTree {
    /// The root.
    pub root: PathBuf,
    /// Everything that was tried.
    pub entries: Vec<Made>,
}

/// How much of it is wanted.
#[derive(Debug, Clone, Copy)]
pub struct HostileOptions {
    /// Size of the sparse file. It takes no room, but every reader needs seconds for it.
    pub sparse_bytes: u64,
    /// Size of the file of noise; above the largest chunk by default.
    pub large_bytes: u64,
    /// Paths longer than `PATH_MAX`, which most programs cannot reach by name.
    pub beyond_path_limit: bool,
}

impl Default for HostileOptions {
    fn default() -> Self {
        Self { sparse_bytes: 5 << 30, large_bytes: (8 << 20) + 4321, beyond_path_limit: true }
    }
}

impl HostileOptions {
    /// Everything, but with a sparse file of 64 MiB: for tests that are run often.
    pub fn quick() -> Self {
        Self { sparse_bytes: 64 << 20, ..Self::default() }
    }
}

/// Makes the whole tree below `root`, which is made too.
///
/// # Errors
/// When the root cannot be made; trouble with single entries is in the answer.
pub fn hostile_tree(root: &Path) -> io::Result<HostileTree> {
    hostile_tree_with(root, HostileOptions::default())
}

/// As [`hostile_tree`], with options.
///
/// # Errors
/// When the root cannot be made.
pub fn hostile_tree_with(root: &Path, options: HostileOptions) -> io::Result<HostileTree> {
    std::fs::create_dir_all(root)?;
    let mut maker = Maker { root: open_folder(CWD, root.as_os_str().as_encoded_bytes())?, entries: Vec::new() };
    names::make(&mut maker);
    content::make(&mut maker, &options);
    links::make(&mut maker, root);
    special::make(&mut maker, root);
    attributes::make(&mut maker);
    deep::make(&mut maker, &options);
    special::make_times(&mut maker);
    Ok(HostileTree { root: root.to_owned(), entries: maker.entries })
}

impl HostileTree {
    /// The entries that exist.
    pub fn made(&self) -> impl Iterator<Item = &Made> {
        self.entries.iter().filter(|entry| entry.trouble.is_none())
    }

    /// The entries that could not be made, each with its reason, in lines.
    pub fn not_made(&self) -> Vec<String> {
        let line = |entry: &Made| {
            entry.trouble.as_ref().map(|why| format!("{} ({}): {why}", entry.path.escape_ascii(), entry.what))
        };
        self.entries.iter().filter_map(line).collect()
    }
}

/// Removes a hostile tree: folders without permissions are opened up first.
///
/// # Errors
/// When something cannot be removed.
pub fn remove_hostile_tree(root: &Path) -> io::Result<()> {
    if let Ok(folder) = open_folder(CWD, root.as_os_str().as_encoded_bytes()) {
        open_up(&folder);
    }
    std::fs::remove_dir_all(root)
}

fn open_up(folder: &OwnedFd) {
    let _ = rustix::fs::fchmod(folder, Mode::RWXU);
    let Ok(children) = rustix::fs::Dir::read_from(folder) else { return };
    for child in children.flatten() {
        let name = child.file_name();
        if name == c"." || name == c".." || !matches!(child.file_type(), rustix::fs::FileType::Directory) {
            continue;
        }
        let _ = rustix::fs::chmodat(folder, name, Mode::RWXU, AtFlags::empty());
        if let Ok(below) = open_folder(folder.as_fd(), name.to_bytes()) {
            open_up(&below);
        }
    }
}

fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Makes entries and keeps the list.
struct Maker {
    root: OwnedFd,
    entries: Vec<Made>,
}

impl Maker {
    /// Notes an entry and how its making went.
    fn note(&mut self, path: &[u8], what: &str, outcome: io::Result<()>) {
        let trouble = outcome.err().map(|error| error.to_string());
        self.entries.push(Made { path: path.to_vec(), what: what.to_owned(), trouble });
    }

    /// Makes the entry `path` by `make`, which gets its folder and its name; missing folders are made.
    fn entry(&mut self, path: &[u8], what: &str, make: impl FnOnce(BorrowedFd<'_>, &CString) -> io::Result<()>) {
        let outcome = self.folder_of(path).and_then(|(folder, name)| make(folder.as_fd(), &name));
        self.note(path, what, outcome);
    }

    /// The folder of `path`, made where it is missing, and the last name.
    fn folder_of(&self, path: &[u8]) -> io::Result<(OwnedFd, CString)> {
        let mut folder = self.root.try_clone()?;
        let mut names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let last = names.pop().unwrap_or_default();
        for name in names {
            folder = self.folder_in(folder.as_fd(), name)?;
        }
        Ok((folder, CString::new(last)?))
    }

    fn folder_in(&self, parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
        match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => open_folder(parent, name),
            Err(error) => Err(error.into()),
        }
    }

    /// A file with `bytes`.
    fn file(&mut self, path: &[u8], what: &str, bytes: &[u8]) {
        self.entry(path, what, |folder, name| create(folder, name)?.write_all(bytes));
    }

    /// An empty folder.
    fn folder(&mut self, path: &[u8], what: &str) {
        self.entry(path, what, |folder, name| Ok(mkdirat(folder, name, Mode::from_raw_mode(0o755))?));
    }

    /// A symbolic link.
    fn link(&mut self, path: &[u8], what: &str, target: &[u8]) {
        self.entry(path, what, |folder, name| Ok(rustix::fs::symlinkat(target, folder, name)?));
    }
}

fn create(folder: BorrowedFd<'_>, name: &CString) -> io::Result<File> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(openat(folder, name, flags, Mode::from_raw_mode(0o644))?.into())
}

fn set_time(folder: BorrowedFd<'_>, name: &CString, seconds: i64, nanoseconds: u32) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
