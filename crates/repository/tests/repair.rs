//! Repairs make the best of what no copy has sound any more: nothing that is sound is lost by them, the copies stay
//! equal, restic finds nothing to complain of afterwards, and one that broke off is ended by the next.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use destinations::Destination;
use format::{FileKind, FileName, IndexFile, PackedBlob};
use model::{FaultKind, Verdict};
use repository::check::{CheckReport, CheckRequest, ReadData, check};
use repository::locks::LockMode;
use repository::repair::config::restore_kit;
use repository::repair::index::{IndexPlan, IndexRepair, RepairIndexRequest};
use repository::repair::kit::KitFiles;
use repository::repair::packs::PackRepair;
use repository::repair::snapshots::{Change, RepairSnapshotsRequest, SnapshotRepair};
use repository::restore::{RestoreRequest, restore};
use repository::{Error, RecordsFolder, Repository};
use room::{Copies, PASSWORD, Room, plain, three_copies, with_faults};
use testkit::process::wait_until;
use testkit::{Act, Gate, MemoryFolder, Oracle, Script, Verb, When};

fn try_open(room: &Room, destinations: Vec<Arc<dyn Destination>>) -> repository::Result<Repository> {
    let mut surroundings = room.surroundings();
    surroundings.records = Some(RecordsFolder::new(room.path("records")));
    Repository::open(destinations, &PASSWORD.to_owned().into(), surroundings)
}

fn open(room: &Room, destinations: Vec<Arc<dyn Destination>>) -> Repository {
    try_open(room, destinations).unwrap()
}

fn files(copy: &MemoryFolder) -> BTreeMap<FileName, Bytes> {
    copy.files().into_iter().filter(|(name, _)| name.kind() != FileKind::Lock).collect()
}

#[track_caller]
fn assert_equal(copies: &Copies) {
    for copy in &copies[1..] {
        assert!(files(copy) == files(&copies[0]), "{} differs", copy.place());
    }
}

fn full_check(room: &Room, copies: &Copies) -> CheckReport {
    check(&open(room, plain(copies)), &CheckRequest { read: ReadData::All, ..CheckRequest::default() }).unwrap()
}

