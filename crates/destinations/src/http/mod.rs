//! The one room that speaks HTTP; the rooms for REST, S3 and their like say what to ask and what an answer means.
//!
//! Rules that hold for every request: no redirect is followed (credentials would follow it), a body is read up to a
//! limit and counted as progress in both directions, an answer that broke off is a fault, and no text that leaves
//! this room holds a URL's query, a header of ours or more than a few words of a foreign body.

mod foreign;
mod streamed;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use model::{ExposeSecret as _, Fault, FaultKind, Secret};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, DATE, HeaderMap, HeaderValue, LOCATION, RANGE, RETRY_AFTER};
use reqwest::{Method, Request, Response, StatusCode, Url};

pub(crate) use self::foreign::Change;
pub use self::foreign::{WebFacts, WebFile};
pub(crate) use self::streamed::{Streamed, place_in_file};
use crate::pace::flow::{Flow, Wait};
use crate::{FILE_LIMIT_BYTES, Span, TlsAccess, tls};

/// How much of an upload is handed to the connection between two signs of life.
const UPLOAD_STEP_BYTES: usize = 128 << 10;
/// Enough of the body of an error to find its reason.
const ERROR_BODY_LIMIT_BYTES: u64 = 16 << 10;
/// No more of a server's words than this in a message of ours.
const REASON_LIMIT_CHARS: usize = 200;
/// A connection that was idle for longer is not used again: many servers close theirs after a minute.
const IDLE_SECONDS: u64 = 50;
/// At most this much memory is taken on the word of a `Content-Length`; more comes as bytes arrive.
const TRUSTED_CAPACITY_BYTES: u64 = 32 << 20;

/// The word for no proxy, whatever the environment says.
const NO_PROXY: &str = "none";

/// What a request was about; every fault tells it.
#[derive(Debug, Clone)]
pub(crate) struct Matter {
    pub(crate) action: &'static str,
    pub(crate) object: String,
}

impl Matter {
    pub(crate) fn new(action: &'static str, object: impl Into<String>) -> Self {
        Self { action, object: object.into() }
    }
}

/// A way to a server that is no network. What goes wrong on it is told by kind and cause.
#[async_trait]
pub(crate) trait Transport: Send + Sync {
    /// Sends a request and gives the answer's head, its body to be read.
    async fn send(
        &self,
        request: http::Request<reqwest::Body>,
    ) -> Result<http::Response<reqwest::Body>, (FaultKind, String)>;
}

enum Way {
    Network(reqwest::Client),
    Other(Box<dyn Transport>),
}

/// A client for one place.
pub(crate) struct HttpClient {
    way: Way,
    place: String,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place)
    }
}

/// An answer that was not a success, with as much of its body as an error deserves.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    asked: Url,
}

