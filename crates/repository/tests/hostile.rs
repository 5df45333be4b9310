//! Names, types, modes and sizes that break backup programs: stored by us, given back by restic.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::path::Path;

use repository::backup::backup;
use room::Room;
use testkit::{HostileOptions, Manifest, hostile_tree_with, manifest};

#[test]
fn restic_restores_what_we_stored_of_a_hostile_tree() {
    let room = Room::new();
    let source = room.path("source");
    let tree = hostile_tree_with(&source, HostileOptions::quick()).unwrap();
    for line in tree.not_made() {
        println!("not made: {line}");
    }
    assert!(tree.made().count() >= 98);
    let repository = room.init(&["a"]);
    let report = backup(&repository, &room.request(&[Path::new("source")])).unwrap();
    let stored = manifest(&source).unwrap();
    let Some(program) = testkit::components::restic("0.19") else { return };
    room.restic(&program, "a", &["check", "--read-data"]);
    let target = room.path("restored");
    let mut command = std::process::Command::new(program);
    command.env("RESTIC_PASSWORD", room::PASSWORD).env("RESTIC_CACHE_DIR", room.path("cache"));
    command.arg("-r").arg(room.path("a")).args(["restore", "latest", "--target"]).arg(&target);
    let ended = testkit::process::run(&mut command, std::time::Duration::from_secs(300)).unwrap();
    let restored = manifest(target.join("source")).unwrap();
    // What restic itself does not give back, and nothing else.
    let is_known = |line: &str| {
        line.starts_with("beyond/")
            || line == "special/socket: missing"
            || (line.contains("hard link group") && (line.contains("link") || line.contains("pipe")))
            || line.starts_with("attributes/name: attribute `user.\\xff")
    };
    let difference = Manifest::difference(&stored, &restored);
    let unknown: Vec<&String> = difference.iter().filter(|line| !is_known(line)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}\nrestic: {:?} {}", ended.code, ended.errors);
    // The one thing that the format cannot hold is named.
    assert_eq!(report.troubles.len(), 1, "{:?}", report.troubles);
    assert_eq!(report.troubles[0].path, source.join("attributes/name"));
    testkit::remove_hostile_tree(&source).unwrap();
    testkit::remove_hostile_tree(&target).unwrap();
}
