//! Hostile names and hostile targets against the writer itself: nothing outside of the target is ever touched.
//!
//! Every case builds a small world (`outside` beside `target`), does one thing through the writer, and compares all of
//! the world that is not the target with what it was, down to the time of the last change of each inode.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::{Node, NodeKind};
use rustix::io::Errno;
use tempfile::TempDir;

use super::attributes::Inode;
use super::content::{write_all, write_with_holes};
use super::folder::{Arrival, Folder, Folders};
use super::metadata;
use super::name::EntryName;
use super::place::{Identity, Place, is_folder};
use super::target::{Descent, Target};

const DESCENTS: [Descent; 2] = [Descent::Beneath, Descent::StepByStep];

/// A folder with a target in it and things beside it that must not change.
struct World {
    top: TempDir,
    before: BTreeMap<PathBuf, String>,
}

impl World {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        let outside = top.path().join("outside");
        std::fs::create_dir_all(outside.join("folder/inner")).unwrap();
        std::fs::create_dir(top.path().join("target")).unwrap();
        std::fs::write(outside.join("secret"), "secret").unwrap();
        std::fs::write(outside.join("folder/file"), "file").unwrap();
        std::os::unix::fs::symlink("secret", outside.join("link")).unwrap();
        let mut world = Self { top, before: BTreeMap::new() };
        world.remember();
        world
    }

    /// What is outside now is what has to stay.
    fn remember(&mut self) {
        self.before = self.outside();
    }

    fn target(&self) -> PathBuf {
        self.top.path().join("target")
    }

    fn folders(&self, descent: Descent) -> Folders {
        Folders::new(Target::open(&self.target()).unwrap().with_descent(descent))
    }

    /// Everything that is not below the target, with what would show a write.
    fn outside(&self) -> BTreeMap<PathBuf, String> {
        let mut seen = BTreeMap::new();
        let mut open = vec![self.top.path().to_owned()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let data = std::fs::symlink_metadata(&path).unwrap();
                let content = if data.is_file() { std::fs::read_to_string(&path).unwrap() } else { String::new() };
                if path == self.target() {
                    seen.insert(path, format!("{:o}", data.mode()));
                    continue;
                }
                let changed = (data.ctime(), data.ctime_nsec());
                seen.insert(path.clone(), format!("{:o} {} {changed:?} {content}", data.mode(), data.nlink()));
                if data.is_dir() {
                    open.push(path);
                }
            }
        }
        seen
    }

    fn assert_untouched(&self, case: &str) {
        assert_eq!(self.outside(), self.before, "outside of the target after: {case}");
    }
}

/// Names that are no single component, and what a careless program would make of them.
fn unsafe_names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> =
        ["", ".", "..", "/", "//", "/etc", "../outside", "../outside/secret", "a/b", "a/", "/a", "./a"]
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
    for middle in ["/", "/../", "/./", "//", "\0", "\0/", "/\0"] {
        for (before, after) in
            [("a", "b"), ("", "b"), ("a", ""), ("..", "outside"), ("a", ".."), (".", ".."), ("..", "..")]
        {
            names.push(format!("{before}{middle}{after}").into_bytes());
        }
    }
    for depth in 1..12 {
        names.push(format!("{}outside/secret", "../".repeat(depth)).into_bytes());
    }
    names.push([b"/".as_slice(), &[b'a'; 5000]].concat());
    names
}

/// Names that look odd and are single components.
fn odd_names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        "...",
        "..a",
        "a..",
        " ",
        "~",
        "-rf",
        "*",
        "\n",
        "a\\b",
        "..\\outside",
        "%2e%2e",
        "..%2foutside",
        "\u{2025}",
        "\u{ff0f}",
        "C:",
        "\x1b[31m",
    ]
    .iter()
    .map(|name| name.as_bytes().to_vec())
    .collect();
    names.push(b"\xff\xfe".to_vec());
    names.push(b"\xc0\xaf".to_vec()); // an overlong `/`
    names.push(vec![b'x'; 255]);
    names
}

