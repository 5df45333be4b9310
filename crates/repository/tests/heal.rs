//! Healing makes the copies equal again, byte by byte, whatever was done to one of them; it changes nothing that it
//! cannot make right, and says what that means.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use destinations::Destination;
use format::{FileKind, FileName, ScryptCost};
use model::{FaultKind, Verdict};
use repository::check::{CheckRequest, ReadData, check};
use repository::copies::heal::{HealPlan, HealReport, HealRequest, Healing};
use repository::forget::{self, ForgetRequest, Selection};
use repository::retention::Wish;
use repository::{RecordsFolder, Repository};
use room::{Copies, PASSWORD, Room, plain, three_copies, with_faults};
use testkit::{Act, MemoryFolder, Oracle, Random, Script, Verb, When, seed};

/// The repository on these places, with records.
fn open(room: &Room, destinations: Vec<Arc<dyn Destination>>) -> Repository {
    let mut surroundings = room.surroundings();
    surroundings.records = Some(RecordsFolder::new(room.path("records")));
    Repository::open(destinations, &PASSWORD.to_owned().into(), surroundings).unwrap()
}

fn all_bytes() -> HealRequest {
    HealRequest { read: ReadData::All, ..HealRequest::default() }
}

fn heal_with(repository: &Repository, request: &HealRequest) -> (HealPlan, HealReport) {
    let mut healing = Healing::examine(repository, request).unwrap();
    let plan = healing.plan().clone();
    let report = healing.apply(false).unwrap();
    (plan, report)
}

fn heal(room: &Room, copies: &Copies) -> (HealPlan, HealReport) {
    heal_with(&open(room, plain(copies)), &all_bytes())
}

/// All files but locks, which come and go.
fn files(copy: &MemoryFolder) -> std::collections::BTreeMap<FileName, bytes::Bytes> {
    copy.files().into_iter().filter(|(name, _)| name.kind() != FileKind::Lock).collect()
}

#[track_caller]
fn assert_equal(copies: &Copies) {
    for copy in &copies[1..] {
        assert!(files(copy) == files(&copies[0]), "{} differs", copy.place());
    }
}

fn some(copy: &MemoryFolder, kind: FileKind) -> FileName {
    if kind == FileKind::Config { FileName::CONFIG } else { copy.names(kind)[0] }
}

const KINDS: [FileKind; 5] = [FileKind::Config, FileKind::Key, FileKind::Pack, FileKind::Index, FileKind::Snapshot];

#[test]
fn what_is_right_is_left_alone() {
    let room = Room::new();
    let copies = three_copies(&room);
    let before = files(&copies[0]);
    let (plan, report) = heal(&room, &copies);
    assert!(plan.is_empty() && plan.surplus.is_empty() && plan.keys_left.is_empty(), "{plan:?}");
    assert_eq!((report.verdict(), report.files()), (Verdict::Ok, 0));
    assert_eq!(files(&copies[0]), before);
    assert_equal(&copies);
}

#[test]
fn every_kind_of_file_of_every_copy_is_replaced_when_wrong_and_brought_when_missing() {
    let room = Room::new();
    let copies = three_copies(&room);
    let sound = files(&copies[0]);
    for kind in KINDS {
        for copy in &copies {
            let name = some(copy, kind);
            for harm in 0..5 {
                match harm {
                    0 => assert!(copy.damage(name, |bytes| bytes[7] ^= 4)),
                    1 => assert!(copy.damage(name, |bytes| bytes.truncate(bytes.len() / 2))),
                    2 => assert!(copy.damage(name, Vec::clear)),
                    3 => assert!(copy.damage(name, |bytes| bytes.extend_from_slice(b"more"))),
                    _ => assert!(copy.take(name).is_some()),
                }
                let wrong = copy.get(name);
                let (plan, report) = heal(&room, &copies);
                let context = format!("{name} on {} harm {harm}", copy.place());
                assert_eq!(plan.replacements.len(), 1, "{context}: {plan:?}");
                let replacement = &plan.replacements[0];
                assert_eq!((replacement.name, replacement.copy.as_str()), (name, copy.place()), "{context}");
                assert_eq!(replacement.damage.is_some(), wrong.is_some(), "{context}");
                assert_eq!((report.verdict(), report.files()), (Verdict::Ok, 1), "{context}: {report:?}");
                assert_eq!(files(copy), sound, "{context}");
                assert_equal(&copies);
                if let Some(wrong) = wrong {
                    assert_kept(&report, &wrong);
                }
            }
        }
    }
    let report = check(&open(&room, plain(&copies)), &CheckRequest { read: ReadData::All, ..CheckRequest::default() });
    assert_eq!(report.unwrap().verdict(), Verdict::Ok);
}

