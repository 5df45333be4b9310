//! Which blob is in which pack: the merged content of all index files, compact and read-only.
//!
//! Where there is a cache, the records lie there, sorted and sealed, and memory holds a small guide to them; where there
//! is none, they lie in memory. Index files are the truth: the cache is made from them and only from them, each of them
//! is read once, and what is damaged in the cache is read from them again. Nothing here writes to a copy but `press`.
//!
//! | room | what it knows |
//! |---|---|
//! | [`load`] | which index files there are, which of them the cache has, and how the others are read |
//! | `cached` | which files of the cache are of use, and when they are merged |
//! | `part`, `guide` | asking one file of the cache |
//! | `layout`, `block`, `writer` | its bytes |
//! | `shelf` | records in memory |
//! | `merge` | several of these in one order |
//! | `reread` | the way back when the cache fails in use |
//! | `press` | new index files, for whoever writes packs or takes them away |

mod block;
mod cached;
mod guide;
mod layout;
pub mod load;
mod merge;
mod part;
pub(crate) mod press;
mod record;
mod reread;
mod shelf;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::OnceLock;

use format::{BlobKind, IndexedPack, PackedBlob};
use model::Id;

use merge::{Merge, Numbered, Source, numbers_in, renumbered, union_of_packs};
use part::Unreadable;
use record::Record;
use reread::Reread;
use shelf::{Shelves, ShelvesBuilder};

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

/// The merged index of a repository.
#[derive(Debug, Default)]
pub struct Index {
    /// All packs, sorted. Every record's pack is a number here.
    packs: Vec<Id>,
    /// Packs that are gone, by number; empty while none is.
    is_lost: Vec<bool>,
    sources: Vec<Source>,
    /// For each source the numbers of its own packs; empty where they are the same.
    numbers: Vec<Vec<u32>>,
    /// How to read everything again.
    reread: Option<Reread>,
    /// Everything in memory, after the cache failed.
    whole: OnceLock<Shelves>,
}

impl Index {
    /// Merges packs as index files list them; the same pack may come several times.
    pub fn new(indexed: impl IntoIterator<Item = IndexedPack>) -> Self {
        let mut builder = ShelvesBuilder::default();
        indexed.into_iter().for_each(|pack| builder.add(&pack));
        Self::of(vec![Source::Memory(builder.build())], None)
    }

    fn of(mut sources: Vec<Source>, reread: Option<Reread>) -> Self {
        let (packs, numbers) = match sources.as_mut_slice() {
            // The pack table of the only source is the pack table.
            [only] => (only.take_packs(), vec![Vec::new()]),
            several => {
                let packs = union_of_packs(several.iter());
                let numbers = several.iter().map(|source| numbers_in(&packs, source)).collect();
                several.iter_mut().for_each(|source| drop(source.take_packs()));
                (packs, numbers)
            }
        };
        Self { packs, is_lost: Vec::new(), sources, numbers, reread, whole: OnceLock::new() }
    }

    /// Where the blob is; the first place where there are several.
    pub fn get(&self, kind: BlobKind, id: &Id) -> Option<Location> {
        self.all(kind, id).next()
    }

