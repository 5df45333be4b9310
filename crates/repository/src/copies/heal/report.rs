//! What a healing did.

use std::path::PathBuf;

use format::FileName;
use model::{Fault, Id, Verdict};

use super::plan::{HealPlan, LostFile};
use crate::check::Affected;

/// The outcome of a healing.
#[derive(Debug, Clone, Default)]
pub struct HealReport {
    /// One for each copy, in the order in which they were named.
    pub copies: Vec<HealedCopy>,
    /// Files that no copy has sound.
    pub lost: Vec<LostFile>,
    /// Snapshots that no copy can give back in full.
    pub affected_snapshots: Vec<Id>,
    /// Paths in these, as far as named.
    pub affected: Vec<Affected>,
    /// True when there are more affected paths than are named.
    pub affected_left_out: bool,
    /// Key files that were left alone.
    pub keys_left: Vec<FileName>,
    /// Snapshots that were forgotten on purpose and that some copies still have.
    pub forgotten: Vec<FileName>,
    /// Left-over packs that not every copy has.
    pub surplus: Vec<FileName>,
    /// Where wrong bytes were put, when there were any.
    pub aside: Option<PathBuf>,
    /// Bytes that were read to find out what is wrong.
    pub bytes_read: u64,
}

/// How one copy came out.
#[derive(Debug, Clone, Default)]
pub struct HealedCopy {
    /// The place, without secrets.
    pub copy: String,
    /// Files that were wrong and are right now.
    pub replaced: u64,
    /// Files that were missing and are there now.
    pub brought: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Files that were right when they were looked at again.
    pub sound_again: u64,
    /// Files that are still wrong, and why.
    pub not_healed: Vec<(FileName, String)>,
    /// Wrong bytes that were replaced and that this machine did not keep, and why.
    pub not_kept: Vec<(FileName, String)>,
    /// Why the copy was given up.
    pub fault: Option<Fault>,
}

impl HealedCopy {
    /// `ok`, or `partial`: something is still wrong or unknown.
    pub fn verdict(&self) -> Verdict {
        if self.fault.is_some() || !self.not_healed.is_empty() { Verdict::Partial } else { Verdict::Ok }
    }
}

impl HealReport {
    pub(super) fn of(plan: &HealPlan, places: &[String]) -> Self {
        let copies = places.iter().map(|place| HealedCopy { copy: place.clone(), ..HealedCopy::default() }).collect();
        Self {
            copies,
            lost: plan.lost.clone(),
            keys_left: plan.keys_left.clone(),
            forgotten: plan.forgotten.clone(),
            surplus: plan.surplus.clone(),
            ..Self::default()
        }
    }

    /// `failed` where something that matters is lost on all copies, `partial` where a copy is not healed, `warning`
    /// where keys differ.
    pub fn verdict(&self) -> Verdict {
        let lost = self.lost.iter().any(|lost| lost.is_needed) || !self.affected_snapshots.is_empty();
        let own = if lost {
            Verdict::Failed
        } else if self.keys_left.is_empty() {
            Verdict::Ok
        } else {
            Verdict::Warning
        };
        Verdict::worst(self.copies.iter().map(HealedCopy::verdict).chain([own]))
    }

    /// Files that were written.
    pub fn files(&self) -> u64 {
        self.copies.iter().map(|copy| copy.replaced + copy.brought).sum()
    }
}
