//! Rabin fingerprints over a rolling window, and the first place in data where one calls for a cut.
//!
//! The fingerprint of 64 bytes is the polynomial over GF(2) that they spell, modulo one of degree 53. It depends on
//! these bytes alone, so hashing may start 64 bytes before any place of interest, at many places at once: that is what
//! the lanes of all variants are. The plain one goes through tables with four lanes; the others keep 32 (AVX2) or 64
//! (GFNI) in vectors, see [`maps`] for how.
//!
//! This room knows no limits of chunks; `format` does.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod block;
#[cfg(target_arch = "x86_64")]
mod gfni;
mod maps;
mod tables;
#[cfg(test)]
mod tests;

use crate::cpu::Features;
use tables::Tables;

/// Bytes over which the fingerprint is taken.
pub const WINDOW_BYTES: usize = 64;

/// The degree of polynomials.
const DEGREE: u32 = 53;

/// A cut is where these bits of the fingerprint are zero: 20 bits, one place in 2^20.
const SPLIT_MASK: u64 = (1 << 20) - 1;

/// Finds cuts for one polynomial. Made once: its tables cost more than scanning a small file.
#[derive(Clone)]
pub struct Scanner {
    tables: Box<Tables>,
    way: Way,
}

/// Which variant runs.
#[derive(Clone)]
enum Way {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2(Box<avx2::Kernel>),
    #[cfg(target_arch = "x86_64")]
    Gfni(Box<gfni::Kernel>),
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scanner")
    }
}

impl Scanner {
    /// Prepares for a polynomial of degree 53; bits above are ignored.
    pub fn new(polynomial: u64) -> Self {
        Self::with_features(polynomial, Features::get())
    }

    /// As [`Scanner::new`], with nothing but these features and what the processor has of them.
    pub fn with_features(polynomial: u64, features: Features) -> Self {
        let polynomial = polynomial & ((1 << DEGREE) - 1) | 1 << DEGREE;
        let tables = Tables::new(polynomial);
        let way = Way::choose(&tables, features);
        Self { tables, way }
    }

    /// The variant that runs, in a word.
    pub fn way_name(&self) -> &'static str {
        match self.way {
            Way::Plain => "plain",
            #[cfg(target_arch = "x86_64")]
            Way::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Way::Gfni(_) => "gfni",
        }
    }

    /// The first place from `from` to `to`, both included, at which the 64 bytes before it call for a cut. Places
    /// count bytes from the start of `data`; those with less than 64 bytes before them, and those behind the end of
    /// `data`, are none.
    pub fn first_cut(&self, data: &[u8], from: usize, to: usize) -> Option<usize> {
        let (from, to) = (from.max(WINDOW_BYTES), to.min(data.len()));
        if from > to {
            return None;
        }
        match &self.way {
            Way::Plain => self.tables.scan_plain(data, from, to),
            #[cfg(target_arch = "x86_64")]
            Way::Avx2(kernel) => kernel.first_cut(&self.tables, data, from, to),
            #[cfg(target_arch = "x86_64")]
            Way::Gfni(kernel) => kernel.first_cut(&self.tables, data, from, to),
        }
    }
}

impl Way {
    #[cfg(target_arch = "x86_64")]
    fn choose(tables: &Tables, features: Features) -> Self {
        let maps = maps::Maps::new(tables);
        if features.gfni_512
            && let Some(kernel) = gfni::Kernel::new(&maps)
        {
            return Self::Gfni(Box::new(kernel));
        }
        if features.avx2
            && let Some(kernel) = avx2::Kernel::new(&maps)
        {
            return Self::Avx2(Box::new(kernel));
        }
        Self::Plain
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn choose(_tables: &Tables, _features: Features) -> Self {
        Self::Plain
    }
}
