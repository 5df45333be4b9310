//! MariaDB and MySQL, by their own dump tools: in one transaction, with routines, events and triggers.
//!
//! The same database gives the same bytes: there is no date in the dump, rows come in the order of the primary key.
//! With a file for each table, tables in which nothing changed cost nothing in the repository.

mod login;
mod restore;
mod scanner;
mod sections;

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use repository::Cancel;
use repository::backup::{Entry, Origin, OriginError};

use crate::dump::{Dump, Trailer, Watcher, file};
use crate::manifest::{Kind, Manifest, Tally};
use crate::program::{Program, ProgramError, SILENCE_LIMIT, find, version};
pub use login::MysqlLogin;
pub(crate) use restore::restore;
use scanner::Scanner;
use sections::{Part, PartReader, Split, parts, sort};

/// Both projects' names of the tool.
const DUMP_TOOLS: [&str; 2] = ["mariadb-dump", "mysqldump"];
const TRAILER: &str = "-- Dump completed";
/// Databases that every server makes for itself.
const OWN_DATABASES: [&str; 4] = ["information_schema", "performance_schema", "mysql", "sys"];
/// Where statements end depends on all rows before, so a row more at the beginning moves all ends. Long statements have
/// few ends: what lies between them is found again in the repository. A server has to take them, ours or another.
const STATEMENT_BYTES_MIN: u64 = 1 << 20;
const STATEMENT_BYTES_MAX: u64 = 8 << 20;
const WHOLE_FILE: &str = "databases.sql";
/// Behind the files of databases, in the order of names.
const USERS_FILE: &str = "users.sql";

/// What of a server is backed up.
#[derive(Debug, Clone, Default)]
pub struct MysqlOptions {
    /// The server.
    pub login: MysqlLogin,
    /// These databases; all that are not the server's own for none.
    pub databases: Vec<String>,
    /// A file for each table instead of one for all.
    pub by_table: bool,
    /// Accounts and what they may do too; MariaDB only.
    pub with_users: bool,
}

/// A MariaDB or MySQL server as a source.
pub struct Mysql {
    options: MysqlOptions,
    silence_limit: Duration,
    state: Mutex<State>,
}

/// What one backup knows.
#[derive(Default)]
struct State {
    server: Option<String>,
    tool: Option<String>,
    statement_bytes: u64,
    databases: Vec<String>,
    parts: Vec<Part>,
    split: Option<Arc<Mutex<Split>>>,
    tally: Arc<Tally>,
}

impl std::fmt::Debug for Mysql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mysql").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Mysql {
    /// Nothing is asked yet.
    pub fn new(options: MysqlOptions) -> Self {
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

    /// The databases that are wanted, in the order of the dump.
    fn databases(&self) -> Result<Vec<String>, OriginError> {
        let rows = self.options.login.ask("SHOW DATABASES").map_err(|error| failed("list", "", &error))?;
        let there: Vec<String> = rows.into_iter().flatten().collect();
        if let Some(missing) = self.options.databases.iter().find(|name| !there.contains(name)) {
            return Err(OriginError::new(
                "dump",
                missing,
                "the server has no such database, or does not show it to this user",
            ));
        }
        let mut wanted = match self.options.databases.is_empty() {
            true => there.into_iter().filter(|name| !OWN_DATABASES.contains(&name.as_str())).collect(),
            false => self.options.databases.clone(),
        };
        if wanted.is_empty() {
            return Err(OriginError::new("list", "", "the server shows no database to this user"));
        }
        sort(&mut wanted);
        wanted.dedup();
        Ok(wanted)
    }

    /// Tables and views of a database, in the server's order.
    fn relations(&self, database: &str) -> Result<Vec<String>, OriginError> {
        let question = format!("SHOW FULL TABLES FROM {}", login::quoted(database));
        let rows = self.options.login.ask(&question).map_err(|error| failed("list", database, &error))?;
        let named = rows.into_iter().filter_map(|row| <[String; 2]>::try_from(row).ok());
        Ok(named.filter(|[_, kind]| kind != "SEQUENCE").map(|[name, _]| name).collect())
    }

    fn dump(&self, object: &str, adapt: impl FnOnce(Program) -> Program) -> Result<Dump, OriginError> {
        let tool = self.options.login.tool(&DUMP_TOOLS).map_err(|error| failed("start", "", &error))?;
        let running =
            adapt(tool).silence_limit(self.silence_limit).start().map_err(|error| failed("start", "", &error))?;
        Ok(Dump::new(object, running).watched(Trailer::new(TRAILER)))
    }

    fn dump_databases(&self, object: &str, state: &State, stop: &Cancel) -> Result<Dump, OriginError> {
        let is_mariadb = state.tool.as_ref().is_some_and(|tool| tool.contains("MariaDB"));
        self.dump(object, |tool| {
            let usual = ["--single-transaction", "--quick", "--routines", "--events", "--triggers", "--hex-blob"];
            let same = ["--skip-dump-date", "--order-by-primary", "--no-tablespaces", "--databases"];
            // Without the one, the other's tool writes what the dumped server is called in a replication.
            let own: &[&str] = if is_mariadb { &[] } else { &["--set-gtid-purged=OFF", "--column-statistics=0"] };
            let length = format!("--net-buffer-length={}", state.statement_bytes);
            tool.heeding(stop)
                .arguments(usual)
                .arguments(own)
                .argument(length)
                .arguments(same)
                .argument("--")
                .arguments(&state.databases)
        })
    }
}

