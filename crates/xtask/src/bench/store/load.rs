//! The load: what a backup asks of a server, by many accounts at once, with packs that were made before.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use clock::Clock;
use format::FileKind;
use testkit::Random;
use testkit::raw_http::{Connection, Door, Request};

use super::servers::Running;
use super::table::Row;

const MIB: usize = 1 << 20;
const SEED: u64 = 5;
/// rclone knows no other lists.
const LISTS: &str = "application/vnd.x.restic.rest.v2";

#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) accounts: usize,
    pub(super) packs: usize,
    pub(super) pack_mib: usize,
}

impl Load {
    pub(super) fn bytes(&self) -> u64 {
        (self.accounts * self.packs * self.pack_mib * MIB) as u64
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "{} accounts at once, one TLS connection each: create, key, config, lists, lock, {} packs of {} MiB, index, \
             snapshot, unlock; {} MiB in all. Before that all connect and log in at once, which is counted apart: a \
             password is hashed once, and how much is backed up after it is chance",
            self.accounts,
            self.packs,
            self.pack_mib,
            self.bytes() / MIB as u64
        )
    }
}

/// A file that is ready to be sent.
struct Prepared {
    kind: FileKind,
    name: String,
    bytes: Vec<u8>,
}

impl Prepared {
    fn new(kind: FileKind, bytes: Vec<u8>) -> Self {
        let name = match kind {
            FileKind::Config => "config".to_owned(),
            _ => format!("{}/{}", kind.folder(), format::hash(&bytes).to_hex()),
        };
        Self { kind, name, bytes }
    }
}

/// Everything that each account stores, in its order. All store the same: a server cannot know.
fn prepare(load: &Load) -> Vec<Prepared> {
    let random = &mut Random::new(SEED);
    let mut small = |kind| Prepared::new(kind, random.bytes(500));
    let mut files = vec![small(FileKind::Key), small(FileKind::Config), small(FileKind::Lock)];
    let (index, snapshot) = (small(FileKind::Index), small(FileKind::Snapshot));
    files.extend((0..load.packs).map(|_| Prepared::new(FileKind::Pack, random.bytes(load.pack_mib * MIB))));
    files.extend([index, snapshot]);
    files
}

/// All accounts log in at once, and when the last is there all of them back up at once.
pub(super) fn run(load: &Load, server: &Running, round: usize, clock: &dyn Clock) -> Result<Row, String> {
    let files = Arc::new(prepare(load));
    let (start, greeted) = (Barrier::new(load.accounts + 1), Barrier::new(load.accounts + 1));
    let load_before = super::servers::load_average();
    let (outcomes, wall, cpu, login_cpu) = std::thread::scope(|scope| {
        let accounts: Vec<_> = server
            .users
            .iter()
            .take(load.accounts)
            .map(|user| {
                let (files, start, greeted, door) = (&files, &start, &greeted, server.door.clone());
                scope.spawn(move || {
                    start.wait();
                    let client = log_in(&door, user);
                    greeted.wait();
                    let began = clock.monotonic();
                    let outcome = client.and_then(|client| back_up(client, files));
                    (clock.monotonic() - began, outcome)
                })
            })
            .collect();
        let cpu_before_logins = server.cpu_seconds();
        start.wait();
        greeted.wait();
        let cpu_before = server.cpu_seconds();
        let began = clock.monotonic();
        let outcomes: Vec<_> = accounts.into_iter().map(|account| account.join()).collect();
        let wall = (clock.monotonic() - began).as_secs_f64();
        (outcomes, wall, server.cpu_seconds() - cpu_before, cpu_before - cpu_before_logins)
    });
    let mut times: Vec<Duration> = Vec::new();
    let mut errors = 0;
    for outcome in outcomes {
        match outcome {
            Ok((time, Ok(()))) => times.push(time),
            Ok((_, Err(why))) => {
                println!("FAILED: {}: {why}", server.kind.name());
                errors += 1;
            }
            Err(_) => errors += 1,
        }
    }
    errors += missing(load, server, &files)?;
    let what = "load".to_owned();
    Ok(Row::new(
        what,
        server,
        round,
        load.accounts,
        load.bytes(),
        wall,
        [cpu, login_cpu],
        &mut times,
        errors,
        load_before,
    ))
}

/// Everything that was stored is listed: a server that forgets would be fast.
fn missing(load: &Load, server: &Running, files: &[Prepared]) -> Result<u64, String> {
    let mut missing = 0;
    for (user, password) in server.users.iter().take(load.accounts) {
        let request = Request::get(format!("/{user}/main/data/")).login(user, password).header("Accept", LISTS);
        let list = server.door.ask(&request).map_err(|error| format!("cannot list: {error}"))?.text();
        let packs = files.iter().filter(|file| file.kind == FileKind::Pack);
        missing += packs.filter(|file| !list.contains(file.name.trim_start_matches("data/"))).count() as u64;
    }
    Ok(missing)
}

struct Client<'a> {
    connection: Connection,
    user: &'a (String, String),
}

impl Client<'_> {
    fn ask(&mut self, method: &str, path: &str, body: &[u8], wanted: u16) -> Result<(), String> {
        let (user, password) = self.user;
        let mut request =
            Request::new(method, format!("/{user}/main/{path}")).login(user, password).header("Accept", LISTS);
        if method == "POST" {
            request = request.header("Content-Length", &body.len().to_string());
        }
        let sent = self.connection.send(&request.head_bytes()).and_then(|()| self.connection.send(body));
        let answer = self.connection.answer(method == "HEAD");
        let why = |error: &dyn std::fmt::Display| format!("{user}: {method} {path}: {error}");
        match (answer, sent) {
            (Ok(answer), _) if answer.status == wanted => Ok(()),
            (Ok(answer), _) => Err(why(&format!("{} {}", answer.status, answer.text().trim_end()))),
            (Err(error), Ok(())) | (Err(_), Err(error)) => Err(why(&error)),
        }
    }
}

fn log_in<'a>(door: &Door, user: &'a (String, String)) -> Result<Client<'a>, String> {
    let connection = door.connect().map_err(|error| format!("{}: cannot connect: {error}", user.0))?;
    let mut client = Client { connection, user };
    client.ask("HEAD", "config", b"", 404)?;
    Ok(client)
}

fn back_up(mut client: Client<'_>, files: &[Prepared]) -> Result<(), String> {
    client.ask("POST", "?create=true", b"", 200)?;
    client.ask("HEAD", "config", b"", 404)?;
    for file in files {
        if file.kind == FileKind::Lock {
            for folder in ["keys/", "snapshots/", "index/", "locks/"] {
                client.ask("GET", folder, b"", 200)?;
            }
        }
        client.ask("POST", &file.name, &file.bytes, 200)?;
        if file.kind == FileKind::Config {
            client.ask("GET", "config", b"", 200)?;
        }
    }
    let lock = files.iter().find(|file| file.kind == FileKind::Lock);
    lock.map_or(Ok(()), |lock| client.ask("DELETE", &lock.name, b"", 200))
}
