//! How much of this machine's clock is believed where age decides.
//!
//! A clock that jumps forward makes every file old, and then a maintenance credential removes what it must not. So time
//! passes for the floor only as a server has lived through it: within a run by the monotonic clock, and between two runs
//! at most [`AWAY_SECONDS_MAX`]. What a server believed last stands in the state; `store sweep`, which an operator runs
//! while no server does, believes the clock as it is. A clock that goes back is believed at once, for it makes files
//! younger.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

/// Between two runs so much time may pass. Longer is not believed: not what is longer, that is.
const AWAY_SECONDS_MAX: i64 = 7 * 24 * 3600;
/// Within a run the clock may be put right by so much altogether.
const CORRECTION_SECONDS_MAX: i64 = 3600;

/// The moment that was believed when a run began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Believed {
    at: Timestamp,
    /// On the monotonic clock.
    since: Duration,
}

impl Believed {
    /// At the beginning of a run, after the one that lived until `lived`: milliseconds since 1970, 0 if there was none.
    pub(super) fn begin(lived: i64, now: Timestamp, monotonic: Duration) -> Self {
        let at = match Timestamp::from_millisecond(lived) {
            Ok(lived) if lived > Timestamp::UNIX_EPOCH => later(lived, SignedDuration::from_secs(AWAY_SECONDS_MAX)),
            _ => now,
        };
        Self { at: at.min(now), since: monotonic }
    }

    /// What is believed now, when the clock says `now`.
    pub(super) fn now(&self, now: Timestamp, monotonic: Duration) -> Timestamp {
        let passed = SignedDuration::try_from(monotonic.saturating_sub(self.since)).unwrap_or(SignedDuration::MAX);
        let allowed = later(later(self.at, passed), SignedDuration::from_secs(CORRECTION_SECONDS_MAX));
        now.min(allowed)
    }
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The latest moment that any run believed.
pub(super) fn lived(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT value FROM facts WHERE name = 'lived'", [], |row| row.get(0))
}

/// Notes a moment that is believed. One that is earlier takes nothing back, unless the operator says so.
pub(super) fn note(connection: &Connection, believed: Timestamp, in_any_case: bool) -> rusqlite::Result<()> {
    let change = "UPDATE facts SET value = ?1 WHERE name = 'lived' AND (?2 OR value < ?1)";
    connection.prepare_cached(change)?.execute((believed.as_millisecond(), in_any_case)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * HOUR).unwrap()
    }

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * 3600)
    }

    #[test]
    fn a_run_believes_what_it_lives_through_and_an_hour_of_correction() {
        let begun = Believed::begin(0, at(0), hours(5));
        assert_eq!(begun.now(at(10), hours(15)), at(10));
        assert_eq!(begun.now(at(500), hours(15)), at(11));
        assert_eq!(begun.now(at(-3), hours(15)), at(-3));
        assert_eq!(begun.now(Timestamp::MAX, Duration::MAX), Timestamp::MAX);
    }

    #[test]
    fn between_runs_a_week_is_believed() {
        let week = 7 * 24;
        assert_eq!(Believed::begin(at(0).as_millisecond(), at(week - 1), hours(0)).at, at(week - 1));
        assert_eq!(Believed::begin(at(0).as_millisecond(), at(90 * week), hours(0)).at, at(week));
        assert_eq!(Believed::begin(at(0).as_millisecond(), at(-9), hours(0)).at, at(-9));
        for nonsense in [i64::MIN, -1, i64::MAX] {
            assert_eq!(Believed::begin(nonsense, at(3), hours(0)).at, at(3));
        }
    }
}