fn failed(action: &'static str, object: &str, error: &ProgramError) -> OriginError {
    OriginError::new(action, object, error.to_string())
}

impl Origin for Mysql {
    fn place(&self) -> String {
        self.options.login.place()
    }

    fn list(&self, path: &[u8], _stop: &Cancel) -> Result<Vec<Entry>, OriginError> {
        if !path.is_empty() {
            return Ok(Vec::new());
        }
        let login = &self.options.login;
        let databases = self.databases()?;
        let tool = find(&DUMP_TOOLS, login.programs.as_deref()).and_then(version);
        let (server, statement_bytes_max) = login.describe().map_err(|error| failed("ask", "", &error))?;
        let mut state = State {
            server: Some(server),
            statement_bytes: (statement_bytes_max / 2).clamp(STATEMENT_BYTES_MIN, STATEMENT_BYTES_MAX),
            tool: Some(tool.map_err(|error| failed("start", "", &error))?),
            ..State::default()
        };
        let mut entries = Vec::new();
        if self.options.by_table {
            let told = databases.iter().map(|database| Ok((database.clone(), self.relations(database)?)));
            state.parts = parts(&told.collect::<Result<Vec<_>, OriginError>>()?);
            entries.extend(state.parts.iter().map(|part| file(part.file.as_str())));
        } else {
            entries.push(file(WHOLE_FILE));
        }
        if self.options.with_users {
            entries.push(file(USERS_FILE));
        }
        state.databases = databases;
        *self.state() = state;
        Ok(entries)
    }

    fn open(&self, path: &[u8], _entry: &Entry, stop: &Cancel) -> Result<Box<dyn Read + Send>, OriginError> {
        if path == USERS_FILE.as_bytes() {
            let words = ["--system=users", "--insert-ignore", "--skip-dump-date"];
            return Ok(Box::new(self.dump(USERS_FILE, |tool| tool.arguments(words).heeding(stop))?));
        }
        let mut state = self.state();
        if path == WHOLE_FILE.as_bytes() {
            let rows = Rows { scanner: Scanner::new(), tally: Arc::clone(&state.tally) };
            return Ok(Box::new(self.dump_databases(WHOLE_FILE, &state, stop)?.watched(rows)));
        }
        let part = state.parts.iter().position(|part| part.file.as_bytes() == path);
        let unknown = || OriginError::new("open", String::from_utf8_lossy(path), "there is no such file in the dump");
        let part = part.ok_or_else(unknown)?;
        let split = match state.split.clone() {
            Some(split) => split,
            None => {
                let dump = self.dump_databases(&state.databases.join(", "), &state, stop)?;
                let split = Split::new(dump, state.parts.clone(), Arc::clone(&state.tally));
                Arc::clone(state.split.insert(Arc::new(Mutex::new(split))))
            }
        };
        Ok(Box::new(PartReader { split, part }))
    }

    fn manifest(&self) -> Result<Option<String>, OriginError> {
        let state = self.state();
        if let Some(split) = &state.split {
            let finished = split.lock().unwrap_or_else(PoisonError::into_inner).finish();
            finished.map_err(|error| {
                let other = |error: std::io::Error| OriginError::new("dump", "", error.to_string());
                error.downcast::<OriginError>().unwrap_or_else(other)
            })?;
        }
        let (server, tool, mut counts) = (state.server.clone(), state.tool.clone(), state.tally.all());
        // Databases without tables are there too.
        for name in &state.databases {
            counts.entry(name.clone()).or_default();
        }
        Manifest { kind: Kind::Mysql, server, tool, counts }.to_json().map(Some)
    }
}

/// Counts the rows that pass.
struct Rows {
    scanner: Scanner,
    tally: Arc<Tally>,
}

impl Watcher for Rows {
    fn pass(&mut self, bytes: &mut [u8]) {
        self.scanner.feed(bytes, &mut |_, _| {});
    }

    fn end(&mut self) -> Result<(), String> {
        for (database, counts) in self.scanner.counts() {
            self.tally.set(database, counts.clone());
        }
        Ok(())
    }
}
