//! The cache of the index beside a repository: the same answers with it, without it, and with a broken one.
#![allow(clippy::unwrap_used)]

mod room;

use std::path::{Path, PathBuf};

use format::BlobKind;
use model::{Id, Secret};
use repository::backup::backup;
use repository::index::Location;
use repository::{CacheFolder, Repository, Surroundings};
use room::{PASSWORD, Room, files_in, small_tree};
use testkit::many_blobs::{ManyBlobs, ids, make};

const SIZE: ManyBlobs = ManyBlobs { blobs: 60_000, blobs_per_pack: 500, seed: 11 };

/// A repository of many blobs, opened with a cache or without.
struct Ground {
    room: Room,
}

impl Ground {
    fn new() -> Self {
        let room = Room::new();
        make(&room.path("copy"), &Secret::from(PASSWORD), &SIZE).unwrap();
        Self { room }
    }

    fn open(&self, cache: Option<PathBuf>) -> Repository {
        let surroundings = Surroundings { cache: cache.map(CacheFolder::new), ..self.room.surroundings() };
        Repository::open(self.room.destinations(&["copy"]), &Secret::from(PASSWORD), surroundings).unwrap()
    }

    fn cached(&self) -> Repository {
        self.open(Some(self.room.path("cache")))
    }

    fn answers(&self, repository: &Repository) -> Vec<(BlobKind, Id, Location)> {
        repository.indexed().unwrap().index.iter().collect()
    }

    /// The files of the cache.
    fn parts(&self) -> Vec<PathBuf> {
        let files = files_in(&self.room.path("cache")).into_keys();
        let parts = files.filter(|path| path.to_str().unwrap().contains("/index-"));
        parts.map(|path| self.room.path("cache").join(path)).collect()
    }

    /// Makes every index file of the copy unreadable without changing its size, so that it is seen whether one is read.
    fn break_index_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = self.room.path("copy/index");
        let files: Vec<_> = files_in(&folder).into_iter().map(|(path, bytes)| (folder.join(path), bytes)).collect();
        files.iter().for_each(|(path, bytes)| std::fs::write(path, vec![0; bytes.len()]).unwrap());
        files
    }
}

fn flip(path: &Path, at: usize) {
    use std::os::unix::fs::FileExt;
    // In place, so that whoever has the file open sees it.
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at as u64).unwrap();
}

#[test]
fn a_second_opening_reads_no_index_file_and_answers_the_same() {
    let ground = Ground::new();
    let expected = ground.answers(&ground.open(None));
    assert_eq!(expected.len(), 60_000);
    assert_eq!(ground.answers(&ground.cached()), expected, "while the cache is made");
    assert_eq!(ground.parts().len(), 1);
    let whole = ground.break_index_files();
    assert!(ground.open(None).indexed().is_err(), "without the cache they are needed");
    assert_eq!(ground.answers(&ground.cached()), expected, "from the cache");
    let repository = ground.cached();
    let indexed = repository.indexed().unwrap();
    for id in ids(&SIZE, 1000) {
        assert!(indexed.index.contains(BlobKind::Data, &id) && !indexed.index.contains(BlobKind::Tree, &id));
    }
    whole.into_iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
}

#[test]
fn a_damaged_cache_is_made_anew() {
    let ground = Ground::new();
    let expected = ground.answers(&ground.open(None));
    ground.answers(&ground.cached());
    let length = std::fs::metadata(&ground.parts()[0]).unwrap().len() as usize;
    let seed = testkit::seed("a_damaged_cache_is_made_anew");
    let mut random = testkit::Random::new(seed);
    // The last bytes, the header, the tables, and pages.
    for at in [length - 1, length - 10, length - 60, length - 3000, 0, 5000, random.index(length), random.index(length)]
    {
        let part = ground.parts().pop().unwrap();
        flip(&part, at);
        assert_eq!(ground.answers(&ground.cached()), expected, "byte {at} of {length}");
        let whole = ground.break_index_files();
        // A damaged page is found out in use, and the next opening makes the part anew.
        let is_made = ground.cached().indexed().is_ok_and(|indexed| indexed.index.iter().eq(expected.iter().copied()));
        whole.into_iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
        assert_eq!(is_made, at >= 60_000 / 20 * 1024, "byte {at} of {length}");
        assert_eq!(ground.answers(&ground.cached()), expected, "byte {at} of {length}, the next time");
        assert_eq!(ground.parts().len(), 1);
    }
}

