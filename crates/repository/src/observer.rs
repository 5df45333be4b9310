//! How an operation tells what it is doing, without printing.
//!
//! Counters in [`Progress`] are read whenever the watcher likes; an [`Event`] is something to be named once.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use model::Fault;

use crate::error::{Damage, Error, Result};

/// Counters of a running operation. Totals grow while they are being found out.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files (or packs, snapshots: the operation's items) known of.
    pub items_total: AtomicU64,
    /// Of these, done.
    pub items_done: AtomicU64,
    /// Bytes known of.
    pub bytes_total: AtomicU64,
    /// Of these, done.
    pub bytes_done: AtomicU64,
    /// Entries that were skipped or failed.
    pub troubles: AtomicU64,
    /// True once the totals are final.
    pub totals_known: AtomicBool,
}

impl Progress {
    /// Adds to the totals.
    pub fn found(&self, items: u64, bytes: u64) {
        self.items_total.fetch_add(items, Ordering::Relaxed);
        self.bytes_total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Adds to what is done.
    pub fn done(&self, items: u64, bytes: u64) {
        self.items_done.fetch_add(items, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Why an entry of a source or a target is not as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TroubleKind {
    /// It could not be read, or not wholly.
    Unreadable,
    /// It was there in the listing and gone when it was opened.
    Vanished,
    /// It changed while it was read; what was stored is a state that may never have been.
    ChangedWhileRead,
    /// Part of its metadata could not be read or set.
    Metadata,
    /// It is of a kind that this system does not know.
    Unsupported,
    /// It could not be written.
    Unwritable,
    /// Its name or place could lead out of the target; nothing was written.
    Unsafe,
    /// No copy has its content.
    Lost,
}

impl TroubleKind {
    /// The words shown to people and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            TroubleKind::Unreadable => "unreadable",
            TroubleKind::Vanished => "vanished",
            TroubleKind::ChangedWhileRead => "changed while it was read",
            TroubleKind::Metadata => "metadata incomplete",
            TroubleKind::Unsupported => "not a kind that is stored",
            TroubleKind::Unwritable => "not written",
            TroubleKind::Unsafe => "unsafe name",
            TroubleKind::Lost => "content lost",
        }
    }
}

/// One entry that is not as it was asked for; each lowers the verdict.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// The entry.
    pub path: PathBuf,
    /// What kind of trouble.
    pub kind: TroubleKind,
    /// In detail, in the system's words.
    pub cause: String,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.path.display(), self.kind.word(), self.cause)
    }
}

/// What happened to an entry that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was not in the parent snapshot, or not in the target.
    New,
    /// It differs from the parent snapshot, or from what was in the target.
    Modified,
    /// It was taken over as it is.
    Unchanged,
    /// It was removed (restore with `--delete`).
    Deleted,
}

/// Something to be named once.
#[derive(Debug, Clone)]
pub enum Event {
    /// An entry is not as it was asked for.
    Trouble(Trouble),
    /// An entry was handled; only sent where [`Observer::wants_entries`] says so.
    Entry {
        /// The entry's path.
        path: PathBuf,
        /// What was done.
        action: Action,
        /// Bytes of its content.
        size: u64,
    },
    /// A copy had wrong bytes; where another copy has the right ones, these were used.
    Damage(Damage),
    /// A copy was given up for the rest of this operation.
    CopyLost {
        /// The copy, without secrets.
        copy: String,
        /// Why.
        fault: Fault,
    },
    /// A copy that was behind is being brought up to date.
    CatchingUp {
        /// The copy, without secrets.
        copy: String,
        /// How many files it lacks.
        files: u64,
    },
    /// Packs lie in an archive, were asked for, and are waited for. Told again when there are fewer.
    WarmingUp {
        /// How many cannot be read yet.
        packs: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// The parent that was chosen, once it is known.
    Parent(Option<model::Id>),
}

/// Whoever watches an operation. Calls come from many threads at once.
pub trait Observer: Send + Sync {
    /// The counters that the operation moves.
    fn progress(&self) -> &Progress;

    /// Something to be named.
    fn event(&self, event: Event);

    /// Whether an event for every single entry is wanted.
    fn wants_entries(&self) -> bool {
        false
    }
}

/// An observer that drops everything.
#[derive(Debug, Default)]
pub struct Silent {
    progress: Progress,
}

impl Observer for Silent {
    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn event(&self, _: Event) {}
}

/// A flag that stops an operation at its next safe point.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every operation that holds this flag to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked for.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// `Err(Interrupted)` once it was asked for.
    pub fn check(&self) -> Result<()> {
        if self.is_set() { Err(Error::Interrupted) } else { Ok(()) }
    }
}
