//! Forgetting on several copies: on all of them or on none, whatever breaks in between.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::{Clock, SystemClock};
use destinations::Destination;
use format::{FileKind, FileName, Lock, Moment, Snapshot, SnapshotSummary};
use model::{FaultKind, Id, Verdict};
use repository::copies::sync::sync;
use repository::forget::{ForgetReport, ForgetRequest, Selection, execute, named, plan};
use repository::retention::{Count, Policy, Wish};
use repository::snapshots::SnapshotFilter;
use repository::{Error, RecordsFolder, Repository, Surroundings};
use room::{Copies, PASSWORD, Room, plain, three_copies, with_faults};
use testkit::process::wait_until;
use testkit::{Act, Faulty, Gate, MemoryFolder, Script, Verb, When};

const DAY: i64 = 86_400;

/// Three copies of a repository with one real snapshot, and snapshot files of the days before.
struct Ground {
    room: Room,
    copies: Copies,
    /// Oldest first; the real one is last.
    snapshots: Vec<Id>,
    with_records: bool,
}

impl Ground {
    fn new(days: i64) -> Self {
        let room = Room::new();
        let copies = three_copies(&room);
        let repository = room.open_with(plain(&copies)).unwrap();
        let (real, newest) = repository.snapshots().unwrap().snapshots.remove(0);
        let mut snapshots = Vec::new();
        for day in (1..=days).rev() {
            let mut snapshot = newest.clone();
            snapshot.time.seconds -= day * DAY;
            snapshots.push(put(&repository, &snapshot));
        }
        snapshots.push(real);
        Self { room, copies, snapshots, with_records: true }
    }

    fn surroundings(&self) -> Surroundings {
        let records = self.with_records.then(|| RecordsFolder::new(self.room.path("records")));
        Surroundings { records, ..self.room.surroundings() }
    }

    fn open_with(&self, destinations: Vec<Arc<dyn Destination>>) -> Repository {
        Repository::open(destinations, &PASSWORD.to_owned().into(), self.surroundings()).unwrap()
    }

    fn open(&self) -> Repository {
        self.open_with(plain(&self.copies))
    }

    fn of(&self, copy: usize) -> Vec<Id> {
        let held: BTreeSet<Id> =
            self.copies[copy].names(FileKind::Snapshot).iter().map(|name| name.id().unwrap()).collect();
        self.snapshots.iter().filter(|id| held.contains(id)).copied().collect()
    }

    fn assert_all_have(&self, expected: &[Id], what: &str) {
        for copy in 0..3 {
            assert_eq!(self.of(copy), expected, "copy {copy}: {what}");
        }
    }

    /// No lock is left anywhere, and nothing but snapshots differs from `before`.
    fn assert_only_snapshots_went(&self, before: &[std::collections::BTreeMap<FileName, Bytes>]) {
        for (copy, before) in self.copies.iter().zip(before) {
            let gone = before.keys().filter(|name| copy.get(**name).is_none());
            assert!(gone.into_iter().all(|name| name.kind() == FileKind::Snapshot));
            assert!(copy.names(FileKind::Lock).is_empty());
        }
    }
}

/// A snapshot file of ours on every copy.
fn put(repository: &Repository, snapshot: &Snapshot) -> Id {
    let (name, bytes) = repository.seal_file(FileKind::Snapshot, &snapshot.to_bytes());
    repository.copies().write_each(name, &bytes).unwrap();
    name.id().unwrap()
}

fn keep_last(number: u32) -> ForgetRequest {
    let policy = Policy { last: Count::Number(number), ..Policy::default() };
    let wish = Wish { policy, ..Wish::default() };
    ForgetRequest { selection: Selection::Policy(SnapshotFilter::default()), wish, believe_listings: false }
}

fn by_ids(ids: &[Id]) -> ForgetRequest {
    ForgetRequest {
        selection: Selection::Ids(ids.iter().copied().collect()),
        wish: Wish::default(),
        believe_listings: false,
    }
}

fn forget(repository: &Repository, request: &ForgetRequest) -> repository::Result<ForgetReport> {
    execute(repository, &plan(repository, request)?)
}

