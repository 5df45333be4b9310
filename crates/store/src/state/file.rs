//! The file of the state: made once, opened with suspicion.
//!
//! Opening never creates: a server that makes itself a new state because the old one is not where it was would be a
//! server without accounts at best, and one that has forgotten what it received when at worst.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::StateError;
use super::schema;

/// The state's name in a store's folder.
pub const STATE_FILE: &str = "store.sqlite";
/// How long a change waits for one of another process.
const BUSY_LIMIT_SECONDS: u64 = 10;
/// How every SQLite database begins (SQLite file format, 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What tells one file from another that took its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

/// Whether a commit waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It does: what was answered stays so after a loss of power.
    Synced,
    /// It does not: a loss of power may take back the last commits, never a part of one.
    Ordered,
}

/// The state's path in a store's folder.
pub(crate) fn path_in(folder: &Path) -> PathBuf {
    folder.join(STATE_FILE)
}

/// Makes a new state. It gets its name when it is whole.
pub(super) fn create(folder: &Path) -> Result<(), StateError> {
    let path = path_in(folder);
    let fresh = folder.join(format!("{STATE_FILE}.new"));
    let unwritable = |error: io::Error| StateError::Unwritable { path: path.clone(), why: error.to_string() };
    if fs::symlink_metadata(&path).is_ok() {
        return Err(StateError::Exists(path));
    }
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(error)),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).map_err(unwritable)?;
    let made = fill(&fresh).map_err(|error| StateError::Unwritable { path: path.clone(), why: error.to_string() });
    let named = made.and_then(|()| {
        File::open(&fresh).and_then(|file| file.sync_all()).map_err(unwritable)?;
        // A link refuses a name that is taken, a rename does not.
        fs::hard_link(&fresh, &path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => StateError::Exists(path.clone()),
            _ => unwritable(error),
        })
    });
    let removed = fs::remove_file(&fresh).map_err(unwritable);
    named?;
    removed?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritable)
}

fn fill(path: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags)?;
    schema::make(&mut connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.close().map_err(|(_, error)| error)
}

/// Looks at the file before SQLite does, which would take an empty one for an empty database.
pub(super) fn examine(path: &Path) -> Result<Identity, StateError> {
    let unreadable = |why: String| StateError::Unreadable { path: path.to_owned(), why };
    let facts = fs::symlink_metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StateError::Missing(path.to_owned()),
        _ => unreadable(error.to_string()),
    })?;
    if !facts.is_file() {
        return Err(unreadable("it is not a file".to_owned()));
    }
    let mut beginning = [0; MAGIC.len()];
    let mut file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
    match file.read_exact(&mut beginning) {
        Ok(()) if beginning == *MAGIC => Ok(Identity { device: facts.dev(), inode: facts.ino() }),
        Ok(()) => Err(StateError::Damaged { path: path.to_owned(), why: "it does not begin as a database".to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(StateError::Damaged { path: path.to_owned(), why: "it is cut short".to_owned() })
        }
        Err(error) => Err(unreadable(error.to_string())),
    }
}

/// Whether the file is still the one that was opened.
pub(super) fn is_still(path: &Path, identity: Identity) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|facts| facts.is_file() && (facts.dev(), facts.ino()) == (identity.device, identity.inode))
}

/// One connection to a state that is there, with the version and the kind checked.
pub(crate) fn connect(path: &Path, durability: Durability) -> Result<Connection, StateError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let failed = |error: rusqlite::Error| StateError::from_sqlite(path, &error);
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(BUSY_LIMIT_SECONDS)).map_err(failed)?;
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(failed);
    if pragma("application_id")? != schema::APPLICATION_ID {
        return Err(StateError::Foreign(path.to_owned()));
    }
    match pragma("user_version")? {
        schema::VERSION => {}
        found if found > schema::VERSION => {
            return Err(StateError::Newer { path: path.to_owned(), found, known: schema::VERSION });
        }
        found => {
            let why = format!("there is no version {found}");
            return Err(StateError::Damaged { path: path.to_owned(), why });
        }
    }
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(failed)? {
        return Err(StateError::Unwritable { path: path.to_owned(), why: "it can only be read".to_owned() });
    }
    let synchronous = match durability {
        Durability::Synced => "full",
        Durability::Ordered => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous).map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    // Memory is mapped from the file otherwise, and a file that is cut short under us would end the process.
    connection.pragma_update(None, "mmap_size", 0).map_err(failed)?;
    Ok(connection)
}

/// Lets SQLite look through all of its pages.
pub(super) fn check_pages(path: &Path, connection: &Connection) -> Result<(), StateError> {
    let failed = |error: rusqlite::Error| StateError::from_sqlite(path, &error);
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    match found.as_str() {
        "ok" => Ok(()),
        _ => Err(StateError::Damaged { path: path.to_owned(), why: found.replace('\n', "; ") }),
    }
}
