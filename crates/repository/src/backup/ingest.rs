//! From plain text to packs on their way to every copy: hash, deduplicate, compress, seal, verify, pack.
//!
//! [`Ingest`] is shared by all workers; each worker has its own [`Bench`] with an open pack per blob kind, so that no
//! lock is held while bytes are worked on. Blobs and packs are hashed several at a time, because two hashes side by side
//! cost little more than one. A blob is claimed before it is compressed: of two workers that meet the same
//! new blob one stores it, and the run counts only once both packs are acknowledged, so the other may go on.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use format::{BlobKind, ClosedPack, Compression, Compressor, FinishedPack, IndexedPack, PackWriter, Proof};
use model::Id;

use crate::buffers::Buffers;
use crate::copies::fan_out::FanOut;
use crate::error::{Error, Result};
use crate::index::press::Press;
use crate::packing;
use crate::repository::Indexed;
use crate::threads;

/// An index file is written at least this often, so that a broken run's packs can be used by the next.
const INDEX_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Locks for the set of new blobs; a power of two.
const CLAIM_SHARDS: usize = 64;

/// Buffers of packs that are kept for later packs; in a backup that is bound by the processor, few are on their way.
const SPARE_PACKS_MAX: usize = 4;

/// Buffers for windows of large files that are kept for later ones.
const SPARE_WINDOWS_MAX: usize = 4;

/// What was stored.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) data_blobs: AtomicU64,
    pub(super) tree_blobs: AtomicU64,
    /// Plain bytes of new blobs.
    pub(super) plain_bytes: AtomicU64,
    /// Bytes of new blobs in packs, sealed.
    pub(super) packed_bytes: AtomicU64,
}

/// Where all new blobs of a run go.
pub(super) struct Ingest<'a> {
    indexed: &'a Indexed<'a>,
    /// None in a dry run: everything is done but the packs go nowhere.
    fan_out: Option<FanOut<'a>>,
    compression: Compression,
    verify: bool,
    claimed: Vec<Mutex<HashSet<(BlobKind, Id)>>>,
    index: Press<'a>,
    /// A full pack that waits for another one, to be hashed together.
    unnamed: Mutex<Option<ClosedPack>>,
    buffers: Buffers,
    /// For windows of large files.
    pub(super) windows: Buffers,
    pub(super) stored: Stored,
}

/// One worker's tools and open packs.
pub(super) struct Bench {
    compressor: Compressor,
    proof: Proof,
    data: PackWriter,
    trees: PackWriter,
    /// Where small files are read into, one behind the other.
    pub(super) small_files: Vec<u8>,
}

impl<'a> Ingest<'a> {
    pub(super) fn new(
        indexed: &'a Indexed<'a>,
        fan_out: Option<FanOut<'a>>,
        compression: Compression,
        verify: bool,
    ) -> Self {
        Self {
            indexed,
            fan_out,
            compression,
            verify,
            claimed: (0..CLAIM_SHARDS).map(|_| Mutex::default()).collect(),
            index: Press::new(indexed.repository, Some(INDEX_INTERVAL)),
            unnamed: Mutex::default(),
            buffers: Buffers::new(SPARE_PACKS_MAX),
            windows: Buffers::new(SPARE_WINDOWS_MAX),
            stored: Stored::default(),
        }
    }

    pub(super) fn bench(&self) -> Bench {
        Bench {
            compressor: Compressor::new(self.compression),
            proof: Proof::default(),
            data: PackWriter::new(),
            trees: PackWriter::new(),
            small_files: Vec::new(),
        }
    }

    /// Stores a blob unless it is there; gives its id.
    pub(super) fn save(&self, bench: &mut Bench, kind: BlobKind, plain: &[u8]) -> Result<Id> {
        let id = format::hash(plain);
        self.store(bench, kind, id, plain)?;
        Ok(id)
    }

