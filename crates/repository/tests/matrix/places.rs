//! The same deaths where the third copy lies on a real server, of every kind in turn: before and after everything that
//! is asked of it.
//!
//! What the server holds is put there before each run and looked at after it, so that the oracles judge what lies
//! there. Deaths between the requests that one operation takes are the matter of `network_faults` and
//! `network_bytes`: to a server, a client that is cut off for good has died.

use testkit::oracles::Judge;
use testkit::{Random, seed};

use crate::crash::{Point, Trial, Victim, chosen};
use crate::engine::Engine;
use crate::is_exhaustive;
use crate::kinds::{Kind, Real};
use crate::operations::Operation;
use crate::room::PASSWORD;
use crate::stage::Stage;

/// What is tried everywhere; a usual run tries one of them.
const OPERATIONS: [&str; 9] =
    ["init", "first backup", "backup", "sync", "copies add", "heal", "forget", "prune mark", "prune sweep"];

/// Points that a usual run tries on each kind; of rsync, where everything that is asked is a login, only the first.
const POINTS: usize = 2;

/// Tries one operation; gives the server back, how many points were tried, and what was violated.
fn try_on(real: Box<dyn Real>, name: &str, points: usize, random: &mut Random) -> (Box<dyn Real>, usize, Vec<String>) {
    let operation = Operation::named(name);
    let mut stage = Stage::new(operation.ground);
    stage.settle(real);
    let engine = Engine(&stage.room);
    let judge = Judge::new(&engine, PASSWORD, stage.room.scratch.path());
    let trial = Trial { stage: &stage, operation, judge, seed: 0 };
    let place = stage.third_place();
    let asked = trial.undisturbed(Victim::Process);
    let of_third = asked.into_iter().filter(|asked| asked.place == place);
    let all: Vec<Point> = of_third.flat_map(|asked| Point::around(Victim::Process, asked.number)).collect();
    assert!(!all.is_empty(), "nothing was asked of {place}");
    let tried = chosen(&all, points, random);
    let mut violations = Vec::new();
    for point in &tried {
        let found = trial.try_at(point);
        if !found.is_empty() {
            violations.push(format!("{}: {found:#?}", trial.describe(point)));
        }
    }
    if is_exhaustive() {
        let judged = &all[random.index(all.len())];
        violations
            .extend(trial.restic_at(judged).into_iter().map(|found| format!("{}: {found}", trial.describe(judged))));
    }
    drop(trial);
    (stage.leave().unwrap(), tried.len(), violations)
}

fn dies_at_every_moment(kind: Kind) {
    let Some(mut real) = kind.start() else { return };
    let seed = seed(&format!("crash on {kind:?}"));
    let mut random = Random::new(seed);
    let names = if is_exhaustive() { OPERATIONS.to_vec() } else { vec![OPERATIONS[random.index(OPERATIONS.len())]] };
    let points = if kind == Kind::Rsync { 1 } else { POINTS };
    let mut all_violations = Vec::new();
    for name in names {
        let (server, tried, violations) = try_on(real, name, points, &mut random);
        real = server;
        println!("`{name}` on {kind:?}: {tried} points, {} violations", violations.len());
        all_violations.extend(violations);
    }
    assert!(all_violations.is_empty(), "seed {seed}: on {kind:?}:\n{}", all_violations.join("\n"));
}

macro_rules! crash_on {
    ($($test:ident $kind:ident),*) => {
        $(#[test]
        fn $test() {
            dies_at_every_moment(Kind::$kind);
        })*
    };
}

crash_on! {
    rest Rest, s3 S3, apache Apache, sabre Sabre, nextcloud Nextcloud, dropbox Dropbox, azure Azure, google Google,
    b2 B2, rclone Rclone, sftp Sftp, rsync Rsync, proftpd Proftpd, pyftpdlib Pyftpdlib
}
