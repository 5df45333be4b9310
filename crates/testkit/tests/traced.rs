//! The tracer does what it says to a shell at work, and the journal knows what a disk would hold.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use testkit::Random;
use testkit::traced::{CallKind, Deed, Disk, Errno, Event, Injection, Journal, Manner, Scope, Traced};

/// Makes three files in a folder, one by renaming, and removes one.
const WORK: &str = "mkdir below; echo one > below/one; echo two > below/draft; mv below/draft below/two; \
                    echo three > below/three; rm below/three; echo elsewhere > \"$ELSEWHERE\"";

fn shell(folder: &Path, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).current_dir(folder).env("ELSEWHERE", "../elsewhere");
    command
}

fn room() -> (TempDir, std::path::PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("room");
    fs::create_dir(&folder).unwrap();
    (scratch, folder)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn calls_below_the_folder_count_and_others_do_not() {
    let (_scratch, folder) = room();
    let outcome = Traced::new(shell(&folder, WORK), &[&folder]).run().unwrap();
    assert_eq!((outcome.ended.code, outcome.strikes), (Some(0), 0), "{}", outcome.ended.errors);
    // mkdir, three times create and write, create and rename, unlink.
    let expected = 1 + 3 * 2 + 1 + 1;
    assert_eq!(outcome.calls, expected);
    let (_scratch, folder) = room();
    let scope = Scope::of(&[CallKind::MakeFolder, CallKind::Rename]);
    assert_eq!(Traced::new(shell(&folder, WORK), &[&folder]).counting(scope).run().unwrap().calls, 2);
}

#[test]
fn death_comes_before_the_call_or_after_it() {
    for (deed, expected) in [(Deed::KillBefore, "draft one"), (Deed::KillAfter, "one two")] {
        let (_scratch, folder) = room();
        let outcome = Traced::new(shell(&folder, WORK), &[&folder])
            .counting(Scope::of(&[CallKind::Rename]))
            .with(Injection::once(1, deed))
            .run()
            .unwrap();
        assert_eq!((outcome.ended.code, outcome.strikes), (None, 1), "{deed:?}");
        assert_eq!(names(&folder.join("below")), expected.split(' ').map(str::to_owned).collect(), "{deed:?}");
    }
}

#[test]
fn a_call_fails_once_or_from_then_on() {
    let deed = Deed::Fail(Errno::ENOSPC);
    let script = "for n in 1 2 3; do echo $n > $n; done";
    let scope = Scope::allocations();
    for (injection, expected) in [(Injection::once(3, deed), "1 3"), (Injection::from(3, deed), "1")] {
        let (_scratch, folder) = room();
        let traced = Traced::new(shell(&folder, script), &[&folder]).counting(scope.clone()).with(injection);
        let outcome = traced.run().unwrap();
        let said = outcome.ended.errors.to_lowercase();
        assert!(said.contains("no space") || said.contains("error 28"), "{said}");
        assert_eq!(names(&folder), expected.split(' ').map(str::to_owned).collect(), "{injection:?}");
        assert_eq!(outcome.struck.unwrap().kind, CallKind::Create);
    }
}

#[test]
fn a_short_write_writes_half_and_children_are_followed() {
    let (_scratch, folder) = room();
    let script = "head -c 1000 /dev/zero > once";
    let injection = Injection::once(1, Deed::Short);
    let traced = Traced::new(shell(&folder, script), &[&folder]).counting(Scope::of(&[CallKind::Write]));
    let outcome = traced.with(injection).run().unwrap();
    assert_eq!((outcome.ended.code, outcome.strikes), (Some(0), 1), "{}", outcome.ended.errors);
    assert!(outcome.calls >= 2, "whoever is given half must write the rest");
    assert_eq!(fs::metadata(folder.join("once")).unwrap().len(), 1000);
}

#[test]
fn the_journal_tells_everything_and_what_was_synced_lasts() {
    let (scratch, folder) = room();
    fs::write(folder.join("before"), "was there").unwrap();
    let mut journal = Journal::of(&folder).unwrap();
    let script =
        "echo draft > draft; sync draft; mv draft final; sync .; echo more > unsynced; rm before; ln final too";
    let outcome = Traced::new(shell(&folder, script), &[&folder]).record(&mut journal).unwrap();
    assert_eq!(outcome.ended.code, Some(0), "{}", outcome.ended.errors);
    journal.assert_complete();
    journal.promise("the end");
    assert_eq!(journal.promises(journal.events().len()), ["the end"]);

    let image = |events: usize, manner: Manner, seed: u64| {
        let place = scratch.path().join("image");
        let _ = fs::remove_dir_all(&place);
        Disk::after(&journal, events).write_image(&place, manner, &mut Random::new(seed)).unwrap();
        let read = |name: &str| fs::read_to_string(place.join(name)).unwrap_or_default();
        (names(&place), read("final"), read("unsynced"))
    };
    let all = journal.events().len();
    let set = |names: &str| names.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(image(all, Manner::Nothing, 1).0, set("before final"));
    assert_eq!(image(all, Manner::Everything, 1), (set("final too unsynced"), "draft\n".into(), "more\n".into()));
    assert_eq!(image(all, Manner::BytesOnly, 1).0, set("before final"));
    let before_sync = journal.events().iter().position(|event| matches!(event, Event::Renamed { .. })).unwrap();
    assert_eq!(image(before_sync, Manner::Nothing, 1).0, set("before"), "its folder was not synced yet");
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let (names, synced, unsynced) = image(all, Manner::Any, seed);
        assert!(names.contains("final") && synced == "draft\n", "what was synced is there: {names:?}");
        seen.insert(names);
        assert!(["", "more\n", "\0\0\0\0\0", "m", "mo", "mor", "more"].contains(&unsynced.as_str()), "{unsynced:?}");
        let (_, _, without_bytes) = image(all, Manner::NamesOnly, seed);
        assert!(["", "\0\0\0\0\0"].contains(&without_bytes.as_str()), "{without_bytes:?}");
    }
    // Three independent names: one came, one went, one was linked.
    assert_eq!(seen.len(), 8, "{seen:?}");
}
