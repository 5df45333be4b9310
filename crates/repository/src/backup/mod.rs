//! Backup: one read of the sources becomes one snapshot on every copy.
//!
//! A fixed crew of threads takes work from one pile ([`walk`]): folders are walked ([`folder`]), files read ([`file`]),
//! chunks hashed, deduplicated, compressed, sealed and packed ([`ingest`]) by whoever took them, from start to end. Only
//! finished packs leave a thread, to the fan-out, which writes them to each copy at its own pace. Copies that are behind
//! catch up in the same queues, before the new snapshot is written to them.
//!
//! The snapshot is made only when every source was walked and every blob handed over. What could not be read is in the
//! report, by name, and lowers the verdict.

mod above;
mod accounts;
mod crew;
mod descend;
mod elsewhere;
mod entries;
mod explain;
mod facts;
mod file;
mod folder;
mod guards;
mod ingest;
mod memory;
mod metadata;
mod origin;
mod parent;
mod roots;
mod source;
mod tally;
mod tasks;
mod walk;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use destinations::Span;
use format::{Compression, FileKind, FileName, Moment, Snapshot, SnapshotSummary};
use jiff::Zoned;
use model::{Fault, FaultKind, Id, Verdict};

use crate::copies::fan_out::{CopyOutcome, FanOut};
use crate::copies::status::Holdings;
use crate::copies::sync::{Sources, as_part, hand_over_lacking};
use crate::error::{Damage, Error, Result};
use crate::filter::Excludes;
use crate::locks::{Fence, Guard, LockMode};
use crate::observer::{Event, Trouble};
use crate::repository::{Indexed, Repository};
use crate::snapshots::SnapshotListing;
use crate::threads;
use above::Before;
use elsewhere::Elsewhere;
pub use explain::{Explanation, Reason, explain};
pub use guards::Guards;
use ingest::{Bench, Ingest};
use memory::{Bond, Memory};
use metadata::Metadata;
pub use origin::{Entry, EntryKind, ErrorScope, Given, Origin, OriginError};
use parent::ChangeRule;
use roots::Roots;
use walk::Walk;

/// Threads for an origin that takes more questions at a time than this machine has cores: each has buffers of its own.
const ORIGIN_LANES_MAX: usize = 4;

/// Which snapshot to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParentChoice {
    /// The newest of the same host and paths.
    Auto,
    /// This one.
    Snapshot(String),
    /// None: everything is read (`--force`).
    None,
}

/// What to back up, and how.
#[derive(Debug, Clone)]
pub struct BackupRequest {
    /// Files and folders.
    pub paths: Vec<PathBuf>,
    /// What to back up instead of files and folders of this machine; `paths` is empty then.
    pub origin: Option<Given>,
    /// Where relative paths begin.
    pub current_folder: PathBuf,
    /// What to leave out.
    pub excludes: Excludes,
    /// The patterns as the user gave them, for the snapshot.
    pub exclude_texts: Vec<String>,
    /// Tags, in the order in which the snapshot has them.
    pub tags: Vec<String>,
    /// Host name in the snapshot.
    pub hostname: String,
    /// The snapshot's time; the start of the backup otherwise.
    pub time: Option<Zoned>,
    /// The program's name and version, for the snapshot.
    pub program_version: String,
    /// Which snapshot to compare with.
    pub parent: ParentChoice,
    /// A change of ctime alone is no change.
    pub ignore_ctime: bool,
    /// A change of the inode number alone is no change.
    pub ignore_inode: bool,
    /// Record access times.
    pub with_atime: bool,
    /// Make a snapshot of sources that hold no files.
    pub allow_empty: bool,
    /// What the sources must have.
    pub guards: Guards,
    /// Make no snapshot when it would have the tree of its parent.
    pub skip_if_unchanged: bool,
    /// Do everything but write.
    pub dry_run: bool,
    /// How hard to compress; ignored in version 1 repositories.
    pub compression: Compression,
    /// Open every sealed blob again before it counts.
    pub verify: bool,
    /// Worker threads; one for each core otherwise.
    pub threads: Option<usize>,
}

