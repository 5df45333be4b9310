//! A copy of a cold and a hot place: nothing but the content of files is read from the cold one, a lost hot one comes
//! back, and a restore asks an archive for just what it needs.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use destinations::{Destination, HotAndCold};
use format::{FileKind, FileName, ScryptCost};
use model::{FaultKind, Secret, Verdict};
use repository::check::{CheckRequest, ReadData, check};
use repository::copies::heal::{HealRequest, Healing};
use repository::copies::sync::sync;
use repository::copies::warm::Patience;
use repository::forget::{self, ForgetRequest, Selection};
use repository::prune::{MaxUnused, PruneRequest, prepare};
use repository::restore::{RestoreReport, RestoreRequest, restore};
use repository::retention::Wish;
use repository::snapshots::SnapshotFilter;
use repository::{Error, Event, InitRequest, Repository};
use room::{PASSWORD, Room};
use testkit::process::wait_until;
use testkit::{Archive, Manifest, MemoryFolder, manifest};

/// A pair, and a usual copy for those tests that want one beside it.
struct Ground {
    room: Room,
    cold: Arc<Archive>,
    hot: MemoryFolder,
    usual: MemoryFolder,
}

impl Ground {
    /// A repository in the pair, with two snapshots of data that lies in packs of its own.
    fn new() -> Self {
        let ground = Self::empty();
        ground.fill(vec![ground.pair()]);
        ground
    }

    fn empty() -> Self {
        let cold = Arc::new(Archive::new(MemoryFolder::new("cold")));
        Self { room: Room::new(), cold, hot: MemoryFolder::new("hot"), usual: MemoryFolder::new("usual") }
    }

    fn with_usual() -> Self {
        let ground = Self::empty();
        ground.fill(ground.both());
        ground
    }

    fn fill(&self, places: Vec<Arc<dyn Destination>>) {
        let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
        let password = Secret::from(PASSWORD.to_owned());
        let repository = Repository::init(places, &password, &request, self.room.surroundings()).unwrap();
        for folder in ["first", "second"] {
            let folder = self.source().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("file"), testkit::Random::new(folder.as_os_str().len() as u64).bytes(300_000))
                .unwrap();
            assert_eq!(self.room.backup(&repository, &self.source()).verdict, Verdict::Ok);
        }
    }

    fn source(&self) -> std::path::PathBuf {
        self.room.path("source")
    }

    /// The pair as a new process sees it.
    fn pair(&self) -> Arc<dyn Destination> {
        Arc::new(HotAndCold::new(self.cold.clone(), Arc::new(self.hot.clone())))
    }

    fn both(&self) -> Vec<Arc<dyn Destination>> {
        vec![Arc::new(self.usual.clone()), self.pair()]
    }

    fn open(&self) -> Repository {
        self.room.open_with(vec![self.pair()]).unwrap()
    }

    /// What the hot place has to hold when nothing is lost.
    fn expected_in_hot(&self) -> BTreeSet<FileName> {
        let archived: BTreeSet<FileName> = self.cold.archived().into_iter().collect();
        let all = self.cold.files().files().into_keys();
        all.filter(|name| name.kind() != FileKind::Lock && !archived.contains(name)).collect()
    }

    #[track_caller]
    fn assert_hot_is_whole(&self) {
        let there: BTreeSet<FileName> = self.hot.files().into_keys().collect();
        assert_eq!(there, self.expected_in_hot());
        for name in there.into_iter().filter(|name| *name != FileName::CONFIG) {
            assert_eq!(self.hot.get(name), self.cold.files().get(name), "{name}");
        }
    }

    fn restore(&self, repository: &Repository, request: &RestoreRequest) -> repository::Result<RestoreReport> {
        let snapshot = repository.find_snapshot("latest", &SnapshotFilter::default()).unwrap().snapshot;
        restore(&repository.indexed().unwrap(), &snapshot, request, repository.observer())
    }

    fn request(&self, patience: Patience) -> RestoreRequest {
        RestoreRequest { target: self.room.path("target"), patience, ..RestoreRequest::default() }
    }

    #[track_caller]
    fn assert_restored(&self, report: &RestoreReport) {
        assert_eq!(report.failed_count, 0, "{:?}", report.failed);
        let restored = self.room.path("target").join(self.source().strip_prefix("/").unwrap());
        assert_same(&self.source(), &restored);
    }
}

