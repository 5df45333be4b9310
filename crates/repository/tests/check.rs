//! Check finds whatever is wrong with a copy, names it, and says what it means; and it finds nothing where nothing is.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use destinations::Destination;
use format::{BlobKind, FileKind, FileName, IndexFile, IndexedPack, PackWriter, ScryptCost, Snapshot};
use model::{FaultKind, Id, Secret, Verdict};
use repository::browse::{ArchiveKind, DumpRequest, LsItem, LsRequest, StatsMode, dump, ls, stats};
use repository::check::{CheckReport, CheckRequest, ReadData, Subset, check};
use repository::{Indexed, InitRequest, Repository};
use room::{PASSWORD, Room, small_tree};
use testkit::{Act, Faulty, MemoryFolder, Operation, Random, Script, Verb, When, seed};

/// A repository with two snapshots in copies in memory.
fn filled(room: &Room, copies: usize) -> (Vec<MemoryFolder>, Repository) {
    let folders: Vec<MemoryFolder> = (0..copies).map(|n| MemoryFolder::new(&format!("{n}"))).collect();
    let destinations = folders.iter().map(|folder| Arc::new(folder.clone()) as Arc<dyn Destination>).collect();
    let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
    let password = Secret::from(PASSWORD.to_owned());
    let repository = Repository::init(destinations, &password, &request, room.surroundings()).unwrap();
    small_tree(&room.path("source"));
    room.backup(&repository, &room.path("source"));
    std::fs::write(room.path("source/inner/later"), b"later").unwrap();
    room.backup(&repository, &room.path("source"));
    (folders, repository)
}

fn request(read: ReadData) -> CheckRequest {
    CheckRequest { read, ..CheckRequest::default() }
}

fn full(repository: &Repository) -> CheckReport {
    check(repository, &request(ReadData::All)).unwrap()
}

fn named(report: &CheckReport) -> Vec<String> {
    let damages = report.copies.iter().flat_map(|copy| &copy.damages);
    damages.map(|finding| finding.damage.to_string()).collect()
}

#[test]
fn a_sound_repository_has_no_findings() {
    let room = Room::new();
    let (folders, repository) = filled(&room, 3);
    for read in [ReadData::No, ReadData::All, ReadData::Subset(Subset::Percent(50.0))] {
        let report = check(&repository, &request(read)).unwrap();
        assert_eq!(report.verdict(), Verdict::Ok, "{:?}", named(&report));
        assert_eq!(report.copies.len(), 3);
        assert!(report.lacking.is_empty());
        for copy in &report.copies {
            let counts = copy.counts;
            assert_eq!(counts, report.copies[0].counts_like(&counts));
            assert_eq!((counts.snapshots, counts.keys, counts.packs_unindexed), (2, 1, 0));
            assert_eq!(counts.packs, folders[0].names(FileKind::Pack).len() as u64);
            assert!(counts.trees >= 8, "{counts:?}");
            assert!(copy.notes.is_empty(), "{:?}", copy.notes);
            if read == ReadData::All {
                assert_eq!(counts.packs_read, counts.packs);
                assert!(counts.bytes_read >= counts.pack_bytes);
            }
        }
    }
    assert!(check(&repository, &CheckRequest { copies: Some(vec![3]), ..CheckRequest::default() }).is_err());
    let one = check(&repository, &CheckRequest { copies: Some(vec![1]), ..CheckRequest::default() }).unwrap();
    assert_eq!(one.copies.len(), 1);
    assert_eq!(one.copies[0].copy, "memory:1");
}

trait CountsLike {
    fn counts_like(&self, other: &repository::check::Counts) -> repository::check::Counts;
}

impl CountsLike for repository::check::CopyReport {
    /// Blobs that another copy has vouched for need no second opening, so that number may be smaller.
    fn counts_like(&self, other: &repository::check::Counts) -> repository::check::Counts {
        repository::check::Counts { blobs_read: other.blobs_read, ..self.counts }
    }
}

