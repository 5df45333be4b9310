//! Counter mode with several blocks in one register: two in 256 bits, four in 512.
//!
//! A round of AES takes the processor some cycles but it can begin one or two each cycle, so that always a whole batch
//! of registers goes through the rounds side by side.

use std::arch::x86_64::*;

use super::BLOCK_BYTES;
use super::schedule::{ROUND_KEYS, Schedule};
use crate::cpu::Features;

/// Registers side by side in the 512-bit variant, and the bytes in one.
const REGISTERS_512: usize = 8;
const BYTES_512: usize = 64;
/// Registers side by side at the end of a message.
const REGISTERS_512_END: usize = 4;
/// Registers side by side in the 256-bit variant, and the bytes in one.
const REGISTERS_256: usize = 8;
const BYTES_256: usize = 32;
const BATCH_BYTES_256: usize = REGISTERS_256 * BYTES_256;

/// Which instructions run. A value exists only where the processor has them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// VAES with AVX2.
    Bits256,
    /// VAES with AVX-512F and BW.
    Bits512,
}

impl Width {
    /// The widest that both `features` and the processor allow.
    pub(super) fn widest(features: Features) -> Option<Self> {
        let here = Features::detect();
        if features.vaes_512 && here.vaes_512 {
            Some(Self::Bits512)
        } else if features.vaes && here.vaes {
            Some(Self::Bits256)
        } else {
            None
        }
    }

    /// Combines `length` bytes at `from` with the key stream that begins at `counter`, to `to`.
    ///
    /// # Safety
    /// `length` bytes are readable at `from` and writable at `to`. Both are the same or do not overlap.
    pub(super) unsafe fn run(
        self,
        schedule: &Schedule,
        mut counter: u128,
        mut from: *const u8,
        mut to: *mut u8,
        mut length: usize,
    ) {
        while length > 0 {
            // Registers count in the lower 64 bits alone, so a run ends where these wrap around.
            let blocks_until_wrap = (1_u128 << 64) - (counter & u128::from(u64::MAX));
            let here = usize::try_from(blocks_until_wrap * BLOCK_BYTES as u128).unwrap_or(usize::MAX).min(length);
            // SAFETY: `here` is at most `length`, for which the caller vouches; the processor has what the width needs,
            // or there would be no such value.
            unsafe {
                match self {
                    Self::Bits256 => run_256(schedule, counter, from, to, here),
                    Self::Bits512 => run_512(schedule, counter, from, to, here),
                }
                from = from.add(here);
                to = to.add(here);
            }
            counter = counter.wrapping_add((here / BLOCK_BYTES) as u128);
            length -= here;
        }
    }
}

/// The mask of the first `bytes` bytes of a register.
fn first_bytes(bytes: usize) -> u64 {
    if bytes >= BYTES_512 { u64::MAX } else { (1 << bytes) - 1 }
}

/// # Safety
/// As for [`Width::run`]; and the lower 64 bits of the counter do not wrap around before the last block.
#[target_feature(enable = "vaes,aes,avx2,avx512f,avx512bw")]
unsafe fn run_512(schedule: &Schedule, counter: u128, from: *const u8, to: *mut u8, length: usize) {
    let mut keys = [_mm512_setzero_si512(); ROUND_KEYS];
    for (key, bytes) in keys.iter_mut().zip(&schedule.0) {
        // SAFETY: a round key is 16 readable bytes; the load asks for no alignment.
        *key = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) });
    }
    let (low, high) = (counter as u64 as i64, (counter >> 64) as u64 as i64);
    let mut counters = _mm512_add_epi64(
        _mm512_set_epi64(high, low, high, low, high, low, high, low),
        _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0),
    );
    let mut done = 0;
    while length - done >= REGISTERS_512 * BYTES_512 {
        let stream = stream_512::<REGISTERS_512>(&keys, &mut counters);
        for (at, stream) in stream.into_iter().enumerate() {
            let at = done + at * BYTES_512;
            // SAFETY: a whole batch is left, so that 64 bytes follow `at` in both texts.
            unsafe {
                let text = _mm512_loadu_si512(from.add(at).cast());
                _mm512_storeu_si512(to.add(at).cast(), _mm512_xor_si512(text, stream));
            }
        }
        done += REGISTERS_512 * BYTES_512;
    }
    while done < length {
        let stream = stream_512::<REGISTERS_512_END>(&keys, &mut counters);
        for stream in stream {
            let mask = first_bytes(length - done);
            // SAFETY: the mask covers no byte behind `length`; what it does not cover is neither read nor written.
            // `done` is at most `length`.
            unsafe {
                let text = _mm512_maskz_loadu_epi8(mask, from.add(done).cast());
                _mm512_mask_storeu_epi8(to.add(done).cast(), mask, _mm512_xor_si512(text, stream));
            }
            done = (done + BYTES_512).min(length);
        }
    }
}

