//! What a restore should know of a source: what it was, who wrote it down, and how much there was.
//!
//! The same source gives the same text, so there is no time in it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use repository::backup::OriginError;
use serde::{Deserialize, Serialize};

/// Rows of each table of a database, or whatever else is counted.
pub type Counts = BTreeMap<String, u64>;

/// What is known of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What kind of source it was, which says what a restore does with its files.
    pub kind: Kind,
    /// The server's own words for its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The version of the tool that wrote the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// What was counted in each database.
    #[serde(default)]
    pub counts: BTreeMap<String, Counts>,
}

/// Kinds of sources whose files are written by a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What a command wrote.
    Command,
    /// MariaDB or MySQL: SQL; all files in the order of their names are one dump.
    Mysql,
    /// PostgreSQL: a file for each database, and one for what belongs to all of them.
    Postgres,
    /// A whole Redis: an RDB file.
    RedisRdb,
    /// Keys of a Redis, a file for each.
    RedisKeys,
    /// A SQLite database file.
    Sqlite,
    /// An archive of `mongodump`.
    Mongodb,
}

impl Kind {
    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Command => "command",
            Kind::Mysql => "mysql",
            Kind::Postgres => "postgres",
            Kind::RedisRdb => "redis-rdb",
            Kind::RedisKeys => "redis-keys",
            Kind::Sqlite => "sqlite",
            Kind::Mongodb => "mongodb",
        }
    }
}

impl Manifest {
    /// The manifest's text.
    ///
    /// # Errors
    /// None that a manifest of ours could cause.
    pub fn to_json(&self) -> Result<String, OriginError> {
        serde_json::to_string_pretty(self).map_err(|error| OriginError::new("describe", "", error.to_string()))
    }

    /// Reads a manifest's text.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("this is no manifest of a source: {error}"))
    }
}

/// Where those who read a stream put what they counted.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<String, Counts>>);

impl Tally {
    pub(crate) fn set(&self, database: &str, counts: Counts) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(database.to_owned(), counts);
    }

    pub(crate) fn all(&self) -> BTreeMap<String, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
