//! Logins: who is let in, what is remembered, how wrong passwords are slowed down, and that no answer tells who exists.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use clock::FakeClock;
use http::HeaderValue;
use jiff::{Timestamp, tz::TimeZone};
use model::Secret;
use store::accounts::{Limits, NewCredential, PasswordHash};
use store::htpasswd::HtpasswdFile;
use store::login::{LoginSettings, Pace};
use store::{Admitted, Gate, Refused, Role, State, Steward};

const PASSWORD: &str = "correct horse";
const PACE: Pace = Pace { burst: 3, interval_milliseconds: 1_000 };
/// Nothing waits in these tests.
const SETTINGS: LoginSettings =
    LoginSettings { address: PACE, account: Pace { burst: 5, interval_milliseconds: 1_000 }, refusal_milliseconds: 0 };

struct Place {
    folder: tempfile::TempDir,
    clock: Arc<FakeClock>,
    steward: Arc<Steward>,
    /// Another process beside the server.
    beside: State,
}

impl Place {
    fn new(settings: LoginSettings) -> Self {
        Self::with(settings, |_, _| None)
    }

    fn with(settings: LoginSettings, file: impl FnOnce(&State, PathBuf) -> Option<HtpasswdFile>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock::new(Timestamp::from_second(1_800_000_000).unwrap(), TimeZone::UTC));
        State::create(folder.path()).unwrap();
        let state = Arc::new(State::open(folder.path(), clock.clone()).unwrap());
        let beside = State::open(folder.path(), clock.clone()).unwrap();
        let new = NewCredential { label: None, role: Role::Append, hash: hash(PASSWORD), expires_at: None };
        beside.add_account(&"alice".parse().unwrap(), Limits::default(), Some(&new)).unwrap();
        let file = file(&state, folder.path().join("htpasswd"));
        let steward = Arc::new(Steward::begin(state, settings, file).unwrap());
        Self { folder, clock, steward, beside }
    }

    async fn login(&self, from: &str, user: &str, password: &str) -> Result<Admitted, Refused> {
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let header = HeaderValue::from_str(&format!("Basic {text}")).unwrap();
        self.steward.admit(from.parse::<IpAddr>().unwrap(), Some(&header)).await
    }

    async fn role(&self, user: &str, password: &str) -> Option<Role> {
        self.login("192.0.2.1", user, password).await.ok().map(|admitted| admitted.role)
    }
}

fn hash(password: &str) -> PasswordHash {
    PasswordHash::of(&Secret::from(password)).unwrap()
}

fn patient() -> LoginSettings {
    let pace = Pace { burst: 1000, interval_milliseconds: 1 };
    LoginSettings { address: pace, account: pace, refusal_milliseconds: 0 }
}

#[tokio::test]
async fn every_reason_is_the_same_refusal_and_the_same_work() {
    let place = Place::new(patient());
    let end = place.beside.now() + Duration::from_secs(60);
    for (name, expires_at) in [("disabled", None), ("removed", None), ("revoked", None), ("expired", Some(end))] {
        let new = NewCredential { label: None, role: Role::Full, hash: hash(PASSWORD), expires_at };
        place.beside.add_account(&name.parse().unwrap(), Limits::default(), Some(&new)).unwrap();
        assert_eq!(place.role(name, PASSWORD).await, Some(Role::Full), "{name}");
    }
    place.beside.disable_account(&"disabled".parse().unwrap()).unwrap();
    place.beside.remove_account(&"removed".parse().unwrap()).unwrap();
    place.beside.remove_credential(&"revoked".parse().unwrap()).unwrap();
    place.clock.advance(Duration::from_secs(60));
    for (user, password) in [
        ("alice", "wrong password"),
        ("alice", ""),
        ("alice+other", PASSWORD),
        ("Alice", PASSWORD),
        ("nobody", PASSWORD),
        ("no/name", PASSWORD),
        ("", PASSWORD),
        ("disabled", PASSWORD),
        ("removed", PASSWORD),
        ("revoked", PASSWORD),
        ("expired", PASSWORD),
    ] {
        let before = place.steward.hashes();
        assert_eq!(place.login("192.0.2.1", user, password).await, Err(Refused::Unauthorized), "{user}");
        assert_eq!(place.steward.hashes(), before + 1, "{user}: one hash each, whoever it is");
    }
    assert_eq!(place.steward.admit("192.0.2.1".parse().unwrap(), None).await, Err(Refused::Unauthorized));
}

