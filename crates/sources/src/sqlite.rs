//! A SQLite database that is in use, by SQLite's own online backup.
//!
//! Its file is never copied as a file: what writers are doing is not all in it. SQLite copies it as it is at one
//! moment, into a file that has no name any more when the first byte goes into it, so nothing of it is left on the
//! disk, whatever happens to us.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use repository::Cancel;
use repository::backup::{Entry, Origin, OriginError};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use crate::dump::file;
use crate::into::{Files, IntoError, Terms, compare};
use crate::manifest::{Counts, Kind, Manifest};

/// What the tables of a database are counted under.
const MAIN: &str = "main";
/// How long to wait for a writer who has locked all of it, and how often.
const BUSY_LIMIT: Duration = Duration::from_secs(60);
const BUSY_ATTEMPTS: usize = 5;
const ALL_PAGES: i32 = -1;

/// A SQLite database as a source.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    scratch: PathBuf,
    counts: Mutex<Counts>,
}

impl Sqlite {
    /// The database in this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), scratch: std::env::temp_dir(), counts: Mutex::default() }
    }

    /// The same with another folder that has room for a copy than the system's.
    #[must_use]
    pub fn scratch(mut self, folder: impl Into<PathBuf>) -> Self {
        self.scratch = folder.into();
        self
    }

    fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn failed(&self, action: &'static str, cause: impl std::fmt::Display) -> OriginError {
        OriginError::new(action, self.path.display().to_string(), cause.to_string())
    }
}

/// Opens a database that has to be there.
fn open_existing(path: &Path) -> rusqlite::Result<Connection> {
    // Reading a database with a write-ahead log may take writing: its index is shared memory.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let writable = Connection::open_with_flags(path, flags);
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = writable.or_else(|_| Connection::open_with_flags(path, read_only))?;
    connection.busy_timeout(BUSY_LIMIT)?;
    Ok(connection)
}

/// Copies all pages as they are at one moment.
fn copy(from: &Connection, into: &mut Connection) -> Result<(), String> {
    let backup = Backup::new(from, into).map_err(|error| error.to_string())?;
    for _ in 0..BUSY_ATTEMPTS {
        // Otherwise somebody holds it alone; the connection has waited already.
        if backup.step(ALL_PAGES).map_err(|error| error.to_string())? == StepResult::Done {
            return Ok(());
        }
    }
    Err("somebody has locked all of it, and does not let go".to_owned())
}

/// Rows of each table.
fn counts(connection: &Connection) -> rusqlite::Result<Counts> {
    let list = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut statement = connection.prepare(list)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    names.into_iter().map(|name| Ok((name.clone(), count(connection, &name)?))).collect()
}

fn count(connection: &Connection, table: &str) -> rusqlite::Result<u64> {
    let question = format!("SELECT count(*) FROM \"{}\"", table.replace('"', "\"\""));
    connection.query_row(&question, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

impl Origin for Sqlite {
    fn place(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    fn list(&self, path: &[u8], _stop: &Cancel) -> Result<Vec<Entry>, OriginError> {
        if !path.is_empty() {
            return Ok(Vec::new());
        }
        std::fs::metadata(&self.path).map_err(|error| self.failed("open", error))?;
        Ok(vec![file(self.name())])
    }

    fn open(&self, _path: &[u8], _entry: &Entry, _stop: &Cancel) -> Result<Box<dyn Read + Send>, OriginError> {
        let source = open_existing(&self.path).map_err(|error| self.failed("open", error))?;
        let (mut copied, mut content, folder) = nameless(&self.scratch).map_err(|cause| self.failed("copy", cause))?;
        // A copy of a database with a write-ahead log wants one too, for which it has no place. But there readers hold
        // nobody up, so the source itself is looked at, in the same transaction.
        let mode = source.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
        let has_log = mode.map_err(|error| self.failed("open", error))? == "wal";
        if has_log {
            let begun = source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;");
            begun.map_err(|error| self.failed("open", error))?;
        }
        copy(&source, &mut copied).map_err(|cause| self.failed("copy", cause))?;
        let looked_at = if has_log { &source } else { &copied };
        let damage = looked_at.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        match damage.map_err(|error| self.failed("check", error))?.as_str() {
            "ok" => {}
            damage => return Err(self.failed("check", format!("the database is damaged: {damage}"))),
        }
        let counts = counts(looked_at).map_err(|error| self.failed("count", error))?;
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
        drop((copied, folder));
        content.rewind().map_err(|error| self.failed("read", error))?;
        Ok(Box::new(content))
    }

    fn manifest(&self) -> Result<Option<String>, OriginError> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let tool = Some(format!("SQLite {}", rusqlite::version()));
        let counts = BTreeMap::from([(MAIN.to_owned(), counts)]);
        Manifest { kind: Kind::Sqlite, server: None, tool, counts }.to_json().map(Some)
    }
}

/// An empty database without a name, the file that it is in, and the folder in which SQLite looks for a log of it.
fn nameless(scratch: &Path) -> Result<(Connection, File, TempDir), String> {
    let shown = |error: &dyn std::fmt::Display| format!("there is no room for a copy: {error}");
    let folder =
        tempfile::Builder::new().prefix("triplicate-sqlite-").tempdir_in(scratch).map_err(|error| shown(&error))?;
    let path = folder.path().join("copy");
    let connection = Connection::open(&path).map_err(|error| shown(&error))?;
    // Without a journal there is no second file, and nobody else will ever open this one.
    let settings = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;";
    connection.execute_batch(settings).map_err(|error| shown(&error))?;
    let file = File::open(&path).map_err(|error| shown(&error))?;
    std::fs::remove_file(&path).map_err(|error| shown(&error))?;
    Ok((connection, file, folder))
}

/// Writes the database to a file; over what is there only when that is allowed, and then as a whole.
pub(crate) fn restore(
    into: &Path,
    manifest: &Manifest,
    files: &dyn Files,
    terms: &Terms,
) -> Result<BTreeMap<String, Counts>, IntoError> {
    let shown = into.display().to_string();
    let failed = |cause: String| IntoError::new("restore into", shown.clone(), cause);
    let is_there = std::fs::metadata(into).is_ok_and(|found| found.len() > 0);
    if is_there && !terms.into_non_empty {
        return Err(IntoError::not_empty(&shown, "the file is there"));
    }
    let names = files.names().map_err(|error| failed(format!("the snapshot cannot be read: {error}")))?;
    let [name] = names.as_slice() else {
        return Err(failed(format!("the snapshot has {} files instead of one", names.len())));
    };
    let mut content = files.open(name).map_err(|error| failed(format!("the snapshot cannot be read: {error}")))?;
    let folder = into.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(error.to_string()))?;
    std::io::copy(&mut content, file.as_file_mut()).map_err(|error| failed(error.to_string()))?;
    file.as_file().sync_all().map_err(|error| failed(error.to_string()))?;
    if is_there {
        // Through SQLite, so that whoever has it open sees one database or the other, and no log of the old one is left.
        let from = open_existing(file.path()).map_err(|error| failed(error.to_string()))?;
        let mut over = open_existing(into).map_err(|error| failed(error.to_string()))?;
        copy(&from, &mut over).map_err(failed)?;
    } else {
        file.persist(into).map_err(|error| failed(error.to_string()))?;
    }
    let restored = open_existing(into).map_err(|error| failed(error.to_string()))?;
    compare(&manifest.counts, |_, table| count(&restored, table).map_err(|error| error.to_string()))
}
