//! PostgreSQL's custom archive, read while it passes: how many rows each table has, and no date.
//!
//! The archive begins with the time at which it was made, and is the same otherwise when the database is: so that time
//! is made the same one for all. Rows are counted where they stand, for the tables that the archive's list names. What
//! is not known here (a version that is newer) passes unchanged and uncounted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::login::qualified;
use crate::dump::Watcher;
use crate::manifest::{Counts, Tally};

const MAGIC: &[u8] = b"PGDMP";
/// Magic, version, size of numbers, size of offsets, format.
const HEAD_BYTES: usize = 11;
/// Versions whose lists are read here: PostgreSQL 9 to 18.
const VERSIONS: std::ops::RangeInclusive<u8> = 12..=16;
/// From here on tables name what stores them, headers how they are compressed, and entries what kind they are.
const WITH_STORAGE: u8 = 14;
const WITH_ALGORITHM: u8 = 15;
const WITH_KIND: u8 = 16;
const FORMAT_CUSTOM: u8 = 1;
/// Midnight of 1 January 1970: seconds, minutes, hours, day, month, year, summer time.
const NO_TIME: [u8; 7] = [0, 0, 0, 1, 0, 70, 0];
/// Blocks of rows, and of large objects.
const BLOCK_ROWS: u8 = 1;
const BLOCK_OBJECTS: u8 = 3;
/// No more of a name is kept.
const NAME_LIMIT_BYTES: usize = 4096;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Magic and versions.
    Head,
    /// So many bytes that are the same for every archive of a version, and the time in them from a place on.
    Compression,
    Time(usize),
    /// So many texts before the list.
    HeadText(u8),
    ListLength,
    /// A field of an entry of the list.
    Field(u8),
    /// The length of a text, and the text.
    Text,
    BlockKind,
    BlockOwner,
    ObjectNumber,
    /// The length of a part of a block, and the part.
    PartLength,
    Part,
    /// Nothing more is known.
    Unknown,
}

/// Fields of an entry, in their order.
mod field {
    pub(super) const ID: u8 = 0;
    pub(super) const TAG: u8 = 4;
    pub(super) const KIND: u8 = 5;
    pub(super) const SECTION: u8 = 6;
    pub(super) const SCHEMA: u8 = 10;
    pub(super) const STORAGE: u8 = 12;
    pub(super) const RELATION_KIND: u8 = 13;
    pub(super) const DEPENDENCY: u8 = 16;
    pub(super) const OFFSET: u8 = 17;
}

/// Counts the rows of an archive that passes, and takes the date out of it.
#[derive(Debug)]
pub(super) struct Archive {
    database: String,
    tally: Arc<Tally>,
    next: Next,
    /// What was read of the next thing, and how long that is.
    read: Vec<u8>,
    wanted: u64,
    number_bytes: u8,
    offset_bytes: u8,
    version: u8,
    entries_left: i64,
    field: u8,
    is_in_head: bool,
    is_objects: bool,
    entry: Entry,
    /// Tables by the numbers of their data.
    tables: BTreeMap<i64, (String, u64)>,
    owner: i64,
    rows: Rows,
}

#[derive(Debug, Default)]
struct Entry {
    id: i64,
    tag: String,
    kind: String,
    schema: String,
}

/// Lines of a block, up to the one that ends it.
#[derive(Debug, Default)]
struct Rows {
    count: u64,
    /// The beginning of the line; only whether it is `\.` matters.
    line: Vec<u8>,
    is_over: bool,
}

impl Rows {
    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.is_over {
                return;
            }
            if *byte != b'\n' {
                if self.line.len() < 3 {
                    self.line.push(*byte);
                }
                continue;
            }
            self.is_over = self.line == b"\\.";
            self.count += u64::from(!self.is_over);
            self.line.clear();
        }
    }
}

impl Archive {
    pub(super) fn new(database: &str, tally: Arc<Tally>) -> Self {
        Self {
            database: database.to_owned(),
            tally,
            next: Next::Head,
            read: Vec::new(),
            wanted: HEAD_BYTES as u64,
            number_bytes: 0,
            offset_bytes: 0,
            version: 0,
            entries_left: 0,
            field: 0,
            is_in_head: false,
            is_objects: false,
            entry: Entry::default(),
            tables: BTreeMap::new(),
            owner: 0,
            rows: Rows::default(),
        }
    }

