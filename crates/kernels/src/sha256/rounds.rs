//! The compression function of SHA-256 in the processor's SHA instructions, for one stream and for two.
//!
//! The state is kept as the instructions want it, (a, b, e, f) and (c, d, g, h), and turned over once per message.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_load_si128, _mm_loadu_si128, _mm_set_epi32,
    _mm_set_epi64x, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32, _mm_storeu_si128, _mm_unpackhi_epi64, _mm_unpacklo_epi64,
};

use super::{BLOCK_BYTES, HASH_BYTES};

/// Groups of four rounds in a block.
const GROUPS: usize = 16;

#[repr(align(64))]
struct RoundConstants([u32; 4 * GROUPS]);

/// FIPS 180-4, 4.2.2.
static ROUND_CONSTANTS: RoundConstants = RoundConstants([
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5, //
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174, //
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da, //
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967, //
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85, //
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070, //
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3, //
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2, //
]);

/// FIPS 180-4, 5.3.3, in the order (f, e, b, a) and (h, g, d, c) from the lowest word up.
const INITIAL: [[u32; 4]; 2] =
    [[0x9b05_688c, 0x510e_527f, 0xbb67_ae85, 0x6a09_e667], [0x5be0_cd19, 0x1f83_d9ab, 0xa54f_f53a, 0x3c6e_f372]];

/// What has been hashed so far of one message: (a, b, e, f) and (c, d, g, h).
#[derive(Clone, Copy)]
pub(super) struct State {
    abef: __m128i,
    cdgh: __m128i,
}

impl State {
    /// Nothing hashed yet.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    pub(super) fn new() -> Self {
        // SAFETY: both rows are 16 readable bytes; the load asks for no alignment.
        unsafe {
            Self {
                abef: _mm_loadu_si128(INITIAL[0].as_ptr().cast()),
                cdgh: _mm_loadu_si128(INITIAL[1].as_ptr().cast()),
            }
        }
    }

    /// After the words a to h.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn from_words(words: &[u32; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = words.map(u32::cast_signed);
        Self { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h) }
    }

    /// The words a to h.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn to_words(self) -> [u32; 8] {
        let (abef, cdgh) = (self.abef, self.cdgh);
        [
            _mm_extract_epi32::<3>(abef),
            _mm_extract_epi32::<2>(abef),
            _mm_extract_epi32::<3>(cdgh),
            _mm_extract_epi32::<2>(cdgh),
            _mm_extract_epi32::<1>(abef),
            _mm_extract_epi32::<0>(abef),
            _mm_extract_epi32::<1>(cdgh),
            _mm_extract_epi32::<0>(cdgh),
        ]
        .map(i32::cast_unsigned)
    }

    /// The eight words as the standard writes them.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    pub(super) fn to_hash(self) -> [u8; HASH_BYTES] {
        // From (f, e, b, a) and (h, g, d, c), lowest byte first, to a..h with the highest byte first: reversing all
        // bytes of a register gives (a, b, e, f), of which the halves are then put together.
        let backwards = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
        let abef = _mm_shuffle_epi8(self.abef, backwards);
        let cdgh = _mm_shuffle_epi8(self.cdgh, backwards);
        let mut hash = [0; HASH_BYTES];
        // SAFETY: each store writes 16 bytes inside the 32 of `hash`; the store asks for no alignment.
        unsafe {
            _mm_storeu_si128(hash.as_mut_ptr().cast(), _mm_unpacklo_epi64(abef, cdgh));
            _mm_storeu_si128(hash.as_mut_ptr().add(16).cast(), _mm_unpackhi_epi64(abef, cdgh));
        }
        hash
    }
}

/// The four words of a group: loaded for the first four groups, then made from the last four.
macro_rules! words {
    ($w:ident, $group:expr, $block:expr, $swap:ident) => {
        if $group < 4 {
            // SAFETY: the caller gives 64 readable bytes at `$block`; the load asks for no alignment.
            $w[$group] = _mm_shuffle_epi8(unsafe { _mm_loadu_si128($block.add(16 * $group).cast()) }, $swap);
        } else {
            let (oldest, older, newer, newest) =
                ($w[$group % 4], $w[($group + 1) % 4], $w[($group + 2) % 4], $w[($group + 3) % 4]);
            let sum = _mm_add_epi32(_mm_sha256msg1_epu32(oldest, older), _mm_alignr_epi8::<4>(newest, newer));
            $w[$group % 4] = _mm_sha256msg2_epu32(sum, newest);
        }
    };
}

