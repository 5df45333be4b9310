//! Invariant 1: on every copy packs come first, then the index that lists them, then the snapshot that needs them,
//! whatever the copies' speeds, whoever is fed from whom, and however many index files a run writes.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Clock, SystemClock};
use destinations::{Destination, Listed, Span};
use format::{FileKind, FileName, IndexFile};
use jiff::{Timestamp, Zoned};
use model::{Fault, Verdict};
use repository::backup::backup;
use repository::check::{CheckRequest, ReadData, check};
use repository::{InitRequest, Repository};
use room::{PASSWORD, Room, small_tree};
use testkit::{MemoryFolder, Random, seed};

/// How often a slow copy looks at another before it goes on all the same.
const WAITS_MAX: usize = 5_000;

/// What was acknowledged on a copy when the writing of an index or a snapshot began.
struct Moment {
    name: FileName,
    bytes: Bytes,
    there: BTreeMap<FileName, Bytes>,
}

/// A copy of its own pace that keeps a diary. Packs wait until another copy has so many of them.
struct Diary {
    folder: Arc<MemoryFolder>,
    pace: Mutex<Random>,
    waits_for: Option<(Arc<MemoryFolder>, usize)>,
    moments: Mutex<Vec<Moment>>,
}

impl std::fmt::Debug for Diary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.folder.fmt(f)
    }
}

#[async_trait]
impl Destination for Diary {
    fn place(&self) -> &str {
        self.folder.place()
    }
    async fn create(&self) -> Result<(), Fault> {
        self.folder.create().await
    }
    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        self.folder.list(kind).await
    }
    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        self.folder.stat(name).await
    }
    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        self.folder.read(name, span).await
    }
    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        if matches!(name.kind(), FileKind::Index | FileKind::Snapshot) {
            let there = self.folder.files();
            self.moments.lock().unwrap().push(Moment { name, bytes: bytes.clone(), there });
        }
        if let (FileKind::Pack, Some((other, packs))) = (name.kind(), &self.waits_for) {
            for _ in 0..WAITS_MAX {
                if other.names(FileKind::Pack).len() >= *packs {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        let pause = self.pace.lock().unwrap().below(4);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        self.folder.write(name, bytes).await
    }
    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        self.folder.remove(name).await
    }
}

/// A clock on which six minutes pass between any two looks: every pack is followed by an index of its own.
#[derive(Debug)]
struct Hasty {
    system: SystemClock,
    looks: AtomicU64,
}

impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        self.system.now()
    }
    fn time_zone(&self) -> jiff::tz::TimeZone {
        self.system.time_zone()
    }
    fn local(&self) -> Zoned {
        self.system.local()
    }
    fn monotonic(&self) -> Duration {
        Duration::from_secs(360 * self.looks.fetch_add(1, Ordering::Relaxed))
    }
}

fn surroundings(room: &Room) -> repository::Surroundings {
    let clock = Arc::new(Hasty { system: SystemClock::new(), looks: AtomicU64::new(0) });
    repository::Surroundings { clock, ..room.surroundings() }
}

/// Everything that a diary tells must have been in order.
fn assert_in_order(room: &Room, repository: &Repository, diary: &Diary, indexes: &AtomicUsize) {
    for moment in diary.moments.lock().unwrap().iter() {
        if moment.name.kind() == FileKind::Index {
            indexes.fetch_add(1, Ordering::Relaxed);
            let index = IndexFile::parse(&repository.open_file(moment.name, &moment.bytes).unwrap()).unwrap();
            for pack in index.packs {
                assert!(moment.there.contains_key(&FileName::pack(pack.id)), "{:?}: an index before its pack", diary);
            }
            continue;
        }
        // With this snapshot and what was there before it, the copy must be whole.
        let copy = Arc::new(MemoryFolder::new("then"));
        copy.reset(moment.there.clone());
        copy.put(moment.name, moment.bytes.clone());
        let alone = room.open_with(vec![copy]).unwrap();
        let report = check(&alone, &CheckRequest { read: ReadData::No, ..CheckRequest::default() }).unwrap();
        assert_eq!(report.verdict(), Verdict::Ok, "{diary:?}: a snapshot before what it needs");
    }
}

#[test]
fn packs_then_index_then_snapshot_on_every_copy_at_any_pace() {
    let (indexes, seed) = (AtomicUsize::new(0), seed("order"));
    for round in 0..4 {
        let mut random = Random::new(seed ^ round);
        let room = Room::new();
        small_tree(&room.path("source"));
        let folders = ["first", "second", "third"].map(|name| Arc::new(MemoryFolder::new(name)));
        let request = InitRequest { cost: format::ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
        let places: Vec<Arc<dyn Destination>> = folders.iter().map(|folder| folder.clone() as _).collect();
        let password = PASSWORD.to_owned().into();
        Repository::init(places.clone(), &password, &request, surroundings(&room)).unwrap();
        // One copy is away in the first run, and has to catch up in the second.
        let away = random.index(3);
        let mut two = places;
        two.remove(away);
        room.backup(&Repository::open(two, &password, surroundings(&room)).unwrap(), Path::new("source"));

        // More than a queue holds.
        testkit::corpus::random_file(&room.path("source/big"), 110 << 20, random.below(1 << 40)).unwrap();
        let slow = random.index(3);
        let other = folders[(slow + 1) % 3].clone();
        let packs = 2 + random.index(6);
        let diaries = [0, 1, 2].map(|number| {
            let pace = Mutex::new(Random::new(seed ^ round ^ (number as u64) << 32));
            let waits_for = (number == slow).then(|| (other.clone(), packs));
            Arc::new(Diary { folder: folders[number].clone(), pace, waits_for, moments: Mutex::default() })
        });
        let copies = diaries.each_ref().map(|diary| diary.clone() as Arc<dyn Destination>).to_vec();
        let repository = Repository::open(copies, &password, surroundings(&room)).unwrap();
        let report = backup(&repository, &room.request(&[Path::new("source")])).unwrap();
        assert_eq!(report.verdict, Verdict::Ok, "seed {seed}, round {round}: {:?}", report.copies);
        for diary in &diaries {
            assert_in_order(&room, &repository, diary, &indexes);
        }
        assert!(folders[0].files() == folders[1].files() && folders[0].files() == folders[2].files());
    }
    // Otherwise the clock did not do what it is for.
    assert!(indexes.load(Ordering::Relaxed) > 40, "{indexes:?}");
}
