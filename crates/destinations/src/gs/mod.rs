//! A bucket of Google Cloud Storage, over its JSON interface, laid out as restic lays it out.
//!
//! An upload carries its MD5, so that what was changed on the way is refused there, and is shown whole or not at all. The
//! first config wins by a condition that the service itself checks (`ifGenerationMatch=0`: no such object yet).

mod answers;
mod credentials;

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use model::{Fault, FaultKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode, Url};
use serde_json::json;

use self::answers::Object;
use self::credentials::Admission;
use crate::bucket::{self, Keys, Page};
use crate::http::{self, HttpClient, Matter, Refusal};
use crate::oauth::Tokens;
use crate::{Access, BucketPlace, Destination, Limits, Listed, Span, temporary};

const USUAL_ENDPOINT: &str = "https://storage.googleapis.com/";
const OBJECTS: &str = "storage/v1/b";
const UPLOADS: &str = "upload/storage/v1/b";
/// What stands for itself in a word of a path or a query; a slash in the name of an object does not.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The most that one page has.
const OBJECTS_OF_A_PAGE: u32 = 1_000;
const PAGE_LIMIT_BYTES: u64 = 16 << 20;
const ANSWER_LIMIT_BYTES: u64 = 64 << 10;

/// A copy in a bucket of Google's.
#[derive(Debug)]
pub struct GoogleBucket {
    http: HttpClient,
    endpoint: Url,
    bucket: String,
    keys: Keys,
    tokens: Tokens,
    /// Where a bucket that is missing is made.
    project: Option<String>,
}

impl GoogleBucket {
    /// The copy at `location`; nothing is asked yet.
    pub fn new(location: &BucketPlace, access: &Access, limits: &Limits) -> Result<Self, Fault> {
        let place = format!("gs:{location}");
        let misconfigured = |cause: String| Fault::new(FaultKind::Misconfigured, "use", "", &place, cause);
        let google = &access.google;
        let admission = match (&google.access_token, &google.credentials) {
            (Some(token), _) => Tokens::given(token).map(|tokens| Admission { tokens, project: None }),
            (None, Some(file)) => credentials::read(file),
            (None, None) => Err("`GOOGLE_APPLICATION_CREDENTIALS` or `GOOGLE_ACCESS_TOKEN` is needed".to_owned()),
        };
        let Admission { tokens, project } = admission.map_err(misconfigured)?;
        let mut endpoint =
            http::endpoint(google.endpoint.as_deref().unwrap_or(USUAL_ENDPOINT)).map_err(misconfigured)?;
        endpoint.set_path(&format!("{}/", endpoint.path().trim_end_matches('/')));
        Ok(Self {
            http: HttpClient::new(place.clone(), &access.tls, limits.connections)?,
            endpoint,
            bucket: location.bucket.clone(),
            keys: Keys::below(&location.prefix),
            tokens,
            project: google.project_id.clone().or(project),
        })
    }

