//! Who has what: the files of one kind on every copy, side by side.

use std::collections::BTreeMap;

use destinations::Listed;
use format::FileKind;
use model::Id;

use super::CopySet;
use crate::error::Result;

/// One file and the copies that list it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Copies that list it, as bits by copy number.
    pub copies: u64,
    /// Its size in bytes on the first of them.
    pub size: u64,
    /// Copies that list it with another size than the first: damaged there, or damaged on the first.
    pub other_size: u64,
}

/// The files of one kind on every live copy.
#[derive(Debug, Clone)]
pub struct Holdings {
    /// The kind.
    pub kind: FileKind,
    /// Copies that answered, as bits by copy number.
    pub asked: u64,
    /// Every file that any of them lists.
    pub files: BTreeMap<Id, Held>,
}

impl Holdings {
    /// Lists `kind` on every live copy; a copy that cannot be listed is lost.
    pub fn gather(copies: &CopySet, kind: FileKind) -> Result<Self> {
        Ok(Self::of_listings(kind, copies.list_each(kind)?))
    }

    /// The files of these listings, each with the number of its copy.
    pub(crate) fn of_listings(kind: FileKind, listings: Vec<(usize, Vec<Listed>)>) -> Self {
        let mut holdings = Self { kind, asked: 0, files: BTreeMap::new() };
        for (number, listing) in listings {
            holdings.asked |= 1 << number;
            for file in listing {
                let held = holdings.files.entry(file.id).or_insert(Held { size: file.size, ..Held::default() });
                held.copies |= 1 << number;
                if held.size != file.size {
                    held.other_size |= 1 << number;
                }
            }
        }
        holdings
    }

    /// The files that copy `number` lacks and another has.
    pub fn missing(&self, number: usize) -> impl Iterator<Item = (Id, Held)> + '_ {
        self.files.iter().filter(move |(_, held)| held.copies & (1 << number) == 0).map(|(id, held)| (*id, *held))
    }

    /// True when every copy that answered has every file.
    pub fn agree(&self) -> bool {
        self.files.values().all(|held| held.copies == self.asked && held.other_size == 0)
    }

    /// How many files copy `number` has, and their bytes.
    pub fn of(&self, number: usize) -> (u64, u64) {
        let own = self.files.values().filter(|held| held.copies & (1 << number) != 0);
        own.fold((0, 0), |(files, bytes), held| (files + 1, bytes + held.size))
    }
}
