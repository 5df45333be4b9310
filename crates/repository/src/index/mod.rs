//! Which blob is in which pack: the merged content of all index files, compact and read-only.
//!
//! Entries lie in one sorted vector of fixed-size records per blob kind; a table over the first 16 bits of the id
//! narrows the binary search to a few records. About 52 bytes for each blob, and no allocation for each.

pub mod load;

use std::num::NonZeroU32;

use format::{BlobKind, IndexedPack, PackedBlob};
use model::Id;

/// Where a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The pack.
    pub pack: Id,
    /// First byte of the sealed blob in the pack.
    pub offset: u32,
    /// Length of the sealed blob.
    pub length: u32,
    /// Length of the plain text where it was compressed.
    pub uncompressed_length: Option<NonZeroU32>,
}

impl Location {
    /// The pack's own record of blob `id`.
    pub fn entry(&self, kind: BlobKind, id: Id) -> PackedBlob {
        let Location { offset, length, uncompressed_length, .. } = *self;
        PackedBlob { kind, id, offset, length, uncompressed_length }
    }

    /// Length of the plain text in bytes.
    pub fn plain_length(&self) -> u32 {
        self.entry(BlobKind::Data, Id::default()).plain_length()
    }
}

#[derive(Debug, Clone, Copy)]
struct Record {
    id: Id,
    pack: u32,
    offset: u32,
    length: u32,
    uncompressed_length: u32,
}

/// One kind's records, sorted by id, then by pack.
#[derive(Debug, Default)]
struct Shelf {
    records: Vec<Record>,
    /// `starts[p]` is the first record whose id begins with a 16-bit prefix of at least `p`.
    starts: Vec<u32>,
}

impl Shelf {
    fn new(mut records: Vec<Record>) -> Self {
        records.sort_unstable_by_key(|record| (record.id, record.pack, record.offset));
        records.dedup_by_key(|record| (record.id, record.pack, record.offset));
        records.shrink_to_fit();
        let mut starts = vec![0u32; (1 << 16) + 1];
        for record in &records {
            starts[prefix(&record.id) + 1] += 1;
        }
        for p in 0..1 << 16 {
            starts[p + 1] += starts[p];
        }
        Self { records, starts }
    }

    fn of(&self, id: &Id) -> &[Record] {
        let p = prefix(id);
        let bucket = match (self.starts.get(p), self.starts.get(p + 1)) {
            (Some(&start), Some(&end)) => &self.records[start as usize..end as usize],
            _ => return &[],
        };
        let first = bucket.partition_point(|record| record.id < *id);
        let count = bucket[first..].partition_point(|record| record.id == *id);
        &bucket[first..first + count]
    }
}

fn prefix(id: &Id) -> usize {
    let bytes = id.as_bytes();
    usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// The merged index of a repository.
#[derive(Debug, Default)]
pub struct Index {
    packs: Vec<Id>,
    data: Shelf,
    trees: Shelf,
}

impl Index {
    /// Merges packs as index files list them; the same pack may come several times.
    pub fn new(indexed: impl IntoIterator<Item = IndexedPack>) -> Self {
        let mut builder = IndexBuilder::default();
        indexed.into_iter().for_each(|pack| builder.add(&pack));
        builder.build()
    }

    /// Where the blob is; the first place where there are several.
    pub fn get(&self, kind: BlobKind, id: &Id) -> Option<Location> {
        self.all(kind, id).next()
    }

    /// Every place where the blob is.
    pub fn all(&self, kind: BlobKind, id: &Id) -> impl Iterator<Item = Location> + '_ {
        self.shelf(kind).of(id).iter().map(|record| self.location(record))
    }

    /// Whether the blob is anywhere.
    pub fn contains(&self, kind: BlobKind, id: &Id) -> bool {
        !self.shelf(kind).of(id).is_empty()
    }

    /// How many blobs of a kind there are; a blob in two packs counts twice.
    pub fn count(&self, kind: BlobKind) -> usize {
        self.shelf(kind).records.len()
    }

    /// Every blob in order of kind and id; one in two packs comes twice.
    pub fn iter(&self) -> impl Iterator<Item = (BlobKind, Id, Location)> + '_ {
        let each = |kind| self.shelf(kind).records.iter().map(move |record| (kind, record.id, self.location(record)));
        each(BlobKind::Data).chain(each(BlobKind::Tree))
    }

    /// The packs that any index file mentions, sorted.
    pub fn packs(&self) -> &[Id] {
        &self.packs
    }

    /// Forgets what lies in packs that are not `there`; gives these packs. A blob that lies elsewhere too stays known.
    pub fn forget_packs(&mut self, there: impl Fn(&Id) -> bool) -> Vec<Id> {
        let is_lost: Vec<bool> = self.packs.iter().map(|id| !there(id)).collect();
        if is_lost.contains(&true) {
            for shelf in [&mut self.data, &mut self.trees] {
                let mut records = std::mem::take(&mut shelf.records);
                records.retain(|record| !is_lost[record.pack as usize]);
                *shelf = Shelf::new(records);
            }
        }
        self.packs.iter().zip(is_lost).filter(|(_, is_lost)| *is_lost).map(|(id, _)| *id).collect()
    }

    fn shelf(&self, kind: BlobKind) -> &Shelf {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    fn location(&self, record: &Record) -> Location {
        Location {
            pack: self.packs[record.pack as usize],
            offset: record.offset,
            length: record.length,
            uncompressed_length: NonZeroU32::new(record.uncompressed_length),
        }
    }
}

/// Collects index files before they are sorted.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    packs: Vec<Id>,
    data: Vec<Record>,
    trees: Vec<Record>,
}

impl IndexBuilder {
    /// Adds one pack of an index file.
    pub fn add(&mut self, pack: &IndexedPack) {
        // More than 2^32 packs of 4 MiB and more would be 16 EiB.
        let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        self.packs.push(pack.id);
        for blob in &pack.blobs {
            let record = Record {
                id: blob.id,
                pack: number,
                offset: blob.offset,
                length: blob.length,
                uncompressed_length: blob.uncompressed_length.map_or(0, NonZeroU32::get),
            };
            match blob.kind {
                BlobKind::Data => self.data.push(record),
                BlobKind::Tree => self.trees.push(record),
            }
        }
    }

    /// Sorts what was collected.
    pub fn build(mut self) -> Index {
        let mut sorted = self.packs.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let place = |number: &mut u32| {
            let id = self.packs[*number as usize];
            // Every id of `self.packs` is in `sorted`, so the search always finds it.
            *number = sorted.binary_search(&id).unwrap_or_default() as u32;
        };
        self.data.iter_mut().chain(&mut self.trees).for_each(|record| place(&mut record.pack));
        Index { packs: sorted, data: Shelf::new(self.data), trees: Shelf::new(self.trees) }
    }
}
