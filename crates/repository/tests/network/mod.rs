//! The ground for the tests of networks: three copies of one repository, the first of which is on a real server behind
//! a proxy with faults. The other two are in memory: what is right on all three is what they hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, dead_code, missing_docs, unreachable_pub)]

pub mod kinds;
pub mod servers;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use destinations::{Access, Destination, Limits};
use format::{FileKind, FileName, ScryptCost};
use model::{Id, Secret, Verdict};
use repository::backup::{BackupReport, backup};
use repository::check::{CheckRequest, ReadData, check};
use repository::{InitRequest, Repository};
use testkit::proxy::{Relay, Rule};
use testkit::{FaultProxy, MemoryFolder, Oracle, Random, RestServer, RestServerOptions};

#[allow(unused_imports, reason = "each of the test programs uses its own part")]
pub use kinds::{Direct, Front, Kind, Real, USER, USER_PASSWORD};

use crate::room::{PASSWORD, Room};

/// The whole lists of cases instead of a sample.
pub const EXHAUSTIVE: &str = "TRIPLICATE_EXHAUSTIVE";

/// Cases at one time: most of a case is waiting.
const WORKERS: usize = 4;

/// Limits of the usual shape, short enough to be waited for.
pub const LIMITS: Limits = Limits {
    connections: 8,
    stall_limit_seconds: 1,
    retry_total_seconds: 20,
    first_contact_seconds: 20,
    first_backoff_milliseconds: 10,
};

/// The same for faults that never pass.
pub const SHORT_LIMITS: Limits = Limits { retry_total_seconds: 3, first_contact_seconds: 3, ..LIMITS };

/// The same limits where nothing falls silent: a busy machine is no fault.
pub fn patient(limits: Limits) -> Limits {
    Limits { stall_limit_seconds: 15, ..limits }
}

/// A real server.
pub struct Server {
    pub kind: Kind,
    pub real: Box<dyn Real>,
    places: AtomicUsize,
}

impl Server {
    /// None when it is not installed.
    pub fn start(kind: Kind) -> Option<Self> {
        Some(Self { kind, real: kind.start()?, places: AtomicUsize::new(0) })
    }

    /// With other options for a REST server.
    pub fn start_with(kind: Kind, options: &RestServerOptions) -> Option<Self> {
        if kind != Kind::Rest {
            return Self::start(kind);
        }
        Some(Self { kind, real: Box::new(RestServer::start(options)?), places: AtomicUsize::new(0) })
    }

    /// A proxy in front of it and an empty place behind that.
    pub fn behind_proxy(&self) -> Behind<'_> {
        self.behind(FaultProxy::start(self.real.port()))
    }

    /// The same with a relay, which knows bytes alone.
    pub fn behind_relay(&self) -> Behind<'_, Relay> {
        self.behind(Relay::start(self.real.port(), self.real.further_ports()))
    }

    fn behind<F: Front>(&self, proxy: F) -> Behind<'_, F> {
        let number = self.places.fetch_add(1, Ordering::Relaxed);
        Behind { server: self, proxy, name: format!("place-{number}") }
    }
}

/// One copy on a server behind a proxy of its own.
pub struct Behind<'s, F = FaultProxy> {
    server: &'s Server,
    pub proxy: F,
    pub name: String,
}

