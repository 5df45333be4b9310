//! One place of one blob as the index keeps it: 48 bytes, in memory and in the cache alike.

use std::num::NonZeroU32;

use format::PackedBlob;
use model::Id;

/// Length of a record in the cache.
pub(super) const RECORD_BYTES: usize = Id::LENGTH + 4 * 4;

/// One place of one blob. `pack` is a number in the pack table of whoever holds the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: Id,
    pub(super) pack: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
    /// 0 where the blob is stored as it is.
    pub(super) uncompressed_length: u32,
}

impl Record {
    pub(super) fn new(blob: &PackedBlob, pack: u32) -> Self {
        let uncompressed_length = blob.uncompressed_length.map_or(0, NonZeroU32::get);
        Self { id: blob.id, pack, offset: blob.offset, length: blob.length, uncompressed_length }
    }

    /// The order of records of one kind. Two with the same key say the same: a place holds one blob.
    pub(super) fn key(&self) -> (Id, u32, u32) {
        (self.id, self.pack, self.offset)
    }

    /// The first bytes of the id, which sort as ids do.
    pub(super) fn first_bytes(&self) -> u64 {
        first_bytes(&self.id)
    }

    pub(super) fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let (id, numbers) = bytes.split_at_mut(Id::LENGTH);
        id.copy_from_slice(self.id.as_bytes());
        let fields = [self.pack, self.offset, self.length, self.uncompressed_length];
        for (place, field) in numbers.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Self {
        let mut id = [0; Id::LENGTH];
        id.copy_from_slice(&bytes[..Id::LENGTH]);
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self {
            id: Id::from_bytes(id),
            pack: number(32),
            offset: number(36),
            length: number(40),
            uncompressed_length: number(44),
        }
    }
}

/// The first bytes of an id as a number that sorts as ids do.
pub(super) fn first_bytes(id: &Id) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&id.as_bytes()[..8]);
    u64::from_be_bytes(first)
}

/// The last bytes of an id: independent of the first ones, by which records are found.
pub(super) fn fingerprint(id: &Id) -> u16 {
    let bytes = id.as_bytes();
    u16::from_le_bytes([bytes[30], bytes[31]])
}
