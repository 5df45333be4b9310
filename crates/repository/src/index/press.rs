//! Where index entries become index files, on their way to every copy. Shared by threads that fill packs.

use std::sync::Mutex;
use std::time::Duration;

use format::{FileKind, FileName, IndexFile, IndexedPack, MarkedPack};

use crate::copies::fan_out::FanOut;
use crate::error::Result;
use crate::repository::Repository;
use crate::threads;

/// Blobs in one index file at the most, but for those of its last pack (restic's figure).
const BLOBS_MAX: usize = 50_000;

/// Collects entries and hands them over, a file at a time.
pub(crate) struct Press<'a> {
    repository: &'a Repository,
    /// A file is written at least this often.
    interval: Option<Duration>,
    open: Mutex<Open>,
}

struct Open {
    file: IndexFile,
    blobs: usize,
    began_at: Duration,
    written: Vec<(FileName, u64)>,
}

impl<'a> Press<'a> {
    pub(crate) fn new(repository: &'a Repository, interval: Option<Duration>) -> Self {
        let began_at = repository.clock().monotonic();
        let open = Open { file: IndexFile::default(), blobs: 0, began_at, written: Vec::new() };
        Self { repository, interval, open: Mutex::new(open) }
    }

    /// A pack that belongs to the index.
    pub(crate) fn index(&self, fan_out: &FanOut<'_>, pack: IndexedPack) -> Result<()> {
        let mut open = threads::lock(&self.open);
        open.count(pack.blobs.len());
        open.file.packs.push(pack);
        self.write_if_due(fan_out, &mut open)
    }

    /// A pack that is marked.
    pub(crate) fn mark(&self, fan_out: &FanOut<'_>, pack: MarkedPack) -> Result<()> {
        let mut open = threads::lock(&self.open);
        open.count(pack.blobs.len());
        open.file.packs_to_delete.push(pack);
        self.write_if_due(fan_out, &mut open)
    }

    fn write_if_due(&self, fan_out: &FanOut<'_>, open: &mut Open) -> Result<()> {
        let now = self.repository.clock().monotonic();
        let is_time = self.interval.is_some_and(|interval| now.saturating_sub(open.began_at) >= interval);
        if open.blobs < BLOBS_MAX && !is_time {
            return Ok(());
        }
        open.began_at = now;
        self.write(fan_out, open)
    }

    fn write(&self, fan_out: &FanOut<'_>, open: &mut Open) -> Result<()> {
        let file = std::mem::take(&mut open.file);
        open.blobs = 0;
        if file == IndexFile::default() {
            return Ok(());
        }
        let (name, bytes) = self.repository.seal_file(FileKind::Index, &file.to_bytes());
        open.written.push((name, bytes.len() as u64));
        // Under the lock, so that no later index overtakes: each copy's queue keeps the order of handing over.
        fan_out.put(name, bytes)
    }

    /// Writes what is left; gives all files that were written, with their sizes.
    pub(crate) fn finish(&self, fan_out: &FanOut<'_>) -> Result<Vec<(FileName, u64)>> {
        let mut open = threads::lock(&self.open);
        self.write(fan_out, &mut open)?;
        Ok(std::mem::take(&mut open.written))
    }
}

impl Open {
    /// A pack of which no blob is known counts as one.
    fn count(&mut self, blobs: usize) {
        self.blobs += blobs.max(1);
    }
}
