//! A server in the test's own process, a gate that the test sets, and a client that sends what it is told to, lies
//! included.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use format::FileName;
use http::HeaderValue;
use sha2::{Digest, Sha256};
use store::gate::{Admitted, Denied, Exceeded, Gate, Quota, RefusalKind, Refused, Reservation};
use store::{AccessLog, AccountName, ListenAt, Parts, RepositoryPlace, Role, ServeOptions, Server, StoreError, Vault};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// Longer than any answer takes here; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Decides as the test set it: `USER:ROLE` logs in as that role of the account `USER`.
#[derive(Debug, Default)]
pub(crate) struct Doorkeeper {
    pub(crate) stored: Mutex<HashMap<(RepositoryPlace, FileName), u64>>,
    pub(crate) created: Mutex<HashSet<RepositoryPlace>>,
    pub(crate) refused: Mutex<Vec<RefusalKind>>,
    pub(crate) young: Mutex<HashSet<FileName>>,
    pub(crate) bytes_max: Mutex<Option<u64>>,
    pub(crate) is_closed: Mutex<bool>,
    /// While it is so, the journal takes its time.
    pub(crate) is_slow: Arc<std::sync::atomic::AtomicBool>,
    pub(crate) has_begun: std::sync::atomic::AtomicBool,
    reserved: Arc<Mutex<u64>>,
}

struct Room {
    mine: u64,
    all: Arc<Mutex<u64>>,
    max: Option<u64>,
}

impl Room {
    fn take(&mut self, bytes: u64) -> Result<(), Exceeded> {
        let mut all = self.all.lock().unwrap();
        if let Some(max) = self.max.filter(|max| *all + bytes > *max) {
            return Err(Exceeded { quota: Quota::Bytes, remaining: max - *all });
        }
        *all += bytes;
        self.mine += bytes;
        Ok(())
    }
}

impl Reservation for Room {
    fn grow(&mut self, bytes: u64) -> Result<(), Exceeded> {
        self.take(bytes)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        *self.all.lock().unwrap() -= self.mine;
    }
}

impl Doorkeeper {
    pub(crate) fn reserved(&self) -> u64 {
        *self.reserved.lock().unwrap()
    }
}

#[async_trait]
impl Gate for Doorkeeper {
    async fn admit(&self, _from: IpAddr, authorization: Option<&HeaderValue>) -> Result<Admitted, Refused> {
        if *self.is_closed.lock().unwrap() {
            return Err(Refused::Closed);
        }
        let text = authorization.and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
        let text = text.and_then(|text| String::from_utf8(STANDARD.decode(text).ok()?).ok());
        let (account, role) = text.as_deref().and_then(|text| text.split_once(':')).ok_or(Refused::Unauthorized)?;
        let role = Role::ALL.into_iter().find(|known| known.word() == role).ok_or(Refused::Unauthorized)?;
        let account: AccountName = account.parse().map_err(|_| Refused::Unauthorized)?;
        Ok(Admitted { login: account.as_str().parse().unwrap(), account, role })
    }

    async fn may_create(&self, _place: &RepositoryPlace) -> Result<(), Denied> {
        Ok(())
    }

    async fn created(&self, place: &RepositoryPlace) -> Result<(), StoreError> {
        self.created.lock().unwrap().insert(place.clone());
        Ok(())
    }

    fn reserve(&self, _place: &RepositoryPlace, bytes: u64) -> Result<Box<dyn Reservation>, Denied> {
        let max = *self.bytes_max.lock().unwrap();
        let mut room = Room { mine: 0, all: Arc::clone(&self.reserved), max };
        room.take(bytes).map_err(Denied::Exceeded)?;
        Ok(Box::new(room))
    }

