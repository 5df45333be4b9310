//! Everything that the index files of all copies say, laid out for pruning: blobs by their names, packs as
//! numbers, and which index file mentions which pack.
//!
//! Why not the engine's index: that one is the union of what may be used, lives in the cache, and knows nothing of packs
//! that are marked. Here a blob takes 32 bytes, sets of blobs are single bits, and nothing is kept of a pack's blobs as
//! a list.
//!
//! An id is kept as a [`Name`] of half its length. Whoever needs the id again has it from a listing or from the index file.
//!
//! An index file that every copy has is *common*. One that only some have is *surplus*: a prune that broke off left it
//! there, an append-only copy kept it, or another copy is behind. What common files say goes first.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;

use format::{BlobKind, IndexFile, Moment, PackedBlob};
use model::Id;

use crate::copies::status::Holdings;

/// Stands for an id: of 2^120 pairs of ids less than one has the same, and nobody who does not know this run's secret can
/// make such a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name([u64; 2]);

impl Name {
    fn prefix(self) -> usize {
        (self.0[0] >> 48) as usize
    }
}

/// Gives ids their names: two keyed hashes whose keys are this run's secret.
#[derive(Debug, Clone, Default)]
struct Naming {
    first: RandomState,
    last: RandomState,
}

impl Naming {
    fn name(&self, id: &Id) -> Name {
        Name([self.first.hash_one(id.as_bytes()), self.last.hash_one(id.as_bytes())])
    }
}

/// A place of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    name: Name,
    /// The pack's number.
    pub(super) pack: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
    /// Zero where it is stored as it is.
    uncompressed_length: u32,
}

impl Row {
    /// The place as the pack's header has it, for whoever knows the id.
    pub(super) fn entry(&self, kind: BlobKind, id: Id) -> PackedBlob {
        let Row { offset, length, .. } = *self;
        PackedBlob { kind, id, offset, length, uncompressed_length: NonZeroU32::new(self.uncompressed_length) }
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.uncompressed_length != 0
    }

    fn key(&self) -> (Name, u32, u32) {
        (self.name, self.pack, self.offset)
    }
}

/// What the index files say of a pack; the later in this order, the more it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// No common file knows it, nor does a surplus one as part of the index.
    Unindexed,
    /// Only surplus files have it in the index.
    Surplus,
    /// It is marked in a common file, and in the index of none.
    Marked,
    /// A common file has it in the index.
    Indexed,
}

/// A pack that an index file or a listing names.
#[derive(Debug, Clone)]
pub(super) struct Pack {
    pub(super) id: Id,
    pub(super) standing: Standing,
    /// When it was marked last, where every mark tells a time.
    pub(super) marked_at: Option<Moment>,
    /// Copies that list it, as bits.
    pub(super) copies: u64,
    /// Its size on the first of them.
    pub(super) size: u64,
    /// Copies that list another size, as bits.
    pub(super) other_size: u64,
    /// How long it has to be for what the index says of it.
    pub(super) expected_size: u64,
    /// How many different places the index knows in it.
    pub(super) rows: u32,
}

/// An index file's mention of a pack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mention {
    pub(super) pack: u32,
    pub(super) blobs: u32,
}

/// An index file.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) id: Id,
    /// Copies that have it, as bits.
    pub(super) copies: u64,
    pub(super) is_common: bool,
    pub(super) packs: Vec<Mention>,
    pub(super) marks: Vec<Mention>,
}

impl File {
    /// How many places of blobs it lists.
    pub(super) fn blobs(&self) -> u64 {
        self.packs.iter().chain(&self.marks).map(|mention| u64::from(mention.blobs)).sum()
    }
}

/// One kind's rows by name, pack and offset.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    naming: Naming,
    rows: Vec<Row>,
    /// `starts[p]` is the first row whose name begins with a 16-bit prefix of at least `p`.
    starts: Vec<u32>,
}

