//! What is remembered of unchanged folders makes backups faster, never different: the same tree and the same counts as
//! without it, whatever happens to the sources, to the cache, and to the repository.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, clippy::disallowed_methods)]

mod room;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use clock::{Clock, FakeClock, SystemClock};
use format::{FileKind, FileName, ScryptCost};
use jiff::tz::TimeZone;
use model::{Id, Verdict};
use repository::backup::{BackupReport, BackupRequest, ParentChoice, backup};
use repository::{CacheFolder, InitRequest, Observer, Progress, Repository, Surroundings};
use room::{PASSWORD, Room, small_tree};
use testkit::{Faulty, MemoryFolder, Random, Script, Verb, seed};

/// Rounds of changes for each kind of clock.
const ROUNDS: usize = 24;

/// One repository, backed up with a cache and without.
struct Stage {
    room: Room,
    /// It has no faults; it knows what was asked of it.
    copy: Arc<Faulty<MemoryFolder>>,
    clock: Arc<dyn Clock>,
    /// The same clock, when it is ours to set.
    fake: Option<Arc<FakeClock>>,
}

impl Stage {
    /// With a clock that runs an hour ahead for each backup, so that everything has settled.
    fn ahead() -> Self {
        let fake = Arc::new(FakeClock::new(jiff::Timestamp::try_from(SystemTime::now()).unwrap(), TimeZone::UTC));
        Self::with(fake.clone(), Some(fake))
    }

    fn with(clock: Arc<dyn Clock>, fake: Option<Arc<FakeClock>>) -> Self {
        let copy = Arc::new(Faulty::new(Arc::new(MemoryFolder::new("copy")), Script::new(0)));
        let stage = Self { room: Room::new(), copy, clock, fake };
        let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
        let password = PASSWORD.to_owned().into();
        Repository::init(vec![stage.copy.clone()], &password, &request, stage.surroundings(None)).unwrap();
        stage
    }

    fn source(&self) -> PathBuf {
        self.room.path("source")
    }

    fn surroundings(&self, cache: Option<CacheFolder>) -> Surroundings {
        Surroundings { clock: self.clock.clone(), cache, ..self.room.surroundings() }
    }

    fn open(&self, cached: bool) -> Repository {
        let cache = cached.then(|| CacheFolder::new(self.room.path("cache")));
        let password = PASSWORD.to_owned().into();
        Repository::open(vec![self.copy.clone()], &password, self.surroundings(cache)).unwrap()
    }

    fn request(&self) -> BackupRequest {
        self.room.request(&[Path::new("source")])
    }

    /// How often packs were read so far.
    fn pack_reads(&self) -> usize {
        let operations = self.copy.operations();
        operations.iter().filter(|asked| asked.verb == Verb::Read && asked.kind == FileKind::Pack).count()
    }

    fn pass_an_hour(&self) {
        if let Some(fake) = &self.fake {
            fake.advance(Duration::from_secs(3600));
        }
    }

    /// A backup with the cache; gives how many packs were read too.
    fn cached(&self, request: &BackupRequest) -> (BackupReport, usize) {
        self.pass_an_hour();
        let repository = self.open(true);
        let before = self.pack_reads();
        let report = backup(&repository, request).unwrap();
        (report, self.pack_reads() - before)
    }

    /// The same backup without the cache, of which nothing remains.
    fn plain(&self, request: &BackupRequest) -> BackupReport {
        backup(&self.open(false), &BackupRequest { dry_run: true, ..request.clone() }).unwrap()
    }

    /// Both must come to the same; gives how many packs the one with the cache read.
    fn assert_same(&self, request: &BackupRequest, what: &str) -> usize {
        self.pass_an_hour();
        let plain = self.plain(request);
        let repository = self.open(true);
        let before = self.pack_reads();
        let cached = backup(&repository, request).unwrap();
        assert_eq!(cached.snapshot.tree, plain.snapshot.tree, "{what}: another tree");
        assert_eq!(counts(&cached), counts(&plain), "{what}: other counts");
        assert_eq!(troubles(&cached), troubles(&plain), "{what}: other troubles");
        self.pack_reads() - before
    }

