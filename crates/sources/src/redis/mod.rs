//! Redis, without any tool: a whole server as its own file format, over replication; or single keys, as its own dumps
//! with the time at which they expire.
//!
//! The whole is of one moment, as a replica would see it, and nothing is written to the server's disk. It says when it
//! was made, so it is not the same bytes twice. Keys are each of their own moment; the same value gives the same bytes.

mod connection;
mod crc;
mod keys;
mod rdb;
mod restore;

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use repository::Cancel;
use repository::backup::{Entry, Origin, OriginError};

use crate::dump::file;
use crate::manifest::{Counts, Kind, Manifest, Tally};
use connection::Connection;
pub use connection::RedisLogin;
pub use keys::{RedisKeys, RedisKeysOptions};
use rdb::{Item, Rdb};
pub(crate) use restore::{restore_keys, restore_rdb};

const RDB_FILE: &str = "dump.rdb";
/// What is counted of a database.
const KEYS: &str = "keys";
const EXPIRING_KEYS: &str = "expiring keys";
/// So many pieces wait between the one who reads and the one who is read to.
const PIECES_WAITING: usize = 16;

/// A whole Redis server as a source.
#[derive(Debug)]
pub struct Redis {
    login: RedisLogin,
    tally: Mutex<Arc<Tally>>,
}

impl Redis {
    /// Nothing is asked yet.
    pub fn new(login: RedisLogin) -> Self {
        Self { login, tally: Mutex::default() }
    }

    fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Becomes a replica; what follows is the file.
fn follow(login: &RedisLogin) -> Result<Connection, String> {
    let mut connection = login.connect()?;
    // A server that knows these words sends the file from memory, and nothing behind it.
    for words in [["REPLCONF", "capa", "eof"], ["REPLCONF", "rdb-only", "1"]] {
        connection.send(&words.map(str::as_bytes))?;
        connection.flush()?;
        connection.answer()?;
    }
    connection.send(&[b"SYNC"])?;
    connection.flush()?;
    loop {
        // While it makes the file, a server sends empty lines so that nobody loses patience.
        let line = connection.line()?;
        match line.as_bytes().first() {
            None => {}
            Some(b'$') => return Ok(connection),
            Some(b'-') => return Err(format!("the server sends no copy of itself: {}", line.trim_start_matches('-'))),
            Some(_) => return Err(format!("the server answered `{}` instead of a copy", line.escape_debug())),
        }
    }
}

/// The server's words for its version.
fn version(login: &RedisLogin) -> Result<String, String> {
    let told = login.connect()?.ask(&[b"INFO", b"server"])?.bytes().unwrap_or_default();
    let told = String::from_utf8_lossy(&told).into_owned();
    let version = told.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or_default();
    Ok(version.trim().to_owned())
}

impl Origin for Redis {
    fn place(&self) -> String {
        self.login.place()
    }

    fn list(&self, path: &[u8], _stop: &Cancel) -> Result<Vec<Entry>, OriginError> {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        Ok(if path.is_empty() { vec![file(RDB_FILE)] } else { Vec::new() })
    }

    fn open(&self, _path: &[u8], _entry: &Entry, _stop: &Cancel) -> Result<Box<dyn Read + Send>, OriginError> {
        let connection = follow(&self.login).map_err(|cause| OriginError::new("dump", RDB_FILE, cause))?;
        let (sender, pieces) = sync_channel(PIECES_WAITING);
        let tally = self.tally();
        std::thread::spawn(move || {
            let end = read_file(connection, &sender, &tally);
            let failed = |error: io::Error| OriginError::new("dump", RDB_FILE, error.to_string());
            let _ = sender.send(Piece::End(end.map_err(failed)));
        });
        Ok(Box::new(Pieces { pieces, piece: Vec::new(), at: 0, has_ended: false }))
    }

    fn manifest(&self) -> Result<Option<String>, OriginError> {
        let server = version(&self.login).map_err(|cause| OriginError::new("ask", "", cause))?;
        let counts = self.tally().all();
        Manifest { kind: Kind::RedisRdb, server: Some(server), tool: None, counts }.to_json().map(Some)
    }
}

/// Part of the file, or how it ended.
enum Piece {
    Bytes(Vec<u8>),
    End(Result<(), OriginError>),
}

/// Reads the file to its end, which only its own structure tells.
fn read_file(connection: Connection, sender: &SyncSender<Piece>, tally: &Tally) -> io::Result<()> {
    let gone = |_| io::Error::other("nobody reads it any more");
    let rdb = Rdb::new(connection, |piece| sender.send(Piece::Bytes(piece)).map_err(gone));
    let mut counts: std::collections::BTreeMap<String, Counts> = std::collections::BTreeMap::new();
    rdb.read(false, |item| {
        if let Item::Key { database, expires_at_milliseconds, .. } = item {
            let counts = counts.entry(database.to_string()).or_default();
            *counts.entry(KEYS.to_owned()).or_default() += 1;
            *counts.entry(EXPIRING_KEYS.to_owned()).or_default() += u64::from(expires_at_milliseconds.is_some());
        }
        Ok(())
    })?;
    counts.into_iter().for_each(|(database, counts)| tally.set(&database, counts));
    Ok(())
}

/// The file as it comes.
struct Pieces {
    pieces: Receiver<Piece>,
    piece: Vec<u8>,
    at: usize,
    has_ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.has_ended {
            match self.pieces.recv() {
                Ok(Piece::Bytes(piece)) => (self.piece, self.at) = (piece, 0),
                Ok(Piece::End(end)) => {
                    end.map_err(io::Error::other)?;
                    self.has_ended = true;
                }
                Err(_) => return Err(io::Error::other("the thread that reads the server is gone")),
            }
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes.get_mut(..count).unwrap_or_default().copy_from_slice(rest.get(..count).unwrap_or_default());
        self.at += count;
        Ok(count)
    }
}
