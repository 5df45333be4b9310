//! Every operation, as the program runs it, in one shape: places in, what the user is told out.

use std::path::Path;
use std::sync::Arc;

use destinations::Destination;
use format::{FileKind, FileName, ScryptCost};
use model::{Id, Secret, Verdict};
use repository::backup::backup;
use repository::check::{CheckRequest, ReadData, check};
use repository::copies::add::add;
use repository::copies::fan_out::CopyOutcome;
use repository::copies::heal::{HealRequest, Healing};
use repository::copies::sync::sync;
use repository::forget::{self, ForgetRequest, Selection};
use repository::locks::LockMode;
use repository::prune::{PruneRequest, prepare};
use repository::repair::index::{IndexRepair, RepairIndexRequest};
use repository::restore::{RestoreRequest, restore};
use repository::retention::Wish;
use repository::{Error, InitRequest, Repository, Result, Silent, Surroundings, keys};
use testkit::Manifest;
use testkit::oracles::Acknowledged;

use crate::stage::{Ground, OTHER_PASSWORD, Stage, password, tree_of};

/// The copies as an operation is handed them.
pub(crate) type Places = Vec<Arc<dyn Destination>>;

/// What the user is told in the end.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) verdict: Verdict,
    /// A snapshot that was made, and on which copies it is said to be.
    pub(crate) made: Option<(Acknowledged, Vec<bool>)>,
}

impl Told {
    fn all_is(verdict: Verdict) -> Self {
        Self { verdict, made: None }
    }
}

/// One operation.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// Its row and column in the operations matrix.
    pub(crate) row: &'static str,
    /// On what it is tried.
    pub(crate) ground: Ground,
    /// The lock that it holds; none for what takes none.
    pub(crate) lock: Option<LockMode>,
    /// True when it may remove nothing but locks.
    pub(crate) only_adds: bool,
    /// True when it refuses to begin while a copy is away.
    pub(crate) needs_all: bool,
    pub(crate) run: fn(&Stage, Places, Surroundings) -> Result<Told>,
}

impl Operation {
    /// The one of this name.
    pub(crate) fn named(name: &str) -> &'static Operation {
        OPERATIONS.iter().find(|operation| operation.name == name).unwrap_or_else(|| panic!("no operation `{name}`"))
    }
}

