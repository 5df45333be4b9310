//! Single keys of a Redis server: each a file with the server's own dump of it, and a file that says when they expire.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use repository::Cancel;
use repository::backup::{Entry, ErrorScope, Origin, OriginError};

use super::connection::{Answer, Connection, RedisLogin};
use super::{EXPIRING_KEYS, KEYS, version};
use crate::dump::file;
use crate::manifest::{Counts, Kind, Manifest};

/// When keys expire, in milliseconds since 1970, as JSON by the names of their files. No key's file is called so.
pub(super) const EXPIRIES_FILE: &str = "+expires.json";
/// Keys beyond this are a case for a whole copy.
const KEYS_LIMIT: usize = 1_000_000;
const SCAN_COUNT: &str = "1000";

/// Which keys of a server are backed up.
#[derive(Debug, Clone, Default)]
pub struct RedisKeysOptions {
    /// The server.
    pub login: RedisLogin,
    /// The number of the database.
    pub database: u32,
    /// Names of keys, in which `*`, `?` and `[` `]` mean what they mean to Redis. A name without them need not be
    /// there: its file is empty then, and ignored by a restore.
    pub patterns: Vec<String>,
}

/// Keys of a Redis server as a source.
pub struct RedisKeys {
    options: RedisKeysOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// Keys by the names of their files.
    keys: BTreeMap<String, Vec<u8>>,
    present: u64,
    expires: BTreeMap<String, u64>,
}

impl std::fmt::Debug for RedisKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisKeys").field("options", &self.options).finish_non_exhaustive()
    }
}

