//! A bucket of Backblaze B2, over its own interface, laid out as restic lays it out.
//!
//! An upload carries its SHA-1, so that what was changed on the way is refused there, and is shown whole or not at all.
//! Every upload is a new version of its name, and the newest is what one reads; removing a file removes all its versions.
//!
//! B2 has no condition for an upload, but it keeps the order of versions: of several first configs the oldest version
//! has won, and whoever finds an older one than his own takes his own back.

mod answers;
mod session;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use model::{Fault, FaultKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use self::answers::{Files, Version};
use self::session::{Lanes, Session};
use crate::bucket::{Keys, Page};
use crate::http::{self, HttpClient, Matter, Refusal};
use crate::{Access, BucketPlace, Destination, Limits, Listed, Span};

const USUAL_ENDPOINT: &str = "https://api.backblazeb2.com/";
const FILE_NAME: HeaderName = HeaderName::from_static("x-bz-file-name");
const CONTENT_SHA1: HeaderName = HeaderName::from_static("x-bz-content-sha1");
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// The most that one page has.
const FILES_OF_A_PAGE: u32 = 10_000;
const PAGE_LIMIT_BYTES: u64 = 64 << 20;
/// A million versions of one file.
const VERSION_PAGES_LIMIT: usize = 100;

/// A copy in a bucket of B2.
#[derive(Debug)]
pub struct B2Bucket {
    http: HttpClient,
    endpoint: Url,
    bucket: String,
    keys: Keys,
    /// The header that the key is sent in.
    key: HeaderValue,
    session: tokio::sync::Mutex<Option<Arc<Session>>>,
    lanes: Lanes,
}

impl B2Bucket {
    /// The copy at `location`; nothing is asked yet.
    pub fn new(location: &BucketPlace, access: &Access, limits: &Limits) -> Result<Self, Fault> {
        let place = format!("b2:{location}");
        let misconfigured = |cause: String| Fault::new(FaultKind::Misconfigured, "use", "", &place, cause);
        let b2 = &access.b2;
        let key = match (&b2.account_id, &b2.account_key) {
            (Some(id), Some(key)) => http::basic_authorization(Some(id), Some(key)).map_err(misconfigured)?,
            _ => None,
        };
        let needed = || misconfigured("`B2_ACCOUNT_ID` and `B2_ACCOUNT_KEY` are needed".to_owned());
        let endpoint = http::endpoint(b2.endpoint.as_deref().unwrap_or(USUAL_ENDPOINT)).map_err(misconfigured)?;
        Ok(Self {
            http: HttpClient::new(place.clone(), &access.tls, limits.connections)?,
            endpoint,
            bucket: location.bucket.clone(),
            keys: Keys::below(&location.prefix),
            key: key.ok_or_else(needed)?,
            session: tokio::sync::Mutex::default(),
            lanes: Lanes::default(),
        })
    }

    /// Asks with a token, and once more with a new one when that is what was wrong.
    async fn ask(
        &self,
        matter: &Matter,
        request: impl Fn(&Session) -> Result<Request, Fault>,
    ) -> Result<Result<Response, Refusal>, Fault> {
        let mut is_second = false;
        loop {
            let session = self.session(matter).await?;
            match self.ask_in(&session, matter, request(&session)?).await? {
                Err(refusal) if !is_second && is_about_the_token(&refusal) => {
                    self.forget(&session).await;
                    is_second = true;
                }
                answer => return Ok(answer),
            }
        }
    }

    /// One call about the bucket.
    async fn call<T: DeserializeOwned>(
        &self,
        matter: &Matter,
        name: &str,
        question: impl Fn(&str) -> Value,
    ) -> Result<T, Fault> {
        let request = |session: &Session| {
            let question = question(&self.bucket_id(matter, session)?);
            self.call_request(matter, session, name, &question)
        };
        let answer = self.ask(matter, request).await?;
        self.parsed(matter, answer).await
    }

