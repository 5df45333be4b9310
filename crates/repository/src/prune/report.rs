//! What a prune is going to do, and what came of it.

use jiff::Timestamp;
use model::{Fault, Verdict};

/// Blobs and their sealed bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Amount {
    pub(super) fn add(&mut self, length: u32) {
        self.blobs += 1;
        self.bytes += u64::from(length);
    }

    pub(super) fn add_all(&mut self, other: Amount) {
        self.blobs += other.blobs;
        self.bytes += other.bytes;
    }
}

/// Packs and the bytes of their files, on one copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packs {
    /// How many.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Packs {
    pub(super) fn add(&mut self, bytes: u64) {
        self.packs += 1;
        self.bytes += bytes;
    }
}

/// What is going to happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Snapshots that were followed.
    pub snapshots: u64,
    /// What they need.
    pub used: Amount,
    /// Further places of the same.
    pub duplicate: Amount,
    /// What nobody needs, in packs of the index.
    pub unused: Amount,
    /// Packs that no index knows, which broken runs leave.
    pub unindexed: Packs,
    /// Packs whose needed content is written anew.
    pub repack: Packs,
    /// What is written anew.
    pub rewritten: Amount,
    /// What is not, of the same packs.
    pub repack_removes: Amount,
    /// Packs that are marked now: they leave the index, and stay for the grace period.
    pub mark: Packs,
    /// Packs that were marked, and that somebody needs again.
    pub take_back: Packs,
    /// Packs that were marked long enough ago: they are deleted.
    pub sweep: Packs,
    /// Packs that stay marked.
    pub wait: Packs,
    /// When the first of these can be deleted.
    pub wait_until: Option<Timestamp>,
    /// Marks from the future, of a clock that was or is wrong: they are waited for.
    pub future_marks: u64,
    /// Packs of the index that are on no copy, and that nobody needs.
    pub vanished: u64,
    /// Packs that only append-only copies hold, and that nobody needs.
    pub left: Packs,
    /// Bytes of blobs in the index afterwards.
    pub remaining_bytes: u64,
    /// Of these, what nobody needs.
    pub unused_after_bytes: u64,
    /// Index files that are there.
    pub index_files: u64,
    /// Index files that are written anew.
    pub index_files_rewritten: u64,
}

impl Plan {
    /// True when nothing is to be done.
    pub fn is_empty(&self) -> bool {
        let any = [self.repack, self.mark, self.take_back, self.sweep].iter().any(|packs| packs.packs > 0);
        !any && self.index_files_rewritten == 0
    }

    /// The share of what nobody needs in what remains, of a hundred.
    pub fn unused_after_percent(&self) -> f64 {
        if self.remaining_bytes == 0 {
            return 0.0;
        }
        self.unused_after_bytes as f64 * 100.0 / self.remaining_bytes as f64
    }
}

/// How one copy came out.
#[derive(Debug, Clone)]
pub struct CopyPruned {
    /// The place, without secrets.
    pub copy: String,
    /// `ok`, or `failed`: not all was done here.
    pub verdict: Verdict,
    /// Why the copy was given up.
    pub fault: Option<Fault>,
    /// Files written, and their bytes.
    pub files_written: u64,
    /// Bytes of these.
    pub bytes_written: u64,
    /// Files removed.
    pub files_removed: u64,
    /// Bytes of the packs among them.
    pub bytes_removed: u64,
    /// Files that the place does not let us remove: it is append-only, and holds more than it needs to.
    pub files_kept: u64,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct PruneReport {
    /// What was planned.
    pub plan: Plan,
    /// How each copy came out.
    pub copies: Vec<CopyPruned>,
    /// Worst of all.
    pub verdict: Verdict,
}
