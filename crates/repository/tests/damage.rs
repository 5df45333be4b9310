//! Flipped bits, cut ends, zeros, swapped and lost files of one copy, for every kind of file: a full check finds each,
//! a restore gives the right bytes or an error that names the file and never wrong bytes, and healing makes the copy
//! equal to the others again, byte by byte. What this machine keeps of its own (cache, records) may be damaged in any
//! way and changes no answer.
//!
//! A few for each kind here; `TRIPLICATE_EXHAUSTIVE=1` does a thousand flips, fifty cuts and all the rest.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use destinations::Destination;
use format::{BlobKind, FileKind, FileName, ScryptCost};
use model::{Id, Secret, Verdict};
use repository::check::{CheckRequest, ReadData, check};
use repository::copies::heal::{HealRequest, Healing};
use repository::restore::{RestoreReport, RestoreRequest, restore};
use repository::snapshots::SnapshotFilter;
use repository::{CacheFolder, Error, InitRequest, RecordsFolder, Repository};
use room::{Copies, PASSWORD, Room, plain};
use testkit::{Manifest, MemoryFolder, Random, manifest, seed};

/// How much is tried of each kind of file.
struct Extent {
    flips: usize,
    cuts: usize,
    zeros: usize,
    swaps: usize,
}

fn is_exhaustive() -> bool {
    std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some_and(|value| value == "1")
}

fn extent() -> Extent {
    if is_exhaustive() {
        Extent { flips: 1000, cuts: 50, zeros: 50, swaps: 20 }
    } else {
        Extent { flips: 24, cuts: 6, zeros: 3, swaps: 2 }
    }
}

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Flip(usize, u8),
    Cut(usize),
    Zero(usize),
    Swap(FileName),
    Lose,
}

/// How a restore came out.
enum Outcome {
    /// Everything is there and right.
    Whole,
    /// Something failed, and this was said of it.
    Named(String),
}

