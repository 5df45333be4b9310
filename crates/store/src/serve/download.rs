//! Files and listings on their way out, piece by piece, the next piece read while the last one is sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use super::budget::{Budget, Portion};
use super::ranges::Part;
use crate::error::StoreError;
use crate::vault::{Listing, StoredFile};

/// A part that is not longer is read at once.
pub(super) const AT_ONCE_BYTES: u64 = 64 << 10;
/// Longer ones are read in pieces of this size, while the budget lasts.
const PIECE_BYTES: usize = 256 << 10;
/// And in these when it is spent.
const SMALL_PIECE_BYTES: usize = 16 << 10;
/// A listing is sent in pieces of about this size.
const LISTING_PIECE_BYTES: usize = 64 << 10;

type Piece = (Bytes, Option<Portion>);

/// A part of a file as a body.
pub(super) struct FileBody {
    file: StoredFile,
    budget: Budget,
    /// What is yet to be read.
    ahead: Part,
    /// What is yet to be sent.
    unsent: u64,
    reading: Option<JoinHandle<Result<Piece, StoreError>>>,
    /// The budget of the piece that the connection is sending.
    sending: Option<Portion>,
}

impl FileBody {
    pub(super) fn new(file: StoredFile, part: Part, budget: Budget) -> Self {
        let mut body = Self { file, budget, ahead: part, unsent: part.length, reading: None, sending: None };
        body.read_on();
        body
    }

    fn read_on(&mut self) {
        if self.ahead.length == 0 {
            return;
        }
        let portion = self.budget.take(PIECE_BYTES);
        let most = if portion.is_some() { PIECE_BYTES } else { SMALL_PIECE_BYTES };
        let length = usize::try_from(self.ahead.length).map_or(most, |rest| rest.min(most));
        let (file, offset) = (self.file.clone(), self.ahead.offset);
        self.ahead.offset += length as u64;
        self.ahead.length -= length as u64;
        self.reading = Some(tokio::task::spawn_blocking(move || Ok((file.read(offset, length)?, portion))));
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // Whoever asks for more has sent, or copied, what it had.
        self.sending = None;
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        match read.unwrap_or_else(|_| Err(broken_off())) {
            Ok((bytes, portion)) => {
                self.sending = portion;
                self.unsent -= bytes.len() as u64;
                self.read_on();
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Err(error) => {
                self.ahead.length = 0;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.unsent == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.unsent)
    }
}

/// How a listing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListingForm {
    /// Names.
    V1,
    /// Names and sizes.
    V2,
}

impl ListingForm {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            ListingForm::V1 => "application/vnd.x.restic.rest.v1",
            ListingForm::V2 => "application/vnd.x.restic.rest.v2",
        }
    }
}

/// A listing that is being written as JSON.
pub(super) struct Writing {
    listing: Listing,
    form: ListingForm,
    is_begun: bool,
    is_over: bool,
}

impl Writing {
    pub(super) fn new(listing: Listing, form: ListingForm) -> Self {
        Self { listing, form, is_begun: false, is_over: false }
    }

    /// The next piece of the text. Names are hexadecimal: nothing in them has to be escaped.
    fn piece(&mut self) -> Result<Bytes, StoreError> {
        let mut text = String::new();
        while text.len() < LISTING_PIECE_BYTES {
            let Some(listed) = self.listing.next() else {
                text.push_str(if self.is_begun { "]" } else { "[]" });
                self.is_over = true;
                break;
            };
            let listed = listed?;
            text.push(if self.is_begun { ',' } else { '[' });
            self.is_begun = true;
            let name = listed.name.id().map(|id| id.to_hex()).unwrap_or_default();
            match self.form {
                ListingForm::V1 => text.push_str(&format!("\"{name}\"")),
                ListingForm::V2 => text.push_str(&format!("{{\"name\":\"{name}\",\"size\":{}}}", listed.bytes)),
            }
        }
        Ok(Bytes::from(text))
    }

    /// The body, with its first piece made: what goes wrong before it is an answer of its own. Blocks.
    pub(super) fn into_body(mut self) -> Result<Body, StoreError> {
        let first = self.piece()?;
        if self.is_over {
            return Ok(Body::from(first));
        }
        Ok(Body::new(ListingBody { first: Some(first), idle: Some(self), making: None }))
    }
}

struct ListingBody {
    first: Option<Bytes>,
    idle: Option<Writing>,
    making: Option<JoinHandle<(Writing, Result<Bytes, StoreError>)>>,
}

impl http_body::Body for ListingBody {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        // Made when it is asked for: a slow client holds one piece, and no thread.
        if let Some(mut writing) = self.idle.take() {
            self.making = Some(tokio::task::spawn_blocking(move || {
                let piece = writing.piece();
                (writing, piece)
            }));
        }
        let Some(making) = &mut self.making else { return Poll::Ready(None) };
        let made = ready!(Pin::new(making).poll(context));
        self.making = None;
        match made {
            Ok((writing, Ok(piece))) => {
                self.idle = (!writing.is_over).then_some(writing);
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Ok((_, Err(error))) => Poll::Ready(Some(Err(error))),
            Err(_) => Poll::Ready(Some(Err(broken_off()))),
        }
    }
}

/// The runtime ended, or reading panicked.
pub(super) fn broken_off() -> StoreError {
    StoreError::BrokenOff { reason: "the server stopped".to_owned() }
}
