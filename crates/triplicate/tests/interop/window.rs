//! Where rustic cuts otherwise than restic and we do: it leaves a byte out of its window.
//!
//! At a chunk's least length rustic fills its window with 63 bytes, the first of the last 64, and goes on behind them:
//! the byte in front of the earliest cut is never in it (`rustic_core` 0.13, `chunker/rabin.rs`, over `rustic_cdc` 0.3).
//! So it misses cuts at the next 64 places and may see others: in about one chunk of 8,000. Nothing is lost by this, two
//! chunks are stored twice. Tests that want rustic's chunks to be ours take a repository in which it does not matter.

use format::{Chunker, Polynomial};

const WINDOW_BYTES: usize = 64;
const SPLIT_MASK: u64 = (1 << 20) - 1;

/// True where rustic would cut a file of these bytes at another place than restic.
pub fn matters(polynomial: Polynomial, mut file: &[u8]) -> bool {
    let chunker = Chunker::new(polynomial);
    while file.len() > Chunker::MIN_BYTES {
        let places = Chunker::MIN_BYTES..file.len().min(Chunker::MIN_BYTES + WINDOW_BYTES);
        let differs = |place| is_cut(polynomial, &window(file, place)) != is_cut(polynomial, &rustics(file, place));
        if places.into_iter().any(differs) {
            return true;
        }
        file = &file[chunker.cut(file)..];
    }
    false
}

/// The bytes on which restic decides whether a chunk ends at `place`.
fn window(file: &[u8], place: usize) -> Vec<u8> {
    file[place - WINDOW_BYTES..place].to_vec()
}

/// The bytes on which rustic does, no further than a window behind the least length.
fn rustics(file: &[u8], place: usize) -> Vec<u8> {
    let (before, behind) = (&file[..Chunker::MIN_BYTES - 1], &file[Chunker::MIN_BYTES..place]);
    let from_before = (WINDOW_BYTES - behind.len()).min(WINDOW_BYTES - 1);
    [&before[before.len() - from_before..], behind].concat()
}

/// The window's remainder by the polynomial, bit by bit.
fn is_cut(polynomial: Polynomial, window: &[u8]) -> bool {
    let mut digest = 0;
    for bit in window.iter().flat_map(|byte| (0..8).rev().map(move |bit| u64::from(byte >> bit & 1))) {
        digest = digest << 1 | bit;
        if digest >> Polynomial::DEGREE != 0 {
            digest ^= polynomial.0;
        }
    }
    digest & SPLIT_MASK == 0
}

/// Bytes that restic and we cut `beyond` bytes behind the least length of a chunk, and rustic does not.
pub fn cut_near_the_least(polynomial: Polynomial, beyond: usize, random: &mut testkit::Random) -> Vec<u8> {
    let place = Chunker::MIN_BYTES + beyond;
    let mut file = vec![0; Chunker::MIN_BYTES + (2 << 20)];
    random.fill(&mut file);
    loop {
        random.fill(&mut file[place - WINDOW_BYTES..place]);
        let is_ours = is_cut(polynomial, &window(&file, place)) && Chunker::new(polynomial).cut(&file) == place;
        if is_ours && !is_cut(polynomial, &rustics(&file, place)) {
            return file;
        }
    }
}
