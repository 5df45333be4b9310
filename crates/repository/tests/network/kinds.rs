//! Every kind of place on its real server, a line each: how to start it, which way in there is, and where what it holds
//! lies. `Dropbox`, `Google`, `B2` and `Nextcloud` are stand-ins, `Azure` is Microsoft's own emulator.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use destinations::{Access, Destination, Limits, Span};
use format::{FileKind, FileName};
use model::Id;
use testkit::process::Server as Process;
use testkit::{
    AzureServer, B2Server, CephServer, DropboxServer, FtpKind, FtpServer, GoogleServer, Oracle, RestServer,
    RestServerOptions, SshServer, SshServerOptions, WebdavKind, WebdavOptions, WebdavServer, components,
};

use super::servers::{ThroughRclone, ThroughRsync};

pub const USER: &str = "alice";
pub const USER_PASSWORD: &str = "open-sesame-41";

/// The bucket, where there are any.
pub const BUCKET: &str = "bucket";

/// What stands between us and the server, and can do to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Requests and replies that a proxy can count, answer and change.
    Http,
    /// Bytes.
    Raw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Rest,
    S3,
    Apache,
    Sabre,
    Nextcloud,
    Dropbox,
    Azure,
    Google,
    B2,
    Rclone,
    Sftp,
    Rsync,
    Proftpd,
    Pyftpdlib,
}

impl Kind {
    /// Those that every run tries with everything.
    pub const BOTH: [Kind; 2] = [Kind::Rest, Kind::S3];

    pub fn protocol(self) -> Protocol {
        match self {
            Kind::Sftp | Kind::Rsync | Kind::Proftpd | Kind::Pyftpdlib => Protocol::Raw,
            _ => Protocol::Http,
        }
    }

    /// How many connections one copy may have there: each is a process or a login for some.
    pub fn connections_max(self) -> usize {
        match self {
            Kind::Rest | Kind::S3 => usize::MAX,
            Kind::Rsync => 2,
            _ => 4,
        }
    }

    /// None when it is not installed.
    pub fn start(self) -> Option<Box<dyn Real>> {
        let webdav = |kind| WebdavServer::start(&WebdavOptions::plain(kind));
        let ssh = || SshServer::start(&SshServerOptions::default());
        let ftp = FtpServer::start_for_relay;
        Some(match self {
            Kind::Rest => Box::new(RestServer::start(&with_login())?),
            Kind::S3 => Box::new(CephServer::shared()?.new_bucket()),
            Kind::Apache => Box::new(webdav(WebdavKind::Apache)?),
            Kind::Sabre => Box::new(webdav(WebdavKind::Sabre)?),
            Kind::Nextcloud => Box::new(webdav(WebdavKind::Nextcloud)?),
            Kind::Dropbox => Box::new(DropboxServer::start(false)?),
            Kind::Azure => Box::new(with_bucket(AzureServer::start()?)),
            Kind::Google => Box::new(with_bucket(GoogleServer::start()?)),
            Kind::B2 => Box::new(with_bucket(B2Server::start()?)),
            Kind::Rclone => {
                Box::new(ThroughRclone { program: components::rclone()?, bucket: CephServer::shared()?.new_bucket() })
            }
            Kind::Sftp => Box::new(ssh()?),
            Kind::Rsync => Box::new(ThroughRsync(ssh()?)),
            Kind::Proftpd => Box::new(ftp(FtpKind::Proftpd)?),
            Kind::Pyftpdlib => Box::new(ftp(FtpKind::Pyftpdlib)?),
        })
    }
}

pub fn with_login() -> RestServerOptions {
    RestServerOptions {
        users: vec![(USER.to_owned(), USER_PASSWORD.to_owned())],
        tls: None,
        ..RestServerOptions::default()
    }
}

/// What leads to a server: the proxy in front of it, or nothing.
pub trait Front {
    /// An address of the server, changed to lead through here.
    fn through(&self, address: &str) -> String;
    /// The port behind which the server is, when it is not its own.
    fn port(&self) -> Option<u16>;
    /// No faults from now on.
    fn heal(&self);
}

/// Nothing in between.
#[derive(Debug)]
pub struct Direct;

impl Front for Direct {
    fn through(&self, address: &str) -> String {
        address.to_owned()
    }
    fn port(&self) -> Option<u16> {
        None
    }
    fn heal(&self) {}
}

impl Front for testkit::FaultProxy {
    fn through(&self, address: &str) -> String {
        testkit::FaultProxy::through(self, address)
    }
    fn port(&self) -> Option<u16> {
        Some(self.port())
    }
    fn heal(&self) {
        testkit::FaultProxy::heal(self);
    }
}

impl Front for testkit::proxy::Relay {
    fn through(&self, address: &str) -> String {
        testkit::proxy::Relay::through(self, address)
    }
    fn port(&self) -> Option<u16> {
        Some(self.port())
    }
    fn heal(&self) {
        testkit::proxy::Relay::heal(self);
    }
}

