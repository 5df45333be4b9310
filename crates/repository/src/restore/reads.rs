//! Which parts of which packs to read, and which files each chunk belongs to.
//!
//! Packs come in the order in which the walk first needs them. In a pack, chunks that lie near each other are read
//! together, so that many small files cost one request; a chunk that several files share is read once for all of them.

use std::collections::HashMap;

use format::{BlobKind, PackedBlob};
use model::Id;

use crate::index::Index;

/// The most bytes of one read; a chunk that is longer is a read of its own.
const READ_BYTES_MAX: u64 = 8 << 20;

/// Bytes between two chunks that are read along rather than asked for in two requests.
const GAP_BYTES_MAX: u64 = 256 << 10;

/// A chunk to be fetched.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// Where it stands in its pack.
    pub(super) packed: PackedBlob,
    pack: u32,
    first_use: u32,
    last_use: u32,
}

/// One place where a chunk belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    /// The file, by the number of its job.
    pub(super) job: u32,
    /// The offset in it.
    pub(super) offset: u64,
}

/// A part of a pack to be read at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    /// The pack.
    pub(super) pack: Id,
    /// First byte.
    pub(super) offset: u64,
    /// How many.
    pub(super) length: u64,
    first_chunk: u32,
    last_chunk: u32,
}

/// All reads of a batch.
#[derive(Debug, Default)]
pub(super) struct ReadPlan {
    pub(super) reads: Vec<Read>,
    chunks: Vec<Chunk>,
    uses: Vec<Use>,
}

/// Collects what is needed, in the order in which it is needed.
#[derive(Debug, Default)]
pub(super) struct Needs {
    packs: Vec<Id>,
    pack_numbers: HashMap<Id, u32>,
    chunk_numbers: HashMap<Id, u32>,
    chunks: Vec<Chunk>,
    uses: Vec<(u32, Use)>,
}

impl Needs {
    /// Notes that `id` belongs at an offset of a job's file. Gives false when the chunk is in no index.
    pub(super) fn add(&mut self, index: &Index, id: Id, belongs: Use) -> bool {
        let chunk = match self.chunk_numbers.get(&id) {
            Some(&chunk) => chunk,
            None => {
                let Some(location) = index.get(BlobKind::Data, &id) else { return false };
                let packs = &mut self.packs;
                let pack = *self.pack_numbers.entry(location.pack).or_insert_with(|| {
                    packs.push(location.pack);
                    (packs.len() - 1) as u32
                });
                let chunk = self.chunks.len() as u32;
                let packed = location.entry(BlobKind::Data, id);
                self.chunks.push(Chunk { packed, pack, first_use: 0, last_use: 0 });
                self.chunk_numbers.insert(id, chunk);
                chunk
            }
        };
        self.uses.push((chunk, belongs));
        true
    }

    /// Sorts and joins.
    pub(super) fn plan(mut self) -> ReadPlan {
        // Uses lie together by chunk, in the order of need.
        self.uses.sort_by_key(|&(chunk, _)| chunk);
        for (at, &(chunk, _)) in self.uses.iter().enumerate() {
            if let Some(chunk) = self.chunks.get_mut(chunk as usize) {
                if chunk.last_use == 0 {
                    chunk.first_use = at as u32;
                }
                chunk.last_use = at as u32 + 1;
            }
        }
        self.chunks.sort_by_key(|chunk| (chunk.pack, chunk.packed.offset));
        let mut reads: Vec<Read> = Vec::new();
        for (number, chunk) in self.chunks.iter().enumerate() {
            let number = number as u32;
            let pack = self.packs.get(chunk.pack as usize).copied().unwrap_or_default();
            let (start, end) = (u64::from(chunk.packed.offset), chunk.packed.end());
            if let Some(last) = reads.last_mut()
                && last.pack == pack
                && start <= last.offset + last.length + GAP_BYTES_MAX
                && end.saturating_sub(last.offset) <= READ_BYTES_MAX
            {
                last.length = last.length.max(end - last.offset);
                last.last_chunk = number + 1;
            } else {
                let length = end - start;
                reads.push(Read { pack, offset: start, length, first_chunk: number, last_chunk: number + 1 });
            }
        }
        let uses = self.uses.into_iter().map(|(_, belongs)| belongs).collect();
        ReadPlan { reads, chunks: self.chunks, uses }
    }
}

impl ReadPlan {
    /// The chunks in a read, in the order in which they lie there.
    pub(super) fn chunks(&self, read: &Read) -> &[Chunk] {
        self.chunks.get(read.first_chunk as usize..read.last_chunk as usize).unwrap_or_default()
    }

    /// Where a chunk belongs.
    pub(super) fn uses(&self, chunk: &Chunk) -> &[Use] {
        self.uses.get(chunk.first_use as usize..chunk.last_use as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use format::IndexedPack;

    fn id(number: u8) -> Id {
        Id::from_bytes([number; 32])
    }

    fn packed(number: u8, offset: u32, length: u32) -> PackedBlob {
        PackedBlob { kind: BlobKind::Data, id: id(number), offset, length, uncompressed_length: None }
    }

    fn needs(index: &Index, wanted: &[(u8, u32, u64)]) -> ReadPlan {
        let mut needs = Needs::default();
        for &(number, job, offset) in wanted {
            assert!(needs.add(index, id(number), Use { job, offset }));
        }
        needs.plan()
    }

    #[test]
    fn chunks_are_joined_within_limits_and_shared() {
        let far = GAP_BYTES_MAX as u32 + 1;
        let blobs = vec![packed(1, 0, 100), packed(2, 100, 100), packed(3, 200 + far, 50), packed(4, 300 + far, 50)];
        let other = vec![packed(5, 0, 70)];
        let index = Index::new([IndexedPack { id: id(100), blobs }, IndexedPack { id: id(101), blobs: other }]);

        let plan = needs(&index, &[(5, 0, 0), (2, 1, 0), (1, 2, 0), (4, 3, 0), (2, 3, 50), (3, 4, 0)]);
        let reads: Vec<_> = plan.reads.iter().map(|read| (read.pack, read.offset, read.length)).collect();
        let start = u64::from(200 + far);
        assert_eq!(reads, [(id(101), 0, 70), (id(100), 0, 200), (id(100), start, 150)]);
        let shared = plan.chunks(&plan.reads[1]).iter().find(|chunk| chunk.packed.id == id(2)).unwrap();
        assert_eq!(plan.uses(shared), [Use { job: 1, offset: 0 }, Use { job: 3, offset: 50 }]);
        let all: usize = plan.reads.iter().flat_map(|read| plan.chunks(read)).map(|chunk| plan.uses(chunk).len()).sum();
        assert_eq!(all, 6);
        assert!(!Needs::default().add(&index, id(9), Use { job: 0, offset: 0 }));
    }

    #[test]
    fn a_read_ends_at_its_limit() {
        let length = 3 << 20;
        let blobs = (0..5).map(|n| packed(n, u32::from(n) * length, length)).collect();
        let index = Index::new([IndexedPack { id: id(100), blobs }]);
        let plan = needs(&index, &[(0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 0, 4)]);
        let chunks: Vec<_> = plan.reads.iter().map(|read| plan.chunks(read).len()).collect();
        assert_eq!(chunks, [2, 2, 1]);
        assert!(plan.reads.iter().all(|read| read.length <= READ_BYTES_MAX));
    }
}
