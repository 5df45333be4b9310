//! Where a secret is: a variable, a file, a command's output, or a credential that the service manager hands over.
//!
//! What a reference leads to is one line; white space around it is dropped, an empty one is an error. A command runs
//! without a shell and has all the time it needs: it may ask somebody. Nothing that was read is ever part of an error.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use model::Secret;

/// A secret is a line; what is longer is the wrong file.
const SECRET_LIMIT_BYTES: u64 = 64 << 10;
/// The folder that systemd gives to a service with `LoadCredential=` (systemd.exec(5), CREDENTIALS).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretReference {
    /// In this environment variable.
    Environment(String),
    /// In this file.
    File(PathBuf),
    /// This program with these arguments writes it.
    Command(Vec<String>),
    /// The service manager's credential of this name.
    Credential(String),
}

/// Why a secret could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the secret from {from}: {why}")]
pub struct SecretError {
    /// The reference.
    pub from: String,
    /// Why, without anything that was read.
    pub why: String,
}

impl fmt::Debug for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretReference::Environment(name) => write!(f, "the variable {name}"),
            SecretReference::File(path) => write!(f, "the file `{}`", path.display()),
            // Arguments may name what should not be told.
            SecretReference::Command(words) => {
                write!(f, "the command `{}`", words.first().map_or("", String::as_str))
            }
            SecretReference::Credential(name) => write!(f, "the credential `{name}`"),
        }
    }
}

/// `env:NAME`, `file:PATH`, `command:PROGRAM ARGUMENTS` or `credential:NAME`, for places that have no room for tables.
impl FromStr for SecretReference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The text is not repeated: whoever wrote the secret itself should not see it in a log.
        let refused = || "write `env:NAME`, `file:PATH`, `command:PROGRAM ARGUMENTS` or `credential:NAME`".to_owned();
        let (form, rest) = text.split_once(':').filter(|(_, rest)| !rest.is_empty()).ok_or_else(refused)?;
        match form {
            "env" => Ok(Self::Environment(rest.to_owned())),
            "file" => Ok(Self::File(PathBuf::from(rest))),
            "command" => split_words(rest).map(Self::Command).map_err(str::to_owned),
            "credential" => Ok(Self::Credential(rest.to_owned())),
            _ => Err(refused()),
        }
    }
}

impl SecretReference {
    /// Fetches the secret.
    ///
    /// # Errors
    /// When it is not there, is empty, too long or not UTF-8, or when the command failed.
    pub fn resolve(&self) -> Result<Secret, SecretError> {
        let text = match self {
            SecretReference::Environment(name) => std::env::var(name).map_err(|error| self.refused(error)),
            SecretReference::File(path) => self.read(path),
            SecretReference::Command(words) => self.run(words),
            SecretReference::Credential(name) => self.read(&self.credential(name)?),
        }?;
        let secret = text.trim_start_matches('\u{feff}').trim();
        if secret.is_empty() { Err(self.refused("it is empty")) } else { Ok(Secret::from(secret)) }
    }

    fn refused(&self, why: impl fmt::Display) -> SecretError {
        SecretError { from: self.to_string(), why: why.to_string() }
    }

    fn read(&self, path: &Path) -> Result<String, SecretError> {
        // Read through the open file, so that `/dev/fd/3` and a pipe of the shell work.
        let file = std::fs::File::open(path).map_err(|error| self.refused(error))?;
        let mut text = String::new();
        let read = file.take(SECRET_LIMIT_BYTES + 1).read_to_string(&mut text);
        read.map_err(|error| self.refused(error))?;
        if SECRET_LIMIT_BYTES < text.len() as u64 {
            return Err(self.refused(format!("it has more than {SECRET_LIMIT_BYTES} bytes")));
        }
        Ok(text)
    }

    fn credential(&self, name: &str) -> Result<PathBuf, SecretError> {
        if name.contains('/') || matches!(name, "" | "." | "..") {
            return Err(self.refused("this cannot be the name of a credential"));
        }
        let folder = std::env::var_os(CREDENTIALS)
            .ok_or_else(|| self.refused("no credentials were handed over; `LoadCredential=` in the unit does that"))?;
        Ok(Path::new(&folder).join(name))
    }

