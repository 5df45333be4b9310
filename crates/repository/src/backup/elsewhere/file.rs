//! Reading a file of an origin: window by window, as it comes.

use std::io::{ErrorKind, Read};

use super::super::file::LargeFile;
use super::super::ingest::Bench;
use super::super::origin::{ErrorScope, OriginError};
use super::super::walk::Walk;
use super::{Elsewhere, FileWork};
use crate::error::Result;
use crate::observer::TroubleKind;

impl Walk<'_> {
    pub(super) fn origin_file(&self, bench: &mut Bench, elsewhere: &Elsewhere<'_>, work: FileWork) -> Result<()> {
        let FileWork { file, path, entry } = work;
        let shown = file.path.clone();
        let of = LargeFile::new(file);
        let stop = self.indexed.repository.cancel();
        let read = match elsewhere.given.origin.open(&path, &entry, stop) {
            Ok(mut reader) => self.windows_of(bench, &of, &[], |bytes, filled| fill(&mut reader, bytes, filled))?,
            Err(error) => Err(std::io::Error::other(error)),
        };
        match read {
            Ok(read_bytes) => {
                of.set_size(read_bytes);
                if let Some(size) = entry.size.filter(|size| *size != read_bytes) {
                    let cause = format!("{size} bytes were listed, {read_bytes} were read");
                    self.trouble(shown, TroubleKind::ChangedWhileRead, cause);
                }
                self.part_done(bench, &of)
            }
            Err(error) => {
                // Who reads may have been told to stop, and says so in its own way.
                self.check_cancel()?;
                let error = of_origin(error, &path);
                let kind = match error.scope {
                    ErrorScope::Backup => return Err(elsewhere.error(error)),
                    ErrorScope::Vanished => TroubleKind::Vanished,
                    ErrorScope::Unreadable => TroubleKind::Unreadable,
                };
                self.trouble(shown, kind, error.cause);
                of.take_place().map_or(Ok(()), |place| self.settle(bench, place, None))
            }
        }
    }
}

/// What a reader says; a failure without more words ends the backup.
fn of_origin(error: std::io::Error, path: &[u8]) -> OriginError {
    match error.downcast::<OriginError>() {
        Ok(error) => error,
        Err(error) => OriginError::new("read", String::from_utf8_lossy(path), error.to_string()),
    }
}

/// Reads until `bytes` is full or the content ends, behind the `filled` bytes that are there; gives how many are there
/// then, and whether the content has ended.
fn fill(reader: &mut dyn Read, bytes: &mut [u8], filled: usize) -> std::io::Result<(usize, bool)> {
    let mut filled = filled;
    loop {
        let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) else { return Ok((filled, false)) };
        match reader.read(room) {
            Ok(0) => return Ok((filled, true)),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
