//! A backup into several copies: identical bytes everywhere, restic agrees, and trouble is named.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::path::Path;

use model::Verdict;
use repository::backup::{ParentChoice, backup};
use repository::{Error, TroubleKind};
use room::{Room, files_in, small_tree};

#[test]
fn three_copies_are_byte_identical_and_restic_accepts_each() {
    let room = Room::new();
    small_tree(&room.path("source"));
    let names = ["a", "b", "c"];
    let repository = room.init(&names);
    // A relative source: the folders above it, which others write to, are no part of the tree.
    let first = room.backup(&repository, Path::new("source"));
    assert_eq!(first.verdict, Verdict::Ok, "{:?}", first.troubles);
    assert_eq!(first.summary.total_files_processed, 42);
    let second = room.backup(&repository, Path::new("source"));
    assert_eq!(second.summary.files_unmodified, 42);
    assert_eq!(second.summary.data_added, 0);
    assert_eq!(second.snapshot.tree, first.snapshot.tree);

    let copies = names.map(|name| files_in(&room.path(name)));
    assert!(copies[0].len() > 6);
    assert_eq!(copies[0].keys().collect::<Vec<_>>(), copies[1].keys().collect::<Vec<_>>());
    assert!(copies[0] == copies[1] && copies[1] == copies[2]);
    for (version, program) in testkit::components::every_restic() {
        for name in names {
            room.restic(&program, name, &["check", "--read-data"]);
        }
        let restored = format!("restored-{version}");
        room.restic(&program, "b", &["restore", "latest", "--target", room.path(&restored).to_str().unwrap()]);
        let source = room.path("source");
        let below = room.path(&restored).join("source");
        assert!(files_in(&source) == files_in(&below), "restic {version} restored something else");
    }
}

#[test]
fn restic_makes_the_same_tree_of_the_same_folder() {
    let room = Room::new();
    small_tree(&room.path("source"));
    room.init(&["a"]);
    for (version, program) in testkit::components::every_restic() {
        room.restic(&program, "a", &["backup", "source", "--host", "testhost"]);
        let repository = room.open(&["a"]);
        let listing = repository.snapshots().unwrap();
        let (_, theirs) = listing.snapshots.last().unwrap().clone();
        let mut request = room.request(&[Path::new("source")]);
        request.parent = ParentChoice::None;
        let ours = backup(&repository, &request).unwrap();
        assert_eq!(ours.snapshot.tree, theirs.tree, "restic {version}");
        assert_eq!((ours.summary.data_blobs, ours.summary.tree_blobs), (0, 0), "restic {version}");
        assert_eq!(ours.snapshot.paths, theirs.paths);
    }
}

#[test]
fn a_copy_that_was_away_catches_up_in_the_next_backup() {
    let room = Room::new();
    small_tree(&room.path("source"));
    room.init(&["a", "b"]);
    let first = room.backup(&room.open(&["a", "b"]), &room.path("source"));
    assert_eq!(first.verdict, Verdict::Ok);
    std::fs::write(room.path("source/later"), vec![7; 100_000]).unwrap();
    room.backup(&room.open(&["a"]), &room.path("source"));
    assert!(files_in(&room.path("a")) != files_in(&room.path("b")));
    std::fs::write(room.path("source/last"), vec![8; 100_000]).unwrap();
    let third = room.backup(&room.open(&["a", "b"]), &room.path("source"));
    assert_eq!(third.verdict, Verdict::Ok);
    assert!(files_in(&room.path("a")) == files_in(&room.path("b")));
}

#[test]
fn a_source_that_is_missing_or_empty_makes_no_snapshot() {
    let room = Room::new();
    std::fs::create_dir_all(room.path("hollow/inside")).unwrap();
    let repository = room.init(&["a"]);
    let missing = backup(&repository, &room.request(&[&room.path("nowhere")]));
    assert!(matches!(missing, Err(Error::SourceMissing(_))), "{missing:?}");
    let empty = backup(&repository, &room.request(&[&room.path("hollow")]));
    assert!(matches!(empty, Err(Error::SourceEmpty(_))), "{empty:?}");
    assert_eq!(repository.snapshots().unwrap().snapshots.len(), 0);
    let mut request = room.request(&[&room.path("hollow")]);
    request.allow_empty = true;
    assert_eq!(backup(&repository, &request).unwrap().verdict, Verdict::Ok);
    assert!(files_in(&room.path("a/locks")).is_empty());
}

#[test]
fn copies_of_different_repositories_are_refused() {
    let room = Room::new();
    small_tree(&room.path("source"));
    room.init(&["a"]);
    room.init(&["b"]);
    let before = files_in(&room.path("b"));
    let opened = room.try_open(&["a", "b"]);
    assert!(matches!(opened, Err(Error::NotTheSame { .. })), "{opened:?}");
    assert!(before == files_in(&room.path("b")));
}

#[test]
fn a_file_that_turns_into_something_else_is_named() {
    let room = Room::new();
    small_tree(&room.path("source"));
    let repository = room.init(&["a"]);
    // A file in /proc says 0 bytes and gives more: the listing and the reading disagree.
    let report = backup(&repository, &room.request(&[&room.path("source"), Path::new("/proc/self/limits")]));
    let report = report.unwrap();
    assert_eq!(report.verdict, Verdict::Partial);
    assert_eq!(report.troubles.len(), 1, "{:?}", report.troubles);
    assert_eq!(report.troubles[0].kind, TroubleKind::ChangedWhileRead);
    assert!(report.id.is_some());
}
