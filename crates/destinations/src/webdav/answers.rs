//! What a WebDAV server says in XML, as pure functions: multi-status answers and errors (RFC 4918).
//!
//! An answer counts only when it is whole and says of everything in it how that went: a server that could not look at
//! an entry, or that stopped at a limit, has not given a shorter listing. Prefixes of names are the server's choice,
//! and so is whether it writes addresses with or without a host, behind a prefix of its own.

use model::FaultKind;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// One thing that a server knows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// The name of the folder that it is in; empty at the top.
    pub(crate) folder: String,
    /// Its own name.
    pub(crate) name: String,
    /// Whether it is a folder itself.
    pub(crate) is_folder: bool,
    /// Its size in bytes, when the server told one.
    pub(crate) size: Option<u64>,
    /// When it was last changed, by the server's clock, in seconds since 1970.
    pub(crate) modified_seconds: Option<i64>,
}

/// One thing in an answer, with its whole address and all that was asked about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The names that its address is made of, from the top of the server on, as bytes.
    pub(crate) names: Vec<Vec<u8>>,
    pub(crate) is_folder: bool,
    pub(crate) size: Option<u64>,
    pub(crate) modified_seconds: Option<i64>,
    /// What the server calls this state of it, with its quotes.
    pub(crate) etag: Option<String>,
}

/// Why an answer is no listing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoListing {
    pub(crate) kind: FaultKind,
    pub(crate) cause: String,
}

#[derive(Deserialize)]
enum Answer {
    #[serde(rename = "multistatus")]
    Multistatus(Multistatus),
}

#[derive(Deserialize)]
struct Multistatus {
    #[serde(default)]
    response: Vec<Response>,
}

#[derive(Deserialize)]
struct Response {
    href: String,
    status: Option<String>,
    #[serde(default)]
    propstat: Vec<Propstat>,
}

#[derive(Deserialize)]
struct Propstat {
    prop: Properties,
    status: String,
}

#[derive(Deserialize)]
struct Properties {
    resourcetype: Option<ResourceType>,
    getcontentlength: Option<String>,
    getlastmodified: Option<String>,
    getetag: Option<String>,
}

#[derive(Deserialize)]
struct ResourceType {
    collection: Option<IgnoredAny>,
}

/// Reads the answer to a `PROPFIND`. An entry that the server itself says is gone is left out.
pub(crate) fn parse_multistatus(xml: &[u8]) -> Result<Vec<Member>, NoListing> {
    parse_entries(xml)?.into_iter().map(member).collect()
}

/// The same with whole addresses, whose names may be no text.
pub(crate) fn parse_entries(xml: &[u8]) -> Result<Vec<Told>, NoListing> {
    let text = std::str::from_utf8(xml).map_err(malformed)?;
    let Answer::Multistatus(answer) = quick_xml::de::from_str(text).map_err(malformed)?;
    answer.response.into_iter().filter_map(|response| told(response).transpose()).collect()
}

fn malformed(why: impl std::fmt::Display) -> NoListing {
    NoListing { kind: FaultKind::Damaged, cause: format!("the answer is not a listing: {why}") }
}

fn member(told: Told) -> Result<Member, NoListing> {
    let mut names = told.names.into_iter().rev().map(String::from_utf8);
    let mut next = || names.next().unwrap_or(Ok(String::new())).map_err(|_| malformed("an address in it is none"));
    let (name, folder) = (next()?, next()?);
    Ok(Member { folder, name, is_folder: told.is_folder, size: told.size, modified_seconds: told.modified_seconds })
}

fn told(response: Response) -> Result<Option<Told>, NoListing> {
    if let Some(status) = &response.status {
        return match code(status)? {
            404 | 410 => Ok(None),
            _ => Err(not_told(&response.href, status)),
        };
    }
    // A server lists what it has under one status and what it lacks under others.
    let mut found = None;
    for part in response.propstat {
        match code(&part.status)? {
            200 if found.is_none() => found = Some(part.prop),
            200 => return Err(malformed(format!("`{}` has two answers", fit_to_show(&response.href)))),
            404 => {}
            _ => return Err(not_told(&response.href, &part.status)),
        }
    }
    let resource_type = found.as_ref().and_then(|found| found.resourcetype.as_ref());
    let (Some(found), Some(resource_type)) = (&found, resource_type) else {
        return Err(malformed(format!("it does not say what `{}` is", fit_to_show(&response.href))));
    };
    let size = match found.getcontentlength.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| malformed(format!("`{}` is no size", fit_to_show(text))))?),
    };
    Ok(Some(Told {
        names: names_of(&response.href),
        is_folder: resource_type.collection.is_some(),
        size,
        modified_seconds: found.getlastmodified.as_deref().and_then(seconds_of),
        etag: found.getetag.as_deref().map(str::trim).filter(|etag| !etag.is_empty()).map(str::to_owned),
    }))
}

fn not_told(href: &str, status: &str) -> NoListing {
    let kind = match code(status) {
        Ok(401 | 403) => FaultKind::Denied,
        Ok(408 | 423 | 429 | 500..=599) => FaultKind::Failing,
        _ => FaultKind::Damaged,
    };
    let cause = format!("the server says `{}` about `{}`", fit_to_show(status.trim()), fit_to_show(href));
    NoListing { kind, cause }
}

/// The number in `HTTP/1.1 200 OK`.
fn code(status: &str) -> Result<u16, NoListing> {
    let number = status.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    number.ok_or_else(|| malformed(format!("`{}` is no status", fit_to_show(status))))
}

