//! Polynomials over GF(2), one of which decides where a repository's files are cut.
//!
//! Bit i of the number is the coefficient of x^i. A repository's polynomial is irreducible and of degree 53: the
//! largest prime degree at which a digest shifted by one byte still fits 64 bits (Rabin, "Fingerprinting by Random
//! Polynomials", 1981).

use std::fmt;
use std::str::FromStr;

use crate::error::{FormatError, Result};
use crate::seal::fill_random;

/// A polynomial over GF(2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Polynomial(pub u64);

impl Polynomial {
    /// The degree that restic gives to a repository's polynomial.
    pub const DEGREE: u32 = 53;

    /// How many candidates are tried: one in about 27 (with the lowest bit set) is irreducible.
    const TRIES_MAX: u32 = 100_000;

    /// A new random irreducible polynomial of degree 53.
    pub fn random() -> Result<Self> {
        for _ in 0..Self::TRIES_MAX {
            let mut bytes = [0; 8];
            fill_random(&mut bytes)?;
            let below = u64::from_le_bytes(bytes) & ((1 << Self::DEGREE) - 1);
            // Without the lowest bit x would divide it.
            let candidate = Self(below | 1 << Self::DEGREE | 1);
            if candidate.is_irreducible() {
                return Ok(candidate);
            }
        }
        Err(FormatError::NoRandomness { why: "no irreducible polynomial among the candidates".to_owned() })
    }

    /// The degree; none for the zero polynomial.
    pub fn degree(self) -> Option<u32> {
        self.0.checked_ilog2()
    }

    /// Ben-Or's test: no factor of degree i divides x^(2^i) - x, for each i up to half the degree.
    pub fn is_irreducible(self) -> bool {
        let Some(degree) = self.degree() else { return false };
        if degree == 0 {
            return false;
        }
        let x = Self(2).remainder(self);
        let mut power = x;
        for _ in 0..degree / 2 {
            power = power.square_mod(self);
            if Self(power.0 ^ x.0).greatest_common_divisor(self) != Self(1) {
                return false;
            }
        }
        true
    }

    /// The remainder of the division by `divisor`, which is not zero.
    pub(crate) fn remainder(self, divisor: Self) -> Self {
        Self(remainder_wide(u128::from(self.0), divisor.0))
    }

    fn square_mod(self, modulus: Self) -> Self {
        // Squaring over GF(2) puts a zero between all bits.
        let wide = (0..64).filter(|bit| self.0 >> bit & 1 == 1).fold(0_u128, |sum, bit| sum | 1 << (2 * bit));
        Self(remainder_wide(wide, modulus.0))
    }

    fn greatest_common_divisor(self, other: Self) -> Self {
        let (mut a, mut b) = (self, other);
        while b.0 != 0 {
            (a, b) = (b, a.remainder(b));
        }
        a
    }
}

fn remainder_wide(mut dividend: u128, divisor: u64) -> u64 {
    let Some(degree) = divisor.checked_ilog2() else { return 0 };
    while let Some(top) = dividend.checked_ilog2() {
        if top < degree {
            break;
        }
        dividend ^= u128::from(divisor) << (top - degree);
    }
    // The remainder is below the divisor, so nothing is cut off.
    dividend as u64
}

impl fmt::Display for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Polynomial({self})")
    }
}

impl FromStr for Polynomial {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self> {
        let is_number = !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = is_number.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or_else(|| FormatError::malformed("polynomial", "not a hexadecimal number of 64 bits"))
    }
}
