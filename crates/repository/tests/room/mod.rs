//! A room to test the engine in: a runtime, scratch folders, and repositories in some of them.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, missing_docs, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clock::SystemClock;
use destinations::{Access, Destination, Limits};
use format::ScryptCost;
use model::Secret;
use repository::backup::{BackupReport, BackupRequest, backup};
use repository::{Cancel, Event, InitRequest, Observer, Progress, Repository, Surroundings, Who};
use tempfile::TempDir;
use testkit::{Faulty, MemoryFolder, Script};

pub const PASSWORD: &str = "correct horse";

/// Remembers every event.
#[derive(Default)]
pub struct Witness {
    progress: Progress,
    events: Mutex<Vec<Event>>,
}

impl Witness {
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }
}

impl Observer for Witness {
    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn event(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

pub struct Room {
    pub runtime: tokio::runtime::Runtime,
    pub scratch: TempDir,
    pub witness: Arc<Witness>,
    pub cancel: Cancel,
}

impl Room {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        Self { runtime, scratch, witness: Arc::default(), cancel: Cancel::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn surroundings(&self) -> Surroundings {
        let who =
            Who { hostname: "testhost".into(), username: "tester".into(), uid: 0, gid: 0, pid: std::process::id() };
        Surroundings {
            runtime: self.runtime.handle().clone(),
            clock: Arc::new(SystemClock::new()),
            cancel: self.cancel.clone(),
            observer: self.witness.clone(),
            who,
            no_lock: false,
            retry_lock: Duration::ZERO,
            queue_bytes: repository::copies::QUEUE_BYTES,
            cache: None,
            records: None,
        }
    }

    pub fn destination(&self, name: &str) -> Arc<dyn Destination> {
        let location = self.path(name).to_str().unwrap().parse().unwrap();
        destinations::open(&location, &Access::default(), &Limits::default()).unwrap()
    }

    pub fn destinations(&self, names: &[&str]) -> Vec<Arc<dyn Destination>> {
        names.iter().map(|name| self.destination(name)).collect()
    }

    pub fn init(&self, names: &[&str]) -> Repository {
        let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
        let password = Secret::from(PASSWORD.to_owned());
        Repository::init(self.destinations(names), &password, &request, self.surroundings()).unwrap()
    }

    pub fn try_open(&self, names: &[&str]) -> repository::Result<Repository> {
        self.open_with(self.destinations(names))
    }

    pub fn open_with(&self, destinations: Vec<Arc<dyn Destination>>) -> repository::Result<Repository> {
        Repository::open(destinations, &Secret::from(PASSWORD.to_owned()), self.surroundings())
    }

    pub fn open(&self, names: &[&str]) -> Repository {
        self.try_open(names).unwrap()
    }

    pub fn request(&self, paths: &[&Path]) -> BackupRequest {
        let paths = paths.iter().map(|path| path.to_path_buf()).collect();
        BackupRequest::new(paths, self.scratch.path().to_owned(), "testhost".into())
    }

    pub fn backup(&self, repository: &Repository, path: &Path) -> BackupReport {
        backup(repository, &self.request(&[path])).unwrap()
    }

    /// Runs restic on one copy and gives what it printed; its exit code must be 0.
    pub fn restic(&self, program: &Path, copy: &str, arguments: &[&str]) -> String {
        let mut command = std::process::Command::new(program);
        command
            .current_dir(self.scratch.path())
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("RESTIC_CACHE_DIR", self.path("cache"));
        command.arg("-r").arg(self.path(copy)).args(arguments);
        let ended = testkit::process::run(&mut command, Duration::from_secs(120)).unwrap();
        ended.expect_code(0).text()
    }
}

/// Every file below a folder with its bytes, by relative path. One that a server at work removes meanwhile is not there.
pub fn files_in(folder: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
                continue;
            }
            match std::fs::read(entry.path()) {
                Ok(bytes) => drop(files.insert(entry.path().strip_prefix(folder).unwrap().to_owned(), bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => panic!("{}: {error}", entry.path().display()),
            }
        }
    }
    files
}

/// A small tree: some folders, files below and above the chunker's minimum, a link.
pub fn small_tree(folder: &Path) {
    std::fs::create_dir_all(folder.join("inner/deep")).unwrap();
    for n in 0..40u32 {
        std::fs::write(folder.join(format!("inner/file-{n}")), format!("content {n}\n").repeat(n as usize)).unwrap();
    }
    let mut state = 12345u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    });
    std::fs::write(folder.join("inner/deep/large"), noise.take(5 << 20).collect::<Vec<u8>>()).unwrap();
    std::fs::write(folder.join("empty"), b"").unwrap();
    std::os::unix::fs::symlink("inner/deep/large", folder.join("link")).unwrap();
}

/// Three copies in memory.
pub type Copies = [Arc<MemoryFolder>; 3];

/// A repository on three copies in memory, with one snapshot of `source`.
pub fn three_copies(room: &Room) -> Copies {
    small_tree(&room.path("source"));
    let copies = ["first", "second", "third"].map(|name| Arc::new(MemoryFolder::new(name)));
    let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
    let repository = Repository::init(plain(&copies), &PASSWORD.to_owned().into(), &request, room.surroundings());
    room.backup(&repository.unwrap(), Path::new("source"));
    copies
}

/// The copies as they are.
pub fn plain(copies: &Copies) -> Vec<Arc<dyn Destination>> {
    copies.iter().map(|copy| copy.clone() as _).collect()
}

/// The copies, one of which follows a script.
pub fn with_faults(
    copies: &Copies,
    number: usize,
    script: Script,
) -> (Vec<Arc<dyn Destination>>, Arc<Faulty<MemoryFolder>>) {
    let faulty = Arc::new(Faulty::new(copies[number].clone(), script));
    let mut destinations = plain(copies);
    destinations[number] = faulty.clone();
    (destinations, faulty)
}