/// The files of one place, by path.
pub type Found = BTreeMap<String, Vec<u8>>;

/// A real server with many places.
pub trait Real: Send + Sync {
    /// The port that everything begins at.
    fn port(&self) -> u16;

    /// Ports that the server tells its clients.
    fn further_ports(&self) -> Range<u16> {
        0..0
    }

    /// The address of a place, and what lets us in.
    fn way_in(&self, name: &str, front: &dyn Front) -> (String, Access);

    /// The same for somebody whom the server does not let in; none when the kind has no such thing.
    fn way_of_stranger(&self, name: &str, front: &dyn Front) -> Option<(String, Access)>;

    /// Where a place lies on disk, if that is so.
    fn folder(&self, name: &str) -> Option<PathBuf>;

    /// Puts files there as they are, past everything.
    fn plant(&self, name: &str, files: &BTreeMap<FileName, Bytes>) {
        let folder = self.folder(name).expect("a server without folders plants by itself");
        plant_in(&folder, files);
    }

    /// Takes everything away that is there.
    fn clear(&self, name: &str) {
        match self.folder(name).map(std::fs::remove_dir_all) {
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
            Some(removed) => removed.unwrap(),
            None => clear_as_listed(self, name),
        }
    }

    /// Everything that is there under a name of the format.
    fn files(&self, name: &str) -> Found {
        let folder = self.folder(name).expect("a server without folders lists by itself");
        let files = if folder.exists() { crate::room::files_in(&folder) } else { BTreeMap::default() };
        let files = files.into_iter().map(|(path, bytes)| (path.to_str().unwrap().to_owned(), bytes));
        files.filter(|(path, _)| is_ours(path)).collect()
    }

    /// restic at this place, where it knows the way by itself.
    fn restic(&self, _name: &str, _password: &str) -> Option<Oracle> {
        None
    }

    /// The process: to kill and start again; none when it is shared with others.
    fn process(&mut self) -> Option<&mut Process>;
}

/// Whether a path inside a place is a name of the format.
pub fn is_ours(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    path == "config" || last.parse::<Id>().is_ok()
}

fn plant_in(folder: &Path, files: &BTreeMap<FileName, Bytes>) {
    let mut made = Vec::new();
    let mut make = |path: PathBuf| {
        std::fs::create_dir_all(&path).unwrap();
        made.push(path);
    };
    make(folder.to_owned());
    for kind in FileKind::NAMED {
        make(folder.join(kind.folder()));
    }
    for n in 0..=255 {
        make(folder.join(format!("data/{n:02x}")));
    }
    for (name, bytes) in files {
        let path = folder.join(name.path());
        std::fs::write(&path, bytes).unwrap();
        made.push(path);
    }
    // What the server stores there belongs to whom it runs as, and so does what was there before.
    let owner = std::fs::metadata(folder.parent().unwrap()).unwrap();
    if rustix::process::geteuid().is_root() {
        made.iter().for_each(|path| std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid())).unwrap());
    }
}

/// A place as the product opens it, past every proxy.
pub fn opened<R: Real + ?Sized>(real: &R, name: &str) -> Arc<dyn Destination> {
    let (location, access) = real.way_in(name, &Direct);
    destinations::open(&location.parse().unwrap(), &access, &Limits::default()).unwrap()
}

/// Works in a runtime of its own, whatever runtime the test is in.
fn with_runtime<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work());
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// The bucket is there before anybody looks.
fn with_bucket<R: Real>(real: R) -> R {
    with_runtime(async || opened(&real, "first").create().await).unwrap();
    real
}

async fn names_in(place: &dyn Destination) -> Vec<FileName> {
    let mut names = vec![FileName::CONFIG];
    for kind in FileKind::NAMED {
        names.extend(place.list(kind).await.unwrap().into_iter().map(|listed| FileName::new(kind, listed.id)));
    }
    names
}

/// What the product's own client lists and reads: for stores that nobody else can look into.
pub fn files_as_listed<R: Real + ?Sized>(real: &R, name: &str) -> Found {
    with_runtime(async || {
        let place = opened(real, name);
        let mut found = Found::new();
        for name in names_in(&*place).await {
            match place.read(name, Span::Whole).await {
                Ok(bytes) => drop(found.insert(name.path(), bytes.to_vec())),
                Err(fault) => assert_eq!(fault.kind, model::FaultKind::NotFound, "{fault}"),
            }
        }
        found
    })
}

/// The same taken away.
fn clear_as_listed<R: Real + ?Sized>(real: &R, name: &str) {
    with_runtime(async || {
        let place = opened(real, name);
        for name in names_in(&*place).await {
            place.remove(name).await.unwrap();
        }
    });
}
