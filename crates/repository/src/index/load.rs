//! Reading all index files of all live copies and merging them; those that the cache has are not read.
//!
//! The union is what the repository knows. An index file that no copy has sound is told, and left out: whoever can add
//! garbage to the copies must not be able to stop a restore. What only that file knew is not found, and is named by
//! whoever needs it. Where every copy lists it, it is *lost*: nothing may be judged by what the rest does not know. Only
//! where no index file at all is sound is that an error.
//!
//! A file may come from the cache when every copy that lists it lists the size that it had; one whose copies disagree is
//! read each time, so that its damage is told each time.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use format::{FileKind, FileName, IndexFile, MasterKey};
use model::Id;

use super::Index;
use super::cached::Cached;
use super::layout::ListedFile;
use super::merge::Source;
use super::reread::Reread;
use super::shelf::ShelvesBuilder;
use crate::copies::status::{Held, Holdings};
use crate::copies::{CopySet, Holders};
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
    /// True when index files were left out that no copy has sound.
    pub has_unsound: bool,
    /// True when every copy lists one of those.
    pub has_lost: bool,
}

/// What was read from index files.
#[derive(Default)]
struct Fresh {
    /// The content of `files`, which the cache may have.
    lasting: ShelvesBuilder,
    files: Vec<ListedFile>,
    /// The content of files about which the copies disagree.
    disputed: ShelvesBuilder,
    unsound: Vec<(Id, Held)>,
    /// What was wrong with the first of these.
    why_unsound: Option<Error>,
}

/// Reads every index file once, several at a time, each from the first copy that has it sound.
pub fn load(repository: &Repository) -> Result<LoadedIndex> {
    let mut holdings = Holdings::gather(repository.copies(), FileKind::Index)?;
    let is_listed = |file: &ListedFile| {
        holdings.files.get(&file.id).is_some_and(|held| held.size == file.size && held.other_size == 0)
    };
    let cached = repository.cache().map(|cache| Cached::open(cache, &repository.master, is_listed));
    let known = cached.as_ref().map_or_else(HashSet::new, Cached::files);
    let fresh = read_all(repository, &holdings, &known)?;
    for (id, _) in &fresh.unsound {
        holdings.files.remove(id);
    }
    let has_unsound = !fresh.unsound.is_empty();
    let has_lost = fresh.has_lost(&holdings);
    let mut sources = match cached {
        Some(cached) => cached.with(fresh.lasting.build(), fresh.files, repository.clock().now().as_second()),
        None => vec![Source::Memory(fresh.lasting.build())],
    };
    if !fresh.disputed.is_empty() {
        sources.push(Source::Memory(fresh.disputed.build()));
    }
    let files = holdings.files.keys().map(|id| (*id, Holders::of(&holdings, id))).collect();
    Ok(LoadedIndex { index: Index::of(sources, Some(Reread::new(repository, files))), holdings, has_unsound, has_lost })
}

/// Reads all that is not `known`.
fn read_all(repository: &Repository, holdings: &Holdings, known: &HashSet<Id>) -> Result<Fresh> {
    let names = holdings.files.iter().filter(|(id, _)| !known.contains(*id));
    let names: Vec<(Id, Held)> = names.map(|(id, held)| (*id, *held)).collect();
    let next = AtomicUsize::new(0);
    let fresh = Mutex::new(Fresh::default());
    threads::run(threads::count().min(names.len()), |_| {
        while let Some(&(id, held)) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            repository.cancel().check()?;
            match read(repository.copies(), &repository.master, id, Holders::of(holdings, &id)) {
                Ok(file) => threads::lock(&fresh).add(&file, id, held),
                Err(error @ (Error::Damaged { .. } | Error::Format { .. })) => {
                    tell(repository, id, held, held.copies == holdings.asked, &error);
                    let mut fresh = threads::lock(&fresh);
                    fresh.unsound.push((id, held));
                    fresh.why_unsound.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })?;
    let mut fresh = fresh.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    match fresh.why_unsound.take() {
        Some(error) if fresh.has_lost(holdings) && fresh.unsound.len() == holdings.files.len() => Err(error),
        _ => Ok(fresh),
    }
}

impl Fresh {
    fn has_lost(&self, holdings: &Holdings) -> bool {
        self.unsound.iter().any(|(_, held)| held.copies == holdings.asked)
    }

    fn add(&mut self, file: &IndexFile, id: Id, held: Held) {
        let builder = if held.other_size == 0 {
            self.files.push(ListedFile { id, size: held.size });
            &mut self.lasting
        } else {
            &mut self.disputed
        };
        file.packs.iter().for_each(|pack| builder.add(pack));
    }
}

fn tell(repository: &Repository, id: Id, held: Held, is_lost: bool, error: &Error) {
    let copy = repository.copies().places_of(held.copies);
    let reason = if is_lost { "no copy has it sound" } else { "the other copies do not list it" };
    let why = format!("not used, {reason}: {error}");
    let file = FileName::new(FileKind::Index, id).path();
    repository.observer().event(Event::Damage(Damage { copy, file, why }));
}

/// Reads one index file.
pub(crate) fn read(copies: &CopySet, master: &MasterKey, id: Id, holders: Holders) -> Result<IndexFile> {
    let name = FileName::new(FileKind::Index, id);
    open(master, name, &copies.read_whole(name, holders)?)
}

/// Opens the bytes of an index file.
pub(crate) fn open(master: &MasterKey, name: FileName, sealed: &[u8]) -> Result<IndexFile> {
    let error = |what: &str, source| Error::Format { what: format!("{what} `{}`", name.path()), source };
    let plain = format::open_file(master, sealed).map_err(|source| error("file", source))?;
    IndexFile::parse(&plain).map_err(|source| error("index file", source))
}
