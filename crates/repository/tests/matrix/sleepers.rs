//! Locks of processes that slept, died, or share a name or an id with others.

use std::path::Path;
use std::time::Duration;

use clock::Clock as _;
use format::{FileKind, FileName, Moment};
use model::Verdict;
use repository::backup::backup;
use repository::locks::{LockMode, LockState};
use repository::{Error, Repository, Result};
use testkit::process::wait_until;
use testkit::{Fate, Gate, Lifeline, Verb};

use crate::operations::{OPERATIONS, Operation, Told};
use crate::stage::{DEAD_PROCESS, Files, Ground, Stage, password};

/// A night.
const NIGHT: Duration = Duration::from_secs(9 * 3600);

const HELD_LIMIT: Duration = Duration::from_secs(60);

/// Runs an operation that falls asleep at `moment`; `meanwhile` happens in the night.
fn sleep_in(
    stage: &Stage,
    operation: &Operation,
    moment: u64,
    meanwhile: impl FnOnce() -> Files,
) -> (Result<Told>, Files) {
    let gate = Gate::closed();
    let lifeline = Lifeline::new(Fate::PausesBefore(moment, gate.clone()));
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| (operation.run)(stage, stage.seen_by(&lifeline), stage.surroundings()));
        assert!(wait_until(HELD_LIMIT, || gate.waiting() > 0 || sleeper.is_finished()), "it never stood still");
        assert!(!sleeper.is_finished(), "it ended before it could sleep");
        stage.clock.advance(NIGHT);
        let seen = meanwhile();
        gate.open();
        (sleeper.join().unwrap(), seen)
    })
}

/// The first operation of this verb on files that are no locks, in an undisturbed run.
fn first(stage: &Stage, operation: &Operation, verb: Verb) -> Option<u64> {
    stage.reset();
    let lifeline = Lifeline::new(Fate::Lives);
    (operation.run)(stage, stage.seen_by(&lifeline), stage.surroundings()).unwrap();
    let history = lifeline.history();
    history.iter().find(|asked| asked.verb == verb && asked.kind != FileKind::Lock).map(|asked| asked.number)
}

fn data_of(stage: &Stage) -> Files {
    testkit::oracles::without_locks(&stage.copies[0])
}

#[test]
fn a_backup_that_slept_while_somebody_could_remove_writes_no_snapshot() {
    let stage = Stage::new(Ground::Whole);
    let operation = Operation::named("backup");
    let moment = first(&stage, operation, Verb::Write).unwrap();
    stage.reset();
    let (end, _) = sleep_in(&stage, operation, moment, || {
        // Its locks are stale by now, so this one may remove, and its coming and going leaves nothing but their absence.
        drop(stage.open(stage.plain()).lock(LockMode::Exclusive).unwrap());
        data_of(&stage)
    });
    let error = end.unwrap_err();
    assert!(error.to_string().contains("our lock was removed"), "{error}");
    for copy in &stage.copies {
        assert_eq!(copy.names(FileKind::Snapshot).len(), 2);
        assert_eq!(copy.names(FileKind::Index).len(), 2);
    }
}

#[test]
fn a_backup_that_slept_undisturbed_ends_well() {
    let stage = Stage::new(Ground::Whole);
    let operation = Operation::named("backup");
    let moment = first(&stage, operation, Verb::Write).unwrap();
    stage.reset();
    let (end, _) = sleep_in(&stage, operation, moment, || data_of(&stage));
    assert_eq!(end.unwrap().verdict, Verdict::Ok);
}

#[test]
fn whoever_removes_stops_after_a_sleep_before_the_next_removal() {
    let mut tried = 0;
    for operation in OPERATIONS.iter().filter(|operation| operation.lock == Some(LockMode::Exclusive)) {
        let stage = Stage::new(operation.ground);
        // What is only added needs no such care.
        let Some(removal) = first(&stage, operation, Verb::Remove) else { continue };
        tried += 1;
        // Right before it looks at its locks on the three copies for the last time, and at the moments before.
        for moment in [removal - 3, removal - 6, removal - 9] {
            stage.reset();
            let (end, seen) = sleep_in(&stage, operation, moment, || {
                // A backup passes over the lock of the sleeper and counts on all that is there.
                let repository = stage.open(stage.plain());
                let report = backup(&repository, &stage.room.request(&[Path::new("source")])).unwrap();
                assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.copies);
                data_of(&stage)
            });
            let now = data_of(&stage);
            let gone: Vec<&FileName> = seen.keys().filter(|name| !now.contains_key(name)).collect();
            assert!(gone.is_empty(), "`{}`, asleep at {moment}, removed {gone:?}", operation.name);
            assert!(end.is_err(), "`{}`, asleep at {moment}: {end:?}", operation.name);
        }
    }
    assert!(tried >= 5, "only {tried} operations remove anything");
}

