//! A folder of a server that speaks WebDAV (RFC 4918), laid out as a local copy is: Nextcloud, ownCloud, Apache, and
//! whatever else has the protocol.
//!
//! The protocol promises little, so nothing is taken on trust. A file goes up under a name that no listing shows, its
//! size is asked for, and only then it gets its name by `MOVE`; where that name is taken, the stored bytes are fetched
//! and only when they hash to the name has the upload succeeded. A listing counts when it is a whole multi-status
//! answer about the folder that was asked for. Whether a stored file survives a power cut only the server can know.

mod answers;
mod folders;
mod foreign;
mod nextcloud;
mod upload;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use model::{ExposeSecret as _, Fault, FaultKind, Id};
use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};

pub use self::foreign::{WebdavEntry, WebdavReader};
use self::nextcloud::UploadsFolder;
use crate::http::{self, HttpClient, Matter, Refusal};
use crate::{Access, Destination, Limits, Listed, Span, WebdavLocation};

/// How many folders are looked at or made at one time.
const FOLDERS_AT_ONCE: usize = 8;
/// How many leftovers are removed after one write or removal; more wait for the next.
const LEFTOVERS_AT_ONCE: usize = 16;

/// A copy on a WebDAV server.
#[derive(Debug)]
pub struct WebdavFolder {
    http: HttpClient,
    /// The folder of the copy, with a slash at the end.
    base: Url,
    authorization: Option<HeaderValue>,
    /// Where Nextcloud takes large files in parts.
    uploads: Option<UploadsFolder>,
    /// Whether the server wants to be told the target of a move without its host.
    tells_target_by_path: AtomicBool,
    /// Temporary files of processes that are gone, seen in listings; they go with the next change.
    leftovers: Mutex<BTreeSet<String>>,
}

impl WebdavFolder {
    /// The copy at `location`; nothing is asked yet.
    pub fn new(location: &WebdavLocation, access: &Access, limits: &Limits) -> Result<Self, Fault> {
        let place = location.to_string();
        let misconfigured = |cause: String| Fault::new(FaultKind::Misconfigured, "use", "", &place, cause);
        let authorization = match &access.webdav.bearer_token {
            Some(token) if location.username.is_none() && location.password.is_none() => {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
                    .map_err(|_| misconfigured("the token cannot be sent".to_owned()))?;
                value.set_sensitive(true);
                Some(value)
            }
            _ => {
                let username = location.username.as_ref().or(access.webdav.username.as_ref());
                let password = location.password.as_ref().or(access.webdav.password.as_ref());
                http::basic_authorization(username, password).map_err(misconfigured)?
            }
        };
        Ok(Self {
            http: HttpClient::new(place, &access.tls, limits.connections)?,
            uploads: UploadsFolder::of(&location.base),
            base: location.base.clone(),
            authorization,
            tells_target_by_path: AtomicBool::new(false),
            leftovers: Mutex::default(),
        })
    }

    fn url(&self, matter: &Matter, path: &str) -> Result<Url, Fault> {
        self.base.join(path).map_err(|error| self.http.fault(FaultKind::Misconfigured, matter, error))
    }

    async fn ask(
        &self,
        matter: &Matter,
        method: Method,
        url: Url,
        change: impl FnOnce(&mut reqwest::Request),
    ) -> Result<Result<Response, Refusal>, Fault> {
        let mut request = http::request(method, url);
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        change(&mut request);
        self.http.ask(matter, request).await
    }

    async fn ask_plainly(&self, matter: &Matter, method: Method, url: Url) -> Result<Response, Fault> {
        self.ask(matter, method, url, |_| {}).await?.map_err(|refusal| self.refused(matter, &refusal))
    }

    /// The fault that a refusal is, with what only this protocol says.
    fn refused(&self, matter: &Matter, refusal: &Refusal) -> Fault {
        let mut fault = self.http.refused(matter, refusal);
        let mut add = |words: &str| fault.cause = format!("{}: {words}", fault.cause);
        let reason = answers::parse_error(&refusal.body);
        if !reason.is_empty() {
            add(&reason);
        }
        match refusal.status {
            StatusCode::LOCKED => {
                add("another program has locked it");
                fault.kind = FaultKind::Failing;
            }
            StatusCode::PAYLOAD_TOO_LARGE => add("the server, or a proxy before it, takes no file as large as this"),
            StatusCode::UNAUTHORIZED => {
                let asks = refusal.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
                let asks = asks.map(str::to_ascii_lowercase).unwrap_or_default();
                if asks.starts_with("digest") || asks.starts_with("negotiate") || asks.starts_with("ntlm") {
                    add("it asks for a kind of login that is not spoken; `Basic` and `Bearer` are");
                }
            }
            _ => {}
        }
        fault
    }

