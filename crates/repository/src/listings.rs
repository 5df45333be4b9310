//! Listings of folders, read many at a time.
//!
//! Whoever walks a snapshot needs one listing after the other, each of a few hundred bytes, and each would cost a round
//! trip to the destination. They lie together in packs of their own, those of one folder and what is below it beside
//! each other, so that a walk reads a window of a pack and finds what it needs next in it. Windows lie on a grid, are
//! kept as they arrived (sealed), and are few: memory does not grow with the snapshot.
//!
//! Windows only ever help. A listing that is not sound in one is read alone, from every copy that may have it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use format::{BlobKind, Decompressor, MasterKey, PackedBlob};
use model::Id;

use crate::index::Index;
use crate::threads;

/// Distance of the grid's lines; a listing on a line belongs to the window before it.
const WINDOW_BYTES: u64 = 1 << 20;

/// Windows that are kept.
const WINDOWS_MAX: usize = 16;

/// Listings that are read alone before windows begin to pay: who looks at a few needs no list of all.
const ALONE_MAX: usize = 24;

/// A copy that needs so long for one listing is far, and windows pay from the next one on.
const FAR: Duration = Duration::from_millis(8);

/// A line of the grid in a pack.
type Line = (Id, u64);

/// Part of a pack.
#[derive(Debug)]
struct Window {
    start: u64,
    sealed: Vec<u8>,
}

#[derive(Debug, Default)]
struct Kept {
    windows: HashMap<Line, Arc<Window>>,
    /// Those that were used longest ago come first.
    order: VecDeque<Line>,
    loading: HashSet<Line>,
    asked: usize,
    is_far: bool,
}

/// The windows of one operation.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    kept: Mutex<Kept>,
    changed: Condvar,
    /// Where the listings of each pack end that holds hardly anything else.
    ends: OnceLock<HashMap<Id, u64>>,
    decompressors: Mutex<Vec<Decompressor>>,
}

impl Listings {
    /// The plain text of the listing `entry` of `pack`, out of a window. None when it is not to be had that way.
    /// `read` reads a part of the pack.
    pub(crate) fn text(
        &self,
        index: &Index,
        master: &MasterKey,
        pack: &Id,
        entry: &PackedBlob,
        read: impl FnOnce(Range<u64>) -> Option<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        let offset = u64::from(entry.offset);
        let start = offset / WINDOW_BYTES * WINDOW_BYTES;
        let line = (*pack, start);
        let window = match self.kept_or_mine(&line, entry)? {
            Some(window) => window,
            None => {
                let _loading = Loading { listings: self, line };
                let end = *self.ends(index).get(pack)?;
                let end = end.min(start + WINDOW_BYTES).max(entry.end());
                let window = Arc::new(Window { start, sealed: read(start..end)? });
                self.keep(line, &window);
                window
            }
        };
        let mut sealed = window.part(entry)?.to_vec();
        let mut decompressor = threads::lock(&self.decompressors).pop().unwrap_or_default();
        let opened = format::open_blob(master, entry, &mut sealed, &mut decompressor);
        threads::lock(&self.decompressors).push(decompressor);
        opened.ok()
    }

    /// A listing was read alone, and took so long.
    pub(crate) fn read_alone(&self, took: Duration) {
        if took >= FAR {
            threads::lock(&self.kept).is_far = true;
        }
    }

    /// The window at a line. When nobody has it, the caller is to read it; whoever else wants it waits for that. None
    /// while windows do not pay yet.
    #[expect(clippy::option_option, reason = "nothing to be had, and to be read, are two answers")]
    fn kept_or_mine(&self, line: &Line, entry: &PackedBlob) -> Option<Option<Arc<Window>>> {
        let mut kept = threads::lock(&self.kept);
        kept.asked += 1;
        if kept.asked <= ALONE_MAX && !kept.is_far {
            return None;
        }
        loop {
            if let Some(window) = kept.windows.get(line).filter(|window| window.part(entry).is_some()).cloned() {
                kept.order.retain(|other| other != line);
                kept.order.push_back(*line);
                return Some(Some(window));
            }
            if kept.loading.insert(*line) {
                return Some(None);
            }
            kept = self.changed.wait(kept).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn keep(&self, line: Line, window: &Arc<Window>) {
        let mut kept = threads::lock(&self.kept);
        kept.windows.insert(line, Arc::clone(window));
        kept.order.retain(|other| *other != line);
        kept.order.push_back(line);
        if kept.order.len() > WINDOWS_MAX
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.windows.remove(&oldest);
        }
    }

    /// Looks at every listing of the index once.
    fn ends(&self, index: &Index) -> &HashMap<Id, u64> {
        self.ends.get_or_init(|| {
            let mut extents: HashMap<Id, (u64, u64)> = HashMap::new();
            for (_, location) in index.of_kind(BlobKind::Tree) {
                let (end, bytes) = extents.entry(location.pack).or_default();
                *end = (*end).max(u64::from(location.offset) + u64::from(location.length));
                *bytes += u64::from(location.length);
            }
            // Where chunks of files lie between, a window would hold mostly these.
            let mostly = extents.into_iter().filter(|(_, (end, bytes))| bytes.saturating_mul(2) >= *end);
            mostly.map(|(pack, (end, _))| (pack, end)).collect()
        })
    }
}

impl Window {
    fn part(&self, entry: &PackedBlob) -> Option<&[u8]> {
        let from = usize::try_from(u64::from(entry.offset).checked_sub(self.start)?).ok()?;
        self.sealed.get(from..from.checked_add(entry.length as usize)?)
    }
}

/// Ends the wait of whoever wants the window too, whatever became of reading it.
struct Loading<'a> {
    listings: &'a Listings,
    line: Line,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        threads::lock(&self.listings.kept).loading.remove(&self.line);
        self.listings.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use format::{IndexedPack, PackWriter};