impl<F: Front> Behind<'_, F> {
    /// The place as the engine gets it: through the proxy, with retries and limits.
    pub fn destination(&self, limits: &Limits) -> Arc<dyn Destination> {
        self.opened(self.server.real.way_in(&self.name, &self.proxy), limits)
    }

    /// The place without the proxy.
    pub fn direct_destination(&self, limits: &Limits) -> Arc<dyn Destination> {
        self.opened(self.server.real.way_in(&self.name, &Direct), limits)
    }

    /// The place as somebody sees it whom the server does not let in.
    pub fn destination_of_stranger(&self, limits: &Limits) -> Option<Arc<dyn Destination>> {
        Some(self.opened(self.server.real.way_of_stranger(&self.name, &self.proxy)?, limits))
    }

    fn opened(&self, (location, access): (String, Access), limits: &Limits) -> Arc<dyn Destination> {
        let limits = Limits { connections: limits.connections.min(self.server.kind.connections_max()), ..*limits };
        destinations::open(&location.parse().unwrap(), &access, &limits).unwrap()
    }

    /// Puts files there as they are, past everything.
    pub fn plant(&self, files: &BTreeMap<FileName, Bytes>) {
        self.server.real.plant(&self.name, files);
    }

    /// Everything that is there under a name of the format.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.server.real.files(&self.name)
    }

    /// How many files are there that have no name of the format: what broken uploads leave.
    pub fn rubbish(&self) -> usize {
        let Some(folder) = self.server.real.folder(&self.name) else { return 0 };
        let names = crate::room::files_in(&folder).into_keys();
        names.filter(|path| path.file_name().unwrap().to_str().unwrap().contains("tmp")).count()
    }

    /// restic's word on this copy, not through the proxy.
    pub fn restic_check(&self) -> Result<(), String> {
        let real = &self.server.real;
        let image = tempfile::tempdir().map_err(|error| error.to_string())?;
        let oracle = match (real.restic(&self.name, PASSWORD), real.folder(&self.name)) {
            (Some(oracle), _) => Some(oracle),
            (None, Some(folder)) => Oracle::restic("0.19", folder.to_str().unwrap(), PASSWORD),
            (None, None) => {
                self.write_image(image.path()).map_err(|error| error.to_string())?;
                Oracle::restic("0.19", image.path().to_str().unwrap(), PASSWORD)
            }
        };
        let Some(oracle) = oracle else { return Ok(()) };
        // `--no-lock`: a copy that was cut off keeps the lock that it could not be told to remove.
        let ended = oracle.call(&["check", "--no-lock", "--read-data"]).map_err(|error| error.to_string())?;
        if ended.code == Some(0) { Ok(()) } else { Err(format!("restic check: {}{}", ended.text(), ended.errors)) }
    }

    fn write_image(&self, folder: &Path) -> std::io::Result<()> {
        FileKind::NAMED.iter().try_for_each(|kind| std::fs::create_dir_all(folder.join(kind.folder())))?;
        self.files().into_iter().try_for_each(|(name, bytes)| {
            std::fs::create_dir_all(folder.join(&name).parent().unwrap())?;
            std::fs::write(folder.join(&name), bytes)
        })
    }
}

/// A repository with one snapshot, and a source that has changed since.
pub struct Base {
    pub room: Room,
    pub files: BTreeMap<FileName, Bytes>,
}

impl Base {
    pub fn new(new_bytes: usize) -> Self {
        let room = Room::new();
        let source = room.path("source");
        let mut random = Random::new(77);
        std::fs::create_dir_all(source.join("folder/deeper")).unwrap();
        for n in 0..20 {
            std::fs::write(source.join(format!("folder/{n}")), random.bytes(10 * n)).unwrap();
        }
        std::fs::write(source.join("folder/deeper/old"), random.bytes(200_000)).unwrap();
        let copy = Arc::new(MemoryFolder::new("base"));
        let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
        let password = Secret::from(PASSWORD.to_owned());
        let repository = Repository::init(vec![copy.clone()], &password, &request, room.surroundings()).unwrap();
        room.backup(&repository, &source);
        std::fs::write(source.join("folder/deeper/new"), random.bytes(new_bytes)).unwrap();
        Self { room, files: copy.files() }
    }

    /// The copies in memory as they are before a case.
    pub fn healthy(&self) -> [Arc<MemoryFolder>; 2] {
        ["second", "third"].map(|name| {
            let copy = MemoryFolder::new(name);
            copy.reset(self.files.clone());
            Arc::new(copy)
        })
    }
}

/// Three copies in one case.
pub struct Three<'c, F = FaultProxy> {
    pub base: &'c Base,
    pub behind: Behind<'c, F>,
    pub healthy: [Arc<MemoryFolder>; 2],
}

