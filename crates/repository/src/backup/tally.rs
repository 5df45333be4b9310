//! Counting what was found and what was done with it.

use std::sync::atomic::{AtomicU64, Ordering};

use model::Id;

use crate::observer::Action;

/// Files and folders by what became of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) files_new: AtomicU64,
    pub(super) files_changed: AtomicU64,
    pub(super) files_unmodified: AtomicU64,
    pub(super) dirs_new: AtomicU64,
    pub(super) dirs_changed: AtomicU64,
    pub(super) dirs_unmodified: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Tally {
    pub(super) fn file(&self, action: Action, size: u64) {
        let count = match action {
            Action::New | Action::Deleted => &self.files_new,
            Action::Modified => &self.files_changed,
            Action::Unchanged => &self.files_unmodified,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(size, Ordering::Relaxed);
    }

    /// How many files there are, and how many bytes they have.
    pub(super) fn files_and_bytes(&self) -> (u64, u64) {
        let files = [&self.files_new, &self.files_changed, &self.files_unmodified];
        (files.iter().map(|count| count.load(Ordering::Relaxed)).sum(), self.bytes.load(Ordering::Relaxed))
    }

    /// So many files were taken over as they are.
    pub(super) fn unchanged_files(&self, files: u64, bytes: u64) {
        self.files_unmodified.fetch_add(files, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// They have to be looked at again after all.
    pub(super) fn take_back_unchanged(&self, files: u64, bytes: u64) {
        self.files_unmodified.fetch_sub(files, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn folder(&self, before: Option<Id>, now: Id) {
        let count = match before {
            None => &self.dirs_new,
            Some(before) if before == now => &self.dirs_unmodified,
            Some(_) => &self.dirs_changed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
