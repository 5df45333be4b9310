//! Keys go back into a Redis server, one `RESTORE` each, many under way at a time.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::connection::{Answer, Connection, RedisLogin};
use super::keys::{EXPIRIES_FILE, key_of, now};
use super::rdb::{Item, Rdb};
use super::{EXPIRING_KEYS, KEYS, RDB_FILE};
use crate::into::{Files, IntoError, Terms};
use crate::manifest::{Counts, Manifest};

/// Commands under way, and their bytes.
const COMMANDS_WAITING: usize = 256;
const BYTES_WAITING: usize = 8 << 20;
const PAYLOAD_LIMIT_BYTES: u64 = 4 << 30;
const EXPIRIES_LIMIT_BYTES: u64 = 1 << 30;

/// A server that is being filled.
struct Filling<'a> {
    connection: Connection,
    terms: &'a Terms,
    place: String,
    selected: Option<u64>,
    now_milliseconds: i64,
    /// Names of keys whose answers have not come yet.
    waiting: Vec<String>,
    waiting_bytes: usize,
    /// Keys that came in time, by their databases, and those that expire.
    restored: BTreeMap<u64, (u64, u64)>,
}

impl<'a> Filling<'a> {
    fn new(login: &RedisLogin, terms: &'a Terms) -> Result<Self, IntoError> {
        let place = login.place();
        let failed = |cause: String| IntoError::new("restore into", place.clone(), cause);
        let mut connection = login.connect().map_err(failed)?;
        let now_milliseconds = now(&mut connection).map_err(failed)?;
        Ok(Self {
            connection,
            terms,
            place,
            selected: None,
            now_milliseconds,
            waiting: Vec::new(),
            waiting_bytes: 0,
            restored: BTreeMap::new(),
        })
    }

    fn failed(&self, cause: String) -> IntoError {
        IntoError::new("restore into", self.place.clone(), cause)
    }

    fn select(&mut self, database: u64) -> Result<(), IntoError> {
        if self.selected == Some(database) {
            return Ok(());
        }
        self.settle()?;
        let selected = self.connection.ask(&[b"SELECT", database.to_string().as_bytes()]);
        selected.map_err(|cause| self.failed(cause))?;
        self.selected = Some(database);
        Ok(())
    }

    fn size(&mut self, database: u64) -> Result<u64, IntoError> {
        self.select(database)?;
        let size = self.connection.ask(&[b"DBSIZE"]).map_err(|cause| self.failed(cause))?;
        size.number()
            .and_then(|size| u64::try_from(size).ok())
            .ok_or_else(|| self.failed("it tells no size".to_owned()))
    }

    fn refuse_if_filled(&mut self, database: u64) -> Result<(), IntoError> {
        match self.size(database)? {
            0 => Ok(()),
            _ if self.terms.into_non_empty => Ok(()),
            keys => Err(IntoError::not_empty(&format!("{}/{database}", self.place), &format!("it has {keys} keys"))),
        }
    }

    fn key(&mut self, database: u64, name: &[u8], expires: Option<u64>, payload: &[u8]) -> Result<(), IntoError> {
        self.select(database)?;
        let moment = expires.unwrap_or(0);
        // What has expired meanwhile is not there any more, and was to be so.
        if expires.is_some_and(|moment| i64::try_from(moment).is_ok_and(|moment| moment <= self.now_milliseconds)) {
            return Ok(());
        }
        let moment = moment.to_string();
        let mut words = vec![b"RESTORE", name, moment.as_bytes(), payload, b"ABSTTL"];
        if self.terms.into_non_empty {
            words.push(b"REPLACE");
        }
        self.connection.send(&words).map_err(|cause| self.failed(cause))?;
        self.waiting.push(String::from_utf8_lossy(name).into_owned());
        self.waiting_bytes += payload.len();
        let (keys, expiring) = self.restored.entry(database).or_default();
        *keys += 1;
        *expiring += u64::from(expires.is_some());
        if self.waiting.len() >= COMMANDS_WAITING || self.waiting_bytes >= BYTES_WAITING {
            self.settle()?;
        }
        Ok(())
    }

    fn functions(&mut self, code: &[u8]) -> Result<(), IntoError> {
        self.settle()?;
        let words: &[&[u8]] = match self.terms.into_non_empty {
            true => &[b"FUNCTION", b"LOAD", b"REPLACE", code],
            false => &[b"FUNCTION", b"LOAD", code],
        };
        let loaded = self.connection.ask(words);
        loaded.map(drop).map_err(|cause| self.failed(format!("a library of functions was refused: {cause}")))
    }