impl<'c> Three<'c> {
    /// All three hold the base; the one on the server is named first, so that it is asked first.
    pub fn new(base: &'c Base, server: &'c Server) -> Self {
        Self::with(base, server.behind_proxy())
    }
}

impl<'c, F: Front> Three<'c, F> {
    /// The same with a place on the server that is there already, behind anything.
    pub fn with(base: &'c Base, behind: Behind<'c, F>) -> Self {
        behind.plant(&base.files);
        Self { base, behind, healthy: base.healthy() }
    }

    pub fn repository(&self, limits: &Limits) -> repository::Result<Repository> {
        let _inside = self.base.room.runtime.enter();
        self.repository_with(self.behind.destination(limits))
    }

    /// With another way to the copy on the server.
    pub fn repository_with(&self, first: Arc<dyn Destination>) -> repository::Result<Repository> {
        let mut all = vec![first];
        all.extend(self.healthy.iter().map(|copy| copy.clone() as Arc<dyn Destination>));
        let password = Secret::from(PASSWORD.to_owned());
        Repository::open(all, &password, self.base.room.surroundings())
    }

    /// One run: open, back up the changed source, close.
    pub fn run(&self, limits: &Limits) -> Result<BackupReport, String> {
        let repository = self.repository(limits).map_err(|error| format!("not opened: {error:?}"))?;
        let request = self.base.room.request(&[Path::new("source")]);
        backup(&repository, &request).map_err(|error| format!("no backup: {error:?}"))
    }

    /// The copies that had no trouble hold the snapshot and everything under it, whatever the third one did.
    pub fn healthy_copies_are_whole(&self, report: &BackupReport) -> Result<(), String> {
        let snapshot = FileName::new(FileKind::Snapshot, report.id.ok_or("no snapshot")?);
        for copy in &self.healthy {
            let place = copy.place();
            let outcome = report.copies.iter().find(|outcome| outcome.copy == place).ok_or("no outcome")?;
            ensure(outcome.verdict == Verdict::Ok, || format!("{place}: {outcome:?}"))?;
            ensure(copy.get(snapshot).is_some(), || format!("{place} has no snapshot"))?;
        }
        let [second, third] = self.healthy.each_ref().map(|copy| without_locks(copy));
        ensure(second == third, || "the healthy copies differ".to_owned())?;
        // They are equal, so one answers for both.
        let repository = self.base.room.open_with(vec![self.healthy[0].clone()]).map_err(|error| error.to_string())?;
        let request = CheckRequest { read: ReadData::All, ..CheckRequest::default() };
        let checked = check(&repository, &request).map_err(|error| error.to_string())?;
        ensure(checked.verdict() == Verdict::Ok, || format!("a healthy copy is not sound: {checked:?}"))
    }

    /// The copy behind the proxy is byte for byte what the others are.
    pub fn all_copies_are_equal(&self) -> Result<(), String> {
        let mut there = self.behind.files();
        there.retain(|name, _| !name.starts_with("locks/"));
        let here = without_locks(&self.healthy[0]);
        let differ: Vec<&String> =
            here.keys().chain(there.keys()).filter(|name| here.get(*name) != there.get(*name)).collect();
        ensure(differ.is_empty(), || format!("the copy behind the proxy differs in {differ:?}"))
    }

    /// What the copy behind the proxy holds is right as far as it goes: no file has other bytes than its name says.
    pub fn nothing_wrong_is_there(&self) -> Result<(), String> {
        for (name, bytes) in self.behind.files() {
            if let Some(id) = name.rsplit('/').next().and_then(|last| last.parse::<Id>().ok()) {
                ensure(format::hash(&bytes) == id, || format!("`{name}` has other bytes than its name says"))?;
            }
        }
        Ok(())
    }

