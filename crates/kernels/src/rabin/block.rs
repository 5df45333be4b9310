//! How a stretch of data is laid out over lanes, the same for each vector width.

use super::WINDOW_BYTES;
use super::tables::Tables;

/// Steps between two looks at whether a lane saw a cut; also the side of the squares in which bytes are transposed.
pub(super) const STEPS: usize = 16;

/// What the processor fetches at once.
const LINE_BYTES: usize = 64;

/// Lanes go forward in whole windows.
const GROUP_BYTES: usize = WINDOW_BYTES;

/// Fewer places than this are scanned byte by byte.
const PLACES_MIN: usize = 256;

/// Deals 16 rows like the two halves of a pack of cards, byte by byte: this moves the bits of a byte's row and column, taken
/// as one number, one place on. `$lower` and `$upper` deal the lower and upper halves of two rows of the vector at hand.
/// Written out, because a loop would go through memory.
#[cfg(target_arch = "x86_64")]
macro_rules! dealt {
    ($pack:expr, $lower:ident, $upper:ident) => {{
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = $pack;
        [
            $lower(a, i),
            $upper(a, i),
            $lower(b, j),
            $upper(b, j),
            $lower(c, k),
            $upper(c, k),
            $lower(d, l),
            $upper(d, l),
            $lower(e, m),
            $upper(e, m),
            $lower(f, n),
            $upper(f, n),
            $lower(g, o),
            $upper(g, o),
            $lower(h, p),
            $upper(h, p),
        ]
    }};
}
#[cfg(target_arch = "x86_64")]
pub(super) use dealt;

/// Lanes over one block: lane i looks at `lane_places` places from `starts[i]` on, and reads as many bytes behind that
/// place and a window in front of it. Starts never decrease, so that the first cut of the first lane wins.
pub(super) struct Block<'a, const LANES: usize> {
    pub(super) data: &'a [u8],
    pub(super) starts: [usize; LANES],
    pub(super) lane_places: usize,
}

impl<const LANES: usize> Block<'_, LANES> {
    /// Where a lane's byte is, counted from the start of its first window. To be read only where in bounds.
    #[inline(always)]
    pub(super) fn place(&self, lane: usize, row: usize) -> *const u8 {
        self.data.as_ptr().wrapping_add(self.starts[lane] - WINDOW_BYTES + row)
    }

    /// Asks for the bytes of the next block, as many as this one goes through in `STEPS` steps from `row` on: lanes are
    /// more streams than the processor follows by itself.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn prefetch_next(&self, row: usize) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        let next = self.data.as_ptr().wrapping_add(self.starts[LANES - 1] + self.lane_places + row * LANES);
        for line in 0..STEPS * LANES / LINE_BYTES {
            // SAFETY: a hint, which never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(line * LINE_BYTES).cast()) };
        }
    }

    /// Checks what kernels rely on when they read without bounds checks.
    pub(super) fn assert_in_bounds(&self) {
        let in_bounds = |&start: &usize| {
            start >= WINDOW_BYTES && start <= self.data.len() && self.data.len() - start >= self.lane_places
        };
        assert!(self.lane_places.is_multiple_of(STEPS) && self.starts.iter().all(in_bounds));
    }
}

/// The first cut from `from` to `to`, both included, with a kernel for blocks. Asks for 64 ≤ `from` and
/// `to` ≤ `data.len()`.
///
/// `lane_groups` is how far a lane goes at most, in windows: far, and less is lost for the windows in front of lanes;
/// less far, and less is scanned in vain behind a cut. An odd number, or lanes would fight for the same sets of the
/// first-level cache.
#[inline]
pub(super) fn first_cut<const LANES: usize>(
    tables: &Tables,
    data: &[u8],
    (from, to): (usize, usize),
    lane_groups: usize,
    kernel: impl Fn(&Block<'_, LANES>) -> Option<usize>,
) -> Option<usize> {
    let mut at = from;
    // Kernels read the byte behind a place that they look at.
    let end = data.len().min(to + 1);
    while at < end && end - at >= PLACES_MIN {
        let left = end - at;
        let groups = left.div_ceil(LANES * GROUP_BYTES).min(lane_groups) | 1;
        let lane_places = groups * GROUP_BYTES;
        // At the end of the data lanes overlap, which does no harm.
        let last_start = left.saturating_sub(lane_places);
        let starts = std::array::from_fn(|lane| at + (lane * lane_places).min(last_start));
        let block = Block { data, starts, lane_places };
        if let Some(cut) = kernel(&block) {
            return Some(cut);
        }
        at += left.min(LANES * lane_places);
    }
    tables.scan_one(data, at, to)
}

/// The first cut that the lanes of a block have seen so far.
pub(super) struct FirstCut {
    cut: Option<usize>,
    /// Lanes whose cuts would come earlier.
    lanes: u64,
}

impl FirstCut {
    pub(super) fn none() -> Self {
        Self { cut: None, lanes: u64::MAX }
    }

    /// Takes note that the lanes in `hits` (bit i for lane i) saw a cut in the `STEPS` places from `passed` on. True
    /// when no lane is left that could see an earlier one.
    #[cold]
    pub(super) fn note<const LANES: usize>(
        &mut self,
        tables: &Tables,
        block: &Block<'_, LANES>,
        hits: u64,
        passed: usize,
    ) -> bool {
        let hits = hits & self.lanes;
        if hits != 0 {
            let lane = hits.trailing_zeros();
            let first = block.starts[lane as usize] + passed;
            if let Some(cut) = tables.scan_one(block.data, first, first + STEPS - 1) {
                self.cut = Some(self.cut.map_or(cut, |known| known.min(cut)));
                self.lanes = (1 << lane) - 1;
            }
        }
        self.lanes == 0
    }

    pub(super) fn get(self) -> Option<usize> {
        self.cut
    }
}
