//! The ground for the tests of networks: three copies of one repository, the first of which is on a real server behind
//! a proxy with faults. The other two are in memory: what is right on all three is what they hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, dead_code, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use destinations::{Access, Destination, Limits, RestAccess, S3Access, TlsAccess};
use format::{FileKind, FileName, ScryptCost};
use model::{Id, Secret, Verdict};
use repository::backup::{BackupReport, backup};
use repository::check::{CheckRequest, ReadData, check};
use repository::{InitRequest, Repository};
use testkit::proxy::Rule;
use testkit::{Bucket, CephServer, FaultProxy, MemoryFolder, Oracle, Random, RestServer, RestServerOptions};

use crate::room::{PASSWORD, Room};

/// The whole lists of cases instead of a sample.
pub const EXHAUSTIVE: &str = "TRIPLICATE_EXHAUSTIVE";

/// Cases at one time: most of a case is waiting.
const WORKERS: usize = 4;

pub const USER: &str = "alice";
pub const USER_PASSWORD: &str = "open-sesame-41";

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Rest,
    S3,
}

impl Kind {
    pub const BOTH: [Kind; 2] = [Kind::Rest, Kind::S3];
}

/// A real server.
pub struct Server {
    kind: Kind,
    rest: Option<RestServer>,
    bucket: Option<Bucket>,
    port: u16,
    places: AtomicUsize,
}

impl Server {
    /// None when it is not installed.
    pub fn start(kind: Kind) -> Option<Self> {
        Self::start_with(
            kind,
            &RestServerOptions {
                users: vec![(USER.to_owned(), USER_PASSWORD.to_owned())],
                tls: None,
                ..RestServerOptions::default()
            },
        )
    }

    pub fn start_with(kind: Kind, options: &RestServerOptions) -> Option<Self> {
        let places = AtomicUsize::new(0);
        Some(match kind {
            Kind::Rest => {
                let rest = RestServer::start(options)?;
                Self { kind, port: rest.server.port(), rest: Some(rest), bucket: None, places }
            }
            Kind::S3 => {
                let server = CephServer::shared()?;
                let port = server.endpoint.rsplit(':').next().unwrap().parse().unwrap();
                Self { kind, port, rest: None, bucket: Some(server.new_bucket()), places }
            }
        })
    }

    /// A proxy in front of it and an empty place behind that.
    pub fn behind_proxy(&self) -> Behind<'_> {
        let number = self.places.fetch_add(1, Ordering::Relaxed);
        Behind { server: self, proxy: FaultProxy::start(self.port), name: format!("place-{number}") }
    }
}

/// One copy on a server behind a proxy of its own.
pub struct Behind<'s> {
    server: &'s Server,
    pub proxy: FaultProxy,
    pub name: String,
}

