//! 32 lanes with AVX2: a linear map of a byte is two look-ups by nibble (`pshufb`) and their sum.

use std::arch::x86_64::*;

use super::WINDOW_BYTES;
use super::block::{self, Block, FirstCut, STEPS, dealt};
use super::maps::{Maps, PLANES, SPLIT_BITS, TAKEN_FROM_BYTE_BEFORE, nibble_tables};
use super::tables::Tables;
use crate::cpu::Features;

const LANES: usize = 32;

/// How far a lane goes, in windows.
const LANE_GROUPS: usize = 23;

/// Rows of transposed bytes that are kept: a window, and what was read ahead of it.
const ROWS: usize = 2 * WINDOW_BYTES;

/// Row r holds byte r of each lane, counted from the start of its first window, modulo the number of rows.
#[repr(C, align(64))]
struct Rows([[u8; LANES]; ROWS]);

/// The tables of both nibbles, each twice: `pshufb` looks up in each half of a vector by itself.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Table([[u8; 16]; 2]);

/// Look-up tables of each plane: the top plane's low and high nibble, then the expired byte's.
#[derive(Clone)]
pub(super) struct Kernel {
    tables: [[Table; 4]; PLANES],
}

impl Kernel {
    /// None when the processor has no AVX2. All that is unsafe here rests on this.
    pub(super) fn new(maps: &Maps) -> Option<Self> {
        if !Features::detect().avx2 {
            return None;
        }
        let tables = std::array::from_fn(|plane| {
            let [reduced_low, reduced_high] = nibble_tables(&maps.reduced[plane]);
            let [expired_low, expired_high] = nibble_tables(&maps.expired[plane]);
            [reduced_low, reduced_high, expired_low, expired_high].map(|table| Table([table; 2]))
        });
        Some(Self { tables })
    }

    /// See [`block::first_cut`].
    pub(super) fn first_cut(&self, tables: &Tables, data: &[u8], from: usize, to: usize) -> Option<usize> {
        block::first_cut(tables, data, (from, to), LANE_GROUPS, |block| {
            block.assert_in_bounds();
            // SAFETY: a kernel exists only where AVX2 does, and bounds were just checked.
            unsafe { self.scan(tables, block) }
        })
    }

    /// # Safety
    /// `block` must be in bounds, as [`Block::assert_in_bounds`] checks.
    #[target_feature(enable = "avx2")]
    unsafe fn scan(&self, tables: &Tables, block: &Block<'_, LANES>) -> Option<usize> {
        let mut rows = Rows([[0; LANES]; ROWS]);
        let mut planes = [_mm256_setzero_si256(); PLANES];
        let mut first_cut = FirstCut::none();
        for row in (0..WINDOW_BYTES + block.lane_places).step_by(STEPS) {
            // SAFETY: each lane has a window before its start, and `lane_places` bytes behind it; both are multiples
            // of `STEPS`.
            unsafe { transpose(block, row, &mut rows) };
            block.prefetch_next(row);
            if row < WINDOW_BYTES {
                for row in row..row + STEPS {
                    self.step::<false>(&mut planes, &rows, row);
                }
                continue;
            }
            let mut least = _mm256_set1_epi8(-1);
            for row in row..row + STEPS {
                self.step::<true>(&mut planes, &rows, row);
                let low = _mm256_and_si256(planes[0], _mm256_set1_epi8(SPLIT_BITS[0] as i8));
                let high = _mm256_and_si256(planes[2], _mm256_set1_epi8(SPLIT_BITS[2] as i8));
                least = _mm256_min_epu8(least, _mm256_or_si256(_mm256_or_si256(low, high), planes[1]));
            }
            let hits = _mm256_movemask_epi8(_mm256_cmpeq_epi8(least, _mm256_setzero_si256())) as u32;
            if hits != 0 && first_cut.note(tables, block, u64::from(hits), row - WINDOW_BYTES) {
                break;
            }
        }
        first_cut.get()
    }

    /// One byte further in each lane; `EXPIRE` where lanes have passed their first window.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn step<const EXPIRE: bool>(&self, planes: &mut [__m256i; PLANES], rows: &Rows, row: usize) {
        let low_nibble = _mm256_set1_epi8(0x0f);
        let load_row = |row: usize| load(&rows.0[row % ROWS]);
        let top = planes[PLANES - 1];
        let top_low = _mm256_and_si256(top, low_nibble);
        let top_high = _mm256_and_si256(_mm256_srli_epi16::<4>(top), low_nibble);
        // In the first step behind a window this is the row before all others, which is zero.
        let expired = load_row(row + ROWS - WINDOW_BYTES - 1);
        let expired_low = _mm256_and_si256(expired, low_nibble);
        let expired_high = _mm256_and_si256(_mm256_srli_epi16::<4>(expired), low_nibble);
        let before_bits = _mm256_set1_epi8(TAKEN_FROM_BYTE_BEFORE as i8);
        let mut moved = _mm256_or_si256(
            _mm256_and_si256(before_bits, load_row(row + ROWS - 1)),
            _mm256_andnot_si256(before_bits, load_row(row)),
        );
        for (plane, tables) in planes.iter_mut().zip(&self.tables) {
            let [reduced_low, reduced_high, expired_low_table, expired_high_table] = tables;
            let mut next = moved;
            if EXPIRE {
                next = _mm256_xor_si256(next, _mm256_shuffle_epi8(load_table(expired_low_table), expired_low));
                next = _mm256_xor_si256(next, _mm256_shuffle_epi8(load_table(expired_high_table), expired_high));
            }
            let reduced = _mm256_xor_si256(
                _mm256_shuffle_epi8(load_table(reduced_low), top_low),
                _mm256_shuffle_epi8(load_table(reduced_high), top_high),
            );
            moved = *plane;
            *plane = _mm256_xor_si256(next, reduced);
        }
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(row: &[u8; LANES]) -> __m256i {
    // SAFETY: the array has the length of a vector; no alignment is asked for.
    unsafe { _mm256_loadu_si256(row.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_table(table: &Table) -> __m256i {
    // SAFETY: a table has the length and alignment of a vector.
    unsafe { _mm256_load_si256(table.0.as_ptr().cast()) }
}

/// Puts the next `STEPS` bytes of each lane, from `row` bytes behind the start of its window on, into their rows.
///
/// # Safety
/// Each lane must have so many bytes.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn transpose(block: &Block<'_, LANES>, row: usize, rows: &mut Rows) {
    let mut square = [_mm256_setzero_si256(); STEPS];
    for (lane, pieces) in square.iter_mut().enumerate() {
        // SAFETY: in bounds, as the caller promises.
        *pieces = unsafe {
            let (upper, lower) = (block.place(lane, row), block.place(lane + STEPS, row));
            _mm256_inserti128_si256::<1>(
                _mm256_castsi128_si256(_mm_loadu_si128(upper.cast())),
                _mm_loadu_si128(lower.cast()),
            )
        };
    }
    // After four rounds the four bits of the row's number and the four of the column's have changed places.
    let square = deal(deal(deal(deal(square))));
    for (step, bytes) in square.into_iter().enumerate() {
        let target = &mut rows.0[(row + step) % ROWS];
        // SAFETY: a row has the length of a vector; no alignment is asked for.
        unsafe { _mm256_storeu_si256(target.as_mut_ptr().cast(), bytes) };
    }
}

/// See [`dealt`].
#[target_feature(enable = "avx2")]
#[inline]
fn deal(pack: [__m256i; STEPS]) -> [__m256i; STEPS] {
    dealt!(pack, _mm256_unpacklo_epi8, _mm256_unpackhi_epi8)
}
