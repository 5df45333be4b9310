//! `repair index`: an index that says what the packs say.
//!
//! Index files that are right stay as they are. One that no copy has sound, or that names a pack wrongly or one that
//! does not exist, is replaced by a new one with the entries that are right. Packs that no index names, and packs of
//! which the index is wrong, are indexed by their own headers. What a pack's header does not tell is not guessed.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use destinations::{Destination as _, Span};
use format::{FileKind, FileName, IndexFile, IndexedPack, PackedBlob};
use model::Id;

use super::header;
use super::old_files::Removed;
use super::work::{HealedFirst, Work};
use crate::check::crew;
use crate::copies::heal::HealPlan;
use crate::error::Result;
use crate::index::load;
use crate::index::press::Press;
use crate::repository::Repository;

/// Headers read at the same time.
const READERS: usize = 8;

/// What to repair the index from.
#[derive(Debug, Clone, Copy, Default)]
pub struct RepairIndexRequest {
    /// Believe no index file: read the header of every pack.
    pub read_all_packs: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Default)]
pub struct IndexPlan {
    /// What is healed first.
    pub heal: HealPlan,
    /// Index files that no copy has sound.
    pub unreadable_indexes: Vec<FileName>,
    /// Index files that are right themselves and say something wrong.
    pub wrong_indexes: Vec<FileName>,
    /// Packs that an index names and no copy has.
    pub missing_packs: Vec<Id>,
    /// Packs that are indexed anew by their headers.
    pub read_packs: Vec<Id>,
    /// Packs whose header cannot be read, and why: what the index said of them stays.
    pub unreadable_packs: Vec<(Id, String)>,
}

impl IndexPlan {
    /// True when the index is right.
    pub fn is_empty(&self) -> bool {
        self.heal.replacements.is_empty()
            && self.unreadable_indexes.is_empty()
            && self.wrong_indexes.is_empty()
            && self.read_packs.is_empty()
    }
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct IndexReport {
    /// What was healed first.
    pub healed: HealedFirst,
    /// New index files.
    pub written: Vec<FileName>,
    /// What became of the old ones.
    pub removed: Removed,
}

/// A repair of the index, examined and not yet done. Locks are held as long as this lives.
pub struct IndexRepair<'a> {
    work: Work<'a>,
    plan: IndexPlan,
    fresh: Vec<IndexedPack>,
    /// Packs whose old entries do not count.
    distrusted: HashSet<Id>,
}

impl std::fmt::Debug for IndexRepair<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexRepair").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl<'a> IndexRepair<'a> {
    /// Looks at every copy and reads the headers that are needed. Nothing is changed.
    pub fn examine(repository: &'a Repository, request: RepairIndexRequest) -> Result<Self> {
        let work = Work::begin(repository, &[], true)?;
        let mut plan = IndexPlan { heal: work.heal_plan().clone(), ..IndexPlan::default() };
        let survey = work.survey();
        let (mut to_read, mut distrusted): (Vec<(Id, u64)>, HashSet<Id>) = (Vec::new(), HashSet::new());
        for (name, standing) in &survey.files {
            let Some(id) = name.id() else { continue };
            match name.kind() {
                FileKind::Index if standing.sound == 0 => plan.unreadable_indexes.push(*name),
                FileKind::Pack => {
                    let indexed = survey.indexed.get(&id);
                    if standing.sound == 0 && standing.bad.is_empty() {
                        plan.missing_packs.push(id);
                        distrusted.insert(id);
                    } else if standing.sound != 0 {
                        let is_right = indexed.is_some_and(|indexed| indexed.size == standing.size);
                        if !is_right || request.read_all_packs {
                            to_read.push((id, standing.size));
                        }
                    }
                }
                _ => {}
            }
        }
        // What a prune has marked is not brought back: whoever needs it again is told by a check, and then by a prune.
        to_read.retain(|(id, _)| survey.indexed.contains_key(id) || !survey.marked.contains_key(id));
        let fresh = read_headers(&work, &to_read, &mut plan)?;
        distrusted.extend(fresh.iter().map(|pack| pack.id));
        let fresh = without_the_right_ones(&work, fresh, &mut distrusted)?;
        plan.read_packs = fresh.iter().map(|pack| pack.id).collect();
        let mut repair = Self { work, plan, fresh, distrusted };
        repair.find_wrong_indexes()?;
        Ok(repair)
    }

    /// What will be done.
    pub fn plan(&self) -> &IndexPlan {
        &self.plan
    }

    /// Does it.
    pub fn apply(mut self) -> Result<IndexReport> {
        let healed = self.work.heal()?;
        let fan_out = self.work.fan_out()?;
        let indexes = Press::new(self.work.repository, None);
        for name in &self.plan.wrong_indexes {
            let file = read_index(&self.work, *name)?;
            for pack in file.packs.into_iter().filter(|pack| !self.distrusted.contains(&pack.id)) {
                indexes.index(&fan_out, pack)?;
            }
            for pack in file.packs_to_delete.into_iter().filter(|pack| !self.distrusted.contains(&pack.id)) {
                indexes.mark(&fan_out, pack)?;
            }
        }
        for pack in std::mem::take(&mut self.fresh) {
            indexes.index(&fan_out, pack)?;
        }
        let written: Vec<FileName> = indexes.finish(&fan_out)?.into_iter().map(|(name, _)| name).collect();
        self.work.settle(fan_out)?;
        // A new file may have the name of an old one only where it says the same; it stays.
        let old = self.plan.wrong_indexes.iter().chain(&self.plan.unreadable_indexes);
        let old: Vec<FileName> = old.filter(|name| !written.contains(name)).copied().collect();
        let removed = self.work.remove_old(&old)?;
        Ok(IndexReport { healed, written, removed })
    }

    /// Files that name a pack of which the index is not believed.
    fn find_wrong_indexes(&mut self) -> Result<()> {
        let wrong = sound_indexes(&self.work).into_iter().filter_map(|name| match read_index(&self.work, name) {
            Ok(file) => file.packs.iter().any(|pack| self.distrusted.contains(&pack.id)).then_some(Ok(name)),
            Err(error) => Some(Err(error)),
        });
        self.plan.wrong_indexes = wrong.collect::<Result<_>>()?;
        Ok(())
    }
}

