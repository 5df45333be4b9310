//! Readers ahead of workers: what is far away is asked for several times at once, and the processor never waits for
//! one answer while there are others.
//!
//! How many readers read follows from what reading and working took so far: as many as keep the workers busy. So a
//! folder of this machine is read by few, and little memory is held; a distant server is asked as often as
//! [`READS_MAX`] and [`BYTES_MAX`] allow. Workers take two things at a time where two are to be had.

use std::collections::VecDeque;
use std::sync::mpsc::sync_channel;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use clock::Clock;

use crate::error::Result;
use crate::observer::Cancel;
use crate::pace::{Pace, READS_MAX};
use crate::threads;

/// Bytes that are being read, wait, or are worked on; a single thing may be larger.
const BYTES_MAX: u64 = 96 << 20;

/// How many things a worker takes at once.
const TOGETHER: usize = 2;

/// Results that may wait for the collector, for each worker.
const WAITING_FOR_EACH: usize = 4;

/// Things that are read, wait or are worked on at one time, at the most.
pub(crate) fn most_at_once(workers: usize) -> usize {
    READS_MAX + workers * TOGETHER
}

/// What a worker does with its tools and one or two things that were read.
pub(crate) type Work<'p, J, F, R, T> = dyn Fn(&mut T, Vec<(&J, F)>) -> Vec<R> + Sync + 'p;

/// What is done with each job.
pub(crate) struct Plan<'p, J, F, R, T> {
    pub(crate) workers: usize,
    pub(crate) cancel: &'p Cancel,
    pub(crate) clock: &'p dyn Clock,
    /// Bytes that the job holds from before it is read until after it was worked on.
    pub(crate) weigh: &'p (dyn Fn(&J) -> u64 + Sync),
    pub(crate) read: &'p (dyn Fn(&J) -> F + Sync),
    /// A worker's own tools.
    pub(crate) tools: &'p (dyn Fn() -> T + Sync),
    pub(crate) work: &'p Work<'p, J, F, R, T>,
}

/// Reads and works on every job, and hands what comes of it to `collect` on the caller's thread, in the order in which
/// it is ready. Ends early when the flag is set.
pub(crate) fn run<J: Sync, F: Send, R: Send, T>(
    jobs: &[J],
    plan: &Plan<'_, J, F, R, T>,
    collect: impl FnMut(R),
) -> Result<()> {
    let workers = plan.workers.clamp(1, jobs.len().max(1));
    let feed = Feed { jobs, plan, board: Mutex::new(Board::new(workers)), changed: Condvar::new() };
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(workers * WAITING_FOR_EACH);
        for number in 0..READS_MAX.min(jobs.len()) {
            let feed = &feed;
            scope.spawn(move || feed.read(number));
        }
        for _ in 0..workers {
            let (feed, sender) = (&feed, sender.clone());
            scope.spawn(move || feed.work(|result| sender.send(result).is_ok()));
        }
        drop(sender);
        // A collector that panics must not leave the others waiting.
        let _ending = Ending(&feed.board, &feed.changed);
        receiver.into_iter().for_each(collect);
    });
    plan.cancel.check()
}

struct Feed<'f, J, F, R, T> {
    jobs: &'f [J],
    plan: &'f Plan<'f, J, F, R, T>,
    board: Mutex<Board<F>>,
    changed: Condvar,
}

struct Board<F> {
    workers: usize,
    next: usize,
    /// Jobs being read.
    reading: usize,
    /// Numbers of jobs that were read, and what was read.
    ready: VecDeque<(usize, F)>,
    held_bytes: u64,
    is_over: bool,
    pace: Pace,
}

impl<F> Board<F> {
    fn new(workers: usize) -> Self {
        let pace = Pace::default();
        Self { workers, next: 0, reading: 0, ready: VecDeque::new(), held_bytes: 0, is_over: false, pace }
    }

    fn may_read(&self, number: usize, weight: u64) -> bool {
        let readers = self.pace.reads(self.workers);
        let has_room = self.held_bytes == 0 || self.held_bytes + weight <= BYTES_MAX;
        number < readers && self.reading + self.ready.len() < readers.max(TOGETHER) && has_room
    }
}

/// Wakes everybody when a thread ends, also by a panic.
struct Ending<'e, F>(&'e Mutex<Board<F>>, &'e Condvar);

impl<F> Drop for Ending<'_, F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            threads::lock(self.0).is_over = true;
        }
        self.1.notify_all();
    }
}