impl Shelf {
    fn new(naming: Naming, mut rows: Vec<Row>) -> Self {
        rows.sort_unstable_by_key(Row::key);
        rows.dedup_by_key(|row| row.key());
        let mut starts = vec![0; (1 << 16) + 1];
        for row in &rows {
            if let Some(count) = starts.get_mut(row.name.prefix() + 1) {
                *count += 1;
            }
        }
        let mut before = 0;
        for start in &mut starts {
            before += *start;
            *start = before;
        }
        Self { naming, rows, starts }
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The number of a name: its first row. None when no index file has it.
    pub(super) fn rank(&self, id: &Id) -> Option<usize> {
        let name = self.naming.name(id);
        let (from, to) = (*self.starts.get(name.prefix())? as usize, *self.starts.get(name.prefix() + 1)? as usize);
        let first = from + self.rows.get(from..to)?.partition_point(|row| row.name < name);
        (self.rows.get(first)?.name == name).then_some(first)
    }

    /// The row of this number.
    pub(super) fn row(&self, number: u32) -> Option<&Row> {
        self.rows.get(number as usize)
    }

    /// The number of the row of this blob at this place.
    pub(super) fn row_at(&self, blob: &PackedBlob, pack: usize) -> Option<usize> {
        let rank = self.rank(&blob.id)?;
        let is_it = |row: &Row| row.pack as usize == pack && row.offset == blob.offset;
        Some(rank + self.places(rank).iter().position(is_it)?)
    }

    /// All places of the name at `rank`.
    pub(super) fn places(&self, rank: usize) -> &[Row] {
        let rest = self.rows.get(rank..).unwrap_or_default();
        let count = rest.first().map_or(0, |first| rest.iter().take_while(|row| row.name == first.name).count());
        rest.get(..count).unwrap_or_default()
    }

    /// Every name: its rank and its places.
    pub(super) fn names(&self) -> impl Iterator<Item = (usize, &[Row])> {
        let mut rank = 0;
        std::iter::from_fn(move || {
            let places = self.places(rank);
            let at = rank;
            rank += places.len();
            (!places.is_empty()).then_some((at, places))
        })
    }
}

/// Everything that index files and listings say.
#[derive(Debug)]
pub(super) struct Ledger {
    /// By id; a position in here is a pack's number.
    pub(super) packs: Vec<Pack>,
    /// By id.
    pub(super) files: Vec<File>,
    /// All copies, as bits.
    pub(super) everyone: u64,
    data: Shelf,
    trees: Shelf,
}

impl Ledger {
    pub(super) fn shelf(&self, kind: BlobKind) -> &Shelf {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    /// Forgets the places of blobs; packs and files stay.
    pub(super) fn forget_blobs(&mut self) {
        (self.data, self.trees) = (Shelf::default(), Shelf::default());
    }

    /// The pack of this number.
    pub(super) fn pack(&self, number: u32) -> Option<&Pack> {
        self.packs.get(number as usize)
    }

    /// The number of a pack.
    pub(super) fn number(&self, id: &Id) -> Option<usize> {
        self.packs.binary_search_by_key(id, |pack| pack.id).ok()
    }

    /// What keeps a pack from being relied on, in words, with the copy; none when every copy has it as the index says.
    pub(super) fn flaw(&self, pack: &Pack) -> Option<Flaw> {
        let lacking = self.everyone & !pack.copies;
        if lacking != 0 {
            return Some(Flaw::Lacking { copy: lacking.trailing_zeros() as usize });
        }
        if pack.other_size != 0 {
            return Some(Flaw::OtherSize { copy: pack.other_size.trailing_zeros() as usize });
        }
        (pack.size != pack.expected_size).then_some(Flaw::NotAsIndexed)
    }
}

/// What is wrong with a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A copy does not have it.
    Lacking { copy: usize },
    /// A copy lists it with another size than the first.
    OtherSize { copy: usize },
    /// Its size is not what the index makes it.
    NotAsIndexed,
}

/// What was seen of a pack so far.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    is_indexed: bool,
    is_marked: bool,
    is_surplus: bool,
    marked_at: Option<Moment>,
    is_untimed: bool,
}

/// Collects index files.
#[derive(Debug, Default)]
pub(super) struct LedgerBuilder {
    naming: Naming,
    numbers: HashMap<Id, u32>,
    packs: Vec<(Id, Seen)>,
    files: Vec<File>,
    data: Vec<Row>,
    trees: Vec<Row>,
}

/// A blob takes no less in an index file, however it is compressed: its id does not compress.
const INDEX_BYTES_PER_BLOB: u64 = 32;

impl LedgerBuilder {
    /// With room for all that index files of so many bytes can tell. Room that is not used takes no memory, and a list that
    /// never moves leaves no holes behind.
    pub(super) fn for_index_bytes(bytes: u64) -> Self {
        let blobs = usize::try_from(bytes / INDEX_BYTES_PER_BLOB).unwrap_or(0);
        let mut data = Vec::new();
        // Without the room the list grows as lists do.
        let _ = data.try_reserve_exact(blobs);
        Self { data, ..Self::default() }
    }

    /// Adds an index file that `copies` have.
    pub(super) fn add(&mut self, id: Id, copies: u64, is_common: bool, content: &IndexFile) {
        let mut file = File { id, copies, is_common, packs: Vec::new(), marks: Vec::new() };
        for pack in &content.packs {
            let (number, seen) = self.meet(pack.id);
            seen.is_indexed |= is_common;
            seen.is_surplus |= !is_common;
            file.packs.push(self.mention(number, &pack.blobs));
        }
        for pack in &content.packs_to_delete {
            let (number, seen) = self.meet(pack.id);
            // A mark that only some copies have is made anew: nobody was kept from relying on the pack elsewhere.
            if is_common {
                seen.is_marked = true;
                seen.is_untimed |= pack.time.is_none();
                seen.marked_at = seen.marked_at.max(pack.time);
            }
            file.marks.push(self.mention(number, &pack.blobs));
        }
        self.files.push(file);
    }

