//! Reading a tree, folder by folder, by descriptor.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use sha2::{Digest, Sha256};

use super::{Content, Entry, EntryKind, Manifest};

const READ_BYTES: usize = 1 << 20;
/// The kernel's limits (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`): one call with such a buffer gets everything.
const ATTRIBUTE_LIMIT_BYTES: usize = 64 << 10;

struct Walk {
    manifest: Manifest,
    /// Paths of each file that has several names, by device and inode.
    names: BTreeMap<(u64, u64), Vec<Vec<u8>>>,
    buffer: Vec<u8>,
}

pub(super) fn walk(root: &Path) -> io::Result<Manifest> {
    let mut walk = Walk { manifest: Manifest::default(), names: BTreeMap::new(), buffer: vec![0; READ_BYTES] };
    let name = CString::new(std::os::unix::ffi::OsStrExt::as_bytes(root.as_os_str()))?;
    walk.entry(CWD, &name, Vec::new()).map_err(|error| named(root.as_os_str().as_encoded_bytes(), error))?;
    for paths in walk.names.into_values().filter(|paths| paths.len() > 1) {
        let first = paths.iter().min().cloned();
        for path in paths {
            if let Some(entry) = walk.manifest.entries.get_mut(&path) {
                entry.hard_link_group.clone_from(&first);
            }
        }
    }
    Ok(walk.manifest)
}

fn named(path: &[u8], error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), format!("{}: {error}", path.escape_ascii()))
}

impl Walk {
    fn entry(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: Vec<u8>) -> io::Result<()> {
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = kind_of(&stat)?;
        let mut entry = Entry {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: 0,
            mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            content: None,
            attributes: attributes(parent, name)?,
            link_target: None,
            device: None,
            hard_link_group: None,
            allocated_bytes: u64::try_from(stat.st_blocks).unwrap_or(0) * 512,
        };
        match kind {
            EntryKind::File => {
                entry.size = u64::try_from(stat.st_size).unwrap_or(0);
                entry.content = Some(self.content(parent, name)?);
            }
            EntryKind::Link => entry.link_target = Some(readlinkat(parent, name, Vec::new())?.into_bytes()),
            EntryKind::CharacterDevice | EntryKind::BlockDevice => {
                entry.device = Some((rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)));
            }
            EntryKind::Folder | EntryKind::Pipe | EntryKind::Socket => {}
        }
        if kind != EntryKind::Folder && stat.st_nlink > 1 {
            self.names.entry((stat.st_dev, stat.st_ino)).or_default().push(path.clone());
        }
        let mut opened = None;
        if kind == EntryKind::Folder {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(parent, name, flags, Mode::empty()) {
                Ok(folder) => opened = Some(folder),
                // Who is not root cannot look into every folder; the entry says so, and so differs from one that can.
                Err(rustix::io::Errno::ACCESS) if !path.is_empty() => {
                    entry.content = Some(Content::Unread(rustix::io::Errno::ACCESS.to_string()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.manifest.entries.insert(path.clone(), entry);
        opened.map_or(Ok(()), |folder| self.children(&folder, &path))
    }

    fn children(&mut self, folder: &OwnedFd, path: &[u8]) -> io::Result<()> {
        for child in Dir::read_from(folder)? {
            let child = child?;
            let name = child.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let mut child_path = path.to_vec();
            if !child_path.is_empty() {
                child_path.push(b'/');
            }
            child_path.extend_from_slice(name.to_bytes());
            let shown = child_path.clone();
            self.entry(folder.as_fd(), name, child_path).map_err(|error| {
                // Said once, at the entry itself, and not again by every folder above it.
                if error.get_ref().is_some() { error } else { named(&shown, error) }
            })?;
        }
        Ok(())
    }

    fn content(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<Content> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut file = match openat(parent, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(error) => return Ok(Content::Unread(error.to_string())),
        };
        let mut hash = Sha256::new();
        loop {
            match file.read(&mut self.buffer) {
                Ok(0) => return Ok(Content::Sha256(hash.finalize().into())),
                Ok(length) => hash.update(self.buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Content::Unread(error.to_string())),
            }
        }
    }
}

fn kind_of(stat: &Stat) -> io::Result<EntryKind> {
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Folder,
        FileType::Symlink => EntryKind::Link,
        FileType::Fifo => EntryKind::Pipe,
        FileType::Socket => EntryKind::Socket,
        FileType::CharacterDevice => EntryKind::CharacterDevice,
        FileType::BlockDevice => EntryKind::BlockDevice,
        FileType::Unknown => return Err(io::Error::other("an entry of no known kind")),
    })
}

/// Extended attributes are asked for through `/proc/self/fd`, because the calls take no folder descriptor and some
/// kinds of entries cannot be opened.
fn attributes(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut path = name.to_bytes().to_vec();
    if parent.as_raw_fd() >= 0 {
        path = [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name.to_bytes()].concat();
    }
    let mut found = BTreeMap::new();
    let mut list = vec![0; ATTRIBUTE_LIMIT_BYTES];
    let length = match rustix::fs::llistxattr(path.as_slice(), &mut list) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let names = list.get(..length).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty());
    for attribute in names {
        let mut value = vec![0; ATTRIBUTE_LIMIT_BYTES];
        let length = rustix::fs::lgetxattr(path.as_slice(), attribute, &mut value)?;
        value.truncate(length);
        found.insert(attribute.to_vec(), value);
    }
    Ok(found)
}
