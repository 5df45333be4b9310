//! Several threads on one list of jobs, their results handed to one collector.
//!
//! The collector runs on the caller's thread and may borrow freely; results come in the order in which they are
//! ready. A bounded channel keeps the crew from running ahead of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use crate::error::Result;
use crate::observer::Cancel;

/// Results that may wait for the collector, for each worker.
const WAITING_FOR_EACH: usize = 2;

/// Does `work` on every job, with at most `workers` threads. Ends early when `cancel` is set.
pub(crate) fn run<J: Sync, R: Send>(
    workers: usize,
    jobs: &[J],
    cancel: &Cancel,
    work: impl Fn(&J) -> R + Sync,
    mut collect: impl FnMut(R),
) -> Result<()> {
    let workers = workers.clamp(1, jobs.len().max(1));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(workers * WAITING_FOR_EACH);
        for _ in 0..workers {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                while !cancel.is_set() {
                    let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    if sender.send(work(job)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        receiver.into_iter().for_each(&mut collect);
    });
    cancel.check()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_job_is_done_once() {
        let jobs: Vec<u64> = (0..1000).collect();
        for workers in [0, 1, 7] {
            let mut done = Vec::new();
            run(workers, &jobs, &Cancel::new(), |job| *job, |result| done.push(result)).unwrap();
            done.sort_unstable();
            assert_eq!(done, jobs);
        }
    }

    #[test]
    fn a_set_flag_ends_it() {
        let cancel = Cancel::new();
        let jobs: Vec<u64> = (0..1_000_000).collect();
        let mut done = 0;
        let result = run(
            2,
            &jobs,
            &cancel,
            |job| *job,
            |_| {
                done += 1;
                cancel.set();
            },
        );
        assert!(matches!(result, Err(crate::Error::Interrupted)));
        assert!(done < 100, "{done}");
    }
}
