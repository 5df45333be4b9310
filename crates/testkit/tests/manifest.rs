//! The judge of restores sees every single kind of difference, and none where there is none.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, chownat, lsetxattr, mknodat, utimensat,
};
use testkit::process::run;
use testkit::{
    Aspect, Content, EntryKind, HostileOptions, Manifest, corpus, hostile_tree_with, manifest, remove_hostile_tree,
};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn set_time(path: &Path, seconds: i64, nanoseconds: u32) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A small tree with one entry of each sort, all times fixed.
fn small_tree(root: &Path) {
    fs::create_dir_all(root.join("folder")).unwrap();
    fs::write(root.join("file"), "some content").unwrap();
    fs::write(root.join("folder/inside"), "inside").unwrap();
    fs::hard_link(root.join("folder/inside"), root.join("second-name")).unwrap();
    symlink("file", root.join("link")).unwrap();
    mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    lsetxattr(root.join("file"), "user.note", b"yes", XattrFlags::empty()).unwrap();
    for name in ["file", "folder/inside", "link", "pipe", "folder", "."] {
        set_time(&root.join(name), 1_600_000_000, 123_456_789);
    }
}

/// Changes one thing in a copy of the small tree and says what the difference is.
fn after(change: impl FnOnce(&Path)) -> Vec<String> {
    let scratch = tempfile::tempdir().unwrap();
    let (a, b) = (scratch.path().join("a"), scratch.path().join("b"));
    small_tree(&a);
    small_tree(&b);
    change(&b);
    // Adding and removing names moves the folder's own time, which is not what these cases are about.
    set_time(&b.join("folder"), 1_600_000_000, 123_456_789);
    set_time(&b, 1_600_000_000, 123_456_789);
    Manifest::difference(&manifest(&a).unwrap(), &manifest(&b).unwrap())
}

#[test]
fn equal_trees_have_no_difference() {
    assert_eq!(after(|_| {}), Vec::<String>::new());
}

#[test]
fn every_kind_of_difference_is_one_line() {
    let kept_time = |path: PathBuf, change: &dyn Fn(&Path)| {
        change(&path);
        set_time(&path, 1_600_000_000, 123_456_789);
    };
    type Case<'a> = (&'a str, Box<dyn Fn(&Path) + 'a>);
    let mut cases: Vec<Case<'_>> = vec![
        ("file: content was", Box::new(|b| kept_time(b.join("file"), &|p| fs::write(p, "Some content").unwrap()))),
        (
            "file: mtime was 1600000000.123456789, is 1600000000.123456788",
            Box::new(|b| {
                set_time(&b.join("file"), 1_600_000_000, 123_456_788);
            }),
        ),
        ("link: mtime was", Box::new(|b| set_time(&b.join("link"), 5, 0))),
        (
            "file: mode was 0644, is 0640",
            Box::new(|b| {
                fs::set_permissions(b.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
            }),
        ),
        (
            "folder: mode was",
            Box::new(|b| {
                fs::set_permissions(b.join("folder"), fs::Permissions::from_mode(0o1755)).unwrap();
            }),
        ),
        (
            "file: attribute `user.note` was `yes`, is `no`",
            Box::new(|b| {
                lsetxattr(b.join("file"), "user.note", b"no", XattrFlags::empty()).unwrap();
            }),
        ),
        (
            "file: attribute `user.note` was `yes`, is none",
            Box::new(|b| {
                rustix::fs::lremovexattr(b.join("file"), "user.note").unwrap();
            }),
        ),
        (
            "folder: attribute `user.new` was none, is `x`",
            Box::new(|b| {
                lsetxattr(b.join("folder"), "user.new", b"x", XattrFlags::empty()).unwrap();
            }),
        ),
        (
            "link: link target was `file`, is `elif`",
            Box::new(|b| {
                fs::remove_file(b.join("link")).unwrap();
                symlink("elif", b.join("link")).unwrap();
                set_time(&b.join("link"), 1_600_000_000, 123_456_789);
            }),
        ),
        ("pipe: missing", Box::new(|b| fs::remove_file(b.join("pipe")).unwrap())),
        (
            "pipe: kind was pipe, is file",
            Box::new(|b| {
                fs::remove_file(b.join("pipe")).unwrap();
                fs::write(b.join("pipe"), "").unwrap();
            }),
        ),
        (
            "extra\\xff: one too many, a folder",
            Box::new(|b| {
                use std::os::unix::ffi::OsStrExt;
                fs::create_dir(b.join(std::ffi::OsStr::from_bytes(b"extra\xff"))).unwrap();
            }),
        ),
    ];
    if is_root() {
        cases.push((
            "file: owner was",
            Box::new(|b| {
                chownat(CWD, b.join("file"), Some(rustix::fs::Uid::from_raw(77)), None, AtFlags::empty()).unwrap();
            }),
        ));
    }
    for (expected, change) in cases {
        let lines = after(change);
        assert_eq!(lines.len(), 1, "{expected}: {lines:?}");
        assert!(lines[0].starts_with(expected), "`{}` does not say `{expected}`", lines[0]);
    }
}

