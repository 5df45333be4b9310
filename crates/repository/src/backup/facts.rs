//! What the system says of an entry, as far as a listing records it.
//!
//! [`Facts`] is the one place that decides which of the system's fields a node holds: nodes are made of facts, and the
//! fingerprint of a folder ([`super::memory`]) is made of the facts of its entries. So a folder whose facts are as they
//! were has the nodes that it had, but for what stands behind the facts: content, link targets, extended attributes.
//! These cannot change without a new ctime.

use format::{Node, NodeKind};
use rustix::fs::{FileType, Stat};

use super::metadata::Stamp;

/// Bytes of one entry's facts in a fingerprint, without its name.
const ENCODED_BYTES: usize = 4 + 1 + 3 * 4 + 5 * 8 + 2 * 12;

/// The fields of an entry that its node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) kind: NodeKind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Bytes; files only.
    pub(super) size: u64,
    /// Names; not for folders, and for pipes and sockets only when there are several.
    pub(super) links: u64,
    pub(super) inode: u64,
    /// The file system on which it lies.
    pub(super) device_id: u64,
    /// What a device node stands for.
    pub(super) device: u64,
    pub(super) mtime: (i64, u32),
    pub(super) ctime: (i64, u32),
}

impl Facts {
    /// Of nothing that was looked at.
    pub(super) const NONE: Self = Self {
        kind: NodeKind::Irregular,
        mode: 0,
        uid: 0,
        gid: 0,
        size: 0,
        links: 0,
        inode: 0,
        device_id: 0,
        device: 0,
        mtime: (0, 0),
        ctime: (0, 0),
    };

    /// Of what the system says. None for kinds that do not exist on this system.
    pub(super) fn of_stat(stat: &Stat) -> Option<Self> {
        let kind = kind_of(stat)?;
        // restic leaves the count out for pipes and sockets; one with a second name needs it to get that name back.
        let has_links = match kind {
            NodeKind::Dir => false,
            NodeKind::Fifo | NodeKind::Socket => stat.st_nlink > 1,
            _ => true,
        };
        let has_device = matches!(kind, NodeKind::Device | NodeKind::CharDevice);
        let stamp = Stamp::of(stat);
        Some(Self {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: if kind == NodeKind::File { stamp.size } else { 0 },
            links: if has_links { stat.st_nlink } else { 0 },
            inode: stat.st_ino,
            device_id: stat.st_dev,
            device: if has_device { stat.st_rdev } else { 0 },
            mtime: stamp.mtime,
            ctime: stamp.ctime,
        })
    }

    /// Of what a listing says.
    pub(super) fn of_node(node: &Node) -> Self {
        Self {
            kind: node.kind,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            size: node.size,
            links: node.links,
            inode: node.inode,
            device_id: node.device_id,
            device: node.device,
            mtime: (node.mtime.seconds, node.mtime.nanoseconds),
            ctime: (node.ctime.seconds, node.ctime.nanoseconds),
        }
    }

    /// What tells whether a file was written to.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp { size: self.size, mtime: self.mtime, ctime: self.ctime, inode: self.inode }
    }

    /// Appends the name and every fact, so that no two lists of entries have the same bytes.
    pub(super) fn append_to(&self, name: &[u8], out: &mut Vec<u8>) {
        out.reserve(ENCODED_BYTES + name.len());
        // Names have 255 bytes at the most where they come from a folder.
        out.extend_from_slice(&(name.len() as u32).to_le_bytes());
        out.extend_from_slice(name);
        out.push(self.kind as u8);
        for number in [self.mode, self.uid, self.gid] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.size, self.links, self.inode, self.device_id, self.device] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for (seconds, nanoseconds) in [self.mtime, self.ctime] {
            out.extend_from_slice(&seconds.to_le_bytes());
            out.extend_from_slice(&nanoseconds.to_le_bytes());
        }
    }
}

fn kind_of(stat: &Stat) -> Option<NodeKind> {
    Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => NodeKind::File,
        FileType::Directory => NodeKind::Dir,
        FileType::Symlink => NodeKind::Symlink,
        FileType::BlockDevice => NodeKind::Device,
        FileType::CharacterDevice => NodeKind::CharDevice,
        FileType::Fifo => NodeKind::Fifo,
        FileType::Socket => NodeKind::Socket,
        FileType::Unknown => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_fact_and_each_border_between_names_shows_in_the_bytes() {
        let stat = rustix::fs::stat(".").unwrap();
        let facts = Facts::of_stat(&stat).unwrap();
        let bytes = |name: &[u8], facts: &Facts| {
            let mut out = Vec::new();
            facts.append_to(name, &mut out);
            out
        };
        let plain = bytes(b"name", &facts);
        assert_eq!(plain.len(), ENCODED_BYTES + 4);
        let changes: [fn(&mut Facts); 13] = [
            |facts| facts.kind = NodeKind::Socket,
            |facts| facts.mode ^= 0o4000,
            |facts| facts.uid ^= 1,
            |facts| facts.gid ^= 1,
            |facts| facts.size ^= 1 << 40,
            |facts| facts.links ^= 1,
            |facts| facts.inode ^= 1 << 63,
            |facts| facts.device_id ^= 1,
            |facts| facts.device ^= 1,
            |facts| facts.mtime.0 ^= 1,
            |facts| facts.mtime.1 ^= 1,
            |facts| facts.ctime.0 ^= 1,
            |facts| facts.ctime.1 ^= 1,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = facts;
            change(&mut changed);
            assert_ne!(bytes(b"name", &changed), plain, "change {number}");
            assert_ne!(changed, facts, "change {number}");
        }
        assert_ne!(bytes(b"nam", &facts), plain);
    }

    #[test]
    fn a_node_tells_the_facts_that_it_was_made_of() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        std::fs::hard_link(path("file"), path("second")).unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), FileType::Fifo, mode, 0).unwrap();
        let metadata = super::super::metadata::Metadata::new(jiff::tz::TimeZone::UTC, false);
        for name in ["file", "link", "pipe", "."] {
            let stat = rustix::fs::lstat(path(name)).unwrap();
            let node = metadata.node(name.as_bytes(), &stat).unwrap();
            assert_eq!(Some(Facts::of_node(&node)), Facts::of_stat(&stat), "{name}");
        }
    }
}