/// What holds what: the packs with data only, and the others.
fn packs_by_kind(repository: &Repository) -> (Vec<FileName>, Vec<FileName>) {
    let indexed = repository.indexed().unwrap();
    let mut trees = BTreeSet::new();
    let mut all = BTreeSet::new();
    for (kind, _, location) in indexed.index.iter() {
        all.insert(location.pack);
        if kind == BlobKind::Tree {
            trees.insert(location.pack);
        }
    }
    let data = all.difference(&trees).copied().map(FileName::pack).collect();
    (data, trees.into_iter().map(FileName::pack).collect())
}

/// Damages one file, checks, and puts it back.
fn finding_after(
    repository: &Repository,
    folder: &MemoryFolder,
    name: FileName,
    read: ReadData,
    change: impl FnOnce(&mut Vec<u8>),
) -> CheckReport {
    let before = folder.get(name).unwrap();
    assert!(folder.damage(name, change));
    let report = check(repository, &request(read)).unwrap();
    folder.put(name, before);
    report
}

#[track_caller]
fn names_the_file(report: &CheckReport, name: FileName) {
    let files: Vec<&str> = report.copies[0].damages.iter().map(|finding| finding.damage.file.as_str()).collect();
    assert!(files.contains(&name.path().as_str()), "{} is not among {files:?}", name.path());
    assert_eq!(report.verdict(), Verdict::Failed);
}

#[test]
fn every_flip_cut_and_blanking_of_every_kind_of_file_is_found() {
    let mut random = Random::new(seed("damages that a check finds"));
    let room = Room::new();
    let (folders, repository) = filled(&room, 1);
    let folder = &folders[0];
    let (data, trees) = packs_by_kind(&repository);
    assert!(!data.is_empty() && !trees.is_empty());
    let kinds = [
        (vec![FileName::CONFIG], true),
        (folder.names(FileKind::Key), true),
        (folder.names(FileKind::Snapshot), true),
        (folder.names(FileKind::Index), true),
        (trees, true),
        (data, false),
    ];
    for (names, is_found_without_data) in kinds {
        for round in 0..60 {
            let name = names[random.index(names.len())];
            let length = folder.get(name).unwrap().len();
            let at = random.index(length);
            let damage = |bytes: &mut Vec<u8>| match round % 10 {
                0 => bytes.truncate(at),
                1 => bytes.fill(0),
                2 => bytes.push(0),
                _ => bytes[at] ^= 1 << (round % 8),
            };
            names_the_file(&finding_after(&repository, folder, name, ReadData::All, damage), name);
            // Without reading data, a flip in a data pack is what cannot be seen; its size can.
            let quick = finding_after(&repository, folder, name, ReadData::No, damage);
            if is_found_without_data || matches!(round % 10, 0 | 2) {
                names_the_file(&quick, name);
            } else {
                assert_eq!(quick.errors(), 0, "{:?}", named(&quick));
            }
        }
    }
    assert_eq!(full(&repository).verdict(), Verdict::Ok);
}

#[test]
fn files_that_changed_places_are_found() {
    let room = Room::new();
    let (folders, repository) = filled(&room, 1);
    let folder = &folders[0];
    let mut swaps = 0;
    for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        let names = folder.names(kind);
        for pair in names.windows(2) {
            let (one, other) = (folder.get(pair[0]).unwrap(), folder.get(pair[1]).unwrap());
            folder.put(pair[0], other.clone());
            folder.put(pair[1], one.clone());
            let report = full(&repository);
            names_the_file(&report, pair[0]);
            names_the_file(&report, pair[1]);
            folder.put(pair[0], one);
            folder.put(pair[1], other);
            swaps += 1;
        }
    }
    assert!(swaps >= 3);
}

/// Paths that need something out of `pack`: files with a blob in it, and folders whose listing is in it.
fn needs(indexed: &Indexed<'_>, pack: Id, root: Id) -> BTreeSet<String> {
    let is_lost = |kind, id: &Id| indexed.index.all(kind, id).all(|location| location.pack == pack);
    if is_lost(BlobKind::Tree, &root) {
        return BTreeSet::from(["/".to_owned()]);
    }
    let mut lost: Vec<String> = Vec::new();
    ls(indexed, &root, &LsRequest::default(), &mut |item| {
        if let LsItem::Entry { path, node, .. } = item {
            let path = String::from_utf8(path.to_vec()).unwrap();
            let is_below = lost.iter().any(|folder| path.starts_with(&format!("{folder}/")));
            let folder = node.subtree.is_some_and(|id| is_lost(BlobKind::Tree, &id));
            let file = node.content.iter().flatten().any(|id| is_lost(BlobKind::Data, id));
            if !is_below && (folder || file) {
                lost.push(path);
            }
        }
        Ok(())
    })
    .unwrap();
    lost.into_iter().collect()
}

