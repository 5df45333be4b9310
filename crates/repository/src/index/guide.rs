//! What memory holds of the records that lie in the cache: enough to answer "no" without looking there, and to know the
//! one page to look at for a "yes".
//!
//! For each page the first eight bytes of its first id, for each record the last two bytes of its id: 2.4 bytes for each
//! blob. The page follows from the id's place in the order; a blob that is not there shares its two bytes with one of the
//! twenty of its page once in 3,300 times. Why no larger table that knows more: a wrong guess costs two microseconds and
//! is never believed, memory costs always.

use std::ops::Range;

use model::Id;

use super::record::{Record, fingerprint, first_bytes};

/// Records in a page of the cache.
pub(super) const PAGE_RECORDS: usize = 20;

/// The guide to the records of one kind in one part of the cache.
#[derive(Debug, Default)]
pub(super) struct Guide {
    /// For each page, the first bytes of its first id; sorted.
    pub(super) firsts: Vec<u64>,
    /// For each record, in order.
    pub(super) fingerprints: Vec<u16>,
}

impl Guide {
    /// Adds the next record in order.
    pub(super) fn push(&mut self, record: &Record) {
        if self.fingerprints.len().is_multiple_of(PAGE_RECORDS) {
            self.firsts.push(record.first_bytes());
        }
        self.fingerprints.push(fingerprint(&record.id));
    }

    /// How many records there are.
    pub(super) fn count(&self) -> usize {
        self.fingerprints.len()
    }

    /// The numbers of the records in a page.
    pub(super) fn records_of(&self, page: usize) -> Range<usize> {
        let start = (page * PAGE_RECORDS).min(self.count());
        start..(start + PAGE_RECORDS).min(self.count())
    }

    /// The pages on which the id may be, with its possible places on each; mostly none.
    pub(super) fn places<'a>(
        &'a self,
        id: &Id,
    ) -> impl Iterator<Item = (usize, impl Iterator<Item = usize> + 'a)> + 'a {
        let (first, wanted) = (first_bytes(id), fingerprint(id));
        // Records of one id may begin on the page before the first one that starts with its bytes, and go on behind it.
        let start = self.firsts.partition_point(|other| *other < first).saturating_sub(1);
        let end = start + self.firsts[start..].partition_point(|other| *other <= first);
        let here = move |page: usize| self.fingerprints.get(self.records_of(page)).unwrap_or_default();
        (start..end).filter(move |page| here(*page).contains(&wanted)).map(move |page| {
            let places = here(page).iter().enumerate();
            (page, places.filter(move |(_, other)| **other == wanted).map(|(place, _)| place))
        })
    }
}