/// All of them.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "init",
        row: "init",
        ground: Ground::Empty,
        lock: None,
        only_adds: true,
        needs_all: true,
        run: run_init,
    },
    Operation { name: "first backup", row: "backup", ground: Ground::New, run: run_backup, ..ADDING },
    Operation { name: "backup", row: "backup", ground: Ground::Whole, run: run_backup, ..ADDING },
    Operation { name: "backup with one behind", row: "backup", ground: Ground::Behind, run: run_backup, ..ADDING },
    Operation {
        name: "sync",
        row: "sync",
        ground: Ground::Behind,
        run: |_, places, surroundings| {
            let report = sync(&open(places, surroundings)?)?;
            // Two copies that are left agree without a copy that is lost, so the loss is what is told.
            Ok(Told::all_is(report.verdict))
        },
        ..ADDING
    },
    Operation {
        name: "copies add",
        row: "copies add",
        ground: Ground::Absent,
        needs_all: true,
        run: run_copies_add,
        ..ADDING
    },
    Operation {
        name: "key add",
        row: "key add",
        ground: Ground::Whole,
        needs_all: true,
        run: |_, places, surroundings| {
            let repository = open(places, surroundings)?;
            let _guard = repository.lock(LockMode::Adding)?;
            let third = Secret::from("a third password".to_owned());
            keys::add(&repository, &third, ScryptCost::FAST_FOR_TESTS)?;
            Ok(Told::all_is(Verdict::Ok))
        },
        ..ADDING
    },
    Operation {
        name: "key remove",
        row: "key remove",
        ground: Ground::Whole,
        lock: Some(LockMode::Exclusive),
        only_adds: false,
        needs_all: true,
        run: |_, places, surroundings| {
            let repository = open(places, surroundings)?;
            let guard = repository.lock(LockMode::Exclusive)?;
            // Gone already: the one who repeats a removal wants to hear that it is done.
            let others: Vec<Id> =
                keys::list(&repository)?.iter().filter(|key| !key.current).map(|key| key.id).collect();
            others.into_iter().try_for_each(|id| keys::remove(&repository, &guard, id))?;
            Ok(Told::all_is(Verdict::Ok))
        },
    },
    Operation {
        name: "key passwd",
        row: "key remove",
        ground: Ground::Whole,
        lock: Some(LockMode::Exclusive),
        only_adds: false,
        needs_all: true,
        run: run_key_passwd,
    },
    Operation {
        name: "restore",
        row: "restore",
        ground: Ground::Whole,
        lock: Some(LockMode::Reading),
        run: run_restore,
        ..ADDING
    },
    Operation {
        name: "check",
        row: "check",
        ground: Ground::Whole,
        lock: Some(LockMode::Reading),
        run: |_, places, surroundings| {
            let request = CheckRequest { read: ReadData::All, ..CheckRequest::default() };
            Ok(Told::all_is(check(&open(places, surroundings)?, &request)?.verdict()))
        },
        ..ADDING
    },
    Operation {
        name: "heal",
        row: "heal",
        ground: Ground::Damaged,
        only_adds: false,
        run: |_, places, surroundings| {
            let repository = open(places, surroundings)?;
            let request = HealRequest { read: ReadData::All, ..HealRequest::default() };
            let report = Healing::examine(&repository, &request)?.apply(false)?;
            Ok(Told::all_is(report.verdict()))
        },
        ..ADDING
    },
    Operation { name: "forget", row: "forget", ground: Ground::Old, run: run_forget, ..REMOVING },
    Operation { name: "prune mark", row: "prune", ground: Ground::Forgotten, run: run_prune, ..REMOVING },
    Operation { name: "prune sweep", row: "prune", ground: Ground::Marked, run: run_prune, ..REMOVING },
    Operation {
        name: "repair index",
        row: "repair",
        ground: Ground::Unindexed,
        run: |_, places, surroundings| {
            let repository = open(places, surroundings)?;
            IndexRepair::examine(&repository, RepairIndexRequest::default())?.apply()?;
            Ok(Told::all_is(Verdict::Ok))
        },
        ..REMOVING
    },
];

/// What those that remove have in common.
const REMOVING: Operation = Operation { lock: Some(LockMode::Exclusive), only_adds: false, needs_all: true, ..ADDING };

/// What those that only add have in common.
const ADDING: Operation = Operation {
    name: "",
    row: "",
    ground: Ground::Whole,
    lock: Some(LockMode::Adding),
    only_adds: true,
    needs_all: false,
    run: |_, _, _| Ok(Told::all_is(Verdict::Failed)),
};

fn open(places: Places, surroundings: Surroundings) -> Result<Repository> {
    Repository::open(places, &password(), surroundings)
}

fn on_which(copies: &[CopyOutcome]) -> Vec<bool> {
    copies.iter().map(|copy| copy.verdict == Verdict::Ok).collect()
}

fn run_init(_: &Stage, places: Places, surroundings: Surroundings) -> Result<Told> {
    let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
    match Repository::init(places.clone(), &password(), &request, surroundings.clone()) {
        Ok(_) => Ok(Told::all_is(Verdict::Ok)),
        // It had come to its end before, and nobody heard of it: then every place is a copy.
        Err(refusal @ Error::AlreadyThere { .. }) => match open(places, surroundings) {
            Ok(made) if made.copies().live().count() == made.copies().all().len() => Ok(Told::all_is(Verdict::Ok)),
            _ => Err(refusal),
        },
        Err(error) => Err(error),
    }
}

fn run_backup(stage: &Stage, places: Places, surroundings: Surroundings) -> Result<Told> {
    let repository = open(places, surroundings)?;
    let report = backup(&repository, &stage.room.request(&[Path::new("source")]))?;
    let snapshot = report.id.map(|id| Acknowledged { id, tree: stage.source.clone() });
    Ok(Told { verdict: report.verdict, made: snapshot.map(|snapshot| (snapshot, on_which(&report.copies))) })
}

