//! Writing anew what is needed of packs that are mostly not: read from any copy, checked down to the hash of each blob,
//! and put into new packs for every copy, sealed as it was.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use format::{BlobKind, Compressor, IndexedPack, PackWriter, PackedBlob};
use model::Id;

use super::Pruning;
use super::blobs::{BlobReader, REPACK_WINDOW_BYTES, Tools, Wanted, windows};
use super::inspect;
use super::ledger::File;
use super::loss;
use super::plan::Fate;
use crate::buffers::Buffers;
use crate::copies::fan_out::FanOut;
use crate::error::{Error, Result};
use crate::index::press::Press;
use crate::packing;
use crate::threads;

/// Buffers of packs that are kept for later packs.
const SPARE_PACKS_MAX: usize = 4;

/// A pack that was handed to every copy.
pub(super) type Written = (Id, u64);

/// Writes what is kept of packs that are repacked; gives the new packs.
pub(super) fn run(pruning: &Pruning<'_>, fan_out: &FanOut<'_>, press: &Press<'_>) -> Result<Vec<Written>> {
    let mut wanted = wanted(pruning)?;
    let windows = windows(&pruning.ledger, &mut wanted, REPACK_WINDOW_BYTES);
    let bytes: u64 = wanted.iter().map(|one| pruning.reader().sealed_bytes(one)).sum();
    pruning.repository.observer().progress().found(0, bytes);
    let mill = Mill { pruning, fan_out, press, buffers: Buffers::new(SPARE_PACKS_MAX), written: Mutex::default() };
    let (next, open) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let crew = pruning.request.threads.unwrap_or_else(threads::count).min(windows.len());
    threads::run(crew, |_| {
        let (mut tools, mut bench) = (Tools::default(), mill.bench());
        let reader = pruning.reader();
        while let Some(window) = windows.get(next.fetch_add(1, Ordering::Relaxed)) {
            reader.read_sealed(&mut tools, &wanted, window, |one, read| match read {
                Ok((entry, sealed, plain)) => mill.store(&mut bench, entry, sealed, plain),
                Err(_) => Err(mill.refuse(&reader, one)),
            })?;
        }
        threads::lock(&open).push(bench);
        Ok(())
    })?;
    mill.gather(open.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))?;
    Ok(mill.written.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Every place that is kept and lies in a pack that is repacked, with its id from the index files that mention the pack.
fn wanted(pruning: &Pruning<'_>) -> Result<Vec<Wanted>> {
    let is_moved = |number: usize| pruning.decision.fates.get(number) == Some(&Fate::Repack);
    let mentions = |file: &&File| file.packs.iter().chain(&file.marks).any(|mention| is_moved(mention.pack as usize));
    let files: Vec<Id> = pruning.ledger.files.iter().filter(mentions).map(|file| file.id).collect();
    let found = Mutex::new(Vec::new());
    inspect::each_index(pruning.repository, &pruning.scene.indexes, &files, |_, _, file| {
        let marked = file.packs_to_delete.iter().map(|pack| (pack.id, &pack.blobs));
        let packs = file.packs.iter().map(|pack| (pack.id, &pack.blobs)).chain(marked);
        let moved = packs.filter_map(|(id, blobs)| Some((pruning.ledger.number(&id).filter(|n| is_moved(*n))?, blobs)));
        let mut found = threads::lock(&found);
        for (number, blob) in moved.flat_map(|(number, blobs)| blobs.iter().map(move |blob| (number, blob))) {
            let row = pruning.ledger.shelf(blob.kind).row_at(blob, number);
            if let Some(row) = row.filter(|row| pruning.accounts.is_kept(blob.kind, *row)) {
                found.push(Wanted { id: blob.id, kind: blob.kind, row: row as u32 });
            }
        }
    })?;
    let mut wanted = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Several files may mention a pack.
    wanted.sort_unstable_by_key(|one| (one.kind == BlobKind::Tree, one.row));
    wanted.dedup_by_key(|one| (one.kind, one.row));
    let moved = pruning.accounts.packs.iter().enumerate().filter(|(number, _)| is_moved(*number));
    let expected: u64 = moved.map(|(_, sums)| sums.kept.blobs).sum();
    if wanted.len() as u64 == expected {
        return Ok(wanted);
    }
    let why = format!("index files named {expected} blobs of packs to be repacked before, and {} now", wanted.len());
    Err(Error::Refused { why, hint: "nothing was removed; `triplicate check` says what is wrong".to_owned() })
}

struct Mill<'a> {
    pruning: &'a Pruning<'a>,
    fan_out: &'a FanOut<'a>,
    press: &'a Press<'a>,
    buffers: Buffers,
    written: Mutex<Vec<Written>>,
}

/// One thread's open packs.
struct Bench {
    data: PackWriter,
    trees: PackWriter,
    /// Where what was stored as it is has to be compressed.
    compressor: Option<Compressor>,
}

impl Mill<'_> {
    fn bench(&self) -> Bench {
        let request = &self.pruning.request;
        let compresses = request.repack_uncompressed && self.pruning.repository.config().version > 1;
        let compressor = compresses.then(|| Compressor::new(request.compression));
        Bench { data: PackWriter::new(), trees: PackWriter::new(), compressor }
    }

    fn store(&self, bench: &mut Bench, entry: &PackedBlob, sealed: &[u8], plain: &[u8]) -> Result<()> {
        let Bench { data, trees, compressor } = bench;
        let pack = match entry.kind {
            BlobKind::Data => data,
            BlobKind::Tree => trees,
        };
        let pushed = match compressor {
            Some(compressor) if entry.uncompressed_length.is_none() => {
                pack.push(self.pruning.repository.master(), entry.kind, entry.id, plain, Some(compressor))
            }
            _ => pack.push_sealed(entry.kind, entry.id, sealed, entry.uncompressed_length),
        };
        pushed.map_err(packing::unusable)?;
        self.pruning.repository.observer().progress().done(0, u64::from(entry.length));
        if packing::is_done(pack) {
            self.close(std::mem::replace(pack, PackWriter::reusing(self.buffers.take())))?;
        }
        Ok(())
    }

    /// Completes a pack and hands it to every copy.
    fn close(&self, pack: PackWriter) -> Result<()> {
        let pack = pack.finish(self.pruning.repository.master()).map_err(packing::unusable)?;
        threads::lock(&self.written).push((pack.id, pack.bytes.len() as u64));
        self.fan_out.pack(pack.id, &pack.blobs, self.buffers.share(pack.bytes))?;
        self.press.index(self.fan_out, IndexedPack { id: pack.id, blobs: pack.blobs })
    }

    /// Gathers the threads' unfinished packs into as few as possible.
    fn gather(&self, benches: Vec<Bench>) -> Result<()> {
        let (data, trees): (Vec<_>, Vec<_>) = benches.into_iter().map(|bench| (bench.data, bench.trees)).unzip();
        [data, trees].into_iter().try_for_each(|packs| packing::gather(packs, |pack| self.close(pack)))
    }

    /// A blob that is needed and that no copy has sound.
    fn refuse(&self, reader: &BlobReader<'_>, one: &Wanted) -> Error {
        let lost = [(one.kind, one.id)].into();
        loss::refusal(reader, &self.pruning.scene.roots, &lost).unwrap_or_else(|error| error)
    }
}
