//! One meter for one direction, shared by all connections of a place: who wants to move something is told when.
//!
//! Turns are given one after the other, each as long as what moves in it takes at the rate of that moment. Nothing is
//! saved up while nobody wants anything, but for [`CREDIT`]: so over any time, what moves is the rate, that credit and one
//! piece at most; and a turn that comes a little late costs nobody anything.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clock::Clock;
use tokio::time::Instant;

use super::Timetable;

/// How much of what was not used a moment ago may still be used.
const CREDIT: Duration = Duration::from_millis(250);
/// How long the line is busy with one step, where steps can be chosen.
const STEP: Duration = Duration::from_millis(100);
/// No step is smaller: at the lowest rate of all it takes a second.
const STEP_BYTES_MIN: u64 = 1 << 10;

/// Turns for one direction.
#[derive(Debug)]
pub(crate) struct Meter {
    timetable: Timetable,
    clock: Arc<dyn Clock>,
    /// When all turns that were given are over.
    free_at: Mutex<Option<Instant>>,
}

impl Meter {
    pub(crate) fn new(timetable: Timetable, clock: Arc<dyn Clock>) -> Self {
        Self { timetable, clock, free_at: Mutex::new(None) }
    }

    fn per_second(&self) -> Option<NonZeroU64> {
        self.timetable.per_second(self.clock.now(), &self.clock.time_zone())
    }

    /// How much to move in one step, of which `usual` is the most.
    pub(crate) fn step_bytes(&self, usual: usize) -> usize {
        let Some(rate) = self.per_second() else { return usual };
        let bytes = (u128::from(rate.get()) * STEP.as_millis() / 1000).max(u128::from(STEP_BYTES_MIN));
        usize::try_from(bytes).map_or(usual, |bytes| bytes.min(usual))
    }

    /// Takes a turn for so much; tells when it begins, or nothing when that is now.
    pub(crate) fn turn(&self, amount: u64) -> Option<Instant> {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rate) = self.per_second() else {
            *free_at = None;
            return None;
        };
        let now = now();
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        let begins = free_at.map_or(now, |free_at| free_at.max(earliest));
        // A turn that ends beyond all times ends never.
        *free_at = begins.checked_add(duration_of(amount, rate)).or(Some(begins));
        (now < begins).then_some(begins)
    }
}

fn duration_of(amount: u64, rate: NonZeroU64) -> Duration {
    let nanoseconds = u128::from(amount) * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// Now by tokio's clock, which tests can stop.
fn now() -> Instant {
    tokio::time::sleep(Duration::ZERO).deadline()
}