#[track_caller]
fn refusal(result: repository::Result<impl std::fmt::Debug>) -> (String, String) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    (error.to_string(), error.hint().unwrap())
}

#[test]
fn what_no_rule_keeps_goes_from_every_copy_and_nothing_else_does() {
    let ground = Ground::new(30);
    let before: Vec<_> = ground.copies.iter().map(|copy| copy.files()).collect();
    let repository = ground.open();
    let request = keep_last(3);
    let planned = plan(&repository, &request).unwrap();
    assert_eq!(planned.removals(), &ground.snapshots[..28], "oldest first");
    ground.assert_all_have(&ground.snapshots, "a plan changes nothing");
    let report = execute(&repository, &planned).unwrap();
    assert_eq!(report.verdict, Verdict::Ok);
    assert!(report.copies.iter().all(|copy| copy.removed == 28 && copy.kept == 0 && copy.fault.is_none()));
    ground.assert_all_have(&ground.snapshots[28..], "three stay");
    drop(repository);
    ground.assert_only_snapshots_went(&before);
    let again = plan(&ground.open(), &request).unwrap();
    assert!(again.is_empty());
}

#[test]
fn what_is_named_goes_and_a_typo_removes_nothing() {
    let ground = Ground::new(5);
    let repository = ground.open();
    let ids = &ground.snapshots;
    let texts = [ids[1].to_hex()[..10].to_owned(), ids[3].to_hex()];
    let chosen = named(&repository, &texts, &SnapshotFilter::default()).unwrap();
    assert_eq!(chosen, [ids[1], ids[3]].into());
    for wrong in ["", "xyz", "0000000000"] {
        let texts = [texts[0].clone(), wrong.to_owned()];
        assert!(named(&repository, &texts, &SnapshotFilter::default()).is_err(), "{wrong}");
    }
    let latest = named(&repository, &["latest".to_owned()], &SnapshotFilter::default()).unwrap();
    assert_eq!(latest, [ids[5]].into());
    forget(&repository, &by_ids(&[ids[1], ids[3]])).unwrap();
    ground.assert_all_have(&[ids[0], ids[2], ids[4], ids[5]], "two went");
}

#[test]
fn copies_that_disagree_are_not_judged() {
    let ground = Ground::new(5);
    ground.copies[1].take(FileName::new(FileKind::Snapshot, ground.snapshots[2])).unwrap();
    let (why, hint) = refusal(plan(&ground.open(), &keep_last(1)));
    assert!(why.contains(&ground.snapshots[2].short()) && why.contains("missing on memory:second"), "{why}");
    assert!(hint.contains("copies sync"), "{hint}");
    assert!(plan(&ground.open(), &by_ids(&ground.snapshots[..1])).is_err());
    sync(&ground.open()).unwrap();
    forget(&ground.open(), &keep_last(1)).unwrap();
    ground.assert_all_have(&ground.snapshots[5..], "after a sync they agree");

    let ground = Ground::new(3);
    ground.copies[2].damage(FileName::new(FileKind::Snapshot, ground.snapshots[0]), |bytes| bytes.truncate(50));
    let (why, _) = refusal(plan(&ground.open(), &keep_last(1)));
    assert!(why.contains("another size") && why.contains("memory:third"), "{why}");
}

#[test]
fn a_copy_that_is_away_keeps_everything_everywhere() {
    let ground = Ground::new(5);
    let listing = When::Kind(Verb::List, FileKind::Snapshot);
    let (destinations, faulty) =
        with_faults(&ground.copies, 2, Script::new(1).with(listing, Act::FailBefore(FaultKind::Unreachable)));
    let (why, _) = refusal(plan(&ground.open_with(destinations), &keep_last(1)));
    assert!(faulty.fired() > 0);
    assert!(why.contains("memory:third"), "{why}");
    // It was there for the plan and is gone when it counts.
    let (destinations, faulty) = with_faults(&ground.copies, 1, Script::new(1));
    let repository = ground.open_with(destinations);
    let planned = plan(&repository, &keep_last(1)).unwrap();
    faulty.die();
    let (why, _) = refusal(execute(&repository, &planned));
    assert!(why.contains("memory:second"), "{why}");
    ground.assert_all_have(&ground.snapshots, "nothing went");
}

