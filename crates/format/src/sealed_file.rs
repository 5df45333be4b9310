//! Unpacked files: snapshots, index files and locks, each sealed as a whole.
//!
//! In a version 1 repository the sealed text is plain JSON. In version 2 it is either JSON or a byte 2 followed by a
//! zstd frame; the first byte tells which, since JSON starts with `{` or `[`. `config` and key files never pass here.

use crate::compression::{Compression, Compressor, Decompressor};
use crate::error::{FormatError, Result};
use crate::seal::{MasterKey, NONCE_BYTES};

/// In front of a zstd frame in an unpacked file of a version 2 repository.
const COMPRESSED_PREFIX: u8 = 2;

/// The longest plain text of an unpacked file: an index of about a million blobs.
pub const FILE_PLAIN_BYTES_MAX: usize = 256 << 20;

/// What any file may grow to, however short it is.
const FILE_PLAIN_BYTES_FREE: usize = 16 << 20;

/// Beyond that, by how much a file may grow: ids are random and do not compress; a list of paths does, about 1:20.
const FILE_EXPANSION_MAX: usize = 200;

/// Seals an unpacked file for a repository of `version`. [`Compression::Off`] concerns chunks only: as with restic,
/// these files are compressed whenever the version has compression.
pub fn seal_file(master: &MasterKey, version: u32, compression: Compression, plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0; NONCE_BYTES];
    if version >= 2 {
        out.push(COMPRESSED_PREFIX);
        if Compressor::new(compression).append(plain, &mut out) {
            master.seal_in_place(&mut out, 0);
            return out;
        }
        out.truncate(NONCE_BYTES);
    }
    out.extend_from_slice(plain);
    master.seal_in_place(&mut out, 0);
    out
}

/// Opens an unpacked file of any version.
pub fn open_file(master: &MasterKey, sealed: &[u8]) -> Result<Vec<u8>> {
    let plain = master.open(sealed).map_err(|_| FormatError::Sealed { what: "the file" })?;
    match plain.first() {
        Some(b'{' | b'[') => Ok(plain),
        Some(&COMPRESSED_PREFIX) => {
            let frame = &plain[1..];
            let limit = frame.len().saturating_mul(FILE_EXPANSION_MAX).max(FILE_PLAIN_BYTES_FREE);
            Decompressor::new().decompress(frame, None, limit.min(FILE_PLAIN_BYTES_MAX))
        }
        Some(other) => {
            Err(FormatError::Unsupported { what: "the file", why: format!("unknown encoding {other:#04x}") })
        }
        None => Err(FormatError::malformed("the file", "empty")),
    }
}