impl BackupRequest {
    /// The defaults for these paths.
    pub fn new(paths: Vec<PathBuf>, current_folder: PathBuf, hostname: String) -> Self {
        Self {
            paths,
            origin: None,
            current_folder,
            excludes: Excludes::default(),
            exclude_texts: Vec::new(),
            tags: Vec::new(),
            hostname,
            time: None,
            program_version: String::new(),
            parent: ParentChoice::Auto,
            ignore_ctime: false,
            ignore_inode: false,
            with_atime: false,
            allow_empty: false,
            guards: Guards::default(),
            skip_if_unchanged: false,
            dry_run: false,
            compression: Compression::Auto,
            verify: true,
            threads: None,
        }
    }
}

/// How a backup came out.
#[derive(Debug)]
pub struct BackupReport {
    /// The snapshot's id; none in a dry run, and where nothing has changed and that is to be left out.
    pub id: Option<Id>,
    /// True when the tree is that of the parent snapshot.
    pub is_unchanged: bool,
    /// The snapshot.
    pub snapshot: Snapshot,
    /// restic's counts.
    pub summary: SnapshotSummary,
    /// How long it took.
    pub duration: Duration,
    /// Every entry that is not as it was asked for.
    pub troubles: Vec<Trouble>,
    /// How each copy came out.
    pub copies: Vec<CopyOutcome>,
    /// True when files of the repository that were there before are damaged or lost; the observer was told which.
    pub has_damage: bool,
    /// Worst of all.
    pub verdict: Verdict,
}

/// Backs up.
pub fn backup(repository: &Repository, request: &BackupRequest) -> Result<BackupReport> {
    let started = repository.clock().monotonic();
    let now = repository.clock().local();
    let roots = match &request.origin {
        None => Roots::new(&request.paths, &request.current_folder)?,
        Some(given) => Roots::elsewhere(&given.paths, &request.paths)?,
    };
    request.guards.check_markers(&roots.top)?;
    // In this order, one after the other: a snapshot that is listed has its index in what is listed behind it, and an
    // index its packs. A backup that ends meanwhile would look damaged otherwise.
    let (guard, snapshots) = repository.lock_and_list(LockMode::Adding, FileKind::Snapshot)?;
    let listing = repository.snapshots_of(snapshots)?;
    let mut indexed = repository.indexed()?;
    let packs = Holdings::gather(repository.copies(), FileKind::Pack)?;
    let has_lost_packs = forget_lost_packs(&mut indexed, &packs);
    let parent = parent::choose(repository, request, &roots.absolute, &listing, now.timestamp())?;
    repository.observer().event(Event::Parent(parent.as_ref().map(|(id, _)| *id)));
    let fan_out = if request.dry_run { None } else { Some(start_fan_out(&indexed, &listing, &packs, guard.fence())?) };

    let rule = ChangeRule {
        ignore_ctime: request.ignore_ctime,
        ignore_inode: request.ignore_inode,
        parent_began: parent.as_ref().map_or(0, |(_, snapshot)| parent::began(snapshot)),
    };
    let metadata = Metadata::new(repository.clock().time_zone(), request.with_atime);
    let seconds = (now.timestamp().as_second(), 0);
    let elsewhere = request.origin.as_ref().map(|given| Elsewhere::new(given, seconds, rule.parent_began));
    let memory = recall(&indexed, &metadata, request, &roots, parent.as_ref().map(|(id, _)| *id), &now, has_lost_packs);
    let ingest = Ingest::new(&indexed, fan_out, request.compression, request.verify);
    let walk = Walk::new(&indexed, ingest, metadata, &request.excludes, rule, memory, elsewhere);
    let parent_tree = parent.as_ref().map(|(_, snapshot)| snapshot.tree);
    let tree = walk_sources(&walk, &roots, request, parent_tree)?;
    let troubles = walk.take_troubles();
    let Walk { ingest, tally, memory, metadata, .. } = walk;
    let (fan_out, stored) = ingest.into_fan_out();

    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let moment = |zoned: &Zoned| Moment::from(zoned);
    let summary = SnapshotSummary {
        backup_start: moment(&now),
        backup_end: moment(&repository.clock().local()),
        files_new: count(&tally.files_new),
        files_changed: count(&tally.files_changed),
        files_unmodified: count(&tally.files_unmodified),
        dirs_new: count(&tally.dirs_new),
        dirs_changed: count(&tally.dirs_changed),
        dirs_unmodified: count(&tally.dirs_unmodified),
        data_blobs: count(&stored.data_blobs),
        tree_blobs: count(&stored.tree_blobs),
        data_added: count(&stored.plain_bytes),
        data_added_packed: count(&stored.packed_bytes),
        total_files_processed: count(&tally.files_new) + count(&tally.files_changed) + count(&tally.files_unmodified),
        total_bytes_processed: count(&tally.bytes),
        ..SnapshotSummary::default()
    };
    let who = &repository.surroundings().who;
    let snapshot = Snapshot {
        parent: parent.map(|(id, _)| id),
        paths: roots.absolute.iter().map(|path| path_text(path)).collect(),
        hostname: request.hostname.clone(),
        username: who.username.clone(),
        uid: who.uid,
        gid: who.gid,
        excludes: request.exclude_texts.clone(),
        tags: request.tags.clone(),
        program_version: request.program_version.clone(),
        summary: Some(summary.clone()),
        ..Snapshot::new(moment(request.time.as_ref().unwrap_or(&now)), tree)
    };
    let is_unchanged = parent_tree == Some(tree);
    let (id, copies) = match fan_out {
        // The copies still get what they lack.
        Some(fan_out) if is_unchanged && request.skip_if_unchanged => (None, finish(repository, fan_out, guard)?),
        Some(fan_out) => {
            let (id, copies) = write_snapshot(repository, fan_out, &snapshot, guard)?;
            if let Some(memory) = memory {
                memory.leave(id, &metadata.accounts);
            }
            (Some(id), copies)
        }
        None => (None, Vec::new()),
    };
    let of_entries = if troubles.is_empty() { Verdict::Ok } else { Verdict::Partial };
    // The new snapshot is whole; an older one may not be.
    let has_damage = has_lost_packs || indexed.has_unsound_index || !listing.troubles.is_empty();
    let of_repository = if has_damage { Verdict::Warning } else { Verdict::Ok };
    let of_copies = copies.iter().map(|copy| as_part(copy.verdict));
    let verdict = Verdict::worst(of_copies.chain([of_entries, of_repository]));
    let duration = repository.clock().monotonic().saturating_sub(started);
    Ok(BackupReport { id, is_unchanged, snapshot, summary, duration, troubles, copies, has_damage, verdict })
}

