//! Marks and clocks: nothing is deleted before its time, whatever the clock does, and what somebody needs again comes
//! back.

use std::collections::BTreeMap;
use std::time::Duration;

use format::{FileKind, FileName};
use model::Verdict;
use repository::prune::PruneRequest;

use crate::ground::{DAY, Ground, thorough};

const HOUR: Duration = Duration::from_secs(3600);

/// A repository with marked packs, just marked; gives their names.
fn marked() -> (Ground, Vec<FileName>) {
    let mut ground = Ground::new(7);
    ground.write(0..20);
    let first = ground.backup();
    ground.write(0..20);
    ground.backup();
    ground.forget(first);
    let report = ground.prune(&thorough());
    assert!(report.plan.mark.packs >= 2);
    let marked = ground.marks().iter().map(|mark| FileName::pack(mark.id)).collect();
    (ground, marked)
}

fn are_there(ground: &Ground, packs: &[FileName]) -> bool {
    packs.iter().all(|name| ground.copies.iter().all(|copy| copy.get(*name).is_some()))
}

#[test]
fn the_grace_period_is_waited_for() {
    let (ground, packs) = marked();
    ground.clock.advance(DAY - Duration::from_secs(1));
    let plan = ground.plan(&thorough());
    assert_eq!((plan.sweep.packs, plan.wait.packs), (0, packs.len() as u64));
    assert_eq!(plan.wait_until.unwrap(), ground.marks()[0].time.unwrap().timestamp() + DAY);
    let longer = PruneRequest { grace: 3 * DAY, ..thorough() };
    ground.clock.advance(DAY);
    assert_eq!(ground.plan(&longer).sweep.packs, 0);
    assert!(ground.prune(&longer).plan.is_empty());
    assert!(are_there(&ground, &packs));
    assert_eq!(ground.prune(&thorough()).plan.sweep.packs, packs.len() as u64);
}

#[test]
fn a_mark_from_the_future_is_waited_for() {
    let (ground, packs) = marked();
    let right: jiff::Timestamp = ground.marks()[0].time.unwrap().timestamp();
    // The clock goes back a year: nothing happens until it has caught up.
    ground.clock.jump_to(right - 365 * DAY);
    let plan = ground.plan(&thorough());
    assert_eq!((plan.future_marks, plan.sweep.packs), (packs.len() as u64, 0));
    assert!(ground.prune(&thorough()).plan.is_empty());
    let marks = ground.marks();
    assert!(marks.iter().all(|mark| mark.time.unwrap().timestamp() >= right), "the time of the mark stays");
    // Even where no time at all is to be waited for.
    assert_eq!(ground.plan(&PruneRequest { grace: Duration::ZERO, ..thorough() }).sweep.packs, 0);
    ground.clock.jump_to(right + HOUR);
    assert_eq!(ground.plan(&thorough()).sweep.packs, 0);
    ground.clock.jump_to(right + DAY);
    assert_eq!(ground.prune(&thorough()).plan.sweep.packs, packs.len() as u64);
}

#[test]
fn a_mark_made_by_a_clock_that_was_ahead_is_never_swept_early() {
    let mut ground = Ground::new(8);
    ground.write(0..10);
    let first = ground.backup();
    ground.write(0..10);
    ground.backup();
    ground.forget(first);
    let right = clock::Clock::now(&*ground.clock);
    ground.clock.jump_to(right + 100 * DAY);
    ground.prune(&thorough());
    ground.clock.jump_to(right + 2 * HOUR);
    assert!(ground.prune(&thorough()).plan.is_empty());
    ground.clock.jump_to(right + 50 * DAY);
    assert_eq!(ground.prune(&thorough()).plan.sweep.packs, 0);
    ground.clock.jump_to(right + 101 * DAY);
    assert!(ground.prune(&thorough()).plan.sweep.packs > 0);
}

#[test]
fn a_mark_without_a_time_gets_one() {
    let (ground, packs) = marked();
    let repository = ground.open();
    for name in ground.names(FileKind::Index) {
        let plain = repository.open_file(name, &ground.copies[0].get(name).unwrap()).unwrap();
        let mut file = format::IndexFile::parse(&plain).unwrap();
        file.packs_to_delete.iter_mut().for_each(|mark| mark.time = None);
        let (new, bytes) = repository.seal_file(FileKind::Index, &file.to_bytes());
        for copy in &ground.copies {
            copy.take(name);
            copy.put(new, bytes.clone());
        }
    }
    drop(repository);
    ground.clock.advance(10 * DAY);
    let report = ground.prune(&thorough());
    assert_eq!((report.plan.sweep.packs, report.plan.wait.packs), (0, packs.len() as u64));
    let now = clock::Clock::now(&*ground.clock);
    assert!(ground.marks().iter().all(|mark| mark.time.unwrap().timestamp() == now));
    ground.clock.advance(DAY);
    assert_eq!(ground.prune(&thorough()).plan.sweep.packs, packs.len() as u64);
}

/// A backup that began before a prune and ended behind it, unseen by it, as from a program that heeds no lock.
fn overtaken(lacking: bool) {
    let mut ground = Ground::new(9);
    ground.write(0..20);
    let first = ground.backup();
    let old = files_of(&ground);
    ground.write(0..20);
    ground.backup();
    ground.forget(first);
    let before = ground.copies.each_ref().map(|copy| copy.files());

    // The other program sees the repository as it was: the first state needs nothing but a snapshot.
    for (path, bytes) in &old {
        std::fs::write(ground.room.path("source").join(path), bytes).unwrap();
    }
    ground.write(30..31);
    let again = ground.backup();
    let other = ground.copies[0].files();
    let state = ground.states.remove(&again).unwrap();
    ground.copies.iter().zip(before).for_each(|(copy, files)| copy.reset(files));

    let plan = ground.prune(&thorough()).plan;
    assert!(plan.mark.packs > 0);
    for copy in &ground.copies {
        other.iter().filter(|(name, _)| copy.get(**name).is_none()).for_each(|(name, bytes)| {
            // The old index files were read before they were removed; they do not come back.
            if name.kind() != FileKind::Index || is_new(&ground, *name, bytes) {
                copy.put(*name, bytes.clone());
            }
        });
    }
    ground.states.insert(again, state);
    if lacking {
        // A copy that was added meanwhile got no marked packs.
        for mark in ground.marks() {
            ground.copies[2].take(FileName::pack(mark.id)).unwrap();
        }
    }
    // Much later: the grace period is over, and the packs are needed.
    ground.clock.advance(3 * DAY);
    let report = ground.prune(&thorough());
    assert!(report.plan.take_back.packs > 0, "{:?}", report.plan);
    assert_eq!(report.verdict, Verdict::Ok);
    ground.assert_restores();
    ground.clock.advance(3 * DAY);
    ground.prune(&thorough());
    ground.assert_restores();
}

fn files_of(ground: &Ground) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    crate::room::files_in(&ground.room.path("source"))
}

/// Whether an index file lists nothing that was there before the prune.
fn is_new(ground: &Ground, name: FileName, bytes: &[u8]) -> bool {
    let plain = ground.open().open_file(name, bytes).unwrap();
    let marked: Vec<_> = ground.marks().iter().map(|mark| mark.id).collect();
    format::IndexFile::parse(&plain).unwrap().packs.iter().all(|pack| !marked.contains(&pack.id))
}

#[test]
fn what_a_snapshot_needs_again_comes_back() {
    overtaken(false);
}

#[test]
fn what_comes_back_comes_back_on_every_copy() {
    overtaken(true);
}