#[test]
fn no_unsafe_name_gets_as_far_as_the_target() {
    let mut world = World::new();
    std::fs::create_dir(world.target().join("a")).unwrap();
    world.remember();
    let names = unsafe_names();
    assert!(names.len() >= 70, "{}", names.len());
    for name in &names {
        assert!(EntryName::check(name).is_err(), "{}", name.escape_ascii());
        for descent in DESCENTS {
            let folders = world.folders(descent);
            let refused =
                folders.at(&folders.top(), name, |_| -> Result<(), Errno> { panic!("the place was reached") });
            assert_eq!(refused, Err(Errno::INVAL));
            assert!(folders.make(&folders.top(), name).is_err());
            assert!(
                folders
                    .descend(std::fs::File::open(world.target()).unwrap().as_fd(), std::slice::from_ref(name))
                    .is_err()
            );
        }
    }
    world.assert_untouched("unsafe names");
    assert_eq!(std::fs::read_dir(world.target()).unwrap().count(), 1);
}

#[test]
fn odd_names_stay_in_their_folder() {
    for descent in DESCENTS {
        let world = World::new();
        let folders = world.folders(descent);
        for name in odd_names() {
            let case = name.escape_ascii().to_string();
            let inner = folders.make(&folders.top(), &name).expect(&case);
            for name in odd_names() {
                folders.at(&inner, &name, |place| place.create_file()).expect(&case);
            }
            world.assert_untouched(&case);
        }
        assert_eq!(std::fs::read_dir(world.target()).unwrap().count(), odd_names().len());
    }
}

#[test]
fn a_name_that_is_too_long_is_an_error_and_nothing_else() {
    let world = World::new();
    let folders = world.folders(Descent::Beneath);
    assert_eq!(folders.at(&folders.top(), &[b'x'; 256], |place| place.create_file()).unwrap_err(), Errno::NAMETOOLONG);
    world.assert_untouched("a long name");
}

/// What stands at the place before anything is written there.
const OBSTACLES: [&str; 17] = [
    "nothing",
    "file",
    "second name of an outside file",
    "link to an outside file",
    "link to an outside folder",
    "link to an outside file that is not there",
    "absolute link to an outside file",
    "absolute link to an outside folder",
    "link to the parent",
    "link to itself",
    "link to the root",
    "pipe",
    "socket",
    "device",
    "empty folder",
    "full folder",
    "folder that may not be written",
];

fn put_obstacle(obstacle: &str, at: &Path, up: &str, outside: &Path) {
    use std::os::unix::fs::symlink;
    let node = |kind| rustix::fs::mknodat(rustix::fs::CWD, at, kind, rustix::fs::Mode::RWXU, 0x0103).unwrap();
    match obstacle {
        "nothing" => {}
        "file" => std::fs::write(at, "old").unwrap(),
        "second name of an outside file" => std::fs::hard_link(outside.join("secret"), at).unwrap(),
        "link to an outside file" => symlink(format!("{up}outside/secret"), at).unwrap(),
        "link to an outside folder" => symlink(format!("{up}outside/folder"), at).unwrap(),
        "link to an outside file that is not there" => symlink(format!("{up}outside/new"), at).unwrap(),
        "absolute link to an outside file" => symlink(outside.join("secret"), at).unwrap(),
        "absolute link to an outside folder" => symlink(outside.join("folder"), at).unwrap(),
        "link to the parent" => symlink("..", at).unwrap(),
        "link to itself" => symlink(at.file_name().unwrap(), at).unwrap(),
        "link to the root" => symlink("/", at).unwrap(),
        "pipe" => node(rustix::fs::FileType::Fifo),
        "socket" => drop(std::os::unix::net::UnixListener::bind(at).unwrap()),
        "device" => node(rustix::fs::FileType::CharacterDevice),
        "empty folder" => std::fs::create_dir(at).unwrap(),
        "full folder" => {
            std::fs::create_dir(at).unwrap();
            symlink(format!("{up}../outside/folder"), at.join("inner")).unwrap();
            std::fs::write(at.join("kept"), "kept").unwrap();
        }
        "folder that may not be written" => {
            std::fs::create_dir(at).unwrap();
            std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o500)).unwrap();
        }
        other => panic!("{other}"),
    }
}

