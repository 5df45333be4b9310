//! One walk over all sources: what the workers share, and the kinds of work they take from the pile.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use format::{Node, Tree};
use model::Id;
use rustix::io::Errno;

use super::crew::Crew;
use super::descend::FolderTask;
use super::elsewhere::{Elsewhere, Work};
use super::file::{File, Past, Window};
use super::ingest::{Bench, Ingest};
use super::memory::Memory;
use super::metadata::{Metadata, Stamp};
use super::parent::ChangeRule;
use super::source::Source;
use super::tally::Tally;
use crate::error::Result;
use crate::filter::Excludes;
use crate::observer::{Action, Event, Observer, Trouble, TroubleKind};
use crate::repository::Indexed;
use crate::threads;

/// A piece of work for one worker.
pub(super) enum Task {
    /// Walk a folder.
    Folder(Box<FolderTask>),
    /// Read several small files.
    Batch(Vec<File>),
    /// Read one file.
    File(Box<File>),
    /// Store the chunks of a part of a large file.
    Window(Window),
    /// Ask an origin for a folder or a file.
    Elsewhere(Box<Work>),
}

/// What the workers share.
pub(super) struct Walk<'a> {
    pub(super) indexed: &'a Indexed<'a>,
    pub(super) ingest: Ingest<'a>,
    pub(super) crew: Crew<Task>,
    pub(super) metadata: Metadata,
    pub(super) excludes: &'a Excludes,
    pub(super) rule: ChangeRule,
    /// What is known of the folders of the parent snapshot; none where that must not count.
    pub(super) memory: Option<Memory<'a>>,
    /// What is read when that is not on this machine's disks.
    pub(super) elsewhere: Option<Elsewhere<'a>>,
    pub(super) tally: Tally,
    /// Windows of large files that wait or are being worked on.
    pub(super) windows: std::sync::atomic::AtomicUsize,
    /// The top listing, once everything has settled.
    pub(super) top: Mutex<Option<Id>>,
    sources: Mutex<Vec<Arc<Source>>>,
    troubles: Mutex<Vec<Trouble>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        indexed: &'a Indexed<'a>,
        ingest: Ingest<'a>,
        metadata: Metadata,
        excludes: &'a Excludes,
        rule: ChangeRule,
        memory: Option<Memory<'a>>,
        elsewhere: Option<Elsewhere<'a>>,
    ) -> Self {
        Self {
            indexed,
            ingest,
            crew: Crew::new(Vec::new()),
            metadata,
            excludes,
            rule,
            memory,
            elsewhere,
            tally: Tally::default(),
            windows: std::sync::atomic::AtomicUsize::new(0),
            top: Mutex::new(None),
            sources: Mutex::default(),
            troubles: Mutex::default(),
        }
    }

    /// One worker's shift.
    pub(super) fn work(&self, bench: &mut Bench) -> Result<()> {
        self.crew.shift(|task| match task {
            Task::Folder(task) => self.folder(bench, *task),
            Task::Batch(files) => self.batch(bench, files),
            Task::File(file) => self.batch(bench, vec![*file]),
            Task::Window(window) => self.handed_out(bench, window),
            Task::Elsewhere(work) => self.elsewhere(bench, *work),
        })
    }

    pub(super) fn sources(&self) -> MutexGuard<'_, Vec<Arc<Source>>> {
        threads::lock(&self.sources)
    }

    /// Takes the list of everything that is not as it was asked for.
    pub(super) fn take_troubles(&self) -> Vec<Trouble> {
        std::mem::take(&mut *threads::lock(&self.troubles))
    }

    pub(super) fn observer(&self) -> &dyn Observer {
        self.indexed.repository.observer()
    }

    pub(super) fn check_cancel(&self) -> Result<()> {
        self.indexed.repository.cancel().check()
    }

    /// Counts and names an entry that is not as it was asked for.
    pub(super) fn trouble(&self, path: PathBuf, kind: TroubleKind, cause: impl std::fmt::Display) {
        let trouble = Trouble { path, kind, cause: cause.to_string() };
        self.observer().progress().troubles.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.observer().event(Event::Trouble(trouble.clone()));
        threads::lock(&self.troubles).push(trouble);
    }

    /// The same for an entry that a listing showed and that cannot be opened.
    pub(super) fn trouble_opening(&self, path: PathBuf, error: Errno) {
        let kind = if error == Errno::NOENT { TroubleKind::Vanished } else { TroubleKind::Unreadable };
        self.trouble(path, kind, error);
    }

    /// Names an entry to a watcher who wants every one.
    pub(super) fn tell_entry(&self, path: &Path, action: Action, size: u64) {
        if self.observer().wants_entries() {
            self.observer().event(Event::Entry { path: path.to_owned(), action, size });
        }
    }

    /// The same for a file that is as it was; it costs no path where nobody wants it.
    pub(super) fn tell_unchanged(&self, path: impl FnOnce() -> PathBuf, size: u64) {
        if self.observer().wants_entries() {
            self.observer().event(Event::Entry { path: path(), action: Action::Unchanged, size });
        }
    }

    /// What the parent snapshot tells of a file. One whose chunks the repository does not have any more has to be read.
    pub(super) fn past_of(&self, parent: Option<&Node>, stamp: &Stamp) -> Past {
        let Some(parent) = parent else { return Past::None };
        let known = |id: &Id| self.indexed.index.contains(format::BlobKind::Data, id);
        if !self.rule.unchanged(parent, stamp) || !parent.content.iter().flatten().all(known) {
            return Past::Changed;
        }
        let content = parent.content.clone();
        if self.rule.had_settled(parent) { Past::Same(content) } else { Past::Unsettled(content) }
    }

    /// A listing of the parent snapshot. One that cannot be read costs time (everything in it is read again), no data.
    pub(super) fn parent_tree(&self, listing: Option<Id>) -> Option<Tree> {
        let mut tree = self.indexed.tree(&listing?).ok()?;
        if !tree.is_sorted() {
            tree.sort();
        }
        Some(tree)
    }
}
