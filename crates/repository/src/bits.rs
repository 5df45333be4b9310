//! A set of small numbers, one bit for each, that several threads fill at once.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers below a length that is fixed when the set is made; others are never in it.
#[derive(Debug)]
pub(crate) struct Bits {
    words: Vec<AtomicU64>,
    length: usize,
}

impl Bits {
    /// The empty set of numbers below `length`.
    pub(crate) fn new(length: usize) -> Self {
        Self { words: (0..length.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(), length }
    }

    /// Adds a number; true when it was not in the set before.
    pub(crate) fn insert(&self, number: usize) -> bool {
        let word = self.words.get(number / 64).filter(|_| number < self.length);
        let bit = 1 << (number % 64);
        word.is_some_and(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0)
    }

    /// Whether the number is in the set.
    pub(crate) fn contains(&self, number: usize) -> bool {
        let word = self.words.get(number / 64);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (number % 64)) != 0)
    }
}

impl Clone for Bits {
    fn clone(&self) -> Self {
        let words = self.words.iter().map(|word| AtomicU64::new(word.load(Ordering::Relaxed)));
        Self { words: words.collect(), length: self.length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in_and_nothing_else() {
        let bits = Bits::new(130);
        for number in [0, 63, 64, 129] {
            assert!(bits.insert(number));
            assert!(!bits.insert(number));
        }
        assert!(!bits.insert(130) && !bits.insert(1 << 40));
        let (before, bits) = (bits.clone(), bits);
        assert!(bits.insert(1) && !before.contains(1) && before.contains(64));
        let bits = before;
        assert_eq!((0..300).filter(|n| bits.contains(*n)).collect::<Vec<_>>(), [0, 63, 64, 129]);
    }
}
