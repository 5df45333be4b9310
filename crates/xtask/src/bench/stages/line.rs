//! From a blob's bytes to packs that are written, one stage after the other.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use clock::{Clock, SystemClock};
use format::{
    Chunker, Compression, Compressor, Decompressor, KeyFile, KeyOwner, MasterKey, NONCE_BYTES, Polynomial, ScryptCost,
    hash_each,
};
use model::{Id, Secret};

use super::{Stage, Times};

const PACK_BYTES: usize = 16 << 20;
/// Packs are hashed two at a time, as blobs are.
const PACKS_HASHED_TOGETHER: usize = 2;
const BLOB_BYTES_MAX: usize = 16 << 20;

/// Everything that a backup keeps between two blobs.
pub(super) struct Line {
    pub(super) times: Times,
    pub(super) chunker: Chunker,
    master: MasterKey,
    compressor: Compressor,
    decompressor: Decompressor,
    known: HashSet<Id>,
    pack: Vec<u8>,
    waiting: Vec<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    opened: Vec<u8>,
    plain: Vec<u8>,
    folder: PathBuf,
}

impl Line {
    /// Packs are written below `folder` and removed again.
    pub(super) fn new(folder: &Path) -> Result<Self, String> {
        let failed = |error: format::FormatError| format!("cannot measure stages: {error}");
        fs::create_dir_all(folder).map_err(|error| format!("cannot measure stages: {error}"))?;
        let master = MasterKey::generate().map_err(failed)?;
        let mut times = Times::default();
        let owner = KeyOwner { hostname: String::new(), username: String::new(), created: SystemClock::new().local() };
        let password = Secret::from("bench");
        let key = KeyFile::seal(&master, &password, &owner, ScryptCost::STANDARD).map_err(failed)?;
        times.add(Stage::Key, || key.open(&password)).map_err(failed)?;
        let mut compressor = Compressor::new(Compression::Auto);
        // Nothing waits for an upload here: this is how a backup into a folder compresses.
        compressor.spare_cpu(true);
        Ok(Self {
            times,
            chunker: Chunker::new(Polynomial::random().map_err(failed)?),
            master,
            compressor,
            decompressor: Decompressor::new(),
            known: HashSet::new(),
            pack: Vec::with_capacity(PACK_BYTES + BLOB_BYTES_MAX),
            waiting: Vec::new(),
            spare: Vec::new(),
            opened: Vec::new(),
            plain: Vec::new(),
            folder: folder.to_path_buf(),
        })
    }

    /// Takes blobs together, as they were read together, and gives their ids.
    pub(super) fn take(&mut self, blobs: &[&[u8]]) -> Result<Vec<Id>, String> {
        let ids = self.times.add(Stage::Hash, || hash_each(blobs));
        for (id, blob) in ids.iter().zip(blobs) {
            if self.known.insert(*id) {
                self.store(blob)?;
            }
        }
        Ok(ids)
    }

    fn store(&mut self, blob: &[u8]) -> Result<(), String> {
        let Self { times, pack, compressor, decompressor, master, opened, plain, .. } = self;
        let start = pack.len();
        let compressed = times.add(Stage::Compress, || {
            pack.extend_from_slice(&[0; NONCE_BYTES]);
            compressor.compress_into(blob, pack)
        });
        times.add(Stage::Seal, || {
            if compressed {
                master.seal_in_place(pack, start);
            } else {
                pack.truncate(start);
                master.seal_into(pack, blob);
            }
        });
        let same = times.add(Stage::Verify, || {
            if !compressed {
                return Ok(master.opens_to(&pack[start..], blob));
            }
            opened.clear();
            opened.extend_from_slice(&pack[start..]);
            let stored = master.open_in_place(opened)?;
            decompressor.decompress_into(stored, Some(blob.len()), BLOB_BYTES_MAX, plain)?;
            Ok(plain.as_slice() == blob)
        });
        if !same.map_err(|error: format::FormatError| format!("a sealed blob does not open: {error}"))? {
            return Err("a sealed blob holds something else".to_owned());
        }
        if self.pack.len() >= PACK_BYTES {
            self.close_pack()?;
        }
        Ok(())
    }

    fn close_pack(&mut self) -> Result<(), String> {
        // The buffer of a written pack is a later one's, as it is in a backup: fresh memory would cost page faults.
        let next = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(PACK_BYTES + BLOB_BYTES_MAX));
        self.waiting.push(std::mem::replace(&mut self.pack, next));
        if self.waiting.len() == PACKS_HASHED_TOGETHER {
            self.write_waiting()?;
        }
        Ok(())
    }

    fn write_waiting(&mut self) -> Result<(), String> {
        let packs = std::mem::take(&mut self.waiting);
        let slices: Vec<&[u8]> = packs.iter().map(Vec::as_slice).collect();
        let ids = self.times.add(Stage::PackHash, || hash_each(&slices));
        for (id, bytes) in ids.iter().zip(slices) {
            let path = self.folder.join(id.to_hex());
            let written =
                self.times.add(Stage::Write, || File::create(&path).and_then(|mut file| file.write_all(bytes)));
            written.and_then(|()| fs::remove_file(&path)).map_err(|error| format!("cannot write a pack: {error}"))?;
        }
        self.spare.extend(packs.into_iter().map(|mut pack| {
            pack.clear();
            pack
        }));
        Ok(())
    }

    /// Ends the last pack.
    pub(super) fn finish(mut self) -> Result<Times, String> {
        self.close_pack()?;
        self.write_waiting()?;
        fs::remove_dir_all(&self.folder).map_err(|error| format!("cannot remove the packs: {error}"))?;
        Ok(self.times)
    }
}
