//! Lock files: who is at work in a repository. Whether a lock counts is not decided here.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{FormatError, Result};
use crate::go_json::JsonObject;
use crate::moment::Moment;
use crate::wire;

const WHAT: &str = "the lock file";

/// The longest plain lock; restic's has about 200 bytes.
const LOCK_BYTES_MAX: usize = 64 << 10;

/// A process at work.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Lock {
    /// When the lock was written or last refreshed.
    #[serde(deserialize_with = "wire::time")]
    pub time: Moment,
    /// True when nobody else may be at work.
    #[serde(default)]
    pub exclusive: bool,
    /// The machine.
    #[serde(default)]
    pub hostname: String,
    /// The account.
    #[serde(default)]
    pub username: String,
    /// The process on that machine.
    #[serde(default)]
    pub pid: i64,
    /// The account's number.
    #[serde(default)]
    pub uid: u32,
    /// The group's number.
    #[serde(default)]
    pub gid: u32,
    /// Fields of other versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Lock {
    /// A lock of this process; the remaining fields are the caller's to fill.
    pub fn new(time: Moment, exclusive: bool) -> Self {
        let (hostname, username) = (String::new(), String::new());
        Self { time, exclusive, hostname, username, pid: 0, uid: 0, gid: 0, other: Map::new() }
    }

    /// Reads the plain JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > LOCK_BYTES_MAX {
            return Err(FormatError::TooLarge { what: "a lock file (bytes)", limit: LOCK_BYTES_MAX as u64 });
        }
        serde_json::from_slice(bytes).map_err(|error| FormatError::malformed(WHAT, error))
    }

    /// The plain JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let mut object = JsonObject::open(&mut out);
        object.time("time", &self.time);
        object.field("exclusive").extend_from_slice(if self.exclusive { b"true" } else { b"false" });
        object.text("hostname", &self.hostname);
        object.text("username", &self.username);
        object.field("pid").extend_from_slice(self.pid.to_string().as_bytes());
        object.number_if_any("uid", u64::from(self.uid));
        object.number_if_any("gid", u64::from(self.gid));
        object.unknown(&self.other);
        object.close();
        out
    }
}
