//! A prune behind a server whose listings cannot be believed: shortened, empty, out of date, cut off or refused. It
//! removes nothing then, or only what no snapshot needs; and the next prune finishes what this one left.
//!
//! `TRIPLICATE_EXHAUSTIVE=1` runs every case on each kind of server instead of a sample.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod network;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use destinations::Limits;
use format::FileKind;
use model::{Secret, Verdict};
use network::{Base, Kind, LIMITS, Server, Three, chosen, ensure, for_each_case, only, sample_of};
use repository::prune::{MaxUnused, PruneReport, PruneRequest, prepare};
use repository::records::RecordsFolder;
use repository::{Repository, Surroundings};
use testkit::Verb;
use testkit::proxy::{At, Break, HttpFault, Lie, Rule};

/// Of the first kinds of server and of each other one, in a run without the variable.
const SAMPLES: [usize; 2] = [8, 1];

/// A listing that never comes is given up soon.
const IMPATIENT: Limits = Limits { retry_total_seconds: 1, first_contact_seconds: 1, ..LIMITS };

/// Whose listings lie, beside whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cast {
    /// The first of three copies.
    OneOfThree,
    /// The only copy, and this machine knows what it listed before.
    AloneAndRemembered,
    /// The only copy, and nobody knows what it listed before.
    AloneAndNew,
}

#[derive(Debug, Clone)]
struct Case {
    cast: Cast,
    fault: HttpFault,
    of: FileKind,
}

impl Case {
    fn all() -> Vec<Self> {
        let lies = [Lie::Stale, Lie::Empty, Lie::Percent(50), Lie::Percent(90), Lie::Cut];
        let mut faults: Vec<HttpFault> = lies.map(HttpFault::Listing).into();
        faults.extend([500, 403, 404].map(HttpFault::status));
        faults.extend([HttpFault::ShortBody, HttpFault::Break(Break::Reset, At::Reply(500))]);
        let mut cases = Vec::new();
        for cast in [Cast::OneOfThree, Cast::AloneAndRemembered, Cast::AloneAndNew] {
            for fault in &faults {
                for of in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
                    cases.push(Self { cast, fault: fault.clone(), of });
                }
            }
        }
        cases
    }

    /// Whether going on would be a mistake. What is left are lies that nobody can see through, or that take away only
    /// what nobody needs: what comes of them does no harm.
    fn must_be_refused(&self) -> bool {
        match (&self.fault, self.of, self.cast) {
            (HttpFault::Listing(Lie::Empty), ..) => true,
            (HttpFault::Listing(Lie::Percent(90) | Lie::Stale), FileKind::Snapshot, cast) => cast == Cast::OneOfThree,
            (HttpFault::Listing(Lie::Percent(50)), FileKind::Snapshot, cast) => cast != Cast::AloneAndNew,
            (HttpFault::Listing(Lie::Percent(_)), ..) => false,
            _ => true,
        }
    }
}

/// The files of every copy, but no locks.
type Files = Vec<BTreeMap<String, Vec<u8>>>;

/// A repository whose older snapshots were forgotten, whose packs are marked and due, and that has grown since its
/// server was last asked what it holds.
struct Ground<'c> {
    three: Three<'c>,
    cast: Cast,
    records: Option<RecordsFolder>,
    password: Secret,
}

impl<'c> Ground<'c> {
    fn new(base: &'c Base, server: &'c Server, cast: Cast) -> Result<Self, String> {
        let three = Three::new(base, server);
        let folder = base.room.path(&format!("records-of-{}", three.behind.name));
        let records = (cast != Cast::AloneAndNew).then(|| RecordsFolder::new(folder));
        let ground = Self { three, cast, records, password: room::PASSWORD.to_owned().into() };
        for _ in 0..6 {
            ground.back_up()?;
        }
        ground.forget(2);
        let marked = ground.prune(&LIMITS)?.plan.mark.packs;
        ensure(marked > 0, || "nothing was marked".to_owned())?;
        ground.forget(1);
        ground.note_listed()?;
        ground.back_up()?;
        Ok(ground)
    }

