//! The index beside a plain list of places, through additions, removals, merges and damage.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use proptest::prelude::*;

use super::cached::Cached;
use super::layout::{ListedFile, PAGE_BYTES};
use super::*;
use crate::cache_folder::{CacheFolder, RepositoryCache};
use format::MasterKey;

/// Kind, id, pack, offset, length, plain length: the plain truth about one place.
type Place = (BlobKind, Id, Id, u32, u32, u32);

/// An index file of the model: its name and what it tells.
#[derive(Debug, Clone)]
struct File {
    listed: ListedFile,
    packs: Vec<IndexedPack>,
}

struct Ground {
    _scratch: tempfile::TempDir,
    folder: PathBuf,
    cache: RepositoryCache,
    master: MasterKey,
}

impl Ground {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let folder = CacheFolder::new(scratch.path().to_owned());
        let cache = folder.of(&Id::default());
        let folder = scratch.path().join(format!("triplicate-{}", Id::default()));
        Self { _scratch: scratch, folder, cache, master: MasterKey::generate().unwrap() }
    }

    /// Opens the index of these files as `load` does; gives how many of them were read, too.
    fn load(&self, files: &BTreeMap<Id, File>) -> (Index, usize) {
        let is_listed = |file: &ListedFile| files.get(&file.id).is_some_and(|found| found.listed == *file);
        let cached = Cached::open(self.cache.clone(), &self.master, is_listed);
        let known = cached.files();
        let mut builder = ShelvesBuilder::default();
        let mut read = Vec::new();
        for file in files.values().filter(|file| !known.contains(&file.listed.id)) {
            file.packs.iter().for_each(|pack| builder.add(pack));
            read.push(file.listed);
        }
        let count = read.len();
        (Index::of(cached.with(builder.build(), read, 0), None), count)
    }

    /// The cache's files with their bytes.
    fn bytes(&self) -> BTreeMap<String, Vec<u8>> {
        self.cache.names().into_iter().map(|name| (name.clone(), self.cache.read(&name).unwrap())).collect()
    }
}

fn id(number: u64) -> Id {
    format::hash(&number.to_le_bytes())
}

/// An id of which many share the first bytes and the last ones, so that pages begin with equal bytes and fingerprints
/// meet.
fn crowded_id(number: u64) -> Id {
    let mut bytes = [0; 32];
    bytes[7] = (number % 3) as u8;
    bytes[16..24].copy_from_slice(&number.to_be_bytes());
    bytes[31] = (number % 2) as u8;
    Id::from_bytes(bytes)
}

fn pack(number: u64, blobs: impl IntoIterator<Item = (BlobKind, Id)>) -> IndexedPack {
    let blob = |(place, (kind, id))| {
        let place = place as u32;
        let uncompressed_length = NonZeroU32::new(place % 2 * 500);
        PackedBlob { kind, id, offset: place * 100, length: 100, uncompressed_length }
    };
    IndexedPack { id: id(1_000_000 + number), blobs: blobs.into_iter().enumerate().map(blob).collect() }
}

fn file(number: u64, packs: Vec<IndexedPack>) -> File {
    File { listed: ListedFile { id: id(2_000_000 + number), size: 1000 + number }, packs }
}

fn truth(files: &BTreeMap<Id, File>) -> BTreeSet<Place> {
    let packs = files.values().flat_map(|file| &file.packs);
    let place = |pack: &IndexedPack, blob: &PackedBlob| {
        let plain = blob.uncompressed_length.map_or(0, NonZeroU32::get);
        (blob.kind, blob.id, pack.id, blob.offset, blob.length, plain)
    };
    packs.flat_map(|pack| pack.blobs.iter().map(move |blob| place(pack, blob))).collect()
}

fn place(kind: BlobKind, id: Id, location: &Location) -> Place {
    let plain = location.uncompressed_length.map_or(0, NonZeroU32::get);
    (kind, id, location.pack, location.offset, location.length, plain)
}

const KINDS: [BlobKind; 2] = [BlobKind::Data, BlobKind::Tree];

/// Every answer of the index against the truth; `asked` are ids that may be there or not.
fn assert_answers(index: &Index, truth: &BTreeSet<Place>, asked: &[Id]) {
    let listed: Vec<Place> = index.iter().map(|(kind, id, location)| place(kind, id, &location)).collect();
    assert_eq!(listed, truth.iter().copied().collect::<Vec<_>>());
    let (least, most) = (Id::from_bytes([0; 32]), Id::from_bytes([255; 32]));
    for kind in KINDS {
        assert_eq!(index.count(kind), truth.iter().filter(|place| place.0 == kind).count());
        for id in asked {
            let all: Vec<Place> = index.all(kind, id).map(|location| place(kind, *id, &location)).collect();
            let range = (kind, *id, least, 0, 0, 0)..=(kind, *id, most, u32::MAX, u32::MAX, u32::MAX);
            let expected: Vec<Place> = truth.range(range).copied().collect();
            assert_eq!(all, expected);
            assert_eq!(index.contains(kind, id), !expected.is_empty());
            assert_eq!(index.get(kind, id).map(|location| place(kind, *id, &location)), expected.first().copied());
        }
    }
}

