//! How hard and how long a destination is tried: the named limits behind [`crate::open`].

use std::time::Duration;

/// Default number of requests at one time.
pub const CONNECTIONS: usize = 8;
/// Default time without a byte moved after which an attempt is given up.
pub const STALL_LIMIT_SECONDS: u64 = 120;
/// Default time over which a failing request is tried again.
pub const RETRY_TOTAL_SECONDS: u64 = 900;
/// Default time over which a place that has not answered once is tried again: a wrong address should be told soon.
pub const FIRST_CONTACT_SECONDS: u64 = 20;
/// Default ceiling of the random wait after a first failure; it doubles with each further one.
pub const FIRST_BACKOFF_MILLISECONDS: u64 = 500;
/// A disk of this machine that failed for this long does not recover by being asked again.
pub const LOCAL_RETRY_TOTAL_SECONDS: u64 = 30;

/// The limits of one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many requests may be under way at one time.
    pub connections: usize,
    /// An attempt in which nothing moved for this long is given up and tried again.
    pub stall_limit_seconds: u64,
    /// For how long a request is tried again after its first failure.
    pub retry_total_seconds: u64,
    /// The same for a place that has not answered once.
    pub first_contact_seconds: u64,
    /// The wait after a first failure is somewhere between zero and this; it doubles with each further one.
    pub first_backoff_milliseconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            stall_limit_seconds: STALL_LIMIT_SECONDS,
            retry_total_seconds: RETRY_TOTAL_SECONDS,
            first_contact_seconds: FIRST_CONTACT_SECONDS,
            first_backoff_milliseconds: FIRST_BACKOFF_MILLISECONDS,
        }
    }
}

impl Limits {
    /// The stall limit.
    pub fn stall(&self) -> Duration {
        Duration::from_secs(self.stall_limit_seconds.max(1))
    }
}
