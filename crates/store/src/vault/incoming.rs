//! A file on its way in: written where no listing looks, hashed while it is written, and given its name when it is whole.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use format::{FileKind, FileName};
use kernels::sha256::{self, Stream};
use model::Id;
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

use super::{FILE_MODE, FOLDER_FLAGS, FOLDER_MODE, INCOMING, Root, Vault, split};
use crate::error::StoreError;
use crate::names::RepositoryPlace;

/// The system takes no more pieces in one call.
const PIECES_MAX: usize = 1024;

/// A file that is being received. Dropping it removes what was written, unless it was placed.
#[derive(Debug)]
pub struct Incoming {
    root: Arc<Root>,
    file: OwnedFd,
    name: String,
    hash: Stream,
    is_placed: bool,
}

/// What became of a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It is durable under its name.
    Stored,
    /// These bytes were there before, and are durable. Only `config` is told apart so; hashed names are stored anew.
    Same,
    /// Other bytes have the name. Nothing was changed.
    Taken,
}

impl Vault {
    /// A new file on its way in.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn incoming(&self) -> Result<Incoming, StoreError> {
        let root = Arc::clone(&self.root);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = format!("{:016x}", root.next.fetch_add(1, Ordering::Relaxed));
        let file = rustix::fs::openat(&root.incoming, name.as_str(), flags, FILE_MODE)
            .map_err(|error| StoreError::disk("create", root.folder.join(INCOMING).join(&name), error))?;
        Ok(Incoming { root, file, name, hash: Stream::new(), is_placed: false })
    }
}

impl Incoming {
    /// Hashes and writes the next bytes, which came in `pieces`. They are not joined: the system takes them as they are.
    ///
    /// # Errors
    /// When they cannot be written; what was received is of no use then.
    pub fn write(&mut self, pieces: &[Bytes]) -> Result<(), StoreError> {
        pieces.iter().for_each(|piece| self.hash.update(piece));
        self.write_hashed(pieces)
    }

    fn write_hashed(&self, pieces: &[Bytes]) -> Result<(), StoreError> {
        for group in pieces.chunks(PIECES_MAX) {
            let slices = group.iter().filter(|piece| !piece.is_empty()).map(|piece| IoSlice::new(piece));
            let mut slices: Vec<IoSlice<'_>> = slices.collect();
            let mut rest = slices.as_mut_slice();
            while !rest.is_empty() {
                match rustix::io::writev(&self.file, rest) {
                    Ok(0) => return Err(self.refused("write", Errno::NOSPC)),
                    Ok(written) => IoSlice::advance_slices(&mut rest, written),
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(self.refused("write", error)),
                }
            }
        }
        Ok(())
    }

    /// How many bytes were written.
    pub fn bytes(&self) -> u64 {
        self.hash.bytes()
    }

    /// The SHA-256 of what was written.
    pub fn id(&self) -> Id {
        Id::from_bytes(self.hash.clone().finish())
    }

    /// Gives the file its name, durably. The caller has compared [`Incoming::id`] with it, and lets nobody else work
    /// on this name meanwhile.
    ///
    /// A hashed name that is taken is replaced: the bytes were just proven right, and those on the disk may have rotted.
    ///
    /// # Errors
    /// When it cannot be made durable or named. Whether it has its name is not known when the last sync failed; the
    /// client's next attempt finds out.
    pub fn place(mut self, place: &RepositoryPlace, name: FileName) -> Result<Placed, StoreError> {
        let vault = Vault { root: Arc::clone(&self.root) };
        let (below, leaf) = split(name);
        let folder = open_or_make(&vault, place, name.kind(), &below)?;
        if name.kind() == FileKind::Config
            && let Some(placed) = self.compare_with_config(&vault, place)?
        {
            // What an attempt before this one wrote may not be durable yet.
            vault.sync(folder.as_fd(), place)?;
            return Ok(placed);
        }
        rustix::fs::fsync(&self.file).map_err(|error| self.refused("sync", error))?;
        rustix::fs::renameat(&self.root.incoming, self.name.as_str(), &folder, leaf.as_str())
            .map_err(|error| StoreError::disk("name", vault.path(place, Some(&name.path())), error))?;
        self.is_placed = true;
        vault.sync(folder.as_fd(), place)?;
        Ok(Placed::Stored)
    }

