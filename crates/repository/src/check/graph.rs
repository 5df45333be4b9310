//! Which tree holds which trees, as numbers: enough to follow every snapshot without reading a tree twice.
//!
//! Names and file contents are not kept: about 16 bytes for each tree and 4 for each sub-folder. So trees can be read
//! in the order in which they lie in packs, each pack once.

use crate::bits::Bits;

/// What one tree says, in ranks of the catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TreeFacts {
    pub(super) rank: usize,
    /// Its sub-folders, as far as an index has them.
    pub(super) folders: Vec<u32>,
    /// True when content or a sub-folder of it is lost.
    pub(super) has_loss: bool,
}

/// All trees that were read.
#[derive(Debug)]
pub(super) struct Graph {
    spans: Vec<(usize, u32)>,
    edges: Vec<u32>,
    sound: Bits,
    has_loss: Bits,
}

/// What can be reached from the snapshots.
#[derive(Debug)]
pub(super) struct Reached {
    /// Trees that are lost, or have a loss in them or below.
    pub(super) affected: Bits,
    /// Trees reached.
    pub(super) trees: u64,
}

impl Graph {
    /// Without trees yet; ranks are below `ranks`.
    pub(super) fn new(ranks: usize) -> Self {
        Self { spans: vec![(0, 0); ranks], edges: Vec::new(), sound: Bits::new(ranks), has_loss: Bits::new(ranks) }
    }

    /// Adds a tree that was read and is sound; a tree in two packs is added once.
    pub(super) fn add(&mut self, facts: &TreeFacts) {
        if !self.sound.insert(facts.rank) {
            return;
        }
        if let Some(span) = self.spans.get_mut(facts.rank) {
            *span = (self.edges.len(), facts.folders.len() as u32);
            self.edges.extend_from_slice(&facts.folders);
        }
        if facts.has_loss {
            self.has_loss.insert(facts.rank);
        }
    }

    /// Whether the tree was read and is sound.
    pub(super) fn is_sound(&self, rank: usize) -> bool {
        self.sound.contains(rank)
    }

    fn folders(&self, rank: usize) -> &[u32] {
        let (start, count) = self.spans.get(rank).copied().unwrap_or_default();
        self.edges.get(start..start + count as usize).unwrap_or_default()
    }

    /// Follows every root. With its own stack: trees may be nested more deeply than a thread's stack is.
    pub(super) fn reach(&self, roots: impl IntoIterator<Item = usize>) -> Reached {
        let seen = Bits::new(self.spans.len());
        let affected = Bits::new(self.spans.len());
        let mut trees = 0;
        let mut stack: Vec<(usize, usize)> = Vec::new();
        for root in roots {
            if seen.insert(root) {
                trees += 1;
                stack.push((root, 0));
            }
            while let Some((rank, next)) = stack.last_mut() {
                let rank = *rank;
                if let Some(&folder) = self.folders(rank).get(*next) {
                    *next += 1;
                    if seen.insert(folder as usize) {
                        trees += 1;
                        stack.push((folder as usize, 0));
                    }
                    continue;
                }
                stack.pop();
                let below = self.folders(rank).iter().any(|folder| affected.contains(*folder as usize));
                if below || !self.sound.contains(rank) || self.has_loss.contains(rank) {
                    affected.insert(rank);
                }
            }
        }
        Reached { affected, trees }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(trees: &[(usize, &[u32], bool)], ranks: usize) -> Graph {
        let mut graph = Graph::new(ranks);
        for (rank, folders, has_loss) in trees {
            graph.add(&TreeFacts { rank: *rank, folders: folders.to_vec(), has_loss: *has_loss });
        }
        graph
    }

    fn affected(graph: &Graph, roots: &[usize]) -> Vec<usize> {
        let reached = graph.reach(roots.iter().copied());
        (0..graph.spans.len()).filter(|rank| reached.affected.contains(*rank)).collect()
    }

    #[test]
    fn a_loss_reaches_every_folder_above_it_and_no_other() {
        // 0 -> 1 -> 3 (loss); 0 -> 2 -> 4; 5 -> 4; 6 -> 3; 7 is not reached.
        let trees: &[(usize, &[u32], bool)] = &[
            (0, &[1, 2], false),
            (1, &[3], false),
            (2, &[4], false),
            (3, &[], true),
            (4, &[], false),
            (5, &[4], false),
            (6, &[3], false),
            (7, &[], true),
        ];
        let graph = graph(trees, 8);
        assert_eq!(affected(&graph, &[0, 5]), [0, 1, 3]);
        assert!(affected(&graph, &[5]).is_empty());
        assert_eq!(affected(&graph, &[5, 6, 6]), [3, 6]);
        assert_eq!(graph.reach([0, 5]).trees, 6);
    }

    #[test]
    fn a_tree_that_was_not_read_is_a_loss() {
        let graph = graph(&[(0, &[1], false)], 2);
        assert_eq!(affected(&graph, &[0]), [0, 1]);
        assert!(graph.is_sound(0) && !graph.is_sound(1));
    }

    #[test]
    fn depth_and_circles_end() {
        let deep = 200_000;
        let mut graph = Graph::new(deep);
        for rank in 0..deep {
            let next = if rank + 1 == deep { 0 } else { rank as u32 + 1 };
            graph.add(&TreeFacts { rank, folders: vec![next], has_loss: false });
        }
        assert_eq!(graph.reach([0]).trees, deep as u64);
    }
}