    fn expect(&mut self, next: Next, bytes: u64) {
        (self.next, self.wanted) = (next, bytes);
        self.read.clear();
    }

    fn expect_number(&mut self, next: Next) {
        self.expect(next, 1 + u64::from(self.number_bytes));
    }

    /// The number that was read: its sign, then its bytes from the smallest on.
    fn number(&self) -> i64 {
        let (sign, digits) = self.read.split_first().unwrap_or((&0, &[]));
        let value = digits.iter().take(8).rev().fold(0i64, |value, byte| value << 8 | i64::from(*byte));
        if *sign == 0 { value } else { -value }
    }

    /// What was wanted has been read.
    fn step(&mut self) {
        match self.next {
            Next::Head => self.head(),
            Next::Compression => self.expect_number(Next::Time(0)),
            Next::Time(at) if at + 1 < NO_TIME.len() => self.expect_number(Next::Time(at + 1)),
            Next::Time(_) => self.expect_number(Next::HeadText(0)),
            Next::HeadText(_) => self.begin_text(),
            Next::ListLength => {
                self.entries_left = self.number();
                self.next_entry();
            }
            Next::Field(field) => self.field_read(field),
            Next::Text => self.text_read(),
            Next::BlockKind => match self.read.first() {
                Some(&kind @ (BLOCK_ROWS | BLOCK_OBJECTS)) => {
                    self.is_objects = kind == BLOCK_OBJECTS;
                    self.expect_number(Next::BlockOwner);
                }
                _ => self.next = Next::Unknown,
            },
            Next::BlockOwner => {
                (self.owner, self.rows) = (self.number(), Rows::default());
                self.expect_number(if self.is_objects { Next::ObjectNumber } else { Next::PartLength });
            }
            Next::ObjectNumber if self.number() == 0 => self.expect(Next::BlockKind, 1),
            Next::ObjectNumber => self.expect_number(Next::PartLength),
            Next::PartLength => match u64::try_from(self.number()) {
                Ok(0) => self.block_read(),
                Ok(bytes) => self.expect(Next::Part, bytes),
                Err(_) => self.next = Next::Unknown,
            },
            Next::Part => self.expect_number(Next::PartLength),
            Next::Unknown => {}
        }
    }

    fn head(&mut self) {
        let known = match self.read.as_slice() {
            [magic @ .., major, minor, _, number_bytes, offset_bytes, format] => {
                (self.version, self.number_bytes, self.offset_bytes) = (*minor, *number_bytes, *offset_bytes);
                magic == MAGIC && *major == 1 && *format == FORMAT_CUSTOM && *number_bytes <= 8
            }
            _ => false,
        };
        if !known || !VERSIONS.contains(&self.version) {
            self.next = Next::Unknown;
        } else if self.version < WITH_ALGORITHM {
            self.expect_number(Next::Compression);
        } else {
            self.expect(Next::Compression, 1);
        }
    }

    /// The length of a text was read.
    fn begin_text(&mut self) {
        if let Next::HeadText(number) = self.next {
            (self.field, self.is_in_head) = (number, true);
        }
        match u64::try_from(self.number()) {
            Ok(bytes) if bytes > 0 => self.expect(Next::Text, bytes),
            _ => {
                self.read.clear();
                self.text_read();
            }
        }
    }

    /// A text was read, of the head or of an entry.
    fn text_read(&mut self) {
        let text = String::from_utf8_lossy(&self.read).into_owned();
        if self.is_in_head {
            // Of the head: the database's name, the server's version and the tool's.
            match self.field {
                0 | 1 => self.expect_number(Next::HeadText(self.field + 1)),
                _ => {
                    self.is_in_head = false;
                    self.expect_number(Next::ListLength);
                }
            }
            return;
        }
        match self.field {
            field::TAG => self.entry.tag = text,
            field::KIND => self.entry.kind = text,
            field::SCHEMA => self.entry.schema = text,
            // An entry may have many of them; the last is none.
            field::DEPENDENCY if !self.read.is_empty() => return self.expect_number(Next::Field(field::DEPENDENCY)),
            _ => {}
        }
        self.next_field(self.field + 1);
    }

