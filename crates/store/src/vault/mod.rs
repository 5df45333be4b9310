//! Files on disk: the data folder of a storage server.
//!
//! ```text
//! DIR/store.lock                              held while a server serves
//! DIR/incoming/                               uploads under way; emptied when a server starts
//! DIR/repositories/ACCOUNT/REPOSITORY/…       restic's own layout, so that restic can open it as a folder
//! ```
//!
//! A file is under its final name whole and durable, or not there: it is written in `incoming`, synced, renamed, and its
//! folder synced. Every path is made of checked names and resolved beneath `repositories` without following any
//! symbolic link ([`beneath`]), so that neither a request nor a link that somebody left there leads out.
//!
//! Everything here blocks, and is called on threads that may. Nothing here knows accounts' rights, quotas or times.
//! Two things must not happen at once to one name; that is the caller's ([`crate::serve`]) to see to.

mod beneath;
mod incoming;
mod listing;
mod purge;
mod reading;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use format::{FileKind, FileName};
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};

pub use incoming::{Incoming, Placed, write_two};
pub use listing::{Listed, Listing};
pub use reading::StoredFile;

use crate::error::StoreError;
use crate::names::RepositoryPlace;

const REPOSITORIES: &str = "repositories";
const INCOMING: &str = "incoming";
const LOCK: &str = "store.lock";
/// Nobody else's business.
const FOLDER_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FOLDER_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// The data folder of a server. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Vault {
    root: Arc<Root>,
}

#[derive(Debug)]
struct Root {
    folder: PathBuf,
    /// Where every path of a repository begins.
    repositories: OwnedFd,
    incoming: OwnedFd,
    /// Held for as long as this lives; none for a visitor.
    _lock: Option<OwnedFd>,
    /// Names in `incoming` count up from here; it is empty when a server starts.
    next: AtomicU64,
}

