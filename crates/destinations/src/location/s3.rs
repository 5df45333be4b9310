//! `s3:https://endpoint/bucket/prefix`.

use std::fmt;

use url::Url;

use super::words::{Misread, http_url, percent_decoded};

const HINT: &str = "write `s3:https://endpoint/bucket/prefix`, for Amazon `s3:s3.amazonaws.com/bucket/prefix`";
const HINT_KEYS: &str = "keys are taken from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`";

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

fn misread(why: impl Into<String>) -> Misread {
    Misread { why: why.into(), hint: HINT }
}

impl S3Location {
    /// What follows `s3:`.
    pub(super) fn parse(text: &str) -> Result<Self, Misread> {
        let text = text.strip_prefix("//").unwrap_or(text);
        let with_scheme = if text.starts_with("http://") || text.starts_with("https://") {
            text.to_owned()
        } else {
            format!("https://{text}")
        };
        let mut url = http_url(&with_scheme).map_err(misread)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Misread { why: "keys do not belong in the address".to_owned(), hint: HINT_KEYS });
        }
        let path = percent_decoded(url.path());
        let mut parts = path.trim_matches('/').splitn(2, '/');
        let bucket = parts.next().unwrap_or_default().to_owned();
        let prefix = parts.next().unwrap_or_default().trim_matches('/').to_owned();
        if bucket.is_empty() {
            return Err(misread("the bucket is missing"));
        }
        let is_bucket_letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if !bucket.bytes().all(is_bucket_letter) {
            return Err(misread(format!("`{bucket}` cannot be the name of a bucket")));
        }
        if prefix.split('/').any(|part| matches!(part, "." | "..") || (part.is_empty() && !prefix.is_empty())) {
            return Err(misread("the prefix has an empty part, `.` or `..`"));
        }
        url.set_path("");
        Ok(Self { endpoint: url, bucket, prefix })
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3:{}{}", self.endpoint, self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl fmt::Debug for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
