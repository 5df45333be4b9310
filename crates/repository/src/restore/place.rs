//! One name in one open folder: what is there, and how it is replaced.
//!
//! Nothing is ever written *through* what is found at a place. A link, a pipe, a device, a file with several names
//! goes away first; the new entry is made with `O_EXCL` (or a call that never replaces), so that what stands there
//! afterwards is what was made here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use format::{Node, NodeKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::name::EntryName;

/// How often making way is tried again while somebody else keeps putting things there.
const REPLACE_TRIES: usize = 3;

/// What tells one file from every other on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// Whether a folder was made or found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// It was not there (or something else was).
    Fresh,
    /// It was there; what it holds is not known.
    Found,
}

/// A name in an open folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    folder: BorrowedFd<'a>,
    name: EntryName<'a>,
}

impl<'a> Place<'a> {
    pub(super) fn new(folder: BorrowedFd<'a>, name: EntryName<'a>) -> Self {
        Self { folder, name }
    }

    /// What is there; a link itself, never what it points to.
    pub(super) fn stat(&self) -> Result<Option<Stat>, Errno> {
        match rustix::fs::statat(self.folder, self.name.bytes(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes away whatever is there. A folder goes only when it is empty.
    pub(super) fn clear(&self) -> Result<(), Errno> {
        let name = self.name.bytes();
        let end = match rustix::fs::unlinkat(self.folder, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => match self.stat()? {
                Some(stat) if is_folder(&stat) => rustix::fs::unlinkat(self.folder, name, AtFlags::REMOVEDIR),
                Some(_) => Err(Errno::PERM),
                None => Ok(()),
            },
            end => end,
        };
        match end {
            Err(Errno::NOENT) => Ok(()),
            end => end,
        }
    }

    /// Takes away what is there if it is still this file.
    pub(super) fn clear_if(&self, identity: Identity) -> Result<(), Errno> {
        match self.stat()? {
            Some(stat) if Identity::of(&stat) == identity => self.clear(),
            _ => Ok(()),
        }
    }

    /// Makes a folder, or takes the real folder that is there. Anything else that is there goes.
    pub(super) fn make_folder(&self) -> Result<Made, Errno> {
        for _ in 0..REPLACE_TRIES {
            match rustix::fs::mkdirat(self.folder, self.name.bytes(), Mode::RWXU) {
                Ok(()) => return Ok(Made::Fresh),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            match self.stat()? {
                Some(stat) if is_folder(&stat) => {
                    self.make_usable(&stat)?;
                    return Ok(Made::Found);
                }
                _ => self.clear()?,
            }
        }
        Err(Errno::EXIST)
    }

    /// Lets us work in a folder of ours that is closed to ourselves; its own mode is set when everything is in it.
    fn make_usable(&self, stat: &Stat) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(stat.st_mode);
        if mode.contains(Mode::RWXU) || rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let pinned = self.pin()?;
        if FileType::from_raw_mode(rustix::fs::fstat(&pinned)?.st_mode) != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        match rustix::fs::chmod(pinned_path(pinned.as_fd()), (mode | Mode::RWXU) & Mode::from_raw_mode(0o7777)) {
            // Not ours: whether we may write there, the first write will tell.
            Err(Errno::PERM) => Ok(()),
            end => end,
        }
    }

    /// Makes a new, empty file that only we can read, open for reading and writing.
    pub(super) fn create_file(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.replacing(|| rustix::fs::openat(self.folder, self.name.bytes(), flags, Mode::RUSR | Mode::WUSR))
    }

    /// Makes a link, a device, a pipe or a socket as the node says; metadata come later.
    pub(super) fn create_special(&self, node: &Node) -> Result<(), Errno> {
        let name = self.name.bytes();
        let private = Mode::RUSR | Mode::WUSR;
        match node.kind {
            NodeKind::Symlink => {
                let points_to = node.link_target.as_deref().unwrap_or_default();
                self.replacing(|| rustix::fs::symlinkat(points_to, self.folder, name))
            }
            NodeKind::Fifo => self.replacing(|| rustix::fs::mknodat(self.folder, name, FileType::Fifo, private, 0)),
            NodeKind::Device => {
                self.replacing(|| rustix::fs::mknodat(self.folder, name, FileType::BlockDevice, private, node.device))
            }
            NodeKind::CharDevice => self
                .replacing(|| rustix::fs::mknodat(self.folder, name, FileType::CharacterDevice, private, node.device)),
            // Nobody answers behind it, as after a crash of whoever listened.
            NodeKind::Socket => self.replacing(|| rustix::fs::mknodat(self.folder, name, FileType::Socket, private, 0)),
            NodeKind::File | NodeKind::Dir | NodeKind::Irregular => Err(Errno::OPNOTSUPP),
        }
    }

    /// Gives the file at `first` a second name here.
    pub(super) fn link_from(&self, first: &Place<'_>) -> Result<(), Errno> {
        self.replacing(|| {
            rustix::fs::linkat(first.folder, first.name.bytes(), self.folder, self.name.bytes(), AtFlags::empty())
        })
    }

    /// Opens the regular file that is there, if it is still the one that was looked at. Reading leaves no trace in its
    /// times where the system lets us.
    pub(super) fn open_file(&self, identity: Identity, access: OFlags) -> Result<OwnedFd, Errno> {
        // Not blocking: between the look and this call somebody may have put a pipe there.
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let quiet = rustix::fs::openat(self.folder, self.name.bytes(), flags | OFlags::NOATIME, Mode::empty());
        let file = match quiet {
            Err(Errno::PERM) => rustix::fs::openat(self.folder, self.name.bytes(), flags, Mode::empty())?,
            end => end?,
        };
        let stat = rustix::fs::fstat(&file)?;
        if !is_file(&stat) || Identity::of(&stat) != identity {
            return Err(Errno::STALE);
        }
        Ok(file)
    }

    /// A handle on whatever is there, which cannot be read or written and is enough for metadata.
    pub(super) fn pin(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(self.folder, self.name.bytes(), flags, Mode::empty())
    }

    /// Makes something where nothing may be; what is in the way goes.
    fn replacing<T>(&self, make: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
        for _ in 0..REPLACE_TRIES {
            match make() {
                Err(Errno::EXIST) => self.clear()?,
                end => return end,
            }
        }
        Err(Errno::EXIST)
    }
}

/// The way to a pinned file that calls without a descriptor can take. It leads to that very file, whatever its name
/// has become.
pub(super) fn pinned_path(pinned: BorrowedFd<'_>) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", pinned.as_raw_fd())
}

pub(super) fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

pub(super) fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}