    /// The fault that a refusal is, by the server's code first and its status second.
    fn refused(&self, matter: &Matter, refusal: &Refusal) -> Fault {
        let error = answers::parse_error(&refusal.body);
        let mut fault = self.http.refused(matter, refusal);
        if let Some(kind) = error.kind() {
            fault.kind = kind;
        }
        if !error.code.is_empty() {
            let words = http::words_of(&error.code, &error.message);
            fault.cause = format!("the server answered {}: {words}", refusal.status.as_u16());
        }
        fault
    }

    /// A request for the newest version of a file.
    fn file(&self, matter: &Matter, method: Method, session: &Session, name: FileName) -> Result<Request, Fault> {
        let path = format!("file/{}/{}", self.bucket, utf8_percent_encode(&self.keys.of(name), IN_PATH));
        let url = session.download.join(&path);
        let url = url.map_err(|error| self.http.fault(FaultKind::Misconfigured, matter, error))?;
        // Where the bucket is not there, B2 would say the same of the file, and so do we.
        self.bucket_id(matter, session)?;
        Ok(http::request(method, url))
    }

    async fn page(&self, matter: &Matter, below: &str, mark: Option<&str>, most: u32) -> Result<Page, Fault> {
        let question =
            |bucket: &str| json!({ "bucketId": bucket, "prefix": below, "startFileName": mark, "maxFileCount": most });
        let files: Files = self.call(matter, "b2_list_file_names", question).await?;
        files.page().map_err(|why| self.http.fault(FaultKind::Damaged, matter, why))
    }

    /// Every version of a file, the newest first.
    async fn versions(&self, matter: &Matter, name: FileName) -> Result<Vec<Version>, Fault> {
        let key = self.keys.of(name);
        let damaged = |why: String| self.http.fault(FaultKind::Damaged, matter, why);
        let mut found = Vec::new();
        let mut from: Option<String> = None;
        for _ in 0..VERSION_PAGES_LIMIT {
            let question = |bucket: &str| {
                json!({
                    "bucketId": bucket, "prefix": key, "startFileName": key, "startFileId": from,
                    "maxFileCount": FILES_OF_A_PAGE,
                })
            };
            let page: Files = self.call(matter, "b2_list_file_versions", question).await?;
            let goes_on = page.next().map_err(damaged)?.is_some_and(|next| next == key);
            let next_id = page.next_file_id.clone();
            found.extend(page.files.into_iter().filter(|version| version.file_name == key));
            if !goes_on {
                return Ok(found);
            }
            if next_id.is_none() || next_id == from {
                return Err(damaged("the list of versions does not go on".to_owned()));
            }
            from = next_id;
        }
        Err(damaged("the list of versions does not end".to_owned()))
    }