#[track_caller]
fn assert_same(one: &Path, other: &Path) {
    let difference = Manifest::difference(&manifest(one).unwrap(), &manifest(other).unwrap());
    assert!(difference.is_empty(), "{difference:#?}");
}

fn forget_all_but_the_latest(repository: &Repository) {
    let latest = repository.find_snapshot("latest", &SnapshotFilter::default()).unwrap().id;
    let listed = repository.snapshots().unwrap().snapshots;
    let ids = listed.into_iter().map(|(id, _)| id).filter(|id| *id != latest);
    let selection = Selection::Ids(ids.collect());
    let request = ForgetRequest { selection, wish: Wish::default(), believe_listings: false };
    forget::execute(repository, &forget::plan(repository, &request).unwrap()).unwrap();
}

const AT_ONCE: Patience = Patience { total: Duration::ZERO, poll: Duration::ZERO };
const PATIENT: Patience = Patience { total: Duration::from_secs(120), poll: Duration::from_millis(2) };

#[test]
fn what_is_not_data_is_in_both_places_and_read_from_the_hot_one() {
    let ground = Ground::new();
    assert_eq!(ground.cold.archived().len(), 2, "a pack of data for each snapshot");
    ground.assert_hot_is_whole();
    assert_ne!(ground.hot.get(FileName::CONFIG), ground.cold.files().get(FileName::CONFIG), "the hot one says so");
    ground.cold.take_read();
    // Everything that reads no content: opening, snapshots, indexes, listings, checks, a backup of what is known.
    let repository = ground.open();
    assert_eq!(ground.room.backup(&repository, &ground.source()).verdict, Verdict::Ok);
    let report = check(&repository, &CheckRequest::default()).unwrap();
    assert_eq!(report.verdict(), Verdict::Ok, "{report:?}");
    ground.restore(&repository, &RestoreRequest { dry_run: true, ..ground.request(AT_ONCE) }).unwrap();
    let read: BTreeSet<FileName> = ground.cold.take_read().into_iter().collect();
    assert_eq!(read, BTreeSet::from([FileName::CONFIG]), "only the config is read from the cold place");
}

#[test]
fn a_lost_hot_place_comes_back_by_being_used() {
    let ground = Ground::new();
    for lose in [FileKind::NAMED.as_slice(), &[FileKind::Pack], &[FileKind::Index], &[FileKind::Key, FileKind::Index]] {
        let lost: Vec<FileName> = lose.iter().flat_map(|kind| ground.hot.names(*kind)).collect();
        assert!(lost.len() >= lose.len() - 1, "{lose:?}");
        lost.into_iter().for_each(|name| drop(ground.hot.take(name)));
        if lose.len() > 2 {
            ground.hot.take(FileName::CONFIG);
        }
        let repository = ground.open();
        repository.indexed().unwrap();
        ground.assert_hot_is_whole();
        assert!(repository.copies().live().next().is_some());
    }
    // Nothing is asked of the archive for that.
    assert_eq!(ground.cold.asked(), []);
}

#[test]
fn wrong_bytes_in_the_hot_place_are_replaced_by_those_of_the_cold_one() {
    let ground = Ground::new();
    for kind in [FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
        for name in ground.hot.names(kind) {
            assert!(ground.hot.damage(name, |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 1)));
        }
    }
    ground.cold.gives_after(0);
    let repository = ground.open();
    let report = ground.restore(&repository, &ground.request(PATIENT)).unwrap();
    ground.assert_restored(&report);
    assert_eq!(repository.snapshots().unwrap().snapshots.len(), 2);
    let whole =
        ground.hot.names(FileKind::Pack).into_iter().filter(|n| ground.hot.get(*n) == ground.cold.files().get(*n));
    assert!(whole.count() >= 1, "the packs that were read are right again");
    assert!(!room_told_of_damage(&ground.room), "{:?}", ground.room.witness.events());
}

