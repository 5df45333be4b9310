//! Owner, attributes, mode and times, in the order in which none of them undoes another.
//!
//! Changing the owner clears set-uid bits and capabilities, so it comes first. Attributes need a file that we may
//! still write, so they come before the mode. Times come last: everything else moves them.

use std::os::fd::BorrowedFd;

use format::{Node, NodeKind, NodeTime};
use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::attributes::{self, Inode};
use super::place::pinned_path;

const SET_ID_BITS: u32 = 0o6000;

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The owner could not be set because we are not root.
    pub(super) owner_refused: bool,
    /// Everything else that could not be done, in words.
    pub(super) faults: Vec<String>,
}

/// Gives a file the metadata of `node`. `strip` takes attributes away that the node does not have.
pub(super) fn apply(inode: Inode<'_>, node: &Node, strip: bool) -> Outcome {
    let mut outcome = Outcome::default();
    match set_owner(inode, node) {
        Ok(()) => {}
        Err(Errno::PERM) if !rustix::process::geteuid().is_root() => outcome.owner_refused = true,
        Err(error) => outcome.faults.push(format!("cannot set the owner {}:{}: {error}", node.uid, node.gid)),
    }
    let owner_is_set = !outcome.owner_refused && outcome.faults.is_empty();
    attributes::apply(inode, &node.extended_attributes, strip, &mut outcome.faults);
    if node.kind != NodeKind::Symlink {
        // A program that ran as somebody else must not come back running as whoever restores it.
        let withheld = if owner_is_set || node.kind == NodeKind::Dir { 0 } else { SET_ID_BITS };
        if let Err(error) = set_mode(inode, Mode::from_raw_mode(node.mode & 0o7777 & !withheld)) {
            outcome.faults.push(format!("cannot set the mode {:o}: {error}", node.mode));
        }
    }
    if let Err(error) = set_times(inode, node) {
        outcome.faults.push(format!("cannot set the times: {error}"));
    }
    outcome
}

fn set_owner(inode: Inode<'_>, node: &Node) -> Result<(), Errno> {
    // The highest number means "leave it" to the system, so no file can belong to it.
    let (user, group) = match (node.uid, node.gid) {
        (u32::MAX, _) | (_, u32::MAX) => return Err(Errno::INVAL),
        (user, group) => (Uid::from_raw(user), Gid::from_raw(group)),
    };
    let change = |user, group| match inode {
        Inode::Open(file) => rustix::fs::fchown(file, user, group),
        Inode::Pinned(file) => rustix::fs::chownat(file, "", user, group, AtFlags::EMPTY_PATH),
    };
    match change(Some(user), Some(group)) {
        // The group alone may be one of ours.
        Err(Errno::PERM) => change(None, Some(group)).and(Err(Errno::PERM)),
        end => end,
    }
}

fn set_mode(inode: Inode<'_>, mode: Mode) -> Result<(), Errno> {
    match inode {
        Inode::Open(file) => rustix::fs::fchmod(file, mode),
        Inode::Pinned(file) => rustix::fs::chmod(pinned_path(file), mode),
    }
}

fn set_times(inode: Inode<'_>, node: &Node) -> Result<(), Errno> {
    let timespec = |time: &NodeTime| Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) };
    let times = Timestamps { last_access: timespec(&node.atime), last_modification: timespec(&node.mtime) };
    match inode {
        Inode::Open(file) => rustix::fs::futimens(file, &times),
        Inode::Pinned(file) => rustix::fs::utimensat(CWD, pinned_path(file), &times, AtFlags::empty()),
    }
}

/// Whether a file has the size and the mtime that the node says.
pub(super) fn looks_unchanged(stat: &rustix::fs::Stat, node: &Node) -> bool {
    u64::try_from(stat.st_size) == Ok(node.size)
        && (stat.st_mtime, stat.st_mtime_nsec) == (node.mtime.seconds, u64::from(node.mtime.nanoseconds))
}

/// Lets an owner read a file whose mode says that he may not, for as long as `read` takes.
pub(super) fn with_owner_reading<T>(
    pinned: BorrowedFd<'_>,
    read: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, Errno> {
    let mode = Mode::from_raw_mode(rustix::fs::fstat(pinned)?.st_mode) & Mode::from_raw_mode(0o7777);
    rustix::fs::chmod(pinned_path(pinned), mode | Mode::RUSR)?;
    let end = read();
    rustix::fs::chmod(pinned_path(pinned), mode)?;
    end
}