#[test]
fn listings_that_lost_much_are_not_believed() {
    for act in [Act::EmptyListing, Act::ShortListing { missing: 4 }] {
        let ground = Ground::new(12);
        let one = || -> Vec<Arc<dyn Destination>> { vec![ground.copies[0].clone()] };
        // The first time there is nothing to compare with; what was seen is remembered.
        forget(&ground.open_with(one()), &keep_last(10)).unwrap();
        let script = Script::new(5).with(When::Kind(Verb::List, FileKind::Snapshot), act.clone());
        let lying: Vec<Arc<dyn Destination>> = vec![Arc::new(Faulty::new(ground.copies[0].clone(), script))];
        let repository = ground.open_with(lying);
        let (why, hint) = refusal(plan(&repository, &keep_last(1)));
        assert!(why.contains("and 10 when this machine looked last"), "{why}");
        assert!(hint.contains("--believe-listings"), "{hint}");
        let believing = ForgetRequest { believe_listings: true, ..keep_last(1) };
        assert!(plan(&repository, &believing).is_ok(), "{act:?}");
        // What was removed on purpose is no loss.
        forget(&ground.open_with(one()), &keep_last(2)).unwrap();
        assert!(plan(&ground.open_with(one()), &keep_last(1)).is_ok());
    }
}

#[test]
fn a_snapshot_that_nobody_can_read_stops_policies_and_not_names() {
    let ground = Ground::new(4);
    let unreadable = FileName::new(FileKind::Snapshot, ground.snapshots[0]);
    for copy in &ground.copies {
        copy.damage(unreadable, |bytes| bytes[40] ^= 1);
    }
    let repository = ground.open();
    let (why, _) = refusal(plan(&repository, &keep_last(1)));
    assert!(why.contains(&unreadable.path()), "{why}");
    refusal(plan(&repository, &by_ids(&ground.snapshots[..2])));
    forget(&repository, &by_ids(&ground.snapshots[1..2])).unwrap();
    assert_eq!(ground.of(0).len(), 4);
    // Where one copy has it sound, it can be read.
    let ground = Ground::new(4);
    ground.copies[0].damage(FileName::new(FileKind::Snapshot, ground.snapshots[0]), |bytes| bytes[40] ^= 1);
    forget(&ground.open(), &keep_last(1)).unwrap();
    ground.assert_all_have(&ground.snapshots[4..], "read from another copy");
}

#[test]
fn what_came_or_went_behind_the_plan_stops_it() {
    let ground = Ground::new(4);
    let repository = ground.open();
    let planned = plan(&repository, &keep_last(1)).unwrap();
    let mut newer = repository.snapshot(ground.snapshots[4]).unwrap();
    newer.time.seconds += 60;
    put(&repository, &newer);
    let (why, hint) = refusal(execute(&repository, &planned));
    assert!(why.contains("came or went") && hint.contains("again"), "{why}");
    ground.assert_all_have(&ground.snapshots, "nothing went");
}

#[test]
fn whoever_else_works_there_is_waited_for() {
    let ground = Ground::new(4);
    let repository = ground.open();
    let mut lock = Lock::new(Moment::from(&SystemClock::new().local()), false);
    lock.hostname = "elsewhere".to_owned();
    let (name, bytes) = repository.seal_file(FileKind::Lock, &lock.to_bytes());
    ground.copies[1].put(name, bytes);
    let planned = plan(&repository, &keep_last(1)).unwrap();
    let error = execute(&repository, &planned).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }) && error.to_string().contains("elsewhere"), "{error}");
    ground.assert_all_have(&ground.snapshots, "nothing went");
    ground.copies[1].take(name).unwrap();
    execute(&repository, &planned).unwrap();
    ground.assert_all_have(&ground.snapshots[4..], "the same plan still holds");
}

