//! Each operation begun while another one stands still at some moment, as the operations matrix says.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use format::{FileKind, FileName, ScryptCost};
use model::Verdict;
use repository::copies::sync::sync;
use repository::{Error, InitRequest, Repository, Result};
use testkit::oracles::{Expected, Judge, Panics};
use testkit::process::wait_until;
use testkit::{Fate, Gate, Lifeline, Random, seed};

use crate::engine::Engine;
use crate::is_exhaustive;
use crate::operations::{OPERATIONS, Operation, Places, Told};
use crate::room::PASSWORD;
use crate::stage::{Ground, Stage, password};
use crate::table::{Cell, Table};

/// Moments at which the first operation is held, spread over all that it does.
const OFFSETS: u64 = 10;

/// Seeds of an exhaustive run: each chooses other moments.
const SEEDS_EXHAUSTIVE: u64 = 20;

/// How long an operation may take to reach the moment at which it is held.
const HELD_LIMIT: Duration = Duration::from_secs(60);

/// Packs that no index mentions, left by two operations that were in each other's way.
const SURPLUS_PACKS_MAX: u64 = 16;

/// Whether the one who begins found the lock of the one who stands still.
#[derive(Debug, Default)]
struct Tally {
    tried: AtomicUsize,
    refused: AtomicUsize,
    beside: AtomicUsize,
}

struct Pair<'a> {
    runs: &'static Operation,
    begins: &'static Operation,
    said: Cell,
    stage: &'a Stage,
    judge: &'a Judge<'a>,
}

/// The ground on which both make sense.
fn ground_of(runs: &Operation, begins: &Operation) -> Ground {
    let grounds = [runs.ground, begins.ground];
    grounds.into_iter().max().unwrap_or(Ground::Whole)
}