#[test]
fn size_and_content_of_a_grown_file_are_two_lines() {
    let lines = after(|b| {
        fs::write(b.join("file"), "some content and more").unwrap();
        set_time(&b.join("file"), 1_600_000_000, 123_456_789);
    });
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("size was 12, is 21") && lines[1].contains("content"), "{lines:?}");
}

#[test]
fn a_broken_hard_link_is_seen_at_both_names() {
    let lines = after(|b| {
        fs::remove_file(b.join("second-name")).unwrap();
        fs::write(b.join("second-name"), "inside").unwrap();
        set_time(&b.join("second-name"), 1_600_000_000, 123_456_789);
    });
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("hard link group was `folder/inside`, is none")), "{lines:?}");
}

#[test]
fn device_numbers_are_compared() {
    if !is_root() {
        testkit::skip("only root can make devices");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let make = |folder: &str, minor| {
        let folder = scratch.path().join(folder);
        fs::create_dir(&folder).unwrap();
        let device = rustix::fs::makedev(1, minor);
        mknodat(CWD, folder.join("device"), FileType::CharacterDevice, Mode::RUSR, device).unwrap();
        set_time(&folder.join("device"), 1, 1);
        manifest(&folder).unwrap()
    };
    let lines = Manifest::difference_except(&make("a", 3), &make("b", 5), &[Aspect::Root]);
    assert_eq!(lines, ["device: device was Some((1, 3)), is Some((1, 5))"]);
}

#[test]
fn aspects_can_be_left_out_one_by_one() {
    let scratch = tempfile::tempdir().unwrap();
    let (a, b) = (scratch.path().join("a"), scratch.path().join("b"));
    small_tree(&a);
    small_tree(&b);
    set_time(&b.join("file"), 1, 0);
    set_time(&b.join("link"), 1, 0);
    set_time(&b, 1, 0);
    let (a, b) = (manifest(&a).unwrap(), manifest(&b).unwrap());
    assert_eq!(Manifest::difference(&a, &b).len(), 3);
    assert_eq!(Manifest::difference_except(&a, &b, &[Aspect::Root]).len(), 2);
    assert_eq!(Manifest::difference_except(&a, &b, &[Aspect::Root, Aspect::LinkTime]).len(), 1);
    assert_eq!(Manifest::difference_except(&a, &b, &[Aspect::Time]), Vec::<String>::new());
}

#[test]
fn parts_of_a_tree() {
    let scratch = tempfile::tempdir().unwrap();
    small_tree(&scratch.path().join("x/y"));
    let whole = manifest(scratch.path()).unwrap();
    let part = whole.below(Path::new("/x/y"));
    assert_eq!(part, manifest(scratch.path().join("x/y")).unwrap());
    assert_eq!(part.count(EntryKind::File), 3);
    let rest = part.without(|path, _| path == b"folder");
    assert!(!rest.entries.contains_key(b"folder/inside".as_slice()));
    // A group of one name is none.
    assert_eq!(rest.entries[b"second-name".as_slice()].hard_link_group, None);
}

#[test]
fn a_corpus_is_the_same_for_the_same_seed() {
    let scratch = tempfile::tempdir().unwrap();
    let make = |folder: &str, seed| {
        let root = scratch.path().join(folder);
        let bytes = corpus::tree(&root, 300, 100_000, seed).unwrap();
        (bytes, manifest(root).unwrap())
    };
    let (a, b, c) = (make("a", 1), make("b", 1), make("c", 2));
    assert_eq!(a.0, b.0);
    assert_eq!(Manifest::difference_except(&a.1, &b.1, &[Aspect::Time]), Vec::<String>::new());
    assert!(!Manifest::difference_except(&a.1, &c.1, &[Aspect::Time]).is_empty());
    assert_eq!(a.1.count(EntryKind::File), 300);
    corpus::text_file(&scratch.path().join("text"), 100_001, 3).unwrap();
    assert_eq!(fs::metadata(scratch.path().join("text")).unwrap().size(), 100_001);
}

#[test]
fn the_hostile_tree_is_whole_and_survives_a_copy() {
    let scratch = tempfile::tempdir().unwrap();
    let (root, copy) = (scratch.path().join("hostile"), scratch.path().join("copy"));
    let tree = hostile_tree_with(&root, HostileOptions::quick()).unwrap();
    for line in tree.not_made() {
        println!("not made: {line}");
    }
    let paths: std::collections::BTreeSet<_> = tree.entries.iter().map(|entry| &entry.path).collect();
    println!("{} entries at {} paths, {} made", tree.entries.len(), paths.len(), tree.made().count());
    assert!(paths.len() >= 98, "{}", paths.len());
    // Who has no root cannot make devices and foreign owners; little else may fail anywhere.
    assert!(tree.not_made().len() <= if is_root() { 3 } else { 20 }, "{:?}", tree.not_made());

    let before = manifest(&root).unwrap();
    for made in tree.made() {
        let hidden = !is_root() && made.path.starts_with(b"modes/folder-0");
        assert!(hidden || before.entries.contains_key(&made.path), "{}", made.path.escape_ascii());
    }
    let longest = before.entries.keys().map(Vec::len).max().unwrap();
    assert!(longest > 4096, "{longest}");
    if is_root() {
        assert!(before.entries.values().all(|entry| !matches!(entry.content, Some(Content::Unread(_)))));
        for kind in [EntryKind::Pipe, EntryKind::Socket, EntryKind::CharacterDevice, EntryKind::BlockDevice] {
            assert!(before.count(kind) > 0, "{kind:?}");
        }
        let mut cp = Command::new("cp");
        cp.arg("-a").arg(&root).arg(&copy);
        let ended = run(&mut cp, Duration::from_secs(300)).unwrap();
        // `cp` goes by path name, so it stops at the path limit; all the rest must be there.
        let reachable = |path: &[u8], _: &_| path.starts_with(b"beyond");
        let after = manifest(&copy).unwrap();
        let lines = Manifest::difference(&before.without(reachable), &after.without(reachable));
        assert_eq!(lines, Vec::<String>::new(), "{}", ended.errors);
    }
    remove_hostile_tree(&root).unwrap();
    assert!(!root.exists());
    let _ = remove_hostile_tree(&copy);
}

#[test]
fn sparse_files_are_read_whole_and_seen_as_sparse() {
    let scratch = tempfile::tempdir().unwrap();
    let file = fs::File::create(scratch.path().join("sparse")).unwrap();
    file.set_len(16 << 20).unwrap();
    fs::write(scratch.path().join("dense"), vec![0; 16 << 20]).unwrap();
    let tree = manifest(scratch.path()).unwrap();
    let (sparse, dense) = (&tree.entries[b"sparse".as_slice()], &tree.entries[b"dense".as_slice()]);
    assert_eq!(sparse.content, dense.content);
    assert!(sparse.allocated_bytes < 1 << 20 && dense.allocated_bytes >= 16 << 20);
}
