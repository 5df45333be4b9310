//! The stage for tests of the whole program: three real places (a folder, restic's REST server over TLS, Ceph's S3
//! gateway), the program itself, and its judges.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use testkit::process::{Ended, run};
use testkit::{Bucket, CephServer, CertificateFlaw, Oracle, RestServer, RestServerOptions};

pub const PASSWORD: &str = "correct horse battery staple";

/// No call of the program may take longer.
const CALL_LIMIT: Duration = Duration::from_secs(900);

pub struct Stage {
    pub scratch: TempDir,
    pub rest: Option<RestServer>,
    pub bucket: Option<Bucket>,
}

/// One copy of the repository and how to reach it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Folder,
    Rest,
    S3,
}

impl Stage {
    /// A stage with a folder only.
    pub fn small() -> Self {
        let scratch = tempfile::Builder::new().prefix("triplicate-stage-").tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("home")).unwrap();
        Self { scratch, rest: None, bucket: None }
    }

    /// All three places; those whose server is not installed are missing, and that was said.
    pub fn full() -> Self {
        let options = RestServerOptions { tls: Some(CertificateFlaw::None), ..RestServerOptions::default() };
        let rest = RestServer::start(&options);
        let bucket = CephServer::shared().map(CephServer::new_bucket);
        Self { rest, bucket, ..Self::small() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The places that there are.
    pub fn places(&self) -> Vec<Place> {
        let mut places = vec![Place::Folder];
        places.extend(self.rest.as_ref().map(|_| Place::Rest));
        places.extend(self.bucket.as_ref().map(|_| Place::S3));
        places
    }

    /// The address of a place for `-r`, without secrets.
    pub fn address(&self, place: Place) -> String {
        match place {
            Place::Folder => self.path("copy").to_str().unwrap().to_owned(),
            Place::Rest => {
                let rest = self.rest.as_ref().unwrap();
                rest.repository(&format!("{}/repository", rest.user))
            }
            Place::S3 => self.bucket.as_ref().unwrap().repository("repository"),
        }
    }

    /// The program with this stage's environment, on these addresses.
    pub fn command_on(&self, addresses: &[String]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_triplicate"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["RESTIC_", "AWS_", "XDG_"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.current_dir(self.scratch.path()).env("HOME", self.path("home")).env("RESTIC_PASSWORD", PASSWORD);
        if let Some(rest) = &self.rest {
            command.env("RESTIC_REST_USERNAME", &rest.user).env("RESTIC_REST_PASSWORD", &rest.password);
            command.env("RESTIC_CACERT", rest.ca_file.as_ref().unwrap());
        }
        if let Some(bucket) = &self.bucket {
            command.env("AWS_ACCESS_KEY_ID", &bucket.access_key).env("AWS_SECRET_ACCESS_KEY", &bucket.secret_key);
            command.env("AWS_DEFAULT_REGION", bucket.region);
        }
        for address in addresses {
            command.arg("-r").arg(address);
        }
        command
    }

    /// The program on all places.
    pub fn command(&self) -> Command {
        let addresses: Vec<String> = self.places().into_iter().map(|place| self.address(place)).collect();
        self.command_on(&addresses)
    }

    /// Runs the program on all places; it must end with `code`.
    #[track_caller]
    pub fn run(&self, code: i32, arguments: &[&str]) -> Ended {
        run(self.command().args(arguments), CALL_LIMIT).unwrap().expect_code(code)
    }

    /// Runs the program on some places; it must end with `code`.
    #[track_caller]
    pub fn run_on(&self, places: &[Place], code: i32, arguments: &[&str]) -> Ended {
        let addresses: Vec<String> = places.iter().map(|&place| self.address(place)).collect();
        run(self.command_on(&addresses).args(arguments), CALL_LIMIT).unwrap().expect_code(code)
    }

    /// Makes a small repository with cheap keys unnecessary: `init` on all places.
    pub fn init(&self) {
        self.run(0, &["init"]);
    }

    /// Starts the program and leaves it running.
    pub fn spawn(&self, arguments: &[&str]) -> std::process::Child {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// restic of a version on one of the places.
    pub fn restic(&self, version: &str, place: Place) -> Option<Oracle> {
        self.judge(place, |address| Oracle::restic(version, address, PASSWORD))
    }

    /// rustic on one of the places.
    pub fn rustic(&self, place: Place) -> Option<Oracle> {
        if place == Place::S3 {
            return Oracle::rustic_in_bucket(self.bucket.as_ref().unwrap(), "repository", PASSWORD);
        }
        self.judge(place, |address| Oracle::rustic(address, PASSWORD))
    }

    fn judge(&self, place: Place, make: impl Fn(&str) -> Option<Oracle>) -> Option<Oracle> {
        match place {
            Place::Folder => make(&self.address(place)),
            Place::Rest => {
                let rest = self.rest.as_ref().unwrap();
                let address = rest.repository_with_credentials(&format!("{}/repository", rest.user));
                Some(make(&address)?.trusting(rest.ca_file.as_ref().unwrap()))
            }
            Place::S3 => {
                let bucket = self.bucket.as_ref().unwrap();
                Some(make(&self.address(place))?.with_login(bucket).with("AWS_DEFAULT_REGION", bucket.region))
            }
        }
    }

    /// Every file of a copy and the SHA-256 of its bytes, without locks.
    pub fn sums(&self, place: Place) -> BTreeMap<String, String> {
        let mut sums = match place {
            Place::Folder => sums_in(&self.path("copy")),
            Place::Rest => {
                let rest = self.rest.as_ref().unwrap();
                sums_in(&rest.folder(&format!("{}/repository", rest.user)))
            }
            Place::S3 => {
                let bucket = self.bucket.as_ref().unwrap();
                let key = |(key, _): (String, u64)| {
                    let sum = sum_of(&bucket.get(&key).unwrap());
                    (key.trim_start_matches("repository/").to_owned(), sum)
                };
                bucket.list("repository/").unwrap().into_iter().map(key).collect()
            }
        };
        sums.retain(|name, _| !name.starts_with("locks/") && !name.ends_with('/'));
        sums
    }

    /// All copies must be equal, file by file.
    #[track_caller]
    pub fn assert_equal_copies(&self) {
        let places = self.places();
        let first = self.sums(places[0]);
        assert!(first.len() > 4);
        for &place in &places[1..] {
            let other = self.sums(place);
            let differ: Vec<&String> =
                first.keys().chain(other.keys()).filter(|name| first.get(*name) != other.get(*name)).collect();
            assert!(differ.is_empty(), "{place:?} differs from {:?} in {differ:?}", places[0]);
        }
    }
}

fn sum_of(bytes: &[u8]) -> String {
    format::hash(bytes).to_hex()
}

/// The files below a folder by relative path.
pub fn sums_in(folder: &Path) -> BTreeMap<String, String> {
    let mut sums = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                sums.insert(name, sum_of(&std::fs::read(&path).unwrap()));
            }
        }
    }
    sums
}