    /// Fewer snapshots than before are no wonder to this machine, as after a forget of its own.
    fn note_listed(&self) -> Result<(), String> {
        let repository = self.open(&LIMITS)?;
        for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
            let listed = repository::copies::status::Holdings::gather(repository.copies(), kind);
            repository.note_listed(&listed.map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    fn open(&self, limits: &Limits) -> Result<Repository, String> {
        let mut all = vec![self.three.behind.destination(limits)];
        if self.cast == Cast::OneOfThree {
            all.extend(self.three.healthy.iter().map(|copy| copy.clone() as _));
        }
        let surroundings = Surroundings { records: self.records.clone(), ..self.three.base.room.surroundings() };
        Repository::open(all, &self.password, surroundings).map_err(|error| format!("not opened: {error}"))
    }

    /// A snapshot with something new in it.
    fn back_up(&self) -> Result<(), String> {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let room = &self.three.base.room;
        let new = testkit::Random::new(RUNS.fetch_add(1, Ordering::Relaxed)).bytes(20_000);
        let source = format!("source-{}", self.three.behind.name);
        std::fs::create_dir_all(room.path(&source)).unwrap();
        std::fs::write(room.path(&source).join("changing"), new).unwrap();
        let report = room.backup(&self.open(&LIMITS)?, Path::new(&source));
        ensure(report.verdict == Verdict::Ok, || format!("{:?}", report.copies))
    }

    /// The oldest snapshots go, from every copy.
    fn forget(&self, count: usize) {
        let repository = self.open(&LIMITS).unwrap();
        let listing = repository.snapshots().unwrap();
        let mut all: Vec<_> = listing.snapshots.iter().map(|(id, snapshot)| (snapshot.time.timestamp(), *id)).collect();
        all.sort_unstable();
        for (_, id) in all.into_iter().take(count) {
            let name = format::FileName::new(FileKind::Snapshot, id);
            for copy in repository.copies().all() {
                self.three.base.room.runtime.block_on(copy.destination().remove(name)).unwrap();
            }
        }
    }

    fn prune(&self, limits: &Limits) -> Result<PruneReport, String> {
        let repository = self.open(limits)?;
        let request =
            PruneRequest { max_unused: MaxUnused::Percent(0.0), grace: Duration::ZERO, ..PruneRequest::default() };
        prepare(&repository, &request).and_then(|pruning| pruning.run()).map_err(|error| error.to_string())
    }

    fn files(&self) -> Files {
        let mut there = self.three.behind.files();
        there.retain(|name, _| !name.starts_with("locks/"));
        let healthy = self.three.healthy.each_ref().map(|copy| network::without_locks(copy));
        std::iter::once(there).chain(healthy).collect()
    }

    /// Nobody has to heal anything: one honest prune later every copy is whole, with all its snapshots.
    fn is_whole_after_one_more_prune(&self, snapshots: &BTreeSet<String>) -> Result<PruneReport, String> {
        self.three.behind.proxy.heal();
        let report = self.prune(&LIMITS)?;
        ensure(report.verdict == Verdict::Ok, || format!("the next prune: {:?}", report.copies))?;
        let files = self.files();
        ensure(named(&files[0], "snapshots/") == *snapshots, || "a snapshot is gone".to_owned())?;
        if self.cast == Cast::OneOfThree {
            self.three.all_copies_are_equal()?;
        }
        self.three.behind.restic_check()?;
        Ok(report)
    }
}

fn named(files: &BTreeMap<String, Vec<u8>>, folder: &str) -> BTreeSet<String> {
    files.keys().filter(|name| name.starts_with(folder)).cloned().collect()
}

fn a_lie_costs_nothing(base: &Base, server: &Server, case: &Case) -> Result<(), String> {
    let _inside = base.room.runtime.enter();
    let ground = Ground::new(base, server, case.cast)?;
    let before = ground.files();
    let snapshots = named(&before[0], "snapshots/");
    let proxy = &ground.three.behind.proxy;
    // Not while it is opened: that is a test of its own.
    proxy.follow(only(Rule::new(case.fault.clone()).on(Verb::List).of(case.of)));
    let lied_to = ground.prune(&IMPATIENT);
    let listings = || proxy.asked().into_iter().filter(|asked| asked.verb == Verb::List).map(|asked| asked.target);
    ensure(proxy.fired() > 0, || format!("the fault never came: {:#?}", listings().collect::<BTreeSet<_>>()))?;
    let after = ground.files();
    match &lied_to {
        Ok(_) if case.must_be_refused() => return Err("it was believed".to_owned()),
        Ok(_) => {}
        Err(_) => {
            let is_all_there = |(old, new): (&BTreeMap<_, _>, &BTreeMap<_, _>)| {
                old.iter().all(|(name, bytes)| new.get(name) == Some(bytes))
            };
            ensure(before.iter().zip(&after).all(is_all_there), || format!("something went: {lied_to:?}"))?;
        }
    }
    let report = ground.is_whole_after_one_more_prune(&snapshots)?;
    if let Err(refused) = lied_to {
        let removed = report.copies.first().map_or(0, |copy| copy.files_removed);
        ensure(removed > 0, || format!("there was nothing to remove when it said: {refused}"))?;
        let place = ground.three.behind.destination(&LIMITS).place().to_owned();
        let is_named = refused.contains(&place) || refused.contains("snapshot");
        ensure(is_named, || format!("neither the copy nor what is lacking is named: {refused}"))?;
    }
    Ok(())
}

fn no_listing_that_lies_makes_a_prune_lose_anything(kind: Kind) {
    let Some(server) = Server::start(kind) else { return };
    let what = format!("prunes behind listings that lie on {kind:?}");
    let [of_the_first, of_others] = SAMPLES;
    let cases = chosen(Case::all(), sample_of(kind, of_the_first, of_others), &what);
    for_each_case(&what, &cases, 1000, |base, case| a_lie_costs_nothing(base, &server, case));
}

mod no_lie_makes_a_prune_lose_anything_on {
    crate::network::for_kinds!(super::no_listing_that_lies_makes_a_prune_lose_anything, over http);
}
