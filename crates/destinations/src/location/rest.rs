//! `rest:https://user:password@host:8000/path/`.

use std::fmt;

use model::Secret;
use url::Url;

use super::words::{Login, Misread, http_login, shown_login};

const HINT: &str = "write `rest:https://host:8000/path/`";

/// An account or a folder of a REST server.
#[derive(Clone)]
pub struct RestLocation {
    /// `http` or `https`, without user and password, with a slash at the end.
    pub base: Url,
    /// The user in the URL.
    pub username: Option<String>,
    /// The password in the URL.
    pub password: Option<Secret>,
}

fn misread(why: impl Into<String>) -> Misread {
    Misread { why: why.into(), hint: HINT }
}

impl RestLocation {
    /// What follows `rest:`.
    pub(super) fn parse(text: &str) -> Result<Self, Misread> {
        if text.starts_with("http+unix:") {
            return Err(misread("unix sockets are not spoken"));
        }
        let Login { base, username, password } = http_login(text).map_err(misread)?;
        Ok(Self { base, username, password })
    }
}

impl fmt::Display for RestLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rest:{}", shown_login(&self.base, self.username.as_ref(), self.password.as_ref()))
    }
}

impl fmt::Debug for RestLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
