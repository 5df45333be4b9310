//! What a snapshot has of its sources: their own metadata, their names, and what it takes over from its parent.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use repository::backup::backup;
use room::{Room, small_tree};

#[test]
fn sources_and_the_folders_above_them_keep_their_extended_attributes() {
    let room = Room::new();
    small_tree(&room.path("above/source"));
    let flags = rustix::fs::XattrFlags::empty();
    for name in ["above", "above/source", "above/source/empty"] {
        rustix::fs::setxattr(room.path(name), "user.note", name.as_bytes(), flags).unwrap();
    }
    let repository = room.init(&["a"]);
    let report =
        backup(&repository, &room.request(&[Path::new("above/source"), Path::new("above/source/../source/empty")]));
    let indexed = repository.indexed().unwrap();
    let mut tree = indexed.tree(&report.unwrap().snapshot.tree).unwrap();
    for (name, path) in [("above", "above"), ("source", "above/source"), ("empty", "above/source/empty")] {
        let node = tree.find(name.as_bytes()).unwrap().clone();
        let expected = vec![(b"user.note".to_vec(), path.as_bytes().to_vec())];
        assert_eq!(node.extended_attributes, expected, "{path}");
        if let Some(subtree) = node.subtree {
            tree = indexed.tree(&subtree).unwrap();
        }
    }
}

#[test]
fn what_came_and_went_beside_unchanged_files_is_told_apart() {
    let room = Room::new();
    let source = room.path("source");
    std::fs::create_dir(&source).unwrap();
    let write = |number: u32| std::fs::write(source.join(format!("{number:03}")), number.to_string()).unwrap();
    (0..300).filter(|number| number % 3 != 0).for_each(write);
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    for entry in std::fs::read_dir(&source).unwrap() {
        std::fs::File::open(entry.unwrap().path()).unwrap().set_modified(long_ago).unwrap();
    }
    let repository = room.init(&["a"]);
    room.backup(&repository, Path::new("source"));
    (0..300).filter(|number| number % 3 == 0).for_each(write);
    (0..300)
        .filter(|number| number % 3 == 1)
        .for_each(|n| std::fs::remove_file(source.join(format!("{n:03}"))).unwrap());
    let mut request = room.request(&[Path::new("source")]);
    request.ignore_ctime = true;
    let summary = backup(&repository, &request).unwrap().summary;
    assert_eq!((summary.files_new, summary.files_changed, summary.files_unmodified), (100, 0, 100));
}

#[test]
fn a_path_that_is_no_text_stands_in_the_snapshot_as_restic_writes_it() {
    let room = Room::new();
    let name = OsStr::from_bytes(b"caf\xe2\x80-\xff");
    small_tree(&room.scratch.path().join(name));
    let repository = room.init(&["a"]);
    let report = room.backup(&repository, Path::new(name));
    assert_eq!(report.snapshot.paths.len(), 1);
    assert!(report.snapshot.paths[0].ends_with("/caf\u{fffd}\u{fffd}-\u{fffd}"), "{:?}", report.snapshot.paths);
}
