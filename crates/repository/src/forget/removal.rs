//! Carrying a plan out: under an exclusive lock, on every copy in the same order, a few files at a time.

use std::collections::BTreeSet;

use format::{FileKind, FileName};
use model::{Fault, FaultKind, Id, Verdict};

use super::agreement::Agreement;
use super::plan::ForgetPlan;
use crate::copies::removal::{Patience, Removal as Removed, Remover};
use crate::copies::status::Holdings;
use crate::error::{Error, Result};
use crate::locks::{Fence, LockMode};
use crate::repository::Repository;

/// So many files are removed from a copy at a time; a run that breaks off leaves no more than these on some copies only.
const AT_A_TIME: usize = 8;

/// How one copy came out.
#[derive(Debug, Clone)]
pub struct CopyRemoval {
    /// The copy, without secrets.
    pub copy: String,
    /// Snapshots that it has no more.
    pub removed: u64,
    /// Snapshots that it keeps because it lets nothing be removed.
    pub kept: u64,
    /// Why it does not let anything be removed, or why it was given up.
    pub fault: Option<Fault>,
    /// `failed` when it was given up before it had all removed.
    pub verdict: Verdict,
}

/// What was done.
#[derive(Debug)]
pub struct ForgetReport {
    /// By copy.
    pub copies: Vec<CopyRemoval>,
    /// Snapshots that were to go.
    pub removals: u64,
    /// Worst of all.
    pub verdict: Verdict,
}

/// Removes what the plan says.
///
/// # Errors
/// When somebody else holds a lock, when what is there is no longer what the plan was made from, or when no copy is
/// left.
pub fn execute(repository: &Repository, plan: &ForgetPlan) -> Result<ForgetReport> {
    let (guard, holdings) = repository.lock_and_list(LockMode::Exclusive, FileKind::Snapshot)?;
    refuse_changed(repository, plan, &holdings)?;
    repository.note_accepted(&plan.accepted);
    repository.note_intent(&plan.removals);
    let progress = repository.observer().progress();
    progress.found(plan.removals.len() as u64, 0);
    let mut work = Removal::new(repository, guard.fence(), holdings);
    let mut ended = Ok(());
    for batch in plan.removals.chunks(AT_A_TIME) {
        ended = repository.cancel().check();
        if ended.is_err() || repository.copies().live().next().is_none() {
            break;
        }
        ended = work.remove(batch);
        progress.done(batch.len() as u64, 0);
    }
    work.remember();
    ended?;
    work.report(plan)
}

/// The copies must be those of the plan, with its snapshots: between the two nobody looked.
fn refuse_changed(repository: &Repository, plan: &ForgetPlan, holdings: &Holdings) -> Result<()> {
    if let Some((place, fault)) = repository.copies().first_lost() {
        return Err(Error::Refused {
            why: format!("copy {place} was lost before anything was removed: {fault}"),
            hint: "forget needs every copy that is named".to_owned(),
        });
    }
    if Agreement::listed(holdings) == plan.listed {
        return Ok(());
    }
    Err(Error::Refused {
        why: "snapshots came or went while the plan was shown; nothing was removed".to_owned(),
        hint: "run it again".to_owned(),
    })
}

/// A removal under way.
struct Removal<'a> {
    repository: &'a Repository,
    fence: Fence,
    /// What each copy has, as far as is known.
    holdings: Holdings,
    /// By copy: what it has removed.
    removed: Vec<BTreeSet<Id>>,
    /// By copy: why it lets nothing be removed.
    refusals: Vec<Option<Fault>>,
}

impl<'a> Removal<'a> {
    fn new(repository: &'a Repository, fence: Fence, holdings: Holdings) -> Self {
        let copies = repository.copies().all().len();
        Self { repository, fence, holdings, removed: vec![BTreeSet::new(); copies], refusals: vec![None; copies] }
    }

    /// Removes a few files from every copy that has them.
    fn remove(&mut self, batch: &[Id]) -> Result<()> {
        let (copies, cancel) = (self.repository.copies(), self.repository.cancel());
        let remover = Remover { copies, cancel, fence: &self.fence, patience: Patience::First };
        let willing = self.refusals.iter().enumerate().filter(|(_, refusal)| refusal.is_none());
        let willing = willing.fold(0, |bits, (number, _)| bits | 1 << number);
        let ends = remover.remove(willing, |number| {
            let held = |id: &&Id| self.holdings.files.get(id).is_some_and(|held| held.copies & (1 << number) != 0);
            batch.iter().filter(held).map(|id| FileName::new(FileKind::Snapshot, *id)).collect()
        });
        let is_interrupted =
            |removal: &Removed| removal.fault.as_ref().is_some_and(|fault| fault.kind == FaultKind::Interrupted);
        let end = if ends.iter().any(|(_, removal)| is_interrupted(removal)) { cancel.check() } else { Ok(()) };
        for (number, removal) in ends {
            removal.removed.iter().filter_map(FileName::id).for_each(|id| self.note_removed(number, id));
            if let Some(own) = self.refusals.get_mut(number) {
                *own = removal.refusal;
            }
        }
        end
    }

    fn note_removed(&mut self, number: usize, id: Id) {
        if let Some(removed) = self.removed.get_mut(number) {
            removed.insert(id);
        }
        if let Some(held) = self.holdings.files.get_mut(&id) {
            held.copies &= !(1 << number);
        }
    }

    /// Lets this machine remember what the copies have now.
    fn remember(&self) {
        self.repository.note_listed(&self.holdings);
        let gone = self.holdings.files.iter().filter(|(_, held)| held.copies == 0).map(|(id, _)| *id);
        self.repository.note_forgotten(&gone.collect::<Vec<_>>());
    }

    fn report(self, plan: &ForgetPlan) -> Result<ForgetReport> {
        let copies = self.repository.copies();
        copies.at_least_one()?;
        let mut ends = Vec::new();
        for (number, copy) in copies.all().iter().enumerate() {
            let still = plan
                .removals
                .iter()
                .filter(|id| self.holdings.files.get(id).is_some_and(|held| held.copies & (1 << number) != 0));
            let still = still.count() as u64;
            let refusal = self.refusals.get(number).cloned().flatten();
            let verdict = if copy.is_live() { Verdict::Ok } else { Verdict::Failed };
            ends.push(CopyRemoval {
                copy: copy.place().to_owned(),
                removed: self.removed.get(number).map_or(0, |removed| removed.len() as u64),
                kept: if refusal.is_some() { still } else { 0 },
                fault: copy.lost().cloned().or(refusal),
                verdict,
            });
        }
        let is_partial = ends.iter().any(|end| end.verdict == Verdict::Failed);
        // A repository that only grows is not what somebody wanted who asked for this.
        let is_asked = plan.groups.iter().any(|group| !group.remove.is_empty());
        let is_nothing_done = is_asked && ends.iter().all(|end| end.removed == 0);
        let parts = [
            if plan.frozen.is_empty() { Verdict::Ok } else { Verdict::Warning },
            if is_partial { Verdict::Partial } else { Verdict::Ok },
            if is_nothing_done { Verdict::Failed } else { Verdict::Ok },
        ];
        Ok(ForgetReport { copies: ends, removals: plan.removals.len() as u64, verdict: Verdict::worst(parts) })
    }
}