    async fn remove_version(&self, matter: &Matter, version: &Version) -> Result<(), Fault> {
        let question = |_: &str| json!({ "fileName": version.file_name, "fileId": version.file_id });
        match self.call::<Value>(matter, "b2_delete_file_version", question).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.kind == FaultKind::NotFound => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Stores a version, and gives it as B2 describes it.
    async fn upload(&self, matter: &Matter, name: FileName, bytes: &Bytes, sha1: &str) -> Result<Version, Fault> {
        let unfit = |error| self.http.fault(FaultKind::Misconfigured, matter, error);
        let told = utf8_percent_encode(&self.keys.of(name), IN_PATH).to_string();
        let told = HeaderValue::from_str(&told).map_err(unfit)?;
        let hash = HeaderValue::from_str(sha1).map_err(unfit)?;
        let change = |request: &mut Request| {
            request.headers_mut().insert(FILE_NAME, told.clone());
            request.headers_mut().insert(CONTENT_SHA1, hash.clone());
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            http::upload(request, bytes.clone());
        };
        let answer = self.send_up(matter, change).await?;
        let response = answer.map_err(|refusal| self.refused(matter, &refusal))?;
        let body = self.http.body(matter, response, PAGE_LIMIT_BYTES).await?;
        let stored = serde_json::from_slice::<Version>(&body).ok();
        stored.filter(|stored| stored.holds(bytes.len(), sha1)).ok_or_else(|| {
            let cause = "what the server says that it stored is not what was sent";
            self.http.fault(FaultKind::Failing, matter, cause)
        })
    }

    /// The first config that was stored and not removed or hidden since.
    async fn first_config(&self, matter: &Matter) -> Result<Option<Version>, Fault> {
        let versions = self.versions(matter, FileName::CONFIG).await?;
        let in_force = versions.into_iter().take_while(|version| !version.hides_older_ones());
        Ok(in_force.filter(Version::is_file).last())
    }

    async fn write_config(&self, matter: &Matter, bytes: &Bytes, sha1: &str) -> Result<(), Fault> {
        let verdict = |first: &Version| match first.holds(bytes.len(), sha1) {
            true => Ok(()),
            false => Err(self.http.fault(FaultKind::Exists, matter, "another config file is there")),
        };
        if let Some(first) = self.first_config(matter).await? {
            return verdict(&first);
        }
        let own = self.upload(matter, FileName::CONFIG, bytes, sha1).await?;
        match self.first_config(matter).await? {
            Some(first) if first.file_id == own.file_id => Ok(()),
            Some(first) => {
                self.remove_version(matter, &own).await?;
                verdict(&first)
            }
            None => Err(self.http.fault(FaultKind::Failing, matter, "the config was removed as soon as it was stored")),
        }
    }

    async fn make_bucket(&self, matter: &Matter, session: &Session) -> Result<(), Fault> {
        let question =
            json!({ "accountId": session.account_id, "bucketName": self.bucket, "bucketType": "allPrivate" });
        let request = self.call_request(matter, session, "b2_create_bucket", &question)?;
        let answer = self.ask_in(session, matter, request).await?;
        self.parsed::<Value>(matter, answer).await.map(drop)
    }
}

#[async_trait]
impl Destination for B2Bucket {
    fn place(&self) -> &str {
        self.http.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        // Folders are not a thing here; only the bucket may be missing.
        let matter = Matter::new("create", "");
        let session = self.session(&matter).await?;
        match self.bucket_id(&matter, &session) {
            Ok(_) => self.page(&matter, self.keys.prefix(), None, 1).await.map(drop),
            Err(_) => self.make_bucket(&matter, &session).await,
        }
    }

    /// A bucket without the folder is an empty listing. A missing bucket is a fault.
    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        let page = |matter, below: String, mark: Option<String>| async move {
            self.page(&matter, &below, mark.as_deref(), FILES_OF_A_PAGE).await
        };
        self.keys.list(&self.http, kind, page).await
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        let matter = Matter::new("stat", name.path());
        let answer = self.ask(&matter, |session| self.file(&matter, Method::HEAD, session, name)).await?;
        let response = answer.map_err(|refusal| self.refused(&matter, &refusal))?;
        http::announced_length(response.headers())
            .ok_or_else(|| self.http.fault(FaultKind::Damaged, &matter, "the server did not tell the size"))
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        let matter = Matter::new("read", name.path());
        let refused = |refusal: &Refusal| self.refused(&matter, refusal);
        let matter = &matter;
        let ask = |range: Option<HeaderValue>| {
            self.ask(matter, move |session| {
                let mut request = self.file(matter, Method::GET, session, name)?;
                http::with_range(&mut request, range.clone());
                Ok(request)
            })
        };
        http::read(&self.http, matter, span, refused, ask).await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let matter = Matter::new("write", name.path());
        let sha1 = hex::encode(Sha1::digest(&bytes));
        match name.kind() {
            FileKind::Config => self.write_config(&matter, &bytes, &sha1).await,
            _ => self.upload(&matter, name, &bytes, &sha1).await.map(drop),
        }
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        let matter = Matter::new("remove", name.path());
        // The newest goes last: who is interrupted leaves what was there, and not an older version of it.
        for version in self.versions(&matter, name).await?.iter().rev() {
            self.remove_version(&matter, version).await?;
        }
        Ok(())
    }
}

fn is_about_the_token(refusal: &Refusal) -> bool {
    refusal.status == StatusCode::UNAUTHORIZED && answers::parse_error(&refusal.body).is_about_the_token()
}
