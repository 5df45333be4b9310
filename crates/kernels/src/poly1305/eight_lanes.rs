//! Poly1305 with eight blocks side by side, in the 52-bit multiplications of AVX-512.
//!
//! With blocks m0 .. mn, the polynomial is the sum of m_i * r^(n + 1 - i). Lane `j` takes every eighth block and steps
//! by r^8; in the end it is multiplied by the power of r that its last block deserves, and the lanes are added up. The
//! first batch is filled up with zeros *in front*, where they count nothing, so that no message needs a special end.
//!
//! Numbers stand in limbs of 44 bits ([`super::limbs`]). A multiplication takes 52 bits of each factor and gives the
//! lower 52 bits of the product or the upper ones; the upper ones, 8 bits up, belong to the next limb.

use std::arch::x86_64::*;

use zeroize::Zeroize;

use super::limbs::{LIMB_BITS, LIMB_MASK, Limbs, finish, multiplier, product};
use super::{BLOCK_BYTES, MULTIPLIER_BYTES, TAG_BYTES};

const LANES: usize = 8;
const BATCH_BYTES: usize = LANES * BLOCK_BYTES;
/// Which block of a batch is in which lane: two registers of four blocks, of which the halves are interleaved.
const BLOCK_IN_LANE: [usize; LANES] = [0, 4, 1, 5, 2, 6, 3, 7];
/// The bit behind a whole block, in its upper limb.
const BEHIND_BLOCK: u64 = 1 << (8 * BLOCK_BYTES as u32 - 2 * LIMB_BITS);
/// How far the upper half of a product is below the next limb.
const UPPER_SHIFT: u32 = 52 - LIMB_BITS;

/// Powers of the multiplier.
#[derive(Clone, Zeroize)]
pub(super) struct Powers {
    eighth: Limbs,
    sixteenth: Limbs,
    /// By limb and lane: r^8 for the first block of the last batch, down to r for the last.
    last: [[u64; LANES]; 3],
}

impl Powers {
    /// The powers of `r`.
    pub(super) fn new(r: &[u8; MULTIPLIER_BYTES]) -> Self {
        let first = multiplier(r);
        let mut powers = [first; LANES];
        for at in 1..LANES {
            powers[at] = product(powers[at - 1], first);
        }
        let mut last = [[0; LANES]; 3];
        for (lane, block) in BLOCK_IN_LANE.into_iter().enumerate() {
            for (limb, row) in last.iter_mut().enumerate() {
                row[lane] = powers[LANES - 1 - block][limb];
            }
        }
        let eighth = powers[LANES - 1];
        powers.zeroize();
        Self { eighth, sixteenth: product(eighth, eighth), last }
    }
}

/// A factor: its limbs, and the upper two 20 times, for what comes back from above 2^132.
#[derive(Clone, Copy)]
struct Factor {
    limbs: [__m512i; 3],
    folded: [__m512i; 2],
}

impl Factor {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn new(limbs: [__m512i; 3]) -> Self {
        let twenty_times = |x| _mm512_add_epi64(_mm512_slli_epi64::<4>(x), _mm512_slli_epi64::<2>(x));
        Self { limbs, folded: [twenty_times(limbs[1]), twenty_times(limbs[2])] }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn in_all_lanes(limbs: Limbs) -> Self {
        Self::new([
            _mm512_set1_epi64(limbs[0] as i64),
            _mm512_set1_epi64(limbs[1] as i64),
            _mm512_set1_epi64(limbs[2] as i64),
        ])
    }
}

/// Products before their carries: lower and upper halves by limb.
#[derive(Clone, Copy)]
struct Sum {
    lower: [__m512i; 3],
    upper: [__m512i; 3],
}

impl Sum {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn zero() -> Self {
        Self { lower: [_mm512_setzero_si512(); 3], upper: [_mm512_setzero_si512(); 3] }
    }

