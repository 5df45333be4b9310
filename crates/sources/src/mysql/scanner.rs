//! What passes in a dump: its comments, and the rows of its tables.
//!
//! Dumps are read as they come, in pieces that end anywhere. Rows are counted by the parentheses that are in no string.
//! Bodies of triggers and routines stand between lines that change the delimiter, and nothing in them counts.

use std::collections::BTreeMap;

use crate::manifest::Counts;

/// Longer lines than this are statements, and nothing has to be known of them.
const LINE_LIMIT_BYTES: usize = 2048;
const INSERT: &[u8] = b"INSERT INTO `";
const VALUES: &[u8] = b"VALUES";

/// Reads a dump piece by piece.
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    /// The beginning of the line that is being read.
    line: Vec<u8>,
    line_start: u64,
    offset: u64,
    /// False between `DELIMITER ;;` and `DELIMITER ;`.
    is_plain: bool,
    database: String,
    table: Vec<u8>,
    rows: u64,
    counts: BTreeMap<String, Counts>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a line that may be anything.
    Line,
    /// In the name of the table that rows go into; true behind a backtick.
    Name(bool),
    /// Between the name and the rows: inside a quoted name or not, and how much of `VALUES` was read.
    Head(bool, usize),
    /// In the rows: depth of parentheses.
    Rows(u32),
    /// In a string in the rows; true behind a backslash.
    Text(u32, bool),
    /// Behind the rows, to the end of the line.
    Behind,
}

/// What a comment says that begins a part of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Marker {
    /// What follows is of this database.
    Database(String),
    /// A table, or what stands in for a view until all tables are there.
    Relation(String),
    /// Events of the database.
    Events,
    /// Routines of the database.
    Routines,
}

impl Scanner {
    pub(super) fn new() -> Self {
        Self {
            state: State::Line,
            line: Vec::new(),
            line_start: 0,
            offset: 0,
            is_plain: true,
            database: String::new(),
            table: Vec::new(),
            rows: 0,
            counts: BTreeMap::new(),
        }
    }

    /// Reads on. `on_line` gets each line that is not rows: where it begins, and its beginning without the line's end.
    pub(super) fn feed(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(u64, &[u8])) {
        for byte in bytes {
            self.offset += 1;
            match self.state {
                State::Rows(depth) => self.in_rows(*byte, depth),
                State::Text(depth, true) => self.state = State::Text(depth, false),
                State::Text(depth, false) => match byte {
                    b'\\' => self.state = State::Text(depth, true),
                    b'\'' => self.state = State::Rows(depth),
                    _ => {}
                },
                State::Line => self.in_line(*byte, on_line),
                State::Name(is_behind_tick) => self.in_name(*byte, is_behind_tick),
                State::Head(is_quoted, matched) => self.in_head(*byte, is_quoted, matched),
                State::Behind if *byte == b'\n' => self.begin_line(),
                State::Behind => {}
            }
        }
    }

    /// Up to here it is known what the bytes are.
    pub(super) fn settled(&self) -> u64 {
        match self.state {
            State::Line if self.line.len() < LINE_LIMIT_BYTES => self.line_start,
            _ => self.offset,
        }
    }

    /// False inside the body of a trigger or a routine.
    pub(super) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Rows of each table of each database, as far as was read.
    pub(super) fn counts(&self) -> &BTreeMap<String, Counts> {
        &self.counts
    }

    fn begin_line(&mut self) {
        self.state = State::Line;
        self.line.clear();
        self.line_start = self.offset;
    }

    fn in_line(&mut self, byte: u8, on_line: &mut dyn FnMut(u64, &[u8])) {
        if byte == b'\n' {
            let line = std::mem::take(&mut self.line);
            self.heed(&line);
            on_line(self.line_start, &line);
            self.line = line;
            self.begin_line();
        } else if self.line.len() < LINE_LIMIT_BYTES {
            self.line.push(byte);
            if self.line == INSERT && self.is_plain {
                self.table.clear();
                self.state = State::Name(false);
            }
        }
    }

    fn heed(&mut self, line: &[u8]) {
        if let Some(delimiter) = line.strip_prefix(b"DELIMITER ") {
            self.is_plain = delimiter == b";";
        } else if let Some(marker) = self.marker(line) {
            match marker {
                Marker::Database(name) => self.database = name,
                Marker::Relation(name) if line.starts_with(b"-- Table") => {
                    self.counts.entry(self.database.clone()).or_default().entry(name).or_insert(0);
                }
                _ => {}
            }
        }
    }