#[test]
fn a_cache_that_breaks_in_use_changes_no_answer() {
    let ground = Ground::new();
    let wanted = ids(&SIZE, 60_000);
    ground.answers(&ground.cached());
    let repository = ground.cached();
    let indexed = repository.indexed().unwrap();
    let before: Vec<Location> = wanted.iter().map(|id| indexed.index.get(BlobKind::Data, id).unwrap()).collect();
    drop(indexed);
    let indexed = repository.indexed().unwrap();
    let part = ground.parts().pop().unwrap();
    (0..60_000 / 20).for_each(|page| flip(&part, page * 1024 + 500));
    let after = std::thread::scope(|scope| {
        let halves = wanted.chunks(30_000).map(|half| {
            let index = &indexed.index;
            scope.spawn(move || half.iter().map(|id| index.get(BlobKind::Data, id).unwrap()).collect::<Vec<_>>())
        });
        let halves: Vec<_> = halves.collect();
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect::<Vec<Location>>()
    });
    assert_eq!(after, before);
    assert!(ground.parts().is_empty(), "the damaged part is removed");

    // And where the index files cannot be read any more, nothing is known: that is never wrong.
    ground.answers(&ground.cached());
    let indexed = repository.indexed().unwrap();
    let part = ground.parts().pop().unwrap();
    (0..60_000 / 20).for_each(|page| flip(&part, page * 1024 + 500));
    ground.break_index_files();
    assert!(wanted.iter().all(|id| !indexed.index.contains(BlobKind::Data, id)));
}

#[test]
fn an_index_file_that_is_gone_takes_its_blobs_with_it() {
    let ground = Ground::new();
    ground.answers(&ground.cached());
    let files = files_in(&ground.room.path("copy/index"));
    std::fs::remove_file(ground.room.path("copy/index").join(files.keys().next().unwrap())).unwrap();
    let expected = ground.answers(&ground.open(None));
    assert!(expected.len() < 60_000);
    assert_eq!(ground.answers(&ground.cached()), expected);
    assert_eq!(ground.answers(&ground.cached()), expected);
    assert_eq!(ground.parts().len(), 1, "what is out of date is removed");
}

#[test]
fn a_folder_that_takes_nothing_is_no_error() {
    let ground = Ground::new();
    let expected = ground.answers(&ground.open(None));
    std::fs::write(ground.room.path("occupied"), "").unwrap();
    for folder in [ground.room.path("occupied"), PathBuf::from("/proc/none"), PathBuf::from("/dev/null/none")] {
        assert_eq!(ground.answers(&ground.open(Some(folder))), expected);
    }
}

#[test]
fn backups_with_a_cache_are_backups() {
    let room = Room::new();
    let with_cache = || Surroundings { cache: Some(CacheFolder::new(room.path("cache"))), ..room.surroundings() };
    let open = || Repository::open(room.destinations(&["one", "two"]), &Secret::from(PASSWORD), with_cache()).unwrap();
    room.init(&["one", "two"]);
    let source = room.path("source");
    small_tree(&source);
    for round in 0..4 {
        std::fs::write(source.join("changing"), format!("round {round}")).unwrap();
        let report = backup(&open(), &room.request(&[&source])).unwrap();
        assert_eq!(report.verdict, model::Verdict::Ok);
        assert_eq!(report.summary.data_blobs, if round == 0 { report.summary.data_blobs } else { 1 });
    }
    let (cached, plain) = (open(), room.open(&["one", "two"]));
    let all = |repository: &Repository| repository.indexed().unwrap().index.iter().collect::<Vec<_>>();
    assert_eq!(all(&cached), all(&plain));
    // A pack that no copy has is stored again, whatever the cache remembers.
    for copy in ["one", "two"] {
        std::fs::remove_dir_all(room.path(copy).join("data")).unwrap();
        room.runtime.block_on(room.destination(copy).create()).unwrap();
    }
    let report = backup(&open(), &room.request(&[&source])).unwrap();
    assert!(report.summary.data_blobs > 5, "{:?}", report.summary);
}
