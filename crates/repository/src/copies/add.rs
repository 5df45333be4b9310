//! Making an empty place a copy of a repository: its keys and its `config` first, after which it is a copy that is
//! behind, and [`super::sync`] does the rest, as often as it takes.

use std::sync::Arc;

use bytes::Bytes;
use destinations::{Destination, Span};
use format::{FileKind, FileName};
use model::FaultKind;

use super::status::Holdings;
use super::{CopySet, Holders};
use crate::error::{Error, Result};
use crate::locks::LockMode;
use crate::open::refuse_unless_empty;
use crate::repository::Repository;

/// Gives an empty place the repository's keys and `config`. A place that holds anything else is refused, untouched; one
/// that is a copy already, because an addition broke off later, is left as it is.
pub fn add(repository: &Repository, place: Arc<dyn Destination>) -> Result<()> {
    let copies = repository.copies();
    if is_copy_already(repository, &place)? {
        return Ok(());
    }
    let observer = repository.surroundings().observer.clone();
    let new = CopySet::new(vec![place.clone()], copies.runtime().clone(), observer, copies.clock().clone());
    if let Err(refused) = refuse_unless_empty(&new) {
        // Somebody else may have made it a copy since it was looked at.
        return if is_copy_already(repository, &place)? { Ok(()) } else { Err(refused) };
    }
    // Nobody takes a key away while it is brought to the new place.
    let _guard = repository.lock(LockMode::Adding)?;
    let keys = Holdings::gather(copies, FileKind::Key)?;
    // A key that some copies lack is being added or removed at this moment, or was left by that: it is not ours to spread.
    let everywhere: Vec<_> =
        keys.files.iter().filter(|(_, held)| held.copies == keys.asked).map(|(id, _)| *id).collect();
    if !everywhere.contains(&repository.key_id()) {
        let text = "the key in use is not on every copy; `triplicate copies heal` brings it there".to_owned();
        return Err(Error::Request(text));
    }
    copies.wait(place.create())?;
    for id in everywhere {
        let name = FileName::new(FileKind::Key, id);
        let bytes = copies.read_whole(name, Holders::of(&keys, &id))?;
        copies.wait(place.write(name, bytes))?;
    }
    let config = sound_config(repository)?;
    copies.wait(place.write(FileName::CONFIG, config))?;
    Ok(())
}

/// Whether the place has this repository's very `config` and no key that the copies lack. The `config` is written last,
/// so all keys of its time are there.
fn is_copy_already(repository: &Repository, place: &Arc<dyn Destination>) -> Result<bool> {
    let copies = repository.copies();
    let found = match copies.wait(place.read(FileName::CONFIG, Span::Whole)) {
        Ok(found) => found,
        Err(fault) if fault.kind == FaultKind::NotFound => return Ok(false),
        Err(fault) => return Err(fault.into()),
    };
    if found != sound_config(repository)? {
        return Ok(false);
    }
    let keys = Holdings::gather(copies, FileKind::Key)?;
    let there = copies.wait(place.list(FileKind::Key))?;
    Ok(keys.agree() && there.len() == keys.files.len() && there.iter().all(|key| keys.files.contains_key(&key.id)))
}

/// The `config` as it lies on the copies, opened and compared: its bytes have no hash for a name.
pub(crate) fn sound_config(repository: &Repository) -> Result<Bytes> {
    repository.copies().read(FileName::CONFIG, Span::Whole, Holders::ALL, |bytes| {
        let opened = repository.master().open(&bytes).and_then(|plain| format::Config::parse(&plain));
        match opened {
            Ok(config) if &config == repository.config() => Ok(bytes),
            Ok(_) => Err("it is another repository's".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
}
