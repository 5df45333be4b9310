//! Snapshots made to hurt: names that lead elsewhere, folders in themselves, entries that disagree with each other.
//!
//! Each is sealed and indexed like any other, as somebody with the key could do. Restoring it ends with a report or an
//! error, and nothing beside the target changes.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::os::unix::fs::symlink;

use format::{BlobKind, FileKind, FileName, IndexFile, IndexedPack, Node, NodeKind, PackWriter, Snapshot, Tree};
use model::{Id, Verdict};
use repository::backup::backup;
use repository::restore::{RestoreReport, RestoreRequest, restore};
use repository::{Repository, TroubleKind};
use room::Room;
use testkit::{Manifest, manifest};

/// A repository into which listings are put by hand.
struct Forge {
    room: Room,
    repository: Repository,
    template: Snapshot,
    pack: PackWriter,
}

impl Forge {
    fn new() -> Self {
        let room = Room::new();
        let source = room.path("source");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("file"), "file").unwrap();
        let repository = room.init(&["a"]);
        let template = backup(&repository, &room.request(&[&source])).unwrap().snapshot;
        std::fs::create_dir_all(room.path("world/target")).unwrap();
        std::fs::create_dir_all(room.path("world/outside/folder")).unwrap();
        std::fs::write(room.path("world/outside/secret"), "secret").unwrap();
        Self { room, repository, template, pack: PackWriter::new() }
    }

    fn blob(&mut self, kind: BlobKind, plain: &[u8]) -> Id {
        let id = format::hash(plain);
        if !self.pack.blobs().iter().any(|blob| blob.kind == kind && blob.id == id) {
            self.pack.push(self.repository.master(), kind, id, plain, None).unwrap();
        }
        id
    }

    fn tree(&mut self, nodes: Vec<Node>) -> Id {
        self.blob(BlobKind::Tree, &Tree { nodes }.to_bytes())
    }

    /// Stores what was put together and restores the tree `top`.
    fn restore(&mut self, top: Id) -> repository::Result<RestoreReport> {
        if !self.pack.is_empty() {
            let pack = std::mem::take(&mut self.pack).finish(self.repository.master()).unwrap();
            let copies = self.repository.copies();
            copies.write_each(FileName::pack(pack.id), &pack.bytes.into()).unwrap();
            let listed = IndexedPack { id: pack.id, blobs: pack.blobs };
            let index = IndexFile { packs: vec![listed], ..IndexFile::default() };
            let (name, bytes) = self.repository.seal_file(FileKind::Index, &index.to_bytes());
            copies.write_each(name, &bytes).unwrap();
        }
        let snapshot = Snapshot { tree: top, ..self.template.clone() };
        let request =
            RestoreRequest { target: self.room.path("world/target"), verify: true, ..RestoreRequest::default() };
        let indexed = self.repository.indexed()?;
        restore(&indexed, &snapshot, &request, self.room.witness.as_ref())
    }

    /// Everything beside the target.
    fn outside(&self) -> Manifest {
        manifest(self.room.path("world")).unwrap().without(|path, _| path == b"target")
    }

    fn empty_target(&self) {
        for entry in std::fs::read_dir(self.room.path("world/target")).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

fn node(name: &[u8], kind: NodeKind) -> Node {
    let mut node = Node::new(name, kind);
    node.mode = 0o755;
    (node.uid, node.gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    node
}

fn folder(name: &[u8], subtree: Id) -> Node {
    Node { subtree: Some(subtree), ..node(name, NodeKind::Dir) }
}

fn link(name: &[u8], target: &[u8]) -> Node {
    Node { link_target: Some(target.to_vec()), ..node(name, NodeKind::Symlink) }
}

fn file(name: &[u8], content: &[Id], size: u64) -> Node {
    Node { content: Some(content.to_vec()), size, ..node(name, NodeKind::File) }
}

const NAMES: [&[u8]; 24] = [
    b"",
    b".",
    b"..",
    b"/",
    b"//",
    b"../outside/planted",
    b"../../planted",
    b"../../../../../../../../tmp/planted",
    b"/planted",
    b"/tmp/planted",
    b"a/b",
    b"a/../../outside/planted",
    b"./planted",
    b"a/",
    b"a/.",
    b"a/..",
    b"..\0",
    b"\0",
    b"planted\0",
    b"\0/../outside",
    b"../outside/secret",
    b"../outside/folder",
    b"../target",
    b".././outside/secret",
];

/// A name, the kind of entry that has it, where in the snapshot it stands, and what stands in the target: more than
/// 300 cases, of which none touches anything outside.
#[test]
fn no_name_leads_out_of_the_target() {
    let mut forge = Forge::new();
    let content = forge.blob(BlobKind::Data, b"planted");
    let leaf = forge.tree(vec![file(b"planted", &[content], 7)]);
    let before = forge.outside();
    let mut cases = 0;
    for name in NAMES {
        let kinds = [
            file(name, &[content], 7),
            folder(name, leaf),
            link(name, b"../outside/secret"),
            node(name, NodeKind::Fifo),
            Node { links: 2, inode: 7, device_id: 7, ..file(name, &[content], 7) },
        ];
        for bad in kinds {
            for depth in 0..3 {
                let good = file(b"zz-good", &[content], 7);
                let mut tree = forge.tree(vec![bad.clone(), good.clone()]);
                for _ in 0..depth {
                    tree = forge.tree(vec![folder(b"level", tree), good.clone()]);
                }
                forge.empty_target();
                let case = format!("`{}` as {}, depth {depth}", name.escape_ascii(), bad.kind.word());
                match forge.restore(tree) {
                    Ok(report) => {
                        assert!(depth > 0, "{case}");
                        assert!(report.failed_count >= 1, "{case}: {report:?}");
                        assert_eq!(report.verdict(), Verdict::Partial, "{case}");
                        // What is beside the bad listing is restored all the same.
                        let good = forge.room.path("world/target/zz-good");
                        assert_eq!(std::fs::read(good).unwrap(), b"planted", "{case}");
                    }
                    Err(error) => assert!(depth == 0 && error.to_string().contains("unsafe name"), "{case}: {error}"),
                }
                let difference = Manifest::difference(&before, &forge.outside());
                assert!(difference.is_empty(), "{case}: {difference:?}");
                cases += 1;
            }
        }
    }
    assert!(cases >= 300, "{cases}");
    assert!(!std::path::Path::new("/planted").exists() && !std::path::Path::new("/tmp/planted").exists());
}

#[test]
fn a_link_and_then_something_in_it() {
    // Two entries of one name cannot be in a listing; a link from an earlier restore can be in the target.
    let mut forge = Forge::new();
    let content = forge.blob(BlobKind::Data, b"planted");
    let inner = forge.tree(vec![file(b"secret", &[content], 7)]);
    let first = forge.tree(vec![link(b"way", b"../outside")]);
    let second = forge.tree(vec![folder(b"way", inner)]);
    let twice = forge.tree(vec![link(b"way", b"../outside"), folder(b"way", inner)]);
    let before = forge.outside();
    assert_eq!(forge.restore(first).unwrap().others, 1);
    assert_eq!(forge.restore(second).unwrap().files, 1);
    assert_eq!(std::fs::read(forge.room.path("world/target/way/secret")).unwrap(), b"planted");
    assert!(forge.restore(twice).is_err());
    assert_eq!(Manifest::difference(&before, &forge.outside()), Vec::<String>::new());
    // And back: a folder that is not empty is not replaced by a link.
    let report = forge.restore(first).unwrap();
    assert_eq!((report.failed_count, report.failed[0].kind), (1, TroubleKind::Unwritable));
}

#[test]
fn files_that_are_one_file_on_a_false_word_stay_apart() {
    let mut forge = Forge::new();
    let (one, two) = (forge.blob(BlobKind::Data, b"one"), forge.blob(BlobKind::Data, b"two"));
    let claim = |node: Node| Node { links: 3, inode: 9, device_id: 9, ..node };
    let top = forge.tree(vec![
        claim(file(b"a", &[one], 3)),
        claim(file(b"b", &[two], 3)),
        claim(link(b"c", b"a")),
        claim(file(b"d", &[one], 3)),
    ]);
    let report = forge.restore(top).unwrap();
    assert_eq!(report.verdict(), Verdict::Ok, "{report:?}");
    let read = |name: &str| std::fs::read(forge.room.path("world/target").join(name)).unwrap();
    assert_eq!((read("a"), read("b"), read("d")), (b"one".to_vec(), b"two".to_vec(), b"one".to_vec()));
    let inode = |name: &str| {
        use std::os::unix::fs::MetadataExt;
        std::fs::symlink_metadata(forge.room.path("world/target").join(name)).unwrap().ino()
    };
    assert!(inode("a") == inode("d") && inode("a") != inode("b") && inode("a") != inode("c"));
}

#[test]
fn entries_that_disagree_with_themselves() {
    let mut forge = Forge::new();
    let content = forge.blob(BlobKind::Data, b"content");
    let lost = format::hash(b"nobody has this");
    let unlisted = format::hash(b"nor this");
    let odd = vec![
        Node { content: None, ..node(b"01 no content", NodeKind::File) },
        file(b"02 lost chunk", &[content, lost], 99),
        file(b"03 wrong size", &[content], 8_000_000_000_000),
        Node { subtree: None, ..node(b"04 no listing", NodeKind::Dir) },
        folder(b"05 lost listing", unlisted),
        link(b"06 empty link", b""),
        link(b"07 long link", &[b'x'; 5000]),
        link(b"08 link with a zero byte", b"a\0b"),
        Node { uid: u32::MAX, ..file(b"09 nobody's", &[content], 7) },
        Node {
            extended_attributes: vec![(b"user.\0x".to_vec(), b"v".to_vec())],
            ..file(b"10 odd attribute", &[content], 7)
        },
        node(b"11 irregular", NodeKind::Irregular),
        Node { content: Some(vec![content]), ..node(b"12 pipe with content", NodeKind::Fifo) },
        folder(&[b'n'; 300], unlisted),
        file(b"zz-good", &[content], 7),
    ];
    let top = forge.tree(odd);
    let report = forge.restore(top).unwrap();
    let named = |troubles: &[repository::Trouble]| -> Vec<String> {
        troubles.iter().map(|t| t.path.display().to_string().chars().skip(1).take(2).collect()).collect()
    };
    assert_eq!(named(&report.failed), ["01", "02", "04", "05", "06", "07", "08", "nn"], "{:#?}", report.failed);
    assert_eq!(named(&report.warnings), ["03", "09", "10", "11"], "{:#?}", report.warnings);
    assert_eq!(report.verdict(), Verdict::Partial);
    let target = forge.room.path("world/target");
    for present in ["03 wrong size", "09 nobody's", "10 odd attribute", "zz-good"] {
        assert_eq!(std::fs::read(target.join(present)).unwrap(), b"content", "{present}");
    }
    assert!(!target.join("02 lost chunk").exists());
}

#[test]
fn folders_too_deep_for_anyone() {
    let mut forge = Forge::new();
    let content = forge.blob(BlobKind::Data, b"deep");
    let mut tree = forge.tree(vec![file(b"file", &[content], 4)]);
    for _ in 0..9000 {
        tree = forge.tree(vec![folder(b"d", tree)]);
    }
    let report = forge.restore(tree).unwrap();
    assert_eq!((report.failed_count, report.failed[0].kind), (1, TroubleKind::Unsafe));
    assert_eq!((report.directories, report.files), (8191, 0));
    // Deeper than a program that removes by recursion can go.
    let removed = std::process::Command::new("rm").arg("-rf").arg(forge.room.path("world/target/d")).status();
    assert!(removed.unwrap().success());
}

#[test]
fn what_stands_in_the_target_is_not_written_through() {
    let mut forge = Forge::new();
    let content = forge.blob(BlobKind::Data, b"planted");
    let inner = forge.tree(vec![file(b"secret", &[content], 7)]);
    let names = ["file", "folder", "dangling", "pipe", "link"];
    let mut nodes: Vec<Node> = names.iter().map(|name| file(name.as_bytes(), &[content], 7)).collect();
    nodes.push(folder(b"way", inner));
    nodes.sort_by(|left, right| left.name.cmp(&right.name));
    let top = forge.tree(nodes);
    let target = forge.room.path("world/target");
    let before = forge.outside();
    symlink("../outside/secret", target.join("file")).unwrap();
    symlink("../outside/folder", target.join("folder")).unwrap();
    symlink("../outside/new", target.join("dangling")).unwrap();
    symlink("/", target.join("link")).unwrap();
    symlink("../outside", target.join("way")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, target.join("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let report = forge.restore(top).unwrap();
    assert_eq!((report.verdict(), report.files), (Verdict::Ok, 6), "{report:?}");
    assert_eq!(Manifest::difference(&before, &forge.outside()), Vec::<String>::new());
    for name in names {
        assert!(target.join(name).symlink_metadata().unwrap().is_file(), "{name}");
    }
}
