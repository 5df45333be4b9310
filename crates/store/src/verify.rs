//! Names against content: every file whose name is the hash of its bytes is read and compared, with no key at all.
//!
//! A pass goes through a repository in the order of its rows and remembers how far it came, so that it can be broken
//! off at any time. What is found damaged is marked in its row until it is stored anew or found sound again; nothing
//! is removed or changed. `config` has no hash in its name; the seal in it is the owner's to check.

use std::collections::HashMap;
use std::time::Duration;

use clock::Clock;
use format::{FileKind, FileName};
use jiff::Timestamp;
use model::Id;
use rusqlite::{OptionalExtension, params};

use crate::error::StoreError;
use crate::names::{AccountName, RepositoryPlace};
use crate::state::schema::{kind_number, kind_of};
use crate::state::{Changing, State, StateError};
use crate::vault::Vault;

/// Files between two notes of how far a pass came.
const BATCH_FILES: u32 = 64;

/// No pause is longer without a look at whether there is to be a stop.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// How far the verification of a repository came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// When the pass under way began.
    pub begun_at: Option<Timestamp>,
    /// Files of the pass under way, or of the last one.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the last whole pass ended.
    pub completed_at: Option<Timestamp>,
    /// Files that are marked as damaged.
    pub damaged: u64,
}

/// A file that is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// In which repository.
    pub place: RepositoryPlace,
    /// Which file.
    pub name: FileName,
    /// What is wrong with it.
    pub what: String,
}

/// What was verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is not what its name says.
    pub damages: Vec<Damage>,
    /// Whether every repository was gone through to its end.
    pub is_whole: bool,
}

/// How to verify.
pub struct VerifyOptions<'a> {
    /// Only this account's repositories.
    pub account: Option<AccountName>,
    /// Only repositories whose last whole pass ended before this moment, or that are in the middle of one.
    pub due_before: Option<Timestamp>,
    /// No more bytes than this are read in a second.
    pub bytes_per_second: Option<u64>,
    /// Asked before each file: whether to break off.
    pub is_to_stop: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for VerifyOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyOptions").field("account", &self.account).finish_non_exhaustive()
    }
}

impl VerifyOptions<'_> {
    fn wants(&self, place: &RepositoryPlace, progress: &Progress) -> bool {
        let is_due = |before: Timestamp| {
            progress.begun_at.is_some() || progress.completed_at.is_none_or(|completed| completed < before)
        };
        self.account.as_ref().is_none_or(|account| *account == place.account) && self.due_before.is_none_or(is_due)
    }
}

/// How far each repository came.
///
/// # Errors
/// When the state cannot be read.
pub fn progress(state: &State) -> Result<HashMap<RepositoryPlace, Progress>, StateError> {
    let moment = |milliseconds: Option<i64>| milliseconds.and_then(|at| Timestamp::from_millisecond(at).ok());
    let rows = state.look_up(|connection| {
        let query = "SELECT accounts.name, repositories.name, begun_at, files, bytes, completed_at,
                (SELECT count(*) FROM files WHERE files.repository = repositories.id AND damaged_at IS NOT NULL)
            FROM repositories JOIN accounts ON accounts.id = repositories.account
            LEFT JOIN verifications ON verifications.repository = repositories.id";
        let mut statement = connection.prepare_cached(query)?;
        let rows = statement.query_map([], |row| {
            let progress = Progress {
                begun_at: moment(row.get(2)?),
                files: row.get::<_, Option<i64>>(3)?.map_or(0, i64::unsigned_abs),
                bytes: row.get::<_, Option<i64>>(4)?.map_or(0, i64::unsigned_abs),
                completed_at: moment(row.get(5)?),
                damaged: row.get::<_, i64>(6)?.unsigned_abs(),
            };
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, progress))
        })?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    })?;
    let place = |account: &str, repository: &str| {
        Some(RepositoryPlace { account: account.parse().ok()?, repository: repository.parse().ok()? })
    };
    Ok(rows.into_iter().filter_map(|(account, name, progress)| Some((place(&account, &name)?, progress))).collect())
}

