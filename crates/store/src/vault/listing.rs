//! Listing the files of a kind, a piece at a time.
//!
//! Only regular files with a name of the kind, in the place of that name, are listed. A folder that cannot be read ends
//! the listing with an error and not early: whoever takes half a listing for a whole one removes what it needs.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use format::{FileKind, FileName};
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::{FOLDER_FLAGS, Vault};
use crate::error::StoreError;
use crate::names::RepositoryPlace;

/// A file in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name.
    pub name: FileName,
    /// Its length.
    pub bytes: u64,
}

/// A listing under way. As an iterator it gives each file, or one error at the end.
#[derive(Debug)]
pub struct Listing {
    vault: Vault,
    place: RepositoryPlace,
    kind: FileKind,
    /// The folders of packs that are yet to be read, the next one last.
    ahead: Vec<u8>,
    current: Option<Folder>,
    is_over: bool,
}

#[derive(Debug)]
struct Folder {
    handle: OwnedFd,
    entries: Dir,
    /// For packs: what their names begin with.
    prefix: Option<u8>,
    path: PathBuf,
}

impl Vault {
    /// Begins to list the files of a kind; `config` is a folder of at most one.
    ///
    /// # Errors
    /// When there is no such repository, or its folder cannot be opened.
    pub fn list(&self, place: &RepositoryPlace, kind: FileKind) -> Result<Listing, StoreError> {
        let mut listing = Listing {
            vault: self.clone(),
            place: place.clone(),
            kind,
            ahead: Vec::new(),
            current: None,
            is_over: false,
        };
        match kind {
            FileKind::Pack => {
                self.open_beneath(place, Some(kind.folder()), FOLDER_FLAGS)?;
                listing.ahead = (0..=u8::MAX).rev().collect();
            }
            FileKind::Config => listing.current = Some(listing.open(".", None)?),
            _ => listing.current = Some(listing.open(kind.folder(), None)?),
        }
        Ok(listing)
    }
}

impl Listing {
    fn open(&self, below: &str, prefix: Option<u8>) -> Result<Folder, StoreError> {
        let path = self.vault.path(&self.place, Some(below));
        let handle = self.vault.open_beneath(&self.place, Some(below), FOLDER_FLAGS)?;
        let entries = Dir::read_from(&handle).map_err(|error| StoreError::disk("list", &path, error))?;
        Ok(Folder { handle, entries, prefix, path })
    }

    fn advance(&mut self) -> Result<Option<Listed>, StoreError> {
        loop {
            if let Some(folder) = &mut self.current {
                if let Some(listed) = folder.next(self.kind)? {
                    return Ok(Some(listed));
                }
                self.current = None;
            }
            let Some(prefix) = self.ahead.pop() else { return Ok(None) };
            let below = format!("{}/{prefix:02x}", self.kind.folder());
            match self.open(&below, Some(prefix)) {
                Ok(folder) => self.current = Some(folder),
                // Whoever made the repository need not have made all of them.
                Err(error) if error.is_absent() => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Folder {
    fn next(&mut self, kind: FileKind) -> Result<Option<Listed>, StoreError> {
        let refused = |error| StoreError::disk("list", &self.path, error);
        while let Some(entry) = self.entries.read() {
            let entry = entry.map_err(refused)?;
            let Some(name) = name_of(entry.file_name().to_bytes(), kind, self.prefix) else { continue };
            match rustix::fs::statat(&self.handle, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(facts) if FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile => {
                    return Ok(Some(Listed { name, bytes: u64::try_from(facts.st_size).unwrap_or(0) }));
                }
                // Removed since its name was read, or no file at all.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(refused(error)),
            }
        }
        Ok(None)
    }
}

impl Iterator for Listing {
    type Item = Result<Listed, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let step = self.advance().transpose();
        self.is_over = !matches!(step, Some(Ok(_)));
        step
    }
}

/// The name that these bytes are, where it is one of the kind and in its place.
fn name_of(bytes: &[u8], kind: FileKind, prefix: Option<u8>) -> Option<FileName> {
    let text = std::str::from_utf8(bytes).ok()?;
    if kind == FileKind::Config {
        return (text == kind.folder()).then_some(FileName::CONFIG);
    }
    let name = FileName::new(kind, text.parse().ok()?);
    let is_in_place = prefix.is_none_or(|prefix| name.id().is_some_and(|id| id.as_bytes().first() == Some(&prefix)));
    is_in_place.then_some(name)
}
