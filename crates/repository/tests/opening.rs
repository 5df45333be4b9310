//! Making and opening a repository: inits that broke off or met, and keys that open nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::sync::Arc;

use destinations::Destination;
use format::{FileKind, FileName, ScryptCost};
use model::FaultKind;
use repository::{Error, InitRequest, Repository};
use room::{PASSWORD, Room};
use testkit::{Act, Faulty, Gate, MemoryFolder, Script, Verb, When};

fn init(room: &Room, place: Arc<dyn Destination>) -> repository::Result<Repository> {
    let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
    Repository::init(vec![place], &PASSWORD.to_owned().into(), &request, room.surroundings())
}

/// A key file with the same password for another master key.
fn stray_key(room: &Room) -> (FileName, bytes::Bytes) {
    let elsewhere = Arc::new(MemoryFolder::new("elsewhere"));
    init(room, elsewhere.clone()).unwrap();
    let name = elsewhere.names(FileKind::Key)[0];
    (name, elsewhere.get(name).unwrap())
}

#[test]
fn a_key_that_fits_no_config_is_passed_over() {
    let room = Room::new();
    let copy = Arc::new(MemoryFolder::new("copy"));
    let own = init(&room, copy.clone()).unwrap().key_id();
    // As many as it takes for one of them to come before the right one.
    for _ in 0..6 {
        let (name, bytes) = stray_key(&room);
        copy.put(name, bytes);
    }
    let repository = room.open_with(vec![copy]).unwrap();
    assert_eq!(repository.key_id(), own);
}

#[test]
fn an_init_after_one_that_broke_off_leaves_one_key() {
    let room = Room::new();
    for _ in 0..4 {
        let copy = Arc::new(MemoryFolder::new("copy"));
        let dies = Script::new(1).with(When::Kind(Verb::Write, FileKind::Config), Act::DieBefore);
        init(&room, Arc::new(Faulty::new(copy.clone(), dies))).unwrap_err();
        assert_eq!(copy.names(FileKind::Key).len(), 1);
        init(&room, copy.clone()).unwrap();
        assert_eq!(copy.names(FileKind::Key).len(), 1);
        room.open_with(vec![copy]).unwrap();
    }
}

#[test]
fn of_two_inits_that_meet_one_wins_and_the_other_leaves_nothing() {
    let room = Room::new();
    let copy = Arc::new(MemoryFolder::new("copy"));
    let gate = Gate::closed();
    let slow = Script::new(1).with(When::Kind(Verb::Write, FileKind::Config), Act::Wait(gate.clone()));
    let slow = Arc::new(Faulty::new(copy.clone(), slow));
    std::thread::scope(|scope| {
        let late = scope.spawn(|| init(&room, slow));
        assert!(testkit::process::wait_until(std::time::Duration::from_secs(60), || gate.waiting() > 0));
        init(&room, copy.clone()).unwrap();
        gate.open();
        let end = late.join().unwrap();
        let Err(Error::Destination(fault)) = end else { panic!("{end:?}") };
        assert_eq!(fault.kind, FaultKind::Exists);
    });
    assert_eq!(copy.names(FileKind::Key).len(), 1);
    room.open_with(vec![copy]).unwrap();
}

#[test]
fn keys_of_one_copy_that_cannot_be_read_or_understood_keep_nobody_out() {
    let room = Room::new();
    let first = Arc::new(MemoryFolder::new("first"));
    init(&room, first.clone()).unwrap();
    let second = Arc::new(first.copy("second"));
    let refused = FileName::new(FileKind::Key, format::hash(b"refused"));
    first.put(refused, "not given out");
    for rubbish in 0..150 {
        let bytes = format!("rubbish {rubbish}");
        first.put(FileName::new(FileKind::Key, format::hash(bytes.as_bytes())), bytes.clone());
    }
    let script = Script::new(1).with(When::File(Verb::Read, refused), Act::FailBefore(FaultKind::Denied));
    let place: Arc<dyn Destination> = Arc::new(Faulty::new(first, script));
    let repository = room.open_with(vec![place, second]).unwrap();
    let keys = repository::keys::list(&repository).unwrap();
    assert_eq!(keys.len(), 1);
}
