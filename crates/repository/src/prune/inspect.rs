//! The look before the leap: locks, listings of every copy, every snapshot, every index file, and the reasons for going
//! no further.
//!
//! Who removes must believe only what was seen completely. A copy that is away, a snapshot that only some copies have, a
//! listing that lost many files since this machine looked last, a snapshot that nobody can read: each of them may be the
//! one that still needs something.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use format::{FileKind, FileName, IndexFile};
use model::Id;

use super::ledger::{Ledger, LedgerBuilder};
use super::request::PruneRequest;
use super::used::Root;
use crate::copies::Holders;
use crate::copies::status::{Held, Holdings};
use crate::error::{Error, Result};
use crate::index::load;
use crate::locks::{Guard, LockMode};
use crate::repository::Repository;
use crate::threads;

/// What was found.
pub(super) struct Scene {
    pub(super) guard: Guard,
    pub(super) roots: Vec<Root>,
    pub(super) snapshots: Holdings,
    pub(super) indexes: Holdings,
    pub(super) packs: Holdings,
    /// Copies from which nothing is removed, as bits: they still have snapshots that were forgotten.
    pub(super) hands_off: u64,
}

/// Locks the repository and lists everything.
pub(super) fn look(repository: &Repository, request: &PruneRequest) -> Result<Scene> {
    if repository.surroundings().no_lock && !request.dry_run {
        let why = "nothing is pruned without locks: somebody may be adding what is going to be removed".to_owned();
        return Err(Error::Refused { why, hint: "leave --no-lock out, or look with --dry-run".to_owned() });
    }
    // A look at the plan disturbs nobody.
    let mode = if request.dry_run { LockMode::Reading } else { LockMode::Exclusive };
    let (guard, snapshots) = repository.lock_and_list(mode, FileKind::Snapshot)?;
    // In this order: whatever a listed snapshot needs was written before it, and is in what is listed behind it.
    let indexes = Holdings::gather(repository.copies(), FileKind::Index)?;
    let packs = Holdings::gather(repository.copies(), FileKind::Pack)?;
    refuse_lost_copies(repository)?;
    for holdings in [&snapshots, &indexes, &packs] {
        refuse_shrunk(repository, holdings, request)?;
    }
    let mut needed = snapshots.clone();
    let hands_off = take_leftovers(repository, &mut needed);
    refuse_disagreeing(repository, &needed)?;
    let listing = repository.snapshots_of(needed)?;
    if let Some(damage) = listing.troubles.first() {
        let count = listing.troubles.len();
        let why = format!("nothing is pruned while {count} snapshots cannot be read: {damage}");
        let hint = "nobody knows what they need; `triplicate copies heal` brings them back where another copy has them";
        return Err(Error::Refused { why, hint: hint.to_owned() });
    }
    let roots: Vec<Root> = listing.snapshots.iter().map(|(id, snapshot)| (*id, snapshot.tree)).collect();
    if roots.is_empty() && !(indexes.files.is_empty() && packs.files.is_empty()) {
        let why = format!("nothing is pruned: {} list no snapshot at all", repository.copies().places());
        let hint = "without a snapshot everything would be removed; if that is meant, remove the copies themselves";
        return Err(Error::Refused { why, hint: hint.to_owned() });
    }
    Ok(Scene { guard, roots, snapshots, indexes, packs, hands_off })
}

/// Every copy that was named has to answer.
pub(super) fn refuse_lost_copies(repository: &Repository) -> Result<()> {
    let Some((place, fault)) = repository.copies().first_lost() else { return Ok(()) };
    let why = format!("nothing is pruned while copy {place} cannot be used: {fault}");
    let hint = fault.hint().unwrap_or("bring it back, or name only the copies that there are");
    Err(Error::Refused { why, hint: hint.to_owned() })
}

fn refuse_shrunk(repository: &Repository, holdings: &Holdings, request: &PruneRequest) -> Result<()> {
    if request.believe_listings {
        return Ok(());
    }
    let Some(shrunk) = repository.shrunk(holdings).into_iter().next() else { return Ok(()) };
    let (folder, before, now) = (shrunk.kind.folder(), shrunk.before.files, shrunk.now.files);
    let why = format!(
        "nothing is pruned: copy {} lists {now} files in `{folder}`, and listed {before} when this machine looked last",
        shrunk.copy
    );
    let hint = "check that the copy is whole; if somebody removed them on purpose, say --believe-listings";
    Err(Error::Refused { why, hint: hint.to_owned() })
}

/// Takes snapshots out that this machine forgot and that some copies still have: because they are append-only, or because
/// the forgetting broke off. Gives these copies. They are left as they are, so that nothing there breaks; the others need
/// not keep anything for them.
fn take_leftovers(repository: &Repository, snapshots: &mut Holdings) -> u64 {
    let (intents, asked) = (repository.intents(), snapshots.asked);
    let mut holders = 0;
    snapshots.files.retain(|id, held| {
        let is_leftover = held.copies != asked && intents.contains_key(id);
        holders |= if is_leftover { held.copies } else { 0 };
        !is_leftover
    });
    holders
}

/// Every copy has every snapshot.
fn refuse_disagreeing(repository: &Repository, snapshots: &Holdings) -> Result<()> {
    let differs = snapshots.files.iter().find(|(_, held)| held.copies != snapshots.asked || held.other_size != 0);
    let Some((id, held)) = differs else { return Ok(()) };
    let lacking = snapshots.asked & !held.copies;
    let (bits, how) = if lacking == 0 { (held.other_size, "has another size of") } else { (lacking, "lacks") };
    let copy = repository.copies().place(bits.trailing_zeros() as usize);
    let why = format!("nothing is pruned while copies disagree: {copy} {how} snapshot {}", id.short());
    let hint = if lacking == 0 {
        "`triplicate copies heal` replaces what is damaged"
    } else {
        "`triplicate copies sync` brings it to every copy; a `forget` that broke off is finished by running it again"
    };
    Err(Error::Refused { why, hint: hint.to_owned() })
}

/// Reads every index file once.
pub(super) fn read_indexes(repository: &Repository, scene: &Scene) -> Result<Ledger> {
    let files: Vec<Id> = scene.indexes.files.keys().copied().collect();
    let bytes: u64 = scene.indexes.files.values().map(|held| held.size).sum();
    let progress = repository.observer().progress();
    progress.found(files.len() as u64, 0);
    let builder = Mutex::new(LedgerBuilder::for_index_bytes(bytes));
    each_index(repository, &scene.indexes, &files, |id, held, file| {
        let is_common = held.copies == scene.indexes.asked && held.other_size == 0;
        threads::lock(&builder).add(id, held.copies, is_common, file);
        progress.done(1, 0);
    })?;
    let builder = builder.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(builder.build(&scene.packs))
}

/// Reads these index files, several at a time, and shows one at a time, in any order.
pub(super) fn each_index(
    repository: &Repository,
    indexes: &Holdings,
    files: &[Id],
    show: impl Fn(Id, Held, &IndexFile) + Sync,
) -> Result<()> {
    let (next, one) = (AtomicUsize::new(0), Mutex::new(()));
    threads::run(threads::count().min(files.len()), |_| {
        while let Some(&id) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            repository.cancel().check()?;
            let name = FileName::new(FileKind::Index, id);
            let sealed = repository.copies().read_whole(name, Holders::of(indexes, &id))?;
            // The text of one file is many times as long as what is kept of it: one at a time.
            let _one = threads::lock(&one);
            let file = load::open(repository.master(), name, &sealed)?;
            show(id, indexes.files.get(&id).copied().unwrap_or_default(), &file);
        }
        Ok(())
    })
}
