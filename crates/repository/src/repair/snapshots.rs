//! `repair snapshots`: snapshots that need what is lost go on without it.
//!
//! A file keeps the pieces that are there, without those that are lost, and gets the size of what is left; a folder
//! whose listing is lost becomes empty. Everything else stays as it was. The new snapshot says which one it was made
//! from; the old one stays beside it unless it is to be forgotten, and a snapshot of which nothing is left can only be
//! forgotten. All this is what `restic repair snapshots` does. What another copy has is not lost: healing comes first.

use std::collections::{HashMap, HashSet};

use format::{
    BlobKind, Compression, Compressor, FileKind, FileName, FinishedPack, IndexedPack, Node, NodeKind, PackWriter,
    Snapshot, Tree,
};
use model::Id;

use super::old_files::Removed;
use super::work::{HealedFirst, Work};
use crate::copies::fan_out::FanOut;
use crate::copies::heal::HealPlan;
use crate::error::{Error, Result};
use crate::index::press::Press;
use crate::packing;
use crate::repository::{Indexed, Repository};

/// Changes that are named for each snapshot; the rest is counted.
const CHANGES_MAX: usize = 1000;

/// The tag of a repaired snapshot whose original stays.
const TAG: &str = "repaired";

/// Which snapshots to repair, and what becomes of the old ones.
#[derive(Debug, Clone, Default)]
pub struct RepairSnapshotsRequest {
    /// These; empty: all.
    pub snapshots: Vec<Id>,
    /// Remove the old snapshots, and those of which nothing is left.
    pub forget: bool,
}

/// What is done to an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A file goes on without so many of its pieces.
    ContentLost {
        /// Pieces that are lost.
        blobs: usize,
        /// Pieces that it had.
        of: usize,
    },
    /// The recorded size was not the sum of the pieces.
    SizeFixed,
    /// A folder's listing is lost; the folder is empty now.
    FolderLost,
}

/// What is to be done with one snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotPlan {
    /// The snapshot.
    pub id: Id,
    /// Paths and what changes, as far as named.
    pub changes: Vec<(Vec<u8>, Change)>,
    /// Changes that are not named, or that were named with an earlier snapshot that has the same folder.
    pub changes_left_out: u64,
    /// True when nothing is left of it: its file or its topmost folder is lost.
    pub is_lost: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Default)]
pub struct SnapshotsPlan {
    /// What is healed first.
    pub heal: HealPlan,
    /// Snapshots that are not whole; all others stay as they are.
    pub snapshots: Vec<SnapshotPlan>,
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct SnapshotsReport {
    /// What was healed first.
    pub healed: HealedFirst,
    /// Old snapshot and the new one that was made of it.
    pub repaired: Vec<(Id, Id)>,
    /// Snapshots of which nothing is left, and which still stand there.
    pub left: Vec<Id>,
    /// What became of old snapshots.
    pub removed: Removed,
}

/// A repair of snapshots, examined and not yet done. Locks are held as long as this lives.
pub struct SnapshotRepair<'a> {
    work: Work<'a>,
    indexed: Indexed<'a>,
    chosen: Vec<(Id, Snapshot)>,
    forget: bool,
    plan: SnapshotsPlan,
}