/// Some file below the report's folder has exactly these bytes, and is for its owner only.
#[track_caller]
fn assert_kept(report: &HealReport, wrong: &[u8]) {
    let mut open = vec![report.aside.clone().unwrap()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if std::fs::read(&path).unwrap() == wrong {
                assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
                return;
            }
        }
    }
    panic!("the wrong bytes were not kept");
}

#[test]
fn a_plan_alone_changes_nothing() {
    let room = Room::new();
    let copies = three_copies(&room);
    copies[1].damage(some(&copies[1], FileKind::Pack), |bytes| bytes[0] ^= 1);
    copies[2].take(some(&copies[2], FileKind::Snapshot));
    let before = copies.clone().map(|copy| files(&copy));
    let repository = open(&room, plain(&copies));
    let mut healing = Healing::examine(&repository, &all_bytes()).unwrap();
    assert_eq!(healing.plan().replacements.len(), 2);
    let report = healing.apply(true).unwrap();
    assert_eq!((report.files(), report.verdict()), (0, Verdict::Ok));
    assert_eq!(copies.map(|copy| files(&copy)), before);
}

#[test]
fn without_reading_data_a_flip_in_a_data_pack_stays_unseen_and_a_cut_is_seen() {
    let room = Room::new();
    let copies = three_copies(&room);
    let repository = open(&room, plain(&copies));
    // The largest pack holds data.
    let data = copies[0].names(FileKind::Pack).into_iter().max_by_key(|name| copies[0].get(*name).unwrap().len());
    let data = data.unwrap();
    copies[1].damage(data, |bytes| bytes[100] ^= 1);
    let (plan, _) = heal_with(&repository, &HealRequest::default());
    assert!(plan.is_empty(), "{plan:?}");
    copies[2].damage(data, |bytes| {
        bytes.pop();
    });
    // The sizes differ, so that all are read.
    let (plan, report) = heal_with(&repository, &HealRequest::default());
    assert_eq!(plan.replacements.len(), 2, "{plan:?}");
    assert_eq!(report.verdict(), Verdict::Ok);
    assert_equal(&copies);
}

#[test]
fn a_source_that_was_believed_and_is_wrong_is_healed_as_well() {
    let room = Room::new();
    let copies = three_copies(&room);
    let data = copies[0].names(FileKind::Pack).into_iter().max_by_key(|name| copies[0].get(*name).unwrap().len());
    let data = data.unwrap();
    // Nobody reads this one before it is needed as a source.
    copies[0].damage(data, |bytes| bytes[100] ^= 1);
    copies[2].take(data);
    let (plan, report) = heal_with(&open(&room, plain(&copies)), &HealRequest::default());
    assert_eq!(plan.replacements.len(), 1);
    assert_eq!((report.verdict(), report.files()), (Verdict::Ok, 2), "{report:?}");
    assert_eq!((report.copies[0].replaced, report.copies[2].brought), (1, 1));
    assert_equal(&copies);
}

#[test]
fn many_damages_of_all_copies_are_healed_from_each_other() {
    let room = Room::new();
    let copies = three_copies(&room);
    std::fs::write(room.path("source/later"), vec![7; 900_000]).unwrap();
    room.backup(&open(&room, plain(&copies)), Path::new("source"));
    let sound = files(&copies[0]);
    let mut random = Random::new(seed("many damages of all copies"));
    for _ in 0..20 {
        for name in sound.keys() {
            // One copy stays right.
            let right = random.index(3);
            for number in (0..3).filter(|number| *number != right) {
                match random.below(4) {
                    // A copy whose keys and config are both wrong would be a stranger.
                    _ if name.kind() == FileKind::Key => {}
                    0 => assert!(copies[number].take(*name).is_some()),
                    1 => {
                        let at = random.index(sound[name].len());
                        copies[number].damage(*name, |bytes| bytes[at] ^= 1);
                    }
                    _ => {}
                }
            }
        }
        let (_, report) = heal(&room, &copies);
        assert_eq!(report.verdict(), Verdict::Ok, "{report:?}");
        assert_eq!(files(&copies[0]), sound);
        assert_equal(&copies);
    }
}

