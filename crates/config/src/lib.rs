//! `triplicate.toml` as a checked model, and references to secrets.
//!
//! A file is read in two stages: its text into a tree whose every part knows where it stands ([`table`]), and that tree
//! into what the words mean. Mistakes do not end the reading: each becomes a [`Finding`] with line and column, and all
//! of them are told at once. A key that nobody knows is a mistake, because a setting that is silently ignored is found
//! out on the worst day.
//!
//! Secrets are never in the file: it says where they are ([`SecretReference`]), and they are fetched when a destination
//! is about to be used, not when the file is read.

mod destination;
mod expand;
mod finding;
mod secret_reference;
mod source;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use destinations::Site;
use table::Table;

pub use destination::Destination;
pub use finding::{ConfigError, Finding};
pub use secret_reference::{SecretError, SecretReference, split_words};
pub use source::{Choice, Source, UnopenedSource, What};

/// The form of the file that this version reads.
pub const VERSION: i64 = 1;
/// A longer file is not a configuration.
const FILE_LIMIT_BYTES: u64 = 4 << 20;

/// A configuration.
#[derive(Debug, Default)]
pub struct Config {
    /// The file it is from.
    pub path: PathBuf,
    /// `[destinations.NAME]`: places that can hold copies, by name.
    pub destinations: BTreeMap<String, Destination>,
    /// `[sources.NAME]`: what can be backed up, by name.
    pub sources: BTreeMap<String, Source>,
}

/// The keys of other parts of the file, which other readers check.
const ELSEWHERE: [&str; 2] = ["repository", "source"];

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or with everything that is wrong in it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |why: String| ConfigError::unreadable(path, why);
        let length = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if FILE_LIMIT_BYTES < length {
            return Err(unreadable(format!("it has more than {FILE_LIMIT_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        Self::parse(path, &text)
    }

    /// Checks `text` as the content of the file at `path`; relative paths in it are relative to that file.
    ///
    /// # Errors
    /// With everything that is wrong in it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut findings = Vec::new();
        let mut config = Self { path: path.to_owned(), ..Self::default() };
        if let Some(mut root) = Table::root(text, &mut findings) {
            config.fill(&mut root);
        }
        if findings.is_empty() { Ok(config) } else { Err(ConfigError::new(path, text, findings)) }
    }

    fn fill(&mut self, root: &mut Table<'_, '_>) {
        match root.integer("version") {
            Some((VERSION, _)) | None => {}
            Some((other, at)) => {
                root.report(at, "version", format!("version {other} is not known"), "write `version = 1`")
            }
        }
        let folder = self.path.parent().map(Path::to_owned).unwrap_or_default();
        root.tables("destinations", |name, table| {
            if let Some(destination) = Destination::check(name, table, &folder) {
                self.destinations.insert(name.to_owned(), destination);
            }
        });
        root.tables("sources", |name, table| {
            if let Some(source) = Source::check(name, table, &folder) {
                self.sources.insert(name.to_owned(), source);
            }
        });
        self.check_hot_parts(root);
        for key in ELSEWHERE {
            root.leave(key);
        }
        root.finish();
    }

    /// Each hot part is a destination of its own, and belongs to one other.
    fn check_hot_parts(&self, root: &mut Table<'_, '_>) {
        let all_known = root.mistakes() == 0;
        let mut taken = BTreeMap::new();
        for destination in self.destinations.values() {
            let Some((hot, at)) = &destination.hot else { continue };
            let mut refuse = |what: String, hint: &str| {
                root.report(at.clone(), &format!("destinations.{}.hot", destination.name), what, hint);
            };
            match self.destinations.get(hot) {
                _ if *hot == destination.name => {
                    refuse("a place is not its own hot part".to_owned(), "name another destination");
                }
                // One with mistakes of its own is there, and unknown.
                None if all_known => {
                    refuse(format!("there is no destination `{hot}`"), "write a table for it, with its `url`");
                }
                Some(part) if part.hot.is_some() => {
                    refuse(format!("`{hot}` has a hot part itself"), "a hot part is a place that can always be read");
                }
                _ => {}
            }
            if let Some(first) = taken.insert(hot.clone(), &destination.name) {
                refuse(format!("`{hot}` is the hot part of `{first}`"), "each needs a hot part of its own");
            }
        }
    }

    /// The place of this name with everything that belongs to it; secrets are fetched now.
    ///
    /// # Errors
    /// When there is no such name, or when a secret cannot be had.
    pub fn site(&self, name: &str) -> Result<Site, NoSite> {
        let destination = self.destination(name)?;
        let of = |destination: &Destination| {
            destination.site().map_err(|error| NoSite::Secret { name: destination.name.clone(), error })
        };
        let hot = match &destination.hot {
            Some((hot, _)) => Some(Box::new(of(self.destination(hot)?)?)),
            None => None,
        };
        Ok(Site { hot, ..of(destination)? })
    }

    /// The destination of this name.
    ///
    /// # Errors
    /// When there is none: told with the names that there are.
    pub fn destination(&self, name: &str) -> Result<&Destination, UnknownName> {
        self.destinations.get(name).ok_or_else(|| self.unknown("destination", name, self.destinations.keys()))
    }

    /// The source of this name.
    ///
    /// # Errors
    /// When there is none: told with the names that there are.
    pub fn source(&self, name: &str) -> Result<&Source, UnknownName> {
        self.sources.get(name).ok_or_else(|| self.unknown("source", name, self.sources.keys()))
    }

    fn unknown<'a>(&self, what: &'static str, name: &str, known: impl Iterator<Item = &'a String>) -> UnknownName {
        UnknownName { what, name: name.to_owned(), path: self.path.clone(), known: known.cloned().collect() }
    }
}