/// What is done at the place.
const DEEDS: [&str; 8] =
    ["folder", "folder and file", "file", "link", "pipe", "device", "further name", "file through an open handle"];

fn node(kind: NodeKind) -> Node {
    Node {
        mode: 0o4755,
        uid: 1,
        gid: 2,
        mtime: format::NodeTime { seconds: 1_000_000_000, nanoseconds: 5, offset_seconds: 0 },
        link_target: Some(b"../outside/secret".to_vec()),
        device: 0x0103,
        extended_attributes: vec![(b"user.test".to_vec(), b"value".to_vec())],
        ..Node::new("name", kind)
    }
}

/// Does one deed as the restore does it, metadata and all.
fn act(deed: &str, folders: &Folders, folder: &Arc<Folder>) -> Result<(), Errno> {
    let special = |kind| {
        let node = node(kind);
        let pinned = folders.at(folder, b"name", |place| {
            place.create_special(&node)?;
            place.pin()
        })?;
        metadata::apply(Inode::Pinned(pinned.as_fd()), &node, true);
        Ok(())
    };
    let write = |folder: &Folder, name: &[u8]| {
        let file = folders.at(folder, name, |place| place.create_file())?;
        write_all(&file, 0, b"new content")?;
        metadata::apply(Inode::Open(file.as_fd()), &node(NodeKind::File), true);
        Ok(())
    };
    match deed {
        "folder" => {
            let made = folders.make(folder, b"name")?;
            metadata::apply(Inode::Pinned(folders.open(&made)?.as_fd()), &node(NodeKind::Dir), true);
            Ok(())
        }
        "folder and file" => write(&*folders.make(folder, b"name")?, b"inner"),
        "file" => write(folder, b"name"),
        "link" => special(NodeKind::Symlink),
        "pipe" => special(NodeKind::Fifo),
        "device" => special(NodeKind::CharDevice),
        "further name" => {
            folders.at(folder, b"first", |place| place.create_file())?;
            folders.at(folder, b"first", |first| folders.at(folder, b"name", |place| place.link_from(&first)))
        }
        "file through an open handle" => {
            // As when content is compared first: only a regular file with one name may be written in place.
            let found = folders.at(folder, b"name", |place| place.stat())?;
            match found {
                Some(stat) if super::place::is_file(&stat) && stat.st_nlink == 1 => {
                    let access = rustix::fs::OFlags::RDWR;
                    let file = folders.at(folder, b"name", |place| place.open_file(Identity::of(&stat), access))?;
                    write_all(&file, 0, b"new content")
                }
                _ => write(folder, b"name"),
            }
        }
        other => panic!("{other}"),
    }
}

#[test]
fn whatever_stands_there_nothing_outside_is_touched() {
    let mut cases = 0;
    for obstacle in OBSTACLES {
        for deed in DEEDS {
            for descent in DESCENTS {
                for depth in [0, 2] {
                    let case = format!("{deed} onto {obstacle}, {depth} folders deep, {descent:?}");
                    check_obstacle(obstacle, deed, descent, depth, &case);
                    cases += 1;
                }
            }
        }
    }
    assert!(cases >= 300, "{cases}");
}

fn check_obstacle(obstacle: &str, deed: &str, descent: Descent, depth: usize, case: &str) {
    let mut world = World::new();
    let mut path = world.target();
    (0..depth).for_each(|level| path.push(format!("level{level}")));
    std::fs::create_dir_all(&path).unwrap();
    let at = path.join("name");
    put_obstacle(obstacle, &at, &"../".repeat(depth + 1), &world.top.path().join("outside"));
    world.remember();

    let folders = world.folders(descent);
    let folder = (0..depth)
        .fold(folders.top(), |folder, level| folders.make(&folder, format!("level{level}").as_bytes()).unwrap());
    let end = act(deed, &folders, &folder);
    // A file outside loses its second name when that is replaced: its link count and ctime say so, nothing else may.
    if obstacle == "second name of an outside file" {
        let secret = world.top.path().join("outside/secret");
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret", "{case}");
        let data = std::fs::metadata(&secret).unwrap();
        assert_eq!(
            (data.mode() & 0o7777, data.nlink(), data.uid()),
            (0o644, 1, rustix::process::geteuid().as_raw()),
            "{case}"
        );
        assert_ne!(data.mtime(), 1_000_000_000, "{case}");
    } else {
        world.assert_untouched(case);
    }
    let is_folder_deed = deed.starts_with("folder");
    let stands = std::fs::symlink_metadata(&at);
    match obstacle {
        "full folder" if !is_folder_deed => {
            assert!(end.is_err(), "{case}");
            assert_eq!(std::fs::read_to_string(at.join("kept")).unwrap(), "kept", "{case}");
        }
        _ => {
            end.unwrap_or_else(|error| panic!("{case}: {error}"));
            let kind = stands.unwrap().file_type();
            assert_eq!(kind.is_dir(), is_folder_deed, "{case}");
            assert_eq!(kind.is_symlink(), deed == "link", "{case}");
        }
    }
}

