//! The output of a dump tool as the content of a file: whole, or an error.
//!
//! The end of the pipe says nothing: a tool that was killed closes it too. So the reader says that it has ended only
//! when the tool has ended well, and when all that watched the bytes pass are content with what they saw.

use std::io::{self, Read};

use repository::backup::{Entry, EntryKind, OriginError};

use crate::program::Running;

/// Somebody who sees the bytes of a dump pass.
pub(crate) trait Watcher: Send {
    /// Some bytes, which it may change.
    fn pass(&mut self, bytes: &mut [u8]);

    /// There are no more. Says what is wrong with them when they cannot be all.
    fn end(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// A dump that is being read.
pub(crate) struct Dump {
    /// What it is a dump of, for messages.
    object: String,
    running: Running,
    watchers: Vec<Box<dyn Watcher>>,
    has_ended: bool,
}

impl Dump {
    pub(crate) fn new(object: impl Into<String>, running: Running) -> Self {
        Self { object: object.into(), running, watchers: Vec::new(), has_ended: false }
    }

    /// The same with one more who sees the bytes.
    pub(crate) fn watched(mut self, watcher: impl Watcher + 'static) -> Self {
        self.watchers.push(Box::new(watcher));
        self
    }

    fn finish(&mut self) -> Result<(), OriginError> {
        let failed = |cause: String| OriginError::new("dump", &self.object, cause);
        self.running.finish().map_err(|error| failed(error.to_string()))?;
        self.watchers.iter_mut().try_for_each(|watcher| watcher.end()).map_err(failed)
    }
}

impl Read for Dump {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.has_ended || bytes.is_empty() {
            return Ok(0);
        }
        let count = self.running.read(bytes)?;
        if count == 0 {
            self.finish().map_err(io::Error::other)?;
            self.has_ended = true;
        }
        let read = bytes.get_mut(..count).unwrap_or_default();
        self.watchers.iter_mut().for_each(|watcher| watcher.pass(read));
        Ok(count)
    }
}

/// The last line but empty ones has to begin so: what a tool writes when it is done.
#[derive(Debug)]
pub(crate) struct Trailer {
    wanted: &'static str,
    tail: Vec<u8>,
}

/// Trailers stand in the last bytes.
const TRAILER_REACH_BYTES: usize = 512;

impl Trailer {
    pub(crate) fn new(wanted: &'static str) -> Self {
        Self { wanted, tail: Vec::new() }
    }
}

impl Watcher for Trailer {
    fn pass(&mut self, bytes: &mut [u8]) {
        let from = bytes.len().saturating_sub(TRAILER_REACH_BYTES);
        self.tail.extend(bytes.iter().skip(from));
        let excess = self.tail.len().saturating_sub(TRAILER_REACH_BYTES);
        self.tail.drain(..excess);
    }

    fn end(&mut self) -> Result<(), String> {
        let tail = String::from_utf8_lossy(&self.tail);
        let is_there = tail.lines().any(|line| line.starts_with(self.wanted));
        if is_there { Ok(()) } else { Err(format!("it ended without the line `{}`: it is not whole", self.wanted)) }
    }
}

/// The entry of a file whose size is known when it was read.
pub(crate) fn file(name: impl Into<Vec<u8>>) -> Entry {
    Entry { name: name.into(), kind: EntryKind::File, ..Entry::default() }
}

/// A name of somebody else's, a table's say, as part of the name of a file: letters, digits, `_`, `-` and what is not
/// ASCII stay, everything else becomes `%` and two digits. No two names become the same.
pub(crate) fn file_name(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => text.push(character),
            '\0'..='\x7f' => text.push_str(&format!("%{:02X}", u32::from(character))),
            _ => text.push(character),
        }
    }
    text
}

/// What [`file_name`] was made of.
pub(crate) fn name_of_file(text: &str) -> Option<String> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8().ok()?;
    (file_name(&decoded) == text).then(|| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_name_has_a_file_name_of_its_own() {
        for (name, expected) in [
            ("customers", "customers"),
            ("a/b", "a%2Fb"),
            (".", "%2E"),
            ("..", "%2E%2E"),
            ("100%", "100%25"),
            ("a b\n", "a%20b%0A"),
            ("größe_😀-1", "größe_😀-1"),
        ] {
            assert_eq!(file_name(name), expected);
            assert_eq!(name_of_file(expected).unwrap(), name);
        }
        assert_eq!(name_of_file("a.b"), None);
        assert_eq!(name_of_file("%2"), None);
    }

    #[test]
    fn a_trailer_is_found_only_at_the_end() {
        let ends = |parts: &[&str]| {
            let mut trailer = Trailer::new("-- Dump completed");
            parts.iter().for_each(|part| trailer.pass(&mut part.as_bytes().to_vec()));
            trailer.end().is_ok()
        };
        assert!(ends(&["SELECT 1;\n-- Dump com", "pleted on 2026-01-01\n"]));
        assert!(ends(&["-- Dump completed\n\n"]));
        assert!(!ends(&["SELECT 1;\n"]));
        assert!(!ends(&["say '-- Dump completed'\n"]));
        assert!(!ends(&["-- Dump completed\n", &"x".repeat(600)]));
        assert!(!ends(&[]));
    }
}
