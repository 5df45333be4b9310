//! PostgreSQL's dump as statements: rows are counted as it passes, and it goes back through the client.
//!
//! The tool brackets such a dump with a word that only it knows, so that nothing in the dump can end the bracket and
//! give the client commands. To have the same bytes each time we give it a word of ours, and change that into a new
//! random one on the way back.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;

use super::login::{parse_qualified, qualified};
use crate::dump::Watcher;
use crate::manifest::{Counts, Tally};

/// The word in dumps.
pub(super) const BRACKET: &str = "triplicate";
const OPEN: &[u8] = b"\\restrict ";
const CLOSE: &[u8] = b"\\unrestrict ";
/// Longer lines are rows.
const LINE_LIMIT_BYTES: usize = 16 << 10;
const RANDOM_BYTES: usize = 24;

/// Counts the rows of a dump that passes.
#[derive(Debug)]
pub(super) struct Plain {
    database: String,
    tally: Arc<Tally>,
    line: Vec<u8>,
    /// The table that rows are for, and whether they have begun.
    table: Table,
    counts: BTreeMap<String, u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum Table {
    None,
    /// A comment has said that rows follow.
    Announced,
    In(String, u64),
}

impl Plain {
    pub(super) fn new(database: &str, tally: Arc<Tally>) -> Self {
        let (database, counts) = (database.to_owned(), BTreeMap::new());
        Self { database, tally, line: Vec::new(), table: Table::None, counts }
    }

    fn heed(&mut self) {
        match &mut self.table {
            Table::In(name, rows) if self.line == b"\\." => {
                let counted = (std::mem::take(name), *rows);
                self.counts.extend([counted]);
                self.table = Table::None;
            }
            Table::In(_, rows) => *rows += 1,
            Table::None if self.line.starts_with(b"-- Data for Name: ") => self.table = Table::Announced,
            Table::Announced if self.line.starts_with(b"COPY ") => {
                let text = String::from_utf8_lossy(&self.line);
                let found = parse_qualified(text.get(5..).unwrap_or_default());
                if let Some((schema, table, _)) = found {
                    self.table = Table::In(qualified(&schema, &table), 0);
                }
            }
            Table::None | Table::Announced => {}
        }
        self.line.clear();
    }
}

impl Watcher for Plain {
    fn pass(&mut self, bytes: &mut [u8]) {
        for byte in bytes.iter() {
            match byte {
                b'\n' => self.heed(),
                _ if self.line.len() < LINE_LIMIT_BYTES => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn end(&mut self) -> Result<(), String> {
        let counts: Counts = std::mem::take(&mut self.counts);
        self.tally.set(&self.database, counts);
        Ok(())
    }
}

/// Writes a dump to the client, in a bracket with a word that nobody could know before.
pub(super) fn write_bracketed(dump: impl Read, client: &mut impl Write) -> io::Result<()> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let word: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut dump = BufReader::with_capacity(256 << 10, dump);
    let (mut line, mut is_open, mut is_closed) = (Vec::new(), false, false);
    loop {
        line.clear();
        if dump.read_until(b'\n', &mut line)? == 0 {
            return client.flush();
        }
        let is =
            |beginning: &[u8]| line.strip_prefix(beginning).is_some_and(|rest| rest.trim_ascii() == BRACKET.as_bytes());
        if !is_open && is(OPEN) {
            is_open = true;
            writeln!(client, "\\restrict {word}")?;
        } else if is_open && is(CLOSE) {
            is_closed = true;
            writeln!(client, "\\unrestrict {word}")?;
        } else if is_closed && !line.trim_ascii().is_empty() && !line.starts_with(b"--") {
            // Somebody put the word into the dump so that commands could follow. A comment is all that the tool writes.
            return Err(io::Error::other("there is more behind the end of the dump"));
        } else {
            client.write_all(&line)?;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_bracket_gets_a_new_word_and_nothing_may_follow_it() {
        let dump = "--\n\\restrict triplicate\n\nSELECT 1;\n\\unrestrict triplicate\n\n";
        let write = |text: &str| {
            let mut written = Vec::new();
            write_bracketed(text.as_bytes(), &mut written).map(|()| String::from_utf8(written).unwrap())
        };
        let (first, second) = (write(dump).unwrap(), write(dump).unwrap());
        assert_ne!(first, second);
        assert!(!first.contains("triplicate") && first.ends_with("\n\n"));
        let word = first.lines().nth(1).unwrap().strip_prefix("\\restrict ").unwrap().to_owned();
        assert!(first.contains(&format!("\\unrestrict {word}\n")));
        assert!(write(&format!("{dump}-- complete\n\n")).is_ok());
        assert!(write(&format!("{dump}\\! touch /tmp/x\n")).is_err());
        assert_eq!(write("SELECT 1;\n").unwrap(), "SELECT 1;\n");
    }
}
