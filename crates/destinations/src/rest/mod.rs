//! A server that speaks restic's REST protocol (restic documentation, "REST Backend"), versions 1 and 2.
//!
//! Version 2 lists names with sizes, version 1 names only, so that sizes are asked one by one. Servers differ in what
//! they answer to an upload of a name that exists: some store it again, some say 403, which is also what a missing
//! permission looks like. So after a 403 or 409 the stored bytes are fetched, and only when they hash to the name has
//! the upload succeeded; this is also what makes an upload whose answer was lost a success when it is repeated.

mod answers;

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use model::{Fault, FaultKind, Id};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use sha2::{Digest as _, Sha256};

use crate::http::{self, HttpClient, Matter, Refusal};
use crate::{Access, Destination, Limits, Listed, RestLocation, Span};

/// The type of a listing with sizes.
const LISTING_V2: &str = "application/vnd.x.restic.rest.v2";
/// Ten million names with sizes are about this long.
const LISTING_LIMIT_BYTES: u64 = 1 << 30;
/// How many sizes are asked at one time where a listing has none.
const SIZES_AT_ONCE: usize = 8;

/// A copy on a REST server.
#[derive(Debug)]
pub struct RestServer {
    http: HttpClient,
    base: Url,
    authorization: Option<HeaderValue>,
    /// Held while a config is written: some servers store one over another, so that two writers of ours must not
    /// both look before either stores.
    config: tokio::sync::Mutex<()>,
}

impl RestServer {
    /// The copy at `location`; nothing is asked yet.
    pub fn new(location: &RestLocation, access: &Access, limits: &Limits) -> Result<Self, Fault> {
        let place = location.to_string();
        let username = location.username.as_ref().or(access.rest.username.as_ref());
        let password = location.password.as_ref().or(access.rest.password.as_ref());
        let authorization = http::basic_authorization(username, password)
            .map_err(|cause| Fault::new(FaultKind::Misconfigured, "use", "", &place, cause))?;
        Ok(Self {
            http: HttpClient::new(place, &access.tls, limits.connections)?,
            base: location.base.clone(),
            authorization,
            config: tokio::sync::Mutex::default(),
        })
    }

    /// A copy on a server that `http` knows the way to, below `base`.
    pub(crate) fn through(http: HttpClient, base: Url) -> Self {
        Self { http, base, authorization: None, config: tokio::sync::Mutex::default() }
    }

    async fn ask(
        &self,
        matter: &Matter,
        method: Method,
        path: &str,
        change: impl FnOnce(&mut reqwest::Request),
    ) -> Result<Result<Response, Refusal>, Fault> {
        let url = self.base.join(path).map_err(|error| self.http.fault(FaultKind::Misconfigured, matter, error))?;
        let mut request = http::request(method, url);
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(reqwest::header::AUTHORIZATION, authorization.clone());
        }
        change(&mut request);
        self.http.ask(matter, request).await
    }

    async fn ask_plainly(&self, matter: &Matter, method: Method, path: &str) -> Result<Response, Fault> {
        self.ask(matter, method, path, |_| {}).await?.map_err(|refusal| self.http.refused(matter, &refusal))
    }

    fn damaged(&self, matter: &Matter, cause: impl std::fmt::Display) -> Fault {
        self.http.fault(FaultKind::Damaged, matter, cause)
    }

    /// Sizes for names that came without; a file that was removed meanwhile is left out.
    async fn with_sizes(&self, kind: FileKind, ids: Vec<Id>) -> Result<Vec<Listed>, Fault> {
        stream::iter(ids)
            .map(|id| async move {
                match self.stat(FileName::new(kind, id)).await {
                    Ok(size) => Ok(Some(Listed { id, size })),
                    Err(fault) if fault.kind == FaultKind::NotFound => Ok(None),
                    Err(fault) => Err(fault),
                }
            })
            .buffer_unordered(SIZES_AT_ONCE)
            .try_filter_map(|listed| async move { Ok(listed) })
            .try_collect()
            .await
    }

    async fn post(&self, matter: &Matter, name: FileName, bytes: &Bytes) -> Result<Result<Response, Refusal>, Fault> {
        self.ask(matter, Method::POST, &url_path(name), |request| {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            http::upload(request, bytes.clone());
        })
        .await
    }

    /// Decides what a refused upload was: done already, done with other bytes, or really refused.
    async fn settle_refused(&self, name: FileName, bytes: &Bytes, refused: Fault) -> Result<(), Fault> {
        let matter = Matter::new("write", name.path());
        let stored = match self.read(name, Span::Whole).await {
            Ok(stored) => stored,
            // It is not there, so it was not its presence that was refused; or we may not look either.
            Err(fault) if matches!(fault.kind, FaultKind::NotFound | FaultKind::Denied) => return Err(refused),
            Err(fault) => return Err(fault),
        };
        let Some(id) = name.id() else {
            return if stored == *bytes { Ok(()) } else { Err(self.taken(&matter, "another config file is there")) };
        };
        if Sha256::digest(&stored)[..] == id.as_bytes()[..] {
            return Ok(());
        }
        // What is stored is damaged. A server that lets nothing be removed keeps it so, and says so.
        match self.remove(name).await {
            Ok(()) => {}
            Err(fault) if fault.kind == FaultKind::Denied => {
                return Err(self.taken(&matter, "damaged bytes have this name and the server lets nothing be removed"));
            }
            Err(fault) => return Err(fault),
        }
        self.post(&matter, name, bytes).await?.map_err(|refusal| self.http.refused(&matter, &refusal))?;
        Ok(())
    }

    fn taken(&self, matter: &Matter, cause: &str) -> Fault {
        self.http.fault(FaultKind::Exists, matter, cause)
    }
}