fn run_copies_add(_: &Stage, places: Places, surroundings: Surroundings) -> Result<Told> {
    let [first, second, third] = <[_; 3]>::try_from(places).map_err(|_| Error::Request("three copies".to_owned()))?;
    add(&open(vec![first.clone(), second.clone()], surroundings.clone())?, third.clone())?;
    let report = sync(&open(vec![first, second, third], surroundings)?)?;
    Ok(Told::all_is(report.verdict))
}

fn run_key_passwd(_: &Stage, places: Places, surroundings: Surroundings) -> Result<Told> {
    let new = Secret::from("a new password".to_owned());
    let mut repository = match Repository::open(places.clone(), &OTHER_PASSWORD.to_owned().into(), surroundings.clone())
    {
        Ok(repository) => repository,
        // The change had come to its end before: the new password opens, and there is nothing left to do.
        Err(Error::WrongPassword { .. }) => {
            let repository = Repository::open(places, &new, surroundings)?;
            drop(repository.lock(LockMode::Exclusive)?);
            return Ok(Told::all_is(Verdict::Ok));
        }
        Err(error) => return Err(error),
    };
    let guard = repository.lock(LockMode::Exclusive)?;
    keys::change_password(&mut repository, &guard, &new, ScryptCost::FAST_FOR_TESTS)?;
    Ok(Told::all_is(Verdict::Ok))
}

/// Forgets what was there before and nobody counts on. What is gone already is what was wanted.
fn run_forget(stage: &Stage, places: Places, surroundings: Surroundings) -> Result<Told> {
    let repository = open(places, surroundings)?;
    let listed = repository.snapshots()?.snapshots.into_iter().map(|(id, _)| id);
    let was_there = |id: &Id| stage.before(0).contains_key(&FileName::new(FileKind::Snapshot, *id));
    let is_owed = |id: &Id| stage.acknowledged.iter().any(|one| one.id == *id);
    let request = ForgetRequest {
        selection: Selection::Ids(listed.filter(|id| was_there(id) && !is_owed(id)).collect()),
        wish: Wish::default(),
        believe_listings: false,
    };
    let plan = forget::plan(&repository, &request)?;
    if plan.is_empty() {
        drop(repository.lock(LockMode::Exclusive)?);
        return Ok(Told::all_is(Verdict::Ok));
    }
    Ok(Told::all_is(forget::execute(&repository, &plan)?.verdict))
}

fn run_prune(_: &Stage, places: Places, surroundings: Surroundings) -> Result<Told> {
    prune(&open(places, surroundings)?)
}

/// Marks or sweeps all that nobody needs.
pub(crate) fn prune(repository: &Repository) -> Result<Told> {
    let request = PruneRequest { max_unused: "0".parse()?, ..PruneRequest::default() };
    Ok(Told::all_is(prepare(repository, &request)?.run()?.verdict))
}

fn run_restore(stage: &Stage, places: Places, surroundings: Surroundings) -> Result<Told> {
    let repository = open(places, surroundings)?;
    let _guard = repository.lock(LockMode::Reading)?;
    let wanted = stage.acknowledged.last().ok_or_else(|| Error::Request("no snapshot".to_owned()))?;
    // Whoever repeats a restore does so into the same target, and two who restore at the same time into two.
    let target = stage.room.path(&format!("restored-{:?}", std::thread::current().id()));
    let request =
        RestoreRequest { subfolder: Some(b"/source".to_vec()), target: target.clone(), ..RestoreRequest::default() };
    let snapshot = repository.snapshot(wanted.id)?;
    let report = restore(&repository.indexed()?, &snapshot, &request, &Silent::default())?;
    let difference = Manifest::difference(&wanted.tree, &tree_of(&target));
    if report.verdict() == Verdict::Ok && !difference.is_empty() {
        return Err(Error::Request(format!("O1: told ok, and {}", difference.join("; "))));
    }
    Ok(Told::all_is(report.verdict()))
}
