//! Rows and files compared, after a server ended without saying so.
//!
//! A file without a row gets one that says *now*: older than that nobody can prove it to be. A row without a file
//! goes. Names are compared, one folder of packs at a time, so memory does not grow with the repository.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use format::{FileKind, FileName};
use rusqlite::{Connection, TransactionBehavior};

use super::rows;
use crate::error::StoreError;
use crate::names::RepositoryName;
use crate::state::{Durability, State, StateError, connect};

/// The folder of all accounts, in a store's folder.
pub(crate) const REPOSITORIES: &str = "repositories";

/// What a comparison changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Files that had no row.
    pub found: u64,
    /// Rows that had no file.
    pub gone: u64,
    /// Rows that were damaged.
    pub mended: u64,
}

/// Compares all accounts' rows with their files, and puts the rows right.
pub(crate) fn reconcile(state: &State) -> Result<Reconciled, StoreError> {
    let mut connection = connect(state.path(), Durability::Ordered)?;
    let mut total = Reconciled::default();
    let book = state.book()?;
    for account in book.accounts() {
        let folder = state.folder().join(REPOSITORIES).join(account.name.as_str());
        let mut repositories: HashSet<RepositoryName> = known(state, &connection, account.id)?;
        repositories.extend(names_in(&folder)?.iter().filter_map(|name| name.parse::<RepositoryName>().ok()));
        for repository in repositories {
            let folder = folder.join(repository.as_str());
            let failed = |error: rusqlite::Error| StateError::from_sqlite(state.path(), &error);
            let number =
                rows::repository(&connection, account.id, &repository, state.now().as_millisecond()).map_err(failed)?;
            for (kind, first) in parts() {
                let files = files_of(&folder, kind, first)?;
                let changed = put_right(state, &mut connection, number, (kind, first), &folder, files)?;
                total.found += changed.found;
                total.gone += changed.gone;
                total.mended += changed.mended;
            }
        }
    }
    Ok(total)
}

/// The parts of a repository that are compared one by one: kinds, and for packs the 256 folders.
fn parts() -> impl Iterator<Item = (FileKind, Option<u8>)> {
    let packs = (0..=u8::MAX).map(|first| (FileKind::Pack, Some(first)));
    FileKind::ALL.into_iter().filter(|kind| *kind != FileKind::Pack).map(|kind| (kind, None)).chain(packs)
}

fn known(state: &State, connection: &Connection, account: i64) -> Result<HashSet<RepositoryName>, StateError> {
    let failed = |error: rusqlite::Error| StateError::from_sqlite(state.path(), &error);
    let mut statement =
        connection.prepare_cached("SELECT name FROM repositories WHERE account = ?1").map_err(failed)?;
    let names = statement.query_map([account], |row| row.get::<_, String>(0)).map_err(failed)?;
    let names: Vec<String> = names.collect::<Result<_, _>>().map_err(failed)?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// The names in a folder; none when there is no folder. Links are not followed.
fn names_in(folder: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |error: io::Error| StoreError::disk("list", folder, error);
    match fs::symlink_metadata(folder) {
        Ok(facts) if facts.is_dir() => {}
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

/// The folder of a part.
fn folder_of(repository: &Path, kind: FileKind, first: Option<u8>) -> PathBuf {
    match first {
        Some(first) => repository.join(kind.folder()).join(format!("{first:02x}")),
        None => repository.join(kind.folder()),
    }
}

/// The files of one part, as they are on the disk.
fn files_of(repository: &Path, kind: FileKind, first: Option<u8>) -> Result<HashSet<FileName>, StoreError> {
    if kind == FileKind::Config {
        let is_there =
            fs::symlink_metadata(repository.join(FileName::CONFIG.path())).is_ok_and(|facts| facts.is_file());
        return Ok(is_there.then_some(FileName::CONFIG).into_iter().collect());
    }
    let names = names_in(&folder_of(repository, kind, first))?;
    let ids = names.iter().filter_map(|name| name.parse::<model::Id>().ok());
    Ok(ids.filter(|id| first.is_none_or(|first| id.as_bytes()[0] == first)).map(|id| FileName::new(kind, id)).collect())
}

fn put_right(
    state: &State,
    connection: &mut Connection,
    repository: i64,
    (kind, first): (FileKind, Option<u8>),
    folder: &Path,
    files: HashSet<FileName>,
) -> Result<Reconciled, StoreError> {
    let failed = |error: rusqlite::Error| StateError::from_sqlite(state.path(), &error);
    let rows = rows::names(connection, repository, kind, first).map_err(failed)?;
    let mut changed = Reconciled::default();
    let are_equal = rows.len() == files.len() && rows.iter().all(|(name, is_sound)| *is_sound && files.contains(name));
    if are_equal {
        return Ok(changed);
    }
    let now = state.now().as_millisecond();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    for name in files.iter().filter(|name| !rows.contains_key(name)) {
        let path = folder.join(name.path());
        let facts = fs::symlink_metadata(&path).map_err(|error| StoreError::disk("look at", &path, error))?;
        if facts.is_file() {
            rows::find(&transaction, repository, *name, facts.len(), now).map_err(failed)?;
            changed.found += 1;
        }
    }
    for (name, is_sound) in &rows {
        if !files.contains(name) {
            rows::remove(&transaction, repository, *name).map_err(failed)?;
            changed.gone += 1;
        } else if !is_sound {
            rows::mend(&transaction, repository, *name, now).map_err(failed)?;
            changed.mended += 1;
        }
    }
    transaction.commit().map_err(failed)?;
    Ok(changed)
}