    /// Stores several blobs, those that are not there yet; gives their ids.
    pub(super) fn save_each(&self, bench: &mut Bench, kind: BlobKind, plains: &[&[u8]]) -> Result<Vec<Id>> {
        let ids = format::hash_each(plains);
        for (id, plain) in ids.iter().zip(plains) {
            self.indexed.repository.cancel().check()?;
            self.store(bench, kind, *id, plain)?;
        }
        Ok(ids)
    }

    fn store(&self, bench: &mut Bench, kind: BlobKind, id: Id, plain: &[u8]) -> Result<()> {
        if self.indexed.index.contains(kind, &id) || !threads::lock(self.shard(&id)).insert((kind, id)) {
            return Ok(());
        }
        let repository = self.indexed.repository;
        // Where nothing waits to be written, the processor is what the backup waits for.
        bench.compressor.spare_cpu(self.fan_out.as_ref().is_none_or(|fan_out| !fan_out.is_pressed()));
        let compressor = (repository.config().version > 1).then_some(&mut bench.compressor);
        let pack = match kind {
            BlobKind::Data => &mut bench.data,
            BlobKind::Tree => &mut bench.trees,
        };
        let unusable = |source| Error::Format { what: format!("new {} blob {}", kind.word(), id.short()), source };
        let entry = pack.push(repository.master(), kind, id, plain, compressor).map_err(unusable)?;
        if self.verify {
            bench.proof.of(repository.master(), pack, &entry, plain).map_err(unusable)?;
        }
        let count = match kind {
            BlobKind::Data => &self.stored.data_blobs,
            BlobKind::Tree => &self.stored.tree_blobs,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.stored.plain_bytes.fetch_add(plain.len() as u64, Ordering::Relaxed);
        self.stored.packed_bytes.fetch_add(u64::from(entry.length), Ordering::Relaxed);
        if packing::is_done(pack) {
            let full = std::mem::replace(pack, PackWriter::reusing(self.buffers.take()));
            self.close(full)?;
        }
        Ok(())
    }

    /// Completes a pack. Two at a time are named and handed over.
    fn close(&self, pack: PackWriter) -> Result<()> {
        let closed = pack.close(self.indexed.repository.master()).map_err(packing::unusable)?;
        let mut unnamed = threads::lock(&self.unnamed);
        let Some(waiting) = unnamed.take() else {
            *unnamed = Some(closed);
            return Ok(());
        };
        drop(unnamed);
        self.hand_over(ClosedPack::name_each(vec![waiting, closed]))
    }

    /// Hands packs to every copy; then their blobs may be indexed.
    fn hand_over(&self, packs: Vec<FinishedPack>) -> Result<()> {
        let Some(fan_out) = &self.fan_out else { return Ok(()) };
        for FinishedPack { id, bytes, blobs } in packs {
            fan_out.pack(id, &blobs, self.buffers.share(bytes))?;
            self.index.index(fan_out, IndexedPack { id, blobs })?;
        }
        Ok(())
    }

    /// Gathers the workers' unfinished packs into as few packs as possible, and writes the last index.
    pub(super) fn flush(&self, benches: Vec<Bench>) -> Result<()> {
        let (data, trees): (Vec<_>, Vec<_>) = benches.into_iter().map(|bench| (bench.data, bench.trees)).unzip();
        for packs in [data, trees] {
            packing::gather(packs, |pack| self.close(pack))?;
        }
        let unnamed = threads::lock(&self.unnamed).take();
        self.hand_over(ClosedPack::name_each(unnamed.into_iter().collect()))?;
        if let Some(fan_out) = &self.fan_out {
            self.index.finish(fan_out)?;
        }
        Ok(())
    }

    /// Gives the way to the copies back, for the snapshot.
    pub(super) fn into_fan_out(self) -> (Option<FanOut<'a>>, Stored) {
        (self.fan_out, self.stored)
    }

    fn shard(&self, id: &Id) -> &Mutex<HashSet<(BlobKind, Id)>> {
        &self.claimed[usize::from(id.as_bytes()[0]) % CLAIM_SHARDS]
    }
}
