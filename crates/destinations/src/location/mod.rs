//! Where a copy lives, as the user writes it: a path, `rest:https://host/path`, `s3:https://endpoint/bucket/prefix`.
//!
//! Parsing happens here and nowhere else, and so does redaction: a [`Location`] never shows a password, neither in
//! `Display` nor in `Debug` nor in the error of a URL that could not be understood. The forms are restic's, so that
//! what works in `RESTIC_REPOSITORY` works here. Nothing in this room touches a disk or a network.

mod account;
mod bucket;
mod dropbox;
mod local;
mod rclone;
mod rest;
mod s3;
mod webdav;
mod words;

use std::fmt;
use std::str::FromStr;

use model::{Fault, FaultKind};

pub use account::AccountPlace;
pub use bucket::BucketPlace;
pub use dropbox::DropboxLocation;
pub use local::LocalLocation;
pub use rclone::RcloneLocation;
pub use rest::RestLocation;
pub use s3::S3Location;
pub use webdav::WebdavLocation;
use words::Misread;
pub(crate) use words::redact;

/// Kinds that restic or rclone users may name and that this version cannot reach.
const KINDS_NOT_SPOKEN: &[&str] = &["swift", "opendal", "ftp"];

/// The address of one copy.
#[derive(Clone)]
pub enum Location {
    /// A folder of this machine, or one that is mounted on it.
    Local(LocalLocation),
    /// A server that speaks restic's REST protocol.
    Rest(RestLocation),
    /// A bucket, or a part of one, behind an S3 interface.
    S3(S3Location),
    /// A container of Azure's blob storage, or a part of one.
    Azure(BucketPlace),
    /// A bucket of Backblaze B2, or a part of one.
    B2(BucketPlace),
    /// A bucket of Google Cloud Storage, or a part of one.
    Google(BucketPlace),
    /// A folder in a Dropbox.
    Dropbox(DropboxLocation),
    /// A folder of a server that speaks WebDAV, Nextcloud among them.
    Webdav(WebdavLocation),
    /// A folder of an account, over SFTP.
    Sftp(AccountPlace),
    /// A folder of an account, by the `rsync` program over ssh.
    Rsync(AccountPlace),
    /// A folder of an account, over FTP with TLS.
    Ftps(AccountPlace),
    /// What the `rclone` program reaches.
    Rclone(RcloneLocation),
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

const HINT_FORMS: &str = "write a path, `rest:https://user@host/path/`, `s3:https://endpoint/bucket/prefix`, `webdav:https://user@host/path/`, `azure:container:/path`, `gs:bucket:/path`, `b2:bucket:path`, `sftp:user@host:/path`, `rsync:user@host:/path`, `ftps:user@host:/path` or `rclone:remote:path`; `./` before a name with a colon";

const HINT_AZURE: &str =
    "write `azure:container:/path`; the keys come from `AZURE_ACCOUNT_NAME` and `AZURE_ACCOUNT_KEY`";
const HINT_B2: &str = "write `b2:bucket:path`; the key comes from `B2_ACCOUNT_ID` and `B2_ACCOUNT_KEY`";
const HINT_GOOGLE: &str =
    "write `gs:bucket:/path`; the key of the service account comes from `GOOGLE_APPLICATION_CREDENTIALS`";

impl Location {
    /// The word for its kind, which addresses begin with: `local`, `rest`, `s3`, `azure`, `sftp` and so on.
    pub fn kind(&self) -> &'static str {
        match self {
            Location::Local(_) => "local",
            Location::Rest(_) => "rest",
            Location::S3(_) => "s3",
            Location::Azure(_) => "azure",
            Location::B2(_) => "b2",
            Location::Google(_) => "gs",
            Location::Dropbox(_) => "dropbox",
            Location::Webdav(_) => "webdav",
            Location::Sftp(_) => "sftp",
            Location::Rsync(_) => "rsync",
            Location::Ftps(_) => "ftps",
            Location::Rclone(_) => "rclone",
        }
    }

