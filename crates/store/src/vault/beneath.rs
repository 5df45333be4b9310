//! Opening and removing beneath a folder, without a way out of it.
//!
//! The kernel resolves the whole path in one call and refuses every symbolic link on it, also one that takes a folder's
//! place in between.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// How often a resolution that met a rename is begun again.
const ATTEMPTS_MAX: usize = 16;
/// Folders in folders in `incoming`, at most: what a purge moves there is `data/xx/FILE` and its account.
const DEPTH_MAX: usize = 6;

/// Opens `path` beneath `root`.
pub(super) fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    // A pipe that somebody left there must not make a thread wait for its other end; a mere handle never waits.
    let patience = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK };
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | patience;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for _ in 1..ATTEMPTS_MAX {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return Ok(answer?),
        }
    }
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?)
}

/// Removes `name` in `folder`, with what is in it. Links are removed and not followed.
pub(super) fn remove_whole(folder: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    remove_to(folder, name, DEPTH_MAX)
}

fn remove_to(folder: BorrowedFd<'_>, name: &CStr, depth: usize) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) if depth > 0 => {}
        Err(error) => return Err(error),
    }
    let facts = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(facts.st_mode) != FileType::Directory {
        return Err(Errno::PERM);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&inner)? {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if bytes != b"." && bytes != b".." {
            remove_to(inner.as_fd(), entry.file_name(), depth - 1)?;
        }
    }
    match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        answer => answer,
    }
}
