//! What an operation as a whole can fail with.
//!
//! Callers branch on the variants (the binary turns them into exit codes); people read `Display` and
//! [`Error::hint`]. Trouble with one entry or one copy is no error of the operation: it goes into its report.

use std::path::PathBuf;

use format::FormatError;
use model::{Fault, FaultKind};

use crate::backup::OriginError;

/// The result of every operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Bytes of one copy that are not what their name says, or that make no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The copy, without secrets.
    pub copy: String,
    /// The file, as a path inside the copy.
    pub file: String,
    /// What is wrong with it.
    pub why: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` on {}: {}", self.file, self.copy, self.why)
    }
}

/// Why an operation did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place was looked at, and there is no repository in it.
    #[error("there is no repository at {places}")]
    NoRepository {
        /// The places that were looked at.
        places: String,
    },
    /// A repository, or something else, is there already.
    #[error("cannot create a repository at {place}: {found}")]
    AlreadyThere {
        /// The place.
        place: String,
        /// What is there.
        found: String,
    },
    /// No key file opens with this password.
    #[error("wrong password: of the keys at {place} ({keys}), none opens with it")]
    WrongPassword {
        /// The copy that holds the keys.
        place: String,
        /// How many keys were tried.
        keys: usize,
    },
    /// Another process holds a lock that excludes this operation.
    #[error("the repository at {place} is locked: {holder}")]
    Locked {
        /// The copy that holds the lock.
        place: String,
        /// Who holds it, since when.
        holder: String,
    },
    /// The copies that were named together are not copies of one repository.
    #[error("{second} is not a copy of the repository at {first}: {difference}")]
    NotTheSame {
        /// The first place.
        first: String,
        /// The place that differs.
        second: String,
        /// What differs.
        difference: String,
    },
    /// A destination failed, and there is no other to turn to.
    #[error(transparent)]
    Destination(#[from] Fault),
    /// Every copy was lost during the operation.
    #[error("no copy is left: {}", list(.0))]
    NoCopyLeft(Vec<Fault>),
    /// No copy has a sound version of this file.
    #[error("no copy has a sound `{file}`: {}", list(.damages))]
    Damaged {
        /// The file, as a path inside a copy.
        file: String,
        /// What each copy has instead.
        damages: Vec<Damage>,
    },
    /// A blob that a tree or a snapshot needs is in no index.
    #[error("the {kind} blob {id} is in no index of the repository")]
    BlobUnknown {
        /// `data` or `tree`.
        kind: &'static str,
        /// Its id.
        id: model::Id,
    },
    /// Content of the repository that no sound program wrote.
    #[error("{what}: {source}")]
    Format {
        /// The object.
        what: String,
        /// What is wrong with it.
        source: FormatError,
    },
    /// What is needed lies in an archive, was asked for, and cannot be read yet.
    #[error("{packs} packs lie in an archive ({places}) and cannot be read yet; they were asked for")]
    StillCold {
        /// The copies that were asked, without secrets.
        places: String,
        /// How many.
        packs: u64,
    },
    /// What was to be backed up is not there.
    #[error("source `{}` does not exist; no snapshot was made", .0.display())]
    SourceMissing(PathBuf),
    /// What was to be backed up holds nothing.
    #[error("source `{}` holds no files; no snapshot was made", .0.display())]
    SourceEmpty(PathBuf),
    /// A source that is not on this machine's disks could not be read, or not to its end.
    #[error("source {place}: cannot {source}; no snapshot was made")]
    Origin {
        /// The source, without secrets.
        place: String,
        /// What failed.
        source: OriginError,
    },
    /// A source, a target or a local file failed.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Local {
        /// What failed, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The request names no snapshot, or more than one.
    #[error("{0}")]
    Snapshot(String),
    /// The request makes no sense.
    #[error("{0}")]
    Request(String),
    /// Going on could lose something, so nothing was done.
    #[error("{why}")]
    Refused {
        /// What stands in the way, on which copy.
        why: String,
        /// What the user can do.
        hint: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// A failure of a local file.
    pub fn local(action: &'static str, path: impl Into<PathBuf>, source: impl Into<std::io::Error>) -> Self {
        Error::Local { action, path: path.into(), source: source.into() }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Error::NoRepository { .. } => {
                "check the address; `triplicate init` makes a repository, and nothing else does"
            }
            Error::AlreadyThere { .. } => "use it as it is, or name a place that is empty",
            Error::WrongPassword { .. } => {
                "check RESTIC_PASSWORD or the password file; the recovery kit has the passphrase"
            }
            Error::Locked { .. } => {
                "wait for the other process, use --retry-lock, or `triplicate unlock` if it is surely dead"
            }
            Error::NotTheSame { .. } => "name only copies of one repository; nothing was written",
            Error::Refused { hint, .. } => return Some(hint.clone()),
            Error::Origin { source, .. } => return source.hint.clone(),
            Error::Destination(fault) => return fault.hint().map(str::to_owned),
            Error::NoCopyLeft(faults) => return faults.iter().find_map(Fault::hint).map(str::to_owned),
            Error::Damaged { .. } => "name a further copy with -r, and run `triplicate check --read-data` on each",
            Error::BlobUnknown { .. } | Error::Format { .. } => {
                "run `triplicate check --read-data` to see what is affected"
            }
            Error::StillCold { .. } => {
                "run the same command again later: it goes on where it is, and asks for nothing twice"
            }
            Error::SourceMissing(_) => "check the path, and that the disk that holds it is mounted",
            Error::SourceEmpty(_) => "is its disk mounted? --allow-empty makes a snapshot all the same",
            Error::Snapshot(_) => "`triplicate snapshots` lists what there is; name one by the beginning of its id",
            Error::Local { .. } | Error::Request(_) | Error::Interrupted => return None,
        };
        Some(text.to_owned())
    }

    /// True when the copy that failed could not be reached at all.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Destination(fault) if fault.kind == FaultKind::NotFound)
    }
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