#[test]
fn a_lost_file_is_named_with_every_snapshot_and_path_that_it_takes_along() {
    let room = Room::new();
    let (folders, repository) = filled(&room, 1);
    let folder = &folders[0];
    let indexed = repository.indexed().unwrap();
    let snapshots = repository.snapshots().unwrap().snapshots;
    let mut paths = 0;
    for name in folder.files().into_keys().filter(|name| name.kind() != FileKind::Lock) {
        let expected: BTreeMap<Id, BTreeSet<String>> = match (name.kind(), name.id()) {
            (FileKind::Pack, Some(pack)) => {
                snapshots.iter().map(|(id, snapshot)| (*id, needs(&indexed, pack, snapshot.tree))).collect()
            }
            _ => BTreeMap::new(),
        };
        let taken = folder.take(name).unwrap();
        let report = full(&repository);
        folder.put(name, taken);
        match name.kind() {
            // A snapshot that is not there is not known to this copy, and an index that is not there makes its packs
            // unknown; both are judged below.
            FileKind::Snapshot => continue,
            FileKind::Index => {
                assert!(report.copies[0].counts.packs_unindexed > 0 || report.errors() > 0);
                continue;
            }
            FileKind::Key => assert!(named(&report)[0].contains("no key"), "{:?}", named(&report)),
            _ => names_the_file(&report, name),
        }
        for (snapshot, lost) in expected {
            let found: BTreeSet<String> = report.copies[0]
                .affected
                .iter()
                .filter(|affected| affected.snapshot == snapshot)
                .map(|affected| String::from_utf8(affected.path.clone()).unwrap())
                .collect();
            assert_eq!(found, lost, "{}", name.path());
            assert_eq!(report.copies[0].affected_snapshots.contains(&snapshot), !lost.is_empty());
            paths += lost.len();
        }
    }
    assert!(paths > 10, "{paths}");
}

#[test]
fn without_any_index_every_snapshot_is_lost() {
    let room = Room::new();
    let (folders, repository) = filled(&room, 2);
    for name in folders[1].names(FileKind::Index) {
        folders[1].take(name);
    }
    let report = full(&repository);
    assert_eq!(report.copies[0].verdict(), Verdict::Ok);
    let second = &report.copies[1];
    assert_eq!(second.affected_snapshots.len(), 2);
    assert_eq!(second.counts.packs_unindexed, second.counts.packs);
    assert!(report.suggest_prune());
    assert_eq!(report.lacking.len(), 1);
    assert_eq!(report.lacking[0].copy, "memory:1");
    assert_eq!(report.lacking[0].files, folders[0].names(FileKind::Index).len() as u64);
}

#[test]
fn a_copy_is_never_helped_by_another() {
    let room = Room::new();
    let (folders, repository) = filled(&room, 3);
    let pack = folders[1].names(FileKind::Pack)[0];
    folders[1].damage(pack, |bytes| bytes[5] ^= 1);
    let snapshot = folders[2].names(FileKind::Snapshot)[0];
    folders[2].take(snapshot);
    let report = full(&repository);
    assert_eq!(
        report.copies.iter().map(|copy| copy.verdict()).collect::<Vec<_>>(),
        [Verdict::Ok, Verdict::Failed, Verdict::Ok]
    );
    assert_eq!(report.broken_packs(), [pack.id().unwrap()]);
    assert_eq!(report.lacking.len(), 1);
    assert_eq!((report.lacking[0].copy.as_str(), report.lacking[0].files), ("memory:2", 1));
    assert_eq!(report.lacking[0].first, [snapshot]);
    assert!(named(&report)[0].contains("on memory:1"), "{:?}", named(&report));
}

