//! Where browsing gets its blobs from: the repository, or a table in a test.

use format::{BlobKind, Tree};
use model::Id;

use crate::error::Result;
use crate::observer::Cancel;
use crate::repository::Indexed;

/// What looking at snapshots needs of a repository. Called from several threads at once.
pub(crate) trait Source: Sync {
    /// A folder's listing, checked against its id.
    fn tree(&self, id: &Id) -> Result<Tree>;

    /// A chunk of a file, checked against its id.
    fn data(&self, id: &Id) -> Result<Vec<u8>>;

    /// How long a blob is; none when no index has it.
    fn lengths(&self, kind: BlobKind, id: &Id) -> Option<Lengths>;

    /// The flag that stops the operation.
    fn cancel(&self) -> &Cancel;
}

/// Lengths of one blob in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lengths {
    /// As it lies in its pack.
    pub(crate) sealed: u64,
    /// Its plain text.
    pub(crate) plain: u64,
    /// Whether it is stored compressed.
    pub(crate) is_compressed: bool,
}

impl Source for Indexed<'_> {
    fn tree(&self, id: &Id) -> Result<Tree> {
        Indexed::tree(self, id)
    }

    fn data(&self, id: &Id) -> Result<Vec<u8>> {
        self.blob(BlobKind::Data, id)
    }

    fn lengths(&self, kind: BlobKind, id: &Id) -> Option<Lengths> {
        let location = self.index.get(kind, id)?;
        Some(Lengths {
            sealed: location.length.into(),
            plain: location.plain_length().into(),
            is_compressed: location.uncompressed_length.is_some(),
        })
    }

    fn cancel(&self) -> &Cancel {
        self.repository.cancel()
    }
}

#[cfg(test)]
pub(crate) mod table {
    //! A source that holds what a test puts into it.

    use std::collections::HashMap;
    use std::sync::Mutex;

    use format::{Node, NodeKind};

    use super::*;
    use crate::error::Error;
    use crate::threads::lock;

    #[derive(Default)]
    pub(crate) struct Table {
        pub(crate) trees: Mutex<HashMap<Id, Tree>>,
        pub(crate) data: Mutex<HashMap<Id, Vec<u8>>>,
        pub(crate) cancel: Cancel,
    }

    impl Table {
        /// Stores a folder of these entries.
        pub(crate) fn folder(&self, mut nodes: Vec<Node>) -> Id {
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
            let tree = Tree { nodes };
            let id = tree.id();
            lock(&self.trees).insert(id, tree);
            id
        }

        /// A file with this content, in one chunk for each 4 bytes.
        pub(crate) fn file(&self, name: &str, content: &[u8]) -> Node {
            let mut node = Node::new(name, NodeKind::File);
            let chunks = content.chunks(4).map(|chunk| {
                let id = format::hash(chunk);
                lock(&self.data).insert(id, chunk.to_vec());
                id
            });
            node.content = Some(chunks.collect());
            node.size = content.len() as u64;
            node.links = 1;
            node.mode = 0o644;
            node
        }

        /// An entry for a folder.
        pub(crate) fn dir(name: &str, subtree: Id) -> Node {
            let mut node = Node::new(name, NodeKind::Dir);
            node.subtree = Some(subtree);
            node.mode = 0o755;
            node
        }
    }

    impl Source for Table {
        fn tree(&self, id: &Id) -> Result<Tree> {
            lock(&self.trees).get(id).cloned().ok_or(Error::BlobUnknown { kind: "tree", id: *id })
        }

        fn data(&self, id: &Id) -> Result<Vec<u8>> {
            lock(&self.data).get(id).cloned().ok_or(Error::BlobUnknown { kind: "data", id: *id })
        }

        fn lengths(&self, kind: BlobKind, id: &Id) -> Option<Lengths> {
            let plain = match kind {
                BlobKind::Data => lock(&self.data).get(id)?.len() as u64,
                BlobKind::Tree => lock(&self.trees).get(id)?.to_bytes().len() as u64,
            };
            Some(Lengths { sealed: plain + 32, plain, is_compressed: false })
        }

        fn cancel(&self) -> &Cancel {
            &self.cancel
        }
    }
}
