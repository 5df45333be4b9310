//! What Azure says in XML, as pure functions: pages of listings and errors.
//!
//! A page counts only when it is one and says what follows it, were it with an empty word: Azure always does.

use model::FaultKind;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::bucket::Page;
use crate::xml_error::ServerError;

#[derive(Deserialize)]
enum Answer {
    #[serde(rename = "EnumerationResults")]
    Listing(Listing),
    Error(ServerError),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    blobs: Blobs,
    next_marker: String,
}

#[derive(Deserialize)]
struct Blobs {
    #[serde(rename = "Blob", default)]
    blobs: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: Name,
    properties: Properties,
}

/// A name that XML could not hold comes with escapes, and says so.
#[derive(Deserialize)]
struct Name {
    #[serde(rename = "@Encoded", default)]
    is_encoded: bool,
    #[serde(rename = "$text", default)]
    text: String,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "Content-Length")]
    content_length: u64,
}

fn text_of(xml: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(xml).map_err(|error| error.to_string())?;
    Ok(text.trim_start_matches('\u{feff}'))
}

/// Reads one page of an answer to `List Blobs`; what is wrong with it otherwise is said in words.
pub(crate) fn parse_page(xml: &[u8]) -> Result<Page, String> {
    let no_listing = |why: String| format!("the answer is not a listing: {why}");
    let text = text_of(xml).map_err(no_listing)?;
    let listing = match quick_xml::de::from_str(text).map_err(|error| no_listing(error.to_string()))? {
        Answer::Listing(listing) => listing,
        Answer::Error(error) => return Err(no_listing(error.code)),
    };
    let decoded = |name: Name| {
        if !name.is_encoded {
            return Some(name.text);
        }
        percent_decode_str(&name.text).decode_utf8().ok().map(|name| name.into_owned())
    };
    let known = |blob: Blob| Some((decoded(blob.name)?, blob.properties.content_length));
    let objects = listing.blobs.blobs.into_iter().filter_map(known).collect();
    Ok(Page { objects, next: Some(listing.next_marker).filter(|marker| !marker.is_empty()) })
}

/// The error in the body of an answer; empty when it holds none.
pub(crate) fn parse_error(xml: &str) -> ServerError {
    match quick_xml::de::from_str(xml.trim_start_matches('\u{feff}')) {
        Ok(Answer::Error(error)) => error,
        _ => ServerError::default(),
    }
}

/// What a code means where the status alone would be misread; the status decides about all others.
pub(crate) fn kind_of_code(code: &str) -> Option<FaultKind> {
    Some(match code {
        "ServerBusy" | "OperationTimedOut" | "InternalError" | "ContainerBeingDeleted" | "Md5Mismatch" => {
            FaultKind::Failing
        }
        "InvalidAuthenticationInfo"
        | "NoAuthenticationInformation"
        | "BlobImmutableDueToPolicy"
        | "BlobImmutableDueToLegalHold"
        | "LeaseIdMissing" => FaultKind::Denied,
        "InvalidResourceName" | "AccountRequiresHttps" | "FeatureVersionMismatch" | "ContainerDisabled" => {
            FaultKind::Misconfigured
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WHOLE: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://a/\" \
        ContainerName=\"c\"><Prefix>p/</Prefix><Blobs><Blob><Name>p/keys/a &amp; b</Name><Properties>\
        <Etag>0x8</Etag><Content-Length>7</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>\
        <Blob><Name Encoded=\"true\">p/keys/%EF%BF%BE</Name><Properties><Content-Length>1</Content-Length></Properties></Blob>\
        <Blob><Name Encoded=\"true\">%FF</Name><Properties><Content-Length>1</Content-Length></Properties></Blob>\
        </Blobs><NextMarker>m/1</NextMarker></EnumerationResults>";

    #[test]
    fn a_page_is_read_with_its_mark_and_its_escapes() {
        let page = parse_page(WHOLE.as_bytes()).unwrap();
        let objects = vec![("p/keys/a & b".to_owned(), 7), ("p/keys/\u{fffe}".to_owned(), 1)];
        assert_eq!(page, Page { objects, next: Some("m/1".to_owned()) });
        let last = "<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>";
        assert_eq!(parse_page(last.as_bytes()).unwrap(), Page { objects: vec![], next: None });
    }

    #[test]
    fn what_is_no_page_is_never_an_empty_one() {
        for xml in [
            "",
            "<html>welcome</html>",
            "<EnumerationResults/>",
            "<EnumerationResults><NextMarker/></EnumerationResults>",
            "<EnumerationResults><Blobs/></EnumerationResults>",
            "<Error><Code>InternalError</Code></Error>",
            &WHOLE.replace("<Content-Length>7</Content-Length>", ""),
            &WHOLE.replace("<Content-Length>7<", "<Content-Length>-7<"),
            &WHOLE.replace("<NextMarker>m/1</NextMarker>", ""),
            WHOLE.strip_suffix("</EnumerationResults>").unwrap(),
        ] {
            assert!(parse_page(xml.as_bytes()).is_err(), "{xml}");
        }
    }

    #[test]
    fn errors_are_read_and_the_rest_is_not() {
        let xml = "\u{feff}<?xml version=\"1.0\"?><Error><Code>BlobNotFound</Code><Message>gone</Message></Error>";
        assert_eq!(
            parse_error(xml),
            ServerError { code: "BlobNotFound".to_owned(), message: "gone".to_owned(), ..ServerError::default() }
        );
        assert_eq!(parse_error("<html/>"), ServerError::default());
    }
}