#[test]
fn a_link_in_the_middle_of_a_path_is_never_followed() {
    for descent in DESCENTS {
        for link in ["../outside", "../outside/folder", "..", ".", "/", "loop", "real"] {
            let mut world = World::new();
            std::fs::create_dir_all(world.target().join("real/folder/inner")).unwrap();
            std::os::unix::fs::symlink(link, world.target().join("loop")).unwrap();
            world.remember();
            let target = Target::open(&world.target()).unwrap().with_descent(descent);
            let names: Vec<_> =
                [b"loop".as_slice(), b"folder", b"inner"].iter().map(|n| EntryName::check(n).unwrap()).collect();
            for length in 1..=3 {
                let end = target.folder(target.root(), &names[..length]).map(drop);
                assert!(matches!(end, Err(Errno::LOOP | Errno::NOTDIR)), "{link}, {length}: {end:?}");
            }
            world.assert_untouched(link);
        }
    }
}

#[test]
fn a_folder_that_becomes_a_link_meanwhile_is_noticed() {
    for descent in DESCENTS {
        let mut world = World::new();
        let folders = world.folders(descent);
        let inner = folders.make(&folders.make(&folders.top(), b"a").unwrap(), b"folder").unwrap();
        std::fs::remove_dir_all(world.target().join("a")).unwrap();
        std::os::unix::fs::symlink("../outside", world.target().join("a")).unwrap();
        world.remember();
        // Nothing is open any more, so the way is gone anew, and ends at the link.
        let again = world.folders(descent);
        let copy = again_below(&again, &[b"a", b"folder"]);
        let end = copy.and_then(|folder| again.at(&folder, b"file", |place| place.create_file()).map(drop));
        assert!(end.is_err() || !world.target().join("a").is_symlink(), "{end:?}");
        // What was open leads to the folder that was removed, never to what has its name now.
        assert!(folders.at(&inner, b"file", |place| place.create_file()).is_err());
        world.assert_untouched("a folder that became a link");
    }
}

/// A folder record whose parents are believed to be folders, as after they were evicted from the open ones.
fn again_below(folders: &Folders, names: &[&[u8]]) -> Result<Arc<Folder>, Errno> {
    Ok(names.iter().fold(folders.top(), |parent, name| folders.foresee(&parent, name)))
}

#[test]
fn paths_longer_than_the_system_allows() {
    for descent in DESCENTS {
        let world = World::new();
        let folders = world.folders(descent);
        let name = [b'd'; 200];
        // More levels than folders are kept open, and far more bytes than one call resolves.
        let deepest = (0..400).fold(folders.top(), |folder, _| folders.make(&folder, &name).unwrap());
        let file = folders.at(&deepest, b"file", |place| place.create_file()).unwrap();
        write_all(&file, 0, b"deep").unwrap();
        assert_eq!(deepest.path_of(b"file").as_os_str().len(), 400 * 201 + 5);
        // From the top again, with nothing open.
        let names = vec![name.to_vec(); 400];
        let open =
            world.folders(descent).descend(std::fs::File::open(world.target()).unwrap().as_fd(), &names).unwrap();
        let place = Place::new(open.as_fd(), EntryName::check(b"file").unwrap());
        assert_eq!(place.stat().unwrap().unwrap().st_size, 4);
        drop(deepest);
        std::process::Command::new("rm").arg("-rf").arg(world.target()).status().unwrap();
    }
}

