//! One copy's trouble stays its own: dying, slow, lying and damaged copies beside healthy ones.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::path::Path;
use std::sync::Arc;

use destinations::Destination;
use format::{FileKind, FileName};
use model::{FaultKind, Verdict};
use repository::backup::backup;
use repository::copies::sync::sync;
use repository::{Error, Event, Repository};
use room::{Copies, Room, plain, three_copies, with_faults};
use testkit::{Act, Faulty, Gate, MemoryFolder, Script, Verb, When};

/// Everything but locks must be equal.
fn assert_equal_copies(copies: &Copies) {
    let without_locks = |copy: &MemoryFolder| {
        let mut files = copy.files();
        files.retain(|name, _| name.kind() != FileKind::Lock);
        files
    };
    assert!(without_locks(&copies[0]) == without_locks(&copies[1]), "first and second differ");
    assert!(without_locks(&copies[0]) == without_locks(&copies[2]), "first and third differ");
}

#[test]
fn a_copy_that_dies_at_any_operation_harms_nobody_and_is_healed_by_the_next_run() {
    let room = Room::new();
    let copies = three_copies(&room);
    let state = copies.each_ref().map(|copy| copy.files());
    std::fs::write(room.path("source/new"), vec![42; 900_000]).unwrap();
    let operations = {
        let (destinations, faulty) = with_faults(&copies, 1, Script::new(0));
        room.backup(&room.open_with(destinations).unwrap(), Path::new("source"));
        faulty.count()
    };
    assert!(operations > 10, "{operations}");
    for at in 1..=operations {
        for act in [Act::DieBefore, Act::DieAfter] {
            copies.iter().zip(&state).for_each(|(copy, files)| copy.reset(files.clone()));
            let (destinations, faulty) = with_faults(&copies, 1, Script::new(at).with(When::At(at), act.clone()));
            let report = room
                .open_with(destinations)
                .and_then(|repository| backup(&repository, &room.request(&[Path::new("source")])))
                .unwrap_or_else(|error| panic!("operation {at} {act:?}: {error}"));
            assert!(faulty.fired() > 0, "operation {at} was never reached");
            // The lock is removed while the snapshot is read back, in either order: where nothing but that removal is
            // left, everything was said.
            let left = &faulty.operations()[at as usize - 1..];
            let expected: &[Verdict] = match left {
                [only] if only.verb == Verb::Remove => &[Verdict::Ok],
                [first, ..] if first.verb == Verb::Remove => &[Verdict::Ok, Verdict::Partial],
                _ => &[Verdict::Partial],
            };
            assert!(expected.contains(&report.verdict), "operation {at} {act:?}: {:?}", report.copies);
            assert_eq!(report.copies[0].verdict, Verdict::Ok);
            assert_eq!(report.copies[2].verdict, Verdict::Ok);
            let healed = room.backup(&room.open_with(plain(&copies)).unwrap(), Path::new("source"));
            assert_eq!(healed.verdict, Verdict::Ok, "operation {at} {act:?}: {:?}", healed.copies);
            let synced = sync(&room.open_with(plain(&copies)).unwrap()).unwrap();
            assert_eq!(synced.verdict, Verdict::Ok);
            for copy in &copies {
                let snapshots = copy.names(FileKind::Snapshot);
                assert_eq!(snapshots.len(), 3, "operation {at} {act:?}");
            }
        }
    }
}

#[test]
fn a_slow_copy_is_fed_from_a_fast_one() {
    let room = Room::new();
    let copies = three_copies(&room);
    // More than one copy's queue holds.
    testkit::corpus::random_file(&room.path("source/big"), 150 << 20, 7).unwrap();
    let gate = Gate::closed();
    let script = Script::new(1).with(When::Kind(Verb::Write, FileKind::Pack), Act::Wait(gate.clone()));
    let (destinations, _) = with_faults(&copies, 2, script);
    let repository = room.open_with(destinations).unwrap();
    let report = std::thread::scope(|scope| {
        let running = scope.spawn(|| backup(&repository, &room.request(&[Path::new("source")])).unwrap());
        // The others finish while the third has not written one pack.
        let others_done = || copies[..2].iter().all(|copy| copy.names(FileKind::Snapshot).len() == 2);
        assert!(testkit::process::wait_until(std::time::Duration::from_secs(120), others_done));
        assert!(gate.waiting() > 0);
        gate.open();
        running.join().unwrap()
    });
    assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.copies);
    assert_equal_copies(&copies);
}