pub(super) fn sound_indexes(work: &Work<'_>) -> Vec<FileName> {
    let sound =
        work.survey().files.iter().filter(|(name, standing)| name.kind() == FileKind::Index && standing.sound != 0);
    sound.map(|(name, _)| *name).collect()
}

pub(super) fn read_index(work: &Work<'_>, name: FileName) -> Result<IndexFile> {
    load::open(work.repository.master(), name, &work.read(name)?)
}

/// What packs say of themselves. One whose header cannot be read is named in the plan.
fn read_headers(work: &Work<'_>, packs: &[(Id, u64)], plan: &mut IndexPlan) -> Result<Vec<IndexedPack>> {
    let repository = work.repository;
    repository.observer().progress().found(packs.len() as u64, 0);
    let unreadable: Mutex<Vec<(Id, String)>> = Mutex::default();
    let mut fresh = Vec::new();
    let read = |(id, size): &(Id, u64)| (*id, read_header(work, *id, *size));
    crew::run(READERS, packs, repository.cancel(), read, |(id, header)| {
        repository.observer().progress().done(1, 0);
        match header {
            Ok(blobs) => fresh.push(IndexedPack { id, blobs }),
            Err(why) => crate::threads::lock(&unreadable).push((id, why)),
        }
    })?;
    fresh.sort_unstable_by_key(|pack| pack.id);
    plan.unreadable_packs = unreadable.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    plan.unreadable_packs.sort_unstable();
    Ok(fresh)
}

/// The header of a pack, from any copy that has the pack.
fn read_header(work: &Work<'_>, id: Id, size: u64) -> std::result::Result<Vec<PackedBlob>, String> {
    let (union, repository) = (work.union(), work.repository);
    header::read(repository.master(), size, |length| {
        let span = Span::Range { offset: size - length, length };
        repository.copies().wait(union.read(FileName::pack(id), span)).map_err(|fault| fault.to_string())
    })
}

/// Packs of which one sound index file says exactly what they say need nothing new, unless another file contradicts.
fn without_the_right_ones(
    work: &Work<'_>,
    fresh: Vec<IndexedPack>,
    distrusted: &mut HashSet<Id>,
) -> Result<Vec<IndexedPack>> {
    let mut said: HashMap<Id, bool> = HashMap::new();
    let by_id: HashMap<Id, &IndexedPack> = fresh.iter().map(|pack| (pack.id, pack)).collect();
    for name in sound_indexes(work) {
        for pack in read_index(work, name)?.packs {
            if let Some(true_pack) = by_id.get(&pack.id) {
                let mut blobs = pack.blobs;
                blobs.sort_unstable_by_key(|blob| blob.offset);
                *said.entry(pack.id).or_insert(true) &= blobs == true_pack.blobs;
            }
        }
    }
    let is_right = |id: &Id| said.get(id) == Some(&true);
    distrusted.retain(|id| !is_right(id));
    Ok(fresh.into_iter().filter(|pack| !is_right(&pack.id)).collect())
}
