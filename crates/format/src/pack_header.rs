//! The header at the end of a pack: what it holds, so that an index can be made again from the packs alone.
//!
//! A pack is `sealed blob … | sealed header | header length (4, little endian)`. The header lists the blobs in the
//! order in which they stand; offsets are sums of lengths. Version 1 knows the entry types 0 (data) and 1 (tree);
//! version 2 adds 2 and 3, the same compressed, which also tell the length of the plain text.

use std::num::NonZeroU32;

use model::Id;

use crate::blob::BlobKind;
use crate::error::{FormatError, Result};
use crate::pack::PackedBlob;
use crate::seal::{MasterKey, SEAL_OVERHEAD_BYTES};

/// Length of the field at the very end that tells the header's length.
pub const HEADER_LENGTH_FIELD_BYTES: usize = 4;

/// The longest sealed header, as restic has it.
pub const HEADER_BYTES_MAX: usize = 16 << 20;

/// How much to read from a pack's end at first: enough for the header of most packs.
pub const HEADER_EAGER_BYTES: usize = 8 << 10;

const PLAIN_ENTRY_BYTES: usize = 1 + 4 + Id::LENGTH;
const COMPRESSED_ENTRY_BYTES: usize = PLAIN_ENTRY_BYTES + 4;

/// Bytes of a pack beside its blobs and their entries: the header's seal and its length.
pub const PACK_FRAME_BYTES: u64 = (SEAL_OVERHEAD_BYTES + HEADER_LENGTH_FIELD_BYTES) as u64;

impl PackedBlob {
    /// Bytes that the blob takes in a pack: its own, and those of its entry in the header.
    pub fn bytes_with_entry(&self) -> u64 {
        let entry = if self.uncompressed_length.is_some() { COMPRESSED_ENTRY_BYTES } else { PLAIN_ENTRY_BYTES };
        u64::from(self.length) + entry as u64
    }
}

/// The most blobs that a pack's header can hold.
pub const PACK_BLOBS_MAX: usize = (HEADER_BYTES_MAX - SEAL_OVERHEAD_BYTES) / COMPRESSED_ENTRY_BYTES;

const WHAT: &str = "the pack's header";

/// What reading the end of a pack came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderRead {
    /// The blobs, in the order in which they stand.
    Complete(Vec<PackedBlob>),
    /// The header is longer than what was given; it needs this many bytes from the pack's end.
    Needs(u64),
}

/// Length of a pack's header with its length field, as its last bytes tell it; checked against the pack's size.
pub fn header_length(pack_size: u64, tail: &[u8]) -> Result<u64> {
    let Some(field) = tail.last_chunk::<HEADER_LENGTH_FIELD_BYTES>() else {
        return Err(FormatError::malformed(WHAT, "the pack is too short"));
    };
    let length = u32::from_le_bytes(*field) as usize;
    if length < SEAL_OVERHEAD_BYTES + PLAIN_ENTRY_BYTES {
        return Err(FormatError::malformed(WHAT, format!("a length of {length} has no room for one blob")));
    }
    if length > HEADER_BYTES_MAX {
        return Err(FormatError::TooLarge { what: "a pack's header (bytes)", limit: HEADER_BYTES_MAX as u64 });
    }
    let total = (length + HEADER_LENGTH_FIELD_BYTES) as u64;
    if total > pack_size {
        return Err(FormatError::malformed(WHAT, format!("{total} bytes in a pack of {pack_size}")));
    }
    Ok(total)
}

/// Reads the header of a pack of `pack_size` bytes from `tail`, its last bytes. The entries must fill the pack up to
/// the header without a gap.
pub fn parse_header(master: &MasterKey, pack_size: u64, tail: &[u8]) -> Result<HeaderRead> {
    let total = header_length(pack_size, tail)?;
    let Some(start) = usize::try_from(total).ok().and_then(|total| tail.len().checked_sub(total)) else {
        return Ok(HeaderRead::Needs(total));
    };
    let sealed = &tail[start..tail.len() - HEADER_LENGTH_FIELD_BYTES];
    let plain = master.open(sealed).map_err(|_| FormatError::Sealed { what: WHAT })?;
    let blobs = parse_entries(&plain)?;
    let end = blobs.last().map_or(0, PackedBlob::end);
    if end != pack_size - total {
        let why = format!("its blobs end at {end}, the header starts at {}", pack_size - total);
        return Err(FormatError::malformed(WHAT, why));
    }
    Ok(HeaderRead::Complete(blobs))
}

fn parse_entries(mut plain: &[u8]) -> Result<Vec<PackedBlob>> {
    let mut blobs = Vec::with_capacity(plain.len() / PLAIN_ENTRY_BYTES);
    let mut offset = 0_u32;
    while let Some((&entry_type, rest)) = plain.split_first() {
        let (blob, rest) = parse_entry(entry_type, rest, offset)
            .ok_or_else(|| FormatError::malformed(WHAT, format!("entry {} is cut off", blobs.len())))??;
        blob.check(WHAT)?;
        offset += blob.length; // cannot overflow: `check` has seen that the sum stays below 4 GiB
        blobs.push(blob);
        plain = rest;
    }
    Ok(blobs)
}

/// None when the bytes end inside the entry.
fn parse_entry(entry_type: u8, rest: &[u8], offset: u32) -> Option<Result<(PackedBlob, &[u8])>> {
    let kind = match entry_type {
        0 | 2 => BlobKind::Data,
        1 | 3 => BlobKind::Tree,
        other => {
            let why = format!("unknown entry type {other}");
            return Some(Err(FormatError::Unsupported { what: WHAT, why }));
        }
    };
    let (length, mut rest) = rest.split_first_chunk::<4>()?;
    let mut uncompressed_length = None;
    if entry_type >= 2 {
        let (plain_length, behind) = rest.split_first_chunk::<4>()?;
        uncompressed_length = NonZeroU32::new(u32::from_le_bytes(*plain_length));
        if uncompressed_length.is_none() {
            return Some(Err(FormatError::malformed(WHAT, "a compressed blob of no length")));
        }
        rest = behind;
    }
    let (id, rest) = rest.split_first_chunk::<{ Id::LENGTH }>()?;
    let length = u32::from_le_bytes(*length);
    Some(Ok((PackedBlob { kind, id: Id::from_bytes(*id), offset, length, uncompressed_length }, rest)))
}

/// The plain header of these blobs, which must stand one behind the other.
pub(crate) fn header_bytes(blobs: &[PackedBlob]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(blobs.len() * COMPRESSED_ENTRY_BYTES);
    for blob in blobs {
        let base = match blob.kind {
            BlobKind::Data => 0,
            BlobKind::Tree => 1,
        };
        plain.push(if blob.uncompressed_length.is_some() { base + 2 } else { base });
        plain.extend_from_slice(&blob.length.to_le_bytes());
        if let Some(length) = blob.uncompressed_length {
            plain.extend_from_slice(&length.get().to_le_bytes());
        }
        plain.extend_from_slice(blob.id.as_bytes());
    }
    plain
}