#[test]
fn what_no_copy_has_is_named_by_snapshot_and_path_and_nothing_is_touched() {
    let room = Room::new();
    let copies = three_copies(&room);
    let largest = copies[0].names(FileKind::Pack).into_iter().max_by_key(|name| copies[0].get(*name).unwrap().len());
    let data = largest.unwrap();
    let snapshot = some(&copies[0], FileKind::Snapshot).id().unwrap();
    for copy in &copies[..2] {
        copy.damage(data, |bytes| bytes[200] ^= 1);
    }
    copies[2].take(data);
    let before = copies.clone().map(|copy| files(&copy));
    let (plan, report) = heal(&room, &copies);
    assert!(plan.replacements.is_empty(), "{plan:?}");
    assert_eq!((plan.lost.len(), plan.lost[0].name, plan.lost[0].is_needed), (1, data, true));
    assert_eq!(report.verdict(), Verdict::Failed);
    assert_eq!(report.affected_snapshots, [snapshot]);
    let paths: Vec<String> =
        report.affected.iter().map(|affected| String::from_utf8_lossy(&affected.path).into_owned()).collect();
    assert!(paths.iter().any(|path| path.ends_with("source/inner/deep/large")), "{paths:?}");
    assert_eq!(copies.map(|copy| files(&copy)), before);
}

#[test]
fn a_snapshot_and_an_index_that_no_copy_has_sound_are_named() {
    let room = Room::new();
    let copies = three_copies(&room);
    let (snapshot, index) = (some(&copies[0], FileKind::Snapshot), some(&copies[0], FileKind::Index));
    let repository = open(&room, plain(&copies));
    copies.iter().for_each(|copy| assert!(copy.damage(snapshot, |bytes| bytes[9] ^= 1)));
    let (_, report) = heal_with(&repository, &all_bytes());
    assert_eq!(report.affected_snapshots, [snapshot.id().unwrap()]);
    copies.iter().for_each(|copy| assert!(copy.damage(snapshot, |bytes| bytes[9] ^= 1)));
    copies.iter().for_each(|copy| assert!(copy.damage(index, |bytes| bytes[9] ^= 1)));
    let (plan, report) = heal_with(&repository, &all_bytes());
    assert_eq!(plan.lost.iter().map(|lost| lost.name).collect::<Vec<_>>(), [index]);
    assert_eq!(report.affected_snapshots, [snapshot.id().unwrap()]);
    assert_eq!(report.affected[0].path, b"/");
}

#[test]
fn a_place_that_lets_nothing_be_replaced_is_named_and_the_others_are_healed() {
    let room = Room::new();
    let copies = three_copies(&room);
    let name = some(&copies[0], FileKind::Pack);
    for copy in &copies[..2] {
        copy.damage(name, |bytes| bytes[3] ^= 1);
    }
    let script = Script::new(1).with(When::File(Verb::Write, name), Act::FailBefore(FaultKind::Denied));
    let (destinations, _) = with_faults(&copies, 1, script);
    let (_, report) = heal_with(&open(&room, destinations), &all_bytes());
    assert_eq!(report.verdict(), Verdict::Partial);
    let (refused, why) = &report.copies[1].not_healed[0];
    assert_eq!(*refused, name);
    assert!(why.contains("does not let a file be replaced"), "{why}");
    assert_eq!(report.copies[0].replaced, 1);
    assert!(files(&copies[0]) == files(&copies[2]));
}

#[test]
fn a_copy_that_dies_in_the_middle_is_named_and_healed_next_time() {
    let room = Room::new();
    let copies = three_copies(&room);
    let kinds = [FileKind::Pack, FileKind::Index, FileKind::Snapshot, FileKind::Key];
    let names: Vec<FileName> = kinds.iter().map(|kind| some(&copies[0], *kind)).collect();
    for nth in 1..=4 {
        for act in [Act::DieBefore, Act::DieAfter, Act::TearWrite] {
            for copy in &copies[..2] {
                names.iter().for_each(|name| {
                    copy.damage(*name, |bytes| bytes[3] ^= 1);
                });
            }
            // The first write is the lock's.
            let script = Script::new(1).with(When::Nth(Verb::Write, nth + 1), act);
            let (destinations, _) = with_faults(&copies, 1, script);
            let (_, report) = heal_with(&open(&room, destinations), &all_bytes());
            assert_eq!(report.verdict(), Verdict::Partial, "{report:?}");
            assert!(files(&copies[0]) == files(&copies[2]));
            let (_, report) = heal(&room, &copies);
            assert_eq!(report.verdict(), Verdict::Ok, "{report:?}");
            assert_equal(&copies);
        }
    }
}

#[test]
fn an_empty_place_is_never_filled_and_a_copy_without_its_config_is_healed() {
    let room = Room::new();
    let copies = three_copies(&room);
    copies[1].reset(std::collections::BTreeMap::new());
    copies[2].take(FileName::CONFIG);
    let (_, report) = heal(&room, &copies);
    assert!(copies[1].files().is_empty());
    assert!(report.copies[1].fault.as_ref().unwrap().cause.contains("is its disk mounted"));
    assert_eq!(report.verdict(), Verdict::Partial);
    assert!(files(&copies[2]) == files(&copies[0]));
}

