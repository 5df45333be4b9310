//! The ground on which operations are tried: three copies in memory in a known state, a source that has moved on since,
//! and processes of which some are dead.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clock::{Clock, SystemClock};
use destinations::Destination;
use format::{FileKind, FileName, ScryptCost};
use jiff::{Timestamp, tz::TimeZone};
use model::Secret;
use repository::backup::backup;
use repository::{CacheFolder, InitRequest, RecordsFolder, Repository, Surroundings, keys};
use testkit::oracles::Acknowledged;
use testkit::{Lifeline, Manifest, MemoryFolder, Random, manifest};

use crate::kinds::{self, Real};
use crate::room::{PASSWORD, Room};

/// A process id that no kernel gives away: whoever has it is dead.
pub(crate) const DEAD_PROCESS: u32 = 0x3fff_ffff;

/// A second way into every repository; no test takes the first one away.
pub(crate) const OTHER_PASSWORD: &str = "battery staple";

/// Longer than marked packs stay.
const PAST_GRACE: Duration = Duration::from_secs(25 * 3600);

/// What the place on a real server is called.
const PLACE: &str = "place";

/// The files of one copy.
pub(crate) type Files = BTreeMap<FileName, Bytes>;

/// In what state an operation finds the copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ground {
    /// Nothing is there.
    Empty,
    /// A repository without snapshots.
    New,
    /// Two snapshots; an index file is gone from all copies.
    Unindexed,
    /// Two snapshots on each copy.
    Whole,
    /// The third copy lacks the second snapshot and what it needs.
    Behind,
    /// The third copy lost a pack and an index, and a bit of another pack changed.
    Damaged,
    /// Nobody counts on the first snapshot any more: it may be forgotten.
    Old,
    /// The first snapshot was forgotten: there is something to prune.
    Forgotten,
    /// The same, pruned once, and the time of grace is over.
    Marked,
    /// The third copy is an empty place; the others are whole.
    Absent,
}

/// The machine's clock, set back and then forward.
#[derive(Debug)]
pub(crate) struct Later {
    system: SystemClock,
    /// How far in the past it begins, so that what has to be old is so at the machine's own time, which restic goes by.
    behind: Duration,
    ahead_seconds: AtomicU64,
}

impl Later {
    pub(crate) fn advance(&self, by: Duration) {
        self.ahead_seconds.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    fn ahead(&self) -> Duration {
        Duration::from_secs(self.ahead_seconds.load(Ordering::SeqCst))
    }
}

impl Clock for Later {
    fn now(&self) -> Timestamp {
        self.system.now() - self.behind + self.ahead()
    }
    fn time_zone(&self) -> TimeZone {
        self.system.time_zone()
    }
    fn monotonic(&self) -> Duration {
        self.system.monotonic() + self.ahead()
    }
}

pub(crate) struct Stage {
    pub(crate) room: Room,
    pub(crate) copies: [Arc<MemoryFolder>; 3],
    pub(crate) clock: Arc<Later>,
    /// What was acknowledged on all copies, with what its restore must give.
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// What the source is like now: a backup that is made now must give this.
    pub(crate) source: Arc<Manifest>,
    ground: Ground,
    state: [Files; 3],
    /// Where the third copy lies instead, when it lies on a real server: what is in memory is then its image.
    real: Option<Box<dyn Real>>,
}

impl Stage {
    /// Three copies on this ground.
    pub(crate) fn new(ground: Ground) -> Self {
        let room = Room::new();
        let copies = ["first", "second", "third"].map(|name| Arc::new(MemoryFolder::new(name)));
        let behind = if ground == Ground::Marked { PAST_GRACE } else { Duration::ZERO };
        let clock = Arc::new(Later { system: SystemClock::new(), behind, ahead_seconds: AtomicU64::new(0) });
        let (source, state) = (Arc::default(), Default::default());
        let mut stage = Self { room, copies, clock, acknowledged: Vec::new(), source, ground, state, real: None };
        stage.build(ground);
        stage.change_source(3);
        stage.keep();
        stage
    }

