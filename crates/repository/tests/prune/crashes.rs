//! A copy that dies at any operation, before or after it, and all copies at once: every copy stays whole on its own, and
//! the next prune finishes the work.

use std::sync::Arc;

use destinations::Destination;
use format::FileKind;
use model::{FaultKind, Verdict};
use repository::prune::prepare;
use testkit::{Act, Faulty, MemoryFolder, Script, Verb, When};

use crate::ground::{DAY, Ground, thorough};
use crate::room::with_faults;

/// Something of everything: packs to repack, to mark, to sweep, left-overs.
fn ground() -> Ground {
    let mut ground = Ground::new(21);
    ground.write(0..10);
    let first = ground.backup();
    ground.write(0..10);
    let second = ground.backup();
    ground.forget(first);
    ground.prune(&thorough());
    ground.write(0..5);
    ground.backup();
    ground.forget(second);
    ground.copies.iter().for_each(|copy| copy.put(format::FileName::pack(format::hash(b"left")), "left"));
    ground.clock.advance(DAY);
    let plan = ground.plan(&thorough());
    assert!(plan.repack.packs > 0 && plan.mark.packs > 0 && plan.sweep.packs > 0, "{plan:?}");
    ground
}

/// Locks of processes that are gone, which a person removes.
fn remove_locks(ground: &Ground) {
    for copy in &ground.copies {
        copy.names(FileKind::Lock).into_iter().for_each(|name| drop(copy.take(name)));
    }
}

/// After any end: each copy is whole on its own, and two more prunes bring all copies to the same state.
fn converges(ground: &Ground, what: &str) {
    remove_locks(ground);
    ground.assert_sound();
    for _ in 0..2 {
        let report = ground.try_prune(&thorough());
        let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(report.verdict, Verdict::Ok, "{what}");
        ground.assert_sound();
        ground.clock.advance(DAY);
    }
    ground.assert_equal();
    let plan = ground.plan(&thorough());
    assert!(plan.is_empty() && plan.unused.blobs + plan.duplicate.blobs == 0, "{what}: {plan:?}");
}

#[test]
fn one_copy_that_dies_at_any_operation() {
    let mut ground = ground();
    let start = ground.copies.each_ref().map(|copy| copy.files());
    let (destinations, faulty) = with_faults(&ground.copies, 1, Script::new(1));
    prepare(&ground.open_on(destinations), &thorough()).unwrap().run().unwrap();
    let count = faulty.count();
    assert!(count > 20, "{count}");
    let is_exhaustive = std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some();
    let mut died = 0;
    for number in 1..=count {
        for act in [Act::DieBefore, Act::DieAfter] {
            if !is_exhaustive && (number + u64::from(matches!(act, Act::DieAfter))) % 2 == 0 {
                continue;
            }
            ground.copies.iter().zip(start.clone()).for_each(|(copy, files)| copy.reset(files));
            let what = format!("{act:?} at operation {number} of {count}");
            let (destinations, faulty) = with_faults(&ground.copies, 1, Script::new(1).with(When::At(number), act));
            let repository = repository::Repository::open(
                destinations,
                &crate::room::PASSWORD.to_owned().into(),
                ground.surroundings(),
            );
            if let Ok(repository) = repository {
                let end = prepare(&repository, &thorough()).and_then(|pruning| pruning.run());
                let is_whole = end.is_ok_and(|report| report.verdict == Verdict::Ok);
                assert!(!is_whole || !faulty.is_dead() || number > count - 4, "{what}: a dead copy is no success");
            }
            died += u32::from(faulty.is_dead());
            converges(&ground, &what);
        }
    }
    assert!(u64::from(died) * 2 + 6 >= count, "{died} of {count}");
    ground.write(0..2);
    ground.backup();
}

/// Every copy dies at the same operation of its own.
#[test]
fn all_copies_that_die_at_any_operation() {
    let ground = ground();
    let start = ground.copies.each_ref().map(|copy| copy.files());
    let every = |script: &dyn Fn() -> Script| -> Vec<Arc<Faulty<MemoryFolder>>> {
        ground.copies.iter().map(|copy| Arc::new(Faulty::new(copy.clone(), script()))).collect()
    };
    let as_places = |all: &[Arc<Faulty<MemoryFolder>>]| all.iter().map(|one| one.clone() as _).collect::<Vec<_>>();
    let all = every(&|| Script::new(1));
    prepare(&ground.open_on(as_places(&all)), &thorough()).unwrap().run().unwrap();
    let count = all[0].count();
    let is_exhaustive = std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some();
    for number in 1..=count {
        for act in [Act::DieBefore, Act::DieAfter] {
            if !is_exhaustive && (number + u64::from(matches!(act, Act::DieBefore))) % 2 == 0 {
                continue;
            }
            ground.copies.iter().zip(start.clone()).for_each(|(copy, files)| copy.reset(files));
            let what = format!("{act:?} at operation {number} of {count} on every copy");
            let all = every(&|| Script::new(1).with(When::At(number), act.clone()));
            let password = crate::room::PASSWORD.to_owned().into();
            let places: Vec<Arc<dyn Destination>> = as_places(&all);
            if let Ok(repository) = repository::Repository::open(places, &password, ground.surroundings()) {
                let _ = prepare(&repository, &thorough()).and_then(|pruning| pruning.run());
            }
            converges(&ground, &what);
        }
    }
}

