//! A bucket behind an S3 interface, laid out as restic lays it out: `prefix/data/c3/c3ab…`, `prefix/index/…`.
//!
//! Why not a general storage client: it takes an error in a successful listing for the end of it, starts over where a
//! page does not say what follows, and cannot send a hash that is known already. A file here is named by the SHA-256
//! of its bytes, and that is what the signature of an upload promises: the server itself refuses bytes that are not
//! what the name says, at no cost to us. Signing is left to `reqsign`, the requests are five.

mod answers;
pub(crate) mod archive;
mod foreign;
mod locks;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use format::{FileKind, FileName};
use jiff::Timestamp;
use model::{ExposeSecret as _, Fault, FaultKind, Id};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqsign_aws_v4::{Credential, RequestSigner};
use reqsign_core::SignRequest as _;
use reqwest::header::{ETAG, HOST, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, RANGE};
use reqwest::{Method, Response, StatusCode, Url};
use sha2::{Digest as _, Sha256};

use self::answers::NoPage;
use self::archive::{restoration, storage_class};
pub use self::foreign::{S3FolderPage, S3Object, S3Reader};
use self::locks::{ObjectLock, object_lock};
use crate::bucket::{self, Keys, Page};
use crate::http::{self, HttpClient, Matter, Refusal};
use crate::{Access, Destination, Limits, Listed, S3Location, Span, Warmth};

/// What S3 leaves as it is in a path; in a query, `/` is encoded too.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
const IN_QUERY: &AsciiSet = &IN_PATH.add(b'/');
/// A page has 1,000 objects of some hundred bytes each.
const PAGE_LIMIT_BYTES: u64 = 16 << 20;
const REGION_WITHOUT_NAME: &str = "us-east-1";
const AMAZON_DOMAIN: &str = "amazonaws.com";
const PAYLOAD_HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");
const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");
const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-amz-storage-class");

/// A copy in a bucket.
#[derive(Debug)]
pub struct S3Bucket {
    http: HttpClient,
    /// The URL of the bucket itself, with a slash at the end.
    bucket: Url,
    keys: Keys,
    region: String,
    is_amazon: bool,
    /// For packs of data; the bucket's usual one otherwise.
    storage_class: Option<HeaderValue>,
    /// How archived objects are asked for; none where there are none.
    restoration: Option<Bytes>,
    object_lock: Option<ObjectLock>,
    signer: RequestSigner,
    credential: Credential,
}

/// What goes out with a request.
#[derive(Default)]
struct Outgoing {
    query: Option<String>,
    header: Option<(HeaderName, HeaderValue)>,
    /// Headers of which the signature says nothing.
    unsigned: HeaderMap,
    body: Option<(Bytes, Id)>,
}

impl S3Bucket {
    /// The copy at `location`; nothing is asked yet.
    pub fn new(location: &S3Location, access: &Access, limits: &Limits) -> Result<Self, Fault> {
        let place = location.to_string();
        let misconfigured = |cause: &str| Fault::new(FaultKind::Misconfigured, "use", "", &place, cause);
        let (Some(key_id), Some(key)) = (&access.s3.key_id, &access.s3.key) else {
            return Err(misconfigured("`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` are needed"));
        };
        let host = location.endpoint.host_str().unwrap_or_default().to_ascii_lowercase();
        let is_amazon = host == AMAZON_DOMAIN || host.ends_with(&format!(".{AMAZON_DOMAIN}"));
        // A bucket with a dot has no certificate as a host name.
        let in_path = access.s3.bucket_in_path.unwrap_or(!is_amazon || location.bucket.contains('.'));
        let mut bucket = location.endpoint.clone();
        if in_path {
            bucket.set_path(&format!("/{}/", location.bucket));
        } else {
            bucket
                .set_host(Some(&format!("{}.{host}", location.bucket)))
                .map_err(|_| misconfigured("the bucket cannot be a part of the host name"))?;
            bucket.set_path("/");
        }
        let region = access.s3.region.clone().filter(|region| !region.is_empty());
        let region = region.unwrap_or_else(|| region_of(&host).unwrap_or(REGION_WITHOUT_NAME).to_owned());
        let credential = Credential {
            access_key_id: key_id.clone(),
            secret_access_key: key.expose_secret().to_owned(),
            session_token: access.s3.session_token.as_ref().map(|token| token.expose_secret().to_owned()),
            expires_in: None,
        };
        let signer = RequestSigner::new("s3", &region);
        let storage_class = access.s3.storage_class.as_deref().map(storage_class).transpose().map_err(misconfigured)?;
        let restoration = restoration(&access.s3);
        let object_lock = object_lock(&access.s3).map_err(misconfigured)?;
        let http = HttpClient::new(place, &access.tls, limits.connections)?;
        Ok(Self {
            http,
            bucket,
            keys: Keys::below(&location.prefix),
            region,
            is_amazon,
            storage_class,
            restoration,
            object_lock,
            signer,
            credential,
        })
    }