#[test]
fn what_does_not_fit_into_the_queue_of_a_slow_copy_is_fetched_by_it_later() {
    let fetched = [1 << 20, 1 << 30].map(|queue_bytes| {
        let room = Room::new();
        let copies = three_copies(&room);
        testkit::corpus::random_file(&room.path("source/big"), 120 << 20, 7).unwrap();
        let gate = Gate::closed();
        let script = Script::new(1).with(When::Kind(Verb::Write, FileKind::Pack), Act::Wait(gate.clone()));
        let fast = Arc::new(Faulty::new(copies[0].clone(), Script::new(1)));
        let slow = Arc::new(Faulty::new(copies[2].clone(), script));
        let surroundings = repository::Surroundings { queue_bytes, ..room.surroundings() };
        let password = room::PASSWORD.to_owned().into();
        let repository = Repository::open(vec![fast.clone(), slow], &password, surroundings).unwrap();
        let report = std::thread::scope(|scope| {
            let running = scope.spawn(|| backup(&repository, &room.request(&[Path::new("source")])).unwrap());
            let fast_is_done = || copies[0].names(FileKind::Snapshot).len() == 2;
            assert!(testkit::process::wait_until(std::time::Duration::from_secs(120), fast_is_done));
            gate.open();
            running.join().unwrap()
        });
        assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.copies);
        assert!(copies[0].files() == copies[2].files());
        let is_of_a_pack = |asked: &&testkit::Operation| asked.verb == Verb::Read && asked.kind == FileKind::Pack;
        fast.operations().iter().filter(is_of_a_pack).count()
    });
    // Folders of the snapshot before are read either way. Of seven packs one fits.
    assert!(fetched[0] >= fetched[1] + 5, "reads of packs with a small queue and with a large one: {fetched:?}");
}

#[test]
fn a_full_copy_is_named_and_the_others_finish() {
    let room = Room::new();
    let copies = three_copies(&room);
    std::fs::write(room.path("source/new"), vec![9; 900_000]).unwrap();
    let full = Script::new(2).with(When::Kind(Verb::Write, FileKind::Pack), Act::FailBefore(FaultKind::Full));
    let (destinations, faulty) = with_faults(&copies, 0, full);
    let report = room.backup(&room.open_with(destinations).unwrap(), Path::new("source"));
    assert!(faulty.fired() > 0);
    assert_eq!(report.verdict, Verdict::Partial);
    assert_eq!(report.copies[0].fault.as_ref().unwrap().kind, FaultKind::Full);
    assert_eq!(copies[0].names(FileKind::Snapshot).len(), 1);
    assert_eq!(copies[1].names(FileKind::Snapshot).len(), 2);
    sync(&room.open_with(plain(&copies)).unwrap()).unwrap();
    assert_equal_copies(&copies);
}

