//! Killed at any system call that changes the disk: before it and after it.

use std::collections::BTreeMap;

use testkit::traced::{Deed, Injection, Scope};
use testkit::{Random, seed};

use crate::points;
use crate::room::{OTHER_PASSWORD, PASSWORD, Room};

/// Of the writes only the first of so many is a point; of the rest every one.
const WRITE_STRIDE: u64 = 16;
/// No dead process leaves more temporary files than it had under way: four packs a copy, and one file of each of the
/// rooms for cache and records.
const LEFTOVERS_MAX: usize = 12;

/// Every so many points the whole of both copies is looked at in the end.
const WHOLE_EVERY: usize = 4;

/// How often a long run says how far it is.
const PROGRESS_EVERY: usize = 100;

/// An operation that is killed.
struct Operation {
    name: &'static str,
    /// The room as it was kept.
    base: &'static str,
    words: Vec<String>,
    /// Snapshots that were acknowledged before, and on which copies.
    acknowledged: &'static [(&'static str, &'static [&'static str])],
}

/// Repacks everything that is only partly needed, and deletes what an earlier run has marked.
const PRUNE: [&str; 5] = ["prune", "--max-unused", "0", "--grace", "0s"];
const TWO: &[&str] = &["1", "2"];

fn operations(room: &Room) -> Vec<Operation> {
    let both = |words: &[&str]| room.both(words).into_iter().map(str::to_owned).collect::<Vec<String>>();
    let source = room.source();
    let password = room.beside("other-password");
    let password = password.to_str().unwrap();
    let two = &[("first", TWO), ("second", TWO)];
    vec![
        Operation { name: "init", base: "empty", words: both(&["init"]), acknowledged: &[] },
        Operation {
            name: "backup",
            base: "two",
            words: both(&["backup", "--tag", "third", &source]),
            acknowledged: two,
        },
        Operation {
            name: "sync",
            base: "behind",
            words: both(&["copies", "sync"]),
            acknowledged: &[("first", TWO), ("second", &["1"])],
        },
        Operation {
            name: "passwd",
            base: "two",
            words: both(&["key", "passwd", "--new-password-file", password]),
            acknowledged: two,
        },
        Operation {
            name: "key add",
            base: "two",
            words: both(&["key", "add", "--new-password-file", password]),
            acknowledged: two,
        },
        Operation {
            name: "forget",
            base: "two",
            words: both(&["forget", "--keep-last", "1"]),
            acknowledged: &[("second", TWO)],
        },
        Operation { name: "prune, marking", base: "forgotten", words: both(&PRUNE), acknowledged: &[("second", TWO)] },
        Operation { name: "prune, sweeping", base: "marked", words: both(&PRUNE), acknowledged: &[("second", TWO)] },
        Operation {
            name: "heal",
            base: "damaged",
            words: both(&["copies", "heal", "--read-data"]),
            acknowledged: &[("first", &["1"]), ("second", &["1"])],
        },
        Operation {
            name: "copies add",
            base: "one",
            words: ["-r", "1", "copies", "add", "2"].map(str::to_owned).to_vec(),
            acknowledged: &[("first", &["1"])],
        },
    ]
}

/// The room in every state that an operation begins with; the source has changed once more since.
fn prepared() -> Room {
    let mut room = Room::new();
    room.keep("empty");
    room.change_source(1);
    room.ok(&["-r", "1", "init"]);
    room.backup(&["-r", "1"], "first");
    room.keep("one");
    room.ok(&["-r", "1", "copies", "add", "2"]);
    room.change_source(2);
    room.backup(&["-r", "1"], "second");
    room.keep("behind");
    room.ok(&room.both(&["copies", "sync"]));
    room.keep("two");
    room.damage("2");
    room.keep("damaged");
    room.bring_back("two");
    room.ok(&room.both(&["forget", "--keep-last", "1"]));
    room.keep("forgotten");
    room.ok(&room.both(&PRUNE));
    room.keep("marked");
    room.change_source(3);
    room.remember("third");
    room
}

#[test]
fn killed_at_any_call_nothing_is_lost() {
    let random = &mut Random::new(seed("killed at any call"));
    let room = prepared();
    let operations = operations(&room);
    let scope = Scope::changes().every_write(WRITE_STRIDE);
    let mut all: Vec<(usize, u64, Deed)> = Vec::new();
    for (number, operation) in operations.iter().enumerate() {
        room.bring_back(operation.base);
        let words: Vec<&str> = operation.words.iter().map(String::as_str).collect();
        let whole = room.traced(&words).counting(scope.clone()).run().unwrap();
        assert_eq!(whole.ended.code, Some(0), "{}: {}", operation.name, whole.ended.errors);
        println!("{}: {} calls", operation.name, whole.calls);
        all.extend((1..=whole.calls).flat_map(|at| [(number, at, Deed::KillBefore), (number, at, Deed::KillAfter)]));
    }
    println!("{} points in all", all.len());
    let chosen = chosen(&all, points(60, 2000), operations.len(), random);
    let mut killed: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (turn, (number, at, deed)) in chosen.into_iter().enumerate() {
        let operation = &operations[number];
        let struck = kill_once(&room, operation, &scope, Injection::once(at, deed), turn);
        let tally = killed.entry(operation.name).or_default();
        tally.0 += 1;
        tally.1 += usize::from(struck);
        if (turn + 1).is_multiple_of(PROGRESS_EVERY) {
            println!("{} points: {killed:?}", turn + 1);
        }
    }
    println!("operation: (points, killed there): {killed:?}");
    let struck: usize = killed.values().map(|(_, struck)| struck).sum();
    let tried: usize = killed.values().map(|(tried, _)| tried).sum();
    // Threads differ from run to run, so that the last calls of one run may not be reached in another.
    assert!(struck * 100 >= tried * 95, "{struck} of {tried} points were reached");
}

