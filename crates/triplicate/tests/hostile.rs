//! The hostile tree through the whole program: what comes back from us and from restic, and what the report names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use stage::{PASSWORD, Place, Stage};
use testkit::process::{Ended, run};
use testkit::{EntryKind, HostileOptions, Manifest, hostile_tree_with, manifest, remove_hostile_tree};

const CALL_LIMIT: Duration = Duration::from_secs(300);

/// Entries that the tree must have at least.
const ENTRIES_WANTED: usize = 98;

/// The one thing that the format has no room for: an attribute whose name is not text. The backup names it.
const FORMAT_LOSES: &str = "attributes/name: attribute `user.\\xff";

/// What restic does not give back although it is in the snapshot: second names of anything but files, sockets, and
/// paths that are longer than a system call takes.
const RESTIC_LOSES: [&str; 4] = ["hard/link", "special/pipe", "special/socket: missing", "beyond/"];

/// restic 0.14 did not know yet that link targets can be anything, nor that links can have attributes.
const RESTIC_0_14_LOSES: [&str; 2] = ["links/not-utf8: link target", "attributes/link: attribute"];

/// Nobody, as systems number that account.
const NOBODY: u32 = 65_534;

#[track_caller]
fn make(stage: &Stage) -> PathBuf {
    let source = stage.path("source");
    let tree = hostile_tree_with(&source, HostileOptions::quick()).unwrap();
    for line in tree.not_made() {
        println!("not made: {line}");
    }
    assert!(tree.made().count() >= ENTRIES_WANTED);
    source
}

/// The paths that `error` lines name, below `source`; and the summary.
fn report_of(ended: &Ended, source: &Path) -> (BTreeSet<String>, Value) {
    let prefix = format!("{}/", source.display());
    let mut named = BTreeSet::new();
    for line in ended.errors.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if line["message_type"] == "error" {
            named.insert(line["item"].as_str().unwrap().strip_prefix(&prefix).unwrap().to_owned());
        }
    }
    let summary: Value = serde_json::from_str(ended.text().lines().last().unwrap()).unwrap();
    assert_eq!(summary["message_type"], "summary");
    (named, summary)
}

#[track_caller]
fn assert_only(difference: &[String], known: &[&str], who: &str) {
    let unknown: Vec<&String> =
        difference.iter().filter(|line| !known.iter().any(|known| line.starts_with(known))).collect();
    assert!(unknown.is_empty(), "{who}: {unknown:#?}");
    // A list of excuses that are not needed hides the day on which they are.
    for known in known {
        assert!(difference.iter().any(|line| line.starts_with(known)), "{who} gives back {known}: shorten the list");
    }
}

#[test]
fn the_hostile_tree_comes_back_from_us_and_from_restic() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can make and restore all of the hostile tree");
        return;
    }
    let stage = Stage::small();
    let source = make(&stage);
    let expected = manifest(&source).unwrap();
    stage.init();
    let ended = stage.run(3, &["backup", "--json", source.to_str().unwrap()]);
    let (named, summary) = report_of(&ended, &source);
    assert_eq!(named, BTreeSet::from(["attributes/name".to_owned()]));
    assert_eq!(summary["troubles"], 1);
    stage.run(0, &["check", "--read-data"]);
    // Nothing changed, so a second backup stores nothing, and says again what it cannot store.
    let again = stage.run(3, &["backup", "--json", source.to_str().unwrap()]);
    assert_eq!(report_of(&again, &source).1["data_blobs"], 0);

    let target = stage.path("ours");
    stage.run(0, &["restore", "latest", "--verify", "--target", target.to_str().unwrap()]);
    let restored = manifest(&target).unwrap().below(&source);
    assert_only(&Manifest::difference(&expected, &restored), &[FORMAT_LOSES], "our restore");
    // Once more over what is there, and with holes.
    stage.run(0, &["restore", "latest", "--sparse", "--target", target.to_str().unwrap()]);
    let restored = manifest(&target).unwrap().below(&source);
    assert_only(&Manifest::difference(&expected, &restored), &[FORMAT_LOSES], "our second restore");
    remove_hostile_tree(&target).unwrap();

    for version in testkit::components::RESTIC_VERSIONS {
        let Some(restic) = stage.restic(version, Place::Folder) else { continue };
        restic.check(true);
        let target = stage.path("theirs");
        // Paths beyond the limit fail there, and restic ends with an error for them.
        let words = ["restore", "latest", "--target", target.to_str().unwrap()];
        let ended = restic.call(&words).unwrap();
        let restored = manifest(&target).unwrap().below(&source);
        let difference = Manifest::difference(&expected, &restored);
        println!("{}: {:?}, {} differences", restic.name(), ended.code, difference.len());
        let of_old: &[&str] = if version == "0.14" { &RESTIC_0_14_LOSES } else { &[] };
        assert_only(&difference, &[&[FORMAT_LOSES], RESTIC_LOSES.as_slice(), of_old].concat(), restic.name());
        remove_hostile_tree(&target).unwrap();
    }
    remove_hostile_tree(&source).unwrap();
}