/// Four rounds of one stream.
macro_rules! four_rounds {
    ($state:ident, $w:ident, $group:expr) => {
        // SAFETY: the table holds 16 aligned rows of 16 bytes, and the group is below 16.
        let constants = unsafe { _mm_load_si128(ROUND_CONSTANTS.0.as_ptr().add(4 * $group).cast()) };
        let sum = _mm_add_epi32($w[$group % 4], constants);
        $state.cdgh = _mm_sha256rnds2_epu32($state.cdgh, $state.abef, sum);
        $state.abef = _mm_sha256rnds2_epu32($state.abef, $state.cdgh, _mm_shuffle_epi32::<0x0e>(sum));
    };
}

/// All sixteen groups, written out so that every index is known to the compiler.
macro_rules! each_group {
    ($do:ident) => {
        $do!(0);
        $do!(1);
        $do!(2);
        $do!(3);
        $do!(4);
        $do!(5);
        $do!(6);
        $do!(7);
        $do!(8);
        $do!(9);
        $do!(10);
        $do!(11);
        $do!(12);
        $do!(13);
        $do!(14);
        $do!(15);
    };
}

/// Words are big-endian in the message.
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn swap_of_words() -> __m128i {
    _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203)
}

/// Takes `count` blocks from `blocks` on.
///
/// # Safety
/// `count` blocks of 64 bytes are readable at `blocks`.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(super) unsafe fn compress_one(state: &mut State, blocks: *const u8, count: usize) {
    let swap = swap_of_words();
    let mut now = *state;
    for at in 0..count {
        // SAFETY: `at` is below `count`, so that the block lies within what the caller promises.
        let block = unsafe { blocks.add(at * BLOCK_BYTES) };
        let before = now;
        let mut w = [swap; 4];
        macro_rules! group {
            ($group:expr) => {
                words!(w, $group, block, swap);
                four_rounds!(now, w, $group);
            };
        }
        each_group!(group);
        now.abef = _mm_add_epi32(now.abef, before.abef);
        now.cdgh = _mm_add_epi32(now.cdgh, before.cdgh);
    }
    *state = now;
}

/// Takes `count` blocks of each of two streams.
///
/// # Safety
/// `count` blocks of 64 bytes are readable at each of `blocks`.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(super) unsafe fn compress_two(states: [&mut State; 2], blocks: [*const u8; 2], count: usize) {
    let swap = swap_of_words();
    let [one, other] = states;
    let (mut now_one, mut now_other) = (*one, *other);
    for at in 0..count {
        // SAFETY: `at` is below `count`, so that both blocks lie within what the caller promises.
        let (block_one, block_other) = unsafe { (blocks[0].add(at * BLOCK_BYTES), blocks[1].add(at * BLOCK_BYTES)) };
        let (before_one, before_other) = (now_one, now_other);
        let mut w_one = [swap; 4];
        let mut w_other = [swap; 4];
        macro_rules! group {
            ($group:expr) => {
                words!(w_one, $group, block_one, swap);
                words!(w_other, $group, block_other, swap);
                four_rounds!(now_one, w_one, $group);
                four_rounds!(now_other, w_other, $group);
            };
        }
        each_group!(group);
        now_one.abef = _mm_add_epi32(now_one.abef, before_one.abef);
        now_one.cdgh = _mm_add_epi32(now_one.cdgh, before_one.cdgh);
        now_other.abef = _mm_add_epi32(now_other.abef, before_other.abef);
        now_other.cdgh = _mm_add_epi32(now_other.cdgh, before_other.cdgh);
    }
    (*one, *other) = (now_one, now_other);
}

/// Takes blocks of two streams, of both as many, and leaves the words a to h of each.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(super) fn compress_words(words: [&mut [u32; 8]; 2], blocks: [&[[u8; BLOCK_BYTES]]; 2]) {
    let [one, other] = words;
    let (mut state_one, mut state_other) = (State::from_words(one), State::from_words(other));
    let count = blocks[0].len().min(blocks[1].len());
    // SAFETY: `count` blocks lie in both slices; the states lie elsewhere.
    unsafe { compress_two([&mut state_one, &mut state_other], blocks.map(|blocks| blocks.as_ptr().cast()), count) };
    (*one, *other) = (state_one.to_words(), state_other.to_words());
}
