//! From what the system says of an entry to a node of the tree.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use format::{Node, NodeTime};
use jiff::tz::TimeZone;
use rustix::fs::Stat;
use rustix::io::Errno;

use super::accounts::Accounts;
use super::facts::Facts;

/// Extended attributes of one entry: names and values together at the most (the kernel's own limit per value is 64 KiB).
const ATTRIBUTES_BYTES_MAX: usize = 4 << 20;

/// Turns what the system says into nodes.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) accounts: Accounts,
    zone: TimeZone,
    with_atime: bool,
}

/// An extended attribute: its name and its value.
pub(super) type Attribute = (Vec<u8>, Vec<u8>);

/// What identifies a state of a file: a file whose stamp is as it was has not been written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    pub(super) mtime: (i64, u32),
    pub(super) ctime: (i64, u32),
    pub(super) inode: u64,
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            ctime: (stat.st_ctime, stat.st_ctime_nsec as u32),
            inode: stat.st_ino,
        }
    }
}

impl Metadata {
    pub(super) fn new(zone: TimeZone, with_atime: bool) -> Self {
        Self { accounts: Accounts::default(), zone, with_atime }
    }

    /// The node of an entry without content, link target and extended attributes. None for kinds that do not exist
    /// on this system.
    pub(super) fn node(&self, name: &[u8], stat: &Stat) -> Option<Node> {
        let atime = (stat.st_atime, stat.st_atime_nsec as u32);
        Some(self.node_of(name, &Facts::of_stat(stat)?, atime))
    }

    /// The same of facts that are known. `atime` only counts where access times are recorded.
    pub(super) fn node_of(&self, name: &[u8], facts: &Facts, atime: (i64, u32)) -> Node {
        let Facts { kind, mode, uid, gid, size, links, inode, device_id, device, mtime, ctime } = *facts;
        Node {
            name: name.to_vec(),
            kind,
            mode,
            mtime: self.time(mtime),
            // restic's default: a changing access time would make a new tree of an unchanged folder.
            atime: self.time(if self.with_atime { atime } else { mtime }),
            ctime: self.time(ctime),
            uid,
            gid,
            user: self.accounts.user(uid),
            group: self.accounts.group(gid),
            inode,
            device_id,
            size,
            links,
            device,
            ..Node::default()
        }
    }

    /// A moment, as nodes have it.
    pub(super) fn time(&self, (seconds, nanoseconds): (i64, u32)) -> NodeTime {
        NodeTime::local(seconds, nanoseconds, &self.zone)
    }
}

/// Reads all extended attributes of `name` in `folder`, ACLs among them, sorted as the system lists them.
///
/// The path goes through `/proc/self/fd`.
pub(super) fn attributes(folder: BorrowedFd<'_>, name: &CStr) -> Result<Vec<Attribute>, Errno> {
    let path = path_of(folder.as_raw_fd(), name);
    let mut names = [0u8; 1024];
    let listed: Vec<u8> = match rustix::fs::llistxattr(path.as_slice(), &mut names[..]) {
        Ok(0) | Err(Errno::NOTSUP | Errno::PERM) => return Ok(Vec::new()),
        Ok(length) => names[..length].to_vec(),
        Err(Errno::RANGE) => grown(|buffer| rustix::fs::llistxattr(path.as_slice(), buffer))?,
        Err(error) => return Err(error),
    };
    let mut attributes = Vec::new();
    let mut total = 0;
    for attribute in listed.split(|&byte| byte == 0).filter(|attribute| !attribute.is_empty()) {
        let value = match grown(|buffer| rustix::fs::lgetxattr(path.as_slice(), attribute, buffer)) {
            Ok(value) => value,
            // It went away between the list and the reading.
            Err(Errno::NODATA) => continue,
            Err(error) => return Err(error),
        };
        total += attribute.len() + value.len();
        if total > ATTRIBUTES_BYTES_MAX {
            return Err(Errno::TOOBIG);
        }
        attributes.push((attribute.to_vec(), value));
    }
    Ok(attributes)
}

/// What a file says of itself that is not worth keeping, and what it says (freedesktop.org, Common Extended Attributes).
const ROBOTS_ATTRIBUTE: &str = "user.xdg.robots.backup";
const ROBOTS_NO: &[u8] = b"false";

/// Whether an entry asks not to be backed up.
pub(super) fn says_no_backup(folder: &impl AsRawFd, name: &CStr) -> bool {
    let path = path_of(folder.as_raw_fd(), name);
    let mut value = [0u8; ROBOTS_NO.len() + 1];
    let length = rustix::fs::lgetxattr(path.as_slice(), ROBOTS_ATTRIBUTE, &mut value[..]);
    length.is_ok_and(|length| value.get(..length) == Some(ROBOTS_NO))
}

/// A way to an entry that works for every kind and any length of path. An absolute `name` is its own path, as it is for
/// every call that takes a folder and a name.
fn path_of(folder: RawFd, name: &CStr) -> Vec<u8> {
    let mut path = match name.to_bytes().first() {
        Some(b'/') => Vec::new(),
        _ => format!("/proc/self/fd/{folder}/").into_bytes(),
    };
    path.extend_from_slice(name.to_bytes());
    path
}

/// Asks with growing buffers until the answer fits.
fn grown(mut ask: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 4096];
    loop {
        match ask(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < ATTRIBUTES_BYTES_MAX => buffer.resize(buffer.len() * 4, 0),
            Err(error) => return Err(error),
        }
    }
}