/// A repository in three copies, and what it should give back.
struct Ground {
    room: Room,
    copies: Copies,
    sound: BTreeMap<FileName, Bytes>,
    snapshot: Id,
    expected: Manifest,
    target: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let room = Room::new();
        let source = room.path("source");
        std::fs::create_dir_all(source.join("inner/deep")).unwrap();
        for n in 0..8u32 {
            std::fs::write(source.join(format!("inner/file-{n}")), format!("content {n}\n").repeat(n as usize))
                .unwrap();
        }
        std::fs::write(source.join("inner/deep/noise"), Random::new(3).bytes(60_000)).unwrap();
        std::os::unix::fs::symlink("inner/deep/noise", source.join("link")).unwrap();
        let copies = ["first", "second", "third"].map(|name| Arc::new(MemoryFolder::new(name)));
        let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
        let password = Secret::from(PASSWORD.to_owned());
        let repository = Repository::init(plain(&copies), &password, &request, room.surroundings()).unwrap();
        // Two of everything, so that there is something to swap.
        room.backup(&repository, Path::new("source"));
        std::fs::write(source.join("second"), Random::new(4).bytes(30_000)).unwrap();
        repository::keys::add(&repository, &"another".to_owned().into(), ScryptCost::FAST_FOR_TESTS).unwrap();
        let snapshot = room.backup(&repository, Path::new("source")).id.unwrap();
        drop(repository);
        let expected = manifest(&source).unwrap();
        let mut sound = copies[0].files();
        sound.retain(|name, _| name.kind() != FileKind::Lock);
        let target = room.path("target");
        Self { room, copies, sound, snapshot, expected, target }
    }

    fn open(&self, destinations: Vec<Arc<dyn Destination>>) -> repository::Result<Repository> {
        let mut surroundings = self.room.surroundings();
        surroundings.records = Some(RecordsFolder::new(self.room.path("records")));
        surroundings.cache = Some(CacheFolder::new(self.room.path("cache")));
        Repository::open(destinations, &PASSWORD.to_owned().into(), surroundings)
    }

    /// Tree packs and data packs.
    fn packs(&self) -> (Vec<FileName>, Vec<FileName>) {
        let repository = self.open(plain(&self.copies)).unwrap();
        let indexed = repository.indexed().unwrap();
        let trees: BTreeSet<Id> = indexed.index.of_kind(BlobKind::Tree).map(|(_, location)| location.pack).collect();
        let all = self.sound.keys().filter(|name| name.kind() == FileKind::Pack).copied();
        all.partition(|name| trees.contains(&name.id().unwrap()))
    }

    fn of_kind(&self, kind: FileKind) -> Vec<FileName> {
        self.sound.keys().filter(|name| name.kind() == kind).copied().collect()
    }

    fn restore(&self, destinations: Vec<Arc<dyn Destination>>, has_cache: bool) -> Outcome {
        let _ = std::fs::remove_dir_all(&self.target);
        let opened = if has_cache { self.open(destinations) } else { self.room.open_with(destinations) };
        let restored = opened.and_then(|repository| {
            let choice = repository.find_snapshot(&self.snapshot.to_hex(), &SnapshotFilter::default())?;
            let indexed = repository.indexed()?;
            let request = RestoreRequest { target: self.target.clone(), ..RestoreRequest::default() };
            restore(&indexed, &choice.snapshot, &request, repository.observer())
        });
        let report = match restored {
            Ok(report) => report,
            Err(Error::Interrupted) => panic!("interrupted"),
            Err(error) => {
                // Whatever got there before the error must be right.
                assert_no_wrong_bytes(&self.target, &self.expected);
                return Outcome::Named(error.to_string());
            }
        };
        if report.failed_count == 0 {
            let difference = Manifest::difference(&self.expected, &manifest(self.target.join("source")).unwrap());
            assert!(difference.is_empty(), "{difference:#?}");
            return Outcome::Whole;
        }
        assert_no_wrong_bytes(&self.target, &self.expected);
        Outcome::Named(report.failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    /// Everything that is asked of one damage of the first copy. Gives whether the copy alone still gave all back.
    fn judge(&self, name: FileName, harm: Harm) -> bool {
        let context = format!("{name} {harm:?}");
        if let Outcome::Named(said) = self.restore(plain(&self.copies), false) {
            panic!("{context}: the sound copies were not used: {said}");
        }
        let alone = match self.restore(vec![self.copies[0].clone()], false) {
            // The file was not needed for this snapshot, or the damage was beside what is read of it.
            Outcome::Whole => true,
            Outcome::Named(said) => {
                let folder = name.kind().folder();
                let words = ["no repository", "no snapshot begins", "in no index"];
                let names_it = said.contains(folder) || words.iter().any(|word| said.contains(word));
                assert!(names_it, "{context}: {said}");
                false
            }
        };
        let repository = self.open(plain(&self.copies)).unwrap();
        let report = check(&repository, &CheckRequest { read: ReadData::All, ..CheckRequest::default() }).unwrap();
        let first = &report.copies[0];
        let seen = first.errors() > 0 || first.fault.is_some() || !report.lacking.is_empty();
        assert!(seen, "{context}: check saw nothing");
        for other in &report.copies[1..] {
            assert_eq!(other.errors(), 0, "{context}: {:?}", other.damages);
        }
        let mut healing =
            Healing::examine(&repository, &HealRequest { read: ReadData::All, ..HealRequest::default() }).unwrap();
        let healed = healing.apply(false).unwrap();
        assert_eq!(healed.verdict(), Verdict::Ok, "{context}: {healed:?}");
        drop(healing);
        drop(repository);
        for copy in &self.copies {
            let mut files = copy.files();
            files.retain(|name, _| name.kind() != FileKind::Lock);
            assert!(files == self.sound, "{context}: {} is not as it was", copy.place());
        }
        alone
    }
}

/// Every file that stands under its name has its whole content.
fn assert_no_wrong_bytes(target: &Path, expected: &Manifest) {
    let Ok(found) = manifest(target.join("source")) else { return };
    for (path, entry) in &found.entries {
        let Some(wanted) = expected.entries.get(path) else { panic!("{} was never stored", path.escape_ascii()) };
        if entry.content.is_some() {
            assert_eq!(entry.content, wanted.content, "wrong bytes in {}", path.escape_ascii());
        }
    }
}

fn apply(copy: &MemoryFolder, name: FileName, harm: Harm) -> bool {
    let before = copy.get(name);
    match harm {
        Harm::Flip(at, bit) => copy.damage(name, |bytes| bytes[at] ^= bit),
        Harm::Cut(length) => copy.damage(name, |bytes| bytes.truncate(length)),
        Harm::Zero(from) => copy.damage(name, |bytes| {
            let end = bytes.len().min(from + 4096);
            bytes[from..end].fill(0);
        }),
        Harm::Swap(other) => {
            let (own, theirs) = (copy.get(name).unwrap(), copy.get(other).unwrap());
            copy.put(name, theirs);
            copy.put(other, own);
            true
        }
        Harm::Lose => copy.take(name).is_some(),
    };
    before != copy.get(name)
}

fn harms(random: &mut Random, ground: &Ground, names: &[FileName]) -> Vec<(FileName, Harm)> {
    let Extent { flips, cuts, zeros, swaps } = extent();
    let mut all = Vec::new();
    let mut one = |random: &mut Random, make: &dyn Fn(&mut Random, usize) -> Harm| {
        let name = names[random.index(names.len())];
        let length = ground.sound[&name].len();
        all.push((name, make(random, length)));
    };
    (0..flips).for_each(|_| one(random, &|random, length| Harm::Flip(random.index(length), 1 << random.below(8))));
    (0..cuts).for_each(|_| one(random, &|random, length| Harm::Cut(random.index(length))));
    (0..zeros).for_each(|_| one(random, &|random, length| Harm::Zero(random.index(length))));
    all.extend(names.iter().map(|name| (*name, Harm::Lose)));
    if names.len() > 1 {
        for _ in 0..swaps {
            let first = random.index(names.len());
            let second = (first + 1 + random.index(names.len() - 1)) % names.len();
            all.push((names[first], Harm::Swap(names[second])));
        }
    }
    all
}

fn every_damage_of(what: &str, names: impl Fn(&Ground) -> Vec<FileName>) {
    let mut random = Random::new(seed(what));
    let ground = Ground::new();
    let names = names(&ground);
    assert!(!names.is_empty());
    let (mut tried, mut alone_whole) = (0, 0);
    for (name, harm) in harms(&mut random, &ground, &names) {
        if apply(&ground.copies[0], name, harm) {
            tried += 1;
            alone_whole += usize::from(ground.judge(name, harm));
        }
    }
    println!("{what}: {tried} damages found and healed; alone {alone_whole} harmless, all others named");
    assert!(tried >= extent().flips);
}

#[test]
fn damages_of_config() {
    every_damage_of("damages of config", |_| vec![FileName::CONFIG]);
}

#[test]
fn damages_of_keys() {
    every_damage_of("damages of keys", |ground| ground.of_kind(FileKind::Key));
}

#[test]
fn damages_of_snapshots() {
    every_damage_of("damages of snapshots", |ground| ground.of_kind(FileKind::Snapshot));
}

#[test]
fn damages_of_index_files() {
    every_damage_of("damages of index files", |ground| ground.of_kind(FileKind::Index));
}

#[test]
fn damages_of_tree_packs() {
    every_damage_of("damages of tree packs", |ground| ground.packs().0);
}

#[test]
fn damages_of_data_packs() {
    every_damage_of("damages of data packs", |ground| ground.packs().1);
}

/// Every file below a folder but locks.
fn own_files(folder: &Path) -> Vec<PathBuf> {
    room::files_in(folder).into_keys().filter(|path| !path.ends_with(".lock")).map(|path| folder.join(path)).collect()
}

/// Damages files of this machine and looks whether any answer changes.
fn own_damages(what: &str, folder: &str) {
    let mut random = Random::new(seed(what));
    let ground = Ground::new();
    let full = CheckRequest { read: ReadData::All, ..CheckRequest::default() };
    // A backup, a check and a restore leave something there.
    let repository = ground.open(plain(&ground.copies)).unwrap();
    let holdings = repository::copies::status::Holdings::gather(repository.copies(), FileKind::Pack).unwrap();
    repository.note_listed(&holdings);
    check(&repository, &full).unwrap();
    repository.indexed().unwrap();
    repository.snapshots().unwrap();
    drop(repository);
    let folder = ground.room.path(folder);
    let Extent { flips, cuts, zeros, .. } = extent();
    let mut tried = 0;
    for number in 0..flips + cuts + zeros {
        let files = own_files(&folder);
        assert!(!files.is_empty());
        let path = &files[random.index(files.len())];
        let mut bytes = std::fs::read(path).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let at = random.index(bytes.len());
        match number {
            number if number < flips => bytes[at] ^= 1 << random.below(8),
            number if number < flips + cuts => bytes.truncate(at),
            _ => bytes[at..].fill(0),
        }
        std::fs::write(path, bytes).unwrap();
        tried += 1;
        if let Outcome::Named(said) = ground.restore(plain(&ground.copies), true) {
            panic!("{} changed a restore: {said}", path.display());
        }
        let repository = ground.open(plain(&ground.copies)).unwrap();
        let report = check(&repository, &full).unwrap();
        assert_eq!(report.verdict(), Verdict::Ok, "{} changed a check", path.display());
        let healing = Healing::examine(&repository, &HealRequest::default()).unwrap();
        assert!(healing.plan().is_empty(), "{} changed a healing: {:?}", path.display(), healing.plan());
    }
    println!("{what}: {tried} damages changed no answer");
    assert!(tried >= flips);
}

#[test]
fn damages_of_the_cache() {
    own_damages("damages of the cache", "cache");
}

#[test]
fn damages_of_the_records() {
    own_damages("damages of the records", "records");
}

/// Whether a path, or a folder above it, is among `named`.
fn is_named(named: &BTreeSet<(Id, Vec<u8>)>, snapshot: Id, path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let is_there = |path: &Path| named.contains(&(snapshot, path.as_os_str().as_bytes().to_vec()));
    path.ancestors().any(is_there)
}

/// Restores a snapshot and gives the paths that failed, as they are in the snapshot.
fn failed_paths(repository: &Repository, id: Id, target: &Path) -> Result<Vec<PathBuf>, Error> {
    let _ = std::fs::remove_dir_all(target);
    let snapshot = repository.snapshot(id)?;
    let request = RestoreRequest { target: target.to_owned(), ..RestoreRequest::default() };
    let report: RestoreReport = restore(&repository.indexed()?, &snapshot, &request, repository.observer())?;
    let inside = |path: &PathBuf| Path::new("/").join(path.strip_prefix(target).unwrap_or(path));
    Ok(report.failed.iter().map(|trouble| inside(&trouble.path)).collect())
}

#[test]
fn each_lost_file_of_a_lone_copy_is_named_with_every_snapshot_and_path_that_needs_it() {
    let room = Room::new();
    let copy = Arc::new(MemoryFolder::new("only"));
    let alone = || -> Vec<Arc<dyn Destination>> { vec![copy.clone()] };
    let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
    let repository = Repository::init(alone(), &PASSWORD.to_owned().into(), &request, room.surroundings()).unwrap();
    let mut random = Random::new(seed("each lost file"));
    let backups = if is_exhaustive() { 48 } else { 6 };
    for number in 0..backups {
        let folder = room.path("source").join(format!("folder-{}", number % 7));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("file-{number}")), random.bytes(2000)).unwrap();
        room.backup(&repository, Path::new("source"));
    }
    drop(repository);
    let files = copy.files();
    let target = room.path("target");
    let (mut removed, mut paths) = (0, 0);
    for name in files.keys().filter(|name| name.kind() != FileKind::Lock) {
        copy.take(*name).unwrap();
        removed += 1;
        match room.open_with(alone()) {
            Err(error) => {
                let said = error.to_string();
                let is_known = matches!(name.kind(), FileKind::Config | FileKind::Key);
                assert!(is_known && (said.contains("no repository") || said.contains("keys")), "{name}: {said}");
            }
            Ok(repository) => {
                let report = check(&repository, &CheckRequest { read: ReadData::All, ..CheckRequest::default() });
                let report = report.unwrap().copies.remove(0);
                let named: BTreeSet<(Id, Vec<u8>)> =
                    report.affected.iter().map(|affected| (affected.snapshot, affected.path.clone())).collect();
                assert!(!report.affected_left_out);
                let mut affected = BTreeSet::new();
                for id in copy.names(FileKind::Snapshot).iter().filter_map(FileName::id) {
                    match failed_paths(&repository, id, &target) {
                        Ok(failed) => {
                            for path in &failed {
                                assert!(is_named(&named, id, path), "{name}: {} of {id}: {named:?}", path.display());
                            }
                            paths += failed.len();
                            if !failed.is_empty() {
                                affected.insert(id);
                            }
                        }
                        // Not even the topmost folder.
                        Err(_) => {
                            assert!(named.contains(&(id, b"/".to_vec())), "{name}: {id}");
                            affected.insert(id);
                        }
                    }
                }
                let said: BTreeSet<Id> = report.affected_snapshots.iter().copied().collect();
                if name.kind() == FileKind::Snapshot {
                    // Of a snapshot that is not there a lone copy cannot know.
                    assert!(said.is_empty() && affected.is_empty());
                } else {
                    assert!(!said.is_empty(), "{name}: every file is needed by some snapshot");
                    assert_eq!(said, affected, "{name}");
                }
            }
        }
        copy.reset(files.clone());
    }
    println!("{removed} files removed in turn, {paths} lost paths named");
}
