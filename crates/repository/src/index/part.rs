//! One file of the index cache, open: the records of some index files, sorted, in sealed pages that are read when
//! somebody asks for them. [`super::layout`] says what stands where.
//!
//! Opening reads the tables and not the pages, so that it costs 2.4 bytes for each blob and not 48. A page is opened, and
//! thereby checked, each time it is asked for; small parts keep theirs. A page that does not open makes the whole part
//! [`Unreadable`]: it is removed, and whoever asked reads the index files instead.

use std::sync::OnceLock;

use format::{BlobKind, MasterKey};
use model::Id;

use super::block::{self, Mark};
use super::guide::Guide;
use super::layout::{self, Contents, ListedFile, PAGE_BYTES};
use super::record::{RECORD_BYTES, Record};
use crate::cache_folder::{CachedFile, RepositoryCache};

/// Kinds with no more pages keep the pages that were asked for: 6 MiB, and nobody opens one of them twice. Fewer in
/// tests, so that there are both.
const KEPT_PAGES_MAX: usize = if cfg!(test) { 3 } else { 6 << 10 };

/// A page that was there when the part was opened cannot be read or does not open now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// One file of the cache.
#[derive(Debug)]
pub(super) struct Part {
    /// The index files of which it is made.
    pub(super) files: Vec<ListedFile>,
    /// The packs that they mention, sorted; records name them by their number here.
    pub(super) packs: Vec<Id>,
    data: Section,
    trees: Section,
    file: CachedFile,
    name: String,
    cache: RepositoryCache,
    master: MasterKey,
    mark: Mark,
}

/// The records of one kind.
#[derive(Debug)]
struct Section {
    guide: Guide,
    first_page: u32,
    /// Pages that were asked for; empty where none is kept.
    kept: Box<[OnceLock<Box<[u8]>>]>,
}

impl Part {
    /// Opens the file `name`. Nothing when it is not there, not whole, or not sealed by this repository's key.
    pub(super) fn open(cache: &RepositoryCache, name: &str, master: &MasterKey) -> Option<Self> {
        let file = cache.open(name)?;
        let contents = layout::read_contents(&file, master)?;
        Some(Self::new(contents, file, name.to_owned(), cache.clone(), master.clone()))
    }

    pub(super) fn new(
        contents: Contents,
        file: CachedFile,
        name: String,
        cache: RepositoryCache,
        master: MasterKey,
    ) -> Self {
        let Contents { files, packs, data, trees, mark } = contents;
        let data = Section::new(data, 0);
        let trees = Section::new(trees, data.guide.firsts.len() as u32);
        Self { files, packs, data, trees, file, name, cache, master, mark }
    }

    /// The name of its file.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How many records there are, of both kinds.
    pub(super) fn count(&self) -> usize {
        self.data.guide.count() + self.trees.guide.count()
    }

    /// Shows every place of a blob to `each`, by pack and offset.
    pub(super) fn of(&self, kind: BlobKind, id: &Id, mut each: impl FnMut(Record)) -> Result<(), Unreadable> {
        let section = self.section(kind);
        for (page, places) in section.guide.places(id) {
            self.page(section, page, |content| {
                let records = places.filter_map(|place| record_at(content, place));
                records.filter(|record| record.id == *id).for_each(&mut each);
            })?;
        }
        Ok(())
    }

    /// Appends the records of a page to `out`; false behind the last page.
    pub(super) fn page_records(&self, kind: BlobKind, page: usize, out: &mut Vec<Record>) -> Result<bool, Unreadable> {
        let section = self.section(kind);
        let count = section.guide.records_of(page).len();
        if count > 0 {
            self.page(section, page, |content| out.extend((0..count).filter_map(|place| record_at(content, place))))?;
        }
        Ok(count > 0)
    }

    fn section(&self, kind: BlobKind) -> &Section {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    /// Shows the content of a page, as it is kept or as the file has it.
    fn page(&self, section: &Section, page: usize, show: impl FnOnce(&[u8])) -> Result<(), Unreadable> {
        let kept = section.kept.get(page);
        if let Some(content) = kept.and_then(OnceLock::get) {
            show(content);
            return Ok(());
        }
        let number = section.first_page + page as u32;
        let mut sealed = [0; PAGE_BYTES];
        let is_read = self.file.read_at(&mut sealed, u64::from(number) * PAGE_BYTES as u64);
        let content = is_read.then(|| block::open(&self.master, &self.mark, number, &mut sealed)).flatten();
        let Some(content) = content else {
            self.cache.remove(&self.name);
            return Err(Unreadable);
        };
        show(content);
        if let Some(kept) = kept {
            // Another thread may have been faster; both have the same.
            let _ = kept.set(content.into());
        }
        Ok(())
    }
}

impl Section {
    fn new(guide: Guide, first_page: u32) -> Self {
        let pages = guide.firsts.len();
        let kept = if pages <= KEPT_PAGES_MAX { pages } else { 0 };
        Self { guide, first_page, kept: (0..kept).map(|_| OnceLock::new()).collect() }
    }
}

fn record_at(content: &[u8], place: usize) -> Option<Record> {
    let bytes = content.get(place * RECORD_BYTES..)?.first_chunk::<RECORD_BYTES>()?;
    Some(Record::from_bytes(bytes))
}
