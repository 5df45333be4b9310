//! Locks of the places themselves: every file that the repository's snapshots need is kept from removal for so many days
//! more, on each copy whose place can do that and was told to.
//!
//! Asked for again and again (after each backup, or daily), it keeps what is in use locked and lets the rest go: what a
//! prune has taken out of the index is not locked any further, and can be removed when its time has come. Nothing here
//! shortens a lock.

use std::collections::HashSet;

use destinations::Destination;
use format::{FileKind, FileName};
use futures::StreamExt as _;
use futures::stream;
use jiff::{SignedDuration, Timestamp};
use model::{Fault, Id, Verdict};

use crate::copies::sync::as_part;
use crate::error::{Error, Result};
use crate::locks::LockMode;
use crate::observer::Progress;
use crate::repository::{Indexed, Repository};

/// Requests under way at one time; each place has its own limit below that.
const REQUESTS_AT_ONCE: usize = 16;
/// Requests between two looks at whether the user wants to stop.
const REQUESTS_IN_A_ROW: usize = 256;

/// How one copy came out.
#[derive(Debug, Clone)]
pub struct CopyExtended {
    /// The place, without secrets.
    pub copy: String,
    /// Until when its files are locked; none where the place locks nothing.
    pub until: Option<Timestamp>,
    /// Files that are locked until then.
    pub files: u64,
    /// Why not all of them are.
    pub fault: Option<Fault>,
}

/// What was done.
#[derive(Debug, Clone)]
pub struct ExtendReport {
    /// Every copy, in the order in which they were named.
    pub copies: Vec<CopyExtended>,
    /// The worst of them.
    pub verdict: Verdict,
}

/// Locks what the snapshots need, on every copy that is set to.
///
/// # Errors
/// When no copy is set to lock anything, or the repository cannot be read.
pub fn extend(repository: &Repository) -> Result<ExtendReport> {
    if !repository.copies().all().iter().any(|copy| copy.destination().lock_days().is_some()) {
        return Err(Error::Request("no copy is set to lock files: set `object_lock_days` for a bucket".to_owned()));
    }
    let _guard = repository.lock(LockMode::Reading)?;
    let indexed = repository.indexed()?;
    let copies = repository.copies();
    let mut ends = Vec::new();
    for copy in copies.all() {
        let place = copy.destination().as_ref();
        let mut end =
            CopyExtended { copy: copy.place().to_owned(), until: None, files: 0, fault: copy.lost().cloned() };
        if let (Some(days), None) = (place.lock_days(), &end.fault) {
            let until = repository.clock().now() + SignedDuration::from_hours(24 * i64::from(days));
            end.until = Some(until);
            match lock_all(&indexed, place, until, &mut end.files) {
                Err(Error::Destination(fault)) => end.fault = Some(fault),
                locked => locked?,
            }
        }
        ends.push(end);
    }
    let verdict = ends.iter().map(|end| if end.fault.is_some() { Verdict::Failed } else { Verdict::Ok });
    let verdict = match Verdict::worst(verdict.clone()) {
        Verdict::Failed if ends.iter().any(|end| end.fault.is_none()) => as_part(Verdict::Failed),
        worst => worst,
    };
    Ok(ExtendReport { copies: ends, verdict })
}

fn lock_all(indexed: &Indexed<'_>, place: &dyn Destination, until: Timestamp, done: &mut u64) -> Result<()> {
    let repository = indexed.repository;
    let names = needed(indexed, place)?;
    let progress: &Progress = repository.observer().progress();
    progress.found(names.len() as u64, 0);
    for some in names.chunks(REQUESTS_IN_A_ROW) {
        repository.cancel().check()?;
        let asked = some.iter().map(|name| place.lock_until(*name, until));
        let answers: Vec<_> =
            repository.copies().wait(stream::iter(asked).buffer_unordered(REQUESTS_AT_ONCE).collect());
        for answer in answers {
            answer?;
            *done += 1;
            progress.done(1, 0);
        }
    }
    Ok(())
}

/// What this copy has of what the snapshots need, in the order in which a copy is written: a run that breaks off has then
/// locked packs before the snapshots that need them.
fn needed(indexed: &Indexed<'_>, place: &dyn Destination) -> Result<Vec<FileName>> {
    let copies = indexed.repository.copies();
    let in_index: HashSet<&Id> = indexed.index.packs().iter().collect();
    let mut names = vec![FileName::CONFIG];
    for kind in [FileKind::Key, FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
        let listed = copies.wait(place.list(kind))?;
        let wanted = listed.iter().filter(|file| kind != FileKind::Pack || in_index.contains(&file.id));
        names.extend(wanted.map(|file| FileName::new(kind, file.id)));
    }
    Ok(names)
}
