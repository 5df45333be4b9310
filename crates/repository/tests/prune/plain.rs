//! What a prune does when nothing stands in its way.

use format::{FileKind, PackedBlob};
use repository::prune::{MaxUnused, PruneRequest};

use crate::ground::{DAY, Ground, thorough};

#[test]
fn what_nobody_needs_leaves_the_index_first_and_the_disk_a_day_later() {
    for version in [1, 2] {
        let mut ground = Ground::half_forgotten(1, version);
        let packs = ground.names(FileKind::Pack);
        let report = ground.prune(&thorough());
        let plan = &report.plan;
        // The first data pack is needed in part; the first backup's trees are not.
        assert_eq!((plan.repack.packs, plan.rewritten.blobs, plan.repack_removes.blobs), (1, 10, 10));
        assert_eq!((plan.mark.packs, plan.sweep.packs, plan.snapshots), (1, 0, 1));
        assert_eq!(plan.unused_after_bytes, 0);
        assert!(packs.iter().all(|name| ground.names(FileKind::Pack).contains(name)), "nothing is deleted yet");
        let marks = ground.marks();
        assert_eq!(marks.len(), 2);
        assert!(marks.iter().all(|mark| !mark.blobs.is_empty() && mark.time.is_some() && mark.size.is_some()));
        assert!(marks.iter().all(|mark| mark.blobs.iter().map(PackedBlob::end).max() < mark.size.map(u64::from)));

        // Nothing more to do, until the time has come.
        assert!(ground.prune(&thorough()).plan.is_empty());
        ground.clock.advance(DAY);
        let report = ground.prune(&thorough());
        assert_eq!((report.plan.sweep.packs, report.plan.mark.packs), (2, 0));
        assert!(marks.iter().all(|mark| !ground.names(FileKind::Pack).contains(&format::FileName::pack(mark.id))));
        for copy in &report.copies {
            assert!(copy.bytes_removed == report.plan.sweep.bytes && copy.files_kept == 0, "{copy:?}");
        }
        assert!(ground.marks().is_empty());
        assert!(ground.prune(&thorough()).plan.is_empty());
        ground.assert_restores();
        ground.write(0..30);
        ground.backup();
        ground.assert_sound();
    }
}

#[test]
fn a_dry_run_tells_the_plan_and_changes_nothing() {
    let ground = Ground::half_forgotten(1, 2);
    let plan = ground.plan(&thorough());
    assert_eq!(ground.prune(&thorough()).plan, plan);
}

#[test]
fn limits_are_kept() {
    let ground = Ground::half_forgotten(1, 2);
    let request =
        |max_unused: &str| PruneRequest { max_unused: max_unused.parse().unwrap(), ..PruneRequest::default() };
    // Half of the first data pack is a third of what there is.
    let plan = ground.plan(&request("40%"));
    assert_eq!((plan.repack.packs, plan.mark.packs), (0, 1));
    assert!(plan.unused_after_percent() > 30.0);
    assert_eq!(ground.plan(&request("unlimited")).repack.packs, 0);
    assert_eq!(ground.plan(&request("5%")).repack.packs, 1);
    let limited = PruneRequest { max_repack_bytes: Some(1000), ..request("0") };
    assert_eq!(ground.plan(&limited).repack.packs, 0);
    let cacheable = PruneRequest { repack_cacheable_only: true, ..request("0") };
    assert_eq!((ground.plan(&cacheable).repack.packs, ground.plan(&cacheable).mark.packs), (0, 1));
    ground.prune(&request("unlimited"));
    assert_eq!(ground.plan(&request("unlimited")).mark.packs, 0);
    assert_eq!(ground.plan(&request("5%")).repack.packs, 1);
}

#[test]
fn small_packs_are_packed_together_when_there_are_many() {
    let mut ground = Ground::new(2);
    for number in 0..12 {
        ground.write(number..number + 1);
        ground.backup();
    }
    let small = |limit: u64| PruneRequest { repack_smaller_than: Some(limit), ..PruneRequest::default() };
    assert!(ground.plan(&PruneRequest::default()).is_empty());
    assert!(ground.plan(&small(100)).is_empty());
    let report = ground.prune(&small(10 << 20));
    assert_eq!((report.plan.repack.packs, report.plan.repack_removes.blobs), (24, 0));
    ground.clock.advance(DAY);
    ground.prune(&small(10 << 20));
    assert_eq!(ground.names(FileKind::Pack).len(), 2, "one of data, one of trees");
    assert!(ground.prune(&small(10 << 20)).plan.is_empty(), "and they stay as they are");
    ground.assert_restores();
}

