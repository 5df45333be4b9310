//! The way back: a source's files go into a server or a file again, and are counted there.
//!
//! Nothing is restored over something that is there, unless the user says so. Afterwards there have to be as many rows
//! and keys as the manifest says; fewer or more are an error, though everything else went well.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;

use model::Secret;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::manifest::{Counts, Kind, Manifest};
use crate::mysql::{self, MysqlLogin};
use crate::postgres::{self, PostgresLogin};
use crate::redis::{self, RedisLogin};
use crate::sqlite;

/// No more differences than this are named.
const DIFFERENCES_SHOWN: usize = 10;

/// The files of a source in a snapshot.
pub trait Files {
    /// Names of all files in the source's folder.
    ///
    /// # Errors
    /// When they cannot all be told.
    fn names(&self) -> io::Result<Vec<String>>;

    /// The content of one of them.
    ///
    /// # Errors
    /// When it cannot be read.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>>;
}

/// How a restore is to be done.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// The target may have something in it. What has the same names is replaced or is in the way.
    pub into_non_empty: bool,
    /// Objects belong to the account that restores, and nobody gets rights; PostgreSQL only.
    pub without_owners: bool,
    /// The folder of the server's tools; the search path for none.
    pub programs: Option<PathBuf>,
    /// The certificate authority of a server that is asked by TLS.
    pub ca_certificate: Option<PathBuf>,
}

/// Where a source is restored to.
#[derive(Debug, Clone)]
pub struct Target {
    place: Place,
    password: Option<Secret>,
}

#[derive(Debug, Clone)]
enum Place {
    /// A database of it, or those that the dump names.
    Mysql { server: Server, database: Option<String> },
    /// The same.
    Postgres { server: Server, database: Option<String> },
    /// The same; databases are numbers.
    Redis { server: Server, database: Option<u64>, tls: bool },
    /// A file.
    Sqlite(PathBuf),
}

/// A server in an address.
#[derive(Debug, Clone)]
struct Server {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
}

/// Why a restore failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntoError {
    /// What was done: `restore`, `look into`.
    pub action: &'static str,
    /// On what.
    pub object: String,
    /// Why it failed, without secrets.
    pub cause: String,
    /// What the user can do.
    pub hint: Option<String>,
}

impl IntoError {
    pub(crate) fn new(action: &'static str, object: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { action, object: object.into(), cause: cause.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn not_empty(object: &str, what: &str) -> Self {
        Self::new("restore into", object, format!("it is not empty: {what}")).hint("name an empty target, or allow it")
    }
}

impl fmt::Display for IntoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: {}", self.action, self.object, self.cause)
    }
}

impl std::error::Error for IntoError {}

impl Target {
    /// Reads an address: `mysql://`, `postgres://`, `redis://` or `rediss://` with user, host, port and database, or
    /// `sqlite:FILE`.
    ///
    /// # Errors
    /// When it is none of these. The text shows no password.
    pub fn parse(address: &str) -> Result<Self, String> {
        if let Some(path) = address.strip_prefix("sqlite:") {
            return match path.trim_start_matches("//") {
                "" => Err("`sqlite:` needs the path of a file".to_owned()),
                path => Ok(Self { place: Place::Sqlite(PathBuf::from(path)), password: None }),
            };
        }
        let kinds = "`mysql://`, `postgres://`, `redis://` or `sqlite:`";
        let url = Url::parse(address)
            .map_err(|error| format!("the target is no address that begins with {kinds}: {error}"))?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let given = |text: &str| Some(decoded(text)).filter(|text| !text.is_empty());
        let database = given(url.path().trim_start_matches('/'));
        let host = url.host_str().and_then(|host| given(host.trim_start_matches('[').trim_end_matches(']')));
        let server = Server { host, port: url.port(), user: given(url.username()) };
        let place = match url.scheme() {
            "mysql" | "mariadb" => Place::Mysql { server, database },
            "postgres" | "postgresql" => Place::Postgres { server, database },
            "redis" | "rediss" => {
                let number =
                    database.map(|text| text.parse().map_err(|_| format!("`{text}` is no number of a database")));
                Place::Redis { server, database: number.transpose()?, tls: url.scheme() == "rediss" }
            }
            scheme => return Err(format!("nothing is restored into `{scheme}:`; a target begins with {kinds}")),
        };
        let password = url.password().and_then(given).map(Secret::from);
        Ok(Self { place, password })
    }

