//! The process dies before and after every operation that it asks of three copies; then one copy alone does.
//!
//! After each death the oracles judge every copy as it lies there; then the same operation is run again, by a process
//! that lives, and must succeed without help and leave all copies equal.

use clock::Clock as _;

use model::Verdict;
use testkit::oracles::{Judge, Panics, peak_memory_bytes};
use testkit::{Asked, Fate, Lifeline, Random, seed};

use crate::engine::Engine;
use crate::is_exhaustive;
use crate::operations::{Operation, Places, Told};
use crate::outcomes::{OPERATION_LIMIT, after_one, converged, gave_up, is_named, worst_surplus};
use crate::room::PASSWORD;
use crate::stage::Stage;

/// Points of each operation that a usual run tries, of the whole process and of one copy each.
const POINTS: usize = 30;

/// Of these, how many states restic judges in a usual run.
const RESTIC_POINTS: usize = 1;

/// The most memory that a whole test may need.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The process, for all copies at once.
    Process,
    /// One copy, for this operation.
    Copy(usize),
}

/// One place at which to die.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) victim: Victim,
    pub(crate) fate: Fate,
}

impl Point {
    /// Before an operation of this number, and behind it.
    pub(crate) fn around(victim: Victim, number: u64) -> [Self; 2] {
        [Fate::DiesBefore(number), Fate::DiesAfter(number)].map(|fate| Self { victim, fate })
    }
}

pub(crate) struct Trial<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) operation: &'static Operation,
    pub(crate) judge: Judge<'a>,
    pub(crate) seed: u64,
}

impl Trial<'_> {
    fn places(&self, victim: Victim, lifeline: &Lifeline) -> Places {
        match victim {
            Victim::Process => self.stage.seen_by(lifeline),
            Victim::Copy(number) => self.stage.with_one_seen_by(number, lifeline),
        }
    }

    fn run(&self, victim: Victim, lifeline: &Lifeline) -> repository::Result<Told> {
        let end = (self.operation.run)(self.stage, self.places(victim, lifeline), self.stage.doomed());
        assert!(lifeline.wait_until_quiet(), "something never came back");
        self.stage.fetch();
        end
    }

    /// What an undisturbed run asks; and that it is well.
    pub(crate) fn undisturbed(&self, victim: Victim) -> Vec<Asked> {
        self.stage.reset();
        let lifeline = Lifeline::new(Fate::Lives);
        let end = self.run(victim, &lifeline);
        let violations = converged(self.stage, self.operation, &end, &self.judge);
        assert!(violations.is_empty(), "undisturbed `{}`: {violations:#?}", self.operation.name);
        lifeline.history()
    }

    fn all_points(&self) -> Vec<Point> {
        let victims = [Victim::Process, Victim::Copy(0), Victim::Copy(1), Victim::Copy(2)];
        let points = victims.into_iter().flat_map(|victim| {
            self.undisturbed(victim).into_iter().flat_map(move |asked| Point::around(victim, asked.number))
        });
        points.collect()
    }

    /// Tries one point; gives what was violated.
    pub(crate) fn try_at(&self, point: &Point) -> Vec<String> {
        self.stage.reset();
        let lifeline = Lifeline::new(point.fate.clone());
        let started = self.stage.clock.monotonic();
        let end = self.run(point.victim, &lifeline);
        let mut violations = after_one(self.stage, self.operation, &end, &self.judge);
        violations.extend(gave_up(&lifeline));
        violations.extend(self.told_wrong(point, &lifeline, &end));
        let again = (self.operation.run)(self.stage, self.stage.plain(), self.stage.surroundings());
        self.stage.fetch();
        violations.extend(converged(self.stage, self.operation, &again, &self.judge));
        let took = self.stage.clock.monotonic().saturating_sub(started);
        if took > OPERATION_LIMIT {
            violations.push(format!("O8: it took {took:?}"));
        }
        violations
    }

    /// What the user was told must fit what happened.
    fn told_wrong(&self, point: &Point, lifeline: &Lifeline, end: &repository::Result<Told>) -> Option<String> {
        match (end, point.victim) {
            (Err(error), _) if !is_named(error) => Some("O7: an error without words".to_owned()),
            // The others finish, unless the operation is one that needs all of them.
            (Err(error), Victim::Copy(_)) if !self.operation.needs_all => {
                Some(format!("one copy died, and all failed: {error}"))
            }
            (Ok(told), Victim::Copy(_))
                if told.verdict == Verdict::Failed && !self.operation.needs_all && self.operation.name != "check" =>
            {
                Some("one copy died, and all failed".to_owned())
            }
            (Ok(_), _) if !lifeline.is_dead() => None,
            _ => None,
        }
    }

    pub(crate) fn describe(&self, point: &Point) -> String {
        let lifeline = Lifeline::new(Fate::Lives);
        self.stage.reset();
        let _ = self.run(point.victim, &lifeline);
        let (Fate::DiesBefore(number) | Fate::DiesAfter(number)) = point.fate else { return String::new() };
        format!("`{}`, {:?}: {} ({})", self.operation.name, point.victim, point.fate, lifeline.what(number))
    }

    /// Has restic judge all copies as this point leaves them.
    pub(crate) fn restic_at(&self, point: &Point) -> Vec<String> {
        self.stage.reset();
        let end = self.run(point.victim, &Lifeline::new(point.fate.clone()));
        drop(end);
        let mut violations = Vec::new();
        for (number, copy) in self.stage.copies.iter().enumerate() {
            if copy.get(format::FileName::CONFIG).is_none() || !self.stage.is_sound(number) {
                continue;
            }
            for version in ["0.14", "0.19"] {
                violations.extend(self.judge.restic_violations(version, copy).into_iter().flatten());
            }
        }
        violations
    }
}