/// A snapshot that is made while a sync looks goes to the copy that is behind with its index, or not at all.
#[test]
fn a_backup_that_ends_while_a_sync_looks_leaves_the_copy_that_was_behind_whole() {
    for listed in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        let room = Room::new();
        let copies = three_copies(&room);
        let behind = copies[2].clone();
        let gate = Gate::closed();
        let waits = Script::new(1).with(When::Kind(Verb::List, listed), Act::Wait(gate.clone()));
        let first: Arc<dyn Destination> = Arc::new(Faulty::new(copies[0].clone(), waits));
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| sync(&room.open_with(vec![first, behind.clone()]).unwrap()).unwrap());
            assert!(testkit::process::wait_until(std::time::Duration::from_secs(60), || gate.waiting() > 0));
            std::fs::write(room.path("source/meanwhile"), vec![3; 900_000]).unwrap();
            let other = room.open_with(plain(&copies)[..2].to_vec()).unwrap();
            assert_eq!(room.backup(&other, Path::new("source")).verdict, Verdict::Ok);
            gate.open();
            looking.join().unwrap();
        });
        let alone = room.open_with(vec![behind]).unwrap();
        let indexed = alone.indexed().unwrap();
        for (id, snapshot) in alone.snapshots().unwrap().snapshots {
            indexed.tree(&snapshot.tree).unwrap_or_else(|error| panic!("{listed:?}: snapshot {}: {error}", id.short()));
        }
    }
}

#[test]
fn when_every_copy_dies_the_run_fails_and_says_of_which() {
    let room = Room::new();
    let copies = three_copies(&room);
    std::fs::write(room.path("source/new"), vec![9; 900_000]).unwrap();
    let destinations = copies.each_ref().map(|copy| {
        let dies = Script::new(3).with(When::Kind(Verb::Write, FileKind::Pack), Act::DieBefore);
        Arc::new(Faulty::new(copy.clone(), dies)) as Arc<dyn Destination>
    });
    let repository = room.open_with(destinations.to_vec()).unwrap();
    let end = backup(&repository, &room.request(&[Path::new("source")]));
    let Err(Error::NoCopyLeft(faults)) = end else { panic!("{end:?}") };
    assert_eq!(faults.len(), 3);
}

#[test]
fn wrong_bytes_of_one_copy_are_told_and_taken_from_another() {
    let room = Room::new();
    let copies = three_copies(&room);
    let lies = Script::new(4).with(When::Every(Verb::Read), Act::FlipBit);
    let (destinations, faulty) = with_faults(&copies, 0, lies);
    let repository = room.open_with(destinations).unwrap();
    let listing = repository.snapshots().unwrap();
    assert_eq!(listing.snapshots.len(), 1);
    let indexed = repository.indexed().unwrap();
    let blobs: Vec<_> = indexed.index.iter().collect();
    for (kind, id, _) in blobs {
        let plain = indexed.blob(kind, &id).unwrap();
        assert_eq!(format::hash(&plain), id);
    }
    assert!(faulty.fired() > 0);
    let told = room
        .witness
        .events()
        .iter()
        .filter(|event| matches!(event, Event::Damage(damage) if damage.copy.contains("first")))
        .count();
    assert!(told > 0);
    // Alone, the same copy gives an error that names the file, and never wrong bytes.
    let alone: Arc<dyn Destination> =
        Arc::new(Faulty::new(copies[0].clone(), Script::new(5).with(When::Every(Verb::Read), Act::FlipBit)));
    let error = room.open_with(vec![alone]).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("keys/") || error.to_string().contains("config"), "{error}");
}

#[test]
fn a_damaged_config_is_told_from_another_repository() {
    let room = Room::new();
    let copies = three_copies(&room);
    copies[2].damage(FileName::CONFIG, |bytes| bytes[20] ^= 1);
    let repository = room.open_with(plain(&copies)).unwrap();
    assert_eq!(repository.copies().live().count(), 2);
    let fault = repository.copies().all()[2].lost().unwrap();
    assert_eq!(fault.kind, FaultKind::Damaged, "{fault}");
}

#[test]
fn a_copy_without_a_repository_is_left_out_and_nothing_is_created_there() {
    let room = Room::new();
    let copies = three_copies(&room);
    copies[1].reset(Default::default());
    let repository = room.open_with(plain(&copies)).unwrap();
    let report = room.backup(&repository, Path::new("source"));
    assert_eq!(report.verdict, Verdict::Partial);
    assert_eq!(report.copies[1].fault.as_ref().unwrap().kind, FaultKind::NotFound);
    assert!(copies[1].files().is_empty());
}