impl HttpClient {
    /// A client that shows itself as `place`, which holds no secret.
    pub(crate) fn new(place: String, tls: &TlsAccess, connections: usize) -> Result<Self, Fault> {
        let misconfigured = |cause: String| Fault::new(FaultKind::Misconfigured, "use", "", &place, cause);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("triplicate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // One connection for each request moves more than many streams on one, and a broken one breaks one request.
            .http1_only()
            .pool_idle_timeout(Duration::from_secs(IDLE_SECONDS))
            .pool_max_idle_per_host(connections);
        if let Some(config) = tls::set_up(tls).map_err(misconfigured)? {
            builder = builder.tls_backend_preconfigured(config);
        }
        builder = match tls.proxy.as_ref().map(|proxy| proxy.expose_secret()) {
            None => builder,
            Some(NO_PROXY) => builder.no_proxy(),
            Some(text) => builder.proxy(proxy_at(text).map_err(misconfigured)?),
        };
        let client = builder.build().map_err(|error| misconfigured(chain(&error)))?;
        Ok(Self { way: Way::Network(client), place })
    }

    /// A client for a place that is not reached over a network.
    pub(crate) fn through(place: String, transport: Box<dyn Transport>) -> Self {
        Self { way: Way::Other(transport), place }
    }

    async fn send(&self, matter: &Matter, request: Request) -> Result<Response, Fault> {
        match &self.way {
            Way::Network(client) => client.execute(request).await.map_err(|error| self.broken(matter, &error)),
            Way::Other(transport) => {
                let request = request.try_into().map_err(|error| self.broken(matter, &error))?;
                let response = transport.send(request).await;
                response.map(Response::from).map_err(|(kind, cause)| self.fault(kind, matter, cause))
            }
        }
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn fault(&self, kind: FaultKind, matter: &Matter, cause: impl std::fmt::Display) -> Fault {
        Fault::new(kind, matter.action, &matter.object, &self.place, cause)
    }

    /// Asks and gives the answer's head; an answer other than 2xx is a [`Refusal`].
    pub(crate) async fn ask(&self, matter: &Matter, request: Request) -> Result<Result<Response, Refusal>, Fault> {
        let asked = request.url().clone();
        let flow = Flow::current();
        flow.request().await;
        let response = self.send(matter, request).await?;
        flow.note();
        if response.status().is_success() {
            return Ok(Ok(response));
        }
        let (status, headers) = (response.status(), response.headers().clone());
        // The reason is a courtesy: an error whose body cannot be read is still that error.
        let body = self.body(matter, response, ERROR_BODY_LIMIT_BYTES).await.unwrap_or_default();
        Ok(Err(Refusal { status, headers, body: String::from_utf8_lossy(&body).into_owned(), asked }))
    }

    /// The whole body of an answer, up to `limit_bytes`.
    pub(crate) async fn body(&self, matter: &Matter, mut response: Response, limit_bytes: u64) -> Result<Bytes, Fault> {
        let too_long = || {
            let cause = format!("the answer is longer than {limit_bytes} bytes");
            self.fault(FaultKind::Damaged, matter, cause)
        };
        let flow = Flow::current();
        let announced = response.content_length().unwrap_or(0);
        if limit_bytes < announced {
            return Err(too_long());
        }
        let mut body = BytesMut::with_capacity(usize::try_from(announced.min(TRUSTED_CAPACITY_BYTES)).unwrap_or(0));
        while let Some(part) = response.chunk().await.map_err(|error| self.broken(matter, &error))? {
            flow.note();
            if limit_bytes < (body.len() + part.len()) as u64 {
                return Err(too_long());
            }
            body.extend_from_slice(&part);
            flow.downloaded(part.len()).await;
        }
        Ok(body.freeze())
    }

    /// The fault that a refusal is by its status alone.
    pub(crate) fn refused(&self, matter: &Matter, refusal: &Refusal) -> Fault {
        let status = refusal.status;
        let mut cause = match redirect_cause(refusal) {
            Some(cause) => cause,
            None => format!("the server answered {}", shown_status(status)),
        };
        let reason = reason(&refusal.body);
        if !reason.is_empty() && !status.is_redirection() {
            cause = format!("{cause}: {reason}");
        }
        let mut fault = self.fault(kind_of(status), matter, cause);
        fault.wait = retry_after(&refusal.headers);
        fault
    }

    /// The fault of a request that got no complete answer.
    fn broken(&self, matter: &Matter, error: &reqwest::Error) -> Fault {
        let kind = match tls::is_about_certificates(error) {
            true => FaultKind::Misconfigured,
            false if error.is_builder() || error.is_request() && error.is_redirect() => FaultKind::Misconfigured,
            false => FaultKind::Unreachable,
        };
        self.fault(kind, matter, chain(error))
    }
}

/// The header for user and password, marked so that no `Debug` shows it.
pub(crate) fn basic_authorization(
    username: Option<&String>,
    password: Option<&Secret>,
) -> Result<Option<HeaderValue>, String> {
    if username.is_none() && password.is_none() {
        return Ok(None);
    }
    let username = username.map_or("", String::as_str);
    if username.contains(':') {
        return Err("a user name with a colon cannot be sent".to_owned());
    }
    let password = password.map_or("", |password| password.expose_secret());
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64.encode(format!("{username}:{password}"))))
        .map_err(|_| "user and password cannot be sent".to_owned())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The proxy at an address, which may hold a password and is therefore never shown.
fn proxy_at(text: &str) -> Result<reqwest::Proxy, String> {
    let wrong = || "the proxy is not an address like `http://host:3128`".to_owned();
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    reqwest::Proxy::all(url).map_err(|_| wrong())
}

/// The address of a service that was set instead of the usual one.
pub(crate) fn endpoint(text: &str) -> Result<Url, String> {
    let wrong = || "the endpoint is not an address like `https://host:8080/`".to_owned();
    let url = Url::parse(text).map_err(|_| wrong())?;
    let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let has_host = matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty());
    if is_plain && has_host && url.password().is_none() { Ok(url) } else { Err(wrong()) }
}