pub(crate) fn chosen(points: &[Point], count: usize, random: &mut Random) -> Vec<Point> {
    if is_exhaustive() || points.len() <= count {
        return points.to_vec();
    }
    (0..count).map(|_| points[random.index(points.len())].clone()).collect()
}

/// Tries the points of one operation.
fn try_everywhere(name: &str) {
    let operation = Operation::named(name);
    let seed = seed(&format!("crash in `{name}`"));
    let mut random = Random::new(seed);
    let panics = Panics::watch();
    let stage = Stage::new(operation.ground);
    let engine = Engine(&stage.room);
    let judge = Judge::new(&engine, PASSWORD, stage.room.scratch.path());
    let trial = Trial { stage: &stage, operation, judge, seed };
    let all = trial.all_points();
    let mut violations = Vec::new();
    let tried = chosen(&all, 2 * POINTS, &mut random);
    for point in &tried {
        let found = trial.try_at(point);
        if !found.is_empty() {
            violations.push(format!("{}: {found:#?}", trial.describe(point)));
        }
    }
    let judged_by_restic = chosen(&all, RESTIC_POINTS, &mut random);
    for point in &judged_by_restic {
        let found = trial.restic_at(point);
        if !found.is_empty() {
            violations.push(format!("{}: {found:#?}", trial.describe(point)));
        }
    }
    let of_process = all.iter().filter(|point| point.victim == Victim::Process).count();
    println!(
        "`{name}`: {} points ({of_process} of the whole process), {} tried, {} judged by restic, {} violations, at most {} packs without an index, {} MiB",
        all.len(),
        tried.len(),
        judged_by_restic.len(),
        violations.len(),
        worst_surplus(&trial.judge),
        peak_memory_bytes() >> 20,
    );
    assert!(
        violations.is_empty(),
        "seed {}: {} of {} points:\n{}",
        trial.seed,
        violations.len(),
        tried.len(),
        violations.join("\n")
    );
    assert_eq!(panics.count(), 0, "O7: something panicked");
    assert!(peak_memory_bytes() < MEMORY_BYTES_MAX, "O8: {} bytes of memory", peak_memory_bytes());
}

/// One test for each operation, so that they run side by side and are named when they fail.
macro_rules! crash_in {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            try_everywhere($name);
        })*

        #[test]
        fn every_operation_has_its_crash() {
            let tried = [$($name),*];
            let all: Vec<&str> = crate::operations::OPERATIONS.iter().map(|operation| operation.name).collect();
            assert_eq!(tried.as_slice(), all.as_slice());
        }
    };
}

crash_in! {
    init: "init",
    first_backup: "first backup",
    another_backup: "backup",
    backup_with_one_behind: "backup with one behind",
    sync: "sync",
    copies_add: "copies add",
    key_add: "key add",
    key_remove: "key remove",
    key_passwd: "key passwd",
    restore: "restore",
    check: "check",
    heal: "heal",
    forget: "forget",
    prune_mark: "prune mark",
    prune_sweep: "prune sweep",
    repair_index: "repair index",
}
