//! Where a copy lives, as the user writes it: a path, `rest:https://host/path`, `s3:https://endpoint/bucket/prefix`.
//!
//! Parsing happens here and nowhere else, and so does redaction: a [`Location`] never shows a password, neither in
//! `Display` nor in `Debug` nor in the error of a URL that could not be understood. The forms are restic's, so that
//! what works in `RESTIC_REPOSITORY` works here. Nothing in this room touches a disk or a network.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use model::{ExposeSecret, Fault, FaultKind, Secret};
use url::Url;

/// Kinds that restic or rclone users may name and that this version cannot reach.
const KINDS_NOT_SPOKEN: [&str; 12] =
    ["sftp", "b2", "gs", "azure", "swift", "rclone", "webdav", "rsync", "dropbox", "opendal", "ftp", "ftps"];

/// What stands in place of a password.
const REDACTED: &str = "***";

/// The address of one copy.
#[derive(Clone)]
pub enum Location {
    /// A folder of this machine, or one that is mounted on it.
    Local(LocalLocation),
    /// A server that speaks restic's REST protocol.
    Rest(RestLocation),
    /// A bucket, or a part of one, behind an S3 interface.
    S3(S3Location),
}

/// A folder.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalLocation {
    /// The root of the copy, as the user wrote it.
    pub path: PathBuf,
}

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

/// A bucket and what precedes our names in it.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Location {
    /// `http` or `https` and a host, without a path.
    pub endpoint: Url,
    /// The bucket.
    pub bucket: String,
    /// What precedes our names: empty, or without slashes at both ends.
    pub prefix: String,
}

/// A location that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a location of a copy: {why}")]
pub struct LocationError {
    /// What was found, without secrets.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
    /// What to write instead.
    pub hint: &'static str,
}

const HINT_FORMS: &str = "write a path, `rest:https://user@host/path/` or `s3:https://endpoint/bucket/prefix`; `./` before a name with a colon";
const HINT_REST: &str = "write `rest:https://host:8000/path/`";
const HINT_S3: &str = "write `s3:https://endpoint/bucket/prefix`, for Amazon `s3:s3.amazonaws.com/bucket/prefix`";
const HINT_S3_KEYS: &str = "keys are taken from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`";

impl Location {
    /// The word for its kind: `local`, `rest`, `s3`.
    pub fn kind(&self) -> &'static str {
        match self {
            Location::Local(_) => "local",
            Location::Rest(_) => "rest",
            Location::S3(_) => "s3",
        }
    }

    /// Whether it is on this machine, as far as the address tells: such a copy dies with it.
    pub fn is_local(&self) -> bool {
        matches!(self, Location::Local(_))
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |why: &str| LocationError { text: redact(text), why: why.to_owned(), hint: HINT_FORMS };
        if text.is_empty() {
            return Err(refused("it is empty"));
        }
        if text.contains('\0') {
            return Err(refused("it holds a NUL character"));
        }
        let looks_like_path = text.starts_with('/') || text.starts_with("./") || text.starts_with("../");
        let Some((scheme, rest)) = text.split_once(':').filter(|_| !looks_like_path) else {
            return Ok(Location::Local(LocalLocation { path: PathBuf::from(text) }));
        };
        match scheme {
            "local" if rest.is_empty() => Err(refused("the path is missing")),
            "local" => Ok(Location::Local(LocalLocation { path: PathBuf::from(rest) })),
            "rest" => parse_rest(rest).map_err(|why| LocationError { text: redact(text), why, hint: HINT_REST }),
            "s3" => parse_s3(rest).map_err(|(why, hint)| LocationError { text: redact(text), why, hint }),
            "http" | "https" => Err(LocationError {
                text: redact(text),
                why: "the protocol is missing".to_owned(),
                hint: "write `rest:` or `s3:` before the address",
            }),
            known if KINDS_NOT_SPOKEN.contains(&known) => {
                Err(refused(&format!("this version does not speak `{known}:`")))
            }
            _ => Err(refused("no such kind of destination")),
        }
    }
}

impl From<LocationError> for Fault {
    fn from(error: LocationError) -> Fault {
        Fault::new(FaultKind::Misconfigured, "use", "", error.text, error.why)
    }
}

fn parse_rest(text: &str) -> Result<Location, String> {
    if text.starts_with("http+unix:") {
        return Err("unix sockets are not spoken".to_owned());
    }
    let mut url = http_url(text)?;
    let username = percent_decoded(url.username());
    let password = url.password().map(percent_decoded);
    // A URL with a host always takes a user; ignoring the result cannot leave a password behind.
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return Err("user and password cannot be taken out of it".to_owned());
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(Location::Rest(RestLocation {
        base: url,
        username: (!username.is_empty()).then_some(username),
        password: password.map(Secret::from),
    }))
}

