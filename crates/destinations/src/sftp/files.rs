//! Files and folders through one session: the order of calls that leaves no half file under a name.
//!
//! A write is open (exclusively, under a temporary name), write, fsync where the server offers it, close, rename; the
//! name is given only after every one of these was answered with success. What SFTP cannot do is to make the *names*
//! of a folder durable; what a server loses there in a power cut is missing, and never half.

use std::sync::Arc;

use bytes::Bytes;
use format::{FileKind, FileName};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use model::{FaultKind, Id};

use super::session::Session;
use super::trouble::{self, Result, Trouble};
use super::wire::{self, Answer, Ask, Attributes};
use crate::pace::flow::Flow;
use crate::{FILE_LIMIT_BYTES, Listed, Span, temporary};

/// Requests for one file that are under way at one time: with the largest ones about a pack, for far servers.
const PIECES_AT_ONCE: usize = 64;
/// Folders that are made or listed at one time.
const FOLDERS_AT_ONCE: usize = 64;
/// A file system with less room than this is full, whatever the file needs.
const ROOM_LEAST_BYTES: u64 = 1 << 20;

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The files of one copy through one session.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) session: Arc<Session>,
    pub(super) root: Arc<str>,
}

impl Files {
    fn path(&self, inside: &str) -> String {
        if self.root.ends_with('/') { format!("{}{inside}", self.root) } else { format!("{}/{inside}", self.root) }
    }

    /// Makes the root and the folders of every kind. What is there stays as it is.
    pub(super) async fn create_layout(&self) -> Result<()> {
        self.make_folders_above(&self.root).await?;
        let kinds = FileKind::NAMED.into_iter().map(|kind| self.path(kind.folder()));
        let packs = (0..=u8::MAX).map(|first| self.path(&format!("{}/{first:02x}", FileKind::Pack.folder())));
        for folders in [kinds.collect::<Vec<_>>(), packs.collect()] {
            let made: Vec<_> = folders.iter().map(|folder| self.make_folder(folder)).collect();
            stream::iter(made).buffer_unordered(FOLDERS_AT_ONCE).try_collect::<()>().await?;
        }
        Ok(())
    }

    /// Makes a folder whose parent is there; one that is there is a success.
    async fn make_folder(&self, path: &str) -> Result<()> {
        let Err(trouble) = self.session.done(Ask::MakeFolder(path, FOLDER_MODE)).await else { return Ok(()) };
        // A folder that exists is refused in many words, most of them vague.
        match self.session.attributes(Ask::Stat(path)).await {
            Ok(attributes) if attributes.is_folder() != Some(false) => Ok(()),
            Ok(_) => Err(Trouble::new(FaultKind::Misconfigured, format!("`{path}` is there and is no folder"))),
            Err(_) => Err(self.explained(trouble, 0).await),
        }
    }

