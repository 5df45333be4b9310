//! What the tests of remote trees stand on: trees on disk that servers show, and the same trees as an origin tells them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clock::{Clock, SystemClock};
use destinations::{Access, FtpsAccess, Limits, SshAccess, TlsAccess, WebdavAccess};
use model::Secret;
use repository::Cancel;
use repository::backup::{Entry, EntryKind, Origin, OriginError};
use sources::{RemoteSettings, remote_tree};
use testkit::{CertificateFlaw, FtpKind, FtpServer, SshServer, WebdavServer};

/// Files of the trees are as old as this, so that their times are believed.
pub const OLD: Duration = Duration::from_secs(86_400);

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File(Vec<u8>),
    Folder,
    Link(Vec<u8>),
    Other,
}

pub type Tree = BTreeMap<Vec<u8>, Kind>;

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Everything that an origin has, with every file read.
pub fn walk(origin: &dyn Origin) -> Result<Tree, OriginError> {
    let mut tree = Tree::new();
    let mut open = vec![Vec::new()];
    while let Some(folder) = open.pop() {
        for entry in origin.list(&folder, &Cancel::new())? {
            let path = if folder.is_empty() { entry.name.clone() } else { [&folder[..], &entry.name].join(&b'/') };
            let kind = match &entry.kind {
                EntryKind::Folder => {
                    open.push(path.clone());
                    Kind::Folder
                }
                EntryKind::File => Kind::File(read(origin, &path, &entry)?),
                EntryKind::Link(target) => Kind::Link(target.clone()),
                EntryKind::Other(_) => Kind::Other,
            };
            assert!(tree.insert(path, kind).is_none(), "a path twice");
        }
    }
    Ok(tree)
}

pub fn read(origin: &dyn Origin, path: &[u8], entry: &Entry) -> Result<Vec<u8>, OriginError> {
    let mut content = Vec::new();
    match origin.open(path, entry, &Cancel::new())?.read_to_end(&mut content) {
        Ok(_) => Ok(content),
        Err(error) => Err(error.downcast::<OriginError>().expect("an error of the origin")),
    }
}

pub fn entry(origin: &dyn Origin, folder: &[u8], name: &[u8]) -> Entry {
    origin.list(folder, &Cancel::new()).unwrap().into_iter().find(|entry| entry.name == name).unwrap()
}

/// The same of a folder on disk.
pub fn on_disk(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for found in std::fs::read_dir(&next).unwrap() {
            let path = found.unwrap().path();
            let facts = path.symlink_metadata().unwrap();
            let kind = if facts.is_dir() {
                open.push(path.clone());
                Kind::Folder
            } else if facts.is_symlink() {
                Kind::Link(std::fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
            } else {
                Kind::File(std::fs::read(&path).unwrap())
            };
            tree.insert(path.strip_prefix(folder).unwrap().as_os_str().as_bytes().to_vec(), kind);
        }
    }
    tree
}