fn room_told_of_damage(room: &Room) -> bool {
    room.witness.events().iter().any(|event| matches!(event, Event::Damage(_)))
}

#[test]
fn a_hot_place_of_somebody_else_is_left_alone() {
    let ground = Ground::new();
    let stranger = Ground::new();
    // Another repository's hot part, and a whole copy of this one.
    let whole = ground.cold.files().copy("whole");
    for (hot, why) in [(stranger.hot.clone(), "not the hot part of this repository"), (whole, "a copy by itself")] {
        let before = hot.files();
        let pair = Arc::new(HotAndCold::new(ground.cold.clone(), Arc::new(hot.clone())));
        let refused = ground.room.open_with(vec![pair]).expect_err(why);
        assert!(matches!(&refused, Error::Destination(fault) if fault.kind == FaultKind::Misconfigured), "{refused}");
        assert!(refused.to_string().contains(why), "{refused}");
        assert!(hot.files() == before, "{why}: nothing was put there");
    }
}

#[test]
fn a_restore_asks_for_what_it_needs_and_resumes() {
    let ground = Ground::new();
    let repository = ground.open();
    let foretold = ground.restore(&repository, &RestoreRequest { dry_run: true, ..ground.request(AT_ONCE) }).unwrap();
    let sizes = ground.cold.archived().into_iter().map(|name| ground.cold.files().get(name).unwrap().len() as u64);
    assert_eq!((foretold.cold_packs, foretold.cold_bytes), (2, sizes.sum()));
    assert_eq!(ground.cold.asked(), [], "a dry run asks for nothing");

    // A part of the snapshot needs a part of the packs.
    let subfolder = ground.source().join("first").to_str().unwrap().as_bytes().to_vec();
    let part =
        RestoreRequest { subfolder: Some(subfolder), target: ground.room.path("part"), ..ground.request(AT_ONCE) };
    let ended = ground.restore(&repository, &part).expect_err("it is cold");
    assert!(matches!(ended, Error::StillCold { packs: 1, .. }), "{ended}");
    assert_eq!(ground.cold.asked().len(), 1);

    // What was asked for is not asked for again; who waits can be stopped.
    let cancel = ground.room.cancel.clone();
    let waits = || {
        let told = ground.room.witness.events();
        told.iter().any(|event| matches!(event, Event::WarmingUp { packs: 2, .. }))
    };
    std::thread::scope(|scope| {
        let restoring = scope.spawn(|| ground.restore(&repository, &ground.request(PATIENT)));
        assert!(wait_until(Duration::from_secs(60), waits));
        cancel.set();
        let ended = restoring.join().unwrap().expect_err("it was stopped");
        assert!(matches!(ended, Error::Interrupted), "{ended}");
    });
    let asked = ground.cold.asked();
    assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len(), "nothing is asked for twice: {asked:?}");

    // Another process goes on, and comes to its end when the archive gives.
    let again =
        Ground { room: Room::new(), cold: ground.cold.clone(), hot: ground.hot.clone(), usual: ground.usual.clone() };
    again.cold.gives_after(3);
    let report =
        again.restore(&again.open(), &RestoreRequest { target: ground.room.path("target"), ..again.request(PATIENT) });
    ground.assert_restored(&report.unwrap());
    assert!(again.cold.asked().len() <= 2, "{:?}", again.cold.asked());
}

#[test]
fn a_copy_that_is_not_cold_is_asked_first() {
    let ground = Ground::with_usual();
    // Named last, and read first.
    let places = ground.both().into_iter().rev().collect();
    let repository = ground.room.open_with(places).unwrap();
    ground.cold.take_read();
    let report = ground.restore(&repository, &ground.request(AT_ONCE)).unwrap();
    ground.assert_restored(&report);
    assert_eq!(ground.cold.asked(), []);
    assert!(ground.cold.take_read().iter().all(|name| name.kind() != FileKind::Pack));
    // What the usual copy lacks is asked for, and nothing else.
    let lost = ground.cold.archived()[0];
    ground.usual.take(lost).unwrap();
    let request = RestoreRequest { target: ground.room.path("other"), ..ground.request(AT_ONCE) };
    let ended = ground.restore(&repository, &request).expect_err("one pack is cold");
    assert!(matches!(ended, Error::StillCold { packs: 1, .. }), "{ended}");
    assert_eq!(ground.cold.asked(), [lost]);
}

