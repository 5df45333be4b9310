//! Why the state cannot be used, and what its owner can do. Every text names the file.

use std::path::{Path, PathBuf};

/// What is wrong with the state as a whole. Each of these closes the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// There is no file.
    #[error("there is no state `{}`", .0.display())]
    Missing(PathBuf),
    /// There is one, and it was to be made.
    #[error("there is a state `{}` already", .0.display())]
    Exists(PathBuf),
    /// It cannot be opened or read.
    #[error("cannot read the state `{}`: {why}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// It cannot be written.
    #[error("cannot write the state `{}`: {why}", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// Its bytes contradict themselves.
    #[error("the state `{}` is damaged: {why}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A database of another program.
    #[error("`{}` is not a storage server's state", .0.display())]
    Foreign(PathBuf),
    /// Written by a newer program.
    #[error("the state `{}` has version {found}, and this program knows versions up to {known}", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// There is no room for a change on the disk.
    #[error("there is no room on the disk for the state `{}`", .0.display())]
    Full(PathBuf),
    /// Another file stands where the open one was.
    #[error("the state `{}` was replaced or removed while it was in use", .0.display())]
    Replaced(PathBuf),
}

impl StateError {
    /// What the owner of the server can do.
    pub fn hint(&self) -> &'static str {
        match self {
            StateError::Missing(_) => "name the right folder, or make a new store with `triplicate store init`",
            StateError::Exists(_) => "nothing was changed; start it with `triplicate store serve`",
            StateError::Unreadable { .. } => "check the owner and the mode of the file and of its folder, and the disk",
            StateError::Full(_) => "make room on the disk; then the same may be tried again",
            StateError::Unwritable { .. } => "check for free space, the owner and the mode of the file, and the disk",
            StateError::Damaged { .. } => {
                "put back a sound copy of the file together with the files beside it whose names begin like its own"
            }
            StateError::Foreign(_) => "name the folder of a store",
            StateError::Newer { .. } => "use the program that wrote it, or a newer one",
            StateError::Replaced(_) => "restart the server when the right file is in place",
        }
    }

    /// The same trouble of SQLite, told as what it means for the file.
    pub(crate) fn from_sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, why) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                StateError::Damaged { path, why }
            }
            Some(rusqlite::ErrorCode::DiskFull) => StateError::Full(path),
            Some(rusqlite::ErrorCode::ReadOnly) => StateError::Unwritable { path, why },
            Some(_) => StateError::Unreadable { path, why },
            // A value of another type than the schema's, a missing table or column.
            None => StateError::Damaged { path, why },
        }
    }
}
