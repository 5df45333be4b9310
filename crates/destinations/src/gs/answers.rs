//! What Google's storage says in JSON, as pure functions: pages of listings, objects and errors.
//!
//! A page counts only when it says that it is one.

use model::FaultKind;
use serde::Deserialize;

use crate::bucket::Page;

/// How a page calls itself.
const PAGE_KIND: &str = "storage#objects";

/// An object, as far as it is asked for.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Object {
    pub(crate) name: String,
    /// A number, written as words.
    size: String,
    #[serde(default)]
    pub(crate) md5_hash: String,
}

impl Object {
    /// Its size in bytes.
    pub(crate) fn size(&self) -> Option<u64> {
        self.size.parse().ok()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    kind: String,
    #[serde(default)]
    items: Vec<Object>,
    next_page_token: Option<String>,
}

/// An error in the server's own words.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct ServerError {
    /// The words for people.
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    errors: Vec<Reason>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Reason {
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct Refused {
    error: ServerError,
}

impl ServerError {
    /// The word that programs branch on.
    pub(crate) fn reason(&self) -> &str {
        self.errors.first().map_or("", |reason| &reason.reason)
    }

    /// Whether it is the bucket that is missing; the same word stands for a missing object.
    pub(crate) fn is_about_the_bucket(&self) -> bool {
        self.message.contains("bucket does not exist")
    }

    /// What it is, where the status alone would be misread.
    pub(crate) fn kind(&self) -> Option<FaultKind> {
        Some(match self.reason() {
            "rateLimitExceeded" | "userRateLimitExceeded" | "backendError" | "internalError" => FaultKind::Failing,
            "quotaExceeded" => FaultKind::Full,
            "invalid" if self.message.contains("MD5") => FaultKind::Failing,
            _ => return None,
        })
    }
}

/// Reads one page of a listing; what is wrong with it otherwise is said in words.
pub(crate) fn parse_page(json: &[u8]) -> Result<Page, String> {
    let no_listing = |why: String| format!("the answer is not a listing: {why}");
    let listing: Listing = serde_json::from_slice(json).map_err(|error| no_listing(error.to_string()))?;
    if listing.kind != PAGE_KIND {
        return Err(no_listing("it calls itself something else".to_owned()));
    }
    let sized = |object: Object| {
        let size = object.size().ok_or_else(|| no_listing(format!("`{}` has no size", object.name)))?;
        Ok((object.name, size))
    };
    let objects = listing.items.into_iter().map(sized).collect::<Result<_, String>>()?;
    Ok(Page { objects, next: listing.next_page_token.filter(|token| !token.is_empty()) })
}

/// The error in the body of an answer; empty when it holds none.
pub(crate) fn parse_error(body: &str) -> ServerError {
    serde_json::from_str(body).map(|Refused { error }| error).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WHOLE: &str = r#"{"kind":"storage#objects","nextPageToken":"m/1","items":[{"name":"p/keys/a","size":"7"}]}"#;

    #[test]
    fn a_page_is_read_with_its_mark() {
        let page = parse_page(WHOLE.as_bytes()).unwrap();
        assert_eq!(page, Page { objects: vec![("p/keys/a".to_owned(), 7)], next: Some("m/1".to_owned()) });
        let empty = parse_page(br#"{"kind":"storage#objects"}"#).unwrap();
        assert_eq!(empty, Page { objects: vec![], next: None });
    }

    #[test]
    fn what_is_no_page_is_never_an_empty_one() {
        for json in [
            "",
            "null",
            "{}",
            "[]",
            "<html>welcome</html>",
            r#"{"kind":"storage#object"}"#,
            &WHOLE.replace("\"7\"", "\"-7\""),
            &WHOLE.replace(",\"size\":\"7\"", ""),
            &WHOLE[..WHOLE.len() - 1],
        ] {
            assert!(parse_page(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn errors_are_read_and_the_rest_is_not() {
        let json = r#"{"error":{"code":404,"message":"No such object: b/x","errors":[{"reason":"notFound","domain":"global"}]}}"#;
        let error = parse_error(json);
        assert_eq!((error.reason(), error.message.as_str()), ("notFound", "No such object: b/x"));
        assert!(!error.is_about_the_bucket());
        assert_eq!(parse_error("No such object: b/x"), ServerError::default());
    }
}
