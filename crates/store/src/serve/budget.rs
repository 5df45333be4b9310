//! How much memory all uploads and downloads together may hold.
//!
//! Nobody waits for it: who finds it spent works on in small pieces. So clients that hold much of it and do nothing
//! make others slower, and stop nobody.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// For all windows of all requests together.
const BUDGET_BYTES: usize = 64 << 20;
/// The budget is counted in these.
const UNIT_BYTES: usize = 4 << 10;

/// What is left.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    units: Arc<Semaphore>,
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Portion {
    _units: OwnedSemaphorePermit,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { units: Arc::new(Semaphore::new(BUDGET_BYTES / UNIT_BYTES)) }
    }

    /// So many bytes, if they are left.
    pub(super) fn take(&self, bytes: usize) -> Option<Portion> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).ok()?;
        let units = Arc::clone(&self.units).try_acquire_many_owned(units).ok()?;
        Some(Portion { _units: units })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_missing_until_it_is_given_back() {
        let budget = Budget::new();
        let half = budget.take(BUDGET_BYTES / 2).unwrap();
        let _other = budget.take(BUDGET_BYTES / 2).unwrap();
        assert!(budget.take(1).is_none());
        drop(half);
        assert!(budget.take(BUDGET_BYTES / 2).is_some());
    }
}
