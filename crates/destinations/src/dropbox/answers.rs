//! What Dropbox says in JSON, as pure functions: metadata, pages of listings, errors.
//!
//! A page counts only when it says whether more follows and where. Words that are not known stay what the status says.

use model::FaultKind;
use serde::Deserialize;

/// A file as Dropbox describes it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct FileMetadata {
    pub(crate) path_lower: String,
    pub(crate) size: u64,
    pub(crate) content_hash: Option<String>,
}

/// What can be at a path.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = ".tag", rename_all = "snake_case")]
pub(crate) enum Entry {
    File(FileMetadata),
    Folder {},
    /// It was there when an earlier page was written.
    Deleted {
        path_lower: String,
    },
}

/// One page of a listing.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    pub(crate) cursor: String,
    pub(crate) has_more: bool,
}

/// An upload that was begun.
#[derive(Deserialize)]
pub(crate) struct Session {
    pub(crate) session_id: String,
}

/// An error: its words, from the outermost to the innermost.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) tags: Vec<String>,
}

impl ServerError {
    /// Whether the error is, or is about, `tag`.
    pub(crate) fn is(&self, tag: &str) -> bool {
        self.tags.iter().any(|known| known == tag)
    }

    /// What it is, where the status alone would be misread.
    pub(crate) fn kind(&self) -> Option<FaultKind> {
        self.tags.iter().rev().find_map(|tag| {
            Some(match tag.as_str() {
                "not_found" => FaultKind::NotFound,
                "conflict" => FaultKind::Exists,
                "insufficient_space" | "insufficient_quota" => FaultKind::Full,
                "no_write_permission"
                | "missing_scope"
                | "access_denied"
                | "email_unverified"
                | "user_suspended"
                | "expired_access_token"
                | "invalid_access_token" => FaultKind::Denied,
                "too_many_write_operations"
                | "too_many_requests"
                | "internal_error"
                | "incorrect_offset"
                | "closed"
                | "concurrent_session_invalid_offset"
                | "operation_suppressed" => FaultKind::Failing,
                "content_hash_mismatch" => FaultKind::Damaged,
                "malformed_path" | "disallowed_name" | "team_folder" | "not_folder" | "not_file" => {
                    FaultKind::Misconfigured
                }
                _ => return None,
            })
        })
    }

    /// In Dropbox's own way of writing it.
    pub(crate) fn words(&self) -> String {
        let fit = |tag: &String| tag.chars().filter(|c| !c.is_control()).take(60).collect::<String>();
        self.tags.iter().map(fit).collect::<Vec<_>>().join("/")
    }
}

/// Deeper than any error is.
const TAGS_LIMIT: usize = 8;

/// The error in the body of an answer; empty when it holds none.
pub(crate) fn parse_error(body: &str) -> ServerError {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(body) else { return ServerError::default() };
    let mut tags = Vec::new();
    let mut next = value.get("error");
    while let Some(error) = next.filter(|_| tags.len() < TAGS_LIMIT) {
        let Some(tag) = error.get(".tag").and_then(serde_json::Value::as_str) else {
            next = error.get("reason");
            continue;
        };
        tags.push(tag.to_owned());
        next = error.get(tag).or_else(|| error.get("reason"));
    }
    ServerError { tags }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn errors_are_read_to_their_innermost_word() {
        for (body, words, kind) in [
            (
                r#"{"error_summary":"path/not_found/..","error":{".tag":"path","path":{".tag":"not_found"}}}"#,
                "path/not_found",
                Some(FaultKind::NotFound),
            ),
            (
                r#"{"error":{".tag":"path","reason":{".tag":"conflict","conflict":{".tag":"file"}},"upload_session_id":"x"}}"#,
                "path/conflict/file",
                Some(FaultKind::Exists),
            ),
            (
                r#"{"error":{".tag":"path","reason":{".tag":"insufficient_space"}}}"#,
                "path/insufficient_space",
                Some(FaultKind::Full),
            ),
            (
                r#"{"error":{"reason":{".tag":"too_many_requests"},"retry_after":300}}"#,
                "too_many_requests",
                Some(FaultKind::Failing),
            ),
            (
                r#"{"error":{".tag":"lookup_failed","lookup_failed":{".tag":"incorrect_offset","correct_offset":4}}}"#,
                "lookup_failed/incorrect_offset",
                Some(FaultKind::Failing),
            ),
            (r#"{"error":{".tag":"something_new"}}"#, "something_new", None),
            ("Error in call to API function", "", None),
            (r#"{"error":7}"#, "", None),
        ] {
            let error = parse_error(body);
            assert_eq!((error.words().as_str(), error.kind()), (words, kind), "{body}");
        }
        let deep = format!("{{\"error\":{}1{}}}", "{\"reason\":".repeat(50), "}".repeat(50));
        assert_eq!(parse_error(&deep), ServerError::default());
    }

    #[test]
    fn a_page_must_say_whether_more_follows() {
        let whole = r#"{"entries":[{".tag":"file","name":"x","path_lower":"/x","size":5,"rev":"1"},
            {".tag":"folder","name":"y","path_lower":"/y"},{".tag":"deleted","path_lower":"/z"}],"cursor":"c","has_more":false}"#;
        let page: Page = serde_json::from_str(whole).unwrap();
        let file = FileMetadata { path_lower: "/x".into(), size: 5, content_hash: None };
        let deleted = Entry::Deleted { path_lower: "/z".into() };
        assert_eq!(page.entries, [Entry::File(file), Entry::Folder {}, deleted]);
        for body in [
            "",
            "null",
            "[]",
            &whole.replace(",\"has_more\":false", ""),
            &whole.replace("\"cursor\":\"c\",", ""),
            &whole.replace("\"size\":5", "\"size\":-5"),
            &whole.replace("\"size\":5,", ""),
            &whole.replace("\"folder\"", "\"hologram\""),
            &whole[..whole.len() - 1],
        ] {
            assert!(serde_json::from_str::<Page>(body).is_err(), "{body}");
        }
    }
}
