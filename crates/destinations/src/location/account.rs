//! A folder of an account that is reached over SSH, or by FTP: `user@host:path`, `//user@host:port/path`.
//!
//! The two forms are restic's, and so is the rule for relative paths: without a slash at the front (in the form with
//! `//`: without a second one) the path starts where the account does, mostly at its home.

use std::fmt;

use super::words::Misread;

const HINT: &str = "write `user@host:/path`, `user@host:path` or `//user@host:port//path` after the kind; one slash less for a \
     path from the account's home";

/// A folder of an account on a host.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountPlace {
    /// The account; over SSH without it, the name of the user of this machine.
    pub username: Option<String>,
    /// The host, without brackets; for a program of this machine it may be an alias of its own.
    pub host: String,
    /// The port; without it, the usual one or what the program of this machine knows.
    pub port: Option<u16>,
    /// The folder, absolute or from where the account starts; never empty.
    pub path: String,
}

fn misread(why: impl Into<String>) -> Misread {
    Misread { why: why.into(), hint: HINT }
}

impl AccountPlace {
    /// What follows `sftp:` or `rsync:`.
    pub(super) fn parse(text: &str) -> Result<Self, Misread> {
        let (account, path) = match text.strip_prefix("//") {
            Some(rest) => rest.split_once('/').ok_or_else(|| misread("the path is missing"))?,
            None => split_at_path(text).ok_or_else(|| misread("the path is missing"))?,
        };
        let has_port = text.starts_with("//");
        let (username, address) = match account.rsplit_once('@') {
            Some((username, address)) => (Some(username), address),
            None => (None, account),
        };
        if username.is_some_and(|username| username.contains(':')) {
            return Err(misread("a password does not belong into it"));
        }
        let (host, port) = split_port(address, has_port)?;
        // Names that start with a dash would be options of a program.
        let is_no_name = |name: &str| {
            name.is_empty() || name.starts_with('-') || name.contains(|c: char| c.is_whitespace() || c.is_control())
        };
        if is_no_name(host) || host.contains(['/', '@']) {
            return Err(misread("the host is missing, or is no name of one"));
        }
        if username.is_some_and(is_no_name) {
            return Err(misread("the user is missing, or is no name of one"));
        }
        if username.is_none() && path.split_once('@').is_some_and(|(_, after)| after.contains(':')) {
            return Err(misread("a password does not belong into it"));
        }
        if path.starts_with(':') {
            return Err(misread("a daemon of rsync is not spoken to, only accounts over ssh"));
        }
        if path.contains(char::is_control) {
            return Err(misread("a path with control characters is not taken"));
        }
        let is_root = !path.is_empty() && path.bytes().all(|b| b == b'/');
        let path = if is_root { "/" } else { path.trim_end_matches('/') };
        if path.is_empty() {
            return Err(misread("the path is missing"));
        }
        Ok(Self { username: username.map(str::to_owned), host: host.to_owned(), port, path: path.to_owned() })
    }

    /// What follows `ftps:`. There no account is the usual one.
    pub(super) fn parse_with_user(text: &str) -> Result<Self, Misread> {
        let place = Self::parse(text)?;
        if place.username.is_none() { Err(misread("the user is missing")) } else { Ok(place) }
    }

    /// Account and host as ssh wants to see them, without the port.
    pub(crate) fn account(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match &self.username {
            Some(username) => format!("{username}@{host}"),
            None => host,
        }
    }
}

/// Splits at the colon before the path, which is not one inside of brackets.
fn split_at_path(text: &str) -> Option<(&str, &str)> {
    let brackets_end = match text.find('[') {
        Some(_) => text.find(']')?,
        None => 0,
    };
    let colon = brackets_end + text.get(brackets_end..)?.find(':')?;
    Some((text.get(..colon)?, text.get(colon + 1..)?))
}

fn split_port(address: &str, has_port: bool) -> Result<(&str, Option<u16>), Misread> {
    let (host, after) = match address.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or_else(|| misread("a bracket is not closed"))?,
        None => match address.find(':').filter(|_| has_port) {
            Some(colon) => address.split_at(colon),
            None => (address, ""),
        },
    };
    if after.is_empty() {
        return Ok((host, None));
    }
    let port =
        after.strip_prefix(':').filter(|_| has_port).and_then(|port| port.parse().ok()).filter(|port| *port != 0);
    Ok((host, Some(port.ok_or_else(|| misread(format!("`{after}` is no port")))?)))
}

impl fmt::Display for AccountPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "//{}:{port}/{}", self.account(), self.path),
            None => write!(f, "{}:{}", self.account(), self.path),
        }
    }
}

impl fmt::Debug for AccountPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(text: &str) -> AccountPlace {
        AccountPlace::parse(text).unwrap_or_else(|misread| panic!("{text}: {}", misread.why))
    }

    #[test]
    fn every_form_is_understood_and_shown_as_one_that_means_the_same() {
        for (text, username, host, port, path) in [
            ("alice@host:/srv/backup", Some("alice"), "host", None, "/srv/backup"),
            ("alice@host:backup/", Some("alice"), "host", None, "backup"),
            ("host:/", None, "host", None, "/"),
            ("a@corp@host:b:c", Some("a@corp"), "host", None, "b:c"),
            ("[::1]:/srv", None, "::1", None, "/srv"),
            ("//alice@host:2222//srv/backup", Some("alice"), "host", Some(2222), "/srv/backup"),
            ("//alice@host:2222/backup", Some("alice"), "host", Some(2222), "backup"),
            ("//host/backup", None, "host", None, "backup"),
            ("//alice@[fe80::1]:22//srv", Some("alice"), "fe80::1", Some(22), "/srv"),
        ] {
            let place = parsed(text);
            assert_eq!((place.username.as_deref(), place.host.as_str()), (username, host), "{text}");
            assert_eq!((place.port, place.path.as_str()), (port, path), "{text}");
            assert_eq!(parsed(&place.to_string()), place, "{text} is shown as {place}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_a_reason() {
        for (text, why) in [
            ("host", "path is missing"),
            ("host:", "path is missing"),
            ("//host", "path is missing"),
            ("//host/", "path is missing"),
            (":/path", "host is missing"),
            ("@host:/path", "user is missing"),
            ("-oProxyCommand=x@host:/path", "user is missing"),
            ("alice@-oProxyCommand=x:/path", "host is missing"),
            ("alice:hush@host:/path", "a password does not belong"),
            ("//alice:hush@host/path", "a password does not belong"),
            ("//host:0/path", "no port"),
            ("//host:x/path", "no port"),
            ("//[::1/path", "bracket"),
            ("host::module/path", "daemon of rsync"),
        ] {
            let misread = AccountPlace::parse(text).err().unwrap_or_else(|| panic!("{text} was taken"));
            assert!(misread.why.contains(why), "{text}: {}", misread.why);
        }
    }
}
