//! A container of Azure's blob storage, laid out as restic lays it out: `path/data/c3/c3ab…`, `path/index/…`.
//!
//! A file is one `Put Blob`: the service takes 5,000 MiB in one request, more than any file of ours has, and shows a blob
//! whole or not at all. Its MD5 goes with it, so that what was changed on the way is refused there. The first config
//! wins by a condition that the service itself checks (`If-None-Match: *`).
//!
//! Why not a general storage client: five requests are no reason for its forty crates.

mod answers;
mod signing;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Clock, SystemClock};
use format::{FileKind, FileName};
use model::{Fault, FaultKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use reqwest::{Method, Request, Response, StatusCode, Url};

use self::signing::Credential;
use crate::bucket::{self, Keys, Page};
use crate::http::{self, HttpClient, Matter, Refusal};
use crate::xml_error::ServerError;
use crate::{Access, AzureAccess, BucketPlace, Destination, Limits, Listed, Span};

const VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-ms-version"), HeaderValue::from_static("2021-12-02"));
const BLOB_TYPE: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-ms-blob-type"), HeaderValue::from_static("BlockBlob"));
/// A blob with snapshots can only be removed together with them.
const WITH_SNAPSHOTS: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-ms-delete-snapshots"), HeaderValue::from_static("include"));
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
/// Answers without a body have their code here.
const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");
const USUAL_SUFFIX: &str = "core.windows.net";
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
const IN_QUERY: &AsciiSet = &IN_PATH.add(b'/');
/// A page has 5,000 blobs of less than two thousand bytes each.
const PAGE_LIMIT_BYTES: u64 = 16 << 20;

/// A copy in a container.
#[derive(Debug)]
pub struct AzureContainer {
    http: HttpClient,
    /// The URL of the container itself, without a slash at the end.
    container: Url,
    keys: Keys,
    account: String,
    credential: Credential,
    /// A request is signed for the time at which it is sent.
    clock: SystemClock,
}

impl AzureContainer {
    /// The copy at `location`; nothing is asked yet.
    pub fn new(location: &BucketPlace, access: &Access, limits: &Limits) -> Result<Self, Fault> {
        let place = format!("azure:{location}");
        let misconfigured = |cause: String| Fault::new(FaultKind::Misconfigured, "use", "", &place, cause);
        let azure = &access.azure;
        let account = azure.account_name.clone().unwrap_or_default();
        let credential = match (&azure.account_key, &azure.account_sas) {
            (Some(key), _) if !account.is_empty() => Credential::key(key).map_err(misconfigured)?,
            (None, Some(token)) if !account.is_empty() || azure.endpoint.is_some() => Credential::token(token),
            _ => {
                let cause = "`AZURE_ACCOUNT_NAME` is needed, and `AZURE_ACCOUNT_KEY` or `AZURE_ACCOUNT_SAS`";
                return Err(misconfigured(cause.to_owned()));
            }
        };
        let mut container = endpoint(azure, &account).map_err(misconfigured)?;
        container.set_path(&format!("{}/{}", container.path().trim_end_matches('/'), location.bucket));
        Ok(Self {
            http: HttpClient::new(place.clone(), &access.tls, limits.connections)?,
            container,
            keys: Keys::below(&location.prefix),
            account,
            credential,
            clock: SystemClock::new(),
        })
    }

    /// Asks about the blob `key`, or about the container when that is empty.
    async fn ask(
        &self,
        matter: &Matter,
        method: Method,
        key: &str,
        query: Option<&str>,
        change: impl FnOnce(&mut Request),
    ) -> Result<Result<Response, Refusal>, Fault> {
        let mut url = self.container.clone();
        if !key.is_empty() {
            url.set_path(&format!("{}/{}", url.path(), utf8_percent_encode(key, IN_PATH)));
        }
        url.set_query(query);
        let mut request = http::request(method, url);
        change(&mut request);
        insert(request.headers_mut(), VERSION);
        let now = self.clock.now();
        let admitted = self.credential.admit(&mut request, &self.account, now);
        admitted.map_err(|cause| self.http.fault(FaultKind::Misconfigured, matter, cause))?;
        self.http.ask(matter, request).await
    }

    /// The fault that a refusal is, by the server's code first and its status second.
    fn refused(&self, matter: &Matter, refusal: &Refusal) -> Fault {
        let error = error_of(refusal);
        let mut fault = self.http.refused(matter, refusal);
        if let Some(kind) = answers::kind_of_code(&error.code) {
            fault.kind = kind;
        }
        if !error.code.is_empty() {
            // The lines behind the first one name the request, which helps nobody here.
            let message = error.message.lines().next().unwrap_or_default();
            fault.cause = format!("{}: {}", fault.cause, http::words_of(&error.code, message));
        }
        fault
    }

    async fn page(&self, matter: &Matter, below: &str, mark: Option<&str>, most: Option<u32>) -> Result<Page, Fault> {
        let mut query = format!("restype=container&comp=list&prefix={}", utf8_percent_encode(below, IN_QUERY));
        if let Some(most) = most {
            query.push_str(&format!("&maxresults={most}"));
        }
        if let Some(mark) = mark {
            query.push_str(&format!("&marker={}", utf8_percent_encode(mark, IN_QUERY)));
        }
        let answer = self.ask(matter, Method::GET, "", Some(&query), |_| {}).await?;
        let response = answer.map_err(|refusal| self.refused(matter, &refusal))?;
        let body = self.http.body(matter, response, PAGE_LIMIT_BYTES).await?;
        answers::parse_page(&body).map_err(|why| self.http.fault(FaultKind::Damaged, matter, why))
    }

    async fn make_container(&self, matter: &Matter) -> Result<(), Fault> {
        let empty = |request: &mut Request| http::upload(request, Bytes::new());
        match self.ask(matter, Method::PUT, "", Some("restype=container"), empty).await? {
            Ok(_) => Ok(()),
            // Somebody was faster.
            Err(refusal) if error_of(&refusal).code == "ContainerAlreadyExists" => Ok(()),
            Err(refusal) => Err(self.refused(matter, &refusal)),
        }
    }
}

#[async_trait]
impl Destination for AzureContainer {
    fn place(&self) -> &str {
        self.http.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        // Folders are not a thing here; only the container may be missing.
        let matter = Matter::new("create", "");
        match self.page(&matter, self.keys.prefix(), None, Some(1)).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.kind == FaultKind::NotFound => self.make_container(&matter).await,
            Err(fault) => Err(fault),
        }
    }

    /// A container without the folder is an empty listing. A missing container is a fault.
    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        let page = |matter, below: String, mark: Option<String>| async move {
            self.page(&matter, &below, mark.as_deref(), None).await
        };
        self.keys.list(&self.http, kind, page).await
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        let matter = Matter::new("stat", name.path());
        let answer = self.ask(&matter, Method::HEAD, &self.keys.of(name), None, |_| {}).await?;
        let response = answer.map_err(|refusal| self.refused(&matter, &refusal))?;
        http::announced_length(response.headers())
            .ok_or_else(|| self.http.fault(FaultKind::Damaged, &matter, "the server did not tell the size"))
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        let matter = Matter::new("read", name.path());
        let key = self.keys.of(name);
        let refused = |refusal: &Refusal| self.refused(&matter, refusal);
        let ask = |range| self.ask(&matter, Method::GET, &key, None, |request| http::with_range(request, range));
        http::read(&self.http, &matter, span, refused, ask).await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let matter = Matter::new("write", name.path());
        let md5 = HeaderValue::from_str(&bucket::md5(&bytes))
            .map_err(|error| self.http.fault(FaultKind::Misconfigured, &matter, error))?;
        let change = |request: &mut Request| {
            insert(request.headers_mut(), BLOB_TYPE);
            insert(request.headers_mut(), (CONTENT_MD5, md5));
            if name.kind() == FileKind::Config {
                insert(request.headers_mut(), (IF_NONE_MATCH, HeaderValue::from_static("*")));
            }
            http::upload(request, bytes.clone());
        };
        match self.ask(&matter, Method::PUT, &self.keys.of(name), None, change).await? {
            Ok(response) if response.status() == StatusCode::CREATED && response.headers().contains_key(ETAG) => Ok(()),
            // A proxy's friendly page is not a promise to keep something.
            Ok(_) => {
                let cause = "the answer does not say that anything was stored";
                Err(self.http.fault(FaultKind::Failing, &matter, cause))
            }
            Err(refusal) => {
                let fault = self.refused(&matter, &refusal);
                let code = error_of(&refusal).code;
                let is_taken = matches!(code.as_str(), "BlobAlreadyExists" | "ConditionNotMet");
                // A policy, or a signature that permits new blobs alone, keeps what is there.
                if is_taken || fault.kind == FaultKind::Denied {
                    return bucket::settle_taken(self, name, &bytes, fault).await;
                }
                Err(fault)
            }
        }
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        let matter = Matter::new("remove", name.path());
        let change = |request: &mut Request| insert(request.headers_mut(), WITH_SNAPSHOTS);
        match self.ask(&matter, Method::DELETE, &self.keys.of(name), None, change).await? {
            Ok(_) => Ok(()),
            Err(refusal) if error_of(&refusal).code == "BlobNotFound" => Ok(()),
            Err(refusal) => Err(self.refused(&matter, &refusal)),
        }
    }
}

fn insert(headers: &mut HeaderMap, (name, value): (HeaderName, HeaderValue)) {
    headers.insert(name, value);
}

/// Where the account's blobs are.
fn endpoint(azure: &AzureAccess, account: &str) -> Result<Url, String> {
    if !account.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(format!("`{account}` cannot be the name of an account"));
    }
    let suffix = azure.endpoint_suffix.as_deref().unwrap_or(USUAL_SUFFIX);
    let usual = || format!("https://{account}.blob.{suffix}/");
    http::endpoint(&azure.endpoint.clone().unwrap_or_else(usual))
}

fn error_of(refusal: &Refusal) -> ServerError {
    let error = answers::parse_error(&refusal.body);
    if !error.code.is_empty() {
        return error;
    }
    let code = refusal.headers.get(ERROR_CODE).and_then(|value| value.to_str().ok());
    ServerError { code: code.unwrap_or_default().to_owned(), ..ServerError::default() }
}
