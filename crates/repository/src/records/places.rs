//! What a probe found this user may do at a place, whichever repository is there.
//!
//! A place that lets nothing be removed is no mistake: it is remembered, so that it can be told from one that nobody
//! tried.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Records, RecordsFolder};

/// Beside the folders of repositories, whose names are ids.
const FOLDER: &str = "places";
const NAME: &str = "rights.json";

/// What was found at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// False where nothing can be removed: the place is append-only for this user.
    pub can_remove: bool,
    /// When it was tried, in seconds since 1970.
    pub tried_second: i64,
}

/// By the place's address, as it is shown: without any secret.
type Places = BTreeMap<String, Rights>;

impl RecordsFolder {
    /// Remembers what a probe found. Where nothing can be remembered nothing is, and nobody relies on it.
    pub fn note_rights(&self, place: &str, can_remove: bool, now: Timestamp) {
        let rights = Rights { can_remove, tried_second: now.as_second() };
        let noted = self.of_places().change(NAME, |places: &mut Places| {
            places.insert(place.to_owned(), rights);
        });
        // As said above.
        let _ = noted;
    }

    /// What the last probe of a place found; none where this machine never tried.
    pub fn rights_at(&self, place: &str) -> Option<Rights> {
        self.of_places().read::<Places>(NAME).remove(place)
    }

    fn of_places(&self) -> Records {
        Records { folder: self.root.join(FOLDER) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_probe_of_each_place_counts() {
        let scratch = tempfile::tempdir().unwrap();
        let records = RecordsFolder::new(scratch.path().join("records"));
        assert_eq!(records.rights_at("rest:http://host/"), None);
        let at = |second| Timestamp::from_second(second).unwrap();
        records.note_rights("rest:http://host/", true, at(1));
        records.note_rights("rest:http://host/", false, at(2));
        records.note_rights("/disk", true, at(3));
        assert_eq!(records.rights_at("rest:http://host/"), Some(Rights { can_remove: false, tried_second: 2 }));
        std::fs::write(scratch.path().join("records/places/rights.json"), "{ broken").unwrap();
        assert_eq!(records.rights_at("/disk"), None);
    }
}
