//! Removing files from copies: some at a time, each time behind the fence.
//!
//! A place that does not let us remove is append-only: that is no failure, it just keeps more than the others. A file
//! that is not there is a success. The names come in one order on every copy.

use destinations::Destination;
use format::FileName;
use futures::future::join_all;
use model::{Fault, FaultKind};

use super::CopySet;
use crate::locks::Fence;
use crate::observer::Cancel;

/// Files that are removed from one copy at the same time; the lock is looked at before each lot.
pub(crate) const TOGETHER: usize = 16;

/// Looks whether our lock on every copy has been there all the time, before the first file goes anywhere.
pub(crate) fn confirm_everywhere(copies: &CopySet, fence: &Fence) -> Result<(), Fault> {
    copies.live().try_for_each(|(number, _)| copies.wait(fence.confirm(number)))
}

/// When a place counts as append-only, and is not asked for the other files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// When it refuses the first file, which is asked for alone.
    First,
    /// When it refuses all of the first lot: some places keep young files only.
    Lot,
    /// Never: each file is asked for.
    Endless,
}

/// What came of removing on one copy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Removal {
    /// Removed, as a part of the list from its beginning or in pieces.
    pub(crate) removed: Vec<FileName>,
    /// Files that the place keeps.
    pub(crate) kept: u64,
    /// Why it keeps the first of them.
    pub(crate) refusal: Option<Fault>,
    /// Why it was not done to the end.
    pub(crate) fault: Option<Fault>,
}

/// Who removes.
pub(crate) struct Remover<'a> {
    pub(crate) copies: &'a CopySet,
    pub(crate) cancel: &'a Cancel,
    pub(crate) fence: &'a Fence,
    pub(crate) patience: Patience,
}

impl Remover<'_> {
    /// Removes what `names` gives for each live copy of `of_copies` (bits), from each at its own pace. By number of the
    /// copy. One that cannot be used any more is lost.
    pub(crate) fn remove(&self, of_copies: u64, names: impl Fn(usize) -> Vec<FileName>) -> Vec<(usize, Removal)> {
        let wanted = self.copies.live().filter(|(number, _)| of_copies & (1 << number) != 0);
        let removals = wanted.map(|(number, copy)| {
            let (names, destination) = (names(number), copy.destination().as_ref());
            async move { (number, self.remove_all(number, destination, &names).await) }
        });
        let ends: Vec<(usize, Removal)> = self.copies.wait(join_all(removals));
        for (number, removal) in &ends {
            if let Some(fault) = &removal.fault {
                self.copies.lose(*number, fault.clone());
            }
        }
        ends
    }

    async fn remove_all(&self, number: usize, destination: &dyn Destination, names: &[FileName]) -> Removal {
        let mut removal = Removal::default();
        for (at, lot) in names.chunks(TOGETHER).enumerate() {
            if removal.is_hopeless(self.patience) {
                removal.kept += names.len().saturating_sub(at * TOGETHER) as u64;
                break;
            }
            if let Err(fault) = self.remove_lot(number, destination, lot, &mut removal).await {
                removal.fault = Some(fault);
                break;
            }
        }
        removal
    }

    async fn remove_lot(
        &self,
        number: usize,
        destination: &dyn Destination,
        names: &[FileName],
        removal: &mut Removal,
    ) -> Result<(), Fault> {
        if self.cancel.is_set() {
            let place = destination.place();
            return Err(Fault::new(FaultKind::Interrupted, "remove from", "", place, "stopped before the end"));
        }
        self.fence.confirm(number).await?;
        let is_first_alone = self.patience == Patience::First && removal.removed.is_empty();
        let (first, others) = names.split_at(usize::from(is_first_alone).min(names.len()));
        for names in [first, others] {
            if removal.is_hopeless(self.patience) {
                removal.kept += names.len() as u64;
                continue;
            }
            let answers = join_all(names.iter().map(|name| destination.remove(*name))).await;
            let mut end = Ok(());
            for (name, answer) in names.iter().zip(answers) {
                end = end.and(removal.note(*name, answer));
            }
            end?;
        }
        Ok(())
    }
}

impl Removal {
    fn note(&mut self, name: FileName, answer: Result<(), Fault>) -> Result<(), Fault> {
        match answer {
            Ok(()) => self.removed.push(name),
            Err(fault) if matches!(fault.kind, FaultKind::Denied | FaultKind::Refused) => {
                self.kept += 1;
                self.refusal.get_or_insert(fault);
            }
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    /// Whether nothing was removed, and enough was refused.
    fn is_hopeless(&self, patience: Patience) -> bool {
        let refusals = self.kept as usize;
        self.removed.is_empty()
            && match patience {
                Patience::First => refusals >= 1,
                Patience::Lot => refusals >= TOGETHER,
                Patience::Endless => false,
            }
    }
}
