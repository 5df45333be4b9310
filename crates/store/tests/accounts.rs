//! Accounts, credentials and tokens: what a change does, what refuses it, and that another process sees it at once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use clock::FakeClock;
use jiff::{Timestamp, tz::TimeZone};
use model::{ExposeSecret, Secret};
use store::accounts::{AccountError, LimitChanges, Limits, NewCredential, PasswordHash, Scope};
use store::{AccountName, Login, Role, State};

struct Place {
    _folder: tempfile::TempDir,
    clock: Arc<FakeClock>,
    state: State,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock::new(Timestamp::from_second(1_800_000_000).unwrap(), TimeZone::UTC));
        State::create(folder.path()).unwrap();
        let state = State::open(folder.path(), clock.clone()).unwrap();
        Self { _folder: folder, clock, state }
    }

    /// As another process would.
    fn beside(&self) -> State {
        State::open(self.state.folder(), self.clock.clone()).unwrap()
    }
}

fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

fn login(text: &str) -> Login {
    text.parse().unwrap()
}

fn credential(label: Option<&str>, role: Role) -> NewCredential {
    let hash = PasswordHash::of(&Secret::from("correct horse")).unwrap();
    NewCredential { label: label.map(|label| label.parse().unwrap()), role, hash, expires_at: None }
}

#[test]
fn changes_are_seen_by_another_connection_at_once() {
    let place = Place::new();
    let other = place.beside();
    assert_eq!(other.book().unwrap().accounts().count(), 0);
    place.state.add_account(&name("alice"), Limits::default(), Some(&credential(None, Role::Append))).unwrap();
    let book = other.book().unwrap();
    assert_eq!(book.credential(&login("alice")).unwrap().role, Role::Append);
    assert!(book.credential(&login("alice")).unwrap().is_valid(place.state.now()));

    other.change_role(&login("alice"), Role::Full).unwrap();
    assert_eq!(place.state.book().unwrap().credential(&login("alice")).unwrap().role, Role::Full);
    other.disable_account(&name("alice")).unwrap();
    assert!(!place.state.book().unwrap().credential(&login("alice")).unwrap().is_valid(place.state.now()));
    other.enable_account(&name("alice")).unwrap();
    other.remove_credential(&login("alice")).unwrap();
    assert!(place.state.book().unwrap().credential(&login("alice")).is_none());
}

#[test]
fn what_is_there_is_not_made_again_and_what_is_not_is_not_changed() {
    let place = Place::new();
    let (state, alice) = (&place.state, name("alice"));
    assert_eq!(state.disable_account(&alice), Err(AccountError::NoAccount(alice.clone())));
    let added = state.add_credential(&alice, &credential(None, Role::Read));
    assert_eq!(added, Err(AccountError::NoAccount(alice.clone())));
    state.add_account(&alice, Limits::default(), None).unwrap();
    let again = state.add_account(&alice, Limits::default(), None);
    assert_eq!(again, Err(AccountError::AccountExists(alice.clone())));
    state.add_credential(&alice, &credential(Some("prune"), Role::Full)).unwrap();
    let again = state.add_credential(&alice, &credential(Some("prune"), Role::Full));
    assert_eq!(again, Err(AccountError::CredentialExists(login("alice+prune"))));
    assert_eq!(state.change_role(&login("alice"), Role::Full), Err(AccountError::NoCredential(login("alice"))));
    assert_eq!(state.remove_token("x"), Err(AccountError::NoToken("x".into())));
}

#[test]
fn a_removed_account_keeps_its_name_until_it_is_taken_back() {
    let place = Place::new();
    let (state, alice) = (&place.state, name("alice"));
    state.add_account(&alice, Limits::default(), Some(&credential(None, Role::Append))).unwrap();
    state.remove_account(&alice).unwrap();
    assert!(state.book().unwrap().credential(&login("alice")).is_none());
    // Whoever comes next must not get what the last one stored.
    assert_eq!(state.add_account(&alice, Limits::default(), None), Err(AccountError::Removed(alice.clone())));
    let added = state.add_credential(&alice, &credential(None, Role::Append));
    assert_eq!(added, Err(AccountError::Removed(alice.clone())));
    state.enable_account(&alice).unwrap();
    state.add_credential(&alice, &credential(None, Role::Read)).unwrap();
    assert!(state.book().unwrap().credential(&login("alice")).unwrap().is_valid(state.now()));
}

#[test]
fn limits_change_one_by_one() {
    let place = Place::new();
    let (state, alice) = (&place.state, name("alice"));
    let limits = Limits { quota_bytes: Some(7), quota_repositories: Some(2), ..Limits::default() };
    state.add_account(&alice, limits, None).unwrap();
    let changes = LimitChanges { quota_bytes: Some(None), quota_files: Some(Some(9)), ..LimitChanges::default() };
    let expected = Limits { quota_bytes: None, quota_files: Some(9), ..limits };
    assert_eq!(state.change_limits(&alice, changes).unwrap(), expected);
    assert_eq!(place.beside().book().unwrap().account(&alice).unwrap().limits, expected);
    let beyond = LimitChanges { minimum_age_seconds: Some(u64::MAX), ..LimitChanges::default() };
    assert!(matches!(state.change_limits(&alice, beyond), Err(AccountError::Invalid(_))));
    assert_eq!(state.book().unwrap().account(&alice).unwrap().limits, expected);
}

#[test]
fn a_lease_ends_by_the_servers_clock() {
    let place = Place::new();
    let end = place.state.now() + Duration::from_secs(600);
    let lease = NewCredential { expires_at: Some(end), ..credential(Some("lease"), Role::Full) };
    place.state.add_account(&name("alice"), Limits::default(), Some(&lease)).unwrap();
    let is_valid = || {
        let book = place.state.book().unwrap();
        book.credential(&login("alice+lease")).unwrap().is_valid(place.state.now())
    };
    place.clock.advance(Duration::from_secs(599));
    assert!(is_valid());
    place.clock.advance(Duration::from_secs(1));
    assert!(!is_valid());
}

#[test]
fn nothing_that_is_kept_shows_a_password_or_a_token() {
    let place = Place::new();
    let state = &place.state;
    let new = credential(None, Role::Append);
    state.add_account(&name("alice"), Limits::default(), Some(&new)).unwrap();
    let token = state.add_token("grafana", Scope::Observe, None).unwrap();
    let again = state.add_token("grafana", Scope::Admin, None).unwrap_err();
    assert_eq!(again, AccountError::TokenExists("grafana".into()));
    let book = state.book().unwrap();
    let shown = format!("{new:?} {state:?} {book:?} {:?}", book.credential(&login("alice")));
    for secret in ["argon2", "$", "correct horse", token.expose_secret(), "sha256"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    // Not the token itself in the file either.
    let wal = std::fs::read(state.path().with_extension("sqlite-wal")).unwrap();
    for bytes in [std::fs::read(state.path()).unwrap(), wal] {
        let token = token.expose_secret().as_bytes();
        assert!(!bytes.windows(token.len()).any(|part| part == token));
    }
}
