//! Rows of files: each a name, a length and the moment of its first arrival.

use std::collections::HashMap;

use format::{FileKind, FileName};
use model::Id;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::names::{AccountName, RepositoryName, RepositoryPlace};
use crate::quota::{Effect, Holding, Holdings};
use crate::state::schema::{kind_number, kind_of};
use crate::state::{Book, State, StateError};

/// The name's id as it stands in a row; the one file without an id has zeros.
pub(super) fn key(name: FileName) -> (i64, [u8; Id::LENGTH]) {
    (kind_number(name.kind()), name.id().map_or([0; Id::LENGTH], |id| *id.as_bytes()))
}

fn stored_bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The checksum of a row: a moment that a bit of damage made earlier must open nothing.
fn checksum(repository: i64, name: FileName, received_at: i64) -> i64 {
    let (kind, id) = key(name);
    let mut hasher = format::Hasher::new();
    [repository, kind, received_at].iter().for_each(|number| hasher.update(&number.to_le_bytes()));
    hasher.update(&id);
    let sum = hasher.finish();
    let [a, b, c, d, e, f, g, h, ..] = *sum.as_bytes();
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// When a file was received, as its row tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// In milliseconds since 1970.
    At(i64),
    /// The row is damaged: nobody knows.
    Unknown,
}

/// The repository's number; it gets one when it has none.
pub(super) fn repository(
    connection: &Connection,
    account: i64,
    name: &RepositoryName,
    now: i64,
) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO repositories (account, name, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute(params![account, name.as_str(), now])?;
    connection
        .prepare_cached("SELECT id FROM repositories WHERE account = ?1 AND name = ?2")?
        .query_row(params![account, name.as_str()], |row| row.get(0))
}

/// A file that was stored and whose bytes were checked. What is known of its arrival stays.
pub(super) fn store(
    connection: &Connection,
    repository: i64,
    name: FileName,
    bytes: u64,
    now: i64,
) -> rusqlite::Result<Effect> {
    let (kind, id) = key(name);
    let before: Option<i64> = connection
        .prepare_cached("SELECT bytes FROM files WHERE repository = ?1 AND kind = ?2 AND id = ?3")?
        .query_row(params![repository, kind, id], |row| row.get(0))
        .optional()?;
    match before {
        None => insert(connection, repository, name, bytes, now)?,
        Some(_) => {
            let heal = "UPDATE files SET bytes = ?4, damaged_at = NULL WHERE repository = ?1 AND kind = ?2 AND id = ?3";
            connection.prepare_cached(heal)?.execute(params![repository, kind, id, stored_bytes(bytes)])?;
        }
    }
    let before = before.map(i64::unsigned_abs);
    Ok(Effect::Stored { kind: name.kind(), bytes, before, received_at: now })
}

/// A file that is there without a row: it counts as received now, because nobody knows better.
pub(super) fn find(
    connection: &Connection,
    repository: i64,
    name: FileName,
    bytes: u64,
    now: i64,
) -> rusqlite::Result<Option<Effect>> {
    let count = insert_if_new(connection, repository, name, bytes, now)?;
    Ok((count > 0).then_some(Effect::Stored { kind: name.kind(), bytes, before: None, received_at: now }))
}

fn insert(connection: &Connection, repository: i64, name: FileName, bytes: u64, now: i64) -> rusqlite::Result<()> {
    insert_if_new(connection, repository, name, bytes, now).map(|_| ())
}

fn insert_if_new(
    connection: &Connection,
    repository: i64,
    name: FileName,
    bytes: u64,
    now: i64,
) -> rusqlite::Result<usize> {
    let (kind, id) = key(name);
    connection
        .prepare_cached(
            "INSERT INTO files (repository, kind, id, bytes, received_at, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                ON CONFLICT DO NOTHING",
        )?
        .execute(params![repository, kind, id, stored_bytes(bytes), now, checksum(repository, name, now)])
}

/// A file whose row is damaged: it counts as received now.
pub(super) fn mend(connection: &Connection, repository: i64, name: FileName, now: i64) -> rusqlite::Result<()> {
    let (kind, id) = key(name);
    connection
        .prepare_cached(
            "UPDATE files SET received_at = ?4, checksum = ?5 WHERE repository = ?1 AND kind = ?2 AND id = ?3",
        )?
        .execute(params![repository, kind, id, now, checksum(repository, name, now)])
        .map(|_| ())
}

