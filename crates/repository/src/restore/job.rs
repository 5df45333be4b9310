//! One entry on its way into the target: what was found there, its open file, and how much of it is still to come.
//!
//! Any thread may bring the next chunk of a file. The first one opens it, the last one sets its metadata and closes
//! it; in between it may be closed for a while (*parked*) so that the number of open files stays bounded.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::batch::Entry;
use super::content::{write_all, write_with_holes};
use super::folder::Folders;
use super::place::Identity;
use crate::observer::TroubleKind;
use crate::threads::lock;

/// Files that are kept open because more of their content is to come.
const OPEN_FILES_MAX: usize = 256;

/// What to do with an entry, as found out before anything is fetched.
#[derive(Debug)]
pub(super) enum Start {
    /// Make it new; whatever is there goes.
    New,
    /// Write these chunks into the file that is there; all its other chunks are right.
    Update {
        /// The file.
        identity: Identity,
        /// Which chunks to write.
        wrong: Vec<u32>,
        /// It was made by this run, so what is not written is a hole.
        has_holes: bool,
    },
    /// The content that is there is right.
    Unchanged {
        /// The file.
        identity: Identity,
    },
    /// Leave alone what is there.
    Kept,
    /// It cannot be restored; what is there stays.
    Refused {
        /// In which way.
        kind: TroubleKind,
        /// Why.
        why: String,
    },
}

/// An entry being worked on.
#[derive(Debug)]
pub(super) struct Job<'b> {
    pub(super) entry: &'b Entry,
    pub(super) start: Start,
    /// Bytes of all its chunks.
    pub(super) size: u64,
    /// Chunks that are still to be written.
    pub(super) remaining: AtomicU32,
    /// It is in the target with the right content.
    pub(super) is_done: AtomicBool,
    hand: Mutex<Hand>,
    trouble: Mutex<Option<(TroubleKind, String)>>,
}

/// The file itself, while it is written.
#[derive(Debug)]
enum Hand {
    Untouched,
    Open(Arc<OwnedFd>, Identity),
    Parked(Identity),
    Gone,
}

/// How files are written, and which of them are open.
#[derive(Debug)]
pub(super) struct OpenFiles<'a> {
    pub(super) folders: &'a Folders,
    pub(super) sparse: bool,
    /// Numbers of the jobs whose files were opened, oldest first.
    order: Mutex<VecDeque<usize>>,
}

impl<'a> OpenFiles<'a> {
    pub(super) fn new(folders: &'a Folders, sparse: bool) -> Self {
        Self { folders, sparse, order: Mutex::default() }
    }

    /// Notes that job `number` holds an open file; closes the oldest where there are too many.
    fn opened(&self, number: usize, jobs: &[Job<'_>]) {
        let oldest = {
            let mut order = lock(&self.order);
            order.push_back(number);
            if order.len() <= OPEN_FILES_MAX {
                return;
            }
            order.pop_front()
        };
        if let Some(job) = oldest.and_then(|oldest| jobs.get(oldest)) {
            job.park();
        }
    }
}

impl<'b> Job<'b> {
    pub(super) fn new(entry: &'b Entry, start: Start, size: u64) -> Self {
        Self {
            entry,
            start,
            size,
            remaining: AtomicU32::new(0),
            is_done: AtomicBool::new(false),
            hand: Mutex::new(Hand::Untouched),
            trouble: Mutex::new(None),
        }
    }

    /// Notes why the entry cannot be completed; the first reason stays.
    pub(super) fn fail(&self, kind: TroubleKind, why: impl std::fmt::Display) {
        lock(&self.trouble).get_or_insert_with(|| (kind, why.to_string()));
    }

    /// Whether it failed already, so that nothing more need be fetched for it.
    pub(super) fn has_failed(&self) -> bool {
        lock(&self.trouble).is_some()
    }

    /// Takes the reason of its failure.
    pub(super) fn take_trouble(&self) -> Option<(TroubleKind, String)> {
        lock(&self.trouble).take()
    }

