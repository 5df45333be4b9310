//! What stands where in a file of the index cache.
//!
//! | where | what |
//! |---|---|
//! | front | pages of 1 KiB, 20 records each: data blobs, then trees; the last of each kind is filled up with zeros |
//! | then | tables: pack ids and both [`Guide`]s, in blocks of 64 KiB |
//! | then | header: the counts, and the index files with their sizes |
//! | last 16 bytes | magic, length of the header |
//!
//! All but the last 16 bytes is sealed, block by block; numbers are little-endian. The header is the last thing written,
//! so that a file which breaks off has none.

use format::MasterKey;
use model::Id;

use super::block::{self, BLOCK_OVERHEAD_BYTES, Mark};
use super::guide::{Guide, PAGE_RECORDS};
use super::record::RECORD_BYTES;
use crate::cache_folder::CachedFile;

/// Length of a sealed page. A divisor of the system's pages, so that none is read for two of them.
pub(super) const PAGE_BYTES: usize = 1024;
/// What a page holds: its records, and zeros.
pub(super) const PAGE_CONTENT_BYTES: usize = PAGE_BYTES - BLOCK_OVERHEAD_BYTES;
const _: () = assert!(PAGE_RECORDS * RECORD_BYTES <= PAGE_CONTENT_BYTES);
/// What a block of the tables holds. A multiple of every element's length.
pub(super) const TABLE_CONTENT_BYTES: usize = 64 << 10;
/// Every table is filled up to a multiple of this, so that no element lies in two blocks.
pub(super) const TABLE_ALIGNMENT_BYTES: usize = 32;
/// The number of the header as a block.
pub(super) const HEADER_NUMBER: u32 = u32::MAX;
/// Four counts.
pub(super) const HEADER_COUNTS_BYTES: usize = 4 * 8;
/// Id and size of an index file in the header.
pub(super) const HEADER_FILE_BYTES: usize = Id::LENGTH + 8;
/// Names this layout. Another layout gets another name, and another beginning of the files' names.
pub(super) const MAGIC: [u8; 8] = *b"tpl-idx1";
/// The beginning of the names of files in this layout.
pub(super) const NAME_PREFIX: &str = "index-1-";
/// Magic and the header's length.
pub(super) const TRAILER_BYTES: usize = 16;
/// A longer header is not ours: it would list a million index files.
const HEADER_BYTES_MAX: u64 = 64 << 20;

/// An index file as the listings show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ListedFile {
    pub(super) id: Id,
    pub(super) size: u64,
}

/// The counts that the header begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) data: u64,
    pub(super) trees: u64,
    pub(super) packs: u64,
    pub(super) files: u64,
}

/// What a part is made of, before anything was asked of its pages.
pub(super) struct Contents {
    pub(super) files: Vec<ListedFile>,
    pub(super) packs: Vec<Id>,
    pub(super) data: Guide,
    pub(super) trees: Guide,
    pub(super) mark: Mark,
}

/// Reads everything but the pages. The file's length must be exactly what the counts make it, so that no count leads
/// to more memory than the file has bytes.
pub(super) fn read_contents(file: &CachedFile, master: &MasterKey) -> Option<Contents> {
    let end = file.length_bytes().checked_sub(TRAILER_BYTES as u64)?;
    let mut trailer = [0; TRAILER_BYTES];
    let is_ours = file.read_at(&mut trailer, end) && trailer[..8] == MAGIC;
    let header_bytes = u64::from_le_bytes(*trailer.last_chunk()?);
    if !is_ours || header_bytes > end.min(HEADER_BYTES_MAX) {
        return None;
    }
    let header_at = end - header_bytes;
    let mut sealed = vec![0; usize::try_from(header_bytes).ok()?];
    if !file.read_at(&mut sealed, header_at) {
        return None;
    }
    let (mark, header) = block::open_any(master, HEADER_NUMBER, &mut sealed)?;
    let (counts, files) = parse_header(header)?;
    let tables = Tables::locate(&counts)?;
    if tables.end()? != header_at {
        return None;
    }
    let mut reader = TableReader { file, master, mark, tables, sealed: Vec::new(), content: Vec::new(), taken: 0 };
    let packs = reader.table(counts.packs, Id::from_bytes)?;
    let data = reader.guide(counts.data)?;
    let trees = reader.guide(counts.trees)?;
    Some(Contents { files, packs, data, trees, mark })
}

