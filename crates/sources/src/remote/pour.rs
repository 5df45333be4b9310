//! One file on its way from a server, across connections that drop.
//!
//! What was handed over is never taken back, so it must be the beginning of what follows. While the server says that the
//! file is what it was, that is so, and reading goes on where it stopped. When the file changed, it is read once more from
//! its first byte: if that begins with what was handed over, the rest follows; if not, or when it changed again, this file
//! cannot be read. One that only grows, as logs do all the time, is read up to where it ended when it was read anew.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use destinations::reach::{Patience, Series};
use model::{Fault, FaultKind};
use repository::backup::ErrorScope;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::Sender;

use super::origin::error_of;
use super::reader::Part;
use super::tree::{Opened, State, Tree};

/// How much is handed over in one piece.
pub(super) const PIECE_BYTES: usize = 1 << 20;
/// How many pieces may wait for the engine.
pub(super) const PIECES_AHEAD: usize = 4;

/// A file on its way.
pub(super) struct Pour {
    pub(super) tree: Arc<dyn Tree>,
    pub(super) patience: Arc<Patience>,
    pub(super) stall: Duration,
    pub(super) path: Vec<u8>,
    pub(super) sink: Sender<Part>,
}

/// How far it has come.
#[derive(Default)]
struct Progress {
    /// What the file is while it is read; none before it was opened anew.
    state: Option<State>,
    /// Bytes that count as read, and what they hash to.
    read: u64,
    digest: Sha256,
    /// Of these, those that were not handed over yet.
    piece: BytesMut,
    is_anew: bool,
    /// The file is read anew, and nobody has seen yet that it begins with what was read before.
    is_unproven: bool,
    /// It was read anew and begins with what was read before.
    is_grower: bool,
}

enum Halt {
    Fault(Fault),
    /// The file is not what it was.
    Changed,
    /// Nobody wants it any more.
    Unwanted,
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        // What a server says of a byte that is not there any more, or of a state that is none.
        if fault.kind == FaultKind::Damaged { Self::Changed } else { Self::Fault(fault) }
    }
}

impl Pour {
    /// Pours a file that was opened just now.
    pub(super) async fn run(self, opened: Opened) {
        let outcome = match self.poured(opened).await {
            Ok(()) => Part::End,
            Err(Halt::Fault(fault)) => Part::Failed(error_of(fault)),
            Err(Halt::Changed) => {
                let cause = "it changed while it was read, and again when it was read anew".to_owned();
                Part::Failed(error_of(self.fault(FaultKind::Damaged, cause)).of(ErrorScope::Unreadable))
            }
            Err(Halt::Unwanted) => return,
        };
        // Whoever does not listen any more does not want to know.
        let _ = self.sink.send(outcome).await;
    }

    fn fault(&self, kind: FaultKind, cause: String) -> Fault {
        Fault::new(kind, "read", String::from_utf8_lossy(&self.path), self.tree.place(), cause)
    }

    async fn poured(&self, opened: Opened) -> Result<(), Halt> {
        let mut progress = Progress::default();
        let mut series = self.patience.series();
        let mut next = Ok(opened);
        loop {
            let drained = match next {
                Ok(opened) => self.drained(opened, &mut progress, &mut series).await,
                Err(halt) => Err(halt),
            };
            match drained {
                Ok(()) => return self.handed_over(&mut progress, 0).await,
                Err(Halt::Changed) if !progress.is_anew => {
                    progress.is_anew = true;
                    progress.is_unproven = 0 < progress.read;
                    progress.state = None;
                }
                Err(Halt::Fault(fault)) => series.pause(fault).await?,
                Err(halt) => return Err(halt),
            }
            next = self.opened(&progress).await;
        }
    }

    async fn opened(&self, progress: &Progress) -> Result<Opened, Halt> {
        let state = progress.state.as_ref();
        // Nobody can be asked for what follows the last byte.
        let last = state.and_then(|state| state.size).map_or(u64::MAX, |size| size.saturating_sub(1));
        let from = if progress.is_unproven { 0 } else { progress.read.min(last) };
        let opening = self.tree.open(&self.path, from, state);
        match destinations::reach::watched(self.stall, opening).await {
            Some(opened) => Ok(opened?),
            None => Err(Halt::Fault(self.stalled())),
        }
    }

    fn stalled(&self) -> Fault {
        self.fault(FaultKind::Stalled, format!("nothing moved for {} s", self.stall.as_secs()))
    }

    /// Everything that an opening gives.
    async fn drained(&self, opened: Opened, progress: &mut Progress, series: &mut Series<'_>) -> Result<(), Halt> {
        let Opened { state: told, from, mut content } = opened;
        if progress.state.as_ref().is_some_and(|state| state.differs(&told)) {
            return Err(Halt::Changed);
        }
        let state = progress.state.get_or_insert(told).clone();
        let mut proof = progress.is_unproven.then(Sha256::new);
        let mut at = from;
        if progress.read < at || proof.is_some() && at != 0 {
            return Err(Halt::Fault(self.fault(FaultKind::Failing, "another part came than was asked for".to_owned())));
        }
        loop {
            let part = match tokio::time::timeout(self.stall, content.next()).await {
                Ok(part) => part?,
                Err(_) => return Err(Halt::Fault(self.stalled())),
            };
            let Some(mut part) = part else { break };
            let known = progress.read.saturating_sub(at).min(part.len() as u64) as usize;
            at += part.len() as u64;
            let excess = state.size.map_or(0, |size| at.saturating_sub(size));
            if 0 < excess && !progress.is_grower {
                return Err(Halt::Changed);
            }
            part.truncate(part.len().saturating_sub(excess as usize));
            at -= excess;
            if let Some(proof) = &mut proof {
                proof.update(part.get(..known).unwrap_or_default());
            }
            part.advance(known);
            if progress.read <= at
                && let Some(proof) = proof.take()
            {
                self.prove(progress, &proof.finalize())?;
            }
            if !part.is_empty() {
                progress.read = at;
                progress.digest.update(&part);
                progress.piece.extend_from_slice(&part);
                series.progressed();
                self.handed_over(progress, PIECE_BYTES).await?;
            }
            if 0 < excess {
                return Ok(());
            }
        }
        if proof.is_some() {
            self.prove(progress, &[])?;
        }
        if state.size.is_some_and(|size| at < size) {
            return Err(Halt::Fault(self.fault(FaultKind::Unreachable, "the file ended too early".to_owned())));
        }
        let after = match destinations::reach::watched(self.stall, content.state_after()).await {
            Some(after) => after?,
            None => return Err(Halt::Fault(self.stalled())),
        };
        match after {
            Some(after) if progress.is_grower && state.size < after.size => Ok(()),
            Some(after) if after.differs(&state) => Err(Halt::Changed),
            _ => Ok(()),
        }
    }

    /// The file that is read anew begins with what was read before, or there is none to read.
    fn prove(&self, progress: &mut Progress, found: &[u8]) -> Result<(), Halt> {
        if progress.digest.clone().finalize()[..] != *found {
            return Err(Halt::Changed);
        }
        (progress.is_unproven, progress.is_grower) = (false, true);
        Ok(())
    }

    /// Hands over what there is, when it is so much at least.
    async fn handed_over(&self, progress: &mut Progress, at_least: usize) -> Result<(), Halt> {
        if progress.piece.is_empty() || progress.piece.len() < at_least {
            return Ok(());
        }
        let piece: Bytes = progress.piece.split().freeze();
        self.sink.send(Part::Bytes(piece)).await.map_err(|_| Halt::Unwanted)
    }
}
