//! A full disk, or a used-up quota, under each of the places that the program writes to.

use std::collections::BTreeMap;

use testkit::process::Ended;
use testkit::traced::{Deed, Errno, Injection, Scope};
use testkit::{Manifest, Random, manifest, seed};

use crate::points;
use crate::room::{PASSWORD, Room};

/// How often a long run says how far it is.
const PROGRESS_EVERY: usize = 50;

/// A command, and which place is full under it.
struct Case {
    name: &'static str,
    base: &'static str,
    words: Vec<String>,
    /// The folder that is full.
    below: &'static str,
    expected: Expected,
}

#[derive(Clone, Copy, PartialEq)]
enum Expected {
    /// One copy cannot take it, and is named; the other has it. Where the call did not matter, both have it.
    Partial,
    /// Nothing can be done there; the place is named.
    Failure,
    /// A place that makes things faster, or remembers what it saw: nobody needs to hear of it.
    Success,
    /// Some files of the target are missing, and named.
    Restore,
}

fn prepared() -> Room {
    let mut room = Room::new();
    room.keep("empty");
    room.change_source(1);
    room.ok(&room.both(&["init"]));
    room.backup(&crate::room::BOTH, "first");
    room.change_source(2);
    room.backup(&["-r", "1"], "second");
    room.keep("behind");
    room.ok(&room.both(&["copies", "sync"]));
    std::fs::create_dir(room.path("target")).unwrap();
    room.keep("two");
    room.ok(&room.both(&["forget", "--keep-last", "1"]));
    room.keep("forgotten");
    room.change_source(3);
    room.remember("third");
    room
}

fn cases(room: &Room) -> Vec<Case> {
    let source = room.source();
    let password = room.beside("other-password");
    let password = password.to_str().unwrap();
    let both = |words: &[&str]| room.both(words).into_iter().map(str::to_owned).collect::<Vec<String>>();
    let backup = both(&["backup", "--tag", "third", &source]);
    let check = both(&["check", "--read-data"]);
    let restore = both(&["restore", "latest", "--tag", "second", "--target", "target"]);
    let case =
        |name, base, words: &Vec<String>, below, expected| Case { name, base, words: words.clone(), below, expected };
    vec![
        case("backup, a full copy", "two", &backup, "1", Expected::Partial),
        case("backup, a full cache", "two", &backup, "home/.cache", Expected::Success),
        case("backup, full records", "two", &backup, "home/.local", Expected::Success),
        case("check, full records", "two", &check, "home/.local", Expected::Success),
        case("check, a full cache", "two", &check, "home/.cache", Expected::Success),
        case("restore, a full target", "two", &restore, "target", Expected::Restore),
        case("restore, a full copy", "two", &restore, "1", Expected::Success),
        case("sync, a full copy", "behind", &both(&["copies", "sync"]), "2", Expected::Partial),
        case("prune, a full copy", "forgotten", &both(&["prune", "--max-unused", "0"]), "2", Expected::Failure),
        case("init, a full copy", "empty", &both(&["init"]), "2", Expected::Failure),
        case(
            "key add, a full copy",
            "two",
            &both(&["key", "add", "--new-password-file", password]),
            "2",
            Expected::Failure,
        ),
    ]
}

#[test]
fn a_full_disk_is_named_and_nothing_is_lost() {
    let random = &mut Random::new(seed("a full disk"));
    let room = prepared();
    let cases = cases(&room);
    let mut calls = Vec::new();
    for case in &cases {
        room.bring_back(case.base);
        let words: Vec<&str> = case.words.iter().map(String::as_str).collect();
        std::fs::create_dir_all(room.path(case.below)).unwrap();
        let traced = room.traced_below(&words, &[case.below]).counting(Scope::allocations());
        let whole = traced.run().unwrap();
        assert_eq!(whole.ended.code, Some(0), "{}: {}", case.name, whole.ended.errors);
        calls.push(whole.calls);
    }
    let mut tally: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let wanted = points(24, 200);
    let able: Vec<usize> = (0..cases.len()).filter(|&number| calls[number] > 0).collect();
    for turn in 0..wanted {
        let number = able[turn % able.len()];
        let case = &cases[number];
        let at = 1 + random.below(calls[number]);
        let errno = if random.chance(2) { Errno::ENOSPC } else { Errno::EDQUOT };
        // Half of them run out of room for good, the others for one call.
        let deed = Deed::Fail(errno);
        let injection = if random.chance(2) { Injection::once(at, deed) } else { Injection::from(at, deed) };
        let struck = fill_once(&room, case, injection);
        let entry = tally.entry(case.name).or_default();
        entry.0 += 1;
        entry.1 += usize::from(struck);
        if (turn + 1).is_multiple_of(PROGRESS_EVERY) {
            println!("{} points: {tally:?}", turn + 1);
        }
    }
    println!("case: (points, struck): {tally:?}; calls that need room: {calls:?}");
    let struck: usize = tally.values().map(|(_, struck)| struck).sum();
    assert!(struck * 100 >= wanted * 95, "{struck} of {wanted} points were reached");
}