    /// Hears the answers that are still to come.
    fn settle(&mut self) -> Result<(), IntoError> {
        self.connection.flush().map_err(|cause| self.failed(cause))?;
        self.waiting_bytes = 0;
        for name in std::mem::take(&mut self.waiting) {
            let answer = self.connection.answer().map_err(|cause| self.failed(cause))?;
            if let Answer::Refusal(why) = answer {
                return Err(IntoError::new("restore the key", name, why));
            }
        }
        Ok(())
    }

    /// There have to be as many keys as came, but for those that may have expired since.
    fn compare(mut self) -> Result<BTreeMap<String, Counts>, IntoError> {
        self.settle()?;
        let mut counts = BTreeMap::new();
        for (database, (keys, expiring)) in self.restored.clone() {
            let found = self.size(database)?;
            let is_right = keys - expiring <= found && (found <= keys || self.terms.into_non_empty);
            if !is_right {
                let cause = format!("there are {found} keys instead of {keys}, of which {expiring} expire");
                let object = format!("{}/{database}", self.place);
                return Err(IntoError::new("count what was restored into", object, cause));
            }
            let named = [(KEYS.to_owned(), keys), (EXPIRING_KEYS.to_owned(), expiring)];
            counts.insert(database.to_string(), Counts::from(named));
        }
        Ok(counts)
    }
}

fn unread(file: &str, error: &io::Error) -> IntoError {
    IntoError::new("restore", file, format!("the snapshot cannot be read: {error}"))
}

/// Restores a whole server; into one database, when it had keys in one only.
pub(crate) fn restore_rdb(
    login: &RedisLogin,
    database: Option<u64>,
    manifest: &Manifest,
    files: &dyn Files,
    terms: &Terms,
) -> Result<BTreeMap<String, Counts>, IntoError> {
    let had: Vec<u64> = manifest.counts.keys().filter_map(|name| name.parse().ok()).collect();
    if database.is_some() && had.len() > 1 {
        let cause = format!("the snapshot has keys in {} databases, which cannot all go into one", had.len());
        return Err(IntoError::new("restore into", login.place(), cause).hint("name the server alone"));
    }
    let mut filling = Filling::new(login, terms)?;
    had.iter().try_for_each(|number| filling.refuse_if_filled(database.unwrap_or(*number)))?;
    let content = files.open(RDB_FILE).map_err(|error| unread(RDB_FILE, &error))?;
    let mut failure = None;
    let read = Rdb::new(content, |_| Ok(())).read(true, |item| {
        let done = match item {
            Item::Fact(..) => Ok(()),
            Item::Functions(code) => filling.functions(&code),
            Item::Key { database: from, name, expires_at_milliseconds, payload } => {
                filling.key(database.unwrap_or(from), &name, expires_at_milliseconds, &payload)
            }
        };
        done.map_err(|error| {
            failure = Some(error);
            io::Error::other("the server refused")
        })
    });
    match (failure, read) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(unread(RDB_FILE, &error)),
        (None, Ok(())) => filling.compare(),
    }
}

/// Restores single keys, into the database that they were in or into another.
pub(crate) fn restore_keys(
    login: &RedisLogin,
    database: Option<u64>,
    manifest: &Manifest,
    files: &dyn Files,
    terms: &Terms,
) -> Result<BTreeMap<String, Counts>, IntoError> {
    let had = manifest.counts.keys().find_map(|name| name.parse().ok());
    let database = database.or(had).unwrap_or(0);
    let mut filling = Filling::new(login, terms)?;
    filling.refuse_if_filled(database)?;
    let read = |name: &str, limit_bytes: u64| {
        let mut bytes = Vec::new();
        let read = files.open(name).and_then(|content| content.take(limit_bytes).read_to_end(&mut bytes));
        read.map(|_| bytes).map_err(|error| unread(name, &error))
    };
    let expires: BTreeMap<String, u64> = serde_json::from_slice(&read(EXPIRIES_FILE, EXPIRIES_LIMIT_BYTES)?)
        .map_err(|error| IntoError::new("restore", EXPIRIES_FILE, error.to_string()))?;
    for name in files.names().map_err(|error| unread("the snapshot", &error))? {
        let Some(key) = key_of(&name) else { continue };
        let payload = read(&name, PAYLOAD_LIMIT_BYTES)?;
        if !payload.is_empty() {
            filling.key(database, &key, expires.get(&name).copied(), &payload)?;
        }
    }
    filling.compare()
}