/// A field of a lock file.
type Field = (&'static str, serde_json::Value);

/// A lock file with these facts, put on the first copy.
fn put_lock(stage: &Stage, repository: &Repository, minutes_ago: i64, pid: u32, fields: &[Field]) {
    let time = Moment::from(&(stage.clock.local() - jiff::SignedDuration::from_mins(minutes_ago)));
    let mut lock = format::Lock::new(time, true);
    (lock.hostname, lock.username, lock.pid) = ("testhost".into(), "tester".into(), i64::from(pid));
    lock.other.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let (name, bytes) = repository.seal_file(FileKind::Lock, &lock.to_bytes());
    stage.copies[0].put(name, bytes);
}

#[test]
fn a_lock_is_dead_only_where_that_is_certain() {
    let stage = Stage::new(Ground::New);
    let repository = stage.open(stage.plain());
    // What a lock of this very process says of itself.
    let guard = repository.lock(LockMode::Exclusive).unwrap();
    let own = repository.locks().unwrap().remove(0).lock;
    drop(guard);
    let world = ("process_world", own.other["process_world"].clone());
    let began = ("process_began", own.other["process_began"].clone());
    let began_before = ("process_began", serde_json::Value::from(own.other["process_began"].as_u64().unwrap() - 1));
    let container = ("process_world", serde_json::Value::from("00000000-0000-0000-0000-000000000000/pid:[1]"));
    let living = std::process::id();
    let cases: [(&str, i64, u32, Vec<Field>, LockState); 10] = [
        ("ours, at work", 0, living, vec![world.clone(), began.clone()], LockState::Held),
        ("ours, killed", 0, DEAD_PROCESS, vec![world.clone(), began.clone()], LockState::Dead),
        (
            "ours, killed, and its id was given away again",
            0,
            living,
            vec![world.clone(), began_before],
            LockState::Dead,
        ),
        ("of an older program of ours, at work", 0, living, vec![world], LockState::Held),
        ("of a container that took our name", 0, DEAD_PROCESS, vec![container.clone()], LockState::Held),
        ("of a container, with an id that lives here", 0, living, vec![container, began], LockState::Held),
        ("restic's, with our host's name", 0, DEAD_PROCESS, vec![], LockState::Held),
        ("restic's, a little old", 29, DEAD_PROCESS, vec![], LockState::Held),
        ("restic's, old", 31, DEAD_PROCESS, vec![], LockState::Stale),
        ("of a clock that is ahead", -600, DEAD_PROCESS, vec![], LockState::Held),
    ];
    for (what, minutes_ago, pid, fields, expected) in cases {
        stage.reset();
        put_lock(&stage, &repository, minutes_ago, pid, &fields);
        let found = repository.locks().unwrap();
        assert_eq!(found[0].state, expected, "{what}");
        // Only who is provably dead is removed by one who adds, and by nobody who is foreign and alive.
        let adding = repository.lock(LockMode::Adding).map(drop);
        let is_there = !stage.copies[0].names(FileKind::Lock).is_empty();
        assert_eq!(is_there, expected != LockState::Dead, "{what}");
        assert_eq!(matches!(adding, Err(Error::Locked { .. })), expected == LockState::Held, "{what}: {adding:?}");
        assert_eq!(repository.unlock(false).unwrap(), usize::from(expected == LockState::Stale), "{what}");
    }
}

#[test]
fn a_dead_lock_that_cannot_be_removed_costs_no_backup() {
    let stage = Stage::new(Ground::Whole);
    // A process dies and leaves its locks.
    let dies = Lifeline::new(Fate::DiesBefore(first(&stage, Operation::named("backup"), Verb::Write).unwrap()));
    stage.reset();
    let _ = (Operation::named("backup").run)(&stage, stage.seen_by(&dies), stage.doomed());
    assert!(stage.copies.iter().all(|copy| copy.names(FileKind::Lock).len() == 1));
    // One place lets nothing go, as one that is append-only in every folder does.
    let keeps = testkit::Script::new(0)
        .with(testkit::When::Every(Verb::Remove), testkit::Act::FailBefore(model::FaultKind::Denied));
    let mut places = stage.plain();
    places[1] = std::sync::Arc::new(testkit::Faulty::new(stage.copies[1].clone(), keeps));
    let repository = Repository::open(places, &password(), stage.surroundings()).unwrap();
    let report = backup(&repository, &stage.room.request(&[Path::new("source")])).unwrap();
    assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.copies);
    assert_eq!(stage.copies.each_ref().map(|copy| copy.names(FileKind::Lock).len()), [0, 2, 0]);
}