    fn cache_files(&self) -> Vec<PathBuf> {
        let id = self.open(false).config().id;
        let cache = CacheFolder::new(self.room.path("cache")).of(&id);
        let folder = self.room.path("cache").join(format!("triplicate-{id}"));
        let names = cache.names();
        names.iter().filter(|name| name.starts_with("folders-")).map(|name| folder.join(name)).collect()
    }
}

fn counts(report: &BackupReport) -> [u64; 8] {
    let summary = &report.summary;
    let files = [summary.files_new, summary.files_changed, summary.files_unmodified];
    let dirs = [summary.dirs_new, summary.dirs_changed, summary.dirs_unmodified];
    let all = [files, dirs].concat();
    let totals = vec![summary.total_files_processed, summary.total_bytes_processed];
    [all, totals].concat().try_into().unwrap()
}

fn troubles(report: &BackupReport) -> Vec<String> {
    let mut troubles: Vec<String> = report.troubles.iter().map(ToString::to_string).collect();
    troubles.sort();
    troubles
}

/// Waits until the file system's clock has moved on: a change within its step shows in no ctime, and for nobody.
fn tick(beside: &Path) {
    let probe = beside.join("probe");
    let ctime = || {
        std::fs::write(&probe, "x").unwrap();
        let stat = std::fs::metadata(&probe).unwrap();
        (stat.ctime(), stat.ctime_nsec())
    };
    let (first, deadline) = (ctime(), Instant::now() + Duration::from_secs(10));
    while ctime() == first {
        assert!(Instant::now() < deadline, "the file system's clock stands still");
    }
}

/// Folders in folders with files, links, attributes, a pipe.
fn wide_tree(folder: &Path, random: &mut Random) {
    for outer in 0..6 {
        for inner in 0..4 {
            let folder = folder.join(format!("outer-{outer}/inner-{inner}"));
            std::fs::create_dir_all(&folder).unwrap();
            for file in 0..5 {
                let length = random.index(3000);
                std::fs::write(folder.join(format!("file-{file}")), random.bytes(length)).unwrap();
            }
            symlink("file-0", folder.join("link")).unwrap();
            set_attribute(&folder.join("file-1"), "user.note", &random.bytes(8));
        }
        std::fs::create_dir(folder.join(format!("outer-{outer}/hollow"))).unwrap();
    }
    std::fs::hard_link(folder.join("outer-0/inner-0/file-0"), folder.join("outer-1/second-name")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let pipe = folder.join("outer-2/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    // Not every file system takes them; then there is nothing to see.
    let _ = rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty());
}

/// Everything below a folder: folders, and the rest.
fn all_below(folder: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut folders, mut others) = (vec![folder.to_owned()], Vec::new());
    let mut at = 0;
    while let Some(next) = folders.get(at).cloned() {
        at += 1;
        for entry in std::fs::read_dir(&next).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => others.push(entry.path()),
            }
        }
    }
    folders.sort();
    others.sort();
    (folders, others)
}

/// Does something to the tree, and says what. Some attempts come to nothing; that is a change of nothing.
fn mutate(source: &Path, random: &mut Random, number: usize) -> String {
    let (folders, others) = all_below(source);
    let folder = folders[random.index(folders.len())].clone();
    let other_folder = folders[random.index(folders.len())].clone();
    let Some(file) = others.get(random.index(others.len().max(1))).cloned() else { return "nothing left".into() };
    let fresh = folder.join(format!("new-{number}"));
    let is_file = std::fs::symlink_metadata(&file).unwrap().is_file();
    let set_mtime = |path: &Path, time: SystemTime| {
        let _ = std::fs::File::options().write(true).open(path).and_then(|file| file.set_modified(time));
    };
    let kind = random.index(16);
    let _ = match kind {
        0 if is_file => {
            set_mtime(&file, SystemTime::UNIX_EPOCH + Duration::from_secs(random.below(1 << 30)));
            Ok(())
        }
        1 if is_file => std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600 + random.below(64) as u32)),
        2 => std::fs::rename(&file, file.with_file_name(format!("renamed-{number}"))),
        3 => std::fs::rename(&file, &fresh),
        4 => {
            set_attribute(&file, "user.note", &random.bytes(5));
            Ok(())
        }
        5 => rustix::fs::lremovexattr(&file, "user.note").map_err(Into::into),
        6 => std::fs::remove_file(&file).and_then(|()| symlink("elsewhere", &file)),
        7 if is_file => {
            // Another content of the same length, with its modification time set back.
            let stat = std::fs::metadata(&file).unwrap();
            std::fs::write(&file, random.bytes(stat.len() as usize))
                .map(|()| set_mtime(&file, stat.modified().unwrap()))
        }
        8 => std::fs::write(&fresh, random.bytes(500)),
        9 => std::fs::remove_file(&file),
        10 => std::fs::create_dir(&fresh),
        11 if folder != source => std::fs::remove_dir_all(&folder),
        // Into itself it cannot go.
        12 if folder != source => std::fs::rename(&folder, other_folder.join(format!("moved-{number}"))),
        13 => std::fs::hard_link(&file, &fresh),
        14 => std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700 + random.below(64) as u32)),
        15 => std::os::unix::fs::lchown(&file, Some(random.below(3) as u32), Some(random.below(3) as u32)),
        _ => {
            set_attribute(&folder, "user.note", &random.bytes(5));
            Ok(())
        }
    };
    format!("change {kind} of {} or {}", file.display(), folder.display())
}

