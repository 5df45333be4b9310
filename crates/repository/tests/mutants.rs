//! Whole repositories that rotted or were forged, through listing, checking and restoring: every end is a report or an
//! error, nothing is written outside the target, no byte that is given back is wrong, and memory stays bounded.
//!
//! `TRIPLICATE_EXHAUSTIVE=1` takes 10,000 of them; `TRIPLICATE_SEED` repeats one run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod room;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clock::{Clock, SystemClock};
use model::{Secret, Verdict};
use repository::check::{CheckRequest, ReadData, check};
use repository::restore::{RestoreRequest, restore};
use repository::snapshots::SnapshotFilter;
use repository::{InitRequest, Repository, Result};
use room::{PASSWORD, Room};
use testkit::{Manifest, MemoryFolder, Mutant, Random, SoundRepository, manifest};

const MUTANTS: u64 = 10_000;
/// In a run without the variable.
const SAMPLE: u64 = 600;
const WORKERS: u64 = 2;
/// No mutant may hold anybody up for longer.
const MUTANT_LIMIT: Duration = Duration::from_secs(30);
/// Of the whole process. The repository has half a megabyte.
const MEMORY_KIB_MAX: u64 = 1 << 20;

struct Ground {
    room: Room,
    sound: SoundRepository,
    original: Manifest,
}

impl Ground {
    fn new() -> Self {
        let room = Room::new();
        let source = room.path("source");
        let mut random = Random::new(4);
        std::fs::create_dir_all(source.join("folder/deeper")).unwrap();
        std::fs::write(source.join("file"), random.bytes(3000)).unwrap();
        std::fs::write(source.join("folder/deeper/large"), random.bytes(300_000)).unwrap();
        std::os::unix::fs::symlink("file", source.join("folder/link")).unwrap();
        let copy = Arc::new(MemoryFolder::new("sound"));
        let request = InitRequest { cost: format::ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
        let password = Secret::from(PASSWORD.to_owned());
        let repository = Repository::init(vec![copy.clone()], &password, &request, room.surroundings()).unwrap();
        room.backup(&repository, Path::new("source"));
        std::fs::write(source.join("folder/new"), random.bytes(20_000)).unwrap();
        room.backup(&repository, Path::new("source"));
        let sound = SoundRepository::new(copy.files(), repository.master().clone());
        let original = manifest(&source).unwrap();
        // What stands around the target.
        std::fs::create_dir_all(room.path("world/outside")).unwrap();
        std::fs::write(room.path("world/outside/secret"), "secret").unwrap();
        Self { room, sound, original }
    }

    /// Does everything that only reads.
    fn use_it(&self, mutant: &Mutant) -> Result<()> {
        let copy = Arc::new(MemoryFolder::new("mutant"));
        copy.reset(mutant.files.clone());
        let repository = self.room.open_with(vec![copy])?;
        let checked = check(&repository, &CheckRequest { read: ReadData::All, ..CheckRequest::default() });
        repository.snapshots()?;
        let latest = repository.find_snapshot("latest", &SnapshotFilter::default())?.snapshot;
        let indexed = repository.indexed()?;
        let target = self.room.path("world/target");
        let request = RestoreRequest { target: target.clone(), ..RestoreRequest::default() };
        let restored = restore(&indexed, &latest, &request, repository.observer());
        // Rot is found: what a restore calls well is what was backed up, and a check that is content means that.
        let restored = restored?;
        if !mutant.is_forged && restored.failed_count == 0 {
            let difference = Manifest::difference(&self.original, &manifest(target.join("source")).unwrap());
            // Where the newest snapshot was lost, the one before it is the latest.
            let is_older = |line: &String| line.starts_with("folder/new:") || line.starts_with("folder:");
            assert!(difference.iter().all(is_older), "wrong bytes were given back: {difference:#?}");
        }
        // A snapshot that is gone without a trace is the one thing that a repository alone cannot tell.
        let is_all_there = mutant.files.keys().eq(self.sound.files().keys());
        if !mutant.is_forged && is_all_there && mutant.files != *self.sound.files() {
            assert_ne!(checked?.verdict(), Verdict::Ok, "the check noticed nothing");
        }
        Ok(())
    }

    fn survives(&self, number: u64, seed: u64) -> bool {
        let mutant = self.sound.mutant(&mut Random::new(seed.wrapping_add(number)));
        let around = || manifest(self.room.path("world/outside")).unwrap();
        let (before, clock) = (around(), SystemClock::new());
        let begun = clock.monotonic();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.use_it(&mutant)));
        let ended = outcome.unwrap_or_else(|_| panic!("mutant {number} of seed {seed}: {:#?}", mutant.changes));
        let took = clock.monotonic() - begun;
        assert!(took < MUTANT_LIMIT, "mutant {number} of seed {seed} took {took:?}: {:#?}", mutant.changes);
        let outside: Vec<_> =
            std::fs::read_dir(self.room.path("world")).unwrap().map(|e| e.unwrap().file_name()).collect();
        let is_expected = |name: &std::ffi::OsString| name == "outside" || name == "target";
        assert!(outside.iter().all(is_expected), "mutant {number} of seed {seed} made {outside:?}");
        let changed = Manifest::difference(&before, &around());
        assert!(changed.is_empty(), "mutant {number} of seed {seed} changed {changed:?}");
        let target = self.room.path("world/target");
        if target.exists() {
            testkit::remove_hostile_tree(&target).unwrap();
        }
        ended.is_ok()
    }
}

fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn mutants_end_in_a_report_or_an_error() {
    let all = std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some_and(|value| value != "0");
    let (count, seed) = (if all { MUTANTS } else { SAMPLE }, testkit::seed("mutants"));
    let (next, usable) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let ground = Ground::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if count <= number {
                        break;
                    }
                    usable.fetch_add(u64::from(ground.survives(number, seed)), Ordering::Relaxed);
                }
            });
        }
    });
    let (usable, peak) = (usable.into_inner(), peak_memory_kib());
    println!("{count} mutants: {usable} restored with or without gaps, peak memory {} MiB", peak >> 10);
    assert!(count / 20 < usable && usable < count, "{usable} of {count}: the mutants are all dead or all well");
    assert!(peak < MEMORY_KIB_MAX, "{peak} KiB");
}
