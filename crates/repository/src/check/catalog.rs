//! The index of one copy, laid out for checking: blobs by pack, and a second order by id.
//!
//! Unlike the engine's merged index this one keeps what does not fit, so that it can be told, and gives every blob a
//! number, so that "bad" and "seen" are single bits. About 56 bytes for each blob.

use std::ops::Range;

use format::{BlobKind, IndexedPack, PACK_FRAME_BYTES, PackedBlob};
use model::Id;

use crate::bits::Bits;

/// A pack that an index names.
#[derive(Debug, Clone)]
pub(super) struct CatalogPack {
    pub(super) id: Id,
    /// Its size as listed; none when the copy does not have it.
    pub(super) size: Option<u64>,
    /// Numbers of its blobs, in order of offset.
    pub(super) blobs: Range<usize>,
    pub(super) has_trees: bool,
    pub(super) has_data: bool,
}

/// Everything that the index files of one copy say.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    packs: Vec<CatalogPack>,
    /// By pack, then offset. A position in here is a blob's number.
    blobs: Vec<PackedBlob>,
    /// Numbers of blobs, trees first, then by id.
    by_name: Vec<u32>,
    trees: usize,
    /// Where names begin, by kind and the first 16 bits of the id; it narrows every search to a few names.
    starts: Vec<u32>,
}

/// Collects index files.
#[derive(Debug, Default)]
pub(super) struct CatalogBuilder {
    packs: Vec<Id>,
    blobs: Vec<(u32, PackedBlob)>,
}

/// Two kinds, and 16 bits of the id.
const BUCKETS: usize = 2 << 16;

fn bucket(kind: BlobKind, id: &Id) -> usize {
    let bytes = id.as_bytes();
    let prefix = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    if kind == BlobKind::Tree { prefix } else { (1 << 16) + prefix }
}

fn order(blob: &PackedBlob) -> (bool, Id) {
    (blob.kind != BlobKind::Tree, blob.id)
}

impl CatalogBuilder {
    pub(super) fn add(&mut self, pack: &IndexedPack) {
        let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        self.packs.push(pack.id);
        self.blobs.extend(pack.blobs.iter().map(|blob| (number, *blob)));
    }

    /// Sorts what was collected. `size_of` says how large the copy lists a pack.
    pub(super) fn build(self, size_of: impl Fn(&Id) -> Option<u64>) -> Catalog {
        let Self { packs: ids, mut blobs } = self;
        let id_of = |number: u32| ids.get(number as usize).copied().unwrap_or_default();
        // The same pack may come from several index files: the id, not the number, says which pack it is.
        blobs.sort_unstable_by_key(|(pack, blob)| (id_of(*pack), blob.offset, blob.length, order(blob)));
        blobs.dedup_by(|a, b| id_of(a.0) == id_of(b.0) && a.1 == b.1);
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let mut packs = Vec::with_capacity(sorted.len());
        let mut start = 0;
        for id in sorted {
            let rest = blobs.get(start..).unwrap_or_default();
            let count = rest.partition_point(|(pack, _)| id_of(*pack) <= id);
            let own = rest.get(..count).unwrap_or_default();
            packs.push(CatalogPack {
                id,
                size: size_of(&id),
                blobs: start..start + count,
                has_trees: own.iter().any(|(_, blob)| blob.kind == BlobKind::Tree),
                has_data: own.iter().any(|(_, blob)| blob.kind == BlobKind::Data),
            });
            start += count;
        }
        let blobs: Vec<PackedBlob> = blobs.into_iter().map(|(_, blob)| blob).collect();
        let mut by_name: Vec<u32> = (0..blobs.len()).map(|n| n as u32).collect();
        by_name.sort_unstable_by_key(|number| blobs.get(*number as usize).map(order));
        let trees = blobs.iter().filter(|blob| blob.kind == BlobKind::Tree).count();
        let mut starts = vec![0; BUCKETS + 1];
        for blob in &blobs {
            if let Some(count) = starts.get_mut(bucket(blob.kind, &blob.id) + 1) {
                *count += 1;
            }
        }
        let mut before = 0;
        for start in &mut starts {
            before += *start;
            *start = before;
        }
        Catalog { packs, blobs, by_name, trees, starts }
    }
}

