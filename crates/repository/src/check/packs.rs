//! Reading packs: once each, whole where it can be, and every blob in them down to its hash.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Mutex;

use destinations::Span;
use format::{BlobKind, FileName, Hasher, HeaderRead, NodeKind, PackedBlob, Tree};
use model::Id;

use super::catalog::{Catalog, CatalogPack};
use super::graph::TreeFacts;
use super::place::{Place, Read, Trouble, WRONG_NAME};
use crate::bits::Bits;
use crate::buffers::Buffers;
use crate::opener::Opener;
use crate::threads;

/// Bytes of one pack that are in memory at once; packs are rarely larger, so most are read with one request.
const WINDOW_BYTES: u64 = 32 << 20;

/// Blobs this close to each other are read with one request.
const GAP_BYTES: u64 = 256 << 10;

/// What to read of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// All of it: its hash, its header, every blob.
    Whole,
    /// Only its trees; for old packs in which trees lie among data.
    Trees,
}

/// A pack to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) pack: &'a CatalogPack,
    pub(super) want: Want,
}

/// What reading a pack showed.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) pack: Id,
    /// What is wrong with the file.
    pub(super) trouble: Option<Trouble>,
    /// Numbers of blobs that are not what the index says.
    pub(super) bad: Vec<usize>,
    /// The trees in it.
    pub(super) trees: Vec<TreeFacts>,
    pub(super) blobs_read: u64,
    pub(super) read_whole: bool,
    /// The index does not list what the pack's header lists.
    pub(super) index_differs: bool,
}

/// Packs whose every blob was opened on some copy, under the entries of their own header. The same bytes (by hash) and
/// the same entries on another copy need no second opening.
#[derive(Debug, Default)]
pub(super) struct Opened(Mutex<HashSet<Id>>);

/// Reads packs of one copy.
pub(super) struct PackReader<'a> {
    pub(super) place: &'a Place<'a>,
    pub(super) catalog: &'a Catalog,
    /// Blobs that are known to be bad before trees are read.
    pub(super) bad: &'a Bits,
    pub(super) opened: &'a Opened,
    /// Memory of packs that were judged, for the next ones.
    pub(super) spare: &'a Buffers,
}

/// What was read of a pack before anybody judged it; nothing of a pack that is not read whole and at once.
pub(super) type Fetched = Option<Read<Vec<u8>>>;

/// A pack's bytes and their hash.
type Hashed = (Vec<u8>, Id);

/// Part of a pack: whole blobs, and what lies between.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    bytes: Range<u64>,
    blobs: Vec<usize>,
}

/// One pass over a pack.
#[derive(Default)]
struct Pass {
    outcome: Outcome,
    why: Vec<String>,
}

