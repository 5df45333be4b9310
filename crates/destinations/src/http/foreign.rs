//! Files of servers that are no copies, read from any byte on while they are what they were.

use bytes::Bytes;
use model::{Fault, FaultKind};
use reqwest::header::{ETAG, HeaderMap, HeaderValue, IF_MATCH, LAST_MODIFIED};
use reqwest::{Request, Response, StatusCode};

use super::{HttpClient, Matter, Refusal, Streamed, place_in_file, with_range};

/// What is changed in a request so that it asks for a part.
pub(crate) type Change<'a> = dyn Fn(&mut Request) + Sync + 'a;

/// What a server says of the present state of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebFacts {
    /// Bytes.
    pub size: Option<u64>,
    /// When it was last changed, in seconds since 1970.
    pub modified_seconds: Option<i64>,
    /// What the server calls this state, with its quotes.
    pub etag: Option<String>,
}

/// A file on its way.
#[derive(Debug)]
pub struct WebFile {
    /// What the server said of it before its bytes.
    pub facts: WebFacts,
    /// Which byte comes first: not every server begins where it was asked to.
    pub from: u64,
    streamed: Streamed,
}

impl WebFacts {
    /// What the head of an answer says.
    pub(crate) fn of(headers: &HeaderMap, size: Option<u64>) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let modified = text(LAST_MODIFIED).and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
        Self {
            size,
            modified_seconds: modified.map(|moment| moment.timestamp().as_second()),
            etag: text(ETAG).filter(|etag| !etag.is_empty()).map(str::to_owned),
        }
    }
}

impl HttpClient {
    /// A file from a byte on, by whatever request `ask` makes of a change to it. Behind the first byte the file must be
    /// in the state `etag`, where that is known: [`FaultKind::Damaged`] says that it is not, or has no such byte.
    pub(crate) async fn open_from(
        &self,
        matter: &Matter,
        from: u64,
        etag: Option<&str>,
        ask: impl AsyncFnOnce(&Change<'_>) -> Result<Result<Response, Refusal>, Fault>,
        refused: impl FnOnce(&Refusal) -> Fault,
    ) -> Result<WebFile, Fault> {
        let change = |request: &mut Request| {
            if from == 0 {
                return;
            }
            with_range(request, HeaderValue::from_str(&format!("bytes={from}-")).ok());
            // A weak tag never matches (RFC 9110, section 13.1.1): it is compared when the answer is there.
            if let Some(etag) = etag.filter(|etag| !etag.starts_with("W/"))
                && let Ok(etag) = HeaderValue::from_str(etag)
            {
                request.headers_mut().insert(IF_MATCH, etag);
            }
        };
        let response = match ask(&change).await? {
            Ok(response) => response,
            Err(refusal)
                if from != 0
                    && matches!(
                        refusal.status,
                        StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE
                    ) =>
            {
                return Err(self.fault(FaultKind::Damaged, matter, "the file is not what it was"));
            }
            Err(refusal) => return Err(refused(&refusal)),
        };
        let place = place_in_file(response.headers()).filter(|(first, _)| *first == 0 || *first == from);
        let Some((first, size)) = place else {
            return Err(self.fault(FaultKind::Failing, matter, "the server sent another part than was asked for"));
        };
        let facts = WebFacts::of(response.headers(), size);
        Ok(WebFile { facts, from: first, streamed: self.streamed(matter, response) })
    }

    /// The next part of a file; none when it has ended.
    pub(crate) async fn next_of(&self, file: &mut WebFile) -> Result<Option<Bytes>, Fault> {
        self.next_part(&mut file.streamed).await
    }
}
