//! `[sources.NAME]`: what is to be backed up, what is left out of it, what it must have, and the hooks around it.
//!
//! Exactly one key says what it is: `paths`, `url` or `command`. An address of a server is one as for copies, with the
//! same settings; databases have addresses of their own ([`database`]).

mod choice;
mod database;
mod hooks;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use destinations::Site;
use repository::backup::Origin;
use sources::RemoteSettings;
use sources::hooks::Hooks;
use tokio::runtime::Handle;

use crate::destination::{Destination, is_name};
use crate::table::{At, Table};
use crate::{SecretError, expand};

pub use choice::Choice;
pub(crate) use database::Database;

/// The keys that say what a source is.
const KINDS: [&str; 3] = ["paths", "url", "command"];

/// A source, as the file describes it.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in the file.
    pub name: String,
    /// What it is.
    pub what: What,
    /// What is left out, and what it must have.
    pub choice: Choice,
    /// Commands around it.
    pub hooks: Hooks,
}

/// What a source is.
#[derive(Debug, Clone)]
pub enum What {
    /// Files and folders of this machine.
    Paths {
        /// Those that have to be there.
        required: Vec<PathBuf>,
        /// Those that may be missing.
        optional: Vec<PathBuf>,
    },
    /// What a command writes.
    Command {
        /// The program and its arguments.
        arguments: Vec<OsString>,
        /// The file's name in the snapshot.
        file: String,
        /// How long it may take.
        deadline: Option<Duration>,
    },
    /// A tree on another machine.
    Remote {
        /// Where it is, and how it is reached.
        place: Box<Destination>,
        /// TLS from the first byte on; FTP only.
        implicit_tls: bool,
    },
    /// A database.
    Database(Database),
}

/// Why a source cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("source `{name}`: {why}")]
pub struct UnopenedSource {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

impl Source {
    /// The source as something that the engine reads; none for files of this machine. Secrets are fetched now, nothing
    /// else is asked yet; connections will live on `runtime`.
    ///
    /// # Errors
    /// When a secret cannot be had, or what is set makes no sense.
    pub fn origin(&self, runtime: &Handle) -> Result<Option<Arc<dyn Origin>>, UnopenedSource> {
        let failed = |why: String| UnopenedSource { name: self.name.clone(), why };
        let no_secret = |error: SecretError| failed(error.to_string());
        Ok(Some(match &self.what {
            What::Paths { .. } => return Ok(None),
            What::Command { arguments, file, deadline } => Arc::new(sources::Command {
                name_in_snapshot: file.clone(),
                arguments: arguments.clone(),
                deadline: *deadline,
            }),
            What::Remote { place, implicit_tls } => {
                let Site { location, settings, .. } = place.site().map_err(no_secret)?;
                let (access, limits) = (settings.access, settings.limits);
                let settings = RemoteSettings { access, limits, implicit_tls: *implicit_tls, listener: None };
                let tree = sources::remote_tree(&location, &settings, runtime.clone());
                tree.map_err(|error| failed(error.to_string()))?
            }
            What::Database(database) => database.origin().map_err(no_secret)?,
        }))
    }

    /// Reads a table; every mistake is told, and none is made of what has one.
    pub(crate) fn check(name: &str, table: &mut Table<'_, '_>, folder: &Path) -> Option<Self> {
        let mistakes = table.mistakes();
        if !is_name(name) {
            table.report_whole(table.at(), format!("`{name}` cannot be a name"), "use letters, digits, `-` and `_`");
        }
        let hooks = hooks::read(table);
        let choice = Choice::read(table, folder);
        let given: Vec<String> = table.left().into_iter().filter(|key| KINDS.contains(&key.as_str())).collect();
        let what = match given.as_slice() {
            [one] if one == "paths" => paths(table, folder),
            [one] if one == "command" => command(table),
            [_] => address(name, table, folder),
            _ => {
                let at = table.at();
                table.report_whole(at, "one of `paths`, `url` and `command` is needed", "a source is one thing");
                table.left().iter().for_each(|key| table.leave(key));
                None
            }
        };
        if let Some(What::Paths { .. }) = what {
        } else {
            choice.refuse_what_is_for_paths(table);
        }
        table.finish();
        let what = what.filter(|_| table.mistakes() == mistakes)?;
        Some(Self { name: name.to_owned(), what, choice, hooks })
    }
}

fn paths(table: &mut Table<'_, '_>, folder: &Path) -> Option<What> {
    let required = path_list(table, "paths", folder);
    let optional = path_list(table, "optional", folder);
    Some(What::Paths { required: required?, optional: optional.unwrap_or_default() })
}

/// A list of paths, with `~` and variables; relative ones are relative to the file.
fn path_list(table: &mut Table<'_, '_>, key: &str, folder: &Path) -> Option<Vec<PathBuf>> {
    let at = table.at_value(key);
    let mut paths = Vec::new();
    for text in table.texts(key)? {
        match expand::path(&text) {
            Ok(path) => paths.push(folder.join(path)),
            Err(why) => table.report(at.clone(), key, format!("`{text}`: {why}"), "write `$$` for a `$`"),
        }
    }
    Some(paths)
}

fn command(table: &mut Table<'_, '_>) -> Option<What> {
    let arguments = table.texts("command");
    let file = table.text("file");
    let deadline = table.duration("deadline");
    let file = match file {
        None => "output".to_owned(),
        Some((file, at)) if file.is_empty() || file.contains('/') || file == "." || file == ".." => {
            table.report(at, "file", format!("`{file}` is no name of a file"), "write a name without a path");
            return None;
        }
        Some((file, _)) => file,
    };
    Some(What::Command { arguments: arguments?.into_iter().map(Into::into).collect(), file, deadline })
}

fn address(name: &str, table: &mut Table<'_, '_>, folder: &Path) -> Option<What> {
    let at: At = table.at_value("url");
    if let Some(scheme) = table.peek_text("url").and_then(|text| database::scheme(&text)) {
        return Database::read(scheme, table, folder).map(What::Database);
    }
    let implicit_tls = table.boolean("implicit_tls").unwrap_or_default();
    let place = Destination::check(name, table, folder)?;
    let kind = place.location.kind();
    if place.hot.is_some() {
        table.report(at.clone(), "hot", "a source has no hot part", "take it out");
    }
    if implicit_tls && kind != "ftps" {
        table.report(at.clone(), "implicit_tls", format!("`{kind}:` begins as it begins"), "it is for `ftps:`");
    }
    if !sources::REMOTE_KINDS.contains(&kind) {
        let hint = format!(
            "trees are read from `{}:`; databases have addresses of their own",
            sources::REMOTE_KINDS.join(":`, `")
        );
        table.report(at, "url", format!("nothing is read from `{kind}:`"), hint);
        return None;
    }
    Some(What::Remote { place: Box::new(place), implicit_tls })
}
