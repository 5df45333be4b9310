//! How many threads of the crew work at the same time: one for each core, and so many more as wait for a copy.
//!
//! Each thread reads a part of a pack and then works on it. With a near copy the reading takes no time, and more threads
//! than cores would only hold memory and push each other out of the processor's cache; with a far one nearly all of them
//! wait.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::pace::Pace;
use crate::threads::lock;

/// Turns of a whole restore.
#[derive(Debug)]
pub(super) struct Turns {
    /// None where the request says how many threads there are: these all work.
    cores: Option<usize>,
    /// What reads and their work took so far.
    pub(super) pace: Pace,
}

impl Turns {
    pub(super) fn new(cores: Option<usize>) -> Self {
        Self { cores, pace: Pace::default() }
    }

    /// For one list of things to do.
    pub(super) fn round(&self) -> Round<'_> {
        Round { turns: self, is_over: Mutex::new(false), changed: Condvar::new() }
    }

    fn has(&self, thread: usize) -> bool {
        self.cores.is_none_or(|cores| thread < cores + self.pace.reads(cores))
    }
}

/// One list of things to do.
pub(super) struct Round<'t> {
    turns: &'t Turns,
    is_over: Mutex<bool>,
    changed: Condvar,
}

impl Round<'_> {
    /// Waits for the thread's turn; false when there is nothing left for it.
    pub(super) fn wait(&self, thread: usize) -> bool {
        let mut is_over = lock(&self.is_over);
        // What this thread has just done may have shown that more threads are of use.
        self.changed.notify_all();
        while !*is_over && !self.turns.has(thread) {
            is_over = self.changed.wait(is_over).unwrap_or_else(PoisonError::into_inner);
        }
        !*is_over
    }

    /// Whoever drops it, at the list's end, by an error or by a panic, ends the round.
    pub(super) fn ending(&self) -> impl Drop + '_ {
        struct Ending<'a>(&'a Round<'a>);
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                *lock(&self.0.is_over) = true;
                self.0.changed.notify_all();
            }
        }
        Ending(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::threads;

    /// Threads that come to their turn, each of which ends the round when it has done one thing.
    fn served(turns: &Turns, crew: usize) -> usize {
        let round = turns.round();
        let served = AtomicUsize::new(0);
        threads::run(crew, |thread| {
            let _ending = round.ending();
            if round.wait(thread) {
                served.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
        .unwrap();
        served.into_inner()
    }

    #[test]
    fn threads_beyond_what_is_of_use_do_nothing_and_everybody_ends() {
        let near = Turns::new(Some(2));
        near.pace.read(Duration::from_millis(1));
        near.pace.worked(1, Duration::from_millis(20));
        assert!((1..=3).contains(&served(&near, 10)));
        assert!(near.has(2) && !near.has(3));
        let far = Turns::new(Some(2));
        far.pace.read(Duration::from_millis(300));
        far.pace.worked(1, Duration::from_millis(20));
        assert!(far.has(9) && !far.has(10));
        assert!(Turns::new(None).has(1000));
        assert!((1..=5).contains(&served(&Turns::new(None), 5)));
    }
}
