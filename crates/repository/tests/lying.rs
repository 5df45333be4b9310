//! One copy that says what is not so: listings that are empty, short or invented, and packs that are gone.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::path::Path;
use std::sync::Arc;

use destinations::Destination;
use format::{FileKind, FileName};
use model::Verdict;
use repository::Event;
use repository::backup::backup;
use repository::check::{CheckRequest, ReadData, check};
use repository::copies::sync::sync;
use room::{Room, plain, three_copies};
use testkit::{Act, Faulty, MemoryFolder, Script, Verb, When};

fn is_sound(room: &Room, copy: &Arc<MemoryFolder>) -> bool {
    let repository = room.open_with(vec![copy.clone()]).unwrap();
    let report = check(&repository, &CheckRequest { read: ReadData::All, ..CheckRequest::default() }).unwrap();
    report.verdict() == Verdict::Ok
}

#[test]
fn files_that_one_copy_invents_keep_no_other_from_its_snapshot() {
    for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        let room = Room::new();
        let copies = three_copies(&room);
        let invented = FileName::new(kind, format::hash(b"invented"));
        copies[0].put(invented, "rubbish");
        std::fs::write(room.path("source/new"), vec![42; 900_000]).unwrap();
        let report = room.backup(&room.open_with(plain(&copies)).unwrap(), Path::new("source"));
        let expected = if kind == FileKind::Pack { Verdict::Ok } else { Verdict::Warning };
        assert_eq!(report.verdict, expected, "{kind:?}: {:?}", report.copies);
        for copy in &copies {
            assert!(copy.get(FileName::new(FileKind::Snapshot, report.id.unwrap())).is_some(), "{kind:?}");
        }
        assert!(is_sound(&room, &copies[1]), "{kind:?}");
        let named = |event: &Event| matches!(event, Event::Damage(damage) if damage.file == invented.path());
        assert_eq!(room.witness.events().iter().any(named), kind != FileKind::Pack, "{kind:?}");
        let synced = sync(&room.open_with(plain(&copies)).unwrap()).unwrap();
        assert_eq!(synced.verdict, expected, "{kind:?}");
        assert!(copies[1].get(invented).is_none());
    }
}

#[test]
fn empty_and_short_listings_of_one_copy_lose_nothing_on_any() {
    for kind in [FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
        for act in [Act::EmptyListing, Act::ShortListing { missing: 1 }] {
            let room = Room::new();
            let copies = three_copies(&room);
            std::fs::write(room.path("source/new"), vec![42; 900_000]).unwrap();
            let script = Script::new(3).with(When::Kind(Verb::List, kind), act.clone());
            let faulty = Arc::new(Faulty::new(copies[0].clone(), script));
            let destinations: Vec<Arc<dyn Destination>> = vec![faulty.clone(), copies[1].clone(), copies[2].clone()];
            let report = room.backup(&room.open_with(destinations).unwrap(), Path::new("source"));
            assert!(faulty.fired() > 0);
            assert_eq!(report.verdict, Verdict::Ok, "{kind:?} {act:?}: {:?}", report.copies);
            assert!(copies.iter().all(|copy| is_sound(&room, copy)), "{kind:?} {act:?}");
            // Alone, such a copy has everything stored again rather than counted on.
            let faulty =
                Arc::new(Faulty::new(copies[0].clone(), Script::new(3).with(When::Kind(Verb::List, kind), act)));
            room.backup(&room.open_with(vec![faulty]).unwrap(), Path::new("source"));
            assert!(is_sound(&room, &copies[0]), "{kind:?}");
        }
    }
}

#[test]
fn packs_that_one_copy_lost_come_back_before_its_next_snapshot() {
    let room = Room::new();
    let copies = three_copies(&room);
    for name in copies[1].names(FileKind::Pack) {
        copies[1].take(name).unwrap();
    }
    let report = room.backup(&room.open_with(plain(&copies)).unwrap(), Path::new("source"));
    assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.copies);
    assert!(is_sound(&room, &copies[1]));
}

#[test]
fn what_no_copy_has_any_more_is_stored_again() {
    let room = Room::new();
    let copies = three_copies(&room);
    let lost = copies[0].names(FileKind::Pack);
    for copy in &copies {
        lost.iter().for_each(|name| drop(copy.take(*name).unwrap()));
    }
    let repository = room.open_with(plain(&copies)).unwrap();
    let report = backup(&repository, &room.request(&[Path::new("source")])).unwrap();
    assert_eq!(report.verdict, Verdict::Warning);
    assert!(report.summary.data_blobs > 0);
    let indexed = room.open_with(vec![copies[2].clone()]).unwrap();
    let indexed = indexed.indexed().unwrap();
    let target = room.path("restored");
    let request = repository::restore::RestoreRequest { target: target.clone(), ..Default::default() };
    let restored =
        repository::restore::restore(&indexed, &report.snapshot, &request, indexed.repository.observer()).unwrap();
    assert_eq!(restored.failed_count, 0);
    assert!(room::files_in(&room.path("source")) == room::files_in(&target.join("source")));
}
