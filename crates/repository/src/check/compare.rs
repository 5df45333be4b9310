//! The copies beside each other: which files one has and another lacks.
//!
//! Being behind is no damage; it is told apart so that nobody restores from a copy that is missing last week.

use std::collections::HashSet;

use format::{FileKind, FileName};
use model::Id;

use super::report::Lacking;
use super::structure::Listings;

/// Files named for each copy; the others are counted.
const NAMED_MAX: usize = 10;

/// What is known of one copy for the comparison.
pub(super) struct Side<'a> {
    pub(super) copy: &'a str,
    pub(super) listings: &'a Listings,
    /// The packs that its index names.
    pub(super) indexed: &'a HashSet<Id>,
}

/// What each copy lacks of the union of all.
pub(super) fn compare(sides: &[Side<'_>]) -> Vec<Lacking> {
    let is_indexed = |pack: &Id| sides.iter().any(|side| side.indexed.contains(pack));
    let mut lacking: Vec<Lacking> = Vec::new();
    let held: Vec<HashSet<FileName>> = sides.iter().map(|side| names(side.listings).collect()).collect();
    for (n, (side, own)) in sides.iter().zip(&held).enumerate() {
        let others = held.iter().enumerate().filter(|(other, _)| *other != n).flat_map(|(_, names)| names);
        let mut missing: Vec<FileName> = others.filter(|name| !own.contains(name)).copied().collect();
        missing.sort_unstable_by_key(|name| (order(name), *name));
        missing.dedup();
        if missing.is_empty() {
            continue;
        }
        let matters = |name: &&FileName| name.kind() != FileKind::Pack || name.id().is_some_and(|id| is_indexed(&id));
        let needed = missing.iter().filter(matters).count() as u64;
        let files = missing.len() as u64;
        missing.truncate(NAMED_MAX);
        lacking.push(Lacking { copy: side.copy.to_owned(), files, needed, first: missing });
    }
    lacking
}

/// Snapshots are what people know; they are named first.
fn order(name: &FileName) -> u8 {
    match name.kind() {
        FileKind::Snapshot => 0,
        FileKind::Key => 1,
        FileKind::Index => 2,
        _ => 3,
    }
}

fn names(listings: &Listings) -> impl Iterator<Item = FileName> + '_ {
    let of = |kind, listed: &'_ [destinations::Listed]| {
        listed.iter().map(move |file| FileName::new(kind, file.id)).collect::<Vec<_>>()
    };
    of(FileKind::Key, &listings.keys)
        .into_iter()
        .chain(of(FileKind::Snapshot, &listings.snapshots))
        .chain(of(FileKind::Index, &listings.index))
        .chain(of(FileKind::Pack, &listings.packs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use destinations::Listed;

    fn listed(ids: &[u8]) -> Vec<Listed> {
        ids.iter().map(|n| Listed { id: Id::from_bytes([*n; 32]), size: 1 }).collect()
    }

    #[test]
    fn each_copy_is_told_what_it_lacks() {
        let full = Listings { snapshots: listed(&[1, 2]), packs: listed(&[3, 4, 5]), ..Listings::default() };
        let behind = Listings { snapshots: listed(&[1]), packs: listed(&[3]), ..Listings::default() };
        let odd = Listings { snapshots: listed(&[1, 2]), packs: listed(&[3, 4, 5, 6]), ..Listings::default() };
        let indexed: HashSet<Id> = [3, 4, 5].map(|n| Id::from_bytes([n; 32])).into();
        let side = |copy, listings| Side { copy, listings, indexed: &indexed };
        assert_eq!(compare(&[side("a", &full), side("b", &full)]), []);
        let lacking = compare(&[side("full", &full), side("behind", &behind), side("odd", &odd)]);
        assert_eq!(lacking.len(), 2);
        assert_eq!((lacking[0].copy.as_str(), lacking[0].files, lacking[0].needed), ("full", 1, 0));
        assert_eq!((lacking[1].copy.as_str(), lacking[1].files, lacking[1].needed), ("behind", 4, 3));
        assert_eq!(lacking[1].first[0].kind(), FileKind::Snapshot);
    }
}
