//! What the snapshots need: every tree that they reach is read once, level by level, and what it names is one bit.
//!
//! A level is read in the order in which it lies in the packs, so that a million folders are some hundred reads. Nothing
//! of a tree is kept but its sub-folders' ranks for the next level.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use format::{BlobKind, Tree};
use model::Id;

use super::blobs::{BlobReader, LISTINGS_WINDOW_BYTES, Tools, Wanted, windows};
use super::loss::{self, Lost};
use crate::bits::Bits;
use crate::error::Result;
use crate::threads;

/// Threads that read trees, where the processor has fewer cores: a far copy is asked for several windows at once.
const READERS_MIN: usize = 4;

/// Missing blobs that are remembered; the first is named, the others are counted.
const LOST_MAX: usize = 10_000;

/// A snapshot's id, and its tree's.
pub(super) type Root = (Id, Id);

/// Ranks of names that snapshots need.
pub(super) struct Used {
    pub(super) data: Bits,
    pub(super) trees: Bits,
}

impl Used {
    pub(super) fn of(&self, kind: BlobKind) -> &Bits {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }
}

/// Follows the snapshots. Refuses when they need anything that is nowhere, and names the first such path.
pub(super) fn find(reader: &BlobReader<'_>, roots: &[Root]) -> Result<Used> {
    let length = |kind| reader.ledger.shelf(kind).rows().len();
    let used = Used { data: Bits::new(length(BlobKind::Data)), trees: Bits::new(length(BlobKind::Tree)) };
    let walk = Walk { reader, used: &used, lost: Mutex::default() };
    let mut level = Vec::new();
    roots.iter().for_each(|(_, tree)| walk.meet(tree, &mut level));
    while !level.is_empty() {
        level = walk.read(level)?;
    }
    let lost = walk.lost.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if lost.is_empty() { Ok(used) } else { Err(loss::refusal(reader, roots, &lost)?) }
}

struct Walk<'a> {
    reader: &'a BlobReader<'a>,
    used: &'a Used,
    lost: Mutex<HashSet<Lost>>,
}

impl Walk<'_> {
    /// A tree that is needed; it is read with the next level when it was not met before.
    fn meet(&self, id: &Id, next: &mut Vec<Wanted>) {
        let rank = self.reader.ledger.shelf(BlobKind::Tree).rank(id);
        match rank.and_then(|rank| Some((rank, self.reader.wanted_tree(*id, rank)?))) {
            Some((rank, wanted)) => {
                if self.used.trees.insert(rank) {
                    next.push(wanted);
                }
            }
            None => self.lose(BlobKind::Tree, *id),
        }
    }

    fn lose(&self, kind: BlobKind, id: Id) {
        let mut lost = threads::lock(&self.lost);
        if lost.len() < LOST_MAX {
            lost.insert((kind, id));
        }
    }

    /// Reads one level and gives the next.
    fn read(&self, mut level: Vec<Wanted>) -> Result<Vec<Wanted>> {
        let windows = windows(self.reader.ledger, &mut level, LISTINGS_WINDOW_BYTES);
        let progress = self.reader.repository.observer().progress();
        progress.found(level.len() as u64, 0);
        let (next_window, below) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        threads::run(threads::count().max(READERS_MIN).min(windows.len()), |_| {
            let (mut tools, mut next) = (Tools::for_listings(), Vec::new());
            while let Some(window) = windows.get(next_window.fetch_add(1, Ordering::Relaxed)) {
                self.reader.read(&mut tools, &level, window, |wanted, read| {
                    let tree = read.ok().and_then(|plain| Tree::parse(plain).ok());
                    match tree {
                        Some(tree) => self.note(&tree, &mut next),
                        None => self.lose(BlobKind::Tree, wanted.id),
                    }
                    Ok(())
                })?;
                progress.done(window.blobs.len() as u64, 0);
            }
            threads::lock(&below).append(&mut next);
            Ok(())
        })?;
        Ok(below.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn note(&self, tree: &Tree, next: &mut Vec<Wanted>) {
        let data = self.reader.ledger.shelf(BlobKind::Data);
        for node in &tree.nodes {
            for id in node.content.iter().flatten() {
                match data.rank(id) {
                    Some(rank) => drop(self.used.data.insert(rank)),
                    None => self.lose(BlobKind::Data, *id),
                }
            }
            if let Some(subtree) = &node.subtree {
                self.meet(subtree, next);
            }
        }
    }
}
