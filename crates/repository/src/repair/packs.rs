//! `repair packs`: what can still be opened of packs that are damaged on every copy.
//!
//! A pack that is sound on any copy is not broken: healing replaces it. Of one that is wrong everywhere each blob is
//! looked for on every copy, since copies are rarely damaged in the same place; what opens goes into new packs, what
//! does not is lost, and `repair snapshots` makes snapshots go on without it.

use std::collections::{BTreeMap, HashSet};

use destinations::Span;
use format::{BlobKind, Decompressor, FileName, FinishedPack, IndexedPack, PackWriter, PackedBlob, open_blob};
use model::Id;

use super::header;
use super::index::{read_index, sound_indexes};
use super::old_files::Removed;
use super::work::{HealedFirst, Work};
use crate::copies::fan_out::FanOut;
use crate::copies::heal::HealPlan;
use crate::error::{Error, Result};
use crate::index::press::Press;
use crate::packing;
use crate::repository::Repository;

/// What is to be done.
#[derive(Debug, Clone, Default)]
pub struct PacksPlan {
    /// What is healed first.
    pub heal: HealPlan,
    /// Packs that are sound, on some copy at least: nothing is left to repair in them.
    pub sound: Vec<Id>,
    /// Packs that no copy has sound.
    pub broken: Vec<BrokenPack>,
}

/// A pack that no copy has sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenPack {
    /// Which one.
    pub id: Id,
    /// Blobs that can be opened on some copy.
    pub saved: usize,
    /// Blobs that no copy can give back from this pack.
    pub lost: usize,
    /// Index files that name it.
    indexes: Vec<FileName>,
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct PacksReport {
    /// What was healed first.
    pub healed: HealedFirst,
    /// Blobs that are in new packs now.
    pub saved: u64,
    /// New packs.
    pub packs_written: u64,
    /// What became of the broken packs and of the index files that named them.
    pub removed: Removed,
}

/// A repair of packs, examined and not yet done. Locks are held as long as this lives.
pub struct PackRepair<'a> {
    work: Work<'a>,
    plan: PacksPlan,
    entries: BTreeMap<Id, Vec<PackedBlob>>,
}

impl std::fmt::Debug for PackRepair<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackRepair").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl<'a> PackRepair<'a> {
    /// Reads the packs on every copy. Nothing is changed.
    pub fn examine(repository: &'a Repository, packs: &[Id]) -> Result<Self> {
        if packs.is_empty() {
            return Err(Error::Request("no pack was named".to_owned()));
        }
        let work = Work::begin(repository, packs, false)?;
        let mut plan = PacksPlan { heal: work.heal_plan().clone(), ..PacksPlan::default() };
        let mut wanted: BTreeMap<Id, Vec<PackedBlob>> = BTreeMap::new();
        for id in packs {
            match work.survey().files.get(&FileName::pack(*id)) {
                None => return Err(Error::Request(format!("no copy has a pack {id}, and no index names it"))),
                Some(standing) if standing.sound != 0 => plan.sound.push(*id),
                Some(_) => {
                    wanted.insert(*id, Vec::new());
                }
            }
        }
        let named_in = entries_of(&work, &mut wanted)?;
        let mut repair = Self { work, plan, entries: wanted };
        let mut broken = Vec::new();
        for (id, entries) in &repair.entries {
            let saved = entries.iter().filter(|entry| repair.sealed(*id, entry).is_some()).count();
            let indexes = named_in.get(id).cloned().unwrap_or_default();
            broken.push(BrokenPack { id: *id, saved, lost: entries.len() - saved, indexes });
        }
        repair.plan.broken = broken;
        Ok(repair)
    }

    /// What will be done.
    pub fn plan(&self) -> &PacksPlan {
        &self.plan
    }

    /// Does it.
    pub fn apply(mut self) -> Result<PacksReport> {
        let healed = self.work.heal()?;
        if self.plan.broken.is_empty() {
            return Ok(PacksReport { healed, ..PacksReport::default() });
        }
        let fan_out = self.work.fan_out()?;
        let mut saving = Saving { repository: self.work.repository, fan_out: &fan_out, done: Vec::new(), saved: 0 };
        for kind in [BlobKind::Data, BlobKind::Tree] {
            let mut pack = PackWriter::new();
            for (id, entry) in self.entries.iter().flat_map(|(id, entries)| entries.iter().map(move |one| (*id, one))) {
                self.work.repository.cancel().check()?;
                let Some(sealed) = (entry.kind == kind).then(|| self.sealed(id, entry)).flatten() else { continue };
                saving.save(&mut pack, entry, &sealed)?;
            }
            saving.close(pack)?;
        }
        let (saved, new_packs) = (saving.saved, saving.done);
        let packs_written = new_packs.len() as u64;
        let old_indexes: HashSet<FileName> =
            self.plan.broken.iter().flat_map(|broken| broken.indexes.clone()).collect();
        let indexes = Press::new(self.work.repository, None);
        for name in &old_indexes {
            let file = read_index(&self.work, *name)?;
            for pack in file.packs.into_iter().filter(|pack| !self.entries.contains_key(&pack.id)) {
                indexes.index(&fan_out, pack)?;
            }
            for pack in file.packs_to_delete.into_iter().filter(|pack| !self.entries.contains_key(&pack.id)) {
                indexes.mark(&fan_out, pack)?;
            }
        }
        for pack in new_packs {
            indexes.index(&fan_out, pack)?;
        }
        let written: Vec<FileName> = indexes.finish(&fan_out)?.into_iter().map(|(name, _)| name).collect();
        self.work.settle(fan_out)?;
        let mut old: Vec<FileName> = old_indexes.into_iter().filter(|name| !written.contains(name)).collect();
        old.sort_unstable();
        // Packs last: no index names them any more when they go.
        old.extend(self.entries.keys().map(|id| FileName::pack(*id)));
        let removed = self.work.remove_old(&old)?;
        Ok(PacksReport { healed, saved, packs_written, removed })
    }

    /// The sealed bytes of a blob, from any copy on which they open to what they should be.
    fn sealed(&self, pack: Id, entry: &PackedBlob) -> Option<Vec<u8>> {
        let repository = self.work.repository;
        let span = Span::Range { offset: entry.offset.into(), length: entry.length.into() };
        repository.copies().live().find_map(|(_, copy)| {
            let sealed = repository.copies().wait(copy.destination().read(FileName::pack(pack), span)).ok()?;
            let mut opened = sealed.to_vec();
            open_blob(repository.master(), entry, &mut opened, &mut Decompressor::new()).ok()?;
            Some(sealed.to_vec())
        })
    }
}