#[test]
fn leftovers_and_duplicates_are_counted_and_harmless() {
    let room = Room::new();
    let (folders, repository) = filled(&room, 1);
    let bytes = Bytes::from_static(b"left by a run that was interrupted");
    folders[0].put(FileName::pack(format::hash(&bytes)), bytes.clone());
    let report = full(&repository);
    assert_eq!(report.verdict(), Verdict::Ok);
    assert_eq!(
        (report.copies[0].counts.packs_unindexed, report.copies[0].counts.bytes_unindexed),
        (1, bytes.len() as u64)
    );
    assert_eq!(report.copies[0].notes.len(), 1);
    assert!(report.suggest_prune());
}

#[test]
fn a_part_of_the_packs_is_read_and_groups_add_up() {
    let room = Room::new();
    let (_, repository) = filled(&room, 1);
    let all = full(&repository).copies[0].counts;
    let none = check(&repository, &request(ReadData::No)).unwrap().copies[0].counts;
    assert!(none.packs_read < all.packs_read && none.packs_read > 0);
    let mut read = 0;
    for group in 1..=3 {
        let subset = Subset::Group { group, groups: 3 };
        let report = check(&repository, &request(ReadData::Subset(subset))).unwrap();
        read += report.copies[0].counts.packs_read - none.packs_read;
    }
    assert_eq!(read, all.packs_read - none.packs_read);
    let part = CheckRequest { seed: Some(7), ..request(ReadData::Subset(Subset::Bytes(1))) };
    let report = check(&repository, &part).unwrap();
    assert_eq!(report.seed, 7);
    assert_eq!(report.errors(), 0);
}

/// A repository whose one copy has faults.
fn behind(room: &Room, folder: &MemoryFolder, script: Script) -> (Arc<Faulty<MemoryFolder>>, Repository) {
    let faulty = Arc::new(Faulty::new(Arc::new(folder.clone()), script));
    let repository = room.open_with(vec![faulty.clone() as Arc<dyn Destination>]).unwrap();
    (faulty, repository)
}

/// The numbers of those operations of a full check, past the opening, that are no business of locks and are `meant`.
fn checking(room: &Room, folder: &MemoryFolder, meant: impl Fn(&Operation) -> bool) -> Vec<u64> {
    let (faulty, repository) = behind(room, folder, Script::new(0));
    let opened = faulty.count();
    full(&repository);
    let is_meant = |one: &&Operation| one.number > opened && one.kind != FileKind::Lock && meant(one);
    faulty.operations().iter().filter(is_meant).map(|one| one.number).collect()
}

#[test]
fn a_place_that_dies_midway_is_told_as_that_and_not_as_damage() {
    let room = Room::new();
    let (folders, _) = filled(&room, 1);
    let numbers = checking(&room, &folders[0], |_| true);
    assert!(numbers.len() > 8, "{numbers:?}");
    for number in numbers {
        // The lock of the run before stayed behind in the dead place.
        for lock in folders[0].names(FileKind::Lock) {
            folders[0].take(lock);
        }
        let script = Script::new(0).with(When::At(number), Act::DieBefore);
        let (faulty, repository) = behind(&room, &folders[0], script);
        let report = full(&repository);
        assert!(faulty.is_dead(), "operation {number} never came");
        let copy = &report.copies[0];
        assert_eq!(copy.fault.as_ref().map(|fault| fault.kind), Some(FaultKind::Unreachable), "{number}");
        assert_eq!(copy.errors(), 1, "{number}: {:?}", named(&report));
        assert_eq!(copy.verdict(), Verdict::Failed);
    }
}

#[test]
fn bytes_that_break_on_the_line_once_are_read_again() {
    let room = Room::new();
    let (folders, _) = filled(&room, 1);
    let numbers = checking(&room, &folders[0], |one| one.verb == Verb::Read);
    assert!(numbers.len() > 5, "{numbers:?}");
    for number in numbers {
        let script = Script::new(number).with(When::At(number), Act::FlipBit);
        let (faulty, repository) = behind(&room, &folders[0], script);
        let report = full(&repository);
        assert_eq!(faulty.fired(), 1);
        assert_eq!(report.verdict(), Verdict::Ok, "{:?}", named(&report));
        assert!(report.copies[0].notes[0].contains("read again"), "{:?}", report.copies[0].notes);
    }
}