fn changes_at_random(stage: &Stage, seed: u64) {
    let mut random = Random::new(seed);
    wide_tree(&stage.source(), &mut random);
    stage.assert_same(&stage.request(), "at first");
    for round in 0..ROUNDS {
        tick(stage.room.scratch.path());
        let changes: Vec<String> = (0..random.index(4))
            .map(|number| {
                tick(stage.room.scratch.path());
                mutate(&stage.source(), &mut random, round * 10 + number)
            })
            .collect();
        stage.assert_same(&stage.request(), &format!("seed {seed}, round {round}: {changes:#?}"));
    }
}

#[test]
fn changes_at_random_are_seen_when_everything_has_settled() {
    changes_at_random(&Stage::ahead(), seed("unchanged-settled"));
}

#[test]
fn changes_at_random_are_seen_as_they_happen() {
    changes_at_random(&Stage::with(Arc::new(SystemClock::new()), None), seed("unchanged-unsettled"));
}

#[test]
fn an_unchanged_tree_is_not_read_and_a_changed_file_costs_its_folders() {
    let stage = Stage::ahead();
    wide_tree(&stage.source(), &mut Random::new(1));
    stage.cached(&stage.request());
    // The top of the snapshot alone, which holds the source.
    assert_eq!(stage.assert_same(&stage.request(), "unchanged").min(2), 1);
    let (folders, _) = all_below(&stage.source());
    assert!(folders.len() > 30);
    std::fs::write(stage.source().join("outer-3/inner-2/file-1"), "new").unwrap();
    // The top, the source, and the two folders on the way.
    assert_eq!(stage.assert_same(&stage.request(), "one file").min(5), 4);
    assert_eq!(stage.assert_same(&stage.request(), "unchanged again").min(2), 1);
}

#[test]
fn a_folder_that_was_touched_around_the_backup_is_not_believed() {
    let stage = Stage::with(Arc::new(SystemClock::new()), None);
    small_tree(&stage.source());
    stage.cached(&stage.request());
    let (report, reads) = stage.cached(&stage.request());
    assert_eq!(report.verdict, Verdict::Ok);
    assert!(reads > 1, "{reads}");
}

#[test]
fn what_went_wrong_is_told_each_time() {
    if rustix::process::geteuid().is_root() && std::fs::read("/proc/self/loginuid").is_err() {
        testkit::skip("needs /proc");
        return;
    }
    let stage = Stage::ahead();
    small_tree(&stage.source());
    // What is no text cannot be stored; it takes no special user to make one.
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(b"user.n\xfft");
    let odd: &std::ffi::OsStr = odd;
    let path = stage.source().join("inner/file-7");
    if rustix::fs::lsetxattr(&path, odd, b"x", rustix::fs::XattrFlags::empty()).is_err() {
        testkit::skip("this file system takes no such attribute");
        return;
    }
    for round in 0..3 {
        stage.assert_same(&stage.request(), &format!("round {round}"));
        let (report, _) = stage.cached(&stage.request());
        assert_eq!(troubles(&report).len(), 1, "round {round}: {:?}", report.troubles);
    }
}

