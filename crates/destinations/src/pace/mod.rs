//! How fast a place may be used: bytes up, bytes down and requests in each second, at each hour of the day.
//!
//! The limits are those of one place: whoever writes to three at once uses three lines. What holds them is one meter for
//! each direction ([`meter`]), which all connections to the place share. Where the bytes move in steps that we see, they
//! are metered step by step ([`flow`]), so that the line is used evenly; elsewhere a file waits for its turn and then goes
//! as fast as it can. [`crate::Pacing`] puts either around a place.
//!
//! A wait is a sign of life: nobody is taken for stalled because we hold back.

pub(crate) mod flow;
pub(crate) mod meter;
mod timetable;

use std::sync::Arc;

use clock::Clock;

use self::meter::Meter;
pub use self::timetable::{Timetable, TimetableError};

/// How fast one place may be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rates {
    /// Bytes to the place.
    pub upload: Timetable,
    /// Bytes from the place.
    pub download: Timetable,
    /// How many requests may begin in a second; 0 is no limit.
    pub requests_per_second: usize,
}

impl Rates {
    /// Whether there is nothing to hold back.
    pub fn are_unlimited(&self) -> bool {
        self.upload.is_unlimited() && self.download.is_unlimited() && self.requests_per_second == 0
    }
}

/// Rates, and the clock whose hours they follow.
#[derive(Debug, Clone)]
pub struct Pace {
    /// How fast.
    pub rates: Rates,
    /// What time of day it is.
    pub clock: Arc<dyn Clock>,
}

/// The meters of one place.
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) up: Meter,
    pub(crate) down: Meter,
    pub(crate) requests: Meter,
}

impl Meters {
    pub(crate) fn new(pace: &Pace) -> Self {
        let meter = |timetable: &Timetable| Meter::new(timetable.clone(), pace.clock.clone());
        let requests = pace.rates.requests_per_second as u64;
        Self {
            up: meter(&pace.rates.upload),
            down: meter(&pace.rates.download),
            requests: meter(&Timetable::constant(requests)),
        }
    }
}