#[async_trait]
impl Destination for RestServer {
    fn place(&self) -> &str {
        self.http.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        self.ask_plainly(&Matter::new("create", ""), Method::POST, "?create=true").await?;
        Ok(())
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        let matter = Matter::new("list", kind.folder());
        if kind == FileKind::Config {
            return Err(self.http.fault(FaultKind::Refused, &matter, "the config file has no folder to list"));
        }
        let accept = |request: &mut reqwest::Request| {
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static(LISTING_V2));
        };
        let response = self
            .ask(&matter, Method::GET, &format!("{}/", kind.folder()), accept)
            .await?
            .map_err(|refusal| self.http.refused(&matter, &refusal))?;
        let has_sizes = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.split(';').next().is_some_and(|kind| kind.trim() == LISTING_V2));
        let body = self.http.body(&matter, response, LISTING_LIMIT_BYTES).await?;
        let not_a_listing = |cause: String| self.damaged(&matter, cause);
        let mut found = if has_sizes {
            answers::parse_listing(&body).map_err(not_a_listing)?
        } else {
            self.with_sizes(kind, answers::parse_names(&body).map_err(not_a_listing)?).await?
        };
        found.sort_unstable();
        found.dedup_by_key(|listed| listed.id);
        Ok(found)
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        let matter = Matter::new("stat", name.path());
        let response = self.ask_plainly(&matter, Method::HEAD, &url_path(name)).await?;
        http::announced_length(response.headers())
            .ok_or_else(|| self.damaged(&matter, "the server did not tell the size"))
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        let matter = Matter::new("read", name.path());
        let path = url_path(name);
        let refused = |refusal: &Refusal| self.http.refused(&matter, refusal);
        let ask = |range| self.ask(&matter, Method::GET, &path, |request| http::with_range(request, range));
        http::read(&self.http, &matter, span, refused, ask).await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let matter = Matter::new("write", name.path());
        let mut _alone = None;
        if name.kind() == FileKind::Config {
            _alone = Some(self.config.lock().await);
            // Some servers store a config over the one that is there.
            match self.read(name, Span::Whole).await {
                Ok(stored) if stored == bytes => return Ok(()),
                Ok(_) => return Err(self.taken(&matter, "another config file is there")),
                Err(fault) if fault.kind == FaultKind::NotFound => {}
                Err(fault) => return Err(Fault { action: "write", ..fault }),
            }
        }
        match self.post(&matter, name, &bytes).await? {
            Ok(_) => Ok(()),
            Err(refusal) if matches!(refusal.status, StatusCode::FORBIDDEN | StatusCode::CONFLICT) => {
                let refused = self.http.refused(&matter, &refusal);
                self.settle_refused(name, &bytes, refused).await
            }
            Err(refusal) => Err(self.http.refused(&matter, &refusal)),
        }
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        match self.ask_plainly(&Matter::new("remove", name.path()), Method::DELETE, &url_path(name)).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.kind == FaultKind::NotFound => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

/// The protocol knows no folders below `data/`.
fn url_path(name: FileName) -> String {
    match name.id() {
        Some(id) => format!("{}/{id}", name.kind().folder()),
        None => name.kind().folder().to_owned(),
    }
}