impl Pair<'_> {
    /// The places that an operation is given: one that makes a copy gets all, others only what is a copy.
    fn places_of(&self, operation: &Operation, places: Places) -> Places {
        let is_partial = ground_of(self.runs, self.begins) == Ground::Absent && operation.ground != Ground::Absent;
        if is_partial { places.into_iter().take(2).collect() } else { places }
    }

    fn run(&self, operation: &Operation, places: Places) -> Result<Told> {
        (operation.run)(self.stage, self.places_of(operation, places), self.stage.surroundings())
    }

    /// How much the first one asks when nobody is in its way.
    fn length(&self) -> u64 {
        self.stage.reset();
        let lifeline = Lifeline::new(Fate::Lives);
        self.run(self.runs, self.stage.seen_by(&lifeline))
            .unwrap_or_else(|error| panic!("`{}`: {error}", self.runs.name));
        lifeline.count()
    }

    /// Holds the first one at `moment`, runs the second, lets the first one end, and judges.
    fn meet(&self, moment: u64, tally: &Tally) -> Vec<String> {
        self.stage.reset();
        let gate = Gate::closed();
        let lifeline = Lifeline::new(Fate::PausesBefore(moment, gate.clone()));
        let mut violations = Vec::new();
        let (was_locked, second, first) = std::thread::scope(|scope| {
            let running = scope.spawn(|| self.run(self.runs, self.stage.seen_by(&lifeline)));
            assert!(wait_until(HELD_LIMIT, || gate.waiting() > 0 || running.is_finished()), "it never stood still");
            // The last lock of an addition goes on the new place, which only it is given.
            let seen = self.places_of(self.begins, self.stage.plain()).len();
            let was_locked = self.stage.copies[..seen].iter().any(|copy| !copy.names(FileKind::Lock).is_empty());
            let second = self.run(self.begins, self.stage.plain());
            gate.open();
            (was_locked && gate_held(&lifeline, moment), second, running.join().unwrap())
        });
        tally.tried.fetch_add(1, Ordering::Relaxed);
        violations.extend(self.second_is_wrong(was_locked, &second, tally));
        violations.extend(self.first_is_wrong(&second, &first));
        violations.extend(self.judge_all(&first, &second));
        violations
    }

    fn second_is_wrong(&self, was_locked: bool, second: &Result<Told>, tally: &Tally) -> Option<String> {
        match second {
            Err(Error::Locked { holder, .. }) => {
                tally.refused.fetch_add(1, Ordering::Relaxed);
                let names = holder.contains("testhost") && holder.contains(&std::process::id().to_string());
                let why = match (self.said, was_locked) {
                    (Cell::Safe, _) => "is called safe, and was refused",
                    (Cell::Locked, false) => "was refused without a lock",
                    (Cell::Locked, true) if !names => "was refused, and the holder is not named",
                    (Cell::Locked, true) => return None,
                };
                Some(format!("`{}` {why}: {holder}", self.begins.name))
            }
            Ok(_) if was_locked && self.said == Cell::Locked => {
                Some(format!("`{}` passed over a lock", self.begins.name))
            }
            Ok(told) => {
                tally.beside.fetch_add(1, Ordering::Relaxed);
                let is_well = told.verdict == Verdict::Ok || self.may_differ();
                (!is_well).then(|| format!("`{}` ended with `{}`", self.begins.name, told.verdict))
            }
            Err(error) if self.may_refuse(self.begins, error) => None,
            Err(error) => Some(format!("`{}` failed: {error}", self.begins.name)),
        }
    }

    fn first_is_wrong(&self, second: &Result<Told>, first: &Result<Told>) -> Option<String> {
        match first {
            Ok(told) if told.verdict == Verdict::Ok || self.may_differ() => None,
            Ok(told) => Some(format!("`{}`, which ran, ended with `{}`", self.runs.name, told.verdict)),
            Err(error) if second.is_ok() && self.may_refuse(self.runs, error) => None,
            Err(error) => Some(format!("`{}`, which ran, failed: {error}", self.runs.name)),
        }
    }

    /// A check may see a copy on which somebody works, and then says that copies are not equal; the one who works is
    /// not disturbed by it.
    fn may_differ(&self) -> bool {
        [self.runs, self.begins].iter().any(|one| one.row == "check")
            || ground_of(self.runs, self.begins) != Ground::Whole
    }

    /// A refusal in words, where the other one has changed what it would have worked on, or works on half the copies.
    fn may_refuse(&self, operation: &Operation, error: &Error) -> bool {
        let is_refusal = match error {
            Error::Request(_) | Error::WrongPassword { .. } | Error::NoRepository { .. } | Error::Refused { .. } => {
                true
            }
            // The key that was being opened is no longer there: its password has just been changed.
            Error::Damaged { file, .. } => file.starts_with("keys/"),
            _ => false,
        };
        is_refusal && !error.to_string().starts_with("O1") && (operation.row.starts_with("key") || !operation.only_adds)
    }

    /// Everything that anybody was told is safe is safe, on each copy, and after a sync on all.
    fn judge_all(&self, first: &Result<Told>, second: &Result<Told>) -> Vec<String> {
        let mut violations = Vec::new();
        let mut everywhere = self.stage.acknowledged.clone();
        for number in 0..self.stage.copies.len() {
            let before = self.stage.before(number);
            let was_there = |id| before.contains_key(&FileName::new(FileKind::Snapshot, id));
            let mut here: Vec<_> = self.stage.acknowledged.iter().filter(|one| was_there(one.id)).cloned().collect();
            for (snapshot, on) in [first, second].into_iter().flatten().filter_map(|told| told.made.as_ref()) {
                everywhere.push(snapshot.clone());
                if on.get(number) == Some(&true) {
                    here.push(snapshot.clone());
                }
            }
            violations.extend(self.judge_one(number, &here));
        }
        let copies = self.places_of(Operation::named("backup"), self.stage.plain());
        if let Err(error) = sync(&self.stage.open(copies)) {
            violations.push(format!("a sync afterwards fails: {error}"));
        }
        (0..self.stage.copies.len()).for_each(|number| violations.extend(self.judge_one(number, &everywhere)));
        violations
    }

    fn judge_one(&self, number: usize, acknowledged: &[testkit::oracles::Acknowledged]) -> Vec<String> {
        let copy = &self.stage.copies[number];
        if copy.get(FileName::CONFIG).is_none() || !self.stage.is_sound(number) {
            return Vec::new();
        }
        // A place that became a copy, and that the others were not told of, is behind.
        let is_new = !self.stage.before(number).contains_key(&FileName::CONFIG);
        let acknowledged = if is_new { &[] } else { acknowledged };
        let only_adds = self.runs.only_adds && self.begins.only_adds;
        let grows_from = only_adds.then(|| self.stage.before(number));
        let expected = Expected { acknowledged, grows_from, surplus_packs_max: SURPLUS_PACKS_MAX };
        let found = self.judge.violations(copy, &expected);
        found.into_iter().map(|violation| format!("copy {number}: {violation}")).collect()
    }
}

/// True when the operation really stands at its moment, and has not ended before.
fn gate_held(lifeline: &Lifeline, moment: u64) -> bool {
    lifeline.count() >= moment
}

/// Moments spread over a run of `length`: one in each tenth.
fn moments(length: u64, random: &mut Random) -> Vec<u64> {
    (0..OFFSETS).map(|tenth| 1 + (tenth * length + random.below(length.max(1))) / OFFSETS).collect()
}

