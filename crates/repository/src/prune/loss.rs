//! Giving a missing blob a name that people understand: the snapshot and the path that need it.
//!
//! Only a prune that refuses comes here, so it may take its time: the snapshots are followed path by path until the
//! first one that needs something missing.

use std::collections::HashSet;

use format::{BlobKind, Tree};
use model::Id;

use super::blobs::{BlobReader, LISTINGS_WINDOW_BYTES, Tools, windows};
use super::used::Root;
use crate::bits::Bits;
use crate::error::{Error, Result};

/// How deeply folders are followed by name.
const DEPTH_MAX: usize = 10_000;

/// A blob that no copy gives.
pub(super) type Lost = (BlobKind, Id);

/// Why nothing can be pruned.
pub(super) fn refusal(reader: &BlobReader<'_>, roots: &[Root], lost: &HashSet<Lost>) -> Result<Error> {
    let mut search = Search {
        reader,
        lost,
        clean: Bits::new(reader.ledger.shelf(BlobKind::Tree).rows().len()),
        tools: Tools::for_listings(),
    };
    let mut whose = String::from("a snapshot");
    let mut which = lost.iter().next().copied();
    for (snapshot, tree) in roots {
        if let Some((path, blob)) = search.below(tree)? {
            whose = format!("`{}` of snapshot {}", String::from_utf8_lossy(&path).escape_debug(), snapshot.short());
            which = Some(blob);
            break;
        }
    }
    let (kind, id) = which.unwrap_or((BlobKind::Tree, Id::default()));
    let further = match lost.len() {
        0 | 1 => String::new(),
        more => format!("; {} blobs are missing in all", more),
    };
    let why =
        format!("nothing is pruned: {whose} needs the {} blob {id}, which no copy has sound{further}", kind.word());
    let hint =
        "`triplicate check` shows what is affected; bring it back from another copy first: a prune could remove the \
                last trace of it"
            .to_owned();
    Ok(Error::Refused { why, hint })
}

struct Search<'a> {
    reader: &'a BlobReader<'a>,
    lost: &'a HashSet<Lost>,
    /// Trees that were followed and need nothing that is missing.
    clean: Bits,
    tools: Tools,
}

/// A folder on the way down.
struct Level {
    tree: Tree,
    rank: usize,
    next: usize,
    path_length: usize,
}

impl Search<'_> {
    /// The first path below a tree that needs something missing.
    fn below(&mut self, root: &Id) -> Result<Option<(Vec<u8>, Lost)>> {
        let mut path = Vec::new();
        let mut levels = match self.enter(root, 0)? {
            Entered::Lost => return Ok(Some((b"/".to_vec(), (BlobKind::Tree, *root)))),
            Entered::Clean => return Ok(None),
            Entered::Open(level) => vec![level],
        };
        while let Some(level) = levels.last_mut() {
            path.truncate(level.path_length);
            let Some(node) = level.tree.nodes.get(level.next) else {
                self.clean.insert(level.rank);
                levels.pop();
                continue;
            };
            level.next += 1;
            path.push(b'/');
            path.extend_from_slice(&node.name);
            let missing = node.content.iter().flatten().find(|id| self.lost.contains(&(BlobKind::Data, **id)));
            if let Some(id) = missing {
                return Ok(Some((path, (BlobKind::Data, *id))));
            }
            let Some(subtree) = node.subtree else { continue };
            if levels.len() >= DEPTH_MAX {
                continue;
            }
            match self.enter(&subtree, path.len())? {
                Entered::Lost => return Ok(Some((path, (BlobKind::Tree, subtree)))),
                Entered::Clean => {}
                Entered::Open(level) => levels.push(level),
            }
        }
        Ok(None)
    }

    fn enter(&mut self, id: &Id, path_length: usize) -> Result<Entered> {
        let Some(rank) = self.reader.ledger.shelf(BlobKind::Tree).rank(id) else { return Ok(Entered::Lost) };
        if self.clean.contains(rank) {
            return Ok(Entered::Clean);
        }
        let mut tree = None;
        let mut wanted: Vec<_> = self.reader.wanted_tree(*id, rank).into_iter().collect();
        for window in windows(self.reader.ledger, &mut wanted, LISTINGS_WINDOW_BYTES) {
            self.reader.read(&mut self.tools, &wanted, &window, |_, read| {
                tree = read.ok().and_then(|plain| Tree::parse(plain).ok());
                Ok(())
            })?;
        }
        Ok(tree.map_or(Entered::Lost, |tree| Entered::Open(Level { tree, rank, next: 0, path_length })))
    }
}

enum Entered {
    /// Nothing is missing below; it was followed before.
    Clean,
    /// It cannot be read itself.
    Lost,
    Open(Level),
}
