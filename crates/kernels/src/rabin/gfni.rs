//! 64 lanes with GFNI and AVX-512: a linear map of a byte is one instruction (`gf2p8affineqb`).

use std::arch::x86_64::*;

use super::WINDOW_BYTES;
use super::block::{self, Block, FirstCut, STEPS, dealt};
use super::maps::{Maps, PLANES, SPLIT_BITS, TAKEN_FROM_BYTE_BEFORE, matrix};
use super::tables::Tables;
use crate::cpu::Features;

const LANES: usize = 64;

/// How far a lane goes, in windows.
const LANE_GROUPS: usize = 17;

/// Rows of transposed bytes that are kept: a window, and what was read ahead of it.
const ROWS: usize = 2 * WINDOW_BYTES;

/// Row r holds byte r of each lane, counted from the start of its first window, modulo the number of rows.
#[repr(C, align(64))]
struct Rows([[u8; LANES]; ROWS]);

/// Each plane's matrices.
#[derive(Clone)]
pub(super) struct Kernel {
    reduced: [u64; PLANES],
    expired: [u64; PLANES],
}

/// A plane's, each in all of a vector: they stay in registers.
#[derive(Clone, Copy)]
struct Matrices {
    reduced: __m512i,
    expired: __m512i,
}

impl Kernel {
    /// None when the processor lacks an instruction. All that is unsafe here rests on this.
    pub(super) fn new(maps: &Maps) -> Option<Self> {
        let (reduced, expired) = (maps.reduced.each_ref().map(matrix), maps.expired.each_ref().map(matrix));
        Features::detect().gfni_512.then_some(Self { reduced, expired })
    }

    /// See [`block::first_cut`].
    pub(super) fn first_cut(&self, tables: &Tables, data: &[u8], from: usize, to: usize) -> Option<usize> {
        block::first_cut(tables, data, (from, to), LANE_GROUPS, |block| {
            block.assert_in_bounds();
            // SAFETY: a kernel exists only where its instructions do, and bounds were just checked.
            unsafe { self.scan(tables, block) }
        })
    }

    /// # Safety
    /// `block` must be in bounds, as [`Block::assert_in_bounds`] checks.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,gfni")]
    unsafe fn scan(&self, tables: &Tables, block: &Block<'_, LANES>) -> Option<usize> {
        let zero = _mm512_setzero_si512();
        let mut matrices = [Matrices { reduced: zero, expired: zero }; PLANES];
        for (matrices, (&reduced, &expired)) in matrices.iter_mut().zip(self.reduced.iter().zip(&self.expired)) {
            *matrices =
                Matrices { reduced: _mm512_set1_epi64(reduced as i64), expired: _mm512_set1_epi64(expired as i64) };
        }
        let mut rows = Rows([[0; LANES]; ROWS]);
        let mut planes = [zero; PLANES];
        let mut first_cut = FirstCut::none();
        for row in (0..WINDOW_BYTES + block.lane_places).step_by(STEPS) {
            // SAFETY: each lane has a window before its start, and `lane_places` bytes behind it; both are multiples
            // of `STEPS`.
            unsafe { transpose(block, row, &mut rows) };
            block.prefetch_next(row);
            if row < WINDOW_BYTES {
                for row in row..row + STEPS {
                    step::<false>(&matrices, &mut planes, &rows, row);
                }
                continue;
            }
            let mut least = _mm512_set1_epi8(-1);
            for row in row..row + STEPS {
                step::<true>(&matrices, &mut planes, &rows, row);
                let low = _mm512_set1_epi8(SPLIT_BITS[0] as i8);
                let high = _mm512_set1_epi8(SPLIT_BITS[2] as i8);
                let some = _mm512_ternarylogic_epi64::<OR_AND>(planes[1], planes[0], low);
                let some = _mm512_ternarylogic_epi64::<OR_AND>(some, planes[2], high);
                least = _mm512_min_epu8(least, some);
            }
            let hits = _mm512_testn_epi8_mask(least, least);
            if hits != 0 && first_cut.note(tables, block, hits, row - WINDOW_BYTES) {
                break;
            }
        }
        first_cut.get()
    }
}

/// a | (b & c), as a table of what three bits come to.
const OR_AND: i32 = 0xf0 | (0xcc & 0xaa);

/// a ^ b ^ c.
const XOR_XOR: i32 = 0xf0 ^ 0xcc ^ 0xaa;

/// Where a is set b, else c.
const CHOOSE: i32 = (0xf0 & 0xcc) | (!0xf0 & 0xff & 0xaa);

/// One byte further in each lane; `EXPIRE` where lanes have passed their first window.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,gfni")]
#[inline]
fn step<const EXPIRE: bool>(matrices: &[Matrices; PLANES], planes: &mut [__m512i; PLANES], rows: &Rows, row: usize) {
    let top = planes[PLANES - 1];
    // In the first step behind a window this is the row before all others, which is zero.
    let expired = load(&rows.0[(row + ROWS - WINDOW_BYTES - 1) % ROWS]);
    let (before, byte) = (load(&rows.0[(row + ROWS - 1) % ROWS]), load(&rows.0[row % ROWS]));
    let before_bits = _mm512_set1_epi8(TAKEN_FROM_BYTE_BEFORE as i8);
    let mut moved = _mm512_ternarylogic_epi64::<CHOOSE>(before_bits, before, byte);
    for (plane, maps) in planes.iter_mut().zip(matrices) {
        let reduced = _mm512_gf2p8affine_epi64_epi8::<0>(top, maps.reduced);
        let next = if EXPIRE {
            let expired = _mm512_gf2p8affine_epi64_epi8::<0>(expired, maps.expired);
            _mm512_ternarylogic_epi64::<XOR_XOR>(moved, expired, reduced)
        } else {
            _mm512_xor_si512(moved, reduced)
        };
        moved = *plane;
        *plane = next;
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(row: &[u8; LANES]) -> __m512i {
    // SAFETY: the array has the length of a vector; no alignment is asked for.
    unsafe { _mm512_loadu_si512(row.as_ptr().cast()) }
}

/// Puts the next `STEPS` bytes of each lane, from `row` bytes behind the start of its window on, into their rows.
///
/// # Safety
/// Each lane must have so many bytes.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn transpose(block: &Block<'_, LANES>, row: usize, rows: &mut Rows) {
    let mut square = [_mm512_setzero_si512(); STEPS];
    for (lane, pieces) in square.iter_mut().enumerate() {
        // SAFETY: in bounds, as the caller promises.
        let piece = |quarter: usize| unsafe { _mm_loadu_si128(block.place(lane + quarter * STEPS, row).cast()) };
        let upper = _mm512_castsi128_si512(piece(0));
        let upper = _mm512_inserti32x4::<1>(upper, piece(1));
        let upper = _mm512_inserti32x4::<2>(upper, piece(2));
        *pieces = _mm512_inserti32x4::<3>(upper, piece(3));
    }
    // After four rounds the four bits of the row's number and the four of the column's have changed places.
    let square = deal(deal(deal(deal(square))));
    for (step, bytes) in square.into_iter().enumerate() {
        let target = &mut rows.0[(row + step) % ROWS];
        // SAFETY: a row has the length of a vector; no alignment is asked for.
        unsafe { _mm512_storeu_si512(target.as_mut_ptr().cast(), bytes) };
    }
}

/// See [`dealt`].
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn deal(pack: [__m512i; STEPS]) -> [__m512i; STEPS] {
    dealt!(pack, _mm512_unpacklo_epi8, _mm512_unpackhi_epi8)
}
