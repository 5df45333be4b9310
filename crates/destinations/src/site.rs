//! A place for a copy with all that is needed to reach it: the address and what is set for it.

use std::sync::Arc;

use clock::Clock;
use model::Fault;

use crate::s3::archive;
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

/// What is set about the price of keeping and reading packs of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostClass {
    /// The place's own word; none where nothing is set and its usual class counts.
    pub storage_class: Option<String>,
    /// Whether packs have to be asked for before they can be read.
    pub is_archive: bool,
    /// Whether everything else is kept a second time at a place that is hot.
    pub has_hot_place: bool,
}

impl Site {
    /// What is set about the price of keeping and reading packs of data there.
    pub fn cost_class(&self) -> CostClass {
        let storage_class = match self.location {
            Location::S3(_) => self.settings.access.s3.storage_class.clone(),
            _ => None,
        };
        let is_archive = storage_class.as_deref().is_some_and(archive::is_archive);
        CostClass { storage_class, is_archive, has_hot_place: self.hot.is_some() }
    }

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
