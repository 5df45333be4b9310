//! PostgreSQL, by its own dump tools: each database in one transaction, and what belongs to all of them.
//!
//! The custom archive is the usual form: everything can be restored from it, also single tables by `pg_restore`. It is
//! not compressed, so that what did not change is found again in the repository. The same database gives the same
//! bytes.

mod archive;
mod login;
mod plain;
mod restore;

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use repository::Cancel;
use repository::backup::{Entry, Origin, OriginError};

use crate::dump::{Dump, Trailer, file, file_name, name_of_file};
use crate::manifest::{Kind, Manifest, Tally};
use crate::program::{Program, ProgramError, SILENCE_LIMIT, find, version};
use archive::Archive;
use login::FIRST_DATABASE;
pub use login::PostgresLogin;
use plain::{BRACKET, Plain};
pub(crate) use restore::restore;

/// Before the files of databases, in the order of names: no database is called so.
const GLOBALS_FILE: &str = "+globals.sql";
const ARCHIVE_ENDING: &str = ".dump";
const PLAIN_ENDING: &str = ".sql";
const PLAIN_TRAILER: &str = "-- PostgreSQL database dump complete";
const GLOBALS_TRAILER: &str = "-- PostgreSQL database cluster dump complete";
const HELP_LIMIT_BYTES: u64 = 1 << 20;

/// What of a server is backed up.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// The server.
    pub login: PostgresLogin,
    /// These databases; all that may be connected to and are no templates for none.
    pub databases: Vec<String>,
    /// Statements instead of a custom archive.
    pub plain: bool,
    /// Roles and tablespaces are left out, which takes fewer rights.
    pub without_globals: bool,
}

/// A PostgreSQL server as a source.
#[derive(Debug)]
pub struct Postgres {
    options: PostgresOptions,
    silence_limit: Duration,
    state: Mutex<State>,
}

/// What one backup knows.
#[derive(Debug, Default)]
struct State {
    server: Option<String>,
    tool: Option<String>,
    can_bracket: bool,
    tally: Arc<Tally>,
}

impl Postgres {
    /// Nothing is asked yet.
    pub fn new(options: PostgresOptions) -> Self {
        Self { options, silence_limit: SILENCE_LIMIT, state: Mutex::default() }
    }

    /// The same with another patience than an hour, for a tool that writes nothing.
    #[must_use]
    pub fn silence_limit(mut self, limit: Duration) -> Self {
        self.silence_limit = limit;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn databases(&self) -> Result<Vec<String>, OriginError> {
        if let Some(odd) = self.options.databases.iter().find(|name| name.contains(['\n', '\x1f', '\0'])) {
            return Err(OriginError::new("dump", odd, "this cannot be the name of a database"));
        }
        let first = self.options.databases.first().map_or(FIRST_DATABASE, String::as_str);
        let question = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1";
        // A database that is missing is its own error, and the first one need not exist.
        let asked =
            self.options.login.ask(FIRST_DATABASE, question).or_else(|_| self.options.login.ask(first, question));
        let there: Vec<String> = asked.map_err(|error| failed("list", "", &error))?.into_iter().flatten().collect();
        if let Some(missing) = self.options.databases.iter().find(|name| !there.contains(name)) {
            return Err(OriginError::new(
                "dump",
                missing,
                "the server has no such database, or none that lets anybody in",
            ));
        }
        Ok(if self.options.databases.is_empty() { there } else { self.options.databases.clone() })
    }

    fn dump(&self, object: &str, tool: &str, adapt: impl FnOnce(Program) -> Program) -> Result<Dump, OriginError> {
        let is_plain_bracketed = self.state().can_bracket;
        let program = self.options.login.tool(tool, object).map_err(|error| failed("start", object, &error))?;
        let mut program = adapt(program.argument("--no-password"));
        if is_plain_bracketed && (self.options.plain || object == FIRST_DATABASE && tool == "pg_dumpall") {
            program = program.argument(format!("--restrict-key={BRACKET}"));
        }
        let running =
            program.silence_limit(self.silence_limit).start().map_err(|error| failed("start", object, &error))?;
        Ok(Dump::new(object, running))
    }
}

fn failed(action: &'static str, object: &str, error: &ProgramError) -> OriginError {
    OriginError::new(action, object, error.to_string())
}

impl Origin for Postgres {
    fn place(&self) -> String {
        self.options.login.place()
    }

    fn list(&self, path: &[u8], _stop: &Cancel) -> Result<Vec<Entry>, OriginError> {
        if !path.is_empty() {
            return Ok(Vec::new());
        }
        let databases = self.databases()?;
        let unusable = |error: ProgramError| failed("start", "", &error);
        let tool = find(&["pg_dump"], self.options.login.programs.as_deref()).map_err(unusable)?;
        let help = Program::new(&tool).argument("--help").run(HELP_LIMIT_BYTES).map_err(unusable)?;
        let ask = databases.first().map_or(FIRST_DATABASE, String::as_str);
        let server =
            self.options.login.ask_one(ask, "SHOW server_version").map_err(|error| failed("ask", ask, &error))?;
        *self.state() = State {
            server: Some(server),
            tool: Some(version(&tool).map_err(unusable)?),
            can_bracket: String::from_utf8_lossy(&help).contains("--restrict-key"),
            tally: Arc::default(),
        };
        let ending = if self.options.plain { PLAIN_ENDING } else { ARCHIVE_ENDING };
        let mut entries: Vec<Entry> =
            databases.iter().map(|database| file(format!("{}{ending}", file_name(database)))).collect();
        if !self.options.without_globals {
            entries.push(file(GLOBALS_FILE));
        }
        Ok(entries)
    }

    fn open(&self, path: &[u8], _entry: &Entry, stop: &Cancel) -> Result<Box<dyn Read + Send>, OriginError> {
        let path = String::from_utf8_lossy(path);
        let tally = Arc::clone(&self.state().tally);
        if path == GLOBALS_FILE {
            let dump = self.dump(FIRST_DATABASE, "pg_dumpall", |tool| tool.argument("--globals-only").heeding(stop))?;
            return Ok(Box::new(dump.watched(Trailer::new(GLOBALS_TRAILER))));
        }
        let ending = if self.options.plain { PLAIN_ENDING } else { ARCHIVE_ENDING };
        let unknown = || OriginError::new("open", path.clone(), "there is no such file in the dump");
        let database = path.strip_suffix(ending).and_then(name_of_file).ok_or_else(unknown)?;
        if self.options.plain {
            let dump = self.dump(&database, "pg_dump", |tool| tool.argument("--format=plain").heeding(stop))?;
            let rows = Plain::new(&database, tally);
            return Ok(Box::new(dump.watched(Trailer::new(PLAIN_TRAILER)).watched(rows)));
        }
        let words = ["--format=custom", "--compress=0"];
        let dump = self.dump(&database, "pg_dump", |tool| tool.arguments(words).heeding(stop))?;
        Ok(Box::new(dump.watched(Archive::new(&database, tally))))
    }

    fn manifest(&self) -> Result<Option<String>, OriginError> {
        let state = self.state();
        let (server, tool, counts) = (state.server.clone(), state.tool.clone(), state.tally.all());
        Manifest { kind: Kind::Postgres, server, tool, counts }.to_json().map(Some)
    }
}