    fn run(&self, words: &[String]) -> Result<String, SecretError> {
        let (program, arguments) = words.split_first().ok_or_else(|| self.refused("it is empty"))?;
        let mut child = Command::new(program)
            .args(arguments)
            // A program that fetches one secret needs no other.
            .env_remove("RESTIC_PASSWORD")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| self.refused(error))?;
        let mut written = Vec::new();
        let read = child.stdout.take().map(|pipe| pipe.take(SECRET_LIMIT_BYTES + 1).read_to_end(&mut written));
        let is_too_long = SECRET_LIMIT_BYTES < written.len() as u64;
        if is_too_long {
            // With nobody who reads, it might never end.
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| self.refused(error))?;
        if is_too_long {
            return Err(self.refused(format!("it wrote more than {SECRET_LIMIT_BYTES} bytes")));
        }
        if !status.success() {
            return Err(self.refused(format!("it failed: {status}")));
        }
        read.transpose().map_err(|error| self.refused(error))?;
        String::from_utf8(written).map_err(|_| self.refused("it wrote something that is not UTF-8"))
    }
}

/// Splits a line into words as a shell does, with quotes and backslashes, and without anything else that a shell does.
///
/// # Errors
/// When a quote is not closed or the line ends with a backslash.
pub fn split_words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some('"') | None, '\\') => match characters.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err("it ends with a backslash"),
            },
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use model::ExposeSecret as _;

    #[test]
    fn words_are_split_as_a_shell_does() {
        let words = |line| split_words(line).unwrap();
        assert_eq!(words("pass show 'my backup' \"a \\\"b\\\"\""), ["pass", "show", "my backup", "a \"b\""]);
        assert_eq!(words("  a\\ b '' "), ["a b", ""]);
        assert_eq!(words("echo $HOME;`id`"), ["echo", "$HOME;`id`"]);
        assert!(split_words("echo 'open").is_err());
        assert!(split_words("echo \\").is_err());
    }

    #[test]
    fn a_file_and_a_command_give_a_line_without_the_white_space_around_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "\u{feff} hush hush \n").unwrap();
        let from_file = SecretReference::File(path.clone()).resolve().unwrap();
        assert_eq!(from_file.expose_secret(), "hush hush");
        let command: SecretReference = format!("command:cat '{}'", path.display()).parse().unwrap();
        assert_eq!(command.resolve().unwrap().expose_secret(), "hush hush");
        std::fs::write(&path, " \n").unwrap();
        for (reference, why) in [
            (SecretReference::File(path.clone()), "it is empty"),
            (SecretReference::File(folder.path().join("none")), "No such file"),
            (SecretReference::Command(vec!["false".to_owned()]), "it failed: exit status: 1"),
            (SecretReference::Command(Vec::new()), "it is empty"),
            (SecretReference::Command(vec!["printf".to_owned(), "\\377hush".to_owned()]), "not UTF-8"),
            (SecretReference::Environment("TRIPLICATE_NO_SUCH_VARIABLE".to_owned()), "not found"),
            (SecretReference::Credential("../etc/shadow".to_owned()), "cannot be the name"),
        ] {
            let error = reference.resolve().unwrap_err();
            assert!(error.why.contains(why), "{error}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
        std::fs::write(&path, "x".repeat(SECRET_LIMIT_BYTES as usize + 1)).unwrap();
        assert!(SecretReference::File(path).resolve().unwrap_err().why.contains("more than"));
        let endless = SecretReference::Command(vec!["yes".to_owned()]);
        assert!(endless.resolve().unwrap_err().why.contains("more than"));
    }

    #[test]
    fn a_secret_in_place_of_a_reference_is_not_repeated() {
        for text in ["hush", "hush:", "hush:hush", "", ":"] {
            assert!(!text.parse::<SecretReference>().unwrap_err().contains("hush"), "{text}");
        }
        assert_eq!("env:NAME".parse(), Ok(SecretReference::Environment("NAME".to_owned())));
        assert_eq!("credential:nas".parse(), Ok(SecretReference::Credential("nas".to_owned())));
    }
}
