//! Every kind of place that can hold a copy, behind one small trait.
//!
//! A destination stores whole files under the names of [`format::FileName`] and knows nothing of what is in them.
//! Retry, stall limits and (in tests) faults are decorators around the same trait, so that any of them can be put
//! anywhere.

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use model::{Fault, Id};

/// A file that a listing showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its id.
    pub id: Id,
    /// Its size in bytes.
    pub size: u64,
}

/// Which bytes of a file to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// All of it.
    Whole,
    /// `length` bytes from `offset`; a shorter answer is a fault.
    Range {
        /// First byte.
        offset: u64,
        /// How many.
        length: u64,
    },
}

/// A place that holds one copy of one repository.
///
/// Every verb is complete or a fault: a listing that broke off, a read that came back short and a write of which
/// nobody said that it is safe are all `Err`. "Not there" is [`model::FaultKind::NotFound`] and is never used for
/// "could not look".
#[async_trait]
pub trait Destination: Send + Sync + std::fmt::Debug {
    /// What to call this place in front of people: an address without secrets.
    fn place(&self) -> &str;

    /// Makes the empty layout of a repository (folders, the server's account space). Harmless when it is there.
    async fn create(&self) -> Result<(), Fault>;

    /// All files of one kind, in no order. Names that the format does not know are left out. For
    /// [`FileKind::Config`] use [`Destination::stat`].
    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault>;

    /// The size of a file in bytes.
    async fn stat(&self, name: FileName) -> Result<u64, Fault>;

    /// The bytes of a file. They are not checked against the name here: that is the reader's duty, which holds the key.
    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault>;

    /// Stores a whole file; when this returns, it survives a power cut, and no reader ever saw a part of it. The same
    /// bytes under the same name are a success; other bytes replace a file named by its hash (the old ones were
    /// damaged), but never `config`.
    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault>;

    /// Removes a file; one that is not there is a success.
    async fn remove(&self, name: FileName) -> Result<(), Fault>;
}
