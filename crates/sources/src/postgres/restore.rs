//! A PostgreSQL server from its files: roles first, then each database through the server's own tools.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use super::login::{FIRST_DATABASE, PostgresLogin, parse_name, parse_qualified, quoted, text};
use super::plain::write_bracketed;
use super::{ARCHIVE_ENDING, GLOBALS_FILE, PLAIN_ENDING};
use crate::dump::name_of_file;
use crate::into::{Files, IntoError, Terms, compare};
use crate::manifest::{Counts, Manifest};
use crate::program::{Program, ProgramError};

/// Roles and tablespaces of one server.
const GLOBALS_LIMIT_BYTES: u64 = 256 << 20;
/// Objects of the user's own that a database has.
const OBJECTS: &str = "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'";

/// Restores what a manifest describes; into `database`, when there is one database only, or into those that were dumped.
pub(crate) fn restore(
    login: &PostgresLogin,
    database: Option<&str>,
    manifest: &Manifest,
    files: &dyn Files,
    terms: &Terms,
) -> Result<BTreeMap<String, Counts>, IntoError> {
    let names = files.names().map_err(|error| IntoError::new("read", "the snapshot", error.to_string()))?;
    let mut dumps = Vec::new();
    for name in &names {
        let stem = name.strip_suffix(ARCHIVE_ENDING).or_else(|| name.strip_suffix(PLAIN_ENDING));
        if let Some(dumped) = stem.and_then(name_of_file) {
            dumps.push((name.as_str(), dumped));
        }
    }
    let restoring = Restoring { login, files, terms };
    let mut wanted = manifest.counts.clone();
    match (database, dumps.as_slice()) {
        (Some(into), [(file, _)]) => {
            wanted = wanted.into_values().map(|counts| (into.to_owned(), counts)).collect();
            restoring.prepare(into)?;
            restoring.fill(file, into)?;
        }
        (Some(into), dumps) => {
            let all = dumps.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join("`, `");
            let cause = format!("the snapshot holds the databases `{all}`, which cannot all go into one");
            return Err(IntoError::new("restore into", into, cause).hint("name the server alone"));
        }
        (None, dumps) => {
            for (_, name) in dumps {
                restoring.refuse_if_filled(name)?;
            }
            if names.iter().any(|name| name == GLOBALS_FILE) {
                restoring.globals()?;
            }
            for (file, name) in dumps {
                restoring.whole(file, name)?;
            }
        }
    }
    compare(&wanted, |database, table| {
        let (schema, table, _) = parse_qualified(table).ok_or("this is not the name of a table")?;
        // Rows of tables that inherit are counted there.
        let question = format!("SELECT count(*) FROM ONLY {}.{}", quoted(&schema), quoted(&table));
        let count = login.ask_one(database, &question).map_err(|error| error.to_string())?;
        count.parse().map_err(|_| "the server did not answer".to_owned())
    })
}

struct Restoring<'a> {
    login: &'a PostgresLogin,
    files: &'a dyn Files,
    terms: &'a Terms,
}

