//! Healing: a file that is damaged, foreign or missing on one copy is replaced by the bytes of a copy that has it
//! sound.
//!
//! It goes in two steps, so that the plan can be shown before anything happens: [`Healing::examine`] looks at every
//! copy under an adding lock and changes nothing, [`Healing::apply`] does what the plan says. Names are hashes, so it
//! is always known who is right; `config` is right where it opens and is the same as elsewhere.
//!
//! What no copy has sound is never touched: it is told, with the snapshots and paths that need it. Nothing is removed
//! from a copy, and wrong bytes are kept on this machine before they are replaced. Afterwards the copies are equal,
//! but for keys that may have been removed on purpose and left-over packs, which are told.
//!
//! | room | what it is for |
//! |---|---|
//! | [`ground`] | which copies can be healed |
//! | [`survey`] | who has which file sound |
//! | [`plan`] | what is to be replaced by what |
//! | [`replace`] | doing it, one file at a time |
//! | [`union`] | all copies as one place, to name what is lost |

mod ground;
pub(crate) mod plan;
mod replace;
mod report;
pub(crate) mod survey;
pub(crate) mod union;

use std::collections::VecDeque;
use std::sync::Mutex;

use model::{Fault, Id};

use crate::check::{self, ReadData};
use crate::copies::{Copy, CopySet};
use crate::error::{Error, Result};
use crate::locks::{Fence, Guard, LockMode};
use crate::records::aside::Aside;
use crate::repository::Repository;
use crate::threads;
use plan::Bringing;
use replace::{BadSource, Outcome, Replacing, kept_in};
use survey::Survey;
use union::Union;

pub use plan::{HealPlan, LostFile, Replacement};
pub use report::{HealReport, HealedCopy};

/// Copies that are written at the same time; each holds two files in memory.
const COPIES_AT_ONCE: usize = 4;

/// How often a plan is made again because a copy that was believed turned out to be wrong.
const ROUNDS_MAX: usize = 8;

/// What to look at, and what to bring.
#[derive(Debug, Clone, Default)]
pub struct HealRequest {
    /// How much of the packs' content to read. Without it only small files, trees and sizes are compared.
    pub read: ReadData,
    /// Bring key files to copies that lack them, also those that may have been removed on purpose.
    pub bring_keys: bool,
    /// Packs to read whatever else is read.
    pub packs: Vec<Id>,
    /// Where a random part comes from; none means a new one.
    pub seed: Option<u64>,
}

/// Copies that were looked at, and what is to be done about them. Locks are held as long as this lives.
pub struct Healing<'a> {
    repository: &'a Repository,
    copies: CopySet,
    survey: Survey,
    bringing: Bringing,
    plan: HealPlan,
    fence: Fence,
    /// None where whoever asked holds the locks.
    _guard: Option<Guard>,
}

