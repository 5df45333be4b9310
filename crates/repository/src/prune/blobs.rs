//! Reading blobs by the ledger, many at a time: what lies beside each other in a pack is read in one window.
//!
//! No byte is used before it was checked. What is not sound in a window is read alone, from every place of the blob and
//! from every copy.

use std::cmp::Reverse;
use std::ops::Range;

use destinations::Span;
use format::{BlobKind, Decompressor, FileName, PackedBlob};
use model::Id;

use super::ledger::{Ledger, Row, Standing};
use crate::copies::Holders;
use crate::copies::status::Holdings;
use crate::error::{Error, Result};
use crate::opener::Opener;
use crate::repository::Repository;

/// The longest window of packs that are written anew, unless a single blob is longer.
pub(super) const REPACK_WINDOW_BYTES: u64 = 4 << 20;

/// The longest window of listings, unless a single one is longer. They are read by more threads, each with a window and
/// several times as much of plain text.
pub(super) const LISTINGS_WINDOW_BYTES: u64 = 1 << 20;

/// Blobs this close to each other are read with one request.
const GAP_BYTES: u64 = 128 << 10;

/// A blob to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) id: Id,
    pub(super) kind: BlobKind,
    /// The number of the row that says where to read it.
    pub(super) row: u32,
}

/// Part of a pack with blobs that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pack: u32,
    bytes: Range<u64>,
    /// The blobs, as a part of the list of all that are wanted.
    pub(super) blobs: Range<usize>,
}

/// Where blobs are, and who has them.
#[derive(Clone, Copy)]
pub(super) struct BlobReader<'a> {
    pub(super) repository: &'a Repository,
    pub(super) ledger: &'a Ledger,
    pub(super) packs: &'a Holdings,
}

/// What one thread reads with.
#[derive(Default)]
pub(super) struct Tools {
    opener: Opener,
    /// A window as it lies in the pack; opened in place where nobody needs it sealed.
    sealed: Vec<u8>,
    /// The same, opened, beside the sealed one.
    opened: Vec<u8>,
}

impl Tools {
    /// For texts that are small and many: less of them is open at a time.
    pub(super) fn for_listings() -> Self {
        Self { opener: Opener::of_groups(LISTINGS_WINDOW_BYTES as usize), ..Self::default() }
    }
}