    /// Writes one chunk; a failure is noted. Gives true when it was written.
    pub(super) fn write(
        &self,
        number: usize,
        jobs: &[Job<'_>],
        files: &OpenFiles<'_>,
        offset: u64,
        bytes: &[u8],
    ) -> bool {
        let written = self.file(number, jobs, files).and_then(|file| {
            let has_holes = !matches!(self.start, Start::Update { has_holes: false, .. });
            if files.sparse && has_holes {
                write_with_holes(&*file, offset, bytes)
            } else {
                write_all(&*file, offset, bytes)
            }
        });
        match written {
            Ok(()) => true,
            Err(error) => {
                self.fail(TroubleKind::Unwritable, format!("cannot write its content: {error}"));
                false
            }
        }
    }

    /// The open file; it is made or opened where it is not.
    pub(super) fn file(&self, number: usize, jobs: &[Job<'_>], files: &OpenFiles<'_>) -> Result<Arc<OwnedFd>, Errno> {
        let mut hand = lock(&self.hand);
        let (file, identity) = match &*hand {
            Hand::Open(file, _) => return Ok(Arc::clone(file)),
            Hand::Gone => return Err(Errno::STALE),
            Hand::Parked(identity) => (self.reopen(files, *identity)?, *identity),
            Hand::Untouched => self.begin(files)?,
        };
        let file = Arc::new(file);
        *hand = Hand::Open(Arc::clone(&file), identity);
        drop(hand);
        // A file of one chunk is closed by whoever opened it, at once.
        if self.remaining.load(Ordering::Relaxed) > 1 {
            files.opened(number, jobs);
        }
        Ok(file)
    }

    fn begin(&self, files: &OpenFiles<'_>) -> Result<(OwnedFd, Identity), Errno> {
        let node = &self.entry.node;
        match self.start {
            Start::Update { identity, .. } => {
                let file = self.reopen(files, identity)?;
                // New content must not be readable under the old content's mode.
                match rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR) {
                    Ok(()) | Err(Errno::PERM) => {}
                    Err(error) => return Err(error),
                }
                rustix::fs::ftruncate(&file, self.size)?;
                Ok((file, identity))
            }
            _ => {
                let file = files.folders.at(&self.entry.folder, &node.name, |place| place.create_file())?;
                let identity = Identity::of(&rustix::fs::fstat(&file)?);
                if self.remaining.load(Ordering::Relaxed) > 1 || files.sparse {
                    rustix::fs::ftruncate(&file, self.size)?;
                }
                Ok((file, identity))
            }
        }
    }

    fn reopen(&self, files: &OpenFiles<'_>, identity: Identity) -> Result<OwnedFd, Errno> {
        files.folders.at(&self.entry.folder, &self.entry.node.name, |place| place.open_file(identity, OFlags::RDWR))
    }

    fn park(&self) {
        let mut hand = lock(&self.hand);
        if let Hand::Open(_, identity) = *hand {
            *hand = Hand::Parked(identity);
        }
    }

    /// Takes the file away from the job for its last step; none when there is no file that this run wrote or found.
    pub(super) fn close(&self) -> Option<Closed> {
        let hand = std::mem::replace(&mut *lock(&self.hand), Hand::Gone);
        match (hand, &self.start) {
            (Hand::Open(file, identity), _) => Some(Closed { file: Some(file), identity, was_written: true }),
            (Hand::Parked(identity), _) => Some(Closed { file: None, identity, was_written: true }),
            (Hand::Untouched, &Start::Update { identity, has_holes, .. }) => {
                Some(Closed { file: None, identity, was_written: has_holes })
            }
            (Hand::Untouched, &Start::Unchanged { identity }) => {
                Some(Closed { file: None, identity, was_written: false })
            }
            _ => None,
        }
    }
}

/// A file that gets no more content.
#[derive(Debug)]
pub(super) struct Closed {
    /// Its descriptor, where it is still open.
    pub(super) file: Option<Arc<OwnedFd>>,
    pub(super) identity: Identity,
    /// This run made or changed it.
    pub(super) was_written: bool,
}