#[test]
fn a_key_that_may_have_been_removed_does_not_come_back_unasked() {
    let room = Room::new();
    let copies = three_copies(&room);
    let repository = open(&room, plain(&copies));
    let old = copies[0].names(FileKind::Key);
    let added = repository::keys::add(&repository, &"another".to_owned().into(), ScryptCost::FAST_FOR_TESTS).unwrap();
    let added = FileName::new(FileKind::Key, added);
    // Most copies do not have it: it may have been removed.
    copies[0].take(added);
    copies[1].take(added);
    let (plan, report) = heal(&room, &copies);
    assert!(plan.replacements.is_empty());
    assert_eq!((plan.keys_left.as_slice(), report.verdict()), (&[added][..], Verdict::Warning));
    let (_, report) = heal_with(&repository, &HealRequest { bring_keys: true, ..all_bytes() });
    assert_eq!(report.verdict(), Verdict::Ok);
    assert_equal(&copies);
    // Most have it: it was lost. And no copy stays without the key that was just used, or without any.
    copies[1].take(added);
    copies[1].take(old[0]);
    let (_, report) = heal(&room, &copies);
    assert_eq!(report.verdict(), Verdict::Ok, "{report:?}");
    assert_equal(&copies);
}

#[test]
fn a_snapshot_that_was_forgotten_on_purpose_does_not_come_back() {
    let room = Room::new();
    let copies = three_copies(&room);
    std::fs::write(room.path("source/later"), vec![7; 900_000]).unwrap();
    room.backup(&open(&room, plain(&copies)), Path::new("source"));
    let first = copies[0].names(FileKind::Snapshot)[0];
    let still_there = copies[1].get(first).unwrap();
    // As if one copy had let nothing be removed.
    let repository = open(&room, plain(&copies));
    let request = ForgetRequest {
        selection: Selection::Ids([first.id().unwrap()].into()),
        wish: Wish::default(),
        believe_listings: false,
    };
    let plan = forget::plan(&repository, &request);
    forget::execute(&repository, &plan.unwrap()).unwrap();
    assert!(copies[0].get(first).is_none());
    copies[1].put(first, still_there);
    let (plan, report) = heal(&room, &copies);
    assert!(plan.is_empty(), "{plan:?}");
    assert_eq!((report.forgotten.as_slice(), report.verdict()), (&[first][..], Verdict::Ok));
    assert!(copies[0].get(first).is_none());
}

#[test]
fn left_over_packs_are_told_and_not_spread() {
    let room = Room::new();
    let copies = three_copies(&room);
    let bytes = b"a pack of a run that broke off".to_vec();
    let name = FileName::pack(format::hash(&bytes));
    copies[1].put(name, bytes);
    let (plan, report) = heal(&room, &copies);
    assert!(plan.is_empty());
    assert_eq!((plan.surplus.as_slice(), report.verdict()), (&[name][..], Verdict::Ok));
    // One that is wrong and that nobody needs is told, and nothing is failed by it.
    copies[1].damage(name, |bytes| bytes[0] ^= 1);
    let (plan, report) = heal(&room, &copies);
    assert_eq!((plan.lost[0].is_needed, report.verdict()), (false, Verdict::Ok));
}

#[test]
fn restic_finds_nothing_to_complain_of_in_a_healed_copy() {
    let room = Room::new();
    room::small_tree(&room.path("source"));
    let names = ["one", "two"];
    room.backup(&room.init(&names), Path::new("source"));
    let mut random = Random::new(seed("restic and a healed copy"));
    let before = room::files_in(&room.path("two"));
    for (path, bytes) in &before {
        let path = room.path("two").join(path);
        match (random.below(3), path.file_name().unwrap() == "config") {
            (0, false) => std::fs::remove_file(&path).unwrap(),
            (1, _) if !bytes.is_empty() => {
                let mut wrong = bytes.clone();
                let at = random.index(wrong.len());
                wrong[at] ^= 1;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
                std::fs::write(&path, wrong).unwrap();
            }
            _ => {}
        }
    }
    // The key in use stays in one of the folders, or the copy would be a stranger.
    let key = before.keys().find(|path| path.starts_with("keys")).unwrap();
    std::fs::remove_file(room.path("two").join(key)).ok();
    std::fs::write(room.path("two").join(key), &before[key]).unwrap();
    let (_, report) = heal_with(&open(&room, room.destinations(&names)), &all_bytes());
    assert_eq!(report.verdict(), Verdict::Ok, "{report:?}");
    assert!(room::files_in(&room.path("two")) == before);
    for restic in Oracle::every_restic(room.path("two").to_str().unwrap(), PASSWORD) {
        restic.check(true);
    }
}