impl Catalog {
    pub(super) fn packs(&self) -> &[CatalogPack] {
        &self.packs
    }

    pub(super) fn pack(&self, id: &Id) -> Option<&CatalogPack> {
        self.packs.binary_search_by_key(id, |pack| pack.id).ok().and_then(|n| self.packs.get(n))
    }

    /// The pack that holds blob `number`.
    pub(super) fn pack_of(&self, number: usize) -> Option<&CatalogPack> {
        let after = self.packs.partition_point(|pack| pack.blobs.start <= number);
        self.packs.get(..after)?.iter().rev().find(|pack| pack.blobs.contains(&number))
    }

    pub(super) fn blob(&self, number: usize) -> Option<&PackedBlob> {
        self.blobs.get(number)
    }

    /// How many entries there are; numbers are below it.
    pub(super) fn len(&self) -> usize {
        self.blobs.len()
    }

    /// How many entries are trees; ranks of trees are below it.
    pub(super) fn tree_entries(&self) -> usize {
        self.trees
    }

    /// The rank of a name: its first place in the order of names. None when no index has it.
    pub(super) fn rank(&self, kind: BlobKind, id: &Id) -> Option<usize> {
        let wanted = (kind != BlobKind::Tree, *id);
        let name_at = |number: &u32| self.blobs.get(*number as usize).map(order);
        let at = bucket(kind, id);
        let (from, to) = (*self.starts.get(at)? as usize, *self.starts.get(at + 1)? as usize);
        let within = self.by_name.get(from..to)?;
        let first = from + within.partition_point(|number| name_at(number) < Some(wanted));
        (self.by_name.get(first).and_then(name_at) == Some(wanted)).then_some(first)
    }

    /// The numbers of all entries for the name at `rank`.
    pub(super) fn numbers(&self, rank: usize) -> impl Iterator<Item = usize> + '_ {
        let name = self.name_at(rank);
        let rest = self.by_name.get(rank..).unwrap_or_default();
        rest.iter().map(|number| *number as usize).take_while(move |number| self.blob(*number).map(order) == name)
    }

    fn name_at(&self, rank: usize) -> Option<(bool, Id)> {
        self.by_name.get(rank).and_then(|number| self.blob(*number as usize)).map(order)
    }

    /// Whether no entry for this name is good: either there is none, or each is in `bad`.
    pub(super) fn is_lost(&self, kind: BlobKind, id: &Id, bad: &Bits) -> bool {
        match self.rank(kind, id) {
            None => true,
            Some(rank) => self.numbers(rank).all(|number| bad.contains(number)),
        }
    }

    /// How many different names there are.
    pub(super) fn names(&self) -> usize {
        let mut last = None;
        let mut count = 0;
        for rank in 0..self.by_name.len() {
            let name = self.name_at(rank);
            count += usize::from(name != last);
            last = name;
        }
        count
    }
}

/// What is wrong with what the index says about one pack, and which of its blobs cannot be where it says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Misfit {
    pub(super) why: Option<String>,
    pub(super) impossible: Vec<usize>,
}

