//! Objects of a bucket that are no copy, to be read and nothing else: names read as paths, and objects with states.

use bytes::Bytes;
use model::{Fault, FaultKind};
use reqwest::Method;

use super::{Outgoing, S3Bucket, answers};
use crate::http::{Change, Matter, WebFacts, WebFile};
use crate::{Access, Limits, S3Location};

/// What makes a listing stop at the next slash.
const FOLDER_WISE: &str = "delimiter=%2F&";

/// A bucket or what is below a prefix, to be read.
#[derive(Debug)]
pub struct S3Reader(S3Bucket);

/// One page of what is in a folder.
#[derive(Debug)]
pub struct S3FolderPage {
    /// The objects.
    pub objects: Vec<S3Object>,
    /// What the keys behind a further slash begin with: whole, with the slash at the end.
    pub folders: Vec<Vec<u8>>,
    /// What [`S3Reader::page`] is asked with for the next page.
    pub next: Option<String>,
}

/// An object.
#[derive(Debug)]
pub struct S3Object {
    /// Its whole key.
    pub key: Vec<u8>,
    /// Its state.
    pub facts: WebFacts,
}

impl S3Reader {
    /// What is at `location`; nothing is asked yet.
    pub fn new(location: &S3Location, access: &Access, limits: &Limits) -> Result<Self, Fault> {
        S3Bucket::new(location, access, limits).map(Self)
    }

    /// What to call it, without secrets.
    pub fn place(&self) -> &str {
        self.0.http.place()
    }

    /// What all keys begin with: empty, or with a slash at the end.
    pub fn prefix(&self) -> &str {
        self.0.keys.prefix()
    }

    /// One page of the folder whose keys begin with `below`, from `token` on.
    ///
    /// # Errors
    /// When the page is not whole.
    pub async fn page(&self, below: &str, token: Option<&str>) -> Result<S3FolderPage, Fault> {
        let matter = Matter::new("list", below);
        let body = self.0.page_body(&matter, below, token, None, FOLDER_WISE).await?;
        let page = answers::parse_folder_page(&body).map_err(|no_page| self.0.no_page(&matter, no_page))?;
        if page.next.is_some() && page.next.as_deref() == token {
            return Err(self.0.http.fault(FaultKind::Damaged, &matter, "the listing does not go on"));
        }
        let object = |found: answers::FoundObject| S3Object {
            key: found.key,
            facts: WebFacts {
                size: Some(found.size),
                modified_seconds: found
                    .modified
                    .and_then(|text| text.parse::<jiff::Timestamp>().ok())
                    .map(|at| at.as_second()),
                etag: found.etag,
            },
        };
        let objects = page.objects.into_iter().map(object).collect();
        Ok(S3FolderPage { objects, folders: page.prefixes, next: page.next })
    }

    /// More pages than this no folder has.
    pub const PAGES_LIMIT: usize = crate::bucket::PAGES_LIMIT;

    /// An object from a byte on; behind the first one only while it is in the state `etag`, where that is known.
    ///
    /// # Errors
    /// [`FaultKind::Damaged`] when it is in another state, or has no such byte.
    pub async fn open(&self, key: &str, from: u64, etag: Option<&str>) -> Result<WebFile, Fault> {
        let matter = Matter::new("read", key);
        let ask = async |change: &Change<'_>| {
            // Only its headers are of interest.
            let mut wanted = crate::http::request(Method::GET, self.0.bucket.clone());
            change(&mut wanted);
            let outgoing = Outgoing { unsigned: std::mem::take(wanted.headers_mut()), ..Outgoing::default() };
            self.0.ask(&matter, Method::GET, key, outgoing).await
        };
        let refused = |refusal: &_| self.0.refused(&matter, refusal);
        self.0.http.open_from(&matter, from, etag, ask, refused).await
    }

    /// The next bytes of an object; none when it has ended.
    ///
    /// # Errors
    /// When it breaks off.
    pub async fn next(&self, file: &mut WebFile) -> Result<Option<Bytes>, Fault> {
        self.0.http.next_of(file).await
    }
}
