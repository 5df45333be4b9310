//! What `ls`, `find`, `diff`, `dump` and `stats` say is what restic says of the same repository, and what is damaged
//! is told and never made up.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use destinations::Destination;
use format::{BlobKind, FileKind, ScryptCost, Snapshot};
use model::{Id, Secret};
use repository::browse::{
    ArchiveKind, DiffRequest, DumpRequest, FindRequest, Found, LsItem, LsRequest, StatsMode, Wanted, diff, dump, find,
    folder, ls, stats,
};
use repository::filter::{PatternList, Selection};
use repository::{Error, Indexed, InitRequest, Repository};
use room::{PASSWORD, Room, small_tree};
use serde_json::Value;
use testkit::{MemoryFolder, Random, seed};

/// Two snapshots by restic of a tree that changed in every way between them. None without restic.
fn by_restic(room: &Room, version: u32) -> Option<(PathBuf, Vec<(Id, Snapshot)>)> {
    let (_, restic) = testkit::components::every_restic().pop()?;
    room.restic(&restic, "r", &["init", "--repository-version", &version.to_string()]);
    let source = room.path("source");
    small_tree(&source);
    std::fs::create_dir_all(source.join("gone/inner")).unwrap();
    std::fs::write(source.join("gone/inner/file"), b"gone").unwrap();
    std::fs::write(source.join("becomes-folder"), b"file").unwrap();
    std::fs::hard_link(source.join("inner/file-7"), source.join("second-name")).unwrap();
    std::fs::write(source.join("name with \"quotes\" and ü"), b"1").unwrap();
    room.restic(&restic, "r", &["backup", "source", "--host", "one"]);
    std::fs::remove_dir_all(source.join("gone")).unwrap();
    std::fs::remove_file(source.join("becomes-folder")).unwrap();
    std::fs::create_dir(source.join("becomes-folder")).unwrap();
    std::fs::write(source.join("becomes-folder/new"), b"new").unwrap();
    std::fs::write(source.join("inner/file-3"), b"changed").unwrap();
    std::fs::set_permissions(source.join("inner/file-4"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::copy(source.join("inner/deep/large"), source.join("large-twin")).unwrap();
    room.restic(&restic, "r", &["backup", "source", "--host", "two"]);
    let snapshots = room.open(&["r"]).snapshots().unwrap().snapshots;
    assert_eq!(snapshots.len(), 2);
    Some((restic, snapshots))
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn ls_lists_what_restic_lists() {
    let room = Room::new();
    let Some((restic, snapshots)) = by_restic(&room, 2) else { return };
    let repository = room.open(&["r"]);
    let indexed = repository.indexed().unwrap();
    for (id, snapshot) in &snapshots {
        for (paths, recursive) in [
            (vec![], false),
            (vec!["/source"], false),
            (vec!["/source"], true),
            (vec!["/source/inner", "/source/link"], false),
            (vec!["/source/inner/"], true),
            (vec!["/sour"], true),
        ] {
            let hex = id.to_hex();
            let mut arguments = vec!["ls", "--json", &hex];
            arguments.extend(&paths);
            arguments.extend(recursive.then_some("--recursive"));
            let theirs: Vec<(String, String, Option<u64>, u64)> = json_lines(&room.restic(&restic, "r", &arguments))
                .iter()
                .filter(|line| line["message_type"] == "node")
                .map(|node| {
                    let text = |name: &str| node[name].as_str().unwrap().to_owned();
                    (text("path"), text("type"), node["size"].as_u64(), node["inode"].as_u64().unwrap_or_default())
                })
                .collect();
            let request = LsRequest {
                paths: paths.iter().map(|path| path.as_bytes().to_vec()).collect(),
                recursive,
                ..LsRequest::default()
            };
            let mut ours = Vec::new();
            let report = ls(&indexed, &snapshot.tree, &request, &mut |item| {
                if let LsItem::Entry { path, node, is_way: false } = item {
                    let size = (node.kind == format::NodeKind::File).then_some(node.size);
                    ours.push((
                        String::from_utf8(path.to_vec()).unwrap(),
                        node.kind.word().to_owned(),
                        size,
                        node.inode,
                    ));
                }
                Ok(())
            })
            .unwrap();
            assert_eq!(ours, theirs, "{paths:?} {recursive}");
            assert_eq!(report.not_found.len(), usize::from(paths == ["/sour"]));
        }
    }
}

#[test]
fn find_finds_what_restic_finds() {
    let room = Room::new();
    let Some((restic, mut snapshots)) = by_restic(&room, 2) else { return };
    snapshots.reverse();
    let repository = room.open(&["r"]);
    let indexed = repository.indexed().unwrap();
    for patterns in [vec!["file-1*"], vec!["inner"], vec!["/source/*"], vec!["new", "gone"], vec!["nothing"]] {
        let mut arguments = vec!["find", "--json"];
        arguments.extend(&patterns);
        let theirs: Value = serde_json::from_str(&room.restic(&restic, "r", &arguments)).unwrap();
        let mut expected: BTreeSet<(String, String)> = BTreeSet::new();
        for group in theirs.as_array().unwrap() {
            for found in group["matches"].as_array().unwrap() {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                expected.insert((text(&group["snapshot"]), text(&found["path"])));
            }
        }
        let selection = Selection { include: PatternList::new(&patterns).unwrap(), ..Selection::default() };
        let request = FindRequest { wanted: Wanted::Entries { selection, oldest: None, newest: None } };
        let mut ours = BTreeSet::new();
        let report = find(&indexed, &snapshots, &request, &mut |found| {
            if let Found::Entry { snapshot, path, .. } = found {
                ours.insert((snapshot.to_hex(), String::from_utf8(path.to_vec()).unwrap()));
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(ours, expected, "{patterns:?}");
        assert_eq!((report.hits, report.snapshots), (ours.len() as u64, 2));
    }
    // Objects: every blob of a data pack, as restic finds them.
    let (_, blob, location) = indexed.index.iter().find(|(kind, ..)| *kind == BlobKind::Data).unwrap();
    for (option, wanted, id) in [
        ("--blob", Wanted::Blobs(vec![blob.short()]), blob),
        ("--pack", Wanted::Packs(vec![location.pack.to_hex()]), location.pack),
    ] {
        let theirs: Value =
            serde_json::from_str(&room.restic(&restic, "r", &["find", "--json", option, &id.to_hex()])).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut expected: Vec<_> = theirs
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| ["object_type", "id", "path", "parent_tree", "snapshot"].map(|name| text(&hit[name])))
            .collect();
        let mut ours = Vec::new();
        find(&indexed, &snapshots, &FindRequest { wanted }, &mut |found| {
            if let Found::Object { snapshot, kind, id, path, parent_tree } = found {
                let kind = if kind == BlobKind::Data { "blob" } else { "tree" };
                let parent = parent_tree.map(Id::to_hex).unwrap_or_default();
                let path = String::from_utf8(path.to_vec()).unwrap();
                ours.push([kind.to_owned(), id.to_hex(), path, parent, snapshot.to_hex()]);
            }
            Ok(())
        })
        .unwrap();
        expected.sort();
        ours.sort();
        assert_eq!(ours, expected, "{option}");
        assert!(!ours.is_empty());
    }
}

#[test]
fn diff_tells_what_restic_tells() {
    let room = Room::new();
    let Some((restic, snapshots)) = by_restic(&room, 2) else { return };
    let repository = room.open(&["r"]);
    let indexed = repository.indexed().unwrap();
    let (one, other) = (&snapshots[0], &snapshots[1]);
    for (before, after) in [(one, other), (other, one), (one, one)] {
        for metadata in [false, true] {
            let (first, second) = (before.0.to_hex(), after.0.to_hex());
            let mut arguments = vec!["diff", "--json", &first, &second];
            arguments.extend(metadata.then_some("--metadata"));
            let mut theirs = json_lines(&room.restic(&restic, "r", &arguments));
            let statistics = theirs.pop().unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let theirs: Vec<_> = theirs.iter().map(|line| (text(&line["modifier"]), text(&line["path"]))).collect();
            let mut ours = Vec::new();
            let report = diff(&indexed, &before.1.tree, &after.1.tree, DiffRequest { metadata }, &mut |change| {
                ours.push((change.modifier.to_owned(), String::from_utf8(change.path.to_vec()).unwrap()));
                Ok(())
            })
            .unwrap();
            assert_eq!(ours, theirs);
            assert_eq!(statistics["changed_files"], report.changed_files);
            for (name, counts) in [("added", report.added), ("removed", report.removed)] {
                let expected = &statistics[name];
                let ours = [
                    ("files", counts.files),
                    ("dirs", counts.dirs),
                    ("others", counts.others),
                    ("data_blobs", counts.data_blobs),
                    ("tree_blobs", counts.tree_blobs),
                    ("bytes", counts.bytes),
                ];
                for (field, number) in ours {
                    assert_eq!(expected[field], number, "{name}.{field} in {statistics}");
                }
            }
        }
    }
}

#[test]
fn stats_count_what_restic_counts() {
    for version in [1, 2] {
        let room = Room::new();
        let Some((restic, snapshots)) = by_restic(&room, version) else { return };
        let repository = room.open(&["r"]);
        let indexed = repository.indexed().unwrap();
        for mode in StatsMode::ALL {
            let theirs = room.restic(&restic, "r", &["stats", "--json", "--mode", mode.word()]);
            let theirs = json_lines(&theirs).pop().unwrap();
            let ours = stats(&indexed, &snapshots, mode).unwrap();
            for (name, number) in [
                ("total_size", ours.total_size),
                ("total_uncompressed_size", ours.total_uncompressed_size),
                ("total_file_count", ours.total_file_count),
                ("total_blob_count", ours.total_blob_count),
                ("snapshots_count", ours.snapshots_count),
            ] {
                assert_eq!(theirs[name].as_u64().unwrap_or_default(), number, "{name} in {theirs}");
            }
            for (name, number) in [
                ("compression_ratio", ours.compression_ratio),
                ("compression_progress", ours.compression_progress),
                ("compression_space_saving", ours.compression_space_saving),
            ] {
                let theirs = theirs[name].as_f64().unwrap_or_default();
                assert!((theirs - number).abs() < 1e-9, "{name}: {number} and {theirs}");
            }
        }
    }
}

/// What a tar archive tells of an entry.
struct TarFacts {
    kind: u8,
    mode: u32,
    seconds: u64,
    link: Vec<u8>,
    content: Vec<u8>,
}

fn tar_entries(bytes: &[u8]) -> BTreeMap<Vec<u8>, TarFacts> {
    let mut archive = tar::Archive::new(bytes);
    let mut entries = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header();
        let facts = TarFacts {
            kind: header.entry_type().as_byte(),
            mode: header.mode().unwrap(),
            seconds: header.mtime().unwrap(),
            link: entry.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default(),
            content,
        };
        entries.insert(entry.path_bytes().into_owned(), facts);
    }
    entries
}

fn zip_entries(bytes: &[u8]) -> BTreeMap<Vec<u8>, (Option<u32>, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    (0..archive.len())
        .map(|number| {
            let mut entry = archive.by_index(number).unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.name_raw().to_vec(), (entry.unix_mode(), content))
        })
        .collect()
}

fn dumped(indexed: &Indexed<'_>, root: &Id, path: &str, archive: Option<ArchiveKind>) -> Vec<u8> {
    let mut out = Vec::new();
    let request = DumpRequest { path: path.as_bytes().to_vec(), archive };
    dump(indexed, root, &request, &mut out).unwrap();
    out
}

#[test]
fn dumps_hold_what_restics_dumps_hold() {
    let room = Room::new();
    let Some((restic, snapshots)) = by_restic(&room, 2) else { return };
    let repository = room.open(&["r"]);
    let indexed = repository.indexed().unwrap();
    let (id, snapshot) = &snapshots[0];
    let theirs = |path: &str, kind: &str| {
        let target = room.path("dumped");
        let arguments = ["dump", "--archive", kind, "--target", target.to_str().unwrap(), &id.to_hex(), path];
        room.restic(&restic, "r", &arguments);
        std::fs::read(target).unwrap()
    };
    for path in ["/", "/source/inner", "/source/gone/"] {
        let ours = dumped(&indexed, &snapshot.tree, path, Some(ArchiveKind::Tar));
        let (ours, theirs_tar) = (tar_entries(&ours), tar_entries(&theirs(path, "tar")));
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs_tar.keys().collect::<Vec<_>>());
        for (ours, theirs) in ours.values().zip(theirs_tar.values()) {
            assert_eq!((ours.kind, ours.mode, &ours.link), (theirs.kind, theirs.mode, &theirs.link));
            // restic rounds to seconds; we tell nanoseconds in the extended header, and cut in the old one.
            let (cut, rounded) = (ours.seconds, theirs.seconds);
            assert!(rounded == cut || rounded == cut + 1, "{cut} {rounded}");
            assert!(ours.content == theirs.content);
        }
        let ours = dumped(&indexed, &snapshot.tree, path, Some(ArchiveKind::Zip));
        let (ours, theirs_zip) = (zip_entries(&ours), zip_entries(&theirs(path, "zip")));
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs_zip.keys().collect::<Vec<_>>());
        for (ours, theirs) in ours.values().zip(theirs_zip.values()) {
            assert_eq!(ours.0, theirs.0);
            assert!(ours.1 == theirs.1);
        }
    }
    let large = "/source/inner/deep/large";
    assert!(
        dumped(&indexed, &snapshot.tree, large, None) == std::fs::read(room.path("source/inner/deep/large")).unwrap()
    );
    let inner = folder(&indexed, &snapshot.tree, b"source/inner").unwrap();
    assert_eq!(dumped(&indexed, &inner, "deep/large", None).len(), 5 << 20);
    assert!(matches!(folder(&indexed, &snapshot.tree, b"/source/link"), Err(Error::Snapshot(_))));
    assert!(matches!(folder(&indexed, &snapshot.tree, b"/nowhere"), Err(Error::Snapshot(_))));
}

/// A repository in memory with one snapshot.
fn in_memory(room: &Room) -> (MemoryFolder, Repository, (Id, Snapshot)) {
    let place = MemoryFolder::new("a");
    let destinations = vec![Arc::new(place.clone()) as Arc<dyn Destination>];
    let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
    let repository =
        Repository::init(destinations, &Secret::from(PASSWORD.to_owned()), &request, room.surroundings()).unwrap();
    small_tree(&room.path("source"));
    room.backup(&repository, std::path::Path::new("source"));
    let snapshot = repository.snapshots().unwrap().snapshots.remove(0);
    (place, repository, snapshot)
}

#[test]
fn damaged_packs_give_typed_errors_and_never_wrong_bytes() {
    let mut random = Random::new(seed("damages that browsing meets"));
    let room = Room::new();
    let (place, repository, (id, snapshot)) = in_memory(&room);
    let indexed = repository.indexed().unwrap();
    let listed = |indexed: &Indexed<'_>| {
        let mut paths = BTreeSet::new();
        let report = ls(indexed, &snapshot.tree, &LsRequest::default(), &mut |item| {
            if let LsItem::Entry { path, .. } = item {
                paths.insert(path.to_vec());
            }
            Ok(())
        });
        (paths, report.unwrap())
    };
    let whole = listed(&indexed).0;
    let archive = dumped(&indexed, &snapshot.tree, "/", Some(ArchiveKind::Tar));
    let expected = stats(&indexed, &[(id, snapshot.clone())], StatsMode::RestoreSize).unwrap().total_size;
    let names = place.names(FileKind::Pack);
    let (mut refused, mut incomplete) = (0, 0);
    for round in 0..200 {
        // Listings that were read a moment ago are remembered; nobody has read any of this one.
        let indexed = repository.indexed().unwrap();
        let name = names[random.index(names.len())];
        let before = place.get(name).unwrap();
        let at = random.index(before.len());
        place.damage(name, |bytes| match round % 8 {
            0 => bytes.truncate(at),
            1 => bytes.clear(),
            _ => bytes[at] ^= 1 << (round % 8),
        });
        let (paths, report) = listed(&indexed);
        assert!(paths.is_subset(&whole));
        assert_eq!(paths == whole, report.unreadable.is_empty());
        incomplete += usize::from(!report.unreadable.is_empty());
        let counted = stats(&indexed, &[(id, snapshot.clone())], StatsMode::RestoreSize).unwrap();
        assert!(counted.total_size == expected || !counted.unreadable.is_empty());
        let mut out = Vec::new();
        let request = DumpRequest { path: b"/".to_vec(), archive: Some(ArchiveKind::Tar) };
        match dump(&indexed, &snapshot.tree, &request, &mut out) {
            Ok(_) => assert!(out == archive),
            Err(Error::Damaged { file, .. }) => {
                assert_eq!(file, name.path());
                assert!(archive.starts_with(&out), "wrong bytes came out before the error");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
        let nothing = format::hash(b"nothing");
        let compared = diff(&indexed, &nothing, &snapshot.tree, DiffRequest::default(), &mut |_| Ok(())).unwrap();
        assert!(!compared.unreadable.is_empty());
        place.put(name, before);
    }
    assert!(refused > 100 && incomplete > 0, "{refused} dumps refused, {incomplete} listings incomplete");
    let indexed = repository.indexed().unwrap();
    assert!(dumped(&indexed, &snapshot.tree, "/", Some(ArchiveKind::Tar)) == archive);
}

#[test]
fn gnu_tar_extracts_our_archive_of_a_hostile_tree() {
    let room = Room::new();
    let place = room.path("hostile");
    testkit::hostile_tree_with(&place, testkit::HostileOptions::quick()).unwrap();
    let _cleanup = Cleanup(place.clone());
    let destinations = vec![Arc::new(MemoryFolder::new("h")) as Arc<dyn Destination>];
    let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
    let repository =
        Repository::init(destinations, &Secret::from(PASSWORD.to_owned()), &request, room.surroundings()).unwrap();
    repository::backup::backup(&repository, &room.request(&[std::path::Path::new("hostile")])).unwrap();
    let (_, snapshot) = repository.snapshots().unwrap().snapshots.remove(0);
    let indexed = repository.indexed().unwrap();
    let archive = room.path("archive.tar");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&archive).unwrap());
    let request = DumpRequest { path: b"/hostile".to_vec(), archive: Some(ArchiveKind::Tar) };
    let report = dump(&indexed, &snapshot.tree, &request, &mut out).unwrap();
    drop(out);
    let mut command = std::process::Command::new("tar");
    command.env("LC_ALL", "C").arg("--list").arg("--quoting-style=escape").arg("--file").arg(&archive);
    let ended = testkit::process::run(&mut command, std::time::Duration::from_secs(60)).unwrap();
    let text = ended.expect_code(0).text();
    assert_eq!(text.lines().count() as u64, report.entries);
    let mut zipped = Vec::new();
    let request = DumpRequest { path: b"/hostile".to_vec(), archive: Some(ArchiveKind::Zip) };
    let zip_report = dump(&indexed, &snapshot.tree, &request, &mut zipped).unwrap();
    assert_eq!(zip_report.bytes, report.bytes);
}

struct Cleanup(PathBuf);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = testkit::remove_hostile_tree(&self.0);
    }
}
