//! The files that a quickstart makes and finds again: configuration, passphrase, recovery kit, copies.
//!
//! Nothing that is there is ever overwritten: every file is made new or read.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use destinations::Location;
use getrandom::fill;
use model::{ExposeSecret, Secret};
use serde::{Deserialize, Serialize};

use crate::environment;
use crate::failure::{Failure, local};
use crate::session::write_private;
use crate::sites::parse_locations;

/// Random bytes in a passphrase: 160 bits, more than anybody can try.
const PASSPHRASE_BYTES: usize = 20;

/// Letters that are not mistaken for others when they are typed from paper (RFC 4648 base32, in lower case).
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Where a quickstart keeps its things.
#[derive(Debug)]
pub(super) struct Home {
    /// `triplicate.toml`.
    pub(super) config: PathBuf,
    /// The passphrase, for the owner's eyes only.
    pub(super) passphrase: PathBuf,
    /// What to print and keep elsewhere.
    pub(super) kit: PathBuf,
    /// Where copies go when nothing else is asked for.
    pub(super) copies: PathBuf,
}

impl Home {
    /// Finds the folders of this user (XDG Base Directory Specification).
    pub(super) fn find() -> Result<Self, Failure> {
        let folder = |variable: &str, below_home: &str| {
            let set = environment::path(variable).filter(|path| path.is_absolute());
            set.or_else(|| environment::path("HOME").map(|home| home.join(below_home))).ok_or_else(|| {
                Failure::usage(format!(
                    "neither {variable} nor HOME is set, so there is no place for the configuration"
                ))
            })
        };
        let config = folder("XDG_CONFIG_HOME", ".config")?.join("triplicate");
        let data = folder("XDG_DATA_HOME", ".local/share")?.join("triplicate");
        Ok(Self {
            config: config.join("triplicate.toml"),
            passphrase: config.join("passphrase"),
            kit: config.join("recovery-kit.txt"),
            copies: data.join("copies"),
        })
    }

    /// Makes the folder of the configuration, closed to everybody else.
    pub(super) fn make_folder(&self) -> Result<(), Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let Some(folder) = self.config.parent() else { return Ok(()) };
        let make = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        make.map_err(|error| local("make folder", folder, error))
    }

    /// The three folders that are the copies when nothing else is asked for.
    pub(super) fn default_copies(&self) -> Vec<PathBuf> {
        ["1", "2", "3"].map(|name| self.copies.join(name)).to_vec()
    }

    /// The passphrase, when there is one.
    pub(super) fn read_passphrase(&self) -> Result<Option<Secret>, Failure> {
        let Some(text) = read_if_there(&self.passphrase)? else { return Ok(None) };
        match text.trim() {
            "" => Err(Failure::failed(format!("the passphrase file `{}` is empty", self.passphrase.display()))
                .hint("write the passphrase from the recovery kit into it")),
            passphrase => Ok(Some(Secret::from(passphrase))),
        }
    }

    /// Makes a new passphrase.
    pub(super) fn make_passphrase(&self) -> Result<Secret, Failure> {
        let passphrase = new_passphrase()?;
        write_private(&self.passphrase, &format!("{}\n", passphrase.expose_secret()))?;
        Ok(passphrase)
    }
}

/// The configuration: what a later command, and the next quickstart, go on with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// The form of this file.
    pub(super) version: u32,
    /// Where the repository's copies are.
    pub(super) repository: RepositoryTable,
    /// What is backed up.
    pub(super) source: SourceTable,
    /// Places with names, which `-r @name` uses; a quickstart has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) destinations: Option<toml::Table>,
}

/// `[repository]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RepositoryTable {
    /// The copies, as for `-r`.
    pub(super) copies: Vec<String>,
    /// The file with the passphrase.
    pub(super) password_file: PathBuf,
}

/// `[source]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceTable {
    /// Files and folders.
    pub(super) paths: Vec<PathBuf>,
}

const CONFIG_VERSION: u32 = 1;

impl Config {
    /// Reads the configuration, when there is one.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let Some(text) = read_if_there(path)? else { return Ok(None) };
        let config: Config = toml::from_str(&text).map_err(|error| {
            let line =
                error.span().map_or(1, |span| 1 + text.get(..span.start).unwrap_or_default().matches('\n').count());
            let message = format!("cannot use `{}`, line {line}: {}", path.display(), error.message());
            Failure::usage(message).hint("correct the line; nothing was changed")
        })?;
        if config.version != CONFIG_VERSION {
            let message = format!("cannot use `{}`: its version is {}, not 1", path.display(), config.version);
            return Err(Failure::usage(message));
        }
        Ok(Some(config))
    }

    /// Writes a new configuration.
    pub(super) fn write(home: &Home, copies: &[PathBuf], source: &Path) -> Result<Self, Failure> {
        let text_of = |path: &PathBuf| {
            let refused = || Failure::usage(format!("the name of the copy `{}` is not UTF-8", path.display()));
            path.to_str().map(str::to_owned).ok_or_else(refused)
        };
        let config = Config {
            version: CONFIG_VERSION,
            repository: RepositoryTable {
                copies: copies.iter().map(text_of).collect::<Result<_, _>>()?,
                password_file: home.passphrase.clone(),
            },
            source: SourceTable { paths: vec![source.to_owned()] },
            destinations: None,
        };
        let text = toml::to_string(&config)
            .map_err(|error| Failure::failed(format!("cannot write the configuration: {error}")))?;
        write_private(&home.config, &format!("{CONFIG_HEAD}{text}"))?;
        Ok(config)
    }

    /// The places of the copies.
    pub(super) fn locations(&self) -> Result<Vec<Location>, Failure> {
        if self.repository.copies.is_empty() {
            return Err(Failure::usage("the configuration names no copies"));
        }
        parse_locations(&self.repository.copies)
    }
}

const CONFIG_HEAD: &str = "\
# Made by `triplicate quickstart`, which goes on with what is here when it is called again.
# At present no other command reads this file: they take copies from -r and the passphrase from RESTIC_PASSWORD_FILE.
#
# copies:        one folder or address each: \"/mnt/disk/backup\", \"rest:https://alice@host/alice/\",
#                \"s3:https://endpoint/bucket/prefix\"
# password_file: the passphrase. Without it, or the recovery kit, nobody can read the backups.

";

fn read_if_there(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(local("read", path, error)),
    }
}

/// Eight groups of four letters.
fn new_passphrase() -> Result<Secret, Failure> {
    let mut random = [0_u8; PASSPHRASE_BYTES];
    fill(&mut random).map_err(|error| Failure::failed(format!("no random numbers: {error}")))?;
    let mut text = String::new();
    let (mut bits, mut held, mut written) = (0_u32, 0_u32, 0);
    for byte in random {
        held = held << 8 | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            if written > 0 && written % 4 == 0 {
                text.push('-');
            }
            let letter = LETTERS.get((held >> bits & 31) as usize).copied().unwrap_or(b'a');
            text.push(char::from(letter));
            written += 1;
        }
        held &= (1 << bits) - 1;
    }
    Ok(Secret::from(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_passphrase_has_160_bits_and_never_comes_twice() {
        let one = new_passphrase().unwrap();
        let text = one.expose_secret();
        assert_eq!(text.split('-').count(), 8);
        assert_eq!(text.replace('-', "").len(), 32);
        assert!(text.bytes().all(|byte| byte == b'-' || LETTERS.contains(&byte)));
        assert_ne!(text, new_passphrase().unwrap().expose_secret());
    }
}