    fn build(&mut self, ground: Ground) {
        if ground == Ground::Empty {
            return;
        }
        let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
        let repository = Repository::init(self.plain(), &password(), &request, self.surroundings()).unwrap();
        keys::add(&repository, &OTHER_PASSWORD.to_owned().into(), ScryptCost::FAST_FOR_TESTS).unwrap();
        if ground == Ground::New {
            return;
        }
        self.add_snapshot(1, 3);
        self.add_snapshot(2, if ground == Ground::Behind { 2 } else { 3 });
        match ground {
            Ground::Unindexed => {
                let index = self.copies[0].names(FileKind::Index)[0];
                self.copies.iter().for_each(|copy| drop(copy.take(index).unwrap()));
            }
            Ground::Damaged => self.damage_third(),
            Ground::Old => drop(self.acknowledged.remove(0)),
            Ground::Forgotten => self.forget_first(),
            Ground::Marked => {
                self.forget_first();
                crate::operations::prune(&self.open(self.plain())).unwrap();
                self.clock.advance(PAST_GRACE);
            }
            Ground::Absent => self.copies[2].reset(Files::new()),
            _ => {}
        }
    }

    /// The source as it is in `year`: most files are new each time, some stay.
    pub(crate) fn change_source(&mut self, year: u64) {
        let source = self.room.path("source");
        std::fs::create_dir_all(source.join("inner/deep")).unwrap();
        let mut random = Random::new(year);
        for number in 0..8 {
            let changes = number % 2 == 0 || year == 1;
            if changes {
                let length = 5_000 + random.index(20_000);
                std::fs::write(source.join(format!("inner/file-{number}")), random.bytes(length)).unwrap();
            }
        }
        std::fs::write(source.join(format!("inner/deep/of-{year}")), random.bytes(40_000)).unwrap();
        if year == 1 {
            std::fs::write(source.join("large"), Random::new(0).bytes(1_200_000)).unwrap();
            std::os::unix::fs::symlink("inner/deep", source.join("link")).unwrap();
        }
        self.source = Arc::new(tree_of(&source));
    }

    /// Makes a snapshot of the source in `year` on the first copies.
    fn add_snapshot(&mut self, year: u64, copies: usize) {
        self.change_source(year);
        let places = self.plain().into_iter().take(copies).collect();
        let repository = self.open(places);
        let report = backup(&repository, &self.room.request(&[Path::new("source")])).unwrap();
        self.acknowledged.push(Acknowledged { id: report.id.unwrap(), tree: self.source.clone() });
        // restic tells snapshots of one second apart by nothing.
        self.clock.advance(Duration::from_secs(60));
    }

    fn damage_third(&self) {
        let copy = &self.copies[2];
        let packs = copy.names(FileKind::Pack);
        copy.take(packs[0]).unwrap();
        assert!(copy.damage(packs[1], |bytes| bytes[40] ^= 4));
        copy.take(copy.names(FileKind::Index)[0]).unwrap();
    }

    /// Whether a copy is sound before anything is done; one that is not is only judged when it should be again.
    pub(crate) fn is_sound(&self, number: usize) -> bool {
        self.ground != Ground::Unindexed && (self.ground != Ground::Damaged || number != 2)
    }

    fn forget_first(&mut self) {
        let first = self.acknowledged.remove(0);
        let name = FileName::new(FileKind::Snapshot, first.id);
        self.copies.iter().for_each(|copy| drop(copy.take(name).unwrap()));
    }

    /// The state to which [`Stage::reset`] goes back becomes the one of now.
    pub(crate) fn keep(&mut self) {
        self.state = self.copies.each_ref().map(|copy| copy.files());
    }

    /// The files as they were before.
    pub(crate) fn before(&self, copy: usize) -> &Files {
        &self.state[copy]
    }

