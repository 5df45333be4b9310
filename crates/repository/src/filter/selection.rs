//! Which entries of a snapshot a restore, a listing or a search takes.

use super::list::PatternList;

/// What to take and what to leave. Without any pattern everything is taken.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// When not empty, only what matches is taken.
    pub include: PatternList,
    /// What matches is left, together with all that is in it.
    pub exclude: PatternList,
}

/// What is to be done with one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Take it.
    pub selected: bool,
    /// Look at what is in it; false for everything but folders.
    pub descend: bool,
}

impl Selection {
    /// True when nothing is left out.
    pub fn takes_everything(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Decides about `path`, which is absolute inside the snapshot (or inside the part of it that is asked for).
    pub fn selects(&self, path: &[u8], is_dir: bool) -> Decision {
        if !self.exclude.is_empty() && self.exclude.matches(path) {
            return Decision { selected: false, descend: false };
        }
        if self.include.is_empty() {
            return Decision { selected: true, descend: is_dir };
        }
        let matched = self.include.judge(path);
        Decision { selected: matched.itself, descend: is_dir && matched.below }
    }
}
