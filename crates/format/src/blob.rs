//! Blobs: the pieces of files and the listings of folders that packs hold.

use model::Id;

/// The two kinds of blobs; an id names a blob only together with its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlobKind {
    /// A chunk of a file.
    Data,
    /// A folder's listing.
    Tree,
}

impl BlobKind {
    /// The longest chunk that is accepted. restic's chunker ends at 8 MiB; other writers may be set higher.
    pub const DATA_BYTES_MAX: usize = 256 << 20;

    /// The longest listing that is accepted: folders of about two million entries.
    pub const TREE_BYTES_MAX: usize = 1 << 30;

    /// The longest plain text of a blob of this kind.
    pub const fn plain_bytes_max(self) -> usize {
        match self {
            BlobKind::Data => Self::DATA_BYTES_MAX,
            BlobKind::Tree => Self::TREE_BYTES_MAX,
        }
    }

    /// restic's word in index files.
    pub const fn word(self) -> &'static str {
        match self {
            BlobKind::Data => "data",
            BlobKind::Tree => "tree",
        }
    }
}

impl std::fmt::Display for BlobKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// The full name of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName {
    /// Chunk or listing.
    pub kind: BlobKind,
    /// SHA-256 of the plain text.
    pub id: Id,
}

impl std::fmt::Display for BlobName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} blob {}", self.kind, self.id)
    }
}
