//! Restore: a snapshot, or a part of it, becomes files again.
//!
//! ```text
//! walk (listings, folders) --batches--> examine (what is there?) -> reads (which chunks, from where?)
//!                                       -> fetch and write (many threads) -> metadata -> further names -> folders
//! ```
//!
//! **Never outside the target.** The target is opened once; everything below it is reached from open folders by names
//! that were checked to be one component, without following a link ([`target`], [`place`]). What stands in the way of
//! an entry is replaced, never written through.
//!
//! **Never wrong bytes.** A chunk is checked against its id before it is written, and comes from whichever copy has it
//! sound. A file of which a chunk is lost is named in the report and removed, unless [`Incomplete::Keep`] asks for what
//! there is; everything else goes on.
//!
//! **Resumable.** A second run into the same target compares what is there chunk by chunk and fetches what differs.
//!
//! **Archives.** Where a copy may be cold, a restore that writes nothing finds out first which packs are needed; those that
//! no copy can give at once are asked for together and waited for.
//!
//! **Bounded memory.** Work goes in batches of bounded size, a thread reads at most 8 MiB at a time and has 4 MiB of room
//! to open them, and open files and folders are counted. What grows with the snapshot is one record for each file with
//! several names, until all of its names were seen.
//!
//! The repository is only read. Owners that only root may set are counted; entries of an unknown type are named and
//! left out.

mod attributes;
mod batch;
mod content;
mod examine;
mod fetch;
mod finish;
mod folder;
mod further;
mod job;
mod metadata;
mod name;
mod names_of_files;
mod place;
mod reads;
mod report;
mod request;
mod surplus;
mod target;
mod turns;
mod verify;
mod walk;

#[cfg(test)]
mod target_tests;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};

use format::Snapshot;
use model::Id;

pub use report::RestoreReport;
pub use request::{Incomplete, Overwrite, RestoreRequest, UnknownOverwrite};

use self::batch::Batch;
use self::folder::Folders;
use self::report::Tally;
use self::target::Target;
use self::turns::Turns;
use self::walk::{Walk, find_subfolder};
use crate::copies::warm::{self, ColdPacks};
use crate::error::{Error, Result};
use crate::observer::{Observer, Silent};
use crate::pace::READS_MAX;
use crate::repository::{Indexed, Repository};
use crate::threads;

/// Most threads when the request does not say. So many wait for a far copy; of a near one they only take turns.
const CREW_MAX: usize = 16;

/// Most threads that a request may ask for: each holds a read and a chunk in memory.
const CREW_ASKED_MAX: usize = 64;

/// Restores what `request` asks for from `snapshot`.
///
/// An `Err` means that the restore as a whole did not come to its end; it can be run again and continues with what is
/// there. Trouble with single entries is in the report, which then has no good verdict.
pub fn restore(
    indexed: &Indexed<'_>,
    snapshot: &Snapshot,
    request: &RestoreRequest,
    observer: &dyn Observer,
) -> Result<RestoreReport> {
    check(request)?;
    let top = match &request.subfolder {
        Some(subfolder) => find_subfolder(indexed, snapshot.tree, subfolder)?,
        None => snapshot.tree,
    };
    let cold = cold_packs(indexed, top, request)?;
    let foretold = (cold.count(), cold.bytes());
    if !request.dry_run {
        let Repository { copies, surroundings, .. } = indexed.repository;
        warm::warm_up(copies, cold, request.patience, &surroundings.cancel)?;
    }
    let mut report = run(indexed, top, request, observer)?.tally.into_report();
    (report.cold_packs, report.cold_bytes) = foretold;
    Ok(report)
}

/// The packs that this restore needs and that no copy can give now. It is found out by a restore that writes nothing.
fn cold_packs(indexed: &Indexed<'_>, top: Id, request: &RestoreRequest) -> Result<ColdPacks> {
    let Repository { copies, surroundings, .. } = indexed.repository;
    if !warm::is_worth_asking(copies) {
        return Ok(ColdPacks::default());
    }
    let rehearsal = RestoreRequest { dry_run: true, verify: false, ..request.clone() };
    let needed = run(indexed, top, &rehearsal, &Silent::default())?.packs.into_inner();
    warm::find(copies, &needed.unwrap_or_else(PoisonError::into_inner), &surroundings.cancel)
}

