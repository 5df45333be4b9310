//! How many wrong passwords there may be: so many at once, and then one each interval.
//!
//! For each address or name only one time is kept: until when its past attempts are paid off. The number of these is
//! bounded; when there is no room for another, all newcomers share one, so that whoever comes from everywhere at
//! once slows down newcomers and not the server.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::Duration;

use crate::state::locked;

/// Addresses or names that are kept.
const KEPT_MAX: usize = 1 << 16;
/// Names are cut to this: no account has a longer one.
const NAME_CHARACTERS_MAX: usize = 64;
/// How often there is a look for what is paid off, at most.
const SWEEP_INTERVAL_SECONDS: u64 = 1;

/// So many at once, then one each interval.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// At once.
    pub burst: u32,
    /// Between further ones.
    pub interval_milliseconds: u64,
}

impl Pace {
    fn interval(self) -> Duration {
        Duration::from_millis(self.interval_milliseconds)
    }
}

/// What an address counts as; nothing for a Unix socket, behind which everybody is.
pub(super) fn address(from: IpAddr) -> Option<String> {
    let of_v6 = |address: Ipv6Addr| match address.to_ipv4_mapped() {
        Some(address) => address.to_string(),
        // A subscriber has at least this whole network.
        None => Ipv6Addr::from(u128::from(address) >> 64 << 64).to_string(),
    };
    match from {
        _ if from.is_unspecified() => None,
        IpAddr::V4(address) => Some(address.to_string()),
        IpAddr::V6(address) => Some(of_v6(address)),
    }
}

/// The attempts of many.
#[derive(Debug)]
pub(super) struct Paces {
    pace: Pace,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    paid_off_at: HashMap<String, Duration>,
    newcomers_paid_off_at: Duration,
    swept_at: Duration,
}

impl Kept {
    fn of(&self, who: &str) -> Duration {
        match self.paid_off_at.get(who) {
            Some(at) => *at,
            None if self.paid_off_at.len() >= KEPT_MAX => self.newcomers_paid_off_at,
            None => Duration::ZERO,
        }
    }
}

impl Paces {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, kept: Mutex::default() }
    }

    /// How long to wait before the next attempt; nothing when it may be made now.
    pub(super) fn wait(&self, who: &str, now: Duration) -> Option<Duration> {
        let allowance = self.pace.interval() * self.pace.burst;
        let paid_off_at = locked(&self.kept).of(cut(who)).max(now) + self.pace.interval();
        paid_off_at.checked_sub(now + allowance).filter(|wait| !wait.is_zero())
    }

    /// Counts an attempt.
    pub(super) fn take(&self, who: &str, now: Duration) {
        let mut kept = locked(&self.kept);
        let paid_off_at = kept.of(cut(who)).max(now) + self.pace.interval();
        if kept.paid_off_at.len() >= KEPT_MAX && now >= kept.swept_at + Duration::from_secs(SWEEP_INTERVAL_SECONDS) {
            kept.paid_off_at.retain(|_, at| *at > now);
            kept.swept_at = now;
        }
        if kept.paid_off_at.len() < KEPT_MAX || kept.paid_off_at.contains_key(cut(who)) {
            kept.paid_off_at.insert(cut(who).to_owned(), paid_off_at);
        } else {
            kept.newcomers_paid_off_at = paid_off_at;
        }
    }

    /// Takes an attempt back that was none.
    pub(super) fn give_back(&self, who: &str) {
        let mut kept = locked(&self.kept);
        let interval = self.pace.interval();
        if let Some(at) = kept.paid_off_at.get_mut(cut(who)) {
            *at = at.saturating_sub(interval);
        }
    }
}

fn cut(who: &str) -> &str {
    who.char_indices().nth(NAME_CHARACTERS_MAX).and_then(|(end, _)| who.get(..end)).unwrap_or(who)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { burst: 3, interval_milliseconds: 1000 };

    #[test]
    fn a_burst_and_then_one_each_interval() {
        let paces = Paces::new(PACE);
        let second = Duration::from_secs;
        for _ in 0..3 {
            assert_eq!(paces.wait("a", second(10)), None);
            paces.take("a", second(10));
        }
        assert_eq!(paces.wait("a", second(10)), Some(second(1)));
        assert_eq!(paces.wait("b", second(10)), None);
        assert_eq!(paces.wait("a", second(11)), None);
        paces.take("a", second(11));
        assert_eq!(paces.wait("a", second(11)), Some(second(1)));
        paces.give_back("a");
        assert_eq!(paces.wait("a", second(11)), None);
    }

    #[test]
    fn the_number_kept_is_bounded_and_newcomers_share_what_is_left() {
        let paces = Paces::new(PACE);
        let now = Duration::from_secs(10);
        for number in 0..KEPT_MAX + 10 {
            paces.take(&number.to_string(), now);
        }
        assert_eq!(locked(&paces.kept).paid_off_at.len(), KEPT_MAX);
        assert!(paces.wait("another", now).is_some());
        let later = now + Duration::from_secs(20);
        assert_eq!(paces.wait("another", later), None);
        paces.take("another", later);
        assert_eq!(locked(&paces.kept).paid_off_at.len(), 1);
    }

    #[test]
    fn a_network_of_a_subscriber_counts_as_one_address() {
        let of = |text: &str| address(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_eq!(of("::"), None);
    }
}
