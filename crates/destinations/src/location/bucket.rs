//! `azure:container:/path`, `gs:bucket:/path` and `b2:bucket:path`: where a bucket is needs no host, its account tells.

use std::fmt;

use super::words::Misread;

/// A bucket and what precedes our names in it.
#[derive(Clone, PartialEq, Eq)]
pub struct BucketPlace {
    /// The bucket; Azure calls it a container.
    pub bucket: String,
    /// What precedes our names: empty, or without slashes at both ends.
    pub prefix: String,
}

impl BucketPlace {
    /// What follows `azure:`, `gs:` or `b2:`; `hint` says how that is written.
    pub(super) fn parse(text: &str, hint: &'static str) -> Result<Self, Misread> {
        let misread = |why: String| Misread { why, hint };
        let (bucket, prefix) = text.split_once(':').unwrap_or((text, ""));
        if bucket.is_empty() {
            return Err(misread("the bucket is missing".to_owned()));
        }
        let is_bucket_letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'$');
        if !bucket.bytes().all(is_bucket_letter) || bucket.bytes().all(|b| b == b'.') {
            return Err(misread(format!("`{bucket}` cannot be the name of a bucket")));
        }
        let prefix = prefix.strip_prefix('/').unwrap_or(prefix);
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if prefix.split('/').any(|part| matches!(part, "." | "..") || (part.is_empty() && !prefix.is_empty())) {
            return Err(misread("the path has an empty part, `.` or `..`".to_owned()));
        }
        if prefix.chars().any(|c| c.is_control() || c == '\\') {
            return Err(misread("the path has a backslash or a control character".to_owned()));
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for BucketPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:/{}", self.bucket, self.prefix)
    }
}

impl fmt::Debug for BucketPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