    fn next_field(&mut self, field: u8) {
        let is_there = match field {
            field::STORAGE => self.version >= WITH_STORAGE,
            field::RELATION_KIND => self.version >= WITH_KIND,
            _ => true,
        };
        match (is_there, field) {
            (false, _) => self.next_field(field + 1),
            (true, field::OFFSET) => self.expect(Next::Field(field), 1 + u64::from(self.offset_bytes)),
            (true, _) => self.expect_number(Next::Field(field)),
        }
    }

    fn field_read(&mut self, field: u8) {
        match field {
            field::ID => self.entry = Entry { id: self.number(), ..Entry::default() },
            1 | field::SECTION | field::RELATION_KIND => {}
            field::OFFSET => return self.entry_read(),
            _ => {
                self.field = field;
                return self.begin_text();
            }
        }
        self.next_field(field + 1);
    }

    fn entry_read(&mut self) {
        if self.entry.kind == "TABLE DATA" {
            let name = qualified(&self.entry.schema, &self.entry.tag);
            self.tables.insert(self.entry.id, (name, 0));
        }
        self.entries_left -= 1;
        self.next_entry();
    }

    fn next_entry(&mut self) {
        match self.entries_left {
            ..=0 => self.expect(Next::BlockKind, 1),
            _ => self.expect_number(Next::Field(field::ID)),
        }
    }

    fn block_read(&mut self) {
        if self.is_objects {
            return self.expect_number(Next::ObjectNumber);
        }
        if let Some((_, rows)) = self.tables.get_mut(&self.owner) {
            *rows = self.rows.count;
        }
        self.expect(Next::BlockKind, 1);
    }

    /// What has to be kept of the next thing.
    fn keeps(&self) -> usize {
        match self.next {
            Next::Part | Next::Unknown => 0,
            Next::Text => NAME_LIMIT_BYTES,
            _ => usize::MAX,
        }
    }
}

impl Watcher for Archive {
    fn pass(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && self.next != Next::Unknown {
            let count = usize::try_from(self.wanted).unwrap_or(usize::MAX).min(rest.len());
            let (now, behind) = std::mem::take(&mut rest).split_at_mut(count);
            if let Next::Time(at) = self.next {
                for (byte, place) in now.iter_mut().zip(self.read.len()..) {
                    *byte = if place == 1 { NO_TIME.get(at).copied().unwrap_or(0) } else { 0 };
                }
            }
            if self.next == Next::Part && !self.is_objects {
                self.rows.feed(now);
            }
            let room = self.keeps().saturating_sub(self.read.len()).min(now.len());
            self.read.extend(now.iter().take(room));
            self.wanted -= count as u64;
            rest = behind;
            if self.wanted == 0 {
                self.step();
            }
        }
    }

    fn end(&mut self) -> Result<(), String> {
        match self.next {
            Next::Unknown => {}
            // Between two blocks.
            Next::BlockKind if self.read.is_empty() => {
                let counts: Counts = std::mem::take(&mut self.tables).into_values().collect();
                self.tally.set(&self.database, counts);
            }
            _ => return Err("it ends in the middle of the archive: it is not whole".to_owned()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_end_where_the_copy_does() {
        for (text, expected) in
            [("1\tx\n2\ty\\nz\n\\.\n\n\n", 2), ("\\.\n\n\n", 0), ("\n\n\\.\n", 2), ("\\.x\n\\\\.\n\\.\n", 2)]
        {
            for piece_bytes in [1, 2, 100] {
                let mut rows = Rows::default();
                text.as_bytes().chunks(piece_bytes).for_each(|piece| rows.feed(piece));
                assert_eq!(rows.count, expected, "{text:?}");
            }
        }
    }

    #[test]
    fn what_is_not_known_passes_as_it_is() {
        for text in [&b"PGDMP\x01\x63\x00\x04\x08\x01 whatever"[..], b"-- SQL", b"PGD"] {
            let mut archive = Archive::new("app", Arc::default());
            let mut bytes = text.to_vec();
            archive.pass(&mut bytes);
            assert_eq!(bytes, text);
        }
    }
}
