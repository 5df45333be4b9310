//! A tree of a WebDAV server as it is, to be read and nothing else: names are bytes, and files have states.

use bytes::Bytes;
use model::{Fault, FaultKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use reqwest::{Method, Url};

use super::WebdavFolder;
use super::answers::{self, Told};
use crate::http::{Change, Matter, WebFacts, WebFile};
use crate::{Access, Limits, WebdavLocation};

/// What needs no escape in a path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
const QUESTION: &[u8] = br#"<?xml version="1.0" encoding="utf-8"?>
<d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/><d:getcontentlength/><d:getlastmodified/><d:getetag/></d:prop></d:propfind>"#;

/// A folder of a WebDAV server, to be read.
#[derive(Debug)]
pub struct WebdavReader(WebdavFolder);

/// Something in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebdavEntry {
    /// Its name.
    pub name: Vec<u8>,
    /// Whether it is a folder itself.
    pub is_folder: bool,
    /// Its state.
    pub facts: WebFacts,
}

impl WebdavReader {
    /// The tree at `location`; nothing is asked yet.
    pub fn new(location: &WebdavLocation, access: &Access, limits: &Limits) -> Result<Self, Fault> {
        WebdavFolder::new(location, access, limits).map(Self)
    }

    /// What to call it, without secrets.
    pub fn place(&self) -> &str {
        self.0.http.place()
    }

    fn url(&self, matter: &Matter, inside: &[u8]) -> Result<Url, Fault> {
        let base = self.0.base.path();
        let mut url = self.0.base.clone();
        url.set_path(&format!("{base}{}", percent_encode(inside, IN_PATH)));
        let depth = inside.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).count();
        // What an address would resolve by itself is never asked for.
        if url.path().trim_end_matches('/').matches('/').count()
            == base.trim_end_matches('/').matches('/').count() + depth
        {
            return Ok(url);
        }
        Err(self.0.http.fault(FaultKind::Refused, matter, "the path cannot be written as an address"))
    }

    /// Everything in a folder.
    ///
    /// # Errors
    /// When there may be more than was told.
    pub async fn entries(&self, folder: &[u8]) -> Result<Vec<WebdavEntry>, Fault> {
        let matter = Matter::new("list", String::from_utf8_lossy(folder));
        let slash: &[u8] = if folder.is_empty() { b"" } else { b"/" };
        let url = self.url(&matter, &[folder, slash].concat())?;
        let asked = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        let (body, _) = self.0.multistatus(&matter, url, "1", QUESTION).await?;
        let told = answers::parse_entries(&body)
            .map_err(|no_listing| self.0.http.fault(no_listing.kind, &matter, no_listing.cause))?;
        let asked: Vec<u8> = percent_encoding::percent_decode_str(&asked).collect();
        let inside = inside_of(told, &asked).map_err(|why| self.0.http.fault(FaultKind::Damaged, &matter, why))?;
        Ok(inside)
    }

    /// The state of a file.
    ///
    /// # Errors
    /// When it is not there, or the server does not tell.
    pub async fn facts(&self, inside: &[u8]) -> Result<WebFacts, Fault> {
        let matter = Matter::new("stat", String::from_utf8_lossy(inside));
        let response = self.0.ask_plainly(&matter, Method::HEAD, self.url(&matter, inside)?).await?;
        Ok(WebFacts::of(response.headers(), crate::http::announced_length(response.headers())))
    }

    /// A file from a byte on; behind the first one only while it is in the state `etag`, where that is known.
    ///
    /// # Errors
    /// [`FaultKind::Damaged`] when it is in another state, or has no such byte.
    pub async fn open(&self, inside: &[u8], from: u64, etag: Option<&str>) -> Result<WebFile, Fault> {
        let matter = Matter::new("read", String::from_utf8_lossy(inside));
        let url = self.url(&matter, inside)?;
        let ask = async |change: &Change<'_>| self.0.ask(&matter, Method::GET, url, change).await;
        let refused = |refusal: &_| self.0.refused(&matter, refusal);
        self.0.http.open_from(&matter, from, etag, ask, refused).await
    }

    /// The next bytes of a file; none when it has ended.
    ///
    /// # Errors
    /// When it breaks off.
    pub async fn next(&self, file: &mut WebFile) -> Result<Option<Bytes>, Fault> {
        self.0.http.next_of(file).await
    }
}

/// What is in the folder `asked`, of a whole answer about it: the folder itself, and what is one name deeper.
fn inside_of(told: Vec<Told>, asked: &[u8]) -> Result<Vec<WebdavEntry>, String> {
    let itself = told.iter().enumerate().min_by_key(|(_, told)| told.names.len()).map(|(at, _)| at);
    let not_it = || "the answer is not about the folder that was asked for".to_owned();
    let mut told = told;
    let itself = told.swap_remove(itself.ok_or_else(not_it)?);
    if !itself.is_folder || itself.names.last().map_or(&b""[..], Vec::as_slice) != asked {
        return Err(not_it());
    }
    let entry = |told: Told| match told.names.split_last() {
        Some((name, above)) if above == itself.names => Ok(WebdavEntry {
            name: name.clone(),
            is_folder: told.is_folder,
            facts: WebFacts { size: told.size, modified_seconds: told.modified_seconds, etag: told.etag },
        }),
        _ => {
            let name = told.names.last().map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
            Err(format!("the answer shows `{name}`, which is elsewhere"))
        }
    };
    told.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(path: &str, is_folder: bool) -> Told {
        let names = path.split('/').filter(|name| !name.is_empty()).map(|name| name.as_bytes().to_vec()).collect();
        Told { names, is_folder, size: Some(1), modified_seconds: None, etag: None }
    }

    #[test]
    fn a_folder_and_what_is_in_it_are_told_apart_also_when_their_names_are_one() {
        let names = |told: Vec<Told>, asked: &str| {
            inside_of(told, asked.as_bytes()).map(|entries| {
                entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect::<Vec<_>>()
            })
        };
        assert_eq!(names(vec![told("x/a/a", true), told("x/a", true)], "a").unwrap(), ["a"]);
        assert_eq!(names(vec![told("", true), told("a", false)], "").unwrap(), ["a"]);
        for wrong in
            [vec![], vec![told("x/b", true)], vec![told("x/a", false)], vec![told("x/a", true), told("x/b/c", true)]]
        {
            assert!(names(wrong, "a").is_err());
        }
    }
}
