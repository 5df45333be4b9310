//! The way back when a page of the cache fails while the index is in use: all its index files are read once more, and
//! kept in memory from then on.
//!
//! The answers stay the same, because index files are named by their hashes. Where they cannot be read either, nothing
//! is known any more: a backup then stores again what it could have reused, and a restore says what it cannot find.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use destinations::Destination;
use format::MasterKey;
use model::Id;

use super::load::read;
use super::shelf::{Shelves, ShelvesBuilder};
use crate::copies::{CopySet, Holders};
use crate::error::Result;
use crate::observer::Cancel;
use crate::repository::Repository;
use crate::threads;

/// What it takes to read the index files again.
pub(super) struct Reread {
    copies: CopySet,
    master: MasterKey,
    cancel: Cancel,
    files: Vec<(Id, Holders)>,
}

impl std::fmt::Debug for Reread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reread").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl Reread {
    /// Remembers where these files are.
    pub(super) fn new(repository: &Repository, files: Vec<(Id, Holders)>) -> Self {
        let copies = repository.copies();
        // In the same order, so that the holders' numbers fit.
        let destinations: Vec<Arc<dyn Destination>> =
            copies.all().iter().map(|copy| Arc::clone(copy.destination())).collect();
        let observer = Arc::clone(&repository.surroundings.observer);
        let copies = CopySet::new(destinations, copies.runtime().clone(), observer, copies.clock().clone());
        Self { copies, master: repository.master.clone(), cancel: repository.cancel().clone(), files }
    }

    /// Reads all of them. It has threads of its own, so that it does not matter who asks.
    pub(super) fn read(&self) -> Result<Shelves> {
        let next = AtomicUsize::new(0);
        let builder = std::sync::Mutex::new(ShelvesBuilder::default());
        threads::run(threads::count().min(self.files.len()), |_| {
            while let Some(&(id, holders)) = self.files.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.cancel.check()?;
                let file = read(&self.copies, &self.master, id, holders)?;
                let mut builder = threads::lock(&builder);
                file.packs.iter().for_each(|pack| builder.add(pack));
            }
            Ok(())
        })?;
        Ok(builder.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).build())
    }
}
