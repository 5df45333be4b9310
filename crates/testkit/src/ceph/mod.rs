//! Ceph's S3 gateway: a real, strict S3 server, all of it in memory, up in about a second.
//!
//! One server serves a whole test binary ([`CephServer::shared`]); every test takes a bucket of its own.

mod s3;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::components;
use crate::process::{Keeper, free_port, is_running, wait_until};

pub use s3::Bucket;

const RUN: &str = include_str!("run.sh");

/// How long the cluster may take to start; it takes one second on an idle machine.
const START_LIMIT_SECONDS: u64 = 120;
/// How long the gateway may take to listen after it was started.
const LISTEN_LIMIT_SECONDS: u64 = 60;
/// How many ports the object store may choose from; it takes four.
const STORE_PORTS: u16 = 100;
/// How often a start is tried, when somebody took a port between our look and the daemon's.
const START_ATTEMPTS: usize = 3;

/// A cluster at work; dropping it kills its daemons.
#[derive(Debug)]
pub struct CephServer {
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
    /// The region to sign for.
    pub region: &'static str,
    port: u16,
    pids: Vec<u32>,
    buckets: AtomicU32,
    _keeper: Keeper,
}

impl CephServer {
    /// The one server of this process, started at the first call; none when Ceph is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn shared() -> Option<&'static CephServer> {
        static SHARED: OnceLock<Option<CephServer>> = OnceLock::new();
        // Statics are not dropped: the keeper sees the pipe close when the process ends.
        SHARED.get_or_init(CephServer::start).as_ref()
    }

    /// A server of its own; none when Ceph is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start.
    pub fn start() -> Option<Self> {
        let rootfs = components::ceph_rootfs()?;
        let mut failures = Vec::new();
        for _ in 0..START_ATTEMPTS {
            match Self::start_unpacked(rootfs.clone()) {
                Ok(server) => return Some(server),
                Err(error) => failures.push(error.to_string()),
            }
        }
        panic!("cannot start Ceph: {}", failures.join("; then: "))
    }

    fn start_unpacked(rootfs: PathBuf) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("triplicate-ceph-").tempdir()?.keep();
        let (monitor_port, port) = (free_port()?, free_port()?);
        let store_port = free_port()?.min(u16::MAX - STORE_PORTS);
        let access_key = "TRIPLICATETESTKEY".to_owned();
        let secret_key = "not-a-secret-only-for-tests".to_owned();
        let mut arguments: Vec<OsString> = vec![rootfs.into(), folder.into()];
        for number in [monitor_port, port, store_port, store_port + STORE_PORTS] {
            arguments.push(number.to_string().into());
        }
        arguments.extend([access_key.clone().into(), secret_key.clone().into()]);
        let keeper = Keeper::start(RUN, "ceph", &arguments)?;
        let mut pids = Vec::new();
        loop {
            let line = keeper.next_line(Duration::from_secs(START_LIMIT_SECONDS))?;
            if line == "ready" {
                break;
            }
            match line.strip_prefix("pid ").and_then(|rest| rest.split(' ').next_back()?.parse().ok()) {
                Some(pid) => pids.push(pid),
                None => return Err(io::Error::other(line)),
            }
        }
        let server = Self {
            endpoint: format!("http://127.0.0.1:{port}"),
            access_key,
            secret_key,
            region: "us-east-1",
            port,
            pids,
            buckets: AtomicU32::new(0),
            _keeper: keeper,
        };
        server.wait_until_usable()?;
        Ok(server)
    }

    /// The first bucket is made when the gateway has made its pools, which is after it listens.
    fn wait_until_usable(&self) -> io::Result<()> {
        let mut last = io::Error::other("never tried");
        let usable = wait_until(Duration::from_secs(LISTEN_LIMIT_SECONDS), || {
            !self.pids.iter().all(|pid| is_running(*pid))
                || self.bucket("first").create().map_err(|error| last = error).is_ok()
        });
        if usable && self.pids.iter().all(|pid| is_running(*pid)) {
            return Ok(());
        }
        Err(io::Error::other(format!("the gateway does not work: {last}")))
    }

    /// The process ids of all daemons.
    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    fn bucket(&self, name: &str) -> Bucket {
        Bucket::new(self, name.to_owned())
    }

    /// A new, empty bucket.
    ///
    /// # Panics
    /// When the gateway refuses.
    pub fn new_bucket(&self) -> Bucket {
        let number = self.buckets.fetch_add(1, Ordering::Relaxed);
        let bucket = self.bucket(&format!("bucket-{number}"));
        if let Err(error) = bucket.create() {
            panic!("cannot make a bucket: {error}");
        }
        bucket
    }

    /// A new, empty bucket whose objects can be locked.
    ///
    /// # Panics
    /// When the gateway refuses.
    pub fn new_bucket_with_locks(&self) -> Bucket {
        let number = self.buckets.fetch_add(1, Ordering::Relaxed);
        let bucket = self.bucket(&format!("locks-{number}"));
        if let Err(error) = bucket.create_with_locks() {
            panic!("cannot make a bucket with locks: {error}");
        }
        bucket
    }
}