/// The program as somebody without rights, with a home of his own.
fn as_nobody(stage: &Stage, program: &Path, words: &[&str]) -> Ended {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", "--"]);
    command.arg(program).arg("-r").arg(stage.path("nobody/copy")).args(words);
    command.env_clear().env("HOME", stage.path("nobody")).env("RESTIC_PASSWORD", PASSWORD);
    run(command.current_dir(stage.path("nobody")), CALL_LIMIT).unwrap()
}

#[test]
fn who_may_not_read_all_of_it_is_told_what_is_missing() {
    if !rustix::process::geteuid().is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        eprintln!("skipped: only root can become nobody, and only with `setpriv`");
        return;
    }
    let stage = Stage::small();
    std::fs::set_permissions(stage.scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(stage.path("nobody")).unwrap();
    chown(stage.path("nobody"), Some(NOBODY), Some(NOBODY)).unwrap();
    // Where the program was built, nobody may not look.
    let program = stage.path("program");
    std::fs::copy(env!("CARGO_BIN_EXE_triplicate"), &program).unwrap();
    let source = make(&stage);
    let expected = manifest(&source).unwrap();
    let is_closed = |kind: EntryKind, mode: u32| match kind {
        EntryKind::File => mode & 0o4 == 0,
        EntryKind::Folder => mode & 0o5 != 0o5,
        _ => false,
    };
    let closed = expected.entries.iter().filter(|(_, entry)| is_closed(entry.kind, entry.mode));
    let closed: BTreeMap<String, EntryKind> =
        closed.map(|(path, entry)| (String::from_utf8(path.clone()).unwrap(), entry.kind)).collect();
    let is_inside = |path: &str| closed.keys().any(|folder| path.starts_with(&format!("{folder}/")));
    // What is in a folder that cannot be listed is not known, and so not named.
    let unreadable = closed.keys().filter(|path| !is_inside(path)).cloned();
    let unreadable: BTreeSet<String> = unreadable.chain(["attributes/name".to_owned()]).collect();
    assert!(unreadable.len() >= 5, "{unreadable:?}");

    as_nobody(&stage, &program, &["init"]).expect_code(0);
    let ended = as_nobody(&stage, &program, &["backup", "--json", source.to_str().unwrap()]).expect_code(3);
    let (named, summary) = report_of(&ended, &source);
    assert_eq!(named, unreadable);
    assert!(summary["troubles"].as_u64().unwrap() >= unreadable.len() as u64);
    assert!(summary["snapshot_id"].is_string());

    // All the rest is there: content, and all that nobody may see of the metadata.
    let target = stage.path("restored");
    let copy = stage.path("nobody/copy").to_str().unwrap().to_owned();
    let mut command = stage.command_on(&[copy]);
    run(command.args(["restore", "latest", "--target", target.to_str().unwrap()]), CALL_LIMIT).unwrap().expect_code(0);
    let restored = manifest(&target).unwrap().below(&source);
    let missing = closed.iter().map(|(path, kind)| match kind {
        EntryKind::Folder => format!("{path}/inside: missing"),
        _ => format!("{path}: missing"),
    });
    let unseen = ["attributes/trusted: attribute `trusted.secret`", "attributes/link: attribute `trusted.link`"];
    let known: Vec<String> = missing.chain([FORMAT_LOSES].into_iter().chain(unseen).map(str::to_owned)).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let difference = Manifest::difference(&expected, &restored);
    assert_only(&difference, &known, "a restore of what nobody could read");
    remove_hostile_tree(&target).unwrap();
    remove_hostile_tree(&source).unwrap();
}