impl std::fmt::Debug for Healing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Healing").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl<'a> Healing<'a> {
    /// Looks at every copy, under an adding lock. Nothing is changed.
    pub fn examine(repository: &'a Repository, request: &HealRequest) -> Result<Self> {
        let guard = repository.lock(LockMode::Adding)?;
        let bringing = Bringing { keys: request.bring_keys, surplus: false };
        let mut healing = Self::examine_locked(repository, request, bringing, guard.fence())?;
        healing._guard = Some(guard);
        Ok(healing)
    }

    /// The same for whoever holds locks already.
    pub(crate) fn examine_locked(
        repository: &'a Repository,
        request: &HealRequest,
        bringing: Bringing,
        fence: Fence,
    ) -> Result<Self> {
        let seed = match request.seed {
            Some(seed) => seed,
            None => getrandom::u64().map_err(|error| Error::Request(format!("no random numbers: {error}")))?,
        };
        let copies = ground::ground(repository);
        let survey = survey::survey(repository, &copies, request, seed)?;
        let plan = plan::plan(&survey, &places(&copies), bringing);
        Ok(Self { repository, copies, survey, bringing, plan, fence, _guard: None })
    }

    /// What will be done.
    pub fn plan(&self) -> &HealPlan {
        &self.plan
    }

    /// What is known of every file.
    pub(crate) fn survey(&self) -> &Survey {
        &self.survey
    }

    /// All copies as one place.
    pub(crate) fn union(&self) -> Union<'_> {
        Union { copies: &self.copies, survey: &self.survey }
    }

    /// Copies that could not be looked at.
    pub fn lost_copies(&self) -> impl Iterator<Item = (&str, &Fault)> {
        self.copies.all().iter().filter_map(|copy| Some((copy.place(), copy.lost()?)))
    }

    /// Does what the plan says. With `dry_run` it changes nothing and tells what would be lost.
    pub fn apply(&mut self, dry_run: bool) -> Result<HealReport> {
        let mut report = HealReport::of(&self.plan, &places(&self.copies));
        if !dry_run {
            self.work_off(&mut report)?;
        }
        self.close(&mut report);
        if self.plan.lost.iter().any(|lost| lost.is_needed) {
            self.name_losses(&mut report)?;
        }
        Ok(report)
    }

    /// Does what the plan says, for whoever finds out himself what is lost.
    pub(crate) fn apply_without_naming(&mut self) -> Result<HealReport> {
        let mut report = HealReport::of(&self.plan, &places(&self.copies));
        self.work_off(&mut report)?;
        self.close(&mut report);
        Ok(report)
    }

    fn work_off(&mut self, report: &mut HealReport) -> Result<()> {
        let aside = Aside::of(self.repository.records().as_ref());
        for _ in 0..ROUNDS_MAX {
            let bad = self.round(&aside, report)?;
            if bad.is_empty() {
                break;
            }
            // A copy was believed and is wrong: it is healed as well, from one that is not.
            for (number, name, why) in bad {
                self.survey.found_bad(number, name, why);
            }
            self.plan = plan::plan(&self.survey, &places(&self.copies), self.bringing);
        }
        report.aside = aside.folder().filter(|folder| folder.exists()).map(std::path::Path::to_owned);
        Ok(())
    }

    fn close(&self, report: &mut HealReport) {
        report.lost.clone_from(&self.plan.lost);
        report.bytes_read = self.survey.bytes_read;
        for (copy, healed) in self.copies.all().iter().zip(&mut report.copies) {
            healed.fault = copy.lost().cloned();
        }
    }

    /// Works through the plan once, several copies at a time. Gives the copies that turned out to be wrong.
    fn round(&mut self, aside: &Aside, report: &mut HealReport) -> Result<Vec<BadSource>> {
        let mut by_copy: Vec<VecDeque<&Replacement>> = vec![VecDeque::new(); self.copies.all().len()];
        for item in &self.plan.replacements {
            if let Some(queue) = by_copy.get_mut(item.number) {
                queue.push_back(item);
            }
        }
        by_copy.retain(|queue| !queue.is_empty());
        let progress = self.repository.observer().progress();
        progress.found(self.plan.replacements.len() as u64, self.plan.bytes());
        let crew = by_copy.len().min(COPIES_AT_ONCE);
        let queues = Mutex::new(by_copy);
        let ends: Mutex<Vec<(Replacement, Outcome)>> = Mutex::default();
        let bad: Mutex<Vec<BadSource>> = Mutex::default();
        let replacing = Replacing { copies: &self.copies, survey: &self.survey, fence: &self.fence, aside };
        let done = threads::run(crew, |_| {
            loop {
                let Some(queue) = threads::lock(&queues).pop() else { return Ok(()) };
                for item in queue {
                    self.repository.cancel().check()?;
                    let (outcome, bad_sources) = replacing.replace(item);
                    progress.done(1, item.size);
                    if let Outcome::CopyLost(fault) = &outcome {
                        self.copies.lose(item.number, fault.clone());
                    }
                    threads::lock(&bad).extend(bad_sources);
                    threads::lock(&ends).push((item.clone(), outcome));
                }
            }
        });
        for (item, outcome) in ends.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            self.settle(report, &item, outcome);
        }
        done?;
        Ok(bad.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn settle(&mut self, report: &mut HealReport, item: &Replacement, outcome: Outcome) {
        let Some(healed) = report.copies.get_mut(item.number) else { return };
        let is_right = matches!(outcome, Outcome::Replaced { .. } | Outcome::SoundAgain);
        if is_right {
            self.survey.now_sound(item.number, item.name);
            healed.not_healed.retain(|(name, _)| *name != item.name);
        }
        match outcome {
            Outcome::Replaced { bytes, kept } => {
                healed.bytes += bytes;
                if item.damage.is_some() {
                    healed.replaced += 1;
                } else {
                    healed.brought += 1;
                }
                if let Err(why) = kept_in(kept) {
                    healed.not_kept.push((item.name, why));
                }
            }
            Outcome::SoundAgain => healed.sound_again += 1,
            Outcome::Not(why) => {
                healed.not_healed.retain(|(name, _)| *name != item.name);
                healed.not_healed.push((item.name, why));
            }
            Outcome::CopyLost(_) => {}
        }
    }

    /// Names the snapshots and paths that no copy can give back.
    fn name_losses(&self, report: &mut HealReport) -> Result<()> {
        let seen = check::look_at(self.repository, &self.union())?;
        report.affected_snapshots = seen.affected_snapshots;
        let lost = self.plan.lost.iter().filter(|lost| lost.name.kind() == format::FileKind::Snapshot);
        report.affected_snapshots.extend(lost.filter_map(|lost| lost.name.id()));
        report.affected_snapshots.sort_unstable();
        report.affected_snapshots.dedup();
        report.affected = seen.affected;
        report.affected_left_out = seen.affected_left_out;
        Ok(())
    }
}

fn places(copies: &CopySet) -> Vec<String> {
    copies.all().iter().map(Copy::place).map(str::to_owned).collect()
}
