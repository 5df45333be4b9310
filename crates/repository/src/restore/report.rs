//! What a restore did, and what it could not do.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use model::Verdict;

use crate::observer::{Action, Event, Observer, Trouble, TroubleKind};
use crate::threads::lock;

/// Troubles that a report keeps by name; the observer is told of all of them, and all are counted.
const TROUBLES_KEPT_MAX: usize = 100_000;

/// The end of a restore.
#[derive(Debug, Clone, Default)]
pub struct RestoreReport {
    /// Folders restored.
    pub directories: u64,
    /// Files whose content was written.
    pub files: u64,
    /// Links, devices, pipes and further names of files.
    pub others: u64,
    /// Files whose content was right already; their metadata were set.
    pub unchanged: u64,
    /// Entries that were there and left alone, as [`super::Overwrite`] says.
    pub kept: u64,
    /// Entries removed from the target, with `delete`.
    pub deleted: u64,
    /// Bytes of the files that were selected.
    pub bytes_total: u64,
    /// Of these, written.
    pub bytes_written: u64,
    /// Of these, found right in the target, or left alone.
    pub bytes_skipped: u64,
    /// Files that were read again and are right, with `verify`.
    pub files_verified: u64,
    /// Entries whose owner could not be set because only root may.
    pub owners_not_set: u64,
    /// Entries that are not in the target, or not with the right content.
    pub failed: Vec<Trouble>,
    /// How many these are; more than are named when there are very many.
    pub failed_count: u64,
    /// Entries that are there with incomplete metadata, and entries of a type that is not known.
    pub warnings: Vec<Trouble>,
    /// How many these are.
    pub warnings_count: u64,
    /// How many of these are there with incomplete metadata.
    pub metadata_incomplete: u64,
    /// Packs that lay in an archive when it was looked, and in a dry run still do.
    pub cold_packs: u64,
    /// Their bytes.
    pub cold_bytes: u64,
}

impl RestoreReport {
    /// All entries that were selected and could be handled.
    pub fn entries_total(&self) -> u64 {
        self.directories + self.files + self.others + self.unchanged + self.kept
    }

    /// How the restore ended: partial when anything that was asked for is missing or incomplete, a warning when only
    /// entries of an unknown type were left out or owners could not be set.
    pub fn verdict(&self) -> Verdict {
        if self.failed_count > 0 || self.metadata_incomplete > 0 {
            Verdict::Partial
        } else if self.warnings_count > 0 || self.owners_not_set > 0 {
            Verdict::Warning
        } else {
            Verdict::Ok
        }
    }
}

/// Collects a report from many threads, and tells the observer on the way.
pub(super) struct Tally<'a> {
    observer: &'a dyn Observer,
    wants_entries: bool,
    directories: AtomicU64,
    files: AtomicU64,
    others: AtomicU64,
    unchanged: AtomicU64,
    kept: AtomicU64,
    deleted: AtomicU64,
    bytes_total: AtomicU64,
    bytes_written: AtomicU64,
    bytes_skipped: AtomicU64,
    files_verified: AtomicU64,
    owners_not_set: AtomicU64,
    failed_count: AtomicU64,
    warnings_count: AtomicU64,
    metadata_incomplete: AtomicU64,
    failed: Mutex<Vec<Trouble>>,
    warnings: Mutex<Vec<Trouble>>,
}

/// What became of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A folder is complete.
    Folder(Action),
    /// A file was written.
    File(Action),
    /// A file was right already.
    Unchanged,
    /// A link, a device, a pipe, a further name.
    Other(Action),
    /// It was left alone.
    Kept,
}

impl<'a> Tally<'a> {
    pub(super) fn new(observer: &'a dyn Observer) -> Self {
        Self {
            observer,
            wants_entries: observer.wants_entries(),
            directories: AtomicU64::default(),
            files: AtomicU64::default(),
            others: AtomicU64::default(),
            unchanged: AtomicU64::default(),
            kept: AtomicU64::default(),
            deleted: AtomicU64::default(),
            bytes_total: AtomicU64::default(),
            bytes_written: AtomicU64::default(),
            bytes_skipped: AtomicU64::default(),
            files_verified: AtomicU64::default(),
            owners_not_set: AtomicU64::default(),
            failed_count: AtomicU64::default(),
            warnings_count: AtomicU64::default(),
            metadata_incomplete: AtomicU64::default(),
            failed: Mutex::default(),
            warnings: Mutex::default(),
        }
    }

