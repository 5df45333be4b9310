//! One entry of a folder.
//!
//! Field for field what restic records. Names, link targets and attribute names are bytes, as Unix has them; how they
//! become JSON is `node_json`'s business.

use model::Id;
use serde_json::{Map, Value};

use crate::moment::NodeTime;

/// What an entry is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKind {
    /// A regular file.
    #[default]
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A block device.
    Device,
    /// A character device.
    CharDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// Something that only another system has.
    Irregular,
}

impl NodeKind {
    /// Every kind.
    pub const ALL: [NodeKind; 8] = [
        NodeKind::File,
        NodeKind::Dir,
        NodeKind::Symlink,
        NodeKind::Device,
        NodeKind::CharDevice,
        NodeKind::Fifo,
        NodeKind::Socket,
        NodeKind::Irregular,
    ];

    /// restic's word.
    pub const fn word(self) -> &'static str {
        match self {
            NodeKind::File => "file",
            NodeKind::Dir => "dir",
            NodeKind::Symlink => "symlink",
            NodeKind::Device => "dev",
            NodeKind::CharDevice => "chardev",
            NodeKind::Fifo => "fifo",
            NodeKind::Socket => "socket",
            NodeKind::Irregular => "irregular",
        }
    }

    /// The kind's bits in Go's `FileMode`.
    pub(crate) const fn go_mode_bits(self) -> u32 {
        match self {
            NodeKind::File => 0,
            NodeKind::Dir => 1 << 31,
            NodeKind::Symlink => 1 << 27,
            NodeKind::Device => 1 << 26,
            NodeKind::CharDevice => 1 << 26 | 1 << 21,
            NodeKind::Fifo => 1 << 25,
            NodeKind::Socket => 1 << 24,
            NodeKind::Irregular => 1 << 19,
        }
    }
}

/// Unix's bits above the permissions, and where Go's `FileMode` has them.
const SPECIAL_BITS: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

/// Go's `FileMode` of a kind and of Unix's `st_mode & 0o7777`.
pub(crate) fn go_mode(kind: NodeKind, mode: u32) -> u32 {
    let special = SPECIAL_BITS.iter().filter(|(unix, _)| mode & unix != 0).fold(0, |sum, (_, go)| sum | go);
    kind.go_mode_bits() | special | mode & 0o777
}

/// Unix's `st_mode & 0o7777` of a Go `FileMode`.
pub(crate) fn unix_mode(go: u32) -> u32 {
    let special = SPECIAL_BITS.iter().filter(|(_, bit)| go & bit != 0).fold(0, |sum, (unix, _)| sum | unix);
    special | go & 0o777
}

/// An entry of a folder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Its name: one path component.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// Permissions, set-uid, set-gid and sticky: `st_mode & 0o7777`.
    pub mode: u32,
    /// Bits in which the recorded mode differs from what kind and mode make; zero but for odd writers.
    pub mode_difference: u32,
    /// Last change of the contents.
    pub mtime: NodeTime,
    /// Last reading; restic records the mtime here unless told otherwise.
    pub atime: NodeTime,
    /// Last change of contents or metadata.
    pub ctime: NodeTime,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The owner's name, where there is one.
    pub user: String,
    /// The group's name, where there is one.
    pub group: String,
    /// The number by which the file system knows it.
    pub inode: u64,
    /// The file system; restic records it only for files with several names.
    pub device_id: u64,
    /// Bytes; files only.
    pub size: u64,
    /// How many names it has; not for folders, pipes and sockets.
    pub links: u64,
    /// Where a symbolic link points.
    pub link_target: Option<Vec<u8>>,
    /// `st_rdev` of a device.
    pub device: u64,
    /// A file's chunks: an empty list for an empty file, none for everything that is not a file.
    pub content: Option<Vec<Id>>,
    /// A folder's listing.
    pub subtree: Option<Id>,
    /// Extended attributes, ACLs among them, in the order in which the system lists them.
    pub extended_attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// What only another system has.
    pub generic_attributes: Map<String, Value>,
    /// What went wrong when it was read; restic no longer writes this.
    pub error: String,
    /// Fields of other versions.
    pub other: Map<String, Value>,
}

impl Node {
    /// An entry with nothing but a name and a kind; the rest is the caller's to fill.
    pub fn new(name: impl Into<Vec<u8>>, kind: NodeKind) -> Self {
        let content = (kind == NodeKind::File).then(Vec::new);
        Self { name: name.into(), kind, content, ..Self::default() }
    }

    /// True when the name is one component that stays in its folder: not empty, not `.` or `..`, without `/` and NUL.
    pub fn child_name_is_safe(&self) -> bool {
        is_safe_child_name(&self.name)
    }

    /// The name for showing it to people.
    pub fn display_name(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }
}

/// True for a name that stays in its folder: not empty, not `.` or `..`, without `/` and NUL.
pub fn is_safe_child_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}
