//! The crew: a fixed number of threads that take pieces of work from one pile until nothing is left.
//!
//! The pile is last-in, first-out: a tree is walked depth first, so that folders are finished early and few are open
//! at a time. A piece of work may put more on the pile; the crew ends when the pile is empty and nobody works.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// The pile of work of type `T`.
pub(super) struct Crew<T> {
    pile: Mutex<Pile<T>>,
    changed: Condvar,
}

struct Pile<T> {
    work: Vec<T>,
    at_work: usize,
    failed: bool,
}

impl<T> Crew<T> {
    pub(super) fn new(first: Vec<T>) -> Self {
        Self { pile: Mutex::new(Pile { work: first, at_work: 0, failed: false }), changed: Condvar::new() }
    }

    fn pile(&self) -> MutexGuard<'_, Pile<T>> {
        self.pile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts work on the pile.
    pub(super) fn push(&self, work: T) {
        self.pile().work.push(work);
        self.changed.notify_one();
    }

    /// Puts several pieces on the pile; the last one is taken first.
    pub(super) fn push_all(&self, work: impl IntoIterator<Item = T>) {
        self.pile().work.extend(work);
        self.changed.notify_all();
    }

    /// One thread's shift: does work until all is done, or anybody failed.
    pub(super) fn shift(&self, mut each: impl FnMut(T) -> Result<()>) -> Result<()> {
        let _alarm = Alarm(self);
        while let Some(work) = self.take()? {
            if let Err(error) = each(work) {
                self.pile().failed = true;
                self.changed.notify_all();
                return Err(error);
            }
            let mut pile = self.pile();
            pile.at_work -= 1;
            let is_last = pile.at_work == 0 && pile.work.is_empty();
            drop(pile);
            if is_last {
                self.changed.notify_all();
            }
        }
        Ok(())
    }

    fn take(&self) -> Result<Option<T>> {
        let mut pile = self.pile();
        loop {
            if pile.failed {
                return Err(Error::Interrupted);
            }
            if let Some(work) = pile.work.pop() {
                pile.at_work += 1;
                return Ok(Some(work));
            }
            if pile.at_work == 0 {
                return Ok(None);
            }
            pile = self.changed.wait(pile).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Ends everybody's shift when one thread panics; otherwise they would wait for it for ever.
struct Alarm<'a, T>(&'a Crew<T>);

impl<T> Drop for Alarm<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.pile().failed = true;
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn everything_is_done_once() {
        let crew = Crew::new(vec![6u32]);
        let done = AtomicU64::new(0);
        crate::threads::run(4, |_| {
            crew.shift(|depth| {
                done.fetch_add(1, Ordering::Relaxed);
                crew.push_all(depth.checked_sub(1).into_iter().flat_map(|below| [below; 3]));
                Ok(())
            })
        })
        .unwrap();
        assert_eq!(done.load(Ordering::Relaxed), (3u64.pow(7) - 1) / 2);
    }

    #[test]
    fn one_failure_ends_all() {
        let crew = Crew::new((0..1000u32).collect());
        let end = crate::threads::run(4, |_| {
            crew.shift(|n| if n == 500 { Err(Error::Request("five hundred".into())) } else { Ok(()) })
        });
        assert!(matches!(end, Err(Error::Request(_))));
    }
}
