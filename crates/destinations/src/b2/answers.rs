//! What B2 says in JSON, as pure functions: who we are there, pages of listings, uploads and errors.
//!
//! A page counts only when it says what follows it, were it with `null`: B2 always does.

use model::FaultKind;
use serde::Deserialize;
use serde_json::Value;

use crate::bucket::Page;

/// Who we are, and where to ask.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    pub(super) account_id: String,
    pub(super) authorization_token: String,
    pub(super) api_info: ApiInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiInfo {
    pub(super) storage_api: StorageApi,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StorageApi {
    pub(super) api_url: String,
    pub(super) download_url: String,
    pub(super) allowed: Allowed,
}

/// What a key is limited to.
#[derive(Deserialize)]
pub(super) struct Allowed {
    buckets: Option<Vec<AllowedBucket>>,
}

#[derive(Deserialize)]
struct AllowedBucket {
    id: String,
    name: Option<String>,
}

impl Allowed {
    /// The id of a bucket, where the key is one for this bucket.
    pub(super) fn bucket_id(&self, name: &str) -> Option<String> {
        let buckets = self.buckets.as_ref()?;
        buckets.iter().find(|bucket| bucket.name.as_deref() == Some(name)).map(|bucket| bucket.id.clone())
    }
}

/// The buckets that a key may see.
#[derive(Deserialize)]
pub(super) struct Buckets {
    pub(super) buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bucket {
    pub(super) bucket_id: String,
    pub(super) bucket_name: String,
}

/// Where one upload at a time may go.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadUrl {
    pub(super) upload_url: String,
    pub(super) authorization_token: String,
}

/// One version of a file, or a mark that hides the older ones.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    pub(super) file_name: String,
    pub(super) file_id: String,
    action: String,
    content_length: u64,
    content_sha1: Option<String>,
}

impl Version {
    pub(super) fn is_file(&self) -> bool {
        self.action == "upload"
    }

    pub(super) fn hides_older_ones(&self) -> bool {
        self.action == "hide"
    }

    /// Whether it holds these bytes; one that was stored in parts has no SHA-1 and is taken for another.
    pub(super) fn holds(&self, length: usize, sha1: &str) -> bool {
        self.content_length == length as u64 && self.content_sha1.as_deref() == Some(sha1)
    }
}

/// One page of a listing of names, or of versions.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Files {
    pub(super) files: Vec<Version>,
    next_file_name: Value,
    pub(super) next_file_id: Option<String>,
}

impl Files {
    /// The name at which the next page begins.
    pub(super) fn next(&self) -> Result<Option<String>, String> {
        match &self.next_file_name {
            Value::Null => Ok(None),
            Value::String(name) => Ok(Some(name.clone())),
            _ => Err("the answer is not a listing: it does not say where it goes on".to_owned()),
        }
    }

    /// As a page of a listing.
    pub(super) fn page(self) -> Result<Page, String> {
        let next = self.next()?;
        let files = self.files.into_iter().filter(Version::is_file);
        Ok(Page { objects: files.map(|file| (file.file_name, file.content_length)).collect(), next })
    }
}

/// An error in the server's own words.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ServerError {
    /// The word that programs branch on.
    #[serde(default)]
    pub(super) code: String,
    /// The words for people.
    #[serde(default)]
    pub(super) message: String,
}

impl ServerError {
    /// Whether a token has ended, rather than a permission missing. An answer without a body may mean either.
    pub(super) fn is_about_the_token(&self) -> bool {
        matches!(self.code.as_str(), "" | "expired_auth_token" | "bad_auth_token")
    }

    /// What it is, where the status alone would be misread.
    pub(super) fn kind(&self) -> Option<FaultKind> {
        Some(match self.code.as_str() {
            "cap_exceeded" | "storage_cap_exceeded" | "download_cap_exceeded" | "transaction_cap_exceeded" => {
                FaultKind::Full
            }
            "file_not_present" | "no_such_file" | "bad_bucket_id" => FaultKind::NotFound,
            "duplicate_bucket_name" => FaultKind::Misconfigured,
            "bad_request" if self.message.to_ascii_lowercase().contains("sha1") => FaultKind::Failing,
            _ => return None,
        })
    }
}

/// The error in the body of an answer; empty when it holds none.
pub(super) fn parse_error(body: &str) -> ServerError {
    serde_json::from_str(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WHOLE: &str = r#"{"files":[{"fileName":"p/keys/a","fileId":"4_z","action":"upload","contentLength":7,"contentSha1":"none"},
        {"fileName":"p/keys/b","fileId":"4_y","action":"hide","contentLength":0,"contentSha1":null}],"nextFileName":null}"#;

    fn page(json: &str) -> Result<Page, String> {
        serde_json::from_str::<Files>(json).map_err(|error| error.to_string()).and_then(Files::page)
    }

    #[test]
    fn a_page_holds_files_and_must_say_whether_more_follows() {
        assert_eq!(page(WHOLE).unwrap(), Page { objects: vec![("p/keys/a".to_owned(), 7)], next: None });
        let more = page(&WHOLE.replace(":null}", ":\"p/keys/c\"}")).unwrap();
        assert_eq!(more.next.as_deref(), Some("p/keys/c"));
        for json in [
            "",
            "null",
            "{}",
            &WHOLE.replace(",\"nextFileName\":null", ""),
            &WHOLE.replace(":null}", ":7}"),
            &WHOLE.replace(":7,", ":-7,"),
            &WHOLE[..WHOLE.len() - 1],
        ] {
            assert!(page(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_key_may_be_for_one_bucket() {
        let allowed = |json: &str| serde_json::from_str::<Allowed>(json).unwrap();
        let one = allowed(r#"{"buckets":[{"id":"1","name":null},{"id":"2","name":"box"}],"capabilities":[]}"#);
        assert_eq!(one.bucket_id("box").as_deref(), Some("2"));
        assert_eq!(one.bucket_id("other"), None);
        assert_eq!(allowed(r#"{"buckets":null}"#).bucket_id("box"), None);
    }
}