    async fn ask(
        &self,
        matter: &Matter,
        method: Method,
        key: &str,
        outgoing: Outgoing,
    ) -> Result<Result<Response, Refusal>, Fault> {
        let unfit = |cause: String| self.http.fault(FaultKind::Misconfigured, matter, cause);
        let mut url = self.bucket.clone();
        url.set_path(&format!("{}{}", self.bucket.path(), utf8_percent_encode(key, IN_PATH)));
        url.set_query(outgoing.query.as_deref());
        let payload_hash = match &outgoing.body {
            Some((_, id)) => id.to_hex(),
            None => reqsign_aws_v4::EMPTY_STRING_SHA256.to_owned(),
        };
        let mut head = ::http::Request::builder()
            .method(method.clone())
            .uri(url.as_str())
            .header(PAYLOAD_HASH, payload_hash)
            .body(())
            .map_err(|error| unfit(error.to_string()))?
            .into_parts()
            .0;
        if let Some((name, value)) = outgoing.header {
            head.headers.insert(name, value);
        }
        // Amazon wants a second hash where locks are in play.
        if let (Some(_), Some((_, id))) = (&self.object_lock, &outgoing.body) {
            let checksum =
                HeaderValue::try_from(BASE64.encode(id.as_bytes())).map_err(|error| unfit(error.to_string()))?;
            head.headers.insert(CHECKSUM, checksum);
        }
        let context = reqsign_core::Context::new();
        self.signer
            .sign_request(&context, &mut head, Some(&self.credential), None)
            .await
            .map_err(|_| unfit("the request cannot be signed with these keys".to_owned()))?;
        let mut request = http::request(method, url);
        *request.headers_mut() = head.headers;
        // The client writes the host that it connects to.
        request.headers_mut().remove(HOST);
        request.headers_mut().extend(outgoing.unsigned);
        if let Some((bytes, _)) = outgoing.body {
            http::upload(&mut request, bytes);
        }
        self.http.ask(matter, request).await
    }

    /// The fault that a refusal is, by the server's code first and its status second.
    fn refused(&self, matter: &Matter, refusal: &Refusal) -> Fault {
        let error = answers::parse_error(&refusal.body);
        let mut fault = self.http.refused(matter, refusal);
        if let Some(kind) = answers::kind_of_code(&error.code) {
            fault.kind = kind;
        }
        let told = refusal.headers.get(BUCKET_REGION).and_then(|value| value.to_str().ok());
        let region = told.or(Some(error.region.as_str()).filter(|region| !region.is_empty()));
        if let Some(region) = region.filter(|region| *region != self.region) {
            fault.kind = FaultKind::Misconfigured;
            fault.cause =
                format!("the bucket lives in the region `{}`, not in `{}`", http::reason(region), self.region);
        } else if !error.code.is_empty() {
            fault.cause = format!("{}: {}", fault.cause, http::words_of(&error.code, &error.message));
        }
        fault
    }

    async fn ask_plainly(&self, matter: &Matter, method: Method, key: &str) -> Result<Response, Fault> {
        self.ask(matter, method, key, Outgoing::default()).await?.map_err(|refusal| self.refused(matter, &refusal))
    }

    /// One page of what is below `below`, from `token` on.
    async fn page(&self, matter: &Matter, below: &str, token: Option<&str>, most: Option<u32>) -> Result<Page, Fault> {
        let body = self.page_body(matter, below, token, most, "").await?;
        answers::parse_page(&body).map_err(|no_page| self.no_page(matter, no_page))
    }