/// Goes through all repositories, from where the last pass broke off.
///
/// # Errors
/// When the state cannot be used. A file that cannot be read is a damage, and no error.
pub fn verify(state: &State, vault: &Vault, options: &VerifyOptions<'_>) -> Result<Verified, StoreError> {
    let mut total = Verified { is_whole: true, ..Verified::default() };
    let mut pace = Pace::new(state.clock().as_ref(), options.bytes_per_second);
    let mut places: Vec<(RepositoryPlace, Progress)> = progress(state)?.into_iter().collect();
    places.retain(|(place, progress)| options.wants(place, progress));
    places.sort_by(|one, other| one.0.cmp(&other.0));
    for (place, _) in places {
        if !pass(state, vault, &place, options, &mut pace, &mut total)? {
            total.is_whole = false;
            break;
        }
    }
    Ok(total)
}

/// Where a pass is.
struct Pass {
    repository: i64,
    begun_at: i64,
    kind: i64,
    id: Vec<u8>,
    files: i64,
    bytes: i64,
}

/// One repository to its end; false when it was broken off.
fn pass(
    state: &State,
    vault: &Vault,
    place: &RepositoryPlace,
    options: &VerifyOptions<'_>,
    pace: &mut Pace<'_>,
    total: &mut Verified,
) -> Result<bool, StoreError> {
    let Some(mut pass) = begin(state, place)? else { return Ok(true) };
    loop {
        let batch = next(state, &pass)?;
        let mut damaged = Vec::new();
        let mut sound = Vec::new();
        let mut is_stopped = false;
        let is_last = batch.is_empty();
        for (name, bytes, was_damaged) in batch {
            if (options.is_to_stop)() {
                is_stopped = true;
                break;
            }
            match examine(state, vault, place, pass.repository, name)? {
                Some(what) => {
                    damaged.push(name);
                    total.damages.push(Damage { place: place.clone(), name, what });
                }
                None if was_damaged => sound.push(name),
                None => {}
            }
            (pass.kind, pass.id) =
                (kind_number(name.kind()), name.id().map_or(vec![0; Id::LENGTH], |id| id.as_bytes().to_vec()));
            (pass.files, pass.bytes) = (pass.files + 1, pass.bytes.saturating_add_unsigned(bytes));
            (total.files, total.bytes) = (total.files + 1, total.bytes.saturating_add(bytes));
            pace.read(bytes, options.is_to_stop);
        }
        note(state, &pass, is_last, &damaged, &sound)?;
        if is_last || is_stopped {
            return Ok(is_last);
        }
    }
}

/// Takes up the pass that was broken off, or begins one. Nothing when the repository is gone.
fn begin(state: &State, place: &RepositoryPlace) -> Result<Option<Pass>, StateError> {
    let now = state.now().as_millisecond();
    state.look_up(|connection| {
        let query = "SELECT repositories.id, begun_at, kind, verifications.id, files, bytes FROM repositories
            JOIN accounts ON accounts.id = repositories.account
            LEFT JOIN verifications ON verifications.repository = repositories.id
            WHERE accounts.name = ?1 AND repositories.name = ?2";
        let names = [place.account.as_str(), place.repository.as_str()];
        let found = connection.prepare_cached(query)?.query_row(names, |row| {
            let repository = row.get(0)?;
            Ok(match row.get::<_, Option<i64>>(1)? {
                Some(begun_at) => Pass {
                    repository,
                    begun_at,
                    kind: row.get(2)?,
                    id: row.get(3)?,
                    files: row.get(4)?,
                    bytes: row.get(5)?,
                },
                None => Pass { repository, begun_at: now, kind: -1, id: Vec::new(), files: 0, bytes: 0 },
            })
        });
        found.optional()
    })
}