impl Vault {
    /// Makes the folders of a new store in `folder`, which may exist.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn create(folder: &Path) -> Result<(), StoreError> {
        for path in [folder.to_owned(), folder.join(REPOSITORIES), folder.join(INCOMING)] {
            match rustix::fs::mkdir(&path, FOLDER_MODE) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(StoreError::disk("create", &path, error)),
            }
        }
        let opened = open_folder(folder)?;
        rustix::fs::fsync(&opened).map_err(|error| StoreError::disk("sync", folder, error))
    }

    /// Opens the store in `folder` to serve it: locks it and removes what uploads left behind.
    ///
    /// # Errors
    /// When there is none, another server serves it, or it cannot be read.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let vault = Self::open_with(folder, Some(lock(folder)?))?;
        vault.sweep_incoming()?;
        Ok(vault)
    }

    /// Opens the store in `folder` beside a server that may be serving it: to look, and to remove what has no owner.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn visit(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, None)
    }

    fn open_with(folder: &Path, lock: Option<OwnedFd>) -> Result<Self, StoreError> {
        let root = Root {
            folder: folder.to_owned(),
            repositories: open_folder(&folder.join(REPOSITORIES))?,
            incoming: open_folder(&folder.join(INCOMING))?,
            _lock: lock,
            next: AtomicU64::new(0),
        };
        Ok(Self { root: Arc::new(root) })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.root.folder
    }

    /// Bytes that the disk has left for this process.
    pub fn free_bytes(&self) -> u64 {
        rustix::fs::fstatvfs(&self.root.incoming).map_or(0, |facts| facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    /// Makes a repository's folders, or those that are missing; durable when it returns.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn create_repository(&self, place: &RepositoryPlace) -> Result<(), StoreError> {
        let account = self.make_folder(self.root.repositories.as_fd(), place.account.as_str(), place)?;
        let repository = self.make_folder(account.as_fd(), place.repository.as_str(), place)?;
        for kind in FileKind::NAMED {
            let folder = self.make_folder(repository.as_fd(), kind.folder(), place)?;
            if kind == FileKind::Pack {
                for byte in 0..=u8::MAX {
                    self.make_entry(folder.as_fd(), &format!("{byte:02x}"), place)?;
                }
                self.sync(folder.as_fd(), place)?;
            }
        }
        // From the leaves up, so that what is named exists.
        self.sync(repository.as_fd(), place)?;
        self.sync(account.as_fd(), place)?;
        self.sync(self.root.repositories.as_fd(), place)
    }

    /// Whether there is such a repository.
    ///
    /// # Errors
    /// When that cannot be known.
    pub fn has_repository(&self, place: &RepositoryPlace) -> Result<bool, StoreError> {
        match self.open_beneath(place, None, FOLDER_FLAGS) {
            Ok(_) => Ok(true),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Every repository of every account. What is not named like one is left alone and not told.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn repositories(&self) -> Result<Vec<RepositoryPlace>, StoreError> {
        let mut places = Vec::new();
        for account in self.folders_in(".")? {
            let Ok(name) = account.parse() else { continue };
            for repository in self.folders_in(&account)? {
                if let Ok(repository) = repository.parse() {
                    places.push(RepositoryPlace { account: crate::AccountName::clone(&name), repository });
                }
            }
        }
        places.sort();
        Ok(places)
    }

    /// Removes a file; true when there was one. Durable when it returns, also when an earlier attempt removed it.
    ///
    /// # Errors
    /// When it cannot be removed. No such repository is no error: the file is not there.
    pub fn remove(&self, place: &RepositoryPlace, name: FileName) -> Result<bool, StoreError> {
        let (folder, leaf) = split(name);
        let folder = match self.open_beneath(place, Some(&folder), FOLDER_FLAGS) {
            Ok(folder) => folder,
            Err(error) if error.is_absent() => return Ok(false),
            Err(error) => return Err(error),
        };
        let was_there = match rustix::fs::unlinkat(&folder, leaf.as_str(), AtFlags::empty()) {
            Ok(()) => true,
            Err(rustix::io::Errno::NOENT) => false,
            Err(error) => return Err(StoreError::disk("remove", self.path(place, Some(&name.path())), error)),
        };
        self.sync(folder.as_fd(), place)?;
        Ok(was_there)
    }

    /// Removes what earlier uploads left in `incoming`, and says how many that were.
    fn sweep_incoming(&self) -> Result<usize, StoreError> {
        let path = self.root.folder.join(INCOMING);
        let refused = |error| StoreError::disk("sweep", &path, error);
        let mut swept = 0;
        for entry in Dir::read_from(&self.root.incoming).map_err(refused)? {
            let entry = entry.map_err(refused)?;
            let name = entry.file_name();
            if name.to_bytes() == b"." || name.to_bytes() == b".." {
                continue;
            }
            beneath::remove_whole(self.root.incoming.as_fd(), name).map_err(refused)?;
            swept += 1;
        }
        Ok(swept)
    }

    fn make_folder(&self, above: BorrowedFd<'_>, name: &str, place: &RepositoryPlace) -> Result<OwnedFd, StoreError> {
        self.make_entry(above, name, place)?;
        beneath::open(above, name, FOLDER_FLAGS)
            .map_err(|error| StoreError::disk("open", self.path(place, Some(name)), error))
    }

    fn make_entry(&self, above: BorrowedFd<'_>, name: &str, place: &RepositoryPlace) -> Result<(), StoreError> {
        match rustix::fs::mkdirat(above, name, FOLDER_MODE) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(StoreError::disk("create", self.path(place, Some(name)), error)),
        }
    }

    fn sync(&self, folder: BorrowedFd<'_>, place: &RepositoryPlace) -> Result<(), StoreError> {
        rustix::fs::fsync(folder).map_err(|error| StoreError::disk("sync", self.path(place, None), error))
    }

    /// Opens something of a repository.
    fn open_beneath(&self, place: &RepositoryPlace, below: Option<&str>, flags: OFlags) -> Result<OwnedFd, StoreError> {
        let path = match below {
            Some(below) => format!("{place}/{below}"),
            None => place.to_string(),
        };
        beneath::open(self.root.repositories.as_fd(), &path, flags)
            .map_err(|error| StoreError::disk("open", self.path(place, below), error))
    }

    /// For error texts only: nothing is opened by it.
    fn path(&self, place: &RepositoryPlace, below: Option<&str>) -> PathBuf {
        let repository = self.root.folder.join(REPOSITORIES).join(place.to_string());
        below.map_or_else(|| repository.clone(), |below| repository.join(below))
    }

    fn folders_in(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let path = self.root.folder.join(REPOSITORIES).join(folder);
        let refused = |error: io::Error| StoreError::disk("list", &path, error);
        let opened = beneath::open(self.root.repositories.as_fd(), folder, FOLDER_FLAGS).map_err(refused)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&opened).map_err(|error| refused(error.into()))? {
            let entry = entry.map_err(|error| refused(error.into()))?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let is_folder = match rustix::fs::statat(&opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(facts) => FileType::from_raw_mode(facts.st_mode) == FileType::Directory,
                Err(rustix::io::Errno::NOENT) => false,
                Err(error) => return Err(refused(error.into())),
            };
            if is_folder && name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }
}

/// The folder of a file below its repository, and its name there.
fn split(name: FileName) -> (String, String) {
    let path = name.path();
    match path.rsplit_once('/') {
        Some((folder, leaf)) => (folder.to_owned(), leaf.to_owned()),
        None => (".".to_owned(), path),
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd, StoreError> {
    rustix::fs::open(path, FOLDER_FLAGS | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| StoreError::disk("open", path, error))
}

/// Keeps a second server out for as long as the handle lives.
fn lock(folder: &Path) -> Result<OwnedFd, StoreError> {
    let path = folder.join(LOCK);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, FILE_MODE).map_err(|error| StoreError::disk("open", &path, error))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse { path }),
        Err(error) => Err(StoreError::disk("lock", &path, error)),
    }
}
