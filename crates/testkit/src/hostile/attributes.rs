//! Extended attributes and access control lists.

use rustix::fs::{XattrFlags, fsetxattr, lsetxattr};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsRawFd;

use super::{Maker, create, open_folder};

/// Sizes that are tried for the largest attribute, from the kernel's limit down to what ext4 keeps in one block.
const LARGE_ATTRIBUTE_BYTES: [usize; 5] = [65_536, 60_000, 16_000, 3_900, 2_000];

/// Tags of `posix_acl_xattr` entries, from the kernel's `posix_acl_xattr.h` interface.
const ACL_USER_OWNER: u16 = 0x01;
const ACL_USER: u16 = 0x02;
const ACL_GROUP_OWNER: u16 = 0x04;
const ACL_GROUP: u16 = 0x08;
const ACL_MASK: u16 = 0x10;
const ACL_OTHER: u16 = 0x20;
const ACL_NOBODY: u32 = u32::MAX;
const ACL_VERSION: u32 = 2;

pub(super) fn make(maker: &mut Maker) {
    for (path, what, name, value) in [
        (b"attributes/plain".as_slice(), "an attribute", b"user.comment".as_slice(), b"hello".as_slice()),
        (b"attributes/empty", "an attribute without a value", b"user.empty", b""),
        (b"attributes/bytes", "an attribute that is not text", b"user.bytes", b"\0\xff\n\"\\\0"),
        (b"attributes/name", "an attribute name that is not UTF-8", b"user.\xff\xfe \n", b"x"),
        (b"attributes/long-name", "the longest attribute name", &[b"user.".as_slice(), &[b'n'; 250]].concat(), b"x"),
        (b"attributes/capability", "a file capability", b"security.capability", CAPABILITY),
        (b"attributes/trusted", "an attribute that only root sees", b"trusted.secret", b"root"),
    ] {
        attribute(maker, path, what, name, value);
    }
    maker.entry(b"attributes/many", "twenty attributes", |folder, name| {
        let file = create(folder, name)?;
        for number in 0..20 {
            fsetxattr(&file, format!("user.number-{number}"), b"some value", XattrFlags::empty())?;
        }
        Ok(())
    });
    maker.entry(b"attributes/large", "the largest attribute that fits", |folder, name| {
        let file = create(folder, name)?;
        let mut last = Errno::NOTSUP;
        for size in LARGE_ATTRIBUTE_BYTES {
            match fsetxattr(&file, "user.large", &vec![b'L'; size], XattrFlags::empty()) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last.into())
    });
    maker.folder(b"attributes/folder", "a folder for attributes");
    let path = b"attributes/folder";
    on_folder(maker, path, "an attribute of a folder", "user.folder", b"yes");
    on_folder(maker, path, "a default access control list", "system.posix_acl_default", &access_list());
    let list = access_list();
    attribute(maker, b"attributes/access-list", "an access control list", b"system.posix_acl_access", &list);
    maker.entry(b"attributes/link", "an attribute of a symbolic link", |folder, name| {
        rustix::fs::symlinkat("plain", folder, name)?;
        let path = [format!("/proc/self/fd/{}/", folder.as_raw_fd()).as_bytes(), name.as_bytes()].concat();
        Ok(lsetxattr(path.as_slice(), "trusted.link", b"x", XattrFlags::empty())?)
    });
}

/// `cap_net_raw+ep`, version 2 of the format.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn attribute(maker: &mut Maker, path: &[u8], what: &str, name: &[u8], value: &[u8]) {
    maker.entry(path, what, |folder, file| {
        let file = create(folder, file)?;
        Ok(fsetxattr(&file, name, value, XattrFlags::empty())?)
    });
}

fn on_folder(maker: &mut Maker, path: &[u8], what: &str, name: &str, value: &[u8]) {
    maker.entry(path, what, |parent, folder| -> io::Result<()> {
        let folder = open_folder(parent, folder.to_bytes())?;
        Ok(fsetxattr(&folder, name, value, XattrFlags::empty())?)
    });
}

/// Owner all, one user reads and writes, group reads, one group nothing, others nothing.
fn access_list() -> Vec<u8> {
    let mut bytes = ACL_VERSION.to_le_bytes().to_vec();
    for (tag, rights, id) in [
        (ACL_USER_OWNER, 7u16, ACL_NOBODY),
        (ACL_USER, 6, 1001),
        (ACL_GROUP_OWNER, 4, ACL_NOBODY),
        (ACL_GROUP, 0, 1002),
        (ACL_MASK, 6, ACL_NOBODY),
        (ACL_OTHER, 0, ACL_NOBODY),
    ] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}