    /// An entry with so many bytes of content will be handled.
    pub(super) fn found(&self, bytes: u64) {
        self.bytes_total.fetch_add(bytes, Ordering::Relaxed);
        self.observer.progress().found(1, bytes);
    }

    /// Nothing more will be found.
    pub(super) fn totals_known(&self) {
        self.observer.progress().totals_known.store(true, Ordering::Relaxed);
    }

    /// Content was written.
    pub(super) fn wrote(&self, bytes: u64) {
        self.bytes_written.fetch_add(bytes, Ordering::Relaxed);
        self.observer.progress().done(0, bytes);
    }

    /// Content was right already, or was not asked for.
    pub(super) fn skipped(&self, bytes: u64) {
        self.bytes_skipped.fetch_add(bytes, Ordering::Relaxed);
        self.observer.progress().done(0, bytes);
    }

    /// A file was read again and is right.
    pub(super) fn verified(&self) {
        self.files_verified.fetch_add(1, Ordering::Relaxed);
    }

    /// An owner could not be set because only root may.
    pub(super) fn owner_not_set(&self) {
        self.owners_not_set.fetch_add(1, Ordering::Relaxed);
    }

    /// An entry came to a good end.
    pub(super) fn ended(&self, end: End, size: u64, path: impl FnOnce() -> PathBuf) {
        let (counter, action) = match end {
            End::Folder(action) => (&self.directories, action),
            End::File(action) => (&self.files, action),
            End::Other(action) => (&self.others, action),
            End::Unchanged => (&self.unchanged, Action::Unchanged),
            End::Kept => (&self.kept, Action::Unchanged),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.observer.progress().done(1, 0);
        if self.wants_entries {
            self.observer.event(Event::Entry { path: path(), action, size });
        }
    }

    /// Something that was only in the target was removed.
    pub(super) fn deleted(&self, path: impl FnOnce() -> PathBuf) {
        self.deleted.fetch_add(1, Ordering::Relaxed);
        if self.wants_entries {
            self.observer.event(Event::Entry { path: path(), action: Action::Deleted, size: 0 });
        }
    }

    /// An entry is not as it was asked for.
    pub(super) fn trouble(&self, path: PathBuf, kind: TroubleKind, cause: impl std::fmt::Display) {
        let (count, named) = match kind {
            TroubleKind::Metadata | TroubleKind::Unsupported => (&self.warnings_count, &self.warnings),
            _ => (&self.failed_count, &self.failed),
        };
        let trouble = Trouble { path, kind, cause: cause.to_string() };
        count.fetch_add(1, Ordering::Relaxed);
        if kind == TroubleKind::Metadata {
            self.metadata_incomplete.fetch_add(1, Ordering::Relaxed);
        }
        self.observer.progress().troubles.fetch_add(1, Ordering::Relaxed);
        self.observer.event(Event::Trouble(trouble.clone()));
        let mut named = lock(named);
        // A report is read by people: the first of very many say what is wrong.
        if named.len() < TROUBLES_KEPT_MAX {
            named.push(trouble);
        }
    }

    pub(super) fn into_report(self) -> RestoreReport {
        let inner = |troubles: Mutex<Vec<Trouble>>| {
            let mut troubles = troubles.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            troubles.sort_by(|left, right| left.path.cmp(&right.path));
            troubles
        };
        RestoreReport {
            directories: self.directories.into_inner(),
            files: self.files.into_inner(),
            others: self.others.into_inner(),
            unchanged: self.unchanged.into_inner(),
            kept: self.kept.into_inner(),
            deleted: self.deleted.into_inner(),
            bytes_total: self.bytes_total.into_inner(),
            bytes_written: self.bytes_written.into_inner(),
            bytes_skipped: self.bytes_skipped.into_inner(),
            files_verified: self.files_verified.into_inner(),
            owners_not_set: self.owners_not_set.into_inner(),
            failed: inner(self.failed),
            failed_count: self.failed_count.into_inner(),
            warnings: inner(self.warnings),
            warnings_count: self.warnings_count.into_inner(),
            metadata_incomplete: self.metadata_incomplete.into_inner(),
            cold_packs: 0,
            cold_bytes: 0,
        }
    }
}
