//! Reading all index files of all live copies and merging them.
//!
//! The union is what the repository knows. An index file that some copy lacks marks that copy as behind: the packs
//! that it lists may be missing there too, so they are remembered for the catch-up.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use format::{FileKind, FileName, IndexFile};
use model::Id;

use super::{Index, IndexBuilder};
use crate::copies::Holders;
use crate::copies::status::Holdings;
use crate::error::{Error, Result};
use crate::repository::Repository;
use crate::threads;

/// The merged index, and what is needed to bring copies up to date that lack part of it.
#[derive(Debug)]
pub struct LoadedIndex {
    /// The union of all index files.
    pub index: Index,
    /// Which copy has which index file.
    pub holdings: Holdings,
    /// The packs of those index files that not every copy has.
    pub packs_of_missing: HashMap<Id, Vec<Id>>,
}

/// Reads every index file once, several at a time, each from the first copy that has it sound.
pub fn load(repository: &Repository) -> Result<LoadedIndex> {
    let holdings = Holdings::gather(repository.copies(), FileKind::Index)?;
    let names: Vec<Id> = holdings.files.keys().copied().collect();
    let next = AtomicUsize::new(0);
    let merged = Mutex::new((IndexBuilder::default(), HashMap::new()));
    threads::run(threads::count().min(names.len()), |_| {
        while let Some(&id) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            repository.cancel().check()?;
            let file = read(repository, id, Holders::of(&holdings, &id))?;
            let held_by_all = holdings.files.get(&id).is_some_and(|held| held.copies == holdings.asked);
            let mut merged = threads::lock(&merged);
            if !held_by_all {
                merged.1.insert(id, file.packs.iter().map(|pack| pack.id).collect());
            }
            file.packs.iter().for_each(|pack| merged.0.add(pack));
        }
        Ok(())
    })?;
    let (builder, packs_of_missing) = merged.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(LoadedIndex { index: builder.build(), holdings, packs_of_missing })
}

/// Reads one index file.
pub fn read(repository: &Repository, id: Id, holders: Holders) -> Result<IndexFile> {
    let name = FileName::new(FileKind::Index, id);
    let plain = repository.read_file(name, holders)?;
    IndexFile::parse(&plain).map_err(|source| Error::Format { what: format!("index file `{}`", name.path()), source })
}
