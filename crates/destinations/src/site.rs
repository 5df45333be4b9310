//! A place for a copy with all that is needed to reach it: the address and what is set for it.

use std::sync::Arc;

use clock::Clock;
use model::Fault;

use crate::{Destination, Location, Pace, Settings, Terms, open_on};

/// Where a copy lives, and what is set for that place.
#[derive(Debug, Clone)]
pub struct Site {
    /// The address.
    pub location: Location,
    /// Credentials and limits.
    pub settings: Settings,
}

impl Site {
    /// The copy there, with retries and limits around it; limits that change with the hour follow `clock`. Nothing is
    /// asked of the place yet.
    pub fn open(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Destination>, Fault> {
        let Settings { access, limits, rates } = &self.settings;
        let pace = Some(Pace { rates: rates.clone(), clock });
        open_on(&self.location, access, Terms { limits: *limits, pace, listener: None })
    }
}
