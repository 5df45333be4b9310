//! One copy, read for checking: no other copy ever helps, and every byte is checked against its name.
//!
//! What arrives damaged is read once more before it is called damaged, because a line can break bytes too. A place
//! that stops answering is given up after the first fault of that kind: its retries have waited long enough.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use destinations::{Destination, Listed, Span};
use format::{Decompressor, FileKind, FileName, FormatError, MasterKey, PackedBlob};
use model::{Fault, FaultKind};
use tokio::runtime::Handle;

/// Faults of a place that answers, one after the other, until it is given up.
const FAULTS_IN_A_ROW_MAX: u32 = 8;

/// Why a file cannot be used.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// Its bytes are wrong, or it is not there: a damage of this copy.
    Damaged(String),
    /// The whole copy cannot be read; nothing is known of the file.
    CopyLost,
}

pub(crate) type Read<T> = std::result::Result<T, Trouble>;

/// One copy under check.
pub(crate) struct Place<'a> {
    pub(crate) destination: &'a dyn Destination,
    pub(crate) runtime: &'a Handle,
    pub(crate) master: &'a MasterKey,
    lost: OnceLock<Fault>,
    faults_in_a_row: AtomicU32,
    read_again: AtomicU64,
    bytes_read: AtomicU64,
}

impl<'a> Place<'a> {
    pub(crate) fn new(destination: &'a dyn Destination, runtime: &'a Handle, master: &'a MasterKey) -> Self {
        Self {
            destination,
            runtime,
            master,
            lost: OnceLock::new(),
            faults_in_a_row: AtomicU32::new(0),
            read_again: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
        }
    }

    /// Why the copy was given up.
    pub(crate) fn lost(&self) -> Option<&Fault> {
        self.lost.get()
    }

    /// Files that arrived damaged once and sound at the second reading.
    pub(crate) fn read_again(&self) -> u64 {
        self.read_again.load(Ordering::Relaxed)
    }

    /// Bytes that arrived.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// All files of a kind; a copy that cannot be listed is lost.
    pub(crate) fn list(&self, kind: FileKind) -> Read<Vec<Listed>> {
        self.give_up_where_lost()?;
        self.runtime.block_on(self.destination.list(kind)).map_err(|fault| {
            let _ = self.lost.set(fault);
            Trouble::CopyLost
        })
    }

    /// Bytes as they arrive; nothing vouches for them.
    pub(crate) fn read(&self, name: FileName, span: Span) -> Read<Bytes> {
        self.arrived(span, || self.runtime.block_on(self.destination.read(name, span)))
    }

    /// As [`Place::read`], in `buffer`, whatever was in it.
    pub(crate) fn read_into(&self, name: FileName, span: Span, buffer: Vec<u8>) -> Read<Vec<u8>> {
        self.arrived(span, || self.runtime.block_on(self.destination.read_into(name, span, buffer)))
    }

    fn arrived<T: AsRef<[u8]>>(&self, span: Span, read: impl FnOnce() -> Result<T, Fault>) -> Read<T> {
        self.give_up_where_lost()?;
        match read() {
            Ok(bytes) => {
                self.faults_in_a_row.store(0, Ordering::Relaxed);
                let arrived = bytes.as_ref().len() as u64;
                self.bytes_read.fetch_add(arrived, Ordering::Relaxed);
                match span {
                    Span::Range { length, .. } if arrived != length => {
                        Err(Trouble::Damaged(format!("{arrived} of {length} bytes arrived")))
                    }
                    _ => Ok(bytes),
                }
            }
            Err(fault) => Err(self.failed(fault)),
        }
    }

    /// Reads and judges, and does both once more when the bytes were refused.
    pub(crate) fn read_twice<T>(&self, mut attempt: impl FnMut() -> Read<T>) -> Read<T> {
        match attempt() {
            Err(Trouble::Damaged(_)) => {
                let second = attempt();
                if second.is_ok() {
                    self.read_again.fetch_add(1, Ordering::Relaxed);
                }
                second
            }
            other => other,
        }
    }

    /// A whole small file whose bytes match its name.
    pub(crate) fn read_named(&self, name: FileName) -> Read<Bytes> {
        self.read_twice(|| {
            let bytes = self.read(name, Span::Whole)?;
            match name.id() {
                Some(id) if format::hash(&bytes) != id => Err(Trouble::Damaged(WRONG_NAME.to_owned())),
                _ => Ok(bytes),
            }
        })
    }

    /// A whole small file, checked against its name, opened and unpacked.
    pub(crate) fn read_sealed(&self, name: FileName) -> Read<Vec<u8>> {
        let sealed = self.read_named(name)?;
        format::open_file(self.master, &sealed).map_err(damaged)
    }

    /// The plain text of one blob.
    pub(crate) fn read_blob(&self, pack: FileName, entry: &PackedBlob) -> Read<Vec<u8>> {
        let span = Span::Range { offset: entry.offset.into(), length: entry.length.into() };
        self.read_twice(|| {
            let mut sealed = own(self.read(pack, span)?);
            format::open_blob(self.master, entry, &mut sealed, &mut Decompressor::new()).map_err(damaged)
        })
    }

    fn give_up_where_lost(&self) -> Read<()> {
        if self.lost.get().is_some() { Err(Trouble::CopyLost) } else { Ok(()) }
    }

    fn failed(&self, fault: Fault) -> Trouble {
        let is_about_the_file =
            matches!(fault.kind, FaultKind::NotFound | FaultKind::Damaged | FaultKind::Failing | FaultKind::Refused);
        let in_a_row = match fault.kind {
            FaultKind::NotFound | FaultKind::Damaged => 0,
            _ => self.faults_in_a_row.fetch_add(1, Ordering::Relaxed) + 1,
        };
        if is_about_the_file && in_a_row < FAULTS_IN_A_ROW_MAX {
            return Trouble::Damaged(match fault.kind {
                FaultKind::NotFound => NOT_THERE.to_owned(),
                _ => format!("cannot {} it: {}", fault.action, fault.cause),
            });
        }
        let _ = self.lost.set(fault);
        Trouble::CopyLost
    }
}

/// What is said of a file whose SHA-256 is not its name.
pub(crate) const WRONG_NAME: &str = "its bytes do not match its name";

/// What is said of a file that was looked for in vain.
pub(crate) const NOT_THERE: &str = "it is not there";

/// The words of the format crate as a damage.
pub(crate) fn damaged(error: FormatError) -> Trouble {
    Trouble::Damaged(error.to_string())
}

/// Bytes that may be decrypted in place, without a copy where nobody else holds them.
pub(crate) fn own(bytes: Bytes) -> bytes::BytesMut {
    bytes.try_into_mut().unwrap_or_else(|shared| bytes::BytesMut::from(&shared[..]))
}
