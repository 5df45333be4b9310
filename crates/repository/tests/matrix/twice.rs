//! The process that repeats a broken operation dies as well, and the third one has to put up with what both left.

use testkit::oracles::{Judge, Panics};
use testkit::{Fate, Lifeline, Random, seed};

use crate::engine::Engine;
use crate::is_exhaustive;
use crate::operations::{OPERATIONS, Operation};
use crate::outcomes::{after_one, converged, gave_up};
use crate::room::PASSWORD;
use crate::stage::Stage;

/// Pairs of deaths that are tried for each operation.
const PAIRS: usize = 4;

/// The same when everything is tried.
const PAIRS_EXHAUSTIVE: usize = 60;

#[test]
fn a_crash_of_the_repetition_of_a_crash() {
    let seed = seed("two crashes");
    let panics = Panics::watch();
    let mut random = Random::new(seed);
    let pairs = if is_exhaustive() { PAIRS_EXHAUSTIVE } else { PAIRS };
    let mut violations = Vec::new();
    for operation in OPERATIONS {
        let mut own = random.fork();
        let stage = Stage::new(operation.ground);
        let engine = Engine(&stage.room);
        let judge = Judge::new(&engine, PASSWORD, stage.room.scratch.path());
        for _ in 0..pairs {
            violations.extend(die_twice(&stage, operation, &judge, &mut own));
        }
    }
    println!("{} pairs of crashes, {} violations", pairs * OPERATIONS.len(), violations.len());
    assert!(violations.is_empty(), "seed {seed}:\n{}", violations.join("\n"));
    assert_eq!(panics.count(), 0, "O7: something panicked");
}

fn die_twice(stage: &Stage, operation: &Operation, judge: &Judge<'_>, random: &mut Random) -> Option<String> {
    stage.reset();
    let lifeline = Lifeline::new(Fate::Lives);
    let _ = (operation.run)(stage, stage.seen_by(&lifeline), stage.doomed());
    let count = lifeline.count();
    stage.reset();
    let mut found = Vec::new();
    let mut fates = Vec::new();
    for _ in 0..2 {
        let number = 1 + random.below(count);
        let fate = if random.chance(2) { Fate::DiesBefore(number) } else { Fate::DiesAfter(number) };
        let lifeline = Lifeline::new(fate.clone());
        let end = (operation.run)(stage, stage.seen_by(&lifeline), stage.doomed());
        assert!(lifeline.wait_until_quiet(), "something never came back");
        found.extend(after_one(stage, operation, &end, judge));
        found.extend(gave_up(&lifeline));
        fates.push(fate.to_string());
    }
    let again = (operation.run)(stage, stage.plain(), stage.surroundings());
    found.extend(converged(stage, operation, &again, judge));
    (!found.is_empty()).then(|| format!("`{}`: {}, then {}: {found:#?}", operation.name, fates[0], fates[1]))
}