fn parse_s3(text: &str) -> Result<Location, (String, &'static str)> {
    let text = text.strip_prefix("//").unwrap_or(text);
    let with_scheme = if text.starts_with("http://") || text.starts_with("https://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let mut url = http_url(&with_scheme).map_err(|why| (why, HINT_S3))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(("keys do not belong in the address".to_owned(), HINT_S3_KEYS));
    }
    let path = percent_decoded(url.path());
    let mut parts = path.trim_matches('/').splitn(2, '/');
    let bucket = parts.next().unwrap_or_default().to_owned();
    let prefix = parts.next().unwrap_or_default().trim_matches('/').to_owned();
    if bucket.is_empty() {
        return Err(("the bucket is missing".to_owned(), HINT_S3));
    }
    let is_bucket_letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if !bucket.bytes().all(is_bucket_letter) {
        return Err((format!("`{bucket}` cannot be the name of a bucket"), HINT_S3));
    }
    if prefix.split('/').any(|part| matches!(part, "." | "..") || (part.is_empty() && !prefix.is_empty())) {
        return Err(("the prefix has an empty part, `.` or `..`".to_owned(), HINT_S3));
    }
    url.set_path("");
    Ok(Location::S3(S3Location { endpoint: url, bucket, prefix }))
}

/// An `http` or `https` URL with a host and nothing that we would silently drop.
fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("`http` or `https` is needed".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the host is missing".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("`?` and `#` have no meaning here; write them as `%3F` and `%23`".to_owned());
    }
    Ok(url)
}

/// `%41` as `A`. What is not UTF-8 after decoding keeps a replacement character and will be refused by the server.
fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Hides everything that may be a user or password in an address, even in one that cannot be parsed.
pub(crate) fn redact(text: &str) -> String {
    let Some((before_at, after_at)) = text.rsplit_once('@') else { return text.to_owned() };
    let start = match before_at.find("://") {
        Some(position) => position + 3,
        None => before_at.find(':').map_or(0, |position| position + 1),
    };
    format!("{}{REDACTED}@{after_at}", &before_at[..start])
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Local(local) => write!(f, "{}", local.path.display()),
            Location::Rest(rest) => write!(f, "{rest}"),
            Location::S3(s3) => write!(f, "{s3}"),
        }
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

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3:{}{}", self.endpoint, self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Debug for RestLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Debug for LocalLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl fmt::Debug for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn every_form_of_restic_is_understood() {
        for (text, shown) in [
            ("/srv/backup", "/srv/backup"),
            ("local:/srv/backup", "/srv/backup"),
            ("local:relative", "relative"),
            ("relative/folder", "relative/folder"),
            ("./with:colon", "./with:colon"),
            ("/with:colon@x", "/with:colon@x"),
            ("rest:http://host:8000/", "rest:http://host:8000/"),
            ("rest:https://host", "rest:https://host/"),
            ("rest:https://bob@host/a/b", "rest:https://bob@host/a/b/"),
            ("rest:https://bob:hush@host/a/", "rest:https://bob:***@host/a/"),
            ("s3:s3.amazonaws.com/bucket", "s3:https://s3.amazonaws.com/bucket"),
            ("s3:s3.amazonaws.com/bucket/a/b/", "s3:https://s3.amazonaws.com/bucket/a/b"),
            ("s3://s3.amazonaws.com/bucket/a", "s3:https://s3.amazonaws.com/bucket/a"),
            ("s3:https://host:9000/bucket/a", "s3:https://host:9000/bucket/a"),
            ("s3:http://127.0.0.1:9000/bucket", "s3:http://127.0.0.1:9000/bucket"),
            ("s3:localhost:9000/bucket", "s3:https://localhost:9000/bucket"),
        ] {
            let location: Location = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(location.to_string(), shown, "{text}");
            let again: Location = location.to_string().replace(":***", "").parse().unwrap();
            assert_eq!(again.to_string().replace(":***", ""), shown.replace(":***", ""), "{text} read again");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "empty"),
            ("local:", "path is missing"),
            ("sftp:user@host:/path", "does not speak `sftp:`"),
            ("https://host/path", "protocol is missing"),
            ("nonsense:abc", "no such kind"),
            ("rest:ftp://host/", "`http` or `https`"),
            ("rest:host/path", "not a URL"),
            ("rest:https://host/?create=true", "no meaning here"),
            ("rest:http+unix:///run/x.sock", "unix sockets"),
            ("s3:https://host", "bucket is missing"),
            ("s3:https://host/", "bucket is missing"),
            ("s3:https://key:hush@host/bucket", "do not belong"),
            ("s3:https://host/bucket/a//b", "empty part"),
            ("s3:https://host/bu%20cket", "name of a bucket"),
        ] {
            let error = text.parse::<Location>().expect_err(text);
            assert!(error.why.contains(why), "{text}: {}", error.why);
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for text in [
            "rest:https://bob:hush@host/a/",
            "rest:https://bob:hu%2Fsh@host/a/",
            "rest:https://bob:hush@ho st/",
            "rest:bob:hush@host/",
            "rest:https://bob:hu/sh@host/a",
            "rest:ftp://bob:hush@host/",
            "s3:https://bob:hush@host/bucket",
            "nonsense:bob:hush@host",
            "https://bob:hush@host/",
        ] {
            let shown = match text.parse::<Location>() {
                Ok(location) => format!("{location} {location:?}"),
                Err(error) => format!("{error} {error:?} {}", Fault::from(error.clone())),
            };
            assert!(!shown.contains("hush") && !shown.contains("hu/sh") && !shown.contains("hu%2F"), "{shown}");
        }
    }

    #[test]
    fn user_and_password_are_decoded() {
        let Location::Rest(rest) = "rest:https://b%40b:p%3Aw%2F@host/".parse().unwrap() else { panic!("rest") };
        assert_eq!(rest.username.as_deref(), Some("b@b"));
        assert_eq!(rest.password.unwrap().expose_secret(), "p:w/");
        assert_eq!(rest.base.as_str(), "https://host/");
    }
}
