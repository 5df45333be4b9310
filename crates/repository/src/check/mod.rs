//! Check: whether each copy on its own gives every snapshot back, and whether the copies are equal.
//!
//! A check believes nothing that it did not see: every small file is read and compared with its name, every tree is
//! read, and with `--read-data` every byte of every pack is, down to the hash of each blob. No copy helps another: a
//! copy that is sound only together with the others is reported as damaged. Nothing is ever changed, and no damage
//! ends a check early.
//!
//! The stages of one copy: [`structure`] (small files, index against listing), [`packs`] (data packs first, then tree
//! packs, each read once), [`graph`] (what the snapshots reach), [`affected`] (names for what is lost). Then the
//! copies beside each other: [`compare`].

mod affected;
mod catalog;
mod compare;
pub(crate) mod crew;
pub(crate) mod feed;
mod graph;
mod packs;
pub(crate) mod place;
mod report;
mod rolling;
mod session;
mod structure;
mod subset;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use destinations::Destination;
use format::BlobKind;
use model::Id;

use crate::bits::Bits;
use crate::buffers::Buffers;
use crate::copies::CopySet;
use crate::copies::warm::{self, Patience};
use crate::error::{Error, Result};
use crate::locks::LockMode;
use crate::observer::Silent;
use crate::opener::Opener;
use crate::records::read::PacksSeen;
use crate::repository::Repository;
use crate::threads;
use affected::Naming;
use catalog::Catalog;
use compare::Side;
use graph::Graph;
use packs::{Job, Opened, Outcome, PackReader, Want};
use place::{Place, Trouble};
use session::Session;
use structure::{Listings, Structure};

pub use report::{Affected, CheckReport, CopyReport, Counts, Finding, Lacking, Loss};
pub use rolling::{Rolling, RollingCounts};
pub use subset::{ReadData, Subset};

/// What to check.
#[derive(Debug, Clone, Default)]
pub struct CheckRequest {
    /// How much of the packs' content to read.
    pub read: ReadData,
    /// The copies to check, by their number in [`crate::copies::CopySet::all`]; none means all.
    pub copies: Option<Vec<usize>>,
    /// Threads that verify packs; none means as many as the machine has cores.
    pub threads: Option<usize>,
    /// Where a random part comes from; none means a new one.
    pub seed: Option<u64>,
    /// How long to wait for packs that are to be read and lie in an archive; without it such packs are a reason to refuse.
    pub patience: Option<Patience>,
}

/// What is left of a copy's check for the comparison.
struct Seen {
    copy: String,
    listings: Listings,
    indexed: HashSet<Id>,
    /// The snapshots that are sound files.
    snapshots: Vec<Id>,
}

/// Checks the copies, one after the other, under a reading lock. An error means that the check itself could not go on; everything that is
/// wrong with a copy is in the report.
pub fn check(repository: &Repository, request: &CheckRequest) -> Result<CheckReport> {
    let all = repository.copies().all();
    let chosen = request.copies.clone().unwrap_or_else(|| (0..all.len()).collect());
    if let Some(wrong) = chosen.iter().find(|number| **number >= all.len()) {
        return Err(Error::Request(format!("there is no copy number {wrong}: {} were named", all.len())));
    }
    let seed = match request.seed {
        Some(seed) => seed,
        None => getrandom::u64().map_err(|error| Error::Request(format!("no random numbers: {error}")))?,
    };
    if let (ReadData::Rolling(_), None) = (request.read, repository.records()) {
        let text = "a rolling check has to remember what it read, and this user has no folder for that: set HOME";
        return Err(Error::Request(text.to_owned()));
    }
    let _guard = repository.lock(LockMode::Reading)?;
    let opened = Opened::default();
    let mut report = CheckReport { copies: Vec::new(), lacking: Vec::new(), seed };
    let mut seen = Vec::new();
    for (n, copy) in chosen.iter().filter_map(|number| all.get(*number)).enumerate() {
        repository.cancel().check()?;
        let place = Place::new(copy.destination().as_ref(), repository.copies().runtime(), repository.master());
        let mut session = Session::new(&place, repository, repository.observer());
        session.is_last = n + 1 == chosen.len();
        session.number = chosen.get(n).copied();
        session.patience = request.patience;
        session.workers = request.threads.unwrap_or_else(threads::count);
        match copy.lost() {
            Some(fault) => session.report.fault = Some(fault.clone()),
            None => seen.extend(check_copy(&mut session, repository, request.read, seed, &opened)?),
        }
        report.copies.push(session.report);
    }
    // What was read to the last byte, and from which nothing is missing, is known to be whole.
    if request.read == ReadData::All {
        let sound = report.copies.iter().filter(|copy| copy.errors() == 0).map(|copy| &copy.copy);
        let sound: HashSet<&String> = sound.collect();
        let verified = seen.iter().filter(|seen| sound.contains(&seen.copy)).flat_map(|seen| &seen.snapshots);
        repository.note_verified(verified.copied());
    }
    let sides: Vec<Side<'_>> =
        seen.iter().map(|seen| Side { copy: &seen.copy, listings: &seen.listings, indexed: &seen.indexed }).collect();
    report.lacking = compare::compare(&sides);
    Ok(report)
}