impl PackReader<'_> {
    /// Bytes that reading this pack ahead holds in memory.
    pub(super) fn weight(&self, job: &Job<'_>) -> u64 {
        job.pack.size.unwrap_or_default().min(WINDOW_BYTES)
    }

    /// Reads a pack whole where it is small enough, which packs are.
    pub(super) fn fetch(&self, job: &Job<'_>) -> Fetched {
        let size = job.pack.size.unwrap_or_default();
        let is_one_read = job.want == Want::Whole && size <= WINDOW_BYTES;
        is_one_read.then(|| self.place.read_into(FileName::pack(job.pack.id), Span::Whole, self.spare.take()))
    }

    /// Judges packs together, since two are hashed in little more than the time of one.
    pub(super) fn judge(&self, opener: &mut Opener, packs: Vec<(&Job<'_>, Fetched)>) -> Vec<Outcome> {
        let whole: Vec<&[u8]> =
            packs.iter().filter_map(|(_, fetched)| fetched.as_ref()?.as_ref().ok()).map(Vec::as_slice).collect();
        let mut hashes = format::hash_each(&whole).into_iter();
        let mut hashed = |fetched: Read<Vec<u8>>| fetched.map(|bytes| (bytes, hashes.next().unwrap_or_default()));
        let packs = packs.into_iter().map(|(job, fetched)| (job, fetched.map(&mut hashed)));
        packs.map(|(job, fetched)| self.read(opener, job, fetched)).collect()
    }

    /// Judges what was read of a pack; reads it again when anything in it is wrong.
    fn read(&self, opener: &mut Opener, job: &Job<'_>, mut fetched: Option<Read<Hashed>>) -> Outcome {
        let mut second = None;
        // `read_twice` counts what came right at the second try.
        let judged = self.place.read_twice(|| {
            let outcome = self.pass(opener, job, fetched.take());
            let trouble = outcome.trouble.clone();
            second = Some(outcome);
            trouble.map_or(Ok(()), Err)
        });
        let mut outcome = second.unwrap_or_default();
        outcome.trouble = judged.err();
        outcome
    }

    fn pass(&self, opener: &mut Opener, job: &Job<'_>, fetched: Option<Read<Hashed>>) -> Outcome {
        let mut pass = Pass::default();
        pass.outcome.pack = job.pack.id;
        let end = match job.want {
            Want::Whole => self.whole(opener, job.pack, fetched, &mut pass),
            Want::Trees => self.trees(opener, job.pack, &mut pass),
        };
        let Pass { mut outcome, why, .. } = pass;
        outcome.trouble = match end {
            Err(Trouble::CopyLost) => Some(Trouble::CopyLost),
            Err(Trouble::Damaged(unread)) => {
                // Nothing is known of blobs that could not be read, so nothing good either.
                outcome.bad = self.blobs(job.pack, |blob| job.want == Want::Whole || blob.kind == BlobKind::Tree);
                outcome.trees.clear();
                Some(Trouble::Damaged(unread))
            }
            Ok(()) if why.is_empty() => None,
            Ok(()) => Some(Trouble::Damaged(summary(&why, outcome.bad.len(), job.pack.blobs.len()))),
        };
        outcome
    }

    /// Numbers of the pack's blobs that may be where the index says.
    fn blobs(&self, pack: &CatalogPack, wanted: impl Fn(&PackedBlob) -> bool) -> Vec<usize> {
        let possible = pack.blobs.clone().filter(|number| !self.bad.contains(*number));
        possible.filter(|number| self.catalog.blob(*number).is_some_and(&wanted)).collect()
    }

    fn whole(
        &self,
        opener: &mut Opener,
        pack: &CatalogPack,
        fetched: Option<Read<Hashed>>,
        pass: &mut Pass,
    ) -> Result<(), Trouble> {
        let size = pack.size.unwrap_or_default();
        let windows = self.windows(&self.blobs(pack, |_| true), size, Cover::All);
        match windows.as_slice() {
            [window] => {
                let (mut bytes, hash) = match fetched {
                    Some(fetched) => fetched?,
                    None => {
                        let bytes = self.place.read_into(FileName::pack(pack.id), Span::Whole, self.spare.take())?;
                        let hash = format::hash(&bytes);
                        (bytes, hash)
                    }
                };
                self.arrived(&bytes, size)?;
                let tail = bytes.get(self.end_of(window) as usize..).unwrap_or_default();
                let is_known = self.finish(pack, size, tail, hash, pass);
                self.open(opener, window, &mut bytes, is_known, pass);
                self.spare.give_back(bytes);
            }
            windows => self.large(opener, pack, windows, pass)?,
        }
        if pass.why.is_empty() && !pack.blobs.clone().any(|number| self.bad.contains(number)) {
            threads::lock(&self.opened.0).insert(pack.id);
        }
        pass.outcome.read_whole = true;
        Ok(())
    }

    /// A pack that is never in memory as a whole.
    fn large(
        &self,
        opener: &mut Opener,
        pack: &CatalogPack,
        windows: &[Window],
        pass: &mut Pass,
    ) -> Result<(), Trouble> {
        let mut hasher = Hasher::new();
        let mut tail = Vec::new();
        let mut bytes = self.spare.take();
        for window in windows {
            let (offset, length) = (window.bytes.start, window.bytes.end - window.bytes.start);
            bytes = self.place.read_into(FileName::pack(pack.id), Span::Range { offset, length }, bytes)?;
            self.arrived(&bytes, length)?;
            hasher.update(&bytes);
            let end = self.end_of(window).saturating_sub(offset);
            tail = bytes.get(end as usize..).unwrap_or_default().to_vec();
            self.open(opener, window, &mut bytes, false, pass);
        }
        self.spare.give_back(bytes);
        self.finish(pack, pack.size.unwrap_or_default(), &tail, hasher.finish(), pass);
        Ok(())
    }

    fn arrived(&self, bytes: &[u8], length: u64) -> Result<(), Trouble> {
        if bytes.len() as u64 == length {
            return Ok(());
        }
        Err(Trouble::Damaged(format!("{} bytes arrived, {length} were listed", bytes.len())))
    }

    /// Judges hash and header. True when another copy's identical pack was opened in full.
    fn finish(&self, pack: &CatalogPack, size: u64, tail: &[u8], hash: Id, pass: &mut Pass) -> bool {
        let is_named_right = hash == pack.id;
        if !is_named_right {
            pass.why.push(WRONG_NAME.to_owned());
        }
        let is_listed_right = match self.header(pack, size, tail) {
            Ok(mut entries) => {
                entries.sort_unstable_by_key(|entry| entry.offset);
                let listed = pack.blobs.clone().filter_map(|number| self.catalog.blob(number));
                let is_same = entries.iter().eq(listed);
                if !is_same {
                    pass.outcome.index_differs = true;
                    let (header, index) = (entries.len(), pack.blobs.len());
                    pass.why.push(format!("its header ({header} blobs) and the index ({index} blobs) differ"));
                }
                is_same
            }
            Err(why) => {
                pass.why.push(why);
                false
            }
        };
        is_named_right && is_listed_right && threads::lock(&self.opened.0).contains(&pack.id)
    }

    fn header(&self, pack: &CatalogPack, size: u64, tail: &[u8]) -> Result<Vec<PackedBlob>, String> {
        let parse =
            |tail: &[u8]| format::parse_header(self.place.master, size, tail).map_err(|error| error.to_string());
        let needed = match parse(tail)? {
            HeaderRead::Complete(entries) => return Ok(entries),
            // The index knows fewer blobs than the pack holds, or the length is a lie; the format has bounded it.
            HeaderRead::Needs(needed) => needed,
        };
        let span = Span::Range { offset: size.saturating_sub(needed), length: needed };
        let bytes = self.place.read(FileName::pack(pack.id), span).map_err(|trouble| match trouble {
            Trouble::Damaged(why) => why,
            Trouble::CopyLost => "the copy was lost".to_owned(),
        })?;
        match parse(&bytes)? {
            HeaderRead::Complete(entries) => Ok(entries),
            HeaderRead::Needs(_) => Err("its header has no end".to_owned()),
        }
    }

    fn trees(&self, opener: &mut Opener, pack: &CatalogPack, pass: &mut Pass) -> Result<(), Trouble> {
        let size = pack.size.unwrap_or_default();
        let trees = self.blobs(pack, |blob| blob.kind == BlobKind::Tree);
        let mut bytes = self.spare.take();
        for window in self.windows(&trees, size, Cover::Blobs) {
            let (offset, length) = (window.bytes.start, window.bytes.end - window.bytes.start);
            bytes = self.place.read_into(FileName::pack(pack.id), Span::Range { offset, length }, bytes)?;
            self.open(opener, &window, &mut bytes, false, pass);
        }
        self.spare.give_back(bytes);
        Ok(())
    }

    /// Decrypts, decompresses and hashes the blobs of a window; facts of trees are kept.
    fn open(&self, opener: &mut Opener, window: &Window, bytes: &mut [u8], is_known: bool, pass: &mut Pass) {
        let listed = window.blobs.iter().filter_map(|number| Some((*number, self.catalog.blob(*number)?)));
        let wanted: Vec<(usize, &PackedBlob)> =
            listed.filter(|(_, entry)| !is_known || entry.kind != BlobKind::Data).collect();
        pass.outcome.blobs_read += wanted.len() as u64;
        let entries = wanted.iter().map(|(_, entry)| *entry);
        opener.open_each(self.place.master, bytes, window.bytes.start, entries, |at, text| {
            let Some(&(number, entry)) = wanted.get(at) else { return };
            let judged = match (text, entry.kind) {
                (Err(why), _) => Err(why),
                (Ok(_), BlobKind::Data) => Ok(None),
                (Ok(plain), BlobKind::Tree) => self.facts(entry, plain).map(Some),
            };
            match judged {
                Ok(facts) => pass.outcome.trees.extend(facts),
                Err(why) => {
                    pass.outcome.bad.push(number);
                    pass.why.push(format!("{} blob {}: {why}", entry.kind.word(), entry.id));
                }
            }
        });
    }

    /// What a tree needs, and whether the copy has it.
    fn facts(&self, entry: &PackedBlob, plain: &[u8]) -> Result<TreeFacts, String> {
        let tree = Tree::parse(plain).map_err(|error| error.to_string())?;
        let rank = self.catalog.rank(BlobKind::Tree, &entry.id).ok_or("it is in no index")?;
        let mut facts = TreeFacts { rank, ..TreeFacts::default() };
        for node in &tree.nodes {
            let about = || String::from_utf8_lossy(&node.name).into_owned();
            match node.kind {
                NodeKind::File => {
                    let content = node.content.as_ref().ok_or_else(|| format!("file `{}` has no content", about()))?;
                    facts.has_loss |= content.iter().any(|id| self.catalog.is_lost(BlobKind::Data, id, self.bad));
                }
                NodeKind::Dir => {
                    let subtree = node.subtree.ok_or_else(|| format!("folder `{}` has no tree", about()))?;
                    match self.catalog.rank(BlobKind::Tree, &subtree) {
                        Some(rank) => facts.folders.push(rank as u32),
                        None => facts.has_loss = true,
                    }
                }
                _ => {}
            }
        }
        Ok(facts)
    }

    /// Where the last blob of a window ends in the pack.
    fn end_of(&self, window: &Window) -> u64 {
        window.blobs.last().and_then(|number| self.catalog.blob(*number)).map_or(0, PackedBlob::end)
    }

    /// Cuts a pack at the borders of `blobs`, which do not overlap and lie in it.
    fn windows(&self, blobs: &[usize], size: u64, cover: Cover) -> Vec<Window> {
        let entries = blobs.iter().filter_map(|number| self.catalog.blob(*number).map(|blob| (*number, blob)));
        let extents = entries.map(|(number, blob)| {
            let offset = u64::from(blob.offset);
            (number, offset..offset + u64::from(blob.length))
        });
        windows(extents, size, cover)
    }
}

