//! With the real restic and rustic: they find nothing wrong after ours, theirs works behind ours and ours behind theirs.

use std::path::Path;

use format::FileKind;
use testkit::Oracle;

use crate::ground::{DAY, Ground, thorough};
use crate::room::{PASSWORD, files_in};

/// Everybody who is installed judges a copy.
fn judge(ground: &Ground) {
    let folder = ground.lay_out(&ground.copies[1], "judged");
    let address = folder.to_str().unwrap();
    for restic in Oracle::every_restic(address, PASSWORD) {
        restic.check(true);
    }
    if let Some(rustic) = Oracle::rustic(address, PASSWORD) {
        rustic.check(true);
    }
    assert!(!files_in(&folder).is_empty());
}

#[test]
fn others_find_nothing_wrong_at_any_stage() {
    for version in [1, 2] {
        let mut ground = Ground::half_forgotten(31, version);
        ground.prune(&thorough());
        judge(&ground);
        ground.write(0..3);
        ground.backup();
        ground.copies.iter().for_each(|copy| copy.put(format::FileName::pack(format::hash(b"left")), "left"));
        ground.prune(&thorough());
        ground.clock.advance(DAY);
        ground.prune(&thorough());
        assert!(ground.marks().is_empty());
        judge(&ground);
    }
}

#[test]
fn restic_prunes_behind_ours_and_ours_behind_restic() {
    for (version, restic) in [(1, "0.14"), (2, "0.19"), (2, "0.14")] {
        let mut ground = Ground::half_forgotten(31, version);
        ground.prune(&thorough());
        let marked = ground.marks();
        assert!(!marked.is_empty());
        let folder = ground.lay_out(&ground.copies[0], "pruned");
        let Some(oracle) = Oracle::restic(restic, folder.to_str().unwrap(), PASSWORD) else { return };
        oracle.ok(&["prune", "--max-unused", "0"]);
        oracle.check(true);
        ground.take_in(&folder);
        assert!(marked.iter().all(|mark| ground.copies[0].get(format::FileName::pack(mark.id)).is_none()));
        ground.assert_sound();
        // Marks of packs that are gone are no reason to do anything but to forget them.
        let accepting = repository::prune::PruneRequest { believe_listings: true, ..thorough() };
        ground.prune(&accepting);
        assert!(ground.marks().is_empty());
        ground.clock.advance(DAY);
        assert!(ground.prune(&thorough()).plan.is_empty());
        // restic adds and forgets, and we prune.
        let folder = ground.lay_out(&ground.copies[0], "pruned");
        let oracle = Oracle::restic(restic, folder.to_str().unwrap(), PASSWORD).unwrap();
        ground.write(0..20);
        let state = files_in(&ground.room.path("source"));
        oracle.backup(&[&ground.room.path("source")], &[]);
        oracle.ok(&["forget", "--keep-last", "1", "--group-by", ""]);
        ground.take_in(&folder);
        ground.states.clear();
        let id = ground.names(FileKind::Snapshot)[0].id().unwrap();
        ground.states.insert(id, state);
        ground.prune(&accepting);
        ground.clock.advance(DAY);
        ground.prune(&thorough());
        judge(&ground);
    }
}

#[test]
fn rustic_prunes_behind_ours_and_ours_behind_rustic() {
    let mut ground = Ground::half_forgotten(31, 2);
    // rustic's clock is the real one.
    ground.clock.jump_to(clock::Clock::now(&clock::SystemClock::new()));
    ground.prune(&thorough());
    let marked = ground.marks();
    let folder = ground.lay_out(&ground.copies[0], "pruned");
    let Some(rustic) = Oracle::rustic(folder.to_str().unwrap(), PASSWORD) else { return };
    let prune = |more: &[&str]| {
        let all = [&["prune", "--max-unused", "0b", "--max-repack", "unlimited"], more].concat();
        rustic.ok(&all)
    };
    // It knows our marks: nothing is deleted before its own time, which it is told to be none.
    prune(&[]);
    ground.take_in(&folder);
    assert!(marked.iter().all(|mark| ground.copies[0].get(format::FileName::pack(mark.id)).is_some()));
    prune(&["--keep-delete", "0s"]);
    rustic.check(true);
    ground.take_in(&folder);
    assert!(marked.iter().all(|mark| ground.copies[0].get(format::FileName::pack(mark.id)).is_none()));
    let accepting = repository::prune::PruneRequest { believe_listings: true, ..thorough() };
    ground.prune(&accepting);

    // And we know its marks.
    let old = *ground.states.keys().next().unwrap();
    ground.write(0..20);
    ground.backup();
    ground.forget(old);
    let folder = ground.lay_out(&ground.copies[0], "pruned");
    prune(&[]);
    ground.take_in(&folder);
    let theirs = ground.marks();
    assert!(!theirs.is_empty() && theirs.iter().all(|mark| mark.time.is_some()), "{theirs:?}");
    let sweeps = |ground: &Ground| ground.plan(&accepting).sweep.packs;
    assert_eq!(sweeps(&ground), 0);
    ground.clock.jump_to(clock::Clock::now(&clock::SystemClock::new()) + DAY);
    assert_eq!(sweeps(&ground), theirs.len() as u64);
    ground.prune(&accepting);
    judge(&ground);
    ground.assert_restores();
}

/// restic backs up from an index that it read before our prune, and writes behind it: what cannot happen while locks are
/// heeded, and what must not lose anything all the same.
#[test]
fn a_restic_that_read_the_index_before_our_prune_loses_nothing() {
    let mut ground = Ground::half_forgotten(31, 2);
    let folder = ground.lay_out(&ground.copies[0], "other");
    let before = files_in(&folder);
    let Some(restic) = Oracle::restic("0.19", folder.to_str().unwrap(), PASSWORD) else { return };
    // The first state again, which only the forgotten snapshot's packs have.
    let mut again = Ground::new(31);
    again.write(0..20);
    let source = again.room.path("source");
    restic.backup(&[Path::new(&source)], &[]);
    let new: Vec<_> = files_in(&folder).into_iter().filter(|(path, _)| !before.contains_key(path)).collect();
    assert!(!new.iter().any(|(path, bytes)| path.starts_with("data") && bytes.len() > 50_000), "nothing stored again");
    assert!(ground.prune(&thorough()).plan.mark.packs > 0);
    let pruned = ground.lay_out(&ground.copies[0], "pruned");
    for (path, bytes) in &new {
        std::fs::create_dir_all(pruned.join(path).parent().unwrap()).unwrap();
        std::fs::write(pruned.join(path), bytes).unwrap();
    }
    let id = new.iter().find(|(path, _)| path.starts_with("snapshots")).unwrap().0.file_name().unwrap();
    ground.take_in(&pruned);
    ground.states.insert(id.to_str().unwrap().parse().unwrap(), files_in(&source));
    ground.clock.advance(5 * DAY);
    let report = ground.prune(&thorough());
    assert!(report.plan.take_back.packs > 0, "{:?}", report.plan);
    judge(&ground);
}