#[test]
fn a_cold_copy_is_kept_up_beside_a_usual_one() {
    let ground = Ground::with_usual();
    let repository = || ground.room.open_with(ground.both()).unwrap();
    // It was away, and had lost something.
    let archived = ground.cold.archived();
    ground.cold.files().take(archived[0]).unwrap();
    assert_eq!(sync(&repository()).unwrap().verdict, Verdict::Ok);
    assert_eq!(ground.cold.archived(), archived, "data comes back as data");
    ground.cold.files().damage(archived[1], |bytes| bytes.truncate(100));
    {
        let repository = repository();
        ground.cold.gives_after(0);
        ground.room.runtime.block_on(ground.cold.warm_up(archived[1])).unwrap();
        let mut healing = Healing::examine(&repository, &HealRequest::default()).unwrap();
        let report = healing.apply(false).unwrap();
        assert!(report.lost.is_empty(), "{report:?}");
    }
    assert_eq!(ground.cold.archived(), archived);
    assert_eq!(ground.cold.files().get(archived[1]), ground.usual.get(archived[1]));
    // What is forgotten leaves both places.
    forget_all_but_the_latest(&repository());
    let request = PruneRequest { grace: Duration::ZERO, ..PruneRequest::default() };
    let opened = repository();
    assert_eq!(prepare(&opened, &request).unwrap().run().unwrap().verdict, Verdict::Ok);
    drop(opened);
    ground.assert_hot_is_whole();
    let files = |place: &MemoryFolder| {
        place.files().into_iter().filter(|(name, _)| name.kind() != FileKind::Lock).collect::<Vec<_>>()
    };
    assert!(files(ground.cold.files()) == files(&ground.usual), "the copies are byte-identical");
}

#[test]
fn checks_and_prunes_ask_an_archive_only_where_they_may() {
    let ground = Ground::new();
    // A pack of which a half is needed.
    let [stays, goes] = ["stays", "goes"].map(|name| ground.source().join(name));
    for (seed, file) in [(71, &stays), (72, &goes)] {
        std::fs::write(file, testkit::Random::new(seed).bytes(300_000)).unwrap();
    }
    ground.room.backup(&ground.open(), &ground.source());
    std::fs::remove_file(&goes).unwrap();
    ground.room.backup(&ground.open(), &ground.source());
    forget_all_but_the_latest(&ground.open());
    let prune = |patience| {
        let repository = ground.open();
        let request = PruneRequest { max_unused: MaxUnused::Bytes(0), patience, ..PruneRequest::default() };
        prepare(&repository, &request)?.run()
    };
    let whole = |patience| {
        let read = CheckRequest { read: ReadData::All, patience, ..CheckRequest::default() };
        check(&ground.open(), &read)
    };
    let before = ground.cold.archived();
    for refused in [prune(None).map(drop).expect_err("cold"), whole(None).map(drop).expect_err("cold")] {
        assert!(matches!(refused, Error::Refused { .. }), "{refused}");
        assert!(refused.to_string().contains("archive"), "{refused}");
    }
    assert_eq!((ground.cold.asked(), ground.cold.archived()), (Vec::new(), before.clone()));
    ground.cold.gives_after(1);
    assert_eq!(prune(Some(PATIENT)).unwrap().verdict, Verdict::Ok);
    assert_eq!(ground.cold.asked().len(), 1, "the pack that is written anew");
    let new = ground.cold.archived().into_iter().filter(|name| !before.contains(name)).count();
    assert_eq!(new, 1, "what is written anew is data again");
    ground.assert_hot_is_whole();
    let report = whole(Some(PATIENT)).unwrap();
    assert_eq!(report.verdict(), Verdict::Ok, "{report:?}");
    let asked = ground.cold.asked();
    assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len(), "nothing is asked for twice: {asked:?}");
}
