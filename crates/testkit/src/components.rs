//! Where the real peers are that `scripts/components` installs, and what happens when one is missing.
//!
//! A missing peer gives `None` and one line `skipped: …` that passes the capture of the test harness, so that a green
//! run shows what it did not test. With `TRIPLICATE_NEED_COMPONENTS=1` a missing peer is a failure instead.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::seed::skip;

/// The versions of restic that the tests read and write with: the oldest and the newest supported, and one between.
pub const RESTIC_VERSIONS: [&str; 3] = ["0.14", "0.18", "0.19"];

/// The folder of all components.
pub fn home() -> PathBuf {
    if let Some(folder) = variable("TRIPLICATE_COMPONENTS") {
        return folder;
    }
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    cache.unwrap_or_default().join("triplicate/components")
}

/// restic of one of [`RESTIC_VERSIONS`].
pub fn restic(version: &str) -> Option<PathBuf> {
    needed(&format!("restic {version}"), home().join("restic").join(version).join("restic"))
}

/// Every restic that is installed, with its version.
pub fn every_restic() -> Vec<(&'static str, PathBuf)> {
    RESTIC_VERSIONS.into_iter().filter_map(|version| restic(version).map(|program| (version, program))).collect()
}

/// restic's REST server.
pub fn rest_server() -> Option<PathBuf> {
    needed("restic-rest-server", home().join("rest-server/restic-rest-server"))
}

/// rclone, which serves restic's REST protocol too.
pub fn rclone() -> Option<PathBuf> {
    needed("rclone", home().join("rclone/rclone"))
}

/// The folder of OpenSSH and rsync: programs in `bin`, each with its libraries.
pub fn openssh() -> Option<PathBuf> {
    let folder = home().join("openssh");
    needed("openssh", folder.join(".complete")).map(|_| folder)
}

/// The folder of three database servers and their tools: programs in `bin`, each with its libraries.
pub fn databases() -> Option<PathBuf> {
    let folder = home().join("databases");
    needed("databases", folder.join(".complete")).map(|_| folder)
}

/// rustic.
pub fn rustic() -> Option<PathBuf> {
    needed("rustic", home().join("rustic/bin/rustic"))
}

/// The unpacked file system that holds Ceph's programs.
pub fn ceph_rootfs() -> Option<PathBuf> {
    let rootfs = home().join("ceph/rootfs");
    needed("ceph", rootfs.join(".complete")).map(|_| rootfs)
}

/// The unpacked file system that holds Apache, PHP and sabre/dav.
pub fn webdav_rootfs() -> Option<PathBuf> {
    let rootfs = home().join("dav/rootfs");
    needed("webdav", rootfs.join(".complete")).map(|_| rootfs)
}

/// The Python of this machine, which runs a stand-in.
pub fn python() -> Option<PathBuf> {
    on_search_path("python3")
}

/// The Node.js of this machine, which runs Azurite.
pub fn node() -> Option<PathBuf> {
    on_search_path("node")
}

/// Azurite's program for blobs.
pub fn azurite() -> Option<PathBuf> {
    needed("azurite", home().join("azurite/node_modules/azurite/dist/src/blob/main.js"))
}

/// The folder with Dropbox's own client library for Python.
pub fn dropbox_library() -> Option<PathBuf> {
    let folder = home().join("dropbox/library");
    needed("dropbox", folder.join(".complete")).map(|_| folder)
}

/// An emulator of processors that this machine is not; x86-64 machines only.
pub fn qemu() -> Option<PathBuf> {
    needed("qemu-user", home().join("qemu/qemu-x86_64"))
}

fn on_search_path(name: &str) -> Option<PathBuf> {
    let folders = variable("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.exists());
    needed(name, found.unwrap_or_else(|| Path::new("/usr/bin").join(name)))
}

/// The unpacked file system that holds ProFTPD.
pub fn ftp_rootfs() -> Option<PathBuf> {
    let rootfs = home().join("ftp/rootfs");
    needed("proftpd", rootfs.join(".complete")).map(|_| rootfs)
}

/// The unpacked file system that holds vsftpd.
pub fn vsftpd_rootfs() -> Option<PathBuf> {
    let rootfs = home().join("ftp/vsftpd");
    needed("vsftpd", rootfs.join(".complete")).map(|_| rootfs)
}

/// The folder with pyftpdlib, an FTP server in Python.
pub fn pyftpdlib() -> Option<PathBuf> {
    let folder = home().join("ftp/pyftpdlib");
    python().and_then(|_| needed("pyftpdlib", folder.join(".complete"))).map(|_| folder)
}

/// The arguments of `env` that run a program of the unpacked file system with the libraries that are beside it.
pub(crate) fn unpacked_program(rootfs: &Path, program: &str) -> io::Result<Vec<OsString>> {
    let libraries = libraries(rootfs)?;
    let is_loader = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-linux"));
    // Apache looks for its database library by this variable, which the loader has no need of.
    let mut path = OsString::from("LD_LIBRARY_PATH=");
    path.push(libraries.join("apr-util-1"));
    let loader = only_child(&libraries, is_loader)?;
    Ok(vec![path, loader.into(), "--library-path".into(), libraries.into(), rootfs.join(program).into()])
}

/// The folder of the unpacked libraries.
pub(crate) fn libraries(rootfs: &Path) -> io::Result<PathBuf> {
    only_child(&rootfs.join("usr/lib"), |path| path.join("libc.so.6").exists())
}

/// The one thing in a folder that is it.
pub(crate) fn only_child(folder: &Path, is_it: impl Fn(&Path) -> bool) -> io::Result<PathBuf> {
    let entries = std::fs::read_dir(folder)?.filter_map(Result::ok).map(|entry| entry.path());
    let missing = || io::Error::other(format!("{} does not hold what was looked for", folder.display()));
    entries.into_iter().find(|path| is_it(path)).ok_or_else(missing)
}

fn needed(name: &str, path: PathBuf) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    let demanded = variable("TRIPLICATE_NEED_COMPONENTS").is_some_and(|value| value != Path::new("0"));
    assert!(!demanded, "`{name}` is not installed at {}: run `scripts/components`", path.display());
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("{test} {name}")) {
        skip(&format!("needs `{name}`; `scripts/components` installs it"));
    }
    None
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
