//! `rclone:remote:path`: what rclone of this machine reaches under a name of its own configuration.

use std::fmt;

use super::words::Misread;

const HINT: &str = "write `rclone:remote:path`, with a remote that `rclone listremotes` names";

/// A folder of a remote of rclone.
#[derive(Clone, PartialEq, Eq)]
pub struct RcloneLocation {
    /// What rclone is asked for: `remote:path`.
    pub remote: String,
}

impl RcloneLocation {
    /// What follows `rclone:`.
    pub(super) fn parse(text: &str) -> Result<Self, Misread> {
        let misread = |why: &str| Misread { why: why.to_owned(), hint: HINT };
        // A connection string (`:s3,access_key_id=...:`) may hold secrets, and would be shown.
        let remote = text.trim_start_matches(':').split_once(':').map_or("", |(remote, _)| remote);
        if remote.contains(',') {
            return Err(misread("a remote belongs into rclone's configuration and not into the address"));
        }
        if text.starts_with('-') || text.is_empty() {
            return Err(misread("the remote is missing"));
        }
        if text.contains(char::is_control) {
            return Err(misread("a path with control characters is not taken"));
        }
        Ok(Self { remote: text.to_owned() })
    }
}

impl fmt::Display for RcloneLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rclone:{}", self.remote)
    }
}

impl fmt::Debug for RcloneLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