/// What happens to the repository between two openings.
#[derive(Debug, Clone)]
enum Step {
    /// A new index file: for each pack its number and its blobs.
    Add(Vec<(u64, Vec<(bool, u64)>)>),
    /// One of the files goes, as prune does it.
    Remove(usize),
    /// Nothing.
    Nothing,
}

fn step() -> impl Strategy<Value = Step> {
    let blobs = prop::collection::vec((prop::bool::weighted(0.8), 0..400_u64), 0..40);
    let packs = prop::collection::vec((0..40_u64, blobs), 0..6);
    prop_oneof![6 => packs.prop_map(Step::Add), 2 => any::<usize>().prop_map(Step::Remove), 1 => Just(Step::Nothing)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn the_cache_answers_as_a_plain_list_does(
        steps in prop::collection::vec((step(), prop::bool::weighted(0.7)), 1..14),
        crowded in any::<bool>(),
    ) {
        let ground = Ground::new();
        let name = if crowded { crowded_id } else { id };
        let asked: Vec<Id> = (0..420).map(name).collect();
        let mut files: BTreeMap<Id, File> = BTreeMap::new();
        for (number, (step, is_opened)) in steps.into_iter().enumerate() {
            match step {
                Step::Add(packs) => {
                    let kind = |is_data| if is_data { BlobKind::Data } else { BlobKind::Tree };
                    let packs = packs.into_iter().map(|(number, blobs)| {
                        pack(number, blobs.into_iter().map(|(is_data, blob)| (kind(is_data), name(blob))))
                    });
                    let file = file(number as u64, packs.collect());
                    files.insert(file.listed.id, file);
                }
                Step::Remove(which) if !files.is_empty() => {
                    let gone = *files.keys().nth(which % files.len()).unwrap();
                    files.remove(&gone);
                }
                Step::Remove(_) | Step::Nothing => {}
            }
            if is_opened {
                check_once(&ground, &files, &asked);
            }
        }
        check_once(&ground, &files, &asked);
    }
}

fn check_once(ground: &Ground, files: &BTreeMap<Id, File>, asked: &[Id]) {
    let truth = truth(files);
    let (index, _) = ground.load(files);
    assert_answers(&index, &truth, asked);
    let (mut index, read) = ground.load(files);
    assert_eq!(read, 0, "the second opening reads nothing");
    assert_answers(&index, &truth, asked);
    let packs: BTreeSet<Id> = files.values().flat_map(|file| file.packs.iter().map(|pack| pack.id)).collect();
    assert_eq!(index.packs(), packs.iter().copied().collect::<Vec<_>>());
    let is_there = |id: &Id| !id.as_bytes()[0].is_multiple_of(4);
    let lost = index.forget_packs(is_there);
    assert_eq!(lost, packs.iter().filter(|id| !is_there(id)).copied().collect::<Vec<_>>());
    let left = truth.iter().filter(|place| is_there(&place.2)).copied().collect();
    assert_answers(&index, &left, asked);
}

/// Files of a few hundred records each, of both kinds.
fn some_files(count: u64) -> BTreeMap<Id, File> {
    let blobs = |number: u64| {
        let kind = |blob: u64| if blob.is_multiple_of(5) { BlobKind::Tree } else { BlobKind::Data };
        (0..50).map(move |blob| (kind(blob), id(number * 50 + blob)))
    };
    let files =
        (0..count).map(|number| file(number, (0..3).map(|n| pack(number * 3 + n, blobs(number * 3 + n))).collect()));
    files.map(|file| (file.listed.id, file)).collect()
}

#[test]
fn each_file_is_read_once_and_parts_stay_few() {
    let ground = Ground::new();
    let all = some_files(60);
    let mut files = BTreeMap::new();
    for (id, file) in all {
        files.insert(id, file);
        let (index, read) = ground.load(&files);
        assert_eq!(read, 1);
        assert_eq!(index.count(BlobKind::Data) + index.count(BlobKind::Tree), files.len() * 150);
        assert!(ground.cache.names().len() <= 4, "{:?}", ground.cache.names());
    }
    assert_answers(&ground.load(&files).0, &truth(&files), &(0..9100).step_by(13).map(id).collect::<Vec<_>>());
}

/// No answer may be wrong; without a way to read again, a blob may be unknown.
fn assert_no_wrong_answer(index: &Index, truth: &HashMap<(BlobKind, Id), Place>, asked: &[Id]) {
    for kind in KINDS {
        for id in asked {
            for location in index.all(kind, id) {
                assert_eq!(Some(&place(kind, *id, &location)), truth.get(&(kind, *id)));
            }
        }
    }
}

#[test]
fn no_flipped_bit_makes_a_blob_known_or_moves_it() {
    let ground = Ground::new();
    let files = some_files(2);
    let truth: HashMap<_, _> = truth(&files).into_iter().map(|place| ((place.0, place.1), place)).collect();
    let asked: Vec<Id> = (0..400).map(id).collect();
    ground.load(&files);
    let (name, sound) = ground.bytes().pop_first().unwrap();
    let mut unreadable = 0;
    let pages = 300_usize.div_ceil(20) * PAGE_BYTES;
    // All of what is not a page, and of one page; every seventh byte of the others.
    let places = (0..sound.len()).filter(|at| *at < PAGE_BYTES || *at >= pages || at % 7 == 0);
    let flipped_in_pages = places.clone().filter(|at| *at < pages).count();
    for at in places {
        let mut damaged = sound.clone();
        damaged[at] ^= 1 << (at % 8);
        ground.cache.write(&name, &damaged);
        let Some(part) = part::Part::open(&ground.cache, &name, &ground.master) else { continue };
        assert!(at < pages, "only pages are not looked at when a part is opened: {at}");
        let index = Index::of(vec![Source::Cached(part)], None);
        assert_no_wrong_answer(&index, &truth, &asked);
        unreadable += usize::from(index.whole.get().is_some());
        assert!(ground.cache.names().is_empty(), "a damaged part is removed");
    }
    assert_eq!(unreadable, flipped_in_pages, "every byte of every page counts");
}

#[test]
fn no_piece_of_another_file_and_no_shortened_file_is_taken() {
    let ground = Ground::new();
    let files = some_files(2);
    let answers: HashMap<_, _> = truth(&files).into_iter().map(|place| ((place.0, place.1), place)).collect();
    let asked: Vec<Id> = (0..400).map(id).collect();
    ground.load(&files);
    let (name, sound) = ground.bytes().pop_first().unwrap();
    for length in (0..sound.len()).step_by(97).chain([sound.len() - 1]) {
        ground.cache.write(&name, &sound[..length]);
        assert!(part::Part::open(&ground.cache, &name, &ground.master).is_none(), "{length}");
        ground.cache.write(&name, &sound[sound.len() - length..]);
        assert!(part::Part::open(&ground.cache, &name, &ground.master).is_none(), "the last {length}");
    }
    // The same records under the same key, in another file: nothing but the mark differs.
    ground.load(&files);
    let other = ground.bytes().into_values().find(|bytes| *bytes != sound).unwrap();
    assert_eq!(other.len(), sound.len());
    let mut pieces = vec![];
    for page in 0..15 {
        let here = page * PAGE_BYTES..(page + 1) * PAGE_BYTES;
        let next = (page + 1) % 15 * PAGE_BYTES;
        pieces.push((here.clone(), other[here.clone()].to_vec()));
        pieces.push((here.clone(), sound[next..next + PAGE_BYTES].to_vec()));
    }
    for (here, piece) in pieces {
        let mut swapped = sound.clone();
        swapped[here].copy_from_slice(&piece);
        ground.cache.write(&name, &swapped);
        let part = part::Part::open(&ground.cache, &name, &ground.master).unwrap();
        let index = Index::of(vec![Source::Cached(part)], None);
        assert_no_wrong_answer(&index, &answers, &asked);
        assert!(index.whole.get().is_some(), "the piece was noticed");
    }
}

#[test]
fn another_repository_s_key_opens_nothing() {
    let ground = Ground::new();
    let files = some_files(1);
    ground.load(&files);
    let other = Ground { master: MasterKey::generate().unwrap(), ..ground };
    let (index, read) = other.load(&files);
    assert_eq!(read, 1);
    assert_answers(&index, &truth(&files), &[id(0)]);
}

#[test]
fn a_changed_size_is_read_again() {
    let ground = Ground::new();
    let mut files = some_files(3);
    ground.load(&files);
    let mut first = files.pop_first().unwrap().1;
    first.listed.size += 1;
    files.insert(first.listed.id, first);
    let (index, read) = ground.load(&files);
    assert!(read >= 1);
    assert_answers(&index, &truth(&files), &[id(0)]);
}

#[test]
fn two_who_write_at_the_same_time_leave_a_cache_that_is_right() {
    let ground = Ground::new();
    let files = some_files(8);
    let few: BTreeMap<Id, File> = files.clone().into_iter().take(3).collect();
    ground.load(&few);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (ground, files) = (&ground, &files);
            scope.spawn(move || {
                let own: BTreeMap<Id, File> = files.clone().into_iter().take(4 + number % 4).collect();
                let (index, _) = ground.load(&own);
                assert_answers(&index, &truth(&own), &(0..1300).step_by(7).map(id).collect::<Vec<_>>());
            });
        }
    });
    let (index, _) = ground.load(&files);
    assert_answers(&index, &truth(&files), &(0..1300).step_by(7).map(id).collect::<Vec<_>>());
    let (_, read) = ground.load(&files);
    assert_eq!(read, 0);
    let drafts = std::fs::read_dir(&ground.folder).unwrap().count();
    assert_eq!(drafts, ground.cache.names().len(), "no draft is left behind");
}
