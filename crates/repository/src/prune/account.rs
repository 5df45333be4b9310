//! Who keeps what: of every blob that is needed exactly one place is kept, and each pack's bytes are counted by that.
//!
//! Where a blob lies in several packs, the pack that is needed most anyway keeps it, so that the others become free as a
//! whole. All packs are weighed by the blobs that lie nowhere else, so two packs of the same content never share the
//! work: one of them keeps all of it.

use format::BlobKind;

use super::ledger::{Ledger, Pack, Row, Standing};
use super::report::Amount;
use super::used::Used;
use crate::bits::Bits;

/// What a pack holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Blobs that are kept here.
    pub(super) kept: Amount,
    /// Blobs that nobody needs, or that are kept elsewhere.
    pub(super) spare: Amount,
    pub(super) has_data: bool,
    pub(super) has_trees: bool,
    pub(super) has_uncompressed: bool,
}

/// Every blob's keeper.
pub(super) struct Accounts {
    /// For each pack, by number.
    pub(super) packs: Vec<Sums>,
    kept_data: Bits,
    kept_trees: Bits,
    /// Names that snapshots need.
    pub(super) used: Amount,
    /// Places of such names beside the one that is kept.
    pub(super) duplicate: Amount,
    /// Places of names that nobody needs, in packs that the index has.
    pub(super) unused: Amount,
}

impl Accounts {
    /// Whether the place of this number is the one that is kept.
    pub(super) fn is_kept(&self, kind: BlobKind, number: usize) -> bool {
        self.kept(kind).contains(number)
    }

    fn kept(&self, kind: BlobKind) -> &Bits {
        match kind {
            BlobKind::Data => &self.kept_data,
            BlobKind::Tree => &self.kept_trees,
        }
    }

    fn keep(&mut self, kind: BlobKind, number: usize, row: &Row) {
        self.kept(kind).insert(number);
        if let Some(sums) = self.packs.get_mut(row.pack as usize) {
            sums.kept.add(row.length);
        }
    }
}

/// How much a place can be relied on; the least number is the best.
fn tier(ledger: &Ledger, pack: &Pack) -> u8 {
    match pack.standing {
        _ if pack.copies == 0 => 4,
        Standing::Indexed | Standing::Surplus if ledger.flaw(pack).is_some() => 3,
        Standing::Indexed => 0,
        Standing::Surplus => 1,
        Standing::Marked if pack.other_size == 0 && pack.size == pack.expected_size => 2,
        Standing::Marked | Standing::Unindexed => 3,
    }
}

/// Decides for every name that is used which of its places is kept.
pub(super) fn account(ledger: &Ledger, used: &Used) -> Accounts {
    let bits = |kind| Bits::new(ledger.shelf(kind).rows().len());
    let mut accounts = Accounts {
        packs: vec![Sums::default(); ledger.packs.len()],
        kept_data: bits(BlobKind::Data),
        kept_trees: bits(BlobKind::Tree),
        used: Amount::default(),
        duplicate: Amount::default(),
        unused: Amount::default(),
    };
    let tiers: Vec<u8> = ledger.packs.iter().map(|pack| tier(ledger, pack)).collect();
    let tier_of = |row: &Row| tiers.get(row.pack as usize).copied().unwrap_or(u8::MAX);
    let mut several = Vec::new();
    for kind in [BlobKind::Tree, BlobKind::Data] {
        for (rank, places) in ledger.shelf(kind).names() {
            if !used.of(kind).contains(rank) {
                continue;
            }
            let best = places.iter().map(tier_of).min().unwrap_or(u8::MAX);
            let mut of_the_best = places.iter().enumerate().filter(|(_, row)| tier_of(row) == best);
            match (of_the_best.next(), of_the_best.next()) {
                (Some((at, row)), None) => accounts.keep(kind, rank + at, row),
                _ => several.push((kind, rank, best)),
            }
        }
    }
    let weights: Vec<u64> = accounts.packs.iter().map(|sums| sums.kept.bytes).collect();
    for (kind, rank, best) in several {
        let places = ledger.shelf(kind).places(rank).iter().enumerate();
        let weight = |row: &Row| weights.get(row.pack as usize).copied().unwrap_or_default();
        let keeper = places
            .filter(|(_, row)| tier_of(row) == best)
            .min_by_key(|(_, row)| (std::cmp::Reverse(weight(row)), row.pack, row.offset));
        if let Some((at, row)) = keeper {
            accounts.keep(kind, rank + at, row);
        }
    }
    sum_up(ledger, used, &mut accounts);
    accounts
}

