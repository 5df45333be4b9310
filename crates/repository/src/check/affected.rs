//! What a damage means to people: which snapshots and paths cannot be given back from this copy.
//!
//! Only folders with a loss in or below them are read again, so a sound copy pays nothing and a damaged one little.

use std::collections::HashMap;
use std::sync::Arc;

use format::{BlobKind, FileName, Node, NodeKind, Tree};
use model::Id;

use super::catalog::Catalog;
use super::graph::{Graph, Reached};
use super::report::{Affected, Loss};
use super::session::Session;
use crate::bits::Bits;
use crate::error::Result;

/// Paths named for each snapshot.
const PATHS_FOR_EACH_SNAPSHOT: usize = 100;

/// Paths named for a copy.
const PATHS_MAX: usize = 10_000;

/// Trees kept from one snapshot to the next, which mostly share them.
const TREES_KEPT: usize = 256;

/// How deeply folders are followed by name.
const DEPTH_MAX: usize = 4096;

pub(super) struct Naming<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) graph: &'a Graph,
    pub(super) reached: &'a Reached,
    pub(super) bad: &'a Bits,
    pub(super) kept: HashMap<Id, Arc<Tree>>,
}

/// A folder on the way down: its path, its tree, the next entry to look at.
struct Level {
    path: Vec<u8>,
    tree: Arc<Tree>,
    next: usize,
}

impl Naming<'_> {
    /// Names what is lost of each snapshot.
    pub(super) fn name_all(&mut self, session: &mut Session<'_>, snapshots: &[(Id, Id)]) -> Result<()> {
        for (snapshot, root) in snapshots {
            session.cancel.check()?;
            let rank = self.catalog.rank(BlobKind::Tree, root);
            if rank.is_some_and(|rank| !self.reached.affected.contains(rank)) {
                continue;
            }
            session.report.affected_snapshots.push(*snapshot);
            let room = PATHS_MAX.saturating_sub(session.report.affected.len()).min(PATHS_FOR_EACH_SNAPSHOT);
            let named = self.name_one(session, *snapshot, root, room);
            session.report.affected.extend(named);
        }
        Ok(())
    }

    fn name_one(&mut self, session: &mut Session<'_>, snapshot: Id, root: &Id, room: usize) -> Vec<Affected> {
        let mut named = Vec::new();
        let Some(tree) = self.tree(session, root) else {
            named.push(Affected { snapshot, path: b"/".to_vec(), loss: Loss::Folder });
            return named;
        };
        let mut stack = vec![Level { path: Vec::new(), tree, next: 0 }];
        while let Some(level) = stack.last_mut() {
            let Some(node) = level.tree.nodes.get(level.next) else {
                stack.pop();
                continue;
            };
            level.next += 1;
            let path = || [&level.path, b"/".as_slice(), &node.name].concat();
            match (node.kind, node.subtree) {
                (NodeKind::File, _) => {
                    if let Some(loss) = self.content_loss(node) {
                        named.push(Affected { snapshot, path: path(), loss });
                    }
                }
                (NodeKind::Dir, Some(subtree)) if self.is_affected(&subtree) => {
                    let path = path();
                    let is_too_deep = stack.len() >= DEPTH_MAX;
                    match self.tree(session, &subtree).filter(|_| !is_too_deep) {
                        Some(tree) => stack.push(Level { path, tree, next: 0 }),
                        None => named.push(Affected { snapshot, path, loss: Loss::Folder }),
                    }
                }
                _ => {}
            }
            if named.len() > room {
                named.pop();
                session.report.affected_left_out = true;
                break;
            }
        }
        named
    }

    fn content_loss(&self, node: &Node) -> Option<Loss> {
        let content = node.content.as_deref().unwrap_or_default();
        let is_lost = |id: &&Id| self.catalog.is_lost(BlobKind::Data, id, self.bad);
        let blobs = content.iter().filter(is_lost).count();
        (blobs > 0).then_some(Loss::Content { blobs, of: content.len() })
    }

    fn is_affected(&self, subtree: &Id) -> bool {
        self.catalog.rank(BlobKind::Tree, subtree).is_none_or(|rank| self.reached.affected.contains(rank))
    }

    /// A tree of this copy; none when no place of it is sound.
    fn tree(&mut self, session: &Session<'_>, id: &Id) -> Option<Arc<Tree>> {
        if let Some(tree) = self.kept.get(id) {
            return Some(tree.clone());
        }
        let rank = self.catalog.rank(BlobKind::Tree, id).filter(|rank| self.graph.is_sound(*rank))?;
        let tree = self.catalog.numbers(rank).filter(|number| !self.bad.contains(*number)).find_map(|number| {
            let (pack, entry) = (self.catalog.pack_of(number)?, self.catalog.blob(number)?);
            let plain = session.place.read_blob(FileName::pack(pack.id), entry).ok()?;
            Tree::parse(&plain).ok().map(Arc::new)
        })?;
        if self.kept.len() >= TREES_KEPT {
            self.kept.clear();
        }
        self.kept.insert(*id, tree.clone());
        Some(tree)
    }
}
