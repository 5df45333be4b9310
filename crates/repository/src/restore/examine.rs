//! What stands in the target already, and what of it can stay.
//!
//! This is what makes a restore resumable: content that is there is compared by the hashes of its chunks, and only
//! what differs is fetched. A file with a second name is never written, nor are its metadata changed, since that other
//! name may lie outside of the target: it is replaced, and its right chunks are copied over.

use std::os::fd::{AsFd, OwnedFd};

use format::{BlobKind, Node, NodeKind};
use rustix::fs::{OFlags, Stat};
use rustix::io::Errno;

use super::Restoration;
use super::batch::Entry;
use super::content::{is_chunk, read_pieces, write_all, write_with_holes};
use super::folder::{Arrival, Folders};
use super::job::Start;
use super::metadata::looks_unchanged;
use super::place::{Identity, Place, is_file};
use super::request::Overwrite;
use crate::error::{Error, Result};
use crate::observer::TroubleKind;

/// A chunk's id and where it belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) id: model::Id,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Restoration<'_> {
    /// Decides how to begin with an entry whose chunks are known.
    pub(super) fn examine(&self, entry: &Entry, pieces: &[Piece], buffer: &mut [u8]) -> Result<Start> {
        let Some(folders) = self.folders.as_ref().filter(|_| entry.folder.arrival == Arrival::Found) else {
            return Ok(Start::New);
        };
        let found = match folders.at(&entry.folder, &entry.node.name, |place| place.stat()) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Ok(Start::New),
            Err(error) => return Ok(refused(error)),
        };
        if !self.may_overwrite(&entry.node, &found) {
            return Ok(Start::Kept);
        }
        if entry.node.kind != NodeKind::File || !is_file(&found) {
            return Ok(Start::New);
        }
        let existing = Existing { restoration: self, folders, entry, found: &found, pieces };
        match existing.compare(buffer) {
            Ok(start) => start,
            // It cannot be read: that is no reason not to replace it.
            Err(Errno::ACCESS | Errno::PERM | Errno::IO | Errno::STALE) => Ok(Start::New),
            Err(error) => Ok(refused(error)),
        }
    }

    pub(super) fn may_overwrite(&self, node: &Node, found: &Stat) -> bool {
        match self.request.overwrite {
            Overwrite::Always | Overwrite::IfChanged => true,
            Overwrite::IfNewer => {
                let snapshot = (node.mtime.seconds, u64::from(node.mtime.nanoseconds));
                snapshot > (found.st_mtime, found.st_mtime_nsec)
            }
            Overwrite::Never => false,
        }
    }

    /// Where each chunk of a file belongs; the reason where that cannot be known.
    pub(super) fn pieces(&self, node: &Node) -> std::result::Result<Vec<Piece>, String> {
        if node.kind != NodeKind::File {
            return Ok(Vec::new());
        }
        let content = node.content.as_ref().ok_or("the snapshot has no content for it")?;
        let mut pieces = Vec::with_capacity(content.len());
        let mut offset = 0_u64;
        for id in content {
            let location = self.indexed.index.get(BlobKind::Data, id);
            let length = location.ok_or_else(|| format!("its chunk {id} is in no index"))?.plain_length();
            pieces.push(Piece { id: *id, offset, length: u64::from(length) });
            // Lengths are below 2^32, and a list of 2^32 chunks is longer than any listing may be.
            offset += u64::from(length);
        }
        Ok(pieces)
    }
}

/// How long the file is that these chunks make.
pub(super) fn total_bytes(pieces: &[Piece]) -> u64 {
    pieces.last().map_or(0, |piece| piece.offset + piece.length)
}

fn refused(error: Errno) -> Start {
    Start::Refused { kind: TroubleKind::Unwritable, why: format!("cannot look at what is there: {error}") }
}

/// A regular file that stands where one belongs.
struct Existing<'a> {
    restoration: &'a Restoration<'a>,
    folders: &'a Folders,
    entry: &'a Entry,
    found: &'a Stat,
    pieces: &'a [Piece],
}

impl Existing<'_> {
    fn compare(&self, buffer: &mut [u8]) -> std::result::Result<Result<Start>, Errno> {
        let identity = Identity::of(self.found);
        let node = &self.entry.node;
        let may_change = self.found.st_nlink == 1;
        let trusts_times = self.restoration.request.overwrite == Overwrite::IfChanged;
        if trusts_times && may_change && total_bytes(self.pieces) == node.size && looks_unchanged(self.found, node) {
            return Ok(Ok(Start::Unchanged { identity }));
        }
        let readable = self.at(|place| place.open_file(identity, OFlags::RDONLY))?;
        let mut wrong = Vec::new();
        for (number, piece) in self.pieces.iter().enumerate() {
            if self.restoration.indexed.repository.cancel().is_set() {
                return Ok(Err(Error::Interrupted));
            }
            if !is_chunk(&readable, piece.offset, piece.length, &piece.id, buffer)? {
                wrong.push(u32::try_from(number).unwrap_or(u32::MAX));
            }
        }
        let is_right = wrong.is_empty() && u64::try_from(self.found.st_size) == Ok(total_bytes(self.pieces));
        if self.restoration.request.dry_run {
            let update = Start::Update { identity, wrong, has_holes: false };
            return Ok(Ok(if is_right { Start::Unchanged { identity } } else { update }));
        }
        if may_change && is_right {
            return Ok(Ok(Start::Unchanged { identity }));
        }
        let is_writable = may_change && self.at(|place| place.open_file(identity, OFlags::RDWR)).is_ok();
        if is_writable {
            return Ok(Ok(Start::Update { identity, wrong, has_holes: false }));
        }
        self.replace(&readable, wrong, buffer).map(Ok)
    }

    /// Puts a new file in the place of one that must not be written, with the chunks of it that are right.
    fn replace(&self, old: &OwnedFd, wrong: Vec<u32>, buffer: &mut [u8]) -> std::result::Result<Start, Errno> {
        let new = self.at(|place| place.create_file())?;
        let identity = Identity::of(&rustix::fs::fstat(&new)?);
        rustix::fs::ftruncate(&new, total_bytes(self.pieces))?;
        let sparse = self.restoration.request.sparse;
        let mut wrong_ones = wrong.iter().peekable();
        for (number, piece) in self.pieces.iter().enumerate() {
            if wrong_ones.next_if(|&&wrong| wrong as usize == number).is_some() {
                continue;
            }
            read_pieces(old, piece.offset, piece.length, buffer, |offset, bytes| {
                if sparse {
                    write_with_holes(new.as_fd(), offset, bytes)
                } else {
                    write_all(new.as_fd(), offset, bytes)
                }
            })?;
        }
        Ok(Start::Update { identity, wrong, has_holes: true })
    }

    fn at<T>(&self, work: impl FnOnce(Place<'_>) -> std::result::Result<T, Errno>) -> std::result::Result<T, Errno> {
        self.folders.at(&self.entry.folder, &self.entry.node.name, work)
    }
}