/// Everything that begins while `runs` stands still.
fn all_beside(runs: &'static Operation) {
    let seed = seed(&format!("pairs with `{}`", runs.name));
    let panics = Panics::watch();
    let mut random = Random::new(seed);
    let table = Table::read();
    let tally = Tally::default();
    let mut violations = Vec::new();
    let grounds: BTreeSet<Ground> = partners().map(|begins| ground_of(runs, begins)).collect();
    for ground in grounds {
        let stage = Stage::new(ground);
        let engine = Engine(&stage.room);
        let judge = Judge::new(&engine, PASSWORD, stage.room.scratch.path());
        for begins in partners().filter(|begins| ground_of(runs, begins) == ground) {
            let said = table.cell(begins.row, runs.row);
            let pair = Pair { runs, begins, said, stage: &stage, judge: &judge };
            let length = pair.length();
            let mut chosen = Vec::new();
            if is_exhaustive() {
                (0..SEEDS_EXHAUSTIVE).for_each(|_| chosen.extend(moments(length, &mut random)));
            } else {
                // One in the first half, when the lock may not be there yet, and one late.
                let all = moments(length, &mut random);
                chosen.extend([all[random.index(5)], all[5 + random.index(5)]]);
            }
            for moment in chosen {
                let found = pair.meet(moment, &tally);
                if !found.is_empty() {
                    violations.push(format!(
                        "`{}` while `{}` stands at {moment} of {length}: {found:#?}",
                        begins.name, runs.name
                    ));
                }
            }
        }
    }
    let Tally { tried, refused, beside } = tally;
    println!(
        "beside `{}`: {tried:?} meetings, {refused:?} refused by a lock, {beside:?} done beside it, {} violations",
        runs.name,
        violations.len()
    );
    assert!(violations.is_empty(), "seed {seed}: {}\n{}", violations.len(), violations.join("\n"));
    assert_eq!(panics.count(), 0, "O7: something panicked");
}

/// All that takes a lock; the one who makes a repository has a test of its own.
fn partners() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().filter(|operation| operation.lock.is_some() && operation.name != "first backup")
}

/// One test for each operation that runs.
macro_rules! beside {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            all_beside(Operation::named($name));
        })*

        #[test]
        fn every_operation_has_company() {
            let tried = [$($name),*];
            let all: Vec<&str> = partners().map(|operation| operation.name).collect();
            assert_eq!(tried.as_slice(), all.as_slice());
        }
    };
}

beside! {
    beside_a_backup: "backup",
    beside_a_backup_with_one_behind: "backup with one behind",
    beside_a_sync: "sync",
    beside_an_addition: "copies add",
    beside_a_new_key: "key add",
    beside_the_removal_of_a_key: "key remove",
    beside_a_new_password: "key passwd",
    beside_a_restore: "restore",
    beside_a_check: "check",
    beside_a_healing: "heal",
    beside_a_forget: "forget",
    beside_a_mark: "prune mark",
    beside_a_sweep: "prune sweep",
    beside_a_repair: "repair index",
}

#[test]
fn two_who_make_a_repository_at_the_same_place_make_one() {
    let init = Operation::named("init");
    let stage = Stage::new(Ground::Empty);
    let lifeline = Lifeline::new(Fate::Lives);
    (init.run)(&stage, stage.seen_by(&lifeline), stage.surroundings()).unwrap();
    for moment in 1..=lifeline.count() {
        stage.reset();
        let gate = Gate::closed();
        let slow = Lifeline::new(Fate::PausesBefore(moment, gate.clone()));
        let (first, second) = std::thread::scope(|scope| {
            let running = scope.spawn(|| (init.run)(&stage, stage.seen_by(&slow), stage.surroundings()));
            assert!(wait_until(HELD_LIMIT, || gate.waiting() > 0 || running.is_finished()));
            let second = (init.run)(&stage, stage.plain(), stage.surroundings());
            gate.open();
            (running.join().unwrap(), second)
        });
        assert!(second.is_ok() || first.is_ok(), "moment {moment}: {first:?} {second:?}");
        let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
        let again = Repository::init(stage.plain(), &password(), &request, stage.surroundings());
        assert!(matches!(again, Err(Error::AlreadyThere { .. })), "moment {moment}: {again:?}");
        let files = stage.copies.each_ref().map(|copy| copy.files());
        assert!(files[0] == files[1] && files[0] == files[2], "moment {moment}: {first:?} {second:?}");
        // A key that opens nothing would be the first one that another program tries.
        assert_eq!(files[0].len(), 2, "moment {moment}: {:?}", files[0].keys());
    }
}
