//! Random lives of a repository: backups, forgets, prunes of all sorts, time that passes. After each step every snapshot
//! is whole on every copy, the copies are equal, and no more is unused than was asked for.

use std::time::Duration;

use repository::prune::{MaxUnused, PruneRequest};
use testkit::seed;

use crate::ground::Ground;

#[test]
fn any_life_of_a_repository() {
    let seed = seed("prune");
    let lives = if std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some() { 200 } else { 6 };
    for life in 0..lives {
        let mut ground = Ground::new(seed ^ (life << 32));
        ground.write(0..12);
        ground.backup();
        for step in 0..14 {
            let what = format!("seed {seed}, life {life}, step {step}");
            match ground.random.below(10) {
                0..4 => {
                    let from = ground.random.below(20) as u32;
                    let count = 1 + ground.random.below(8) as u32;
                    ground.write(from..from + count);
                    ground.backup();
                }
                4..6 if ground.states.len() > 1 => {
                    let which = ground.random.index(ground.states.len());
                    let id = *ground.states.keys().nth(which).unwrap();
                    ground.forget(id);
                }
                4..7 => ground.clock.advance(Duration::from_secs(3600 * ground.random.below(40))),
                _ => prune(&mut ground, &what),
            }
            ground.assert_sound();
            ground.assert_equal();
        }
        prune(&mut ground, "at the end");
        ground.assert_restores();
    }
}

fn prune(ground: &mut Ground, what: &str) {
    let limits = [MaxUnused::Bytes(0), MaxUnused::Percent(5.0), MaxUnused::Percent(30.0), MaxUnused::Unlimited];
    let request = PruneRequest {
        max_unused: limits[ground.random.index(4)],
        repack_smaller_than: ground.random.chance(4).then_some(30_000),
        repack_uncompressed: ground.random.chance(5),
        repack_cacheable_only: ground.random.chance(8),
        threads: Some(1 + ground.random.index(3)),
        ..PruneRequest::default()
    };
    let report = ground.try_prune(&request).unwrap_or_else(|error| panic!("{what}: {error}"));
    let after = ground.plan(&request);
    assert_eq!(after.used.blobs, report.plan.used.blobs, "{what}");
    assert!(after.wait.packs + after.sweep.packs >= report.plan.mark.packs, "{what}");
    let unused = after.unused.bytes + after.duplicate.bytes;
    assert_eq!(unused, report.plan.unused_after_bytes, "{what}: {request:?}");
    let bound = match request.max_unused {
        MaxUnused::Bytes(bytes) => bytes,
        MaxUnused::Percent(percent) => (percent / 100.0 * (after.used.bytes + unused) as f64) as u64 + 1,
        MaxUnused::Unlimited => u64::MAX,
    };
    assert!(request.repack_cacheable_only || unused <= bound, "{what}: {unused} of {bound}, {request:?}");
}