/// A request for `url`; what is wrong with it shows when it is sent.
pub(crate) fn request(method: Method, url: Url) -> Request {
    Request::new(method, url)
}

/// Gives a request a body of known length whose progress is seen. The length is always told: of an empty body the
/// client would say nothing, which some servers refuse.
pub(crate) fn upload(request: &mut Request, bytes: Bytes) {
    upload_parts(request, [bytes]);
}

/// The same with a body of several parts, one behind the other.
pub(crate) fn upload_parts(request: &mut Request, parts: impl IntoIterator<Item = Bytes>) {
    let rest: VecDeque<Bytes> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let upload = Upload { rest, flow: Flow::current(), granted: 0, wait: None };
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(upload.length()));
    *request.body_mut() = Some(reqwest::Body::wrap(upload));
}

/// The bytes of a file, by whatever request `ask` makes of a `Range` header; of none where all are wanted.
pub(crate) async fn read<F>(
    http: &HttpClient,
    matter: &Matter,
    span: Span,
    refused: impl FnOnce(&Refusal) -> Fault,
    ask: impl FnOnce(Option<HeaderValue>) -> F,
) -> Result<Bytes, Fault>
where
    F: Future<Output = Result<Result<Response, Refusal>, Fault>>,
{
    match span {
        Span::Whole => {
            let response = ask(None).await?.map_err(|refusal| refused(&refusal))?;
            http.body(matter, response, FILE_LIMIT_BYTES).await
        }
        Span::Range { offset, length } => {
            read_range(http, matter, offset, length, refused, |range| ask(Some(range))).await
        }
    }
}

/// Puts a range into a request.
pub(crate) fn with_range(request: &mut Request, range: Option<HeaderValue>) {
    if let Some(range) = range {
        request.headers_mut().insert(RANGE, range);
    }
}

/// Exactly `length` bytes from `offset`. A server that does not know ranges answers with everything, which is cut here.
async fn read_range<F>(
    http: &HttpClient,
    matter: &Matter,
    offset: u64,
    length: u64,
    refused: impl FnOnce(&Refusal) -> Fault,
    ask: impl FnOnce(HeaderValue) -> F,
) -> Result<Bytes, Fault>
where
    F: Future<Output = Result<Result<Response, Refusal>, Fault>>,
{
    let damaged = |cause: String| http.fault(FaultKind::Damaged, matter, cause);
    if length == 0 {
        return Ok(Bytes::new());
    }
    let last = offset.checked_add(length - 1).filter(|_| length <= FILE_LIMIT_BYTES);
    let last = last.ok_or_else(|| damaged(format!("no file has {length} bytes from {offset}")))?;
    let range = HeaderValue::from_str(&format!("bytes={offset}-{last}")).map_err(|error| damaged(error.to_string()))?;
    let response = match ask(range).await? {
        Ok(response) => response,
        Err(refusal) if refusal.status == StatusCode::RANGE_NOT_SATISFIABLE => {
            return Err(damaged(format!("{length} bytes from {offset} were asked for and the file is shorter")));
        }
        Err(refusal) => return Err(refused(&refusal)),
    };
    if response.status() != StatusCode::PARTIAL_CONTENT {
        let whole = http.body(matter, response, FILE_LIMIT_BYTES).await?;
        let end = usize::try_from(last).ok().and_then(|last| last.checked_add(1)).filter(|end| *end <= whole.len());
        return match (usize::try_from(offset), end) {
            (Ok(start), Some(end)) => Ok(whole.slice(start..end)),
            _ => Err(damaged(format!("{length} bytes from {offset} were asked for and the file has {}", whole.len()))),
        };
    }
    let told = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let starts_right = told.is_some_and(|told| told.starts_with(&format!("bytes {offset}-")));
    if !starts_right {
        return Err(damaged(format!("the server sent another range than `bytes {offset}-{last}`")));
    }
    let body = http.body(matter, response, length).await?;
    if body.len() as u64 != length {
        return Err(damaged(format!("{length} bytes from {offset} were asked for and {} came", body.len())));
    }
    Ok(body)
}

