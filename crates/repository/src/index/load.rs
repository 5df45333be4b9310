//! Reading all index files of all live copies and merging them.
//!
//! The union is what the repository knows. An index file that every copy lists and none has sound is an error: nobody
//! knows what was in it. One that only some copies list may never have existed; it is told, and left out.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use format::{FileKind, FileName, IndexFile};
use model::Id;

use super::{Index, IndexBuilder};
use crate::copies::Holders;
use crate::copies::status::{Held, Holdings};
use crate::error::{Damage, Error, Result};
use crate::observer::Event;
use crate::repository::Repository;
use crate::threads;

/// The merged index, and who has which part of it.
#[derive(Debug)]
pub struct LoadedIndex {
    /// The union of all index files.
    pub index: Index,
    /// Which copy has which of these index files.
    pub holdings: Holdings,
    /// True when index files were left out that some copies list and none has sound.
    pub has_unsound: bool,
}

/// Reads every index file once, several at a time, each from the first copy that has it sound.
pub fn load(repository: &Repository) -> Result<LoadedIndex> {
    let mut holdings = Holdings::gather(repository.copies(), FileKind::Index)?;
    let names: Vec<(Id, Held)> = holdings.files.iter().map(|(id, held)| (*id, *held)).collect();
    let next = AtomicUsize::new(0);
    let merged = Mutex::new((IndexBuilder::default(), Vec::new()));
    threads::run(threads::count().min(names.len()), |_| {
        while let Some(&(id, held)) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            repository.cancel().check()?;
            match read(repository, id, Holders::of(&holdings, &id)) {
                Ok(file) => {
                    let mut merged = threads::lock(&merged);
                    file.packs.iter().for_each(|pack| merged.0.add(pack));
                }
                Err(error @ (Error::Damaged { .. } | Error::Format { .. })) if held.copies != holdings.asked => {
                    tell(repository, id, held, &error);
                    threads::lock(&merged).1.push(id);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })?;
    let (builder, unsound) = merged.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    for id in &unsound {
        holdings.files.remove(id);
    }
    Ok(LoadedIndex { index: builder.build(), holdings, has_unsound: !unsound.is_empty() })
}

fn tell(repository: &Repository, id: Id, held: Held, error: &Error) {
    let holders = repository.copies().all().iter().enumerate().filter(|(number, _)| held.copies & (1 << number) != 0);
    let copy = holders.map(|(_, copy)| copy.place()).collect::<Vec<_>>().join(", ");
    let why = format!("not used, the other copies do not list it: {error}");
    let file = FileName::new(FileKind::Index, id).path();
    repository.observer().event(Event::Damage(Damage { copy, file, why }));
}

/// Reads one index file.
pub fn read(repository: &Repository, id: Id, holders: Holders) -> Result<IndexFile> {
    let name = FileName::new(FileKind::Index, id);
    let plain = repository.read_file(name, holders)?;
    IndexFile::parse(&plain).map_err(|source| Error::Format { what: format!("index file `{}`", name.path()), source })
}
