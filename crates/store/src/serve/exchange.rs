//! One request and its answer, as they will stand in the log.
//!
//! The line is written when the answer's body is dropped: sent to its end, or broken off.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use clock::Clock;
use http::request::Parts;
use http_body::{Body as _, Frame, SizeHint};

use super::pulse::Pulse;
use crate::access_log::{AccessLog, RequestLine};
use crate::names::Login;
use crate::route::PATH_BYTES_MAX;

/// What is known of a request while it runs.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) pulse: Arc<Pulse>,
    clock: Arc<dyn Clock>,
    started: Duration,
    line: RequestLine,
    bytes_in: Arc<AtomicU64>,
}

impl Exchange {
    pub(super) fn begin(pulse: Arc<Pulse>, clock: Arc<dyn Clock>, request: String, head: &Parts) -> Self {
        pulse.begin_request();
        let mut path = head.uri.path().to_owned();
        // The parser of heads lets through what is no ASCII: a cut must not go through the middle of a character.
        path.truncate(path.floor_char_boundary(PATH_BYTES_MAX));
        let line = RequestLine {
            request,
            from: pulse.address.map_or_else(|| "unix".to_owned(), |address| address.to_string()),
            login: None,
            method: head.method.as_str().chars().take(16).collect(),
            path,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            milliseconds: 0,
            broken_off: true,
            refused: None,
            error: None,
        };
        Self { started: clock.monotonic(), pulse, clock, line, bytes_in: Arc::default() }
    }

    pub(super) fn request(&self) -> &str {
        &self.line.request
    }

    pub(super) fn login(&mut self, login: &Login) {
        self.line.login = Some(login.to_string());
    }

    pub(super) fn refused(&mut self, word: Option<&'static str>, error: Option<String>) {
        self.line.refused = word;
        self.line.error = error;
    }

    /// Counts what comes in.
    pub(super) fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The answer's body, which writes the line at its end.
    pub(super) fn follow(mut self, status: u16, body: Body, log: AccessLog) -> Body {
        self.line.status = status;
        Body::new(Followed { inner: body, log, bytes: 0, is_over: false, exchange: self })
    }
}

struct Followed {
    inner: Body,
    log: AccessLog,
    bytes: u64,
    is_over: bool,
    exchange: Exchange,
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let answer = Pin::new(&mut self.inner).poll_frame(context);
        match &answer {
            Poll::Ready(Some(Ok(frame))) => {
                self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.is_over = self.inner.is_end_stream();
            }
            Poll::Ready(Some(Err(error))) => self.exchange.line.error = Some(error.to_string()),
            Poll::Ready(None) => self.is_over = true,
            Poll::Pending => {}
        }
        answer
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let exchange = &mut self.exchange;
        exchange.pulse.end_request();
        let line = &mut exchange.line;
        line.bytes_in = exchange.bytes_in.load(Ordering::Relaxed);
        line.bytes_out = self.bytes;
        // An answer to HEAD, and an empty one, has a body that nobody asks for its end.
        line.broken_off = !self.is_over && !self.inner.is_end_stream() && line.method != "HEAD";
        let taken = exchange.clock.monotonic().saturating_sub(exchange.started);
        line.milliseconds = u64::try_from(taken.as_millis()).unwrap_or(u64::MAX);
        self.log.request(line);
    }
}
