//! Where a file is cut into chunks: at the same places as restic, or nothing would be deduplicated between the two.
//!
//! restic rolls a Rabin fingerprint over a window of 64 bytes and cuts behind a byte where its lowest 20 bits are
//! zero, never before 512 KiB and always at 8 MiB. The rules live here, the fingerprint in [`kernels::rabin`]: it
//! depends on the last 64 bytes only, so the first 512 KiB of a chunk are not looked at.
//!
//! This room reads no files and keeps no state between calls.

use kernels::rabin::Scanner;

use crate::polynomial::Polynomial;

/// Cuts a repository's files. Made once per repository: its tables cost more than hashing a small file.
#[derive(Debug, Clone)]
pub struct Chunker {
    scanner: Scanner,
}

impl Chunker {
    /// No chunk is shorter, except the last of a file.
    pub const MIN_BYTES: usize = 512 << 10;
    /// The distance between cuts in random data, beyond the minimum.
    pub const AVERAGE_BYTES: usize = 1 << 20;
    /// No chunk is longer.
    pub const MAX_BYTES: usize = 8 << 20;

    /// Prepares the tables for a polynomial of degree 53, which [`crate::Config`] has checked.
    pub fn new(polynomial: Polynomial) -> Self {
        Self { scanner: Scanner::new(polynomial.0) }
    }

    /// Length of the first chunk of `data`, which starts at a chunk's start. Data shorter than
    /// [`Chunker::MAX_BYTES`] must run to the end of the file: then all of it may be the chunk.
    pub fn cut(&self, data: &[u8]) -> usize {
        let longest = data.len().min(Self::MAX_BYTES);
        if longest <= Self::MIN_BYTES {
            return longest;
        }
        self.scanner.first_cut(data, Self::MIN_BYTES, longest).unwrap_or(longest)
    }
}