fn sum_up(ledger: &Ledger, used: &Used, accounts: &mut Accounts) {
    for kind in [BlobKind::Tree, BlobKind::Data] {
        for (rank, places) in ledger.shelf(kind).names() {
            let is_used = used.of(kind).contains(rank);
            for (at, row) in places.iter().enumerate() {
                let is_kept = accounts.is_kept(kind, rank + at);
                let is_indexed = ledger.pack(row.pack).is_some_and(|pack| pack.standing == Standing::Indexed);
                let Some(sums) = accounts.packs.get_mut(row.pack as usize) else { continue };
                sums.has_data |= kind == BlobKind::Data;
                sums.has_trees |= kind == BlobKind::Tree;
                sums.has_uncompressed |= !row.is_compressed();
                match (is_kept, is_used) {
                    (true, _) => accounts.used.add(row.length),
                    (false, is_used) => {
                        sums.spare.add(row.length);
                        match (is_indexed, is_used) {
                            (true, true) => accounts.duplicate.add(row.length),
                            (true, false) => accounts.unused.add(row.length),
                            (false, _) => {}
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use destinations::Listed;
    use format::{FileKind, IndexFile, IndexedPack, MarkedPack, PackedBlob};
    use model::Id;

    use super::super::ledger::LedgerBuilder;
    use super::*;
    use crate::copies::status::Holdings;

    fn id(n: u8) -> Id {
        Id::from_bytes([n; 32])
    }

    fn blobs(ids: &[u8]) -> Vec<PackedBlob> {
        let blob = |(at, n): (usize, &u8)| PackedBlob {
            kind: BlobKind::Data,
            id: id(*n),
            offset: at as u32 * 100,
            length: 100,
            uncompressed_length: None,
        };
        ids.iter().enumerate().map(blob).collect()
    }

    /// Numbers of kept blobs by pack. `lacking` packs are on no copy.
    fn kept(packs: &[(u8, &[u8])], marked: &[(u8, &[u8])], lacking: &[u8], needed: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let size = |content: &[u8]| 36 + content.len() as u64 * 137;
        let listed = packs.iter().chain(marked).filter(|(n, _)| !lacking.contains(n));
        let listed = listed.map(|(n, content)| Listed { id: id(*n), size: size(content) }).collect();
        let packs = packs.iter().map(|(n, content)| IndexedPack { id: id(*n), blobs: blobs(content) }).collect();
        let mark =
            |(n, content): &(u8, &[u8])| MarkedPack { id: id(*n), blobs: blobs(content), time: None, size: None };
        let packs_to_delete = marked.iter().map(mark).collect();
        let mut builder = LedgerBuilder::default();
        builder.add(id(0), 1, true, &IndexFile { packs, packs_to_delete, ..IndexFile::default() });
        let ledger = builder.build(&Holdings::of_listings(FileKind::Pack, vec![(0, listed)]));
        let shelf = ledger.shelf(BlobKind::Data);
        let used = Used { data: Bits::new(shelf.rows().len()), trees: Bits::new(0) };
        for n in needed {
            used.data.insert(shelf.rank(&id(*n)).unwrap());
        }
        let accounts = account(&ledger, &used);
        assert_eq!(accounts.used.blobs, needed.len() as u64, "each needed blob is kept once");
        let mut kept = Vec::new();
        let is_at =
            |n: &u8, at| shelf.rank(&id(*n)).is_some_and(|rank| (rank..rank + shelf.places(rank).len()).contains(&at));
        let name_of = |at| (0..=u8::MAX).find(|n| is_at(n, at)).unwrap();
        for (number, pack) in ledger.packs.iter().enumerate() {
            let rows = shelf.rows().iter().enumerate().filter(|(_, row)| row.pack as usize == number);
            let own = rows.filter(|(at, _)| accounts.is_kept(BlobKind::Data, *at));
            let mut own: Vec<u8> = own.map(|(at, _)| name_of(at)).collect();
            own.sort_unstable();
            assert_eq!(accounts.packs[number].kept.blobs, own.len() as u64);
            if !own.is_empty() {
                kept.push((pack.id.as_bytes()[0], own));
            }
        }
        kept
    }

    #[test]
    fn a_duplicate_is_kept_where_most_is_needed_anyway() {
        assert_eq!(kept(&[(1, &[10, 11]), (2, &[10, 12, 13])], &[], &[], &[10, 12]), [(2, vec![10, 12])]);
        // Packs of the same content: one of them keeps all.
        assert_eq!(kept(&[(1, &[10, 11]), (2, &[11, 10])], &[], &[], &[10, 11]), [(1, vec![10, 11])]);
        // Twice in one pack.
        assert_eq!(kept(&[(1, &[10, 10])], &[], &[], &[10]), [(1, vec![10])]);
    }

    #[test]
    fn what_is_there_and_not_marked_goes_first() {
        assert_eq!(kept(&[(1, &[10, 11]), (2, &[10])], &[], &[1], &[10]), [(2, vec![10])]);
        assert_eq!(kept(&[(2, &[10])], &[(1, &[10, 11])], &[], &[10]), [(2, vec![10])]);
        assert_eq!(kept(&[(2, &[10])], &[(1, &[10, 11])], &[], &[10, 11]), [(1, vec![11]), (2, vec![10])]);
        assert_eq!(kept(&[(2, &[10])], &[(1, &[10, 11])], &[2], &[10]), [(1, vec![10])]);
    }
}
