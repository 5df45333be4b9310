//! What is restored in one go: a bounded number of entries, in the order of the walk.
//!
//! A restore of any size is a sequence of batches, so that memory is bounded by these limits and not by the
//! snapshot. Only names of files with several names outlive their batch, until all of them were seen.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use format::Node;

use super::folder::Folder;

/// Entries in a batch.
const BATCH_ENTRIES_MAX: usize = 8192;

/// Chunks of all files in a batch; a single file may have more.
const BATCH_CHUNKS_MAX: usize = 65_536;

/// An entry that is no folder.
#[derive(Debug)]
pub(super) struct Entry {
    /// The folder that it lies in.
    pub(super) folder: Arc<Folder>,
    /// What the snapshot says about it.
    pub(super) node: Node,
    /// Set when this is the first of several names of one file: what became of it.
    pub(super) first: Option<Arc<FirstName>>,
}

impl Entry {
    /// Its path, counted from the target.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path_of(&self.node.name)
    }
}

/// A further name of a file that another entry restores.
#[derive(Debug)]
pub(super) struct FurtherName {
    /// The entry, as the snapshot has it.
    pub(super) entry: Entry,
    /// The name that came first.
    pub(super) first: Arc<FirstName>,
}

/// A folder in which everything was put that belongs there.
#[derive(Debug)]
pub(super) struct Finished {
    /// The folder.
    pub(super) folder: Arc<Folder>,
    /// Its metadata; none for the target itself.
    pub(super) node: Option<Node>,
    /// With `delete`: the names that the snapshot has in it. Whatever else is there goes.
    pub(super) names: Option<Vec<Vec<u8>>>,
}

/// Entries to be restored together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Files, links, devices, pipes.
    pub(super) entries: Vec<Entry>,
    /// Further names, made once the entries are there.
    pub(super) further: Vec<FurtherName>,
    /// Folders that are complete after this batch, inner ones first.
    pub(super) finished: Vec<Finished>,
    chunks: usize,
}

impl Batch {
    pub(super) fn push(&mut self, entry: Entry) {
        self.chunks += entry.node.content.as_ref().map_or(0, Vec::len);
        self.entries.push(entry);
    }

    /// True when it should be worked on before it grows.
    pub(super) fn is_full(&self) -> bool {
        let held = self.entries.len() + self.further.len() + self.finished.len();
        held >= BATCH_ENTRIES_MAX || self.chunks >= BATCH_CHUNKS_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.further.is_empty() && self.finished.is_empty()
    }
}

/// The first of several names of one file.
#[derive(Debug)]
pub(super) struct FirstName {
    /// The folder that it lies in.
    pub(super) folder: Arc<Folder>,
    /// The name.
    pub(super) name: Vec<u8>,
    fate: AtomicU8,
}

/// What became of a first name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is there: link to it.
    Restored,
    /// Something else stands there and was left alone.
    Kept,
    /// It could not be restored.
    Failed,
}

impl FirstName {
    pub(super) fn new(folder: Arc<Folder>, name: Vec<u8>) -> Self {
        Self { folder, name, fate: AtomicU8::new(2) }
    }

    pub(super) fn set(&self, fate: Fate) {
        let number = match fate {
            Fate::Restored => 0,
            Fate::Kept => 1,
            Fate::Failed => 2,
        };
        self.fate.store(number, Ordering::Release);
    }

    /// Until something good is said, it failed.
    pub(super) fn fate(&self) -> Fate {
        match self.fate.load(Ordering::Acquire) {
            0 => Fate::Restored,
            1 => Fate::Kept,
            _ => Fate::Failed,
        }
    }
}
