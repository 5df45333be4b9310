//! restic in the middle of ours, and ours in the middle of restic's, on the second of three copies.
//!
//! restic is the real program. It comes to the copy in memory through a door that speaks its REST protocol, behind
//! which it can be held at any of its operations as our own are.

use std::time::Duration;

use format::{FileKind, FileName};
use model::{Id, Verdict};
use repository::copies::sync::sync;
use repository::{Error, Result};
use testkit::oracles::{Acknowledged, Door, Expected, Judge, Panics};
use testkit::process::{Ended, wait_until};
use testkit::{Fate, Gate, Lifeline, Oracle, Random, components, seed};

use crate::engine::Engine;
use crate::is_exhaustive;
use crate::operations::{OPERATIONS, Operation, Told};
use crate::room::PASSWORD;
use crate::stage::{Ground, Stage};
use crate::table::{Cell, Table};

/// The copy on which restic works.
const COPY: usize = 1;

/// Moments of an exhaustive run, for each pair and direction.
const MOMENTS_EXHAUSTIVE: usize = 10;

/// Seeds of an exhaustive run.
const SEEDS_EXHAUSTIVE: usize = 20;

/// Of our operations, how many a usual run tries beside each of restic's.
const PARTNERS: usize = 3;

/// How long anybody may take to reach the moment at which it is held.
const HELD_LIMIT: Duration = Duration::from_secs(60);

/// One of restic's operations.
struct Foreign {
    row: &'static str,
    arguments: &'static [&'static str],
}

const FOREIGN: [Foreign; 4] = [
    Foreign { row: "restic backup", arguments: &["backup", "source", "--json"] },
    Foreign { row: "restic check", arguments: &["check"] },
    Foreign { row: "restic forget", arguments: &["forget", "--keep-last", "1", "--group-by", ""] },
    Foreign { row: "restic prune", arguments: &["prune", "--max-unused", "0"] },
];

/// Their rows in the operations matrix.
pub(crate) const ROWS: [&str; 4] = ["restic backup", "restic check", "restic forget", "restic prune"];

/// What restic says when a lock keeps it out.
const LOCKED_CODES: [i32; 2] = [1, 11];

struct Meeting<'a> {
    stage: &'a Stage,
    ours: &'static Operation,
    theirs: &'static Foreign,
    restic: &'a str,
    judge: &'a Judge<'a>,
}

