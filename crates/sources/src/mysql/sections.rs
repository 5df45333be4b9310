//! One dump as many files: a file for each table, and for what a database has beside its tables.
//!
//! One process in one transaction writes the dump, and it is cut where its comments say that a table begins. The files
//! are asked for in the order of their names, which is the order of the stream; put together in that order they are
//! the dump again, to the byte. So a table in which nothing changed gives the file that it gave before.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use repository::backup::OriginError;

use super::scanner::{Marker, Scanner};
use crate::dump::{Dump, file_name};
use crate::manifest::Tally;

/// So much is read from the tool at a time.
const PIECE_BYTES: usize = 256 << 10;

/// A part of the dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Section {
    /// Settings.
    Begin,
    /// The database itself, and its sequences.
    Database(String),
    /// A table, its rows and its triggers; or what stands in for a view until all tables are there.
    Relation(String, String),
    Events(String),
    Routines(String),
    /// The views of a database, behind the tables of all databases.
    Views(String),
}

/// A part, and the file it goes to.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) section: Section,
    pub(super) file: String,
}

/// The parts of a dump of these databases with these tables and views, which come in the order in which the server
/// tells them.
pub(super) fn parts(databases: &[(String, Vec<String>)]) -> Vec<Part> {
    let mut parts = vec![Part { section: Section::Begin, file: "0.begin.sql".to_owned() }];
    let mut add = |section: Section, file: String| parts.push(Part { section, file });
    for (database, relations) in databases {
        let folder = format!("1.{}", file_name(database));
        add(Section::Database(database.clone()), format!("{folder}.0.database.sql"));
        let mut names: Vec<String> = relations.iter().map(|name| file_name(name)).collect();
        if !names.is_sorted() {
            // A server with an order of its own.
            names = names.iter().enumerate().map(|(number, name)| format!("{number:06}.{name}")).collect();
        }
        for (relation, name) in relations.iter().zip(names) {
            add(Section::Relation(database.clone(), relation.clone()), format!("{folder}.1.{name}"));
        }
        add(Section::Events(database.clone()), format!("{folder}.2.events.sql"));
        add(Section::Routines(database.clone()), format!("{folder}.3.routines.sql"));
    }
    for (database, _) in databases {
        add(Section::Views(database.clone()), format!("2.{}.views.sql", file_name(database)));
    }
    parts
}

/// The order in which databases have to stand in the dump.
pub(super) fn sort(databases: &mut [String]) {
    databases.sort_by_key(|name| format!("{}.", file_name(name)));
}

/// A dump that is being read part by part.
pub(super) struct Split {
    dump: Dump,
    scanner: Scanner,
    parts: Vec<Part>,
    buffer: Vec<u8>,
    /// How much of the buffer was given out, and where in the stream that is.
    given: usize,
    given_to: u64,
    /// Where parts begin that were found and not yet reached.
    begins: VecDeque<(u64, usize)>,
    /// The part that was found last, and the one that is being read.
    found: usize,
    current: usize,
    /// Where a line is that has only dashes, if it is the last one.
    rule: Option<u64>,
    has_ended: bool,
    tally: Arc<Tally>,
}

impl Split {
    pub(super) fn new(dump: Dump, parts: Vec<Part>, tally: Arc<Tally>) -> Self {
        Self {
            dump,
            scanner: Scanner::new(),
            parts,
            buffer: Vec::new(),
            given: 0,
            given_to: 0,
            begins: VecDeque::new(),
            found: 0,
            current: 0,
            rule: None,
            has_ended: false,
            tally,
        }
    }

    /// Reads the part with this number; what is before it and was not asked for is passed over.
    fn read(&mut self, part: usize, bytes: &mut [u8]) -> io::Result<usize> {
        if part < self.current {
            let name = self.parts.get(part).map(|part| part.file.clone()).unwrap_or_default();
            let cause = "it was asked for after what comes behind it in the dump";
            return Err(io::Error::other(OriginError::new("dump", name, cause)));
        }
        loop {
            let next = self.begins.front().copied();
            let limit = next.map_or_else(|| self.settled(), |(begin, _)| begin);
            let ready = usize::try_from(limit.saturating_sub(self.given_to)).unwrap_or(usize::MAX);
            if ready > 0 {
                let is_wanted = part == self.current;
                let count = if is_wanted { ready.min(bytes.len()) } else { ready };
                if is_wanted {
                    let from = self.buffer.get(self.given..self.given + count).unwrap_or_default();
                    bytes.get_mut(..count).unwrap_or_default().copy_from_slice(from);
                }
                self.given += count;
                self.given_to += count as u64;
                if is_wanted {
                    return Ok(count);
                }
                continue;
            }
            match next {
                // The part has ended, or has nothing in it.
                Some((_, begun)) if part < begun => {
                    self.current = part;
                    return Ok(0);
                }
                Some((_, begun)) => {
                    self.begins.pop_front();
                    self.current = begun;
                }
                None if self.has_ended => return Ok(0),
                None => self.fill()?,
            }
        }
    }

