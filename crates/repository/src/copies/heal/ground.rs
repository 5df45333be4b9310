//! The copies that can be healed: those that are usable, and those whose only trouble is their `config`.
//!
//! Opening a repository gives up a copy whose `config` is damaged or not there. It can be healed like any other file,
//! but only where the rest of the copy is there: an empty place is more likely a disk that is not mounted, and is
//! never filled.

use std::sync::Arc;

use destinations::Destination;
use format::{FileKind, FileName};
use model::{Fault, FaultKind};

use crate::copies::CopySet;
use crate::repository::Repository;

/// The same copies once more, in the same order, with those that only lack a sound `config`.
pub(super) fn ground(repository: &Repository) -> CopySet {
    let known = repository.copies();
    let destinations: Vec<Arc<dyn Destination>> = known.all().iter().map(|copy| copy.destination().clone()).collect();
    let observer = repository.surroundings().observer.clone();
    let copies = CopySet::new(destinations, known.runtime().clone(), observer, known.clock().clone());
    for (own, copy) in copies.all().iter().zip(known.all()) {
        let Some(fault) = copy.lost() else { continue };
        let why = if is_about_config(fault) {
            match holds_a_part(&copies, own.destination().as_ref(), known) {
                Ok(true) => continue,
                Ok(false) => nothing_there(own.place()),
                Err(fault) => fault,
            }
        } else {
            fault.clone()
        };
        // Without an event: whoever watches heard of it when the repository was opened.
        let _ = own.lost.set(why);
    }
    copies
}

fn is_about_config(fault: &Fault) -> bool {
    fault.object == FileName::CONFIG.path() && matches!(fault.kind, FaultKind::NotFound | FaultKind::Damaged)
}

/// Whether a place has any file that a usable copy has too.
fn holds_a_part(copies: &CopySet, place: &dyn Destination, known: &CopySet) -> Result<bool, Fault> {
    for kind in [FileKind::Key, FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        let here = match copies.wait(place.list(kind)) {
            Ok(here) => here,
            Err(fault) if fault.kind == FaultKind::NotFound => continue,
            Err(fault) => return Err(fault),
        };
        if here.is_empty() {
            continue;
        }
        for (_, other) in known.live() {
            let there = copies.wait(other.destination().list(kind))?;
            if here.iter().any(|file| there.iter().any(|same| same.id == file.id)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn nothing_there(place: &str) -> Fault {
    let cause =
        "it holds nothing of this repository: is its disk mounted? `triplicate copies add` fills an empty place";
    Fault::new(FaultKind::NotFound, "heal", "", place, cause)
}
