//! One blob's place in a pack, and how a blob is opened.

use std::num::NonZeroU32;

use model::Id;

use crate::blob::{BlobKind, BlobName};
use crate::compression::Decompressor;
use crate::error::{FormatError, Result};
use crate::hash::hash;
use crate::seal::{MasterKey, SEAL_OVERHEAD_BYTES};

/// Where a blob stands in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PackedBlob {
    /// Chunk or listing.
    pub kind: BlobKind,
    /// SHA-256 of the plain text.
    pub id: Id,
    /// Bytes in the pack before it.
    pub offset: u32,
    /// Sealed length in the pack.
    pub length: u32,
    /// Length of the plain text when it is compressed; none when it is stored as it is.
    pub uncompressed_length: Option<NonZeroU32>,
}

impl PackedBlob {
    /// Its full name.
    pub fn name(&self) -> BlobName {
        BlobName { kind: self.kind, id: self.id }
    }

    /// Length of the plain text.
    pub fn plain_length(&self) -> u32 {
        match self.uncompressed_length {
            Some(length) => length.get(),
            None => self.length.saturating_sub(SEAL_OVERHEAD_BYTES as u32),
        }
    }

    /// The first byte behind it.
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }

    /// What every entry of a pack's header and of an index must meet, whoever wrote it.
    pub(crate) fn check(&self, what: &'static str) -> Result<()> {
        if (self.length as usize) < SEAL_OVERHEAD_BYTES {
            return Err(FormatError::malformed(what, format!("{} is shorter than its seal", self.name())));
        }
        if self.end() > u64::from(u32::MAX) {
            return Err(FormatError::malformed(what, format!("{} ends behind 4 GiB", self.name())));
        }
        if self.plain_length() as usize > self.kind.plain_bytes_max() {
            return Err(FormatError::TooLarge { what: "a blob (bytes)", limit: self.kind.plain_bytes_max() as u64 });
        }
        Ok(())
    }
}

impl PackedBlob {
    /// Decrypts a blob where it stands and gives its text as it is stored: compressed where the entry has an
    /// uncompressed length. The seal vouches for it, the id does not yet: whoever calls compares the plain text's hash,
    /// best with those of other blobs ([`crate::hash_each`]). [`open_blob`] does all of it for one blob.
    pub fn unseal<'a>(&self, master: &MasterKey, sealed: &'a mut [u8]) -> Result<&'a mut [u8]> {
        self.check("the blob's entry")?;
        if sealed.len() != self.length as usize {
            let why = format!("{} bytes instead of {}", sealed.len(), self.length);
            return Err(FormatError::malformed("a blob", why));
        }
        master.open_in_place(sealed).map_err(|_| FormatError::Sealed { what: "a blob" })
    }

    /// What is wrong with a plain text whose hash is `found` under this entry; nothing when it is the right one.
    pub fn judge(&self, found: Id) -> Result<()> {
        if found == self.id {
            return Ok(());
        }
        Err(FormatError::WrongContents { what: self.kind.word(), expected: self.id, found })
    }
}

/// Opens a blob: decrypts where it stands, decompresses, and checks that the plain text is what its id says.
pub fn open_blob(
    master: &MasterKey,
    entry: &PackedBlob,
    sealed: &mut [u8],
    decompressor: &mut Decompressor,
) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    open_blob_into(master, entry, sealed, decompressor, &mut plain)?;
    Ok(plain)
}

/// As [`open_blob`], into a buffer that is cleared first and may be used again.
pub fn open_blob_into(
    master: &MasterKey,
    entry: &PackedBlob,
    sealed: &mut [u8],
    decompressor: &mut Decompressor,
    plain: &mut Vec<u8>,
) -> Result<()> {
    plain.clear();
    let stored = entry.unseal(master, sealed)?;
    let length = entry.plain_length() as usize;
    if entry.uncompressed_length.is_some() {
        decompressor.decompress_into(stored, Some(length), entry.kind.plain_bytes_max(), plain)?;
    } else {
        plain.extend_from_slice(stored);
    }
    entry.judge(hash(plain)).inspect_err(|_| plain.clear())
}
