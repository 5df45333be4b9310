//! Folders: what is in one, which are there, and making those that are missing.

use bytes::Bytes;
use format::FileKind;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use model::{Fault, FaultKind};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};

use super::answers::{self, Member};
use super::{FOLDERS_AT_ONCE, WebdavFolder};
use crate::http::{self, Matter};

/// A million entries of some hundred bytes.
const LISTING_LIMIT_BYTES: u64 = 512 << 20;
const DEPTH: HeaderName = HeaderName::from_static("depth");
/// What we want to know of an entry; everything would be much more.
const QUESTION: &[u8] = br#"<?xml version="1.0" encoding="utf-8"?>
<d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/><d:getcontentlength/><d:getlastmodified/></d:prop></d:propfind>"#;

/// What is in one folder.
pub(super) struct Listing {
    pub(super) members: Vec<Member>,
    /// The server's own idea of the time, in seconds since 1970.
    pub(super) now_seconds: Option<i64>,
}

impl WebdavFolder {
    /// What the server knows about `url` itself (`0`) or about it and what is in it (`1`).
    async fn properties(&self, matter: &Matter, url: Url, depth: &'static str) -> Result<Listing, Fault> {
        let (body, now_seconds) = self.multistatus(matter, url, depth, QUESTION).await?;
        let members = answers::parse_multistatus(&body)
            .map_err(|no_listing| self.http.fault(no_listing.kind, matter, no_listing.cause))?;
        Ok(Listing { members, now_seconds })
    }

    /// The whole answer to a question about properties, and the server's own idea of the time.
    pub(super) async fn multistatus(
        &self,
        matter: &Matter,
        url: Url,
        depth: &'static str,
        question: &'static [u8],
    ) -> Result<(Bytes, Option<i64>), Fault> {
        let ask = |request: &mut reqwest::Request| {
            request.headers_mut().insert(DEPTH, HeaderValue::from_static(depth));
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
            http::upload(request, Bytes::from_static(question));
        };
        let response = self.ask(matter, propfind(), url, ask).await?;
        let response = response.map_err(|refusal| self.refused(matter, &refusal))?;
        if response.status() != StatusCode::MULTI_STATUS {
            let cause = format!("the server answered {} to `PROPFIND`, which is no listing", response.status());
            return Err(self.http.fault(FaultKind::Damaged, matter, cause));
        }
        let date = response.headers().get(DATE).and_then(|value| value.to_str().ok());
        let now_seconds = date.and_then(answers::seconds_of);
        Ok((self.http.body(matter, response, LISTING_LIMIT_BYTES).await?, now_seconds))
    }

    /// What is in the folder at `path`, without itself.
    pub(super) async fn listing(&self, matter: &Matter, path: &str) -> Result<Listing, Fault> {
        self.listing_at(matter, self.url(matter, &format!("{path}/"))?).await
    }

    pub(super) async fn listing_at(&self, matter: &Matter, url: Url) -> Result<Listing, Fault> {
        let asked = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let asked = percent_encoding::percent_decode_str(asked).decode_utf8_lossy().into_owned();
        let mut listing = self.properties(matter, url, "1").await?;
        let damaged = |cause: String| self.http.fault(FaultKind::Damaged, matter, cause);
        // A whole answer about a folder begins with the folder; its own name may also be that of something in it.
        let itself = listing.members.iter().position(|member| member.is_folder && member.name == asked);
        let itself = itself.ok_or_else(|| damaged("the answer is not about the folder that was asked for".into()))?;
        listing.members.swap_remove(itself);
        match listing.members.iter().find(|member| member.folder != asked) {
            Some(stranger) => Err(damaged(format!("the answer shows `{}`, which is elsewhere", stranger.name))),
            None => Ok(listing),
        }
    }

    /// The size of the file at `path`.
    pub(super) async fn size(&self, matter: &Matter, path: &str) -> Result<u64, Fault> {
        let listing = self.properties(matter, self.url(matter, path)?, "0").await?;
        let damaged = |cause: &str| self.http.fault(FaultKind::Damaged, matter, cause);
        match listing.members.as_slice() {
            [member] if member.is_folder => Err(damaged("it is a folder")),
            [member] if !path.ends_with(&member.name) => Err(damaged("the answer is about another file")),
            [member] => member.size.ok_or_else(|| damaged("the server did not tell the size")),
            _ => Err(damaged("the answer is not about one file")),
        }
    }

    /// The folders `data/00` to `data/ff` that are there.
    pub(super) async fn pack_folders(&self, matter: &Matter) -> Result<Vec<String>, Fault> {
        let data = FileKind::Pack.folder();
        let is_two_digits =
            |name: &str| name.len() == 2 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let members = self.listing(matter, data).await?.members;
        let folders = members.into_iter().filter(|member| member.is_folder && is_two_digits(&member.name));
        Ok(folders.map(|member| format!("{data}/{}", member.name)).collect())
    }

    /// Makes every folder of the layout that is missing.
    pub(super) async fn create_layout(&self, matter: &Matter) -> Result<(), Fault> {
        for kind in FileKind::NAMED {
            self.make_folder(matter, self.url(matter, &format!("{}/", kind.folder()))?).await?;
        }
        let there = self.pack_folders(matter).await?;
        let all = (0..=u8::MAX).map(|first| format!("{}/{first:02x}", FileKind::Pack.folder()));
        stream::iter(all.filter(|path| !there.contains(path)))
            .map(|path| async move { self.make_folder(matter, self.url(matter, &format!("{path}/"))?).await })
            .buffer_unordered(FOLDERS_AT_ONCE)
            .try_collect()
            .await
    }

    /// Makes the folder at `url` and those above it that are missing.
    pub(super) async fn make_folder(&self, matter: &Matter, url: Url) -> Result<(), Fault> {
        let mut missing = vec![url];
        let mut was_forbidden = false;
        while let Some(url) = missing.last() {
            let refusal = match self.ask(matter, make_collection(), url.clone(), |_| {}).await? {
                Ok(_) => {
                    missing.pop();
                    continue;
                }
                Err(refusal) => refusal,
            };
            match refusal.status {
                // It is there.
                StatusCode::METHOD_NOT_ALLOWED => {
                    missing.pop();
                }
                // What Apache says when two make one folder at the same moment: the next answer is that it is there.
                StatusCode::FORBIDDEN if !was_forbidden => was_forbidden = true,
                // The one above it is not; servers differ in what they call that.
                StatusCode::CONFLICT | StatusCode::NOT_FOUND => match above(url) {
                    // One that was just made cannot be missing again: then it is something else.
                    Some(parent) if missing.len() <= DEEPEST_FOLDER => missing.push(parent),
                    _ => return Err(self.refused(matter, &refusal)),
                },
                _ => return Err(self.refused(matter, &refusal)),
            }
        }
        Ok(())
    }
}

/// No address has more folders; it ends the climbing whatever a server says.
const DEEPEST_FOLDER: usize = 64;

/// The folder that the folder at `url` is in; none above the top.
fn above(url: &Url) -> Option<Url> {
    url.join("../").ok().filter(|parent| parent != url && parent.path() != "/")
}

pub(super) fn make_collection() -> Method {
    extension(b"MKCOL")
}

pub(super) fn rename() -> Method {
    extension(b"MOVE")
}

fn propfind() -> Method {
    extension(b"PROPFIND")
}

fn extension(word: &[u8]) -> Method {
    // Never refused for a word of letters; a server would refuse the other one.
    Method::from_bytes(word).unwrap_or(Method::OPTIONS)
}