#[test]
fn what_others_wrote_is_sound_and_what_is_damaged_in_it_is_found() {
    let mut random = Random::new(seed("damages in repositories of others"));
    let room = Room::new();
    small_tree(&room.path("source"));
    let mut places = 0;
    for version in [1, 2] {
        for name in ["0.14", "0.18", "0.19", "rustic"] {
            let place = format!("{name}-v{version}");
            let path = room.path(&place);
            let text = path.to_str().unwrap();
            let writer = match name {
                "rustic" => testkit::Oracle::rustic(text, PASSWORD),
                restic => testkit::Oracle::restic(restic, text, PASSWORD),
            };
            // rustic makes no repositories of version 1.
            let Some(writer) = writer.filter(|_| (name, version) != ("rustic", 1)) else { continue };
            writer.init(version);
            writer.backup(&[&room.path("source")], &[]);
            let repository = room.open(&[&place]);
            let report = full(&repository);
            assert_eq!(report.verdict(), Verdict::Ok, "{place}: {:?}", named(&report));
            assert_eq!(report.copies[0].counts.snapshots, 1);
            let packs = room::files_in(&path.join("data"));
            let (pack, bytes) = packs.iter().nth(random.index(packs.len())).unwrap();
            let pack = path.join("data").join(pack);
            let mut damaged = bytes.clone();
            let at = random.index(bytes.len());
            damaged[at] ^= 16;
            std::fs::remove_file(&pack).unwrap();
            std::fs::write(&pack, &damaged).unwrap();
            let report = full(&repository);
            assert_eq!(report.broken_packs().len(), 1, "{place}: byte {at} of {pack:?}: {:?}", named(&report));
            places += 1;
        }
    }
    eprintln!("repositories of others: {places}");
}

/// Puts trees with these texts into a pack of their own, and a snapshot on top of each.
fn forge(repository: &Repository, folder: &MemoryFolder, trees: &[&[u8]]) -> Vec<Id> {
    let mut writer = PackWriter::new();
    let roots: Vec<Id> = trees.iter().map(|text| format::hash(text)).collect();
    for (id, text) in roots.iter().zip(trees) {
        writer.push(repository.master(), BlobKind::Tree, *id, text, None).unwrap();
    }
    let pack = writer.finish(repository.master()).unwrap();
    folder.put(FileName::pack(pack.id), pack.bytes);
    let packs = vec![IndexedPack { id: pack.id, blobs: pack.blobs }];
    put(repository, folder, FileKind::Index, &IndexFile { packs, ..IndexFile::default() }.to_bytes());
    let (_, model) = repository.snapshots().unwrap().snapshots.remove(0);
    let snapshot_of = |tree: &Id| {
        let snapshot = Snapshot { tree: *tree, ..model.clone() };
        put(repository, folder, FileKind::Snapshot, &snapshot.to_bytes())
    };
    roots.iter().map(snapshot_of).collect()
}

fn put(repository: &Repository, folder: &MemoryFolder, kind: FileKind, plain: &[u8]) -> Id {
    let (name, bytes) = repository.seal_file(kind, plain);
    folder.put(name, bytes);
    name.id().unwrap()
}

