//! `rest:https://user:password@host:8000/path/`.

use std::fmt;

use model::{ExposeSecret as _, Secret};
use url::Url;

use super::words::{Misread, REDACTED, http_url, percent_decoded};

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
        let mut url = http_url(text).map_err(misread)?;
        let username = percent_decoded(url.username());
        let password = url.password().map(percent_decoded);
        // A URL with a host always takes a user; ignoring the result cannot leave a password behind.
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err(misread("user and password cannot be taken out of it"));
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Self {
            base: url,
            username: (!username.is_empty()).then_some(username),
            password: password.map(Secret::from),
        })
    }
}

impl fmt::Display for RestLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.base.clone();
        // Both setters fail only for URLs without a host, which were refused.
        if let Some(username) = &self.username {
            let _ = shown.set_username(username);
        }
        if self.password.as_ref().is_some_and(|password| !password.expose_secret().is_empty()) {
            let _ = shown.set_password(Some(REDACTED));
        }
        write!(f, "rest:{shown}")
    }
}

impl fmt::Debug for RestLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
