//! `webdav:https://user:password@host/path/`.

use std::fmt;

use model::Secret;
use url::Url;

use super::words::{Login, Misread, http_login, shown_login};

const HINT: &str =
    "write `webdav:https://user@host/path/`, for Nextcloud `webdav:https://user@host/remote.php/dav/files/user/path/`";

/// A folder of a server that speaks WebDAV.
#[derive(Clone)]
pub struct WebdavLocation {
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

impl WebdavLocation {
    /// What follows `webdav:`.
    pub(super) fn parse(text: &str) -> Result<Self, Misread> {
        let Login { base, username, password } = http_login(text).map_err(misread)?;
        Ok(Self { base, username, password })
    }
}

impl fmt::Display for WebdavLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "webdav:{}", shown_login(&self.base, self.username.as_ref(), self.password.as_ref()))
    }
}

impl fmt::Debug for WebdavLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
