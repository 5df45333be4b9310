//! Three copies in memory, a source that changes, and a clock that moves when told to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clock::FakeClock;
use destinations::Destination;
use format::{FileKind, FileName, IndexFile, MarkedPack};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::{Id, Verdict};
use repository::check::{CheckRequest, ReadData, check};
use repository::prune::{MaxUnused, Plan, PruneReport, PruneRequest, prepare};
use repository::restore::{RestoreRequest, restore};
use repository::{InitRequest, RecordsFolder, Repository, Surroundings};
use testkit::{MemoryFolder, Random};

use crate::room::{Copies, PASSWORD, Room, files_in, plain};

pub const DAY: Duration = Duration::from_secs(24 * 3600);

pub struct Ground {
    pub room: Room,
    pub copies: Copies,
    pub clock: Arc<FakeClock>,
    pub random: Random,
    /// What every snapshot has to give back.
    pub states: BTreeMap<Id, BTreeMap<PathBuf, Vec<u8>>>,
}

impl Ground {
    pub fn new(seed: u64) -> Self {
        Self::of_version(seed, 2)
    }

    pub fn of_version(seed: u64, version: u32) -> Self {
        let room = Room::new();
        std::fs::create_dir(room.path("source")).unwrap();
        let copies = ["first", "second", "third"].map(|name| Arc::new(MemoryFolder::new(name)));
        let start: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let clock = Arc::new(FakeClock::new(start, TimeZone::UTC));
        let ground = Self { room, copies, clock, random: Random::new(seed), states: BTreeMap::new() };
        let cost = format::ScryptCost::FAST_FOR_TESTS;
        let request = InitRequest { cost, version, ..InitRequest::default() };
        let password = PASSWORD.to_owned().into();
        Repository::init(plain(&ground.copies), &password, &request, ground.surroundings()).unwrap();
        ground
    }

    /// Two snapshots, of which the first is forgotten: its pack is needed in part.
    pub fn half_forgotten(seed: u64, version: u32) -> Self {
        let mut ground = Self::of_version(seed, version);
        ground.write(0..20);
        let first = ground.backup();
        ground.write(0..10);
        ground.backup();
        ground.forget(first);
        ground
    }

    pub fn surroundings(&self) -> Surroundings {
        let records = Some(RecordsFolder::new(self.room.path("records")));
        Surroundings { clock: self.clock.clone(), records, ..self.room.surroundings() }
    }

    pub fn open(&self) -> Repository {
        self.open_on(plain(&self.copies))
    }

    pub fn open_on(&self, destinations: Vec<Arc<dyn Destination>>) -> Repository {
        Repository::open(destinations, &PASSWORD.to_owned().into(), self.surroundings()).unwrap()
    }