/// The next `N` registers of key stream.
#[target_feature(enable = "vaes,aes,avx2,avx512f,avx512bw")]
#[inline]
fn stream_512<const N: usize>(keys: &[__m512i; ROUND_KEYS], counters: &mut __m512i) -> [__m512i; N] {
    let backwards = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f));
    let four_blocks = _mm512_set_epi64(0, 4, 0, 4, 0, 4, 0, 4);
    let mut blocks = [*counters; N];
    for block in &mut blocks {
        *block = _mm512_xor_si512(_mm512_shuffle_epi8(*counters, backwards), keys[0]);
        *counters = _mm512_add_epi64(*counters, four_blocks);
    }
    for key in &keys[1..ROUND_KEYS - 1] {
        for block in &mut blocks {
            *block = _mm512_aesenc_epi128(*block, *key);
        }
    }
    for block in &mut blocks {
        *block = _mm512_aesenclast_epi128(*block, keys[ROUND_KEYS - 1]);
    }
    blocks
}

/// # Safety
/// As for [`Width::run`]; and the lower 64 bits of the counter do not wrap around before the last block.
#[target_feature(enable = "vaes,aes,avx2")]
unsafe fn run_256(schedule: &Schedule, counter: u128, from: *const u8, to: *mut u8, length: usize) {
    let (low, high) = (counter as u64 as i64, (counter >> 64) as u64 as i64);
    let mut counters = _mm256_add_epi64(_mm256_set_epi64x(high, low, high, low), _mm256_set_epi64x(0, 1, 0, 0));
    let mut done = 0;
    while length - done >= BATCH_BYTES_256 {
        // SAFETY: a whole batch is left in both texts.
        unsafe { batch_256(schedule, &mut counters, from.add(done), to.add(done)) };
        done += BATCH_BYTES_256;
    }
    let left = length - done;
    if left > 0 {
        let mut end = [0; BATCH_BYTES_256];
        // SAFETY: `left` bytes remain in both texts, and fewer than `end` holds, which is elsewhere.
        unsafe {
            std::ptr::copy_nonoverlapping(from.add(done), end.as_mut_ptr(), left);
            let at = end.as_mut_ptr();
            batch_256(schedule, &mut counters, at, at);
            std::ptr::copy_nonoverlapping(end.as_ptr(), to.add(done), left);
        }
        zeroize::Zeroize::zeroize(&mut end);
    }
}

/// One batch of eight registers, two blocks in each.
///
/// # Safety
/// 256 bytes are readable at `from` and writable at `to`. Both are the same or do not overlap.
#[target_feature(enable = "vaes,aes,avx2")]
#[inline]
unsafe fn batch_256(schedule: &Schedule, counters: &mut __m256i, from: *const u8, to: *mut u8) {
    let backwards = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f));
    let two_blocks = _mm256_set_epi64x(0, 2, 0, 2);
    let key = |round: usize| {
        // SAFETY: a round key is 16 readable bytes; the load asks for no alignment.
        _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(schedule.0[round].as_ptr().cast()) })
    };
    let mut blocks = [*counters; REGISTERS_256];
    let first = key(0);
    for block in &mut blocks {
        *block = _mm256_xor_si256(_mm256_shuffle_epi8(*counters, backwards), first);
        *counters = _mm256_add_epi64(*counters, two_blocks);
    }
    for round in 1..ROUND_KEYS - 1 {
        let key = key(round);
        for block in &mut blocks {
            *block = _mm256_aesenc_epi128(*block, key);
        }
    }
    let last = key(ROUND_KEYS - 1);
    for (at, block) in blocks.into_iter().enumerate() {
        let stream = _mm256_aesenclast_epi128(block, last);
        // SAFETY: the caller vouches for 256 bytes, and `at` is below 8.
        unsafe {
            let text = _mm256_loadu_si256(from.add(at * BYTES_256).cast());
            _mm256_storeu_si256(to.add(at * BYTES_256).cast(), _mm256_xor_si256(text, stream));
        }
    }
}
