//! A rolling check reads every pack of every copy within its days, remembers what it read, and finds what is damaged.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clock::FakeClock;
use format::FileKind;
use jiff::tz::TimeZone;
use model::{Id, Verdict};
use repository::check::{CheckReport, CheckRequest, ReadData, Rolling, check};
use repository::records::read::LastRead;
use repository::{RecordsFolder, Repository};
use room::{Copies, PASSWORD, Room, plain, three_copies};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn open(room: &Room, copies: &Copies, clock: &Arc<FakeClock>) -> Repository {
    let mut surroundings = room.surroundings();
    surroundings.records = Some(RecordsFolder::new(room.path("records")));
    surroundings.clock = clock.clone();
    Repository::open(plain(copies), &PASSWORD.to_owned().into(), surroundings).unwrap()
}

fn run(repository: &Repository, read: ReadData) -> CheckReport {
    check(repository, &CheckRequest { read, ..CheckRequest::default() }).unwrap()
}

fn packs(copies: &Copies) -> BTreeSet<Id> {
    copies[0].names(FileKind::Pack).iter().filter_map(|name| name.id()).collect()
}

#[test]
fn every_pack_of_every_copy_is_read_within_its_days() {
    let room = Room::new();
    let copies = three_copies(&room);
    let clock = Arc::new(FakeClock::new("2026-11-01T12:00:00Z".parse().unwrap(), TimeZone::UTC));
    for number in 0..12 {
        std::fs::write(room.path("source/later"), vec![number; 600_000 + usize::from(number)]).unwrap();
        room.backup(&open(&room, &copies, &clock), Path::new("source"));
    }
    let rolling = Rolling { within_days: 6, at_most_bytes: None };
    let mut read_last: BTreeMap<(usize, Id), u32> = BTreeMap::new();
    let first = open(&room, &copies, &clock).today();
    for day in 0..20 {
        // A new process each day, and two runs on some days.
        for _ in 0..=(day % 3) {
            let repository = open(&room, &copies, &clock);
            let report = run(&repository, ReadData::Rolling(rolling));
            assert_eq!(report.verdict(), Verdict::Ok);
            for (number, copy) in report.copies.iter().enumerate() {
                assert_eq!(copy.rolling.unwrap().overdue_packs, 0, "day {day}");
                let log = repository.read_log(&copy.copy);
                for id in packs(&copies) {
                    if log.get(&id) == Some(LastRead::Sound(first + day)) {
                        read_last.insert((number, id), day);
                    }
                }
            }
        }
        if day >= 6 {
            for number in 0..3 {
                for id in packs(&copies) {
                    let age = day - read_last.get(&(number, id)).unwrap_or_else(|| panic!("{id} was never read"));
                    assert!(age <= 6, "{id} was not read for {age} days");
                }
            }
        }
        clock.advance(DAY);
    }
}

#[test]
fn a_damage_is_found_within_the_days_and_what_was_not_read_is_told() {
    let room = Room::new();
    let copies = three_copies(&room);
    let clock = Arc::new(FakeClock::new("2026-11-01T12:00:00Z".parse().unwrap(), TimeZone::UTC));
    for number in 0..6 {
        std::fs::write(room.path("source/later"), vec![number; 600_000]).unwrap();
        room.backup(&open(&room, &copies, &clock), Path::new("source"));
    }
    let largest = copies[1].names(FileKind::Pack).into_iter().max_by_key(|name| copies[1].get(*name).unwrap().len());
    copies[1].damage(largest.unwrap(), |bytes| bytes[77] ^= 1);
    let rolling = ReadData::Rolling(Rolling { within_days: 5, at_most_bytes: None });
    let found = (0..5).any(|_| {
        let report = run(&open(&room, &copies, &clock), rolling);
        clock.advance(DAY);
        report.copies[1].errors() > 0
    });
    assert!(found);
    // It is not taken for read while it is damaged, and other copies do not vouch for it.
    clock.advance(DAY);
    let report = run(&open(&room, &copies, &clock), rolling);
    assert!(report.copies[1].rolling.unwrap().overdue_packs >= 1);
    assert_eq!(report.copies[0].errors(), 0);
    // After a long time without a check everything is overdue, and little by little no longer.
    clock.advance(DAY * 100);
    let little = ReadData::Rolling(Rolling { within_days: 5, at_most_bytes: Some(1) });
    let report = run(&open(&room, &copies, &clock), little);
    assert!(report.copies[0].rolling.unwrap().overdue_packs > 1, "{:?}", report.copies[0].rolling);
    let report = run(&open(&room, &copies, &clock), rolling);
    assert_eq!(report.copies[0].rolling.unwrap().overdue_packs, 0);
}

#[test]
fn without_a_place_to_remember_it_is_refused() {
    let room = Room::new();
    let copies = three_copies(&room);
    let repository = room.open_with(plain(&copies)).unwrap();
    let rolling = Rolling { within_days: 5, at_most_bytes: None };
    let refused = check(&repository, &CheckRequest { read: ReadData::Rolling(rolling), ..CheckRequest::default() });
    assert!(refused.unwrap_err().to_string().contains("remember"));
}

#[test]
fn only_what_was_read_whole_and_sound_counts_as_verified() {
    let room = Room::new();
    let copies = three_copies(&room);
    let clock = Arc::new(FakeClock::new("2026-11-01T12:00:00Z".parse().unwrap(), TimeZone::UTC));
    let repository = open(&room, &copies, &clock);
    let snapshot = copies[0].names(FileKind::Snapshot)[0].id().unwrap();
    run(&repository, ReadData::No);
    assert!(repository.verified().is_empty());
    let largest = copies[0].names(FileKind::Pack).into_iter().max_by_key(|name| copies[0].get(*name).unwrap().len());
    copies.iter().for_each(|copy| assert!(copy.damage(largest.unwrap(), |bytes| bytes[77] ^= 1)));
    run(&repository, ReadData::All);
    assert!(repository.verified().is_empty());
    copies[2].damage(largest.unwrap(), |bytes| bytes[77] ^= 1);
    run(&repository, ReadData::All);
    assert_eq!(repository.verified().into_keys().collect::<Vec<_>>(), [snapshot]);
}
