//! Writing a file of the index cache, front to back, with one page in memory at a time and the guides beside it.
//!
//! Nothing is made durable: a file that a crash tore has no header, or one that does not open.

use std::io::{self, Write};

use format::{BlobKind, MasterKey};
use model::Id;

use super::block::{self, Mark};
use super::guide::{Guide, PAGE_RECORDS};
use super::layout::{
    Contents, HEADER_NUMBER, ListedFile, MAGIC, NAME_PREFIX, PAGE_BYTES, PAGE_CONTENT_BYTES, TABLE_ALIGNMENT_BYTES,
    TABLE_CONTENT_BYTES,
};
use super::merge::Merge;
use super::part::{Part, Unreadable};
use super::record::{RECORD_BYTES, Record};
use crate::cache_folder::{Draft, RepositoryCache};

/// Why there is no new part.
pub(super) enum NotWritten {
    /// A part that was to be merged into it cannot be read.
    Unreadable,
    /// The folder does not take it.
    Refused,
}

impl From<Unreadable> for NotWritten {
    fn from(_: Unreadable) -> Self {
        NotWritten::Unreadable
    }
}

impl From<io::Error> for NotWritten {
    fn from(_: io::Error) -> Self {
        NotWritten::Refused
    }
}

/// Writes what `records` gives for each kind, and opens it.
pub(super) fn write_part<'a>(
    cache: &RepositoryCache,
    master: &MasterKey,
    files: Vec<ListedFile>,
    packs: Vec<Id>,
    records: impl Fn(BlobKind) -> Merge<'a>,
) -> Result<Part, NotWritten> {
    let mut mark: Mark = [0; 16];
    getrandom::fill(&mut mark).map_err(|_| NotWritten::Refused)?;
    let draft = cache.draft().ok_or(NotWritten::Refused)?;
    let mut writer = Writer { draft, master, mark, blocks: 0, sealed: Vec::with_capacity(TABLE_CONTENT_BYTES + 128) };
    let data = writer.pages(records(BlobKind::Data))?;
    let trees = writer.pages(records(BlobKind::Tree))?;
    writer.tables(&packs, &data, &trees)?;
    writer.header(&files, &packs, &data, &trees)?;
    let name = format!("{NAME_PREFIX}{:032x}", u128::from_be_bytes(mark));
    let file = writer.draft.keep(&name).ok_or(NotWritten::Refused)?;
    let contents = Contents { files, packs, data, trees, mark };
    Ok(Part::new(contents, file, name, cache.clone(), master.clone()))
}

struct Writer<'a> {
    draft: Draft,
    master: &'a MasterKey,
    mark: Mark,
    blocks: u32,
    sealed: Vec<u8>,
}

impl Writer<'_> {
    fn pages(&mut self, records: Merge<'_>) -> Result<Guide, NotWritten> {
        let mut guide = Guide::default();
        let mut content = Vec::with_capacity(PAGE_CONTENT_BYTES);
        for record in records {
            let record: Record = record?;
            guide.push(&record);
            content.extend_from_slice(&record.to_bytes());
            if content.len() == PAGE_RECORDS * RECORD_BYTES {
                self.page(&mut content)?;
            }
        }
        if !content.is_empty() {
            self.page(&mut content)?;
        }
        guide.firsts.shrink_to_fit();
        guide.fingerprints.shrink_to_fit();
        Ok(guide)
    }

    fn page(&mut self, content: &mut Vec<u8>) -> Result<(), NotWritten> {
        content.resize(PAGE_CONTENT_BYTES, 0);
        self.block(content)?;
        debug_assert_eq!(self.sealed.len(), PAGE_BYTES);
        content.clear();
        Ok(())
    }

    fn block(&mut self, content: &[u8]) -> Result<(), NotWritten> {
        block::seal(self.master, &self.mark, self.blocks, content, &mut self.sealed);
        // The last number is the header's; a file with so many blocks would have terabytes.
        self.blocks = self.blocks.checked_add(1).filter(|next| *next != HEADER_NUMBER).ok_or(NotWritten::Refused)?;
        Ok(self.draft.write_all(&self.sealed)?)
    }

    fn tables(&mut self, packs: &[Id], data: &Guide, trees: &Guide) -> Result<(), NotWritten> {
        let mut content = Vec::with_capacity(TABLE_CONTENT_BYTES);
        self.table(&mut content, packs.iter().map(|id| *id.as_bytes()))?;
        for guide in [data, trees] {
            self.table(&mut content, guide.firsts.iter().map(|first| first.to_le_bytes()))?;
            self.table(&mut content, guide.fingerprints.iter().map(|print| print.to_le_bytes()))?;
        }
        if content.is_empty() { Ok(()) } else { self.block(&content) }
    }

    fn table<const N: usize>(
        &mut self,
        content: &mut Vec<u8>,
        elements: impl Iterator<Item = [u8; N]>,
    ) -> Result<(), NotWritten> {
        for element in elements {
            self.flush_full(content)?;
            content.extend_from_slice(&element);
        }
        content.resize(content.len().next_multiple_of(TABLE_ALIGNMENT_BYTES), 0);
        Ok(())
    }

    /// Writes a full block of the tables.
    fn flush_full(&mut self, content: &mut Vec<u8>) -> Result<(), NotWritten> {
        if content.len() == TABLE_CONTENT_BYTES {
            self.block(content)?;
            content.clear();
        }
        Ok(())
    }

    fn header(&mut self, files: &[ListedFile], packs: &[Id], data: &Guide, trees: &Guide) -> Result<(), NotWritten> {
        let mut content = Vec::new();
        for count in [data.count(), trees.count(), packs.len(), files.len()] {
            content.extend_from_slice(&(count as u64).to_le_bytes());
        }
        for file in files {
            content.extend_from_slice(file.id.as_bytes());
            content.extend_from_slice(&file.size.to_le_bytes());
        }
        block::seal(self.master, &self.mark, HEADER_NUMBER, &content, &mut self.sealed);
        self.draft.write_all(&self.sealed)?;
        self.draft.write_all(&MAGIC)?;
        Ok(self.draft.write_all(&(self.sealed.len() as u64).to_le_bytes())?)
    }
}
