//! Locks: written, heeded, removed; ours and restic's.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use repository::Error;
use repository::locks::{LockMode, LockState};
use room::{Room, files_in, small_tree};

#[test]
fn an_exclusive_lock_keeps_others_out_and_a_shared_one_does_not() {
    let room = Room::new();
    let repository = room.init(&["a", "b"]);
    let other = room.open(&["b"]);
    {
        let _shared = repository.lock(LockMode::Adding).unwrap();
        assert_eq!(files_in(&room.path("a/locks")).len(), 1);
        assert_eq!(files_in(&room.path("b/locks")).len(), 1);
        let _too = other.lock(LockMode::Adding).unwrap();
        let refused = other.lock(LockMode::Exclusive);
        assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    }
    {
        let _exclusive = repository.lock(LockMode::Exclusive).unwrap();
        let Err(error) = other.lock(LockMode::Reading) else { panic!("the lock was not heeded") };
        let text = error.to_string();
        assert!(text.contains("testhost") && text.contains(&std::process::id().to_string()), "{text}");
    }
    assert!(files_in(&room.path("a/locks")).is_empty());
    assert!(files_in(&room.path("b/locks")).is_empty());
}

#[test]
fn waiting_ends_when_the_lock_goes() {
    let room = Room::new();
    let repository = room.init(&["a"]);
    let mut surroundings = room.surroundings();
    surroundings.retry_lock = std::time::Duration::from_secs(60);
    let password = room::PASSWORD.to_owned().into();
    let patient = repository::Repository::open(room.destinations(&["a"]), &password, surroundings).unwrap();
    let held = repository.lock(LockMode::Exclusive).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| patient.lock(LockMode::Adding).map(drop));
        drop(held);
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn restic_heeds_our_lock_and_we_heed_its() {
    let room = Room::new();
    small_tree(&room.path("source"));
    let repository = room.init(&["a"]);
    room.backup(&repository, std::path::Path::new("source"));
    for (version, program) in testkit::components::every_restic() {
        let _exclusive = repository.lock(LockMode::Exclusive).unwrap();
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            room.restic(&program, "a", &["backup", "source"]);
        }));
        assert!(refused.is_err(), "restic {version} passed over our exclusive lock");
        let text = room.restic(&program, "a", &["list", "locks", "--no-lock"]);
        assert!(!text.trim().is_empty());
    }
    // A lock of restic's: the text of one, sealed as restic would.
    let lock =
        br#"{"time":"2099-01-01T00:00:00Z","exclusive":true,"hostname":"elsewhere","username":"them","pid":4711}"#;
    let (name, bytes) = repository.seal_file(format::FileKind::Lock, lock);
    repository.copies().write_each(name, &bytes).unwrap();
    let refused = repository.lock(LockMode::Adding);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    // A foreign lock that is not stale is removed only when that is asked for.
    assert_eq!(repository.unlock(false).unwrap(), 0);
    assert_eq!(repository.unlock(true).unwrap(), 1);
    repository.lock(LockMode::Adding).unwrap();
}

#[test]
fn stale_locks_are_passed_over_and_dead_ones_removed() {
    let room = Room::new();
    let repository = room.init(&["a"]);
    // A lock of a process of this very boot that has ended.
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let mut surroundings = room.surroundings();
    surroundings.who.pid = pid;
    let password = room::PASSWORD.to_owned().into();
    let dead = repository::Repository::open(room.destinations(&["a"]), &password, surroundings).unwrap();
    std::mem::forget(dead.lock(LockMode::Exclusive).unwrap());
    let stale = br#"{"time":"2001-01-01T00:00:00Z","exclusive":true,"hostname":"elsewhere","username":"them","pid":1}"#;
    let (name, bytes) = repository.seal_file(format::FileKind::Lock, stale);
    repository.copies().write_each(name, &bytes).unwrap();
    let states: Vec<LockState> = repository.locks().unwrap().into_iter().map(|lock| lock.state).collect();
    assert!(states.contains(&LockState::Stale) && states.contains(&LockState::Dead), "{states:?}");
    drop(repository.lock(LockMode::Adding).unwrap());
    // The dead one is gone, the stale one waits for `unlock`.
    assert_eq!(files_in(&room.path("a/locks")).len(), 1);
    assert_eq!(repository.unlock(false).unwrap(), 1);
    // Whoever wants to remove takes it away, so that its owner, should it wake up, sees that it was passed over.
    repository.copies().write_each(name, &bytes).unwrap();
    let exclusive = repository.lock(LockMode::Exclusive).unwrap();
    assert_eq!(repository.locks().unwrap().len(), 1);
    drop(exclusive);
    assert!(files_in(&room.path("a/locks")).is_empty());
}
