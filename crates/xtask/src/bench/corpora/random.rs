//! Incompressible bytes from a seed, and the dice of all other corpora.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

pub(super) const SEED: u64 = 0x7472_6970_6c69_6361;
const BUFFER_BYTES: usize = 1 << 20;
/// BIG is few large files.
const BIG_FILES: usize = 2;

/// SplitMix64: incompressible, reproducible, fast; nobody's security depends on it.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.next().to_le_bytes()[..piece.len()]);
        }
    }
}

pub(super) fn write_big(folder: &Path, bytes: usize) -> io::Result<()> {
    let mut random = Random::new(SEED);
    let mut buffer = vec![0; BUFFER_BYTES];
    for number in 0..BIG_FILES {
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(folder.join(format!("random-{number}")))?);
        let mut left = bytes / BIG_FILES;
        while left > 0 {
            let piece = left.min(BUFFER_BYTES);
            random.fill(&mut buffer[..piece]);
            file.write_all(&buffer[..piece])?;
            left -= piece;
        }
        file.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_bytes() {
        let mut random = Random::new(1);
        assert_eq!((random.next(), random.next()), (0x910a_2dec_8902_5cc1, 0xbeeb_8da1_658e_ec67));
        let mut bytes = [0; 11];
        Random::new(1).fill(&mut bytes);
        assert_eq!(bytes[..8], 0x910a_2dec_8902_5cc1_u64.to_le_bytes());
        assert_eq!(bytes[8..], 0xbeeb_8da1_658e_ec67_u64.to_le_bytes()[..3]);
    }
}
