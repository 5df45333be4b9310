//! How many questions an origin is asked at a time, and what waits for its turn.

use std::sync::Mutex;

use crate::threads;

/// Work of type `T` that waits.
pub(super) struct Lanes<T>(Mutex<Turns<T>>);

struct Turns<T> {
    free: usize,
    waiting: Vec<T>,
}

impl<T> Lanes<T> {
    /// As many turns as there are `lanes`, but at least one.
    pub(super) fn new(lanes: usize) -> Self {
        Self(Mutex::new(Turns { free: lanes.max(1), waiting: Vec::new() }))
    }

    /// Adds work; gives what may begin. The last that was added begins first, so that few folders are open.
    pub(super) fn enter(&self, work: Vec<T>) -> Vec<T> {
        let mut turns = threads::lock(&self.0);
        turns.waiting.extend(work);
        let begin = turns.waiting.len().saturating_sub(turns.free);
        let entered = turns.waiting.split_off(begin);
        turns.free -= entered.len();
        entered
    }

    /// A piece is done; gives the next one.
    pub(super) fn leave(&self) -> Option<T> {
        let mut turns = threads::lock(&self.0);
        let next = turns.waiting.pop();
        if next.is_none() {
            turns.free += 1;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_let_in_than_there_are_lanes() {
        let lanes = Lanes::new(2);
        assert_eq!(lanes.enter(vec![1, 2, 3, 4]), [3, 4]);
        assert!(lanes.enter(vec![5]).is_empty());
        assert_eq!(lanes.leave(), Some(5));
        assert_eq!(lanes.leave(), Some(2));
        assert_eq!(lanes.leave(), Some(1));
        assert_eq!(lanes.leave(), None);
        assert_eq!(lanes.enter(vec![6, 7]), [7]);
        assert_eq!(lanes.leave(), Some(6));
        assert_eq!(lanes.leave(), None);
        assert_eq!(lanes.leave(), None);
        assert_eq!(Lanes::new(0).enter(vec![1]), [1]);
    }
}