/// What can be given back from `destination`, which may be no single copy: everything but the content of data packs is
/// read. Nobody is told of each damage; it is in the report.
pub(crate) fn look_at(repository: &Repository, destination: &dyn Destination) -> Result<CopyReport> {
    let place = Place::new(destination, repository.copies().runtime(), repository.master());
    let silent = Silent::default();
    let mut session = Session::new(&place, repository, &silent);
    check_copy(&mut session, repository, ReadData::No, 0, &Opened::default())?;
    Ok(session.report)
}

/// Checks one copy. Gives its listings, where they could be taken.
fn check_copy(
    session: &mut Session<'_>,
    repository: &Repository,
    read: ReadData,
    seed: u64,
    opened: &Opened,
) -> Result<Option<Seen>> {
    let Ok(listings) = Listings::gather(session.place) else {
        session.report.fault = session.place.lost().cloned();
        return Ok(None);
    };
    let Structure { snapshots, catalog, mut bad } = structure::check(session, &listings, repository.config())?;
    let mut graph = Graph::new(catalog.tree_entries());
    let choose = |sizes: &[(Id, u64)]| match read {
        ReadData::No => vec![false; sizes.len()],
        ReadData::All => vec![true; sizes.len()],
        ReadData::Subset(subset) => subset.choose(sizes, seed),
        ReadData::Rolling(rolling) => {
            rolling.choose(sizes, &repository.read_log(&session.report.copy), repository.today())
        }
    };
    let (data, trees) = jobs(&catalog, choose);
    let size = |jobs: &[Job<'_>]| jobs.iter().filter_map(|job| job.pack.size).sum::<u64>();
    session.progress().found((data.len() + trees.len()) as u64, size(&data) + size(&trees));
    session.progress().totals_known.store(session.is_last, Ordering::Relaxed);
    warm_up(session, repository, &data)?;
    // Data first: when trees are read, every blob that is lost is known, and no content list has to be kept. Trees in
    // packs of data are judged with the other trees, when all is known.
    read_packs(session, &catalog, &data, &mut bad, None, opened)?;
    read_packs(session, &catalog, &trees, &mut bad, Some(&mut graph), opened)?;
    if let Some(fault) = session.place.lost() {
        session.report.fault = Some(fault.clone());
    } else {
        follow(session, &catalog, &graph, &bad, &snapshots)?;
        remember(session, repository, &catalog, read, &data);
    }
    finish(session);
    let indexed = catalog.packs().iter().map(|pack| pack.id).collect();
    let snapshots = snapshots.into_iter().map(|(id, _)| id).collect();
    Ok(Some(Seen { copy: session.report.copy.clone(), listings, indexed, snapshots }))
}

/// What is to be read may lie in an archive of this very copy.
fn warm_up(session: &Session<'_>, repository: &Repository, data: &[Job<'_>]) -> Result<()> {
    let copies = repository.copies();
    let Some(copy) = session.number.and_then(|number| copies.all().get(number)) else { return Ok(()) };
    let observer = repository.surroundings().observer.clone();
    let alone = vec![copy.destination().clone()];
    let alone = CopySet::new(alone, copies.runtime().clone(), observer, copies.clock().clone());
    let needed = data.iter().map(|job| job.pack.id).collect();
    warm::make_warm(&alone, &needed, session.patience, session.cancel)
}

/// Remembers which packs were read, and counts what a rolling check owes.
fn remember(session: &mut Session<'_>, repository: &Repository, catalog: &Catalog, read: ReadData, data: &[Job<'_>]) {
    let there: Vec<(Id, u64)> = catalog.packs().iter().filter_map(|pack| Some((pack.id, pack.size?))).collect();
    let ids: Vec<Id> = there.iter().map(|(id, _)| *id).collect();
    let (sound, bad) = (std::mem::take(&mut session.sound_packs), &session.report.broken_packs);
    let is_kept = repository.note_read(&session.report.copy, &PacksSeen { there: &ids, sound: &sound, bad });
    let ReadData::Rolling(rolling) = read else { return };
    if !is_kept {
        session
            .report
            .note("what was read cannot be remembered on this machine: the next check begins anew".to_owned());
    }
    let log = repository.read_log(&session.report.copy);
    let mut counts = rolling.count(&there, &log, repository.today());
    counts.packs = data.len() as u64;
    counts.bytes = data.iter().filter_map(|job| job.pack.size).sum();
    session.report.rolling = Some(counts);
}

