//! What goes wrong on the server's own side: its disk, its state, its sockets, its certificate.
//!
//! These texts are for the operator's log and terminal. A client never sees one: it is told a status and a word.

use std::io;
use std::path::{Path, PathBuf};

/// A failure of the server, or of a command on its data.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder beneath the data folder.
    #[error("cannot {action} `{}`: {cause}", path.display())]
    Disk {
        /// What was tried, as a verb: `open`, `sync`.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The state is missing, unreadable, damaged, foreign or newer than this program. It closes the server.
    #[error("the state `{}` cannot be used: {reason}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
        /// What the operator can do.
        hint: Option<String>,
    },
    /// Another server works on the same data.
    #[error("`{}` is in use by another process", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// A setting that does not go, or does not go with another one.
    #[error("{reason}")]
    Setting {
        /// Which and why.
        reason: String,
        /// What the operator can do.
        hint: Option<String>,
    },
    /// A socket that cannot be opened.
    #[error("cannot listen on `{address}`: {cause}")]
    Listen {
        /// As it was given.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// A certificate or its key that cannot be used.
    #[error("cannot use the certificate in `{}`: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The client went away, stalled, or the server stopped: nobody is left to answer.
    #[error("the request broke off: {reason}")]
    BrokenOff {
        /// How.
        reason: String,
    },
}

impl StoreError {
    /// A failed action on a file or folder.
    pub fn disk(action: &'static str, path: impl AsRef<Path>, cause: impl Into<io::Error>) -> Self {
        Self::Disk { action, path: path.as_ref().to_owned(), cause: cause.into() }
    }

    /// A state that closes the server.
    pub fn state(path: impl AsRef<Path>, reason: impl ToString) -> Self {
        Self::State { path: path.as_ref().to_owned(), reason: reason.to_string(), hint: None }
    }

    /// A setting that does not go.
    pub fn setting(reason: impl Into<String>) -> Self {
        Self::Setting { reason: reason.into(), hint: None }
    }

    /// The same with something that the operator can do; for the kinds that carry one.
    pub fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Self::State { hint, .. } | Self::Setting { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }

    /// What the operator can do, if anything is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::State { hint, .. } | Self::Setting { hint, .. } => hint.as_deref(),
            Self::InUse { .. } => Some("one `triplicate store serve` at a time works on a data folder"),
            _ => None,
        }
    }

    /// Whether there is no room left on the disk, or for the user that the server runs as.
    pub fn is_full(&self) -> bool {
        let Self::Disk { cause, .. } = self else { return false };
        matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Whether what was asked for is not there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Disk { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_disks_are_known_by_their_numbers() {
        for (number, is_full) in [(28, true), (122, true), (5, false), (2, false)] {
            let error = StoreError::disk("write", "x", io::Error::from_raw_os_error(number));
            assert_eq!(error.is_full(), is_full, "{number}");
            assert_eq!(error.is_absent(), number == 2, "{number}");
        }
    }

    #[test]
    fn a_text_names_the_file_and_a_hint_stands_apart() {
        let error = StoreError::state("/d/store.sqlite", "file is not a database").with_hint("restore it");
        assert_eq!(error.to_string(), "the state `/d/store.sqlite` cannot be used: file is not a database");
        assert_eq!(error.hint(), Some("restore it"));
    }
}
