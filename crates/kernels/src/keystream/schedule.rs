//! The fifteen round keys of AES-256 (FIPS 197, 5.2).

use std::arch::x86_64::{
    __m128i, _mm_aeskeygenassist_si128, _mm_loadu_si128, _mm_shuffle_epi32, _mm_slli_si128, _mm_storeu_si128,
    _mm_xor_si128,
};

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::KEY_BYTES;

/// Round keys of AES-256: one before the fourteen rounds, one in each.
pub(super) const ROUND_KEYS: usize = 15;

/// Round keys, wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct Schedule(pub(super) [[u8; 16]; ROUND_KEYS]);

impl Schedule {
    /// Expands `key`.
    #[target_feature(enable = "aes,sse2")]
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Self {
        let mut keys = Self([[0; 16]; ROUND_KEYS]);
        // SAFETY: both loads read 16 of the key's 32 bytes and ask for no alignment.
        let (mut even, mut odd) =
            unsafe { (_mm_loadu_si128(key.as_ptr().cast()), _mm_loadu_si128(key.as_ptr().add(16).cast())) };
        keys.put(0, even);
        keys.put(1, odd);
        macro_rules! two_more {
            ($round:expr, $constant:expr) => {
                even = next(even, _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<$constant>(odd)));
                keys.put($round, even);
                if $round + 1 < ROUND_KEYS {
                    odd = next(odd, _mm_shuffle_epi32::<0xaa>(_mm_aeskeygenassist_si128::<0>(even)));
                    keys.put($round + 1, odd);
                }
            };
        }
        two_more!(2, 0x01);
        two_more!(4, 0x02);
        two_more!(6, 0x04);
        two_more!(8, 0x08);
        two_more!(10, 0x10);
        two_more!(12, 0x20);
        two_more!(14, 0x40);
        keys
    }

    #[target_feature(enable = "sse2")]
    fn put(&mut self, round: usize, key: __m128i) {
        // SAFETY: the row is 16 writable bytes; the store asks for no alignment.
        unsafe { _mm_storeu_si128(self.0[round].as_mut_ptr().cast(), key) };
    }
}

/// Each word of `before` with all words in front of it, and with `word`.
#[target_feature(enable = "sse2")]
fn next(before: __m128i, word: __m128i) -> __m128i {
    let pairs = _mm_xor_si128(before, _mm_slli_si128::<4>(before));
    let all = _mm_xor_si128(pairs, _mm_slli_si128::<8>(pairs));
    _mm_xor_si128(all, word)
}