impl Meeting<'_> {
    fn run_ours(&self, lifeline: &Lifeline) -> Result<Told> {
        (self.ours.run)(self.stage, self.stage.seen_by(lifeline), self.stage.surroundings())
    }

    fn run_theirs(&self, lifeline: &Lifeline) -> Ended {
        let place = lifeline.to(self.stage.copies[COPY].clone());
        let door = Door::open(place, self.stage.room.runtime.handle()).unwrap();
        let restic = Oracle::restic(self.restic, &door.repository(), PASSWORD).unwrap();
        let mut command = restic.command();
        command.current_dir(self.stage.room.scratch.path()).args(self.theirs.arguments);
        testkit::process::run(&mut command, HELD_LIMIT * 2).unwrap()
    }

    /// restic at work while ours stands still.
    fn theirs_in_ours(&self, moment: u64, said: Cell) -> Vec<String> {
        self.stage.reset();
        let gate = Gate::closed();
        let held = Lifeline::new(Fate::PausesBefore(moment, gate.clone()));
        let (was_locked, theirs, ours) = std::thread::scope(|scope| {
            let running = scope.spawn(|| self.run_ours(&held));
            assert!(wait_until(HELD_LIMIT, || gate.waiting() > 0 || running.is_finished()), "it never stood still");
            let was_locked = self.is_locked();
            let theirs = self.run_theirs(&Lifeline::new(Fate::Lives));
            gate.open();
            (was_locked, theirs, running.join().unwrap())
        });
        let mut violations = Vec::new();
        let was_refused = is_refused(&theirs);
        match (said, was_locked) {
            (Cell::Locked, true) if theirs.code == Some(0) => violations.push("restic passed over our lock".to_owned()),
            (Cell::Safe, _) | (_, false) if theirs.code != Some(0) => {
                violations.push(format!("restic failed: {}", theirs.errors))
            }
            (Cell::Locked, true) if !was_refused => {
                violations.push(format!("restic failed otherwise: {}", theirs.errors))
            }
            _ => {}
        }
        match &ours {
            // It changed one copy alone, and who removes wants copies that agree.
            Err(Error::Refused { .. }) if theirs.code == Some(0) => {}
            Err(error) => violations.push(format!("ours failed: {error}")),
            Ok(_) => {}
        }
        violations.extend(self.judge_all(&theirs, &ours));
        violations
    }

    /// Ours at work while restic stands still.
    fn ours_in_theirs(&self, moment: u64, said: Cell) -> Vec<String> {
        self.stage.reset();
        let gate = Gate::closed();
        let held = Lifeline::new(Fate::PausesBefore(moment, gate.clone()));
        let (was_locked, theirs, ours) = std::thread::scope(|scope| {
            let running = scope.spawn(|| self.run_theirs(&held));
            assert!(wait_until(HELD_LIMIT, || gate.waiting() > 0 || running.is_finished()), "it never stood still");
            let was_locked = self.is_locked();
            let ours = self.run_ours(&Lifeline::new(Fate::Lives));
            gate.open();
            (was_locked, running.join().unwrap(), ours)
        });
        let mut violations = Vec::new();
        match (said, was_locked, &ours) {
            (Cell::Locked, true, Err(Error::Locked { .. })) => {}
            // Whoever removes also wants copies that agree, and what restic has done so far is on one copy alone: told
            // before the lock is met, and nothing was done either.
            (Cell::Locked, true, Err(Error::Refused { .. })) => {}
            (Cell::Locked, true, ours) => violations.push(format!("ours passed over restic's lock: {ours:?}")),
            // What restic has done so far is on one copy alone.
            (_, false, Err(Error::Refused { .. })) => {}
            (_, _, Err(error)) => violations.push(format!("ours failed: {error}")),
            _ => {}
        }
        if theirs.code != Some(0) && !self.has_missed_a_key(&theirs) {
            violations.push(format!("restic failed: {}", theirs.errors));
        }
        violations.extend(self.judge_all(&theirs, &ours));
        violations
    }

    /// Whether restic listed the keys and then missed the one that ours removed: it ends before it has done anything,
    /// as it does beside another restic.
    fn has_missed_a_key(&self, theirs: &Ended) -> bool {
        let misses_a_key = theirs.errors.contains("<key/") && theirs.errors.contains("does not exist");
        self.ours.row == "key remove" && misses_a_key
    }

    fn is_locked(&self) -> bool {
        !self.stage.copies[COPY].names(FileKind::Lock).is_empty()
    }

    /// What anybody was told is safe is safe: on its copy at once, after a sync on all. What restic forgot may be gone.
    fn judge_all(&self, theirs: &Ended, ours: &Result<Told>) -> Vec<String> {
        // It keeps the newest that it saw, which may be ours, and names what it removes.
        let text = theirs.text();
        let forgotten = text.split_once("\nremove ").filter(|_| self.theirs.row == "restic forget");
        let is_kept = |one: &&Acknowledged| !forgotten.is_some_and(|(_, rows)| rows.contains(&one.id.to_hex()[..8]));
        let mut everywhere: Vec<Acknowledged> = self.stage.acknowledged.iter().filter(is_kept).cloned().collect();
        let of_theirs = snapshot_of(theirs).map(|id| Acknowledged { id, tree: self.stage.source.clone() });
        let of_ours = ours.iter().find_map(|told| told.made.clone());
        let mut violations = Vec::new();
        for (number, copy) in self.stage.copies.iter().enumerate() {
            let before = self.stage.before(number);
            let was_there = |one: &&Acknowledged| before.contains_key(&FileName::new(FileKind::Snapshot, one.id));
            let mut here: Vec<Acknowledged> = everywhere.iter().filter(was_there).cloned().collect();
            here.extend(of_theirs.iter().filter(|_| number == COPY).cloned());
            here.extend(of_ours.iter().filter(|(_, on)| on[number]).map(|(snapshot, _)| snapshot.clone()));
            violations.extend(self.judge_one(number, copy, &here));
        }
        match sync(&self.stage.open(self.stage.plain())) {
            Ok(report) if report.verdict == Verdict::Ok => {}
            other => violations.push(format!("a sync afterwards: {other:?}")),
        }
        everywhere.extend(of_theirs);
        everywhere.extend(of_ours.map(|(snapshot, _)| snapshot));
        for (number, copy) in self.stage.copies.iter().enumerate() {
            violations.extend(self.judge_one(number, copy, &everywhere));
        }
        if is_exhaustive() {
            violations
                .extend(self.judge.restic_violations(self.restic, &self.stage.copies[COPY]).into_iter().flatten());
        }
        violations
    }

    fn judge_one(&self, number: usize, copy: &testkit::MemoryFolder, acknowledged: &[Acknowledged]) -> Vec<String> {
        let expected = Expected { acknowledged, grows_from: None, surplus_packs_max: 16 };
        let found = self.judge.violations(copy, &expected);
        found.into_iter().map(|violation| format!("copy {number}: {violation}")).collect()
    }
}

