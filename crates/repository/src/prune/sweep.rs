//! Removing files from every copy, some at a time, each time behind the fence.
//!
//! A place that does not let us remove is append-only: that is no failure, it just keeps more than the others. A file
//! that is not there is a success. The names come in one order on every copy.

use destinations::Destination;
use format::FileName;
use futures::future::join_all;
use model::{Fault, FaultKind};

use crate::locks::Fence;
use crate::observer::Cancel;
use crate::repository::Repository;

/// Files that are removed from one copy at the same time; the lock is looked at before each lot.
const TOGETHER: usize = 16;

/// Refusals without any success after which a copy is not asked for the others.
const REFUSALS_MAX: usize = TOGETHER;

/// What came of removing on one copy.
#[derive(Debug, Clone, Default)]
pub(super) struct Removal {
    /// Removed, as a part of the list from its beginning or in pieces.
    pub(super) removed: Vec<FileName>,
    /// Files that the place keeps.
    pub(super) kept: u64,
    /// Why it was not done to the end.
    pub(super) fault: Option<Fault>,
}

/// Removes `names` from each live copy of `copies` (bits). By number of the copy.
pub(super) fn remove(repository: &Repository, fence: &Fence, names: &[FileName], copies: u64) -> Vec<(usize, Removal)> {
    let cancel = repository.cancel();
    let wanted = repository.copies().live().filter(|(number, _)| copies & (1 << number) != 0);
    let removals = wanted.map(|(number, copy)| async move {
        let place = Place { number, destination: copy.destination().as_ref(), fence, cancel };
        (number, place.remove_all(names).await)
    });
    let ends: Vec<(usize, Removal)> = repository.copies().wait(join_all(removals));
    for (number, removal) in &ends {
        if let Some(fault) = &removal.fault {
            repository.copies().lose(*number, fault.clone());
        }
    }
    ends
}

struct Place<'a> {
    number: usize,
    destination: &'a dyn Destination,
    fence: &'a Fence,
    cancel: &'a Cancel,
}

impl Place<'_> {
    async fn remove_all(&self, names: &[FileName]) -> Removal {
        let mut removal = Removal::default();
        for (lot, lots) in names.chunks(TOGETHER).enumerate() {
            if removal.removed.is_empty() && removal.kept as usize >= REFUSALS_MAX {
                removal.kept += names.len().saturating_sub(lot * TOGETHER) as u64;
                break;
            }
            if let Err(fault) = self.remove_lot(lots, &mut removal).await {
                removal.fault = Some(fault);
                break;
            }
        }
        removal
    }

    async fn remove_lot(&self, names: &[FileName], removal: &mut Removal) -> Result<(), Fault> {
        if self.cancel.is_set() {
            let place = self.destination.place();
            return Err(Fault::new(FaultKind::Interrupted, "remove from", "", place, "stopped before the end"));
        }
        self.fence.confirm(self.number).await?;
        let answers = join_all(names.iter().map(|name| self.destination.remove(*name))).await;
        let mut end = Ok(());
        for (name, answer) in names.iter().zip(answers) {
            match answer {
                Ok(()) => removal.removed.push(*name),
                Err(fault) if matches!(fault.kind, FaultKind::Denied | FaultKind::Refused) => removal.kept += 1,
                Err(fault) => end = end.and(Err(fault)),
            }
        }
        end
    }
}
