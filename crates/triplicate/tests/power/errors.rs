//! A disk that fails in other ways than being full: it cannot read, write or sync, turns read-only, gives less than it
//! was asked for, or is interrupted; and a process that may open no more files.

use testkit::traced::{CallKind, Deed, Disk, Errno, Injection, Journal, Manner, Scope};
use testkit::{Manifest, Random, manifest, seed};

use crate::points;
use crate::room::{PASSWORD, Room};

/// Trouble that may pass is tried again; not for a quarter of an hour here.
const IMPATIENT: [&str; 2] = ["--retry-total", "1s"];

fn prepared() -> Room {
    let mut room = Room::new();
    room.change_source(1);
    room.ok(&room.both(&["init"]));
    room.backup(&crate::room::BOTH, "first");
    room.keep("one");
    room.change_source(2);
    room.remember("second");
    room
}

/// A fault on copy 1 of two: which calls, what happens, and whether it passes.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    kinds: &'static [CallKind],
    deed: Deed,
    stays: bool,
}

const fn trouble(kinds: &'static [CallKind], deed: Deed, stays: bool) -> Trouble {
    Trouble { kinds, deed, stays }
}

const OPENING: &[CallKind] = &[CallKind::Open, CallKind::Create];
const MOVING: &[CallKind] = &[CallKind::Read, CallKind::Write];
const TROUBLES: [Trouble; 18] = [
    trouble(&[CallKind::Read], Deed::Fail(Errno::EIO), true),
    trouble(&[CallKind::Read], Deed::Fail(Errno::EIO), false),
    trouble(&[CallKind::Write], Deed::Fail(Errno::EIO), true),
    trouble(&[CallKind::Write], Deed::Fail(Errno::EIO), false),
    trouble(&[CallKind::Sync], Deed::Fail(Errno::EIO), true),
    trouble(&[CallKind::Sync], Deed::Fail(Errno::EIO), false),
    trouble(&[CallKind::Close], Deed::Fail(Errno::EIO), true),
    trouble(&[CallKind::Close], Deed::Fail(Errno::EIO), false),
    trouble(&[CallKind::Rename], Deed::Fail(Errno::EIO), true),
    trouble(&[CallKind::Unlink], Deed::Fail(Errno::EIO), true),
    trouble(&CallKind::CHANGES, Deed::Fail(Errno::EROFS), true),
    trouble(OPENING, Deed::Fail(Errno::EMFILE), true),
    trouble(OPENING, Deed::Fail(Errno::EMFILE), false),
    trouble(OPENING, Deed::Fail(Errno::EACCES), true),
    trouble(OPENING, Deed::Fail(Errno::EINTR), false),
    trouble(MOVING, Deed::Fail(Errno::EINTR), false),
    trouble(MOVING, Deed::Short, true),
    trouble(MOVING, Deed::Short, false),
];

impl Trouble {
    fn injection(self, random: &mut Random, calls: u64) -> Injection {
        let at = 1 + random.below(calls);
        if self.stays { Injection::from(at, self.deed) } else { Injection::once(at, self.deed) }
    }

    /// What nobody needs to hear of.
    fn is_harmless(self) -> bool {
        matches!(self.deed, Deed::Short | Deed::Fail(Errno::EINTR))
    }
}

fn words<'a>(room: &Room, words: &[&'a str]) -> Vec<&'a str> {
    let mut all = room.both(words);
    all.extend(IMPATIENT);
    all
}

