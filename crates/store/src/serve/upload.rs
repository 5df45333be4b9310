//! A body on its way in: received in windows, each hashed and written while the next one is received.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use format::FileKind;
use http_body::Body;
use http_body_util::BodyExt;

use super::answers::Trouble;
use super::budget::Budget;
use super::download::broken_off;
use super::exchange::Exchange;
use super::scribes::{Job, Removed, Scribes, Window, Written};
use crate::error::StoreError;
use crate::gate::{Denied, Reservation};
use crate::names::RepositoryPlace;
use crate::vault::{Incoming, Vault};

/// No sound file of these kinds comes near it.
const SMALL_FILE_BYTES_MAX: u64 = 1 << 20;
/// Packs are 16 MiB as a rule and below 1 GiB always; an index of a large repository stays far below, too.
const LARGE_FILE_BYTES_MAX: u64 = 1 << 30;
/// So much is hashed and written at once. Two of each of a hundred uploads fit into the budget.
const WINDOW_BYTES: usize = 256 << 10;
/// Tiny pieces cost more than their bytes.
const WINDOW_PIECES_MAX: usize = 256;
/// A body that pauses for longer has its window written: memory is not for those who wait.
const PAUSE: Duration = Duration::from_millis(200);
/// What a client that was let in may still send of a body that was refused, so that it reads why.
const REFUSED_BYTES_MAX: u64 = 64 << 20;
/// What a stranger may.
const STRANGERS_BYTES_MAX: u64 = 256 << 10;

/// How large a file of this kind may be.
pub(super) const fn bytes_max(kind: FileKind) -> u64 {
    match kind {
        FileKind::Config | FileKind::Key | FileKind::Lock => SMALL_FILE_BYTES_MAX,
        FileKind::Pack | FileKind::Index | FileKind::Snapshot => LARGE_FILE_BYTES_MAX,
    }
}

/// A body that has come whole, and not all of which is written.
#[derive(Debug)]
pub(super) struct Received {
    writer: Writer,
    /// What came last.
    rest: Window,
    pub(super) bytes: u64,
}

#[derive(Debug)]
struct Writer {
    vault: Vault,
    place: RepositoryPlace,
    scribes: Arc<Scribes>,
    /// The window that is being written, and afterwards the file; nothing before the first.
    writing: Option<Written>,
}

impl Writer {
    /// The file, once the last window is written.
    async fn file(&mut self) -> Result<Option<Removed>, StoreError> {
        match self.writing.take() {
            None => Ok(None),
            Some(written) => written.await.unwrap_or_else(|_| Err(broken_off())).map(Some),
        }
    }

    /// Has a window written; waits only for the one before it.
    async fn write(&mut self, window: Window) -> Result<(), StoreError> {
        let file = self.file().await?;
        self.writing = Some(self.scribes.write(self.job(file, window)));
        Ok(())
    }

    fn job(&self, file: Option<Removed>, window: Window) -> Job {
        Job { vault: self.vault.clone(), place: self.place.clone(), file, window }
    }
}

impl Received {
    /// Writes the rest; blocks.
    pub(super) fn finish(self, file: Option<FileSoFar>) -> Result<Incoming, StoreError> {
        let mut last = self.writer.job(file.map(|file| file.0), self.rest);
        let mut incoming = last.file()?;
        incoming.write(&last.window.pieces)?;
        Ok(incoming)
    }

    /// Waits for what is being written.
    pub(super) async fn settle(&mut self) -> Result<Option<FileSoFar>, StoreError> {
        Ok(self.writer.file().await?.map(FileSoFar))
    }
}

/// What is written of a body that has come whole.
pub(super) struct FileSoFar(Removed);

/// What a body is received with.
pub(super) struct Surroundings<'a> {
    pub(super) vault: &'a Vault,
    pub(super) exchange: &'a Exchange,
    pub(super) budget: &'a Budget,
    pub(super) scribes: &'a Arc<Scribes>,
}

/// Receives a body. `reservation` grows with one whose length was not announced.
pub(super) async fn receive<B>(
    body: &mut B,
    place: &RepositoryPlace,
    kind: FileKind,
    reservation: &mut dyn Reservation,
    surroundings: Surroundings<'_>,
) -> Result<Received, Trouble>
where
    B: Body<Data = Bytes> + Unpin,
{
    let Surroundings { vault, exchange, budget, scribes } = surroundings;
    let mut reserved = announced(body).unwrap_or(0);
    let mut writer = Writer { vault: vault.clone(), place: place.clone(), scribes: Arc::clone(scribes), writing: None };
    let mut window = Window::default();
    let mut bytes = 0;
    let mut slowed = pin!(exchange.pulse.slowed());
    loop {
        let next = async { if window.bytes == 0 { Ok(body.frame().await) } else { within_pause(body.frame()).await } };
        let waited = tokio::select! {
            biased;
            waited = next => waited,
            () = &mut slowed => return Err(Trouble::TooSlow),
        };
        let Ok(frame) = waited else {
            writer.write(std::mem::take(&mut window)).await.map_err(Trouble::Own)?;
            continue;
        };
        let Some(frame) = frame else { break };
        let Ok(frame) = frame else { return Err(Trouble::Incomplete) };
        let Ok(piece) = frame.into_data() else { continue };
        exchange.received(piece.len());
        bytes += piece.len() as u64;
        if bytes > bytes_max(kind) {
            return Err(Trouble::TooLarge);
        }
        if bytes > reserved {
            reservation.grow(bytes - reserved).map_err(|exceeded| Trouble::Denied(Denied::Exceeded(exceeded)))?;
            reserved = bytes;
        }
        window.bytes += piece.len();
        window.pieces.push(piece);
        if window.portion.is_none() {
            window.portion = budget.take(WINDOW_BYTES);
        }
        let is_full = window.bytes >= WINDOW_BYTES || window.pieces.len() >= WINDOW_PIECES_MAX;
        if is_full || window.portion.is_none() {
            writer.write(std::mem::take(&mut window)).await.map_err(Trouble::Own)?;
        }
    }
    Ok(Received { writer, rest: window, bytes })
}

/// What the body's length was said to be.
pub(super) fn announced(body: &impl Body) -> Option<u64> {
    body.size_hint().exact()
}

/// The answer of `next`, unless it takes longer than a pause. No timer is set where it is there already.
async fn within_pause<T>(next: impl Future<Output = T>) -> Result<T, ()> {
    tokio::time::timeout(PAUSE, next).await.map_err(|_| ())
}

/// Reads what is left of a body that was refused, within bounds: a client that still writes would not read why. The
/// answer is on its way meanwhile, and the connection's own limits hold.
pub(super) fn drain<B>(mut body: B, is_stranger: bool)
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let most = if is_stranger { STRANGERS_BYTES_MAX } else { REFUSED_BYTES_MAX };
    if body.is_end_stream() || announced(&body).is_some_and(|bytes| bytes > most) {
        return;
    }
    tokio::spawn(async move {
        let mut bytes = 0;
        while bytes <= most {
            match body.frame().await {
                Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                _ => return,
            }
        }
    });
}
