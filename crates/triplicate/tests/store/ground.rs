//! Stores of this test's own, served by the program under test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use testkit::raw_http::{Answer, Connection, Door, Request};
use testkit::store_server::{Account, StoreGround, StoreServer, StoreServerOptions};

use crate::peer::{ALICE, BOB, Peer};

/// The program under test.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_triplicate"))
}

/// What maintains alice's repositories.
pub const PRUNER: (&str, &str) = ("alice+prune", "third password");
/// What only looks at them.
pub const READER: (&str, &str) = ("alice+look", "fourth password");

/// alice with an append credential, one that may remove and one that may only read; and bob.
pub fn everybody() -> Vec<Account> {
    vec![
        Account::append(ALICE.0, ALICE.1),
        Account::credential(ALICE.0, "prune", PRUNER.1, "full"),
        Account::credential(ALICE.0, "look", READER.1, "read"),
        Account::new(BOB.0, BOB.1, "full"),
    ]
}

pub fn options(accounts: Vec<Account>, tls: bool, serve: &[&str]) -> StoreServerOptions {
    StoreServerOptions { accounts, tls, serve: serve.iter().map(|&word| word.to_owned()).collect() }
}

/// Everybody's store over TLS.
pub fn served() -> StoreServer {
    StoreServer::start(binary(), &options(everybody(), true, &[]))
}

/// The same over plain TCP, for proxies and tests of bytes.
pub fn served_plainly() -> StoreServer {
    StoreServer::start(binary(), &options(everybody(), false, &[]))
}

/// A store in which alice may do everything at once, as a peer.
pub fn peer() -> Peer {
    let accounts = vec![Account::new(ALICE.0, ALICE.1, "full"), Account::new(BOB.0, BOB.1, "full")];
    let server = StoreServer::start(binary(), &options(accounts, true, &[]));
    Peer::new("store", server.door(), server)
}

/// Many points of what is sampled, when everything is to be tried.
pub fn points(few: usize, all: usize) -> usize {
    if is_exhaustive() { all } else { few }
}

pub fn is_exhaustive() -> bool {
    std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some_and(|value| value == "1")
}

/// Asks on a connection that is kept, and makes a new one when the server has closed it.
pub struct Asker {
    door: Door,
    connection: Option<Connection>,
}

impl Asker {
    pub fn new(door: &Door) -> Self {
        Self { door: door.clone(), connection: None }
    }

    pub fn ask(&mut self, request: &Request) -> std::io::Result<Answer> {
        let is_kept = self.connection.is_some();
        let answer = self.try_ask(request);
        // A kept connection may have been closed just before: that is no answer to this request.
        let answer = if answer.is_err() && is_kept { self.try_ask(request) } else { answer };
        if let Ok(answer) = &answer
            && answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
        {
            self.connection = None;
        }
        answer
    }

    fn try_ask(&mut self, request: &Request) -> std::io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.door.connect()?,
        };
        let answer = connection.ask(request)?;
        self.connection = Some(connection);
        Ok(answer)
    }
}

/// Every file below a folder with its bytes, by its path there.
pub fn files_below(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            // A file may go while we look, when a server is at work.
            let Ok(kind) = std::fs::symlink_metadata(&path) else { continue };
            if kind.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                files.insert(path.strip_prefix(root).unwrap().to_path_buf(), bytes);
            }
        }
    }
    files
}

/// Files whose name is a hash, and not that of their bytes; and files that have no business there.
pub fn unsound_files(repositories: &Path) -> Vec<String> {
    let is_sound = |path: &Path, bytes: &[u8]| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name == "config" || name == format::hash(bytes).to_hex()
    };
    let files = files_below(repositories);
    files.iter().filter(|(path, bytes)| !is_sound(path, bytes)).map(|(path, _)| path.display().to_string()).collect()
}

/// Uploads that were left behind.
pub fn uploads(ground: &StoreGround) -> usize {
    std::fs::read_dir(ground.data().join("incoming")).map_or(0, Iterator::count)
}

/// The resident memory of a process, now and at its highest.
pub fn memory_mib(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    (kib("VmRSS:") >> 10, kib("VmHWM:") >> 10)
}

/// Nothing that no program of ours may ever say.
pub fn assert_no_panic(server: &StoreServer) {
    let log = server.server.log();
    assert!(!log.contains("panicked"), "{log}");
}
