//! Index files that are written anew: entries of old files that stay, and new ones.

use format::{FileKind, FileName, IndexFile, IndexedPack, MarkedPack};

use crate::copies::fan_out::FanOut;
use crate::error::Result;
use crate::repository::Repository;

/// Blobs in one index file at the most (restic's figure).
const BLOBS_MAX: usize = 50_000;

/// Collects entries and hands them over, a file at a time.
pub(super) struct NewIndexes<'a> {
    repository: &'a Repository,
    fan_out: &'a FanOut<'a>,
    open: IndexFile,
    blobs: usize,
    written: Vec<FileName>,
}

impl<'a> NewIndexes<'a> {
    pub(super) fn new(repository: &'a Repository, fan_out: &'a FanOut<'a>) -> Self {
        Self { repository, fan_out, open: IndexFile::default(), blobs: 0, written: Vec::new() }
    }

    pub(super) fn add(&mut self, pack: IndexedPack) -> Result<()> {
        self.blobs += pack.blobs.len();
        self.open.packs.push(pack);
        if self.blobs >= BLOBS_MAX { self.write() } else { Ok(()) }
    }

    /// A pack that a prune has marked stays marked.
    pub(super) fn add_marked(&mut self, pack: MarkedPack) -> Result<()> {
        self.blobs += pack.blobs.len() + 1;
        self.open.packs_to_delete.push(pack);
        if self.blobs >= BLOBS_MAX { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        let file = std::mem::take(&mut self.open);
        self.blobs = 0;
        if file == IndexFile::default() {
            return Ok(());
        }
        let (name, bytes) = self.repository.seal_file(FileKind::Index, &file.to_bytes());
        self.written.push(name);
        self.fan_out.put(name, bytes)
    }

    /// Hands over the rest; gives the names of all new files.
    pub(super) fn finish(mut self) -> Result<Vec<FileName>> {
        self.write()?;
        Ok(self.written)
    }
}
