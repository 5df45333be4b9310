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

/// How many places are hashed at once. Measured: more do not help, their digests no longer fit the registers.
const LANES: usize = 4;

/// How far each lane goes before all are looked at. Not a power of two: lanes at such distances would fight for the
/// same sets of the first-level cache.
const LANE_BYTES: usize = 4096 + 192;

/// What all lanes together read: their stretches, and the window in front of the first.
const BLOCK_BYTES: usize = WINDOW_BYTES + LANES * LANE_BYTES;

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
        let mut at = Self::MIN_BYTES;
        if self.tables.digest_before(data, at) & SPLIT_MASK == 0 {
            return at;
        }
        while let Some(found) = self.tables.scan_lanes(data, at) {
            match found {
                Scan::Cut(end) => return end,
                Scan::NoCut(next) => at = next,
            }
        }
        self.tables.scan_one(data, at).unwrap_or(data.len())
    }
}

/// What a step over several lanes came to.
enum Scan {
    /// The first cut ends here.
    Cut(usize),
    /// No cut; go on from here.
    NoCut(usize),
}

impl Tables {
    #[inline(always)]
    fn append(&self, digest: u64, byte: u8) -> u64 {
        // A digest is below 2^53, so the index is exactly its top 8 bits.
        ((digest << 8) | u64::from(byte)) ^ self.reduced[usize::from((digest >> (Polynomial::DEGREE - 8)) as u8)]
    }

    /// The digest after a byte came and the one of 64 bytes ago went.
    #[inline(always)]
    fn roll(&self, digest: u64, byte: u8, expired: u8) -> u64 {
        self.append(digest, byte) ^ self.expired[usize::from(expired)]
    }

    /// The fingerprint of the window that ends at `at`.
    fn digest_before(&self, data: &[u8], at: usize) -> u64 {
        data[at - WINDOW_BYTES..at].iter().fold(0, |digest, &byte| self.append(digest, byte))
    }

    /// Looks for the first cut in the next `LANES` stretches behind `at`, all at once; none when so much is not left.
    fn scan_lanes(&self, data: &[u8], at: usize) -> Option<Scan> {
        // An array of known length, so that no index in the loop below needs a check.
        let block: &[u8; BLOCK_BYTES] = data.get(at - WINDOW_BYTES..)?.first_chunk()?;
        let end = at + LANES * LANE_BYTES;
        let mut digests: [u64; LANES] = std::array::from_fn(|lane| self.digest_before(data, at + lane * LANE_BYTES));
        for step in 0..LANE_BYTES {
            let mut hit = false;
            for (lane, digest) in digests.iter_mut().enumerate() {
                let expired = lane * LANE_BYTES + step;
                *digest = self.roll(*digest, block[expired + WINDOW_BYTES], block[expired]);
                hit |= *digest & SPLIT_MASK == 0;
            }
            if hit {
                // Rare: once per chunk. A lane further back may still hold an earlier cut, so they are gone through
                // again in order.
                return Some(self.scan_one(&data[..end], at).map_or(Scan::NoCut(end), Scan::Cut));
            }
        }
        Some(Scan::NoCut(end))
    }

    /// Looks for the first cut behind `at`, byte by byte.
    fn scan_one(&self, data: &[u8], at: usize) -> Option<usize> {
        let mut digest = self.digest_before(data, at);
        let pairs = data[at..].iter().zip(&data[at - WINDOW_BYTES..]);
        for (passed, (&byte, &expired)) in pairs.enumerate() {
            digest = self.roll(digest, byte, expired);
            if digest & SPLIT_MASK == 0 {
                return Some(at + passed + 1);
            }
        }
        None
    }
}