#[test]
fn what_was_stored_as_it_is_gets_compressed() {
    let mut ground = Ground::new(3);
    ground.write(0..20);
    let repository = ground.open();
    let mut request = ground.room.request(&[std::path::Path::new("source")]);
    request.compression = format::Compression::Off;
    let report = repository::backup::backup(&repository, &request).unwrap();
    ground.states.insert(report.id.unwrap(), crate::room::files_in(&ground.room.path("source")));
    drop(repository);
    let request = PruneRequest { repack_uncompressed: true, ..PruneRequest::default() };
    let before = ground.plan(&request).used.bytes;
    let report = ground.prune(&request);
    assert_eq!(report.plan.rewritten.blobs, 20);
    let after = ground.plan(&request).used.bytes;
    assert!(after < before * 2 / 3, "{after} of {before}");
    assert!(ground.prune(&request).plan.is_empty());
    ground.assert_restores();
    let old = Ground::of_version(3, 1);
    let refused = old.try_prune(&request).unwrap_err().to_string();
    assert_eq!(refused, "a version 1 repository knows no compression");
}

#[test]
fn many_tiny_index_files_become_few() {
    let mut ground = Ground::new(4);
    for number in 0..25 {
        ground.write(number..number + 1);
        ground.backup();
    }
    let request = PruneRequest { max_unused: MaxUnused::Unlimited, ..PruneRequest::default() };
    let report = ground.prune(&request);
    assert_eq!((report.plan.index_files, report.plan.index_files_rewritten), (25, 25));
    assert_eq!(ground.names(FileKind::Index).len(), 1);
    assert!(ground.prune(&request).plan.is_empty());
}

#[test]
fn a_blob_that_is_stored_twice_is_kept_once() {
    let mut ground = Ground::new(5);
    ground.write(0..20);
    ground.backup();
    // Somebody who did not see the first backup stores everything again.
    let snapshots = ground.names(FileKind::Snapshot);
    let indexes = ground.names(FileKind::Index);
    let hidden: Vec<_> = indexes.iter().map(|name| (*name, ground.copies[0].get(*name).unwrap())).collect();
    for copy in &ground.copies {
        indexes.iter().for_each(|name| drop(copy.take(*name)));
        snapshots.iter().for_each(|name| drop(copy.take(*name)));
    }
    ground.states.clear();
    ground.write(20..22);
    ground.backup();
    for copy in &ground.copies {
        hidden.iter().for_each(|(name, bytes)| copy.put(*name, bytes.clone()));
    }
    let plan = ground.plan(&thorough());
    assert_eq!((plan.duplicate.blobs, plan.used.blobs), (20 + 3, 22 + 7), "files, and the folders without a new one");
    ground.prune(&thorough());
    let after = ground.plan(&thorough());
    assert_eq!((after.duplicate.blobs, after.unused.blobs, after.used.blobs), (0, 0, 29));
    ground.assert_restores();
}

#[test]
fn packs_that_no_index_knows_are_marked_and_not_removed_at_first_sight() {
    let mut ground = Ground::half_forgotten(1, 2);
    ground.prune(&thorough());
    ground.clock.advance(DAY);
    ground.prune(&thorough());
    // On one copy only, as a backup leaves it that breaks off.
    let left = format::FileName::pack(format::hash(b"left over"));
    ground.copies[1].put(left, "left over");
    let report = ground.prune_unequal(&PruneRequest { grace: std::time::Duration::ZERO, ..thorough() });
    assert_eq!((report.plan.unindexed.packs, report.plan.mark.packs, report.plan.sweep.packs), (1, 1, 0));
    assert!(ground.copies[1].get(left).is_some());
    let mark = ground.marks().pop().unwrap();
    assert_eq!((mark.blobs.len(), mark.size), (0, Some(9)));
    ground.clock.advance(DAY);
    let report = ground.prune(&thorough());
    assert_eq!(report.plan.sweep.packs, 1);
    assert!(ground.copies[1].get(left).is_none());
    ground.write(0..3);
    ground.backup();
}

impl Ground {
    /// A prune whose copies may hold left-overs.
    fn prune_unequal(&self, request: &PruneRequest) -> repository::prune::PruneReport {
        let report = self.try_prune(request).unwrap();
        assert_eq!(report.verdict, model::Verdict::Ok, "{:?}", report.copies);
        self.assert_sound();
        report
    }
}
