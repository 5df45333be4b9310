//! Prune: removing what no snapshot needs, from every copy, in two phases and late.
//!
//! First what is needed is found out, from all copies together and only when they agree. Then what is still needed of
//! packs that are mostly not is written anew, packs that nobody needs leave the index, and the new index files mark them,
//! with the time, in a field that restic passes over (rustic's `packs_to_delete`). A later prune deletes what was marked
//! longer ago than the grace period and what still nobody needs; a pack that somebody needs again comes back into the
//! index. Packs that no index knows are marked first too: they may belong to somebody who is still writing.
//!
//! The order on all copies: new packs, new index files, a look at what is there now, then old index files go, then packs
//! whose time has come. Between any two of these steps every copy waits for the others, so that a copy that dies keeps
//! the others from removing what it lacks. At every moment each copy is whole on its own: what is removed is in no
//! index that counts. A prune that broke off is finished by the next one.
//!
//! An append-only copy keeps what it is asked to remove, and stays whole with it. A later backup or sync that reaches it
//! takes it for a copy that knows more, and brings what it kept back to the others: nothing is lost, and nothing is won.
//!
//! | room | what it is for |
//! |---|---|
//! | `inspect` | locks, listings, and the reasons to go no further |
//! | `ledger` | what index files and listings say, 32 bytes for each blob |
//! | `blobs` | reading blobs, those beside each other together |
//! | `used` | what the snapshots need, one bit for each blob |
//! | `loss` | a name for what is missing: snapshot and path |
//! | `account` | which place of a blob is kept |
//! | `plan` | what becomes of each pack |
//! | `repack`, `reindex` | new packs, new index files |
//! | `superset` | which copies let nothing be removed |
//!
//! Memory: the ledger, and while repacking two open packs for each thread and the queues of the copies. Before index files are
//! written anew, the ledger forgets its blobs.

mod account;
mod blobs;
mod inspect;
mod ledger;
mod loss;
mod plan;
mod reindex;
mod repack;
mod report;
mod request;
mod superset;
mod used;

use format::{FileKind, FileName};
use model::Verdict;

use self::account::Accounts;
use self::blobs::BlobReader;
use self::inspect::Scene;
use self::ledger::Ledger;
use self::plan::{Decision, Fate};
use crate::copies::fan_out::{CopyOutcome, FanOut};
use crate::copies::removal::{Patience, Removal, Remover};
use crate::copies::status::Holdings;
use crate::copies::warm;
use crate::error::{Error, Result};
use crate::index::press::Press;
use crate::repository::Repository;

pub use report::{Amount, CopyPruned, Packs, Plan, PruneReport};
pub use request::{GRACE_DEFAULT, MaxUnused, PruneRequest, SMALL_PACK_BYTES};

/// A prune that is planned, and that holds the repository's lock until it ends.
pub struct Pruning<'a> {
    repository: &'a Repository,
    request: PruneRequest,
    scene: Scene,
    ledger: Ledger,
    accounts: Accounts,
    decision: Decision,
}

impl std::fmt::Debug for Pruning<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pruning").field("plan", &self.decision.plan).finish_non_exhaustive()
    }
}

/// What was written, to be looked for before anything is removed.
struct Added {
    packs: Vec<(model::Id, u64)>,
    indexes: Vec<(FileName, u64)>,
    copies: Vec<CopyOutcome>,
}

/// Finds out what is to be done. Changes nothing.
pub fn prepare<'a>(repository: &'a Repository, request: &PruneRequest) -> Result<Pruning<'a>> {
    if request.repack_uncompressed && repository.config().version < 2 {
        return Err(Error::Request("a version 1 repository knows no compression".to_owned()));
    }
    let scene = inspect::look(repository, request)?;
    let ledger = inspect::read_indexes(repository, &scene)?;
    let reader = BlobReader { repository, ledger: &ledger, packs: &scene.packs };
    let used = used::find(&reader, &scene.roots)?;
    let accounts = account::account(&ledger, &used);
    let supersets = superset::known(repository) | scene.hands_off;
    let mut decision = plan::decide(repository, &ledger, &accounts, request, supersets)?;
    decision.plan.snapshots = scene.roots.len() as u64;
    inspect::refuse_lost_copies(repository)?;
    Ok(Pruning { repository, request: request.clone(), scene, ledger, accounts, decision })
}

