//! The last step of an entry: links and devices are made, metadata are set, and what failed is named and taken away.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use format::{Node, NodeKind};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::attributes::Inode;
use super::batch::{Entry, Fate, Finished};
use super::job::{Closed, Job, OpenFiles, Start};
use super::place::Identity;
use super::report::End;
use super::{Incomplete, Restoration, metadata};
use crate::observer::{Action, TroubleKind};

impl Restoration<'_> {
    /// Ends a job that gets no more content.
    pub(super) fn complete(&self, number: usize, jobs: &[Job<'_>], files: &OpenFiles<'_>) {
        let Some(job) = jobs.get(number) else { return };
        let is_file = job.entry.node.kind == NodeKind::File;
        match &job.start {
            Start::Refused { kind, why } => job.fail(*kind, why),
            Start::Kept => {}
            Start::Unchanged { .. } => {}
            Start::New if !is_file => self.make_special(job, files),
            Start::New | Start::Update { .. } => {
                // An empty file, or one that only has to be cut, is opened here for the first time.
                if !job.has_failed()
                    && let Err(error) = job.file(number, jobs, files)
                {
                    job.fail(TroubleKind::Unwritable, format!("cannot write it: {error}"));
                }
            }
        }
        let closed = job.close();
        if let Some(closed) = closed.as_ref().filter(|_| !job.has_failed()) {
            self.finish_file(job, closed, files);
        }
        self.tell(job, closed, files);
    }

    fn make_special(&self, job: &Job<'_>, files: &OpenFiles<'_>) {
        let node = &job.entry.node;
        let made = files.folders.at(&job.entry.folder, &node.name, |place| {
            place.create_special(node)?;
            place.pin()
        });
        match made {
            Ok(pinned) => self.set_metadata(Inode::Pinned(pinned.as_fd()), job.entry, job.entry.folder.hands_down_acl),
            Err(error) => job.fail(TroubleKind::Unwritable, format!("cannot make this {}: {error}", node.kind.word())),
        }
    }

    fn finish_file(&self, job: &Job<'_>, closed: &Closed, files: &OpenFiles<'_>) {
        let entry = job.entry;
        let was_there = matches!(job.start, Start::Unchanged { .. } | Start::Update { has_holes: false, .. });
        let strip = was_there || entry.folder.hands_down_acl;
        match &closed.file {
            Some(file) => self.set_metadata(Inode::Open(file.as_fd()), entry, strip),
            None => match self.pin(entry, closed.identity, files) {
                Ok(pinned) => self.set_metadata(Inode::Pinned(pinned.as_fd()), entry, strip),
                Err(error) => {
                    job.fail(TroubleKind::Unwritable, format!("it was replaced while it was restored: {error}"))
                }
            },
        }
    }

    /// A handle on a file that was closed in between, if it is still the same.
    fn pin(&self, entry: &Entry, identity: Identity, files: &OpenFiles<'_>) -> Result<OwnedFd, Errno> {
        let pinned = files.folders.at(&entry.folder, &entry.node.name, |place| place.pin())?;
        let is_same = Identity::of(&rustix::fs::fstat(&pinned)?) == identity;
        if is_same { Ok(pinned) } else { Err(Errno::STALE) }
    }

    /// Counts the entry, or names it and takes its remains away.
    fn tell(&self, job: &Job<'_>, closed: Option<Closed>, files: &OpenFiles<'_>) {
        let entry = job.entry;
        let settle = |fate| entry.first.iter().for_each(|first| first.set(fate));
        if let Some((kind, why)) = job.take_trouble() {
            let remains = closed.filter(|closed| closed.was_written && self.request.incomplete == Incomplete::Remove);
            let why = match remains.map(|closed| self.remove(entry, closed.identity, files)) {
                Some(Err(error)) => format!("{why}; what was written of it could not be removed: {error}"),
                _ => why,
            };
            settle(Fate::Failed);
            return self.tally.trouble(entry.path(), kind, why);
        }
        job.is_done.store(true, Ordering::Release);
        let is_file = entry.node.kind == NodeKind::File;
        let (end, fate, skipped) = match &job.start {
            Start::Kept => (End::Kept, Fate::Kept, job.size),
            Start::Unchanged { .. } => (End::Unchanged, Fate::Restored, job.size),
            Start::Update { wrong, .. } => (End::File(Action::Modified), Fate::Restored, self.right_bytes(job, wrong)),
            _ if is_file => (End::File(Action::New), Fate::Restored, 0),
            _ => (End::Other(Action::New), Fate::Restored, 0),
        };
        settle(fate);
        self.tally.skipped(skipped);
        self.tally.ended(end, job.size, || entry.path());
        if is_file && job.size != entry.node.size {
            let why = format!("its size is recorded as {}, and its content has {} bytes", entry.node.size, job.size);
            self.tally.trouble(entry.path(), TroubleKind::Metadata, why);
        }
    }

    fn right_bytes(&self, job: &Job<'_>, wrong: &[u32]) -> u64 {
        let pieces = self.pieces(&job.entry.node).unwrap_or_default();
        let wrong: u64 = wrong.iter().filter_map(|&number| pieces.get(number as usize)).map(|piece| piece.length).sum();
        job.size.saturating_sub(wrong)
    }

    fn remove(&self, entry: &Entry, identity: Identity, files: &OpenFiles<'_>) -> Result<(), Errno> {
        files.folders.at(&entry.folder, &entry.node.name, |place| place.clear_if(identity))
    }

    fn set_metadata(&self, inode: Inode<'_>, entry: &Entry, strip: bool) {
        let outcome = metadata::apply(inode, &entry.node, strip);
        self.tell_metadata(&outcome, || entry.path());
    }

    fn tell_metadata(&self, outcome: &metadata::Outcome, path: impl FnOnce() -> std::path::PathBuf) {
        if outcome.owner_refused {
            self.tally.owner_not_set();
        }
        if !outcome.faults.is_empty() {
            self.tally.trouble(path(), TroubleKind::Metadata, outcome.faults.join("; "));
        }
    }

    /// Ends a folder: what the snapshot does not have goes where that was asked for, and metadata are set.
    pub(super) fn finish_folder(&self, finished: Finished) {
        let Finished { folder, node, names } = finished;
        if let Some(names) = names {
            self.remove_surplus(&folder, names);
        }
        let Some(node) = node else { return };
        let path = || folder.own_path();
        let action = if folder.may_hold_others() { Action::Modified } else { Action::New };
        if let Some(folders) = self.folders.as_ref().filter(|_| !self.request.dry_run) {
            match folders.open(&folder) {
                Ok(open) => {
                    let strip = folder.may_hold_others() || folder.hands_down_acl;
                    let outcome = apply_to_folder(&open, &node, strip);
                    self.tell_metadata(&outcome, path);
                }
                Err(error) => {
                    let why = format!("cannot set the folder's metadata: {error}");
                    return self.tally.trouble(path(), TroubleKind::Metadata, why);
                }
            }
        }
        self.tally.ended(End::Folder(action), 0, path);
    }
}

fn apply_to_folder(open: &OwnedFd, node: &Node, strip: bool) -> metadata::Outcome {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(open, ".", flags, Mode::empty()) {
        Ok(readable) => metadata::apply(Inode::Open(readable.as_fd()), node, strip),
        Err(_) => metadata::apply(Inode::Pinned(open.as_fd()), node, strip),
    }
}