impl<J, F, R, T> Feed<'_, J, F, R, T> {
    fn wait<'b>(&self, board: MutexGuard<'b, Board<F>>) -> MutexGuard<'b, Board<F>> {
        self.changed.wait(board).unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self, board: &mut Board<F>) -> bool {
        board.is_over |= self.plan.cancel.is_set();
        board.is_over
    }

    fn read(&self, number: usize) {
        let _ending = Ending(&self.board, &self.changed);
        let mut board = threads::lock(&self.board);
        while !self.ends(&mut board) {
            let at = board.next;
            let Some(job) = self.jobs.get(at) else { break };
            let weight = (self.plan.weigh)(job);
            if !board.may_read(number, weight) {
                board = self.wait(board);
                continue;
            }
            board.next += 1;
            board.reading += 1;
            board.held_bytes += weight;
            drop(board);
            let start = self.plan.clock.monotonic();
            let read = (self.plan.read)(job);
            let took = self.plan.clock.monotonic().saturating_sub(start);
            board = threads::lock(&self.board);
            board.reading -= 1;
            board.pace.read(took);
            board.ready.push_back((at, read));
            self.changed.notify_all();
        }
    }

    /// The next things to work on: two where a second one is on its way; none when everything is done.
    fn take(&self) -> Vec<(&J, F)> {
        let mut board = threads::lock(&self.board);
        loop {
            if self.ends(&mut board) {
                return Vec::new();
            }
            let is_last = board.next >= self.jobs.len();
            if board.ready.len() >= TOGETHER || (board.reading == 0 && !board.ready.is_empty()) {
                let count = board.ready.len().min(TOGETHER);
                let taken = board.ready.drain(..count).filter_map(|(at, read)| Some((self.jobs.get(at)?, read)));
                let taken = taken.collect();
                self.changed.notify_all();
                return taken;
            }
            if is_last && board.reading == 0 {
                return Vec::new();
            }
            board = self.wait(board);
        }
    }

    fn work(&self, mut send: impl FnMut(R) -> bool) {
        let _ending = Ending(&self.board, &self.changed);
        let mut tools = (self.plan.tools)();
        loop {
            let taken = self.take();
            if taken.is_empty() {
                break;
            }
            let (count, weight) = (taken.len(), taken.iter().map(|(job, _)| (self.plan.weigh)(job)).sum::<u64>());
            let start = self.plan.clock.monotonic();
            let results = (self.plan.work)(&mut tools, taken);
            let took = self.plan.clock.monotonic().saturating_sub(start);
            let mut board = threads::lock(&self.board);
            board.held_bytes -= weight;
            board.pace.worked(count, took);
            drop(board);
            self.changed.notify_all();
            if !results.into_iter().all(&mut send) {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    static CLOCK: std::sync::LazyLock<clock::SystemClock> = std::sync::LazyLock::new(clock::SystemClock::new);

    fn plan<'p>(
        workers: usize,
        cancel: &'p Cancel,
        weigh: &'p (dyn Fn(&u64) -> u64 + Sync),
        read: &'p (dyn Fn(&u64) -> u64 + Sync),
        work: &'p Work<'p, u64, u64, u64, ()>,
    ) -> Plan<'p, u64, u64, u64, ()> {
        Plan { workers, cancel, clock: &*CLOCK, weigh, read, tools: &|| (), work }
    }

    #[test]
    fn every_job_is_read_and_done_once_and_never_more_than_two_together() {
        let cancel = Cancel::new();
        for (workers, count) in [(0, 1), (1, 2), (2, 3), (7, 1000), (3, 0)] {
            let jobs: Vec<u64> = (0..count).collect();
            let work = |(): &mut (), taken: Vec<(&u64, u64)>| {
                assert!(taken.len() <= TOGETHER);
                taken.into_iter().map(|(job, read)| if read == job * 3 { *job } else { u64::MAX }).collect()
            };
            let mut done = Vec::new();
            run(&jobs, &plan(workers, &cancel, &|_| 1, &|job| job * 3, &work), |result| done.push(result)).unwrap();
            done.sort_unstable();
            assert_eq!(done, jobs);
        }
    }

    #[test]
    fn bytes_that_are_held_are_bounded_however_fast_reading_is() {
        let cancel = Cancel::new();
        let jobs: Vec<u64> = (0..400).map(|n| (n % 7 + 1) * (8 << 20)).collect();
        let (held, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let read = |job: &u64| {
            most.fetch_max(held.fetch_add(*job, Ordering::SeqCst) + job, Ordering::SeqCst);
            *job
        };
        let work = |(): &mut (), taken: Vec<(&u64, u64)>| {
            taken
                .into_iter()
                .map(|(_, read)| {
                    held.fetch_sub(read, Ordering::SeqCst);
                    read
                })
                .collect()
        };
        let mut sum = 0;
        run(&jobs, &plan(2, &cancel, &|job| *job, &read, &work), |read| sum += read).unwrap();
        assert_eq!(sum, jobs.iter().sum::<u64>());
        let most = most.into_inner();
        assert!(most <= BYTES_MAX, "{most}");
    }

    #[test]
    fn a_set_flag_ends_it() {
        let cancel = Cancel::new();
        let jobs: Vec<u64> = (0..1_000_000).collect();
        let work = |(): &mut (), taken: Vec<(&u64, u64)>| taken.into_iter().map(|(job, _)| *job).collect();
        let mut done = 0;
        let result = run(&jobs, &plan(2, &cancel, &|_| 1, &|job| *job, &work), |_| {
            done += 1;
            cancel.set();
        });
        assert!(matches!(result, Err(crate::Error::Interrupted)));
        assert!(done < 100, "{done}");
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_ends_it_too() {
        let work = |(): &mut (), _: Vec<(&u64, u64)>| -> Vec<u64> { panic!("of this test") };
        let _ = run(&[1, 2, 3, 4, 5, 6, 7], &plan(2, &Cancel::new(), &|_| 1, &|job| *job, &work), drop);
    }
}