#[tokio::test]
async fn a_refusal_is_never_early() {
    let place = Place::new(LoginSettings { refusal_milliseconds: 700, ..patient() });
    for (user, password) in [("alice", "wrong password"), ("nobody", PASSWORD)] {
        let begun = tokio::time::Instant::now();
        assert_eq!(place.role(user, password).await, None);
        assert!(begun.elapsed() >= Duration::from_millis(700), "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_hashed_once_for_all_connections() {
    let place = Arc::new(Place::new(SETTINGS));
    let many: Vec<_> = (0..50)
        .map(|_| {
            let place = place.clone();
            tokio::spawn(async move { place.role("alice", PASSWORD).await })
        })
        .collect();
    for one in many {
        assert_eq!(one.await.unwrap(), Some(Role::Append));
    }
    // Two may begin before the first has ended.
    assert!(place.steward.hashes() <= 2, "{}", place.steward.hashes());
}

#[tokio::test]
async fn what_another_process_changes_counts_at_the_next_request() {
    let place = Place::new(patient());
    assert_eq!(place.role("alice", PASSWORD).await, Some(Role::Append));
    place.beside.change_role(&"alice".parse().unwrap(), Role::Read).unwrap();
    assert_eq!(place.role("alice", PASSWORD).await, Some(Role::Read));
    place.beside.change_password(&"alice".parse().unwrap(), &hash("battery staple")).unwrap();
    assert_eq!(place.role("alice", PASSWORD).await, None);
    assert_eq!(place.role("alice", "battery staple").await, Some(Role::Read));
    place.beside.disable_account(&"alice".parse().unwrap()).unwrap();
    assert_eq!(place.role("alice", "battery staple").await, None);
    place.beside.enable_account(&"alice".parse().unwrap()).unwrap();
    assert_eq!(place.role("alice", "battery staple").await, Some(Role::Read));
    place.beside.remove_credential(&"alice".parse().unwrap()).unwrap();
    assert_eq!(place.role("alice", "battery staple").await, None);
    // The same login again is another credential.
    let new = NewCredential { label: None, role: Role::Full, hash: hash("another one"), expires_at: None };
    place.beside.add_credential(&"alice".parse().unwrap(), &new).unwrap();
    assert_eq!(place.role("alice", "battery staple").await, None);
    assert_eq!(place.role("alice", "another one").await, Some(Role::Full));
}

#[tokio::test]
async fn wrong_passwords_are_slowed_down_by_address_and_by_account() {
    let place = Place::new(SETTINGS);
    let wrong = async |from: &str, user: &str| place.login(from, user, "wrong password").await.unwrap_err();
    let wait = Refused::TooMany { retry_after: Duration::from_secs(1) };
    for _ in 0..3 {
        assert_eq!(wrong("192.0.2.1", "nobody").await, Refused::Unauthorized);
    }
    let hashes = place.steward.hashes();
    // The address has used up its burst, whatever the name, and no hash is spent on it.
    assert_eq!(wrong("192.0.2.1", "alice").await, wait);
    assert_eq!(place.login("192.0.2.1", "alice", PASSWORD).await, Err(wait));
    assert_eq!(place.steward.hashes(), hashes);
    // Another address has not; and its right password is remembered from then on.
    assert!(place.login("192.0.2.2", "alice", PASSWORD).await.is_ok());
    assert!(place.login("192.0.2.1", "alice", PASSWORD).await.is_ok());
    // The account has its own bound, from everywhere, whether it exists or not.
    for user in ["alice", "ghost"] {
        for address in 1..=5 {
            assert_eq!(wrong(&format!("198.51.100.{address}"), user).await, Refused::Unauthorized);
        }
        assert_eq!(wrong("203.0.113.1", user).await, wait);
    }
    assert!(place.login("203.0.113.1", "alice", PASSWORD).await.is_ok(), "a remembered password is never limited");
    place.clock.advance(Duration::from_secs(1));
    assert_eq!(wrong("192.0.2.1", "nobody").await, Refused::Unauthorized);
    assert_eq!(wrong("192.0.2.1", "nobody").await, wait);
}

#[tokio::test]
async fn right_passwords_cost_no_allowance() {
    let place = Place::new(SETTINGS);
    for round in 0..10 {
        let label = format!("c{round}");
        let new = NewCredential {
            label: Some(label.parse().unwrap()),
            role: Role::Read,
            hash: hash(PASSWORD),
            expires_at: None,
        };
        place.beside.add_credential(&"alice".parse().unwrap(), &new).unwrap();
        assert_eq!(place.role(&format!("alice+{label}"), PASSWORD).await, Some(Role::Read));
    }
}

#[tokio::test]
async fn a_state_that_breaks_closes_the_door_for_remembered_ones_too() {
    let place = Place::new(patient());
    assert_eq!(place.role("alice", PASSWORD).await, Some(Role::Append));
    let aside = place.folder.path().join("aside");
    fs::rename(place.steward.state().path(), &aside).unwrap();
    assert_eq!(place.login("192.0.2.1", "alice", PASSWORD).await, Err(Refused::Closed));
    fs::rename(&aside, place.steward.state().path()).unwrap();
    assert_eq!(place.role("alice", PASSWORD).await, Some(Role::Append));
}

#[tokio::test]
async fn an_htpasswd_file_is_kept_in_step_and_closes_when_it_breaks() {
    let line = |name: &str, password: &str| format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap());
    let place = Place::with(patient(), |state, path| {
        assert!(HtpasswdFile::open(&path, Role::Append, state).is_err(), "a missing file is no file");
        fs::write(&path, "bob:plain\n").unwrap();
        let error = HtpasswdFile::open(&path, Role::Append, state).unwrap_err().to_string();
        assert!(error.contains("htpasswd") && error.contains("line 1") && !error.contains("plain"), "{error}");
        fs::write(&path, line("bob", "bobs password")).unwrap();
        Some(HtpasswdFile::open(&path, Role::Append, state).unwrap())
    });
    let path = place.folder.path().join("htpasswd");
    assert_eq!(place.role("bob", "bobs password").await, Some(Role::Append));
    assert_eq!(place.role("alice", PASSWORD).await, Some(Role::Append));

    fs::write(&path, line("bob", "a new password") + &line("carol", "carols password")).unwrap();
    assert_eq!(place.role("bob", "bobs password").await, None);
    assert_eq!(place.role("bob", "a new password").await, Some(Role::Append));
    assert_eq!(place.role("carol", "carols password").await, Some(Role::Append));

    fs::write(&path, "carol:\n").unwrap();
    assert_eq!(place.login("192.0.2.1", "bob", "a new password").await, Err(Refused::Closed));
    fs::remove_file(&path).unwrap();
    assert_eq!(place.login("192.0.2.1", "alice", PASSWORD).await, Err(Refused::Closed));
    fs::write(&path, line("carol", "carols password")).unwrap();
    assert_eq!(place.role("bob", "a new password").await, None);
    assert_eq!(place.role("carol", "carols password").await, Some(Role::Append));
    place.beside.disable_account(&"carol".parse().unwrap()).unwrap();
    assert_eq!(place.role("carol", "carols password").await, None);
}

#[tokio::test]
async fn a_remembered_login_that_left_the_htpasswd_file_is_out_at_once_and_forgotten() {
    let line = |name: &str| format!("{name}:{}\n", bcrypt::hash(name, 4).unwrap());
    let place = Place::with(patient(), |state, path| {
        fs::write(&path, line("dave") + &line("erin")).unwrap();
        Some(HtpasswdFile::open(&path, Role::Full, state).unwrap())
    });
    let path = place.folder.path().join("htpasswd");
    for _ in 0..2 {
        assert_eq!(place.role("dave", "dave").await, Some(Role::Full));
        assert_eq!(place.role("erin", "erin").await, Some(Role::Full));
    }
    assert_eq!((place.steward.hashes(), place.steward.remembered()), (2, 2), "the second time nothing was hashed");
    // dave goes, as an administrator's editor does it: a new file under the old name.
    let aside = place.folder.path().join("htpasswd.new");
    fs::write(&aside, line("erin")).unwrap();
    fs::rename(&aside, &path).unwrap();
    assert_eq!(place.role("dave", "dave").await, None);
    assert_eq!(place.role("erin", "erin").await, Some(Role::Full));
    // Many who come and go leave no trace in memory.
    for number in 0..20 {
        let name = format!("guest{number}");
        fs::write(&path, line("erin") + &line(&name)).unwrap();
        assert_eq!(place.role(&name, &name).await, Some(Role::Full));
    }
    assert!(place.steward.remembered() <= 4, "{}", place.steward.remembered());
}
