//! What is chosen of the sources, what they must have, and the words that explain it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod room;

use std::collections::BTreeSet;
use std::path::Path;

use repository::Error;
use repository::backup::{BackupRequest, Guards, Reason, backup, explain};
use repository::filter::{Excludes, PatternList, TagFile};
use room::Room;

/// What a backup by this request has below `source`, by restic.
fn backed_up(room: &Room, request: &BackupRequest) -> BTreeSet<String> {
    let repository = room.open(&["a"]);
    backup(&repository, request).unwrap();
    let restic = testkit::components::restic("0.19").expect("restic is among the components");
    let listed = room.restic(&restic, "a", &["ls", "latest"]);
    listed.lines().filter_map(|line| line.strip_prefix("/source/")).map(str::to_owned).collect()
}

fn write(room: &Room, path: &str, text: &str) {
    let path = room.path("source").join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn set_attribute(room: &Room, path: &str, value: &str) {
    let path = room.path("source").join(path);
    rustix::fs::setxattr(path, "user.xdg.robots.backup", value.as_bytes(), rustix::fs::XattrFlags::empty()).unwrap();
}

#[test]
fn what_is_left_out_is_explained_as_it_is_done() {
    let room = Room::new();
    room.init(&["a"]);
    write(&room, ".gitignore", "*.o\n/build/\n!keep.o\n# a remark\n");
    write(&room, "lib/.gitignore", "!*.o\nsecret.txt\n");
    for path in ["main.o", "keep.o", "build/out", "lib/lib.o", "lib/secret.txt", "deep/build/stays", "deep/x.o"] {
        write(&room, path, path);
    }
    write(&room, "cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");
    write(&room, "cache/page", "x");
    write(&room, "notes.tmp", "x");
    write(&room, "large", &"x".repeat(2000));
    write(&room, "private/diary", "x");
    write(&room, "told", "x");
    set_attribute(&room, "private", "false");
    set_attribute(&room, "told", "true");
    let excludes = Excludes {
        patterns: PatternList::new(["*.tmp"]).unwrap(),
        caches: true,
        if_present: vec![TagFile::parse(b".nobackup").unwrap()],
        larger_than: Some(1000),
        git_ignore: true,
        robots: true,
        ..Excludes::default()
    };
    let request = BackupRequest { excludes, ..room.request(&[Path::new("source")]) };
    let found = backed_up(&room, &request);
    let wanted = [
        ".gitignore",
        "cache",
        "cache/CACHEDIR.TAG",
        "deep",
        "deep/build",
        "deep/build/stays",
        "keep.o",
        "lib",
        "lib/.gitignore",
        "lib/lib.o",
        "told",
    ];
    assert_eq!(found, wanted.map(str::to_owned).into());
    // Nothing is remembered wrongly: an unchanged tree is left out again, and a rule that changes takes effect below.
    assert_eq!(backed_up(&room, &request), found);
    write(&room, ".gitignore", "stays\n");
    let later = backed_up(&room, &request);
    assert!(later.contains("main.o") && !later.contains("deep/build/stays"), "{later:?}");
    write(&room, ".gitignore", "*.o\n/build/\n!keep.o\n");

    let every =
        ["main.o", "build/out", "lib/secret.txt", "deep/x.o", "cache/page", "notes.tmp", "large", "private/diary"];
    for path in every.iter().copied().chain(wanted) {
        let explained = explain(&request, &Path::new("source").join(path)).unwrap();
        assert_eq!(explained.reason.is_none(), found.contains(path), "{path}: {explained:?}");
    }
    let rule = |path: &str| match explain(&request, &Path::new("source").join(path)).unwrap().reason {
        Some(Reason::LeftOut { entry, rule }) => {
            format!("{}: {rule}", entry.strip_prefix(room.path("source")).unwrap().display())
        }
        other => panic!("{path}: {other:?}"),
    };
    let source = room.path("source");
    assert_eq!(rule("build/out"), format!("build: the `.gitignore` of `{}` says `/build/`", source.display()));
    assert_eq!(rule("cache/page"), "cache/page: its folder has a `CACHEDIR.TAG`");
    assert_eq!(rule("notes.tmp"), "notes.tmp: it matches the pattern `*.tmp`");
    assert_eq!(rule("large"), "large: it has 2000 bytes, more than are wanted");
    assert!(rule("private/diary").starts_with("private: it says so itself"));
    let reason = |path: &Path| explain(&request, path).unwrap().reason;
    assert_eq!(reason(Path::new("elsewhere")), Some(Reason::NoSource));
    assert_eq!(reason(Path::new("source/nowhere")), Some(Reason::Missing));
    assert_eq!(reason(Path::new("source")), None);
}

#[test]
fn a_rule_that_means_nothing_is_named() {
    let room = Room::new();
    let repository = room.init(&["a"]);
    write(&room, ".gitignore", "[z-a]\n*.o\n");
    write(&room, "x.o", "x");
    let excludes = Excludes { git_ignore: true, ..Excludes::default() };
    let report = backup(&repository, &BackupRequest { excludes, ..room.request(&[Path::new("source")]) }).unwrap();
    let causes: Vec<_> = report.troubles.iter().map(|trouble| trouble.cause.as_str()).collect();
    assert!(causes.len() == 1 && causes[0].starts_with("line 1 of `.gitignore` leaves nothing out"), "{causes:?}");
    assert_eq!(report.summary.total_files_processed, 1);
}

#[test]
fn sources_that_are_not_what_they_should_be_give_no_snapshot() {
    let room = Room::new();
    let repository = room.init(&["a"]);
    write(&room, "one", "12345");
    let refused = |guards: Guards, words: &str| {
        let request = BackupRequest { guards, ..room.request(&[Path::new("source")]) };
        let error = backup(&repository, &request).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }) && error.to_string().contains(words), "{error}");
    };
    refused(Guards { marker: Some("mounted".into()), ..Guards::default() }, "source `source` has no `mounted`");
    refused(Guards { files_min: 2, ..Guards::default() }, "the sources hold 1 files, and should hold at least 2");
    refused(Guards { bytes_min: 6, ..Guards::default() }, "the sources hold 5 bytes, and should hold at least 6");
    assert!(room::files_in(&room.path("a/snapshots")).is_empty());
    assert!(room::files_in(&room.path("a/locks")).is_empty());
    write(&room, "mounted", "");
    let guards = Guards { marker: Some("mounted".into()), files_min: 2, bytes_min: 5 };
    let request = BackupRequest { guards, ..room.request(&[Path::new("source")]) };
    // Also when everything is known from the last time.
    for _ in 0..2 {
        assert!(backup(&repository, &request).unwrap().id.is_some());
    }
}

#[test]
fn what_has_not_changed_needs_no_snapshot() {
    let room = Room::new();
    let repository = room.init(&["a", "b"]);
    write(&room, "one", "1");
    let request = BackupRequest { skip_if_unchanged: true, ..room.request(&[Path::new("source")]) };
    let first = backup(&repository, &request).unwrap();
    assert!(first.id.is_some() && !first.is_unchanged);
    // A copy that lost a snapshot gets it back all the same.
    let snapshot = room.path("b/snapshots").join(first.id.unwrap().to_hex());
    std::fs::remove_file(&snapshot).unwrap();
    let second = backup(&repository, &request).unwrap();
    assert!(second.id.is_none() && second.is_unchanged, "{second:?}");
    assert!(snapshot.exists());
    assert!(room::files_in(&room.path("a/locks")).is_empty());
    write(&room, "one", "2");
    assert!(backup(&repository, &request).unwrap().id.is_some());
    assert_eq!(repository.snapshots().unwrap().snapshots.len(), 2);
}