fn parse_header(header: &[u8]) -> Option<(Counts, Vec<ListedFile>)> {
    let (numbers, files) = header.split_first_chunk::<HEADER_COUNTS_BYTES>()?;
    let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let counts = Counts {
        data: number(&numbers[..8]),
        trees: number(&numbers[8..16]),
        packs: number(&numbers[16..24]),
        files: number(&numbers[24..]),
    };
    let (entries, rest) = files.as_chunks::<HEADER_FILE_BYTES>();
    if !rest.is_empty() || entries.len() as u64 != counts.files {
        return None;
    }
    let listed = entries.iter().filter_map(|entry| {
        let (id, size) = entry.split_first_chunk::<{ Id::LENGTH }>()?;
        Some(ListedFile { id: Id::from_bytes(*id), size: number(size) })
    });
    Some((counts, listed.collect()))
}

/// Pages for so many records.
pub(super) fn pages_for(records: u64) -> u64 {
    records.div_ceil(PAGE_RECORDS as u64)
}

/// Where the tables lie.
struct Tables {
    offset: u64,
    first_number: u32,
    plain_bytes: u64,
    blocks_read: u32,
}

impl Tables {
    fn locate(counts: &Counts) -> Option<Self> {
        let pages = pages_for(counts.data).checked_add(pages_for(counts.trees))?;
        let table =
            |count: u64, bytes: u64| count.checked_mul(bytes)?.checked_next_multiple_of(TABLE_ALIGNMENT_BYTES as u64);
        let mut plain_bytes = table(counts.packs, Id::LENGTH as u64)?;
        for records in [counts.data, counts.trees] {
            plain_bytes = plain_bytes.checked_add(table(pages_for(records), 8)?)?.checked_add(table(records, 2)?)?;
        }
        let offset = pages.checked_mul(PAGE_BYTES as u64)?;
        Some(Self { offset, first_number: u32::try_from(pages).ok()?, plain_bytes, blocks_read: 0 })
    }

    fn end(&self) -> Option<u64> {
        let blocks = self.plain_bytes.div_ceil(TABLE_CONTENT_BYTES as u64);
        self.offset.checked_add(self.plain_bytes)?.checked_add(blocks.checked_mul(BLOCK_OVERHEAD_BYTES as u64)?)
    }
}

/// Reads the tables one after the other, with one block in memory at a time.
struct TableReader<'a> {
    file: &'a CachedFile,
    master: &'a MasterKey,
    mark: Mark,
    tables: Tables,
    /// Room for a block as the file has it.
    sealed: Vec<u8>,
    /// The content of the block that was opened last.
    content: Vec<u8>,
    /// How much of it is used up.
    taken: usize,
}

impl TableReader<'_> {
    fn guide(&mut self, records: u64) -> Option<Guide> {
        let firsts = self.table(pages_for(records), u64::from_le_bytes)?;
        let fingerprints = self.table(records, u16::from_le_bytes)?;
        Some(Guide { firsts, fingerprints })
    }

    fn table<const N: usize, T>(&mut self, count: u64, element: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
        let count = usize::try_from(count).ok()?;
        let mut elements = Vec::with_capacity(count);
        while elements.len() < count {
            if self.taken == self.content.len() {
                self.next_block()?;
            }
            let (chunks, _) = self.content[self.taken..].as_chunks::<N>();
            let chunks = &chunks[..chunks.len().min(count - elements.len())];
            elements.extend(chunks.iter().map(|chunk| element(*chunk)));
            self.taken += chunks.len() * N;
        }
        self.taken = self.taken.next_multiple_of(TABLE_ALIGNMENT_BYTES).min(self.content.len());
        Some(elements)
    }

    fn next_block(&mut self) -> Option<()> {
        let number = self.tables.blocks_read;
        let before = u64::from(number) * TABLE_CONTENT_BYTES as u64;
        let length = self.tables.plain_bytes.checked_sub(before)?.min(TABLE_CONTENT_BYTES as u64) as usize;
        if length == 0 {
            return None;
        }
        let offset = self.tables.offset + before + u64::from(number) * BLOCK_OVERHEAD_BYTES as u64;
        self.sealed.resize(length + BLOCK_OVERHEAD_BYTES, 0);
        if !self.file.read_at(&mut self.sealed, offset) {
            return None;
        }
        let number_in_file = self.tables.first_number + number;
        let content = block::open(self.master, &self.mark, number_in_file, &mut self.sealed)?;
        self.content.clear();
        self.content.extend_from_slice(content);
        self.tables.blocks_read += 1;
        self.taken = 0;
        Some(())
    }
}