impl std::fmt::Debug for SnapshotRepair<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotRepair").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl<'a> SnapshotRepair<'a> {
    /// Walks the snapshots. Nothing is changed.
    pub fn examine(repository: &'a Repository, request: &RepairSnapshotsRequest) -> Result<Self> {
        let work = Work::begin(repository, &[], false)?;
        let listing = repository.snapshots()?;
        let is_chosen = |id: &Id| request.snapshots.is_empty() || request.snapshots.contains(id);
        let unread =
            listing.holdings.files.keys().filter(|id| !listing.snapshots.iter().any(|(known, _)| known == *id));
        let unread: Vec<Id> = unread.filter(|id| is_chosen(id)).copied().collect();
        let chosen: Vec<(Id, Snapshot)> = listing.snapshots.into_iter().filter(|(id, _)| is_chosen(id)).collect();
        if let Some(unknown) =
            request.snapshots.iter().find(|id| !unread.contains(id) && !chosen.iter().any(|(known, _)| known == *id))
        {
            return Err(Error::Snapshot(format!("there is no snapshot {unknown}")));
        }
        let mut indexed = repository.indexed()?;
        if indexed.has_lost_index {
            return Err(Error::Refused {
                why: "an index file that no copy has sound may know what snapshots seem to lack".to_owned(),
                hint: "`triplicate repair index` makes the index anew from the packs".to_owned(),
            });
        }
        let files = &work.survey().files;
        indexed.index.forget_packs(|id| files.get(&FileName::pack(*id)).is_some_and(|standing| standing.sound != 0));
        let mut plan = SnapshotsPlan { heal: work.heal_plan().clone(), ..SnapshotsPlan::default() };
        let mut rewriting = Rewriting { indexed: &indexed, known: HashMap::new(), saver: None };
        for (id, snapshot) in &chosen {
            repository.cancel().check()?;
            let mut found = SnapshotPlan { id: *id, ..SnapshotPlan::default() };
            let new = rewriting.rewrite(&snapshot.tree, &mut found)?;
            found.is_lost = new.is_none();
            if new != Some(snapshot.tree) {
                plan.snapshots.push(found);
            }
        }
        plan.snapshots.extend(unread.into_iter().map(|id| SnapshotPlan {
            id,
            is_lost: true,
            ..SnapshotPlan::default()
        }));
        Ok(Self { work, indexed, chosen, forget: request.forget, plan })
    }

    /// What will be done.
    pub fn plan(&self) -> &SnapshotsPlan {
        &self.plan
    }

    /// Does it.
    pub fn apply(mut self) -> Result<SnapshotsReport> {
        let mut report = SnapshotsReport { healed: self.work.heal()?, ..SnapshotsReport::default() };
        let repository = self.work.repository;
        let fan_out = self.work.fan_out()?;
        let saver = Saver::new(repository, &fan_out);
        let mut rewriting = Rewriting { indexed: &self.indexed, known: HashMap::new(), saver: Some(saver) };
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for planned in &self.plan.snapshots {
            let snapshot = self.chosen.iter().find(|(id, _)| *id == planned.id).map(|(_, snapshot)| snapshot);
            let rewritten = match snapshot.filter(|_| !planned.is_lost) {
                Some(snapshot) => {
                    let tree = rewriting.rewrite(&snapshot.tree, &mut SnapshotPlan::default())?;
                    tree.map(|tree| self.rewritten(planned.id, snapshot, tree))
                }
                None => None,
            };
            match rewritten {
                Some(snapshot) => new.push((planned.id, snapshot)),
                None if !self.forget => report.left.push(planned.id),
                None => {}
            }
            if self.forget {
                old.push(FileName::new(FileKind::Snapshot, planned.id));
            }
        }
        if let Some(saver) = rewriting.saver {
            saver.finish()?;
        }
        for (id, snapshot) in new {
            let (name, bytes) = repository.seal_file(FileKind::Snapshot, &snapshot.to_bytes());
            fan_out.put(name, bytes)?;
            report.repaired.push((id, name.id().unwrap_or_default()));
        }
        self.work.settle(fan_out)?;
        report.removed = self.work.remove_old(&old)?;
        let gone: Vec<Id> = old.iter().filter_map(FileName::id).collect();
        repository.note_forgotten(&gone);
        Ok(report)
    }

    /// The same snapshot with another tree.
    fn rewritten(&self, id: Id, snapshot: &Snapshot, tree: Id) -> Snapshot {
        let mut new = Snapshot { tree, original: Some(id), ..snapshot.clone() };
        if !self.forget && !new.tags.iter().any(|tag| tag == TAG) {
            new.tags.push(TAG.to_owned());
        }
        new
    }
}

/// Rewrites trees, each once.
struct Rewriting<'a, 'w> {
    indexed: &'a Indexed<'w>,
    /// What became of a tree: the id of the one that stands for it; none where it cannot be read. Changes below a tree
    /// are named at the first place where it is met.
    known: HashMap<Id, (Option<Id>, u64)>,
    /// None where only the plan is made.
    saver: Option<Saver<'a>>,
}

/// A folder on the way down.
struct Level {
    id: Id,
    path: Vec<u8>,
    tree: Tree,
    next: usize,
    changes: u64,
    /// The folder at `next` was entered from here, so that its changes are named.
    is_entered: bool,
}

impl Rewriting<'_, '_> {
    /// The tree that stands for `root`; none where `root` itself cannot be read.
    fn rewrite(&mut self, root: &Id, plan: &mut SnapshotPlan) -> Result<Option<Id>> {
        let mut stack = Vec::new();
        self.enter(*root, Vec::new(), &mut stack)?;
        // With its own stack: folders may be nested more deeply than a thread's stack is.
        while let Some(level) = stack.last_mut() {
            self.indexed.repository.cancel().check()?;
            let Some(node) = level.tree.nodes.get(level.next) else {
                let Some(level) = stack.pop() else { break };
                self.leave(level)?;
                continue;
            };
            let path = [&level.path, b"/".as_slice(), &node.name].concat();
            match (node.kind, node.subtree) {
                (NodeKind::File, _) => {
                    if let Some((node, change)) = self.file(node) {
                        level.changes += 1;
                        plan.add(path, change);
                        if let Some(place) = level.tree.nodes.get_mut(level.next) {
                            *place = node;
                        }
                    }
                    level.next += 1;
                }
                (NodeKind::Dir, Some(subtree)) => match self.known.get(&subtree).copied() {
                    Some((Some(id), changes)) => {
                        if !level.is_entered {
                            plan.changes_left_out += changes;
                        }
                        level.set_subtree(id, changes);
                    }
                    Some((None, _)) => {
                        plan.add(path, Change::FolderLost);
                        let empty = self.save(&Tree::default())?;
                        let Some(level) = stack.last_mut() else { break };
                        level.set_subtree(empty, 1);
                    }
                    // It is entered, and met again when it is known.
                    None => {
                        level.is_entered = true;
                        self.enter(subtree, path, &mut stack)?;
                    }
                },
                _ => level.next += 1,
            }
        }
        Ok(self.known.get(root).and_then(|(new, _)| *new))
    }

