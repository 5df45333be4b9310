//! Reading blobs by the ledger, many at a time: what lies beside each other in a pack is read in one window.
//!
//! No byte is used before it was checked. What is not sound in a window is read alone, from every place of the blob and
//! from every copy.

use std::ops::Range;

use destinations::Span;
use format::{BlobKind, Decompressor, FileName, PackedBlob};

use super::ledger::{Ledger, Row, Standing};
use crate::copies::Holders;
use crate::copies::status::Holdings;
use crate::error::{Error, Result};
use crate::opener::Opener;
use crate::repository::Repository;

/// The longest window, unless a single blob is longer.
const WINDOW_BYTES: u64 = 4 << 20;

/// Blobs this close to each other are read with one request.
const GAP_BYTES: u64 = 128 << 10;

/// A blob to be read: the rank of its name, and the place to read it from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) kind: BlobKind,
    pub(super) rank: u32,
    pub(super) row: Row,
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
    /// A window as it lies in the pack.
    sealed: Vec<u8>,
    /// The same, opened.
    opened: Vec<u8>,
}

impl BlobReader<'_> {
    /// The places of a name, the most trustworthy first.
    fn places(&self, kind: BlobKind, rank: usize) -> Vec<Row> {
        let mut places = self.ledger.shelf(kind).places(rank).to_vec();
        let standing = |row: &Row| self.ledger.pack(row.pack).map_or(Standing::Unindexed, |pack| pack.standing);
        places.sort_by_key(|row| std::cmp::Reverse(standing(row)));
        places
    }

    /// The name at `rank`, to be read from the best of its places.
    pub(super) fn wanted(&self, kind: BlobKind, rank: usize) -> Option<Wanted> {
        let row = *self.places(kind, rank).first()?;
        Some(Wanted { kind, rank: rank as u32, row })
    }

    /// The plain text of a blob, alone.
    fn alone(&self, wanted: &Wanted) -> Result<(PackedBlob, Vec<u8>, Vec<u8>)> {
        let mut first_error = None;
        for row in self.places(wanted.kind, wanted.rank as usize) {
            let Some(pack) = self.ledger.pack(row.pack) else { continue };
            let entry = row.entry(wanted.kind);
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
        let id = self.ledger.shelf(wanted.kind).places(wanted.rank as usize).first().map(|row| row.id);
        let unknown = || Error::BlobUnknown { kind: wanted.kind.word(), id: id.unwrap_or_default() };
        Err(first_error.unwrap_or_else(unknown))
    }

    /// Reads a window of `wanted` and hands out each blob: its entry, its sealed bytes, its plain text; or why no copy
    /// has it.
    pub(super) fn read(
        &self,
        tools: &mut Tools,
        wanted: &[Wanted],
        window: &Window,
        mut take: impl FnMut(&Wanted, Result<(&PackedBlob, &[u8], &[u8])>) -> Result<()>,
    ) -> Result<()> {
        self.repository.cancel().check()?;
        let wanted = wanted.get(window.blobs.clone()).unwrap_or_default();
        let entries: Vec<PackedBlob> = wanted.iter().map(|one| one.row.entry(one.kind)).collect();
        let mut missed = Vec::new();
        if self.fill(tools, window)? {
            let Tools { opener, sealed, opened } = tools;
            opened.clear();
            opened.extend_from_slice(sealed);
            let mut end = Ok(());
            opener.open_each(self.repository.master(), opened, window.bytes.start, &entries, |at, plain| {
                let (Some(one), Some(entry)) = (wanted.get(at), entries.get(at)) else { return };
                let from = (u64::from(entry.offset) - window.bytes.start) as usize;
                match (plain, sealed.get(from..from + entry.length as usize)) {
                    (Ok(plain), Some(sealed)) if end.is_ok() => end = take(one, Ok((entry, sealed, plain))),
                    (Ok(_), Some(_)) => {}
                    (Err(_), _) | (_, None) => missed.push(at),
                }
            });
            end?;
        } else {
            missed.extend(0..wanted.len());
        }
        for one in missed.into_iter().filter_map(|at| wanted.get(at)) {
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

/// Sorts `wanted` by place, and cuts it into windows.
pub(super) fn windows(wanted: &mut [Wanted]) -> Vec<Window> {
    wanted.sort_unstable_by_key(|one| (one.row.pack, one.row.offset));
    let mut windows: Vec<Window> = Vec::new();
    for (at, one) in wanted.iter().enumerate() {
        let start = u64::from(one.row.offset);
        let end = start + u64::from(one.row.length);
        match windows.last_mut() {
            Some(last)
                if last.pack == one.row.pack
                    && start <= last.bytes.end + GAP_BYTES
                    && end.saturating_sub(last.bytes.start) <= WINDOW_BYTES =>
            {
                last.bytes.end = last.bytes.end.max(end);
                last.blobs.end = at + 1;
            }
            _ => windows.push(Window { pack: one.row.pack, bytes: start..end, blobs: at..at + 1 }),
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use format::{IndexFile, IndexedPack};
    use model::Id;

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
        let places = [(0, 50), (60, 40), (far, 20), (long, WINDOW_BYTES), (long + WINDOW_BYTES, 40)];
        let blobs = places.map(|(offset, length)| blob(offset, length)).to_vec();
        let packs = vec![IndexedPack { id: Id::default(), blobs }];
        let mut builder = LedgerBuilder::default();
        builder.add(Id::default(), 1, true, &IndexFile { packs, ..IndexFile::default() });
        let listed = Holdings { kind: format::FileKind::Pack, asked: 1, files: Default::default() };
        let ledger = builder.build(&listed);
        let rows = ledger.shelf(BlobKind::Data).rows();
        let mut wanted: Vec<Wanted> =
            rows.iter().map(|row| Wanted { kind: BlobKind::Data, rank: 0, row: *row }).collect();
        let cut: Vec<(Range<u64>, usize)> =
            windows(&mut wanted).into_iter().map(|window| (window.bytes, window.blobs.len())).collect();
        let expected = [
            (0..100, 2),
            (far..far + 20, 1),
            (long..long + WINDOW_BYTES, 1),
            (long + WINDOW_BYTES..long + WINDOW_BYTES + 40, 1),
        ];
        assert_eq!(cut, expected);
    }
}
