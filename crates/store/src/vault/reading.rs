//! Reading files: their length, and pieces of them.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use format::FileName;
use model::Id;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::Vault;
use crate::error::StoreError;
use crate::names::RepositoryPlace;

/// A file is hashed in pieces of this size.
const HASH_PIECE_BYTES: usize = 1 << 20;

/// A file that is open for reading. It stays whole, as it was when it was opened, also when it is removed or replaced.
#[derive(Debug, Clone)]
pub struct StoredFile {
    file: Arc<OwnedFd>,
    bytes: u64,
    path: PathBuf,
}

impl Vault {
    /// Opens a file.
    ///
    /// # Errors
    /// When it is absent, no regular file, or cannot be opened.
    pub fn open_file(&self, place: &RepositoryPlace, name: FileName) -> Result<StoredFile, StoreError> {
        self.open_as(place, name, OFlags::RDONLY)
    }

    /// The length of a file.
    ///
    /// # Errors
    /// When it is absent or no regular file.
    pub fn stat(&self, place: &RepositoryPlace, name: FileName) -> Result<u64, StoreError> {
        self.open_as(place, name, OFlags::PATH).map(|file| file.bytes)
    }

    fn open_as(&self, place: &RepositoryPlace, name: FileName, flags: OFlags) -> Result<StoredFile, StoreError> {
        let below = name.path();
        let file = self.open_beneath(place, Some(&below), flags)?;
        let path = self.path(place, Some(&below));
        let facts = rustix::fs::fstat(&file).map_err(|error| StoreError::disk("stat", &path, error))?;
        if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile {
            return Err(StoreError::disk("open", &path, std::io::Error::other("it is no regular file")));
        }
        Ok(StoredFile { file: Arc::new(file), bytes: u64::try_from(facts.st_size).unwrap_or(0), path })
    }
}

impl StoredFile {
    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// `length` bytes from `offset` on.
    ///
    /// # Errors
    /// When they cannot be read, or the file has become shorter.
    pub fn read(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let mut buffer: Vec<u8> = Vec::with_capacity(length);
        while buffer.len() < length {
            let at = offset + buffer.len() as u64;
            match rustix::io::pread(&*self.file, rustix::buffer::spare_capacity(&mut buffer), at) {
                Ok(0) => return Err(self.refused(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(self.refused(error.into())),
            }
        }
        // An allocation may be larger than what was asked for.
        buffer.truncate(length);
        Ok(Bytes::from(buffer))
    }

    /// The SHA-256 of its content.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn id(&self) -> Result<Id, StoreError> {
        let mut hash = Sha256::new();
        let mut offset = 0;
        while offset < self.bytes {
            let length =
                usize::try_from(self.bytes - offset).map_or(HASH_PIECE_BYTES, |rest| rest.min(HASH_PIECE_BYTES));
            hash.update(self.read(offset, length)?);
            offset += length as u64;
        }
        Ok(Id::from_bytes(hash.finalize().into()))
    }

    fn refused(&self, error: std::io::Error) -> StoreError {
        StoreError::disk("read", &self.path, error)
    }
}