/// A copy on which nothing but locks can be removed.
fn append_only() -> Script {
    Script::new(1).with(When::Kind(Verb::Remove, FileKind::Snapshot), Act::FailBefore(FaultKind::Denied))
}

#[test]
fn a_copy_that_only_grows_keeps_more_and_disturbs_nobody() {
    let ground = Ground::new(40);
    for (kept, times) in [(30, 11), (20, 21), (20, 21)] {
        let (destinations, faulty) = with_faults(&ground.copies, 1, append_only());
        let report = forget(&ground.open_with(destinations), &keep_last(kept)).unwrap();
        assert_eq!(report.verdict, Verdict::Ok, "{report:?}");
        assert_eq!((report.copies[1].removed, report.copies[1].kept), (0, times));
        assert_eq!(faulty.fired(), 1, "one refusal is enough");
        assert_eq!(ground.of(0), ground.snapshots[ground.snapshots.len() - kept as usize..]);
        assert_eq!(ground.of(1), ground.snapshots);
    }
    // A backup does not bring them back to the others.
    let after = ground.room.backup(&ground.open(), std::path::Path::new("source"));
    assert_eq!(after.verdict, Verdict::Ok);
    assert_eq!((ground.of(0).len(), ground.of(1).len(), ground.of(2).len()), (20, 41, 20));
    for copy in &ground.copies {
        copy.take(FileName::new(FileKind::Snapshot, after.id.unwrap())).unwrap();
    }
    // With credentials that may, what is left over goes.
    let report = forget(&ground.open(), &keep_last(20)).unwrap();
    assert_eq!((report.copies[0].removed, report.copies[1].removed), (0, 21));
    ground.assert_all_have(&ground.snapshots[21..], "in the end all agree");
}

#[test]
fn where_no_copy_lets_anything_go_forgetting_has_failed() {
    let ground = Ground::new(4);
    let faulty: Vec<Arc<dyn Destination>> = vec![Arc::new(Faulty::new(ground.copies[0].clone(), append_only()))];
    let report = forget(&ground.open_with(faulty), &keep_last(1)).unwrap();
    assert_eq!(report.verdict, Verdict::Failed);
    assert_eq!(report.copies[0].kept, 4);
}

/// All copies stop at their own n-th removal or before it, as when the process dies.
fn dying(copies: &Copies, nth: [u64; 3], act: &Act) -> Vec<Arc<dyn Destination>> {
    let faulty = |(copy, nth): (&Arc<MemoryFolder>, u64)| {
        // Removals of our own locks come last and are not of this kind.
        let script = Script::new(1).with(When::Nth(Verb::Remove, nth), act.clone());
        Arc::new(Faulty::new(copy.clone(), script)) as Arc<dyn Destination>
    };
    copies.iter().zip(nth).map(faulty).collect()
}

/// Whoever died leaves a lock; here it is gone by the time of the next run.
fn unlock(copies: &Copies) {
    for copy in copies {
        for name in copy.names(FileKind::Lock) {
            copy.take(name);
        }
    }
}

#[test]
fn a_removal_that_broke_off_anywhere_is_completed_by_the_next_run() {
    for nth in [[1, 1, 1], [1, 9, 9], [9, 1, 1], [3, 5, 2], [12, 12, 12], [17, 2, 30]] {
        for act in [Act::DieBefore, Act::DieAfter] {
            let ground = Ground::new(20);
            let broken = forget(&ground.open_with(dying(&ground.copies, nth, &act)), &keep_last(2));
            assert!(broken.is_err() || broken.unwrap().verdict == Verdict::Partial, "{nth:?}");
            unlock(&ground.copies);
            assert!(ground.of(0).ends_with(&ground.snapshots[19..]), "what stays stays everywhere");
            let planned = plan(&ground.open(), &keep_last(2)).unwrap();
            assert!(planned.leftovers.iter().all(|leftover| leftover.goes), "{:?}", planned.leftovers);
            let report = execute(&ground.open(), &planned).unwrap();
            assert_eq!(report.verdict, Verdict::Ok, "{nth:?} {act:?} {report:?}");
            ground.assert_all_have(&ground.snapshots[19..], &format!("{nth:?} {act:?}"));
            assert!(plan(&ground.open(), &keep_last(2)).unwrap().is_empty());
        }
    }
}

