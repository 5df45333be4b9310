//! A folder in a Dropbox, over Dropbox's own HTTP interface, version 2.
//!
//! An upload is atomic there, its content hash goes with it and comes back with the answer, and a conflict is decided by
//! the server; so a file is uploaded under its name at once. Names are compared without regard to case: ours have only
//! small letters. A listing is a chain of pages that may also tell of removals meanwhile, and may have to begin again.

mod answers;
mod upload;

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use model::{Fault, FaultKind, Id};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::{Value, json};

use self::answers::{Entry, Page};
use crate::http::{self, HttpClient, Matter, Refusal};
use crate::oauth::{self, Tokens};
use crate::{Access, Destination, DropboxLocation, Limits, Listed, Span};

const API: &str = "https://api.dropboxapi.com/";
const CONTENT: &str = "https://content.dropboxapi.com/";
/// The most that Dropbox promises for one page.
const ENTRIES_OF_A_PAGE: u64 = 2_000;
const PAGE_LIMIT_BYTES: u64 = 64 << 20;
/// A hundred million files: more than any copy has, so that a server cannot keep us turning pages for ever.
const PAGES_LIMIT: usize = 100_000;
/// How often a listing that was told to begin again does so.
const LISTING_ATTEMPTS: usize = 4;
/// Where the question of a request with a body of bytes goes, and the answer of one that gives bytes.
const QUESTION: HeaderName = HeaderName::from_static("dropbox-api-arg");

/// A copy in a Dropbox.
#[derive(Debug)]
pub struct DropboxFolder {
    http: HttpClient,
    api: Url,
    content: Url,
    /// What precedes our names: empty, or with a slash at the beginning.
    root: String,
    tokens: Tokens,
}

/// What became of one pass over a listing.
enum Pass {
    Complete(BTreeMap<Id, u64>),
    BeginAgain,
}

impl DropboxFolder {
    /// The copy at `location`; nothing is asked yet.
    pub fn new(location: &DropboxLocation, access: &Access, limits: &Limits) -> Result<Self, Fault> {
        let place = location.to_string();
        let misconfigured = |cause: String| Fault::new(FaultKind::Misconfigured, "use", "", &place, cause);
        let dropbox = &access.dropbox;
        let (Some(app_key), Some(refresh_token)) = (&dropbox.app_key, &dropbox.refresh_token) else {
            let cause = "the key of an application and a refresh token for it are needed: \
                         `TRIPLICATE_DROPBOX_APP_KEY` and `TRIPLICATE_DROPBOX_REFRESH_TOKEN`";
            return Err(misconfigured(cause.to_owned()));
        };
        let parsed = |text: &Option<String>, usual: &str| {
            let text = text.as_deref().unwrap_or(usual);
            Url::parse(text).map_err(|error| misconfigured(format!("`{text}` is no address of Dropbox: {error}")))
        };
        let api = parsed(&dropbox.api_url, API)?;
        let url = api.join("oauth2/token").map_err(|error| misconfigured(error.to_string()))?;
        let (id, secret, token) = (app_key.clone(), dropbox.app_secret.clone(), refresh_token.clone());
        let tokens = Tokens::fetched(url, move || Ok(oauth::renewal(&id, secret.as_ref(), &token)));
        Ok(Self {
            http: HttpClient::new(place.clone(), &access.tls, limits.connections)?,
            content: parsed(&dropbox.content_url, CONTENT)?,
            api,
            root: location.path.clone(),
            tokens,
        })
    }

    fn path(&self, name: FileName) -> String {
        format!("{}/{}", self.root, name.path())
    }

    async fn ask(
        &self,
        matter: &Matter,
        base: &Url,
        route: &str,
        change: impl Fn(&mut reqwest::Request),
    ) -> Result<Result<Response, Refusal>, Fault> {
        let url = base.join(route).map_err(|error| self.http.fault(FaultKind::Misconfigured, matter, error))?;
        let request = || {
            let mut request = http::request(Method::POST, url.clone());
            change(&mut request);
            request
        };
        self.tokens.ask(&self.http, matter, request).await
    }