#[test]
fn one_failing_disk_of_two_costs_nothing_but_its_own_copy() {
    let random = &mut Random::new(seed("a failing disk"));
    let room = prepared();
    let source = room.source();
    let mut struck = 0;
    let turns = points(TROUBLES.len(), 5 * TROUBLES.len());
    for turn in 0..turns {
        let trouble = TROUBLES[turn % TROUBLES.len()];
        room.bring_back("one");
        let backup = words(&room, &["backup", "--tag", "second", &source]);
        let traced = || room.traced_below(&backup, &["1"]).counting(Scope::of(trouble.kinds));
        let calls = traced().run().unwrap().calls;
        room.bring_back("one");
        let injection = trouble.injection(random, calls);
        let outcome = traced().with(injection).run().unwrap();
        let at = outcome.struck.map_or_else(String::new, |call| format!("{} of {}", call.name, call.path.display()));
        let when = format!("{injection:?} of {calls}, {at}");
        let said = &outcome.ended.errors;
        struck += usize::from(outcome.strikes > 0);
        assert!(!said.contains("panicked"), "{when}: {said}");
        match outcome.ended.code {
            Some(0) => room.assert_restores("1", "second", PASSWORD, &when),
            Some(3) if !trouble.is_harmless() => {
                assert!(said.contains("copy 1") && said.contains("os error"), "{when}: {said}")
            }
            other => panic!("{when}: {other:?}: {said}"),
        }
        room.assert_restores("1", "first", PASSWORD, &when);
        room.assert_restores("2", "second", PASSWORD, &when);
        room.assert_sound("1", PASSWORD, &when);
        room.ok(&room.both(&["copies", "sync"]));
        room.ok(&room.both(&["copies", "status"]));
        restores_beside_a_failing_copy(&room, trouble, random);
    }
    println!("{struck} of {turns} backups met their fault");
    assert!(struck * 100 >= turns * 80);
}

/// Copy 1 fails while it is read; copy 2 is there.
fn restores_beside_a_failing_copy(room: &Room, trouble: Trouble, random: &mut Random) {
    let target = room.beside("target");
    let _ = std::fs::remove_dir_all(&target);
    let restore = words(room, &["restore", "latest", "--tag", "first", "--target", target.to_str().unwrap()]);
    let injection = trouble.injection(random, 40);
    let traced = room.traced_below(&restore, &["1"]).counting(Scope::of(trouble.kinds)).with(injection);
    let outcome = traced.run().unwrap();
    let when = format!("restore, {trouble:?} {injection:?}");
    assert_eq!(outcome.ended.code, Some(0), "{when}: {}", outcome.ended.errors);
    let expected = &room.sources.iter().find(|(tag, _)| tag == "first").unwrap().1;
    let restored = manifest(&target).unwrap().below(&room.beside("source"));
    let differences = Manifest::difference(expected, &restored);
    assert!(differences.is_empty(), "{when}: {differences:#?}");
}

/// After a failed fsync nothing is known of the bytes: whatever is acknowledged afterwards was synced anew.
#[test]
fn what_could_not_be_synced_is_not_acknowledged() {
    let random = &mut Random::new(seed("a failed fsync"));
    let room = prepared();
    let source = room.source();
    let backup = words(&room, &["backup", "--tag", "second", &source]);
    let scope = Scope::of(&[CallKind::Sync]);
    room.bring_back("one");
    let calls = room.traced(&backup).counting(scope.clone()).run().unwrap().calls;
    let turns = points(6, 60);
    let mut acknowledged = 0;
    for turn in 0..turns {
        room.bring_back("one");
        let mut journal = Journal::of(&room.folder()).unwrap();
        let at = 1 + (calls * turn as u64 / turns as u64 + random.below(calls / turns as u64 + 1)) % calls;
        let deed = Deed::Fail(Errno::EIO);
        let injection = if turn % 3 == 2 { Injection::from(at, deed) } else { Injection::once(at, deed) };
        let outcome = room.traced(&backup).counting(scope.clone()).with(injection).record(&mut journal).unwrap();
        let when = format!("{injection:?} of {calls}");
        let said = &outcome.ended.errors;
        assert!(matches!(outcome.ended.code, Some(0 | 1 | 3)), "{when}: {said}");
        room.clear();
        // The power goes right after, and takes all that was not synced.
        Disk::after(&journal, journal.events().len()).write_image(&room.folder(), Manner::Nothing, random).unwrap();
        for copy in ["1", "2"] {
            room.assert_sound(copy, PASSWORD, &when);
            room.assert_restores(copy, "first", PASSWORD, &when);
            let is_behind = said.contains(&format!("copy {copy}"));
            if outcome.ended.code == Some(0) || (outcome.ended.code == Some(3) && !is_behind) {
                acknowledged += 1;
                room.assert_restores(copy, "second", PASSWORD, &when);
            }
        }
    }
    println!("{turns} backups with a failed fsync acknowledged {acknowledged} copies");
    assert!(acknowledged > 0);
}