    /// The third copy lies on this server from the next [`Stage::reset`] on.
    pub(crate) fn settle(&mut self, real: Box<dyn Real>) {
        self.real = Some(real);
    }

    /// Lets the server go, for another stage.
    pub(crate) fn leave(self) -> Option<Box<dyn Real>> {
        self.real
    }

    /// What the third place is called.
    pub(crate) fn third_place(&self) -> String {
        self.plain()[2].place().to_owned()
    }

    /// Looks at what the server holds now.
    pub(crate) fn fetch(&self) {
        if let Some(real) = &self.real {
            let named = |(path, bytes): (String, Vec<u8>)| (named(&path), Bytes::from(bytes));
            self.copies[2].reset(real.files(PLACE).into_iter().map(named).collect());
        }
    }

    /// Back to the beginning, with a machine that remembers nothing.
    pub(crate) fn reset(&self) {
        if let Some(real) = &self.real {
            real.clear(PLACE);
            if !self.state[2].is_empty() {
                real.plant(PLACE, &self.state[2]);
            }
        }
        self.copies.iter().zip(&self.state).for_each(|(copy, files)| copy.reset(files.clone()));
        for entry in std::fs::read_dir(self.room.scratch.path()).unwrap().flatten() {
            if entry.file_name() != "source" {
                std::fs::remove_dir_all(entry.path()).unwrap();
            }
        }
    }

    /// The copies as they are.
    pub(crate) fn plain(&self) -> Vec<Arc<dyn Destination>> {
        let mut places: Vec<Arc<dyn Destination>> = self.copies.iter().map(|copy| copy.clone() as _).collect();
        if let Some(real) = &self.real {
            let _inside = self.room.runtime.enter();
            places[2] = kinds::opened(&**real, PLACE);
        }
        places
    }

    /// The copies as a process with this life sees them.
    pub(crate) fn seen_by(&self, lifeline: &Lifeline) -> Vec<Arc<dyn Destination>> {
        self.plain().into_iter().map(|place| lifeline.to(place)).collect()
    }

    /// The copies, one of which lives and dies on its own.
    pub(crate) fn with_one_seen_by(&self, number: usize, lifeline: &Lifeline) -> Vec<Arc<dyn Destination>> {
        let mut places = self.plain();
        places[number] = lifeline.to(places[number].clone());
        places
    }

    /// A process that lives.
    pub(crate) fn surroundings(&self) -> Surroundings {
        Surroundings {
            clock: self.clock.clone(),
            cache: Some(CacheFolder::new(self.room.path("cache"))),
            records: Some(RecordsFolder::new(self.room.path("records"))),
            ..self.room.surroundings()
        }
    }

    /// A process of this machine that will have been dead.
    pub(crate) fn doomed(&self) -> Surroundings {
        let mut surroundings = self.surroundings();
        surroundings.who.pid = DEAD_PROCESS;
        surroundings
    }

    /// Opens these copies.
    pub(crate) fn open(&self, places: Vec<Arc<dyn Destination>>) -> Repository {
        Repository::open(places, &password(), self.surroundings()).unwrap()
    }
}

/// The name that a path inside a copy is.
fn named(path: &str) -> FileName {
    let kind = FileKind::NAMED.into_iter().find(|kind| path.split('/').next() == Some(kind.folder()));
    let id = path.rsplit('/').next().and_then(|last| last.parse().ok());
    kind.zip(id).map_or(FileName::CONFIG, |(kind, id)| FileName::new(kind, id))
}

pub(crate) fn password() -> Secret {
    Secret::from(PASSWORD.to_owned())
}

/// A tree without its root, whose metadata no restore touches.
pub(crate) fn tree_of(folder: &Path) -> Manifest {
    let mut tree = manifest(folder).unwrap();
    tree.entries.remove(b"".as_slice());
    tree
}
