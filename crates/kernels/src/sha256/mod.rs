//! SHA-256 of many messages at once.
//!
//! One stream of SHA-256 waits for itself: each pair of rounds needs the result of the pair before. Two streams that
//! have nothing to do with each other fill the waits, and take together hardly longer than one. [`hash_each`] therefore
//! runs two lanes over a list of messages; a lane that ends a message takes the next, so that lengths need not match.
//!
//! What comes in pieces is a [`Stream`]; [`update_two`] takes pieces of two.
//!
//! The plain twin is the crate `sha2`, which has no lanes.

mod lane;
#[cfg(target_arch = "x86_64")]
mod rounds;
mod stream;

use sha2::{Digest, Sha256};

use crate::cpu::Features;

pub use stream::{Stream, update_two, update_two_with};

/// Length of a hash.
pub const HASH_BYTES: usize = 32;
/// What the compression function takes at once.
const BLOCK_BYTES: usize = 64;

/// The SHA-256 of `message`.
pub fn hash(message: &[u8]) -> [u8; HASH_BYTES] {
    // A lone stream is what the crate does as fast as a lane could.
    Sha256::digest(message).into()
}

/// The SHA-256 of two messages. The nearer their lengths, the more is won.
pub fn hash_two(one: &[u8], other: &[u8]) -> [[u8; HASH_BYTES]; 2] {
    let mut out = [[0; HASH_BYTES]; 2];
    hash_each_with(Features::get(), &[one, other], &mut out);
    out
}

/// The SHA-256 of each of `messages`, written to the same place in `out`.
///
/// # Panics
/// When `out` is not as long as `messages`.
pub fn hash_each(messages: &[&[u8]], out: &mut [[u8; HASH_BYTES]]) {
    hash_each_with(Features::get(), messages, out);
}

/// As [`hash_each`], with what `features` allow.
///
/// # Panics
/// When `out` is not as long as `messages`.
pub fn hash_each_with(features: Features, messages: &[&[u8]], out: &mut [[u8; HASH_BYTES]]) {
    assert_eq!(messages.len(), out.len(), "one place for each hash");
    #[cfg(target_arch = "x86_64")]
    if features.sha_ni && Features::detect().sha_ni {
        // SAFETY: the processor has just been asked for SHA, SSSE3 and SSE4.1.
        unsafe { lane::hash_each(messages, out) };
        return;
    }
    let _ = features;
    for (message, hash) in messages.iter().zip(out) {
        *hash = Sha256::digest(message).into();
    }
}

#[cfg(test)]
mod tests;