    fn compare_with_config(&self, vault: &Vault, place: &RepositoryPlace) -> Result<Option<Placed>, StoreError> {
        let there = match vault.open_file(place, FileName::CONFIG) {
            Ok(there) => there,
            Err(error) if error.is_absent() => return Ok(None),
            Err(error) => return Err(error),
        };
        // Another length is another content; so a huge file that somebody left there is not read.
        let is_same = there.bytes() == self.bytes() && there.id()? == self.id();
        Ok(Some(if is_same { Placed::Same } else { Placed::Taken }))
    }

    fn refused(&self, action: &'static str, error: Errno) -> StoreError {
        StoreError::disk(action, self.root.folder.join(INCOMING).join(&self.name), error)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.is_placed {
            // What cannot be removed now is swept when a server starts next.
            let _ = rustix::fs::unlinkat(&self.root.incoming, self.name.as_str(), AtFlags::empty());
        }
    }
}

/// Writes the next bytes of two files, and hashes them side by side, which is faster than one after the other.
pub fn write_two(one: (&mut Incoming, &[Bytes]), other: (&mut Incoming, &[Bytes])) -> [Result<(), StoreError>; 2] {
    let (mut pieces, mut other_pieces) = (Pieces::of(one.1), Pieces::of(other.1));
    loop {
        let (first, second) = (pieces.rest(), other_pieces.rest());
        // Together for as long as both have something.
        let both = if first.is_empty() || second.is_empty() {
            first.len().max(second.len())
        } else {
            first.len().min(second.len())
        };
        if both == 0 {
            break;
        }
        let [first, second] = [first, second].map(|rest| rest.get(..both).unwrap_or_default());
        sha256::update_two((&mut one.0.hash, first), (&mut other.0.hash, second));
        pieces.skip(first.len());
        other_pieces.skip(second.len());
    }
    [one.0.write_hashed(one.1), other.0.write_hashed(other.1)]
}

/// Pieces one after the other, as far as they are not done.
struct Pieces<'a> {
    pieces: std::slice::Iter<'a, Bytes>,
    rest: &'a [u8],
}

impl<'a> Pieces<'a> {
    fn of(pieces: &'a [Bytes]) -> Self {
        Self { pieces: pieces.iter(), rest: &[] }
    }

    /// What is left of the next piece; nothing after the last.
    fn rest(&mut self) -> &'a [u8] {
        while self.rest.is_empty() {
            let Some(next) = self.pieces.next() else { break };
            self.rest = next;
        }
        self.rest
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }
}

/// The folder of a file. One of the 256 folders of packs is made when it is missing; a repository is not.
fn open_or_make(vault: &Vault, place: &RepositoryPlace, kind: FileKind, below: &str) -> Result<OwnedFd, StoreError> {
    match vault.open_beneath(place, Some(below), FOLDER_FLAGS) {
        Err(error) if error.is_absent() && kind == FileKind::Pack => {}
        answer => return answer,
    }
    let packs = vault.open_beneath(place, Some(kind.folder()), FOLDER_FLAGS)?;
    let name = below.rsplit('/').next().unwrap_or(below);
    match rustix::fs::mkdirat(&packs, name, FOLDER_MODE) {
        Ok(()) | Err(Errno::EXIST) => vault.sync(packs.as_fd(), place)?,
        Err(error) => return Err(StoreError::disk("create", vault.path(place, Some(below)), error)),
    }
    vault.open_beneath(place, Some(below), FOLDER_FLAGS)
}