impl Behind<'_> {
    /// The place's address, not through the proxy.
    pub fn address(&self) -> String {
        match (&self.server.rest, &self.server.bucket) {
            (Some(rest), _) => rest.repository(&self.name),
            (_, Some(bucket)) => bucket.repository(&self.name),
            _ => unreachable!(),
        }
    }

    pub fn access(&self) -> Access {
        match &self.server.bucket {
            None => RestAccess { username: Some(USER.to_owned()), password: Some(Secret::from(USER_PASSWORD)) }.into(),
            Some(bucket) => S3Access {
                key_id: Some(bucket.access_key.clone()),
                key: Some(Secret::from(bucket.secret_key.as_str())),
                ..S3Access::default()
            }
            .into(),
        }
    }

    /// The place as the engine gets it: through the proxy, with retries and limits.
    pub fn destination(&self, limits: &Limits) -> Arc<dyn Destination> {
        let location = self.proxy.through(&self.address()).parse().unwrap();
        destinations::open(&location, &self.access(), limits).unwrap()
    }

    /// The place without the proxy, trusting its authority.
    pub fn direct_destination(&self, limits: &Limits) -> Arc<dyn Destination> {
        let ca_certificate = self.server.rest.as_ref().and_then(|rest| rest.ca_file.clone());
        let access = Access { tls: TlsAccess { ca_certificate, ..TlsAccess::default() }, ..self.access() };
        destinations::open(&self.address().parse().unwrap(), &access, limits).unwrap()
    }

    /// Puts files there as they are, past everything.
    pub fn plant(&self, files: &BTreeMap<FileName, Bytes>) {
        if let Some(rest) = &self.server.rest {
            let folder = rest.folder(&self.name);
            for kind in [FileKind::Pack, FileKind::Index, FileKind::Snapshot, FileKind::Key, FileKind::Lock] {
                std::fs::create_dir_all(folder.join(kind.folder())).unwrap();
            }
            for n in 0..=255 {
                std::fs::create_dir_all(folder.join(format!("data/{n:02x}"))).unwrap();
            }
            for (name, bytes) in files {
                std::fs::write(folder.join(name.path()), bytes).unwrap();
            }
        }
        if let Some(bucket) = &self.server.bucket {
            for (name, bytes) in files {
                bucket.put(&format!("{}/{}", self.name, name.path()), bytes).unwrap();
            }
        }
    }

    /// Everything that is there under a name of the format.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let is_ours = |path: &str| {
            let last = path.rsplit('/').next().unwrap_or_default();
            path == "config" || last.parse::<Id>().is_ok()
        };
        if let Some(rest) = &self.server.rest {
            let files = crate::room::files_in(&rest.folder(&self.name)).into_iter();
            let files = files.map(|(path, bytes)| (path.to_str().unwrap().to_owned(), bytes));
            return files.filter(|(path, _)| is_ours(path)).collect();
        }
        let bucket = self.server.bucket.as_ref().unwrap();
        let prefix = format!("{}/", self.name);
        let listed = bucket.list(&prefix).unwrap().into_iter();
        let files = listed.map(|(key, _)| (key[prefix.len()..].to_owned(), bucket.get(&key).unwrap()));
        files.filter(|(path, _)| is_ours(path)).collect()
    }

    /// How many files are there that have no name of the format: what broken uploads leave.
    pub fn rubbish(&self) -> usize {
        let Some(rest) = &self.server.rest else { return 0 };
        let names = crate::room::files_in(&rest.folder(&self.name)).into_keys();
        names.filter(|path| path.file_name().unwrap().to_str().unwrap().contains("tmp")).count()
    }

    /// restic's word on this copy, not through the proxy.
    pub fn restic_check(&self) -> Result<(), String> {
        let oracle = match (&self.server.rest, &self.server.bucket) {
            (Some(rest), _) => Oracle::restic("0.19", rest.folder(&self.name).to_str().unwrap(), PASSWORD),
            (_, Some(bucket)) => {
                let oracle = Oracle::restic("0.19", &self.address(), PASSWORD);
                oracle.map(|oracle| oracle.with_login(bucket).with("AWS_DEFAULT_REGION", bucket.region))
            }
            _ => unreachable!(),
        };
        let Some(oracle) = oracle else { return Ok(()) };
        // `--no-lock`: a copy that was cut off keeps the lock that it could not be told to remove.
        let ended = oracle.call(&["check", "--no-lock", "--read-data"]).map_err(|error| error.to_string())?;
        if ended.code == Some(0) { Ok(()) } else { Err(format!("restic check: {}{}", ended.text(), ended.errors)) }
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
pub struct Three<'c> {
    pub base: &'c Base,
    pub behind: Behind<'c>,
    pub healthy: [Arc<MemoryFolder>; 2],
}

impl<'c> Three<'c> {
    /// All three hold the base; the one on the server is named first, so that it is asked first.
    pub fn new(base: &'c Base, server: &'c Server) -> Self {
        let behind = server.behind_proxy();
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
        let report = self.run(&LIMITS)?;
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

/// One rule.
pub fn only(rule: Rule) -> [Rule; 1] {
    [rule]
}
