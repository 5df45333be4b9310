//! What a backup reads when it is not on this machine's disks: a folder of a server, the dumps of a database, what a
//! command writes.
//!
//! The engine asks an [`Origin`] as it asks the file system: the entries of a folder, then the bytes of each file that
//! is not as it was. An origin only reads. What it cannot list, and what ends early, ends the backup: there is no
//! snapshot of half a database.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use crate::observer::Cancel;

/// Where the entries of a backup come from.
pub trait Origin: Send + Sync + fmt::Debug {
    /// What it is called in messages, without secrets: `ftps://alice@host/photos`.
    fn place(&self) -> String;

    /// All entries of a folder, in any order; of the top for an empty path. `path` has `/` between its names. Who may
    /// wait for long looks at `stop`, and fails when it is set.
    ///
    /// # Errors
    /// Whenever there may be more entries than were found. Any error ends the backup.
    fn list(&self, path: &[u8], stop: &Cancel) -> Result<Vec<Entry>, OriginError>;

    /// The content of a file that was listed, from its first byte on. The reader says that it has ended only when all
    /// there is was read; when the content is not whole it fails, and the backup ends.
    ///
    /// So does the reader.
    ///
    /// # Errors
    /// One that [`OriginError::is_of_one_entry`] costs this file alone, which is named and counted.
    fn open(&self, path: &[u8], entry: &Entry, stop: &Cancel) -> Result<Box<dyn Read + Send>, OriginError>;

    /// How many folders and files may be asked for at a time. With one, the files of a folder are read one after the
    /// other in the order of their names, each to its end: so one stream can be given as several files.
    fn lanes(&self) -> usize {
        1
    }

    /// How long before the last backup a file must have been changed for its time to be believed, in seconds: how
    /// coarse these times are, and how wrong the clock that made them may be. Entries with a
    /// [version](Entry::version) are believed at once.
    fn settle_seconds(&self) -> i64 {
        0
    }

    /// What a restore should know of the source, as a JSON text: asked for when everything was read. The same source
    /// gives the same text, so there is no time in it.
    ///
    /// # Errors
    /// End the backup.
    fn manifest(&self) -> Result<Option<String>, OriginError> {
        Ok(None)
    }
}

/// An entry of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its name: not empty, not `.` or `..`, without `/` and NUL.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes; none where that is known only when it was read. Such a file is always read.
    pub size: Option<u64>,
    /// When its content was last changed: seconds since 1970 and nanoseconds. None where nobody knows.
    pub modified: Option<(i64, u32)>,
    /// What the server calls this state of the file (an ETag, a version's number): another state has another one.
    pub version: Option<Vec<u8>>,
    /// Permission bits, where the server tells them.
    pub mode: Option<u32>,
    /// Owner and group by number, where the server tells them.
    pub owner: Option<(u32, u32)>,
}

/// What an entry is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    #[default]
    File,
    /// A folder.
    Folder,
    /// A symbolic link, and what it says.
    Link(Vec<u8>),
    /// Something that cannot be backed up, in words: it is named and counted.
    Other(&'static str),
}

/// Why an origin could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginError {
    /// What was done: `list`, `read`, `dump`.
    pub action: &'static str,
    /// On what: a path or a name inside the origin; empty for all of it.
    pub object: String,
    /// Why it failed, without secrets.
    pub cause: String,
    /// What the user can do.
    pub hint: Option<String>,
    /// What it costs.
    pub scope: ErrorScope,
}

/// What an error costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorScope {
    /// The backup.
    Backup,
    /// One entry, which is not there any more.
    Vanished,
    /// One entry, which may not be read.
    Unreadable,
}

impl OriginError {
    /// An error that ends the backup.
    pub fn new(action: &'static str, object: impl Into<String>, cause: impl Into<String>) -> Self {
        let (object, cause) = (object.into(), cause.into());
        Self { action, object, cause, hint: None, scope: ErrorScope::Backup }
    }

    /// The same with something the user can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same for one entry alone.
    #[must_use]
    pub fn of(mut self, scope: ErrorScope) -> Self {
        self.scope = scope;
        self
    }

    /// True when only one entry is lost by it.
    pub fn is_of_one_entry(&self) -> bool {
        self.scope != ErrorScope::Backup
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.object.as_str() {
            "" => write!(f, "{}: {}", self.action, self.cause),
            object => write!(f, "{} `{object}`: {}", self.action, self.cause),
        }
    }
}

impl std::error::Error for OriginError {}

/// An origin, and where in the snapshot it goes.
#[derive(Debug, Clone)]
pub struct Given {
    /// What is read.
    pub origin: Arc<dyn Origin>,
    /// The folder in the snapshot that has its entries: absolute; `/` for the top.
    pub folder: PathBuf,
    /// The snapshot's `paths`.
    pub paths: Vec<PathBuf>,
}
