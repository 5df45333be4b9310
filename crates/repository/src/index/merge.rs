//! Reading several sorted lists of records as one: from memory and from parts of the cache, each place once.

use std::ops::Range;

use format::BlobKind;
use model::Id;

use super::layout::ListedFile;
use super::part::{Part, Unreadable};
use super::record::Record;
use super::shelf::Shelves;

/// Where some of the index is.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "an index has a handful of them")]
pub(super) enum Source {
    Memory(Shelves),
    Cached(Part),
}

/// A source whose packs were numbered anew, so that several have the same numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbered<'a> {
    pub(super) source: &'a Source,
    /// The new number of each of its packs, ascending; empty where nothing changes.
    pub(super) numbers: &'a [u32],
}

/// The records of one kind from several sources in order, each place once.
pub(super) struct Merge<'a> {
    kind: BlobKind,
    streams: Vec<Stream<'a>>,
    last: Option<Record>,
    is_broken: bool,
}

struct Stream<'a> {
    from: Numbered<'a>,
    next_page: usize,
    /// The records of the page, and those of them that are still to come.
    page: Vec<Record>,
    left: Range<usize>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(kind: BlobKind, sources: impl Iterator<Item = Numbered<'a>>) -> Self {
        let stream = |from| Stream { from, next_page: 0, page: Vec::new(), left: 0..0 };
        Self { kind, streams: sources.map(stream).collect(), last: None, is_broken: false }
    }

    fn step(&mut self) -> Result<Option<Record>, Unreadable> {
        loop {
            let mut least: Option<(usize, Record)> = None;
            for number in 0..self.streams.len() {
                let Some(head) = self.streams[number].head(self.kind)? else { continue };
                if least.is_none_or(|(_, record)| head.key() < record.key()) {
                    least = Some((number, head));
                }
            }
            let Some((number, record)) = least else { return Ok(None) };
            self.streams[number].left.start += 1;
            if self.last.is_none_or(|last| last.key() != record.key()) {
                self.last = Some(record);
                return Ok(Some(record));
            }
        }
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<Record, Unreadable>;

    /// Ends after the first page that cannot be read.
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_broken {
            return None;
        }
        let step = self.step();
        self.is_broken = step.is_err();
        step.transpose()
    }
}

impl Stream<'_> {
    /// The next record, with the new number of its pack.
    fn head(&mut self, kind: BlobKind) -> Result<Option<Record>, Unreadable> {
        let next = match self.from.source {
            Source::Memory(shelves) => shelves.records(kind).get(self.left.start),
            Source::Cached(part) => {
                if self.left.is_empty() {
                    self.page.clear();
                    part.page_records(kind, self.next_page, &mut self.page)?;
                    self.next_page += 1;
                    self.left = 0..self.page.len();
                }
                self.page.get(self.left.start)
            }
        };
        Ok(next.map(|record| renumbered(*record, self.from.numbers)))
    }
}

/// The record with the new number of its pack. One that is out of bounds names no pack, and is never found.
pub(super) fn renumbered(record: Record, numbers: &[u32]) -> Record {
    let pack =
        if numbers.is_empty() { record.pack } else { numbers.get(record.pack as usize).copied().unwrap_or(u32::MAX) };
    Record { pack, ..record }
}

impl Source {
    pub(super) fn packs(&self) -> &[Id] {
        match self {
            Source::Memory(shelves) => &shelves.packs,
            Source::Cached(part) => &part.packs,
        }
    }

    pub(super) fn take_packs(&mut self) -> Vec<Id> {
        std::mem::take(match self {
            Source::Memory(shelves) => &mut shelves.packs,
            Source::Cached(part) => &mut part.packs,
        })
    }

    /// The index files of a part.
    pub(super) fn files(&self) -> Vec<ListedFile> {
        match self {
            Source::Memory(_) => Vec::new(),
            Source::Cached(part) => part.files.clone(),
        }
    }

    /// The name of a part.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Source::Memory(_) => None,
            Source::Cached(part) => Some(part.name().to_owned()),
        }
    }

    /// Shows every place of a blob to `each`, with the source's own pack numbers.
    pub(super) fn of(&self, kind: BlobKind, id: &Id, each: impl FnMut(Record)) -> Result<(), Unreadable> {
        match self {
            Source::Memory(shelves) => {
                shelves.of(kind, id).iter().copied().for_each(each);
                Ok(())
            }
            Source::Cached(part) => part.of(kind, id, each),
        }
    }
}

/// The packs of several sources in one sorted list.
pub(super) fn union_of_packs<'a>(sources: impl Iterator<Item = &'a Source>) -> Vec<Id> {
    let mut packs: Vec<Id> = sources.flat_map(|source| source.packs().iter().copied()).collect();
    packs.sort_unstable();
    packs.dedup();
    packs
}

/// The numbers of a source's packs in `packs`, which has all of them.
pub(super) fn numbers_in(packs: &[Id], source: &Source) -> Vec<u32> {
    source.packs().iter().map(|id| packs.binary_search(id).map_or(u32::MAX, |number| number as u32)).collect()
}
