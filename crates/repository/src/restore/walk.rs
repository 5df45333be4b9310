//! The way through the snapshot: reads listings, makes folders, and hands out batches of everything else.
//!
//! The walk keeps a stack of its own, so that depth costs memory and never the thread's stack. It goes depth first in
//! the order of the listings, which is the order in which a backup stored the content.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use format::{Node, NodeKind};
use model::Id;

use super::Restoration;
use super::batch::{Batch, Entry, Finished, FurtherName};
use super::folder::{Arrival, Folder, path_from};
use super::name::EntryName;
use super::names_of_files::{NamesOfFiles, Role};
use crate::error::{Error, Result};
use crate::observer::TroubleKind;

/// How deep folders may lie in each other. Paths of ordinary programs end at 2,048 levels.
const DEPTH_MAX: usize = 8192;

/// A folder of the snapshot that the walk is in.
struct Level {
    tree: Id,
    nodes: std::vec::IntoIter<Node>,
    /// The folder's own entry; none for the top.
    node: Option<Node>,
    /// Made when the first thing is restored into it.
    folder: Option<Arc<Folder>>,
    /// Length of the path to it.
    path_length: usize,
    /// With `delete`: what the snapshot has in it.
    names: Option<Vec<Vec<u8>>>,
}

/// A walk under way.
pub(super) struct Walk<'a, 'r> {
    restoration: &'a Restoration<'r>,
    batches: SyncSender<Batch>,
    levels: Vec<Level>,
    /// Path of the level on top, without a `/` at its end.
    path: Vec<u8>,
    batch: Batch,
    names_of_files: NamesOfFiles,
}

/// The receiver of batches went away: somebody else has the error.
struct NobodyListens;

impl<'a, 'r> Walk<'a, 'r> {
    pub(super) fn new(restoration: &'a Restoration<'r>, batches: SyncSender<Batch>) -> Self {
        Self {
            restoration,
            batches,
            levels: Vec::new(),
            path: Vec::new(),
            batch: Batch::default(),
            names_of_files: NamesOfFiles::default(),
        }
    }

    /// Walks the tree `top` to its end.
    pub(super) fn run(mut self, top: Id) -> Result<()> {
        // Without the first listing there is nothing to restore at all.
        let nodes = self.restoration.indexed.tree(&top)?.nodes;
        let folder = self.restoration.top();
        self.enter(top, nodes, None, Some(folder));
        while let Some(level) = self.levels.last_mut() {
            let Some(node) = level.nodes.next() else {
                self.leave();
                if self.hand_out_when_full().is_err() {
                    return Ok(());
                }
                continue;
            };
            self.restoration.indexed.repository.cancel().check()?;
            self.visit(node)?;
            if self.hand_out_when_full().is_err() {
                return Ok(());
            }
        }
        if !self.batch.is_empty() && self.hand_out().is_err() {
            return Ok(());
        }
        self.restoration.tally.totals_known();
        Ok(())
    }

    fn enter(&mut self, tree: Id, nodes: Vec<Node>, node: Option<Node>, folder: Option<Arc<Folder>>) {
        let delete = self.restoration.request.delete;
        let names = delete.then(|| nodes.iter().map(|node| node.name.clone()).collect());
        let path_length = self.path.len();
        self.levels.push(Level { tree, nodes: nodes.into_iter(), node, folder, path_length, names });
    }

    fn leave(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        let above = self.levels.last().map_or(0, |level| level.path_length);
        self.path.truncate(above);
        if let Some(folder) = level.folder {
            self.batch.finished.push(Finished { folder, node: level.node, names: level.names });
        }
    }

    fn visit(&mut self, node: Node) -> Result<()> {
        let above = self.path.len();
        if let Err(error) = EntryName::check(&node.name) {
            // What the folder should hold is no longer known for sure, so nothing is removed from it either.
            self.levels.iter_mut().for_each(|level| level.names = None);
            let mut path = self.path.clone();
            path.extend_from_slice(format!("/{}", node.name.escape_ascii()).as_bytes());
            self.restoration.tally.trouble(path_from(path), TroubleKind::Unsafe, error);
            return Ok(());
        }
        self.path.push(b'/');
        self.path.extend_from_slice(&node.name);
        let decision = self.restoration.request.selection.selects(&self.path, node.kind == NodeKind::Dir);
        let has_entered = match node.kind {
            NodeKind::Dir => self.visit_folder(node, decision.selected, decision.descend)?,
            _ if decision.selected => {
                self.visit_entry(node);
                false
            }
            _ => false,
        };
        if !has_entered {
            self.path.truncate(above);
        }
        Ok(())
    }

    /// Gives true when the walk went into the folder.
    fn visit_folder(&mut self, node: Node, selected: bool, descend: bool) -> Result<bool> {
        if !selected && !descend {
            return Ok(false);
        }
        if self.levels.len() >= DEPTH_MAX {
            self.trouble(TroubleKind::Unsafe, format!("folders lie more than {DEPTH_MAX} deep in each other"));
            return Ok(false);
        }
        let folder = match selected {
            true => match self.folder_of_top().and_then(|parent| self.make(&parent, &node.name)) {
                Some(folder) => Some(folder),
                None => return Ok(false),
            },
            false => None,
        };
        let listing = match node.subtree {
            _ if !descend => Some((Id::default(), Vec::new())),
            Some(tree) => self.listing(tree)?,
            None => {
                self.trouble(TroubleKind::Lost, "the snapshot has no listing of this folder");
                None
            }
        };
        let is_whole = listing.is_some();
        let (tree, nodes) = listing.unwrap_or_default();
        self.enter(tree, nodes, Some(node), folder);
        if let Some(level) = self.levels.last_mut().filter(|_| !is_whole || !descend) {
            level.names = None;
        }
        Ok(true)
    }

