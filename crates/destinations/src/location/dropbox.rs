//! `dropbox:/path`.

use std::fmt;

use super::words::Misread;

const HINT: &str =
    "write `dropbox:/path`; the keys come from `TRIPLICATE_DROPBOX_APP_KEY` and `TRIPLICATE_DROPBOX_REFRESH_TOKEN`";

/// A folder in the Dropbox that the credentials belong to, or in the application's own folder there.
#[derive(Clone, PartialEq, Eq)]
pub struct DropboxLocation {
    /// Empty for the top, or with a slash at the beginning and none at the end, as Dropbox wants it.
    pub path: String,
}

impl DropboxLocation {
    /// What follows `dropbox:`.
    pub(super) fn parse(text: &str) -> Result<Self, Misread> {
        let misread = |why: &str| Misread { why: why.to_owned(), hint: HINT };
        let inner = text.strip_prefix('/').ok_or_else(|| misread("the path begins with a slash"))?;
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        if inner.is_empty() {
            return Ok(Self { path: String::new() });
        }
        if inner.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(misread("the path has an empty part, `.` or `..`"));
        }
        if inner.chars().any(|c| c.is_control() || c == '\\') {
            return Err(misread("Dropbox takes no backslash and no control character in a name"));
        }
        Ok(Self { path: format!("/{inner}") })
    }
}

impl fmt::Display for DropboxLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dropbox:{}", if self.path.is_empty() { "/" } else { &self.path })
    }
}

impl fmt::Debug for DropboxLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