    /// A request whose question and answer are JSON.
    async fn ask_json(&self, matter: &Matter, route: &str, question: &Value) -> Result<Result<Bytes, Refusal>, Fault> {
        let question = Bytes::from(question.to_string());
        let change = |request: &mut reqwest::Request| {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            http::upload(request, question.clone());
        };
        match self.ask(matter, &self.api, route, change).await? {
            Ok(response) => Ok(Ok(self.http.body(matter, response, PAGE_LIMIT_BYTES).await?)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// A request with its question in a header.
    async fn ask_content(
        &self,
        matter: &Matter,
        route: &str,
        question: &Value,
        change: impl Fn(&mut reqwest::Request),
    ) -> Result<Result<Response, Refusal>, Fault> {
        let question = HeaderValue::from_str(&header_json(question))
            .map_err(|error| self.http.fault(FaultKind::Misconfigured, matter, error))?;
        self.ask(matter, &self.content, route, |request| {
            request.headers_mut().insert(QUESTION, question.clone());
            change(request);
        })
        .await
    }

    /// The fault that a refusal is, by Dropbox's word first and its status second.
    fn refused(&self, matter: &Matter, refusal: &Refusal) -> Fault {
        let error = answers::parse_error(&refusal.body);
        let mut fault = self.http.refused(matter, refusal);
        if !error.tags.is_empty() {
            if let Some(kind) = error.kind() {
                fault.kind = kind;
            }
            fault.cause = format!("Dropbox answered {} `{}`", refusal.status.as_u16(), error.words());
        }
        fault
    }

    fn parsed<T: serde::de::DeserializeOwned>(&self, matter: &Matter, body: &[u8]) -> Result<T, Fault> {
        serde_json::from_slice(body)
            .map_err(|error| self.http.fault(FaultKind::Damaged, matter, format!("the answer is another: {error}")))
    }

    async fn page(&self, matter: &Matter, cursor: Option<&str>, path: &str) -> Result<Result<Page, Refusal>, Fault> {
        let answer = match cursor {
            Some(cursor) => self.ask_json(matter, "2/files/list_folder/continue", &json!({ "cursor": cursor })).await?,
            None => {
                let question = json!({ "path": path, "recursive": true, "limit": ENTRIES_OF_A_PAGE });
                self.ask_json(matter, "2/files/list_folder", &question).await?
            }
        };
        match answer {
            Ok(body) => Ok(Ok(self.parsed(matter, &body)?)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    async fn list_once(&self, matter: &Matter, kind: FileKind) -> Result<Pass, Fault> {
        let damaged = |cause: &str| self.http.fault(FaultKind::Damaged, matter, cause);
        let path = format!("{}/{}", self.root, kind.folder());
        let mut found = BTreeMap::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_LIMIT {
            let page = match self.page(matter, cursor.as_deref(), &path).await? {
                Ok(page) => page,
                Err(refusal) if cursor.is_some() && answers::parse_error(&refusal.body).is("reset") => {
                    return Ok(Pass::BeginAgain);
                }
                Err(refusal) => return Err(self.refused(matter, &refusal)),
            };
            for entry in page.entries {
                match entry {
                    Entry::File(file) => {
                        if let Some(id) = self.id_of(kind, &file.path_lower) {
                            found.insert(id, file.size);
                        }
                    }
                    Entry::Folder {} => {}
                    Entry::Deleted { path_lower } => match self.id_of(kind, &path_lower) {
                        Some(id) => {
                            found.remove(&id);
                        }
                        // A whole folder may have gone, of which some files were listed.
                        None => return Ok(Pass::BeginAgain),
                    },
                }
            }
            if !page.has_more {
                return Ok(Pass::Complete(found));
            }
            if page.cursor.is_empty() {
                return Err(damaged("more follows and it does not say where"));
            }
            cursor = Some(page.cursor);
        }
        Err(damaged("the listing does not end"))
    }

    /// The id that a path stands for, when it is the path that we would use for it. The part above ours is Dropbox's to
    /// spell: it writes names in small letters of its own.
    fn id_of(&self, kind: FileKind, path_lower: &str) -> Option<Id> {
        let id: Id = path_lower.rsplit('/').next()?.parse().ok()?;
        let ours = self.path(FileName::new(kind, id));
        let is_as_deep = path_lower.matches('/').count() == ours.matches('/').count();
        (is_as_deep && path_lower.ends_with(&ours[self.root.len()..])).then_some(id)
    }
}

#[async_trait]
impl Destination for DropboxFolder {
    fn place(&self) -> &str {
        self.http.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        let matter = Matter::new("create", "");
        for kind in FileKind::NAMED {
            let path = format!("{}/{}", self.root, kind.folder());
            match self.ask_json(&matter, "2/files/create_folder_v2", &json!({ "path": path })).await? {
                Ok(_) => {}
                Err(refusal) => {
                    let error = answers::parse_error(&refusal.body);
                    if !(error.is("conflict") && error.is("folder")) {
                        return Err(self.refused(&matter, &refusal));
                    }
                }
            }
        }
        Ok(())
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        let matter = Matter::new("list", kind.folder());
        if kind == FileKind::Config {
            return Err(self.http.fault(FaultKind::Refused, &matter, "the config file has no folder to list"));
        }
        for _ in 0..LISTING_ATTEMPTS {
            if let Pass::Complete(found) = self.list_once(&matter, kind).await? {
                return Ok(found.into_iter().map(|(id, size)| Listed { id, size }).collect());
            }
        }
        Err(self.http.fault(FaultKind::Failing, &matter, "Dropbox lets the listing begin again and again"))
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        let matter = Matter::new("stat", name.path());
        let question = json!({ "path": self.path(name) });
        let answer = self.ask_json(&matter, "2/files/get_metadata", &question).await?;
        let body = answer.map_err(|refusal| self.refused(&matter, &refusal))?;
        match self.parsed(&matter, &body)? {
            Entry::File(file) => Ok(file.size),
            Entry::Folder {} => Err(self.http.fault(FaultKind::Damaged, &matter, "it is a folder")),
            Entry::Deleted { .. } => Err(self.http.fault(FaultKind::NotFound, &matter, "it was deleted")),
        }
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        let matter = Matter::new("read", name.path());
        let question = json!({ "path": self.path(name) });
        let refused = |refusal: &Refusal| self.refused(&matter, refusal);
        let ask = |range: Option<HeaderValue>| {
            let change = move |request: &mut reqwest::Request| {
                http::upload(request, Bytes::new());
                http::with_range(request, range.clone());
            };
            self.ask_content(&matter, "2/files/download", &question, change)
        };
        http::read(&self.http, &matter, span, refused, ask).await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let matter = Matter::new("write", name.path());
        match name.kind() {
            FileKind::Config => self.write_config(&matter, &bytes).await,
            _ => self.upload(&matter, name, &bytes).await?.map_err(|refusal| self.refused(&matter, &refusal)),
        }
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        let matter = Matter::new("remove", name.path());
        let question = json!({ "path": self.path(name) });
        match self.ask_json(&matter, "2/files/delete_v2", &question).await? {
            Ok(_) => Ok(()),
            Err(refusal) => match self.refused(&matter, &refusal) {
                fault if fault.kind == FaultKind::NotFound && refusal.status == StatusCode::CONFLICT => Ok(()),
                fault => Err(fault),
            },
        }
    }
}

/// JSON that a header can hold: everything but ASCII is written as escapes, as Dropbox asks for it.
fn header_json(value: &Value) -> String {
    let mut text = String::new();
    for character in value.to_string().chars() {
        if character.is_ascii() && character != '\x7f' {
            text.push(character);
            continue;
        }
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_in_a_header_is_ascii_and_still_the_same() {
        let question = json!({ "path": "/Bäckup \u{1f980}\u{7f}/\"x\"" });
        let text = header_json(&question);
        assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(question));
    }
}