#[test]
fn one_copy_may_die_at_any_operation() {
    let counted = {
        let ground = Ground::new(11);
        let (destinations, faulty) = with_faults(&ground.copies, 1, Script::new(1));
        forget(&ground.open_with(destinations), &keep_last(2)).unwrap();
        faulty.count()
    };
    for number in 1..=counted {
        for act in [Act::DieBefore, Act::DieAfter] {
            let ground = Ground::new(11);
            let script = Script::new(1).with(When::At(number), act.clone());
            let (destinations, faulty) = with_faults(&ground.copies, 1, script);
            let surroundings = ground.surroundings();
            let opened = Repository::open(destinations, &PASSWORD.to_owned().into(), surroundings);
            let ended = opened.and_then(|repository| forget(&repository, &keep_last(2)));
            assert!(faulty.fired() > 0, "{number} of {counted}");
            let all = |copy: usize| ground.of(copy) == ground.snapshots;
            match ended {
                // It died with everything done, or the others went on without it.
                Ok(report) => assert!(report.verdict == Verdict::Ok || report.verdict == Verdict::Partial),
                Err(error) => assert!(all(0) && all(1) && all(2), "{number} {act:?}: {error}"),
            }
            unlock(&ground.copies);
            let report = forget(&ground.open(), &keep_last(2)).unwrap();
            assert_eq!(report.verdict, Verdict::Ok, "{number} {act:?}");
            ground.assert_all_have(&ground.snapshots[10..], &format!("{number} {act:?}"));
        }
    }
}

#[test]
fn a_machine_that_knows_nothing_of_a_broken_removal_asks_for_a_sync() {
    let mut ground = Ground::new(20);
    assert!(forget(&ground.open_with(dying(&ground.copies, [2, 30, 30], &Act::DieAfter)), &keep_last(2)).is_ok());
    unlock(&ground.copies);
    ground.with_records = false;
    let (why, hint) = refusal(plan(&ground.open(), &keep_last(2)));
    assert!(why.contains("disagree") && hint.contains("copies sync"), "{why}");
    sync(&ground.open()).unwrap();
    forget(&ground.open(), &keep_last(2)).unwrap();
    ground.assert_all_have(&ground.snapshots[19..], "kept by the sync, and forgotten afresh");
}

#[test]
fn what_came_back_everywhere_is_a_snapshot_like_any_other() {
    let ground = Ground::new(6);
    let repository = ground.open();
    let removed: Vec<_> = ground.snapshots[..6]
        .iter()
        .map(|id| (*id, ground.copies[0].get(FileName::new(FileKind::Snapshot, *id)).unwrap()))
        .collect();
    forget(&repository, &keep_last(1)).unwrap();
    for (id, bytes) in &removed {
        ground.copies.iter().for_each(|copy| copy.put(FileName::new(FileKind::Snapshot, *id), bytes.clone()));
    }
    let planned = plan(&ground.open(), &keep_last(5)).unwrap();
    assert!(planned.leftovers.is_empty());
    assert_eq!(planned.removals(), &ground.snapshots[..2]);
    // And if one copy loses it now, that is no leftover but a copy that is behind.
    ground.copies[2].take(FileName::new(FileKind::Snapshot, ground.snapshots[4])).unwrap();
    let (why, _) = refusal(plan(&ground.open(), &keep_last(5)));
    assert!(why.contains(&ground.snapshots[4].short()), "{why}");
}