    async fn make_folders_above(&self, path: &str) -> Result<()> {
        let mut missing = vec![path];
        loop {
            let Some(last) = missing.last() else { return Ok(()) };
            match self.make_folder(last).await {
                Ok(()) => {
                    missing.pop();
                }
                Err(trouble) if trouble.kind == FaultKind::NotFound => {
                    let above = last.trim_end_matches('/').rsplit_once('/').map(|(above, _)| above);
                    match above.filter(|above| !above.is_empty()) {
                        Some(above) => missing.push(above),
                        None => return Err(trouble),
                    }
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// All files of one kind, and unfinished ones of ours that nobody works at any more, by their paths inside.
    pub(super) async fn list(&self, kind: FileKind) -> Result<(Vec<Listed>, Vec<String>)> {
        let mut folders = vec![kind.folder().to_owned()];
        if kind == FileKind::Pack {
            let is_two_digits =
                |name: &&str| name.len() == 2 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            let entries = self.session.folder_entries(self.path(kind.folder()).as_bytes()).await?;
            let is_folder = |attributes: &Attributes| attributes.is_folder() != Some(false);
            let names = entries.iter().filter(|(_, attributes)| is_folder(attributes));
            let names = names.filter_map(|(name, _)| std::str::from_utf8(name).ok()).filter(is_two_digits);
            folders = names.map(|name| format!("{}/{name}", kind.folder())).collect();
        }
        let parts: Vec<_> = folders.iter().map(|folder| self.list_folder(kind, folder)).collect();
        let parts: Vec<_> = stream::iter(parts).buffer_unordered(FOLDERS_AT_ONCE).try_collect().await?;
        let (mut found, mut leftovers) = (Vec::new(), Vec::new());
        for (files, unfinished) in parts {
            found.extend(files);
            leftovers.extend(unfinished);
        }
        // A server may begin anew when it is asked for more behind the end.
        found.sort_unstable();
        found.dedup_by_key(|listed| listed.id);
        Ok((found, leftovers))
    }

    async fn list_folder(&self, kind: FileKind, folder: &str) -> Result<(Vec<Listed>, Vec<String>)> {
        let entries = self.session.folder_entries(self.path(folder).as_bytes()).await?;
        // The newest time in a folder is a moment of the server's own clock that has passed; ours may differ from it.
        let newest = entries.iter().filter_map(|(_, attributes)| attributes.modified_seconds).max().unwrap_or(0);
        let stale_before = i64::from(newest) - temporary::LEFTOVER_AGE_SECONDS;
        let (mut found, mut leftovers) = (Vec::new(), Vec::new());
        for (name, attributes) in entries {
            let Ok(name) = std::str::from_utf8(&name) else { continue };
            let is_stale = || attributes.modified_seconds.is_some_and(|modified| i64::from(modified) < stale_before);
            if temporary::is_one(name) && is_stale() {
                leftovers.push(format!("{folder}/{name}"));
            }
            let Ok(id) = name.parse::<Id>() else { continue };
            // A file in the wrong one of the 256 folders cannot be read by its name: it is not there.
            let path = FileName::new(kind, id).path();
            if path.rsplit_once('/').map(|(above, _)| above) != Some(folder) {
                continue;
            }
            if let (Some(true), Some(size)) = (attributes.is_regular(), attributes.size) {
                found.push(Listed { id, size });
                continue;
            }
            // A link, or a server that says little in listings.
            match self.size(&path).await {
                Ok(size) => found.push(Listed { id, size }),
                Err(trouble) if matches!(trouble.kind, FaultKind::NotFound | FaultKind::Damaged) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Ok((found, leftovers))
    }

    /// The size of a regular file.
    pub(super) async fn size(&self, inside: &str) -> Result<u64> {
        regular_size(self.session.attributes(Ask::Stat(&self.path(inside))).await?)
    }

    /// Exactly the bytes that were asked for, in `buffer`, whatever was in it.
    pub(super) async fn read(&self, inside: &str, span: Span, buffer: Vec<u8>) -> Result<Vec<u8>> {
        let path = self.path(inside);
        let handle = self.session.open(Ask::OpenToRead(path.as_bytes())).await?;
        match span {
            Span::Whole => {
                // Most files are small: size and first piece come in one round trip.
                let first = self.session.piece(handle.name(), 0, self.session.read_bytes);
                let attributes = self.session.attributes(Ask::HandleStat(handle.name()));
                let (first, attributes) = futures::join!(first, attributes);
                let length = regular_size(attributes?)?;
                let first = if length == 0 { Bytes::new() } else { first? };
                if length < first.len() as u64 {
                    return Err(Trouble::damaged("the file became longer while it was read"));
                }
                self.pieces(handle.name(), 0, length, &first, buffer).await
            }
            Span::Range { offset, length } => self.pieces(handle.name(), offset, length, &[], buffer).await,
        }
    }

    /// `length` bytes from `offset`, of which the first are there already.
    async fn pieces(
        &self,
        handle: &Bytes,
        offset: u64,
        length: u64,
        first: &[u8],
        mut buffer: Vec<u8>,
    ) -> Result<Vec<u8>> {
        let cause = || format!("{length} bytes from {offset} were asked for and the file has less");
        let fits = usize::try_from(length).ok().filter(|_| length <= FILE_LIMIT_BYTES);
        let (Some(fits), Some(_)) = (fits, offset.checked_add(length)) else { return Err(Trouble::damaged(cause())) };
        if buffer.capacity() < fits {
            // New memory comes from the system as zeros, untouched.
            buffer = vec![0; fits];
        }
        buffer.resize(fits, 0);
        let (known, rest) = buffer.split_at_mut(first.len());
        known.copy_from_slice(first);
        let begin = offset + first.len() as u64;
        let step = self.session.read_bytes as usize;
        let pieces = (0_u64..).step_by(step).zip(rest.chunks_mut(step));
        let steps: Vec<_> = pieces.map(|(at, piece)| self.session.fill(handle, begin + at, piece)).collect();
        stream::iter(steps)
            .buffer_unordered(PIECES_AT_ONCE)
            .try_collect::<()>()
            .await
            .map_err(|trouble| if trouble.kind == FaultKind::Damaged { Trouble::damaged(cause()) } else { trouble })?;
        Ok(buffer)
    }

    /// Stores a file; nobody sees a part of it.
    pub(super) async fn write(&self, name: FileName, bytes: &Bytes) -> Result<()> {
        let path = self.path(&name.path());
        let suffix = temporary::suffix().map_err(|error| Trouble::new(FaultKind::Failing, error.to_string()))?;
        let temporary = format!("{path}{suffix}");
        let written = match self.write_temporary(&temporary, bytes).await {
            Err(trouble) if trouble.kind == FaultKind::NotFound => {
                self.make_missing_folder(name).await?;
                self.write_temporary(&temporary, bytes).await
            }
            other => other,
        };
        let settled = match written {
            Ok(()) => self.settle(&temporary, &path, name, bytes).await,
            Err(trouble) => Err(trouble),
        };
        match settled {
            Ok(()) => Ok(()),
            Err(trouble) => {
                let _ = self.session.done(Ask::Remove(&temporary)).await;
                Err(self.explained(trouble, bytes.len() as u64).await)
            }
        }
    }

    async fn write_temporary(&self, path: &str, bytes: &Bytes) -> Result<()> {
        let handle = self.session.open(Ask::OpenNew(path, FILE_MODE)).await?;
        let step = Flow::current().upload_step_bytes(self.session.write_bytes as usize);
        let starts = (0..bytes.len()).step_by(step);
        let pieces: Vec<_> = starts
            .map(|at| {
                let piece = bytes.slice(at..bytes.len().min(at + step));
                self.write_piece(handle.name(), at as u64, piece)
            })
            .collect();
        let filled = stream::iter(pieces).buffer_unordered(PIECES_AT_ONCE).try_collect::<()>().await;
        if filled.is_err() || !self.session.offers(wire::FSYNC) {
            // An open file keeps its room on the disk, also when it was removed.
            let closed = handle.close().await;
            return filled.and(closed);
        }
        // Both at once: a server works at one handle in the order in which it was asked.
        let name = handle.name().clone();
        let (synced, closed) = futures::join!(self.session.done(Ask::Fsync(&name)), handle.close());
        synced?;
        closed
    }

    async fn write_piece(&self, handle: &Bytes, offset: u64, piece: Bytes) -> Result<()> {
        if let Some(wait) = Flow::current().upload(piece.len()) {
            wait.await;
        }
        match self.session.ask_with(Ask::Write(handle, offset, piece.len()), piece).await? {
            Answer::Status { code, message } => trouble::of_status(code, &message),
            _ => Err(Trouble::protocol("another answer than a status")),
        }
    }

    /// Gives a finished file its name. A config file is never replaced.
    async fn settle(&self, temporary: &str, path: &str, name: FileName, bytes: &Bytes) -> Result<()> {
        if name.kind() == FileKind::Config {
            return self.settle_config(temporary, path, bytes).await;
        }
        if self.session.offers(wire::POSIX_RENAME) {
            return self.session.done(Ask::PosixRename(temporary, path)).await;
        }
        let Err(trouble) = self.session.done(Ask::Rename(temporary, path)).await else { return Ok(()) };
        // Without the extension a name that is taken is refused, mostly in vague words.
        if self.session.attributes(Ask::LinkStat(path.as_bytes())).await.is_err() {
            return Err(trouble);
        }
        let is_same = self.read(&name.path(), Span::Whole, Vec::new()).await.is_ok_and(|stored| stored == *bytes);
        if is_same {
            return self.session.done(Ask::Remove(temporary)).await;
        }
        self.remove(&name.path()).await?;
        self.session.done(Ask::Rename(temporary, path)).await
    }

    /// A hard link never replaces what is there, and a rename of version 3 must not; but some servers' does, so that
    /// without links the name is looked at before.
    async fn settle_config(&self, temporary: &str, path: &str, bytes: &Bytes) -> Result<()> {
        let taken = if self.session.offers(wire::HARDLINK) {
            match self.session.done(Ask::HardLink(temporary, path)).await {
                Ok(()) => return self.session.done(Ask::Remove(temporary)).await,
                Err(trouble) => trouble,
            }
        } else {
            Trouble::new(FaultKind::Exists, "another config file is there")
        };
        match self.session.attributes(Ask::LinkStat(path.as_bytes())).await {
            Ok(_) => {}
            // Links are offered, but not on this file system.
            Err(absent) if absent.kind == FaultKind::NotFound => {
                return self.session.done(Ask::Rename(temporary, path)).await;
            }
            Err(_) => return Err(taken),
        }
        if self.read(&FileName::CONFIG.path(), Span::Whole, Vec::new()).await? == *bytes {
            return self.session.done(Ask::Remove(temporary)).await;
        }
        Err(Trouble::new(FaultKind::Exists, "another config file is there"))
    }

    /// Makes the folder of a file on demand, but never a whole copy: where the root is missing (an unmounted disk at
    /// the server), a write must fail.
    async fn make_missing_folder(&self, name: FileName) -> Result<()> {
        self.session.attributes(Ask::Stat(&self.root)).await?;
        let path = name.path();
        for (slash, _) in path.match_indices('/') {
            self.make_folder(&self.path(path.get(..slash).unwrap_or_default())).await?;
        }
        Ok(())
    }

    /// Removes a file; one that is gone is a success.
    pub(super) async fn remove(&self, inside: &str) -> Result<()> {
        match self.session.done(Ask::Remove(&self.path(inside))).await {
            Err(trouble) if trouble.kind == FaultKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Finds out what lies behind a vague failure: SFTP has no word for a full disk.
    async fn explained(&self, trouble: Trouble, needed_bytes: u64) -> Trouble {
        if !trouble.is_vague || !self.session.offers(wire::STATVFS) {
            return trouble;
        }
        let Ok(Answer::Extended(reply)) = self.session.ask(Ask::FileSystem(&self.root)).await else { return trouble };
        let Ok(room) = wire::parse_room(reply) else { return trouble };
        if room.is_read_only {
            return Trouble::new(FaultKind::Denied, "the file system of the server is read-only");
        }
        if room.available_bytes < needed_bytes.max(ROOM_LEAST_BYTES) || !room.has_free_names {
            let cause = format!("the disk of the server is full: {} bytes are free", room.available_bytes);
            return Trouble::new(FaultKind::Full, cause);
        }
        trouble
    }
}

fn regular_size(attributes: Attributes) -> Result<u64> {
    if attributes.is_regular() == Some(false) {
        return Err(Trouble::damaged("not a regular file"));
    }
    attributes.size.ok_or_else(|| Trouble::protocol("a file without a size"))
}