fn run<'a>(
    indexed: &'a Indexed<'a>,
    top: Id,
    request: &'a RestoreRequest,
    observer: &'a dyn Observer,
) -> Result<Restoration<'a>> {
    let restoration = Restoration::new(indexed, request, observer)?;
    let (sender, receiver) = sync_channel::<Batch>(1);
    let (walked, worked) = std::thread::scope(|scope| {
        let walk = Walk::new(&restoration, sender);
        let walker = scope.spawn(move || walk.run(top));
        let worked = receiver.into_iter().try_for_each(|batch| restoration.work_on(batch));
        let walked =
            walker.join().unwrap_or_else(|_| Err(Error::Request("the walk of the snapshot failed".to_owned())));
        (walked, worked)
    });
    worked.and(walked)?;
    Ok(restoration)
}

fn check(request: &RestoreRequest) -> Result<()> {
    let refused = |why: &str| Err(Error::Request(why.to_owned()));
    if request.target.as_os_str().is_empty() {
        return refused("no folder to restore into was named");
    }
    if request.dry_run && request.verify {
        return refused("a dry run writes nothing that could be verified");
    }
    let is_root = request.target.components().all(|part| matches!(part, std::path::Component::RootDir));
    if request.delete && is_root && request.selection.takes_everything() {
        return refused("removing what is not in the snapshot from `/` needs an include or an exclude");
    }
    Ok(())
}

/// A restore under way.
struct Restoration<'a> {
    indexed: &'a Indexed<'a>,
    request: &'a RestoreRequest,
    /// None in a dry run into a target that is not there.
    folders: Option<Folders>,
    tally: Tally<'a>,
    crew: usize,
    turns: Turns,
    /// In a dry run, the packs that would be read.
    packs: Mutex<HashSet<Id>>,
}

impl<'a> Restoration<'a> {
    fn new(indexed: &'a Indexed<'a>, request: &'a RestoreRequest, observer: &'a dyn Observer) -> Result<Self> {
        let failed = |source: std::io::Error| Error::local("open the target", &request.target, source);
        let target = if request.dry_run {
            match Target::open(&request.target) {
                Ok(target) => Some(target),
                Err(rustix::io::Errno::NOENT) => None,
                Err(error) => return Err(failed(error.into())),
            }
        } else {
            Some(Target::create(&request.target).map_err(failed)?)
        };
        let crew = match request.threads {
            0 => (threads::count() + READS_MAX).min(CREW_MAX),
            asked => asked.min(CREW_ASKED_MAX),
        };
        let turns = Turns::new((request.threads == 0).then(threads::count));
        let folders = target.map(Folders::new);
        Ok(Self { indexed, request, folders, tally: Tally::new(observer), crew, turns, packs: Mutex::default() })
    }

    /// Works on one batch from its entries to the folders that are complete after it.
    fn work_on(&self, batch: Batch) -> Result<()> {
        self.restore_entries(&batch.entries)?;
        let singles = self.make_further_names(batch.further)?;
        self.restore_entries(&singles)?;
        for finished in batch.finished {
            self.indexed.repository.cancel().check()?;
            self.finish_folder(finished);
        }
        Ok(())
    }

    /// Whether an error leaves nothing to go on with: nobody wants it any more, or no copy can be reached.
    fn ends_everything(&self, error: &Error) -> bool {
        matches!(error, Error::Interrupted) || self.indexed.repository.copies().live().next().is_none()
    }

    /// Lets the crew take the numbers below `count` in order, each thread with tools of its own.
    fn each<T>(
        &self,
        count: usize,
        tools_of: impl Fn() -> T + Sync,
        work: impl Fn(&mut T, usize) -> Result<()> + Sync,
    ) -> Result<()> {
        let next = AtomicUsize::new(0);
        let round = self.turns.round();
        threads::run(self.crew.min(count), |thread| {
            let _ending = round.ending();
            let mut tools = None;
            while round.wait(thread) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                self.indexed.repository.cancel().check()?;
                work(tools.get_or_insert_with(&tools_of), number)?;
            }
            Ok(())
        })
    }
}