impl BlobReader<'_> {
    /// The places of a blob, the most trustworthy first.
    fn places(&self, wanted: &Wanted) -> Vec<Row> {
        let shelf = self.ledger.shelf(wanted.kind);
        let mut places = shelf.rank(&wanted.id).map_or_else(Vec::new, |rank| shelf.places(rank).to_vec());
        places.sort_by_key(|row| Reverse(self.standing(row)));
        places
    }

    /// The tree of the name at `rank`, to be read from the best of its places.
    pub(super) fn wanted_tree(&self, id: Id, rank: usize) -> Option<Wanted> {
        let places = self.ledger.shelf(BlobKind::Tree).places(rank).iter().enumerate();
        // Of several that are as good, the first.
        let (at, _) = places.min_by_key(|(at, row)| (Reverse(self.standing(row)), *at))?;
        Some(Wanted { id, kind: BlobKind::Tree, row: (rank + at) as u32 })
    }

    fn standing(&self, row: &Row) -> Standing {
        self.ledger.pack(row.pack).map_or(Standing::Unindexed, |pack| pack.standing)
    }

    fn row(&self, wanted: &Wanted) -> Option<&Row> {
        self.ledger.shelf(wanted.kind).row(wanted.row)
    }

    /// Bytes that the blob takes in its pack.
    pub(super) fn sealed_bytes(&self, wanted: &Wanted) -> u64 {
        self.row(wanted).map_or(0, |row| row.length.into())
    }

    /// The plain text of a blob, alone.
    fn alone(&self, wanted: &Wanted) -> Result<(PackedBlob, Vec<u8>, Vec<u8>)> {
        let mut first_error = None;
        for row in self.places(wanted) {
            let Some(pack) = self.ledger.pack(row.pack) else { continue };
            let entry = row.entry(wanted.kind, wanted.id);
            let span = Span::Range { offset: entry.offset.into(), length: entry.length.into() };
            let holders = Holders::of(self.packs, &pack.id);
            let read =
                self.repository.copies().read_into(FileName::pack(pack.id), span, holders, &mut Vec::new(), |bytes| {
                    let sealed = bytes.to_vec();
                    let opened = format::open_blob(self.repository.master(), &entry, bytes, &mut Decompressor::new());
                    opened
                        .map(|plain| (entry, sealed, plain))
                        .map_err(|error| format!("blob {}: {error}", entry.id.short()))
                });
            match read {
                Ok(found) => return Ok(found),
                Err(error) if is_of_the_blob(&error) => first_error = first_error.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        let unknown = || Error::BlobUnknown { kind: wanted.kind.word(), id: wanted.id };
        Err(first_error.unwrap_or_else(unknown))
    }

    /// Reads a window of `wanted` and hands out the plain text of each blob, or why no copy has it.
    pub(super) fn read(
        &self,
        tools: &mut Tools,
        wanted: &[Wanted],
        window: &Window,
        mut take: impl FnMut(&Wanted, Result<&[u8]>) -> Result<()>,
    ) -> Result<()> {
        let (wanted, entries) = self.begin(wanted, window)?;
        let (mut missed, mut end) = (Vec::new(), Ok(()));
        if self.fill(tools, window)? {
            let Tools { opener, sealed, .. } = tools;
            opener.open_each(self.repository.master(), sealed, window.bytes.start, &entries, |at, plain| {
                match (wanted.get(at), plain) {
                    (Some(one), Ok(plain)) if end.is_ok() => end = take(one, Ok(plain)),
                    (Some(one), Err(_)) => missed.push(*one),
                    _ => {}
                }
            });
        } else {
            missed.extend_from_slice(wanted);
        }
        end?;
        self.read_alone(&missed, |one, read| match read {
            Ok((_, _, plain)) => take(one, Ok(plain)),
            Err(error) => take(one, Err(error)),
        })
    }

    /// The same for whoever needs each blob's entry and sealed bytes too: entry, sealed bytes, plain text.
    pub(super) fn read_sealed(
        &self,
        tools: &mut Tools,
        wanted: &[Wanted],
        window: &Window,
        mut take: impl FnMut(&Wanted, Result<(&PackedBlob, &[u8], &[u8])>) -> Result<()>,
    ) -> Result<()> {
        let (wanted, entries) = self.begin(wanted, window)?;
        let (mut missed, mut end) = (Vec::new(), Ok(()));
        if self.fill(tools, window)? {
            let Tools { opener, sealed, opened } = tools;
            opened.clear();
            opened.extend_from_slice(sealed);
            opener.open_each(self.repository.master(), opened, window.bytes.start, &entries, |at, plain| {
                let (Some(one), Some(entry)) = (wanted.get(at), entries.get(at)) else { return };
                let from = (u64::from(entry.offset) - window.bytes.start) as usize;
                match (plain, sealed.get(from..from + entry.length as usize)) {
                    (Ok(plain), Some(sealed)) if end.is_ok() => end = take(one, Ok((entry, sealed, plain))),
                    (Ok(_), Some(_)) => {}
                    (Err(_), _) | (_, None) => missed.push(*one),
                }
            });
        } else {
            missed.extend_from_slice(wanted);
        }
        end?;
        self.read_alone(&missed, take)
    }

    /// The part of `wanted` that is in the window, and its entries.
    fn begin<'w>(&self, wanted: &'w [Wanted], window: &Window) -> Result<(&'w [Wanted], Vec<PackedBlob>)> {
        self.repository.cancel().check()?;
        let wanted = wanted.get(window.blobs.clone()).unwrap_or_default();
        let entry = |one: &Wanted| Some(self.row(one)?.entry(one.kind, one.id));
        // Windows are made of rows that are there, so no entry is left out.
        Ok((wanted, wanted.iter().filter_map(entry).collect()))
    }

    /// What is not sound in its window.
    fn read_alone(
        &self,
        missed: &[Wanted],
        mut take: impl FnMut(&Wanted, Result<(&PackedBlob, &[u8], &[u8])>) -> Result<()>,
    ) -> Result<()> {
        for one in missed {
            self.repository.cancel().check()?;
            match self.alone(one) {
                Ok((entry, sealed, plain)) => take(one, Ok((&entry, &sealed, &plain)))?,
                Err(error) if is_of_the_blob(&error) => take(one, Err(error))?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The window's bytes from whichever copy gives them; false when none does.
    fn fill(&self, tools: &mut Tools, window: &Window) -> Result<bool> {
        let Some(pack) = self.ledger.pack(window.pack) else { return Ok(false) };
        let span = Span::Range { offset: window.bytes.start, length: window.bytes.end - window.bytes.start };
        let holders = Holders::of(self.packs, &pack.id);
        let copies = self.repository.copies();
        match copies.read_into(FileName::pack(pack.id), span, holders, &mut tools.sealed, |_| Ok(())) {
            Ok(()) => Ok(true),
            Err(error) if is_of_the_blob(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether an error says something about one blob, and not about the copies.
fn is_of_the_blob(error: &Error) -> bool {
    match error {
        Error::Damaged { .. } | Error::Format { .. } | Error::BlobUnknown { .. } => true,
        Error::Destination(fault) => matches!(fault.kind, model::FaultKind::NotFound | model::FaultKind::Damaged),
        _ => false,
    }
}

/// Sorts `wanted` by place, and cuts it into windows of at most so many bytes.
pub(super) fn windows(ledger: &Ledger, wanted: &mut Vec<Wanted>, window_bytes: u64) -> Vec<Window> {
    let row = |one: &Wanted| ledger.shelf(one.kind).row(one.row);
    wanted.retain(|one| row(one).is_some());
    wanted.sort_unstable_by_key(|one| row(one).map(|row| (row.pack, row.offset)));
    let mut windows: Vec<Window> = Vec::new();
    for (at, row) in wanted.iter().filter_map(row).enumerate() {
        let start = u64::from(row.offset);
        let end = start + u64::from(row.length);
        match windows.last_mut() {
            Some(last)
                if last.pack == row.pack
                    && start <= last.bytes.end + GAP_BYTES
                    && end.saturating_sub(last.bytes.start) <= window_bytes =>
            {
                last.bytes.end = last.bytes.end.max(end);
                last.blobs.end = at + 1;
            }
            _ => windows.push(Window { pack: row.pack, bytes: start..end, blobs: at..at + 1 }),
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use format::{IndexFile, IndexedPack};

    use super::super::ledger::LedgerBuilder;
    use super::*;

    #[test]
    fn neighbours_share_a_window_and_strangers_do_not() {
        let blob = |offset: u64, length: u64| PackedBlob {
            kind: BlobKind::Data,
            id: format::hash(&offset.to_be_bytes()),
            offset: offset as u32,
            length: length as u32,
            uncompressed_length: None,
        };
        let far = 100 + GAP_BYTES + 1;
        let long = far + 20;
        let places = [(0, 50), (60, 40), (far, 20), (long, REPACK_WINDOW_BYTES), (long + REPACK_WINDOW_BYTES, 40)];
        let blobs = places.map(|(offset, length)| blob(offset, length)).to_vec();
        let packs = vec![IndexedPack { id: Id::default(), blobs }];
        let mut builder = LedgerBuilder::default();
        builder.add(Id::default(), 1, true, &IndexFile { packs, ..IndexFile::default() });
        let listed = Holdings { kind: format::FileKind::Pack, asked: 1, files: Default::default() };
        let ledger = builder.build(&listed);
        let rows = 0..ledger.shelf(BlobKind::Data).rows().len() as u32;
        let mut wanted: Vec<Wanted> = rows.map(|row| Wanted { id: Id::default(), kind: BlobKind::Data, row }).collect();
        let windows = windows(&ledger, &mut wanted, REPACK_WINDOW_BYTES);
        let cut: Vec<(Range<u64>, usize)> =
            windows.into_iter().map(|window| (window.bytes, window.blobs.len())).collect();
        let expected = [
            (0..100, 2),
            (far..far + 20, 1),
            (long..long + REPACK_WINDOW_BYTES, 1),
            (long + REPACK_WINDOW_BYTES..long + REPACK_WINDOW_BYTES + 40, 1),
        ];
        assert_eq!(cut, expected);
    }
}