/// Why a name does not lead to a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSite {
    /// Nobody has it.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// A secret cannot be had.
    #[error("destination `{name}`: {error}")]
    Secret {
        /// Whose secret.
        name: String,
        /// Why.
        error: SecretError,
    },
}

/// A name that the file does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` has no {what} `{name}`{}", path.display(), named(known))]
pub struct UnknownName {
    /// What it should be the name of.
    pub what: &'static str,
    /// What was asked for.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The names that it has.
    pub known: Vec<String>,
}

fn named(known: &[String]) -> String {
    if known.is_empty() { ", nor any other".to_owned() } else { format!("; it has `{}`", known.join("`, `")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use model::ExposeSecret as _;
    use proptest::prelude::*;

    const WHOLE: &str = r#"
version = 1

[destinations.nas]
url = "rest:https://backup@nas.example:8000/me/"
password = { file = "nas-password" }
ca_certificate = "nas.pem"
connections = 4
retry_total = "2m"

[destinations.cloud]
url = "s3:https://objects.example/bucket/prefix"
access_key_id = "NAME"
secret_access_key = { command = ["printf", "hush"] }
bucket_lookup = "path"

[destinations.archive]
url = "s3:https://objects.example/archive"
access_key_id = "NAME"
secret_access_key = { command = ["printf", "hush"] }
storage_class = "DEEP_ARCHIVE"
hot = "disk"

[destinations.disk]
url = "/srv/backup"
"#;

    #[test]
    fn a_whole_file_is_understood_and_secrets_are_fetched_when_they_are_needed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("triplicate.toml");
        std::fs::write(&path, WHOLE).unwrap();
        let config = Config::read(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.destinations.keys().collect::<Vec<_>>(), ["archive", "cloud", "disk", "nas"]);
        // The file of the password is not there yet: reading the configuration has not looked for it.
        let error = config.site("nas").unwrap_err();
        assert!(error.to_string().contains("nas-password"), "{error}");
        std::fs::write(folder.path().join("nas-password"), "hush\n").unwrap();
        let nas = config.site("nas").unwrap();
        assert_eq!(nas.settings.access.rest.password.as_ref().unwrap().expose_secret(), "hush");
        assert_eq!(nas.settings.access.tls.ca_certificate, Some(folder.path().join("nas.pem")));
        assert_eq!((nas.settings.limits.connections, nas.settings.limits.retry_total_seconds), (4, 120));
        let cloud = config.site("cloud").unwrap();
        assert_eq!(cloud.settings.access.s3.key.as_ref().unwrap().expose_secret(), "hush");
        assert_eq!(cloud.settings.access.s3.bucket_in_path, Some(true));
        let archive = config.site("archive").unwrap();
        assert_eq!(archive.hot.unwrap().location.to_string(), "/srv/backup");
        assert!(!format!("{config:?} {nas:?} {cloud:?}").contains("hush"));
        let error = config.destination("cluod").unwrap_err();
        assert!(
            error.to_string().ends_with("has no destination `cluod`; it has `archive`, `cloud`, `disk`, `nas`"),
            "{error}"
        );
    }

    /// Each text with all that is told of it, in order.
    #[test]
    fn mistakes_are_told_with_their_place_all_at_once() {
        for (text, expected) in [
            ("version = 2", "f:1:11: `version`: version 2 is not known\n  hint: write `version = 1`"),
            ("version = \"1\"", "f:1:11: `version`: a whole number is needed, not a text"),
            ("destination = 1", "f:1:1: `destination`: nobody knows this key\n  hint: `destinations` may be meant"),
            ("destinations = 1", "f:1:16: `destinations`: tables are needed here\n  hint: write `[destinations.NAME]`"),
            (
                "[destinations]\nnas = \"/srv\"",
                "f:2:7: `destinations.nas`: a table is needed, not a text\n  hint: write `[destinations.nas]`",
            ),
            (
                "[destinations.nas]\n",
                "f:1:1: `destinations.nas.url`: the address is missing\n  hint: write `url = \"rest:https://host/path/\"`, as for `-r`",
            ),
            (
                "[destinations.nas]\nurl = \"/srv\"\nconection = 3\nstall_limit = 5\nregion = \"x\"",
                "f:3:1: `destinations.nas.conection`: `conection` is not a setting of `local:`\n  hint: `connections` may be meant\n\
                 f:4:15: `destinations.nas.stall_limit`: `stall_limit` needs a time such as `90s`, `15m` or `1h`\n\
                 f:5:1: `destinations.nas.region`: `region` is not a setting of `local:`\n  hint: known here: `url`, `hot`, `connections`, `stall_limit`, `retry_total`",
            ),
            (
                "[destinations.nas]\nurl = \"rest:https://me:hush@host/\"\n",
                "f:2:7: `destinations.nas.url`: a password stands in the address\n  hint: take it out of the address and write `password = { file = \"...\" }`",
            ),
            ("[destinations.\"a b\"]\nurl = \"nonsense:x\"", "f:1:1: `destinations.a b`: `a b` cannot be a name\n"),
            ("[destinations.a]\nurl = /srv", "f:2:7: "),
            (
                "[destinations.a]\nurl = \"/a\"\nhot = \"a\"\n[destinations.b]\nurl = \"/b\"\nhot = \"x\"\n[destinations.c]\nurl = \"/c\"\nhot = 1",
                "f:3:7: `destinations.a.hot`: a place is not its own hot part\n  hint: name another destination\n\
                 f:9:7: `destinations.c.hot`: a text is needed, not a whole number\n  hint: put it into quotes",
            ),
            (
                "[destinations.a]\nurl = \"/a\"\nhot = \"a\"\n[destinations.b]\nurl = \"/b\"\nhot = \"x\"\n[destinations.c]\nurl = \"/c\"\nhot = \"b\"",
                "f:3:7: `destinations.a.hot`: a place is not its own hot part\n  hint: name another destination\n\
                 f:6:7: `destinations.b.hot`: there is no destination `x`\n  hint: write a table for it, with its `url`\n\
                 f:9:7: `destinations.c.hot`: `b` has a hot part itself\n  hint: a hot part is a place that can always be read",
            ),
            (
                "[destinations.a]\nurl = \"/a\"\nhot = \"h\"\n[destinations.b]\nurl = \"/b\"\nhot = \"h\"\n[destinations.h]\nurl = \"/h\"",
                "f:6:7: `destinations.b.hot`: `h` is the hot part of `a`\n  hint: each needs a hot part of its own",
            ),
        ] {
            let error = Config::parse(Path::new("f"), text).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text}\n--- is\n{error}\n--- should be\n{expected}");
        }
    }

    #[test]
    fn a_secret_that_stands_in_the_file_is_refused_and_not_repeated() {
        let with = |value: &str| format!("[destinations.nas]\nurl = \"rest:https://host/\"\npassword = {value}\n");
        for (value, what) in [
            ("\"hush\"", "a secret does not belong into this file"),
            ("{ value = \"hush\" }", "nobody knows this key"),
            ("{}", "one place for the secret is needed"),
            ("{ env = \"A\", file = \"b\" }", "one place for the secret is needed"),
            ("{ command = \"pass show\" }", "a list of texts is needed"),
            ("{ command = [] }", "a list of texts is needed"),
        ] {
            let error = Config::parse(Path::new("f"), &with(value)).expect_err(value);
            assert!(error.to_string().contains(what), "{value}: {error}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }

    proptest! {
        /// Letters left out, put in and changed: no panic, and a mistake always has a place inside the text.
        #[test]
        fn a_mutilated_file_is_refused_or_understood(cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 1..4)) {
            let mut letters: Vec<char> = WHOLE.chars().collect();
            for (place, letter) in cuts {
                let place = place.index(letters.len());
                if letter.is_ascii_digit() { letters.remove(place); } else { letters[place] = letter; }
            }
            let text: String = letters.into_iter().collect();
            if let Err(error) = Config::parse(Path::new("f"), &text) {
                prop_assert!(!error.findings().is_empty());
                for finding in error.findings() {
                    prop_assert!(finding.at.start <= text.len(), "{finding:?}");
                }
                let _ = error.to_string();
            }
        }
    }
}