/// The `Content-Length` that a HEAD answer tells.
pub(crate) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn kind_of(status: StatusCode) -> FaultKind {
    match status.as_u16() {
        404 => FaultKind::NotFound,
        401 | 403 | 407 => FaultKind::Denied,
        507 => FaultKind::Full,
        501 | 505 => FaultKind::Refused,
        408 | 425 | 429 | 500..=599 => FaultKind::Failing,
        _ => FaultKind::Refused,
    }
}

fn shown_status(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(words) => format!("{} {words}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// Names both hosts of a redirect that was not followed.
fn redirect_cause(refusal: &Refusal) -> Option<String> {
    if !refusal.status.is_redirection() {
        return None;
    }
    let here = shown_origin(&refusal.asked);
    let target = refusal.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let there = target.and_then(|target| refusal.asked.join(target).ok());
    let there = there.map_or_else(|| "nowhere".to_owned(), |url| shown_origin(&url));
    let status = shown_status(refusal.status);
    Some(format!("{here} answered {status} and points to {there}; redirects are not followed, write the final address"))
}

fn shown_origin(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("`{}://{}{port}`", url.scheme(), url.host_str().unwrap_or_default())
}

/// The first words of a server's explanation, fit for one line; nothing when it is a page.
pub(crate) fn reason(body: &str) -> String {
    let text = body.trim_start_matches('\u{feff}').trim();
    if text.starts_with('<') {
        return String::new();
    }
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line.chars().filter(|c| !c.is_control()).take(REASON_LIMIT_CHARS).collect()
}

/// A server's error as it is shown: the word that programs branch on, then the words for people.
pub(crate) fn words_of(code: &str, message: &str) -> String {
    match reason(message) {
        message if message.is_empty() => format!("`{}`", reason(code)),
        message => format!("`{}`, {message}", reason(code)),
    }
}

/// How long the server asked us to wait: seconds, or a date that is compared with the server's own.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let moment = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let now = moment(headers.get(DATE)?.to_str().ok()?)?;
    Duration::try_from(moment(text)?.duration_since(now)).ok()
}

/// An error and what lies under it, without URLs and without saying anything twice.
fn chain(error: &reqwest::Error) -> String {
    let mut source = std::error::Error::source(error);
    let mut words: Vec<String> = Vec::new();
    while let Some(error) = source {
        let text = error.to_string();
        if !words.iter().any(|said| said.contains(&text)) {
            words.push(text);
        }
        source = error.source();
    }
    if words.is_empty() {
        // Only the outermost error of this client shows the URL, and only then.
        let kind = if error.is_timeout() { "timed out" } else { "the request failed" };
        words.push(kind.to_owned());
    }
    words.join(": ")
}

/// Bytes on their way up, in steps.
struct Upload {
    /// What is left; no part of it is empty.
    rest: VecDeque<Bytes>,
    flow: Flow,
    /// How many bytes go next, once there was their `wait`.
    granted: usize,
    wait: Option<Wait>,
}

impl Upload {
    fn length(&self) -> u64 {
        self.rest.iter().map(|part| part.len() as u64).sum()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let Some(part) = this.rest.front_mut() else { return Poll::Ready(None) };
        if this.granted == 0 {
            this.granted = part.len().min(this.flow.upload_step_bytes(UPLOAD_STEP_BYTES));
            this.wait = this.flow.upload(this.granted);
        }
        if let Some(wait) = &mut this.wait {
            ready!(wait.as_mut().poll(context));
            this.wait = None;
        }
        let step = part.split_to(std::mem::take(&mut this.granted));
        if part.is_empty() {
            this.rest.pop_front();
        }
        this.flow.note();
        Poll::Ready(Some(Ok(Frame::data(step))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn retry_after_speaks_seconds_and_dates() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
        headers.insert(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:30 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), None, "a date says nothing without the server's own");
        headers.insert(DATE, "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(30)));
        headers.insert(DATE, "Wed, 21 Oct 2015 07:29:00 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), None, "the past is no wait");
    }

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(reason("  quota\r\n exceeded\n"), "quota exceeded");
        assert_eq!(reason("<html>no</html>"), "");
        assert_eq!(reason(&"x".repeat(5000)).len(), REASON_LIMIT_CHARS);
    }
}
