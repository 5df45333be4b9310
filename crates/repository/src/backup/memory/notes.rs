//! What a running backup notes for the next one.

use std::sync::Mutex;

use format::{BlobKind, Node, NodeKind};
use model::Id;

use super::circumstances::TIMES;
use crate::backup::facts::Facts;
use crate::backup::parent::SETTLE_SECONDS;
use crate::index::Index;
use crate::threads;

/// Folders that are remembered at the most: about 130 MB while a first backup runs. The rest take the long way.
const FOLDERS_MAX: usize = 1 << 20;

/// New chunks that are remembered at the most: 32 MiB. A first backup of more leaves no memory, the one after it does.
const CHUNKS_MAX: usize = 1 << 20;

/// A folder that this backup made into a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) listing: Id,
    pub(super) fingerprint: Id,
    pub(super) subfolders: Vec<Id>,
}

/// Everything that was noted.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) folders: Vec<Noted>,
    /// Chunks of these folders that the index did not have when the backup began.
    pub(super) new_chunks: Vec<Id>,
}

/// The notes that all workers share.
pub(super) struct Notes {
    began: i64,
    collected: Mutex<Collected>,
}

impl Notes {
    pub(super) fn new(began: i64) -> Self {
        Self { began, collected: Mutex::default() }
    }

    /// Notes a folder, unless one of its entries has not settled.
    pub(super) fn folder(&self, index: &Index, listing: Id, nodes: &[Node]) {
        if !nodes.iter().all(|node| self.has_settled(node)) {
            return;
        }
        let entries = nodes.iter().map(|node| (node.name.as_slice(), Facts::of_node(node)));
        let fingerprint = super::fingerprint(entries, &mut Vec::new());
        let folders = nodes.iter().filter(|node| node.kind == NodeKind::Dir);
        let subfolders: Vec<Id> = folders.clone().filter_map(|node| node.subtree).collect();
        if subfolders.len() != folders.count() {
            return;
        }
        let chunks = nodes.iter().flat_map(|node| node.content.iter().flatten());
        let new: Vec<Id> = chunks.filter(|id| !index.contains(BlobKind::Data, id)).copied().collect();
        let mut collected = threads::lock(&self.collected);
        if collected.folders.len() < FOLDERS_MAX && collected.new_chunks.len() <= CHUNKS_MAX {
            collected.new_chunks.extend(new);
            collected.folders.push(Noted { listing, fingerprint, subfolders });
        }
    }

    /// Notes a folder whose chunks all lie in the index.
    pub(super) fn add(&self, listing: Id, fingerprint: Id, subfolders: Vec<Id>) {
        let mut collected = threads::lock(&self.collected);
        if collected.folders.len() < FOLDERS_MAX {
            collected.folders.push(Noted { listing, fingerprint, subfolders });
        }
    }

    /// True when nothing happened to the entry from shortly before this backup on, and its times are such that the
    /// offsets are known to the circumstances.
    fn has_settled(&self, node: &Node) -> bool {
        node.ctime.seconds < self.began - SETTLE_SECONDS
            && TIMES.contains(&node.ctime.seconds)
            && TIMES.contains(&node.mtime.seconds)
    }

    /// Everything, or nothing when it would be too much.
    pub(super) fn finish(&self) -> Option<Collected> {
        let mut collected = std::mem::take(&mut *threads::lock(&self.collected));
        collected.new_chunks.sort_unstable();
        collected.new_chunks.dedup();
        (collected.new_chunks.len() <= CHUNKS_MAX).then_some(collected)
    }
}
