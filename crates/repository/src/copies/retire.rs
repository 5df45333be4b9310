//! Taking a copy out of the set: everything of the repository is removed from its place, and nothing else there.
//!
//! Only a copy that is not needed goes: another one, by itself, must list every snapshot, index and key that any copy has,
//! and every pack that the index names, each with the same size everywhere. The order is that of a forget and a prune, so
//! that what is left at any moment is a smaller copy that is behind; the `config` goes last, and until then the same call
//! goes on where it was.

use std::collections::HashSet;

use format::{FileKind, FileName};
use model::{Fault, Id};

use super::removal::{Patience, Remover, TOGETHER};
use super::status::Holdings;
use crate::error::{Error, Result};
use crate::locks::LockMode;
use crate::repository::Repository;

/// What names what comes before what it names.
const ORDER: [FileKind; 4] = [FileKind::Snapshot, FileKind::Index, FileKind::Pack, FileKind::Key];

/// What was removed of a copy, or would be.
#[derive(Debug, Clone)]
pub struct RetireReport {
    /// The place, without secrets.
    pub copy: String,
    /// Files that the copy had, with its `config`.
    pub files: u64,
    /// Their bytes, without the `config`'s.
    pub bytes: u64,
    /// Files that were removed; none in a dry run.
    pub removed: u64,
    /// Files that the place keeps, and why it keeps the first.
    pub kept: Option<(u64, Fault)>,
}

/// Removes the copy with this number from its place.
///
/// # Errors
/// When no other copy has everything, when the copy cannot be used, and when somebody else holds a lock on any copy.
pub fn retire(repository: &Repository, number: usize, dry_run: bool) -> Result<RetireReport> {
    let copies = repository.copies();
    let mode = if dry_run { LockMode::Reading } else { LockMode::Exclusive };
    let guard = repository.lock(mode)?;
    let needed: HashSet<Id> = repository.indexed()?.index.packs().iter().copied().collect();
    let holdings = ORDER.map(|kind| Holdings::gather(copies, kind)).into_iter().collect::<Result<Vec<_>>>()?;
    if let Some(fault) = copies.all().get(number).and_then(super::Copy::lost) {
        return Err(fault.clone().into());
    }
    if !copies.live().any(|(other, _)| other != number && has_all(&holdings, other, &needed)) {
        return Err(Error::Refused {
            why: format!(
                "no other copy has all that {} and the others have; nothing was removed",
                copies.place(number)
            ),
            hint: "name the copies that stay with -r; `triplicate copies sync` brings them up to date".to_owned(),
        });
    }
    let mut names: Vec<FileName> = Vec::new();
    let mut bytes = 0;
    for held in &holdings {
        let own = held.files.iter().filter(|(_, file)| file.copies & (1 << number) != 0);
        names.extend(own.map(|(id, _)| FileName::new(held.kind, *id)));
        bytes += held.of(number).1;
    }
    names.push(FileName::CONFIG);
    let copy = copies.place(number).to_owned();
    let mut report = RetireReport { copy, files: names.len() as u64, bytes, removed: 0, kept: None };
    if dry_run {
        return Ok(report);
    }
    let progress = repository.observer().progress();
    progress.found(report.files, 0);
    let (cancel, fence) = (repository.cancel(), guard.fence());
    let remover = Remover { copies, cancel, fence: &fence, patience: Patience::First };
    // Lot by lot, so that no pack goes before an index file that names it; the config waits for all.
    for lot in names.chunk_by(|one, next| one.kind() == next.kind()).flat_map(|kind| kind.chunks(TOGETHER)) {
        cancel.check()?;
        for (_, removal) in remover.remove(1 << number, |_| lot.to_vec()) {
            if let Some(fault) = removal.fault {
                cancel.check()?;
                return Err(fault.into());
            }
            report.removed += removal.removed.len() as u64;
            progress.done(removal.removed.len() as u64, 0);
            if let Some(refusal) = removal.refusal {
                report.kept = Some((report.files - report.removed, refusal));
                return Ok(report);
            }
        }
    }
    // The hot part of a pair has a `config` of its own, which no listing shows.
    if let Some(pair) = copies.all().get(number).and_then(|copy| copy.destination().as_pair()) {
        copies.wait(pair.hot().remove(FileName::CONFIG))?;
    }
    Ok(report)
}

/// Whether copy `number` lists everything that any copy lists and a restore may need, and nobody another size of it.
fn has_all(holdings: &[Holdings], number: usize, needed: &HashSet<Id>) -> bool {
    let is_there = |held: &Holdings, id: &Id| {
        held.files.get(id).is_some_and(|file| file.copies & (1 << number) != 0 && file.other_size == 0)
    };
    holdings.iter().all(|held| match held.kind {
        FileKind::Pack => needed.iter().all(|id| is_there(held, id)),
        _ => held.files.keys().all(|id| is_there(held, id)),
    })
}
