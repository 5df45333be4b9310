//! What a check found out: for each copy on its own, and of the copies beside each other.

use format::FileName;
use model::{Fault, Id, Verdict};

use super::rolling::RollingCounts;
use crate::error::Damage;

/// The outcome of a check.
#[derive(Debug, Clone)]
pub struct CheckReport {
    /// One for each copy that was asked for, in the order in which the copies were named.
    pub copies: Vec<CopyReport>,
    /// What copies lack that others have; empty when all file lists are equal.
    pub lacking: Vec<Lacking>,
    /// From what a random part was drawn; the same seed on the same repository reads the same packs.
    pub seed: u64,
}

impl CheckReport {
    /// `ok`; `warning` where a copy lacks files that no snapshot of its own needs; `failed` where a copy is damaged
    /// or could not be looked at.
    pub fn verdict(&self) -> Verdict {
        let behind = if self.lacking.iter().any(|lacking| lacking.needed > 0) { Verdict::Warning } else { Verdict::Ok };
        Verdict::worst(self.copies.iter().map(CopyReport::verdict).chain([behind]))
    }

    /// All errors of all copies (restic's `num_errors`).
    pub fn errors(&self) -> u64 {
        self.copies.iter().map(CopyReport::errors).sum()
    }

    /// Ids of packs that are missing or damaged on any copy (restic's `broken_packs`), sorted.
    pub fn broken_packs(&self) -> Vec<Id> {
        let mut packs: Vec<Id> = self.copies.iter().flat_map(|copy| copy.broken_packs.iter().copied()).collect();
        packs.sort_unstable();
        packs.dedup();
        packs
    }

    /// restic's `suggest_repair_index`.
    pub fn suggest_repair_index(&self) -> bool {
        self.copies.iter().any(|copy| copy.suggest_repair_index)
    }

    /// restic's `suggest_prune`.
    pub fn suggest_prune(&self) -> bool {
        self.copies.iter().any(|copy| copy.counts.packs_unindexed > 0 || copy.counts.packs_mixed > 0)
    }
}

/// One copy, checked without help from the others.
#[derive(Debug, Clone, Default)]
pub struct CopyReport {
    /// The place, without secrets.
    pub copy: String,
    /// What is wrong with it; the first [`CopyReport::DAMAGES_MAX`].
    pub damages: Vec<Finding>,
    /// Damages beyond those that are kept.
    pub damages_left_out: u64,
    /// Things to know that harm nothing.
    pub notes: Vec<String>,
    /// Snapshots that cannot be restored in full from this copy alone, all of them.
    pub affected_snapshots: Vec<Id>,
    /// Paths in these, as far as named.
    pub affected: Vec<Affected>,
    /// True when there are more affected paths than are named.
    pub affected_left_out: bool,
    /// Packs that are missing or damaged.
    pub broken_packs: Vec<Id>,
    /// An index file is damaged, or the index and the packs do not agree.
    pub suggest_repair_index: bool,
    /// Why the copy could not be looked at, or not to the end.
    pub fault: Option<Fault>,
    /// What was seen.
    pub counts: Counts,
    /// What a rolling check did and owes.
    pub rolling: Option<RollingCounts>,
}

impl CopyReport {
    /// How many damages are kept for each copy; the rest is counted.
    pub const DAMAGES_MAX: usize = 1000;

    /// How many notes are kept for each copy.
    pub const NOTES_MAX: usize = 100;

    /// Whether this copy alone gives every snapshot back, as far as this check read.
    pub fn verdict(&self) -> Verdict {
        if self.errors() > 0 { Verdict::Failed } else { Verdict::Ok }
    }

    /// Damages, and one for a copy that could not be looked at.
    pub fn errors(&self) -> u64 {
        self.damages.len() as u64 + self.damages_left_out + u64::from(self.fault.is_some())
    }

    pub(super) fn add(&mut self, finding: Finding) {
        if self.damages.len() < Self::DAMAGES_MAX {
            self.damages.push(finding);
        } else {
            self.damages_left_out += 1;
        }
    }

    pub(super) fn note(&mut self, note: String) {
        if self.notes.len() < Self::NOTES_MAX {
            self.notes.push(note);
        }
    }
}

/// A damage and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which file of which copy, and what is wrong.
    pub damage: Damage,
    /// What the user can do.
    pub hint: &'static str,
}

/// What a check saw on one copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Key files that are sound.
    pub keys: u64,
    /// Index files that are sound.
    pub index_files: u64,
    /// Snapshots that are sound.
    pub snapshots: u64,
    /// Packs that are there.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Packs that no index names: left by an interrupted run, or waiting to be removed.
    pub packs_unindexed: u64,
    /// Bytes of these.
    pub bytes_unindexed: u64,
    /// Packs that hold both trees and data, as old programs wrote them.
    pub packs_mixed: u64,
    /// Different blobs in the index.
    pub blobs: u64,
    /// Entries for blobs that are in another pack too.
    pub blobs_duplicate: u64,
    /// Different trees that the snapshots reach.
    pub trees: u64,
    /// Packs read whole.
    pub packs_read: u64,
    /// Bytes read from packs.
    pub bytes_read: u64,
    /// Blobs decrypted, decompressed and hashed.
    pub blobs_read: u64,
}

/// A path that a copy cannot give back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// The snapshot.
    pub snapshot: Id,
    /// The path in it, with `/`; a folder stands for everything below it.
    pub path: Vec<u8>,
    /// What is lost of it.
    pub loss: Loss,
}

/// What of a path is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The folder's list of entries.
    Folder,
    /// Some of the file's blobs.
    Content {
        /// How many are lost.
        blobs: usize,
        /// How many the file has.
        of: usize,
    },
}

/// Files that one copy lacks and another has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The copy that lacks them.
    pub copy: String,
    /// How many.
    pub files: u64,
    /// Of these, how many matter: all but packs that no index of any copy names.
    pub needed: u64,
    /// The first of them.
    pub first: Vec<FileName>,
}