/// Every time and size of a folder on disk: what shows that somebody wrote there.
pub fn marks(folder: &Path) -> Vec<(Vec<u8>, i64, i64, i64, i64, u64)> {
    let mut marks = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let facts = next.symlink_metadata().unwrap();
        let times = (facts.mtime(), facts.mtime_nsec(), facts.ctime(), facts.ctime_nsec());
        marks.push((next.as_os_str().as_bytes().to_vec(), times.0, times.1, times.2, times.3, facts.size()));
        if facts.is_dir() {
            open.extend(std::fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    marks.sort();
    marks
}

/// What a server is like that shows a tree.
#[derive(Debug, Clone, Copy)]
pub struct Likes {
    /// Names that are no UTF-8 come through.
    pub bytes: bool,
    /// Links are shown as links.
    pub links: bool,
}

/// Writes a file that was changed long ago.
pub fn old_file(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let now = SystemClock::new().now();
    file.set_modified(SystemTime::from(now) - OLD).unwrap();
}

pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    testkit::Random::new(seed).bytes(bytes)
}

/// A tree with everything that a name and a size can be.
pub fn make_tree(folder: &Path, likes: Likes) {
    std::fs::create_dir_all(folder.join("a folder/deep/deeper")).unwrap();
    std::fs::create_dir_all(folder.join("empty")).unwrap();
    let long = "n".repeat(200);
    for (number, name) in [
        "plain",
        "two  spaces",
        " first",
        "-dash",
        ".hidden",
        "#hash",
        "per%20cent",
        "plus+",
        "que?stion",
        "a;b",
        "[b]",
        "quote\"s",
        "it's",
        "back\\slash",
        "grüße",
        "日本語",
        "e\u{301}",
        "a -> b",
        "&amp;<x>",
        "~tilde",
        long.as_str(),
    ]
    .into_iter()
    .enumerate()
    {
        old_file(&folder.join("a folder").join(name), &noise(number * 7, number as u64));
    }
    if likes.bytes {
        old_file(&folder.join(OsStr::from_bytes(b"caf\xe9")), b"latin");
        std::fs::create_dir(folder.join(OsStr::from_bytes(b"r\xe9sum\xe9s"))).unwrap();
        old_file(&folder.join(OsStr::from_bytes(b"r\xe9sum\xe9s/\xfcber")), b"latin in latin");
    }
    old_file(&folder.join("a folder/deep/deeper/.also hidden"), b"x");
    old_file(&folder.join("nothing"), b"");
    old_file(&folder.join("large"), &noise(5_000_003, 99));
    if likes.links {
        std::os::unix::fs::symlink("a folder/plain", folder.join("link")).unwrap();
        std::os::unix::fs::symlink("/nowhere at all", folder.join("dangling")).unwrap();
    }
}

/// The folder `tree` where a server's accounts start, with a tree in it that the server may read.
pub fn tree_in(data_dir: &Path, likes: Likes) -> std::path::PathBuf {
    let tree = data_dir.join("tree");
    std::fs::create_dir(&tree).unwrap();
    make_tree(&tree, likes);
    tree
}

/// Limits that are soon at their end: what does not pass costs a test as long as this.
pub fn impatient() -> Limits {
    Limits {
        stall_limit_seconds: 10,
        retry_total_seconds: 3,
        first_contact_seconds: 2,
        first_backoff_milliseconds: 5,
        ..Limits::default()
    }
}

pub fn ftp_access(server: &FtpServer, password: &str) -> Access {
    Access {
        ftps: FtpsAccess { password: Some(Secret::from(password)) },
        tls: TlsAccess { ca_certificate: Some(server.certificates.authority.clone()), ..TlsAccess::default() },
        ..Access::default()
    }
}

/// An FTP server, its likes, and the account that reads there.
pub fn ftp(kind: FtpKind, flaw: CertificateFlaw) -> Option<(FtpServer, Likes, &'static str)> {
    let server = FtpServer::start(kind, flaw)?;
    let is_vsftpd = matches!(kind, FtpKind::Vsftpd | FtpKind::VsftpdImplicit);
    let user = if is_vsftpd { FtpServer::ANYBODY } else { FtpServer::USER };
    Some((server, Likes { bytes: kind != FtpKind::Pyftpdlib, links: is_vsftpd }, user))
}

pub fn ssh_access(server: &SshServer) -> Access {
    SshAccess {
        known_hosts: Some(server.known_hosts.clone()),
        key_file: Some(server.key_file.clone()),
        ..SshAccess::default()
    }
    .into()
}

pub fn webdav_access() -> Access {
    WebdavAccess {
        username: Some(WebdavServer::USER.to_owned()),
        password: Some(Secret::from(WebdavServer::PASSWORD)),
        bearer_token: None,
    }
    .into()
}

pub fn opened(location: &str, access: Access, runtime: &tokio::runtime::Runtime) -> Arc<dyn Origin> {
    opened_with(location, RemoteSettings { access, limits: impatient(), ..RemoteSettings::default() }, runtime)
}

pub fn opened_with(location: &str, settings: RemoteSettings, runtime: &tokio::runtime::Runtime) -> Arc<dyn Origin> {
    remote_tree(&location.parse().unwrap(), &settings, runtime.handle().clone()).unwrap()
}

/// The tree that an origin tells, beside the one on disk; and nobody wrote there.
#[track_caller]
pub fn assert_same(origin: &dyn Origin, folder: &Path) {
    let before = marks(folder);
    let told = walk(origin).unwrap_or_else(|error| panic!("{}: {error}", origin.place()));
    let there = on_disk(folder);
    let shown = |path: &Vec<u8>| path.escape_ascii().to_string();
    let names = |tree: &Tree| tree.keys().map(shown).collect::<Vec<_>>();
    assert_eq!(names(&told), names(&there), "{}", origin.place());
    for (path, kind) in &there {
        assert!(told[path] == *kind, "{}: `{}` is another", origin.place(), shown(path));
    }
    assert_eq!(marks(folder), before, "{}: somebody wrote there", origin.place());
}