    use super::*;

    /// Packs, and what lies in which of them.
    type Packs = (HashMap<Id, Vec<u8>>, Vec<(Id, PackedBlob)>);

    /// Packs of listings of `length` bytes each.
    fn packs(master: &MasterKey, count: usize, length: usize) -> Packs {
        let (mut files, mut entries) = (HashMap::new(), Vec::new());
        let mut serial = 0_u64;
        for _ in 0..count {
            let mut writer = PackWriter::new();
            for _ in 0..(3 << 20) / length {
                serial += 1;
                let mut text = vec![0; length];
                text[..8].copy_from_slice(&serial.to_be_bytes());
                let sealed = master.seal(&text);
                writer.push_sealed(BlobKind::Tree, format::hash(&text), &sealed, None).unwrap();
            }
            let pack = writer.finish(master).unwrap();
            entries.extend(pack.blobs.iter().map(|blob| (pack.id, *blob)));
            files.insert(pack.id, pack.bytes);
        }
        (files, entries)
    }

    fn index(entries: &[(Id, PackedBlob)]) -> Index {
        Index::new(entries.iter().map(|(id, blob)| IndexedPack { id: *id, blobs: vec![*blob] }))
    }

    #[test]
    fn a_walk_reads_windows_and_not_listings_also_with_several_threads() {
        let master = MasterKey::generate().unwrap();
        let (files, entries) = packs(&master, 3, 3000);
        let index = index(&entries);
        for crew in [1, 4] {
            let (listings, reads, next) = (Listings::default(), AtomicUsize::new(0), AtomicUsize::new(0));
            let alone = AtomicUsize::new(0);
            let longest = AtomicU64::new(0);
            threads::run(crew, |_| {
                while let Some((pack, entry)) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let text = listings.text(&index, &master, pack, entry, |range| {
                        reads.fetch_add(1, Ordering::Relaxed);
                        longest.fetch_max(range.end - range.start, Ordering::Relaxed);
                        files[pack].get(range.start as usize..range.end as usize).map(<[u8]>::to_vec)
                    });
                    match text {
                        Some(text) => assert_eq!(format::hash(&text), entry.id),
                        None => drop(alone.fetch_add(1, Ordering::Relaxed)),
                    }
                }
                Ok(())
            })
            .unwrap();
            assert_eq!(alone.into_inner(), ALONE_MAX);
            // Four lines in each pack, and once more for a listing across a line.
            assert!(reads.load(Ordering::Relaxed) <= 3 * 4 * 2, "{reads:?}");
            assert!(longest.into_inner() <= WINDOW_BYTES + 4000);
            assert!(threads::lock(&listings.kept).windows.len() <= WINDOWS_MAX);
        }
    }

    #[test]
    fn what_is_not_sound_in_a_window_is_not_given_and_nobody_waits_for_a_failed_read() {
        let master = MasterKey::generate().unwrap();
        let (mut files, entries) = packs(&master, 1, 3000);
        let index = index(&entries);
        let (pack, broken) = entries[40];
        files.get_mut(&pack).unwrap()[broken.offset as usize + 30] ^= 1;
        let listings = Listings::default();
        let get = |at: usize, fails: bool| {
            let (pack, entry) = &entries[at];
            listings.text(&index, &master, pack, entry, |range| {
                let part = files[pack].get(range.start as usize..range.end as usize).map(<[u8]>::to_vec);
                part.filter(|_| !fails)
            })
        };
        assert!((0..ALONE_MAX).all(|at| get(at, false).is_none()));
        assert!(get(39, true).is_none());
        assert!(get(39, false).is_some());
        assert!(get(40, false).is_none());
        assert!(get(41, true).is_some());
    }

    #[test]
    fn listings_among_chunks_get_no_window() {
        let master = MasterKey::generate().unwrap();
        let (_, mut entries) = packs(&master, 1, 3000);
        let last = entries.len() - 1;
        entries[last].1.offset = 1 << 30;
        let index = index(&entries);
        let listings = Listings::default();
        for (pack, entry) in &entries {
            assert!(listings.text(&index, &master, pack, entry, |_| panic!("no read is due")).is_none());
        }
    }
}