    /// Adds `a * factor`. The limbs of `a` are below 2^46; two products fit.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn add_product(&mut self, a: [__m512i; 3], factor: &Factor) {
        let ([f0, f1, f2], [g1, g2]) = (factor.limbs, factor.folded);
        for (limb, terms) in [
            [(a[0], f0), (a[1], g2), (a[2], g1)],
            [(a[0], f1), (a[1], f0), (a[2], g2)],
            [(a[0], f2), (a[1], f1), (a[2], f0)],
        ]
        .into_iter()
        .enumerate()
        {
            for (x, y) in terms {
                self.lower[limb] = _mm512_madd52lo_epu64(self.lower[limb], x, y);
                self.upper[limb] = _mm512_madd52hi_epu64(self.upper[limb], x, y);
            }
        }
    }

    /// The number, with limbs below 2^45.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn carried(self) -> [__m512i; 3] {
        let mask = _mm512_set1_epi64(LIMB_MASK as i64);
        let [mut low, mut middle, mut high] = self.lower;
        middle = _mm512_add_epi64(middle, _mm512_slli_epi64::<UPPER_SHIFT>(self.upper[0]));
        high = _mm512_add_epi64(high, _mm512_slli_epi64::<UPPER_SHIFT>(self.upper[1]));
        let mut above = _mm512_slli_epi64::<UPPER_SHIFT>(self.upper[2]);
        middle = _mm512_add_epi64(middle, _mm512_srli_epi64::<LIMB_BITS>(low));
        low = _mm512_and_si512(low, mask);
        high = _mm512_add_epi64(high, _mm512_srli_epi64::<LIMB_BITS>(middle));
        middle = _mm512_and_si512(middle, mask);
        above = _mm512_add_epi64(above, _mm512_srli_epi64::<LIMB_BITS>(high));
        high = _mm512_and_si512(high, mask);
        // 2^132 is worth 20; `above` is below 2^50.
        low = _mm512_add_epi64(low, _mm512_slli_epi64::<4>(above));
        low = _mm512_add_epi64(low, _mm512_slli_epi64::<2>(above));
        middle = _mm512_add_epi64(middle, _mm512_srli_epi64::<LIMB_BITS>(low));
        low = _mm512_and_si512(low, mask);
        [low, middle, high]
    }
}

/// The eight blocks at `batch` in limbs, each with its bit behind it from `behind`.
///
/// # Safety
/// 128 bytes are readable at `batch`.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn load(batch: *const u8, behind: __m512i) -> [__m512i; 3] {
    // SAFETY: the caller vouches for 128 bytes; the loads ask for no alignment.
    let (front, back) = unsafe { (_mm512_loadu_si512(batch.cast()), _mm512_loadu_si512(batch.add(64).cast())) };
    let lower = _mm512_unpacklo_epi64(front, back);
    let upper = _mm512_unpackhi_epi64(front, back);
    let mask = _mm512_set1_epi64(LIMB_MASK as i64);
    let across = _mm512_or_si512(_mm512_srli_epi64::<44>(lower), _mm512_slli_epi64::<20>(upper));
    [
        _mm512_and_si512(lower, mask),
        _mm512_and_si512(across, mask),
        _mm512_or_si512(_mm512_srli_epi64::<24>(upper), behind),
    ]
}

/// `a + b`, limb by limb.
#[target_feature(enable = "avx512f")]
#[inline]
fn plus(a: [__m512i; 3], b: [__m512i; 3]) -> [__m512i; 3] {
    [_mm512_add_epi64(a[0], b[0]), _mm512_add_epi64(a[1], b[1]), _mm512_add_epi64(a[2], b[2])]
}

/// The bits behind blocks, for each lane whose block `has` one.
#[target_feature(enable = "avx512f")]
#[inline]
fn behind(has: impl Fn(usize) -> bool) -> __m512i {
    let bits = BLOCK_IN_LANE.map(|block| if has(block) { BEHIND_BLOCK } else { 0 });
    // SAFETY: the array is 64 readable bytes; the load asks for no alignment.
    unsafe { _mm512_loadu_si512(bits.as_ptr().cast()) }
}

