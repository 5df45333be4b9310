//! htpasswd files: the accounts of a storage server that was there before, read once or kept in step.
//!
//! Only bcrypt is taken: older schemes are guessed in minutes. One line that is not understood spoils the file, and
//! every such line is named by its number, never by its content.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::accounts::{AccountError, Limits, PasswordHash};
use crate::names::AccountName;
use crate::role::Role;
use crate::state::{State, locked};

/// A hundred thousand lines; a longer file is the wrong one.
const FILE_BYTES_MAX: u64 = 10 << 20;
/// Lines that are named before the rest is only counted.
const NAMED_MAX: usize = 20;

/// The accounts of a file and their hashes.
pub type Hashes = BTreeMap<AccountName, PasswordHash>;

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the htpasswd file `{}`: {why}", .path.display())]
pub struct HtpasswdError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, without anything that stands in it.
    pub why: String,
}

impl HtpasswdError {
    /// What its owner can do.
    pub fn hint(&self) -> &'static str {
        "write each line with `htpasswd -B`, and check the owner and the mode of the file"
    }
}

/// Reads a whole file.
///
/// # Errors
/// When it is missing, unreadable or too long, and when any line is not understood.
pub fn read(path: &Path) -> Result<Hashes, HtpasswdError> {
    let refused = |why: String| HtpasswdError { path: path.to_owned(), why };
    let mut text = String::new();
    let file = File::open(path).map_err(|error| refused(error.to_string()))?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| refused(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(refused(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    parse(&text).map_err(|wrong| refused(told(&wrong)))
}

fn told(wrong: &[String]) -> String {
    let more = wrong.len().saturating_sub(NAMED_MAX);
    let named = wrong.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join("; ");
    if more > 0 { format!("{named}; and {more} more") } else { named }
}

fn parse(text: &str) -> Result<Hashes, Vec<String>> {
    let mut hashes = Hashes::new();
    let mut wrong = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match entry(line) {
            Ok((name, hash)) => {
                if hashes.insert(name, hash).is_some() {
                    wrong.push(format!("line {}: this name stands in the file twice", index + 1));
                }
            }
            Err(why) => wrong.push(format!("line {}: {why}", index + 1)),
        }
    }
    if wrong.is_empty() { Ok(hashes) } else { Err(wrong) }
}

fn entry(line: &str) -> Result<(AccountName, PasswordHash), String> {
    let (name, hash) = line.split_once(':').ok_or("there is no `:`")?;
    let name = name.parse().map_err(|error: crate::names::NameError| error.to_string())?;
    Ok((name, PasswordHash::imported(hash).map_err(|error| error.to_string())?))
}

/// A file that is read again whenever it changes, for as long as the server runs.
#[derive(Debug)]
pub struct HtpasswdFile {
    path: PathBuf,
    role: Role,
    read: Mutex<Option<(Stamp, Arc<Hashes>)>>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl HtpasswdFile {
    /// Reads the file for the first time; its logins get this role.
    ///
    /// # Errors
    /// As [`read`], and when the accounts that it brings cannot be made.
    pub fn open(path: &Path, role: Role, state: &State) -> Result<Self, HtpasswdError> {
        let file = Self { path: path.to_owned(), role, read: Mutex::new(None) };
        file.current(state)?;
        Ok(file)
    }

    /// What its logins may do.
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// How many logins it had when it was read last.
    pub(crate) fn len(&self) -> usize {
        locked(&self.read).as_ref().map_or(0, |(_, hashes)| hashes.len())
    }

    /// Whether this login was in the file when it was read last.
    pub(crate) fn knows(&self, name: &AccountName) -> bool {
        locked(&self.read).as_ref().is_some_and(|(_, hashes)| hashes.contains_key(name))
    }

    /// The hashes as they are in the file now. A name that is new there becomes an account with the usual limits.
    ///
    /// # Errors
    /// When the file cannot be used: then nobody may be let in, for it could hold a revocation.
    pub fn current(&self, state: &State) -> Result<Arc<Hashes>, HtpasswdError> {
        let mut known = locked(&self.read);
        let stamp = self.stamp()?;
        if let Some((_, hashes)) = known.as_ref().filter(|(seen, _)| *seen == stamp) {
            return Ok(hashes.clone());
        }
        // Forgotten first: a file that cannot be read must not leave the old one in force.
        *known = None;
        let hashes = Arc::new(read(&self.path)?);
        let refused = |error: AccountError| HtpasswdError { path: self.path.clone(), why: error.to_string() };
        for name in hashes.keys() {
            match state.add_account(name, Limits::default(), None) {
                // A removed one stays removed, and lets nobody in.
                Ok(()) | Err(AccountError::AccountExists(_) | AccountError::Removed(_)) => {}
                Err(error) => return Err(refused(error)),
            }
        }
        // A file that changed while it was read is read again next time.
        if self.stamp()? == stamp {
            *known = Some((stamp, hashes.clone()));
        }
        Ok(hashes)
    }

    fn stamp(&self) -> Result<Stamp, HtpasswdError> {
        let refused = |error: std::io::Error| HtpasswdError { path: self.path.clone(), why: error.to_string() };
        let facts = fs::metadata(&self.path).map_err(refused)?;
        Ok(Stamp {
            inode: (facts.dev(), facts.ino()),
            bytes: facts.len(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_not_understood_spoils_the_file_and_is_named_by_number_only() {
        let hash = bcrypt::hash("a password", 4).unwrap();
        assert_eq!(parse(&format!("# comment\n\nalice:{hash}\r\n  bob:{hash}\n")).unwrap().len(), 2);
        for (text, expected) in [
            ("alice", "line 1: there is no `:`"),
            ("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "line 1: only bcrypt"),
            ("\nalice:secret", "line 2: only bcrypt"),
            (&format!("../x:{hash}"), "line 1: a name "),
            (&format!("alice:{hash}\nalice:{hash}"), "line 2: this name stands in the file twice"),
        ] {
            let why = told(&parse(text).unwrap_err());
            assert!(why.starts_with(expected), "{why}");
            assert!(!why.contains("secret") && !why.contains("W6ph") && !why.contains("../x"), "{why}");
        }
    }
}