impl RedisKeys {
    /// Nothing is asked yet.
    pub fn new(options: RedisKeysOptions) -> Self {
        Self { options, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> Result<State, String> {
        let mut connection = self.options.login.connect()?;
        connection.ask(&[b"SELECT", self.options.database.to_string().as_bytes()])?;
        let mut state = State::default();
        for pattern in &self.options.patterns {
            if pattern.contains(['*', '?', '[', '\\']) {
                for key in scan(&mut connection, pattern)? {
                    state.keys.insert(file_of(&key), key);
                }
            } else {
                state.keys.insert(file_of(pattern.as_bytes()), pattern.clone().into_bytes());
            }
            if state.keys.len() > KEYS_LIMIT {
                return Err(format!("there are more than {KEYS_LIMIT} such keys; back up the whole server"));
            }
        }
        state.expires = expires(&mut connection, &state.keys)?;
        state.connection = Some(connection);
        Ok(state)
    }
}

/// All keys that match.
fn scan(connection: &mut Connection, pattern: &str) -> Result<Vec<Vec<u8>>, String> {
    let odd = || "the server answered a scan in an unknown way".to_owned();
    let (mut keys, mut cursor) = (Vec::new(), b"0".to_vec());
    loop {
        let words = [b"SCAN", cursor.as_slice(), b"MATCH", pattern.as_bytes(), b"COUNT", SCAN_COUNT.as_bytes()];
        let mut answer = connection.ask(&words)?.list().ok_or_else(odd)?.into_iter();
        cursor = answer.next().and_then(Answer::bytes).ok_or_else(odd)?;
        let found = answer.next().and_then(Answer::list).ok_or_else(odd)?;
        keys.extend(found.into_iter().filter_map(Answer::bytes));
        if cursor == b"0" {
            return Ok(keys);
        }
        if keys.len() > 2 * KEYS_LIMIT {
            return Err(format!("there are more than {KEYS_LIMIT} such keys; back up the whole server"));
        }
    }
}

/// When the keys expire that do.
fn expires(connection: &mut Connection, keys: &BTreeMap<String, Vec<u8>>) -> Result<BTreeMap<String, u64>, String> {
    let mut expires = BTreeMap::new();
    let mut knows_moments = true;
    for (name, key) in keys {
        let mut answer = Answer::Refusal(String::new());
        if knows_moments {
            connection.send(&[b"PEXPIRETIME", key])?;
            connection.flush()?;
            answer = connection.answer()?;
            // Before version 7.
            knows_moments = !matches!(answer, Answer::Refusal(_));
        }
        let moment = match (knows_moments, answer.number()) {
            (true, Some(moment)) => moment,
            (true, None) => return Err("the server answered PEXPIRETIME in an unknown way".to_owned()),
            (false, _) => match connection.ask(&[b"PTTL", key])?.number() {
                Some(left @ 0..) => now(connection)?.saturating_add(left),
                _ => -1,
            },
        };
        if let Ok(moment) = u64::try_from(moment) {
            expires.insert(name.clone(), moment);
        }
    }
    Ok(expires)
}

/// The server's own time in milliseconds.
pub(super) fn now(connection: &mut Connection) -> Result<i64, String> {
    let parts = connection.ask(&[b"TIME"])?.list().unwrap_or_default();
    match parts.iter().map(Answer::number).collect::<Vec<_>>().as_slice() {
        [Some(seconds), Some(microseconds)] => Ok(seconds * 1000 + microseconds / 1000),
        _ => Err("the server does not tell the time".to_owned()),
    }
}

/// The name of a key's file: what is no letter, digit, `_`, `-`, `.` or `:` becomes `%` and two digits.
fn file_of(key: &[u8]) -> String {
    let mut name = String::new();
    for (at, byte) in key.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b':' => name.push(char::from(*byte)),
            b'.' if at > 0 => name.push('.'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.is_empty() { "%".to_owned() } else { name }
}

/// The key of such a file.
pub(super) fn key_of(name: &str) -> Option<Vec<u8>> {
    let key = if name == "%" { Vec::new() } else { percent_encoding::percent_decode_str(name).collect() };
    (file_of(&key) == name).then_some(key)
}

impl Origin for RedisKeys {
    fn place(&self) -> String {
        format!("{}/{}", self.options.login.place(), self.options.database)
    }

    fn list(&self, path: &[u8], _stop: &Cancel) -> Result<Vec<Entry>, OriginError> {
        if !path.is_empty() {
            return Ok(Vec::new());
        }
        let state = self.look().map_err(|cause| OriginError::new("list", self.options.patterns.join(", "), cause))?;
        let mut entries = vec![file(EXPIRIES_FILE)];
        entries.extend(state.keys.keys().map(|name| file(name.as_str())));
        *self.state() = state;
        Ok(entries)
    }

    fn open(&self, path: &[u8], _entry: &Entry, _stop: &Cancel) -> Result<Box<dyn Read + Send>, OriginError> {
        let name = String::from_utf8_lossy(path).into_owned();
        let failed = |cause: String| OriginError::new("dump", name.clone(), cause);
        let mut state = self.state();
        if name == EXPIRIES_FILE {
            let text = serde_json::to_vec_pretty(&state.expires).map_err(|error| failed(error.to_string()))?;
            return Ok(Box::new(Cursor::new(text)));
        }
        let key =
            state.keys.get(&name).cloned().ok_or_else(|| failed("there is no such file in the dump".to_owned()))?;
        let connection = state.connection.as_mut().ok_or_else(|| failed("the keys were not listed".to_owned()))?;
        match connection.ask(&[b"DUMP", &key]).map_err(failed)?.bytes() {
            Some(payload) => {
                state.present += 1;
                Ok(Box::new(Cursor::new(payload)))
            }
            None if self.options.patterns.iter().any(|pattern| pattern.as_bytes() == key) => {
                Ok(Box::new(std::io::empty()))
            }
            None => Err(failed("the key is gone since the keys were listed".to_owned()).of(ErrorScope::Vanished)),
        }
    }

    fn manifest(&self) -> Result<Option<String>, OriginError> {
        let server = version(&self.options.login).map_err(|cause| OriginError::new("ask", "", cause))?;
        let state = self.state();
        let counts = [(KEYS.to_owned(), state.present), (EXPIRING_KEYS.to_owned(), state.expires.len() as u64)];
        let counts = BTreeMap::from([(self.options.database.to_string(), Counts::from(counts))]);
        Manifest { kind: Kind::RedisKeys, server: Some(server), tool: None, counts }.to_json().map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_key_has_a_file_name_of_its_own() {
        for (key, expected) in [
            (&b"module/traefik1/environment"[..], "module%2Ftraefik1%2Fenvironment"),
            (b"user:1", "user:1"),
            (b"a.b", "a.b"),
            (b".", "%2E"),
            (b"..", "%2E."),
            (b"", "%"),
            (b"%", "%25"),
            (b"+expires.json", "%2Bexpires.json"),
            (b"\xff\x00", "%FF%00"),
        ] {
            assert_eq!(file_of(key), expected);
            assert_eq!(key_of(expected).unwrap(), key);
        }
        assert_eq!(key_of(EXPIRIES_FILE), None);
    }
}
