//! A state that is missing, foreign, newer, damaged or out of reach is refused by name, and is never made anew.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clock::FakeClock;
use jiff::{Timestamp, tz::TimeZone};
use model::Secret;
use store::accounts::{Limits, NewCredential, PasswordHash, Scope};
use store::{Role, State, StateError};
use testkit::Random;

fn open(folder: &Path) -> Result<State, StateError> {
    let state = State::open(folder, Arc::new(FakeClock::new(Timestamp::UNIX_EPOCH, TimeZone::UTC)))?;
    state.check_pages()?;
    Ok(state)
}

/// A store's folder with some accounts; the state is closed.
fn filled() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    State::create(folder.path()).unwrap();
    let state = open(folder.path()).unwrap();
    let hash = PasswordHash::of(&Secret::from("correct horse")).unwrap();
    for name in ["alice", "bob", "carol"] {
        let new = NewCredential { label: None, role: Role::Append, hash: hash.clone(), expires_at: None };
        state.add_account(&name.parse().unwrap(), Limits::default(), Some(&new)).unwrap();
    }
    state.add_token("watch", Scope::Observe, None).unwrap();
    let path = state.path().to_owned();
    (folder, path)
}

#[test]
fn it_is_made_once_and_for_its_owner_alone() {
    let (folder, path) = filled();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(State::create(folder.path()), Err(StateError::Exists(path)));
    assert_eq!(open(folder.path()).unwrap().book().unwrap().accounts().count(), 3);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().contains("new")), "{left:?}");
}

#[test]
fn what_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(folder.path()).unwrap_err();
    assert_eq!(error, StateError::Missing(folder.path().join("store.sqlite")));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(error.to_string().contains("store.sqlite") && !error.hint().is_empty());
}

#[test]
fn what_is_no_state_is_refused() {
    let (folder, path) = filled();
    let other = rusqlite::Connection::open(folder.path().join("other")).unwrap();
    other.execute_batch("CREATE TABLE accounts (id INTEGER)").unwrap();
    drop(other);
    let sound = fs::read(&path).unwrap();
    for (bytes, expected) in [
        (Vec::new(), "damaged"),
        (b"SQLite".to_vec(), "damaged"),
        (vec![0; sound.len()], "damaged"),
        (b"a text of some length that is no database\n".repeat(200), "damaged"),
        (fs::read(folder.path().join("other")).unwrap(), "is not a storage server's state"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(error.to_string().contains(expected) && error.to_string().contains("store.sqlite"), "{error}");
    }
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(folder.path().join("other"), &path).unwrap();
    assert!(matches!(open(folder.path()), Err(StateError::Unreadable { .. })));
}

#[test]
fn a_newer_one_is_left_alone() {
    let (folder, path) = filled();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 3).unwrap();
    drop(connection);
    assert_eq!(open(folder.path()).unwrap_err(), StateError::Newer { path, found: 3, known: 2 });
}

/// Who is in the state, as far as it may be shown.
fn shown(state: &State) -> Result<String, StateError> {
    let book = state.book()?;
    let credentials: Vec<_> = book.accounts().flat_map(|account| book.credentials_of(&account.name)).collect();
    Ok(format!("{:?} {credentials:?} {:?}", book.accounts().collect::<Vec<_>>(), book.tokens()))
}

#[test]
fn one_that_is_cut_short_is_damaged() {
    let (folder, path) = filled();
    let expected = shown(&open(folder.path()).unwrap()).unwrap();
    let sound = fs::read(&path).unwrap();
    for length in (0..sound.len()).step_by(sound.len() / 50) {
        fs::write(&path, &sound[..length]).unwrap();
        match open(folder.path()) {
            Err(error) => assert!(matches!(error, StateError::Damaged { .. }), "{length}: {error}"),
            // The last page is empty: only zeros were cut off.
            Ok(state) => {
                assert!(length > sound.len() - 4096, "{length} of {}", sound.len());
                assert_eq!(shown(&state).unwrap(), expected);
            }
        }
    }
}

/// A flipped bit is found, or it is in a place that decides nothing. It never lets somebody in differently.
#[test]
fn a_changed_byte_never_changes_who_gets_in() {
    let seed = testkit::seed("bits of the state");
    let mut random = Random::new(seed);
    let (folder, path) = filled();
    let sound = fs::read(&path).unwrap();
    let expected = shown(&open(folder.path()).unwrap()).unwrap();
    let flips = if std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some() { 20_000 } else { 500 };
    let mut refused = 0;
    for _ in 0..flips {
        let mut bytes = sound.clone();
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
        fs::write(&path, &bytes).unwrap();
        match open(folder.path()).and_then(|state| shown(&state)) {
            Err(_) => refused += 1,
            Ok(found) => assert_eq!(found, expected, "bit at {at}"),
        }
    }
    assert!(refused > flips / 50, "{refused} of {flips} flips were found");
}

#[test]
fn one_that_is_taken_away_or_exchanged_while_in_use_closes() {
    let (folder, path) = filled();
    let state = open(folder.path()).unwrap();
    assert!(state.book().is_ok());
    let aside = folder.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    assert_eq!(state.book().unwrap_err(), StateError::Replaced(path.clone()));
    fs::copy(&aside, &path).unwrap();
    assert_eq!(state.book().unwrap_err(), StateError::Replaced(path.clone()));
    fs::rename(&aside, &path).unwrap();
    assert!(state.book().is_ok());
}

#[test]
fn rows_that_make_no_sense_close_a_state_in_use() {
    let (folder, path) = filled();
    let state = open(folder.path()).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    // As if a bit of the value had changed: the checksum stays.
    let change = "UPDATE credentials SET role = 'full';
        UPDATE facts SET value = value + 1 WHERE name = 'generation'";
    connection.execute_batch(change).unwrap();
    for _ in 0..2 {
        assert!(matches!(state.book(), Err(StateError::Damaged { .. })));
    }
    assert!(matches!(open(folder.path()), Err(StateError::Damaged { .. })));
}