#[track_caller]
fn assert_whole(room: &Room, copies: &Copies) {
    let report = full_check(room, copies);
    let damages: Vec<String> =
        report.copies.iter().flat_map(|copy| &copy.damages).map(|finding| finding.damage.to_string()).collect();
    assert_eq!(report.verdict(), Verdict::Ok, "{damages:#?}");
    assert_equal(copies);
    // As a folder on a disk, with the oldest and the newest restic.
    let folder = room.path("on disk");
    let _ = std::fs::remove_dir_all(&folder);
    for (name, bytes) in files(&copies[0]) {
        let path = folder.join(name.path());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    for kind in FileKind::NAMED {
        std::fs::create_dir_all(folder.join(kind.folder())).unwrap();
    }
    for restic in Oracle::every_restic(folder.to_str().unwrap(), PASSWORD) {
        restic.check(true);
    }
}

/// A second snapshot, with a large file of its own.
fn one_more(room: &Room, copies: &Copies) {
    std::fs::write(room.path("source/later"), vec![7; 900_000]).unwrap();
    room.backup(&open(room, plain(copies)), Path::new("source"));
}

fn largest_pack(copy: &MemoryFolder) -> FileName {
    copy.names(FileKind::Pack).into_iter().max_by_key(|name| copy.get(*name).unwrap().len()).unwrap()
}

fn repair_index(room: &Room, copies: &Copies, read_all_packs: bool) -> IndexPlan {
    let repository = open(room, plain(copies));
    let repair = IndexRepair::examine(&repository, RepairIndexRequest { read_all_packs }).unwrap();
    let plan = repair.plan().clone();
    repair.apply().unwrap();
    plan
}

/// Puts another index file in the place of one, on every copy.
fn rewrite_index(repository: &Repository, copies: &Copies, name: FileName, change: impl FnOnce(&mut IndexFile)) {
    let plain = repository.open_file(name, &copies[0].get(name).unwrap()).unwrap();
    let mut file = IndexFile::parse(&plain).unwrap();
    change(&mut file);
    let (new, bytes) = repository.seal_file(FileKind::Index, &file.to_bytes());
    for copy in copies {
        copy.take(name);
        copy.put(new, bytes.clone());
    }
}

/// On every copy the first index file lacks a blob of its first pack.
fn lose_an_entry(room: &Room, copies: &Copies) {
    rewrite_index(&open(room, plain(copies)), copies, copies[0].names(FileKind::Index)[0], |file| {
        file.packs[0].blobs.pop();
    });
}

/// Damages a pack on every copy, another blob on each: where the chunks of a new repository end is chance, so places are
/// no blobs. Gives the pack.
fn damage_everywhere(room: &Room, copies: &Copies) -> FileName {
    let pack = largest_pack(&copies[0]);
    let blobs = blobs_in(&open(room, plain(copies)), &copies[0], pack);
    for (copy, blob) in copies.iter().zip(&blobs) {
        copy.damage(pack, |bytes| bytes[(blob.offset + blob.length / 2) as usize] ^= 1);
    }
    pack
}

/// The blobs that the index knows in a pack.
fn blobs_in(repository: &Repository, copy: &MemoryFolder, pack: FileName) -> Vec<PackedBlob> {
    let indexes = copy.names(FileKind::Index).into_iter().map(|name| {
        let plain = repository.open_file(name, &copy.get(name).unwrap()).unwrap();
        IndexFile::parse(&plain).unwrap()
    });
    let packs = indexes.flat_map(|index| index.packs).filter(|one| Some(one.id) == pack.id());
    packs.flat_map(|one| one.blobs).collect()
}

#[test]
fn an_index_that_is_right_is_left_alone() {
    let room = Room::new();
    let copies = three_copies(&room);
    let before = files(&copies[0]);
    for read_all_packs in [false, true] {
        let plan = repair_index(&room, &copies, read_all_packs);
        assert!(plan.is_empty(), "{plan:?}");
        assert_eq!(files(&copies[0]), before);
    }
}

#[test]
fn a_lost_index_is_made_anew_from_the_packs() {
    let room = Room::new();
    let copies = three_copies(&room);
    one_more(&room, &copies);
    let indexes = copies[0].names(FileKind::Index);
    assert_eq!(indexes.len(), 2);
    copies.iter().for_each(|copy| assert!(copy.take(indexes[0]).is_some()));
    let plan = repair_index(&room, &copies, false);
    assert!(!plan.read_packs.is_empty() && plan.unreadable_indexes.is_empty(), "{plan:?}");
    assert_whole(&room, &copies);
    // One that is damaged everywhere, on one copy another one, which is healed first.
    let indexes = copies[0].names(FileKind::Index);
    copies.iter().for_each(|copy| assert!(copy.damage(indexes[0], |bytes| bytes[5] ^= 1)));
    copies[1].damage(indexes[1], |bytes| bytes[5] ^= 1);
    let plan = repair_index(&room, &copies, false);
    assert_eq!((plan.unreadable_indexes.as_slice(), plan.heal.replacements.len()), (&indexes[..1], 1));
    assert_whole(&room, &copies);
    assert!(!copies[0].names(FileKind::Index).contains(&indexes[0]));
}

#[test]
fn wrong_and_missing_entries_are_replaced_by_what_the_packs_say() {
    let room = Room::new();
    let copies = three_copies(&room);
    one_more(&room, &copies);
    lose_an_entry(&room, &copies);
    let repository = open(&room, plain(&copies));
    let plan = repair_index(&room, &copies, false);
    assert_eq!((plan.wrong_indexes.len(), plan.read_packs.len()), (1, 1), "{plan:?}");
    assert_whole(&room, &copies);
    // The sum is right and every place is wrong: only the headers tell.
    let named = |copies: &Copies| {
        let of = |name: FileName| {
            IndexFile::parse(&repository.open_file(name, &copies[0].get(name).unwrap()).unwrap()).unwrap()
        };
        copies[0]
            .names(FileKind::Index)
            .into_iter()
            .find(|name| of(*name).packs.iter().any(|pack| pack.blobs.len() > 1))
    };
    let index = named(&copies).unwrap();
    rewrite_index(&repository, &copies, index, |file| {
        let pack = file.packs.iter_mut().find(|pack| pack.blobs.len() > 1).unwrap();
        let ids: Vec<_> = pack.blobs.iter().map(|blob| blob.id).collect();
        let count = ids.len();
        pack.blobs.iter_mut().enumerate().for_each(|(at, blob)| blob.id = ids[(at + 1) % count]);
    });
    assert_eq!(full_check(&room, &copies).verdict(), Verdict::Failed);
    assert!(repair_index(&room, &copies, false).is_empty());
    let plan = repair_index(&room, &copies, true);
    assert_eq!((plan.wrong_indexes.len(), plan.read_packs.len()), (1, 1), "{plan:?}");
    assert_whole(&room, &copies);
}

#[test]
fn packs_that_no_copy_has_leave_the_index_and_left_over_ones_enter_it() {
    let room = Room::new();
    let copies = three_copies(&room);
    let first = files(&copies[0]);
    one_more(&room, &copies);
    let new: Vec<FileName> = files(&copies[0]).into_keys().filter(|name| !first.contains_key(name)).collect();
    // The second backup never wrote its index, and on one copy not even its packs.
    for name in new.iter().filter(|name| matches!(name.kind(), FileKind::Index | FileKind::Snapshot)) {
        copies.iter().for_each(|copy| assert!(copy.take(*name).is_some()));
    }
    let packs: Vec<FileName> = new.iter().filter(|name| name.kind() == FileKind::Pack).copied().collect();
    copies[2].take(packs[0]);
    let lost = largest_pack(&copies[0]);
    let kept = copies[0].get(lost).unwrap();
    copies.iter().for_each(|copy| assert!(copy.take(lost).is_some()));
    let plan = repair_index(&room, &copies, false);
    assert_eq!(plan.missing_packs, [lost.id().unwrap()]);
    assert_eq!(plan.read_packs.len(), packs.len(), "{plan:?}");
    assert_equal(&copies);
    assert_eq!(full_check(&room, &copies).copies[0].counts.packs_unindexed, 0);
    // The pack was on a copy that was away: it comes back, and everything is whole.
    copies[1].put(lost, kept);
    repair_index(&room, &copies, false);
    assert_whole(&room, &copies);
}

#[test]
fn examining_changes_nothing_and_a_copy_that_is_away_or_in_use_is_refused() {
    let room = Room::new();
    let copies = three_copies(&room);
    let index = copies[0].names(FileKind::Index)[0];
    copies.iter().for_each(|copy| assert!(copy.take(index).is_some()));
    let before = copies.clone().map(|copy| files(&copy));
    let repository = open(&room, plain(&copies));
    let plan = IndexRepair::examine(&repository, RepairIndexRequest::default()).unwrap().plan().clone();
    assert!(!plan.is_empty());
    assert_eq!(copies.clone().map(|copy| files(&copy)), before);
    let guard = repository.lock(LockMode::Reading).unwrap();
    let other = open(&room, plain(&copies));
    let refused = IndexRepair::examine(&other, RepairIndexRequest::default()).unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    drop(guard);
    let (destinations, faulty) = with_faults(&copies, 1, Script::new(1));
    faulty.die();
    let refused = IndexRepair::examine(&open(&room, destinations), RepairIndexRequest::default()).unwrap_err();
    assert!(refused.to_string().contains("while a copy is missing"), "{refused}");
    assert_eq!(copies.map(|copy| files(&copy)), before);
}

#[test]
fn a_repair_that_breaks_off_anywhere_is_ended_by_the_next() {
    let room = Room::new();
    let copies = three_copies(&room);
    one_more(&room, &copies);
    lose_an_entry(&room, &copies);
    let before = copies.clone().map(|copy| copy.files());
    let mut broke_off = 0;
    for number in 1.. {
        for act in [Act::DieBefore, Act::DieAfter] {
            copies.iter().zip(&before).for_each(|(copy, files)| copy.reset(files.clone()));
            let (destinations, faulty) = with_faults(&copies, 1, Script::new(1).with(When::At(number), act));
            let ended = try_open(&room, destinations).and_then(|repository| {
                IndexRepair::examine(&repository, RepairIndexRequest::default())?.apply().map(drop)
            });
            if faulty.fired() == 0 {
                assert!(broke_off > 10, "{broke_off}");
                ended.unwrap();
                assert_whole(&room, &copies);
                return;
            }
            broke_off += usize::from(ended.is_err());
            // Its lock is not known to be dead where the host is another one.
            copies.iter().for_each(|copy| {
                copy.names(FileKind::Lock).into_iter().for_each(|lock| drop(copy.take(lock)));
            });
            repair_index(&room, &copies, false);
            let report = full_check(&room, &copies);
            assert_eq!(report.verdict(), Verdict::Ok, "operation {number}");
            assert_equal(&copies);
        }
    }
}

#[test]
fn a_copy_that_lets_nothing_be_removed_keeps_the_old_files_and_is_named() {
    let room = Room::new();
    let copies = three_copies(&room);
    lose_an_entry(&room, &copies);
    let script = Script::new(1).with(When::Kind(Verb::Remove, FileKind::Index), Act::FailBefore(FaultKind::Denied));
    let (destinations, _) = with_faults(&copies, 1, script);
    let repository = open(&room, destinations);
    let report = IndexRepair::examine(&repository, RepairIndexRequest::default()).unwrap().apply().unwrap();
    assert_eq!(report.removed.kept_by, [(copies[1].place().to_owned(), 1)]);
    assert!(copies[0].names(FileKind::Index).len() < copies[1].names(FileKind::Index).len());
    assert!(report.removed.aside.unwrap().exists());
}

#[test]
fn a_pack_that_is_damaged_on_every_copy_in_another_place_is_saved_whole() {
    let room = Room::new();
    let copies = three_copies(&room);
    one_more(&room, &copies);
    let pack = damage_everywhere(&room, &copies);
    let repository = open(&room, plain(&copies));
    let repair = PackRepair::examine(&repository, &[pack.id().unwrap()]).unwrap();
    let broken = repair.plan().broken[0].clone();
    assert!(broken.saved > 1 && broken.lost == 0, "{broken:?}");
    let report = repair.apply().unwrap();
    assert_eq!(report.saved, broken.saved as u64);
    assert!(copies[0].get(pack).is_none());
    drop(repository);
    assert_whole(&room, &copies);
}

#[test]
fn a_lock_that_vanishes_stops_every_further_removal_on_its_copy() {
    let room = Room::new();
    let copies = three_copies(&room);
    one_more(&room, &copies);
    let pack = damage_everywhere(&room, &copies);
    let gate = Gate::closed();
    let script = Script::new(1).with(When::Kind(Verb::Remove, FileKind::Index), Act::Wait(gate.clone()));
    let (destinations, _) = with_faults(&copies, 1, script);
    let repository = open(&room, destinations);
    let ended = std::thread::scope(|scope| {
        let repair = || PackRepair::examine(&repository, &[pack.id().unwrap()]).unwrap().apply().map(drop);
        let running = scope.spawn(repair);
        assert!(wait_until(Duration::from_secs(60), || gate.waiting() > 0));
        // New files are there, the first old one goes; whoever unlocks now may rely on the packs.
        copies[1].names(FileKind::Lock).into_iter().for_each(|lock| drop(copies[1].take(lock)));
        gate.open();
        running.join().unwrap()
    });
    let error = ended.unwrap_err();
    assert!(error.to_string().contains("our lock was removed"), "{error}");
    assert!(copies[1].get(pack).is_some());
}

#[test]
fn a_pack_that_is_sound_somewhere_is_healed_and_not_broken() {
    let room = Room::new();
    let copies = three_copies(&room);
    let sound = files(&copies[0]);
    let pack = largest_pack(&copies[0]);
    copies[..2].iter().for_each(|copy| assert!(copy.damage(pack, |bytes| bytes[1000] ^= 1)));
    let repository = open(&room, plain(&copies));
    let repair = PackRepair::examine(&repository, &[pack.id().unwrap()]).unwrap();
    assert_eq!((repair.plan().broken.len(), repair.plan().sound.len()), (0, 1));
    assert_eq!(repair.apply().unwrap().healed.files, 2);
    assert_eq!(files(&copies[0]), sound);
    assert_equal(&copies);
    let unknown = PackRepair::examine(&repository, &[format::hash(b"none")]).unwrap_err();
    assert!(unknown.to_string().contains("no copy has a pack"), "{unknown}");
}

#[test]
fn what_is_lost_for_good_is_left_out_of_packs_and_then_of_snapshots() {
    let room = Room::new();
    let copies = three_copies(&room);
    let whole = copies[0].names(FileKind::Snapshot)[0].id().unwrap();
    let pack = largest_pack(&copies[0]);
    copies.iter().for_each(|copy| assert!(copy.damage(pack, |bytes| bytes[1000] ^= 1)));
    let repository = open(&room, plain(&copies));
    let repair = PackRepair::examine(&repository, &[pack.id().unwrap()]).unwrap();
    assert_eq!(repair.plan().broken[0].lost, 1);
    repair.apply().unwrap();
    assert_equal(&copies);
    let report = full_check(&room, &copies);
    assert_eq!(report.copies[0].affected_snapshots, [whole]);

    let repair = SnapshotRepair::examine(&repository, &RepairSnapshotsRequest::default()).unwrap();
    let plan = repair.plan().snapshots.clone();
    assert_eq!((plan.len(), plan[0].id, plan[0].is_lost, plan[0].changes.len()), (1, whole, false, 1));
    let (path, change) = plan[0].changes[0].clone();
    assert!(matches!(change, Change::ContentLost { blobs: 1, .. }), "{change:?}");
    let report = repair.apply().unwrap();
    let new = report.repaired[0].1;
    assert_eq!(report.repaired, [(whole, new)]);
    // Beside the old one, which stays until it is to be forgotten.
    let snapshot = repository.snapshot(new).unwrap();
    assert_eq!((snapshot.original, snapshot.tags.as_slice()), (Some(whole), &["repaired".to_owned()][..]));
    let request = RepairSnapshotsRequest { forget: true, ..RepairSnapshotsRequest::default() };
    let report = SnapshotRepair::examine(&repository, &request).unwrap().apply().unwrap();
    assert_eq!((report.removed.files, report.repaired.len()), (1, 1));
    assert_whole(&room, &copies);
    // Everything else came back, and the file with what is left of it.
    let snapshots = repository.snapshots().unwrap();
    let target = room.path("target");
    let request = RestoreRequest { target: target.clone(), ..RestoreRequest::default() };
    let restored =
        restore(&repository.indexed().unwrap(), &snapshots.snapshots[0].1, &request, repository.observer()).unwrap();
    assert_eq!(restored.failed_count, 0);
    let path = String::from_utf8(path).unwrap();
    let before = std::fs::metadata(room.scratch.path().join(path.trim_start_matches('/'))).unwrap().len();
    let after = std::fs::metadata(target.join(path.trim_start_matches('/'))).unwrap().len();
    assert!(after < before, "{path}: {after} of {before}");
}

#[test]
fn lost_folders_become_empty_and_snapshots_of_which_nothing_is_left_go_when_asked() {
    let room = Room::new();
    let copies = three_copies(&room);
    let first = files(&copies[0]);
    one_more(&room, &copies);
    let repository = open(&room, plain(&copies));
    // What the second backup added is lost with its trees.
    let new: Vec<FileName> = files(&copies[0]).into_keys().filter(|name| !first.contains_key(name)).collect();
    for name in new.iter().filter(|name| name.kind() == FileKind::Pack) {
        copies.iter().for_each(|copy| assert!(copy.take(*name).is_some()));
    }
    let second = new.iter().find(|name| name.kind() == FileKind::Snapshot).unwrap().id().unwrap();
    repair_index(&room, &copies, false);
    let repair = SnapshotRepair::examine(&repository, &RepairSnapshotsRequest::default()).unwrap();
    let plan = repair.plan().snapshots.clone();
    assert_eq!((plan.len(), plan[0].id, plan[0].is_lost), (1, second, true));
    assert_eq!(repair.apply().unwrap().left, [second]);
    let request = RepairSnapshotsRequest { forget: true, ..RepairSnapshotsRequest::default() };
    let report = SnapshotRepair::examine(&repository, &request).unwrap().apply().unwrap();
    assert_eq!(report.removed.files, 1);
    assert_whole(&room, &copies);
    assert_eq!(repository.snapshots().unwrap().snapshots.len(), 1);
}

#[test]
fn a_lost_config_and_lost_keys_come_back_from_the_kit_and_only_where_they_belong() {
    let room = Room::new();
    let copies = three_copies(&room);
    let sound = files(&copies[0]);
    let kit = KitFiles::of(&open(&room, plain(&copies))).unwrap();
    let kit = KitFiles::parse(&kit.to_text()).unwrap();
    let password = PASSWORD.to_owned().into();
    let restore = |copies: &Copies, kit: &KitFiles, dry_run| {
        restore_kit(plain(copies), kit, &password, &room.surroundings(), dry_run)
    };
    // Nothing is missing: nothing is done.
    assert!(
        restore(&copies, &kit, false).unwrap().places.iter().all(|place| !place.config_written && !place.key_written)
    );
    let key = copies[0].names(FileKind::Key)[0];
    for copy in &copies[..2] {
        copy.take(FileName::CONFIG);
        copy.take(key);
    }
    copies[2].damage(FileName::CONFIG, |bytes| bytes[0] ^= 1);
    copies[2].damage(key, |bytes| bytes[0] ^= 1);
    assert!(room.open_with(plain(&copies)).is_err());
    let before = copies.clone().map(|copy| copy.files());
    assert!(restore(&copies, &kit, true).unwrap().places.iter().all(|place| place.config_written && place.key_written));
    assert_eq!(copies.clone().map(|copy| copy.files()), before);
    let wrong = restore_kit(plain(&copies), &kit, &"wrong".to_owned().into(), &room.surroundings(), false);
    assert!(matches!(wrong, Err(Error::WrongPassword { .. })));
    // An empty place among them: nothing is written anywhere.
    let empty: Copies = [copies[0].clone(), Arc::new(MemoryFolder::new("empty")), copies[2].clone()];
    let refused = restore(&empty, &kit, false).unwrap_err().to_string();
    assert!(refused.contains("memory:empty"), "{refused}");
    // The kit of another repository.
    let other = Room::new();
    let others = three_copies(&other);
    let stranger = KitFiles::of(&open(&other, plain(&others))).unwrap();
    let refused = restore(&copies, &stranger, false).unwrap_err().to_string();
    assert!(refused.contains("another repository"), "{refused}");
    assert_eq!(copies.clone().map(|copy| copy.files()), before);
    let report = restore(&copies, &kit, false).unwrap();
    assert!(report.places.iter().all(|place| place.proofs > 0 && place.config_written && place.key_written));
    assert_eq!(files(&copies[0]), sound);
    assert_whole(&room, &copies);
}

/// Whoever may add to every copy can add an index file that nobody can open.
#[test]
fn garbage_among_the_index_files_stops_no_restore_and_no_backup_and_a_repair_takes_it_away() {
    let room = Room::new();
    let copies = three_copies(&room);
    let garbage = Bytes::from_static(b"garbage of any length");
    let name = FileName::new(FileKind::Index, format::hash(&garbage));
    copies.iter().for_each(|copy| copy.put(name, garbage.clone()));
    let repository = open(&room, plain(&copies));
    let snapshot = repository.snapshots().unwrap().snapshots[0].1.clone();
    let target = room.path("target");
    let request = RestoreRequest { target: target.clone(), ..RestoreRequest::default() };
    let restored = restore(&repository.indexed().unwrap(), &snapshot, &request, repository.observer()).unwrap();
    assert_eq!(restored.failed_count, 0);
    assert!(room::files_in(&target.join("source")) == room::files_in(&room.path("source")));
    let told: Vec<String> = room.witness.events().iter().map(|event| format!("{event:?}")).collect();
    assert!(told.iter().any(|text| text.contains(&name.path()) && text.contains("no copy has it")), "{told:?}");
    let report = room.backup(&repository, Path::new("source"));
    assert!(report.id.is_some() && report.has_damage && report.verdict == Verdict::Warning, "{:?}", report.verdict);
    // What only that file may have known must not be taken for lost.
    let refused = SnapshotRepair::examine(&repository, &RepairSnapshotsRequest::default()).unwrap_err();
    assert!(refused.hint().unwrap().contains("repair index"), "{refused}");
    drop(repository);
    repair_index(&room, &copies, false);
    assert_whole(&room, &copies);
}