/// Which bytes windows have to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cover {
    /// All bytes of the file.
    All,
    /// The blobs, and gaps that are not worth a request.
    Blobs,
}

fn windows(extents: impl Iterator<Item = (usize, Range<u64>)>, size: u64, cover: Cover) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    for (number, extent) in extents {
        match windows.last_mut() {
            Some(last)
                if extent.end - last.bytes.start <= WINDOW_BYTES
                    && (cover == Cover::All || extent.start - last.bytes.end <= GAP_BYTES) =>
            {
                last.bytes.end = extent.end;
                last.blobs.push(number);
            }
            last => {
                let start = match (cover, last) {
                    (Cover::Blobs, _) => extent.start,
                    (Cover::All, Some(last)) => last.bytes.end,
                    (Cover::All, None) => 0,
                };
                windows.push(Window { bytes: start..extent.end, blobs: vec![number] });
            }
        }
    }
    if cover == Cover::All {
        match windows.last_mut() {
            Some(last) => last.bytes.end = size,
            None => windows.push(Window { bytes: 0..size, blobs: Vec::new() }),
        }
    }
    windows
}

/// One line for all that is wrong with a pack.
fn summary(why: &[String], bad: usize, blobs: usize) -> String {
    let first = why.first().cloned().unwrap_or_default();
    let blob = why.iter().find(|why| why.contains(" blob ")).filter(|why| **why != first);
    match (bad, blob) {
        (0, _) => why.join("; "),
        (_, Some(blob)) => format!("{first}; {bad} of {blobs} blobs are damaged, the first is {blob}"),
        (_, None) => format!("{bad} of {blobs} blobs are damaged, the first is {first}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(extents: &[Range<u64>], size: u64, cover: Cover) -> Vec<(Range<u64>, usize)> {
        let cut = windows(extents.iter().cloned().enumerate(), size, cover);
        cut.into_iter().map(|window| (window.bytes, window.blobs.len())).collect()
    }

    #[test]
    fn a_usual_pack_is_one_window() {
        assert_eq!(cut(&[0..10, 10..1000], 1050, Cover::All), [(0..1050, 2)]);
        assert_eq!(cut(&[], 1050, Cover::All), [(0..1050, 0)]);
    }

    #[test]
    fn a_large_pack_is_cut_between_blobs_and_every_byte_is_in_one_window() {
        let mib = 1 << 20;
        let blobs: Vec<Range<u64>> = (0..100).map(|n| n * 8 * mib..(n + 1) * 8 * mib - 5).collect();
        let size = 800 * mib + 77;
        let windows = cut(&blobs, size, Cover::All);
        assert_eq!(windows.len(), 25);
        assert_eq!(windows.iter().map(|(_, blobs)| blobs).sum::<usize>(), 100);
        let mut end = 0;
        for (bytes, _) in &windows {
            assert_eq!(bytes.start, end);
            end = bytes.end;
        }
        assert_eq!(end, size);
    }

    #[test]
    fn far_trees_are_read_apart() {
        let far = 100 + GAP_BYTES + 1;
        assert_eq!(cut(&[0..50, 60..100, far..far + 10], 1 << 30, Cover::Blobs), [(0..100, 2), (far..far + 10, 1)]);
    }
}
