//! What all repairs begin and end with: every copy is there, all are healed from each other, nobody else works on them.

use format::FileName;
use model::{Fault, Id};

use crate::check::ReadData;
use crate::copies::fan_out::{CopyOutcome, FanOut};
use crate::copies::heal::plan::Bringing;
use crate::copies::heal::survey::Survey;
use crate::copies::heal::union::Union;
use crate::copies::heal::{HealPlan, HealReport, HealRequest, Healing};
use crate::error::{Error, Result};
use crate::locks::{Fence, Guard, LockMode};
use crate::repository::Repository;

/// A repair under way.
pub(super) struct Work<'a> {
    pub(super) repository: &'a Repository,
    guard: Guard,
    healing: Healing<'a>,
}

/// What healing did before a repair.
#[derive(Debug, Clone, Default)]
pub struct HealedFirst {
    /// Files that were replaced or brought.
    pub files: u64,
}

impl<'a> Work<'a> {
    /// Locks every copy and looks at all of them; `packs` are read in any case.
    pub(super) fn begin(repository: &'a Repository, packs: &[Id], brings_surplus: bool) -> Result<Self> {
        let guard = repository.lock(LockMode::Exclusive)?;
        // A copy that is away would bring back later what is removed now.
        if let Some((_, fault)) = repository.copies().first_lost() {
            return Err(Error::Refused {
                why: format!("cannot repair while a copy is missing: {fault}"),
                hint: "make it reachable, heal it with `triplicate copies heal`, or name only the others with -r"
                    .to_owned(),
            });
        }
        let request = HealRequest { read: ReadData::No, packs: packs.to_vec(), ..HealRequest::default() };
        let bringing = Bringing { keys: false, surplus: brings_surplus };
        let healing = Healing::examine_locked(repository, &request, bringing, guard.fence())?;
        if let Some((_, fault)) = healing.lost_copies().next() {
            return Err(Error::Destination(Fault::clone(fault)));
        }
        Ok(Self { repository, guard, healing })
    }

    /// What healing will do first.
    pub(super) fn heal_plan(&self) -> &HealPlan {
        self.healing.plan()
    }

    pub(super) fn survey(&self) -> &Survey {
        self.healing.survey()
    }

    /// All copies together.
    pub(super) fn union(&self) -> Union<'_> {
        self.healing.union()
    }

    /// Heals the copies from each other. A copy that cannot be healed ends the repair before it has changed anything
    /// of its own: copies that disagree cannot be repaired alike.
    pub(super) fn heal(&mut self) -> Result<HealedFirst> {
        let report: HealReport = self.healing.apply_without_naming()?;
        for copy in &report.copies {
            if let Some(fault) = &copy.fault {
                return Err(Error::Destination(fault.clone()));
            }
            if let Some((name, why)) = copy.not_healed.first() {
                return Err(Error::Refused {
                    why: format!("cannot repair: `{}` on {} is not healed: {why}", name.path(), copy.copy),
                    hint: "run `triplicate copies heal`, or name only the copies that can be healed with -r".to_owned(),
                });
            }
        }
        Ok(HealedFirst { files: report.files() })
    }

    /// The way to every copy, past our own locks only.
    pub(super) fn fan_out(&self) -> Result<FanOut<'a>> {
        FanOut::start(self.repository.copies(), self.repository.cancel(), self.guard.fence())
    }

    /// Waits until every copy has everything new. Nothing old may go before.
    pub(super) fn settle(&self, fan_out: FanOut<'_>) -> Result<()> {
        let outcomes: Vec<CopyOutcome> = fan_out.finish();
        self.repository.cancel().check()?;
        match outcomes.into_iter().find_map(|outcome| outcome.fault) {
            Some(fault) => Err(Error::Destination(fault)),
            None => Ok(()),
        }
    }

    /// What looks, before anything is removed, whether our locks have been there all the time.
    pub(super) fn fence(&self) -> Fence {
        self.guard.fence()
    }

    /// The bytes of a file from any copy that has it sound.
    pub(super) fn read(&self, name: FileName) -> Result<bytes::Bytes> {
        use destinations::{Destination as _, Span};
        let bytes = self.repository.copies().wait(self.union().read(name, Span::Whole))?;
        if name.id().is_some_and(|id| format::hash(&bytes) != id) {
            let why = "its bytes do not match its name";
            return Err(Fault::new(model::FaultKind::Damaged, "read", name.path(), "all copies", why).into());
        }
        Ok(bytes)
    }
}