    /// Reads a listing; a trouble when it cannot be had.
    fn listing(&self, tree: Id) -> Result<Option<(Id, Vec<Node>)>> {
        if self.levels.iter().any(|level| level.tree == tree) {
            self.trouble(TroubleKind::Unsafe, "the folder lies in itself");
            return Ok(None);
        }
        match self.restoration.indexed.tree(&tree) {
            Ok(listing) => Ok(Some((tree, listing.nodes))),
            Err(error) if self.restoration.ends_everything(&error) => Err(error),
            Err(error) => {
                self.trouble(TroubleKind::Lost, format!("what is in this folder cannot be read: {error}"));
                Ok(None)
            }
        }
    }

    fn visit_entry(&mut self, node: Node) {
        if node.kind == NodeKind::Irregular {
            let why = format!("an entry of the kind `{}` is not restored", node.kind.word());
            return self.trouble(TroubleKind::Unsupported, why);
        }
        let Some(folder) = self.folder_of_top() else { return };
        let role = self.names_of_files.role(&folder, &node);
        let size = if matches!(role, Role::Further(_)) { 0 } else { node.size };
        self.restoration.tally.found(size);
        match role {
            Role::Single => self.batch.push(Entry { folder, node, first: None }),
            Role::First(first) => self.batch.push(Entry { folder, node, first: Some(first) }),
            Role::Further(first) => {
                self.batch.further.push(FurtherName { entry: Entry { folder, node, first: None }, first });
            }
        }
    }

    /// The folder on top of the stack; it and those above it are made where that was put off. None when one of them
    /// cannot be made: that is told once, and nothing in it is tried.
    fn folder_of_top(&mut self) -> Option<Arc<Folder>> {
        let made = self.levels.iter().rposition(|level| level.folder.is_some())?;
        let mut folder = self.levels.get(made)?.folder.clone()?;
        for at in made + 1..self.levels.len() {
            let name = self.levels.get(at)?.node.as_ref()?.name.clone();
            let made = self.make_at(at, &folder, &name);
            match made {
                Some(made) => {
                    self.levels.get_mut(at)?.folder = Some(Arc::clone(&made));
                    folder = made;
                }
                None => {
                    self.levels.iter_mut().skip(at).for_each(|level| level.nodes = Vec::new().into_iter());
                    return None;
                }
            }
        }
        Some(folder)
    }

    fn make_at(&self, level: usize, parent: &Arc<Folder>, name: &[u8]) -> Option<Arc<Folder>> {
        let length = self.levels.get(level).map_or(0, |level| level.path_length);
        self.make_folder(parent, name, self.path.get(..length).unwrap_or_default())
    }

    fn make(&self, parent: &Arc<Folder>, name: &[u8]) -> Option<Arc<Folder>> {
        self.make_folder(parent, name, &self.path)
    }

    fn make_folder(&self, parent: &Arc<Folder>, name: &[u8], path: &[u8]) -> Option<Arc<Folder>> {
        self.restoration.tally.found(0);
        match self.restoration.make_folder(parent, name) {
            Ok(folder) => Some(folder),
            Err(error) => {
                let why = format!("cannot make this folder, so nothing in it is restored: {error}");
                self.restoration.tally.trouble(path_from(path.to_vec()), TroubleKind::Unwritable, why);
                None
            }
        }
    }

    /// A trouble with the entry that the path stands at.
    fn trouble(&self, kind: TroubleKind, why: impl std::fmt::Display) {
        self.restoration.tally.trouble(path_from(self.path.clone()), kind, why);
    }

    fn hand_out_when_full(&mut self) -> std::result::Result<(), NobodyListens> {
        if self.batch.is_full() { self.hand_out() } else { Ok(()) }
    }

    fn hand_out(&mut self) -> std::result::Result<(), NobodyListens> {
        self.batches.send(std::mem::take(&mut self.batch)).map_err(|_| NobodyListens)
    }
}

/// Finds the listing of `subfolder` in a snapshot.
pub(super) fn find_subfolder(indexed: &crate::Indexed<'_>, top: Id, subfolder: &[u8]) -> Result<Id> {
    let mut tree = top;
    let shown = || String::from_utf8_lossy(subfolder).into_owned();
    for part in subfolder.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        let listing = indexed.tree(&tree)?;
        let part_shown = String::from_utf8_lossy(part);
        let node = listing.find(part).ok_or_else(|| {
            Error::Snapshot(format!("the snapshot has no folder `{}`: there is no `{part_shown}`", shown()))
        })?;
        tree = node.subtree.filter(|_| node.kind == NodeKind::Dir).ok_or_else(|| {
            Error::Snapshot(format!(
                "`{}` in the snapshot is not a folder: `{part_shown}` is a {}",
                shown(),
                node.kind.word()
            ))
        })?;
    }
    Ok(tree)
}

impl Restoration<'_> {
    fn top(&self) -> Arc<Folder> {
        self.folders.as_ref().map_or_else(|| Arc::new(Folder::absent()), |folders| folders.top())
    }

    fn make_folder(&self, parent: &Arc<Folder>, name: &[u8]) -> std::result::Result<Arc<Folder>, rustix::io::Errno> {
        match &self.folders {
            Some(folders) if !self.request.dry_run => folders.make(parent, name),
            Some(folders) if parent.arrival != Arrival::Absent => Ok(folders.foresee(parent, name)),
            _ => Ok(Arc::new(Folder::absent_in(parent, name))),
        }
    }
}
