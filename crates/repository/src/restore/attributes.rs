//! Extended attributes, ACLs among them: set what the snapshot has, take away what it has not.

use std::os::fd::BorrowedFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::place::pinned_path;

/// The longest list of names that Linux gives.
const NAMES_BYTES_MAX: usize = 64 << 10;

/// Namespaces in which an attribute that the snapshot does not have is taken away. Labels that the system sets by
/// itself (`security.selinux`, `security.ima`) are its own business.
const OWNED_PREFIXES: [&[u8]; 4] = [b"user.", b"trusted.", b"system.posix_acl_", b"security.capability"];

/// The ACL that a folder hands down to what is made in it.
const DEFAULT_ACL: &str = "system.posix_acl_default";

/// A file whose metadata are set: open for real, or only pinned.
#[derive(Debug, Clone, Copy)]
pub(super) enum Inode<'a> {
    /// Open for reading or writing: the `f...` calls work on it.
    Open(BorrowedFd<'a>),
    /// Opened with `O_PATH`: reached through `/proc/self/fd`.
    Pinned(BorrowedFd<'a>),
}

impl Inode<'_> {
    fn set(self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self {
            Inode::Open(file) => rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()),
            Inode::Pinned(file) => rustix::fs::setxattr(pinned_path(file), name, value, XattrFlags::empty()),
        }
    }

    fn remove(self, name: &[u8]) -> Result<(), Errno> {
        match self {
            Inode::Open(file) => rustix::fs::fremovexattr(file, name),
            Inode::Pinned(file) => rustix::fs::removexattr(pinned_path(file), name),
        }
    }

    fn names(self) -> Result<Vec<u8>, Errno> {
        let mut names = vec![0; NAMES_BYTES_MAX];
        let length = match self {
            Inode::Open(file) => rustix::fs::flistxattr(file, names.as_mut_slice()),
            Inode::Pinned(file) => rustix::fs::listxattr(pinned_path(file), names.as_mut_slice()),
        };
        match length {
            Ok(length) => names.truncate(length),
            // A file system without attributes has none to take away.
            Err(Errno::OPNOTSUPP) => names.clear(),
            Err(error) => return Err(error),
        }
        Ok(names)
    }
}

/// Sets the attributes of one file. `strip` also takes away those that the snapshot does not have. What could not be
/// done is told in words.
pub(super) fn apply(inode: Inode<'_>, wanted: &[(Vec<u8>, Vec<u8>)], strip: bool, faults: &mut Vec<String>) {
    for (name, value) in wanted {
        if let Err(error) = inode.set(name, value) {
            faults.push(format!("cannot set the attribute `{}`: {error}", String::from_utf8_lossy(name)));
        }
    }
    if !strip {
        return;
    }
    let found = match inode.names() {
        Ok(found) => found,
        Err(error) => return faults.push(format!("cannot list the attributes that were there: {error}")),
    };
    for name in found.split(|&byte| byte == 0).filter(|name| is_surplus(name, wanted)) {
        if let Err(error) = inode.remove(name)
            && error != Errno::NODATA
        {
            faults.push(format!("cannot remove the attribute `{}`: {error}", String::from_utf8_lossy(name)));
        }
    }
}

fn is_surplus(name: &[u8], wanted: &[(Vec<u8>, Vec<u8>)]) -> bool {
    OWNED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !wanted.iter().any(|(other, _)| other == name)
}

/// Whether what is made in this folder gets an ACL without anybody asking for one.
pub(super) fn hands_down_acl(folder: Inode<'_>) -> bool {
    let length = match folder {
        Inode::Open(file) => rustix::fs::fgetxattr(file, DEFAULT_ACL, &mut [0_u8; 0][..]),
        Inode::Pinned(file) => rustix::fs::getxattr(pinned_path(file), DEFAULT_ACL, &mut [0_u8; 0][..]),
    };
    length.is_ok()
}