#[test]
fn a_chain_of_folders_of_any_length_can_be_dropped() {
    let mut folder = Arc::new(Folder::absent());
    for _ in 0..1_000_000 {
        folder = Arc::new(Folder::absent_in(&folder, b"x"));
    }
    assert_eq!(folder.arrival, Arrival::Absent);
    drop(folder);
}

#[test]
fn holes_are_left_where_zeros_would_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut content = vec![0_u8; 3 << 20];
    content[5] = 1;
    content[(1 << 20) + 4095] = 2;
    *content.last_mut().unwrap() = 3;
    for (name, offset) in [("even", 0_usize), ("odd", 4097), ("short", 1)] {
        let path = folder.path().join(name);
        let file = std::fs::File::create(&path).unwrap();
        file.set_len((offset + content.len()) as u64).unwrap();
        // In pieces whose ends are no block's ends, as chunks are.
        let mut at = offset;
        for piece in content.chunks(700_001) {
            write_with_holes(&file, at as u64, piece).unwrap();
            at += piece.len();
        }
        assert_eq!(std::fs::read(&path).unwrap()[offset..], content, "{name}");
        let used = std::fs::metadata(&path).unwrap().blocks() * 512;
        assert!(used <= 64 << 10, "{name} uses {used} bytes");
    }
}

#[test]
fn metadata_in_full() {
    let world = World::new();
    let folders = world.folders(Descent::Beneath);
    let is_root = rustix::process::geteuid().is_root();
    for kind in [NodeKind::File, NodeKind::Dir, NodeKind::Symlink, NodeKind::Fifo] {
        let mut wanted = node(kind);
        wanted.atime = format::NodeTime { seconds: -100, nanoseconds: 999_999_999, offset_seconds: 0 };
        if !is_root {
            (wanted.uid, wanted.gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        }
        if matches!(kind, NodeKind::Symlink | NodeKind::Fifo) {
            wanted.extended_attributes.clear();
        }
        let name = kind.word().as_bytes();
        match kind {
            NodeKind::File => drop(folders.at(&folders.top(), name, |place| place.create_file()).unwrap()),
            NodeKind::Dir => drop(folders.make(&folders.top(), name).unwrap()),
            _ => folders.at(&folders.top(), name, |place| place.create_special(&wanted)).unwrap(),
        }
        let pinned = folders.at(&folders.top(), name, |place| place.pin()).unwrap();
        let outcome = metadata::apply(Inode::Pinned(pinned.as_fd()), &wanted, true);
        assert_eq!(outcome, metadata::Outcome::default(), "{kind:?}");
        let stat = rustix::fs::fstat(&pinned).unwrap();
        assert_eq!((stat.st_uid, stat.st_gid), (wanted.uid, wanted.gid), "{kind:?}");
        assert_eq!((stat.st_mtime, stat.st_mtime_nsec as u32), (1_000_000_000, 5), "{kind:?}");
        assert_eq!((stat.st_atime, stat.st_atime_nsec as u32), (-100, 999_999_999), "{kind:?}");
        if kind != NodeKind::Symlink {
            assert_eq!(stat.st_mode & 0o7777, 0o4755, "{kind:?}");
        }
        assert_eq!(is_folder(&stat), kind == NodeKind::Dir);
    }
    world.assert_untouched("metadata");
}

#[test]
fn an_owner_that_no_file_can_have_is_a_fault_and_withholds_set_uid() {
    let world = World::new();
    let folders = world.folders(Descent::Beneath);
    let file = folders.at(&folders.top(), b"file", |place| place.create_file()).unwrap();
    let outcome = metadata::apply(Inode::Open(file.as_fd()), &Node { uid: u32::MAX, ..node(NodeKind::File) }, false);
    assert_eq!(outcome.faults.len(), 1, "{:?}", outcome.faults);
    assert_eq!(rustix::fs::fstat(&file).unwrap().st_mode & 0o7777, 0o755);
}