/// Which packs to read: those with data that were asked for, and all with trees.
fn jobs(catalog: &Catalog, choose: impl FnOnce(&[(Id, u64)]) -> Vec<bool>) -> (Vec<Job<'_>>, Vec<Job<'_>>) {
    let there: Vec<_> = catalog.packs().iter().filter(|pack| pack.size.is_some()).collect();
    let sizes: Vec<(Id, u64)> = there.iter().map(|pack| (pack.id, pack.size.unwrap_or_default())).collect();
    let chosen = choose(&sizes);
    let mut data = Vec::new();
    let mut trees = Vec::new();
    for (pack, is_chosen) in there.into_iter().zip(chosen) {
        // A pack without blobs in the index is read like data: its header may tell more.
        let is_data = pack.has_data || !pack.has_trees;
        if is_data && is_chosen {
            data.push(Job { pack, want: Want::Whole });
        }
        if pack.has_trees {
            trees.push(Job { pack, want: if pack.has_data { Want::Trees } else { Want::Whole } });
        }
    }
    (data, trees)
}

fn read_packs(
    session: &mut Session<'_>,
    catalog: &Catalog,
    jobs: &[Job<'_>],
    bad: &mut Bits,
    mut graph: Option<&mut Graph>,
    opened: &Opened,
) -> Result<()> {
    let known_bad = bad.clone();
    let spare = Buffers::new(feed::most_at_once(session.workers));
    let reader = PackReader { place: session.place, catalog, bad: &known_bad, opened, spare: &spare };
    let plan = feed::Plan {
        workers: session.workers,
        cancel: session.cancel,
        clock: session.clock,
        weigh: &|job: &Job<'_>| reader.weight(job),
        read: &|job: &Job<'_>| reader.fetch(job),
        tools: &Opener::default,
        work: &|opener: &mut Opener, packs| {
            let sizes: Vec<u64> = packs.iter().map(|(job, _)| job.pack.size.unwrap_or_default()).collect();
            reader.judge(opener, packs).into_iter().zip(sizes).collect()
        },
    };
    feed::run(jobs, &plan, |(outcome, size)| {
        session.progress().done(1, size);
        if let Some(graph) = graph.as_deref_mut() {
            outcome.trees.iter().for_each(|facts| graph.add(facts));
        }
        collect(session, outcome, bad);
    })
}

fn collect(session: &mut Session<'_>, outcome: Outcome, bad: &mut Bits) {
    let report = &mut session.report;
    report.counts.blobs_read += outcome.blobs_read;
    report.counts.packs_read += u64::from(outcome.read_whole);
    if outcome.read_whole && outcome.trouble.is_none() {
        session.sound_packs.push(outcome.pack);
    }
    report.suggest_repair_index |= outcome.index_differs;
    outcome.bad.iter().for_each(|number| {
        bad.insert(*number);
    });
    if let Some(trouble) = outcome.trouble {
        if matches!(trouble, Trouble::Damaged(_)) {
            report.broken_packs.push(outcome.pack);
        }
        let hint = "`triplicate copies heal --read-data` replaces it from a sound copy; with none, `repair packs` saves the rest";
        session.damage(format::FileName::pack(outcome.pack), trouble, hint);
    }
}

/// Follows the snapshots through the trees, and names what is lost.
fn follow(
    session: &mut Session<'_>,
    catalog: &Catalog,
    graph: &Graph,
    bad: &Bits,
    snapshots: &[(Id, Id)],
) -> Result<()> {
    let roots: Vec<usize> = snapshots.iter().filter_map(|(_, tree)| catalog.rank(BlobKind::Tree, tree)).collect();
    let reached = graph.reach(roots);
    session.report.counts.trees = reached.trees;
    let mut naming = Naming { catalog, graph, reached: &reached, bad, kept: HashMap::new() };
    naming.name_all(session, snapshots)?;
    // What no index has is a damage that belongs to no file; the snapshot that lacks it stands for it.
    for snapshot in session.report.affected_snapshots.clone() {
        let first = session.report.affected.iter().find(|affected| affected.snapshot == snapshot);
        let Some(first) = first else { continue };
        let path = String::from_utf8_lossy(&first.path).into_owned();
        let why = Trouble::Damaged(format!("it cannot be restored in full from this copy; `{path}` is the first loss"));
        let hint = "name a sound copy with -r when you restore; `triplicate copies heal` brings what is missing";
        session.damage(format::FileName::new(format::FileKind::Snapshot, snapshot), why, hint);
    }
    Ok(())
}

/// Last words on a copy.
fn finish(session: &mut Session<'_>) {
    let again = session.place.read_again();
    session.report.counts.bytes_read = session.place.bytes_read();
    if again > 0 {
        session
            .report
            .note(format!("{again} files arrived damaged once and were right when read again: check the line"));
    }
    let report = &mut session.report;
    report.broken_packs.sort_unstable();
    report.broken_packs.dedup();
    report.affected_snapshots.sort_unstable();
    report.affected_snapshots.dedup();
    let counts = report.counts;
    if counts.packs_unindexed > 0 {
        report.note(format!(
            "{} packs ({} bytes) are in no index: harmless, a prune removes them",
            counts.packs_unindexed, counts.bytes_unindexed
        ));
    }
    if counts.blobs_duplicate > 0 {
        report.note(format!("{} blobs are stored twice: harmless, a prune removes them", counts.blobs_duplicate));
    }
}
