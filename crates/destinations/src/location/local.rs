//! A folder: a path, or `local:` and a path.

use std::fmt;
use std::path::PathBuf;

/// A folder.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalLocation {
    /// The root of the copy, as the user wrote it.
    pub path: PathBuf,
}

impl LocalLocation {
    /// The folder at `text`, whatever is in it.
    pub(super) fn of(text: &str) -> Self {
        Self { path: PathBuf::from(text) }
    }
}

impl fmt::Display for LocalLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl fmt::Debug for LocalLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