    /// Fills so many files anew, each of one chunk; half of it compresses.
    pub fn write(&mut self, names: std::ops::Range<u32>) {
        for number in names {
            let mut content = self.random.bytes(6_000);
            content.resize(12_000, number as u8);
            let folder = self.room.path("source").join(format!("folder-{}", number % 5));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(format!("file-{number}")), content).unwrap();
        }
    }

    pub fn backup(&mut self) -> Id {
        let repository = self.open();
        // Otherwise two backups in the same second look alike to whoever sorts them.
        self.clock.advance(Duration::from_secs(60));
        let report = self.room.backup(&repository, Path::new("source"));
        assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.copies);
        let id = report.id.unwrap();
        self.states.insert(id, files_in(&self.room.path("source")));
        id
    }

    /// Takes a snapshot away, as a forget does.
    pub fn forget(&mut self, id: Id) {
        for copy in &self.copies {
            copy.take(FileName::new(FileKind::Snapshot, id)).unwrap();
        }
        self.states.remove(&id).unwrap();
        // A machine that forgets knows that it did.
        let repository = self.open();
        let listed = repository::copies::status::Holdings::gather(repository.copies(), FileKind::Snapshot).unwrap();
        repository.note_listed(&listed);
    }

    pub fn try_prune(&self, request: &PruneRequest) -> repository::Result<PruneReport> {
        prepare(&self.open(), request)?.run()
    }

    pub fn prune(&self, request: &PruneRequest) -> PruneReport {
        let report = self.try_prune(request).unwrap();
        assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.copies);
        self.assert_sound();
        self.assert_equal();
        report
    }

    /// What a prune would do.
    pub fn plan(&self, request: &PruneRequest) -> Plan {
        let request = PruneRequest { dry_run: true, ..request.clone() };
        let before = self.copies.each_ref().map(|copy| copy.files());
        let report = self.try_prune(&request).unwrap();
        assert_eq!(before, self.copies.each_ref().map(|copy| copy.files()), "a dry run changes nothing");
        report.plan
    }

    /// Every copy on its own gives every snapshot back, byte by byte.
    #[track_caller]
    pub fn assert_sound(&self) {
        for copy in &self.copies {
            self.assert_copy_sound(copy.clone());
        }
    }

    #[track_caller]
    pub fn assert_copy_sound(&self, copy: Arc<MemoryFolder>) {
        let place = copy.place().to_owned();
        let repository = self.open_on(vec![copy]);
        let report = check(&repository, &CheckRequest { read: ReadData::All, ..CheckRequest::default() }).unwrap();
        assert_eq!(report.verdict(), Verdict::Ok, "{place}: {:?}", report.copies[0].damages);
        assert_eq!(report.copies[0].counts.snapshots, self.states.len() as u64);
    }

    #[track_caller]
    pub fn assert_equal(&self) {
        let names = |copy: &MemoryFolder| {
            let files = copy.files().into_iter().filter(|(name, _)| name.kind() != FileKind::Lock);
            files.collect::<BTreeMap<_, _>>()
        };
        let first = names(&self.copies[0]);
        for copy in &self.copies[1..] {
            let other = names(copy);
            let differ: Vec<&FileName> =
                first.keys().chain(other.keys()).filter(|name| first.get(name) != other.get(name)).collect();
            assert!(differ.is_empty(), "{} differs in {differ:?}", copy.place());
        }
    }

    /// Every snapshot restores to what it was made of.
    pub fn assert_restores(&self) {
        let repository = self.open();
        for (id, state) in &self.states {
            let target = self.room.path("target");
            let request = RestoreRequest {
                subfolder: Some(b"/source".to_vec()),
                target: target.clone(),
                ..RestoreRequest::default()
            };
            let snapshot = repository.snapshot(*id).unwrap();
            let report =
                restore(&repository.indexed().unwrap(), &snapshot, &request, self.room.witness.as_ref()).unwrap();
            assert_eq!(report.verdict(), Verdict::Ok);
            assert!(files_in(&target) == *state, "snapshot {}", id.short());
            std::fs::remove_dir_all(&target).unwrap();
        }
    }

    pub fn names(&self, kind: FileKind) -> Vec<FileName> {
        self.copies[0].names(kind)
    }

    /// What the first copy's index files mark.
    pub fn marks(&self) -> Vec<MarkedPack> {
        let repository = self.open();
        let mut marks = Vec::new();
        for name in self.names(FileKind::Index) {
            let plain = repository.open_file(name, &self.copies[0].get(name).unwrap()).unwrap();
            marks.extend(IndexFile::parse(&plain).unwrap().packs_to_delete);
        }
        marks
    }

    /// A copy as a folder for other programs.
    pub fn lay_out(&self, copy: &MemoryFolder, name: &str) -> PathBuf {
        let folder = self.room.path(name);
        let _ = std::fs::remove_dir_all(&folder);
        for kind in FileKind::NAMED {
            std::fs::create_dir_all(folder.join(kind.folder())).unwrap();
        }
        for (name, bytes) in copy.files() {
            let path = folder.join(name.path());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        folder
    }

    /// What another program made of a folder becomes the content of every copy.
    pub fn take_in(&self, folder: &Path) {
        let mut files = BTreeMap::new();
        for (path, bytes) in files_in(folder) {
            let id = path.file_name().unwrap().to_str().unwrap().parse();
            let kind = FileKind::ALL.into_iter().find(|kind| path.starts_with(kind.folder()));
            let name = match (kind, id) {
                (Some(FileKind::Config), _) => FileName::CONFIG,
                (Some(kind), Ok(id)) => FileName::new(kind, id),
                _ => continue,
            };
            files.insert(name, bytes.into());
        }
        self.copies.iter().for_each(|copy| copy.reset(files.clone()));
    }
}

/// Everything that is unused is removed.
pub fn thorough() -> PruneRequest {
    PruneRequest { max_unused: MaxUnused::Bytes(0), ..PruneRequest::default() }
}
