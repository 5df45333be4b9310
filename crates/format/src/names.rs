//! Names of a repository's files: the only names that any destination is ever asked for.
//!
//! Source: restic design, "Repository Layout": `config`, and five folders of files named by the SHA-256 of
//! their bytes; `data/` has a level of 256 folders.

use std::fmt;

use model::Id;

/// The kinds of files in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// The one file that says which repository this is.
    Config,
    /// A master key, sealed by a password.
    Key,
    /// Sealed blobs.
    Pack,
    /// Which blobs are in which packs.
    Index,
    /// A backup.
    Snapshot,
    /// A process at work.
    Lock,
}

impl FileKind {
    /// Every kind, in the order in which a copy is written.
    pub const ALL: [FileKind; 6] =
        [FileKind::Config, FileKind::Key, FileKind::Pack, FileKind::Index, FileKind::Snapshot, FileKind::Lock];

    /// The kinds whose files are named by an id and live in a folder.
    pub const NAMED: [FileKind; 5] =
        [FileKind::Key, FileKind::Pack, FileKind::Index, FileKind::Snapshot, FileKind::Lock];

    /// The folder, and restic's word for the kind in its REST protocol; `config` for the one file.
    pub const fn folder(self) -> &'static str {
        match self {
            FileKind::Config => "config",
            FileKind::Key => "keys",
            FileKind::Pack => "data",
            FileKind::Index => "index",
            FileKind::Snapshot => "snapshots",
            FileKind::Lock => "locks",
        }
    }
}

/// The name of one file of a repository.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    kind: FileKind,
    id: Id,
}

impl FileName {
    /// The one config file.
    pub const CONFIG: FileName = FileName { kind: FileKind::Config, id: Id::from_bytes([0; 32]) };

    /// A file of `kind` named `id`; for [`FileKind::Config`] the id is ignored.
    pub fn new(kind: FileKind, id: Id) -> Self {
        if kind == FileKind::Config { Self::CONFIG } else { Self { kind, id } }
    }

    /// A pack.
    pub fn pack(id: Id) -> Self {
        Self::new(FileKind::Pack, id)
    }

    /// Its kind.
    pub fn kind(&self) -> FileKind {
        self.kind
    }

    /// Its id; none for the config file.
    pub fn id(&self) -> Option<Id> {
        (self.kind != FileKind::Config).then_some(self.id)
    }

    /// The path below the root of a copy, with `/`: `data/c3/c3ab…`, `index/…`, `config`.
    pub fn path(&self) -> String {
        let folder = self.kind.folder();
        match self.kind {
            FileKind::Config => folder.to_owned(),
            FileKind::Pack => {
                let hex = self.id.to_hex();
                format!("{folder}/{}/{hex}", &hex[..2])
            }
            _ => format!("{folder}/{}", self.id),
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}
