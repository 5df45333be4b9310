//! All connections at once: how many there may be, and which of them have to go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::pulse::Pulse;

/// How often the watcher looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Whoever moves less in a request, over the time that silence may last, only holds a place. The slowest modem is faster.
const BYTES_PER_SECOND_MIN: u64 = 1024;

/// How long clients may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// From the first byte of a request, or from the start of a connection, to the end of the request's head.
    pub head_seconds: u64,
    /// Without a byte in either direction; and in a request, with less than a KiB for each second of it.
    pub idle_seconds: u64,
    /// For requests under way when the server is asked to stop.
    pub shutdown_seconds: u64,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self { head_seconds: 30, idle_seconds: 120, shutdown_seconds: 30 }
    }
}

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Connections {
    open: Mutex<Open>,
    max: usize,
    limits: TimeLimits,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    pulses: HashMap<u64, Arc<Pulse>>,
}

/// A connection that counts for as long as this lives.
#[derive(Debug)]
pub(super) struct Entered {
    connections: Arc<Connections>,
    number: u64,
}

impl Connections {
    pub(super) fn new(max: usize, limits: TimeLimits) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), max: max.max(1), limits })
    }

    /// Lets a connection in. Where there are too many, the one that has been quiet the longest and is in no request
    /// of somebody who was let in makes room: who has not logged in can keep nobody out. Nothing when all are.
    pub(super) fn enter(self: &Arc<Self>, pulse: &Arc<Pulse>) -> Option<Entered> {
        let mut open = self.open();
        if open.pulses.len() >= self.max {
            let idle = open.pulses.iter().filter(|(_, other)| !other.is_let_in());
            let (&number, _) = idle.max_by_key(|(_, other)| other.silent_ms())?;
            if let Some(quietest) = open.pulses.remove(&number) {
                quietest.end();
            }
        }
        let number = open.next;
        open.next += 1;
        open.pulses.insert(number, Arc::clone(pulse));
        Some(Entered { connections: Arc::clone(self), number })
    }

    /// Ends every connection that took too long, once.
    pub(super) fn look(&self) {
        let head_ms = self.limits.head_seconds.saturating_mul(1000);
        let idle_ms = self.limits.idle_seconds.saturating_mul(1000);
        let bytes_min = self.limits.idle_seconds.saturating_mul(BYTES_PER_SECOND_MIN);
        for pulse in self.open().pulses.values() {
            let is_silent = pulse.head_ms() > head_ms || pulse.silent_ms() > idle_ms;
            if is_silent || pulse.is_too_slow(idle_ms, bytes_min) {
                pulse.end();
            }
        }
    }

    /// Looks for ever.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look();
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.connections.open().pulses.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::FakeClock;
    use futures::FutureExt;

    fn clock() -> Arc<FakeClock> {
        Arc::new(FakeClock::new(jiff::Timestamp::UNIX_EPOCH, jiff::tz::TimeZone::UTC))
    }

    fn is_ended(pulse: &Pulse) -> bool {
        pulse.ended().now_or_never().is_some()
    }

    #[test]
    fn the_quietest_outside_of_a_request_makes_room() {
        let clock = clock();
        let connections = Connections::new(2, TimeLimits::default());
        let busy = Pulse::new(None, clock.clone());
        let _busy = connections.enter(&busy).unwrap();
        busy.begin_request();
        busy.let_in();
        clock.advance(Duration::from_secs(1));
        let idle = Pulse::new(None, clock.clone());
        let _idle = connections.enter(&idle).unwrap();
        clock.advance(Duration::from_secs(1));
        let newcomer = Pulse::new(None, clock.clone());
        let _newcomer = connections.enter(&newcomer).unwrap();
        assert!(is_ended(&idle) && !is_ended(&busy));
        newcomer.let_in();
        assert!(connections.enter(&Pulse::new(None, clock)).is_none());
    }

    #[test]
    fn heads_and_silence_have_their_limits_and_our_own_work_has_none() {
        let clock = clock();
        let limits = TimeLimits::default();
        let connections = Connections::new(9, limits);
        let [no_head, silent, at_work] = [(); 3].map(|()| Pulse::new(None, clock.clone()));
        let _entered = [&no_head, &silent, &at_work].map(|pulse| connections.enter(pulse).unwrap());
        silent.begin_request();
        at_work.begin_request();
        let work = at_work.at_work();
        clock.advance(Duration::from_secs(limits.head_seconds + 1));
        connections.look();
        assert!(is_ended(&no_head) && !is_ended(&silent));
        clock.advance(Duration::from_secs(limits.idle_seconds));
        connections.look();
        assert!(is_ended(&silent) && !is_ended(&at_work));
        drop(work);
        connections.look();
        assert!(!is_ended(&at_work));
        clock.advance(Duration::from_secs(limits.idle_seconds + 1));
        connections.look();
        assert!(is_ended(&at_work));
    }
}