    /// Begins with a tree, unless it is known. One that cannot be read is known to be lost.
    fn enter(&mut self, id: Id, path: Vec<u8>, stack: &mut Vec<Level>) -> Result<()> {
        if self.known.contains_key(&id) {
            return Ok(());
        }
        match self.indexed.tree(&id) {
            Ok(tree) => {
                stack.push(Level { id, path, tree, next: 0, changes: 0, is_entered: false });
                Ok(())
            }
            Err(error @ Error::Interrupted) => Err(error),
            Err(error) if self.indexed.repository.copies().live().next().is_none() => Err(error),
            Err(_) => {
                self.known.insert(id, (None, 0));
                Ok(())
            }
        }
    }

    /// Ends with a tree.
    fn leave(&mut self, level: Level) -> Result<()> {
        let new = if level.changes == 0 { level.id } else { self.save(&level.tree)? };
        self.known.insert(level.id, (Some(new), level.changes));
        Ok(())
    }

    fn save(&mut self, tree: &Tree) -> Result<Id> {
        match &mut self.saver {
            Some(saver) => saver.save(self.indexed, tree),
            None => Ok(tree.id()),
        }
    }

    /// The file without what is lost of it; none where nothing is.
    fn file(&self, node: &Node) -> Option<(Node, Change)> {
        let content = node.content.as_deref().unwrap_or_default();
        let mut left = Vec::with_capacity(content.len());
        let mut size = 0;
        for id in content {
            if let Some(location) = self.indexed.index.get(BlobKind::Data, id) {
                left.push(*id);
                size += u64::from(location.plain_length());
            }
        }
        let change = if left.len() < content.len() {
            Change::ContentLost { blobs: content.len() - left.len(), of: content.len() }
        } else if size != node.size {
            Change::SizeFixed
        } else {
            return None;
        };
        Some((Node { content: Some(left), size, ..node.clone() }, change))
    }
}

impl Level {
    fn set_subtree(&mut self, id: Id, changes: u64) {
        if let Some(node) = self.tree.nodes.get_mut(self.next)
            && node.subtree != Some(id)
        {
            node.subtree = Some(id);
            self.changes += changes.max(1);
        }
        self.next += 1;
        self.is_entered = false;
    }
}

impl SnapshotPlan {
    fn add(&mut self, path: Vec<u8>, change: Change) {
        if self.changes.len() < CHANGES_MAX {
            self.changes.push((path, change));
        } else {
            self.changes_left_out += 1;
        }
    }
}

/// New trees on their way to every copy.
struct Saver<'a> {
    repository: &'a Repository,
    fan_out: &'a FanOut<'a>,
    compressor: Compressor,
    pack: PackWriter,
    done: Vec<IndexedPack>,
    saved: HashSet<Id>,
}

impl<'a> Saver<'a> {
    fn new(repository: &'a Repository, fan_out: &'a FanOut<'a>) -> Self {
        let compressor = Compressor::new(Compression::Auto);
        Self { repository, fan_out, compressor, pack: PackWriter::new(), done: Vec::new(), saved: HashSet::new() }
    }

    fn save(&mut self, indexed: &Indexed<'_>, tree: &Tree) -> Result<Id> {
        let plain = tree.to_bytes();
        let id = format::hash(&plain);
        if indexed.index.contains(BlobKind::Tree, &id) || !self.saved.insert(id) {
            return Ok(id);
        }
        let compressor = (self.repository.config().version > 1).then_some(&mut self.compressor);
        self.pack.push(self.repository.master(), BlobKind::Tree, id, &plain, compressor).map_err(packing::unusable)?;
        if packing::is_done(&self.pack) {
            self.close()?;
        }
        Ok(id)
    }

    fn close(&mut self) -> Result<()> {
        let pack = std::mem::take(&mut self.pack);
        if pack.is_empty() {
            return Ok(());
        }
        let FinishedPack { id, bytes, blobs } = pack.finish(self.repository.master()).map_err(packing::unusable)?;
        self.fan_out.pack(id, &blobs, bytes.into())?;
        self.done.push(IndexedPack { id, blobs });
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.close()?;
        let indexes = Press::new(self.repository, None);
        for pack in std::mem::take(&mut self.done) {
            indexes.index(self.fan_out, pack)?;
        }
        indexes.finish(self.fan_out).map(drop)
    }
}
