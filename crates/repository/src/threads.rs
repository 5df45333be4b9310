//! A fixed crew of threads for one piece of work, and a lock that outlives a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// Threads for CPU work: one for each core that we may use.
pub fn count() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

/// Runs `work` on `crew` threads (at least one) and waits for all; the first error by thread number wins.
pub fn run(crew: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..crew.max(1)).map(|number| scope.spawn(move || work(number))).collect();
        let ends: Vec<Result<()>> = threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect();
        // An interruption is the consequence of another thread's error, unless it is the only one.
        let is_cause = |end: &Result<()>| matches!(end, Err(error) if !matches!(error, Error::Interrupted));
        let cause = ends.iter().position(is_cause).or_else(|| ends.iter().position(Result::is_err));
        match cause {
            Some(number) => ends.into_iter().nth(number).unwrap_or(Ok(())),
            None => Ok(()),
        }
    })
}

/// A panic in a thread ends the operation as an error, so that locks are removed and the report is written.
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Result<()> {
    let words = panic.downcast_ref::<&str>().map(ToString::to_string);
    let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Err(Error::Request(format!("a worker thread failed: {words}; please report this")))
}

/// Locks, whatever became of the thread that held the lock before.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
