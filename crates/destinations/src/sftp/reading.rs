//! Reading through one session: what is in a folder, and pieces of files.

use bytes::Bytes;

use super::session::{Session, refused};
use super::trouble::{self, Result, Trouble};
use super::wire::{Answer, Ask, Attributes};
use crate::pace::flow::Flow;

/// Parts of one listing that are asked for at one time.
const PAGES_AT_ONCE: usize = 8;

impl Session {
    /// Everything in a folder. Several parts are asked for at one time; the listing is whole when the server has said
    /// that it ends and every part that was asked for has come.
    pub(super) async fn folder_entries(self: &std::sync::Arc<Self>, path: &[u8]) -> Result<Vec<(Bytes, Attributes)>> {
        let handle = self.open(Ask::OpenFolder(path)).await?;
        let (mut entries, mut at_once, mut has_ended) = (Vec::new(), 1, false);
        while !has_ended {
            let parts = (0..at_once).map(|_| self.ask(Ask::ReadFolder(handle.name())));
            for part in futures::future::join_all(parts).await {
                match part? {
                    Answer::Names(names) => entries.extend(names),
                    Answer::Status { code, .. } if trouble::is_end(code) => has_ended = true,
                    other => return Err(refused(other, "another answer than names")),
                }
            }
            at_once = (2 * at_once).min(PAGES_AT_ONCE);
        }
        Ok(entries)
    }

    /// Fills `piece` from `offset`; a server may answer with less than was asked for, as often as it likes.
    pub(super) async fn fill(&self, handle: &Bytes, offset: u64, piece: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while let Some(rest) = piece.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let data = self.piece(handle, offset + filled as u64, rest.len() as u32).await?;
            let Some(target) = rest.get_mut(..data.len()) else {
                return Err(Trouble::protocol("more bytes came than were asked for"));
            };
            target.copy_from_slice(&data);
            filled += data.len();
        }
        Ok(())
    }

    /// Bytes from `offset`, at most `length` and at least one.
    pub(super) async fn piece(&self, handle: &Bytes, offset: u64, length: u32) -> Result<Bytes> {
        match self.ask(Ask::Read(handle, offset, length)).await? {
            Answer::Data(data) if data.is_empty() => Err(Trouble::protocol("an answer without bytes")),
            Answer::Data(data) => {
                Flow::current().downloaded(data.len()).await;
                Ok(data)
            }
            Answer::Status { code, .. } if trouble::is_end(code) => Err(Trouble::damaged("the file ends")),
            other => Err(refused(other, "another answer than bytes")),
        }
    }
}
