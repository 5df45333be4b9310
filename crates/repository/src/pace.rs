//! How many reads at the same time keep the processor busy: what is near needs hardly any, what is far many.

use std::sync::Mutex;
use std::time::Duration;

use crate::threads;

/// Reads at the same time that are worth their memory; a destination lets no more through by default.
pub(crate) const READS_MAX: usize = 8;

/// Adds up what reading and working took.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    reads: u32,
    reading: Duration,
    works: u32,
    working: Duration,
}

impl Pace {
    /// A read came to its end.
    pub(crate) fn read(&self, took: Duration) {
        let mut sums = threads::lock(&self.0);
        sums.reads += 1;
        sums.reading += took;
    }

    /// So many reads were worked on.
    pub(crate) fn worked(&self, reads: usize, took: Duration) {
        let mut sums = threads::lock(&self.0);
        sums.works += reads as u32;
        sums.working += took;
    }

    /// Reads at the same time that keep so many workers busy.
    pub(crate) fn reads(&self, workers: usize) -> usize {
        let sums = threads::lock(&self.0);
        let (Some(read), Some(work)) = (sums.reading.checked_div(sums.reads), sums.working.checked_div(sums.works))
        else {
            return workers.min(READS_MAX);
        };
        let ratio = read.as_secs_f64() / work.as_secs_f64().max(1e-6);
        // A float becomes the nearest number that there is, so this is never more than the most.
        ((workers as f64 * ratio).ceil() as usize).clamp(1, READS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_reads_are_more_at_a_time_and_fast_ones_few() {
        let reads = |read: u64, work: u64| {
            let pace = Pace::default();
            for _ in 0..3 {
                pace.read(Duration::from_millis(read));
                pace.worked(2, Duration::from_millis(2 * work));
            }
            pace.reads(2)
        };
        assert_eq!(reads(5, 25), 1);
        assert_eq!(reads(25, 25), 2);
        assert_eq!(reads(60, 25), 5);
        assert_eq!(reads(900, 25), READS_MAX);
        assert_eq!(reads(900, 0), READS_MAX);
        assert_eq!(Pace::default().reads(2), 2);
    }
}