/// Compares the entries of a pack with each other and with the pack's listed size.
pub(super) fn fit(catalog: &Catalog, pack: &CatalogPack) -> Misfit {
    let Some(size) = pack.size else {
        return Misfit {
            why: Some("an index names this pack, and it is not there".into()),
            impossible: pack.blobs.clone().collect(),
        };
    };
    let mut misfit = Misfit::default();
    let mut end = 0u64;
    let mut needed = PACK_FRAME_BYTES;
    for number in pack.blobs.clone() {
        let Some(blob) = catalog.blob(number) else { continue };
        let (offset, length) = (u64::from(blob.offset), u64::from(blob.length));
        let overlaps = offset < end;
        if overlaps || offset + length > size {
            let how = if overlaps { "overlaps another" } else { "ends after the pack's end" };
            misfit.why.get_or_insert_with(|| format!("the index is wrong: the {} blob {} {how}", blob.kind, blob.id));
            misfit.impossible.push(number);
        } else {
            end = offset + length;
        }
        needed += blob.bytes_with_entry();
    }
    if misfit.why.is_none() && needed != size {
        misfit.why = Some(format!("it has {size} bytes, and by the index it should have {needed}"));
    }
    misfit
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(n: u8) -> Id {
        Id::from_bytes([n; 32])
    }

    fn blob(kind: BlobKind, n: u8, offset: u32, length: u32) -> PackedBlob {
        PackedBlob { kind, id: id(n), offset, length, uncompressed_length: None }
    }

    fn catalog(packs: Vec<(u8, Vec<PackedBlob>)>, size: u64) -> Catalog {
        let mut builder = CatalogBuilder::default();
        for (n, blobs) in packs {
            builder.add(&IndexedPack { id: id(n), blobs });
        }
        builder.build(|pack| (*pack != id(99)).then_some(size))
    }

    #[test]
    fn finds_every_entry_of_a_name() {
        use BlobKind::{Data, Tree};
        let catalog = catalog(
            vec![
                (2, vec![blob(Data, 7, 0, 50), blob(Tree, 7, 50, 60)]),
                (1, vec![blob(Data, 7, 0, 50), blob(Data, 8, 50, 10)]),
                (2, vec![blob(Data, 7, 0, 50)]),
            ],
            1000,
        );
        assert_eq!(catalog.len(), 4);
        assert_eq!(catalog.names(), 3);
        assert_eq!(catalog.tree_entries(), 1);
        assert_eq!(catalog.packs().iter().map(|p| p.id).collect::<Vec<_>>(), [id(1), id(2)]);
        let rank = catalog.rank(Data, &id(7)).unwrap();
        let holders: Vec<Id> = catalog.numbers(rank).map(|n| catalog.pack_of(n).unwrap().id).collect();
        assert_eq!(holders.len(), 2);
        assert!(holders.contains(&id(1)) && holders.contains(&id(2)));
        assert_eq!(catalog.rank(Tree, &id(7)), Some(0));
        assert_eq!(catalog.rank(Tree, &id(8)), None);
        let bad = Bits::new(catalog.len());
        let numbers: Vec<usize> = catalog.numbers(rank).collect();
        bad.insert(numbers[0]);
        assert!(!catalog.is_lost(Data, &id(7), &bad));
        bad.insert(numbers[1]);
        assert!(catalog.is_lost(Data, &id(7), &bad));
        assert!(catalog.is_lost(Data, &id(9), &bad));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        use BlobKind::Data;
        let header = |blobs: u64| 36 + 37 * blobs;
        let fitting = catalog(vec![(1, vec![blob(Data, 1, 0, 50), blob(Data, 2, 50, 50)])], 100 + header(2));
        assert_eq!(fit(&fitting, &fitting.packs()[0]), Misfit::default());

        let overlapping = catalog(vec![(1, vec![blob(Data, 1, 0, 50), blob(Data, 2, 49, 50)])], 100 + header(2));
        let misfit = fit(&overlapping, &overlapping.packs()[0]);
        assert!(misfit.why.unwrap().contains("overlaps another"));
        assert_eq!(misfit.impossible, [1]);

        let beyond = catalog(vec![(1, vec![blob(Data, 1, u32::MAX, u32::MAX)])], 100 + header(1));
        assert!(fit(&beyond, &beyond.packs()[0]).why.unwrap().contains("after the pack's end"));

        let short = catalog(vec![(1, vec![blob(Data, 1, 0, 50)])], 51 + header(1));
        assert!(fit(&short, &short.packs()[0]).why.unwrap().contains("should have 123"));

        let gone = catalog(vec![(99, vec![blob(Data, 1, 0, 50)])], 100);
        let misfit = fit(&gone, &gone.packs()[0]);
        assert!(misfit.why.unwrap().contains("not there"));
        assert_eq!(misfit.impossible, [0]);
    }

    #[test]
    fn packs_without_blobs_are_kept() {
        let catalog = catalog(vec![(5, vec![]), (3, vec![blob(BlobKind::Data, 1, 0, 50)]), (1, vec![])], 100);
        assert_eq!(catalog.packs().len(), 3);
        assert_eq!(catalog.pack_of(0).unwrap().id, id(3));
    }
}
