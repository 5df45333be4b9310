//! Copies that do not let us remove anything: append-only ones. They hold more than the others for ever, and that is
//! what they are for; without this memory every prune would mark their left-overs again.

use std::collections::BTreeSet;

use crate::repository::Repository;

const NAME: &str = "append-only.json";

/// Copies that refused a removal when it was last tried, as bits.
pub(super) fn known(repository: &Repository) -> u64 {
    let Some(records) = repository.records() else { return 0 };
    let places: BTreeSet<String> = records.read(NAME);
    let copies = repository.copies().all().iter().enumerate();
    copies.filter(|(_, copy)| places.contains(copy.place())).fold(0, |bits, (number, _)| bits | 1 << number)
}

/// Remembers whether a copy lets us remove.
pub(super) fn note(repository: &Repository, place: &str, is_append_only: bool) {
    let Some(records) = repository.records() else { return };
    // A machine whose records cannot be written tries again each time.
    let _ = records.change(NAME, |places: &mut BTreeSet<String>| {
        if is_append_only {
            places.insert(place.to_owned())
        } else {
            places.remove(place)
        };
    });
}