#[test]
fn a_lock_that_vanishes_stops_every_removal_on_its_copy_and_no_pack_is_swept() {
    let ground = ground();
    let before = ground.copies.each_ref().map(|copy| copy.names(FileKind::Pack));
    // The lock is taken away after everything was written, when the copies are listed once more.
    let gate = testkit::Gate::closed();
    let script = Script::new(1).with(When::Nth(Verb::List, 7), Act::Wait(gate.clone()));
    let (destinations, _) = with_faults(&ground.copies, 1, script);
    let repository = ground.open_on(destinations);
    let indexes = ground.copies[1].names(FileKind::Index);
    let report = std::thread::scope(|scope| {
        let running = scope.spawn(|| prepare(&repository, &thorough()).unwrap().run().unwrap());
        assert!(testkit::process::wait_until(std::time::Duration::from_secs(60), || gate.waiting() > 0));
        ground.copies[1].names(FileKind::Lock).into_iter().for_each(|name| drop(ground.copies[1].take(name)));
        gate.open();
        running.join().unwrap()
    });
    drop(repository);
    assert_eq!(report.verdict, Verdict::Partial, "{:?}", report.copies);
    assert!(report.copies[1].fault.as_ref().unwrap().to_string().contains("our lock was removed"));
    assert!(indexes.iter().all(|name| ground.copies[1].get(*name).is_some()));
    for (copy, before) in ground.copies.iter().zip(before) {
        assert!(before.iter().all(|name| copy.get(*name).is_some()), "a pack was removed from {}", copy.place());
    }
    converges(&ground, "a lock that vanished");
}

#[test]
fn a_copy_that_keeps_forgotten_snapshots_keeps_what_they_need() {
    let mut ground = Ground::new(22);
    ground.write(0..10);
    let first = ground.backup();
    ground.write(0..10);
    ground.backup();
    let deny = || Script::new(1).with(When::Kind(Verb::Remove, FileKind::Snapshot), Act::FailBefore(FaultKind::Denied));
    let (destinations, _) = with_faults(&ground.copies, 2, deny());
    let repository = ground.open_on(destinations);
    let filter = repository::snapshots::SnapshotFilter::default();
    let ids = repository::forget::named(&repository, &[first.to_hex()], &filter).unwrap();
    let request = repository::forget::ForgetRequest {
        selection: repository::forget::Selection::Ids(ids),
        wish: repository::retention::Wish::default(),
        believe_listings: true,
    };
    let plan = repository::forget::plan(&repository, &request).unwrap();
    repository::forget::execute(&repository, &plan).unwrap();
    drop(repository);
    assert_eq!(ground.copies.each_ref().map(|copy| copy.names(FileKind::Snapshot).len()), [1, 1, 2]);
    let kept = ground.copies[2].files();
    let forgotten = ground.states.remove(&first).unwrap();
    for _ in 0..3 {
        let request = repository::prune::PruneRequest { believe_listings: true, ..thorough() };
        let report = ground.try_prune(&request).unwrap();
        assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.copies);
        ground.clock.advance(DAY);
    }
    let packs = ground.copies.each_ref().map(|copy| copy.names(FileKind::Pack).len());
    assert!(packs[0] == packs[1] && packs[0] < packs[2], "{packs:?}");
    assert!(kept.keys().all(|name| ground.copies[2].get(*name).is_some()));
    ground.assert_copy_sound(ground.copies[0].clone());
    ground.states.insert(first, forgotten);
    ground.assert_copy_sound(ground.copies[2].clone());
}

#[test]
fn a_copy_that_lets_nothing_be_removed_stays_a_superset() {
    let mut ground = ground();
    let deny = || {
        Script::new(1)
            .with(When::Kind(Verb::Remove, FileKind::Index), Act::FailBefore(FaultKind::Denied))
            .with(When::Kind(Verb::Remove, FileKind::Pack), Act::FailBefore(FaultKind::Refused))
    };
    let mut sizes = Vec::new();
    for round in 0..6 {
        let (destinations, _) = with_faults(&ground.copies, 2, deny());
        let report = prepare(&ground.open_on(destinations), &thorough()).unwrap().run().unwrap();
        assert_eq!(report.verdict, Verdict::Ok, "{round}: {:?}", report.copies);
        assert_eq!(report.copies[0].files_kept + report.copies[1].files_kept, 0);
        assert!(round > 0 || report.copies[2].files_kept > 0);
        ground.assert_sound();
        let (own, less) = (ground.copies[2].files(), ground.copies[0].files());
        assert!(less.iter().all(|(name, bytes)| own.get(name) == Some(bytes)), "it has what the others have, and more");
        sizes.push((own.len(), less.len()));
        ground.clock.advance(DAY);
    }
    // It does not grow for ever: once everything is swept elsewhere nothing is written any more.
    assert_eq!(sizes[3], sizes[5], "{sizes:?}");
    assert!(sizes[5].0 > sizes[5].1);
    let (destinations, _) = with_faults(&ground.copies, 2, deny());
    assert!(prepare(&ground.open_on(destinations), &thorough()).unwrap().plan().is_empty());
    ground.assert_restores();
    // Once it lets us remove, the next prune that has something to do tidies up there too.
    ground.write(0..5);
    let old = *ground.states.keys().next().unwrap();
    ground.backup();
    ground.forget(old);
    ground.assert_sound();
}