impl Restoring<'_> {
    fn exists(&self, name: &str) -> Result<bool, IntoError> {
        let question = format!("SELECT count(*) FROM pg_catalog.pg_database WHERE datname = {}", text(name));
        let count = self.login.ask_one(FIRST_DATABASE, &question).map_err(|error| failed("look into", name, &error))?;
        Ok(count != "0")
    }

    fn refuse_if_filled(&self, name: &str) -> Result<(), IntoError> {
        if self.terms.into_non_empty || !self.exists(name)? {
            return Ok(());
        }
        let count = self.login.ask_one(name, OBJECTS).map_err(|error| failed("look into", name, &error))?;
        if count == "0" { Ok(()) } else { Err(IntoError::not_empty(name, &format!("it has {count} relations"))) }
    }

    /// Makes the database when it is not there.
    fn prepare(&self, name: &str) -> Result<(), IntoError> {
        self.refuse_if_filled(name)?;
        if self.exists(name)? {
            return Ok(());
        }
        let make = format!("CREATE DATABASE {} TEMPLATE template0", quoted(name));
        self.login.ask(FIRST_DATABASE, &make).map(drop).map_err(|error| failed("create", name, &error))
    }

    /// The database with all that it is, also its encoding; into itself, where it is there.
    fn whole(&self, file: &str, name: &str) -> Result<(), IntoError> {
        if file.ends_with(PLAIN_ENDING) || self.exists(name)? {
            self.prepare(name)?;
            return self.fill(file, name);
        }
        let program = self.pg_restore(FIRST_DATABASE, name)?.argument("--create");
        self.write(file, name, program, |content, input| io::copy(content, input).map(drop))
    }

    fn fill(&self, file: &str, into: &str) -> Result<(), IntoError> {
        if file.ends_with(PLAIN_ENDING) {
            let program = self.login.client(into).map_err(|error| failed("restore into", into, &error))?;
            return self.write(file, into, program.argument("--single-transaction"), |content, mut input| {
                write_bracketed(content, &mut input)
            });
        }
        let program = self.pg_restore(into, into)?.argument("--single-transaction");
        self.write(file, into, program, |content, input| io::copy(content, input).map(drop))
    }

    fn pg_restore(&self, connected: &str, into: &str) -> Result<Program, IntoError> {
        let program = self.login.tool("pg_restore", connected).map_err(|error| failed("restore into", into, &error))?;
        let named = format!("dbname='{}'", connected.replace('\\', "\\\\").replace('\'', "\\'"));
        let program = program.arguments(["--no-password", "--exit-on-error", "--dbname"]).argument(named);
        let without = ["--no-owner", "--no-privileges"];
        Ok(if self.terms.without_owners { program.arguments(without) } else { program })
    }

    /// Writes a file to a program.
    fn write(
        &self,
        file: &str,
        into: &str,
        program: Program,
        how: impl FnOnce(&mut dyn Read, &mut dyn Write) -> io::Result<()>,
    ) -> Result<(), IntoError> {
        let mut content = Noting { from: self.open(file)?, failure: None };
        let mut running =
            program.with_input().without_output().start().map_err(|error| failed("restore into", into, &error))?;
        let written = running.take_input().map_or(Ok(()), |mut input| how(&mut content, &mut input));
        if let Some(error) = content.failure {
            running.kill();
            return Err(IntoError::new("restore", file, format!("the snapshot cannot be read: {error}")));
        }
        running.finish().map_err(|error| failed("restore into", into, &error))?;
        written.map_err(|error| IntoError::new("restore into", into, error.to_string()))
    }

    fn open(&self, file: &str) -> Result<Box<dyn Read + '_>, IntoError> {
        self.files.open(file).map_err(|error| IntoError::new("restore", file, error.to_string()))
    }

    /// Roles and tablespaces. A role that is there stays as it is, with the password that it has: one of them is us.
    fn globals(&self) -> Result<(), IntoError> {
        let refused = |cause: String| IntoError::new("restore", GLOBALS_FILE, cause);
        let mut content = String::new();
        let read = self.open(GLOBALS_FILE)?.take(GLOBALS_LIMIT_BYTES).read_to_string(&mut content);
        read.map_err(|error| refused(error.to_string()))?;
        let rows = self.login.ask(FIRST_DATABASE, "SELECT rolname FROM pg_catalog.pg_roles");
        let there: Vec<String> = rows.map_err(|error| refused(error.to_string()))?.into_iter().flatten().collect();
        let is_there = |line: &str| {
            let named = line.strip_prefix("CREATE ROLE ").or_else(|| line.strip_prefix("ALTER ROLE "));
            named.and_then(parse_name).is_some_and(|(name, _)| there.contains(&name))
        };
        let kept: Vec<&str> = content.lines().filter(|line| !is_there(line)).collect();
        let program = self.login.client(FIRST_DATABASE).map_err(|error| refused(error.to_string()))?;
        let mut running = program.with_input().without_output().start().map_err(|error| refused(error.to_string()))?;
        let text = kept.join("\n") + "\n";
        let written = running.take_input().map_or(Ok(()), |mut input| write_bracketed(text.as_bytes(), &mut input));
        running.finish().map_err(|error| refused(error.to_string()))?;
        written.map_err(|error| refused(error.to_string()))
    }
}

fn failed(action: &'static str, object: &str, error: &ProgramError) -> IntoError {
    IntoError::new(action, object, error.to_string())
}

/// Remembers which side of a copy failed.
struct Noting<'a> {
    from: Box<dyn Read + 'a>,
    failure: Option<io::Error>,
}

impl Read for Noting<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.from.read(bytes).map_err(|error| {
            let shown = io::Error::new(error.kind(), error.to_string());
            self.failure = Some(error);
            shown
        })
    }
}