    /// The whole answer to a question for a page; `more` is added to its query.
    async fn page_body(
        &self,
        matter: &Matter,
        below: &str,
        token: Option<&str>,
        most: Option<u32>,
        more: &str,
    ) -> Result<Bytes, Fault> {
        let mut query = format!("{more}encoding-type=url&list-type=2&prefix={}", utf8_percent_encode(below, IN_QUERY));
        if let Some(most) = most {
            query.push_str(&format!("&max-keys={most}"));
        }
        if let Some(token) = token {
            query.push_str(&format!("&continuation-token={}", utf8_percent_encode(token, IN_QUERY)));
        }
        let response = self
            .ask(matter, Method::GET, "", Outgoing { query: Some(query), ..Outgoing::default() })
            .await?
            .map_err(|refusal| self.refused(matter, &refusal))?;
        self.http.body(matter, response, PAGE_LIMIT_BYTES).await
    }

    fn no_page(&self, matter: &Matter, no_page: NoPage) -> Fault {
        match no_page {
            NoPage::Malformed(why) => self.http.fault(FaultKind::Damaged, matter, why),
            NoPage::Error(error) => {
                let kind = answers::kind_of_code(&error.code).unwrap_or(FaultKind::Failing);
                self.http.fault(kind, matter, http::words_of(&error.code, &error.message))
            }
        }
    }

    async fn make_bucket(&self, matter: &Matter) -> Result<(), Fault> {
        // Only Amazon wants to be told the region; others refuse names that they do not know.
        let body = (self.is_amazon && self.region != REGION_WITHOUT_NAME).then(|| {
            let xml = format!(
                "<CreateBucketConfiguration><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
                self.region
            );
            Bytes::from(xml)
        });
        let body = body.unwrap_or_default();
        let id = hash(&body);
        match self.ask(matter, Method::PUT, "", Outgoing { body: Some((body, id)), ..Outgoing::default() }).await? {
            Ok(_) => Ok(()),
            // Somebody was faster, and it was us.
            Err(refusal) if answers::parse_error(&refusal.body).code == "BucketAlreadyOwnedByYou" => Ok(()),
            Err(refusal) => Err(self.refused(matter, &refusal)),
        }
    }

    async fn put(
        &self,
        matter: &Matter,
        name: FileName,
        bytes: Bytes,
        header: Option<(HeaderName, HeaderValue)>,
    ) -> Result<Result<(), Refusal>, Fault> {
        let id = name.id().unwrap_or_else(|| hash(&bytes));
        let outgoing = Outgoing { header, body: Some((bytes, id)), ..Outgoing::default() };
        match self.ask(matter, Method::PUT, &self.key(name), outgoing).await? {
            // A proxy's friendly page is not a promise to keep something.
            Ok(response) if !response.headers().contains_key(ETAG) => {
                Err(self.http.fault(FaultKind::Failing, matter, "the answer does not say that anything was stored"))
            }
            Ok(_) => Ok(Ok(())),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Stores the config where none is. Servers that cannot promise that by themselves have been asked just before.
    async fn write_config(&self, matter: &Matter, bytes: Bytes) -> Result<(), Fault> {
        let taken = self.http.fault(FaultKind::Exists, matter, "another config file is there");
        match self.read(FileName::CONFIG, Span::Whole).await {
            Ok(stored) => return if stored == bytes { Ok(()) } else { Err(taken) },
            Err(fault) if fault.kind == FaultKind::NotFound => {}
            Err(fault) => return Err(Fault { action: "write", ..fault }),
        }
        let only_new = Some((IF_NONE_MATCH, HeaderValue::from_static("*")));
        match self.put(matter, FileName::CONFIG, bytes.clone(), only_new).await? {
            Ok(()) => Ok(()),
            Err(refusal) if refusal.status == StatusCode::PRECONDITION_FAILED => {
                bucket::settle_taken(self, FileName::CONFIG, &bytes, taken).await
            }
            Err(refusal) if refusal.status == StatusCode::NOT_IMPLEMENTED => {
                let stored = self.put(matter, FileName::CONFIG, bytes, None).await?;
                stored.map_err(|refusal| self.refused(matter, &refusal))
            }
            Err(refusal) => Err(self.refused(matter, &refusal)),
        }
    }

    fn key(&self, name: FileName) -> String {
        self.keys.of(name)
    }
}

#[async_trait]
impl Destination for S3Bucket {
    fn place(&self) -> &str {
        self.http.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        // Folders are not a thing here; only the bucket may be missing.
        let matter = Matter::new("create", "");
        match self.page(&matter, self.keys.prefix(), None, Some(1)).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.kind == FaultKind::NotFound => self.make_bucket(&matter).await,
            Err(fault) => Err(fault),
        }
    }

    /// A bucket without the folder is an empty listing: S3 cannot tell the two apart. A missing bucket is a fault.
    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        let page = |matter, below: String, token: Option<String>| async move {
            self.page(&matter, &below, token.as_deref(), None).await
        };
        self.keys.list(&self.http, kind, page).await
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        let matter = Matter::new("stat", name.path());
        let response = self.ask_plainly(&matter, Method::HEAD, &self.key(name)).await?;
        http::announced_length(response.headers())
            .ok_or_else(|| self.http.fault(FaultKind::Damaged, &matter, "the server did not tell the size"))
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        let matter = Matter::new("read", name.path());
        let key = self.key(name);
        let refused = |refusal: &Refusal| self.refused(&matter, refusal);
        let ask = |range: Option<HeaderValue>| {
            let header = range.map(|range| (RANGE, range));
            self.ask(&matter, Method::GET, &key, Outgoing { header, ..Outgoing::default() })
        };
        http::read(&self.http, &matter, span, refused, ask).await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let matter = Matter::new("write", name.path());
        if name.kind() == FileKind::Config {
            return self.write_config(&matter, bytes).await;
        }
        let stored = self.put(&matter, name, bytes, None).await?;
        stored.map_err(|refusal| self.refused(&matter, &refusal))
    }