    fn meet(&mut self, id: Id) -> (u32, &mut Seen) {
        let Self { numbers, packs, .. } = self;
        // More than 2^32 packs would be 16 EiB.
        let number = *numbers.entry(id).or_insert_with(|| {
            packs.push((id, Seen::default()));
            (packs.len() - 1) as u32
        });
        (number, &mut packs[number as usize].1)
    }

    fn mention(&mut self, pack: u32, blobs: &[PackedBlob]) -> Mention {
        for blob in blobs {
            let uncompressed_length = blob.uncompressed_length.map_or(0, NonZeroU32::get);
            let name = self.naming.name(&blob.id);
            let row = Row { name, pack, offset: blob.offset, length: blob.length, uncompressed_length };
            match blob.kind {
                BlobKind::Data => self.data.push(row),
                BlobKind::Tree => self.trees.push(row),
            }
        }
        Mention { pack, blobs: blobs.len() as u32 }
    }

    /// Sorts what was collected, beside the listings of all packs.
    pub(super) fn build(mut self, listed: &Holdings) -> Ledger {
        for id in listed.files.keys() {
            self.meet(*id);
        }
        let Self { naming, packs: met, mut files, mut data, mut trees, .. } = self;
        let mut order: Vec<u32> = (0..met.len() as u32).collect();
        order.sort_unstable_by_key(|number| met[*number as usize].0);
        let mut numbers = vec![0; met.len()];
        for (new, old) in order.iter().enumerate() {
            numbers[*old as usize] = new as u32;
        }
        let mut packs: Vec<Pack> = order.iter().map(|number| pack(&met[*number as usize], listed)).collect();
        data.iter_mut().chain(&mut trees).for_each(|row| row.pack = numbers[row.pack as usize]);
        for file in &mut files {
            file.packs.iter_mut().chain(&mut file.marks).for_each(|one| one.pack = numbers[one.pack as usize]);
        }
        files.sort_unstable_by_key(|file| file.id);
        let (data, trees) = (Shelf::new(naming.clone(), data), Shelf::new(naming, trees));
        for (kind, shelf) in [(BlobKind::Data, &data), (BlobKind::Tree, &trees)] {
            for row in &shelf.rows {
                let pack = &mut packs[row.pack as usize];
                pack.rows += 1;
                // The size of an entry does not depend on the id in it.
                pack.expected_size += row.entry(kind, Id::default()).bytes_with_entry();
            }
        }
        Ledger { packs, files, everyone: listed.asked, data, trees }
    }
}

