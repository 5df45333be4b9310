//! How many files of each kind each copy listed last. A copy that lists far fewer than before lost them, or does not
//! tell: nobody may conclude from such a listing that something is not needed any more.

use std::collections::BTreeMap;

use format::FileKind;
use serde::{Deserialize, Serialize};

use crate::copies::status::Holdings;
use crate::repository::Repository;

const NAME: &str = "listed.json";

/// A listing that has lost more than this share of its files is not believed.
const SHRINK_PERCENT_MAX: u64 = 20;

/// What one copy listed of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Number of files.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// By the copy's place and the folder of the kind.
type Known = BTreeMap<String, BTreeMap<String, Listing>>;

/// A copy that lists far fewer files than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// The copy's place.
    pub copy: String,
    /// What was listed.
    pub kind: FileKind,
    /// What was listed before.
    pub before: Listing,
    /// What is listed now.
    pub now: Listing,
}

impl Repository {
    /// Copies whose listing has shrunk so much since this machine looked last that something must be wrong.
    pub fn shrunk(&self, holdings: &Holdings) -> Vec<Shrunk> {
        let Some(records) = self.records() else { return Vec::new() };
        let known: Known = records.read(NAME);
        let mut shrunk = Vec::new();
        for (copy, now) in self.listings_of(holdings) {
            let before = known.get(copy).and_then(|kinds| kinds.get(holdings.kind.folder()));
            if let Some(&before) = before.filter(|before| has_shrunk(**before, now)) {
                shrunk.push(Shrunk { copy: copy.to_owned(), kind: holdings.kind, before, now });
            }
        }
        shrunk
    }

    /// Remembers what the copies list now: after it was believed, or after something was removed on purpose.
    pub fn note_listed(&self, holdings: &Holdings) {
        let Some(records) = self.records() else { return };
        let noted = records.change(NAME, |known: &mut Known| {
            for (copy, now) in self.listings_of(holdings) {
                known.entry(copy.to_owned()).or_default().insert(holdings.kind.folder().to_owned(), now);
            }
        });
        // A machine whose records cannot be written knows less.
        let _ = noted;
    }

    fn listings_of<'a>(&'a self, holdings: &'a Holdings) -> impl Iterator<Item = (&'a str, Listing)> {
        let copies = self.copies().all().iter().enumerate();
        copies.filter(|(number, _)| holdings.asked & (1 << number) != 0).map(|(number, copy)| {
            let (files, bytes) = holdings.of(number);
            (copy.place(), Listing { files, bytes })
        })
    }
}

fn has_shrunk(before: Listing, now: Listing) -> bool {
    let left = |before: u64| before.saturating_mul(100 - SHRINK_PERCENT_MAX) / 100;
    now.files < left(before.files) || (now.files == 0 && before.files > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_may_go_and_all_may_not() {
        let shrinks = |before, now| has_shrunk(Listing { files: before, bytes: 0 }, Listing { files: now, bytes: 0 });
        assert!(!shrinks(100, 100) && !shrinks(100, 80) && !shrinks(0, 0) && !shrinks(3, 2));
        assert!(shrinks(100, 79) && shrinks(1, 0) && shrinks(5, 0) && shrinks(10, 7));
    }
}
