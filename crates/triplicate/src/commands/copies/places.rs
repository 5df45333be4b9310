//! Whether copies are in places that can be lost one without the other, as far as addresses tell.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use destinations::Location;

/// Fewer distinct places than this is under-replicated.
pub(crate) const DISTINCT_PLACES_WANTED: usize = 3;

/// What is known of the places of some copies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    /// Places of which one can be lost without the others.
    pub(crate) distinct: usize,
    /// Of the copies, how many are on this machine.
    pub(crate) on_this_machine: usize,
    /// Of the copies, how many.
    pub(crate) copies: usize,
}

impl Places {
    /// Whether one disaster too few is survived.
    pub(crate) fn is_under_replicated(&self) -> bool {
        self.distinct < DISTINCT_PLACES_WANTED
    }

    /// One sentence about it.
    pub(crate) fn words(&self) -> String {
        let places = if self.distinct == 1 { "place" } else { "places" };
        let copies = if self.copies == 1 { "copy is" } else { "copies are" };
        format!(
            "under-replicated: the healthy {} {copies} in {} distinct {places}, {DISTINCT_PLACES_WANTED} are wanted",
            self.copies, self.distinct
        )
    }
}

/// Looks at the places of healthy copies: folders on one disk are one place, and so are all paths of one server.
pub(crate) fn distinct_places<'a>(locations: impl Iterator<Item = &'a Location>) -> Places {
    let mut keys = BTreeSet::new();
    let (mut copies, mut on_this_machine) = (0, 0);
    for location in locations {
        copies += 1;
        on_this_machine += usize::from(location.is_local());
        keys.insert(match location {
            Location::Local(local) => match std::fs::metadata(&local.path) {
                Ok(stat) => format!("disk {}", stat.dev()),
                Err(_) => format!("path {}", local.path.display()),
            },
            // Two remotes of rclone may be one place; only its configuration knows.
            Location::Rclone(rclone) => format!("remote {}", rclone.remote.split(':').next().unwrap_or_default()),
            elsewhere => format!("host {}", elsewhere.host().unwrap_or_default()),
        });
    }
    Places { distinct: keys.len(), on_this_machine, copies }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn places(texts: &[&str]) -> Places {
        let locations: Vec<Location> = texts.iter().map(|text| text.parse().unwrap()).collect();
        distinct_places(locations.iter())
    }

    #[test]
    fn folders_of_one_disk_and_paths_of_one_server_are_one_place() {
        let scratch = tempfile::tempdir().unwrap();
        let (one, two) = (scratch.path().join("1"), scratch.path().join("2"));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&two).unwrap();
        let (one, two) = (one.display().to_string(), two.display().to_string());
        let found = places(&[&one, &two, "rest:http://host/a/", "rest:http://host:8001/b/"]);
        assert_eq!((found.distinct, found.on_this_machine, found.copies), (2, 2, 4));
        assert!(found.is_under_replicated());
        assert!(!places(&[&one, "rest:http://host/a/", "s3:https://other/bucket"]).is_under_replicated());
    }
}
