//! A thousand flipped bits, cut ends, swapped and lost files of one copy: from the copy set the right bytes, from that
//! copy alone the right bytes or an error that names the file; never wrong bytes, never a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use destinations::Destination;
use format::{FileKind, FileName, ScryptCost};
use model::Id;
use repository::check::{CheckRequest, ReadData, check};
use repository::restore::{RestoreRequest, restore};
use repository::snapshots::SnapshotFilter;
use repository::{Error, InitRequest, Repository};
use room::{PASSWORD, Room, small_tree};
use testkit::{Manifest, MemoryFolder, Random, manifest, seed};

/// Damages tried.
const DAMAGES: usize = 1000;

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Flip(usize, u8),
    Cut(usize),
    Zero(usize),
    Swap(FileName),
    Lose,
}

/// How a restore came out.
enum Outcome {
    /// Everything is there and right.
    Whole,
    /// Something failed, and this was said of it.
    Named(String),
}

fn restore_all(room: &Room, copies: Vec<Arc<dyn Destination>>, id: Id, target: &Path, expected: &Manifest) -> Outcome {
    let _ = std::fs::remove_dir_all(target);
    let opened = room.open_with(copies);
    let restored = opened.and_then(|repository| {
        let choice = repository.find_snapshot(&id.to_hex(), &SnapshotFilter::default())?;
        let indexed = repository.indexed()?;
        let request = RestoreRequest { target: target.to_owned(), ..RestoreRequest::default() };
        restore(&indexed, &choice.snapshot, &request, repository.observer())
    });
    let report = match restored {
        Ok(report) => report,
        Err(Error::Interrupted) => panic!("interrupted"),
        Err(error) => {
            // Whatever got there before the error must be right.
            assert_no_wrong_bytes(target, expected);
            return Outcome::Named(error.to_string());
        }
    };
    if report.failed_count == 0 {
        let difference = Manifest::difference(expected, &manifest(target.join("source")).unwrap());
        assert!(difference.is_empty(), "{difference:#?}");
        return Outcome::Whole;
    }
    assert_no_wrong_bytes(target, expected);
    Outcome::Named(report.failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// Every file that stands under its name has its whole content.
fn assert_no_wrong_bytes(target: &Path, expected: &Manifest) {
    let Ok(found) = manifest(target.join("source")) else { return };
    for (path, entry) in &found.entries {
        let Some(wanted) = expected.entries.get(path) else { panic!("{} was never stored", path.escape_ascii()) };
        if entry.content.is_some() {
            assert_eq!(entry.content, wanted.content, "wrong bytes in {}", path.escape_ascii());
        }
    }
}

fn choose(random: &mut Random, files: &[(FileName, usize)], number: usize) -> (FileName, Harm) {
    // Every kind of file gets its share, however many packs there are.
    let kinds = [FileKind::Config, FileKind::Key, FileKind::Pack, FileKind::Index, FileKind::Snapshot];
    let kind = kinds[number % kinds.len()];
    let of_kind: Vec<&(FileName, usize)> = files.iter().filter(|(name, _)| name.kind() == kind).collect();
    let (name, length) = *of_kind[random.index(of_kind.len())];
    let others: Vec<FileName> = of_kind.iter().map(|(other, _)| *other).filter(|other| *other != name).collect();
    let harm = match number / kinds.len() % 10 {
        0..=5 => Harm::Flip(random.index(length), 1 << random.below(8)),
        6 => Harm::Cut(random.index(length)),
        7 => Harm::Zero(random.index(length)),
        8 if !others.is_empty() => Harm::Swap(others[random.index(others.len())]),
        _ => Harm::Lose,
    };
    (name, harm)
}

fn apply(copy: &MemoryFolder, name: FileName, harm: Harm) -> bool {
    match harm {
        Harm::Flip(at, bit) => copy.damage(name, |bytes| bytes[at] ^= bit),
        Harm::Cut(length) => copy.damage(name, |bytes| bytes.truncate(length)),
        Harm::Zero(from) => {
            let before = copy.get(name);
            copy.damage(name, |bytes| {
                let end = bytes.len().min(from + 4096);
                bytes[from..end].fill(0);
            });
            before != copy.get(name)
        }
        Harm::Swap(other) => {
            let (own, theirs) = (copy.get(name).unwrap(), copy.get(other).unwrap());
            copy.put(name, theirs);
            copy.put(other, own);
            true
        }
        Harm::Lose => copy.take(name).is_some(),
    }
}

#[test]
fn no_damage_of_one_copy_ever_gives_wrong_bytes() {
    let room = Room::new();
    let mut random = Random::new(seed("no damage of one copy"));
    small_tree(&room.path("source"));
    let copies = ["first", "second", "third"].map(|name| Arc::new(MemoryFolder::new(name)));
    let destinations = |copies: &[Arc<MemoryFolder>]| -> Vec<Arc<dyn Destination>> {
        copies.iter().map(|copy| copy.clone() as _).collect()
    };
    let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
    let password = PASSWORD.to_owned().into();
    let repository = Repository::init(destinations(&copies), &password, &request, room.surroundings()).unwrap();
    // Two snapshots and two keys, so that there is something to swap.
    room.backup(&repository, Path::new("source"));
    std::fs::write(room.path("source/second"), vec![1; 700_000]).unwrap();
    let id = room.backup(&repository, Path::new("source")).id.unwrap();
    let expected = manifest(room.path("source")).unwrap();
    let target: PathBuf = room.path("target");
    let sound = copies[0].files();
    let files: Vec<(FileName, usize)> = sound
        .iter()
        .filter(|(name, _)| name.kind() != FileKind::Lock)
        .map(|(name, bytes)| (*name, bytes.len()))
        .collect();

    let (mut alone_whole, mut alone_named, mut tried) = (0, 0, 0);
    for number in 0..DAMAGES {
        copies[0].reset(sound.clone());
        let (name, harm) = choose(&mut random, &files, number);
        if !apply(&copies[0], name, harm) {
            continue;
        }
        tried += 1;
        let context = format!("{name} {harm:?}");
        match restore_all(&room, destinations(&copies), id, &target, &expected) {
            Outcome::Whole => {}
            Outcome::Named(said) => panic!("{context}: the sound copies were not used: {said}"),
        }
        match restore_all(&room, destinations(&copies[..1]), id, &target, &expected) {
            // The file was not needed for this snapshot, or the damage was beside what is read of it.
            Outcome::Whole => alone_whole += 1,
            Outcome::Named(said) => {
                alone_named += 1;
                let folder = name.kind().folder();
                let names_it = said.contains(folder)
                    || said.contains("no repository")
                    || said.contains("no snapshot begins")
                    || said.contains("in no index");
                assert!(names_it, "{context}: {said}");
            }
        }
        // A full check of the damaged copy always sees it.
        if number % 10 == 0 {
            let Ok(repository) = room.open_with(destinations(&copies)) else { continue };
            let report = check(&repository, &CheckRequest { read: ReadData::All, ..CheckRequest::default() }).unwrap();
            let first = &report.copies[0];
            let seen = first.errors() > 0 || first.fault.is_some() || !report.lacking.is_empty();
            assert!(seen, "{context}: check saw nothing");
            assert_eq!(report.copies[1].errors(), 0, "{context}: {:?}", report.copies[1].damages);
        }
    }
    println!("{tried} damages: alone {alone_whole} harmless, {alone_named} named; from the set all whole");
    assert!(tried > DAMAGES * 9 / 10);
}
