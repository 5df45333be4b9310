//! Killed in the middle: after kill -9 at any moment of a backup, every copy checks clean, earlier snapshots restore,
//! and the next backup needs no help.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
#![allow(clippy::disallowed_methods)] // a test may look at the clock

mod stage;

use stage::Stage;
use testkit::{Manifest, Random, manifest, seed};

/// How many times the program is killed.
const KILLS: u32 = 50;

#[test]
fn fifty_kills_lose_nothing() {
    let stage = Stage::full();
    let mut random = Random::new(seed("fifty kills"));
    let source = stage.path("source");
    testkit::corpus::tree(&source, 300, 100_000, 3).unwrap();
    let first = manifest(&source).unwrap();
    stage.init();
    stage.run(0, &["backup", "--tag", "first", source.to_str().unwrap()]);

    // How long one whole backup of 24 MiB takes here: the kills are spread over that time.
    testkit::corpus::random_file(&source.join("changing"), 24 << 20, 0).unwrap();
    let started = std::time::Instant::now();
    stage.run(0, &["backup", source.to_str().unwrap()]);
    let usual = started.elapsed();
    let mut killed_in_the_middle = 0;
    for kill in 1..=KILLS {
        testkit::corpus::random_file(&source.join("changing"), 24 << 20, u64::from(kill)).unwrap();
        let mut child = stage.spawn(&["backup", source.to_str().unwrap()]);
        let wait = usual.mul_f64(random.below(1000) as f64 / 1000.0);
        let ended = testkit::process::wait_until(wait, || child.try_wait().unwrap().is_some());
        if !ended {
            child.kill().unwrap();
            killed_in_the_middle += 1;
        }
        child.wait().unwrap();
        for place in stage.places() {
            // A lock of the killed process may be there: restic's check wants none, so it is told to look past it.
            if let Some(restic) = stage.restic("0.19", place) {
                restic.ok(&["check", "--no-lock"]);
            }
        }
        let scratch = stage.path("first-again");
        stage.run(0, &["restore", "latest", "--tag", "first", "--target", scratch.to_str().unwrap()]);
        let restored = manifest(&scratch).unwrap().below(&source);
        assert!(Manifest::difference(&first, &restored).is_empty(), "after kill {kill} at {wait:?}");
        std::fs::remove_dir_all(&scratch).unwrap();
        stage.run(0, &["backup", source.to_str().unwrap()]);
    }
    println!("{killed_in_the_middle} of {KILLS} were killed before their end; one backup takes {usual:?}");
    assert!(killed_in_the_middle >= KILLS / 2);
    stage.run(0, &["backup", source.to_str().unwrap()]);
    stage.run(0, &["copies", "sync"]);
    let last = manifest(&source).unwrap();
    let scratch = stage.path("last");
    stage.run(0, &["restore", "latest", "--target", scratch.to_str().unwrap()]);
    assert!(Manifest::difference(&last, &manifest(&scratch).unwrap().below(&source)).is_empty());
    for place in stage.places() {
        for version in testkit::components::RESTIC_VERSIONS {
            if let Some(restic) = stage.restic(version, place) {
                restic.check(true);
            }
        }
    }
}