/// The tag of `text` under `pad`.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn tag(powers: &Powers, pad: &[u8; TAG_BYTES], text: &[u8]) -> [u8; TAG_BYTES] {
    let blocks = text.len().div_ceil(BLOCK_BYTES);
    if blocks == 0 {
        return *pad;
    }
    // The first batch is shorter than the others or as long; the last one ends in a short block or does not.
    let head_blocks = (blocks - 1) % LANES + 1;
    let (head, rest) = text.split_at((head_blocks * BLOCK_BYTES).min(text.len()));
    let mut batch = [0; BATCH_BYTES];
    let start = BATCH_BYTES - head_blocks * BLOCK_BYTES;
    batch[start..start + head.len()].copy_from_slice(head);
    let head_is_short = head.len() % BLOCK_BYTES != 0;
    if head_is_short {
        batch[start + head.len()] = 1;
    }
    let has_bit = |block: usize| block >= LANES - head_blocks && !(head_is_short && block == LANES - 1);
    // SAFETY: the batch is 128 bytes.
    let mut sum = unsafe { load(batch.as_ptr(), behind(has_bit)) };

    if !rest.is_empty() {
        let whole = rest.len() / BATCH_BYTES;
        // SAFETY: as many whole batches are readable.
        sum = unsafe { through_whole_batches(powers, sum, rest.as_ptr(), whole) };
        let tail = &rest[whole * BATCH_BYTES..];
        if !tail.is_empty() {
            batch = [0; BATCH_BYTES];
            batch[..tail.len()].copy_from_slice(tail);
            batch[tail.len()] = 1;
            // SAFETY: the batch is 128 bytes. Its last block alone is short: every batch but the first has 8 blocks.
            let last = unsafe { load(batch.as_ptr(), behind(|block| block < LANES - 1)) };
            let mut stepped = Sum::zero();
            stepped.add_product(sum, &Factor::in_all_lanes(powers.eighth));
            sum = plus(stepped.carried(), last);
        }
    }

    // SAFETY: each row is 64 readable bytes; the loads ask for no alignment.
    let last = powers.last.each_ref().map(|row| unsafe { _mm512_loadu_si512(row.as_ptr().cast()) });
    let mut lanes = Sum::zero();
    lanes.add_product(sum, &Factor::new(last));
    finish(lanes.carried().map(|limb| _mm512_reduce_add_epi64(limb) as u64), pad)
}

/// Takes `count` batches of eight whole blocks.
///
/// # Safety
/// `count` batches of 128 bytes are readable at `batches`.
#[target_feature(enable = "avx512f,avx512ifma")]
unsafe fn through_whole_batches(
    powers: &Powers,
    mut sum: [__m512i; 3],
    mut batches: *const u8,
    count: usize,
) -> [__m512i; 3] {
    let behind = _mm512_set1_epi64(BEHIND_BLOCK as i64);
    let eighth = Factor::in_all_lanes(powers.eighth);
    if count % 2 == 1 {
        let mut stepped = Sum::zero();
        stepped.add_product(sum, &eighth);
        // SAFETY: the first of at least one batch.
        unsafe {
            sum = plus(stepped.carried(), load(batches, behind));
            batches = batches.add(BATCH_BYTES);
        }
    }
    // Two batches in a turn: the carries are paid once, and the first product does not wait for the one before.
    let sixteenth = Factor::in_all_lanes(powers.sixteenth);
    for _ in 0..count / 2 {
        // SAFETY: two batches are left in each turn.
        let (one, other) = unsafe { (load(batches, behind), load(batches.add(BATCH_BYTES), behind)) };
        let mut stepped = Sum::zero();
        stepped.add_product(one, &eighth);
        stepped.add_product(sum, &sixteenth);
        sum = plus(stepped.carried(), other);
        // SAFETY: at most one past the end of what the caller vouches for.
        batches = unsafe { batches.add(2 * BATCH_BYTES) };
    }
    sum
}
