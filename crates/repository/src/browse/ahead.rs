//! Trees read ahead of a walk, by several threads.
//!
//! A walk needs trees in one order, and each costs a round trip to the destination. So it tells what it will want
//! next, the nearest last, and threads fetch the newest wish first. What is ready and not yet taken is bounded; when
//! the bound is reached, or a wish comes too late, the walk reads the tree itself. So wishes can only help.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use format::Tree;
use model::Id;

use super::source::Source;
use crate::error::Result;
use crate::threads;

/// Entries in trees that are ready and not taken; about 600 bytes each.
const READY_NODES_MAX: usize = 64 << 10;

#[derive(Default)]
struct Board {
    wanted: Vec<Id>,
    loading: HashSet<Id>,
    ready: HashMap<Id, Result<Tree>>,
    ready_nodes: usize,
    is_over: bool,
}

/// The wishes of one walk.
#[derive(Default)]
pub(super) struct Ahead {
    board: Mutex<Board>,
    changed: Condvar,
}

/// Ends the threads, also when the walk ends by a panic.
pub(super) struct Ending<'a>(pub(super) &'a Ahead);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.board().is_over = true;
        self.0.changed.notify_all();
    }
}

impl Ahead {
    fn board(&self) -> MutexGuard<'_, Board> {
        threads::lock(&self.board)
    }

    fn wait<'a>(&self, board: MutexGuard<'a, Board>) -> MutexGuard<'a, Board> {
        self.changed.wait(board).unwrap_or_else(PoisonError::into_inner)
    }

    /// These trees will be needed, the first one first.
    pub(super) fn want(&self, trees: &[Id]) {
        let mut board = self.board();
        board.wanted.extend(trees.iter().rev());
        drop(board);
        self.changed.notify_all();
    }

    /// This tree is not needed after all.
    pub(super) fn forget(&self, tree: &Id) {
        let mut board = self.board();
        board.unwish(tree);
        board.take(tree);
        drop(board);
        self.changed.notify_all();
    }

    /// The tree: ready, or as soon as it is.
    pub(super) fn take(&self, source: &dyn Source, tree: &Id) -> Result<Tree> {
        let mut board = self.board();
        loop {
            if let Some(ready) = board.take(tree) {
                self.changed.notify_all();
                return ready;
            }
            if !board.loading.contains(tree) {
                board.unwish(tree);
                drop(board);
                return source.tree(tree);
            }
            board = self.wait(board);
        }
    }

    /// A thread's work: fetches wishes until the walk is over.
    pub(super) fn serve(&self, source: &dyn Source) {
        let mut board = self.board();
        while !board.is_over {
            let wish = if board.ready_nodes < READY_NODES_MAX { board.wanted.pop() } else { None };
            let Some(tree) = wish else {
                board = self.wait(board);
                continue;
            };
            if board.ready.contains_key(&tree) || !board.loading.insert(tree) {
                continue;
            }
            drop(board);
            let read = source.tree(&tree);
            board = self.board();
            board.loading.remove(&tree);
            board.ready_nodes += weight(&read);
            board.ready.insert(tree, read);
            self.changed.notify_all();
        }
    }
}

impl Board {
    fn unwish(&mut self, tree: &Id) {
        if let Some(position) = self.wanted.iter().rposition(|wanted| wanted == tree) {
            self.wanted.remove(position);
        }
    }

    fn take(&mut self, tree: &Id) -> Option<Result<Tree>> {
        let ready = self.ready.remove(tree)?;
        self.ready_nodes -= weight(&ready);
        Some(ready)
    }
}

fn weight(read: &Result<Tree>) -> usize {
    1 + read.as_ref().map_or(0, |tree| tree.nodes.len())
}