    /// Every place where the blob is.
    pub fn all(&self, kind: BlobKind, id: &Id) -> impl Iterator<Item = Location> + '_ {
        self.records_of(kind, id).into_iter().filter_map(|record| self.location(&record))
    }

    /// Whether the blob is anywhere.
    pub fn contains(&self, kind: BlobKind, id: &Id) -> bool {
        !self.records_of(kind, id).is_empty()
    }

    /// How many blobs of a kind there are; a blob in two packs counts twice. Looks at all of them.
    pub fn count(&self, kind: BlobKind) -> usize {
        self.records(kind).count()
    }

    /// Every blob in order of kind and id; one in two packs comes twice.
    pub fn iter(&self) -> impl Iterator<Item = (BlobKind, Id, Location)> + '_ {
        let each = |kind| self.records(kind).filter_map(move |record| Some((kind, record.id, self.location(&record)?)));
        each(BlobKind::Data).chain(each(BlobKind::Tree))
    }

    /// Every blob of a kind in the order of ids; one in two packs comes twice.
    pub fn of_kind(&self, kind: BlobKind) -> impl Iterator<Item = (Id, Location)> + '_ {
        self.records(kind).filter_map(|record| Some((record.id, self.location(&record)?)))
    }

    /// The packs that hold blobs of a kind. Looks at all of these.
    pub(crate) fn packs_with(&self, kind: BlobKind) -> HashSet<Id> {
        self.of_kind(kind).map(|(_, location)| location.pack).collect()
    }

    /// The packs that any index file mentions, sorted.
    pub fn packs(&self) -> &[Id] {
        &self.packs
    }

    /// Forgets what lies in packs that are not `there`; gives these packs. A blob that lies elsewhere too stays known.
    pub fn forget_packs(&mut self, there: impl Fn(&Id) -> bool) -> Vec<Id> {
        let lost: Vec<(usize, Id)> =
            self.packs.iter().enumerate().filter(|(_, id)| !there(id)).map(|(number, id)| (number, *id)).collect();
        if !lost.is_empty() {
            self.is_lost.resize(self.packs.len(), false);
            lost.iter().for_each(|(number, _)| self.is_lost[*number] = true);
        }
        lost.into_iter().map(|(_, id)| id).collect()
    }

    /// Every place of a blob, by pack and offset. Mostly there is none, which takes no memory and no look at the cache.
    fn records_of(&self, kind: BlobKind, id: &Id) -> Vec<Record> {
        let mut records = match self.whole.get() {
            Some(whole) => whole.of(kind, id).to_vec(),
            None => self.ask_sources(kind, id).unwrap_or_else(|Unreadable| self.whole().of(kind, id).to_vec()),
        };
        records.retain(|record| self.is_there(record));
        records
    }

    fn ask_sources(&self, kind: BlobKind, id: &Id) -> Result<Vec<Record>, Unreadable> {
        let mut records = Vec::new();
        for (source, numbers) in self.sources.iter().zip(&self.numbers) {
            source.of(kind, id, |record| records.push(renumbered(record, numbers)))?;
        }
        if records.len() > 1 {
            records.sort_unstable_by_key(Record::key);
            records.dedup_by_key(|record| record.key());
        }
        Ok(records)
    }

    /// All records of a kind in order.
    fn records(&self, kind: BlobKind) -> impl Iterator<Item = Record> + '_ {
        let sources = self.sources.iter().zip(&self.numbers);
        let mut merge = Merge::new(kind, sources.map(|(source, numbers)| Numbered { source, numbers }));
        let mut last = None;
        let mut rest: Option<std::slice::Iter<'_, Record>> = None;
        let next = move || {
            if let Some(rest) = &mut rest {
                return rest.next().copied();
            }
            match merge.next()? {
                Ok(record) => {
                    last = Some(record.key());
                    Some(record)
                }
                Err(Unreadable) => {
                    let all = self.whole().records(kind);
                    let from = last.map_or(0, |last| all.partition_point(|record| record.key() <= last));
                    rest.insert(all[from..].iter()).next().copied()
                }
            }
        };
        std::iter::from_fn(next).filter(|record| self.is_there(record))
    }

    /// Everything in memory. Whoever comes first reads it, the others wait.
    fn whole(&self) -> &Shelves {
        self.whole.get_or_init(|| {
            let shelves = self.reread.as_ref().and_then(|reread| reread.read().ok());
            // Records name packs by number, so the table must be the same; it always is, for files named by hashes.
            shelves.filter(|shelves| shelves.packs == self.packs).unwrap_or_default()
        })
    }

    fn is_there(&self, record: &Record) -> bool {
        self.is_lost.is_empty() || self.is_lost.get(record.pack as usize) == Some(&false)
    }

    fn location(&self, record: &Record) -> Option<Location> {
        Some(Location {
            pack: *self.packs.get(record.pack as usize)?,
            offset: record.offset,
            length: record.length,
            uncompressed_length: NonZeroU32::new(record.uncompressed_length),
        })
    }
}