    async fn write_data(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let matter = Matter::new("write", name.path());
        let class = self.storage_class.clone().map(|class| (STORAGE_CLASS, class));
        let stored = self.put(&matter, name, bytes, class).await?;
        stored.map_err(|refusal| self.refused(&matter, &refusal))
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        let matter = Matter::new("remove", name.path());
        if self.object_lock.is_some() {
            return self.remove_versions(&matter, &self.key(name)).await;
        }
        match self.ask(&matter, Method::DELETE, &self.key(name), Outgoing::default()).await? {
            Ok(_) => Ok(()),
            Err(refusal) => {
                let is_gone = refusal.status == StatusCode::NOT_FOUND
                    && answers::parse_error(&refusal.body).code != "NoSuchBucket";
                if is_gone { Ok(()) } else { Err(self.refused(&matter, &refusal)) }
            }
        }
    }

    fn lock_days(&self) -> Option<u32> {
        self.object_lock.as_ref().map(|lock| lock.days)
    }

    async fn lock_until(&self, name: FileName, until: Timestamp) -> Result<(), Fault> {
        self.lock(name, until).await
    }

    fn may_be_cold(&self) -> bool {
        self.restoration.is_some()
    }

    async fn warmth(&self, name: FileName) -> Result<Warmth, Fault> {
        self.look(name).await
    }

    async fn warm_up(&self, name: FileName) -> Result<(), Fault> {
        self.ask_archive(name).await
    }
}

fn hash(bytes: &[u8]) -> Id {
    Id::from_bytes(Sha256::digest(bytes).into())
}

/// The region in the name of an Amazon host: `s3.eu-west-1.amazonaws.com`, `s3-eu-west-1.amazonaws.com`.
fn region_of(host: &str) -> Option<&str> {
    let before = host.strip_suffix(AMAZON_DOMAIN)?.strip_suffix('.')?;
    let region = before.strip_prefix("s3.").or_else(|| before.strip_prefix("s3-"))?;
    let region = region.strip_prefix("dualstack.").unwrap_or(region);
    (!region.is_empty() && !region.contains('.')).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::region_of;

    #[test]
    fn amazon_names_its_regions() {
        assert_eq!(region_of("s3.amazonaws.com"), None);
        assert_eq!(region_of("s3.eu-west-1.amazonaws.com"), Some("eu-west-1"));
        assert_eq!(region_of("s3-eu-west-1.amazonaws.com"), Some("eu-west-1"));
        assert_eq!(region_of("s3.dualstack.eu-west-1.amazonaws.com"), Some("eu-west-1"));
        assert_eq!(region_of("s3.example.org"), None);
    }
}