#[test]
fn forged_trees_and_indexes_are_refused_by_everything_that_reads_them() {
    let room = Room::new();
    let (folders, repository) = filled(&room, 1);
    let node = |name: &str, rest: &str| format!(r#"{{"nodes":[{{"name":"{name}",{rest}}}]}}"#);
    let file = r#""type":"file","content":[]"#;
    let unknown = "12".repeat(32);
    let texts = [
        node("../up", file),
        node("a/b", file),
        node("..", file),
        node("", file),
        node("nul\\u0000", file),
        format!(r#"{{"nodes":[{{"name":"twice",{file}}},{{"name":"twice",{file}}}]}}"#),
        node("no-tree", r#""type":"dir""#),
        node("no-content", r#""type":"file""#),
        node("unknown-tree", &format!(r#""type":"dir","subtree":"{unknown}""#)),
        node("unknown-blob", &format!(r#""type":"file","content":["{unknown}"]"#)),
        "[]".to_owned(),
        "{".to_owned(),
        "[".repeat(100_000),
    ];
    let trees: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    let forged = forge(&repository, &folders[0], &trees);
    for read in [ReadData::No, ReadData::All] {
        let report = check(&repository, &request(read)).unwrap();
        let mut affected = report.copies[0].affected_snapshots.clone();
        let mut expected = forged.clone();
        affected.sort_unstable();
        expected.sort_unstable();
        assert_eq!(affected, expected, "{:?}", named(&report));
    }
    let indexed = repository.indexed().unwrap();
    for (id, text) in forged.iter().zip(&texts) {
        let snapshot = repository.snapshot(*id).unwrap();
        let mut names = Vec::new();
        let listed = ls(&indexed, &snapshot.tree, &LsRequest::default(), &mut |item| {
            if let LsItem::Entry { path, .. } = item {
                names.push(path.to_vec());
            }
            Ok(())
        });
        let listed = listed.unwrap();
        for name in &names {
            assert!(!name[1..].contains(&b'/') && !name.ends_with(b"/.."), "{name:?}");
        }
        for kind in [ArchiveKind::Tar, ArchiveKind::Zip] {
            let request = DumpRequest { path: b"/".to_vec(), archive: Some(kind) };
            let mut out = Vec::new();
            let dumped = dump(&indexed, &snapshot.tree, &request, &mut out);
            // What has no content is an empty file to a dump; everything else is refused.
            assert!(dumped.is_err() || text.contains("no-content"), "{text}");
        }
        assert!(!listed.unreadable.is_empty() || text.contains("content"), "{text}");
    }
}

#[test]
fn a_forged_depth_and_a_tree_of_many_copies_end() {
    let room = Room::new();
    let (folders, repository) = filled(&room, 1);
    // Each level holds the one below twice: 2^40 paths in 40 trees, and below them a chain.
    let mut texts: Vec<Vec<u8>> = vec![b"{\"nodes\":[]}\n".to_vec()];
    for level in 0..12_000 {
        let below = format::hash(texts.last().unwrap());
        let dir = |name: &str| format!(r#"{{"name":"{name}","type":"dir","subtree":"{below}"}}"#);
        let nodes = if level > 11_960 { format!("{},{}", dir("a"), dir("b")) } else { dir("a") };
        texts.push(format!(r#"{{"nodes":[{nodes}]}}"#).into_bytes());
    }
    texts.reverse();
    let trees: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    let mut writer = PackWriter::new();
    for text in &trees {
        writer.push(repository.master(), BlobKind::Tree, format::hash(text), text, None).unwrap();
    }
    let pack = writer.finish(repository.master()).unwrap();
    folders[0].put(FileName::pack(pack.id), pack.bytes);
    let packs = vec![IndexedPack { id: pack.id, blobs: pack.blobs }];
    put(&repository, &folders[0], FileKind::Index, &IndexFile { packs, ..IndexFile::default() }.to_bytes());
    let (_, model) = repository.snapshots().unwrap().snapshots.remove(0);
    let snapshot = Snapshot { tree: format::hash(trees[0]), ..model };
    put(&repository, &folders[0], FileKind::Snapshot, &snapshot.to_bytes());
    let report = full(&repository);
    assert_eq!(report.copies[0].affected_snapshots.len(), 0, "{:?}", named(&report));
    assert!(report.copies[0].counts.trees > 12_000);
    let indexed = repository.indexed().unwrap();
    let chain = format::hash(trees[60]);
    let listed = ls(&indexed, &chain, &LsRequest::default(), &mut |_| Ok(())).unwrap();
    assert_eq!(listed.unreadable.len(), 1);
    let counted = stats(&indexed, &[(Id::default(), snapshot)], StatsMode::RawData).unwrap();
    assert!(!counted.unreadable.is_empty());
}