    /// The host that it is on; none for a folder.
    pub fn host(&self) -> Option<&str> {
        match self {
            Location::Local(_) => None,
            Location::Rest(rest) => rest.base.host_str(),
            Location::S3(s3) => s3.endpoint.host_str(),
            Location::Azure(_) => Some("blob.core.windows.net"),
            Location::B2(_) => Some("backblazeb2.com"),
            Location::Google(_) => Some("storage.googleapis.com"),
            Location::Dropbox(_) => Some("dropbox.com"),
            Location::Webdav(webdav) => webdav.base.host_str(),
            Location::Sftp(place) | Location::Rsync(place) | Location::Ftps(place) => Some(&place.host),
            // Where that is, only the configuration of rclone knows.
            Location::Rclone(_) => None,
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
        let misread = |Misread { why, hint }| LocationError { text: redact(text), why, hint };
        if text.is_empty() {
            return Err(refused("it is empty"));
        }
        if text.contains('\0') {
            return Err(refused("it holds a NUL character"));
        }
        let looks_like_path = text.starts_with('/') || text.starts_with("./") || text.starts_with("../");
        let Some((scheme, rest)) = text.split_once(':').filter(|_| !looks_like_path) else {
            return Ok(Location::Local(LocalLocation::of(text)));
        };
        match scheme {
            "local" if rest.is_empty() => Err(refused("the path is missing")),
            "local" => Ok(Location::Local(LocalLocation::of(rest))),
            "rest" => RestLocation::parse(rest).map(Location::Rest).map_err(misread),
            "s3" => S3Location::parse(rest).map(Location::S3).map_err(misread),
            "azure" => BucketPlace::parse(rest, HINT_AZURE).map(Location::Azure).map_err(misread),
            "b2" => BucketPlace::parse(rest, HINT_B2).map(Location::B2).map_err(misread),
            "gs" => BucketPlace::parse(rest, HINT_GOOGLE).map(Location::Google).map_err(misread),
            "dropbox" => DropboxLocation::parse(rest).map(Location::Dropbox).map_err(misread),
            "webdav" => WebdavLocation::parse(rest).map(Location::Webdav).map_err(misread),
            "sftp" => AccountPlace::parse(rest).map(Location::Sftp).map_err(misread),
            "ftps" => AccountPlace::parse_with_user(rest).map(Location::Ftps).map_err(misread),
            "rsync" => AccountPlace::parse(rest).map(Location::Rsync).map_err(misread),
            "rclone" => RcloneLocation::parse(rest).map(Location::Rclone).map_err(misread),
            "http" | "https" => Err(LocationError {
                text: redact(text),
                why: "the protocol is missing".to_owned(),
                hint: "write `rest:`, `s3:` or `webdav:` before the address",
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

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Local(local) => write!(f, "{local}"),
            Location::Rest(rest) => write!(f, "{rest}"),
            Location::S3(s3) => write!(f, "{s3}"),
            Location::Azure(place) => write!(f, "azure:{place}"),
            Location::B2(place) => write!(f, "b2:{place}"),
            Location::Google(place) => write!(f, "gs:{place}"),
            Location::Dropbox(dropbox) => write!(f, "{dropbox}"),
            Location::Webdav(webdav) => write!(f, "{webdav}"),
            Location::Sftp(place) => write!(f, "sftp:{place}"),
            Location::Rsync(place) => write!(f, "rsync:{place}"),
            Location::Ftps(place) => write!(f, "ftps:{place}"),
            Location::Rclone(rclone) => write!(f, "{rclone}"),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use model::ExposeSecret as _;

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
            ("azure:box:/a/b c/", "azure:box:/a/b c"),
            ("azure:box:a", "azure:box:/a"),
            ("azure:$root:/", "azure:$root:/"),
            ("b2:bucket:a/b", "b2:bucket:/a/b"),
            ("b2:bucket", "b2:bucket:/"),
            ("gs:bucket:/a/b/", "gs:bucket:/a/b"),
            ("gs:bucket_1.example", "gs:bucket_1.example:/"),
            ("dropbox:/", "dropbox:/"),
            ("dropbox:/a/b c/", "dropbox:/a/b c"),
            ("webdav:https://host", "webdav:https://host/"),
            ("webdav:https://bob:hush@host/a b", "webdav:https://bob:***@host/a%20b/"),
            ("s3:s3.amazonaws.com/bucket", "s3:https://s3.amazonaws.com/bucket"),
            ("s3:s3.amazonaws.com/bucket/a/b/", "s3:https://s3.amazonaws.com/bucket/a/b"),
            ("s3://s3.amazonaws.com/bucket/a", "s3:https://s3.amazonaws.com/bucket/a"),
            ("s3:https://host:9000/bucket/a", "s3:https://host:9000/bucket/a"),
            ("s3:http://127.0.0.1:9000/bucket", "s3:http://127.0.0.1:9000/bucket"),
            ("s3:localhost:9000/bucket", "s3:https://localhost:9000/bucket"),
            ("sftp:bob@host:/srv/backup/", "sftp:bob@host:/srv/backup"),
            ("sftp://bob@host:2222//srv/backup", "sftp://bob@host:2222//srv/backup"),
            ("sftp://bob@host/backup", "sftp:bob@host:backup"),
            ("rsync:bob@host:backup", "rsync:bob@host:backup"),
            ("ftps:bob@host:backup", "ftps:bob@host:backup"),
            ("ftps://bob@host:2121//srv/backup", "ftps://bob@host:2121//srv/backup"),
            ("rclone:remote:a/b", "rclone:remote:a/b"),
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
            ("swift:bucket", "does not speak `swift:`"),
            ("sftp:user@host", "path is missing"),
            ("rsync:user@host::module", "daemon of rsync"),
            ("ftps:host:/path", "user is missing"),
            ("ftp:bob@host:/path", "does not speak `ftp:`"),
            ("rclone:", "remote is missing"),
            ("rclone::s3,secret_access_key=hush:bucket", "configuration"),
            ("https://host/path", "protocol is missing"),
            ("nonsense:abc", "no such kind"),
            ("rest:ftp://host/", "`http` or `https`"),
            ("rest:host/path", "not a URL"),
            ("rest:https://host/?create=true", "no meaning here"),
            ("rest:http+unix:///run/x.sock", "unix sockets"),
            ("s3:https://host", "bucket is missing"),
            ("dropbox:a/b", "begins with a slash"),
            ("azure:", "bucket is missing"),
            ("azure:a/b:/c", "name of a bucket"),
            ("azure:..:/c", "name of a bucket"),
            ("azure:a:/b//c", "empty part"),
            ("azure:a:/../c", "empty part"),
            ("azure:a:/b\\c", "backslash"),
            ("dropbox:", "begins with a slash"),
            ("dropbox:/a//b", "empty part"),
            ("dropbox:/a/../b", "empty part"),
            ("dropbox:/a\\b", "backslash"),
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
            "webdav:https://bob:hush@host/a",
            "webdav:bob:hush@host/a",
            "nonsense:bob:hush@host",
            "sftp://bob:hush@host//path",
            "sftp:bob:hush@host:/path",
            "ftps:bob:hush@host:/path",
            "ftps://bob:hush@host/path",
            "rclone::s3,secret_access_key=hush:bucket",
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