fn is_refused(ended: &Ended) -> bool {
    let says_so = ended.errors.contains("already locked") || ended.text().contains("already locked");
    ended.code.is_some_and(|code| LOCKED_CODES.contains(&code)) && says_so
}

/// The snapshot of a `restic backup --json` that succeeded.
fn snapshot_of(ended: &Ended) -> Option<Id> {
    if ended.code != Some(0) {
        return None;
    }
    let text = ended.text();
    let (_, behind) = text.split_once("\"snapshot_id\":\"")?;
    behind.get(..64)?.parse().ok()
}

/// Our operations that make sense beside restic: all that need no empty place, and whose ground restic may work on.
fn partners() -> Vec<&'static Operation> {
    let fits = |operation: &&Operation| {
        operation.lock.is_some()
            && !matches!(operation.ground, Ground::Absent | Ground::New | Ground::Damaged | Ground::Unindexed)
    };
    OPERATIONS.iter().filter(fits).collect()
}

fn all_beside(theirs: &'static Foreign) {
    let version = if is_exhaustive() { ["0.14", "0.19"].as_slice() } else { &["0.19"] };
    let panics = Panics::watch();
    let table = Table::read();
    let (mut violations, mut meetings) = (Vec::new(), 0);
    for restic in version {
        if components::restic(restic).is_none() {
            continue;
        }
        let seed = seed(&format!("{} with restic {restic}", theirs.row));
        let mut random = Random::new(seed);
        let mut partners = partners();
        if !is_exhaustive() {
            partners = (0..PARTNERS).map(|_| partners[random.index(partners.len())]).collect();
        }
        for ours in partners {
            // A prune needs something to do.
            let ground = if theirs.row == "restic prune" && ours.ground == Ground::Whole {
                Ground::Forgotten
            } else {
                ours.ground
            };
            let stage = Stage::new(ground);
            let engine = Engine(&stage.room);
            let judge = Judge::new(&engine, PASSWORD, stage.room.scratch.path());
            let meeting = Meeting { stage: &stage, ours, theirs, restic, judge: &judge };
            let life = || Lifeline::new(Fate::Lives);
            let (of_ours, of_theirs) = (life(), life());
            meeting.run_ours(&of_ours).unwrap();
            stage.reset();
            let ended = meeting.run_theirs(&of_theirs);
            assert_eq!(ended.code, Some(0), "restic {restic} alone: {}", ended.errors);
            let moments = if is_exhaustive() { MOMENTS_EXHAUSTIVE * SEEDS_EXHAUSTIVE / 10 } else { 1 };
            for _ in 0..moments {
                let (of_ours, of_theirs) = (1 + random.below(of_ours.count()), 1 + random.below(of_theirs.count()));
                let tried = [
                    ("restic in ours", of_ours, meeting.theirs_in_ours(of_ours, table.cell(theirs.row, ours.row))),
                    ("ours in restic", of_theirs, meeting.ours_in_theirs(of_theirs, table.cell(ours.row, theirs.row))),
                ];
                for (what, moment, found) in tried {
                    meetings += 1;
                    if !found.is_empty() {
                        let names = format!("`{}`, `{}` of {restic}", ours.name, theirs.row);
                        violations.push(format!("seed {seed}: {names}: {what}, at {moment}: {found:#?}"));
                    }
                }
            }
        }
    }
    println!("`{}`: {meetings} meetings, {} violations", theirs.row, violations.len());
    assert!(violations.is_empty(), "{}\n{}", violations.len(), violations.join("\n"));
    assert_eq!(panics.count(), 0, "O7: something panicked");
}

#[test]
fn restic_backup_and_ours() {
    all_beside(&FOREIGN[0]);
}

#[test]
fn restic_check_and_ours() {
    all_beside(&FOREIGN[1]);
}

#[test]
fn restic_forget_and_ours() {
    all_beside(&FOREIGN[2]);
}

#[test]
fn restic_prune_and_ours() {
    all_beside(&FOREIGN[3]);
}

#[test]
fn the_rows_of_the_matrix_are_those_of_the_operations() {
    assert_eq!(FOREIGN.each_ref().map(|foreign| foreign.row), ROWS);
}