    /// The same with a password, where the address has none.
    #[must_use]
    pub fn password(mut self, password: Secret) -> Self {
        self.password.get_or_insert(password);
        self
    }

    /// True when it has one.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Restores the files of a source, and counts what is there then.
    ///
    /// # Errors
    /// When the target is not empty, is of another kind, or has not what the manifest says afterwards.
    pub fn restore(
        &self,
        manifest: &Manifest,
        files: &dyn Files,
        terms: &Terms,
    ) -> Result<BTreeMap<String, Counts>, IntoError> {
        match (&self.place, manifest.kind) {
            (Place::Mysql { server, database }, Kind::Mysql) => {
                let login = MysqlLogin {
                    host: server.host.clone(),
                    port: server.port,
                    socket: None,
                    user: server.user.clone(),
                    password: self.password.clone(),
                    ca_certificate: terms.ca_certificate.clone(),
                    programs: terms.programs.clone(),
                };
                mysql::restore(&login, database.as_deref(), manifest, files, terms)
            }
            (Place::Postgres { server, database }, Kind::Postgres) => {
                let login = PostgresLogin {
                    host: server.host.clone(),
                    port: server.port,
                    user: server.user.clone(),
                    password: self.password.clone(),
                    ca_certificate: terms.ca_certificate.clone(),
                    programs: terms.programs.clone(),
                };
                postgres::restore(&login, database.as_deref(), manifest, files, terms)
            }
            (Place::Redis { server, database, tls }, Kind::RedisRdb | Kind::RedisKeys) => {
                let login = RedisLogin {
                    host: server.host.clone().unwrap_or_else(|| "localhost".to_owned()),
                    port: server.port,
                    socket: None,
                    user: server.user.clone(),
                    password: self.password.clone(),
                    tls: *tls,
                    ca_certificate: terms.ca_certificate.clone(),
                };
                let restore = if manifest.kind == Kind::RedisRdb { redis::restore_rdb } else { redis::restore_keys };
                restore(&login, *database, manifest, files, terms)
            }
            (Place::Sqlite(path), Kind::Sqlite) => sqlite::restore(path, manifest, files, terms),
            (_, kind) => {
                let cause = format!("the snapshot is of the kind `{}`", kind.name());
                Err(IntoError::new("restore into", self.place.scheme(), cause))
            }
        }
    }
}

impl Place {
    fn scheme(&self) -> &'static str {
        match self {
            Place::Mysql { .. } => "mysql",
            Place::Postgres { .. } => "postgres",
            Place::Redis { .. } => "redis",
            Place::Sqlite(_) => "sqlite",
        }
    }
}

/// Counts what is wanted, and gives it when it is all there.
pub(crate) fn compare(
    wanted: &BTreeMap<String, Counts>,
    count: impl Fn(&str, &str) -> Result<u64, String>,
) -> Result<BTreeMap<String, Counts>, IntoError> {
    let mut differences = Vec::new();
    for (database, counts) in wanted {
        for (name, wanted) in counts {
            match count(database, name) {
                Ok(found) if found == *wanted => {}
                Ok(found) => differences.push(format!("`{database}.{name}` has {found} instead of {wanted}")),
                Err(cause) => differences.push(format!("`{database}.{name}` cannot be counted: {cause}")),
            }
        }
    }
    if differences.is_empty() {
        return Ok(wanted.clone());
    }
    let more = differences.len().saturating_sub(DIFFERENCES_SHOWN);
    differences.truncate(DIFFERENCES_SHOWN);
    let mut cause = differences.join("; ");
    if more > 0 {
        cause.push_str(&format!("; and {more} more"));
    }
    let all = wanted.keys().cloned().collect::<Vec<_>>().join(", ");
    Err(IntoError::new("count what was restored into", all, cause))
}