/// What this machine remembers of the parent snapshot; none where changes need not show in what the system says of an
/// entry (no ctimes), or show all the time (access times).
fn recall<'a>(
    indexed: &'a Indexed<'a>,
    metadata: &Metadata,
    request: &BackupRequest,
    roots: &Roots,
    parent: Option<Id>,
    now: &Zoned,
    has_lost_packs: bool,
) -> Option<Memory<'a>> {
    if request.ignore_ctime || request.with_atime || request.origin.is_some() {
        return None;
    }
    let parent = parent.filter(|_| !has_lost_packs);
    let began = now.timestamp().as_second();
    let bond = Bond { hostname: &request.hostname, paths: &roots.absolute, began, parent };
    Memory::recall(indexed, &metadata.accounts, &bond)
}

/// Forgets what no copy has any more, so that it is stored again, and names it. True when there was any.
fn forget_lost_packs(indexed: &mut Indexed<'_>, packs: &Holdings) -> bool {
    let lost = indexed.index.forget_packs(|id| packs.files.contains_key(id));
    if let Some(first) = lost.first() {
        let copy = indexed.repository.copies().places();
        let why = format!(
            "no copy has it, nor {} other packs of the index; what the sources still hold of them is stored again",
            lost.len() - 1
        );
        let file = FileName::pack(*first).path();
        indexed.repository.observer().event(Event::Damage(Damage { copy, file, why }));
    }
    !lost.is_empty()
}

/// Starts the queues; copies that are behind get what they lack put into theirs first.
fn start_fan_out<'a>(
    indexed: &Indexed<'a>,
    listing: &SnapshotListing,
    packs: &Holdings,
    fence: Fence,
) -> Result<FanOut<'a>> {
    let repository = indexed.repository;
    for damage in &listing.troubles {
        repository.observer().event(Event::Damage(damage.clone()));
    }
    let fan_out = FanOut::start(repository.copies(), repository.cancel(), fence)?;
    let mut snapshots = listing.sound_holdings();
    // What this machine has removed, and a copy that only grows still has, does not come back by itself.
    let removed = repository.intents();
    snapshots.files.retain(|id, _| !removed.contains_key(id));
    hand_over_lacking(indexed, &fan_out, &Sources { packs, indexes: &indexed.index_holdings, snapshots: &snapshots });
    Ok(fan_out)
}

