//! Records in memory: what was read from index files just now, or all of it where there is no cache.
//!
//! One sorted vector for each kind of blob; a table over the first 16 bits of the id narrows the binary search to a few
//! records. About 52 bytes for each blob, and no allocation for each.

use format::{BlobKind, IndexedPack};
use model::Id;

use super::record::Record;

/// One kind's records, sorted by id, then by pack and offset.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    records: Vec<Record>,
    /// `starts[p]` is the first record whose id begins with a 16-bit prefix of at least `p`.
    starts: Vec<u32>,
}

impl Shelf {
    fn new(mut records: Vec<Record>) -> Self {
        records.sort_unstable_by_key(Record::key);
        records.dedup_by_key(|record| record.key());
        records.shrink_to_fit();
        if records.is_empty() {
            return Self::default();
        }
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

/// The merged content of some index files, in memory.
#[derive(Debug, Default)]
pub(super) struct Shelves {
    /// The packs that the files mention, sorted; records name them by their number here.
    pub(super) packs: Vec<Id>,
    data: Shelf,
    trees: Shelf,
}

impl Shelves {
    /// Every place of a blob, by pack and offset.
    pub(super) fn of(&self, kind: BlobKind, id: &Id) -> &[Record] {
        self.shelf(kind).of(id)
    }

    /// All records of a kind in order.
    pub(super) fn records(&self, kind: BlobKind) -> &[Record] {
        &self.shelf(kind).records
    }

    /// How many records there are, of both kinds.
    pub(super) fn count(&self) -> usize {
        self.data.records.len() + self.trees.records.len()
    }

    fn shelf(&self, kind: BlobKind) -> &Shelf {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }
}

/// Collects index files before they are sorted.
#[derive(Debug, Default)]
pub(super) struct ShelvesBuilder {
    packs: Vec<Id>,
    data: Vec<Record>,
    trees: Vec<Record>,
}

impl ShelvesBuilder {
    /// Adds one pack of an index file.
    pub(super) fn add(&mut self, pack: &IndexedPack) {
        // More than 2^32 packs of 4 MiB and more would be 16 EiB.
        let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        self.packs.push(pack.id);
        for blob in &pack.blobs {
            match blob.kind {
                BlobKind::Data => self.data.push(Record::new(blob, number)),
                BlobKind::Tree => self.trees.push(Record::new(blob, number)),
            }
        }
    }

    /// True when no pack was added.
    pub(super) fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }

    /// Sorts what was collected.
    pub(super) fn build(mut self) -> Shelves {
        let mut sorted = self.packs.clone();
        sorted.sort_unstable();
        sorted.dedup();
        // Every id of `self.packs` is in `sorted`, so the search always finds it.
        let place = |id| sorted.binary_search(id).unwrap_or_default() as u32;
        let numbers: Vec<u32> = self.packs.iter().map(place).collect();
        for record in self.data.iter_mut().chain(&mut self.trees) {
            record.pack = numbers[record.pack as usize];
        }
        Shelves { packs: sorted, data: Shelf::new(self.data), trees: Shelf::new(self.trees) }
    }
}