fn pack((id, seen): &(Id, Seen), listed: &Holdings) -> Pack {
    let held = listed.files.get(id).copied().unwrap_or_default();
    let standing = match seen {
        Seen { is_indexed: true, .. } => Standing::Indexed,
        Seen { is_marked: true, .. } => Standing::Marked,
        Seen { is_surplus: true, .. } => Standing::Surplus,
        _ => Standing::Unindexed,
    };
    let marked_at = seen.marked_at.filter(|_| !seen.is_untimed);
    Pack {
        id: *id,
        standing,
        marked_at,
        copies: held.copies,
        size: held.size,
        other_size: held.other_size,
        expected_size: format::PACK_FRAME_BYTES,
        rows: 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use destinations::Listed;
    use format::{FileKind, IndexedPack, MarkedPack};

    use super::*;

    fn id(n: u8) -> Id {
        Id::from_bytes([n; 32])
    }

    fn blob(kind: BlobKind, n: u8, offset: u32) -> PackedBlob {
        PackedBlob { kind, id: id(n), offset, length: 50, uncompressed_length: None }
    }

    fn moment(seconds: i64) -> Moment {
        Moment { seconds, nanoseconds: 0, offset_seconds: 0 }
    }

    fn listings(packs: &[(u8, u64)]) -> Holdings {
        let listed = packs.iter().map(|(n, size)| Listed { id: id(*n), size: *size }).collect();
        Holdings::of_listings(FileKind::Pack, vec![(0, listed)])
    }

    #[test]
    fn what_every_copy_has_goes_first() {
        let indexed = |n, blobs: &[PackedBlob]| IndexedPack { id: id(n), blobs: blobs.to_vec() };
        let marked = |n, seconds| MarkedPack {
            id: id(n),
            blobs: vec![blob(BlobKind::Data, n, 0)],
            time: Some(moment(seconds)),
            size: None,
        };
        let file =
            |packs: Vec<IndexedPack>, packs_to_delete| IndexFile { packs, packs_to_delete, ..IndexFile::default() };
        let data = [blob(BlobKind::Data, 7, 0), blob(BlobKind::Data, 8, 50)];
        let mut builder = LedgerBuilder::default();
        builder.add(id(100), 1, true, &file(vec![indexed(5, &data), indexed(3, &data[..1])], vec![marked(4, 9)]));
        builder.add(id(101), 1, true, &file(vec![indexed(5, &data)], vec![marked(3, 5), marked(4, 11)]));
        let surplus = vec![indexed(4, &[blob(BlobKind::Tree, 7, 0)]), indexed(2, &[])];
        builder.add(id(99), 1, false, &file(surplus, vec![marked(1, 5)]));
        let ledger = builder.build(&listings(&[(1, 5), (5, 210), (9, 50)]));
        let standings: Vec<(Id, Standing)> = ledger.packs.iter().map(|pack| (pack.id, pack.standing)).collect();
        let expected = [
            (id(1), Standing::Unindexed),
            (id(2), Standing::Surplus),
            (id(3), Standing::Indexed),
            (id(4), Standing::Marked),
            (id(5), Standing::Indexed),
            (id(9), Standing::Unindexed),
        ];
        assert_eq!(standings, expected);
        assert_eq!(ledger.packs[3].marked_at, Some(moment(11)), "the latest mark counts");
        assert_eq!(ledger.files.iter().map(|file| file.id).collect::<Vec<_>>(), [id(99), id(100), id(101)]);
        // A pack that two files list is there once, and its size follows from its blobs.
        assert_eq!((ledger.packs[4].rows, ledger.packs[4].expected_size), (2, 36 + 2 * 87));
        assert_eq!(ledger.flaw(&ledger.packs[4]), None);
        assert_eq!(ledger.flaw(&ledger.packs[2]), Some(Flaw::Lacking { copy: 0 }));
        let shelf = ledger.shelf(BlobKind::Data);
        let rank = shelf.rank(&id(7)).unwrap();
        assert_eq!(shelf.places(rank).iter().map(|row| row.pack).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(shelf.rank(&id(9)), None);
        assert_eq!(ledger.shelf(BlobKind::Tree).names().count(), 1);
        assert_eq!(shelf.names().map(|(_, places)| places.len()).sum::<usize>(), shelf.rows().len());
        assert_eq!(ledger.number(&id(9)), Some(5));
    }

    #[test]
    fn ids_that_differ_anywhere_have_names_of_their_own() {
        assert_eq!(std::mem::size_of::<Row>(), 32, "the memory of a prune hangs on it");
        let naming = Naming::default();
        let mut ids: Vec<Id> = vec![Id::default()];
        for bit in 0..256 {
            let mut bytes = [0; 32];
            bytes[bit / 8] = 1 << (bit % 8);
            ids.push(Id::from_bytes(bytes));
        }
        let mut names: Vec<Name> = ids.iter().map(|id| naming.name(id)).collect();
        assert_eq!(names, ids.iter().map(|id| naming.name(id)).collect::<Vec<_>>());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ids.len());
    }

    #[test]
    fn a_row_is_found_by_its_place_and_blobs_can_be_forgotten() {
        let blobs = vec![blob(BlobKind::Data, 7, 0), blob(BlobKind::Data, 7, 50)];
        let packs = vec![IndexedPack { id: id(1), blobs: blobs.clone() }, IndexedPack { id: id(2), blobs }];
        let mut builder = LedgerBuilder::default();
        builder.add(id(100), 1, true, &IndexFile { packs, ..IndexFile::default() });
        let mut ledger = builder.build(&listings(&[]));
        let shelf = ledger.shelf(BlobKind::Data);
        for (pack, offset) in [(0, 0), (0, 50), (1, 0), (1, 50)] {
            let row = shelf.rows()[shelf.row_at(&blob(BlobKind::Data, 7, offset), pack).unwrap()];
            assert_eq!((row.pack as usize, row.offset), (pack, offset));
        }
        assert_eq!(shelf.row_at(&blob(BlobKind::Data, 7, 51), 0), None);
        assert_eq!(shelf.row_at(&blob(BlobKind::Data, 8, 0), 0), None);
        ledger.forget_blobs();
        assert_eq!(ledger.shelf(BlobKind::Data).rank(&id(7)), None);
        assert_eq!((ledger.packs.len(), ledger.files.len()), (2, 1));
    }

    #[test]
    fn a_mark_without_a_time_has_none() {
        let mark = |time| MarkedPack { id: id(1), blobs: Vec::new(), time, size: None };
        let marks = vec![mark(Some(moment(5))), mark(None)];
        let mut builder = LedgerBuilder::default();
        builder.add(id(100), 1, true, &IndexFile { packs_to_delete: marks, ..IndexFile::default() });
        assert_eq!(builder.build(&listings(&[])).packs[0].marked_at, None);
    }
}