/// So many points, as many of each operation as of any other as far as it has them; all of them, and some of them again
/// in another order of threads, when there are fewer.
fn chosen(
    all: &[(usize, u64, Deed)],
    wanted: usize,
    operations: usize,
    random: &mut Random,
) -> Vec<(usize, u64, Deed)> {
    let mut shuffled = all.to_vec();
    for index in (1..shuffled.len()).rev() {
        shuffled.swap(index, random.index(index + 1));
    }
    let mut rounds: Vec<Vec<(usize, u64, Deed)>> = vec![Vec::new(); operations];
    for point in shuffled {
        rounds[point.0].push(point);
    }
    let mut chosen = Vec::new();
    for turn in 0.. {
        for points in &rounds {
            // A short operation begins again only when every long one is through.
            let again = turn >= points.len();
            if chosen.len() < wanted && (!again || chosen.len() >= all.len()) {
                chosen.push(points[turn % points.len()]);
            }
        }
        if chosen.len() >= wanted {
            return chosen;
        }
    }
    chosen
}

/// True when the program was killed.
fn kill_once(room: &Room, operation: &Operation, scope: &Scope, injection: Injection, turn: usize) -> bool {
    room.bring_back(operation.base);
    let words: Vec<&str> = operation.words.iter().map(String::as_str).collect();
    let outcome = room.traced(&words).counting(scope.clone()).with(injection).run().unwrap();
    let struck = outcome.strikes > 0;
    let at = outcome.struck.map_or_else(String::new, |call| format!("{} of {}", call.name, call.path.display()));
    let when = format!("{}, {:?} {} {at}", operation.name, injection.deed, injection.at);
    assert_eq!(outcome.ended.code, if struck { None } else { Some(0) }, "{when}: {}", outcome.ended.errors);
    assert!(!outcome.ended.errors.contains("panicked"), "{when}: {}", outcome.ended.errors);

    // One snapshot on one copy at each point, all of them in turn.
    let held: Vec<(&str, &str)> =
        operation.acknowledged.iter().flat_map(|(tag, copies)| copies.iter().map(|copy| (*tag, *copy))).collect();
    if !held.is_empty() {
        let (tag, copy) = held[turn % held.len()];
        let password = opening_password(room, operation, copy, &when);
        room.assert_restores(copy, tag, password, &when);
        room.assert_sound(copy, password, &when);
    }
    let leftovers = room.leftovers();
    assert!(leftovers.len() <= LEFTOVERS_MAX, "{when}: {leftovers:?}");
    room.age(&leftovers);

    finish(room, operation, &words, &when);
    let password = opening_password(room, operation, "1", &when);
    if turn.is_multiple_of(WHOLE_EVERY) {
        for copy in TWO {
            room.assert_sound(copy, password, &when);
            room.assert_restores(copy, "third", password, &when);
        }
    }
    let status = room.call_with(password, &room.both(&["copies", "status"]));
    let said = format!("{}{}", status.text(), status.errors);
    // Whether a key that one copy lacks was to come or to go only the user knows, and is asked.
    let asks_for_keys = operation.name == "passwd" && status.code == Some(21) && said.contains("the same keys");
    assert!(status.code == Some(0) || asks_for_keys, "{when}: {said}");
    let left: Vec<_> = room.leftovers().into_iter().filter(|path| !is_swept_later(path)).collect();
    assert!(left.is_empty(), "{when}: {left:?}");
    struck
}

/// What lies in one of the 256 folders of packs is looked for when the next pack comes into that folder. A draft of the
/// records has the one name that the next one has too.
fn is_swept_later(path: &std::path::Path) -> bool {
    path.components().any(|part| ["data", ".local"].iter().any(|folder| part.as_os_str() == *folder))
}

/// The password that opens a copy after a change that may or may not have come to its end.
fn opening_password(room: &Room, operation: &Operation, copy: &str, when: &str) -> &'static str {
    if operation.name != "passwd" {
        return PASSWORD;
    }
    for password in [PASSWORD, OTHER_PASSWORD] {
        let ended = room.call_with(password, &["-r", copy, "--no-lock", "snapshots"]);
        if ended.code == Some(0) {
            return password;
        }
        assert_eq!(ended.code, Some(12), "{when}: copy {copy}: {}", ended.errors);
    }
    panic!("{when}: no password opens copy {copy}");
}

/// The next run: the same command again, and a backup.
fn finish(room: &Room, operation: &Operation, words: &[&str], when: &str) {
    let password = opening_password(room, operation, "1", when);
    let again = room.call_with(password, words);
    let is_done = match operation.name {
        // Whoever finds the work done, or half done, says so.
        "init" | "copies add" => [Some(0), Some(1)].contains(&again.code),
        _ => again.code == Some(0),
    };
    assert!(is_done, "{when}: again: {:?} {}", again.code, again.errors);
    let password = opening_password(room, operation, "1", when);
    let source = room.source();
    let backup = room.call_with(password, &room.both(&["backup", "--tag", "third", &source]));
    assert_eq!(backup.code, Some(0), "{when}: the backup after it: {}", backup.errors);
}