#[test]
fn a_damaged_memory_is_absent() {
    let stage = Stage::ahead();
    wide_tree(&stage.source(), &mut Random::new(2));
    stage.cached(&stage.request());
    stage.cached(&stage.request());
    let mut random = Random::new(seed("unchanged-damaged"));
    for number in 0..40 {
        let [file] = stage.cache_files().try_into().unwrap();
        let sound = std::fs::read(&file).unwrap();
        let mut other = sound.clone();
        // Every region of the file gets its turn.
        let at = sound.len() * (number / 4) / 10 + random.index(sound.len() / 10);
        match number % 4 {
            0 => other[at] ^= 1 << random.index(8),
            1 => other.truncate(at),
            2 => other[at..].fill(0),
            _ => other.extend_from_slice(&sound),
        }
        std::fs::write(&file, other).unwrap();
        let reads = stage.assert_same(&stage.request(), &format!("damage {number} at {at}"));
        assert!(reads > 1, "damage {number} at {at} was not noticed");
        assert_eq!(stage.cached(&stage.request()).1, 1, "it was not made again");
    }
}

#[test]
fn the_memory_of_another_snapshot_host_or_repository_is_absent() {
    let stage = Stage::ahead();
    let other = Stage::ahead();
    for stage in [&stage, &other] {
        wide_tree(&stage.source(), &mut Random::new(3));
        stage.cached(&stage.request());
    }
    let [file] = stage.cache_files().try_into().unwrap();
    let older = std::fs::read(&file).unwrap();
    std::fs::write(stage.source().join("outer-1/inner-1/file-1"), "new").unwrap();
    stage.cached(&stage.request());
    std::fs::write(&file, older).unwrap();
    assert!(stage.assert_same(&stage.request(), "an older snapshot's") > 1);
    let [theirs] = other.cache_files().try_into().unwrap();
    std::fs::copy(theirs, &file).unwrap();
    assert!(stage.assert_same(&stage.request(), "another repository's") > 1);
    let elsewhere = BackupRequest { hostname: "elsewhere".into(), ..stage.request() };
    stage.cached(&elsewhere);
    let of_elsewhere = stage.cache_files().into_iter().find(|path| *path != file).unwrap();
    std::fs::copy(of_elsewhere, &file).unwrap();
    assert!(stage.assert_same(&stage.request(), "another host's") > 1);
    assert_eq!(stage.cached(&stage.request()).1, 1);
}

#[test]
fn options_that_change_what_counts_use_no_memory() {
    let stage = Stage::ahead();
    wide_tree(&stage.source(), &mut Random::new(4));
    stage.cached(&stage.request());
    for (what, request) in [
        ("access times", BackupRequest { with_atime: true, ..stage.request() }),
        ("no ctimes", BackupRequest { ignore_ctime: true, ..stage.request() }),
        ("no parent", BackupRequest { parent: ParentChoice::None, ..stage.request() }),
    ] {
        stage.cached(&stage.request());
        assert_eq!(stage.assert_same(&stage.request(), "unchanged"), 1);
        if what == "no parent" {
            assert_eq!(stage.assert_same(&request, what), 0, "{what}");
        } else {
            assert!(stage.assert_same(&request, what) > 1, "{what}");
        }
    }
}

#[test]
fn content_that_was_removed_from_the_repository_is_stored_again() {
    let stage = Stage::ahead();
    wide_tree(&stage.source(), &mut Random::new(5));
    // All chunks are new in the first run, and lie in the index in the second: both kinds of proof have their turn.
    for unchanged_runs in [0, 2] {
        stage.cached(&stage.request());
        (0..unchanged_runs).for_each(|_| drop(stage.cached(&stage.request())));
        // As a prune does that thinks that nobody needs it: the index first, then the packs.
        for kind in [FileKind::Index, FileKind::Pack] {
            for name in stage.copy.inner().names(kind) {
                stage.copy.inner().take(name);
            }
        }
        let (report, _) = stage.cached(&stage.request());
        assert!(report.summary.data_blobs > 100, "{unchanged_runs}: {:?}", report.summary);
        assert_every_blob_is_there(&stage, report.snapshot.tree);
    }
    // A pack alone, while the index still tells of it.
    stage.cached(&stage.request());
    for name in stage.copy.inner().names(FileKind::Pack) {
        stage.copy.inner().take(name);
    }
    let (report, _) = stage.cached(&stage.request());
    assert!(report.summary.data_blobs > 100, "{:?}", report.summary);
    assert_every_blob_is_there(&stage, report.snapshot.tree);
}