/// A file that is gone.
pub(super) fn remove(connection: &Connection, repository: i64, name: FileName) -> rusqlite::Result<Option<Effect>> {
    let (kind, id) = key(name);
    let bytes: Option<i64> = connection
        .prepare_cached("DELETE FROM files WHERE repository = ?1 AND kind = ?2 AND id = ?3 RETURNING bytes")?
        .query_row(params![repository, kind, id], |row| row.get(0))
        .optional()?;
    Ok(bytes.map(|bytes| Effect::Removed { kind: name.kind(), bytes: bytes.unsigned_abs() }))
}

/// When a file was received, if it has a row.
pub(crate) fn received_at(
    connection: &Connection,
    account: i64,
    place: &RepositoryPlace,
    name: FileName,
) -> rusqlite::Result<Option<Arrival>> {
    let (kind, id) = key(name);
    let arrival = |row: &Row<'_>| {
        let (repository, received_at, sum) = (row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?);
        let is_sound = sum == checksum(repository, name, received_at);
        Ok(if is_sound { Arrival::At(received_at) } else { Arrival::Unknown })
    };
    connection
        .prepare_cached(
            "SELECT repository, received_at, checksum FROM files JOIN repositories ON repositories.id = repository
                WHERE account = ?1 AND name = ?2 AND kind = ?3 AND files.id = ?4",
        )?
        .query_row(params![account, place.repository.as_str(), kind, id], arrival)
        .optional()
}

/// Names of one kind in a repository, or the packs of one folder of `data`; and whether each row is sound.
pub(super) fn names(
    connection: &Connection,
    repository: i64,
    kind: FileKind,
    first: Option<u8>,
) -> rusqlite::Result<HashMap<FileName, bool>> {
    let (from, to) = match first {
        Some(first) => ([[first].as_slice(), &[0; 31]].concat(), [[first].as_slice(), &[0xff; 31]].concat()),
        None => (vec![0; 32], vec![0xff; 32]),
    };
    connection
        .prepare_cached(
            "SELECT id, received_at, checksum FROM files WHERE repository = ?1 AND kind = ?2 AND id BETWEEN ?3 AND ?4",
        )?
        .query_map(params![repository, kind_number(kind), from, to], |row| {
            let name = match kind {
                FileKind::Config => FileName::CONFIG,
                _ => FileName::new(kind, Id::from_bytes(row.get(0)?)),
            };
            Ok((name, row.get::<_, i64>(2)? == checksum(repository, name, row.get(1)?)))
        })?
        .collect()
}

/// What every account holds, as the rows tell.
pub(crate) fn holdings(state: &State, book: &Book) -> Result<Holdings, StateError> {
    let by_number: HashMap<i64, &AccountName> = book.accounts().map(|account| (account.id, &account.name)).collect();
    let mut holdings: HashMap<AccountName, Holding> = HashMap::new();
    let damaged =
        || StateError::Damaged { path: state.path().to_owned(), why: "a row of `files` makes no sense".into() };
    let repositories = state.look_up(|connection| {
        let query = "SELECT account, name FROM repositories";
        let mut statement = connection.prepare(query)?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    })?;
    let totals = state.look_up(|connection| {
        let query = "SELECT account, name, kind, count(*), sum(bytes), max(received_at) FROM files
            JOIN repositories ON repositories.id = repository GROUP BY repository, kind";
        let mut statement = connection.prepare(query)?;
        let total = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?));
        let rows = statement.query_map([], total)?;
        rows.collect::<rusqlite::Result<Vec<(i64, String, i64, i64, i64, i64)>>>()
    })?;
    for (account, repository) in repositories {
        let name = by_number.get(&account).ok_or_else(damaged)?;
        let holding = holdings.entry((*name).clone()).or_default();
        holding.account = account;
        holding.repositories.entry(repository.parse().map_err(|_| damaged())?).or_default();
    }
    for (account, repository, kind, files, bytes, last) in totals {
        let name = by_number.get(&account).ok_or_else(damaged)?;
        let holding = holdings.get_mut(*name).ok_or_else(damaged)?;
        let repository: RepositoryName = repository.parse().map_err(|_| damaged())?;
        let kind = kind_of(kind).ok_or_else(damaged)?;
        let (files, bytes) =
            (u64::try_from(files).map_err(|_| damaged())?, u64::try_from(bytes).map_err(|_| damaged())?);
        holding.files += files;
        holding.bytes += bytes;
        holding.repositories.entry(repository).or_default().set(kind, files, bytes, last);
    }
    Ok(Holdings::of(holdings))
}
