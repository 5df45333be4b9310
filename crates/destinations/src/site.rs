//! A place for a copy with all that is needed to reach it: the address and what is set for it.

use std::sync::Arc;

use clock::Clock;
use model::Fault;

use crate::{Destination, HotAndCold, Location, Pace, Settings, Terms, open_on};

/// Where a copy lives, and what is set for that place.
#[derive(Debug, Clone)]
pub struct Site {
    /// The address.
    pub location: Location,
    /// Credentials and limits.
    pub settings: Settings,
    /// Where everything but data is kept a second time, for a place that is cold.
    pub hot: Option<Box<Site>>,
}

impl Site {
    /// The copy there, with retries and limits around it; limits that change with the hour follow `clock`. Nothing is
    /// asked of the place yet.
    pub fn open(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Destination>, Fault> {
        let Settings { access, limits, rates } = &self.settings;
        let pace = Some(Pace { rates: rates.clone(), clock: clock.clone() });
        let place = open_on(&self.location, access, Terms { limits: *limits, pace, listener: None })?;
        match &self.hot {
            Some(hot) => Ok(Arc::new(HotAndCold::new(place, hot.open(clock)?))),
            None => Ok(place),
        }
    }
}
