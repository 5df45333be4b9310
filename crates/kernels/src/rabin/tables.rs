//! The fingerprint byte by byte: tables, and the scan that every other one is measured and proven against.

use super::{DEGREE, SPLIT_MASK, WINDOW_BYTES};

/// How many places are hashed at once. Measured: more do not help, their digests no longer fit the registers.
const LANES: usize = 4;

/// How far each lane goes before all are looked at. Not a power of two: lanes at such distances would fight for the
/// same sets of the first-level cache.
const LANE_BYTES: usize = 4096 + 192;

/// What all lanes together read: their stretches, and the window in front of the first.
const BLOCK_BYTES: usize = WINDOW_BYTES + LANES * LANE_BYTES;

#[derive(Clone)]
pub(super) struct Tables {
    /// `expired[b]` = b · x^512 mod P: what a byte adds to the fingerprint when it is one step out of the window.
    expired: [u64; 256],
    /// `reduced[t]` = t · x^53, plus its remainder mod P: one xor clears the 8 bits above the degree and reduces.
    reduced: [u64; 256],
}

/// What a step over several lanes came to.
enum Scan {
    /// The first cut ends here.
    Cut(usize),
    /// No cut; go on from here.
    NoCut(usize),
}

/// `value` mod `polynomial`, which is of degree 53.
fn remainder(mut value: u64, polynomial: u64) -> u64 {
    while value >> DEGREE != 0 {
        value ^= polynomial << (value.ilog2() - DEGREE);
    }
    value
}

impl Tables {
    pub(super) fn new(polynomial: u64) -> Box<Self> {
        let mut tables = Box::new(Self { expired: [0; 256], reduced: [0; 256] });
        for byte in 0..256_u64 {
            let top = byte << DEGREE;
            tables.reduced[byte as usize] = remainder(top, polynomial) | top;
            tables.expired[byte as usize] =
                (0..WINDOW_BYTES).fold(byte, |digest, _| remainder(digest << 8, polynomial));
        }
        tables
    }

    /// b · x^512 mod P.
    pub(super) fn expired(&self, byte: u8) -> u64 {
        self.expired[usize::from(byte)]
    }

    /// t · x^53 mod P.
    pub(super) fn reduced(&self, top: u8) -> u64 {
        self.reduced[usize::from(top)] & ((1 << DEGREE) - 1)
    }

    #[inline(always)]
    fn append(&self, digest: u64, byte: u8) -> u64 {
        // A digest is below 2^53, so the index is exactly its top 8 bits.
        ((digest << 8) | u64::from(byte)) ^ self.reduced[usize::from((digest >> (DEGREE - 8)) as u8)]
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

    /// The first cut from `from` to `to`, both included, byte by byte. Asks for 64 ≤ `from` and `to` ≤ `data.len()`.
    pub(super) fn scan_one(&self, data: &[u8], from: usize, to: usize) -> Option<usize> {
        if from > to {
            return None;
        }
        let mut digest = self.digest_before(data, from);
        if digest & SPLIT_MASK == 0 {
            return Some(from);
        }
        let pairs = data[from..to].iter().zip(&data[from - WINDOW_BYTES..]);
        for (passed, (&byte, &expired)) in pairs.enumerate() {
            digest = self.roll(digest, byte, expired);
            if digest & SPLIT_MASK == 0 {
                return Some(from + passed + 1);
            }
        }
        None
    }

    /// As [`Tables::scan_one`], at four places at once: one fingerprint alone is a chain of dependent loads that
    /// leaves most of a core idle.
    pub(super) fn scan_plain(&self, data: &[u8], from: usize, to: usize) -> Option<usize> {
        let mut at = from;
        while let Some(found) = self.scan_lanes(&data[..to], at) {
            match found {
                Scan::Cut(end) => return Some(end),
                Scan::NoCut(next) => at = next,
            }
        }
        self.scan_one(data, at, to)
    }

    /// Looks for the first cut in the next `LANES` stretches from `at` on; none when so much is not left.
    fn scan_lanes(&self, data: &[u8], at: usize) -> Option<Scan> {
        // An array of known length, so that no index in the loop below needs a check.
        let block: &[u8; BLOCK_BYTES] = data.get(at - WINDOW_BYTES..)?.first_chunk()?;
        let end = at + LANES * LANE_BYTES;
        let mut digests: [u64; LANES] = std::array::from_fn(|lane| self.digest_before(data, at + lane * LANE_BYTES));
        let mut hit = digests[0] & SPLIT_MASK == 0;
        for step in 0..LANE_BYTES {
            for (lane, digest) in digests.iter_mut().enumerate() {
                let expired = lane * LANE_BYTES + step;
                *digest = self.roll(*digest, block[expired + WINDOW_BYTES], block[expired]);
                hit |= *digest & SPLIT_MASK == 0;
            }
            if hit {
                // Rare: once per chunk. A lane further back may still hold an earlier cut, so they are gone through
                // again in order.
                return Some(self.scan_one(data, at, end).map_or(Scan::NoCut(end + 1), Scan::Cut));
            }
        }
        Some(Scan::NoCut(end + 1))
    }
}