    async fn ask(
        &self,
        matter: &Matter,
        method: Method,
        path: &str,
        query: &str,
        change: impl Fn(&mut Request),
    ) -> Result<Result<Response, Refusal>, Fault> {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("{}{path}", url.path()));
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        let request = || {
            let mut request = http::request(method.clone(), url.clone());
            change(&mut request);
            request
        };
        self.tokens.ask(&self.http, matter, request).await
    }

    /// The path of an object.
    fn path(&self, name: FileName) -> String {
        format!("{OBJECTS}/{}/o/{}", self.bucket, utf8_percent_encode(&self.keys.of(name), PLAIN))
    }

    /// The fault that a refusal is, by the server's reason first and its status second.
    fn refused(&self, matter: &Matter, refusal: &Refusal) -> Fault {
        let error = answers::parse_error(&refusal.body);
        let mut fault = self.http.refused(matter, refusal);
        if let Some(kind) = error.kind() {
            fault.kind = kind;
        }
        if !error.message.is_empty() {
            let words = http::words_of(error.reason(), &error.message);
            fault.cause = format!("the server answered {}: {words}", refusal.status.as_u16());
        }
        fault
    }

    async fn object(&self, matter: &Matter, response: Response) -> Result<Object, Fault> {
        let body = self.http.body(matter, response, ANSWER_LIMIT_BYTES).await?;
        let cause = "the answer does not describe an object";
        serde_json::from_slice(&body).map_err(|_| self.http.fault(FaultKind::Failing, matter, cause))
    }

    async fn page(&self, matter: &Matter, below: &str, mark: Option<&str>, most: u32) -> Result<Page, Fault> {
        let below = utf8_percent_encode(below, PLAIN);
        let mut query = format!("prefix={below}&maxResults={most}&fields=kind,nextPageToken,items(name,size)");
        if let Some(mark) = mark {
            query.push_str(&format!("&pageToken={}", utf8_percent_encode(mark, PLAIN)));
        }
        let answer = self.ask(matter, Method::GET, &format!("{OBJECTS}/{}/o", self.bucket), &query, |_| {}).await?;
        let response = answer.map_err(|refusal| self.refused(matter, &refusal))?;
        let body = self.http.body(matter, response, PAGE_LIMIT_BYTES).await?;
        answers::parse_page(&body).map_err(|why| self.http.fault(FaultKind::Damaged, matter, why))
    }

    async fn make_bucket(&self, matter: &Matter, missing: Fault) -> Result<(), Fault> {
        let Some(project) = &self.project else {
            let cause = format!("{}; to make it, the project is needed: `GOOGLE_PROJECT_ID`", missing.cause);
            return Err(Fault { cause, ..missing });
        };
        let question = Bytes::from(json!({ "name": self.bucket }).to_string());
        let change = |request: &mut Request| {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            http::upload(request, question.clone());
        };
        let query = format!("project={}", utf8_percent_encode(project, PLAIN));
        match self.ask(matter, Method::POST, OBJECTS, &query, change).await? {
            Ok(_) => Ok(()),
            // Somebody was faster, and it was us: another's bucket could not be listed.
            Err(refusal) if refusal.status == StatusCode::CONFLICT => {
                self.page(matter, self.keys.prefix(), None, 1).await.map(drop)
            }
            Err(refusal) => Err(self.refused(matter, &refusal)),
        }
    }

    /// Sends an object with what is said about it, as one request of several parts.
    async fn put(
        &self,
        matter: &Matter,
        name: FileName,
        bytes: &Bytes,
        md5: &str,
    ) -> Result<Result<Response, Refusal>, Fault> {
        let mark = temporary::random().map_err(|error| self.http.fault(FaultKind::Failing, matter, error))?;
        let about = json!({ "name": self.keys.of(name), "md5Hash": md5 });
        let head = format!(
            "--{mark}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{about}\r\n\
             --{mark}\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        let tail = format!("\r\n--{mark}--\r\n");
        let kind = HeaderValue::from_str(&format!("multipart/related; boundary={mark}"))
            .map_err(|error| self.http.fault(FaultKind::Misconfigured, matter, error))?;
        let parts = [Bytes::from(head), bytes.clone(), Bytes::from(tail)];
        let only_new = if name.kind() == FileKind::Config { "&ifGenerationMatch=0" } else { "" };
        let query = format!("uploadType=multipart&fields=name,size,md5Hash{only_new}");
        self.ask(matter, Method::POST, &format!("{UPLOADS}/{}/o", self.bucket), &query, |request| {
            request.headers_mut().insert(CONTENT_TYPE, kind.clone());
            http::upload_parts(request, parts.clone());
        })
        .await
    }
}

#[async_trait]
impl Destination for GoogleBucket {
    fn place(&self) -> &str {
        self.http.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        // Folders are not a thing here; only the bucket may be missing.
        let matter = Matter::new("create", "");
        match self.page(&matter, self.keys.prefix(), None, 1).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.kind == FaultKind::NotFound => self.make_bucket(&matter, fault).await,
            Err(fault) => Err(fault),
        }
    }

    /// A bucket without the folder is an empty listing. A missing bucket is a fault.
    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        let page = |matter, below: String, mark: Option<String>| async move {
            self.page(&matter, &below, mark.as_deref(), OBJECTS_OF_A_PAGE).await
        };
        self.keys.list(&self.http, kind, page).await
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        let matter = Matter::new("stat", name.path());
        let answer = self.ask(&matter, Method::GET, &self.path(name), "fields=name,size", |_| {}).await?;
        let object = self.object(&matter, answer.map_err(|refusal| self.refused(&matter, &refusal))?).await?;
        object.size().ok_or_else(|| self.http.fault(FaultKind::Damaged, &matter, "the server did not tell the size"))
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        let matter = Matter::new("read", name.path());
        let path = self.path(name);
        let refused = |refusal: &Refusal| self.refused(&matter, refusal);
        let ask = |range: Option<HeaderValue>| {
            let change = move |request: &mut Request| http::with_range(request, range.clone());
            self.ask(&matter, Method::GET, &path, "alt=media", change)
        };
        http::read(&self.http, &matter, span, refused, ask).await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let matter = Matter::new("write", name.path());
        let md5 = bucket::md5(&bytes);
        match self.put(&matter, name, &bytes, &md5).await? {
            Ok(response) => {
                let stored = self.object(&matter, response).await?;
                if stored.size() == Some(bytes.len() as u64) && stored.md5_hash == md5 {
                    return Ok(());
                }
                let cause = "what the server says that it stored is not what was sent";
                Err(self.http.fault(FaultKind::Failing, &matter, cause))
            }
            Err(refusal) => {
                let fault = self.refused(&matter, &refusal);
                // A policy, or a role that permits new objects alone, keeps what is there.
                if refusal.status == StatusCode::PRECONDITION_FAILED || fault.kind == FaultKind::Denied {
                    return bucket::settle_taken(self, name, &bytes, fault).await;
                }
                Err(fault)
            }
        }
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        let matter = Matter::new("remove", name.path());
        match self.ask(&matter, Method::DELETE, &self.path(name), "", |_| {}).await? {
            Ok(_) => Ok(()),
            Err(refusal) => {
                let is_gone = refusal.status == StatusCode::NOT_FOUND
                    && !answers::parse_error(&refusal.body).is_about_the_bucket();
                if is_gone { Ok(()) } else { Err(self.refused(&matter, &refusal)) }
            }
        }
    }
}
