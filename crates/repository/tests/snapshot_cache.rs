//! The snapshots that a machine keeps: the same listing with them, without them, and with broken ones.
#![allow(clippy::unwrap_used, missing_docs)]

mod room;

use std::path::PathBuf;
use std::sync::Arc;

use destinations::Destination;
use format::FileKind;
use model::{Id, Secret};
use repository::{CacheFolder, Repository, Surroundings};
use room::{Copies, PASSWORD, Room, files_in, plain, three_copies};
use testkit::{Faulty, Script, Verb};

fn open(room: &Room, destinations: Vec<Arc<dyn Destination>>) -> Repository {
    let surroundings = Surroundings { cache: Some(CacheFolder::new(room.path("cache"))), ..room.surroundings() };
    Repository::open(destinations, &Secret::from(PASSWORD), surroundings).unwrap()
}

fn ids(repository: &Repository) -> Vec<Id> {
    repository.snapshots().unwrap().snapshots.into_iter().map(|(id, _)| id).collect()
}

fn kept(room: &Room) -> Vec<PathBuf> {
    let files = files_in(&room.path("cache")).into_keys();
    files
        .filter(|path| path.to_str().unwrap().contains("/snapshot-"))
        .map(|path| room.path("cache").join(path))
        .collect()
}

/// Copies with three snapshots, all of which the cache has, and their ids.
fn ground(room: &Room) -> (Copies, Vec<Id>) {
    let copies = three_copies(room);
    for _ in 0..2 {
        room.backup(&open(room, plain(&copies)), &room.path("source"));
    }
    let known = ids(&open(room, plain(&copies)));
    assert_eq!((known.len(), kept(room).len()), (3, 3));
    (copies, known)
}

/// How many snapshot files are read for a listing.
fn reads(room: &Room, copies: &Copies, expected: &[Id]) -> usize {
    let watched = Arc::new(Faulty::new(copies[0].clone(), Script::new(1)));
    let destinations = vec![watched.clone() as Arc<dyn Destination>, copies[1].clone(), copies[2].clone()];
    assert_eq!(ids(&open(room, destinations)), expected);
    let is_read = |verb: Verb, kind: FileKind| verb == Verb::Read && kind == FileKind::Snapshot;
    watched.operations().iter().filter(|operation| is_read(operation.verb, operation.kind)).count()
}

#[test]
fn what_is_kept_is_not_read_again_and_what_is_broken_is() {
    let room = Room::new();
    let (copies, known) = ground(&room);
    assert_eq!(reads(&room, &copies, &known), 0);
    let [flipped, emptied, _] = &kept(&room)[..] else { panic!() };
    let mut bytes = std::fs::read(flipped).unwrap();
    bytes[40] ^= 1;
    std::fs::write(flipped, bytes).unwrap();
    std::fs::write(emptied, b"").unwrap();
    assert_eq!(reads(&room, &copies, &known), 2);
    assert_eq!(reads(&room, &copies, &known), 0, "the broken ones were replaced");
}

#[test]
fn a_snapshot_that_is_gone_is_not_listed_and_not_kept() {
    let room = Room::new();
    let (copies, mut known) = ground(&room);
    let gone = known.remove(1);
    let name = format::FileName::new(FileKind::Snapshot, gone);
    copies.iter().for_each(|copy| drop(copy.take(name).unwrap()));
    assert_eq!(ids(&open(&room, plain(&copies))), known);
    assert_eq!(kept(&room).len(), 2);
}