#[test]
fn the_last_verified_snapshot_outlives_policies_names_and_broken_runs() {
    let ground = Ground::new(10);
    let repository = ground.open();
    let verified = ground.snapshots[4];
    repository.note_verified([verified]);
    forget(&repository, &keep_last(2)).unwrap();
    let expected = [&[verified], &ground.snapshots[9..]].concat();
    ground.assert_all_have(&expected, "the verified one stays");
    let (why, hint) = refusal(plan(&ground.open(), &by_ids(&[verified])));
    assert!(why.contains(&verified.short()) && hint.contains("--unsafe-remove-last-verified"), "{why}");
    let mut request = by_ids(&[verified]);
    request.wish.last_verified = [verified].into();
    forget(&ground.open(), &request).unwrap();
    ground.assert_all_have(&ground.snapshots[9..], "named twice");
    assert!(ground.open().verified().is_empty(), "what is gone is not verified any more");
    let (why, _) = refusal(plan(&ground.open(), &by_ids(&ground.snapshots[9..])));
    assert!(why.contains("would be left"), "{why}");
}

#[test]
fn a_shrunken_source_is_frozen_until_accepted_and_that_is_remembered() {
    let ground = Ground::new(0);
    let repository = ground.open();
    let newest = repository.snapshot(ground.snapshots[0]).unwrap();
    let sized = |day: i64, files: u64| {
        let mut snapshot = Snapshot { hostname: "other".to_owned(), ..newest.clone() };
        snapshot.time.seconds -= day * DAY;
        let summary = snapshot.summary.clone().unwrap_or_default();
        let total_bytes_processed = files * 1000;
        snapshot.summary = Some(SnapshotSummary { total_files_processed: files, total_bytes_processed, ..summary });
        put(&repository, &snapshot)
    };
    let big: Vec<Id> = (3..9).map(|day| sized(day, 100)).collect();
    sized(2, 10);
    let planned = plan(&repository, &keep_last(1)).unwrap();
    assert_eq!(planned.removals(), &[] as &[Id]);
    assert_eq!((planned.frozen.len(), planned.frozen[0].now.files, planned.frozen[0].before.files), (1, 10, 100));
    let mut accepting = keep_last(3);
    accepting.wish.accept_shrink = true;
    let report = forget(&repository, &accepting).unwrap();
    assert_eq!((report.verdict, report.removals), (Verdict::Ok, 4));
    // From now on the small size is the measure, though big ones are still there.
    let planned = plan(&ground.open(), &keep_last(1)).unwrap();
    assert!(planned.frozen.is_empty());
    assert_eq!(planned.removals().len(), 2);
    assert!(planned.removals().iter().all(|id| big.contains(id)));
    sized(1, 4);
    assert_eq!(plan(&ground.open(), &keep_last(1)).unwrap().frozen.len(), 1, "it shrank once more");
}

#[test]
fn a_lock_that_is_taken_away_stops_the_removal() {
    let ground = Ground::new(30);
    let gate = Gate::closed();
    let script = Script::new(1).with(When::Nth(Verb::Remove, 1), Act::Wait(gate.clone()));
    let (destinations, _faulty) = with_faults(&ground.copies, 0, script);
    let repository = ground.open_with(destinations);
    let planned = plan(&repository, &keep_last(1)).unwrap();
    let ended = std::thread::scope(|scope| {
        let running = scope.spawn(|| execute(&repository, &planned));
        assert!(wait_until(Duration::from_secs(60), || gate.waiting() > 0));
        unlock(&ground.copies);
        gate.open();
        running.join().unwrap()
    });
    let error = ended.unwrap_err();
    assert!(error.to_string().contains("our lock was removed"), "{error}");
    assert_eq!(ground.of(0).len(), 31 - 8, "what was under way went, and no more");
    forget(&ground.open(), &keep_last(1)).unwrap();
    ground.assert_all_have(&ground.snapshots[30..], "the next run completes it");
}

#[test]
fn an_interrupted_removal_stops_and_takes_its_locks_along() {
    let ground = Ground::new(30);
    let repository = ground.open();
    let planned = plan(&repository, &keep_last(1)).unwrap();
    ground.room.cancel.set();
    assert!(matches!(execute(&repository, &planned), Err(Error::Interrupted)));
    ground.assert_all_have(&ground.snapshots, "nothing went");
    assert!(ground.copies.iter().all(|copy| copy.names(FileKind::Lock).is_empty()));
}
