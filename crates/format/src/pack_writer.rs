//! Building a pack in memory: blobs are compressed and sealed where they will stand, so each byte is copied once.
//!
//! Knows nothing of files, targets of a certain size, or who asks for which blob; the caller decides when a pack is
//! full.

use std::num::NonZeroU32;

use model::Id;

use crate::blob::BlobKind;
use crate::compression::{Compression, Compressor};
use crate::error::{FormatError, Result};
use crate::hash::{hash, hash_each};
use crate::pack::PackedBlob;
use crate::pack_header::{HEADER_LENGTH_FIELD_BYTES, HeaderRead, PACK_BLOBS_MAX, header_bytes, parse_header};
use crate::seal::{MasterKey, NONCE_BYTES, SEAL_OVERHEAD_BYTES};

/// The longest pack: offsets are 32 bits wide.
const PACK_BYTES_MAX: u64 = u32::MAX as u64;

/// A pack being filled.
#[derive(Debug, Default)]
pub struct PackWriter {
    pub(crate) bytes: Vec<u8>,
    blobs: Vec<PackedBlob>,
}

/// A pack that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedPack {
    /// SHA-256 of its bytes: its name.
    pub id: Id,
    /// The whole file.
    pub bytes: Vec<u8>,
    /// What it holds.
    pub blobs: Vec<PackedBlob>,
}

/// A pack that is complete but for its name.
#[derive(Debug)]
pub struct ClosedPack {
    bytes: Vec<u8>,
    blobs: Vec<PackedBlob>,
}

impl ClosedPack {
    /// Names several packs.
    pub fn name_each(packs: Vec<ClosedPack>) -> Vec<FinishedPack> {
        let texts: Vec<&[u8]> = packs.iter().map(|pack| pack.bytes.as_slice()).collect();
        let ids = hash_each(&texts);
        let named = |(id, ClosedPack { bytes, blobs })| FinishedPack { id, bytes, blobs };
        ids.into_iter().zip(packs).map(named).collect()
    }
}

impl PackWriter {
    /// An empty pack.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty pack in a buffer that has served before; what is in it is thrown away.
    pub fn reusing(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { bytes: buffer, blobs: Vec::new() }
    }

    /// Bytes so far, without the header.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// True when nothing has been pushed.
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// True when the header has no room for another blob.
    pub fn is_full(&self) -> bool {
        self.blobs.len() >= PACK_BLOBS_MAX
    }

    /// What it holds so far.
    pub fn blobs(&self) -> &[PackedBlob] {
        &self.blobs
    }

    /// The sealed bytes of one of its blobs; empty for an entry of another pack.
    pub fn sealed_blob(&self, entry: &PackedBlob) -> &[u8] {
        let start = entry.offset as usize;
        self.bytes.get(start..start + entry.length as usize).unwrap_or_default()
    }

    /// Takes a blob that is sealed already, as it stands in another pack of the same repository.
    pub fn push_sealed(
        &mut self,
        kind: BlobKind,
        id: Id,
        sealed: &[u8],
        uncompressed_length: Option<NonZeroU32>,
    ) -> Result<PackedBlob> {
        let start = self.bytes.len();
        self.check_room(sealed.len())?;
        self.bytes.extend_from_slice(sealed);
        self.enter(kind, id, start, uncompressed_length)
    }

    /// Seals a blob into the pack. With a compressor (version 2 repositories only) it is compressed where that makes
    /// it smaller; listings also when the compressor is [`Compression::Off`], as restic does. `id` is the hash of
    /// `plain`, which the caller has computed to know that the blob is new.
    pub fn push(
        &mut self,
        master: &MasterKey,
        kind: BlobKind,
        id: Id,
        plain: &[u8],
        compressor: Option<&mut Compressor>,
    ) -> Result<PackedBlob> {
        if plain.len() > kind.plain_bytes_max() {
            return Err(FormatError::TooLarge { what: "a blob (bytes)", limit: kind.plain_bytes_max() as u64 });
        }
        self.check_room(plain.len() + SEAL_OVERHEAD_BYTES)?;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; NONCE_BYTES]);
        let compressed = compressor.is_some_and(|compressor| {
            let wanted = compressor.compression() != Compression::Off || kind == BlobKind::Tree;
            wanted && compressor.append_if_smaller(plain, &mut self.bytes)
        });
        if compressed {
            master.seal_in_place(&mut self.bytes, start);
        } else {
            // Encrypted on the way into the pack, which spares a copy.
            self.bytes.truncate(start);
            master.seal_into(&mut self.bytes, plain);
        }
        // A compressed blob is not empty and within the limit checked above.
        let uncompressed_length = compressed.then(|| NonZeroU32::new(plain.len() as u32)).flatten();
        self.enter(kind, id, start, uncompressed_length)
    }

    /// Writes the header, opens it again as a reader would, and names the pack.
    pub fn finish(self, master: &MasterKey) -> Result<FinishedPack> {
        let ClosedPack { bytes, blobs } = self.close(master)?;
        Ok(FinishedPack { id: hash(&bytes), bytes, blobs })
    }

    /// Writes the header and opens it again as a reader would. What is left is to name the pack, which costs less for
    /// several at once.
    pub fn close(self, master: &MasterKey) -> Result<ClosedPack> {
        let Self { mut bytes, blobs } = self;
        if blobs.is_empty() {
            return Err(FormatError::malformed("a pack", "it holds no blob"));
        }
        let start = bytes.len();
        master.seal_into(&mut bytes, &header_bytes(&blobs));
        let length = (bytes.len() - start) as u32; // at most HEADER_BYTES_MAX: `enter` counts the blobs
        bytes.extend_from_slice(&length.to_le_bytes());
        debug_assert!(bytes.len() - start > HEADER_LENGTH_FIELD_BYTES);
        // Bad memory has to show up before a copy gets the pack.
        match parse_header(master, bytes.len() as u64, &bytes[start..])? {
            HeaderRead::Complete(read) if read == blobs => {}
            _ => return Err(FormatError::malformed("the pack's header", "it does not read as it was written")),
        }
        Ok(ClosedPack { bytes, blobs })
    }

    fn check_room(&self, sealed_length: usize) -> Result<()> {
        if self.is_full() {
            return Err(FormatError::TooLarge { what: "a pack (blobs)", limit: PACK_BLOBS_MAX as u64 });
        }
        if self.bytes.len() as u64 + sealed_length as u64 > PACK_BYTES_MAX {
            return Err(FormatError::TooLarge { what: "a pack (bytes)", limit: PACK_BYTES_MAX });
        }
        Ok(())
    }

    fn enter(
        &mut self,
        kind: BlobKind,
        id: Id,
        start: usize,
        uncompressed_length: Option<NonZeroU32>,
    ) -> Result<PackedBlob> {
        // Both fit 32 bits: `check_room` has seen the sum.
        let (offset, length) = (start as u32, (self.bytes.len() - start) as u32);
        let blob = PackedBlob { kind, id, offset, length, uncompressed_length };
        if let Err(error) = blob.check("a blob") {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.blobs.push(blob);
        Ok(blob)
    }
}
