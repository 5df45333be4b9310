//! Bringing copies up to date: what one copy lacks and another has is fetched, checked, and written, packs first,
//! then indexes, then snapshots.
//!
//! Syncing only adds. Files that one copy has and the others have lost, or have had removed, come back everywhere:
//! with copies that disagree, keeping is the answer that cannot lose anything.

use std::collections::BTreeSet;

use format::{FileKind, FileName};
use model::{Id, Verdict};

use super::fan_out::{CopyOutcome, FanOut};
use super::status::Holdings;
use crate::error::Result;
use crate::locks::LockMode;
use crate::observer::Event;
use crate::repository::{Indexed, Repository};

/// What syncing did.
#[derive(Debug)]
pub struct SyncReport {
    /// How each copy came out, lost ones too.
    pub copies: Vec<CopyOutcome>,
    /// Worst of these.
    pub verdict: Verdict,
    /// Files that were missing on some copy.
    pub missing_files: u64,
    /// Key files that not every copy has. They are left alone: adding one could bring a removed password back.
    pub keys_differ: bool,
}

/// Brings every live copy up to date with the union of all.
pub fn sync(repository: &Repository) -> Result<SyncReport> {
    let guard = repository.lock(LockMode::Adding)?;
    let copies = repository.copies();
    let keys_differ = !Holdings::gather(copies, FileKind::Key)?.agree();
    let indexed = repository.indexed()?;
    let packs = Holdings::gather(copies, FileKind::Pack)?;
    let snapshots = Holdings::gather(copies, FileKind::Snapshot)?;
    let fan_out = FanOut::start(copies, repository.cancel(), guard.fence())?;
    let mut missing_files = 0;
    for (number, copy) in copies.live() {
        let lacks_pack = |id: &&Id| packs.files.get(*id).is_some_and(|held| held.copies & (1 << number) == 0);
        let lacking = Lacking {
            // Packs that no index mentions are left-overs of broken runs, not worth a transfer.
            packs: indexed.index.packs().iter().filter(lacks_pack).copied().collect(),
            indexes: indexed.index_holdings.missing(number).map(|(id, _)| id).collect(),
            snapshots: snapshots.missing(number).map(|(id, _)| id).collect(),
        };
        missing_files += lacking.count();
        if lacking.count() > 0 {
            repository.observer().event(Event::CatchingUp { copy: copy.place().to_owned(), files: lacking.count() });
        }
        let held_by = Sources { packs: Some(&packs), indexes: &indexed.index_holdings, snapshots: &snapshots };
        lacking.hand_over(&fan_out, number, &held_by);
    }
    repository.observer().progress().found(missing_files, 0);
    let outcomes = fan_out.finish();
    repository.cancel().check()?;
    repository.observer().progress().done(missing_files, 0);
    let verdict = Verdict::worst(outcomes.iter().map(|outcome| outcome.verdict).map(as_part));
    Ok(SyncReport { copies: outcomes, verdict, missing_files, keys_differ })
}

/// One failed copy makes the whole partial; that all failed is an error long before.
pub(crate) fn as_part(verdict: Verdict) -> Verdict {
    if verdict == Verdict::Failed { Verdict::Partial } else { verdict }
}

/// What one copy lacks, in write order.
#[derive(Debug, Default)]
pub(crate) struct Lacking {
    pub(crate) packs: BTreeSet<Id>,
    pub(crate) indexes: Vec<Id>,
    pub(crate) snapshots: Vec<Id>,
}

/// Who has the files that somebody lacks.
pub(crate) struct Sources<'a> {
    /// Without a listing of packs, every other copy may have them.
    pub(crate) packs: Option<&'a Holdings>,
    pub(crate) indexes: &'a Holdings,
    pub(crate) snapshots: &'a Holdings,
}

impl Lacking {
    pub(crate) fn count(&self) -> u64 {
        (self.packs.len() + self.indexes.len() + self.snapshots.len()) as u64
    }

    /// Puts everything into the copy's queue, to be fetched from those who have it.
    pub(crate) fn hand_over(&self, fan_out: &FanOut<'_>, number: usize, sources: &Sources<'_>) {
        let held = |holdings: &Holdings, id: &Id| holdings.files.get(id).map_or(0, |held| held.copies);
        let everyone_else = !(1u64 << number);
        for id in &self.packs {
            let copies = sources.packs.map_or(everyone_else, |packs| held(packs, id));
            fan_out.fetch(number, FileName::pack(*id), copies);
        }
        for id in &self.indexes {
            fan_out.fetch(number, FileName::new(FileKind::Index, *id), held(sources.indexes, id));
        }
        for id in &self.snapshots {
            fan_out.fetch(number, FileName::new(FileKind::Snapshot, *id), held(sources.snapshots, id));
        }
    }
}

/// Before a backup: what each live copy lacks of the union, found without listing packs where nothing is missing.
pub(crate) fn lacking_before_backup(indexed: &Indexed<'_>, snapshots: &Holdings) -> Result<Vec<(usize, Lacking)>> {
    let copies = indexed.repository.copies();
    let mut behind = Vec::new();
    for (number, _) in copies.live() {
        let indexes: Vec<Id> = indexed.index_holdings.missing(number).map(|(id, _)| id).collect();
        let snapshots: Vec<Id> = snapshots.missing(number).map(|(id, _)| id).collect();
        if indexes.is_empty() && snapshots.is_empty() {
            continue;
        }
        let listed = indexes.iter().filter_map(|id| indexed.packs_of_missing.get(id)).flatten().copied();
        behind.push((number, Lacking { packs: listed.collect(), indexes, snapshots }));
    }
    if behind.iter().any(|(_, lacking)| !lacking.packs.is_empty()) {
        let packs = Holdings::gather(copies, FileKind::Pack)?;
        for (number, lacking) in &mut behind {
            let has = |id: &Id| packs.files.get(id).is_some_and(|held| held.copies & (1 << *number) != 0);
            lacking.packs.retain(|id| !has(id));
        }
    }
    Ok(behind)
}