impl Pruning<'_> {
    /// What is going to happen.
    pub fn plan(&self) -> &Plan {
        &self.decision.plan
    }

    fn reader(&self) -> BlobReader<'_> {
        BlobReader { repository: self.repository, ledger: &self.ledger, packs: &self.scene.packs }
    }

    /// Does it; nothing in a dry run. A refusal means that nothing was removed anywhere; after any other error the next
    /// prune finishes what this one began.
    pub fn run(mut self) -> Result<PruneReport> {
        if self.request.dry_run || self.decision.plan.is_empty() {
            let places = self.repository.copies().all().iter();
            let copies = places.map(|copy| untouched(copy.place())).collect();
            if !self.request.dry_run {
                self.note_listed([&self.scene.snapshots, &self.scene.indexes, &self.scene.packs]);
            }
            return Ok(PruneReport { plan: self.decision.plan, copies, verdict: Verdict::Ok });
        }
        self.warm_up()?;
        let added = self.add()?;
        let mut copies: Vec<CopyPruned> = added.copies.iter().map(written).collect();
        if copies.iter().all(|copy| copy.fault.is_none()) {
            self.look_again(&added)?;
            self.remove(&mut copies);
            self.repository.cancel().check()?;
        } else if copies.iter().all(|copy| copy.fault.is_some()) {
            return Err(self.repository.copies().none_left());
        }
        let is_whole = copies.iter().all(|copy| copy.fault.is_none());
        if !is_whole && copies.iter().all(|copy| copy.fault.is_some()) {
            return Err(self.repository.copies().none_left());
        }
        let verdict = if is_whole { Verdict::Ok } else { Verdict::Partial };
        Ok(PruneReport { plan: self.decision.plan, copies, verdict })
    }

    /// What is written anew is read before, perhaps from an archive.
    fn warm_up(&self) -> Result<()> {
        let packs = self.ledger.packs.iter().zip(&self.decision.fates);
        let needed = packs.filter(|(_, fate)| **fate == Fate::Repack).map(|(pack, _)| pack.id).collect();
        let repository = self.repository;
        warm::make_warm(repository.copies(), &needed, self.request.patience, repository.cancel())
    }

    /// New packs and new index files, on every copy.
    fn add(&mut self) -> Result<Added> {
        let copies = self.repository.copies();
        let fan_out = FanOut::start(copies, self.repository.cancel(), self.scene.guard.fence())?;
        for (pack, fate) in self.ledger.packs.iter().zip(&self.decision.fates) {
            let lacking = self.ledger.everyone & !pack.copies;
            if *fate == Fate::TakeBack && lacking != 0 {
                let numbers = (0..copies.all().len()).filter(|number| lacking & (1 << number) != 0);
                numbers.for_each(|number| fan_out.fetch(number, FileName::pack(pack.id).into(), pack.copies));
            }
        }
        let press = Press::new(self.repository, None);
        let packs = repack::run(self, &fan_out, &press)?;
        self.ledger.forget_blobs();
        reindex::run(self, &fan_out, &press)?;
        let indexes = press.finish(&fan_out)?;
        let copies = fan_out.finish();
        self.repository.cancel().check()?;
        Ok(Added { packs, indexes, copies })
    }

    /// Everything that must be there is there, on every copy, and nobody has made a snapshot meanwhile.
    fn look_again(&self, added: &Added) -> Result<()> {
        let copies = self.repository.copies();
        let snapshots = Holdings::gather(copies, FileKind::Snapshot)?;
        let indexes = Holdings::gather(copies, FileKind::Index)?;
        let packs = Holdings::gather(copies, FileKind::Pack)?;
        inspect::refuse_lost_copies(self.repository)?;
        let refused = |why: String| {
            let hint = "what was written does no harm; run `triplicate prune` again".to_owned();
            Err(Error::Refused { why: format!("nothing was removed: {why}"), hint })
        };
        if !snapshots.files.keys().eq(self.scene.snapshots.files.keys()) {
            return refused("somebody added or removed a snapshot meanwhile, in spite of the lock".to_owned());
        }
        let kept = self.ledger.packs.iter().zip(&self.decision.fates);
        let kept = kept.filter(|(_, fate)| matches!(fate, Fate::Keep | Fate::TakeBack));
        let kept = kept.map(|(pack, _)| (FileName::pack(pack.id), pack.size));
        let new = added.packs.iter().map(|(id, size)| (FileName::pack(*id), *size));
        for (name, size) in kept.chain(new).chain(added.indexes.iter().copied()) {
            let holdings = if name.kind() == FileKind::Pack { &packs } else { &indexes };
            let held = name.id().and_then(|id| holdings.files.get(&id)).copied().unwrap_or_default();
            if held.copies != holdings.asked || held.other_size != 0 || held.size != size {
                let lacking = holdings.asked & !held.copies;
                let place = copies.place(lacking.trailing_zeros() as usize);
                return refused(format!("{place} does not list `{}` as it should", name.path()));
            }
        }
        Ok(())
    }

    /// Old index files, then packs whose time has come.
    fn remove(&self, copies: &mut [CopyPruned]) {
        let fence = self.scene.guard.fence();
        let old = self.decision.rewrite.iter().filter_map(|number| self.ledger.files.get(*number));
        let old: Vec<FileName> = old.map(|file| FileName::new(FileKind::Index, file.id)).collect();
        let swept = self.ledger.packs.iter().zip(&self.decision.fates).filter(|(_, fate)| **fate == Fate::Sweep);
        let swept: Vec<FileName> = swept.map(|(pack, _)| FileName::pack(pack.id)).collect();
        self.repository.observer().progress().found((old.len() + swept.len()) as u64, 0);
        let (all, cancel) = (self.repository.copies(), self.repository.cancel());
        let remover = Remover { copies: all, cancel, fence: &fence, patience: Patience::Lot };
        let mut may_sweep = !self.scene.hands_off;
        for (number, removal) in remover.remove(!self.scene.hands_off, |_| old.clone()) {
            // A copy that keeps an old index file must keep what is in it.
            if removal.kept > 0 {
                may_sweep &= !(1 << number);
            }
            self.book(copies, number, &removal, old.len());
        }
        if copies.iter().all(|copy| copy.fault.is_none()) && !swept.is_empty() {
            for (number, removal) in remover.remove(may_sweep, |_| swept.clone()) {
                self.book(copies, number, &removal, swept.len());
            }
        }
        for (number, copy) in copies.iter_mut().enumerate().filter(|(_, copy)| copy.fault.is_none()) {
            let is_left = self.scene.hands_off & (1 << number) != 0;
            copy.files_kept += if is_left { old.len() as u64 } else { 0 };
            copy.files_kept += if may_sweep & (1 << number) == 0 { swept.len() as u64 } else { 0 };
        }
        if copies.iter().all(|copy| copy.fault.is_none()) {
            let gather = |kind| Holdings::gather(self.repository.copies(), kind);
            if let (Ok(indexes), Ok(packs)) = (gather(FileKind::Index), gather(FileKind::Pack)) {
                self.note_listed([&self.scene.snapshots, &indexes, &packs]);
            }
        }
    }

    fn book(&self, copies: &mut [CopyPruned], number: usize, removal: &Removal, asked: usize) {
        let Some(copy) = copies.get_mut(number) else { return };
        let ids = removal.removed.iter().filter(|name| name.kind() == FileKind::Pack).filter_map(FileName::id);
        let sizes = ids.filter_map(|id| self.scene.packs.files.get(&id));
        copy.bytes_removed += sizes.filter(|held| held.copies & (1 << number) != 0).map(|held| held.size).sum::<u64>();
        copy.files_removed += removal.removed.len() as u64;
        copy.files_kept += removal.kept;
        if let Some(fault) = &removal.fault {
            copy.verdict = Verdict::Failed;
            copy.fault = Some(fault.clone());
        }
        if removal.kept > 0 || !removal.removed.is_empty() {
            superset::note(self.repository, &copy.copy, removal.kept > 0);
        }
        if number == 0 {
            self.repository.observer().progress().done(asked as u64, 0);
        }
    }

    fn note_listed(&self, all: [&Holdings; 3]) {
        all.into_iter().for_each(|holdings| self.repository.note_listed(holdings));
    }
}

fn untouched(copy: &str) -> CopyPruned {
    CopyPruned {
        copy: copy.to_owned(),
        verdict: Verdict::Ok,
        fault: None,
        files_written: 0,
        bytes_written: 0,
        files_removed: 0,
        bytes_removed: 0,
        files_kept: 0,
    }
}

fn written(outcome: &CopyOutcome) -> CopyPruned {
    CopyPruned {
        verdict: outcome.verdict,
        fault: outcome.fault.clone(),
        files_written: outcome.files_written,
        bytes_written: outcome.bytes_written,
        ..untouched(&outcome.copy)
    }
}
