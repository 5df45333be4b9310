//! What a client is told. Short texts, the same for everybody who may not know more.
//!
//! Statuses are those of restic's own server where it has the case. What failed on the server's side goes to the log,
//! and the client is told that something did.

use axum::body::Body;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

use crate::error::StoreError;
use crate::gate::{Denied, Exceeded, RefusalKind, Refused};
use crate::route::RouteError;

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The path or the method is none of the protocol's.
    Route(RouteError),
    /// Not let in.
    Refused(Refused),
    /// The credential's role does not permit it.
    Role,
    /// Quota, floor, or a closed state.
    Denied(Denied),
    /// Other bytes have that name.
    Taken,
    /// There is no such file or repository.
    Absent,
    /// The range is none of this file, which is so long; or no range at all.
    Range(Option<u64>),
    /// The body is not what its name says.
    WrongHash,
    /// The body is larger than any file of its kind.
    TooLarge,
    /// The body ended before its announced length, or broke off.
    Incomplete,
    /// The body comes so slowly that the client only holds a place.
    TooSlow,
    /// The disk is full: so many bytes are left.
    Full(u64),
    /// The server's own failure.
    Own(StoreError),
}

impl Trouble {
    /// What it is counted as; nothing for what is nobody's misdeed.
    pub(super) fn refusal(&self) -> Option<RefusalKind> {
        match self {
            Self::Route(_) => Some(RefusalKind::Route),
            Self::Refused(Refused::Unauthorized) => Some(RefusalKind::Login),
            Self::Refused(Refused::TooMany { .. }) => Some(RefusalKind::TooMany),
            Self::Role => Some(RefusalKind::Role),
            Self::Denied(Denied::Floor { .. } | Denied::Unknown) => Some(RefusalKind::Floor),
            Self::Denied(Denied::Exceeded(_)) | Self::Full(_) => Some(RefusalKind::Quota),
            Self::Taken => Some(RefusalKind::Taken),
            Self::WrongHash | Self::TooLarge | Self::Incomplete | Self::TooSlow => Some(RefusalKind::Body),
            Self::Refused(Refused::Closed) | Self::Denied(Denied::Closed) => None,
            Self::Absent | Self::Range(_) | Self::Own(_) => None,
        }
    }

    /// For the log alone.
    pub(super) fn cause(&self) -> Option<String> {
        match self {
            Self::Own(error) => Some(error.to_string()),
            Self::Refused(Refused::Closed) | Self::Denied(Denied::Closed) => Some("the state is closed".to_owned()),
            Self::Denied(Denied::Unknown) => {
                Some("the file's row in the journal is damaged; `triplicate store sweep` puts it right".to_owned())
            }
            _ => None,
        }
    }

    /// Whether whoever asks has not been let in, so that no more of the body is read than politeness needs.
    pub(super) fn is_stranger(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    pub(super) fn answer(&self) -> Response<Body> {
        match self {
            Self::Route(RouteError::Path) | Self::Absent => text(StatusCode::NOT_FOUND, "Not Found"),
            Self::Route(RouteError::Method) => with(
                text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
                ALLOW,
                HeaderValue::from_static("HEAD, GET, POST, DELETE"),
            ),
            Self::Refused(refused) => refusal(*refused),
            Self::Role => text(StatusCode::FORBIDDEN, "Forbidden"),
            Self::Taken => text(StatusCode::FORBIDDEN, "Forbidden: the name is taken by other bytes"),
            Self::Denied(Denied::Floor { received_at, free_at }) => {
                let why = format!("Forbidden: received at {received_at}, may be removed from {free_at} on");
                text(StatusCode::FORBIDDEN, &why)
            }
            Self::Denied(Denied::Unknown) => {
                text(StatusCode::FORBIDDEN, "Forbidden: when it was received is not known; the server's log says why")
            }
            Self::Denied(Denied::Exceeded(Exceeded { quota, remaining })) => {
                let why = format!("Insufficient Storage: {remaining} {} left of the quota", quota.word());
                text(StatusCode::INSUFFICIENT_STORAGE, &why)
            }
            Self::Full(bytes) => {
                text(StatusCode::INSUFFICIENT_STORAGE, &format!("Insufficient Storage: {bytes} bytes left on the disk"))
            }
            Self::Denied(Denied::Closed) => refusal(Refused::Closed),
            Self::Range(None) => text(StatusCode::RANGE_NOT_SATISFIABLE, "invalid range"),
            Self::Range(Some(bytes)) => with(
                text(StatusCode::RANGE_NOT_SATISFIABLE, "invalid range: failed to overlap"),
                CONTENT_RANGE,
                value(&format!("bytes */{bytes}")),
            ),
            Self::WrongHash => text(StatusCode::BAD_REQUEST, "Bad Request: the name is not the content's SHA-256"),
            Self::Incomplete => text(StatusCode::BAD_REQUEST, "Bad Request: the body broke off"),
            Self::TooSlow => with(
                text(StatusCode::REQUEST_TIMEOUT, "Request Timeout: the body comes too slowly"),
                CONNECTION,
                HeaderValue::from_static("close"),
            ),
            Self::TooLarge => text(StatusCode::PAYLOAD_TOO_LARGE, "Content Too Large"),
            Self::Own(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }
}

fn refusal(refused: Refused) -> Response<Body> {
    match refused {
        Refused::Unauthorized => with(
            text(StatusCode::UNAUTHORIZED, "Unauthorized"),
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"triplicate store\""),
        ),
        Refused::TooMany { retry_after } => {
            let seconds = retry_after.as_secs().max(1);
            with(text(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"), RETRY_AFTER, HeaderValue::from(seconds))
        }
        Refused::Closed => text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}

/// Done, and nothing to say about it.
pub(super) fn done() -> Response<Body> {
    Response::new(Body::empty())
}

/// A line of text.
pub(super) fn text(status: StatusCode, line: &str) -> Response<Body> {
    let mut answer = Response::new(Body::from(format!("{line}\n")));
    *answer.status_mut() = status;
    let answer = with(answer, CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    with(answer, http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
}

/// The same with one more header.
pub(super) fn with(mut answer: Response<Body>, name: http::HeaderName, value: HeaderValue) -> Response<Body> {
    answer.headers_mut().insert(name, value);
    answer
}

/// The same with the length of its body, also where the body is not sent.
pub(super) fn with_length(answer: Response<Body>, bytes: u64) -> Response<Body> {
    with(answer, CONTENT_LENGTH, HeaderValue::from(bytes))
}

/// Text of ours as a header's value.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
