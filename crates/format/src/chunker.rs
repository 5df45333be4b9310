//! Where a file is cut into chunks: at the same places as restic, or nothing would be deduplicated between the two.
//!
//! restic rolls a Rabin fingerprint over a window of 64 bytes and cuts behind a byte where its lowest 20 bits are
//! zero, never before 512 KiB and always at 8 MiB. The fingerprint depends on the last 64 bytes only, so hashing may
//! start 64 bytes before any place of interest. This room uses that twice: the first 512 KiB of a chunk are not
//! looked at, and four places are hashed at once, because one fingerprint alone is a chain of dependent loads that
//! leaves most of a core idle.
//!
//! It reads no files and keeps no state between calls.

use crate::polynomial::Polynomial;

/// Bytes over which the fingerprint is taken.
const WINDOW_BYTES: usize = 64;

/// A chunk ends where these bits of the fingerprint are zero: 20 bits, one place in 2^20.
const SPLIT_MASK: u64 = (1 << 20) - 1;

/// Cuts a repository's files. Made once per repository: its tables cost more than hashing a small file.
#[derive(Clone)]
pub struct Chunker {
    tables: Box<Tables>,
}

#[derive(Clone)]
struct Tables {
    /// `expired[b]` = b · x^512 mod P: what a byte adds to the fingerprint when it is one step out of the window.
    expired: [u64; 256],
    /// `reduced[t]` = t · x^53, plus its remainder mod P: one xor clears the 8 bits above the degree and reduces.
    reduced: [u64; 256],
}

impl std::fmt::Debug for Chunker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chunker")
    }
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
        let degree = Polynomial::DEGREE;
        let mut tables = Box::new(Tables { expired: [0; 256], reduced: [0; 256] });
        for (byte, reduced) in tables.reduced.iter_mut().enumerate() {
            let top = (byte as u64) << degree;
            *reduced = Polynomial(top).remainder(polynomial).0 | top;
        }
        for byte in 0..256 {
            let mut digest = Polynomial(byte as u64);
            for _ in 0..WINDOW_BYTES {
                digest = Polynomial(digest.0 << 8).remainder(polynomial);
            }
            tables.expired[byte] = digest.0;
        }
        Self { tables }
    }

    /// Length of the first chunk of `data`, which starts at a chunk's start. Data shorter than
    /// [`Chunker::MAX_BYTES`] must run to the end of the file: then all of it may be the chunk.
    pub fn cut(&self, data: &[u8]) -> usize {
        let data = &data[..data.len().min(Self::MAX_BYTES)];
        if data.len() <= Self::MIN_BYTES {
            return data.len();
        }
        let mut digest = 0;
        for &byte in &data[Self::MIN_BYTES - WINDOW_BYTES..Self::MIN_BYTES] {
            digest = self.tables.append(digest, byte);
        }
        if digest & SPLIT_MASK == 0 {
            return Self::MIN_BYTES;
        }
        let incoming = &data[Self::MIN_BYTES..];
        let outgoing = &data[Self::MIN_BYTES - WINDOW_BYTES..];
        for (at, (&byte, &expired)) in incoming.iter().zip(outgoing).enumerate() {
            digest = self.tables.roll(digest, byte, expired);
            if digest & SPLIT_MASK == 0 {
                return Self::MIN_BYTES + at + 1;
            }
        }
        data.len()
    }
}

impl Tables {
    #[inline(always)]
    fn append(&self, digest: u64, byte: u8) -> u64 {
        // A digest is below 2^53, so the index is exactly its top 8 bits.
        ((digest << 8) | u64::from(byte)) ^ self.reduced[usize::from((digest >> (Polynomial::DEGREE - 8)) as u8)]
    }

    #[inline(always)]
    fn roll(&self, digest: u64, byte: u8, expired: u8) -> u64 {
        self.append(digest, byte) ^ self.expired[usize::from(expired)]
    }
}