/// The names in an address; none at the top.
fn names_of(href: &str) -> Vec<Vec<u8>> {
    let path = match href.trim().split_once("://") {
        Some((_, after)) => after.find('/').map_or("", |slash| &after[slash..]),
        None => href.trim(),
    };
    let path = path.strip_prefix('/').unwrap_or(path).trim_end_matches('/');
    match path {
        "" => Vec::new(),
        _ => path.split('/').map(|name| percent_decode_str(name).collect()).collect(),
    }
}

/// A moment as HTTP writes it, in seconds since 1970.
pub(crate) fn seconds_of(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text.trim()).ok().map(|moment| moment.timestamp().as_second())
}

/// The words for people in an error of sabre/dav or Nextcloud; empty when there are none.
pub(crate) fn parse_error(xml: &str) -> String {
    #[derive(Deserialize)]
    enum Body {
        #[serde(rename = "error")]
        Error(Error),
    }
    #[derive(Deserialize)]
    struct Error {
        message: Option<String>,
    }
    match quick_xml::de::from_str(xml) {
        Ok(Body::Error(error)) => fit_to_show(error.message.as_deref().unwrap_or_default().trim()),
        Err(_) => String::new(),
    }
}

/// A server's words, short and on one line.
fn fit_to_show(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MOD_DAV: &str = r#"<?xml version="1.0" encoding="utf-8"?>
        <D:multistatus xmlns:D="DAV:" xmlns:ns0="DAV:">
        <D:response xmlns:lp1="DAV:" xmlns:lp2="http://apache.org/dav/props/"><D:href>/pre/keys/</D:href>
        <D:propstat><D:prop><lp1:resourcetype><D:collection/></lp1:resourcetype></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>
        <D:propstat><D:prop><D:getcontentlength/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>
        <D:response xmlns:lp1="DAV:"><D:href>/pre/keys/a%20b</D:href><D:propstat><D:prop><lp1:resourcetype/>
        <lp1:getcontentlength>17</lp1:getcontentlength><lp1:getlastmodified>Thu, 01 Jan 1970 00:01:00 GMT</lp1:getlastmodified>
        </D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"#;

    fn member(folder: &str, name: &str, size: Option<u64>, modified_seconds: Option<i64>) -> Member {
        Member { folder: folder.into(), name: name.into(), is_folder: size.is_none(), size, modified_seconds }
    }

    #[test]
    fn folders_and_files_are_told_apart_whatever_the_prefixes() {
        let expected = [member("pre", "keys", None, None), member("keys", "a b", Some(17), Some(60))];
        assert_eq!(parse_multistatus(MOD_DAV.as_bytes()).unwrap(), expected);
        let without_prefix = MOD_DAV.replace("D:", "").replace("lp1:", "").replace("xmlns:lp2", "xmlns:D");
        assert_eq!(parse_multistatus(without_prefix.as_bytes()).unwrap(), expected);
        let elsewhere = MOD_DAV.replace("/pre/keys", "https://other.example:81/x/y/pre/keys");
        assert_eq!(parse_multistatus(elsewhere.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn every_cut_of_an_answer_is_seen() {
        // The bytes after the last `>` that matters cannot be missed.
        for length in 0..MOD_DAV.len() - 1 {
            assert!(parse_multistatus(&MOD_DAV.as_bytes()[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn what_is_no_listing_is_never_an_empty_one() {
        for xml in [
            "",
            "<html><body>welcome</body></html>",
            "<error xmlns=\"DAV:\"/>",
            &MOD_DAV.replace(">17<", ">many<"),
            &MOD_DAV.replace(">17<", ">-17<"),
            &MOD_DAV.replace("<lp1:resourcetype/>", ""),
            &MOD_DAV.replace("HTTP/1.1 200 OK", "fine"),
            &MOD_DAV.replace("<D:href>/pre/keys/a%20b</D:href>", ""),
            &MOD_DAV.replace("a%20b", "a%FFb"),
        ] {
            let no_listing = parse_multistatus(xml.as_bytes()).unwrap_err();
            assert_eq!(no_listing.kind, FaultKind::Damaged, "{xml}");
        }
        let empty = parse_multistatus(b"<d:multistatus xmlns:d=\"DAV:\"/>");
        assert_eq!(empty.unwrap(), [], "whether it is the right folder is for the caller to see");
    }

    #[test]
    fn an_entry_that_could_not_be_looked_at_spoils_the_listing_and_one_that_is_gone_does_not() {
        let entry = |status: &str| {
            let more =
                format!("<D:response><D:href>/pre/keys/x</D:href><D:status>HTTP/1.1 {status}</D:status></D:response>");
            parse_multistatus(MOD_DAV.replace("</D:multistatus>", &format!("{more}</D:multistatus>")).as_bytes())
        };
        assert_eq!(entry("404 Not Found").unwrap().len(), 2);
        assert_eq!(entry("403 Forbidden").unwrap_err().kind, FaultKind::Denied);
        assert_eq!(entry("500 Internal Server Error").unwrap_err().kind, FaultKind::Failing);
        // What a server says when there is more than it wants to tell (RFC 5323).
        let limit = entry("507 Insufficient Storage").unwrap_err();
        assert!(limit.cause.contains("507"), "{}", limit.cause);
        let hidden = MOD_DAV.replace("404 Not Found", "403 Forbidden");
        assert_eq!(parse_multistatus(hidden.as_bytes()).unwrap_err().kind, FaultKind::Denied);
    }

    #[test]
    fn errors_are_read_and_the_rest_is_not() {
        let xml = r#"<?xml version="1.0"?><d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns">
            <s:exception>Sabre\DAV\Exception\Locked</s:exception><s:message>it is
 locked</s:message></d:error>"#;
        assert_eq!(parse_error(xml), "it is locked");
        assert_eq!(parse_error("<html/>"), "");
        assert_eq!(parse_error(""), "");
    }
}