    /// A later run without faults: everything is well and everywhere.
    pub fn next_run_heals(&self) -> Result<(), String> {
        self.behind.proxy.heal();
        let report = self.run(&patient(LIMITS))?;
        ensure(report.verdict == Verdict::Ok, || format!("the next run is {:?}: {:?}", report.verdict, report.copies))?;
        self.all_copies_are_equal()
    }
}

pub fn without_locks(copy: &MemoryFolder) -> BTreeMap<String, Vec<u8>> {
    let files = copy.files().into_iter().filter(|(name, _)| name.kind() != FileKind::Lock);
    files.map(|(name, bytes)| (name.path(), bytes.to_vec())).collect()
}

pub fn ensure(holds: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(complaint()) }
}

/// How many cases a usual run tries of one kind: enough to find what is broken at all, and of the first two more.
pub fn sample_of(kind: Kind, of_the_first: usize, of_others: usize) -> usize {
    if Kind::BOTH.contains(&kind) { of_the_first } else { of_others }
}

/// How often an undisturbed run asks what `fits`.
pub fn asked_in_a_run(server: &Server, new_bytes: usize, fits: impl Fn(&testkit::proxy::Asked) -> bool) -> u64 {
    let base = Base::new(new_bytes);
    let three = Three::new(&base, server);
    three.behind.proxy.forget_asked();
    three.run(&patient(LIMITS)).unwrap();
    three.behind.proxy.asked().iter().filter(|asked| fits(asked)).count() as u64
}

/// All cases, or a sample of them by the seed.
pub fn chosen<T>(mut cases: Vec<T>, sample: usize, what: &str) -> Vec<T> {
    if std::env::var_os(EXHAUSTIVE).is_some_and(|value| value != "0") {
        return cases;
    }
    let mut random = Random::new(testkit::seed(what));
    while cases.len() > sample {
        let index = random.index(cases.len());
        cases.swap_remove(index);
    }
    cases
}

/// Runs `case` on each of the cases, several at a time, and fails with every complaint. Each worker has a base of its
/// own.
pub fn for_each_case<T: Debug + Sync>(
    what: &str,
    cases: &[T],
    new_bytes: usize,
    case: impl Fn(&Base, &T) -> Result<(), String> + Sync,
) {
    let next = AtomicUsize::new(0);
    let complaints = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(cases.len()) {
            scope.spawn(|| {
                let base = Base::new(new_bytes);
                while let Some(this) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(complaint) = case(&base, this) {
                        complaints.lock().unwrap().push(format!("{this:?}: {complaint}"));
                    }
                }
            });
        }
    });
    let complaints = complaints.into_inner().unwrap();
    println!("{what}: {} cases, {} complaints", cases.len(), complaints.len());
    assert!(complaints.is_empty(), "{what}: {} of {}:\n{}", complaints.len(), cases.len(), complaints.join("\n\n"));
}

/// Tests of one function for some kinds, side by side and named when they fail: those that speak HTTP, those of which
/// a proxy understands nothing, and those whose process is the test's own.
macro_rules! for_kinds {
    ($run:path, over http) => {
        crate::network::for_kinds!($run: rest Rest, s3 S3, apache Apache, sabre Sabre, nextcloud Nextcloud,
            dropbox Dropbox, azure Azure, google Google, b2 B2, rclone Rclone);
    };
    ($run:path, over bytes) => {
        crate::network::for_kinds!($run: sftp Sftp, rsync Rsync, proftpd Proftpd, pyftpdlib Pyftpdlib);
    };
    ($run:path, of files) => {
        crate::network::for_kinds!($run: rest Rest, apache Apache, sabre Sabre, nextcloud Nextcloud,
            sftp Sftp, rsync Rsync, proftpd Proftpd, pyftpdlib Pyftpdlib);
    };
    ($run:path: $($name:ident $kind:ident),*) => {
        $(#[test]
        fn $name() {
            $run(crate::network::Kind::$kind);
        })*
    };
}

pub(crate) use for_kinds;

/// One rule.
pub fn only(rule: Rule) -> [Rule; 1] {
    [rule]
}
