//! Messages that come in pieces: hashed as far as they have come, two of them together where they come together.

use std::fmt;

use sha2::block_api::compress256;

use super::{BLOCK_BYTES, HASH_BYTES};
use crate::cpu::Features;

/// FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// The byte after the message.
const END_MARK: u8 = 0x80;
/// Where in the last block the length of the message stands, in bits.
const LENGTH_AT: usize = BLOCK_BYTES - size_of::<u64>();

type Block = [u8; BLOCK_BYTES];

/// What has been hashed so far of one message.
#[derive(Clone)]
pub struct Stream {
    words: [u32; 8],
    /// What has come of a block that is not whole yet.
    open: Block,
    bytes: u64,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

impl Stream {
    /// Nothing hashed yet.
    pub const fn new() -> Self {
        Self { words: INITIAL, open: [0; BLOCK_BYTES], bytes: 0 }
    }

    /// How many bytes have come.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        let blocks = self.take(piece);
        compress256(&mut self.words, blocks);
    }

    /// The hash of all pieces.
    pub fn finish(mut self) -> [u8; HASH_BYTES] {
        let bits = self.bytes.wrapping_mul(8);
        let open = self.open_bytes();
        self.open[open] = END_MARK;
        self.open[open + 1..].fill(0);
        if open + 1 > LENGTH_AT {
            compress256(&mut self.words, &[self.open]);
            self.open.fill(0);
        }
        self.open[LENGTH_AT..].copy_from_slice(&bits.to_be_bytes());
        compress256(&mut self.words, &[self.open]);
        let mut hash = [0; HASH_BYTES];
        for (place, word) in hash.chunks_exact_mut(size_of::<u32>()).zip(self.words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        hash
    }

    const fn open_bytes(&self) -> usize {
        (self.bytes % BLOCK_BYTES as u64) as usize
    }

    /// Counts a piece, hashes the block that it ends, keeps what it begins. What is left are the blocks in between, which
    /// the caller hashes.
    fn take<'a>(&mut self, piece: &'a [u8]) -> &'a [Block] {
        let open = self.open_bytes();
        self.bytes = self.bytes.wrapping_add(piece.len() as u64);
        let (first, rest) = piece.split_at(if open == 0 { 0 } else { piece.len().min(BLOCK_BYTES - open) });
        self.open[open..open + first.len()].copy_from_slice(first);
        if open > 0 && open + first.len() == BLOCK_BYTES {
            compress256(&mut self.words, &[self.open]);
        }
        let (blocks, last) = rest.as_chunks();
        self.open[..last.len()].copy_from_slice(last);
        blocks
    }
}

/// Takes the next pieces of two messages. The nearer their lengths, the more is won.
pub fn update_two(one: (&mut Stream, &[u8]), other: (&mut Stream, &[u8])) {
    update_two_with(Features::get(), one, other);
}

/// As [`update_two`], with what `features` allow.
pub fn update_two_with(features: Features, one: (&mut Stream, &[u8]), other: (&mut Stream, &[u8])) {
    let (one, other) = ((one.0.take(one.1), one.0), (other.0.take(other.1), other.0));
    let both = if features.sha_ni { one.0.len().min(other.0.len()) } else { 0 };
    let ((both_one, rest_one), (both_other, rest_other)) = (one.0.split_at(both), other.0.split_at(both));
    compress_two([&mut one.1.words, &mut other.1.words], [both_one, both_other]);
    compress256(&mut one.1.words, rest_one);
    compress256(&mut other.1.words, rest_other);
}

/// Takes blocks of two messages, of both as many.
fn compress_two(words: [&mut [u32; 8]; 2], blocks: [&[Block]; 2]) {
    #[cfg(target_arch = "x86_64")]
    if Features::detect().sha_ni {
        // SAFETY: the processor has just been asked for SHA, SSSE3 and SSE4.1.
        unsafe { super::rounds::compress_words(words, blocks) };
        return;
    }
    for (words, blocks) in words.into_iter().zip(blocks) {
        compress256(words, blocks);
    }
}
