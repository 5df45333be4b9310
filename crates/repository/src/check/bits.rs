//! A set of small numbers, one bit for each.

/// Numbers below a length that is fixed when the set is made; others are never in it.
#[derive(Debug, Clone)]
pub(super) struct Bits {
    words: Vec<u64>,
    length: usize,
}

impl Bits {
    /// The empty set of numbers below `length`.
    pub(super) fn new(length: usize) -> Self {
        Self { words: vec![0; length.div_ceil(64)], length }
    }

    /// Adds a number; true when it was not in the set before.
    pub(super) fn insert(&mut self, number: usize) -> bool {
        if number >= self.length {
            return false;
        }
        let Some(word) = self.words.get_mut(number / 64) else { return false };
        let bit = 1 << (number % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Whether the number is in the set.
    pub(super) fn contains(&self, number: usize) -> bool {
        self.words.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in_and_nothing_else() {
        let mut bits = Bits::new(130);
        for number in [0, 63, 64, 129] {
            assert!(bits.insert(number));
            assert!(!bits.insert(number));
        }
        assert!(!bits.insert(130));
        assert_eq!((0..300).filter(|n| bits.contains(*n)).collect::<Vec<_>>(), [0, 63, 64, 129]);
    }
}