fn assert_every_blob_is_there(stage: &Stage, tree: Id) {
    let repository = stage.open(false);
    let indexed = repository.indexed().unwrap();
    let mut open = vec![tree];
    while let Some(next) = open.pop() {
        for node in indexed.tree(&next).unwrap().nodes {
            open.extend(node.subtree);
            for chunk in node.content.iter().flatten() {
                indexed.blob(format::BlobKind::Data, chunk).unwrap();
            }
        }
    }
}

#[test]
fn a_listing_that_is_damaged_is_made_again() {
    for whole_folder in [true, false] {
        let stage = Stage::ahead();
        wide_tree(&stage.source(), &mut Random::new(6));
        let mut request = stage.request();
        if whole_folder {
            // The snapshot's top is the source itself, so that the snapshot leads to a folder that is remembered.
            request.current_folder = stage.source();
            request.paths = vec![PathBuf::from(".")];
        }
        let (report, _) = stage.cached(&request);
        stage.cached(&request);
        // Every pack that holds a listing is damaged in place: the sizes stay, so that nothing looks lost.
        let repository = stage.open(false);
        let indexed = repository.indexed().unwrap();
        let pack = indexed.index.get(format::BlobKind::Tree, &report.snapshot.tree).unwrap().pack;
        stage.copy.inner().damage(FileName::pack(pack), |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0x55));
        std::fs::write(stage.source().join("outer-3/inner-2/new"), "new").unwrap();
        stage.pass_an_hour();
        let plain = stage.plain(&request);
        let (cached, reads) = stage.cached(&request);
        assert!(reads > 0);
        assert_eq!(cached.snapshot.tree, plain.snapshot.tree, "{whole_folder}");
        let files = |report: &BackupReport| report.summary.total_files_processed;
        assert_eq!((files(&cached), cached.verdict), (files(&plain), plain.verdict), "{whole_folder}");
        stage.pass_an_hour();
        let again = stage.plain(&request);
        assert_eq!(stage.cached(&request).0.snapshot.tree, again.snapshot.tree, "{whole_folder}");
    }
}

/// Remembers which entries were named.
#[derive(Default)]
struct Named {
    progress: Progress,
    entries: std::sync::Mutex<Vec<String>>,
}

impl Observer for Named {
    fn progress(&self) -> &Progress {
        &self.progress
    }
    fn event(&self, event: repository::Event) {
        if let repository::Event::Entry { path, action, size } = event {
            self.entries.lock().unwrap().push(format!("{} {action:?} {size}", path.display()));
        }
    }
    fn wants_entries(&self) -> bool {
        true
    }
}

#[test]
fn every_entry_is_named_to_who_wants_to_know() {
    let stage = Stage::ahead();
    wide_tree(&stage.source(), &mut Random::new(7));
    stage.cached(&stage.request());
    let named = |cache: Option<CacheFolder>| {
        let observer = Arc::new(Named::default());
        let surroundings = Surroundings { observer: observer.clone(), ..stage.surroundings(cache) };
        let password = PASSWORD.to_owned().into();
        let repository = Repository::open(vec![stage.copy.clone()], &password, surroundings).unwrap();
        backup(&repository, &BackupRequest { dry_run: true, ..stage.request() }).unwrap();
        let mut entries = std::mem::take(&mut *observer.entries.lock().unwrap());
        entries.sort();
        let total = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let progress = &observer.progress;
        let totals = [&progress.items_total, &progress.items_done, &progress.bytes_total, &progress.bytes_done];
        (entries, totals.map(total))
    };
    stage.pass_an_hour();
    let with = named(Some(CacheFolder::new(stage.room.path("cache"))));
    assert_eq!(with, named(None));
    assert!(with.0.len() > 100);
}