/// Fills `wanted` with what index files say of these packs, and with what their own headers say where one opens. Gives
/// the index files that name each.
fn entries_of(work: &Work<'_>, wanted: &mut BTreeMap<Id, Vec<PackedBlob>>) -> Result<BTreeMap<Id, Vec<FileName>>> {
    let mut named_in: BTreeMap<Id, Vec<FileName>> = BTreeMap::new();
    for name in sound_indexes(work) {
        for pack in read_index(work, name)?.packs {
            if let Some(entries) = wanted.get_mut(&pack.id) {
                entries.extend(pack.blobs);
                named_in.entry(pack.id).or_default().push(name);
            }
        }
    }
    for (id, entries) in wanted.iter_mut() {
        entries.extend(headers_of(work, *id));
        entries.sort_unstable_by_key(|blob| (blob.offset, blob.length, blob.id));
        entries.dedup();
    }
    Ok(named_in)
}

/// What the header says on those copies on which it opens.
fn headers_of(work: &Work<'_>, id: Id) -> Vec<PackedBlob> {
    let (repository, name) = (work.repository, FileName::pack(id));
    let header = |destination: &dyn destinations::Destination| {
        let size = repository.copies().wait(destination.stat(name)).ok()?;
        let tail = |length: u64| {
            let span = Span::Range { offset: size - length, length };
            repository.copies().wait(destination.read(name, span)).map_err(|fault| fault.to_string())
        };
        header::read(repository.master(), size, tail).ok()
    };
    let of_copies = repository.copies().live().filter_map(|(_, copy)| header(copy.destination().as_ref()));
    of_copies.flatten().collect()
}

/// New packs on their way to every copy.
struct Saving<'a> {
    repository: &'a Repository,
    fan_out: &'a FanOut<'a>,
    done: Vec<IndexedPack>,
    saved: u64,
}

impl Saving<'_> {
    fn save(&mut self, pack: &mut PackWriter, entry: &PackedBlob, sealed: &[u8]) -> Result<()> {
        pack.push_sealed(entry.kind, entry.id, sealed, entry.uncompressed_length).map_err(packing::unusable)?;
        self.saved += 1;
        if packing::is_done(pack) {
            self.close(std::mem::take(pack))?;
        }
        Ok(())
    }

    fn close(&mut self, pack: PackWriter) -> Result<()> {
        if pack.is_empty() {
            return Ok(());
        }
        let FinishedPack { id, bytes, blobs } = pack.finish(self.repository.master()).map_err(packing::unusable)?;
        self.fan_out.pack(id, &blobs, bytes.into())?;
        self.done.push(IndexedPack { id, blobs });
        Ok(())
    }
}
