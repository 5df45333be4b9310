//! The folder that a restore writes into, and the only way from it to anything below.
//!
//! The target is opened once. From then on a folder below it is reached from an open folder through names of single
//! components, by `openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`; where the kernel or a sandbox refuses
//! that call, one component at a time with `O_NOFOLLOW`. Either way no symbolic link is ever followed, and a path may
//! be longer than the system's limit for paths.
//!
//! No path as text is ever opened below the target, and nothing here takes a name that was not checked.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::name::EntryName;

/// How many bytes of a path one call resolves: the kernel's limit is 4096 with the closing zero.
const RESOLVED_BYTES_MAX: usize = 3000;

/// Resolving, without reading: works in folders that may be searched and not listed.
const FOLDER_FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How folders below an open one are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Descent {
    /// `openat2`: many components in one call, refused by the kernel when it would leave.
    Beneath,
    /// `openat` for each component.
    StepByStep,
}

/// An open target.
#[derive(Debug)]
pub(super) struct Target {
    root: OwnedFd,
    descent: Descent,
}

impl Target {
    /// Opens a folder as the target. The path itself is the user's word, so links in it are followed.
    pub(super) fn open(path: &Path) -> Result<Self, Errno> {
        let root = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let descent = match rustix::fs::openat2(&root, ".", FOLDER_FLAGS, Mode::empty(), resolve_flags()) {
            Ok(_) => Descent::Beneath,
            // ENOSYS: before Linux 5.6. EPERM: a sandbox that does not know the call.
            Err(_) => Descent::StepByStep,
        };
        Ok(Self { root, descent })
    }

    /// Opens a folder as the target, making it first when it is not there.
    pub(super) fn create(path: &Path) -> std::io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(Self::open(path)?)
    }

    /// The same target, going down in another way.
    #[cfg(test)]
    pub(super) fn with_descent(self, descent: Descent) -> Self {
        Self { descent, ..self }
    }

    /// The target itself.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens the folder at `names`, counted from the open folder `start`. Fails with `ENOTDIR` or `ELOOP` where a
    /// component is not a real folder.
    pub(super) fn folder(&self, start: BorrowedFd<'_>, names: &[EntryName<'_>]) -> Result<OwnedFd, Errno> {
        let mut at: Option<OwnedFd> = None;
        let mut rest = names;
        while !rest.is_empty() {
            let from = at.as_ref().map_or(start, AsFd::as_fd);
            let (opened, used) = match self.descent {
                Descent::Beneath => {
                    let (path, used) = joined(rest);
                    (rustix::fs::openat2(from, path.as_slice(), FOLDER_FLAGS, Mode::empty(), resolve_flags())?, used)
                }
                Descent::StepByStep => {
                    let name = rest.first().map_or(b".".as_slice(), |name| name.bytes());
                    (rustix::fs::openat(from, name, FOLDER_FLAGS, Mode::empty())?, 1)
                }
            };
            at = Some(opened);
            rest = rest.get(used..).unwrap_or_default();
        }
        match at {
            Some(folder) => Ok(folder),
            None => rustix::io::fcntl_dupfd_cloexec(start, 0),
        }
    }
}

fn resolve_flags() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

/// As many names as one call can take, at least one, joined by `/`; and how many these are.
fn joined(names: &[EntryName<'_>]) -> (Vec<u8>, usize) {
    let mut path = Vec::new();
    let mut used = 0;
    for name in names {
        if used > 0 && path.len() + 1 + name.bytes().len() > RESOLVED_BYTES_MAX {
            break;
        }
        if used > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name.bytes());
        used += 1;
    }
    (path, used)
}