    /// The files in one folder that are ours. Other people's, and half uploads, are left out.
    async fn list_folder(&self, matter: &Matter, kind: FileKind, path: &str) -> Result<Vec<Listed>, Fault> {
        let mut found = Vec::new();
        let listing = self.listing(matter, path).await?;
        for member in listing.members.into_iter().filter(|member| !member.is_folder) {
            let path = format!("{path}/{}", member.name);
            let id = member.name.parse::<Id>().ok().filter(|id| FileName::new(kind, *id).path() == path);
            match (id, member.size) {
                (Some(id), Some(size)) => found.push(Listed { id, size }),
                (Some(_), None) => {
                    return Err(self.http.fault(FaultKind::Damaged, matter, format!("`{path}` has no size")));
                }
                (None, _) if upload::is_leftover(&member, listing.now_seconds) => {
                    self.leftovers.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
                }
                (None, _) => {}
            }
        }
        Ok(found)
    }

    /// Removes some of what the listings have found. A courtesy: nobody waits for it to succeed.
    async fn sweep_leftovers(&self) {
        let some: Vec<String> = {
            let mut leftovers = self.leftovers.lock().unwrap_or_else(PoisonError::into_inner);
            std::iter::from_fn(|| leftovers.pop_first()).take(LEFTOVERS_AT_ONCE).collect()
        };
        for path in some {
            let _ = self.delete(&Matter::new("remove", path.clone()), &path).await;
        }
    }

    async fn delete(&self, matter: &Matter, path: &str) -> Result<(), Fault> {
        match self.ask_plainly(matter, Method::DELETE, self.url(matter, path)?).await {
            // Some of it stayed, or will go at another time.
            Ok(response) if matches!(response.status(), StatusCode::MULTI_STATUS | StatusCode::ACCEPTED) => {
                let cause = format!("the server answered {}", response.status());
                Err(self.http.fault(FaultKind::Failing, matter, cause))
            }
            Ok(_) => Ok(()),
            Err(fault) if fault.kind == FaultKind::NotFound => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

#[async_trait]
impl Destination for WebdavFolder {
    fn place(&self) -> &str {
        self.http.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        self.create_layout(&Matter::new("create", "")).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        let matter = Matter::new("list", kind.folder());
        let mut found = match kind {
            FileKind::Config => {
                return Err(self.http.fault(FaultKind::Refused, &matter, "the config file has no folder to list"));
            }
            FileKind::Pack => {
                let folders = self.pack_folders(&matter).await?;
                stream::iter(folders)
                    .map(|path| async { self.list_folder(&matter, kind, &{ path }).await })
                    .buffer_unordered(FOLDERS_AT_ONCE)
                    .try_concat()
                    .await?
            }
            _ => self.list_folder(&matter, kind, kind.folder()).await?,
        };
        found.sort_unstable();
        found.dedup_by_key(|listed| listed.id);
        Ok(found)
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        self.size(&Matter::new("stat", name.path()), &name.path()).await
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        let matter = Matter::new("read", name.path());
        let url = self.url(&matter, &name.path())?;
        // sabre/dav, and so Nextcloud, takes `bytes=0-0` for everything and says so in a way that is wrong.
        if span == (Span::Range { offset: 0, length: 1 }) {
            let whole = self.read(name, Span::Whole).await?;
            let damaged = || self.http.fault(FaultKind::Damaged, &matter, "1 byte was asked for and the file is empty");
            return if whole.is_empty() { Err(damaged()) } else { Ok(whole.slice(..1)) };
        }
        let refused = |refusal: &Refusal| self.refused(&matter, refusal);
        let ask = |range| self.ask(&matter, Method::GET, url, |request| http::with_range(request, range));
        http::read(&self.http, &matter, span, refused, ask).await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let matter = Matter::new("write", name.path());
        match name.kind() {
            FileKind::Config => self.write_config(&matter, bytes).await?,
            _ => self.write_named(&matter, name, bytes).await?,
        }
        self.sweep_leftovers().await;
        Ok(())
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        self.delete(&Matter::new("remove", name.path()), &name.path()).await?;
        self.sweep_leftovers().await;
        Ok(())
    }
}
