//! The only room that asks what time it is.
//!
//! Every other crate is handed a [`Clock`], so that a test can run a year in a second and a clock that jumps is a
//! test case, not an accident. `clippy.toml` refuses `now()` elsewhere.
#![allow(clippy::disallowed_methods)] // this is the room that the rule points to

use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// Wall time for records, monotonic time for deadlines. Never compute a deadline from wall time: it jumps.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Wall time.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;

    /// The zone in which local times are written.
    fn time_zone(&self) -> TimeZone;

    /// Wall time in the local zone.
    fn local(&self) -> Zoned {
        self.now().to_zoned(self.time_zone())
    }
}

/// The machine's clock and time zone (`TZ`, then `/etc/localtime`).
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    zone: TimeZone,
}

impl SystemClock {
    /// Reads the zone once: a process keeps its zone, as C programs do.
    pub fn new() -> Self {
        Self { started: Instant::now(), zone: TimeZone::system() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn time_zone(&self) -> TimeZone {
        self.zone.clone()
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct FakeClock {
    state: Mutex<(Timestamp, Duration)>,
    zone: TimeZone,
}

impl FakeClock {
    /// Starts at `now`, in `zone`.
    pub fn new(now: Timestamp, zone: TimeZone) -> Self {
        Self { state: Mutex::new((now, Duration::ZERO)), zone }
    }

    /// Lets time pass: wall and monotonic clock both move on.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.0 = state.0.checked_add(by).unwrap_or(Timestamp::MAX);
        state.1 += by;
    }

    /// Sets the wall clock, forwards or back; monotonic time stays.
    pub fn jump_to(&self, now: Timestamp) {
        self.state().0 = now;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, (Timestamp, Duration)> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        self.state().0
    }

    fn monotonic(&self) -> Duration {
        self.state().1
    }

    fn time_zone(&self) -> TimeZone {
        self.zone.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_moves_the_wall_clock_only() {
        let clock = FakeClock::new(Timestamp::UNIX_EPOCH, TimeZone::UTC);
        clock.advance(Duration::from_secs(90));
        assert_eq!(clock.now().as_second(), 90);
        clock.jump_to(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now().as_second(), 0);
        assert_eq!(clock.monotonic(), Duration::from_secs(90));
    }
}