/// Lets the crew loose on the sources; gives the top listing.
fn walk_sources(walk: &Walk<'_>, roots: &Roots, request: &BackupRequest, parent_tree: Option<Id>) -> Result<Id> {
    let mut first = walk.ingest.bench();
    let mut crew = request.threads.unwrap_or_else(threads::count).max(1);
    match (&walk.elsewhere, &request.origin) {
        (Some(elsewhere), Some(given)) => {
            crew = crew.max(given.origin.lanes().min(ORIGIN_LANES_MAX));
            walk.begin_elsewhere(&mut first, elsewhere, parent_tree)?;
        }
        _ => walk.begin(&mut first, &roots.top, None, Before::Top(parent_tree))?,
    }
    let benches = std::sync::Mutex::new(vec![first]);
    threads::run(crew, |_| {
        let mut bench: Bench = walk.ingest.bench();
        walk.work(&mut bench)?;
        threads::lock(&benches).push(bench);
        Ok(())
    })?;
    if let Some(source) = walk.sources().iter().find(|source| source.is_empty() && !request.allow_empty) {
        return Err(Error::SourceEmpty(source.given.clone()));
    }
    request.guards.check_counts(&walk.tally)?;
    walk.observer().progress().totals_known.store(true, Ordering::Relaxed);
    if let Some(elsewhere) = &walk.elsewhere {
        let mut last = walk.ingest.bench();
        walk.finish_elsewhere(&mut last, elsewhere)?;
        threads::lock(&benches).push(last);
    }
    walk.ingest.flush(std::mem::take(&mut *threads::lock(&benches)))?;
    let top = threads::lock(&walk.top).take();
    top.ok_or_else(|| Error::Request("the walk ended without a tree; please report this".to_owned()))
}

/// Waits until the copies have what they lacked; nothing else is written.
fn finish(repository: &Repository, fan_out: FanOut<'_>, guard: Guard) -> Result<Vec<CopyOutcome>> {
    let outcomes = fan_out.finish();
    repository.cancel().check()?;
    drop(guard);
    if outcomes.iter().all(|outcome| outcome.verdict == Verdict::Failed) {
        return Err(repository.copies().none_left());
    }
    Ok(outcomes)
}

/// Writes the snapshot behind everything else, lets go of the locks, and reads it back from each copy that acknowledged it.
fn write_snapshot(
    repository: &Repository,
    fan_out: FanOut<'_>,
    snapshot: &Snapshot,
    guard: Guard,
) -> Result<(Id, Vec<CopyOutcome>)> {
    let (name, bytes) = repository.seal_file(FileKind::Snapshot, &snapshot.to_bytes());
    fan_out.put(name, bytes.clone())?;
    let mut outcomes = fan_out.finish();
    repository.cancel().check()?;
    // The snapshot is there: nobody takes away any more what it needs, and our locks may go while it is read back.
    let read_back = std::thread::scope(|scope| {
        scope.spawn(move || drop(guard));
        repository.copies().ask_each(|destination| destination.read(name, Span::Whole))
    });
    for (number, answer) in read_back {
        let fault = match answer {
            Ok(back) if back == bytes => continue,
            Ok(_) => {
                let place = repository.copies().all()[number].place();
                Fault::new(FaultKind::Damaged, "read back", name.path(), place, "other bytes than were written")
            }
            Err(fault) => fault,
        };
        repository.copies().lose(number, fault.clone());
        outcomes[number].verdict = Verdict::Failed;
        outcomes[number].fault = Some(fault);
    }
    if outcomes.iter().all(|outcome| outcome.verdict == Verdict::Failed) {
        return Err(repository.copies().none_left());
    }
    let id = name.id().ok_or_else(|| Error::Request("a snapshot has no id".to_owned()))?;
    repository.keep_snapshot(id, &bytes);
    Ok((id, outcomes))
}

/// A path as snapshots hold it: bytes that are no UTF-8 become U+FFFD, as in restic.
pub(crate) fn path_text(path: &Path) -> String {
    format::lossy_text(path.as_os_str().as_bytes())
}
