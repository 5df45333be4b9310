//! Removing what is in the target and not in the snapshot, where that was asked for.
//!
//! Only in folders that were there before, only what the selection takes, and never in a folder whose listing could
//! not be read whole. Nothing is followed: a link is removed, not what it points to.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use super::Restoration;
use super::folder::{Folder, Folders};
use super::name::EntryName;
use super::place::Place;
use crate::observer::TroubleKind;

impl Restoration<'_> {
    /// Removes from a folder what is not among `names`.
    pub(super) fn remove_surplus(&self, folder: &Folder, names: Vec<Vec<u8>>) {
        let Some(folders) = self.folders.as_ref().filter(|_| folder.may_hold_others()) else { return };
        let found = folders.open(folder).and_then(|open| names_in(open.as_fd()));
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let why = format!("cannot list it to remove what is not in the snapshot: {error}");
                return self.tally.trouble(folder.own_path(), TroubleKind::Unwritable, why);
            }
        };
        let wanted: HashSet<Vec<u8>> = names.into_iter().collect();
        for name in found.iter().filter(|name| !wanted.contains(*name)) {
            let path = folder.path_of(name);
            if !self.request.selection.selects(path.as_os_str().as_bytes(), false).selected {
                continue;
            }
            let removed = if self.request.dry_run { Ok(()) } else { remove_all(folders, folder, name) };
            match removed {
                Ok(()) => self.tally.deleted(|| path),
                Err(error) => {
                    let why = format!("it is not in the snapshot and cannot be removed: {error}");
                    self.tally.trouble(path, TroubleKind::Unwritable, why);
                }
            }
        }
    }
}

/// The names in an open folder, without `.` and `..`.
fn names_in(folder: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let readable: OwnedFd = rustix::fs::openat(folder, ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::new(readable)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// Removes an entry and all that is in it. The way down is kept as names, so that depth costs no descriptors.
fn remove_all(folders: &Folders, folder: &Folder, name: &[u8]) -> Result<(), Errno> {
    let top = folders.open(folder)?;
    let mut way: Vec<Vec<u8>> = vec![name.to_vec()];
    while let Some((last, above)) = way.split_last() {
        let parent = folders.descend(top.as_fd(), above)?;
        let place = Place::new(parent.as_fd(), EntryName::check(last).map_err(|_| Errno::INVAL)?);
        match place.clear() {
            Ok(()) => {
                way.pop();
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let inner = folders.descend(top.as_fd(), &way)?;
                let full = clear_entries(inner.as_fd())?;
                way.extend(full);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes what can be removed at once; gives a folder that is not empty, if there is one.
fn clear_entries(folder: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Errno> {
    for name in names_in(folder)? {
        match Place::new(folder, EntryName::check(&name).map_err(|_| Errno::INVAL)?).clear() {
            Ok(()) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(Some(name)),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
