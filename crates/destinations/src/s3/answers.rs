//! What an S3 server says in XML, as pure functions: pages of listings and errors.
//!
//! A page counts only when its root is a listing and it says whether more follows. A server that answers 200 with an
//! error in the body (they do, under load), or a page that was cut, must never be taken for a listing that ended.
//!
//! Hardly anything else of this crate is used here: fuzzing takes this file and little more.

use model::FaultKind;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::bucket::Page;
use crate::xml_error::ServerError;

/// One page of what is in a folder, when names are read as paths.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FolderPage {
    pub(crate) objects: Vec<FoundObject>,
    /// What keys begin with that go on behind a slash.
    pub(crate) prefixes: Vec<Vec<u8>>,
    /// Where the next page begins; none after the last one.
    pub(crate) next: Option<String>,
}

/// An object in a listing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FoundObject {
    /// As bytes: not every server holds to UTF-8.
    pub(crate) key: Vec<u8>,
    pub(crate) size: u64,
    pub(crate) etag: Option<String>,
    /// As the server wrote it.
    pub(crate) modified: Option<String>,
}

/// Why a page does not count.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoPage {
    /// The server reported an error in a successful answer.
    Error(ServerError),
    /// It is not a page.
    Malformed(String),
}

#[derive(Deserialize)]
enum Answer {
    #[serde(rename = "ListBucketResult")]
    Listing(Listing),
    Error(ServerError),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    is_truncated: bool,
    next_continuation_token: Option<String>,
    encoding_type: Option<String>,
    #[serde(default)]
    contents: Vec<Object>,
    #[serde(default)]
    common_prefixes: Vec<Prefix>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Prefix {
    prefix: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    key: String,
    size: u64,
    #[serde(rename = "ETag")]
    etag: Option<String>,
    last_modified: Option<String>,
}

/// Reads one page of an answer to `ListObjectsV2`.
pub(crate) fn parse_page(xml: &[u8]) -> Result<Page, NoPage> {
    let FolderPage { objects, next, .. } = parse_folder_page(xml)?;
    // A key that is not text is none of ours.
    let text = |object: FoundObject| Some((String::from_utf8(object.key).ok()?, object.size));
    Ok(Page { objects: objects.into_iter().filter_map(text).collect(), next })
}

/// The same with all that a page tells.
pub(crate) fn parse_folder_page(xml: &[u8]) -> Result<FolderPage, NoPage> {
    let malformed = |why: String| NoPage::Malformed(format!("the answer is not a listing: {why}"));
    let text = std::str::from_utf8(xml).map_err(|error| malformed(error.to_string()))?;
    let listing = match quick_xml::de::from_str(text).map_err(|error| malformed(error.to_string()))? {
        Answer::Listing(listing) => listing,
        Answer::Error(error) => return Err(NoPage::Error(error)),
    };
    let next = listing.next_continuation_token.filter(|token| !token.is_empty());
    if listing.is_truncated && next.is_none() {
        return Err(malformed("more follows and it does not say where".to_owned()));
    }
    let is_encoded = listing.encoding_type.is_some_and(|word| word == "url");
    let decoded = |key: String| match is_encoded {
        true => percent_decode_str(&key.replace('+', " ")).collect(),
        false => key.into_bytes(),
    };
    let object = |object: Object| FoundObject {
        key: decoded(object.key),
        size: object.size,
        etag: object.etag.filter(|etag| !etag.is_empty()),
        modified: object.last_modified,
    };
    let objects = listing.contents.into_iter().map(object).collect();
    let prefixes = listing.common_prefixes.into_iter().map(|common| decoded(common.prefix)).collect();
    Ok(FolderPage { objects, prefixes, next: next.filter(|_| listing.is_truncated) })
}

/// The error in the body of an answer; empty when it holds none.
pub(crate) fn parse_error(xml: &str) -> ServerError {
    match quick_xml::de::from_str(xml) {
        Ok(Answer::Error(error)) => error,
        _ => ServerError::default(),
    }
}

/// What a code means where the status alone would be misread; the status decides about all others.
pub(crate) fn kind_of_code(code: &str) -> Option<FaultKind> {
    Some(match code {
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "ServiceUnavailable"
        | "InternalError"
        | "RequestTimeout"
        | "OperationAborted"
        | "ConditionalRequestConflict"
        | "TooManyRequests"
        | "Throttling"
        | "RequestLimitExceeded" => FaultKind::Failing,
        "ExpiredToken"
        | "InvalidToken"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "RequestTimeTooSkewed"
        | "AccessDenied"
        | "AllAccessDisabled"
        | "AccountProblem" => FaultKind::Denied,
        "QuotaExceeded" | "XMinioStorageFull" | "InsufficientCapacity" | "StorageFull" => FaultKind::Full,
        "NoSuchBucket" | "NoSuchKey" => FaultKind::NotFound,
        "XAmzContentSHA256Mismatch" | "BadDigest" => FaultKind::Damaged,
        "InvalidObjectState" => FaultKind::Cold,
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "InvalidBucketName"
        | "IllegalLocationConstraintException" => FaultKind::Misconfigured,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_page_is_read_with_its_encoding() {
        let xml = r#"<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>
            <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;1</NextContinuationToken>
            <Contents><Key>a+b%2Bc/keys/x</Key><Size>7</Size><ETag>&quot;e&quot;</ETag></Contents>
            <Contents><Key>%FF</Key><Size>1</Size></Contents></ListBucketResult>"#;
        let page = parse_page(xml.as_bytes()).unwrap();
        assert_eq!(page, Page { objects: vec![("a b+c/keys/x".into(), 7)], next: Some("t&1".into()) });
    }

    #[test]
    fn a_folder_has_objects_with_their_states_and_folders() {
        let xml = r#"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>
            <Contents><Key>a%FF</Key><LastModified>2026-11-22T04:03:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>7</Size></Contents>
            <CommonPrefixes><Prefix>b%2F</Prefix></CommonPrefixes><CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes></ListBucketResult>"#;
        let page = parse_folder_page(xml.as_bytes()).unwrap();
        assert_eq!(page.prefixes, [b"b/".to_vec(), b"c/".to_vec()]);
        assert_eq!((page.objects[0].key.as_slice(), page.objects[0].size), (&b"a\xff"[..], 7));
        assert_eq!(page.objects[0].etag.as_deref(), Some("\"e\""));
        assert_eq!(page.objects[0].modified.as_deref(), Some("2026-11-22T04:03:00.000Z"));
        assert!(parse_page(xml.as_bytes()).unwrap().objects.is_empty());
    }

    #[test]
    fn the_last_page_has_no_next() {
        let xml = "<ListBucketResult><IsTruncated>false</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
        assert_eq!(parse_page(xml.as_bytes()).unwrap(), Page { objects: vec![], next: None });
    }

    #[test]
    fn what_is_no_page_is_never_an_empty_one() {
        let error = parse_page(b"<Error><Code>InternalError</Code><Message>try again</Message></Error>");
        assert!(matches!(error, Err(NoPage::Error(ServerError { code, .. })) if code == "InternalError"));
        for xml in [
            "",
            "<html><body>welcome</body></html>",
            "<ListBucketResult></ListBucketResult>",
            "<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>",
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key>",
            "{\"IsTruncated\":false}",
        ] {
            assert!(matches!(parse_page(xml.as_bytes()), Err(NoPage::Malformed(_))), "{xml}");
        }
    }

    #[test]
    fn errors_are_read_and_the_rest_is_not() {
        let error =
            parse_error("<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><BucketName>b</BucketName></Error>");
        assert_eq!(error.code, "NoSuchKey");
        assert_eq!(parse_error("<html/>"), ServerError::default());
        assert_eq!(parse_error(""), ServerError::default());
    }
}