/// The next files: name, bytes, and whether they are marked.
fn next(state: &State, pass: &Pass) -> Result<Vec<(FileName, u64, bool)>, StateError> {
    let damaged =
        || StateError::Damaged { path: state.path().to_owned(), why: "a row of `files` makes no sense".into() };
    let rows = state.look_up(|connection| {
        let query = "SELECT kind, id, bytes, damaged_at IS NOT NULL FROM files
            WHERE repository = ?1 AND (kind, id) > (?2, ?3) ORDER BY kind, id LIMIT ?4";
        let mut statement = connection.prepare_cached(query)?;
        let rows = statement.query_map(params![pass.repository, pass.kind, pass.id, BATCH_FILES], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; Id::LENGTH]>(1)?, row.get::<_, i64>(2)?, row.get(3)?))
        })?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    })?;
    let understood = |(kind, id, bytes, was_damaged): (i64, [u8; Id::LENGTH], i64, bool)| {
        let name = FileName::new(kind_of(kind).ok_or_else(damaged)?, Id::from_bytes(id));
        Ok((name, bytes.unsigned_abs(), was_damaged))
    };
    rows.into_iter().map(understood).collect()
}

/// What is wrong with a file, if something is.
fn examine(
    state: &State,
    vault: &Vault,
    place: &RepositoryPlace,
    repository: i64,
    name: FileName,
) -> Result<Option<String>, StateError> {
    let read = vault.open_file(place, name).and_then(|file| file.id());
    match (read, name.id()) {
        (Ok(found), Some(id)) if found != id => Ok(Some(format!("its content is that of `{found}`"))),
        (Ok(_), _) => Ok(None),
        // It may have been removed since its row was read; then its row is gone too.
        (Err(error), _) => {
            let (kind, id) = (kind_number(name.kind()), name.id().unwrap_or_default());
            let query = "SELECT count(*) FROM files WHERE repository = ?1 AND kind = ?2 AND id = ?3";
            let count: i64 = state.look_up(|connection| {
                connection.query_row(query, params![repository, kind, id.as_bytes()], |row| row.get(0))
            })?;
            let is_lock = name.kind() == FileKind::Lock;
            Ok((count > 0 && !(is_lock && error.is_absent())).then(|| error.to_string()))
        }
    }
}

/// Writes down how far the pass came and what it found.
fn note(state: &State, pass: &Pass, is_last: bool, damaged: &[FileName], sound: &[FileName]) -> Result<(), StateError> {
    let now = state.now().as_millisecond();
    state.write(|transaction| {
        for (names, at) in [(damaged, Some(now)), (sound, None)] {
            for name in names {
                let mark = "UPDATE files SET damaged_at = ?4 WHERE repository = ?1 AND kind = ?2 AND id = ?3";
                let id = name.id().unwrap_or_default();
                transaction.prepare_cached(mark)?.execute(params![
                    pass.repository,
                    kind_number(name.kind()),
                    id.as_bytes(),
                    at
                ])?;
            }
        }
        let begun_at = (!is_last).then_some(pass.begun_at);
        let completed_at = is_last.then_some(now);
        transaction.execute(
            "INSERT INTO verifications (repository, begun_at, kind, id, files, bytes, completed_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                ON CONFLICT (repository) DO UPDATE SET begun_at = ?2, kind = ?3, id = ?4, files = ?5, bytes = ?6,
                    completed_at = coalesce(?7, completed_at)",
            params![pass.repository, begun_at, pass.kind, pass.id, pass.files, pass.bytes, completed_at],
        )?;
        Ok::<_, Changing<StateError>>(())
    })
}

/// So many bytes a second, and no more.
struct Pace<'a> {
    clock: &'a dyn Clock,
    bytes_per_second: Option<u64>,
    begun: Duration,
    bytes: u64,
}

impl<'a> Pace<'a> {
    fn new(clock: &'a dyn Clock, bytes_per_second: Option<u64>) -> Self {
        Self { clock, bytes_per_second, begun: clock.monotonic(), bytes: 0 }
    }

    /// Waits until so many bytes more are due, or there is to be a stop.
    fn read(&mut self, bytes: u64, is_to_stop: &(dyn Fn() -> bool + Sync)) {
        let Some(rate) = self.bytes_per_second.filter(|rate| *rate > 0) else { return };
        self.bytes = self.bytes.saturating_add(bytes);
        let due = self.begun + Duration::from_millis(self.bytes.saturating_mul(1000) / rate);
        while let Some(wait) = due.checked_sub(self.clock.monotonic()).filter(|wait| !wait.is_zero()) {
            if is_to_stop() {
                return;
            }
            std::thread::sleep(wait.min(PAUSE_MAX));
        }
    }
}
