//! Which of several copies will have the next large read first.
//!
//! The copy that the user named first is asked as long as it keeps up: it is the near one, or the one that costs
//! nothing. Only while it has several large reads under way and is slower than a disk, the others help, each with as
//! much as it can carry.

use std::sync::Mutex;
use std::time::Duration;

use clock::Clock;

use crate::threads;

/// Shorter reads always go to the first copy: what they take says nothing about how much it can carry.
const LENGTH_MIN_BYTES: u64 = 256 << 10;

/// Large reads that a copy has under way before another one helps: what one connection waits, another one uses.
const UNDER_WAY_MIN: usize = 3;

/// A copy that gives more in a second needs no help.
const NEAR_BYTES_PER_SECOND: f64 = 256e6;

/// What happened longer ago counts less and less.
const MEMORY: Duration = Duration::from_secs(4);

/// Large reads of one copy.
#[derive(Debug, Default)]
pub(super) struct Load(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    under_way_bytes: u64,
    /// Since when anything is under way without a break, or was last added up.
    busy_since: Option<Duration>,
    busy: Duration,
    bytes: u64,
}

/// A read under way.
pub(super) struct UnderWay<'a> {
    load: &'a Load,
    length: u64,
    clock: &'a dyn Clock,
}

impl Load {
    /// Counts a read until the answer is dropped.
    pub(super) fn begin<'a>(&'a self, length: u64, clock: &'a dyn Clock) -> Option<UnderWay<'a>> {
        if length < LENGTH_MIN_BYTES {
            return None;
        }
        let mut state = threads::lock(&self.0);
        state.busy_since.get_or_insert_with(|| clock.monotonic());
        state.under_way += 1;
        state.under_way_bytes += length;
        Some(UnderWay { load: self, length, clock })
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        threads::lock(&self.load.0).end(self.length, self.clock.monotonic());
    }
}

impl State {
    fn end(&mut self, length: u64, now: Duration) {
        if let Some(since) = self.busy_since {
            self.busy += now.saturating_sub(since);
        }
        self.under_way -= 1;
        self.under_way_bytes -= length;
        self.busy_since = (self.under_way > 0).then_some(now);
        self.bytes += length;
        if self.busy > MEMORY {
            self.busy /= 2;
            self.bytes /= 2;
        }
    }

    /// What it gives in a second, if all that is under way arrived now; none while nothing was asked of it.
    fn bytes_per_second(&self, now: Duration) -> Option<f64> {
        let busy = self.busy + self.busy_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let bytes = self.bytes + self.under_way_bytes;
        (bytes > 0).then(|| bytes as f64 / busy.as_secs_f64().max(1e-6))
    }
}

/// The number of the copy that will have a read of `length` bytes first.
pub(super) fn soonest<'a>(mut loads: impl Iterator<Item = &'a Load>, length: u64, clock: &dyn Clock) -> usize {
    let Some(first) = loads.next().filter(|_| length >= LENGTH_MIN_BYTES) else { return 0 };
    let now = clock.monotonic();
    let (nearest, mut seconds) = {
        let state = threads::lock(&first.0);
        match state.bytes_per_second(now) {
            Some(pace) if state.under_way >= UNDER_WAY_MIN && pace < NEAR_BYTES_PER_SECOND => {
                (pace, (state.under_way_bytes + length) as f64 / pace)
            }
            _ => return 0,
        }
    };
    let mut soonest = 0;
    for (number, load) in loads.enumerate() {
        let state = threads::lock(&load.0);
        // Of one that was never asked the same is expected, so that it is asked once.
        let expected = (state.under_way_bytes + length) as f64 / state.bytes_per_second(now).unwrap_or(nearest);
        if expected < seconds {
            (soonest, seconds) = (number + 1, expected);
        }
    }
    soonest
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A copy that gave so many MiB in a second, with so many reads of 8 MiB under way.
    fn load(mib_per_second: u64, under_way: usize) -> Load {
        let bytes = (mib_per_second * MIB).saturating_sub(under_way as u64 * 8 * MIB);
        let state = State {
            under_way,
            under_way_bytes: under_way as u64 * 8 * MIB,
            busy_since: (under_way > 0).then_some(Duration::ZERO),
            busy: if mib_per_second > 0 { Duration::from_secs(1) } else { Duration::ZERO },
            bytes,
        };
        Load(Mutex::new(state))
    }

    fn chosen(loads: &[Load], length: u64) -> usize {
        soonest(loads.iter(), length, &clock::FakeClock::new(jiff::Timestamp::UNIX_EPOCH, jiff::tz::TimeZone::UTC))
    }

    #[test]
    fn the_first_copy_serves_alone_while_it_keeps_up() {
        assert_eq!(chosen(&[], 8 * MIB), 0);
        assert_eq!(chosen(&[load(10, 2), load(100, 0)], 8 * MIB), 0);
        assert_eq!(chosen(&[load(900, 7), load(1000, 0)], 8 * MIB), 0);
        assert_eq!(chosen(&[load(10, 7), load(100, 0)], 1000), 0);
        assert_eq!(chosen(&[load(0, 7), load(0, 0)], 8 * MIB), 0);
    }

    #[test]
    fn a_slow_first_copy_gets_help_in_the_measure_of_what_the_others_can_carry() {
        assert_eq!(chosen(&[load(50, 4), load(0, 0)], 8 * MIB), 1);
        assert_eq!(chosen(&[load(50, 4), load(50, 4), load(50, 1)], 8 * MIB), 2);
        // Ten times slower: it takes the tenth of the reads.
        assert_eq!(chosen(&[load(100, 4), load(10, 0)], 8 * MIB), 0);
        assert_eq!(chosen(&[load(100, 12), load(10, 0)], 8 * MIB), 1);
        assert_eq!(chosen(&[load(100, 12), load(10, 1)], 8 * MIB), 0);
    }

    #[test]
    fn what_was_under_way_is_counted_once_and_forgotten_slowly() {
        let start = Duration::from_secs(7);
        let mut state = State { under_way: 2, under_way_bytes: 16 * MIB, busy_since: Some(start), ..State::default() };
        state.end(8 * MIB, start + Duration::from_secs(1));
        state.end(8 * MIB, start + Duration::from_secs(2));
        assert_eq!((state.under_way, state.under_way_bytes, state.busy_since), (0, 0, None));
        assert_eq!(state.bytes_per_second(start), Some((8 * MIB) as f64));
        let load = Load::default();
        let clock = clock::SystemClock::new();
        assert!(load.begin(LENGTH_MIN_BYTES - 1, &clock).is_none());
        drop(load.begin(LENGTH_MIN_BYTES, &clock));
        assert_eq!(threads::lock(&load.0).bytes, LENGTH_MIN_BYTES);
    }
}
