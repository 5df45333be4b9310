//! Folders of the target while something is being restored into them.
//!
//! A [`Folder`] knows its name and its parent, never a path as text that somebody could open. [`Folders`] turns one
//! into an open descriptor and keeps a bounded number of these.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::attributes::{Inode, hands_down_acl};
use super::name::EntryName;
use super::place::{Made, Place, is_folder};
use super::target::Target;
use crate::threads::lock;

/// Open folders that are kept for the next entry.
const OPEN_FOLDERS_MAX: usize = 192;

/// Levels between a folder and the one above it that is opened on a long way.
const NEAR_LEVELS: usize = 32;

/// How a folder came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Made by this run: nothing is in it but what this run put there.
    Fresh,
    /// It was there before.
    Found,
    /// Not there, and not made either: a dry run.
    Absent,
}

/// A folder of the target.
#[derive(Debug)]
pub(super) struct Folder {
    serial: u64,
    parent: Option<Arc<Folder>>,
    name: Box<[u8]>,
    /// How it came to be.
    pub(super) arrival: Arrival,
    /// What is made in it inherits attributes that nobody asked for.
    pub(super) hands_down_acl: bool,
}

impl Drop for Folder {
    /// A chain of thousands of parents must not be dropped by recursion.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(parent) = next {
            next = Arc::into_inner(parent).and_then(|mut folder| folder.parent.take());
        }
    }
}

impl Folder {
    /// The target of a dry run that is not there.
    pub(super) fn absent() -> Self {
        Self { serial: 0, parent: None, name: [].into(), arrival: Arrival::Absent, hands_down_acl: false }
    }

    /// A folder that a dry run would make.
    pub(super) fn absent_in(parent: &Arc<Folder>, name: &[u8]) -> Self {
        let parent = Some(Arc::clone(parent));
        Self { serial: 0, parent, name: name.into(), arrival: Arrival::Absent, hands_down_acl: false }
    }

    /// The path of an entry in it, counted from the target: `/a/b/name`. For reports, never for opening.
    pub(super) fn path_of(&self, name: &[u8]) -> PathBuf {
        let mut parts = vec![name];
        let mut at = Some(self);
        while let Some(folder) = at {
            if folder.parent.is_some() {
                parts.push(&folder.name);
            }
            at = folder.parent.as_deref();
        }
        let mut path = Vec::new();
        for part in parts.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(part);
        }
        path_from(path)
    }

    /// Its own path, counted from the target; `/` for the target itself.
    pub(super) fn own_path(&self) -> PathBuf {
        self.parent.as_ref().map_or_else(|| PathBuf::from("/"), |parent| parent.path_of(&self.name))
    }

    /// Whether anything can lie in it that this run did not put there.
    pub(super) fn may_hold_others(&self) -> bool {
        self.arrival == Arrival::Found
    }
}