    /// What a line says that begins a part.
    pub(super) fn marker(&self, line: &[u8]) -> Option<Marker> {
        let line = line.strip_prefix(b"-- ").filter(|_| self.is_plain)?;
        let ticked = |words: &str| line.strip_prefix(words.as_bytes()).and_then(unquoted);
        let relation =
            ["Table structure for table ", "Temporary table structure for view ", "Temporary view structure for view "];
        if let Some(name) = ticked("Current Database: ") {
            Some(Marker::Database(name))
        } else if let Some(name) = relation.into_iter().find_map(ticked) {
            Some(Marker::Relation(name))
        } else if line.starts_with(b"Dumping events for database ") {
            Some(Marker::Events)
        } else if line.starts_with(b"Dumping routines for database ") {
            Some(Marker::Routines)
        } else {
            None
        }
    }

    fn in_name(&mut self, byte: u8, is_behind_tick: bool) {
        match (is_behind_tick, byte) {
            (false, b'`') => self.state = State::Name(true),
            (true, b'`') | (false, _) => {
                self.table.push(byte);
                self.state = State::Name(false);
            }
            (true, _) => {
                self.rows = 0;
                self.state = State::Head(false, 0);
            }
        }
    }

    fn in_head(&mut self, byte: u8, is_quoted: bool, matched: usize) {
        let matched = match VALUES.get(matched) {
            Some(wanted) if *wanted == byte && !is_quoted => matched + 1,
            _ => usize::from(byte == b'V' && !is_quoted),
        };
        self.state = match matched == VALUES.len() {
            true => State::Rows(0),
            false => State::Head(is_quoted != (byte == b'`'), matched),
        };
    }

    fn in_rows(&mut self, byte: u8, depth: u32) {
        self.state = match (byte, depth) {
            (b'\'', _) => State::Text(depth, false),
            (b'(', _) => {
                self.rows += u64::from(depth == 0);
                State::Rows(depth + 1)
            }
            (b')', _) => State::Rows(depth.saturating_sub(1)),
            (b';', 0) => {
                self.note_rows();
                State::Behind
            }
            _ => return,
        };
    }

    fn note_rows(&mut self) {
        let table = String::from_utf8_lossy(&self.table).into_owned();
        *self.counts.entry(self.database.clone()).or_default().entry(table).or_insert(0) += self.rows;
    }
}

/// A name between backticks.
fn unquoted(text: &[u8]) -> Option<String> {
    let name = text.strip_prefix(b"`")?.strip_suffix(b"`")?;
    Some(String::from_utf8_lossy(name).replace("``", "`"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DUMP: &str = "-- MariaDB dump\n--\n-- Current Database: `app`\n--\n\nUSE `app`;\n\n\
        --\n-- Table structure for table `a``b`\n--\n\
        CREATE TABLE `a``b` (\n  `x` int\n);\nINSERT INTO `a``b` VALUES\n(1,'it\\'s; (x)'),\n(2,')(''('),\n(3,POINT(1,(2)));\n\
        INSERT INTO `a``b` (`VALUES`, `(`) VALUES (4,'\\\\'),(5,';\\n');\n\
        --\n-- Table structure for table `none`\n--\n\
        DELIMITER ;;\nCREATE TRIGGER t BEFORE INSERT\nINSERT INTO `log` VALUES (1);\n\
        -- Table structure for table `forged`\n;;\nDELIMITER ;\n\
        --\n-- Dumping routines for database 'app'\n--\n-- Dump completed\n";

    /// Counts and markers, when the dump comes in pieces of this size.
    fn scan(piece_bytes: usize) -> (BTreeMap<String, Counts>, Vec<(u64, Marker)>) {
        let mut scanner = Scanner::new();
        let mut lines = Vec::new();
        let mut markers = Vec::new();
        for piece in DUMP.as_bytes().chunks(piece_bytes) {
            // One byte at a time is what tells whether a line is plain.
            for byte in piece.chunks(1) {
                scanner.feed(byte, &mut |start, line| lines.push((start, line.to_vec())));
                markers.extend(lines.drain(..).filter_map(|(start, line)| Some((start, scanner.marker(&line)?))));
            }
            assert!(scanner.settled() <= scanner.offset);
        }
        (scanner.counts().clone(), markers)
    }

    #[test]
    fn rows_are_counted_and_parts_found_in_pieces_of_any_size() {
        let (counts, markers) = scan(DUMP.len());
        let rows: Vec<(&str, u64)> = counts["app"].iter().map(|(name, rows)| (name.as_str(), *rows)).collect();
        assert_eq!(rows, [("a`b", 5), ("none", 0)]);
        let parts: Vec<&Marker> = markers.iter().map(|(_, marker)| marker).collect();
        let relation = |name: &str| Marker::Relation(name.to_owned());
        assert_eq!(
            parts,
            [&Marker::Database("app".to_owned()), &relation("a`b"), &relation("none"), &Marker::Routines]
        );
        for (start, _) in &markers {
            assert!(DUMP[*start as usize..].starts_with("-- "));
        }
        for piece_bytes in [1, 2, 3, 7, 64] {
            assert_eq!(scan(piece_bytes), (counts.clone(), markers.clone()));
        }
    }
}