    async fn stored(
        &self,
        place: &RepositoryPlace,
        name: FileName,
        bytes: u64,
        _reservation: Box<dyn Reservation>,
    ) -> Result<(), StoreError> {
        use std::sync::atomic::Ordering::SeqCst;
        self.has_begun.store(true, SeqCst);
        while self.is_slow.load(SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.stored.lock().unwrap().insert((place.clone(), name), bytes);
        Ok(())
    }

    async fn may_remove(&self, _place: &RepositoryPlace, name: FileName) -> Result<(), Denied> {
        if self.young.lock().unwrap().contains(&name) {
            let received_at = "2026-01-01T00:00:00Z".parse().unwrap();
            return Err(Denied::Floor { received_at, free_at: "2026-01-02T00:00:00Z".parse().unwrap() });
        }
        Ok(())
    }

    async fn removed(&self, place: &RepositoryPlace, name: FileName) -> Result<(), StoreError> {
        self.stored.lock().unwrap().remove(&(place.clone(), name));
        Ok(())
    }

    fn refused(&self, _place: Option<&RepositoryPlace>, reason: RefusalKind) {
        self.refused.lock().unwrap().push(reason);
    }
}

/// A server at work; dropping it stops it.
pub(crate) struct House {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) gate: Arc<Doorkeeper>,
    pub(crate) addresses: Vec<String>,
    pub(crate) asked: mpsc::Sender<store::serve::Request>,
    pub(crate) vault: Vault,
    running: Option<tokio::task::JoinHandle<()>>,
    runtime: Option<Runtime>,
}

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl House {
    pub(crate) fn new() -> Self {
        Self::with(|options| options.listen.push(ListenAt::Address("127.0.0.1:0".parse().unwrap())))
    }

    pub(crate) fn with(set: impl FnOnce(&mut ServeOptions)) -> Self {
        Self::with_clock(Arc::new(clock::SystemClock::new()), None, set)
    }

    pub(crate) fn with_clock(
        clock: Arc<dyn clock::Clock>,
        own: Option<axum::Router>,
        set: impl FnOnce(&mut ServeOptions),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Vault::create(&data).unwrap();
        let vault = Vault::open(&data).unwrap();
        let gate = Arc::new(Doorkeeper::default());
        let mut options = ServeOptions::default();
        set(&mut options);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (asked, asking) = mpsc::channel(4);
        let log = AccessLog::to_file(&folder.path().join("log"), Arc::clone(&clock)).unwrap();
        let parts = Parts { vault: vault.clone(), gate: gate.clone(), own, log, clock };
        let server = {
            let _entered = runtime.enter();
            Server::bind(options, parts).unwrap()
        };
        let addresses = server.addresses();
        let running = Some(runtime.spawn(server.run(asking)));
        Self { folder, gate, addresses, asked, vault, running, runtime: Some(runtime) }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where a file of `alice/main` is.
    pub(crate) fn file(&self, below: &str) -> PathBuf {
        self.data().join("repositories/alice/main").join(below)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.addresses[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// One request on a connection of its own, as the role of `alice`.
    pub(crate) fn ask(&self, role: Role, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
        let login = format!("Authorization: Basic {}", STANDARD.encode(format!("alice:{}", role.word())));
        let length = format!("Content-Length: {}", body.len());
        let mut all = vec![login.as_str(), "Connection: close"];
        if method == "POST" {
            all.push(&length);
        }
        all.extend(headers);
        self.send(&request(method, path, &all, body))
    }

    /// Sends these bytes and reads to the end of the connection.
    pub(crate) fn send(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        // A server that has refused need not read on.
        let _ = stream.write_all(bytes);
        read_reply(&mut stream, bytes.starts_with(b"HEAD"))
    }

    /// Makes `alice/main`.
    pub(crate) fn create(&self) {
        assert_eq!(self.ask(Role::Append, "POST", "/alice/main/?create=true", &[], b"").status, 200);
    }

    /// Stores a file of `alice/main` under its right name in `folder`, and gives the path.
    pub(crate) fn store(&self, folder: &str, content: &[u8]) -> String {
        let path = format!("/alice/main/{folder}/{}", hash(content));
        assert_eq!(self.ask(Role::Append, "POST", &path, &[], content).status, 200);
        path
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(&mut self) {
        let _ = self.asked.try_send(store::serve::Request::Stop);
        if let (Some(runtime), Some(running)) = (&self.runtime, self.running.take()) {
            runtime.block_on(running).unwrap();
        }
    }

    /// Files in `incoming`.
    pub(crate) fn incoming(&self) -> usize {
        std::fs::read_dir(self.data().join("incoming")).unwrap().count()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

pub(crate) fn hash(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

pub(crate) fn request(method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Reads one reply: to its announced length, its last chunk, or the end of the connection.
pub(crate) fn read_reply(stream: &mut impl Read, is_head: bool) -> Reply {
    let mut bytes = Vec::new();
    let mut piece = [0; 65536];
    loop {
        if let Some(reply) = whole(&bytes, is_head) {
            return reply;
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
    }
    let end = find(&bytes, b"\r\n\r\n").unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    // Not whole: a status that no server sends, unless nothing was announced.
    let body = bytes.get(end + 4..).unwrap_or_default().to_vec();
    let is_cut = head.to_ascii_lowercase().contains("content-length") || head.contains("chunked");
    Reply { status: if is_cut { 0 } else { status }, head, body }
}

fn whole(bytes: &[u8], is_head: bool) -> Option<Reply> {
    let end = find(bytes, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    if status == 100 {
        return whole(&bytes[end + 4..], is_head);
    }
    let rest = &bytes[end + 4..];
    let reply = Reply { status, head, body: Vec::new() };
    if is_head {
        return Some(reply);
    }
    if let Some(length) = reply.header("content-length") {
        let length: usize = length.parse().ok()?;
        return (rest.len() >= length).then(|| Reply { body: rest[..length].to_vec(), ..reply });
    }
    if reply.header("transfer-encoding").is_some() {
        return dechunked(rest).map(|body| Reply { body, ..reply });
    }
    None
}

fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = find(rest, b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        rest = &rest[end + 2..];
        if rest.len() < length + 2 {
            return None;
        }
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(&rest[..length]);
        rest = &rest[length + 2..];
    }
}

pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Waits until it is so.
#[allow(clippy::disallowed_methods)]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