/// Bytes as a path.
pub(super) fn path_from(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// The way from folders to open descriptors.
#[derive(Debug)]
pub(super) struct Folders {
    target: Target,
    top: Arc<Folder>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_serial: u64,
    open: HashMap<u64, Arc<OwnedFd>>,
    /// Serials of open folders, oldest first.
    order: VecDeque<u64>,
}

impl Folders {
    /// Folders below this target.
    pub(super) fn new(target: Target) -> Self {
        let hands_down_acl = hands_down_acl(Inode::Open(target.root()));
        let top = Folder { serial: 0, parent: None, name: [].into(), arrival: Arrival::Found, hands_down_acl };
        Self { target, top: Arc::new(top), state: Mutex::new(State { next_serial: 1, ..State::default() }) }
    }

    /// The target itself.
    pub(super) fn top(&self) -> Arc<Folder> {
        Arc::clone(&self.top)
    }

    /// Runs `work` at a name in a folder.
    pub(super) fn at<T>(
        &self,
        folder: &Folder,
        name: &[u8],
        work: impl FnOnce(Place<'_>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let name = EntryName::check(name).map_err(|_| Errno::INVAL)?;
        let open = self.open(folder)?;
        work(Place::new(open.as_fd(), name))
    }

    /// Makes a folder, or takes the one that is there.
    pub(super) fn make(&self, parent: &Arc<Folder>, name: &[u8]) -> Result<Arc<Folder>, Errno> {
        let made = self.at(parent, name, |place| place.make_folder())?;
        let arrival = if made == Made::Fresh { Arrival::Fresh } else { Arrival::Found };
        let mut folder = self.child(parent, name, arrival);
        folder.hands_down_acl = match made {
            // A new folder gets its parent's.
            Made::Fresh => parent.hands_down_acl,
            Made::Found => self.open(&folder).is_ok_and(|open| hands_down_acl(Inode::Pinned(open.as_fd()))),
        };
        Ok(Arc::new(folder))
    }

    /// What [`Folders::make`] would give, without touching anything.
    pub(super) fn foresee(&self, parent: &Arc<Folder>, name: &[u8]) -> Arc<Folder> {
        let found = self.at(parent, name, |place| place.stat());
        let is_there = matches!(found, Ok(Some(stat)) if is_folder(&stat));
        Arc::new(self.child(parent, name, if is_there { Arrival::Found } else { Arrival::Absent }))
    }

    fn child(&self, parent: &Arc<Folder>, name: &[u8], arrival: Arrival) -> Folder {
        let mut state = lock(&self.state);
        let serial = state.next_serial;
        state.next_serial += 1;
        Folder { serial, parent: Some(Arc::clone(parent)), name: name.into(), arrival, hands_down_acl: false }
    }

    /// Opens a folder below an open one, without keeping it.
    pub(super) fn descend(&self, start: BorrowedFd<'_>, names: &[Vec<u8>]) -> Result<OwnedFd, Errno> {
        let names: Result<Vec<_>, _> = names.iter().map(|name| EntryName::check(name)).collect();
        self.target.folder(start, &names.map_err(|_| Errno::INVAL)?)
    }

    /// An open descriptor of a folder, good for reaching what is in it.
    pub(super) fn open(&self, folder: &Folder) -> Result<Arc<OwnedFd>, Errno> {
        let mut way = Vec::new();
        let mut at = folder;
        let mut open = {
            let state = lock(&self.state);
            loop {
                if let Some(open) = state.open.get(&at.serial) {
                    break Some(Arc::clone(open));
                }
                let Some(parent) = &at.parent else { break None };
                way.push(at);
                at = parent;
            }
        };
        // A long way is taken in two steps, so that the folders near this one find a near one open.
        let (near, far) = way.split_at(way.len().min(NEAR_LEVELS));
        for part in [far, near].into_iter().filter(|part| !part.is_empty()) {
            let names: Result<Vec<_>, _> = part.iter().rev().map(|folder| EntryName::check(&folder.name)).collect();
            let names = names.map_err(|_| Errno::INVAL)?;
            let from = open.as_ref().map_or(self.target.root(), |open| open.as_fd());
            let opened = Arc::new(self.target.folder(from, &names)?);
            if let Some(reached) = part.first() {
                self.keep(reached.serial, &opened);
            }
            open = Some(opened);
        }
        match open {
            Some(open) => Ok(open),
            None => Ok(Arc::new(self.target.folder(self.target.root(), &[])?)),
        }
    }

    /// Keeps an open folder for whoever needs it next; the oldest goes where there are too many.
    fn keep(&self, serial: u64, opened: &Arc<OwnedFd>) {
        let mut state = lock(&self.state);
        if state.open.insert(serial, Arc::clone(opened)).is_none() {
            state.order.push_back(serial);
        }
        if state.order.len() > OPEN_FOLDERS_MAX
            && let Some(oldest) = state.order.pop_front()
        {
            state.open.remove(&oldest);
        }
    }
}
