//! A place for a copy with all that is needed to reach it: the address and what is set for it.

use std::sync::Arc;

use model::Fault;

use crate::{Destination, Location, Settings, open};

/// Where a copy lives, and what is set for that place.
#[derive(Debug, Clone)]
pub struct Site {
    /// The address.
    pub location: Location,
    /// Credentials and limits.
    pub settings: Settings,
}

impl Site {
    /// The copy there, with retries and limits around it. Nothing is asked of the place yet.
    pub fn open(&self) -> Result<Arc<dyn Destination>, Fault> {
        open(&self.location, &self.settings.access, &self.settings.limits)
    }
}