fn fill_once(room: &Room, case: &Case, injection: Injection) -> bool {
    room.bring_back(case.base);
    std::fs::create_dir_all(room.path(case.below)).unwrap();
    let words: Vec<&str> = case.words.iter().map(String::as_str).collect();
    let traced = room.traced_below(&words, &[case.below]).counting(Scope::allocations()).with(injection);
    let outcome = traced.run().unwrap();
    let at = outcome.struck.map_or_else(String::new, |call| format!("{} of {}", call.name, call.path.display()));
    let when = format!("{}, {injection:?} {at}", case.name);
    let ended = outcome.ended;
    assert!(!ended.errors.contains("panicked"), "{when}: {}", ended.errors);
    let struck = outcome.strikes > 0;
    match case.expected {
        _ if !struck => assert_eq!(ended.code, Some(0), "{when}: {}", ended.errors),
        Expected::Success => assert_eq!(ended.code, Some(0), "{when}: {}", ended.errors),
        Expected::Partial => assert_named(&ended, &[3, 0], case, &when),
        Expected::Failure => assert_named(&ended, &[1, 3, 0], case, &when),
        Expected::Restore => assert_named(&ended, &[3, 1], case, &when),
    }
    judge(room, case, &ended, &words, &when);
    struck
}

/// The end is one of these; and unless all went well, the place and the reason were said.
#[track_caller]
fn assert_named(ended: &Ended, codes: &[i32], case: &Case, when: &str) {
    let said = format!("{}{}", ended.text(), ended.errors);
    assert!(ended.code.is_some_and(|code| codes.contains(&code)), "{when}: {:?}\n{said}", ended.code);
    if ended.code != Some(0) {
        let has_reason = said.contains("No space left") || said.contains("uota exceeded");
        assert!(has_reason && said.contains(case.below), "{when}: the place and the reason are not said:\n{said}");
    }
}

fn judge(room: &Room, case: &Case, ended: &Ended, words: &[&str], when: &str) {
    if case.base == "empty" {
        let again = room.call(words);
        let finished = if ended.code == Some(0) { Some(1) } else { Some(0) };
        assert_eq!(again.code, finished, "{when}: again: {}", again.errors);
    } else {
        for (tag, copy) in [("first", "1"), ("first", "2"), ("second", "1")] {
            if tag == "second" || case.base != "forgotten" {
                room.assert_restores(copy, tag, PASSWORD, when);
            }
        }
        let is_partial_backup = case.name.starts_with("backup");
        for copy in ["1", "2"] {
            room.assert_sound(copy, PASSWORD, when);
            // Whoever was not called behind has it.
            if is_partial_backup && (ended.code == Some(0) || copy == "2") {
                room.assert_restores(copy, "third", PASSWORD, when);
            }
        }
    }
    if case.words.iter().any(|word| word == "key") && ended.code != Some(0) {
        // Repeated, it is given to those that lack it.
        let again = room.call(words);
        assert_eq!(again.code, Some(0), "{when}: again: {}", again.errors);
    }
    if case.words.iter().any(|word| word == "restore") {
        if ended.code != Some(0) {
            let again = room.call(words);
            assert_eq!(again.code, Some(0), "{when}: again: {}", again.errors);
        }
        let expected = &room.sources.iter().find(|(tag, _)| tag == "second").unwrap().1;
        let restored = manifest(room.path("target")).unwrap().below(&room.beside("source"));
        let differences = Manifest::difference(expected, &restored);
        assert!(differences.is_empty(), "{when}: {differences:#?}");
    }
    let source = room.source();
    let next = room.call(&room.both(&["backup", "--tag", "third", &source]));
    assert_eq!(next.code, Some(0), "{when}: the next backup: {}", next.errors);
    let status = room.call(&room.both(&["copies", "status"]));
    assert_eq!(status.code, Some(0), "{when}: {}{}", status.text(), status.errors);
}