    /// Up to here it is known which part the bytes are of.
    fn settled(&self) -> u64 {
        let settled = self.scanner.settled();
        match self.rule {
            _ if self.has_ended => self.given_to + (self.buffer.len() - self.given) as u64,
            Some(rule) => rule.min(settled),
            None => settled,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.given);
        self.given = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + PIECE_BYTES, 0);
        let read = self.dump.read(self.buffer.get_mut(before..).unwrap_or_default());
        self.buffer.truncate(before + read.as_ref().map_or(0, |count| *count));
        if read? == 0 {
            self.has_ended = true;
            return self.end().map_err(io::Error::other);
        }
        // A marker counts only outside the bodies of routines, which the scanner knows when it has read that far.
        let mut from = before;
        while let Some(rest) = self.buffer.get(from..).filter(|rest| !rest.is_empty()) {
            let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            let mut line = None;
            let piece = rest.get(..length).unwrap_or_default();
            self.scanner.feed(piece, &mut |start, text| line = Some((start, text.to_vec())));
            from += length;
            if let Some((start, text)) = line {
                self.heed(start, &text).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }

    fn heed(&mut self, start: u64, line: &[u8]) -> Result<(), OriginError> {
        let rule = self.rule.take();
        if line == b"--" {
            self.rule = Some(start);
        }
        let Some((begin, marker)) = rule.zip(self.scanner.marker(line)) else { return Ok(()) };
        let Some(wanted) = self.section_of(marker) else { return Ok(()) };
        let place = self.parts.iter().skip(self.found).position(|part| part.section == wanted);
        let Some(part) = place.map(|place| place + self.found) else {
            let Section::Relation(database, name) = wanted else { return Ok(()) };
            let cause = "it was made, or renamed, while the dump was being made";
            return Err(OriginError::new("dump", format!("{database}.{name}"), cause));
        };
        self.check_passed(part)?;
        self.found = part;
        self.begins.push_back((begin, part));
        Ok(())
    }

    /// The part that a marker begins.
    fn section_of(&self, marker: Marker) -> Option<Section> {
        let database = self.parts.get(self.found).and_then(|part| match &part.section {
            Section::Begin => None,
            Section::Relation(database, _) => Some(database.clone()),
            Section::Database(name) | Section::Events(name) | Section::Routines(name) | Section::Views(name) => {
                Some(name.clone())
            }
        });
        match marker {
            Marker::Database(name) => {
                let section = Section::Database(name.clone());
                let is_ahead = self.parts.iter().skip(self.found + 1).any(|part| part.section == section);
                Some(if is_ahead { section } else { Section::Views(name) })
            }
            Marker::Relation(name) => database.map(|database| Section::Relation(database, name)),
            Marker::Events => database.map(Section::Events),
            Marker::Routines => database.map(Section::Routines),
        }
    }

    /// Between the part that was found last and this one, no table may be missing.
    fn check_passed(&self, part: usize) -> Result<(), OriginError> {
        let passed = self.parts.get(self.found + 1..part).unwrap_or_default();
        for Part { section, .. } in passed {
            if let Section::Relation(database, name) = section {
                let cause = "it was there when the dump began, and is not in it";
                return Err(OriginError::new("dump", format!("{database}.{name}"), cause));
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), OriginError> {
        self.check_passed(self.parts.len())?;
        for (database, counts) in self.scanner.counts() {
            self.tally.set(database, counts.clone());
        }
        Ok(())
    }

    /// Reads what nobody asked for, so that it is known whether the dump was whole.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        while !self.has_ended {
            self.given = self.buffer.len();
            self.fill()?;
        }
        Ok(())
    }
}

/// One part as a file.
pub(super) struct PartReader {
    pub(super) split: Arc<Mutex<Split>>,
    pub(super) part: usize,
}

impl Read for PartReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.split.lock().unwrap_or_else(PoisonError::into_inner).read(self.part, bytes)
    }
}
