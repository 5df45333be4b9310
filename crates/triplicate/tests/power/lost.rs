//! The power goes: what was not made durable is lost, in any part and any order.

use std::collections::BTreeMap;

use testkit::traced::{Disk, Journal, Manner};
use testkit::{Random, seed};

use crate::points;
use crate::room::{OTHER_PASSWORD, PASSWORD, Room};

/// A whole life of a repository, with every call that it made.
struct Life {
    room: Room,
    journal: Journal,
}

impl Life {
    fn step(&mut self, words: &[&str], promise: &str) {
        let traced = self.room.traced(words);
        let outcome = traced.record(&mut self.journal).unwrap();
        assert_eq!(outcome.ended.code, Some(0), "{words:?}: {}", outcome.ended.errors);
        self.journal.promise(promise);
    }

    fn backup(&mut self, copies: &[&str], tag: &str, promise: &str) {
        let source = self.room.source();
        let words: Vec<&str> = copies.iter().copied().chain(["backup", "--tag", tag, &source]).collect();
        self.step(&words, promise);
        self.room.remember(tag);
    }
}

fn life() -> Life {
    let room = Room::new();
    let journal = Journal::of(&room.folder()).unwrap();
    let mut life = Life { room, journal };
    let both = crate::room::BOTH;
    let all = |words: &[&'static str]| both.iter().copied().chain(words.iter().copied()).collect::<Vec<&str>>();
    life.room.change_source(1);
    life.step(&all(&["init"]), "init");
    life.backup(&both, "first", "first on 1 2");
    life.room.change_source(2);
    life.backup(&["-r", "1"], "second", "second on 1");
    life.step(&all(&["copies", "sync"]), "second on 2");
    let password = life.room.beside("other-password");
    let password = password.to_str().unwrap().to_owned();
    let mut words = all(&["key", "add", "--new-password-file"]);
    words.push(&password);
    life.step(&words, "key");
    life.room.change_source(3);
    life.backup(&both, "third", "third on 1 2");
    life.journal.assert_complete();
    life.room.change_source(4);
    life.room.remember("last");
    life
}

#[test]
fn a_loss_of_power_takes_nothing_that_was_acknowledged() {
    let random = &mut Random::new(seed("loss of power"));
    let life = life();
    let events = life.journal.events().len();
    let images = points(12, 200);
    let mut manners: BTreeMap<String, usize> = BTreeMap::new();
    let mut pending = 0;
    for image in 0..images {
        // Spread over the whole life, each at a moment of its own.
        let from = events * image / images;
        let moment = from + random.index(events / images + 1);
        let manner = Manner::ALL[random.index(Manner::ALL.len())];
        let disk = Disk::after(&life.journal, moment);
        pending += disk.pending();
        *manners.entry(format!("{manner:?}")).or_default() += 1;
        life.room.clear();
        disk.write_image(&life.room.folder(), manner, random).unwrap();
        std::fs::create_dir_all(life.room.path("home")).unwrap();
        judge(&life, moment, &format!("after {moment} of {events} calls, {manner:?}"));
    }
    println!("{images} images of {events} calls, {pending} changes not durable in all: {manners:?}");
    assert!(pending > images, "a disk that keeps everything proves nothing");
}

fn judge(life: &Life, moment: usize, when: &str) {
    let room = &life.room;
    let promises = life.journal.promises(moment);
    let has_repository = promises.contains(&"init");
    for promise in &promises {
        let Some((tag, copies)) = promise.split_once(" on ") else { continue };
        for copy in copies.split(' ') {
            room.assert_restores(copy, tag, PASSWORD, when);
        }
    }
    if has_repository {
        for copy in ["1", "2"] {
            room.assert_sound(copy, PASSWORD, when);
        }
    } else {
        let again = room.call(&room.both(&["init"]));
        assert!([Some(0), Some(1)].contains(&again.code), "{when}: {}", again.errors);
    }
    if promises.contains(&"key") {
        let ended = room.call_with(OTHER_PASSWORD, &["-r", "2", "snapshots"]);
        assert_eq!(ended.code, Some(0), "{when}: the added password: {}", ended.errors);
    }
    let source = room.source();
    let next = room.call(&room.both(&["backup", "--tag", "last", &source]));
    assert_eq!(next.code, Some(0), "{when}: the next backup: {}\n{}", next.text(), next.errors);
    for copy in ["1", "2"] {
        room.assert_sound(copy, PASSWORD, when);
        room.assert_restores(copy, "last", PASSWORD, when);
    }
}
